/* CPU row of matmul and convolution (group 1): blocked product of gathered rows with 16-column panels.
 *
 *   out[n, oh, ow, o] = epilogue(sum over kh, kw, c of x[n, ih, iw, c] * W[(kh * kernel_w + kw) * C + c, o])
 *
 * as in matmul_reference.cl, x's channels contiguous (x_c = 1).  A work-item computes block_rows output rows (the last
 * one what is left, below MOST_ROWS) by up to BLOCK_PANELS panels, TILE_ROWS rows by TILE_PANELS panels at a time.  A
 * run is what lies side by side in x: run_length inputs for run_taps taps of a kernel row (1, or all).
 *
 * Tiles whose rows follow each other at equal steps in x, inside the image, take x where it is:
 *
 *   acc[TILE_ROWS][panels] = x[TILE_ROWS][K] * W[K][panels]
 *
 * The rows of the others are copied, K in chunks:
 *
 *   rows of x, chunk of K  --copy (zeros for padding)-->  a[MOST_ROWS][CHUNK]   private, in the inner caches
 *   for each TILE_PANELS panels, for each TILE_ROWS rows:  acc[rows][panels] += a[rows][CHUNK] * W[CHUNK][panels]
 *
 * so both innermost loops have no address arithmetic but constant offsets, and convolution differs from matmul only
 * there.  Options: WEIGHT_HALF, ACTIVATION.  Global size: row blocks, panel groups (panels go to them evenly); local
 * size 1. */
#include "epilogue.clh"

#define MOST_ROWS 36
#define BLOCK_PANELS 16
#define CHUNK 512
#include "matmul_tile.clh"

#ifdef WEIGHT_HALF
#define WEIGHT __global const half *
#define LOAD_WEIGHT vload_half16
#else
#define WEIGHT __global const float *
#define LOAD_WEIGHT vload16
#endif
FM_TILE(tile_large, TILE_ROWS, WEIGHT, LOAD_WEIGHT)
FM_TILE(tile_small, SMALL_ROWS, WEIGHT, LOAD_WEIGHT)
FM_DIRECT_TILE(tile_direct, TILE_ROWS, WEIGHT, LOAD_WEIGHT)

/* A run over the image's edge: elements [low, high) of it lie inside. */
static void copy_edge(float *to, __global const float *x, const int from, const int length, const int low,
                      const int high) {
    const int first = clamp(low, 0, length), last = clamp(high, first, length);
    fm_clear(to, first);
    FM_PLAIN_LOOP for (int i = first; i < last; i++) to[i] = x[from + i];
    fm_clear(to + last, length - last);
}

