/* Padding of up to 8 axes.  T: element moved (by size only).  mode: 0 constant fill[0], 1 reflect, 2 edge, 3 wrap.
 * out in d0..d7; x has sizes n0..n7 and starts at coordinates b0..b7 of out (negative: cropped).  A work-item computes
 * `run` elements. */
#include "views.clh"

/* Coordinate in the input, or -1 where constant padding stands. */
static inline int source(int at, int n, int mode) {
    if (at >= 0 && at < n) return at;
    if (mode == 0) return -1;
    if (mode == 2) return at < 0 ? 0 : n - 1;
    int period = mode == 1 ? max(2 * n - 2, 1) : n, r = at % period;
    if (r < 0) r += period;
    return r < n ? r : period - r;
}

__kernel void pad(__global const T *x, FM_VIEW8(x), __global const T *fill, __global T *out, FM_VIEW8(o), FM_DIMS8(d),
                  FM_DIMS8(n), FM_DIMS8(b), int mode, int count, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, d);
        int to = FM_AT8(o, q), inside;
#define SOURCE(a) q##a = source(q##a - b##a, n##a, mode);
        SOURCE(0)
        SOURCE(1) SOURCE(2) SOURCE(3) SOURCE(4) SOURCE(5) SOURCE(6) SOURCE(7)
            inside = q0 >= 0 && q1 >= 0 && q2 >= 0 && q3 >= 0 && q4 >= 0 && q5 >= 0 && q6 >= 0 && q7 >= 0;
        out[to] = inside ? x[FM_AT8(x, q)] : fill[0];
    }
}
