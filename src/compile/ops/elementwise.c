/* Rules of elementwise nodes, and their lowering to one step each: see elementwise.h. */
#include "compile/ops/elementwise.h"

#include <assert.h>
#include <string.h>

#include "compile/ops/infer_helpers.h"

const char *fm_expression(fm_graph *g, const char *text, const char *const *names) {
    size_t bytes = 1;
    for (const char *p = text; *p; p++) bytes += *p == '$' ? strlen(names[p[1] - '0']) : 1;
    char *to = fm_arena_alloc(g->arena, bytes), *end = to;
    for (const char *p = text; *p; p++) {
        if (*p == '$') {
            const char *name = names[*++p - '0'];
            size_t      n = strlen(name);
            memcpy(end, name, n);
            end += n;
        } else {
            *end++ = *p;
        }
    }
    return to;
}

const char *fm_rule_constant(fm_graph *g, fm_elementwise_rule *rule, float value) {
    assert(rule->constant_count < 8);
    rule->constants[rule->constant_count] = value;
    return fm_arena_printf(g->arena, "c%u", rule->constant_count++);
}

const char *fm_rule_operand(fm_graph *g, fm_elementwise_rule *rule, fm_tensor *t, bool scalar_allowed) {
    double value;
    if (scalar_allowed && rule->constant_count < 8 && fm_dtype_is_float(t->dtype) && t->constant &&
        fm_shape_count(&t->shape) == 1 && fm_tensor_scalar(t, &value))
        return fm_rule_constant(g, rule, (float)value);
    for (uint32_t i = 0; i < rule->input_count; i++)
        if (rule->inputs[i] == t) return fm_arena_printf(g->arena, "a%u", i);
    assert(rule->input_count < FM_ELEMENTWISE_INPUTS);
    rule->inputs[rule->input_count] = t;
    return fm_arena_printf(g->arena, "a%u", rule->input_count++);
}

bool fm_elementwise_rule_of(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    if (node->op->domain[0] != '\0') return false;
    *out = (fm_elementwise_rule){ 0 };
    if (fm_unary_rule(g, node, out)) return true;
    *out = (fm_elementwise_rule){ 0 };
    if (fm_binary_rule(g, node, out)) return true;
    *out = (fm_elementwise_rule){ 0 };
    return fm_select_rule(g, node, out);
}

static flashmem_status emit(fm_lower *l, fm_elementwise_desc *d, const fm_view *inputs, flashmem_error *err) {
    for (uint32_t i = 0; i < d->input_count; i++) d->inputs[i] = fm_view_broadcast(&inputs[i], &d->out.shape);
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    return fm_emit_elementwise(&l->emit, d, err);
}

flashmem_status fm_elementwise_emit(fm_lower *l, const char *name, const char *expression, const fm_view *inputs,
                                    uint32_t count, const fm_view *out, bool uses_coordinates, flashmem_error *err) {
    fm_elementwise_desc d = {
        .name = name, .expression = expression, .uses_coordinates = uses_coordinates, .input_count = count, .out = *out
    };
    return emit(l, &d, inputs, err);
}

flashmem_status fm_elementwise_lower(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_elementwise_rule rule;
    fm_tensor          *out = node->outputs[0];
    if (!fm_elementwise_rule_of(l->graph, node, &rule))
        return fm_node_unsupported(err, node, "no elementwise expression for its inputs");
    fm_elementwise_desc d = { .name = node->name,
                              .expression = rule.expression,
                              .vector_safe = rule.vector_safe,
                              .uses_coordinates = rule.uses_coordinates,
                              .input_count = rule.input_count,
                              .constant_count = rule.constant_count };
    fm_view             views[FM_ELEMENTWISE_INPUTS];
    const fm_view      *like = NULL;
    for (uint32_t i = 0; i < rule.input_count; i++) {
        FM_TRY(fm_lower_view(l, rule.inputs[i], &views[i], err));
        if (!like && fm_shape_equal(&views[i].shape, &out->shape)) like = &views[i];
    }
    memcpy(d.constants, rule.constants, sizeof d.constants);
    d.out = like ? fm_lower_output_like(l, out, like) : fm_lower_output(l, out, NULL); /* keeps channels-last */
    return emit(l, &d, views, err);
}
