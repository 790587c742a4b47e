/* The model's inputs and outputs in the program, and results exposed for step-by-step comparison.  Inputs and outputs
 * are dense, row-major and of the graph's type; a copy step converts where the device or an operator has it otherwise. */
#include <inttypes.h>
#include <string.h>

#include "compile/lower_internal.h"

/* --- what an integer input means ---------------------------------------------------------------------------------- */

static bool named(const fm_node *node, const char *const *names) {
    for (; *names; names++)
        if (strcmp(node->op_type, *names) == 0) return true;
    return false;
}

static const char *const index_readers[] = { "Gather", "GatherElements", NULL };
static const char *const mask_readers[] = { "Where",
                                            "And",
                                            "Or",
                                            "Not",
                                            "Cast",
                                            "Equal",
                                            "Greater",
                                            "Less",
                                            "GreaterOrEqual",
                                            "LessOrEqual",
                                            "fm.Elementwise",
                                            "fm.Attention",
                                            "Mul",
                                            "Sub",
                                            "GatherND",
                                            NULL };

static void smallest(uint64_t *limit, int64_t dim) {
    if (dim > 0 && (*limit == 0 || (uint64_t)dim < *limit)) *limit = (uint64_t)dim;
}

/* Follows t through operators that only move elements, to those that index with it or take it as a mask. */
static void trace_input(const fm_tensor *t, uint64_t *limit, bool *mask, uint32_t depth) {
    if (depth > 64) return;
    for (size_t u = 0; u < t->use_count; u++) {
        const fm_node   *node = t->uses[u];
        const fm_tensor *data = node->input_count ? node->inputs[0] : NULL;
        if (named(node, index_readers) && node->input_count > 1 && node->inputs[1] == t) {
            int64_t axis = fm_node_int(node, "axis", 0);
            if (axis < 0) axis += data->shape.rank;
            if (axis >= 0 && axis < data->shape.rank) smallest(limit, data->shape.dims[axis]);
            continue;
        }
        bool to_integer = strcmp(node->op_type, "Cast") == 0 && node->outputs[0] &&
                          !fm_dtype_is_float(node->outputs[0]->dtype) && node->outputs[0]->dtype != FLASHMEM_BOOL;
        if (named(node, mask_readers) && !to_integer) *mask = true;
        else if ((to_integer || node->op->op_class == FM_OP_VIEW) && data == t && node->outputs[0])
            trace_input(node->outputs[0], limit, mask, depth + 1);
    }
}

static void describe_input(fm_lower *l, const fm_tensor *t, uint32_t value) {
    if (fm_dtype_is_float(t->dtype)) return;
    uint64_t limit = 0;
    bool     mask = t->dtype == FLASHMEM_BOOL;
    trace_input(t, &limit, &mask, 0);
    fm_value *v = &l->builder.values[value];
    if (limit) v->limit = limit;
    else if (mask) v->flags |= FM_VALUE_IS_MASK;
}

/* --- inputs ------------------------------------------------------------------------------------------------------- */

static flashmem_status boundary_value(fm_lower *l, fm_value_kind kind, const fm_tensor *t, fm_view *view,
                                      flashmem_error *err) {
    int64_t count = fm_shape_count(&t->shape), bytes;
    char    text[160];
    if (count <= 0 || __builtin_mul_overflow(count, (int64_t)fm_dtype_bytes(t->dtype), &bytes))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s '%s' of shape %s: every axis needs at least one element",
                       kind == FM_VALUE_INPUT ? "input" : "output", t->name,
                       fm_shape_print(&t->shape, text, sizeof text));
    uint32_t value = fm_builder_value(&l->builder, kind, t->dtype, bytes, t->name, &t->shape);
    fm_view_dense(view, value, t->dtype, &t->shape);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_inputs(fm_lower *l, flashmem_error *err) {
    for (size_t i = 0; i < l->graph->input_count; i++) {
        fm_tensor    *t = l->graph->inputs[i];
        fm_placement *p = fm_lower_placement(l, t);
        FM_TRY(boundary_value(l, FM_VALUE_INPUT, t, &p->view, err));
        fm_builder_input(&l->builder, p->view.value);
        describe_input(l, t, p->view.value);
        if (fm_lower_dtype(t) != t->dtype && t->use_count > 0) {
            fm_view converted = fm_lower_temporary(l, fm_lower_dtype(t), &t->shape);
            FM_TRY(fm_lower_copy(l, t->name, &p->view, &converted, err));
            p->view = converted;
        }
        p->ready = true;
    }
    return FLASHMEM_OK;
}

/* --- outputs ------------------------------------------------------------------------------------------------------ */

static flashmem_status copy_out(fm_lower *l, fm_tensor *t, uint32_t *value, flashmem_error *err) {
    fm_view view, out;
    FM_TRY(fm_lower_view(l, t, &view, err));
    FM_TRY(boundary_value(l, FM_VALUE_OUTPUT, t, &out, err));
    *value = out.value;
    return fm_lower_copy(l, t->name, &view, &out, err);
}

flashmem_status fm_lower_keep(fm_lower *l, fm_node *node, flashmem_error *err) {
    for (uint32_t i = 0; i < node->output_count; i++) {
        fm_tensor *t = node->outputs[i];
        if (!t || t->is_output || !t->lowered || fm_shape_count(&t->shape) <= 0) continue;
        fm_placement *p = t->lowered;
        if (!p->ready || !p->written) continue;
        uint32_t value;
        FM_TRY(copy_out(l, t, &value, err));
        FM_PUSH(l->graph->arena, l->kept, l->kept_count, l->kept_capacity) = value;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_lower_outputs(fm_lower *l, flashmem_error *err) {
    for (size_t i = 0; i < l->graph->output_count; i++) {
        fm_tensor    *t = l->graph->outputs[i];
        fm_placement *p = fm_lower_placement(l, t);
        uint32_t      value = p->view.value;
        if (!p->is_output_value || !p->ready) FM_TRY(copy_out(l, t, &value, err));
        p->is_output_value = false; /* a second output of the same tensor is a copy */
        fm_builder_output(&l->builder, value);
    }
    for (size_t i = 0; i < l->kept_count; i++) fm_builder_output(&l->builder, l->kept[i]);
    return FLASHMEM_OK;
}
