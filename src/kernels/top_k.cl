/* Places of the k first elements of T in order along one axis of n, stepping x_step and o_step; the lines are d0..d7
 * (the axis as 1).  The result is its own heap: the one of the k that comes last is at the root, until the heap is
 * sorted.  A work-item computes `run` lines. */
#include "views.clh"

/* Of equal elements the first place comes first. */
static int comes_before(__global const T *x, int step, int largest, int i, int j) {
    T a = x[i * step], b = x[j * step];
    return a == b ? i < j : largest ? a > b : a < b;
}

/* heap[at] sinks below those of the first `count` that come after it. */
static void sink(__global const T *x, int x_step, int largest, __global long *heap, int o_step, int at, int count) {
    for (int child = 2 * at + 1; child < count; child = 2 * at + 1) {
        int here = (int)heap[at * o_step], last = (int)heap[child * o_step];
        if (child + 1 < count && comes_before(x, x_step, largest, last, (int)heap[(child + 1) * o_step]))
            last = (int)heap[++child * o_step];
        if (comes_before(x, x_step, largest, last, here)) return;
        heap[at * o_step] = last;
        heap[child * o_step] = here;
        at = child;
    }
}

__kernel void top_k(__global const T *x, FM_VIEW8(x), __global long *out, FM_VIEW8(o), FM_DIMS8(d), int n, int k,
                    int x_step, int o_step, int largest, int lines, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, lines - first);
    for (int line = first; line < end; line++) {
        FM_COORDS8(q, line, d);
        __global const T *from = x + FM_AT8(x, q);
        __global long    *heap = out + FM_AT8(o, q);
        for (int i = 0; i < k; i++) heap[i * o_step] = i;
        for (int i = k / 2 - 1; i >= 0; i--) sink(from, x_step, largest, heap, o_step, i, k);
        for (int i = k; i < n; i++) {
            if (!comes_before(from, x_step, largest, i, (int)heap[0])) continue;
            heap[0] = i;
            sink(from, x_step, largest, heap, o_step, 0, k);
        }
        for (int count = k - 1; count > 0; count--) {
            long last = heap[0];
            heap[0] = heap[count * o_step];
            heap[count * o_step] = last;
            sink(from, x_step, largest, heap, o_step, 0, count);
        }
    }
}
