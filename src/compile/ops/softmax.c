/* Softmax and LogSoftmax. */
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/infer_helpers.h"

/* Before opset 13 the input is a matrix of the axes before and from `axis`. */
static bool as_matrix(const fm_node *node) { return node->opset > 0 && node->opset < 13; }

static flashmem_status softmax_axis(const fm_node *node, uint32_t *axis, flashmem_error *err) {
    return fm_infer_axis(node, fm_node_int(node, "axis", as_matrix(node) ? 1 : -1), node->inputs[0]->shape.rank, axis,
                         err);
}

static flashmem_status infer_softmax(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (node->inputs[0]->shape.rank > 0) FM_TRY(softmax_axis(node, &axis, err));
    return fm_infer_same(g, node, err);
}

/* Brings x and out to [R2, R1, R0, C] with C the normalised axis (or the merged ones); false when strides forbid it. */
static bool to_rows(fm_view *views, uint32_t axis, bool merge) {
    uint32_t rank = views[0].shape.rank;
    if (rank == 0) { /* a scalar is a row of one */
        for (uint32_t v = 0; v < 2; v++) views[v].shape.rank = 1, views[v].shape.dims[0] = 1, views[v].strides[0] = 1;
        rank = 1;
    } else if (merge) {
        fm_shape flat = { .rank = axis + 1 };
        for (uint32_t i = 0; i < rank; i++)
            flat.dims[i < axis ? i : axis] = i <= axis ? views[0].shape.dims[i]
                                                       : flat.dims[axis] * views[0].shape.dims[i];
        for (uint32_t v = 0; v < 2; v++)
            if (!fm_view_reshape(&views[v], &flat, &views[v])) return false;
        rank = axis + 1;
    } else {
        uint32_t order[FM_MAX_RANK];
        for (uint32_t i = 0; i < rank; i++) order[i] = i < axis ? i : i + 1;
        order[rank - 1] = axis;
        for (uint32_t v = 0; v < 2; v++) views[v] = fm_view_permute(&views[v], order);
    }
    return fm_lower_collapse_lead(views, 2, rank - 1, 3);
}

static flashmem_status lower_softmax(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_softmax_desc d = { .name = node->name, .scale = 1, .log = strcmp(node->op_type, "LogSoftmax") == 0 };
    fm_view         views[2], x, out;
    uint32_t        axis = 0;
    d.mask.value = FM_NONE;
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    if (x.shape.rank > 0) FM_TRY(softmax_axis(node, &axis, err));
    bool merge = as_matrix(node) && axis + 1 < x.shape.rank;
    if (merge) FM_TRY(fm_lower_dense(l, node->name, &x, &x, err));
    out = merge ? fm_lower_output(l, node->outputs[0], NULL) : fm_lower_output_like(l, node->outputs[0], &x);
    views[0] = x;
    views[1] = out;
    if (!to_rows(views, axis, merge)) {
        FM_TRY(fm_lower_dense(l, node->name, &x, &views[0], err));
        views[1] = out;
        if (!to_rows(views, axis, merge)) return fm_node_unsupported(err, node, "more than four separate axes");
    }
    d.x = views[0];
    d.out = views[1];
    return fm_emit_softmax(&l->emit, &d, err);
}

const fm_op fm_op_Softmax = { .name = "Softmax",
                              .domain = "",
                              .since = 1,
                              .min_inputs = 1,
                              .max_inputs = 1,
                              .min_outputs = 1,
                              .max_outputs = 1,
                              .op_class = FM_OP_HIERARCHICAL,
                              .infer = infer_softmax,
                              .lower = lower_softmax };
const fm_op fm_op_LogSoftmax = { .name = "LogSoftmax",
                                 .domain = "",
                                 .since = 1,
                                 .min_inputs = 1,
                                 .max_inputs = 1,
                                 .min_outputs = 1,
                                 .max_outputs = 1,
                                 .op_class = FM_OP_HIERARCHICAL,
                                 .infer = infer_softmax,
                                 .lower = lower_softmax };
