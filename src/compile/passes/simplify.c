/* Nodes that change nothing, and nodes that repeat another.  Both end as fm_graph_replace; where the result has to keep
 * its name (a model output that is also an input or constant), the node stays. */
#include <string.h>

#include "base/hash.h"
#include "compile/ops/op.h"
#include "compile/passes/passes.h"

/* ---- nodes that change nothing ---- */

typedef struct identity_rule {
    const char *op_type;
    /* Given equal shapes and types of input 0 and output 0; NULL: that is enough. */
    bool (*holds)(const fm_node *node);
} identity_rule;

static fm_tensor *input(const fm_node *node, uint32_t i) { return i < node->input_count ? node->inputs[i] : NULL; }

static bool constant_is(const fm_tensor *t, double wanted) {
    double value;
    return fm_tensor_scalar(t, &value) && value == wanted;
}

static bool drops_nothing(const fm_node *node) {
    if (node->output_count > 1 && node->outputs[1] && (node->outputs[1]->use_count || node->outputs[1]->is_output))
        return false;
    return !input(node, 2) || constant_is(input(node, 2), 0);
}

/* Axes longer than one keep their order. */
static bool moves_unit_axes(const fm_node *node) {
    uint32_t        count = 0, rank = node->inputs[0]->shape.rank;
    const int64_t  *permutation = fm_node_ints(node, "perm", &count);
    int64_t         last = -1;
    for (uint32_t i = 0; i < rank; i++) {
        int64_t axis = permutation && count == rank ? permutation[i] : (int64_t)(rank - 1 - i);
        if (axis < 0 || axis >= (int64_t)rank) return false;
        if (node->inputs[0]->shape.dims[axis] == 1) continue;
        if (axis < last) return false;
        last = axis;
    }
    return true;
}

