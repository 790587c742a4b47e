/* Reductions of x.  The output's axes are k0..k7 (right-aligned), stepping x_s* in x and o_s* in out; the reduced axes
 * are r0..r7, stepping z_s* in x from z_offset (0).  T: element type; REAL: T is float; OP_<name>: which reduction
 * (SUM, MEAN, MAX, MIN, PROD, SUM_SQUARE, L1, L2, LOG_SUM, LOG_SUM_EXP, ARG_MAX, ARG_MIN).
 * A work-item computes `run` outputs, of `count`; n is the elements that each reduces. */
#include "lanes.clh"
#include "math.clh"
#include "views.clh"

#define REDUCE_PARAMETERS(OUT)                                                                               \
    __global const T *x, FM_VIEW8(x), __global OUT *out, FM_VIEW8(o), FM_DIMS8(k), FM_VIEW8(z), FM_DIMS8(r), \
        int count, int n, int select_last, int run
/* Runs the body with r_at = position of each innermost run of reduced elements (r7 of them, z_s7 apart). */
#define FOR_RUNS(base)                             \
    for (int outer = 0; outer < n / r7; outer++) { \
        FM_COORDS8(p, outer *r7, r);               \
        int r_at = (base) + FM_AT8(z, p);
#define END_RUNS }

#if defined OP_MAX
#define START(V)      ((V)(LEAST))
#define MAP(v)        (v)
#define COMBINE(a, b) LARGER(a, b)
#define FINISH(a)     (a)
#elif defined OP_MIN
#define START(V)      ((V)(MOST))
#define MAP(v)        (v)
#define COMBINE(a, b) SMALLER(a, b)
#define FINISH(a)     (a)
#elif defined OP_PROD
#define START(V)      ((V)(1))
#define MAP(v)        (v)
#define COMBINE(a, b) ((a) * (b))
#define FINISH(a)     (a)
#else
#define START(V)      ((V)(0))
#define COMBINE(a, b) ((a) + (b))
#if defined OP_SUM_SQUARE || defined OP_L2
#define MAP(v) ((v) * (v))
#elif defined OP_L1
#define MAP(v) MAGNITUDE(v)
#else
#define MAP(v) (v)
#endif
#if defined OP_MEAN
#define FINISH(a) ((a) / (T)n)
#elif defined OP_L2
#define FINISH(a) sqrt(a)
#elif defined OP_LOG_SUM
#define FINISH(a) log(a)
#else
#define FINISH(a) (a)
#endif
#endif

#ifdef REAL
#define LARGER(a, b)  fm_max(a, b)
#define SMALLER(a, b) fm_min(a, b)
#define MAGNITUDE(v)  fabs(v)
#define LEAST         -INFINITY
#define MOST          INFINITY
#else
#define LARGER(a, b)  max(a, b)
#define SMALLER(a, b) min(a, b)
#define MAGNITUDE(v)  ((T)abs(v))
#define LEAST         ((T)1 << (sizeof(T) * 8 - 1))
#define MOST          (~LEAST)
#endif

#if defined OP_ARG_MAX || defined OP_ARG_MIN
#ifdef OP_ARG_MAX
#define BETTER(v, best) ((v) > (best))
#else
#define BETTER(v, best) ((v) < (best))
#endif
__kernel void reduce(REDUCE_PARAMETERS(long)) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, k);
        int from = FM_AT8(x, q), found = 0;
        T   best = x[from];
        for (int i = 1; i < r7; i++) {
            T v = x[from + i * z_s7];
            if (BETTER(v, best) || (select_last && v == best)) best = v, found = i;
        }
        out[FM_AT8(o, q)] = found;
    }
}
#elif defined OP_LOG_SUM_EXP
__kernel void reduce(REDUCE_PARAMETERS(T)) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, k);
        float top = -INFINITY, total = 0;
        FOR_RUNS(FM_AT8(x, q))
        for (int i = 0; i < r7; i++) top = fmax(top, x[r_at + i * z_s7]);
        END_RUNS
        float shift = isinf(top) ? 0.0f : top;
        FOR_RUNS(FM_AT8(x, q))
        for (int i = 0; i < r7; i++) total += exp(x[r_at + i * z_s7] - shift);
        END_RUNS
        out[FM_AT8(o, q)] = log(total) + shift;
    }
}
#else
__kernel void reduce(REDUCE_PARAMETERS(T)) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, k);
        T total = START(T);
        FOR_RUNS(FM_AT8(x, q))
        T part = START(T);
        for (int i = 0; i < r7; i++) part = COMBINE(part, MAP(x[r_at + i * z_s7]));
        total = COMBINE(total, part);
        END_RUNS
        out[FM_AT8(o, q)] = FINISH(total);
    }
}

#ifdef REAL
/* fm_max and the like are there for float and float16 only. */
static inline float lanes_to_one(float16 v) {
    float total = START(float), lanes[16];
    fm_store16(v, lanes);
    for (int i = 0; i < 16; i++) total = COMBINE(total, lanes[i]);
    return total;
}

/* The innermost reduced axis is contiguous: 16 elements of it at a time. */
__kernel void reduce_along(REDUCE_PARAMETERS(T)) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, k);
        float16 lanes = START(float16);
        float   total = START(float);
        FOR_RUNS(FM_AT8(x, q))
        float16 part = START(float16);
        int     i = 0;
        for (; i + 16 <= r7; i += 16) part = COMBINE(part, MAP(vload16(0, x + r_at + i)));
        for (; i < r7; i++) total = COMBINE(total, MAP(x[r_at + i]));
        lanes = COMBINE(lanes, part);
        END_RUNS
        total = COMBINE(total, lanes_to_one(lanes));
        out[FM_AT8(o, q)] = FINISH(total);
    }
}

/* The innermost output axis is contiguous in x and out: 16 neighbouring outputs at a time. */
__kernel void reduce_across(REDUCE_PARAMETERS(T)) {
    int at = (int)get_global_id(0) * run, end = at + min(run, count - at);
    while (at < end) {
        FM_COORDS8(q, at, k);
        int segment = min(k7 - q7, end - at), from = FM_AT8(x, q), to = FM_AT8(o, q), j = 0;
        for (; j + 16 <= segment; j += 16) {
            float16 total = START(float16);
            FOR_RUNS(from + j)
            float16 part = START(float16);
            for (int i = 0; i < r7; i++) part = COMBINE(part, MAP(vload16(0, x + r_at + i * z_s7)));
            total = COMBINE(total, part);
            END_RUNS
            fm_store16(FINISH(total), out + to + j);
        }
        for (; j < segment; j++) {
            float total = START(float);
            FOR_RUNS(from + j)
            for (int i = 0; i < r7; i++) total = COMBINE(total, MAP(x[r_at + i * z_s7]));
            END_RUNS
            out[to + j] = FINISH(total);
        }
        at += segment;
    }
}
#endif
#endif
