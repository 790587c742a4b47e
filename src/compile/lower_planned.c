/* Operators that no kernel runs, as steps that are only planned: what they read and write, and what they cost.  A
 * product with a constant has its weight packed and cut as kernels would have it; other constants are dense. */
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/plan/capacity.h"

/* --- taking a node's lowering back -------------------------------------------------------------------------------- */

fm_lower_marked fm_lower_mark(const fm_lower *l) {
    return (fm_lower_marked){ .builder = fm_builder_mark(&l->builder), .weights = l->weight_count };
}

/* Storage that was made since the mark is gone; what producers of parts wrote before it stays. */
static void forget(fm_tensor *t, const fm_lower_marked *mark) {
    fm_placement *p = t ? t->lowered : NULL;
    if (p && (p->ready || p->is_allocated) && p->view.value >= mark->builder.values)
        p->ready = p->written = p->is_output_value = p->is_allocated = false;
}

void fm_lower_rewind(fm_lower *l, fm_node *node, const fm_lower_marked *mark) {
    for (uint32_t i = 0; i < node->input_count; i++) forget(node->inputs[i], mark);
    for (uint32_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i]) continue;
        for (fm_tensor *t = node->outputs[i]; t; t = fm_lower_placement(l, t)->whole) forget(t, mark);
        fm_lower_placement(l, node->outputs[i])->ready = false; /* a view of what is older */
        fm_lower_placement(l, node->outputs[i])->written = false;
    }
    fm_builder_rewind(&l->builder, &mark->builder);
    l->weight_count = mark->weights;
}

/* --- what a step is ----------------------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static bool is_convolution(const fm_node *node) {
    const char *name = node->op->name;
    return begins(name, "Conv") || strcmp(name, "fm.Conv") == 0;
}

static flashmem_cost_class cost_class(const fm_node *node, bool weight) {
    const char *name = node->op->name;
    switch (fm_capacity_of_node(node)) {
    case FM_CAPACITY_REUSABLE:
        return is_convolution(node) ? FLASHMEM_COST_CONV : weight ? FLASHMEM_COST_MATMUL : FLASHMEM_COST_BATCH_MATMUL;
    case FM_CAPACITY_HIERARCHICAL: return strstr(name, "Attention") ? FLASHMEM_COST_ATTENTION : FLASHMEM_COST_NORM;
    default:
        return begins(name, "Gather") || begins(name, "Scatter") ? FLASHMEM_COST_GATHER : FLASHMEM_COST_ELEMENTWISE;
    }
}

/* Convolution without groups, weight [O, C, kernel...], as [C * kernel, O]. */
static const fm_recipe *convolution_matrix(fm_arena *a, const fm_node *node, const fm_tensor *w) {
    static const uint32_t swapped[2] = { 1, 0 };
    if (fm_node_int(node, "group", 1) != 1 || strcmp(node->op->name, "ConvTranspose") == 0) return NULL;
    int64_t  outputs = w->shape.dims[0];
    fm_shape flat = { .rank = 2, .dims = { outputs, fm_shape_count(&w->shape) / outputs } };
    return fm_recipe_transpose(a, fm_recipe_reshape(a, w->constant, &flat), swapped);
}

/* The second operand [1..., K, N] or, transposed, [1..., N, K]. */
static const fm_recipe *product_matrix(fm_arena *a, const fm_node *node, const fm_tensor *w) {
    static const uint32_t swapped[2] = { 1, 0 };
    const fm_shape       *x = &node->inputs[0]->shape, *s = &w->shape;
    int64_t               rows = s->rank > 1 ? s->dims[s->rank - 2] : 0;
    if (s->rank < 2 || x->rank < 1 || fm_shape_count(s) != rows * s->dims[s->rank - 1]) return NULL;
    fm_shape         flat = { .rank = 2, .dims = { rows, s->dims[s->rank - 1] } };
    const fm_recipe *r = s->rank == 2 ? w->constant : fm_recipe_reshape(a, w->constant, &flat);
    int64_t          outputs = node->outputs[0]->shape.dims[node->outputs[0]->shape.rank - 1];
    bool             transposed = outputs != flat.dims[1] || fm_node_int(node, "transB", 0) != 0;
    return transposed ? fm_recipe_transpose(a, r, swapped) : r;
}

