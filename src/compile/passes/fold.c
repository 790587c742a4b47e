/* Types, shapes and constants, node by node in execution order: shape arithmetic disappears here, every If, and
 * operators that others make up. */
#include "compile/onnx/import.h"
#include "compile/passes/compose.h"
#include "compile/passes/passes.h"

/* A recipe this deep is read slowly; nothing that people write comes near. */
enum { DEEPEST_RECIPE = 64 };

static bool all_constant(const fm_node *node) {
    bool any = false;
    for (uint32_t i = 0; i < node->output_count; i++) {
        const fm_tensor *t = node->outputs[i];
        if (!t) continue;
        if (!t->constant || t->constant->depth > DEEPEST_RECIPE) return false;
        any = true;
    }
    return any;
}

/* A node is folded whole or not at all: a tensor has either a producer or a recipe. */
static void keep_or_remove(fm_graph *g, fm_node *node) {
    if (all_constant(node)) {
        fm_graph_remove(g, node);
        return;
    }
    for (uint32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i]) node->outputs[i]->constant = NULL;
}

flashmem_status fm_pass_fold(fm_graph *g, flashmem_error *err) {
    for (fm_node *node = g->first, *next; node; node = next) {
        if (fm_onnx_is_if(node)) {
            FM_TRY(fm_onnx_decide_if(g, node, &next, err));
            continue;
        }
        if (fm_composition_of(node->op)) {
            FM_TRY(fm_compose_node(g, node, &next, err));
            continue;
        }
        next = node->next;
        FM_TRY(fm_op_infer(g, node, err));
        keep_or_remove(g, node);
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
