/* CPU row of matmul and convolution (group 1): blocked product of gathered rows with 16-column panels.
 *
 *   out[n, oh, ow, o] = epilogue(sum over kh, kw, c of x[n, ih, iw, c] * W[(kh * kernel_w + kw) * C + c, o])
 *
 * as in matmul_reference.cl, x's channels contiguous (x_c = 1).  A work-item computes block_rows output rows by
 * BLOCK_PANELS panels.  K goes in chunks:
 *
 *   rows of x, chunk of K  --copy (zeros for padding)-->  a[BLOCK_ROWS][CHUNK]     private, fits the inner caches
 *   for each TILE_PANELS panels, for each TILE_ROWS rows:  acc[rows][panels] += a[rows][CHUNK] * W[CHUNK][panels]
 *
 * so the innermost loop has no address arithmetic but constant offsets, and convolution differs from matmul only in
 * the copy.  A run is what one copy covers: run_length inputs contiguous in memory for run_taps taps of a kernel row
 * (1, or all when pixels lie side by side); a chunk may begin inside one.
 * Options: WEIGHT_HALF, ACTIVATION.  Global size: row blocks, panel groups; local size 1. */
#include "epilogue.clh"

#define BLOCK_ROWS 48
#define BLOCK_PANELS 4
#define CHUNK 256
#ifdef __AVX512F__ /* 32 registers of 16 floats */
#define TILE_ROWS 12
#define TILE_PANELS 2
#else /* 16 registers of 8, or 32 of 4: a tile of 6 x 16 */
#define TILE_ROWS 6
#define TILE_PANELS 1
#endif

#ifdef WEIGHT_HALF
#define WEIGHT __global const half *
#define LOAD_WEIGHT(p, i) vload_half16((i), (p))
#else
#define WEIGHT __global const float *
#define LOAD_WEIGHT(p, i) vload16((i), (p))
#endif

/* acc += a * W over count of K, for R rows; accumulators stay in registers. */
#define TILE(R)                                                                                                        \
    static void tile_##R(const float *a, WEIGHT w, const int panel_stride, const int count, float16 *acc) {            \
        float16 sum[R][TILE_PANELS];                                                                                   \
        _Pragma("unroll") for (int r = 0; r < R; r++)                                                                  \
            _Pragma("unroll") for (int p = 0; p < TILE_PANELS; p++) sum[r][p] = acc[r * BLOCK_PANELS + p];             \
        for (int k = 0; k < count; k++) {                                                                              \
            float16 column[TILE_PANELS];                                                                               \
            _Pragma("unroll") for (int p = 0; p < TILE_PANELS; p++)                                                    \
                column[p] = LOAD_WEIGHT(w + (size_t)p * panel_stride, k);                                              \
            _Pragma("unroll") for (int r = 0; r < R; r++)                                                              \
                _Pragma("unroll") for (int p = 0; p < TILE_PANELS; p++) sum[r][p] += a[r * CHUNK + k] * column[p];     \
        }                                                                                                              \
        _Pragma("unroll") for (int r = 0; r < R; r++)                                                                  \
            _Pragma("unroll") for (int p = 0; p < TILE_PANELS; p++) acc[r * BLOCK_PANELS + p] = sum[r][p];             \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if TILE_ROWS == 12
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
#endif

static void tile(const int rows, const float *a, WEIGHT w, const int panel_stride, const int count, float16 *acc) {
    switch (rows) {
    case 1: tile_1(a, w, panel_stride, count, acc); break;
    case 2: tile_2(a, w, panel_stride, count, acc); break;
    case 3: tile_3(a, w, panel_stride, count, acc); break;
    case 4: tile_4(a, w, panel_stride, count, acc); break;
    case 5: tile_5(a, w, panel_stride, count, acc); break;
    case 6: tile_6(a, w, panel_stride, count, acc); break;
#if TILE_ROWS == 12
    case 7: tile_7(a, w, panel_stride, count, acc); break;
    case 8: tile_8(a, w, panel_stride, count, acc); break;
    case 9: tile_9(a, w, panel_stride, count, acc); break;
    case 10: tile_10(a, w, panel_stride, count, acc); break;
    case 11: tile_11(a, w, panel_stride, count, acc); break;
    case 12: tile_12(a, w, panel_stride, count, acc); break;
#endif
    }
}

