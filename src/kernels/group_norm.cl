/* Group normalisation: x, out [N, G, C, S] (C channels of a group), mean and variance over C and S, gamma and
 * beta [G, C].
 *
 * flags: 1 gamma, 2 beta.  A work-item computes `run` of the N * G groups. */
#include "lanes.clh"
#include "views.clh"

#define HAS(bit) (flags & (bit))
#define GROUP_NORM_PARAMETERS                                                                                       \
    __global const float *x, FM_VIEW4(x), __global const float *gamma, FM_VIEW2(gamma), __global const float *beta, \
        FM_VIEW2(beta), __global float *out, FM_VIEW4(o), FM_DIMS4(d), float epsilon, int flags, int run
#define GROUP_AT(v) (v##_offset + group / d1 * v##_s0 + group % d1 * v##_s1)

/* Any strides. */
__kernel void group_norm(GROUP_NORM_PARAMETERS) {
    int   first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 - first);
    float count = (float)d2 * d3;
    for (int group = first; group < last; group++) {
        __global const float *from = x + GROUP_AT(x);
        __global float       *to = out + GROUP_AT(o);
        float                 mean = 0, square = 0;
        for (int c = 0; c < d2; c++) {
            float part = 0;
            for (int s = 0; s < d3; s++) part += from[c * x_s2 + s * x_s3];
            mean += part;
        }
        mean /= count;
        for (int c = 0; c < d2; c++) {
            float part = 0;
            for (int s = 0; s < d3; s++) {
                float v = from[c * x_s2 + s * x_s3] - mean;
                part += v * v;
            }
            square += part;
        }
        float scale = 1.0f / sqrt(square / count + epsilon);
        for (int c = 0; c < d2; c++) {
            int   g = group % d1;
            float factor = HAS(1) ? scale * gamma[gamma_offset + g * gamma_s0 + c * gamma_s1] : scale;
            float shift = HAS(2) ? beta[beta_offset + g * beta_s0 + c * beta_s1] : 0.0f;
            for (int s = 0; s < d3; s++) to[c * o_s2 + s * o_s3] = (from[c * x_s2 + s * x_s3] - mean) * factor + shift;
        }
    }
}

/* Sum of v (square 0) or (v - mean)^2 over n contiguous elements. */
static inline float line_sum(__global const float *v, int n, float mean, int square) {
    float16 lanes = 0.0f;
    float   rest = 0;
    int     s = 0;
    for (; s + 16 <= n; s += 16) {
        float16 t = vload16(0, v + s) - mean;
        lanes += square ? t * t : t;
    }
    for (; s < n; s++) rest += square ? (v[s] - mean) * (v[s] - mean) : v[s] - mean;
    return fm_lane_sum(lanes) + rest;
}

/* S contiguous. */
__kernel void group_norm_dense(GROUP_NORM_PARAMETERS) {
    int   first = (int)get_global_id(0) * run, last = first + min(run, d0 * d1 - first);
    float count = (float)d2 * d3;
    for (int group = first; group < last; group++) {
        __global const float *from = x + GROUP_AT(x);
        __global float       *to = out + GROUP_AT(o);
        float                 mean = 0, square = 0;
        for (int c = 0; c < d2; c++) mean += line_sum(from + c * x_s2, d3, 0.0f, 0);
        mean /= count;
        for (int c = 0; c < d2; c++) square += line_sum(from + c * x_s2, d3, mean, 1);
        float scale = 1.0f / sqrt(square / count + epsilon);
        for (int c = 0; c < d2; c++) {
            int   g = group % d1, s = 0;
            float factor = HAS(1) ? scale * gamma[gamma_offset + g * gamma_s0 + c * gamma_s1] : scale;
            float shift = HAS(2) ? beta[beta_offset + g * beta_s0 + c * beta_s1] : 0.0f;
            for (; s + 16 <= d3; s += 16)
                fm_store16((vload16(0, from + c * x_s2 + s) - mean) * factor + shift, to + c * o_s2 + s);
            for (; s < d3; s++) to[c * o_s2 + s] = (from[c * x_s2 + s] - mean) * factor + shift;
        }
    }
}

#define MOST_CHANNELS 256

/* total[c] = sum over S of v (square 0) or (v - mean[c])^2, n channels contiguous, S rows step apart. */
static inline void channel_sums(__global const float *v, int n, int rows, int step, const float *mean, int square,
                                float *total) {
    int c = 0;
    for (; c + 16 <= n; c += 16) {
        float16 sum = 0.0f, middle = vload16(0, mean + c);
        for (int s = 0; s < rows; s++) {
            float16 t = vload16(0, v + s * step + c) - middle;
            sum += square ? t * t : t;
        }
        fm_store16(sum, total + c);
    }
    for (; c < n; c++) {
        float sum = 0;
        for (int s = 0; s < rows; s++) {
            float t = v[s * step + c] - mean[c];
            sum += square ? t * t : t;
        }
        total[c] = sum;
    }
}

/* Every channel of a group gets the group's mean of total. */
static inline void share_in_groups(float *total, int groups, int channels, float count) {
    for (int g = 0; g < groups; g++) {
        float sum = 0;
        for (int c = 0; c < channels; c++) sum += total[g * channels + c];
        for (int c = 0; c < channels; c++) total[g * channels + c] = sum / count;
    }
}

/* All G * C channels contiguous in x and out; run * C <= MOST_CHANNELS; global (ceil(G / run), N). */
__kernel void group_norm_channels(GROUP_NORM_PARAMETERS) {
    int                   first = (int)get_global_id(0) * run, groups = min(run, d1 - first), n = groups * d2, c = 0;
    int                   batch = (int)get_global_id(1);
    float                 mean[MOST_CHANNELS], factor[MOST_CHANNELS], shift[MOST_CHANNELS], count = (float)d2 * d3;
    __global const float *from = x + x_offset + batch * x_s0 + first * d2;
    __global float       *to = out + o_offset + batch * o_s0 + first * d2;
    for (int i = 0; i < n; i++) shift[i] = 0;
    channel_sums(from, n, d3, x_s3, shift, 0, mean);
    share_in_groups(mean, groups, d2, count);
    channel_sums(from, n, d3, x_s3, mean, 1, factor);
    share_in_groups(factor, groups, d2, count);
    for (int i = 0; i < n; i++) {
        int g = first + i / d2, k = i % d2;
        factor[i] = 1.0f / sqrt(factor[i] + epsilon);
        if (HAS(1)) factor[i] *= gamma[gamma_offset + g * gamma_s0 + k * gamma_s1];
        if (HAS(2)) shift[i] = beta[beta_offset + g * beta_s0 + k * beta_s1];
    }
    for (; c + 16 <= n; c += 16)
        for (int s = 0; s < d3; s++)
            fm_store16((vload16(0, from + s * x_s3 + c) - vload16(0, mean + c)) * vload16(0, factor + c) +
                           vload16(0, shift + c),
                       to + s * o_s3 + c);
    for (; c < n; c++)
        for (int s = 0; s < d3; s++) to[s * o_s3 + c] = (from[s * x_s3 + c] - mean[c]) * factor[c] + shift[c];
}
