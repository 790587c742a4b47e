/* Scatters updates into out, which already holds the data.  T: element moved (by size only); INDEX: int or long.
 * Every work-item owns a part of out and looks through all indices that may hit it, so that nothing races and the last
 * of equal indices wins.  Out-of-range indices are clamped. */
#include "views.clh"

static inline int checked(long index, int size) {
    return (int)clamp(index < 0 ? index + size : index, 0L, (long)size - 1);
}

/* ND: updates [n, inner]; indices [n, depth].  Out's axes are left-aligned, sizes d0..d7 (1 where it has none), the
 * first `depth` indexed.  An item owns `run` of the `slices` positions of the indexed axes. */
__kernel void scatter_nd(__global const INDEX *indices, FM_VIEW2(x), __global const T *updates, FM_VIEW2(u),
                         __global T *out, FM_VIEW8(o), FM_DIMS8(d), int depth, int n, int inner, int slices, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, slices - first);
    for (int i = 0; i < n; i++) {
        int slice = 0, to = o_offset;
#define INDEXED(a)                                                          \
    if (a < depth) {                                                        \
        int index = checked(indices[x_offset + i * x_s0 + a * x_s1], d##a); \
        slice = slice * d##a + index;                                       \
        to += index * o_s##a;                                               \
    }
        INDEXED(0)
        INDEXED(1) INDEXED(2) INDEXED(3) INDEXED(4) INDEXED(5) INDEXED(6)
            INDEXED(7) if (slice < first || slice >= end) continue;
        for (int j = 0; j < inner; j++) {
            int rest = j, at = to;
#define INNER(a)                    \
    if (a >= depth) {               \
        at += rest % d##a * o_s##a; \
        rest /= d##a;               \
    }
            INNER(7)
            INNER(6) INNER(5) INNER(4) INNER(3) INNER(2) INNER(1) INNER(0)
                out[at] = updates[u_offset + i * u_s0 + j * u_s1];
        }
    }
}

/* Along an axis: indices and updates have sizes d0..d7, of which the axis' is replaced by 1 and stands in n; out's
 * stride and size along it are o_step and size.  An item owns `run` of the lines along the axis. */
__kernel void scatter_elements(__global const INDEX *indices, FM_VIEW8(x), __global const T *updates, FM_VIEW8(u),
                               __global T *out, FM_VIEW8(o), FM_DIMS8(d), int n, int x_step, int u_step, int o_step,
                               int size, int lines, int run) {
    int first = (int)get_global_id(0) * run, end = first + min(run, lines - first);
    for (int line = first; line < end; line++) {
        FM_COORDS8(q, line, d);
        int index_at = FM_AT8(x, q), update_at = FM_AT8(u, q), to = FM_AT8(o, q);
        for (int i = 0; i < n; i++)
            out[to + checked(indices[index_at + i * x_step], size) * o_step] = updates[update_at + i * u_step];
    }
}
