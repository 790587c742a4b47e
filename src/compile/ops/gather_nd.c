/* GatherND.  Constant indices that walk the data in even steps (masks indexed by ranges) make a view. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* The batch axes, and how many axes one index tuple names. */
static flashmem_status tuple_of(const fm_node *node, uint32_t *batch, uint32_t *depth, flashmem_error *err) {
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t         least = data->shape.rank < indices->shape.rank ? data->shape.rank : indices->shape.rank;
    int64_t          b = fm_node_int(node, "batch_dims", 0);
    if (data->shape.rank == 0 || indices->shape.rank == 0)
        return fm_node_fail(err, node, "tensors '%s' and '%s' need at least one dim", data->name, indices->name);
    if (b < 0 || b >= least) return fm_node_fail(err, node, "batch_dims is %" PRId64 ", expected below %u", b, least);
    int64_t q = indices->shape.dims[indices->shape.rank - 1];
    if (q < 1 || q > (int64_t)data->shape.rank - b)
        return fm_node_fail(
            err, node, "tensor '%s' has tuples of %" PRId64 "; tensor '%s' has %u dims behind %" PRId64 " batch dims",
            indices->name, q, data->name, data->shape.rank - (uint32_t)b, b);
    for (uint32_t i = 0; i < b; i++)
        if (data->shape.dims[i] != indices->shape.dims[i])
            return fm_node_fail(err, node, "batch axis %u: %" PRId64 " in tensor '%s', %" PRId64 " in '%s'", i,
                                data->shape.dims[i], data->name, indices->shape.dims[i], indices->name);
    *batch = (uint32_t)b;
    *depth = (uint32_t)q;
    return FLASHMEM_OK;
}

static flashmem_status infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t         batch, depth;
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_INDEX, err));
    FM_TRY(tuple_of(node, &batch, &depth, err));
    fm_shape shape = indices->shape;
    shape.rank--;
    if (shape.rank + data->shape.rank - batch - depth > FM_MAX_RANK)
        return fm_node_unsupported(err, node, "more than %d dims", FM_MAX_RANK);
    for (uint32_t i = batch + depth; i < data->shape.rank; i++) shape.dims[shape.rank++] = data->shape.dims[i];
    fm_infer_output(node, 0, data->dtype, &shape);
    return FLASHMEM_OK;
}

/* Where each tuple of constant indices points, in elements of a tensor with these strides; known: the indices are
 * constant and few enough. */
static flashmem_status offsets_of(fm_graph *g, const fm_node *node, const int64_t *strides, fm_array *out, bool *known,
                                  flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *indices = node->inputs[1];
    uint32_t   batch, depth;
    fm_array   raw;
    FM_TRY(tuple_of(node, &batch, &depth, err));
    fm_shape shape = indices->shape;
    shape.rank--;
    *known = indices->constant && fm_fold_tensor_fits(indices) && fm_fold_fits(FLASHMEM_I64, &shape);
    if (!*known) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, indices, &raw, err));
    *out = fm_fold_new(g, FLASHMEM_I64, &shape);
    fm_walk w;
    int64_t n = 0;
    for (fm_walk_init(&w, &shape); !w.done; fm_walk_next(&w), n++) {
        int64_t offset = 0;
        for (uint32_t i = 0; i < batch; i++) offset += w.index[i] * strides[i];
        for (uint32_t i = 0; i < depth; i++) {
            int64_t index = fm_array_int(&raw, n * depth + i), dim = data->shape.dims[batch + i];
            if (index < -dim || index >= dim)
                return fm_node_fail(err, node,
                                    "index %" PRId64 " in tensor '%s' is outside axis %u of tensor '%s' (%" PRId64 ")",
                                    index, indices->name, batch + i, data->name, dim);
            offset += (index < 0 ? index + dim : index) * strides[batch + i];
        }
        fm_array_set_int(out, n, offset);
    }
    return FLASHMEM_OK;
}

