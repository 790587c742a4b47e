/* out = EXPR over up to eight strided inputs.
 *
 *   INPUTS, CONSTANTS  how many; T0..T7, TO: element types; TRUTH_OUT: out is bool, stored as 0 or 1
 *   EXPR               over a0.., c0.. and coordinates i0.., which the host defines from q0.. and j
 *   RANK               4 or 8 axes, right-aligned, all views over the same d0.. (innermost last)
 *   V0..V7             types of a0.., given when an input has a type of stored.clh
 *   PUTS               the output has a type of stored.clh
 *   VECTOR             1: EXPR holds on float16 and every type is float, or uchar with bools as 0 and 1
 *
 * A work-item computes `run` elements in row-major order, row segment by row segment.  In the vector path segments go
 * 16 at a time where every input's innermost stride is 0 or 1 and the output's 1 (`lanes`). */
#include "lanes.clh"
#include "math.clh"
#include "views.clh"
#if defined(V0) || defined(PUTS)
#include "stored.clh"
#endif

#if RANK == 4
#define VIEW(x)          FM_VIEW4(x)
#define DIMS             FM_DIMS4(d)
#define COORDS(index)    FM_COORDS4(q, index, d)
#define AT(x)            FM_AT4(x, q)
#define INNER            d3
#define STEP(x)          x##_s3
#define INNER_COORDINATE q3
#else
#define VIEW(x)          FM_VIEW8(x)
#define DIMS             FM_DIMS8(d)
#define COORDS(index)    FM_COORDS8(q, index, d)
#define AT(x)            FM_AT8(x, q)
#define INNER            d7
#define STEP(x)          x##_s7
#define INNER_COORDINATE q7
#endif

/* REPEAT(X): X(0) X(1) .. X(INPUTS - 1) */
#define R0(X)
#define R1(X)               X(0)
#define R2(X)               R1(X) X(1)
#define R3(X)               R2(X) X(2)
#define R4(X)               R3(X) X(3)
#define R5(X)               R4(X) X(4)
#define R6(X)               R5(X) X(5)
#define R7(X)               R6(X) X(6)
#define R8(X)               R7(X) X(7)
#define PASTE_(a, b)        a##b
#define PASTE(a, b)         PASTE_(a, b)
#define REPEAT(X)           PASTE(R, INPUTS)(X)
#define REPEAT_CONSTANTS(X) PASTE(R, CONSTANTS)(X)

#define INPUT(n)    __global const T##n *p##n, VIEW(v##n),
#define CONSTANT(n) float c##n,
#define ROW(n)      __global const T##n *x##n = p##n + AT(v##n);
#ifdef V0
#define SCALAR(n) V##n a##n = fm_fetch(x##n, j * STEP(v##n));
#else
#define SCALAR(n) T##n a##n = x##n[j * STEP(v##n)];
#endif

#ifdef TRUTH_OUT
#define STORED(value) ((value) != 0)
#else
#define STORED(value) (value)
#endif

#if VECTOR
/* The built-in select is ambiguous where both choices are constants and the condition is a vector. */
FM_FN float   choose(float x, float y, int condition) { return condition ? y : x; }
FM_FN float16 choose(float16 x, float16 y, int16 condition) { return select(x, y, condition); }
#undef select
#define select choose
FM_FN float16 as_lanes(float16 x) { return x; }
FM_FN float16 as_lanes(float x) { return x; }
FM_FN float16 as_lanes(int x) { return (float)x; }
FM_FN float16 as_lanes(int16 truth) { return convert_float16(truth != 0) * -1.0f; }
#define LANES(n) float16 a##n = STEP(v##n) ? convert_float16(vload16(0, x##n + j)) : (float16)((float)x##n[0]);
#define LANED(n) &&(uint)STEP(v##n) <= 1
#ifdef TRUTH_OUT
#define STORED_LANES(value) convert_uchar16(as_lanes((value) != 0))
#else
#define STORED_LANES(value) as_lanes(value)
#endif
#endif

__kernel void elementwise(REPEAT(INPUT) REPEAT_CONSTANTS(CONSTANT) __global TO *out, VIEW(o), DIMS, int count,
                          int run) {
    int at = (int)get_global_id(0) * run, end = at + min(run, count - at);
#if VECTOR
    int lanes = STEP(o) == 1 REPEAT(LANED);
#endif
    while (at < end) {
        COORDS(at);
        int first = INNER_COORDINATE, n = min(INNER - first, end - at), j = 0;
        REPEAT(ROW)
        __global TO *to = out + AT(o);
#if VECTOR
        if (lanes)
            for (; j + 16 <= n; j += 16) {
                REPEAT(LANES)
                fm_store16(STORED_LANES(EXPR), to + j);
            }
#endif
        for (; j < n; j++) {
            REPEAT(SCALAR)
#ifdef PUTS
            fm_put(to, j * STEP(o), (float)STORED(EXPR));
#else
            to[j * STEP(o)] = (TO)STORED(EXPR);
#endif
        }
        at += n;
    }
}
