/* Concatenations without copies: a producer whose result only the concatenation reads writes its part of the storage. */
#include <string.h>

#include "compile/lower_internal.h"

/* Operators whose steps write any strides, all of the result, and never make it a view of something else's storage
 * that others rely on. */
static bool writes_anywhere(const fm_node *node) {
    static const char *const names[] = { "MatMul",        "Gemm",    "fm.MatMul", "Conv",        "fm.Conv",
                                         "ConvTranspose", "MaxPool", "Concat",    "AveragePool", "BatchNormalization" };
    if (node->op->op_class == FM_OP_ELEMENTWISE) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(node->op_type, names[i]) == 0) return true;
    return false;
}

static void choose(fm_lower *l, const fm_node *concat) {
    fm_tensor *whole = concat->outputs[0];
    int64_t    axis = fm_node_int(concat, "axis", 0), start = 0;
    if (axis < 0) axis += whole->shape.rank;
    for (uint32_t i = 0; i < concat->input_count; i++) {
        fm_tensor *t = concat->inputs[i];
        bool       alone = t->use_count == 1 && !t->is_output && !t->is_input && !t->constant;
        if (alone && t->producer && writes_anywhere(t->producer) && fm_shape_count(&t->shape) > 0) {
            fm_placement *p = fm_lower_placement(l, t);
            p->whole = whole;
            p->axis = (uint32_t)axis;
            p->start = start;
        }
        start += t->shape.dims[axis];
    }
}

void fm_lower_choose_parts(fm_lower *l) {
    for (const fm_node *n = l->graph->first; n; n = n->next)
        if (strcmp(n->op_type, "Concat") == 0 && n->outputs[0] && !n->outputs[0]->constant) choose(l, n);
}
