/* ScatterND, ScatterElements. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

typedef enum combination { COMBINE_NONE, COMBINE_ADD, COMBINE_MUL, COMBINE_MAX, COMBINE_MIN } combination;

static flashmem_status combination_of(const fm_node *node, combination *out, flashmem_error *err) {
    static const char *const names[] = { "none", "add", "mul", "max", "min" };
    const char              *name = fm_node_string(node, "reduction", "none");
    for (uint32_t i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (combination)i;
            return FLASHMEM_OK;
        }
    return fm_node_fail(err, node, "reduction is '%s', expected none, add, mul, max or min", name);
}

static flashmem_status infer_common(const fm_node *node, flashmem_error *err) {
    combination how = COMBINE_NONE;
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_INDEX, err));
    FM_TRY(fm_infer_same_type(node, 0, 2, err));
    FM_TRY(combination_of(node, &how, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

static flashmem_status wrong_updates(const fm_node *node, const fm_shape *wanted, flashmem_error *err) {
    char a[160], b[160];
    return fm_node_fail(err, node, "tensor '%s' has shape %s, expected %s", node->inputs[2]->name,
                        fm_shape_print(&node->inputs[2]->shape, a, sizeof a), fm_shape_print(wanted, b, sizeof b));
}

static flashmem_status infer_nd(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    fm_shape         wanted = indices->shape;
    if (data->shape.rank == 0 || indices->shape.rank == 0)
        return fm_node_fail(err, node, "tensors '%s' and '%s' need at least one dim", data->name, indices->name);
    int64_t depth = wanted.dims[--wanted.rank];
    if (depth < 1 || depth > data->shape.rank)
        return fm_node_fail(err, node, "tensor '%s' has tuples of %" PRId64 "; tensor '%s' has %u dims", indices->name,
                            depth, data->name, data->shape.rank);
    if (wanted.rank + data->shape.rank - depth > FM_MAX_RANK)
        return fm_node_unsupported(err, node, "more than %d dims", FM_MAX_RANK);
    for (uint32_t i = (uint32_t)depth; i < data->shape.rank; i++) wanted.dims[wanted.rank++] = data->shape.dims[i];
    if (!fm_shape_equal(&wanted, &node->inputs[2]->shape)) return wrong_updates(node, &wanted, err);
    return infer_common(node, err);
}

static flashmem_status infer_elements(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t         axis;
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), data->shape.rank, &axis, err));
    FM_TRY(fm_infer_rank(node, 1, data->shape.rank, err));
    for (uint32_t i = 0; i < data->shape.rank; i++)
        if (i != axis && indices->shape.dims[i] > data->shape.dims[i])
            return fm_node_fail(err, node, "tensor '%s' reaches beyond axis %u of tensor '%s'", indices->name, i,
                                data->name);
    if (!fm_shape_equal(&indices->shape, &node->inputs[2]->shape)) return wrong_updates(node, &indices->shape, err);
    return infer_common(node, err);
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

static void combine(combination how, const fm_array *y, int64_t to, const fm_array *from, int64_t at) {
    if (how == COMBINE_NONE) {
        fm_array_copy(y, to, from, at);
    } else if (fm_dtype_is_float(y->dtype)) {
        double a = fm_array_double(y, to), b = fm_array_double(from, at);
        fm_array_set_double(y, to,
                            how == COMBINE_ADD   ? a + b
                            : how == COMBINE_MUL ? a * b
                            : how == COMBINE_MAX ? (a > b ? a : b)
                                                 : (a < b ? a : b));
    } else {
        int64_t  a = fm_array_int(y, to), b = fm_array_int(from, at);
        uint64_t sum = (uint64_t)a + (uint64_t)b, product = (uint64_t)a * (uint64_t)b;
        fm_array_set_int(y, to,
                         how == COMBINE_ADD   ? (int64_t)sum
                         : how == COMBINE_MUL ? (int64_t)product
                         : how == COMBINE_MAX ? (a > b ? a : b)
                                              : (a < b ? a : b));
    }
}

static flashmem_status load(fm_graph *g, fm_node *node, fm_array *in, fm_array *y, bool *fits, flashmem_error *err) {
    *fits = true;
    for (uint32_t i = 0; i < 3; i++) *fits = *fits && fm_fold_tensor_fits(node->inputs[i]);
    if (!*fits) return FLASHMEM_OK;
    for (uint32_t i = 0; i < 3; i++) FM_TRY(fm_fold_load(g, node->inputs[i], &in[i], err));
    *y = fm_fold_new(g, in[0].dtype, &in[0].shape);
    if (y->count) memcpy(y->data, in[0].data, (size_t)y->count * fm_dtype_bytes(y->dtype));
    return FLASHMEM_OK;
}

static flashmem_status checked_index(const fm_node *node, int64_t index, int64_t dim, int64_t *out,
                                     flashmem_error *err) {
    if (index < -dim || index >= dim)
        return fm_node_fail(err, node, "index %" PRId64 " in tensor '%s' is outside tensor '%s' (axis of %" PRId64 ")",
                            index, node->inputs[1]->name, node->inputs[0]->name, dim);
    *out = index < 0 ? index + dim : index;
    return FLASHMEM_OK;
}

static flashmem_status fold_nd(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_array    in[3], y;
    bool        fits;
    combination how = COMBINE_NONE;
    int64_t     strides[FM_MAX_RANK], index = 0, inner = 1;
    FM_TRY(combination_of(node, &how, err));
    FM_TRY(load(g, node, in, &y, &fits, err));
    if (!fits) return FLASHMEM_OK;
    const fm_shape *data = &in[0].shape;
    int64_t         depth = in[1].shape.dims[in[1].shape.rank - 1];
    fm_dense_strides(data, strides);
    for (uint32_t i = (uint32_t)depth; i < data->rank; i++) inner *= data->dims[i];
    for (int64_t n = 0; n < in[1].count / depth; n++) {
        int64_t to = 0;
        for (int64_t k = 0; k < depth; k++) {
            FM_TRY(checked_index(node, fm_array_int(&in[1], n * depth + k), data->dims[k], &index, err));
            to += index * strides[k];
        }
        for (int64_t i = 0; i < inner; i++) combine(how, &y, to + i, &in[2], n * inner + i);
    }
    fm_fold_store(g, node->outputs[0], &y);
    return FLASHMEM_OK;
}

static flashmem_status fold_elements(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_array    in[3], y;
    bool        fits;
    combination how = COMBINE_NONE;
    uint32_t    axis;
    int64_t     strides[FM_MAX_RANK], i = 0;
    FM_TRY(combination_of(node, &how, err));
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), node->inputs[0]->shape.rank, &axis, err));
    FM_TRY(load(g, node, in, &y, &fits, err));
    if (!fits) return FLASHMEM_OK;
    fm_walk w;
    fm_dense_strides(&in[0].shape, strides);
    for (fm_walk_init(&w, &in[1].shape); !w.done; fm_walk_next(&w), i++) {
        int64_t to = 0, index = 0;
        FM_TRY(checked_index(node, fm_array_int(&in[1], i), in[0].shape.dims[axis], &index, err));
        for (uint32_t k = 0; k < in[0].shape.rank; k++) to += strides[k] * (k == axis ? index : w.index[k]);
        combine(how, &y, to, &in[2], i);
    }
    fm_fold_store(g, node->outputs[0], &y);
    return FLASHMEM_OK;
}

/* --- lowering ----------------------------------------------------------------------------------------------------- */

