/* Nodes, edges and their links. */
#include "compile/graph/graph.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "compile/ops/op.h"

void fm_graph_init(fm_graph *g, fm_arena *arena, const char *path, const fm_log *log) {
    *g = (fm_graph){ .arena = arena, .path = path ? path : "model", .name = "", .log = log };
}

void fm_graph_close(fm_graph *g) {
    for (size_t i = 0; i < g->fd_count; i++) close(g->fds[i]);
    g->fd_count = 0;
}

fm_tensor *fm_graph_tensor(fm_graph *g, const char *name) {
    fm_tensor *t = fm_arena_alloc(g->arena, sizeof *t);
    t->name = name ? fm_arena_strdup(g->arena, name) : fm_arena_printf(g->arena, "fm.%zu", g->tensor_count);
    FM_PUSH(g->arena, g->tensors, g->tensor_count, g->tensor_capacity) = t;
    return t;
}

static void add_use(fm_graph *g, fm_tensor *t, fm_node *node) {
    if (t) FM_PUSH(g->arena, t->uses, t->use_count, t->use_capacity) = node;
}

static void drop_use(fm_tensor *t, const fm_node *node) {
    if (!t) return;
    for (size_t i = 0, last = t->use_count - 1; i < t->use_count;
         i++) { /* from both ends: removal goes along the graph */
        size_t at = t->uses[i] == node ? i : last - i;
        if (t->uses[at] != node) continue;
        t->uses[at] = t->uses[last];
        t->use_count--;
        return;
    }
    assert(!"a use is not in its tensor's list");
}

static fm_node *new_node(fm_graph *g, const struct fm_op *op, const char *name, fm_tensor **inputs,
                         uint32_t input_count, fm_tensor **outputs, uint32_t output_count) {
    fm_node *n = fm_arena_alloc(g->arena, sizeof *n);
    n->name = fm_arena_strdup(g->arena, name ? name : "");
    n->op = op;
    n->op_type = op ? op->name : "";
    n->domain = op ? op->domain : "";
    n->inputs = fm_arena_array(g->arena, input_count, sizeof *n->inputs);
    n->outputs = fm_arena_array(g->arena, output_count, sizeof *n->outputs);
    n->input_count = input_count;
    n->output_count = output_count;
    for (uint32_t i = 0; i < input_count; i++) add_use(g, n->inputs[i] = inputs[i], n);
    for (uint32_t i = 0; i < output_count; i++) {
        n->outputs[i] = outputs[i];
        if (outputs[i]) outputs[i]->producer = n;
    }
    return n;
}

static void link_before(fm_graph *g, fm_node *n, fm_node *before) {
    n->next = before;
    n->prev = before ? before->prev : g->last;
    if (n->prev) n->prev->next = n;
    else g->first = n;
    if (before) before->prev = n;
    else g->last = n;
    g->node_count++;
}

fm_node *fm_graph_append(fm_graph *g, const struct fm_op *op, const char *name, fm_tensor **inputs,
                         uint32_t input_count, fm_tensor **outputs, uint32_t output_count) {
    return fm_graph_insert(g, NULL, op, name, inputs, input_count, outputs, output_count);
}

fm_node *fm_graph_insert(fm_graph *g, fm_node *before, const struct fm_op *op, const char *name, fm_tensor **inputs,
                         uint32_t input_count, fm_tensor **outputs, uint32_t output_count) {
    fm_node *n = new_node(g, op, name, inputs, input_count, outputs, output_count);
    link_before(g, n, before);
    return n;
}

void fm_graph_remove(fm_graph *g, fm_node *n) {
    for (uint32_t i = 0; i < n->input_count; i++) drop_use(n->inputs[i], n);
    for (uint32_t i = 0; i < n->output_count; i++)
        if (n->outputs[i] && n->outputs[i]->producer == n) n->outputs[i]->producer = NULL;
    if (n->prev) n->prev->next = n->next;
    else g->first = n->next;
    if (n->next) n->next->prev = n->prev;
    else g->last = n->prev;
    g->node_count--;
}

void fm_graph_set_input(fm_graph *g, fm_node *node, uint32_t index, fm_tensor *tensor) {
    assert(index < node->input_count);
    drop_use(node->inputs[index], node);
    node->inputs[index] = tensor;
    add_use(g, tensor, node);
}

/* An output keeps its name.  Where `to` has a name of its own to keep, `from` stays the output; only uses move. */
static void move_output(fm_graph *g, fm_tensor *from, fm_tensor *to) {
    if (!from->is_output || to->is_output || to->is_input || to->constant) return;
    for (size_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == from) g->outputs[i] = to;
    const char *name = from->name;
    from->name = to->name;
    to->name = name;
    from->is_output = false;
    to->is_output = true;
}

void fm_graph_replace(fm_graph *g, fm_tensor *from, fm_tensor *to) {
    if (from == to) return;
    size_t kept = 0;
    for (size_t i = 0; i < from->use_count; i++) {
        fm_node *user = from->uses[i];
        if (user == to->producer) { /* it makes `to` out of `from` */
            from->uses[kept++] = user;
            continue;
        }
        for (uint32_t k = 0; k < user->input_count; k++)
            if (user->inputs[k] == from) {
                user->inputs[k] = to;
                add_use(g, to, user);
            }
    }
    from->use_count = kept;
    move_output(g, from, to);
}

static bool is_dead(const fm_node *n) {
    for (uint32_t i = 0; i < n->output_count; i++)
        if (n->outputs[i] && (n->outputs[i]->use_count || n->outputs[i]->is_output)) return false;
    return true;
}

void fm_graph_prune_before(fm_graph *g, const fm_node *removed) {
    const fm_node **gone = NULL;
    size_t          count = 0, capacity = 0;
    FM_PUSH(g->arena, gone, count, capacity) = removed;
    while (count) {
        const fm_node *n = gone[--count];
        for (uint32_t i = 0; i < n->input_count; i++) {
            fm_node *producer = n->inputs[i] ? n->inputs[i]->producer : NULL;
            if (!producer || !is_dead(producer)) continue;
            fm_graph_remove(g, producer);
            FM_PUSH(g->arena, gone, count, capacity) = producer;
        }
    }
}

/* Backwards: a node's users come after it, so one sweep removes whole dead chains. */
void fm_graph_prune(fm_graph *g) {
    for (fm_node *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (is_dead(n)) fm_graph_remove(g, n);
    }
}

fm_tensor *fm_graph_constant(fm_graph *g, const char *name, const fm_recipe *recipe) {
    fm_tensor *t = fm_graph_tensor(g, name);
    t->dtype = recipe->dtype;
    t->shape = recipe->shape;
    t->shaped = true;
    t->constant = recipe;
    return t;
}

fm_tensor *fm_graph_constant_floats(fm_graph *g, const char *name, const fm_shape *shape, const float *data) {
    return fm_graph_constant(g, name, fm_recipe_memory(g->arena, FLASHMEM_F32, shape, data));
}

fm_tensor *fm_graph_constant_ints(fm_graph *g, const char *name, const fm_shape *shape, const int64_t *data) {
    return fm_graph_constant(g, name, fm_recipe_memory(g->arena, FLASHMEM_I64, shape, data));
}