static flashmem_status fold(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *out = node->outputs[0];
    fm_array   x, offsets;
    int64_t    strides[FM_MAX_RANK], inner = 1;
    uint32_t   batch, depth;
    bool       known;
    if (!fm_fold_tensor_fits(data) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(tuple_of(node, &batch, &depth, err));
    fm_dense_strides(&data->shape, strides);
    FM_TRY(offsets_of(g, node, strides, &offsets, &known, err));
    if (!known) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, data, &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    for (uint32_t i = batch + depth; i < data->shape.rank; i++) inner *= data->shape.dims[i];
    for (int64_t n = 0; n < offsets.count; n++)
        for (int64_t i = 0; i < inner; i++) fm_array_copy(&y, n * inner + i, &x, fm_array_int(&offsets, n) + i);
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* offsets[c] = offsets[0] + sum(c_k * step_k) for all c? */
static bool even_offsets(const fm_array *offsets, int64_t *steps) {
    const int64_t *x = offsets->data;
    int64_t        dense[FM_MAX_RANK], i = 0;
    fm_walk        w;
    if (offsets->count == 0) return false;
    fm_dense_strides(&offsets->shape, dense);
    for (uint32_t k = 0; k < offsets->shape.rank; k++) steps[k] = offsets->shape.dims[k] > 1 ? x[dense[k]] - x[0] : 0;
    fm_walk_init(&w, &offsets->shape);
    for (fm_walk_add_strides(&w, steps); !w.done; fm_walk_next(&w), i++)
        if (x[i] != x[0] + w.offsets[0]) return false;
    return true;
}

static flashmem_status lower_as_view(fm_lower *l, fm_node *node, const fm_view *data, bool *done, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   offsets;
    fm_view    view = *data;
    uint32_t   batch, depth;
    FM_TRY(tuple_of(node, &batch, &depth, err));
    FM_TRY(offsets_of(l->graph, node, data->strides, &offsets, done, err));
    *done = *done && even_offsets(&offsets, view.strides);
    if (!*done) return FLASHMEM_OK;
    view.offset += fm_array_int(&offsets, 0);
    view.shape = out->shape;
    for (uint32_t i = batch + depth, to = offsets.shape.rank; i < data->shape.rank; i++, to++)
        view.strides[to] = data->strides[i];
    fm_lower_alias(l, out, &view);
    return FLASHMEM_OK;
}

/* The kernel knows no batch axes: their coordinates become the first entries of every tuple. */
static flashmem_status with_batch(fm_lower *l, fm_node *node, uint32_t batch, uint32_t depth, fm_view *indices,
                                  flashmem_error *err) {
    fm_shape shape = indices->shape;
    uint32_t last = shape.rank - 1;
    shape.dims[last] = batch + depth;
    fm_view all = fm_lower_temporary(l, indices->dtype, &shape);
    for (uint32_t i = 0; i < batch; i++) {
        fm_view     column = fm_view_slice(&all, last, i, 1, 1);
        const char *text = fm_arena_printf(l->graph->arena, "i%u", i);
        FM_TRY(fm_elementwise_emit(l, node->name, text, NULL, 0, &column, true, err));
    }
    fm_view rest = fm_view_slice(&all, last, batch, 1, depth);
    FM_TRY(fm_lower_copy(l, node->name, indices, &rest, err));
    *indices = all;
    return FLASHMEM_OK;
}

static flashmem_status lower(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *data = node->inputs[0], *out = node->outputs[0];
    uint32_t   batch, depth;
    fm_view    view, indices;
    bool       done;
    FM_TRY(tuple_of(node, &batch, &depth, err));
    FM_TRY(fm_lower_view(l, data, &view, err));
    FM_TRY(lower_as_view(l, node, &view, &done, err));
    if (done) return FLASHMEM_OK;
    FM_TRY(fm_lower_view(l, node->inputs[1], &indices, err));
    if (batch > 0) FM_TRY(with_batch(l, node, batch, depth, &indices, err));
    fm_shape tuples = { .rank = 2, .dims = { fm_shape_count(&indices.shape) / (batch + depth), batch + depth } };
    fm_shape lines = { .rank = 2, .dims = { tuples.dims[0], 1 } };
    for (uint32_t i = batch + depth; i < data->shape.rank; i++) lines.dims[1] *= data->shape.dims[i];
    FM_TRY(fm_view_lower_as(l, node->name, &indices, &tuples, &indices, err));
    fm_view_target    target = fm_view_lower_target(l, out, &lines);
    fm_gather_nd_desc d = { .name = node->name, .data = view, .indices = indices, .out = target.view };
    FM_TRY(fm_emit_gather_nd(&l->emit, &d, err));
    return fm_view_lower_done(l, node->name, out, &target, err);
}

const fm_op fm_op_GatherND = { "GatherND", "", 11, 2, 2, 1, 1, FM_OP_MOVEMENT, infer, fold, false, lower, NULL };
