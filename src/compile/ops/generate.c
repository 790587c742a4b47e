/* Operators that make values from shapes, attributes and coordinates: Constant, Shape, Size, ConstantOfShape, Range,
 * EyeLike, Trilu, OneHot. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"

static const fm_shape scalar = { 0 };

/* --- Constant ----------------------------------------------------------------------------------------------------- */

static flashmem_status constant_value(fm_graph *g, const fm_node *node, const fm_recipe **out, flashmem_error *err) {
    const fm_attr *a = node->attr_count ? &node->attrs[0] : NULL;
    if (!a || node->attr_count != 1) return fm_node_fail(err, node, "%u attributes, expected one", node->attr_count);
    fm_shape list = { .rank = 1, .dims = { a->count } };
    if (strcmp(a->name, "value") == 0 && a->kind == FM_ATTR_TENSOR && a->tensor) *out = a->tensor;
    else if (strcmp(a->name, "value_float") == 0) *out = fm_recipe_memory(g->arena, FLASHMEM_F32, &scalar, &a->f);
    else if (strcmp(a->name, "value_int") == 0) *out = fm_recipe_memory(g->arena, FLASHMEM_I64, &scalar, &a->i);
    else if (strcmp(a->name, "value_floats") == 0) *out = fm_recipe_memory(g->arena, FLASHMEM_F32, &list, a->floats);
    else if (strcmp(a->name, "value_ints") == 0) *out = fm_recipe_memory(g->arena, FLASHMEM_I64, &list, a->ints);
    else return fm_node_unsupported(err, node, "attribute '%s'", a->name);
    return FLASHMEM_OK;
}