/* Input 1 of a product as a [K, N] matrix, or NULL: it has none that kernels would pack. */
static const fm_recipe *packed_matrix(fm_arena *a, const fm_node *node) {
    const fm_tensor *w = node->input_count > 1 ? node->inputs[1] : NULL;
    if (!w || !w->constant || fm_capacity_of_node(node) != FM_CAPACITY_REUSABLE) return NULL;
    if (is_convolution(node)) return convolution_matrix(a, node, w);
    return strcmp(node->op->name, "Einsum") == 0 ? NULL : product_matrix(a, node, w);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

typedef struct planned {
    const fm_node   *node;
    const fm_recipe *matrix; /* of input 1, or NULL */
    fm_view         *reads;
    uint32_t         read_count;
    fm_view         *writes;
    uint32_t         write_count;
    double           flops, bytes;
} planned;

/* On the device. */
static int64_t bytes_of(const fm_tensor *t) {
    return fm_shape_count(&t->shape) * (int64_t)fm_dtype_bytes(fm_lower_dtype(t));
}

/* Constants that lie in the program cost nothing to read. */
static bool costs_nothing(const fm_tensor *t) {
    return bytes_of(t) <= 0 || (t->constant && bytes_of(t) <= FM_PROGRAM_CONSTANT);
}

static flashmem_status gather_views(fm_lower *l, fm_node *node, planned *p, flashmem_error *err) {
    fm_arena *a = l->graph->arena;
    p->reads = fm_arena_array(a, node->input_count, sizeof *p->reads);
    p->writes = fm_arena_array(a, node->output_count, sizeof *p->writes);
    for (uint32_t i = 0; i < node->input_count; i++) {
        fm_tensor *t = node->inputs[i];
        if (!t || (i == 1 && p->matrix) || costs_nothing(t)) continue;
        FM_TRY(fm_lower_view(l, t, &p->reads[p->read_count++], err));
        if (!t->constant) p->bytes += (double)bytes_of(t);
    }
    for (uint32_t i = 0; i < node->output_count; i++) {
        fm_tensor *t = node->outputs[i];
        if (!t || (t->use_count == 0 && !t->is_output)) continue;
        p->writes[p->write_count] = fm_lower_output(l, t, NULL);
        if (bytes_of(t) <= 0) continue;
        p->bytes += (double)bytes_of(t);
        p->write_count++;
    }
    return FLASHMEM_OK;
}

/* One step.  weight: value of its packed matrix, or FM_NONE; sum, to: values read and written besides, or FM_NONE. */
static void emit(fm_lower *l, const planned *p, uint32_t weight, uint32_t sum, uint32_t to, double share) {
    fm_program_builder *b = &l->builder;
    fm_builder_planned(b, p->node->name, p->node->op->name, cost_class(p->node, weight != FM_NONE));
    for (uint32_t i = 0; i < p->read_count; i++) fm_builder_read(b, p->reads[i].value);
    if (sum != FM_NONE) fm_builder_read(b, sum);
    if (to != FM_NONE) fm_builder_write(b, to);
    for (uint32_t i = 0; i < p->write_count && to == FM_NONE; i++) fm_builder_write(b, p->writes[i].value);
    if (weight != FM_NONE) {
        if (l->layout == FLASHMEM_LAYOUT_TEXTURE) fm_builder_image(b, weight);
        else fm_builder_read(b, weight);
        fm_builder_arg_panels(b);
        fm_builder_global(b, (int64_t)l->records[b->values[weight].weight].panels, 1, 1);
        fm_builder_split(b, weight, 0, 1, 1);
    }
    fm_builder_work(b, p->flops * share, p->bytes);
    fm_builder_end(b);
}

/* As for kernels an image holds at most image_limit rows of K: longer sums are several steps, each adding the last. */
static flashmem_status emit_bands(fm_lower *l, const planned *p, flashmem_error *err) {
    int64_t  k = p->matrix->shape.dims[0], n = p->matrix->shape.dims[1];
    int64_t  limit = l->layout == FLASHMEM_LAYOUT_TEXTURE ? (int64_t)l->image_limit : k;
    uint32_t sum = FM_NONE, weight;
    for (int64_t from = 0; from < k; from += limit) {
        int64_t          count = k - from < limit ? k - from : limit, start[2] = { from, 0 }, step[2] = { 1, 1 };
        bool             last = from + count == k;
        fm_shape         shape = { .rank = 2, .dims = { count, n } };
        const fm_recipe *r = count == k ? p->matrix : fm_recipe_slice(l->graph->arena, p->matrix, start, step, &shape);
        uint32_t         to = last ? FM_NONE : fm_lower_temporary(l, FLASHMEM_F32, &p->node->outputs[0]->shape).value;
        FM_TRY(fm_lower_panels(l, p->node->inputs[1]->name, r, &weight, err));
        emit(l, p, weight, sum, to, (double)count / (double)k);
        sum = to;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_lower_planned(fm_lower *l, fm_node *node, flashmem_error *err) {
    planned p = { .node = node, .matrix = packed_matrix(l->graph->arena, node), .flops = 2 * fm_node_macs(node) };
    FM_TRY(gather_views(l, node, &p, err));
    if (p.write_count == 0) return FLASHMEM_OK;
    if (p.matrix) return emit_bands(l, &p, err);
    emit(l, &p, FM_NONE, FM_NONE, FM_NONE, 1);
    return FLASHMEM_OK;
}
