/* CumSum, TopK, NonZero: results that depend on the order of elements. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* --- CumSum ------------------------------------------------------------------------------------------------------- */

static flashmem_status cumsum_axis(const fm_node *node, uint32_t *axis, flashmem_error *err) {
    int64_t value;
    FM_TRY(fm_infer_value(node, 1, &value, err));
    return fm_infer_axis(node, value, node->inputs[0]->shape.rank, axis, err);
}

static flashmem_status infer_cumsum(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT | FM_TYPES_INDEX | FM_TYPE(U32) | FM_TYPE(U64), err));
    FM_TRY(cumsum_axis(node, &axis, err));
    return fm_infer_same(g, node, err);
}

/* One line of `count` elements, `step` apart, from `at`. */
static void cumsum_line(const fm_array *x, const fm_array *y, int64_t at, int64_t step, int64_t count, bool exclusive,
                        bool reverse) {
    double   sum = 0;
    uint64_t whole = 0;
    for (int64_t n = 0; n < count; n++) {
        int64_t  i = at + (reverse ? count - 1 - n : n) * step;
        double   before = sum;
        uint64_t whole_before = whole;
        bool     is_float = fm_dtype_is_float(x->dtype);
        if (is_float) {
            sum += fm_array_double(x, i);
            fm_array_set_double(y, i, exclusive ? before : sum);
        } else {
            whole += (uint64_t)fm_array_int(x, i);
            fm_array_set_int(y, i, (int64_t)(exclusive ? whole_before : whole));
        }
    }
}

static flashmem_status fold_cumsum(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   x;
    uint32_t   axis;
    int64_t    strides[FM_MAX_RANK];
    if (!fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(cumsum_axis(node, &axis, err));
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    fm_shape lines = x.shape;
    lines.dims[axis] = x.count ? 1 : 0;
    fm_dense_strides(&x.shape, strides);
    fm_walk_init(&w, &lines);
    for (fm_walk_add_strides(&w, strides); !w.done; fm_walk_next(&w))
        cumsum_line(&x, &y, w.offsets[0], strides[axis], x.shape.dims[axis], fm_node_int(node, "exclusive", 0) != 0,
                    fm_node_int(node, "reverse", 0) != 0);
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_cumsum(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_cumsum_desc d = { .name = node->name,
                         .exclusive = fm_node_int(node, "exclusive", 0) != 0,
                         .reverse = fm_node_int(node, "reverse", 0) != 0 };
    FM_TRY(cumsum_axis(node, &d.axis, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.x, err));
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    return fm_emit_cumsum(&l->emit, &d, err);
}

/* --- TopK --------------------------------------------------------------------------------------------------------- */

static flashmem_status top_k_of(const fm_node *node, uint32_t *axis, int64_t *k, flashmem_error *err) {
    const fm_tensor *x = node->inputs[0];
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", -1), x->shape.rank, axis, err));
    *k = fm_node_int(node, "k", 0); /* before opset 10 */
    if (fm_node_input(node, 1)) FM_TRY(fm_infer_value(node, 1, k, err));
    if (*k >= 0 && *k <= x->shape.dims[*axis]) return FLASHMEM_OK;
    return fm_node_fail(err, node, "k is %" PRId64 ", axis %u of tensor '%s' has %" PRId64 " elements", *k, *axis,
                        x->name, x->shape.dims[*axis]);
}

static flashmem_status infer_top_k(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    uint32_t axis;
    int64_t  k;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_NUMBER, err));
    FM_TRY(top_k_of(node, &axis, &k, err));
    fm_shape shape = node->inputs[0]->shape;
    shape.dims[axis] = k;
    fm_infer_output(node, 0, node->inputs[0]->dtype, &shape);
    fm_infer_output(node, 1, FLASHMEM_I64, &shape);
    return FLASHMEM_OK;
}

/* Is element i before element j of the line?  Equal ones keep their order. */
static bool precedes(const fm_array *x, int64_t at, int64_t step, int64_t i, int64_t j, bool largest) {
    int64_t a = at + i * step, b = at + j * step;
    if (fm_dtype_is_float(x->dtype)) {
        double p = fm_array_double(x, a), q = fm_array_double(x, b);
        return p == q ? i < j : largest ? p > q : p < q;
    }
    int64_t p = fm_array_int(x, a), q = fm_array_int(x, b);
    return p == q ? i < j : largest ? p > q : p < q;
}

typedef struct line {
    const fm_array *x;
    int64_t         at, step, count;
    bool            largest;
} line;

/* Merge sort of the line's places, first the one that comes first.  Both arrays hold count; the result is in `a`. */
static void sort_line(const line *l, int64_t *a, int64_t *b) {
    for (int64_t i = 0; i < l->count; i++) a[i] = i;
    for (int64_t width = 1; width < l->count; width *= 2) {
        for (int64_t from = 0; from < l->count; from += 2 * width) {
            int64_t middle = from + width < l->count ? from + width : l->count;
            int64_t end = middle + width < l->count ? middle + width : l->count, i = from, j = middle;
            for (int64_t to = from; to < end; to++) {
                bool first = j >= end || (i < middle && precedes(l->x, l->at, l->step, a[i], a[j], l->largest));
                b[to] = first ? a[i++] : a[j++];
            }
        }
        memcpy(a, b, (size_t)l->count * sizeof *a);
    }
}

