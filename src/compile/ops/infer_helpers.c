/* What infer rules share: see op.h and infer_helpers.h. */
#include "compile/ops/infer_helpers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

fm_tensor *fm_node_input(const fm_node *node, uint32_t index) {
    return index < node->input_count ? node->inputs[index] : NULL;
}

flashmem_status fm_node_unsupported(flashmem_error *err, const fm_node *node, const char *format, ...) {
    char    text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fm_fail(err, FLASHMEM_UNSUPPORTED, "node '%s' (%s): %s", node->name ? node->name : "", node->op_type, text);
}

void fm_infer_set(fm_tensor *t, flashmem_dtype dtype, const fm_shape *shape) {
    t->dtype = dtype;
    t->shape = *shape;
    t->shaped = true;
}

void fm_infer_output(const fm_node *node, uint32_t output, flashmem_dtype dtype, const fm_shape *shape) {
    if (output < node->output_count && node->outputs[output]) fm_infer_set(node->outputs[output], dtype, shape);
}

flashmem_status fm_infer_same(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    fm_infer_output(node, 0, node->inputs[0]->dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

flashmem_status fm_infer_broadcast(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    fm_shape shape = node->inputs[0]->shape;
    for (uint32_t i = 1; i < node->input_count; i++) {
        const fm_tensor *t = node->inputs[i];
        char             a[160], b[160];
        if (t && !fm_shape_broadcast(&shape, &t->shape, &shape))
            return fm_node_fail(err, node, "tensor '%s' of shape %s does not broadcast with %s", t->name,
                                fm_shape_print(&t->shape, a, sizeof a), fm_shape_print(&shape, b, sizeof b));
    }
    fm_infer_output(node, 0, node->inputs[0]->dtype, &shape);
    return FLASHMEM_OK;
}

flashmem_status fm_infer_axis(const fm_node *node, int64_t axis, uint32_t rank, uint32_t *out, flashmem_error *err) {
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return fm_node_fail(err, node, "axis %" PRId64 " is outside a tensor of %u dims", axis, rank);
    *out = (uint32_t)(axis < 0 ? axis + rank : axis);
    return FLASHMEM_OK;
}

static void print_types(uint32_t types, char *to, size_t bytes) {
    size_t used = 0;
    to[0] = '\0';
    for (int t = 0; t < 32; t++)
        if (types >> t & 1) {
            int put = snprintf(to + used, bytes - used, "%s%s", used ? ", " : "", fm_dtype_name((flashmem_dtype)t));
            if (put < 0 || (size_t)put >= bytes - used) return;
            used += (size_t)put;
        }
}

flashmem_status fm_infer_type(const fm_node *node, uint32_t input, uint32_t types, flashmem_error *err) {
    const fm_tensor *t = fm_node_input(node, input);
    if (!t || types >> t->dtype & 1) return FLASHMEM_OK;
    char text[256];
    print_types(types, text, sizeof text);
    return fm_node_fail(err, node, "tensor '%s' is %s, expected one of: %s", t->name, fm_dtype_name(t->dtype), text);
}

flashmem_status fm_infer_same_type(const fm_node *node, uint32_t a, uint32_t b, flashmem_error *err) {
    const fm_tensor *ta = fm_node_input(node, a), *tb = fm_node_input(node, b);
    if (!ta || !tb || ta->dtype == tb->dtype) return FLASHMEM_OK;
    return fm_node_fail(err, node, "tensor '%s' is %s, expected %s as tensor '%s'", tb->name, fm_dtype_name(tb->dtype),
                        fm_dtype_name(ta->dtype), ta->name);
}

flashmem_status fm_infer_rank(const fm_node *node, uint32_t input, uint32_t rank, flashmem_error *err) {
    const fm_tensor *t = fm_node_input(node, input);
    char             text[160];
    if (!t || t->shape.rank == rank) return FLASHMEM_OK;
    return fm_node_fail(err, node, "tensor '%s' has shape %s, expected %u dims", t->name,
                        fm_shape_print(&t->shape, text, sizeof text), rank);
}

flashmem_status fm_infer_values(const fm_node *node, uint32_t input, int64_t *to, uint32_t limit, uint32_t *count,
                                flashmem_error *err) {
    const fm_tensor *t = fm_node_input(node, input);
    char             text[160];
    if (!t) return fm_node_fail(err, node, "input %u is missing", input);
    FM_TRY(fm_infer_type(node, input, FM_TYPES_INT, err));
    if (!t->constant)
        return fm_node_unsupported(err, node, "tensor '%s' decides a shape and is known only at run time", t->name);
    if (fm_shape_count(&t->shape) > limit || t->shape.rank > 1)
        return fm_node_fail(err, node, "tensor '%s' has shape %s, expected at most %u integers in one dim", t->name,
                            fm_shape_print(&t->shape, text, sizeof text), limit);
    if (!fm_tensor_ints(t, to, limit, count))
        return fm_fail(err, FLASHMEM_IO, "node '%s' (%s): the values of tensor '%s' could not be read", node->name,
                       node->op_type, t->name);
    return FLASHMEM_OK;
}

flashmem_status fm_infer_value(const fm_node *node, uint32_t input, int64_t *to, flashmem_error *err) {
    uint32_t count = 0;
    FM_TRY(fm_infer_values(node, input, to, 1, &count, err));
    if (count == 1) return FLASHMEM_OK;
    return fm_node_fail(err, node, "tensor '%s' is empty, expected one integer", node->inputs[input]->name);
}

flashmem_status fm_infer_axes(const fm_node *node, uint32_t input, uint32_t rank, uint32_t *mask, uint32_t *list,
                              uint32_t *count, bool *given, flashmem_error *err) {
    int64_t        values[FM_MAX_RANK];
    uint32_t       n = 0;
    const int64_t *axes = fm_node_ints(node, "axes", &n);
    *mask = 0;
    if (!axes) n = 0;
    if (axes && n > FM_MAX_RANK) return fm_node_fail(err, node, "%u axes, expected at most %d", n, FM_MAX_RANK);
    if (axes) memcpy(values, axes, n * sizeof *values);
    if (input != FM_NO_INPUT && fm_node_input(node, input))
        FM_TRY(fm_infer_values(node, input, values, FM_MAX_RANK, &n, err));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t axis = 0;
        FM_TRY(fm_infer_axis(node, values[i], rank, &axis, err));
        if (*mask >> axis & 1) return fm_node_fail(err, node, "axis %" PRId64 " is given twice", values[i]);
        *mask |= 1u << axis;
        if (list) list[i] = axis;
    }
    if (count) *count = n;
    *given = n > 0;
    return FLASHMEM_OK;
}

flashmem_status fm_infer_dtype(const fm_node *node, int64_t number, flashmem_dtype *out, flashmem_error *err) {
    if (number > 0 && number < 32 && fm_dtype_bytes((flashmem_dtype)number)) {
        *out = (flashmem_dtype)number;
        return FLASHMEM_OK;
    }
    return fm_node_unsupported(err, node, "element type %" PRId64 " (TensorProto.DataType)", number);
}
