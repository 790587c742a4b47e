/* Small questions that passes ask of a graph, and the edits they share. */
#include "compile/passes/match.h"

#include <math.h>
#include <string.h>

bool fm_is(const fm_node *node, const char *op_type) {
    bool internal = strncmp(op_type, "fm.", 3) == 0;
    return node && strcmp(node->op_type, op_type) == 0 &&
           (internal ? strcmp(node->op->domain, "fm") == 0 : node->op->domain[0] == '\0');
}

fm_node *fm_made_by(const fm_tensor *t, const char *op_type) {
    return t && t->producer && t->producer->outputs[0] == t && fm_is(t->producer, op_type) ? t->producer : NULL;
}

fm_tensor *fm_uncast(fm_tensor *t) {
    for (fm_node *cast;
         (cast = fm_made_by(t, "Cast")) && fm_dtype_is_float(t->dtype) && fm_dtype_is_float(cast->inputs[0]->dtype);)
        t = cast->inputs[0];
    return t;
}

fm_node *fm_only_use(const fm_tensor *t) { return t && t->use_count == 1 && !t->is_output ? t->uses[0] : NULL; }

bool fm_is_scalar(const fm_tensor *t, double *value) {
    return t && t->constant && fm_shape_count(&t->shape) == 1 && fm_tensor_scalar(t, value);
}

bool fm_is_near(double a, double b) { return fabs(a - b) <= 1e-3 * fabs(b); }

fm_tensor *fm_scalar_operand(const fm_node *node, double *value, bool *scalar_first) {
    if (node->input_count != 2 || !node->inputs[0] || !node->inputs[1]) return NULL;
    double a, b;
    bool   first = fm_is_scalar(node->inputs[0], &a), second = fm_is_scalar(node->inputs[1], &b);
    if (first == second) return NULL;
    *value = first ? a : b;
    if (scalar_first) *scalar_first = first;
    fm_tensor *other = node->inputs[first ? 1 : 0];
    /* a scalar of higher rank would give the result axes of its own */
    return other->shape.rank == node->outputs[0]->shape.rank ? other : NULL;
}

fm_tensor *fm_reduced_last(const fm_tensor *t, const char *op_type) {
    fm_node *node = fm_made_by(t, op_type);
    if (!node || node->inputs[0]->shape.rank == 0 || !fm_node_int(node, "keepdims", 1)) return NULL;
    int64_t        last = (int64_t)node->inputs[0]->shape.rank - 1, axis;
    uint32_t       count = 0;
    const int64_t *axes = fm_node_ints(node, "axes", &count);
    if (axes && count == 1) axis = axes[0];
    else if (axes || node->input_count < 2 || !node->inputs[1] || !fm_tensor_ints(node->inputs[1], &axis, 1, &count) ||
             count != 1)
        return NULL;
    return axis == -1 || axis == last ? node->inputs[0] : NULL;
}

fm_node *fm_replace_producer(fm_graph *g, fm_tensor *out, const fm_op *op, const char *name, fm_tensor **inputs,
                             uint32_t input_count) {
    fm_node *old = out->producer, *before = old->next;
    fm_graph_remove(g, old);
    return fm_graph_insert(g, before, op, name, inputs, input_count, &out, 1);
}

void fm_set_attr(fm_graph *g, fm_node *node, fm_attr attr) {
    fm_attr *attrs = fm_arena_array(g->arena, node->attr_count + 1u, sizeof *attrs);
    if (node->attr_count) memcpy(attrs, node->attrs, node->attr_count * sizeof *attrs);
    attrs[node->attr_count] = attr;
    node->attrs = attrs;
    node->attr_count++;
}

fm_tensor *fm_reshaped(fm_graph *g, fm_node *before, fm_tensor *t, const fm_shape *shape) {
    if (fm_shape_equal(&t->shape, shape)) return t;
    if (t->constant) return fm_graph_constant(g, t->name, fm_recipe_reshape(g->arena, t->constant, shape));
    fm_shape   list = { .rank = 1, .dims = { shape->rank } };
    fm_tensor *inputs[2] = { t, fm_graph_constant_ints(g, NULL, &list, shape->dims) };
    fm_tensor *out = fm_graph_tensor(g, NULL);
    fm_infer_set(out, t->dtype, shape);
    fm_node *node = fm_graph_insert(g, before, fm_op_find("Reshape", ""), out->name, inputs, 2, &out, 1);
    fm_set_attr(g, node, (fm_attr){ .name = "allowzero", .kind = FM_ATTR_INT, .i = 1 });
    return out;
}
