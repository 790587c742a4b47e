/* fm.Elementwise: a tree of elementwise operators as one expression. */
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/fused.h"
#include "compile/ops/infer_helpers.h"

static flashmem_status infer_fused(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_fused_elementwise *p = node->params;
    for (uint32_t i = 0; i < node->input_count; i++) {
        fm_shape both;
        if (!fm_shape_broadcast(&p->shape, &node->inputs[i]->shape, &both) || !fm_shape_equal(&p->shape, &both))
            return fm_node_fail(err, node, "tensor '%s' does not broadcast to the result", node->inputs[i]->name);
    }
    fm_infer_output(node, 0, p->dtype, &p->shape);
    return FLASHMEM_OK;
}

static flashmem_status lower_fused(fm_lower *l, fm_node *node, flashmem_error *err) {
    const fm_fused_elementwise *p = node->params;
    fm_elementwise_desc         d = { .name = node->name,
                                      .expression = p->expression,
                                      .vector_safe = p->vector_safe,
                                      .input_count = node->input_count,
                                      .constant_count = p->constant_count };
    const fm_view              *like = NULL;
    memcpy(d.constants, p->constants, sizeof d.constants);
    for (uint32_t i = 0; i < node->input_count; i++) {
        FM_TRY(fm_lower_view(l, node->inputs[i], &d.inputs[i], err));
        bool whole = fm_shape_equal(&d.inputs[i].shape, &p->shape);
        d.inputs[i] = fm_view_broadcast(&d.inputs[i], &p->shape);
        if (whole && !like && !node->inputs[i]->constant) like = &d.inputs[i];
    }
    d.out = like ? fm_lower_output_like(l, node->outputs[0], like) : fm_lower_output(l, node->outputs[0], NULL);
    return fm_emit_elementwise(&l->emit, &d, err);
}

const fm_op fm_op_fused_elementwise = { .name = "fm.Elementwise",
                                        .domain = "fm",
                                        .since = 1,
                                        .min_inputs = 1,
                                        .max_inputs = FM_ELEMENTWISE_INPUTS,
                                        .min_outputs = 1,
                                        .max_outputs = 1,
                                        .op_class = FM_OP_ELEMENTWISE,
                                        .infer = infer_fused,
                                        .lower = lower_fused };
