/* Gather, GatherElements, GatherND.  Constant indices in even steps make a view; a large constant float table that only
 * run-time indices read is read by row from the pack. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* Below this a table is an ordinary small weight. */
enum { SMALLEST_ROW_TABLE = 64 << 10 };

static flashmem_status check_range(const fm_node *node, int64_t index, int64_t dim, flashmem_error *err) {
    if (index >= -dim && index < dim) return FLASHMEM_OK;
    return fm_node_fail(err, node, "index %" PRId64 " in tensor '%s' is outside tensor '%s' (axis of %" PRId64 ")",
                        index, node->inputs[1]->name, node->inputs[0]->name, dim);
}

/* [O, A, I]: the axes before, at and behind `axis`. */
static fm_shape three_axes(const fm_shape *s, uint32_t axis) {
    fm_shape three = { .rank = 3, .dims = { 1, s->dims[axis], 1 } };
    for (uint32_t i = 0; i < axis; i++) three.dims[0] *= s->dims[i];
    for (uint32_t i = axis + 1; i < s->rank; i++) three.dims[2] *= s->dims[i];
    return three;
}

static flashmem_status gather_axis(const fm_node *node, uint32_t *axis, flashmem_error *err) {
    return fm_infer_axis(node, fm_node_int(node, "axis", 0), node->inputs[0]->shape.rank, axis, err);
}

/* --- Gather ------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_gather(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t         axis, n = 0;
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_INDEX, err));
    FM_TRY(gather_axis(node, &axis, err));
    fm_shape shape = { .rank = data->shape.rank + indices->shape.rank - 1 };
    if (shape.rank > FM_MAX_RANK) return fm_node_unsupported(err, node, "%u dims, at most %d", shape.rank, FM_MAX_RANK);
    for (uint32_t i = 0; i < axis; i++) shape.dims[n++] = data->shape.dims[i];
    for (uint32_t i = 0; i < indices->shape.rank; i++) shape.dims[n++] = indices->shape.dims[i];
    for (uint32_t i = axis + 1; i < data->shape.rank; i++) shape.dims[n++] = data->shape.dims[i];
    fm_infer_output(node, 0, data->dtype, &shape);
    return FLASHMEM_OK;
}

/* Constant indices, counted from the start.  false: at run time, or too many. */
static flashmem_status constant_indices(fm_graph *g, const fm_node *node, int64_t dim, fm_array *out, bool *known,
                                        flashmem_error *err) {
    fm_tensor *t = node->inputs[1];
    fm_array   raw;
    *known = t->constant && fm_fold_fits(FLASHMEM_I64, &t->shape);
    if (!*known) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, t, &raw, err));
    *out = fm_fold_new(g, FLASHMEM_I64, &t->shape);
    for (int64_t i = 0; i < raw.count; i++) {
        int64_t index = fm_array_int(&raw, i);
        FM_TRY(check_range(node, index, dim, err));
        fm_array_set_int(out, i, index < 0 ? index + dim : index);
    }
    return FLASHMEM_OK;
}

static bool even_steps(const fm_array *indices, int64_t *start, int64_t *step) {
    const int64_t *x = indices->data;
    if (indices->count == 0) return false;
    *start = x[0];
    *step = indices->count > 1 ? x[1] - x[0] : 1;
    for (int64_t i = 1; i < indices->count; i++)
        if (x[i] - x[i - 1] != *step) return false;
    return *step != 0;
}

