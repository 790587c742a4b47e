/* Compositions: their parts, the registry, and the operators that take a few lines. */
#include "compile/passes/compose.h"

#include <string.h>

#include "compile/onnx/import.h"
#include "compile/ops/infer_helpers.h"

/* --- parts -------------------------------------------------------------------------------------------------------- */

static fm_node *insert(fm_composer *c, const char *op_type, fm_tensor **inputs, uint32_t count, fm_tensor *out) {
    fm_node *n = fm_graph_insert(c->g, c->before, fm_op_find(op_type, ""), c->node->name, inputs, count, &out, 1);
    n->opset = FM_ONNX_NEWEST_OPSET;
    return n;
}

fm_tensor *fm_part(fm_composer *c, const char *op_type, uint32_t count, fm_tensor **inputs) {
    fm_tensor *out = fm_graph_tensor(c->g, NULL);
    insert(c, op_type, inputs, count, out);
    return out;
}

void fm_part_int(fm_composer *c, fm_tensor *made, const char *name, int64_t value) {
    fm_set_attr(c->g, made->producer, (fm_attr){ .name = name, .kind = FM_ATTR_INT, .i = value });
}

void fm_part_ints(fm_composer *c, fm_tensor *made, const char *name, uint32_t count, const int64_t *values) {
    int64_t *copy = fm_arena_array(c->g->arena, count, sizeof *copy);
    memcpy(copy, values, count * sizeof *copy);
    fm_set_attr(c->g, made->producer, (fm_attr){ .name = name, .kind = FM_ATTR_INTS, .ints = copy, .count = count });
}

static fm_tensor *int_list(fm_composer *c, uint32_t count, const int64_t *values) {
    fm_shape list = { .rank = 1, .dims = { count } };
    return fm_graph_constant_ints(c->g, NULL, &list, values);
}

fm_tensor *fm_part_scalar(fm_composer *c, double value, flashmem_dtype dtype) {
    static const fm_shape scalar = { 0 };
    float                 f = (float)value;
    const fm_recipe      *r = fm_recipe_memory(c->g->arena, FLASHMEM_F32, &scalar, &f);
    return fm_graph_constant(c->g, NULL, dtype == FLASHMEM_F32 ? r : fm_recipe_cast(c->g->arena, r, dtype));
}

fm_tensor *fm_part_slice(fm_composer *c, fm_tensor *t, int64_t axis, int64_t from, int64_t to) {
    return FM_PART(c, "Slice", t, int_list(c, 1, &from), int_list(c, 1, &to), int_list(c, 1, &axis));
}

fm_tensor *fm_part_reshape(fm_composer *c, fm_tensor *t, const fm_shape *shape) {
    fm_tensor *out = FM_PART(c, "Reshape", t, int_list(c, shape->rank, shape->dims));
    fm_part_int(c, out, "allowzero", 1);
    return out;
}

fm_tensor *fm_part_transpose(fm_composer *c, fm_tensor *t, uint32_t rank, const int64_t *order) {
    fm_tensor *out = FM_PART(c, "Transpose", t);
    fm_part_ints(c, out, "perm", rank, order);
    return out;
}

fm_tensor *fm_part_concat(fm_composer *c, int64_t axis, uint32_t count, fm_tensor **parts) {
    fm_tensor *out = fm_part(c, "Concat", count, parts);
    fm_part_int(c, out, "axis", axis);
    return out;
}

void fm_part_output(fm_composer *c, uint32_t index, fm_tensor *t) {
    if (index < c->node->output_count && c->node->outputs[index]) insert(c, "Identity", &t, 1, c->node->outputs[index]);
}

/* --- operators ---------------------------------------------------------------------------------------------------- */

/* x / (bias + alpha * mean of the squares of `size` neighbouring channels) ^ beta; the mean is a padded pooling. */
static flashmem_status compose_lrn(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    fm_tensor     *x = n->inputs[0];
    int64_t        size = fm_node_int(n, "size", 0), kernel[2] = { size, 1 };
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    if (x->shape.rank < 2 || size < 1 || size > (1 << 20))
        return fm_node_fail(err, n, "size %lld over tensor '%s' of %u dims", (long long)size, x->name, x->shape.rank);
    int64_t  pads[4] = { (size - 1) / 2, 0, size / 2, 0 }, channels = x->shape.dims[1];
    fm_shape planes = { .rank = 4, .dims = { x->shape.dims[0], 1, channels, 1 } };
    for (uint32_t i = 2; i < x->shape.rank; i++) planes.dims[3] *= x->shape.dims[i];
    fm_tensor *mean = FM_PART(c, "AveragePool", fm_part_reshape(c, FM_PART(c, "Mul", x, x), &planes));
    fm_part_ints(c, mean, "kernel_shape", 2, kernel);
    fm_part_ints(c, mean, "pads", 4, pads);
    fm_part_int(c, mean, "count_include_pad", 1);
    fm_tensor *alpha = fm_part_scalar(c, fm_node_float(n, "alpha", 1e-4f), x->dtype);
    fm_tensor *bias = fm_part_scalar(c, fm_node_float(n, "bias", 1), x->dtype);
    fm_tensor *beta = fm_part_scalar(c, fm_node_float(n, "beta", 0.75f), x->dtype);
    fm_tensor *sum = FM_PART(c, "Add", FM_PART(c, "Mul", fm_part_reshape(c, mean, &x->shape), alpha), bias);
    fm_part_output(c, 0, FM_PART(c, "Div", x, FM_PART(c, "Pow", sum, beta)));
    return FLASHMEM_OK;
}

