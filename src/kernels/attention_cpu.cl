/* Attention for CPU devices: a work-item computes up to 8 groups of 32 neighbouring queries of one head, streaming over
 * the keys.
 *
 * Vector lanes are queries, so that everything about softmax is lane by lane: scores are kept as [key][query], the
 * output as [channel][query], and the items of k and v are broadcast from where they lie, whatever their strides.
 * Exponents are base 2: queries are scaled by scale * log2(e).  Shapes and masks as in attention.cl; D, Dv <= MOST. */
#include "lanes.clh"
#include "math.clh"
#include "views.clh"

#define MOST        256 /* channels */
#define KEYS        80  /* keys of a block, at most */
#define TILE        8   /* keys or channels of a register tile */
#define QUERIES     32
#define MOST_GROUPS 8
#define LOG2E       1.44269504f

#define ATTENTION_PARAMETERS                                                                                          \
    __global const float *q, FM_VIEW4(q), __global const float *k, FM_VIEW4(k), __global const float *v, FM_VIEW4(v), \
        __global const float *added, __global const uchar *kept, FM_VIEW4(m), __global float *out, FM_VIEW4(o),       \
        int heads, int group, int S, int T, int D, int Dv, float scale, int mask_kind, int low, int high

/* 2^x for x <= 0; exactly 0 from -127 down, where the exponent field runs out. */
static inline float16 exp2_lanes(float16 x) {
    x = select(x, (float16)-127.0f, x < -127.0f);
    float16 t = x + 12582912.0f, r = x - (t - 12582912.0f);
    float16 p = ((((0x1.5bb83ep-10f * r + 0x1.3cec5p-7f) * r + 0x1.c6b76p-5f) * r + 0x1.ebf9b8p-3f) * r +
                 0x1.62e42ap-1f) *
                r;
    return as_float16(as_int16(p + 1.0f) + (as_int16(t) << 23));
}

/* Transposes 16 x 16 in four perfect shuffles of its 256 elements; other is scratch. */
#define LOW(a, b) \
    (float16)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3, a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7)
#define HIGH(a, b) \
    (float16)(a.s8, b.s8, a.s9, b.s9, a.sa, b.sa, a.sb, b.sb, a.sc, b.sc, a.sd, b.sd, a.se, b.se, a.sf, b.sf)
static inline void shuffle_rows(const float16 *from, float16 *to) {
    for (int i = 0; i < 8; i++) to[2 * i] = LOW(from[i], from[i + 8]), to[2 * i + 1] = HIGH(from[i], from[i + 8]);
}
static inline void transpose(float16 *rows, float16 *other) {
    shuffle_rows(rows, other);
    shuffle_rows(other, rows);
    shuffle_rows(rows, other);
    shuffle_rows(other, rows);
}

/* asked[d][32] = factor * q[query][d], the last query standing for those beyond `queries`. */
static inline void load_queries(__global const float *q, int row, int step, int queries, int D, float factor,
                                float16 *asked) {
    float16 rows[16], other[16];
    int     d = 0;
    for (; step == 1 && d + 16 <= D; d += 16)
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < 16; i++) rows[i] = vload16(0, q + min(16 * side + i, queries - 1) * row + d) * factor;
            transpose(rows, other);
            for (int i = 0; i < 16; i++) asked[2 * (d + i) + side] = rows[i];
        }
    for (; d < D; d++)
        for (int i = 0; i < QUERIES; i++)
            ((float *)asked)[d * QUERIES + i] = q[min(i, queries - 1) * row + d * step] * factor;
}

/* out[query][c] = sums[c][32] * factor. */
static inline void store_sums(__global float *out, int row, int step, int queries, int Dv, float16 factor_x,
                              float16 factor_y, float16 *sums) {
    float16 rows[16], other[16];
    int     c = 0;
    for (int i = 0; i < Dv; i++) sums[2 * i] *= factor_x, sums[2 * i + 1] *= factor_y;
    for (; step == 1 && c + 16 <= Dv; c += 16)
        for (int first = 0; first < queries; first += 16) {
            for (int i = 0; i < 16; i++) rows[i] = sums[2 * (c + i) + first / 16];
            transpose(rows, other);
            for (int i = 0; i < 16 && first + i < queries; i++) fm_store16(rows[i], out + (first + i) * row + c);
        }
    for (; c < Dv; c++)
        for (int i = 0; i < queries; i++) out[i * row + c * step] = ((float *)sums)[c * QUERIES + i];
}

