/* Gathers.  T: element moved (by size only); INDEX: int or long.  A work-item computes `run` output elements. */
#include "views.clh"

/* Counts negative indices from the end and clamps what is out of range. */
static inline int checked(long index, int size) {
    return (int)clamp(index < 0 ? index + size : index, 0L, (long)size - 1);
}

/* out[o, i, n] = table[o, indices[i], n]; out [O, N, I] in d0..d2, table [O, size, I]. Rows of n go element by element
 * or, where both are contiguous, as one run. */
__kernel void gather(__global const T *table, FM_VIEW3(t), __global const INDEX *indices, FM_VIEW1(x), __global T *out,
                     FM_VIEW3(o), FM_DIMS3(d), int size, int count, int run) {
    int at = (int)get_global_id(0) * run, end = at + min(run, count - at);
    while (at < end) {
        FM_COORDS3(q, at, d);
        int               n = min(d2 - q2, end - at);
        __global const T *from = table + t_offset + q0 * t_s0 + checked(indices[x_offset + q1 * x_s0], size) * t_s1 +
                                 q2 * t_s2;
        __global T *to = out + FM_AT3(o, q);
        if (t_s2 == 1 && o_s2 == 1)
            for (int j = 0; j < n; j++) to[j] = from[j];
        else
            for (int j = 0; j < n; j++) to[j * o_s2] = from[j * t_s2];
        at += n;
    }
}

/* out[p] = data[p with coordinate `axis` (right-aligned, of 8) = indices[p]]; out and indices in d0..d7. */
__kernel void gather_elements(__global const T *data, FM_VIEW8(t), __global const INDEX *indices, FM_VIEW8(x),
                              __global T *out, FM_VIEW8(o), FM_DIMS8(d), int axis, int size, int count, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        FM_COORDS8(q, at, d);
        int index = checked(indices[FM_AT8(x, q)], size), to = FM_AT8(o, q);
        q0 = axis == 0 ? index : q0, q1 = axis == 1 ? index : q1, q2 = axis == 2 ? index : q2,
        q3 = axis == 3 ? index : q3;
        q4 = axis == 4 ? index : q4, q5 = axis == 5 ? index : q5, q6 = axis == 6 ? index : q6,
        q7 = axis == 7 ? index : q7;
        out[to] = data[FM_AT8(t, q)];
    }
}

/* out[n, j] = data[indices[n, 0], .., indices[n, q - 1], coordinates of j in the other axes].  Data's axes are
 * left-aligned here: sizes d0..d7 (1 where it has none); the first `depth` are indexed; inner: product of others. */
__kernel void gather_nd(__global const T *data, FM_VIEW8(t), __global const INDEX *indices, FM_VIEW2(x),
                        __global T *out, FM_VIEW2(o), FM_DIMS8(d), int depth, int inner, int count, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, count - first);
    for (int at = first; at < end; at++) {
        int n = at / inner, rest = at % inner, from = t_offset;
#define INDEXED(a) \
    if (a < depth) from += checked(indices[x_offset + n * x_s0 + a * x_s1], d##a) * t_s##a;
#define INNER(a)                      \
    if (a >= depth) {                 \
        from += rest % d##a * t_s##a; \
        rest /= d##a;                 \
    }
        INDEXED(0)
        INDEXED(1) INDEXED(2) INDEXED(3) INDEXED(4) INDEXED(5) INDEXED(6) INDEXED(7) INNER(7) INNER(6) INNER(5) INNER(4)
            INNER(3) INNER(2) INNER(1) INNER(0) out[o_offset + n * o_s0 + at % inner * o_s1] = data[from];
    }
}