/* A scale or zero point for tensor x: a scalar, or one per index of `axis`. */
static flashmem_status along_axis(fm_composer *c, fm_tensor *t, const fm_tensor *x, fm_tensor **out,
                                  flashmem_error *err) {
    uint32_t axis;
    *out = t;
    if (!t || fm_shape_count(&t->shape) == 1) {
        static const fm_shape scalar = { 0 };
        if (t && t->shape.rank) *out = fm_part_reshape(c, t, &scalar);
        return FLASHMEM_OK;
    }
    FM_TRY(fm_infer_axis(c->node, fm_node_int(c->node, "axis", 1), x->shape.rank, &axis, err));
    if (t->shape.rank != 1 || fm_node_int(c->node, "block_size", 0))
        return fm_node_unsupported(err, c->node, "tensor '%s' scales blocks", t->name);
    fm_shape shape = { .rank = x->shape.rank };
    for (uint32_t i = 0; i < shape.rank; i++) shape.dims[i] = i == axis ? t->shape.dims[0] : 1;
    *out = fm_part_reshape(c, t, &shape);
    return FLASHMEM_OK;
}

static bool is_zero(const fm_tensor *t) {
    int64_t  values[256];
    uint32_t count;
    if (!t) return true;
    if (!t->constant || !fm_tensor_ints(t, values, 256, &count)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (values[i]) return false;
    return true;
}

static fm_tensor *cast_to(fm_composer *c, fm_tensor *t, flashmem_dtype dtype) {
    fm_tensor *like = fm_part_scalar(c, 0, dtype);
    return FM_PART(c, "CastLike", t, like);
}

/* (x - zero) * scale */
static flashmem_status compose_dequantize(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    fm_tensor     *x = n->inputs[0], *zero = fm_node_input(n, 2), *scale;
    flashmem_dtype dtype = n->inputs[1]->dtype;
    FM_TRY(fm_infer_type(n, 1, FM_TYPES_FLOAT, err));
    FM_TRY(along_axis(c, n->inputs[1], x, &scale, err));
    fm_tensor *y = cast_to(c, x, dtype);
    if (!is_zero(zero)) {
        FM_TRY(along_axis(c, zero, x, &zero, err));
        y = FM_PART(c, "Sub", y, cast_to(c, zero, dtype));
    }
    fm_part_output(c, 0, FM_PART(c, "Mul", y, scale));
    return FLASHMEM_OK;
}

/* round(x / scale) + zero, kept within the type of zero */
static flashmem_status compose_quantize(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    fm_tensor     *x = n->inputs[0], *zero = fm_node_input(n, 2), *scale;
    flashmem_dtype to = zero ? zero->dtype : FLASHMEM_U8, dtype = n->inputs[1]->dtype;
    double         low = 0, high = 255;
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_type(n, 1, FM_TYPES_FLOAT, err));
    if (to == FLASHMEM_I8) low = -128, high = 127;
    else if (to == FLASHMEM_U16) high = 65535;
    else if (to == FLASHMEM_I16) low = -32768, high = 32767;
    else if (to != FLASHMEM_U8) return fm_node_unsupported(err, n, "a result of type %s", fm_dtype_name(to));
    if (fm_node_int(n, "output_dtype", 0) && !zero) return fm_node_unsupported(err, n, "output_dtype");
    FM_TRY(along_axis(c, n->inputs[1], x, &scale, err));
    fm_tensor *y = FM_PART(c, "Round", FM_PART(c, "Div", x->dtype == dtype ? x : cast_to(c, x, dtype), scale));
    if (!is_zero(zero)) {
        FM_TRY(along_axis(c, zero, x, &zero, err));
        y = FM_PART(c, "Add", y, cast_to(c, zero, dtype));
    }
    y = FM_PART(c, "Clip", y, fm_part_scalar(c, low, dtype), fm_part_scalar(c, high, dtype));
    fm_part_output(c, 0, cast_to(c, y, to));
    return FLASHMEM_OK;
}