static void copy(float *to, __global const float *from, const int count) {
    int i = 0;
    for (; i + 16 <= count; i += 16) vstore16(vload16(0, from + i), 0, to + i);
    for (; i < count; i++) to[i] = from[i];
}

static void clear(float *to, const int count) {
    for (int i = 0; i < count; i++) to[i] = 0.0f;
}

__kernel void matmul_cpu(__global const float *x, WEIGHT weight, __global float *out, const int x_offset, const int x_n,
                         const int x_h, const int x_w, const int x_c, const int in_h, const int in_w, const int in_c,
                         const int out_offset, const int out_n, const int out_h, const int out_w, const int out_c,
                         const int size_h, const int size_w, const int size_c, const int kernel_h, const int kernel_w,
                         const int stride_h, const int stride_w, const int dilation_h, const int dilation_w,
                         const int pad_top, const int pad_left, const int panel_stride, FM_EPILOGUE_PARAMS,
                         const int rows, const int block_rows, const int run_taps, const int first_panel,
                         const int panels) {
    float     a[BLOCK_ROWS * CHUNK];
    float16   acc[BLOCK_ROWS * BLOCK_PANELS];
    const int row0 = (int)get_global_id(0) * block_rows, count = min(block_rows, rows - row0);
    const int panel0 = (int)get_global_id(1) * BLOCK_PANELS, group = min(BLOCK_PANELS, panels - panel0);
    const int total = kernel_h * kernel_w * in_c, chunks = (total + CHUNK - 1) / CHUNK;
    const int chunk = (total + chunks - 1) / chunks, run_length = run_taps * in_c, runs_w = kernel_w / run_taps;
    const int tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
    for (int i = 0; i < count * BLOCK_PANELS; i++) acc[i] = (float16)(0.0f);

    for (int k0 = 0; k0 < total; k0 += chunk) {
        const int k_count = min(chunk, total - k0);
        for (int r = 0; r < count; r++) {
            const int ow = (row0 + r) % size_w, oh = (row0 + r) / size_w % size_h, n = (row0 + r) / size_w / size_h;
            int       run = k0 / run_length, skip = k0 - run * run_length;
            for (int done = 0; done < k_count; run++, skip = 0) {
                const int kh = run / runs_w, kw = run - kh * runs_w;
                const int ih = oh * stride_h - pad_top + kh * dilation_h, iw = ow * stride_w - pad_left + kw * dilation_w;
                const int length = min(run_length - skip, k_count - done);
                /* inputs [low, high) of the run lie inside the image */
                const int low = clamp(-iw, 0, run_taps) * in_c, high = ih < 0 || ih >= in_h ? low : clamp(in_w - iw, 0, run_taps) * in_c;
                const int first = clamp(low - skip, 0, length), last = clamp(high - skip, first, length);
                float    *to = a + r * CHUNK + done;
                clear(to, first);
                copy(to + first, x + (x_offset + n * x_n + ih * x_h + iw * x_w + skip + first), last - first);
                clear(to + last, length - last);
                done += length;
            }
        }
        for (int p = 0; p < group; p += TILE_PANELS) {
            WEIGHT    w = weight + ((size_t)(panel0 + p) * panel_stride + k0 * 16);
            const int next = p + 1 < group ? panel_stride : 0; /* a lone last panel is computed twice */
            for (int t = 0; t < tiles; t++) {
                const int r = count * t / tiles;
                tile(count * (t + 1) / tiles - r, a + r * CHUNK, w, next, k_count, acc + r * BLOCK_PANELS + p);
            }
        }
    }

    for (int r = 0; r < count; r++) {
        const int w = (row0 + r) % size_w, h = (row0 + r) / size_w % size_h, n = (row0 + r) / size_w / size_h;
        for (int p = 0; p < group; p++) {
            const int c = (first_panel + panel0 + p) * 16;
            fm_epilogue16(acc[r * BLOCK_PANELS + p], out, out_offset + n * out_n + h * out_h + w * out_w, out_c, n, h, w, c,
                          min(16, size_c - c), FM_EPILOGUE_ARGS);
        }
    }
}
