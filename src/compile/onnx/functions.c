/* Functions of the model (FunctionProto): a call becomes the function's nodes. */
#include <string.h>

#include "compile/onnx/importer.h"

static char *function_key(fm_arena *a, const char *domain, const char *name, const char *overload) {
    if (domain && strcmp(domain, "ai.onnx") == 0) domain = "";
    return fm_arena_printf(a, "%s\x1f%s\x1f%s", domain ? domain : "", name ? name : "", overload ? overload : "");
}

flashmem_status fm_onnx_index_functions(fm_onnx_model *m, flashmem_error *err) {
    fm_names_init(&m->functions, m->g->arena, NULL);
    for (size_t i = 0; i < m->proto->n_functions; i++) {
        FmOnnx__Function *f = m->proto->functions[i];
        char             *key = function_key(m->g->arena, f->domain, f->name, f->overload);
        if (fm_names_local(&m->functions, key))
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: function '%s' of domain '%s' is defined twice", m->g->path,
                           f->name ? f->name : "", f->domain ? f->domain : "");
        fm_names_put(&m->functions, key, f);
    }
    return FLASHMEM_OK;
}

const FmOnnx__Function *fm_onnx_find_function(const fm_onnx_model *m, const FmOnnx__Node *node) {
    if (!m->functions.count) return NULL;
    return fm_names_local(&m->functions, function_key(m->g->arena, node->domain, node->op_type, node->overload));
}

flashmem_status fm_onnx_call(const fm_onnx_body *b, const FmOnnx__Function *f, const char *name, fm_tensor **inputs,
                             uint32_t input_count, fm_tensor **outputs, uint32_t output_count, const fm_attr *attrs,
                             uint32_t attr_count, flashmem_error *err) {
    fm_graph *g = b->m->g;
    fm_names *scope = fm_arena_alloc(g->arena, sizeof *scope);
    if (input_count > f->n_input || output_count > f->n_output)
        return fm_fail(err, FLASHMEM_BAD_MODEL,
                       "%s: node '%s' (%s): %u inputs and %u outputs, the function has %zu and %zu", g->path, name,
                       f->name, input_count, output_count, f->n_input, f->n_output);
    fm_names_init(scope, g->arena, NULL); /* a function sees nothing around its call */
    for (uint32_t i = 0; i < f->n_input; i++)
        fm_names_put(scope, f->input[i], i < input_count && inputs[i] ? inputs[i] : &fm_onnx_absent);
    fm_onnx_body body = { .m = b->m,
                          .scope = scope,
                          .opsets = f->opset_import,
                          .opset_count = f->n_opset_import,
                          .arguments = attrs,
                          .argument_count = attr_count,
                          .function = (FmOnnx__Function *)f,
                          .prefix = fm_arena_printf(g->arena, "%s/", name),
                          .before = b->before,
                          .depth = b->depth + 1 };
    return fm_onnx_nodes(&body, f->node, f->n_node, f->output, outputs, output_count, err);
}