/* X(0) .. X(7) */
#define EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

/* scores[t][32] = k[t] . queries, for TILE keys (the last of `left` standing for those beyond), channels step apart.
 * Unless wide, only the first 16 queries matter. */
static inline void score_tile(__global const float *k, int row, int step, int left, int D, int wide,
                              const float16 *queries, float16 *scores) {
#define KEY(i)                                               \
    __global const float *k##i = k + min(i, left - 1) * row; \
    float16               a##i = 0.0f, b##i = 0.0f;
    EIGHT(KEY)
#define MULTIPLY(i)       \
    a##i += x * k##i[at]; \
    b##i += y * k##i[at];
#define MULTIPLY_NARROW(i) a##i += x * k##i[at];
    for (int d = 0, at = 0; wide && d < D; d++, at += step) {
        float16 x = queries[2 * d], y = queries[2 * d + 1];
        EIGHT(MULTIPLY)
    }
    for (int d = 0, at = 0; !wide && d < D; d++, at += step) {
        float16 x = queries[2 * d];
        EIGHT(MULTIPLY_NARROW)
    }
#define KEEP(i)           \
    scores[2 * i] = a##i; \
    scores[2 * i + 1] = b##i;
    EIGHT(KEEP)
}

/* sums[c][32] = sums[c][32] * shrink + sum over n keys of weights[t][32] * v[t][c], for TILE channels. */
static inline void value_tile(__global const float *v, int row, int step, int left, int n, int wide,
                              const float16 *weights, float16 shrink_x, float16 shrink_y, float16 *sums) {
#define CHANNEL(i)                                            \
    __global const float *v##i = v + min(i, left - 1) * step; \
    float16               a##i = sums[2 * i] * shrink_x, b##i = sums[2 * i + 1] * shrink_y;
    EIGHT(CHANNEL)
#define ADD(i)            \
    a##i += x * v##i[at]; \
    b##i += y * v##i[at];
#define ADD_NARROW(i) a##i += x * v##i[at];
    for (int t = 0, at = 0; wide && t < n; t++, at += row) {
        float16 x = weights[2 * t], y = weights[2 * t + 1];
        EIGHT(ADD)
    }
    for (int t = 0, at = 0; !wide && t < n; t++, at += row) {
        float16 x = weights[2 * t];
        EIGHT(ADD_NARROW)
    }
#define KEEP_SUM(i)     \
    sums[2 * i] = a##i; \
    sums[2 * i + 1] = b##i;
    EIGHT(KEEP_SUM)
}

/* Adds or applies the mask: scores [n][32] of keys from `mask` on, queries q_step apart (clamped to `queries`). */
static inline void mask_scores(__global const float *added, __global const uchar *kept, int mask_kind, int mask,
                               int t_step, int q_step, int queries, int n, float *scores) {
    for (int t = 0; t < n; t++, mask += t_step)
        for (int i = 0; i < QUERIES; i += q_step ? 1 : QUERIES) {
            int   at = mask + min(i, queries - 1) * q_step;
            float m = mask_kind == 1 ? added[at] : kept[at] ? 0.0f : -INFINITY;
            m = m < -2.3e38f ? m : m * LOG2E; /* the lowest floats stay finite */
            if (q_step) scores[t * QUERIES + i] += m;
            else ((float16 *)scores)[2 * t] += m, ((float16 *)scores)[2 * t + 1] += m;
        }
}

/* Excludes what lies outside the window: key first + t is seen by query s iff s + low < first + t <= s + high. */
static inline void window_scores(int first, int s, int low, int high, int n, float16 *scores) {
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int t = 0; t < n; t++) {
        int16 past = first + t - s - lane; /* of the first 16 queries */
        scores[2 * t] = select((float16)-INFINITY, scores[2 * t], past > low && past <= high);
        past -= 16;
        scores[2 * t + 1] = select((float16)-INFINITY, scores[2 * t + 1], past > low && past <= high);
    }
}

