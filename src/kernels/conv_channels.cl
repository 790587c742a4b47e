/* Copies an activation [n, h, w, c] of any strides to dense memory, channels last: what conv and matmul rows for CPUs
 * want of their input.
 *
 * A work-item copies PIXELS pixels of a row (n, h), 16 at a time: vectors where pixels lie side by side.
 * Global size: ceil(W / PIXELS), H, N; local size 1. */
#define PIXELS 64

__kernel void conv_channels(__global const float *x, __global float *out, const int x_offset, const int x_n,
                            const int x_h, const int x_w, const int x_c, const int size_w, const int size_c) {
    x += x_offset + (int)get_global_id(2) * x_n + (int)get_global_id(1) * x_h;
    out += (get_global_id(2) * get_global_size(1) + get_global_id(1)) * size_w * size_c;
    const int first = (int)get_global_id(0) * PIXELS, end = min(first + PIXELS, size_w);
    for (int w = first; w < end; w += 16) {
        const int pixels = min(16, end - w);
        for (int c = 0; c < size_c; c++) {
            __global const float *from = x + (w * x_w + c * x_c);
            __global float       *to = out + (w * size_c + c);
            if (x_w == 1 && pixels == 16) {
                const float16 v = vload16(0, from);
                to[0 * size_c] = v.s0, to[1 * size_c] = v.s1, to[2 * size_c] = v.s2, to[3 * size_c] = v.s3;
                to[4 * size_c] = v.s4, to[5 * size_c] = v.s5, to[6 * size_c] = v.s6, to[7 * size_c] = v.s7;
                to[8 * size_c] = v.s8, to[9 * size_c] = v.s9, to[10 * size_c] = v.sa, to[11 * size_c] = v.sb;
                to[12 * size_c] = v.sc, to[13 * size_c] = v.sd, to[14 * size_c] = v.se, to[15 * size_c] = v.sf;
            } else {
                for (int i = 0; i < pixels; i++) to[i * size_c] = from[i * x_w];
            }
        }
    }
}
