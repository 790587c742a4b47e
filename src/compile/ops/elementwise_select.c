/* Elementwise operators with rules of their own: Where, Clip, Pow, Cast, CastLike. */
#include <math.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"

/* --- Where -------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_where(fm_graph *g, fm_node *node, flashmem_error *err) {
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_BOOL, err));
    FM_TRY(fm_infer_same_type(node, 1, 2, err));
    FM_TRY(fm_infer_broadcast(g, node, err));
    if (node->outputs[0]) node->outputs[0]->dtype = node->inputs[1]->dtype;
    return FLASHMEM_OK;
}

static flashmem_status fold_where(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   in[3];
    if (!out || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    for (uint32_t i = 0; i < 3; i++)
        if (!fm_fold_tensor_fits(node->inputs[i])) return FLASHMEM_OK;
    for (uint32_t i = 0; i < 3; i++) FM_TRY(fm_fold_load(g, node->inputs[i], &in[i], err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    int64_t  i = 0;
    fm_walk_init(&w, &out->shape);
    for (uint32_t k = 0; k < 3; k++) fm_walk_add(&w, &in[k].shape);
    for (; !w.done; fm_walk_next(&w), i++) {
        uint32_t from = fm_array_int(&in[0], w.offsets[0]) ? 1 : 2;
        fm_array_copy(&y, i, &in[from], w.offsets[from]);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static void rule_where(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    const char *names[3];
    bool        floats = fm_dtype_is_float(node->inputs[1]->dtype);
    for (uint32_t i = 0; i < 3; i++) names[i] = fm_rule_operand(g, out, node->inputs[i], false);
    out->expression = fm_expression(g, floats ? "select($2,$1,$0!=0)" : "($0?$1:$2)", names);
    out->vector_safe = floats;
}

/* --- Clip --------------------------------------------------------------------------------------------------------- */

