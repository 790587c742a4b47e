/* Execution order of nodes as the file lists them.  ONNX wants files sorted; those that are not are sorted here. */
#include <stdio.h>
#include <string.h>

#include "compile/onnx/importer.h"

void fm_onnx_captures(const FmOnnx__Node *node, void (*each)(void *user, const char *name), void *user) {
    for (size_t a = 0; a < node->n_attribute; a++) {
        const FmOnnx__Graph *graph = node->attribute[a]->g;
        for (size_t n = 0; graph && n < graph->n_node; n++) {
            for (size_t i = 0; i < graph->node[n]->n_input; i++) each(user, graph->node[n]->input[i]);
            fm_onnx_captures(graph->node[n], each, user);
        }
        for (size_t o = 0; graph && o < graph->n_output; o++)
            if (graph->output[o]->name) each(user, graph->output[o]->name);
    }
}

/* Edges from makers to readers, as lists in two passes: count, then fill. */
typedef struct edges {
    fm_names  makers; /* tensor name -> node index + 1 */
    size_t   *first;  /* per node, in readers */
    size_t   *readers;
    size_t   *waits;  /* makers that a node waits for */
    size_t   *last_maker; /* one of them, for naming a cycle */
    size_t    reader;
    bool      fill, sorted;
} edges;

static void add_edge(void *user, const char *name) {
    edges *e = user;
    size_t maker = (size_t)(uintptr_t)fm_names_local(&e->makers, name);
    if (!*name || !maker--) return;
    if (e->fill) {
        e->readers[e->first[maker]++] = e->reader;
        return;
    }
    e->first[maker + 1]++;
    e->waits[e->reader]++;
    e->sorted = e->sorted && maker < e->reader;
}

static void walk_edges(edges *e, FmOnnx__Node **nodes, size_t count) {
    for (e->reader = 0; e->reader < count; e->reader++) {
        const FmOnnx__Node *n = nodes[e->reader];
        for (size_t i = 0; i < n->n_input; i++) add_edge(e, n->input[i]);
        fm_onnx_captures(n, add_edge, e);
    }
}

static const char *label(const FmOnnx__Node *n) {
    return n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
}

typedef struct next_waiting {
    const edges *e;
    const bool  *done;
    size_t       found; /* maker not done, or SIZE_MAX */
    const char  *through;
} next_waiting;

static void find_waiting(void *user, const char *name) {
    next_waiting *w = user;
    size_t        maker = (size_t)(uintptr_t)fm_names_local(&w->e->makers, name);
    if (w->found != SIZE_MAX || !*name || !maker-- || w->done[maker]) return;
    w->found = maker;
    w->through = name;
}

/* From any node left, going to a maker it waits for comes around. */
static flashmem_status report_cycle(fm_graph *g, const edges *e, FmOnnx__Node **nodes, size_t count, const bool *done,
                                    flashmem_error *err) {
    bool  *seen = fm_arena_array(g->arena, count, sizeof *seen);
    size_t at = 0, shown = 0;
    char   text[600] = "", line[160];
    while (at < count && done[at]) at++;
    for (int round = 0; round < 2; round++) { /* first into the cycle, then around it */
        for (size_t start = at; round == 0 ? !seen[at] : shown == 0 || at != start; shown += (size_t)round) {
            next_waiting w = { .e = e, .done = done, .found = SIZE_MAX };
            seen[at] = true;
            for (size_t i = 0; i < nodes[at]->n_input; i++) find_waiting(&w, nodes[at]->input[i]);
            fm_onnx_captures(nodes[at], find_waiting, &w);
            if (round == 1 && shown < 4) {
                snprintf(line, sizeof line, "%s'%.40s' (%.20s) reads '%.40s'", shown ? ", " : "", label(nodes[at]),
                         nodes[at]->op_type ? nodes[at]->op_type : "", w.through);
                strncat(text, line, sizeof text - strlen(text) - 1);
            }
            at = w.found;
        }
    }
    return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: %zu nodes wait for each other in a cycle: %s%s", g->path, shown, text,
                   shown > 4 ? ", ..." : "");
}

flashmem_status fm_onnx_order(fm_graph *g, FmOnnx__Node **nodes, size_t count, size_t **order, flashmem_error *err) {
    fm_arena *a = g->arena;
    edges     e = { .sorted = true };
    size_t   *result = fm_arena_array(a, count, sizeof *result), done_count = 0;
    fm_names_init(&e.makers, a, NULL);
    for (size_t n = 0; n < count; n++)
        for (size_t o = 0; o < nodes[n]->n_output; o++)
            if (*nodes[n]->output[o]) fm_names_put(&e.makers, nodes[n]->output[o], (void *)(uintptr_t)(n + 1));
    e.first = fm_arena_array(a, count + 1, sizeof *e.first);
    e.waits = fm_arena_array(a, count, sizeof *e.waits);
    walk_edges(&e, nodes, count);
    *order = result;
    if (e.sorted) {
        for (size_t n = 0; n < count; n++) result[n] = n;
        return FLASHMEM_OK;
    }
    for (size_t n = 0; n < count; n++) e.first[n + 1] += e.first[n];
    size_t *begin = fm_arena_array(a, count + 1, sizeof *begin);
    memcpy(begin, e.first, (count + 1) * sizeof *begin);
    e.readers = fm_arena_array(a, e.first[count], sizeof *e.readers);
    e.fill = true;
    walk_edges(&e, nodes, count);
    bool *done = fm_arena_array(a, count, sizeof *done);
    for (size_t n = 0; n < count; n++)
        if (!e.waits[n]) result[done_count++] = n;
    for (size_t i = 0; i < done_count; i++) { /* result is also the queue */
        done[result[i]] = true;
        for (size_t r = begin[result[i]]; r < begin[result[i] + 1]; r++)
            if (--e.waits[e.readers[r]] == 0) result[done_count++] = e.readers[r];
    }
    return done_count == count ? FLASHMEM_OK : report_cycle(g, &e, nodes, count, done, err);
}
