/* The nodes of a body: names become tensors, op_types operators, calls what they call. */
#include <inttypes.h>
#include <string.h>

#include "compile/onnx/importer.h"

enum { LARGEST_GRAPH = 1 << 17, DEEPEST_CALL = 24 };

fm_tensor fm_onnx_absent;

static flashmem_status duplicate(const fm_onnx_body *b, const char *name, flashmem_error *err) {
    return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s%s' is made twice", b->m->g->path, b->prefix, name);
}

flashmem_status fm_onnx_initializers(fm_onnx_body *b, FmOnnx__Graph *graph, flashmem_error *err) {
    fm_graph *g = b->m->g;
    if (graph->n_sparse_initializer) {
        const FmOnnx__SparseTensor *s = graph->sparse_initializer[0];
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "%s: tensor '%s' is a sparse initializer: store it as an ordinary (dense) initializer", g->path,
                       s->values && s->values->name ? s->values->name : "");
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const FmOnnx__Tensor *t = graph->initializer[i];
        const fm_recipe      *recipe;
        if (!t->name || !*t->name)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: initializer %zu has no name", g->path, i);
        if (fm_names_local(b->scope, t->name)) return duplicate(b, t->name, err);
        FM_TRY(fm_onnx_tensor(b->m, t, t->name, &recipe, err));
        char *name = fm_arena_printf(g->arena, "%s%s", b->prefix, t->name);
        fm_names_put(b->scope, t->name, fm_graph_constant(g, name, recipe));
    }
    return FLASHMEM_OK;
}

/* Tensors for everything the nodes make; `outputs` map to tensors that exist. */
static flashmem_status declare_outputs(fm_onnx_body *b, FmOnnx__Node **nodes, size_t count, const fm_names *targets,
                                       flashmem_error *err) {
    fm_graph *g = b->m->g;
    for (size_t n = 0; n < count; n++)
        for (size_t o = 0; o < nodes[n]->n_output; o++) {
            const char *name = nodes[n]->output[o];
            if (!*name) continue;
            if (fm_names_local(b->scope, name)) return duplicate(b, name, err);
            fm_tensor *t = fm_names_local(targets, name);
            fm_names_put(b->scope, name,
                         t ? t : fm_graph_tensor(g, fm_arena_printf(g->arena, "%s%s", b->prefix, name)));
        }
    return FLASHMEM_OK;
}

static flashmem_status opset_of(const fm_onnx_body *b, const char *domain, const char *node, int64_t *version,
                                flashmem_error *err) {
    bool standard = !*domain || strcmp(domain, "ai.onnx") == 0;
    for (size_t i = 0; i < b->opset_count; i++) {
        const char *d = b->opsets[i]->domain ? b->opsets[i]->domain : "";
        if (strcmp(d, domain) != 0 && !(standard && (!*d || strcmp(d, "ai.onnx") == 0))) continue;
        *version = b->opsets[i]->version;
        if (!standard || *version >= FM_ONNX_OLDEST_OPSET) return FLASHMEM_OK;
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "%s: opset %" PRId64
                       " is older than %d, the oldest supported: export the model again, or convert it "
                       "with onnx.version_converter",
                       b->m->g->path, *version, FM_ONNX_OLDEST_OPSET);
    }
    *version = 1;
    if (!standard) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s' is of domain ai.onnx, for which opset_import has no version",
                   b->m->g->path, node);
}

/* Counted by operator, named by the first node; reported together at the end. */
static void note_unknown(fm_onnx_model *m, const char *op_type, const char *domain, const char *node, const char *why) {
    for (size_t i = 0; i < m->unknown_count; i++)
        if (strcmp(m->unknown[i].op_type, op_type) == 0 && strcmp(m->unknown[i].domain, domain) == 0) {
            m->unknown[i].count++;
            return;
        }
    if (m->unknown_count >= 64) return; /* more would not fit a message */
    FM_PUSH(m->g->arena, m->unknown, m->unknown_count, m->unknown_capacity) =
        (fm_onnx_unknown){ .op_type = op_type, .domain = domain, .node = node, .why = why, .count = 1 };
}

static flashmem_status resolve_inputs(const fm_onnx_body *b, const FmOnnx__Node *p, const char *node,
                                      fm_tensor **inputs, flashmem_error *err) {
    for (size_t i = 0; i < p->n_input; i++) {
        if (!*p->input[i]) continue; /* an optional input left out */
        fm_tensor *t = fm_names_find(b->scope, p->input[i]);
        if (!t)
            return fm_fail(err, FLASHMEM_BAD_MODEL,
                           "%s: node '%s' (%s): input %zu is tensor '%s', which no node, input or initializer gives",
                           b->m->g->path, node, p->op_type, i, p->input[i]);
        inputs[i] = t == &fm_onnx_absent ? NULL : t;
    }
    return FLASHMEM_OK;
}

static flashmem_status import_constant(const fm_onnx_body *b, const char *node, fm_attr *attrs, uint32_t attr_count,
                                       fm_tensor **outputs, uint32_t output_count, flashmem_error *err) {
    const fm_recipe *recipe;
    FM_TRY(fm_onnx_constant(b, node, attrs, attr_count, &recipe, err));
    if (!output_count || !outputs[0]) return FLASHMEM_OK;
    outputs[0]->constant = recipe;
    outputs[0]->dtype = recipe->dtype;
    outputs[0]->shape = recipe->shape;
    outputs[0]->shaped = true;
    return FLASHMEM_OK;
}

