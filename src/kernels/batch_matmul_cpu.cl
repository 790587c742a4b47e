/* CPU row of the product of two activations, any strides (arguments as in batch_matmul.cl).
 *
 * A work-item computes BLOCK_PANELS * 16 columns of one (n, h).  It copies a chunk of b into panels and, block of rows
 * by block, the same chunk of a, both private; b is copied once where K is one chunk.  Columns beyond the last are
 * zeros, so the tile of matmul_tile.clh needs no tests.
 * Option: ACTIVATION.  Global size: column groups, N * size_h; local size 1. */
#include "epilogue.clh"

#define MOST_ROWS 24
#define BLOCK_PANELS 4
#define CHUNK 256
#include "matmul_tile.clh"

#define PRIVATE const float *
FM_TILE(tile_large, TILE_ROWS, PRIVATE, vload16)
FM_TILE(tile_small, SMALL_ROWS, PRIVATE, vload16)

/* to[panel][k][16] = from[k * stride_k + column * stride_c], k < count, column < columns; zeros beyond. */
static void copy_panels(float *to, __global const float *from, const int stride_k, const int stride_c, const int count,
                        const int columns, const int panels) {
    for (int p = 0; p < panels; p++, to += count * 16, from += 16 * stride_c) {
        const int width = min(16, columns - p * 16);
        if (width < 16) fm_clear(to, count * 16);
        if (stride_c == 1 && width == 16) {
            FM_PLAIN_LOOP for (int k = 0; k < count; k++) vstore16(vload16(0, from + k * stride_k), k, to);
        } else {
            FM_PLAIN_LOOP for (int c = 0; c < width; c++)
                FM_PLAIN_LOOP for (int k = 0; k < count; k++) to[k * 16 + c] = from[k * stride_k + c * stride_c];
        }
    }
}

static void copy_rows(float *to, __global const float *from, const int stride_w, const int stride_k, const int rows,
                      const int count) {
    FM_PLAIN_LOOP for (int r = 0; r < rows; r++, to += CHUNK, from += stride_w) {
        if (stride_k == 1) fm_copy(to, from, count);
        else FM_PLAIN_LOOP for (int k = 0; k < count; k++) to[k] = from[k * stride_k];
    }
}

__kernel void batch_matmul_cpu(__global const float *a, __global const float *b, __global float *out,
                               const int a_offset, const int a_n, const int a_h, const int a_w, const int a_k,
                               const int b_offset, const int b_n, const int b_h, const int b_k, const int b_c,
                               const int out_offset, const int out_n, const int out_h, const int out_w,
                               const int out_c, const int size_h, const int size_w, const int size_c, const int size_k,
                               FM_EPILOGUE_PARAMS) {
    float     left[MOST_ROWS * CHUNK], right[BLOCK_PANELS * CHUNK * 16];
    float16   acc[MOST_ROWS * BLOCK_PANELS];
    const int h = (int)get_global_id(1) % size_h, n = (int)get_global_id(1) / size_h;
    const int c = (int)get_global_id(0) * BLOCK_PANELS * 16, columns = min(BLOCK_PANELS * 16, size_c - c);
    const int panels = (columns + 15) / 16, chunks = (size_k + CHUNK - 1) / CHUNK;
    const int chunk = (size_k + max(chunks, 1) - 1) / max(chunks, 1);
    for (int row = 0; row < size_w; row += MOST_ROWS) {
        const int rows = min(MOST_ROWS, size_w - row), padded = (rows + SMALL_ROWS - 1) / SMALL_ROWS * SMALL_ROWS;
        fm_clear((float *)acc, padded * BLOCK_PANELS * 16);
        fm_clear(left + rows * CHUNK, (padded - rows) * CHUNK);
        for (int k = 0; k < size_k; k += chunk) {
            const int count = min(chunk, size_k - k);
            if (row == 0 || chunks > 1)
                copy_panels(right, b + (b_offset + n * b_n + h * b_h + k * b_k + c * b_c), b_k, b_c, count, columns,
                            panels);
            copy_rows(left, a + (a_offset + n * a_n + h * a_h + row * a_w + k * a_k), a_w, a_k, rows, count);
            for (int p = 0; p < panels; p += TILE_PANELS) {
                const int next = p + 1 < panels ? count * 16 : 0;
                int       r = 0;
                for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
                    tile_large(left + r * CHUNK, right + p * count * 16, next, count, acc + r * BLOCK_PANELS + p);
                for (; r < rows; r += SMALL_ROWS)
                    tile_small(left + r * CHUNK, right + p * count * 16, next, count, acc + r * BLOCK_PANELS + p);
            }
        }
        FM_PLAIN_LOOP for (int r = 0; r < rows; r++)
            fm_epilogue_row(acc + r * BLOCK_PANELS, out, out_offset + n * out_n + h * out_h + (row + r) * out_w, out_c,
                            n, h, row + r, c, columns, FM_EPILOGUE_ARGS);
    }
}
