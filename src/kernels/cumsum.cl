/* Cumulative sum of T along one axis of n elements, stepping x_step and o_step; the lines are d0..d7 (the axis as 1).
 * A work-item computes `run` lines. */
#include "views.clh"

__kernel void cumsum(__global const T *x, FM_VIEW8(x), __global T *out, FM_VIEW8(o), FM_DIMS8(d), int n, int x_step,
                     int o_step, int exclusive, int reverse, int lines, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, lines - first);
    for (int line = first; line < end; line++) {
        FM_COORDS8(q, line, d);
        int from = FM_AT8(x, q), to = FM_AT8(o, q);
        T   total = 0;
        for (int j = 0; j < n; j++) {
            int i = reverse ? n - 1 - j : j;
            T   v = x[from + i * x_step];
            out[to + i * o_step] = exclusive ? total : total + v;
            total += v;
        }
    }
}