/* The whole of an axis forwards: equal sizes say so unless a step is negative. */
static bool slices_forwards(const fm_node *node) {
    int64_t  steps[FM_MAX_RANK];
    uint32_t count = 0;
    if (!input(node, 4)) return true;
    if (!fm_tensor_ints(input(node, 4), steps, FM_MAX_RANK, &count)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (steps[i] < 1) return false;
    return true;
}

static bool pads_nothing(const fm_node *node) {
    int64_t  pads[2 * FM_MAX_RANK];
    uint32_t count = 0;
    if (!fm_tensor_ints(input(node, 1), pads, 2 * FM_MAX_RANK, &count)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (pads[i]) return false;
    return true;
}

static bool has_one_input(const fm_node *node) { return node->input_count == 1; }
static bool by_one(const fm_node *node) { return constant_is(input(node, 1), 1); }
static bool with_zero(const fm_node *node) { return constant_is(input(node, 1), 0); }

static const identity_rule identity_rules[] = {
    { "Identity", NULL },          { "Dropout", drops_nothing }, { "Cast", NULL },
    { "CastLike", NULL },          { "Reshape", NULL },          { "Squeeze", NULL },
    { "Unsqueeze", NULL },         { "Flatten", NULL },          { "Transpose", moves_unit_axes },
    { "Slice", slices_forwards },  { "Expand", NULL },           { "Tile", NULL },
    { "Concat", has_one_input },   { "Pad", pads_nothing },      { "Mul", by_one },
    { "Div", by_one },             { "Pow", by_one },            { "Add", with_zero },
    { "Sub", with_zero },          { "Sum", has_one_input },     { "Max", has_one_input },
    { "Min", has_one_input },      { "Mean", has_one_input },    { "Split", NULL },
};

static bool same_kind(const fm_tensor *a, const fm_tensor *b) {
    return a->dtype == b->dtype && fm_shape_equal(&a->shape, &b->shape);
}

/* The input that the node's first output equals, or NULL. */
static fm_tensor *identity_of(const fm_node *node) {
    fm_tensor *in = input(node, 0), *out = node->output_count ? node->outputs[0] : NULL;
    if (!in || !out || node->op->domain[0] || node->params) return NULL;
    bool commutes = strcmp(node->op_type, "Mul") == 0 || strcmp(node->op_type, "Add") == 0;
    if (commutes && input(node, 1) && same_kind(input(node, 1), out) && constant_is(in, node->op_type[0] == 'M'))
        return input(node, 1);
    if (!same_kind(in, out)) return NULL;
    for (size_t i = 0; i < sizeof identity_rules / sizeof *identity_rules; i++)
        if (strcmp(node->op_type, identity_rules[i].op_type) == 0)
            return !identity_rules[i].holds || identity_rules[i].holds(node) ? in : NULL;
    return NULL;
}

static bool is_reshape(const fm_node *node) {
    static const char *const names[] = { "Reshape", "Squeeze", "Unsqueeze", "Flatten" };
    for (size_t i = 0; node && i < sizeof names / sizeof *names; i++)
        if (node->op->domain[0] == '\0' && strcmp(node->op_type, names[i]) == 0) return true;
    return false;
}

/* A chain of reshapes that comes back to a shape it had. */
static fm_tensor *reshape_source(const fm_node *node) {
    const fm_tensor *out = node->output_count ? node->outputs[0] : NULL;
    if (!out || !is_reshape(node)) return NULL;
    for (fm_tensor *t = node->inputs[0];;) {
        if (same_kind(t, out)) return t;
        if (!is_reshape(t->producer)) return NULL;
        t = t->producer->inputs[0];
    }
}

/* ---- nodes that repeat another ---- */

static uint64_t hash_attrs(const fm_node *node, uint64_t h) {
    for (uint32_t i = 0; i < node->attr_count; i++) {
        const fm_attr *a = &node->attrs[i];
        h = fm_hash_seeded(a->name, strlen(a->name), h);
        h = fm_hash_seeded(&a->i, sizeof a->i, h);
        if (a->ints) h = fm_hash_seeded(a->ints, a->count * sizeof *a->ints, h);
    }
    return h;
}

static bool same_attr(const fm_attr *a, const fm_attr *b) {
    if (strcmp(a->name, b->name) != 0 || a->kind != b->kind || a->count != b->count) return false;
    switch (a->kind) {
    case FM_ATTR_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case FM_ATTR_INT: return a->i == b->i;
    case FM_ATTR_STRING: return strcmp(a->s, b->s) == 0;
    case FM_ATTR_FLOATS: return a->count == 0 || memcmp(a->floats, b->floats, a->count * sizeof *a->floats) == 0;
    case FM_ATTR_INTS: return a->count == 0 || memcmp(a->ints, b->ints, a->count * sizeof *a->ints) == 0;
    case FM_ATTR_TENSOR: return a->tensor == b->tensor;
    default: return false;
    }
}

static bool is_random(const fm_node *node) {
    return strncmp(node->op_type, "Random", 6) == 0 || strcmp(node->op_type, "Bernoulli") == 0 ||
           strcmp(node->op_type, "Multinomial") == 0 || strcmp(node->op_type, "Dropout") == 0;
}

static uint64_t hash_node(const fm_node *node) {
    uint64_t h = fm_hash(&node->op, sizeof node->op);
    if (node->input_count) h = fm_hash_seeded(node->inputs, node->input_count * sizeof *node->inputs, h);
    return hash_attrs(node, h);
}

static bool same_node(const fm_node *a, const fm_node *b) {
    if (a->op != b->op || a->opset != b->opset || a->input_count != b->input_count ||
        a->output_count != b->output_count || a->attr_count != b->attr_count || a->params || b->params || is_random(a))
        return false;
    if (a->input_count && memcmp(a->inputs, b->inputs, a->input_count * sizeof *a->inputs) != 0) return false;
    for (uint32_t i = 0; i < a->attr_count; i++)
        if (!same_attr(&a->attrs[i], &b->attrs[i])) return false;
    for (uint32_t i = 0; i < a->output_count; i++)
        if (b->outputs[i] && (!a->outputs[i] || !same_kind(a->outputs[i], b->outputs[i]))) return false;
    return true;
}

enum { SMALL_CONSTANT = 256 };

static const void *small_data(const fm_tensor *t, size_t *bytes) {
    const void *data = t->constant ? fm_recipe_data(t->constant) : NULL;
    int64_t     count = data ? fm_shape_count(&t->shape) : -1;
    *bytes = 0;
    if (count < 0 || count > SMALL_CONSTANT) return NULL;
    *bytes = (size_t)count * fm_dtype_bytes(t->dtype);
    return *bytes <= SMALL_CONSTANT ? data : NULL;
}

static uint64_t hash_constant(const fm_tensor *t) {
    size_t      bytes;
    const void *data = small_data(t, &bytes);
    uint64_t    h = fm_hash_seeded(&t->dtype, sizeof t->dtype, t->shape.rank);
    h = fm_hash_seeded(t->shape.dims, t->shape.rank * sizeof *t->shape.dims, h);
    return fm_hash_seeded(data, bytes, h);
}

static bool same_constant(const fm_tensor *a, const fm_tensor *b) {
    size_t      a_bytes, b_bytes;
    const void *a_data = small_data(a, &a_bytes), *b_data = small_data(b, &b_bytes);
    return same_kind(a, b) && a_bytes == b_bytes && memcmp(a_data, b_data, a_bytes) == 0;
}

/* Open addressing over nodes or tensors. */
typedef struct seen_table {
    void   **items;
    size_t   capacity; /* power of two, at least twice what comes */
} seen_table;

static seen_table seen_create(fm_graph *g, size_t most) {
    seen_table t = { .capacity = 16 };
    while (t.capacity < most * 2) t.capacity *= 2;
    t.items = fm_arena_array(g->arena, t.capacity, sizeof *t.items);
    return t;
}

/* Constants of equal content become the first of them. */
static void merge_constants(fm_graph *g) {
    seen_table seen = seen_create(g, g->tensor_count);
    for (size_t i = 0; i < g->tensor_count; i++) {
        fm_tensor *t = g->tensors[i];
        size_t     bytes, at;
        if (!t->use_count || !small_data(t, &bytes)) continue;
        for (at = hash_constant(t) & (seen.capacity - 1); seen.items[at]; at = (at + 1) & (seen.capacity - 1))
            if (same_constant(seen.items[at], t)) break;
        if (!seen.items[at]) seen.items[at] = t;
        else if (!t->is_output) fm_graph_replace(g, t, seen.items[at]);
    }
}

static void merge_nodes(fm_graph *g) {
    seen_table seen = seen_create(g, g->node_count);
    for (fm_node *node = g->first; node; node = node->next) {
        size_t at;
        for (at = hash_node(node) & (seen.capacity - 1); seen.items[at]; at = (at + 1) & (seen.capacity - 1))
            if (same_node(seen.items[at], node)) break;
        if (!seen.items[at]) {
            seen.items[at] = node;
            continue;
        }
        const fm_node *first = seen.items[at];
        for (uint32_t i = 0; i < node->output_count; i++)
            if (node->outputs[i]) fm_graph_replace(g, node->outputs[i], first->outputs[i]);
    }
}

flashmem_status fm_pass_simplify(fm_graph *g, flashmem_error *err) {
    (void)err;
    for (fm_node *node = g->first; node; node = node->next) {
        fm_tensor *same = identity_of(node);
        if (!same) same = reshape_source(node);
        if (same) fm_graph_replace(g, node->outputs[0], same);
    }
    merge_constants(g);
    merge_nodes(g);
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