static flashmem_status import_operator(const fm_onnx_body *b, const FmOnnx__Node *p, const char *name, int64_t opset,
                                       fm_tensor **inputs, fm_tensor **outputs, fm_attr *attrs, uint32_t attr_count,
                                       flashmem_error *err) {
    fm_onnx_model *m = b->m;
    const char    *domain = p->domain ? p->domain : "";
    const fm_op   *op = fm_op_find(p->op_type, domain);
    (void)err;
    if (!op) {
        bool loops = strcmp(p->op_type, "Loop") == 0 || strcmp(p->op_type, "Scan") == 0;
        note_unknown(m, p->op_type, domain, name, loops ? ", loops are not supported" : "");
        return FLASHMEM_OK;
    }
    fm_node *node = fm_graph_insert(m->g, b->before, op, name, inputs, (uint32_t)p->n_input, outputs,
                                    (uint32_t)p->n_output);
    node->opset = opset;
    node->attrs = attrs;
    node->attr_count = attr_count;
    return FLASHMEM_OK;
}

static flashmem_status import_node(const fm_onnx_body *b, const FmOnnx__Node *p, flashmem_error *err) {
    fm_graph *g = b->m->g;
    if (!p->op_type || !*p->op_type)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: a node has no op_type", g->path);
    if (++b->m->node_count > LARGEST_GRAPH)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: more than %d nodes", g->path, LARGEST_GRAPH);
    const char *own = p->name && *p->name ? p->name : p->n_output ? p->output[0] : p->op_type;
    const char *name = fm_arena_printf(g->arena, "%s%s", b->prefix, own), *domain = p->domain ? p->domain : "";
    fm_tensor **inputs = fm_arena_array(g->arena, p->n_input, sizeof *inputs);
    fm_tensor **outputs = fm_arena_array(g->arena, p->n_output, sizeof *outputs);
    fm_attr    *attrs;
    uint32_t    attr_count;
    int64_t     opset = 0;
    FM_TRY(resolve_inputs(b, p, name, inputs, err));
    for (size_t o = 0; o < p->n_output; o++)
        if (*p->output[o]) outputs[o] = fm_names_local(b->scope, p->output[o]);
    const FmOnnx__Function *f = fm_onnx_find_function(b->m, p);
    if (!f) FM_TRY(opset_of(b, domain, name, &opset, err));
    bool standard = !*domain || strcmp(domain, "ai.onnx") == 0;
    if (!f && standard && strcmp(p->op_type, "If") == 0)
        return fm_onnx_if(b, p, name, p->n_input ? inputs[0] : NULL, outputs, (uint32_t)p->n_output, err);
    if (!f && !(standard && strcmp(p->op_type, "Constant") == 0) && !fm_op_find(p->op_type, domain))
        return import_operator(b, p, name, opset, inputs, outputs, NULL, 0,
                               err); /* unknown: its attributes may be too */
    FM_TRY(fm_onnx_attributes(b, p, name, &attrs, &attr_count, err));
    if (f) {
        if (b->depth >= DEEPEST_CALL)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s' (%s): functions call each other deeper than %d",
                           g->path, name, p->op_type, DEEPEST_CALL);
        return fm_onnx_call(b, f, name, inputs, (uint32_t)p->n_input, outputs, (uint32_t)p->n_output, attrs, attr_count,
                            err);
    }
    if (standard && strcmp(p->op_type, "Constant") == 0)
        return import_constant(b, name, attrs, attr_count, outputs, (uint32_t)p->n_output, err);
    return import_operator(b, p, name, opset, inputs, outputs, attrs, attr_count, err);
}

/* A body may hand an input of its own through as an output, or one result twice. */
static flashmem_status pass_through(const fm_onnx_body *b, const char *name, fm_tensor *target, flashmem_error *err) {
    fm_graph  *g = b->m->g;
    fm_tensor *from = fm_names_find(b->scope, name);
    if (from == target) return FLASHMEM_OK;
    if (!from || from == &fm_onnx_absent)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: output '%s' of '%s' is made by no node", g->path, name, b->prefix);
    const fm_op *identity = fm_op_find("Identity", "");
    fm_node     *node = fm_graph_insert(g, b->before, identity, target->name, &from, 1, &target, 1);
    node->opset = FM_ONNX_NEWEST_OPSET;
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_nodes(fm_onnx_body *b, FmOnnx__Node **nodes, size_t count, char **outputs, fm_tensor **targets,
                              size_t output_count, flashmem_error *err) {
    fm_names made;
    size_t  *order;
    fm_names_init(&made, b->m->g->arena, NULL);
    for (size_t i = 0; i < output_count; i++)
        if (targets[i] && !fm_names_local(&made, outputs[i])) fm_names_put(&made, outputs[i], targets[i]);
    FM_TRY(declare_outputs(b, nodes, count, &made, err));
    FM_TRY(fm_onnx_order(b->m->g, nodes, count, &order, err));
    for (size_t n = 0; n < count; n++) FM_TRY(import_node(b, nodes[order[n]], err));
    for (size_t i = 0; i < output_count; i++)
        if (targets[i]) FM_TRY(pass_through(b, outputs[i], targets[i], err));
    return FLASHMEM_OK;
}
