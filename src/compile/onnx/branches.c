/* If: both branches wait, with the scope they see, until folding knows the condition. */
#include <string.h>

#include "compile/onnx/importer.h"

typedef struct pending_if {
    fm_onnx_body   body; /* around the node */
    FmOnnx__Graph *branches[2]; /* else, then */
} pending_if;

/* Types and shapes of an If are those of its branch: it is decided before anybody asks. */
static flashmem_status infer_if(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    return fm_fail(err, FLASHMEM_INTERNAL, "node '%s' (If) is inferred before it is decided", node->name);
}

static const fm_op op_if = { .name = "If", .domain = "", .since = 1, .min_inputs = 1, .max_inputs = UINT32_MAX,
                             .min_outputs = 1, .max_outputs = UINT32_MAX, .op_class = FM_OP_MOVEMENT,
                             .infer = infer_if };

typedef struct capture_list {
    const fm_onnx_body *b;
    fm_names            seen;
    fm_tensor         **tensors;
    size_t              count, capacity;
} capture_list;

static void add_capture(void *user, const char *name) {
    capture_list *list = user;
    fm_tensor    *t = *name ? fm_names_find(list->b->scope, name) : NULL;
    if (!t || t == &fm_onnx_absent || fm_names_local(&list->seen, name)) return;
    fm_names_put(&list->seen, name, t);
    FM_PUSH(list->b->m->g->arena, list->tensors, list->count, list->capacity) = t;
}

flashmem_status fm_onnx_if(const fm_onnx_body *b, const FmOnnx__Node *proto, const char *name, fm_tensor *condition,
                           fm_tensor **outputs, uint32_t output_count, flashmem_error *err) {
    fm_graph    *g = b->m->g;
    pending_if  *pending = fm_arena_alloc(g->arena, sizeof *pending);
    capture_list list = { .b = b };
    pending->body = *b;
    for (size_t i = 0; i < proto->n_attribute; i++) {
        const FmOnnx__Attribute *a = proto->attribute[i];
        if (a->name && strcmp(a->name, "then_branch") == 0) pending->branches[1] = a->g;
        if (a->name && strcmp(a->name, "else_branch") == 0) pending->branches[0] = a->g;
    }
    if (!condition || !pending->branches[0] || !pending->branches[1])
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s' (If): %s is missing", g->path, name,
                       !condition ? "its condition" : !pending->branches[1] ? "then_branch" : "else_branch");
    fm_names_init(&list.seen, g->arena, NULL);
    FM_PUSH(g->arena, list.tensors, list.count, list.capacity) = condition;
    fm_onnx_captures(proto, add_capture, &list);
    fm_node *node = fm_graph_insert(g, b->before, &op_if, name, list.tensors, (uint32_t)list.count, outputs,
                                    output_count);
    node->opset = FM_ONNX_NEWEST_OPSET;
    node->params = pending;
    return FLASHMEM_OK;
}

bool fm_onnx_is_if(const fm_node *node) { return node->op == &op_if; }

flashmem_status fm_onnx_decide_if(fm_graph *g, fm_node *node, fm_node **next, flashmem_error *err) {
    pending_if *pending = node->params;
    double      condition;
    if (!fm_tensor_scalar(node->inputs[0], &condition))
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "%s: node '%s' (If): condition '%s' is known only at run time: only conditions that follow from "
                       "shapes and constants are supported", g->path, node->name, node->inputs[0]->name);
    FmOnnx__Graph *branch = pending->branches[condition != 0];
    if (branch->n_output < node->output_count)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s' (If): a branch has %zu outputs, the node %u", g->path,
                       node->name, branch->n_output, node->output_count);
    fm_names *scope = fm_arena_alloc(g->arena, sizeof *scope);
    char    **names = fm_arena_array(g->arena, node->output_count, sizeof *names);
    fm_node  *before = node->next, *prev = node->prev;
    for (uint32_t i = 0; i < node->output_count; i++) names[i] = branch->output[i]->name ? branch->output[i]->name : "";
    fm_graph_remove(g, node);
    fm_onnx_body body = pending->body;
    fm_names_init(scope, g->arena, body.scope);
    body.scope = scope;
    body.prefix = fm_arena_printf(g->arena, "%s/", node->name);
    body.before = before;
    body.depth++;
    FM_TRY(fm_onnx_initializers(&body, branch, err));
    FM_TRY(fm_onnx_nodes(&body, branch->node, branch->n_node, names, node->outputs, node->output_count, err));
    *next = prev ? prev->next : g->first;
    return fm_onnx_report_unknown(body.m, err);
}