static flashmem_status fold_top_k(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *x = node->inputs[0], *values = node->outputs[0], *places = node->outputs[1];
    fm_array   in;
    uint32_t   axis;
    int64_t    k, strides[FM_MAX_RANK], out_strides[FM_MAX_RANK];
    FM_TRY(top_k_of(node, &axis, &k, err));
    fm_shape shape = x->shape, lines = x->shape;
    shape.dims[axis] = k;
    lines.dims[axis] = k > 0;
    if (!fm_fold_tensor_fits(x) || !fm_fold_fits(FLASHMEM_I64, &shape)) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, x, &in, err));
    fm_array y = fm_fold_new(g, x->dtype, &shape), p = fm_fold_new(g, FLASHMEM_I64, &shape);
    line     l = { &in, 0, 0, x->shape.dims[axis], fm_node_int(node, "largest", 1) != 0 };
    int64_t *sorted = fm_arena_array(g->arena, (size_t)l.count, sizeof *sorted);
    int64_t *other = fm_arena_array(g->arena, (size_t)l.count, sizeof *other);
    fm_walk  w;
    fm_dense_strides(&x->shape, strides);
    fm_dense_strides(&shape, out_strides);
    l.step = strides[axis];
    fm_walk_init(&w, &lines);
    fm_walk_add_strides(&w, strides);
    for (fm_walk_add_strides(&w, out_strides); !w.done; fm_walk_next(&w)) {
        l.at = w.offsets[0];
        sort_line(&l, sorted, other);
        for (int64_t i = 0; i < k; i++) {
            int64_t to = w.offsets[1] + i * out_strides[axis];
            fm_array_copy(&y, to, &in, l.at + sorted[i] * l.step);
            fm_array_set_int(&p, to, sorted[i]);
        }
    }
    if (values) fm_fold_store(g, values, &y);
    if (places) fm_fold_store(g, places, &p);
    return FLASHMEM_OK;
}

/* The kernel finds places; values are gathered from them. */
static flashmem_status lower_top_k(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor    *x = node->inputs[0], *values = node->outputs[0], *places = node->outputs[1];
    fm_top_k_desc d = { .name = node->name, .largest = fm_node_int(node, "largest", 1) != 0 };
    fm_view       from;
    int64_t       k;
    FM_TRY(top_k_of(node, &d.axis, &k, err));
    FM_TRY(fm_lower_view(l, x, &from, err));
    fm_shape shape = x->shape;
    shape.dims[d.axis] = k;
    d.x = from;
    if (from.dtype != FLASHMEM_F32 && from.dtype != FLASHMEM_I64 && from.dtype != FLASHMEM_I32) {
        d.x = fm_lower_temporary(l, FLASHMEM_I64, &x->shape); /* other integers are compared as a wider type */
        FM_TRY(fm_lower_copy(l, node->name, &from, &d.x, err));
    }
    d.out = places ? fm_lower_output(l, places, NULL) : fm_lower_temporary(l, FLASHMEM_I64, &shape);
    FM_TRY(fm_emit_top_k(&l->emit, &d, err));
    if (!values) return FLASHMEM_OK;
    fm_gather_elements_desc gather = { .name = node->name, .data = from, .indices = d.out, .axis = d.axis };
    gather.out = fm_lower_output(l, values, NULL);
    return fm_emit_gather_elements(&l->emit, &gather, err);
}

/* --- NonZero ------------------------------------------------------------------------------------------------------ */

/* The shape of the result depends on values: only constants are possible. */
static flashmem_status infer_non_zero(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_tensor *t = node->inputs[0];
    fm_array         x;
    if (!t->constant)
        return fm_node_unsupported(err, node, "the shape of its result depends on values of tensor '%s'", t->name);
    if (!fm_fold_tensor_fits(t)) return fm_node_unsupported(err, node, "tensor '%s' is too large to evaluate", t->name);
    FM_TRY(fm_fold_load(g, t, &x, err));
    fm_shape shape = { .rank = 2, .dims = { t->shape.rank, 0 } };
    for (int64_t i = 0; i < x.count; i++) shape.dims[1] += fm_array_double(&x, i) != 0;
    fm_infer_output(node, 0, FLASHMEM_I64, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_non_zero(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   x;
    int64_t    i = 0, found = 0;
    if (!fm_fold_tensor_fits(out)) return fm_node_unsupported(err, node, "its result is too large to evaluate");
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    fm_array y = fm_fold_new(g, FLASHMEM_I64, &out->shape);
    fm_walk  w;
    for (fm_walk_init(&w, &x.shape); !w.done; fm_walk_next(&w), i++) {
        if (fm_array_double(&x, i) == 0) continue;
        for (uint32_t k = 0; k < x.shape.rank; k++) fm_array_set_int(&y, k * out->shape.dims[1] + found, w.index[k]);
        found++;
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

const fm_op fm_op_CumSum = { "CumSum",    "",    11,           2,   2, 1, 1, FM_OP_HIERARCHICAL, infer_cumsum,
                             fold_cumsum, false, lower_cumsum, NULL };
const fm_op fm_op_TopK = { "TopK",      "",         1,     1,           2,   2, 2, FM_OP_HIERARCHICAL,
                           infer_top_k, fold_top_k, false, lower_top_k, NULL };
const fm_op fm_op_NonZero = { "NonZero",     "",    9,    1,   1, 1, 1, FM_OP_MOVEMENT, infer_non_zero,
                              fold_non_zero, false, NULL, NULL };