/* From opset 11 the bounds are inputs, before it attributes. */
static flashmem_status infer_clip(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_NUMBER, err));
    for (uint32_t i = 1; i < 3; i++) {
        const fm_tensor *bound = fm_node_input(node, i);
        FM_TRY(fm_infer_same_type(node, 0, i, err));
        if (bound && fm_shape_count(&bound->shape) != 1) return fm_infer_rank(node, i, 0, err);
    }
    fm_infer_output(node, 0, node->inputs[0]->dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_clip(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   x, low, high;
    if (!out || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    FM_TRY(fm_fold_load(g, fm_node_input(node, 1), &low, err));
    FM_TRY(fm_fold_load(g, fm_node_input(node, 2), &high, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    bool     is_float = fm_dtype_is_float(x.dtype), is_u64 = x.dtype == FLASHMEM_U64;
    double   least = low.count ? fm_array_double(&low, 0) : fm_node_float(node, "min", -INFINITY);
    double   most = high.count ? fm_array_double(&high, 0) : fm_node_float(node, "max", INFINITY);
    int64_t  l = low.count ? fm_array_int(&low, 0) : 0, h = high.count ? fm_array_int(&high, 0) : 0;
    for (int64_t i = 0; i < x.count; i++) {
        if (is_float) {
            double value = fm_array_double(&x, i);
            value = value < least ? least : value;
            fm_array_set_double(&y, i, value > most ? most : value);
            continue;
        }
        int64_t integer = fm_array_int(&x, i);
        if (low.count && (is_u64 ? (uint64_t)integer < (uint64_t)l : integer < l)) integer = l;
        if (high.count && (is_u64 ? (uint64_t)integer > (uint64_t)h : integer > h)) integer = h;
        fm_array_set_int(&y, i, integer);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static void rule_clip(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    fm_tensor  *low = fm_node_input(node, 1), *high = fm_node_input(node, 2);
    bool        is_float = fm_dtype_is_float(node->inputs[0]->dtype);
    const char *names[3] = { fm_rule_operand(g, out, node->inputs[0], false) };
    double      least = fm_node_float(node, "min", -INFINITY), most = fm_node_float(node, "max", INFINITY);
    if (is_float && (!low || fm_tensor_scalar(low, &least)) && (!high || fm_tensor_scalar(high, &most))) {
        names[1] = fm_rule_constant(g, out, (float)least);
        names[2] = fm_rule_constant(g, out, (float)most);
        out->expression = fm_expression(g, "fm_clip($0,$1,$2)", names);
        out->vector_safe = true;
        return;
    }
    if (low) {
        names[1] = fm_rule_operand(g, out, low, false);
        names[0] = fm_expression(g, is_float ? "fm_max($0,$1)" : "max($0,$1)", names);
    }
    if (high) {
        names[1] = fm_rule_operand(g, out, high, false);
        names[0] = fm_expression(g, is_float ? "fm_min($0,$1)" : "min($0,$1)", names);
    }
    out->expression = names[0];
    out->vector_safe = is_float;
}

/* --- Pow ---------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_pow(fm_graph *g, fm_node *node, flashmem_error *err) {
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT | FM_TYPES_INDEX, err));
    FM_TRY(fm_infer_type(node, 1, FM_TYPES_NUMBER, err));
    return fm_infer_broadcast(g, node, err);
}

static int64_t int_power(int64_t base, int64_t exponent) {
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
    uint64_t result = 1, square = (uint64_t)base;
    for (; exponent; exponent >>= 1, square *= square)
        if (exponent & 1) result *= square;
    return (int64_t)result;
}

static flashmem_status fold_pow(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_array   a, b;
    if (!out || !fm_fold_tensor_fits(out) || !fm_fold_tensor_fits(node->inputs[0]) ||
        !fm_fold_tensor_fits(node->inputs[1]))
        return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, node->inputs[0], &a, err));
    FM_TRY(fm_fold_load(g, node->inputs[1], &b, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    bool     integers = !fm_dtype_is_float(a.dtype) && !fm_dtype_is_float(b.dtype);
    fm_walk  w;
    int64_t  i = 0;
    fm_walk_init(&w, &out->shape);
    fm_walk_add(&w, &a.shape);
    fm_walk_add(&w, &b.shape);
    for (; !w.done; fm_walk_next(&w), i++) {
        if (integers)
            fm_array_set_int(&y, i, int_power(fm_array_int(&a, w.offsets[0]), fm_array_int(&b, w.offsets[1])));
        else fm_array_set_double(&y, i, pow(fm_array_double(&a, w.offsets[0]), fm_array_double(&b, w.offsets[1])));
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* Small constant powers are products. */
static void rule_pow(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    static const struct {
        double      exponent;
        bool        floats_only;
        const char *text;
    } powers[] = { { 1, false, "$0" },
                   { 2, false, "($0*$0)" },
                   { 3, false, "($0*$0*$0)" },
                   { 4, false, "($0*$0*$0*$0)" },
                   { 0.5, true, "sqrt($0)" },
                   { -1, true, "(1.0f/$0)" },
                   { -0.5, true, "(1.0f/sqrt($0))" } };
    fm_tensor  *a = node->inputs[0], *b = node->inputs[1];
    bool        is_float = fm_dtype_is_float(a->dtype);
    double      exponent;
    const char *names[2] = { fm_rule_operand(g, out, a, false) };
    if (b->constant && fm_shape_count(&b->shape) == 1 && fm_tensor_scalar(b, &exponent))
        for (size_t i = 0; i < sizeof powers / sizeof *powers; i++)
            if (powers[i].exponent == exponent && (is_float || !powers[i].floats_only)) {
                out->expression = fm_expression(g, powers[i].text, names);
                out->vector_safe = is_float;
                return;
            }
    names[1] = fm_rule_operand(g, out, b, false);
    bool floats = is_float && fm_dtype_is_float(b->dtype);
    out->expression = fm_expression(g, floats ? "fm_pow($0,$1)" : "rint(pow((float)$0,(float)$1))", names);
    if (is_float && !floats) out->expression = fm_expression(g, "pow($0,(float)$1)", names);
    out->vector_safe = floats;
}

/* --- Cast --------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_cast(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    flashmem_dtype to;
    if (!fm_node_attr(node, "to")) return fm_node_fail(err, node, "attribute 'to' is missing");
    FM_TRY(fm_infer_dtype(node, fm_node_int(node, "to", 0), &to, err));
    fm_infer_output(node, 0, to, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

static flashmem_status infer_cast_like(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    fm_infer_output(node, 0, node->inputs[1]->dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

/* CastLike needs no value of its second input: it is called with any, and looks at the first. */
static flashmem_status fold_cast(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    if (!out || !node->inputs[0]->constant) return FLASHMEM_OK;
    return fm_fold_recipe(g, out, fm_recipe_cast(g->arena, node->inputs[0]->constant, out->dtype), err);
}

static void rule_cast(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    flashmem_dtype from = node->inputs[0]->dtype, to = node->outputs[0]->dtype;
    const char    *names[1] = { fm_rule_operand(g, out, node->inputs[0], false) }, *text = "$0";
    switch (to) {
    case FLASHMEM_I64: text = "((long)$0)"; break;
    case FLASHMEM_U64: text = "((ulong)$0)"; break;
    case FLASHMEM_I32: text = "((int)$0)"; break;
    case FLASHMEM_U32: text = "((uint)$0)"; break;
    case FLASHMEM_I16: text = "((short)$0)"; break;
    case FLASHMEM_U16: text = "((ushort)$0)"; break;
    case FLASHMEM_I8: text = "((char)$0)"; break;
    case FLASHMEM_U8: text = "((uchar)$0)"; break;
    case FLASHMEM_BOOL: text = "($0!=0)"; break;
    case FLASHMEM_F32:
    case FLASHMEM_F64:
    case FLASHMEM_F16:
    case FLASHMEM_BF16: text = fm_dtype_is_float(from) ? "$0" : "((float)$0)"; break;
    }
    out->expression = fm_expression(g, text, names);
    out->vector_safe = fm_dtype_is_float(from) && fm_dtype_is_float(to);
}

static flashmem_status lower_cast(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_view view;
    if (fm_lower_dtype(node->inputs[0]) != fm_lower_dtype(node->outputs[0])) return fm_elementwise_lower(l, node, err);
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

const fm_op fm_op_Where = {
    "Where", "", 9, 3, 3, 1, 1, FM_OP_ELEMENTWISE, infer_where, fold_where, false, fm_elementwise_lower, NULL
};
const fm_op fm_op_Clip = {
    "Clip", "", 6, 1, 3, 1, 1, FM_OP_ELEMENTWISE, infer_clip, fold_clip, false, fm_elementwise_lower, NULL
};
const fm_op fm_op_Pow = { "Pow", "", 7, 2, 2, 1, 1, FM_OP_ELEMENTWISE, infer_pow, fold_pow, false, fm_elementwise_lower,
                          NULL };
const fm_op fm_op_Cast = {
    "Cast", "", 6, 1, 1, 1, 1, FM_OP_ELEMENTWISE, infer_cast, fold_cast, false, lower_cast, NULL
};
const fm_op fm_op_CastLike = { "CastLike",      "",        15,   2,          2,   1, 1, FM_OP_ELEMENTWISE,
                               infer_cast_like, fold_cast, true, lower_cast, NULL };

bool fm_select_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    if (node->op == &fm_op_Where) rule_where(g, node, out);
    else if (node->op == &fm_op_Clip) rule_clip(g, node, out);
    else if (node->op == &fm_op_Pow) rule_pow(g, node, out);
    else if (node->op == &fm_op_Cast || node->op == &fm_op_CastLike) rule_cast(g, node, out);
    else return false;
    return true;
}