static flashmem_status fold_gather(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *out = node->outputs[0];
    uint32_t   axis;
    fm_array   indices;
    bool       known;
    int64_t    start[FM_MAX_RANK] = { 0 }, step[FM_MAX_RANK], first, stride;
    FM_TRY(gather_axis(node, &axis, err));
    FM_TRY(constant_indices(g, node, data->shape.dims[axis], &indices, &known, err));
    if (!known) return FLASHMEM_OK;
    if (even_steps(&indices, &first, &stride)) {
        fm_shape shape = data->shape;
        for (uint32_t i = 0; i < FM_MAX_RANK; i++) step[i] = 1;
        start[axis] = first;
        step[axis] = stride;
        shape.dims[axis] = indices.count;
        const fm_recipe *r = fm_recipe_slice(g->arena, data->constant, start, step, &shape);
        return fm_fold_recipe(g, out, fm_recipe_reshape(g->arena, r, &out->shape), err);
    }
    if (!fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_shape three = three_axes(&data->shape, axis), flat = { .rank = 1 };
    if (__builtin_mul_overflow(three.dims[0] * three.dims[2], three.dims[1], &flat.dims[0])) return FLASHMEM_OK;
    const fm_recipe *table = fm_recipe_reshape(g->arena, data->constant, &three);
    size_t           bytes = (size_t)three.dims[2] * fm_dtype_bytes(out->dtype);
    char            *to = y.data;
    for (int64_t o = 0; o < three.dims[0] && bytes; o++)
        for (int64_t i = 0; i < indices.count; i++, to += bytes) {
            int64_t from[3] = { o, fm_array_int(&indices, i), 0 }, count[3] = { 1, 1, three.dims[2] };
            FM_TRY(fm_recipe_read(table, from, count, out->dtype, to, err));
        }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* Every use of the table must be a Gather of its rows for it to need no other place; a table that is a matrix too is
 * stored for each use. */
static bool reads_rows(const fm_node *node) {
    const fm_tensor *table = node->inputs[0];
    uint32_t         rank = table->shape.rank;
    int64_t          axis = fm_node_int(node, "axis", 0), count = fm_shape_count(&table->shape);
    if (!table->constant || node->inputs[1]->constant || !fm_dtype_is_float(table->dtype)) return false;
    return rank >= 2 && (axis == 0 || axis == -(int64_t)rank) && count * 4 >= SMALLEST_ROW_TABLE;
}

static flashmem_status lower_rows(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *table = node->inputs[0], *indices = node->inputs[1], *out = node->outputs[0];
    int64_t    rows = fm_shape_count(&indices->shape);
    fm_shape   three = three_axes(&table->shape, 0);
    fm_shape   matrix = { .rank = 2, .dims = { three.dims[1], three.dims[2] } };
    fm_shape   list = { .rank = 1, .dims = { rows } }, lines = { .rank = 2, .dims = { rows, three.dims[2] } };
    uint32_t   value;
    fm_view    view, flat;
    FM_TRY(fm_lower_rows(l, table->name, fm_recipe_reshape(l->graph->arena, table->constant, &matrix), &value, err));
    FM_TRY(fm_lower_view(l, indices, &view, err));
    FM_TRY(fm_view_lower_as(l, node->name, &view, &list, &flat, err));
    if (!fm_view_is_dense(&flat) || flat.offset != 0) { /* the step reads the value from its start */
        fm_view copy = fm_lower_temporary(l, flat.dtype, &list);
        FM_TRY(fm_lower_copy(l, node->name, &flat, &copy, err));
        flat = copy;
    }
    fm_view_target target = fm_view_lower_target(l, out, &lines);
    if (!target.copied && (!fm_view_is_dense(&target.view) || target.view.offset != 0)) {
        target.copied = true;
        target.view = fm_lower_temporary(l, FLASHMEM_F32, &lines);
    }
    fm_builder_gather_rows(&l->builder, node->name, flat.value, value, target.view.value, rows);
    return fm_view_lower_done(l, node->name, out, &target, err);
}

/* Constant indices in even steps: a slice. */
static flashmem_status lower_even(fm_lower *l, fm_node *node, const fm_array *indices, uint32_t axis, bool *done,
                                  flashmem_error *err) {
    fm_view view, result;
    int64_t start, step;
    *done = even_steps(indices, &start, &step);
    if (!*done) return FLASHMEM_OK;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    view = fm_view_slice(&view, axis, start, step, indices->count);
    *done = fm_view_reshape(&view, &node->outputs[0]->shape, &result); /* splits one axis: always possible */
    if (*done) fm_lower_alias(l, node->outputs[0], &result);
    return FLASHMEM_OK;
}

static flashmem_status lower_gather(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *indices = node->inputs[1], *out = node->outputs[0];
    uint32_t   axis;
    fm_array   values;
    bool       known, done;
    fm_view    table, list;
    if (reads_rows(node)) return lower_rows(l, node, err);
    FM_TRY(gather_axis(node, &axis, err));
    FM_TRY(constant_indices(l->graph, node, data->shape.dims[axis], &values, &known, err));
    if (known) {
        FM_TRY(lower_even(l, node, &values, axis, &done, err));
        if (done) return FLASHMEM_OK;
    }
    fm_shape three = three_axes(&data->shape, axis), shape = three;
    fm_shape line = { .rank = 1, .dims = { fm_shape_count(&indices->shape) } };
    shape.dims[1] = line.dims[0];
    FM_TRY(fm_lower_view(l, data, &table, err));
    FM_TRY(fm_view_lower_as(l, node->name, &table, &three, &table, err));
    FM_TRY(fm_lower_view(l, indices, &list, err));
    FM_TRY(fm_view_lower_as(l, node->name, &list, &line, &list, err));
    fm_view_target target = fm_view_lower_target(l, out, &shape);
    fm_gather_desc d = { .name = node->name, .table = table, .indices = list, .out = target.view };
    FM_TRY(fm_emit_gather(&l->emit, &d, err));
    return fm_view_lower_done(l, node->name, out, &target, err);
}

/* --- GatherElements ----------------------------------------------------------------------------------------------- */

static flashmem_status infer_elements(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t         axis;
    char             a[160], b[160];
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_INDEX, err));
    FM_TRY(gather_axis(node, &axis, err));
    FM_TRY(fm_infer_rank(node, 1, data->shape.rank, err));
    for (uint32_t i = 0; i < data->shape.rank; i++)
        if (i != axis && indices->shape.dims[i] > data->shape.dims[i])
            return fm_node_fail(err, node, "tensor '%s' of shape %s reaches beyond tensor '%s' of shape %s",
                                indices->name, fm_shape_print(&indices->shape, a, sizeof a), data->name,
                                fm_shape_print(&data->shape, b, sizeof b));
    fm_infer_output(node, 0, data->dtype, &indices->shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_elements(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *out = node->outputs[0];
    fm_array   x, indices;
    uint32_t   axis;
    bool       known;
    int64_t    strides[FM_MAX_RANK], i = 0;
    FM_TRY(gather_axis(node, &axis, err));
    if (!fm_fold_tensor_fits(data) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(constant_indices(g, node, data->shape.dims[axis], &indices, &known, err));
    if (!known) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, data, &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    fm_dense_strides(&data->shape, strides);
    for (fm_walk_init(&w, &out->shape); !w.done; fm_walk_next(&w), i++) {
        int64_t from = 0;
        for (uint32_t k = 0; k < out->shape.rank; k++)
            from += strides[k] * (k == axis ? fm_array_int(&indices, i) : w.index[k]);
        fm_array_copy(&y, i, &x, from);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_elements(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_gather_elements_desc d = { .name = node->name };
    FM_TRY(gather_axis(node, &d.axis, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.data, err));
    FM_TRY(fm_lower_view(l, node->inputs[1], &d.indices, err));
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    return fm_emit_gather_elements(&l->emit, &d, err);
}

const fm_op fm_op_Gather = { "Gather", "",           1,   2, 2, 1, 1, FM_OP_MOVEMENT, infer_gather, fold_gather,
                             false,    lower_gather, NULL };
const fm_op fm_op_GatherElements = {
    "GatherElements", "", 11, 2, 2, 1, 1, FM_OP_MOVEMENT, infer_elements, fold_elements, false, lower_elements, NULL
};