/* --- registry ----------------------------------------------------------------------------------------------------- */

flashmem_status fm_infer_composed(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    return fm_fail(err, FLASHMEM_INTERNAL, "node '%s' (%s) is inferred before it is taken apart", node->name,
                   node->op_type);
}

#define COMPOSED(id, oldest, least, most, outputs)             \
    const fm_op fm_op_##id = { .name = #id,                    \
                               .domain = "",                   \
                               .since = oldest,                \
                               .min_inputs = least,            \
                               .max_inputs = most,             \
                               .min_outputs = 1,               \
                               .max_outputs = outputs,         \
                               .op_class = FM_OP_HIERARCHICAL, \
                               .infer = fm_infer_composed };
COMPOSED(LRN, 1, 1, 1, 1)
COMPOSED(DequantizeLinear, 10, 2, 3, 1)
COMPOSED(QuantizeLinear, 10, 2, 3, 1)
COMPOSED(LSTM, 7, 3, 8, 3)
COMPOSED(GRU, 7, 3, 6, 2)
COMPOSED(RNN, 7, 3, 6, 2)

#define MICROSOFT(id, type, least, most, outputs)              \
    const fm_op fm_op_##id = { .name = type,                   \
                               .domain = "com.microsoft",      \
                               .since = 1,                     \
                               .min_inputs = least,            \
                               .max_inputs = most,             \
                               .min_outputs = 1,               \
                               .max_outputs = outputs,         \
                               .op_class = FM_OP_HIERARCHICAL, \
                               .infer = fm_infer_composed };
MICROSOFT(ms_gelu, "Gelu", 1, 1, 1)
MICROSOFT(ms_bias_gelu, "BiasGelu", 2, 2, 1)
MICROSOFT(ms_fast_gelu, "FastGelu", 1, 2, 1)
MICROSOFT(ms_quick_gelu, "QuickGelu", 1, 1, 1)
MICROSOFT(ms_skip_norm, "SkipLayerNormalization", 3, 5, 4)
MICROSOFT(ms_skip_rms_norm, "SkipSimplifiedLayerNormalization", 3, 4, 4)
MICROSOFT(ms_embed_norm, "EmbedLayerNormalization", 1, 9, 3)
MICROSOFT(ms_fused_matmul, "FusedMatMul", 2, 2, 1)
MICROSOFT(ms_fused_gemm, "FusedGemm", 2, 3, 1)
MICROSOFT(ms_fused_conv, "FusedConv", 2, 4, 1)
MICROSOFT(ms_attention, "Attention", 2, 7, 2)
MICROSOFT(ms_multi_head, "MultiHeadAttention", 1, 10, 4)

static const struct {
    const fm_op *op;
    fm_compose  *compose;
} compositions[] = {
    { &fm_op_LRN, compose_lrn },
    { &fm_op_DequantizeLinear, compose_dequantize },
    { &fm_op_LSTM, fm_compose_lstm },
    { &fm_op_QuantizeLinear, compose_quantize },
    { &fm_op_GRU, fm_compose_gru },
    { &fm_op_RNN, fm_compose_rnn },
    { &fm_op_ms_gelu, fm_compose_gelu },
    { &fm_op_ms_bias_gelu, fm_compose_gelu },
    { &fm_op_ms_fast_gelu, fm_compose_gelu },
    { &fm_op_ms_quick_gelu, fm_compose_quick_gelu },
    { &fm_op_ms_skip_norm, fm_compose_skip_norm },
    { &fm_op_ms_skip_rms_norm, fm_compose_skip_rms_norm },
    { &fm_op_ms_embed_norm, fm_compose_embed_norm },
    { &fm_op_ms_fused_matmul, fm_compose_fused_matmul },
    { &fm_op_ms_fused_gemm, fm_compose_fused_gemm },
    { &fm_op_ms_fused_conv, fm_compose_fused_conv },
    { &fm_op_ms_attention, fm_compose_ms_attention },
    { &fm_op_ms_multi_head, fm_compose_ms_multi_head },
};

fm_compose *fm_composition_of(const fm_op *op) {
    for (size_t i = 0; i < sizeof compositions / sizeof *compositions; i++)
        if (compositions[i].op == op) return compositions[i].compose;
    return NULL;
}

flashmem_status fm_compose_node(fm_graph *g, fm_node *node, fm_node **next, flashmem_error *err) {
    fm_node    *prev = node->prev;
    fm_composer c = { g, node, node->next };
    FM_TRY(fm_node_check(node, err));
    FM_TRY(fm_op_check_inputs(node, err));
    fm_graph_remove(g, node);
    FM_TRY(fm_composition_of(node->op)(&c, err));
    *next = prev ? prev->next : g->first;
    return FLASHMEM_OK;
}
