/* softmax(scale * x + mask) or its logarithm over the last axis of x [R2, R1, R0, C].
 *
 * mask_kind: 0 none, 1 added floats, 2 bools of which 0 excludes.  A row of which everything is excluded gives zeros.
 * A work-item computes `run` of the R2 * R1 * R0 rows. */
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

static inline float lane_sum(float16 v) {
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    return (b.x + b.y) + (b.z + b.w);
}
static inline float lane_max(float16 v) {
    float8 a = fmax(v.lo, v.hi);
    float4 b = fmax(a.lo, a.hi);
    return fmax(fmax(b.x, b.y), fmax(b.z, b.w));
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
        vstore16(v, 0, to + c);
        top = fm_max(top, v);
    }
    for (; c < n; c++) {
        float v = from[c] * scale;
        if (mask_kind == 1) v += added[c * mask_step];
        if (mask_kind == 2 && !kept[c * mask_step]) v = -INFINITY;
        to[c] = v;
        rest = fmax(rest, v);
    }
    return fmax(lane_max(top), rest);
}

/* x and out contiguous along C, the mask contiguous or constant. */
__kernel void softmax_dense(SOFTMAX_PARAMETERS) {
    int first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 * d2 - first);
    for (int row = first; row < last; row++) {
        __global float *to = out + ROW_AT(o);
        int             mask = ROW_AT(m), c = 0;
        float           top = row_scores(x + ROW_AT(x), added + mask, kept + mask, mask_kind, m_s3, to, scale, d3);
        float16         lanes = 0.0f;
        float           total = 0;
        if (top == -INFINITY) top = 0;
        for (; c + 16 <= d3; c += 16) {
            float16 v = fm_exp(vload16(0, to + c) - top);
            if (!logarithm) vstore16(v, 0, to + c);
            lanes += v;
        }
        for (; c < d3; c++) {
            float v = fm_exp(to[c] - top);
            if (!logarithm) to[c] = v;
            total += v;
        }
        total += lane_sum(lanes);
        float factor = logarithm ? 1.0f : total > 0 ? 1.0f / total : 0.0f, shift = logarithm ? top + log(total) : 0.0f;
        for (c = 0; c + 16 <= d3; c += 16) vstore16((vload16(0, to + c) - shift) * factor, 0, to + c);
        for (; c < d3; c++) to[c] = (to[c] - shift) * factor;
    }
}