/* Scores become weights relative to the new top; gives the factor by which older sums shrink. */
static inline float16 weigh(float16 *scores, int n, float16 *top, float16 *total) {
    float16 next = *top, other = *top, sum = 0.0f;
    for (int t = 0; t + 1 < n; t += 2)
        next = fm_larger(next, scores[2 * t]), other = fm_larger(other, scores[2 * t + 2]);
    next = fm_larger(fm_larger(next, other), scores[2 * n - 2]);
    float16 base = select(next, (float16)0.0f, next == -INFINITY);
    for (int t = 0; t < n; t++) {
        float16 w = exp2_lanes(scores[2 * t] - base);
        scores[2 * t] = w;
        sum += w;
    }
    float16 shrink = exp2_lanes(*top - base);
    *total = *total * shrink + sum;
    *top = next;
    return shrink;
}

/* Global (ceil(S / (32 * groups)), H, B); groups * max(D, Dv rounded up to 8) <= MOST.  Every block of keys serves all
 * groups of 32 queries while it is in the cache: k and v of long sequences are not, those of packed heads least. */
__kernel void attention_cpu(ATTENTION_PARAMETERS, int groups) {
    int s = (int)get_global_id(0) * QUERIES * groups, h = (int)get_global_id(1), b = (int)get_global_id(2);
    int end = min(S, s + QUERIES * groups), used = (end - s + QUERIES - 1) / QUERIES, padded = (Dv + TILE - 1) & -TILE;
    float16 asked[2 * MOST], sums[2 * MOST], scores[2 * KEYS], top[2 * MOST_GROUPS], total[2 * MOST_GROUPS];
    q += q_offset + b * q_s0 + h * q_s1;
    k += k_offset + b * k_s0 + h / group * k_s1;
    v += v_offset + b * v_s0 + h / group * v_s1;
    out += o_offset + b * o_s0 + h * o_s1;
    int mask = m_offset + b * m_s0 + h * m_s1;
    for (int g = 0; g < used; g++)
        load_queries(q + (s + g * QUERIES) * q_s2, q_s2, q_s3, min(end - s - g * QUERIES, QUERIES), D, scale * LOG2E,
                     asked + 2 * g * D);
    for (int i = 0; i < 2 * used * padded; i++) sums[i] = 0.0f;
    for (int i = 0; i < 2 * used; i++) top[i] = -INFINITY, total[i] = 0.0f;
    int begin = max(0, s + low + 1), last = min(T, end + high), blocks = (last - begin + KEYS - 1) / KEYS;
    int step = ((last - begin + blocks - 1) / max(blocks, 1) + TILE - 1) & -TILE; /* equal blocks, whole tiles */
    for (int first = begin; first < last; first += step)
        for (int g = 0; g < used; g++) {
            int      at = s + g * QUERIES, queries = min(end - at, QUERIES), wide = queries > 16;
            int      t = max(first, at + low + 1), n = min(min(first + step, last), at + queries + high) - t;
            float16 *weighed = sums + 2 * g * padded, shrink_x, shrink_y = 0.0f;
            if (n <= 0) continue;
            for (int i = 0; i < n; i += TILE)
                score_tile(k + (t + i) * k_s2, k_s2, k_s3, n - i, D, wide, asked + 2 * g * D, scores + 2 * i);
            if (mask_kind)
                mask_scores(added, kept, mask_kind, mask + at * m_s2 + t * m_s3, m_s3, m_s2, queries, n,
                            (float *)scores);
            if (t <= at + queries - 1 + low || t + n - 1 > at + high) window_scores(t, at, low, high, n, scores);
            shrink_x = weigh(scores, n, &top[2 * g], &total[2 * g]);
            if (wide) shrink_y = weigh(scores + 1, n, &top[2 * g + 1], &total[2 * g + 1]);
            for (int d = 0; d < Dv; d += TILE)
                value_tile(v + t * v_s2 + d * v_s3, v_s2, v_s3, Dv - d, n, wide, scores, shrink_x, shrink_y,
                           weighed + 2 * d);
        }
    for (int i = 0; i < 2 * used; i++) total[i] = select((float16)0.0f, 1.0f / total[i], total[i] > 0.0f);
    for (int g = 0; g < used; g++)
        store_sums(out + (s + g * QUERIES) * o_s2, o_s2, o_s3, min(end - s - g * QUERIES, QUERIES), Dv, total[2 * g],
                   total[2 * g + 1], sums + 2 * g * padded);
}
