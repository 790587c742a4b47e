/* Trees of elementwise operators become one expression, one step.  Only what has no other reader and the result's own
 * shape is taken in, so that nothing is computed twice or wider than before. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"

enum { MOST_NODES = 24, LONGEST = 900 };

typedef struct group {
    fm_graph            *g;
    const fm_node       *nodes[MOST_NODES]; /* nodes[0] is the root */
    uint32_t             node_count;
    fm_tensor           *inputs[FM_ELEMENTWISE_INPUTS];
    uint32_t             input_count;
    fm_fused_elementwise out;
} group;

static bool holds(const group *gr, const fm_node *n) {
    for (uint32_t i = 0; i < gr->node_count; i++)
        if (gr->nodes[i] == n) return true;
    return false;
}

static const char *input_name(group *gr, fm_tensor *t) {
    for (uint32_t i = 0; i < gr->input_count; i++)
        if (gr->inputs[i] == t) return fm_arena_printf(gr->g->arena, "a%u", i);
    if (gr->input_count == FM_ELEMENTWISE_INPUTS) return NULL;
    gr->inputs[gr->input_count] = t;
    return fm_arena_printf(gr->g->arena, "a%u", gr->input_count++);
}

static const char *constant_name(group *gr, float value) {
    for (uint32_t i = 0; i < gr->out.constant_count; i++)
        if (memcmp(&gr->out.constants[i], &value, sizeof value) == 0) return fm_arena_printf(gr->g->arena, "c%u", i);
    if (gr->out.constant_count == 8) return NULL;
    gr->out.constants[gr->out.constant_count] = value;
    return fm_arena_printf(gr->g->arena, "c%u", gr->out.constant_count++);
}

/* An inner result in the type that its tensor would have had. */
static const char *typed(group *gr, const char *text, flashmem_dtype dtype) {
    const char *name = dtype == FLASHMEM_I64   ? "long"
                       : dtype == FLASHMEM_I32 ? "int"
                       : dtype == FLASHMEM_U32 ? "uint"
                       : dtype == FLASHMEM_U64 ? "ulong"
                                               : NULL;
    return name ? fm_arena_printf(gr->g->arena, "((%s)%s)", name, text) : text;
}

static const char *node_text(group *gr, const fm_node *n, int depth);

/* `text` of a rule with its operands a0.., c0.. replaced by those of the group. */
static const char *substitute(group *gr, const fm_elementwise_rule *rule, int depth) {
    const char *inputs[FM_ELEMENTWISE_INPUTS], *constants[8];
    for (uint32_t i = 0; i < rule->input_count; i++) {
        const fm_node *from = rule->inputs[i]->producer;
        inputs[i] = from && holds(gr, from) ? node_text(gr, from, depth + 1) : input_name(gr, rule->inputs[i]);
        if (!inputs[i]) return NULL;
    }
    for (uint32_t i = 0; i < rule->constant_count; i++)
        if (!(constants[i] = constant_name(gr, rule->constants[i]))) return NULL;
    char *to = fm_arena_alloc(gr->g->arena, LONGEST + 1), *end = to;
    for (const char *p = rule->expression; *p; p++) {
        bool starts = p == rule->expression || !(isalnum((unsigned char)p[-1]) || p[-1] == '_');
        bool operand = starts && (*p == 'a' || *p == 'c') && isdigit((unsigned char)p[1]) &&
                       !(isalnum((unsigned char)p[2]) || p[2] == '_');
        const char *text = operand ? (*p == 'a' ? inputs : constants)[p[1] - '0'] : p;
        size_t      n = operand ? strlen(text) : 1;
        if ((size_t)(end - to) + n > LONGEST) return NULL;
        memcpy(end, text, n);
        end += n;
        if (operand) p++;
    }
    *end = '\0';
    return to;
}

static const char *node_text(group *gr, const fm_node *n, int depth) {
    fm_elementwise_rule rule;
    if (depth > MOST_NODES || !fm_elementwise_rule_of(gr->g, n, &rule)) return NULL;
    if (!rule.vector_safe) gr->out.vector_safe = false;
    const char *text = substitute(gr, &rule, depth);
    return text && depth > 0 ? typed(gr, text, n->outputs[0]->dtype) : text;
}

/* Writes the group's expression and inputs anew; false when it does not fit one step. */
static bool compose(group *gr) {
    gr->input_count = gr->out.constant_count = 0;
    gr->out.vector_safe = true;
    gr->out.expression = node_text(gr, gr->nodes[0], 0);
    return gr->out.expression != NULL && gr->input_count > 0;
}

static bool is_narrow(flashmem_dtype t) {
    return t == FLASHMEM_I8 || t == FLASHMEM_U8 || t == FLASHMEM_I16 || t == FLASHMEM_U16; /* wraps when stored */
}

static bool may_join(const group *gr, const fm_node *n) {
    fm_elementwise_rule rule;
    const fm_tensor    *t = n ? n->outputs[0] : NULL;
    if (!t || t->is_output || is_narrow(t->dtype) || holds(gr, n) || gr->node_count == MOST_NODES) return false;
    if (!fm_shape_equal(&t->shape, &gr->out.shape)) return false;
    for (size_t i = 0; i < t->use_count; i++)
        if (!holds(gr, t->uses[i])) return false;
    return fm_elementwise_rule_of(gr->g, n, &rule) && !rule.uses_coordinates;
}

/* Adds producers of inputs as long as one can join. */
static void grow(group *gr) {
    for (uint32_t i = 0; i < gr->input_count; i++) {
        if (!may_join(gr, gr->inputs[i]->producer)) continue;
        gr->nodes[gr->node_count++] = gr->inputs[i]->producer;
        if (compose(gr)) {
            i = UINT32_MAX; /* inputs are new: from the first */
            continue;
        }
        gr->node_count--;
        bool again = compose(gr);
        assert(again);
        (void)again;
    }
}

flashmem_status fm_pass_elementwise(fm_graph *g, flashmem_error *err) {
    (void)err;
    for (fm_node *n = g->last, *prev; n; n = prev) {
        fm_elementwise_rule rule;
        prev = n->prev;
        if (!n->outputs[0] || n->outputs[0]->producer != n || !fm_elementwise_rule_of(g, n, &rule) ||
            rule.uses_coordinates)
            continue;
        group gr = { .g = g,
                     .nodes = { n },
                     .node_count = 1,
                     .out = { .dtype = n->outputs[0]->dtype, .shape = n->outputs[0]->shape } };
        if (!compose(&gr)) continue;
        grow(&gr);
        if (gr.node_count < 2) continue;
        fm_fused_elementwise *params = fm_arena_alloc(g->arena, sizeof *params);
        *params = gr.out;
        fm_node *made = fm_replace_producer(g, n->outputs[0], &fm_op_fused_elementwise, n->name, gr.inputs,
                                            gr.input_count);
        made->params = params;
        fm_graph_prune_before(g, n);
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
