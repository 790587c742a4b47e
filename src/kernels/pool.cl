/* Maximum and average pooling: x [N, C, H, W], out [N, C, OH, OW] by strides.  Window positions outside x are never
 * maxima; an average divides by the positions inside x or, with whole_area, inside the padded x (bottom, right: its
 * padding there).  A work-item computes `run` outputs in the order of its kernel. */
#include "lanes.clh"
#include "math.clh"
#include "views.clh"

#define POOL_PARAMETERS                                                                                          \
    __global const float *x, FM_VIEW4(x), __global float *out, FM_VIEW4(o), int N, int C, int H, int W, int OH,  \
        int OW, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, \
        int left, int bottom, int right, int average, int whole_area, int run

/* Window indices from first to end - 1 are those whose position start + i * dilation lies in 0..size - 1. */
static inline int window_first(int start, int dilation) { return start < 0 ? (dilation - 1 - start) / dilation : 0; }
static inline int window_end(int start, int dilation, int taps, int size) {
    return start >= size ? 0 : min(taps, (size - start + dilation - 1) / dilation);
}

/* The window of output (oh, ow): rows i0..i1, columns j0..j1, and the factor of an average. */
#define WINDOW(oh, ow)                                                                     \
    int   y0 = (oh)*stride_h - top, z0 = (ow)*stride_w - left;                             \
    int   i0 = window_first(y0, dilation_h), i1 = window_end(y0, dilation_h, kernel_h, H); \
    int   j0 = window_first(z0, dilation_w), j1 = window_end(z0, dilation_w, kernel_w, W); \
    int   area = whole_area ? window_end(y0, dilation_h, kernel_h, H + bottom) *           \
                                window_end(z0, dilation_w, kernel_w, W + right)          \
                            : max(i1 - i0, 0) * max(j1 - j0, 0);                           \
    float factor = 1.0f / max(area, 1);

/* Any strides; outputs in the order n, c, oh, ow. */
__kernel void pool(POOL_PARAMETERS) {
    int count = N * C * OH * OW, first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        int ow = at % OW, oh = at / OW % OH, c = at / OW / OH % C, n = at / OW / OH / C;
        int from = x_offset + n * x_s0 + c * x_s1;
        WINDOW(oh, ow)
        float result = average ? 0.0f : -INFINITY;
        for (int i = i0; i < i1; i++)
            for (int j = j0; j < j1; j++) {
                float v = x[from + (y0 + i * dilation_h) * x_s2 + (z0 + j * dilation_w) * x_s3];
                result = average ? result + v : fm_larger(result, v);
            }
        out[o_offset + n * o_s0 + c * o_s1 + oh * o_s2 + ow * o_s3] = average ? result * factor : result;
    }
}

/* Channels contiguous in x and out: 16 of them at a time; outputs in the order n, oh, ow, each with all channels. */
__kernel void pool_channels(POOL_PARAMETERS) {
    int count = N * OH * OW, first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        int ow = at % OW, oh = at / OW % OH, n = at / OW / OH, c = 0;
        WINDOW(oh, ow)
        __global const float *from = x + x_offset + n * x_s0;
        __global float       *to = out + o_offset + n * o_s0 + oh * o_s2 + ow * o_s3;
        for (; c + 16 <= C; c += 16) {
            float16 result = average ? 0.0f : -INFINITY;
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    float16 v = vload16(0, from + (y0 + i * dilation_h) * x_s2 + (z0 + j * dilation_w) * x_s3 + c);
                    result = average ? result + v : fm_larger(result, v);
                }
            fm_store16(average ? result * factor : result, to + c);
        }
        for (; c < C; c++) {
            float result = average ? 0.0f : -INFINITY;
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    float v = from[(y0 + i * dilation_h) * x_s2 + (z0 + j * dilation_w) * x_s3 + c];
                    result = average ? result + v : fm_larger(result, v);
                }
            to[c] = average ? result * factor : result;
        }
    }
}

#define MOST_LINE 4096
#define IDENTITY  (average ? 0.0f : -INFINITY)

/* line[0..n) = the row's n elements combined over the window's rows i0..i1. */
static inline void combine_rows(__global const float *from, int row, int i0, int i1, int n, int average, float *line) {
    int z = 0;
    for (; z + 16 <= n; z += 16) {
        float16 v = average ? 0.0f : -INFINITY;
        for (int i = i0; i < i1; i++) {
            float16 t = vload16(0, from + i * row + z);
            v = average ? v + t : fm_larger(v, t);
        }
        fm_store16(v, line + z);
    }
    for (; z < n; z++) {
        float v = IDENTITY;
        for (int i = i0; i < i1; i++) v = average ? v + from[i * row + z] : fm_larger(v, from[i * row + z]);
        line[z] = v;
    }
}

/* Rows contiguous in x; extent, the padded row's length as windows need it, <= MOST_LINE.  Outputs row by row: items of
 * `run` rows (n, c, oh).  The window's rows are combined first, then its columns out of one line. */
__kernel void pool_lines(POOL_PARAMETERS, int extent) {
    int   count = N * C * OH, first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    float line[MOST_LINE];
    for (int z = 0; z < extent; z++) line[z] = IDENTITY;
    for (int at = first; at < end; at++) {
        int             oh = at % OH, c = at / OH % C, n = at / OH / C, y0 = oh * stride_h - top;
        int             i0 = window_first(y0, dilation_h), i1 = window_end(y0, dilation_h, kernel_h, H);
        int             rows = whole_area ? window_end(y0, dilation_h, kernel_h, H + bottom) : max(i1 - i0, 0);
        __global float *to = out + o_offset + n * o_s0 + c * o_s1 + oh * o_s2;
        combine_rows(x + x_offset + n * x_s0 + c * x_s1 + y0 * x_s2, dilation_h * x_s2, i0, i1, W, average,
                     line + left);
        for (int ow = 0; ow < OW; ow++) {
            float result = IDENTITY;
            int   z0 = ow * stride_w;
            for (int j = 0; j < kernel_w; j++)
                result = average ? result + line[z0 + j * dilation_w] : fm_larger(result, line[z0 + j * dilation_w]);
            if (average) {
                int j0 = window_first(z0 - left, dilation_w), j1 = window_end(z0 - left, dilation_w, kernel_w, W);
                int columns = whole_area ? window_end(z0 - left, dilation_w, kernel_w, W + right) : max(j1 - j0, 0);
                result *= 1.0f / max(rows * columns, 1);
            }
            to[ow * o_s3] = result;
        }
    }
}
