/* Norms per channel or group of [N, C, ...]: GroupNormalization, InstanceNormalization, BatchNormalization. */
#include "compile/ops/channel_norm.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/infer_helpers.h"

static flashmem_status infer_channels(fm_graph *g, fm_node *node, flashmem_error *err) {
    const fm_tensor *x = node->inputs[0];
    char             text[160];
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (x->shape.rank < 2)
        return fm_node_fail(err, node, "tensor '%s' of shape %s has no channels", x->name,
                            fm_shape_print(&x->shape, text, sizeof text));
    int64_t channels = x->shape.dims[1];
    bool    group = strcmp(node->op_type, "GroupNormalization") == 0;
    int64_t groups = group ? fm_node_int(node, "num_groups", 0) : channels;
    if (groups < 1 || channels % groups)
        return fm_node_fail(err, node, "%" PRId64 " channels do not form %" PRId64 " groups", channels, groups);
    for (uint32_t i = 1; i < node->input_count; i++) {
        const fm_tensor *t = node->inputs[i];
        int64_t          count = t ? fm_shape_count(&t->shape) : channels;
        if (count != channels && !(group && count == groups))
            return fm_node_fail(err, node, "tensor '%s' has %" PRId64 " elements, expected %" PRId64, t->name, count,
                                channels);
    }
    if (fm_node_int(node, "training_mode", 0)) return fm_node_unsupported(err, node, "training_mode is 1");
    return fm_infer_same(g, node, err);
}

static flashmem_status lower_group(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_group_norm_desc d = { .name = node->name, .epsilon = fm_node_float(node, "epsilon", 1e-5f) };
    fm_view            x, out;
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    int64_t channels = x.shape.dims[1], spatial = 1;
    bool    grouped = strcmp(node->op_type, "GroupNormalization") == 0;
    int64_t groups = grouped ? fm_node_int(node, "num_groups", 0) : channels;
    for (uint32_t i = 2; i < x.shape.rank; i++) spatial *= x.shape.dims[i];
    fm_shape rows = { .rank = 4, .dims = { x.shape.dims[0], groups, channels / groups, spatial } };
    if (!fm_view_reshape(&x, &rows, &d.x)) {
        FM_TRY(fm_lower_dense(l, node->name, &x, &x, err));
        if (!fm_view_reshape(&x, &rows, &d.x)) return fm_fail(err, FLASHMEM_INTERNAL, "a dense view reshapes");
    }
    out = fm_lower_output_like(l, node->outputs[0], &x);
    if (!fm_view_reshape(&out, &rows, &d.out))
        return fm_fail(err, FLASHMEM_INTERNAL, "'%s': the output has no order by channels", node->name);
    fm_view *parameters[2] = { &d.gamma, &d.beta };
    fm_shape shape = { .rank = 2, .dims = { groups, channels / groups } };
    for (uint32_t i = 0; i < 2; i++) {
        fm_tensor *t = node->inputs[1 + i];
        int64_t    count = fm_shape_count(&t->shape);
        fm_view    v;
        FM_TRY(fm_lower_vector(l, t, count, &v, err));
        fm_shape own = { .rank = 2, .dims = { groups, count / groups } };
        fm_view_dense(parameters[i], v.value, v.dtype, &own);
        parameters[i]->offset = v.offset;
        *parameters[i] = fm_view_broadcast(parameters[i], &shape);
    }
    return fm_emit_group_norm(&l->emit, &d, err);
}

bool fm_batch_norm_factors(fm_arena *a, const fm_node *node, float **scale, float **shift, flashmem_error *err) {
    int64_t count = node->inputs[0]->shape.dims[1];
    float  *p[4];
    if (count > FM_FOLD_LIMIT / 4) return false;
    for (uint32_t i = 0; i < 4; i++) {
        const fm_tensor *t = node->inputs[1 + i];
        if (!t->constant) return false;
        p[i] = fm_arena_array(a, (size_t)count, sizeof(float));
        if (fm_recipe_read_all(t->constant, FLASHMEM_F32, p[i], err) != FLASHMEM_OK) return false;
    }
    double epsilon = fm_node_float(node, "epsilon", 1e-5f);
    for (int64_t c = 0; c < count; c++) { /* p: scale, bias, mean, variance */
        double factor = p[0][c] / sqrt((double)p[3][c] + epsilon);
        p[1][c] = (float)(p[1][c] - p[2][c] * factor);
        p[0][c] = (float)factor;
    }
    *scale = p[0];
    *shift = p[1];
    return true;
}

/* A vector over channels as a view that broadcasts to [N, C, ...]. */
static fm_view along_channels(const fm_view *vector, const fm_shape *shape) {
    fm_view v = *vector;
    v.shape = *shape;
    memset(v.strides, 0, sizeof v.strides);
    v.strides[1] = vector->strides[0];
    return v;
}

static flashmem_status lower_batch(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_elementwise_desc d = { .name = node->name, .vector_safe = true };
    float              *factors[2];
    fm_view             x, v;
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    fm_shape vector = { .rank = 1, .dims = { x.shape.dims[1] } };
    d.inputs[d.input_count++] = x;
    flashmem_error reading = { 0 };
    if (fm_batch_norm_factors(l->graph->arena, node, &factors[0], &factors[1], &reading)) {
        d.expression = "a0*a1+a2";
        for (uint32_t i = 0; i < 2; i++) {
            const fm_recipe *r = fm_recipe_memory(l->graph->arena, FLASHMEM_F32, &vector, factors[i]);
            FM_TRY(fm_lower_vector(l, fm_graph_constant(l->graph, NULL, r), vector.dims[0], &v, err));
            d.inputs[d.input_count++] = along_channels(&v, &x.shape);
        }
    } else {
        if (reading.status != FLASHMEM_OK) return fm_fail(err, reading.status, "%s", reading.message);
        d.expression = "(a0-a3)*rsqrt(a4+c0)*a1+a2";
        d.constants[d.constant_count++] = fm_node_float(node, "epsilon", 1e-5f);
        for (uint32_t i = 1; i < 5; i++) {
            FM_TRY(fm_lower_vector(l, node->inputs[i], vector.dims[0], &v, err));
            d.inputs[d.input_count++] = along_channels(&v, &x.shape);
        }
    }
    d.out = fm_lower_output_like(l, node->outputs[0], &x);
    return fm_emit_elementwise(&l->emit, &d, err);
}

#define CHANNEL_NORM(id, onnx, first, inputs, outputs, lower_fn) \
    const fm_op fm_op_##id = { .name = onnx,                     \
                               .domain = "",                     \
                               .since = first,                   \
                               .min_inputs = inputs,             \
                               .max_inputs = inputs,             \
                               .min_outputs = 1,                 \
                               .max_outputs = outputs,           \
                               .op_class = FM_OP_HIERARCHICAL,   \
                               .infer = infer_channels,          \
                               .lower = lower_fn }
CHANNEL_NORM(GroupNormalization, "GroupNormalization", 18, 3, 1, lower_group);
CHANNEL_NORM(InstanceNormalization, "InstanceNormalization", 6, 3, 1, lower_group);
CHANNEL_NORM(BatchNormalization, "BatchNormalization", 7, 5, 5, lower_batch);
