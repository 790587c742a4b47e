/* Elementwise operators as expressions: what their own lowering emits, and what fusion composes.
 * Who may include: compile. */
#ifndef FM_COMPILE_OPS_ELEMENTWISE_H
#define FM_COMPILE_OPS_ELEMENTWISE_H

#include "compile/lower_internal.h"
#include "kernels/launch.h"

/* What a node computes, in the terms of fm_elementwise_desc: expression over a0.. (inputs, broadcast to the output's
 * shape), c0.. (constants) and, with uses_coordinates, i0.. (coordinates of the output).  The expression is a term: it
 * stands in parentheses wherever it needs them. */
typedef struct fm_elementwise_rule {
    const char *expression; /* in the graph's arena */
    bool        vector_safe, uses_coordinates;
    uint32_t    input_count, constant_count;
    fm_tensor  *inputs[FM_ELEMENTWISE_INPUTS];
    float       constants[8];
} fm_elementwise_rule;

/* False where the node is no elementwise operator, or has more inputs than one expression takes. */
bool fm_elementwise_rule_of(fm_graph *g, const fm_node *node, fm_elementwise_rule *out);

/* One step with the node's rule. */
flashmem_status fm_elementwise_lower(fm_lower *l, fm_node *node, flashmem_error *err);
/* A step out = expression(inputs), inputs of any shape that broadcasts to out's. */
flashmem_status fm_elementwise_emit(fm_lower *l, const char *name, const char *expression, const fm_view *inputs,
                                    uint32_t count, const fm_view *out, bool uses_coordinates, flashmem_error *err);

/* Of compile/ops only: rules and lowering of each group. */
bool fm_unary_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out);
bool fm_binary_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out);
bool fm_select_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out);
/* `text` with $0..$7 replaced by names[0..7]. */
const char *fm_expression(fm_graph *g, const char *text, const char *const *names);
/* Adds input t to the rule and gives its name in the expression ("a1"); a float constant of one element becomes "c0"
 * when scalar_allowed. */
const char *fm_rule_operand(fm_graph *g, fm_elementwise_rule *rule, fm_tensor *t, bool scalar_allowed);
const char *fm_rule_constant(fm_graph *g, fm_elementwise_rule *rule, float value);

#endif
