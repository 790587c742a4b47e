/* The graph's verifier: recomputes links, order and types from the node list and compares. */
#include <string.h>

#include "compile/ops/op.h"

/* Longer lists are only checked to hold as many readers as there are: comparing each with each takes too long. */
enum { MANY_USES = 256 };

static flashmem_status bug(flashmem_error *err, const fm_node *n, const char *what, const fm_tensor *t) {
    return fm_fail(err, FLASHMEM_INTERNAL, "graph: node '%s' (%s): %s%s%s%s", n ? n->name : "", n ? n->op_type : "",
                   what, t ? " '" : "", t ? t->name : "", t ? "'" : "");
}

/* A mark per tensor, found by its place in g->tensors through a sorted copy of the pointers. */
typedef struct tensor_marks {
    const fm_tensor **sorted;
    uint8_t          *made; /* 1: its producer, or nothing, has come */
    size_t           *uses;
    size_t            count;
} tensor_marks;

static size_t mark_index(const tensor_marks *m, const fm_tensor *t) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)m->sorted[middle] < (uintptr_t)t) low = middle + 1;
        else high = middle;
    }
    return low < m->count && m->sorted[low] == t ? low : SIZE_MAX;
}

static void sift_down(const fm_tensor **a, size_t root, size_t count) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && (uintptr_t)a[child] < (uintptr_t)a[child + 1]) child++;
        if ((uintptr_t)a[root] >= (uintptr_t)a[child]) return;
        const fm_tensor *t = a[root];
        a[root] = a[child];
        a[child] = t;
    }
}

static void sort_pointers(const fm_tensor **a, size_t count) {
    for (size_t i = count / 2; i-- > 0;) sift_down(a, i, count);
    for (size_t i = count; i-- > 1;) {
        const fm_tensor *t = a[0];
        a[0] = a[i];
        a[i] = t;
        sift_down(a, 0, i);
    }
}

static flashmem_status verify_tensor(const fm_tensor *t, flashmem_error *err) {
    if (!t->name) return fm_fail(err, FLASHMEM_INTERNAL, "graph: a tensor has no name");
    if (t->constant && t->producer)
        return fm_fail(err, FLASHMEM_INTERNAL, "graph: constant '%s' has a producer", t->name);
    if (t->shaped && (t->shape.rank > FM_MAX_RANK || fm_shape_count(&t->shape) < 0 || !fm_dtype_bytes(t->dtype)))
        return fm_fail(err, FLASHMEM_INTERNAL, "graph: '%s' has an impossible shape or type", t->name);
    if (t->constant && (t->constant->dtype != t->dtype || !fm_shape_equal(&t->constant->shape, &t->shape)))
        return fm_fail(err, FLASHMEM_INTERNAL, "graph: constant '%s' differs from its recipe in type or shape",
                       t->name);
    return FLASHMEM_OK;
}

static flashmem_status verify_node(const fm_graph *g, const fm_node *n, tensor_marks *m, flashmem_error *err) {
    if (n->prev ? n->prev->next != n : g->first != n) return bug(err, n, "is not linked to its predecessor", NULL);
    if (n->next ? n->next->prev != n : g->last != n) return bug(err, n, "is not linked to its successor", NULL);
    if (!n->op) return bug(err, n, "has no operator", NULL);
    FM_TRY(fm_node_check(n, err));
    for (uint32_t i = 0; i < n->input_count; i++) {
        const fm_tensor *t = n->inputs[i];
        if (!t) continue;
        size_t k = mark_index(m, t);
        if (k == SIZE_MAX) return bug(err, n, "reads a tensor of no graph", t);
        if (t->producer && !m->made[k]) return bug(err, n, "reads before it is made", t);
        if (!t->producer && !t->constant && !t->is_input) return bug(err, n, "reads what nobody makes:", t);
        if (!t->shaped) return bug(err, n, "reads a tensor without a shape:", t);
        m->uses[k]++;
    }
    for (uint32_t i = 0; i < n->output_count; i++) {
        const fm_tensor *t = n->outputs[i];
        if (!t) continue;
        size_t k = mark_index(m, t);
        if (k == SIZE_MAX) return bug(err, n, "makes a tensor of no graph", t);
        if (t->producer != n) return bug(err, n, "is not known as producer of", t);
        if (m->made[k]) return bug(err, n, "makes twice", t);
        if (!t->shaped) return bug(err, n, "makes a tensor without a shape:", t);
        m->made[k] = 1;
    }
    return FLASHMEM_OK;
}

static flashmem_status verify_ends(const fm_graph *g, const tensor_marks *m, flashmem_error *err) {
    for (size_t i = 0; i < g->input_count; i++) {
        const fm_tensor *t = g->inputs[i];
        if (!t->is_input || t->producer || !t->shaped)
            return fm_fail(err, FLASHMEM_INTERNAL, "graph: input '%s' has a producer, or no shape or mark", t->name);
    }
    for (size_t i = 0; i < g->output_count; i++) {
        const fm_tensor *t = g->outputs[i];
        size_t           k = mark_index(m, t);
        if (k == SIZE_MAX || !t->is_output || !t->shaped || (!m->made[k] && !t->constant && !t->is_input))
            return fm_fail(err, FLASHMEM_INTERNAL, "graph: output '%s' is not made, or has no shape or mark", t->name);
    }
    return FLASHMEM_OK;
}

/* A tensor's use list holds exactly the nodes of the list that read it, once per use. */
static flashmem_status verify_uses(const fm_graph *g, const tensor_marks *m, flashmem_error *err) {
    for (size_t i = 0; i < g->tensor_count; i++) {
        const fm_tensor *t = g->tensors[i];
        if (t->use_count != m->uses[mark_index(m, t)])
            return fm_fail(err, FLASHMEM_INTERNAL, "graph: '%s' counts %zu uses, the nodes have %zu", t->name,
                           t->use_count, m->uses[mark_index(m, t)]);
        for (size_t u = 0; u < t->use_count; u++) {
            size_t listed = 0, read = 0;
            for (size_t v = 0; v < t->use_count && t->use_count <= MANY_USES; v++) listed += t->uses[v] == t->uses[u];
            for (uint32_t k = 0; k < t->uses[u]->input_count; k++) read += t->uses[u]->inputs[k] == t;
            if (read == 0 || (listed != read && t->use_count <= MANY_USES))
                return bug(err, t->uses[u], "is listed wrongly as user of", t);
        }
    }
    return FLASHMEM_OK;
}

flashmem_status fm_graph_verify(const fm_graph *g, flashmem_error *err) {
    tensor_marks m = { .count = g->tensor_count };
    m.sorted = fm_arena_array(g->arena, m.count, sizeof *m.sorted);
    m.made = fm_arena_array(g->arena, m.count, sizeof *m.made);
    m.uses = fm_arena_array(g->arena, m.count, sizeof *m.uses);
    for (size_t i = 0; i < m.count; i++) {
        FM_TRY(verify_tensor(g->tensors[i], err));
        m.sorted[i] = g->tensors[i];
    }
    sort_pointers(m.sorted, m.count);
    uint32_t nodes = 0;
    for (const fm_node *n = g->first; n; n = n->next) {
        if (++nodes > g->node_count) return bug(err, n, "is beyond the counted nodes: a cycle in the list?", NULL);
        FM_TRY(verify_node(g, n, &m, err));
    }
    if (nodes != g->node_count)
        return fm_fail(err, FLASHMEM_INTERNAL, "graph: %u nodes counted, %u linked", g->node_count, nodes);
    FM_TRY(verify_ends(g, &m, err));
    return verify_uses(g, &m, err);
}
