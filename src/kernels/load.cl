/* Moves `texels` runs of 16 bytes from from[first..] to the start of `to`: what loading a weight beside a kernel moves,
 * by a launch of its own.
 *
 *   load          one texel per work-item
 *   load_strided  TEXELS per item, items apart by `stride`, so that neighbours write neighbours (GPUs)
 *   load_run      `run` texels per item side by side, in vectors of four (CPUs)
 *
 * Global size: items; buffers do not overlap. */
__kernel void load(__global const uint4 *from, __global uint4 *to, int first, int texels) {
    int i = (int)get_global_id(0);
    if (i < texels) to[i] = from[first + i];
}

#define TEXELS 4
__kernel void load_strided(__global const uint4 *from, __global uint4 *to, int first, int texels, int stride) {
    int i = (int)get_global_id(0);
    for (int t = 0; t < TEXELS; t++, i += stride)
        if (i < texels) to[i] = from[first + i];
}

/* Values lie at multiples of 128 bytes, `first` may be any texel. */
typedef uint16 __attribute__((aligned(16))) four_texels;
__kernel void load_run(__global const uint4 *from, __global uint4 *to, int first, int texels, int run) {
    int begin = (int)get_global_id(0) * run, end = begin + min(run, texels - begin), i = begin;
    for (; i + 4 <= end; i += 4)
        *(__global four_texels *)(to + i) = *(__global const four_texels *)(from + first + i);
    for (; i < end; i++) to[i] = from[first + i];
}