static flashmem_status infer_constant(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_recipe *r = NULL;
    FM_TRY(constant_value(g, node, &r, err));
    fm_infer_output(node, 0, r->dtype, &r->shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_constant(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_recipe *r = NULL;
    FM_TRY(constant_value(g, node, &r, err));
    node->outputs[0]->constant = r;
    return FLASHMEM_OK;
}

/* --- Shape, Size -------------------------------------------------------------------------------------------------- */

static void shape_range(const fm_node *node, int64_t *start, int64_t *end) {
    int64_t rank = node->inputs[0]->shape.rank;
    *start = fm_node_int(node, "start", 0);
    *end = fm_node_int(node, "end", rank);
    if (*start < 0) *start = *start < -rank ? 0 : *start + rank;
    if (*end < 0) *end = *end < -rank ? 0 : *end + rank;
    if (*end > rank) *end = rank;
    if (*start > *end) *start = *end;
}

static flashmem_status infer_shape(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    int64_t start, end;
    shape_range(node, &start, &end);
    fm_shape shape = { .rank = 1, .dims = { end - start } };
    fm_infer_output(node, 0, FLASHMEM_I64, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_shape(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)err;
    int64_t    start, end;
    fm_tensor *out = node->outputs[0];
    shape_range(node, &start, &end);
    out->constant = fm_recipe_memory(g->arena, FLASHMEM_I64, &out->shape, node->inputs[0]->shape.dims + start);
    return FLASHMEM_OK;
}

static flashmem_status infer_size(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    fm_infer_output(node, 0, FLASHMEM_I64, &scalar);
    return FLASHMEM_OK;
}

static flashmem_status fold_size(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)err;
    int64_t count = fm_shape_count(&node->inputs[0]->shape);
    node->outputs[0]->constant = fm_recipe_memory(g->arena, FLASHMEM_I64, &scalar, &count);
    return FLASHMEM_OK;
}

/* --- ConstantOfShape ---------------------------------------------------------------------------------------------- */

static flashmem_status fill_value(fm_graph *g, const fm_node *node, const fm_recipe **out, flashmem_error *err) {
    static const float zero = 0;
    const fm_attr     *a = fm_node_attr(node, "value");
    *out = fm_recipe_memory(g->arena, FLASHMEM_F32, &scalar, &zero);
    if (!a) return FLASHMEM_OK;
    if (a->kind != FM_ATTR_TENSOR || !a->tensor || fm_shape_count(&a->tensor->shape) != 1)
        return fm_node_fail(err, node, "attribute 'value' is no tensor of one element");
    *out = fm_recipe_reshape(g->arena, a->tensor, &scalar);
    return FLASHMEM_OK;
}

static flashmem_status infer_fill(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_recipe *value;
    int64_t          dims[FM_MAX_RANK];
    fm_shape         shape = { 0 };
    FM_TRY(fill_value(g, node, &value, err));
    FM_TRY(fm_infer_values(node, 0, dims, FM_MAX_RANK, &shape.rank, err));
    for (uint32_t i = 0; i < shape.rank; i++) {
        if (dims[i] < 0) return fm_node_fail(err, node, "shape entry %u is %" PRId64, i, dims[i]);
        shape.dims[i] = dims[i];
    }
    fm_infer_output(node, 0, value->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_fill(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_recipe *value;
    FM_TRY(fill_value(g, node, &value, err));
    return fm_fold_recipe(g, node->outputs[0], fm_recipe_broadcast(g->arena, value, &node->outputs[0]->shape), err);
}

/* --- Range -------------------------------------------------------------------------------------------------------- */

static flashmem_status range_count(const fm_node *node, int64_t *count, flashmem_error *err) {
    double values[3];
    for (uint32_t i = 0; i < 3; i++) {
        const fm_tensor *t = node->inputs[i];
        FM_TRY(fm_infer_same_type(node, 0, i, err));
        if (fm_shape_count(&t->shape) != 1) return fm_infer_rank(node, i, 0, err);
        if (!t->constant || !fm_tensor_scalar(t, &values[i]))
            return fm_node_unsupported(err, node, "tensor '%s' decides a shape and is known only at run time", t->name);
    }
    if (values[2] == 0 || isnan(values[0] + values[1] + values[2]))
        return fm_node_fail(err, node, "from %g to %g in steps of %g", values[0], values[1], values[2]);
    double n = ceil((values[1] - values[0]) / values[2]);
    if (n > (double)FM_LARGEST_DIM) return fm_node_fail(err, node, "%g elements, which no memory holds", n);
    *count = n > 0 ? (int64_t)n : 0;
    return FLASHMEM_OK;
}

static flashmem_status infer_range(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    fm_shape shape = { .rank = 1 };
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT | FM_TYPE(I16) | FM_TYPES_INDEX, err));
    FM_TRY(range_count(node, &shape.dims[0], err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_range(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   start, step;
    if (!fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, node->inputs[0], &start, err));
    FM_TRY(fm_fold_load(g, node->inputs[2], &step, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    for (int64_t i = 0; i < y.count; i++) {
        if (fm_dtype_is_float(y.dtype))
            fm_array_set_double(&y, i, fm_array_double(&start, 0) + (double)i * fm_array_double(&step, 0));
        else
            fm_array_set_int(
                &y, i, (int64_t)((uint64_t)fm_array_int(&start, 0) + (uint64_t)i * (uint64_t)fm_array_int(&step, 0)));
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* Only ranges too long to fold come here. */
static flashmem_status lower_range(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_view  in[2], out = fm_lower_output(l, node->outputs[0], NULL);
    fm_shape one = { .rank = 1, .dims = { 1 } };
    for (uint32_t i = 0; i < 2; i++) {
        fm_view view;
        FM_TRY(fm_lower_view(l, node->inputs[2 * i], &view, err));
        if (!fm_view_reshape(&view, &one, &in[i])) return fm_node_fail(err, node, "its inputs are no scalars");
    }
    return fm_elementwise_emit(l, node->name, "(a0+a1*i0)", in, 2, &out, true, err);
}

/* --- EyeLike, Trilu ----------------------------------------------------------------------------------------------- */

static flashmem_status infer_eye(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    flashmem_dtype dtype = node->inputs[0]->dtype;
    FM_TRY(fm_infer_rank(node, 0, 2, err));
    if (fm_node_attr(node, "dtype")) FM_TRY(fm_infer_dtype(node, fm_node_int(node, "dtype", 0), &dtype, err));
    fm_infer_output(node, 0, dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_eye(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)err;
    fm_tensor *out = node->outputs[0];
    if (!fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    int64_t  k = fm_node_int(node, "k", 0), rows = out->shape.dims[0], columns = out->shape.dims[1];
    if (k > -rows && k < columns)
        for (int64_t row = k < 0 ? -k : 0; row < rows && row + k < columns; row++)
            fm_array_set_int(&y, row * columns + row + k, 1);
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_eye(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_view     out = fm_lower_output(l, node->outputs[0], NULL);
    const char *text = fm_arena_printf(l->graph->arena, "(i1-i0==%" PRId64 "L)", fm_node_int(node, "k", 0));
    return fm_elementwise_emit(l, node->name, text, NULL, 0, &out, true, err);
}

static flashmem_status diagonal_of(const fm_node *node, int64_t *k, flashmem_error *err) {
    *k = 0;
    return fm_node_input(node, 1) ? fm_infer_value(node, 1, k, err) : FLASHMEM_OK;
}

static flashmem_status infer_trilu(fm_graph *g, fm_node *node, flashmem_error *err) {
    int64_t k;
    FM_TRY(diagonal_of(node, &k, err));
    if (node->inputs[0]->shape.rank < 2)
        return fm_node_fail(err, node, "tensor '%s' has %u dims, expected at least 2", node->inputs[0]->name,
                            node->inputs[0]->shape.rank);
    return fm_infer_same(g, node, err);
}

static flashmem_status fold_trilu(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   x;
    int64_t    k, i = 0;
    bool       upper = fm_node_int(node, "upper", 1) != 0;
    if (!fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(diagonal_of(node, &k, err));
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    uint32_t rank = out->shape.rank;
    for (fm_walk_init(&w, &out->shape); !w.done; fm_walk_next(&w), i++) {
        int64_t above = w.index[rank - 1] - w.index[rank - 2];
        if (upper ? above >= k : above <= k) fm_array_copy(&y, i, &x, i);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_trilu(fm_lower *l, fm_node *node, flashmem_error *err) {
    int64_t  k;
    fm_view  view;
    uint32_t rank = node->outputs[0]->shape.rank;
    FM_TRY(diagonal_of(node, &k, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    fm_view     out = fm_lower_output(l, node->outputs[0], NULL);
    const char *text = fm_arena_printf(l->graph->arena, "(i%u-i%u%s%" PRId64 "L?a0:0)", rank - 1, rank - 2,
                                       fm_node_int(node, "upper", 1) ? ">=" : "<=", k);
    return fm_elementwise_emit(l, node->name, text, &view, 1, &out, true, err);
}

/* --- OneHot ------------------------------------------------------------------------------------------------------- */

static flashmem_status one_hot_axis(const fm_node *node, uint32_t *axis, int64_t *depth, flashmem_error *err) {
    double value;
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", -1), node->inputs[0]->shape.rank + 1, axis, err));
    const fm_tensor *t = node->inputs[1];
    if (!t->constant || fm_shape_count(&t->shape) != 1 || !fm_tensor_scalar(t, &value))
        return fm_node_unsupported(err, node, "tensor '%s' (depth) is no constant scalar", t->name);
    if (!(value >= 1 && value <= (double)FM_LARGEST_DIM)) return fm_node_fail(err, node, "depth is %g", value);
    *depth = (int64_t)value;
    return FLASHMEM_OK;
}

static flashmem_status infer_one_hot(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_shape *from = &node->inputs[0]->shape;
    fm_shape        shape = { .rank = from->rank + 1 };
    uint32_t        axis;
    int64_t         depth;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_NUMBER, err));
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_NUMBER, err));
    FM_TRY(one_hot_axis(node, &axis, &depth, err));
    if (shape.rank > FM_MAX_RANK) return fm_node_unsupported(err, node, "%u dims", shape.rank);
    if (node->inputs[2]->shape.rank != 1 || node->inputs[2]->shape.dims[0] != 2)
        return fm_node_fail(err, node, "tensor '%s' is no pair of values", node->inputs[2]->name);
    for (uint32_t i = 0, k = 0; i < shape.rank; i++) shape.dims[i] = i == axis ? depth : from->dims[k++];
    fm_infer_output(node, 0, node->inputs[2]->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_one_hot(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   indices, values;
    uint32_t   axis;
    int64_t    depth, i = 0;
    if (!fm_fold_tensor_fits(out) || !fm_fold_tensor_fits(node->inputs[0])) return FLASHMEM_OK;
    FM_TRY(one_hot_axis(node, &axis, &depth, err));
    FM_TRY(fm_fold_load(g, node->inputs[0], &indices, err));
    FM_TRY(fm_fold_load(g, node->inputs[2], &values, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    fm_shape with_unit = out->shape;
    with_unit.dims[axis] = 1;
    fm_walk_init(&w, &out->shape);
    for (fm_walk_add(&w, &with_unit); !w.done; fm_walk_next(&w)) {
        int64_t at = fm_array_int(&indices, w.offsets[0]);
        fm_array_copy(&y, i++, &values, (at < 0 ? at + depth : at) == w.index[axis]);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_one_hot(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    uint32_t   axis;
    int64_t    depth;
    fm_view    in[3], view;
    fm_shape   one = { .rank = 1, .dims = { 1 } }, with_unit = out->shape;
    FM_TRY(one_hot_axis(node, &axis, &depth, err));
    with_unit.dims[axis] = 1;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    if (!fm_view_reshape(&view, &with_unit, &in[0]))
        return fm_fail(err, FLASHMEM_INTERNAL, "node '%s': a unit axis always fits", node->name);
    FM_TRY(fm_lower_view(l, node->inputs[2], &view, err));
    for (uint32_t i = 0; i < 2; i++) {
        in[1 + i] = fm_view_slice(&view, 0, i, 1, 1);
        if (!fm_view_reshape(&in[1 + i], &one, &in[1 + i])) return fm_node_fail(err, node, "no pair of values");
    }
    fm_view     place = fm_lower_output(l, out, NULL);
    const char *text = fm_arena_printf(l->graph->arena, "((a0<0?a0+%" PRId64 ":a0)==i%u?a2:a1)", depth, axis);
    return fm_elementwise_emit(l, node->name, text, in, 3, &place, true, err);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

const fm_op fm_op_Constant = { "Constant",    "",    1,    0,   0, 1, 1, FM_OP_VIEW, infer_constant,
                               fold_constant, false, NULL, NULL };
const fm_op fm_op_Shape = { "Shape", "", 1, 1, 1, 1, 1, FM_OP_VIEW, infer_shape, fold_shape, true, NULL, NULL };
const fm_op fm_op_Size = { "Size", "", 1, 1, 1, 1, 1, FM_OP_VIEW, infer_size, fold_size, true, NULL, NULL };
const fm_op fm_op_ConstantOfShape = { "ConstantOfShape", "",         9,         1,     1,    1,   1,
                                      FM_OP_VIEW,        infer_fill, fold_fill, false, NULL, NULL };
const fm_op fm_op_Range = { "Range",        "",          11,         3,     3,           1,   1,
                            FM_OP_MOVEMENT, infer_range, fold_range, false, lower_range, NULL };
const fm_op fm_op_EyeLike = {
    "EyeLike", "", 9, 1, 1, 1, 1, FM_OP_MOVEMENT, infer_eye, fold_eye, true, lower_eye, NULL
};
const fm_op fm_op_Trilu = { "Trilu",           "",          14,         1,     2,           1,   1,
                            FM_OP_ELEMENTWISE, infer_trilu, fold_trilu, false, lower_trilu, NULL };
const fm_op fm_op_OneHot = { "OneHot",      "",  9, 3, 3, 1, 1, FM_OP_MOVEMENT, infer_one_hot, fold_one_hot, false,
                             lower_one_hot, NULL };