__kernel void matmul_cpu(__global const float *x, WEIGHT weight, __global float *out, const int x_offset, const int x_n,
                         const int x_h, const int x_w, const int x_c, const int in_h, const int in_w, const int in_c,
                         const int out_offset, const int out_n, const int out_h, const int out_w, const int out_c,
                         const int size_h, const int size_w, const int size_c, const int kernel_h, const int kernel_w,
                         const int stride_h, const int stride_w, const int dilation_h, const int dilation_w,
                         const int pad_top, const int pad_left, const int panel_stride, FM_EPILOGUE_PARAMS,
                         const int rows, const int block_rows, const int run_taps, const int first_panel,
                         const int panels) {
    float     a[MOST_ROWS * CHUNK];
    float16   acc[MOST_ROWS * BLOCK_PANELS];
    int       row_n[MOST_ROWS], row_h[MOST_ROWS], row_w[MOST_ROWS], row_x[MOST_ROWS];
    bool      inside[MOST_ROWS]; /* nothing of the row's input is padding */
    bool      copied[MOST_ROWS / TILE_ROWS + 1];
    const int row0 = (int)get_global_id(0) * block_rows;
    const int count = get_global_id(0) + 1 == get_global_size(0) ? rows - row0 : block_rows;
    const int groups = (int)get_global_size(1), pairs = (panels + 1) / 2;
    const int panel0 = pairs * (int)get_global_id(1) / groups * 2;
    const int group = min(panels, pairs * ((int)get_global_id(1) + 1) / groups * 2) - panel0;
    const int total = kernel_h * kernel_w * in_c, chunks = (total + CHUNK - 1) / CHUNK;
    const int chunk = (total + chunks - 1) / chunks, run_length = run_taps * in_c, runs_w = kernel_w / run_taps;
    int       w = row0 % size_w, h = row0 / size_w % size_h, n = row0 / size_w / size_h;
    FM_PLAIN_LOOP for (int r = 0; r < count; r++) {
        const int top = h * stride_h - pad_top, left = w * stride_w - pad_left;
        row_w[r] = w;
        row_h[r] = h;
        row_n[r] = n;
        row_x[r] = x_offset + n * x_n + h * stride_h * x_h + w * stride_w * x_w;
        inside[r] = top >= 0 && left >= 0 && top + (kernel_h - 1) * dilation_h < in_h &&
                    left + (kernel_w - 1) * dilation_w < in_w;
        if (++w == size_w) w = 0, h++;
        if (h == size_h) h = 0, n++;
    }

    bool any_copied = false;
    FM_PLAIN_LOOP for (int r = 0; r < count; r += TILE_ROWS) {
        const int step = r + 1 < count ? row_x[r + 1] - row_x[r] : 0;
        bool      apart = r + TILE_ROWS > count || runs_w > 1;
        for (int i = r; i < r + TILE_ROWS && !apart; i++) apart = !inside[i] || row_x[i] - row_x[r] != (i - r) * step;
        copied[r / TILE_ROWS] = apart;
        any_copied = any_copied || apart;
    }
    for (int p = 0; p < group; p += TILE_PANELS) {
        WEIGHT    w = weight + (size_t)(panel0 + p) * panel_stride;
        const int next = p + 1 < group ? panel_stride : 0; /* a lone last panel is computed twice */
        for (int r = 0; r + TILE_ROWS <= count; r += TILE_ROWS)
            if (!copied[r / TILE_ROWS])
                tile_direct(x + (row_x[r] - pad_top * x_h - pad_left * x_w), row_x[r + 1] - row_x[r], kernel_h,
                            run_length, dilation_h * x_h, w, next, acc + r * BLOCK_PANELS + p);
    }

    if (any_copied) {
        const int padded = (count + SMALL_ROWS - 1) / SMALL_ROWS * SMALL_ROWS;
        fm_clear(a + count * CHUNK, (padded - count) * CHUNK); /* rows of the last tile that do not exist */
        FM_PLAIN_LOOP for (int r = 0; r < padded; r++)
            if (copied[r / TILE_ROWS]) fm_clear((float *)(acc + r * BLOCK_PANELS), BLOCK_PANELS * 16);
    }
    for (int k0 = 0; k0 < total && any_copied; k0 += chunk) {
        const int k_count = min(chunk, total - k0);
        int       run = k0 / run_length, skip = k0 - run * run_length;
        for (int done = 0; done < k_count; run++, skip = 0) {
            const int kh = run / runs_w, kw = run - kh * runs_w, length = min(run_length - skip, k_count - done);
            const int down = kh * dilation_h - pad_top, right = kw * dilation_w - pad_left;
            const int offset = down * x_h + right * x_w + skip;
            FM_PLAIN_LOOP for (int r = 0; r < count; r++) {
                const int ih = row_h[r] * stride_h + down, iw = row_w[r] * stride_w + right;
                const bool beside = ih < 0 || ih >= in_h;
                if (!copied[r / TILE_ROWS]) continue;
                if (!beside && iw >= 0 && iw <= in_w - run_taps)
                    fm_copy(a + r * CHUNK + done, x + (row_x[r] + offset), length);
                else
                    copy_edge(a + r * CHUNK + done, x, row_x[r] + offset, length, -iw * in_c - skip,
                              beside ? 0 : (in_w - iw) * in_c - skip);
            }
            done += length;
        }
        for (int p = 0; p < group; p += TILE_PANELS) {
            WEIGHT    w = weight + ((size_t)(panel0 + p) * panel_stride + k0 * 16);
            const int next = p + 1 < group ? panel_stride : 0;
            int       r = 0;
            for (; r + TILE_ROWS <= count; r += TILE_ROWS)
                if (copied[r / TILE_ROWS])
                    tile_large(a + r * CHUNK, w, next, k_count, acc + r * BLOCK_PANELS + p);
            for (; r < count; r += SMALL_ROWS)
                tile_small(a + r * CHUNK, w, next, k_count, acc + r * BLOCK_PANELS + p);
        }
    }

    const int c = (first_panel + panel0) * 16, columns = min(group * 16, size_c - c);
    FM_PLAIN_LOOP for (int r = 0; r < count; r++)
        fm_epilogue_row(acc + r * BLOCK_PANELS, out,
                        out_offset + row_n[r] * out_n + row_h[r] * out_h + row_w[r] * out_w, out_c,
                        row_n[r], row_h[r], row_w[r], c, columns, FM_EPILOGUE_ARGS);
}
