/* Boxes through a reshape.  Axes of both shapes fall into groups that hold the same number of elements:
 *
 *     [12, 64, 768] -> [768, 2, 384]      groups {12, 64 | 768}, {768 | 2, 384}
 *
 * Within a group, a box of the new axes is a few runs of flat positions, and a run is a few boxes of the old axes; the
 * product over the groups gives the boxes to read. */
#include <assert.h>
#include <string.h>

#include "compile/graph/recipe_read.h"

enum { MAX_GROUPS = 2 * FM_MAX_RANK };

typedef struct axis_group {
    uint32_t in_first, in_end, out_first, out_end;
} axis_group;

static uint32_t find_groups(const fm_shape *in, const fm_shape *out, axis_group *groups) {
    uint32_t i = 0, o = 0, n = 0;
    while (i < in->rank || o < out->rank) {
        axis_group g = { i, i, o, o };
        int64_t    pi = i < in->rank ? in->dims[i++] : 1, po = o < out->rank ? out->dims[o++] : 1;
        while (pi != po) {
            if (pi < po) {
                assert(i < in->rank);
                pi *= in->dims[i++];
            } else {
                assert(o < out->rank);
                po *= out->dims[o++];
            }
        }
        g.in_end = i;
        g.out_end = o;
        groups[n++] = g;
    }
    return n;
}

void fm_recipe_reshape_order(const fm_shape *from, const uint32_t *from_order, const fm_shape *to, uint32_t *order) {
    axis_group groups[MAX_GROUPS];
    bool       taken[MAX_GROUPS] = { false };
    uint32_t   filled = 0;
    for (uint32_t i = 0; i < to->rank; i++) order[i] = i;
    if (fm_shape_count(from) <= 0) return;
    uint32_t n = find_groups(from, to, groups);
    for (uint32_t k = 0; k <= from->rank; k++) /* the last round takes groups without old axes */
        for (uint32_t g = 0; g < n; g++) {
            bool here = k == from->rank || (groups[g].in_first <= from_order[k] && from_order[k] < groups[g].in_end);
            if (taken[g] || !here) continue;
            taken[g] = true;
            for (uint32_t o = groups[g].out_first; o < groups[g].out_end; o++) order[filled++] = o;
        }
    assert(filled == to->rank);
}

typedef struct reshape_walk {
    const fm_recipe        *r; /* the reshape */
    const int64_t          *start, *count;
    const fm_recipe_target *target;
    axis_group              groups[MAX_GROUPS];
    uint32_t                group_count;
    int64_t                 in_start[FM_MAX_RANK], in_count[FM_MAX_RANK], in_strides[FM_MAX_RANK];
    flashmem_error         *err;
} reshape_walk;

static flashmem_status walk_group(reshape_walk *w, uint32_t g, int64_t offset);

/* The run of flat positions [first, end) of group g, from old axis `axis` on, whose first element goes to offset. */
static flashmem_status walk_run(reshape_walk *w, uint32_t g, uint32_t axis, int64_t first, int64_t end, int64_t offset,
                                int64_t stride) {
    const axis_group *group = &w->groups[g];
    const int64_t    *dims = w->r->inputs[0]->shape.dims;
    if (axis >= group->in_end) return walk_group(w, g + 1, offset); /* a group of unit axes only */
    int64_t inner = 1;
    for (uint32_t a = axis + 1; a < group->in_end; a++) inner *= dims[a];
    int64_t row = first / inner, last_row = (end - 1) / inner;
    w->in_strides[axis] = inner * stride;
    if (inner > 1 && (row == last_row || first % inner)) { /* part of one row, then the rest */
        int64_t stop = row == last_row ? end : (row + 1) * inner;
        if (row != last_row || first % inner || end % inner) {
            w->in_start[axis] = row;
            w->in_count[axis] = 1;
            FM_TRY(walk_run(w, g, axis + 1, first - row * inner, stop - row * inner, offset, stride));
            if (stop == end) return FLASHMEM_OK;
            return walk_run(w, g, axis, stop, end, offset + (stop - first) * stride, stride);
        }
    }
    int64_t stop_row = end / inner; /* whole rows */
    w->in_start[axis] = row;
    w->in_count[axis] = stop_row - row;
    for (uint32_t a = axis + 1; a < group->in_end; a++) {
        inner /= dims[a];
        w->in_start[a] = 0;
        w->in_count[a] = dims[a];
        w->in_strides[a] = inner * stride;
    }
    FM_TRY(walk_group(w, g + 1, offset));
    inner = axis + 1 < group->in_end ? w->in_strides[axis] / stride : 1;
    if (stop_row * inner == end) return FLASHMEM_OK;
    w->in_start[axis] = stop_row;
    w->in_count[axis] = 1;
    return walk_run(w, g, axis + 1, 0, end - stop_row * inner, offset + (stop_row * inner - first) * stride, stride);
}

/* Every run of group g's box; offset is what the groups before it add. */
static flashmem_status walk_group(reshape_walk *w, uint32_t g, int64_t offset) {
    if (g == w->group_count) {
        fm_recipe_target t = { .to = w->target->to + offset * (int64_t)fm_dtype_bytes(w->target->dtype),
                               .dtype = w->target->dtype };
        int64_t          start[FM_MAX_RANK], count[FM_MAX_RANK];
        memcpy(start, w->in_start, sizeof start);
        memcpy(count, w->in_count, sizeof count);
        memcpy(t.strides, w->in_strides, sizeof t.strides);
        return fm_recipe_eval(w->r->inputs[0], start, count, &t, w->err);
    }
    const axis_group *group = &w->groups[g];
    const int64_t    *dims = w->r->shape.dims, *strides = w->target->strides;
    uint32_t          suffix = group->out_end; /* axes from here on make one run */
    int64_t           begin = 0, length = 1, whole = 1, stride = 1;
    while (suffix > group->out_first) {
        uint32_t a = suffix - 1;
        if (length != whole || (whole > 1 && w->count[a] > 1 && strides[a] != stride * whole)) break;
        if (whole == 1) stride = strides[a];
        begin = w->start[a] * whole;
        length = w->count[a] * whole;
        whole *= dims[a];
        suffix = a;
    }
    int64_t at[FM_MAX_RANK] = { 0 };
    for (;;) {
        int64_t base = 0, put = offset;
        for (uint32_t a = group->out_first; a < suffix; a++) {
            base = base * dims[a] + w->start[a] + at[a];
            put += at[a] * strides[a];
        }
        base = base * whole + begin;
        FM_TRY(walk_run(w, g, group->in_first, base, base + length, put, stride));
        uint32_t a = suffix;
        while (a > group->out_first && ++at[a - 1] == w->count[a - 1]) at[--a] = 0;
        if (a == group->out_first) return FLASHMEM_OK;
    }
}

flashmem_status fm_recipe_eval_reshape(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                       const fm_recipe_target *target, flashmem_error *err) {
    reshape_walk w = { .r = r, .start = start, .count = count, .target = target, .err = err };
    w.group_count = find_groups(&r->inputs[0]->shape, &r->shape, w.groups);
    return walk_group(&w, 0, 0);
}
