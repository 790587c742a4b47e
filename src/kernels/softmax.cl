/* softmax(scale * x + mask) or its logarithm over the last axis of x [R2, R1, R0, C].
 *
 * mask_kind: 0 none, 1 added floats, 2 bools of which 0 excludes.  A row of which everything is excluded gives zeros.
 * A work-item computes `run` of the R2 * R1 * R0 rows. */
#include "lanes.clh"
#include "math.clh"
#include "views.clh"

#define SOFTMAX_PARAMETERS                                                                                      \
    __global const float *x, FM_VIEW4(x), __global const float *added, __global const uchar *kept, FM_VIEW4(m), \
        __global float *out, FM_VIEW4(o), FM_DIMS4(d), float scale, int mask_kind, int logarithm, int run
#define ROW_AT(v) (v##_offset + row / d2 / d1 * v##_s0 + row / d2 % d1 * v##_s1 + row % d2 * v##_s2)

/* Any strides. */
__kernel void softmax(SOFTMAX_PARAMETERS) {
    int first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 * d2 - first);
    for (int row = first; row < last; row++) {
        __global const float *from = x + ROW_AT(x);
        __global float       *to = out + ROW_AT(o);
        int                   mask = ROW_AT(m);
        float                 top = -INFINITY, total = 0;
        for (int c = 0; c < d3; c++) {
            float v = from[c * x_s3] * scale;
            if (mask_kind == 1) v += added[mask + c * m_s3];
            if (mask_kind == 2 && !kept[mask + c * m_s3]) v = -INFINITY;
            to[c * o_s3] = v;
            top = fmax(top, v);
        }
        if (top == -INFINITY) top = 0;
        for (int block = 0; block < d3; block += 256) { /* sums of sums lose less */
            float part = 0;
            for (int c = block; c < min(block + 256, d3); c++) part += exp(to[c * o_s3] - top);
            total += part;
        }
        float factor = total > 0 ? 1.0f / total : 0.0f, shift = log(total);
        for (int c = 0; c < d3; c++) {
            float v = to[c * o_s3] - top;
            to[c * o_s3] = logarithm ? v - shift : exp(v) * factor;
        }
    }
}

/* The n < 16 last elements of a row as one vector, the others `fill`; and back. */
static inline float16 load_last(__global const float *from, int n, float fill) {
    float lanes[16];
    for (int i = 0; i < 16; i++) lanes[i] = i < n ? from[i] : fill;
    return vload16(0, lanes);
}
static inline void store_last(float16 v, __global float *to, int n) {
    float lanes[16];
    fm_store16(v, lanes);
    for (int i = 0; i < n; i++) to[i] = lanes[i];
}

/* Scores of a row to `to`; gives the greatest. Everything contiguous; mask step 0 or 1. */
static inline float row_scores(__global const float *from, __global const float *added, __global const uchar *kept,
                               int mask_kind, int mask_step, __global float *to, float scale, int n) {
    float16 top = -INFINITY;
    float   rest = -INFINITY;
    int     c = 0;
    for (; c + 16 <= n; c += 16) {
        float16 v = vload16(0, from + c) * scale;
        if (mask_kind == 1) v += mask_step ? vload16(0, added + c) : (float16)added[0];
        if (mask_kind == 2)
            v = select((float16)-INFINITY, v, convert_int16(mask_step ? vload16(0, kept + c) : (uchar16)kept[0]) != 0);
        fm_store16(v, to + c);
        top = fm_larger(top, v);
    }
    for (; c < n; c++) {
        float v = from[c] * scale;
        if (mask_kind == 1) v += added[c * mask_step];
        if (mask_kind == 2 && !kept[c * mask_step]) v = -INFINITY;
        to[c] = v;
        rest = fmax(rest, v);
    }
    return fmax(fm_lane_max(top), rest);
}

/* x and out contiguous along C, the mask contiguous or constant. */
__kernel void softmax_dense(SOFTMAX_PARAMETERS) {
    int first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 * d2 - first), whole = d3 & -16;
    for (int row = first; row < last; row++) {
        __global float *to = out + ROW_AT(o);
        int             mask = ROW_AT(m);
        float           top = row_scores(x + ROW_AT(x), added + mask, kept + mask, mask_kind, m_s3, to, scale, d3);
        float16         lanes = 0.0f, ends = 0.0f;
        if (top == -INFINITY) top = 0;
        for (int c = 0; c < whole; c += 16) {
            float16 v = fm_exp(vload16(0, to + c) - top);
            if (!logarithm) fm_store16(v, to + c);
            lanes += v;
        }
        if (whole < d3) {
            ends = fm_exp(load_last(to + whole, d3 - whole, -INFINITY) - top);
            lanes += ends;
        }
        float total = fm_lane_sum(lanes);
        if (logarithm) {
            float shift = top + log(total);
            for (int c = 0; c < whole; c += 16) fm_store16(vload16(0, to + c) - shift, to + c);
            for (int c = whole; c < d3; c++) to[c] -= shift;
        } else {
            float factor = total > 0 ? 1.0f / total : 0.0f;
            for (int c = 0; c < whole; c += 16) fm_store16(vload16(0, to + c) * factor, to + c);
            store_last(ends * factor, to + whole, d3 - whole);
        }
    }
}