static flashmem_status lower(fm_lower *l, fm_node *node, bool elements, flashmem_error *err) {
    fm_scatter_desc d = { .name = node->name, .elements = elements };
    combination     how = COMBINE_NONE;
    FM_TRY(combination_of(node, &how, err));
    if (how != COMBINE_NONE)
        return fm_node_unsupported(err, node, "reduction '%s' at run time", fm_node_string(node, "reduction", ""));
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.data, err));
    FM_TRY(fm_lower_view(l, node->inputs[1], &d.indices, err));
    FM_TRY(fm_lower_view(l, node->inputs[2], &d.updates, err));
    if (elements) {
        FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), d.data.shape.rank, &d.axis, err));
    } else {
        int64_t depth = d.indices.shape.dims[d.indices.shape.rank - 1],
                count = fm_shape_count(&d.indices.shape) / depth;
        fm_shape tuples = { .rank = 2, .dims = { count, depth } }, lines = { .rank = 2, .dims = { count, 1 } };
        for (uint32_t i = (uint32_t)depth; i < d.data.shape.rank; i++) lines.dims[1] *= d.data.shape.dims[i];
        FM_TRY(fm_view_lower_as(l, node->name, &d.indices, &tuples, &d.indices, err));
        FM_TRY(fm_view_lower_as(l, node->name, &d.updates, &lines, &d.updates, err));
    }
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    if (fm_shape_count(&d.indices.shape) == 0) return fm_lower_copy(l, node->name, &d.data, &d.out, err);
    return fm_emit_scatter(&l->emit, &d, err);
}

static flashmem_status lower_nd(fm_lower *l, fm_node *node, flashmem_error *err) { return lower(l, node, false, err); }
static flashmem_status lower_elements(fm_lower *l, fm_node *node, flashmem_error *err) {
    return lower(l, node, true, err);
}

const fm_op fm_op_ScatterND = { "ScatterND",    "",       11,      3,     3,        1,   1,
                                FM_OP_MOVEMENT, infer_nd, fold_nd, false, lower_nd, NULL };
const fm_op fm_op_ScatterElements = {
    "ScatterElements", "", 11, 3, 3, 1, 1, FM_OP_MOVEMENT, infer_elements, fold_elements, false, lower_elements, NULL
};
