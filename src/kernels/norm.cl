/* Layer and RMS normalisation over the last axis of x [R1, R0, C], optionally of x + add, whose sum may be kept.
 *
 * flags: 1 RMS, 2 add, 4 keep the sum, 8 gamma, 16 beta.  A work-item computes `run` of the R1 * R0 rows. */
#include "lanes.clh"
#include "views.clh"

#define HAS(bit) (flags & (bit))
#define NORM_PARAMETERS                                                                                          \
    __global const float *x, FM_VIEW3(x), __global const float *add, FM_VIEW3(add), __global float *sum,         \
        FM_VIEW3(sum), __global const float *gamma, FM_VIEW1(gamma), __global const float *beta, FM_VIEW1(beta), \
        __global float *out, FM_VIEW3(o), FM_DIMS3(d), float epsilon, int flags, int run
#define ROW_AT(v) (v##_offset + row / d1 * v##_s0 + row % d1 * v##_s1)

/* Any strides, one row after the other. */
__kernel void norm(NORM_PARAMETERS) {
    int first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 - first);
    for (int row = first; row < last; row++) {
        __global const float *from = x + ROW_AT(x), *more = add + ROW_AT(add);
        __global float       *kept = sum + ROW_AT(sum), *to = out + ROW_AT(o);
        float                 mean = 0, square = 0;
        for (int c = 0; c < d2; c++) {
            float v = from[c * x_s2] + (HAS(2) ? more[c * add_s2] : 0.0f);
            if (HAS(4)) kept[c * sum_s2] = v;
            to[c * o_s2] = v;
            mean += v;
        }
        mean = HAS(1) ? 0.0f : mean / d2;
        for (int c = 0; c < d2; c++) square += (to[c * o_s2] - mean) * (to[c * o_s2] - mean);
        float scale = 1.0f / sqrt(square / d2 + epsilon);
        for (int c = 0; c < d2; c++) {
            float v = (to[c * o_s2] - mean) * scale * (HAS(8) ? gamma[gamma_offset + c * gamma_s0] : 1.0f);
            to[c * o_s2] = v + (HAS(16) ? beta[beta_offset + c * beta_s0] : 0.0f);
        }
    }
}

/* Four sums at once, since additions wait for each other. */
#define FOUR_SUMS   float16 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f
#define SUM_OF_FOUR ((s0 + s1) + (s2 + s3))

/* kept = x + add; gives its sum. */
static inline float row_add(__global const float *x, __global const float *add, __global float *kept, int n) {
    FOUR_SUMS;
    float rest = 0;
    int   c = 0;
#define ADD_LANES(s, at)                                           \
    {                                                              \
        float16 t = vload16(0, x + (at)) + vload16(0, add + (at)); \
        fm_store16(t, kept + (at));                                \
        s += t;                                                    \
    }
    for (; c + 64 <= n; c += 64) {
        ADD_LANES(s0, c) ADD_LANES(s1, c + 16) ADD_LANES(s2, c + 32) ADD_LANES(s3, c + 48)
    }
    for (; c + 16 <= n; c += 16) ADD_LANES(s0, c)
    for (; c < n; c++) rest += kept[c] = x[c] + add[c];
    return fm_lane_sum(SUM_OF_FOUR) + rest;
}

static inline float row_sum(__global const float *x, int n) {
    FOUR_SUMS;
    float rest = 0;
    int   c = 0;
    for (; c + 64 <= n; c += 64) {
        s0 += vload16(0, x + c), s1 += vload16(0, x + c + 16);
        s2 += vload16(0, x + c + 32), s3 += vload16(0, x + c + 48);
    }
    for (; c + 16 <= n; c += 16) s0 += vload16(0, x + c);
    for (; c < n; c++) rest += x[c];
    return fm_lane_sum(SUM_OF_FOUR) + rest;
}

static inline float row_square(__global const float *x, float mean, int n) {
    FOUR_SUMS;
    float rest = 0;
    int   c = 0;
#define SQUARE_LANES(s, at)                      \
    {                                            \
        float16 t = vload16(0, x + (at)) - mean; \
        s += t * t;                              \
    }
    for (; c + 64 <= n; c += 64) {
        SQUARE_LANES(s0, c) SQUARE_LANES(s1, c + 16) SQUARE_LANES(s2, c + 32) SQUARE_LANES(s3, c + 48)
    }
    for (; c + 16 <= n; c += 16) SQUARE_LANES(s0, c)
    for (; c < n; c++) rest += (x[c] - mean) * (x[c] - mean);
    return fm_lane_sum(SUM_OF_FOUR) + rest;
}

/* Every view contiguous along C.  x + add without a place for the sum is kept in out meanwhile. */
__kernel void norm_dense(NORM_PARAMETERS) {
    int first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 - first);
    gamma += gamma_offset, beta += beta_offset;
    for (int row = first; row < last; row++) {
        __global const float *from = x + ROW_AT(x);
        __global float       *to = out + ROW_AT(o);
        float                 mean = 0;
        if (HAS(2)) {
            __global float *kept = HAS(4) ? sum + ROW_AT(sum) : to;
            mean = row_add(from, add + ROW_AT(add), kept, d2);
            from = kept;
        } else if (!HAS(1)) mean = row_sum(from, d2);
        mean = HAS(1) ? 0.0f : mean / d2;
        float scale = 1.0f / sqrt(row_square(from, mean, d2) / d2 + epsilon);
        int   c = 0;
        for (; c + 16 <= d2; c += 16) {
            float16 v = (vload16(0, from + c) - mean) * scale;
            if (HAS(8)) v *= vload16(0, gamma + c);
            if (HAS(16)) v += vload16(0, beta + c);
            fm_store16(v, to + c);
        }
        for (; c < d2; c++) to[c] = (from[c] - mean) * scale * (HAS(8) ? gamma[c] : 1.0f) + (HAS(16) ? beta[c] : 0.0f);
    }
}
