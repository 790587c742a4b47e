/* Elementwise operators of one input, as rows: types, device expression, host function. */
#include <math.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"

typedef struct unary_row {
    const char *name;
    uint32_t    types;
    bool        to_bool;
    bool        vector_safe;
    const char *expression;     /* floats: $0 the input, $1 and $2 the parameters */
    const char *int_expression; /* NULL: floats only */
    double (*of_double)(double x, double p, double q);
    int64_t (*of_int)(int64_t x);
    const char *p_name; /* float attributes */
    float       p;
    const char *q_name;
    float       q;
} unary_row;

#define HOST(name, result)                                    \
    static double host_##name(double x, double p, double q) { \
        (void)p, (void)q;                                     \
        return (result);                                      \
    }
HOST(abs, fabs(x))
HOST(neg, -x)
HOST(sign, x > 0 ? 1.0 : x < 0 ? -1.0 : x)
HOST(relu, x < 0 ? 0.0 : x)
HOST(leaky_relu, x < 0 ? x * p : x)
HOST(elu, x < 0 ? p * expm1(x) : x)
HOST(selu, q *(x <= 0 ? p * expm1(x) : x))
HOST(celu, x < 0 ? p * expm1(x / p) : x)
HOST(thresholded_relu, x <= p ? 0.0 : x)
HOST(sigmoid, 1.0 / (1.0 + exp(-x)))
HOST(hard_sigmoid, x *p + q < 0 ? 0.0 : x * p + q > 1 ? 1.0 : x * p + q)
HOST(hard_swish, x *host_hard_sigmoid(x, 1.0 / 6.0, 0.5))
HOST(tanh, tanh(x))
HOST(erf, erf(x))
HOST(gelu, 0.5 * x * (1.0 + erf(x * 0.70710678118654752440)))
HOST(gelu_tanh, 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))))
HOST(swish, x / (1.0 + exp(-p * x)))
HOST(softplus, (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))))
HOST(softsign, x / (1.0 + fabs(x)))
HOST(mish, x *tanh(host_softplus(x, 0, 0)))
HOST(exp, exp(x))
HOST(log, log(x))
HOST(sqrt, sqrt(x))
HOST(reciprocal, 1.0 / x)
HOST(floor, floor(x))
HOST(ceil, ceil(x))
HOST(round, nearbyint(x))
HOST(sin, sin(x))
HOST(cos, cos(x))
HOST(tan, tan(x))
HOST(asin, asin(x))
HOST(acos, acos(x))
HOST(atan, atan(x))
HOST(sinh, sinh(x))
HOST(cosh, cosh(x))
HOST(asinh, asinh(x))
HOST(acosh, acosh(x))
HOST(atanh, atanh(x))
HOST(isnan, isnan(x) ? 1.0 : 0.0)
HOST(isinf, isinf(x) && (x > 0 ? q : p) != 0 ? 1.0 : 0.0)

static int64_t int_neg(int64_t x) { return (int64_t)(0 - (uint64_t)x); }
static int64_t int_abs(int64_t x) { return x < 0 ? int_neg(x) : x; }
static int64_t int_sign(int64_t x) { return (x > 0) - (x < 0); }
static int64_t int_relu(int64_t x) { return x < 0 ? 0 : x; }
static int64_t int_not(int64_t x) { return !x; }
static int64_t int_bit_not(int64_t x) { return ~x; }

#define FLOATS FM_TYPES_FLOAT
#define SIMPLE(name, expression, host) \
    { name, FLOATS, false, true, expression, NULL, host, NULL, NULL, 0, NULL, 0 }
static const unary_row rows[] = {
    { "Abs", FM_TYPES_NUMBER, false, true, "fm_abs($0)", "($0<0?-$0:$0)", host_abs, int_abs, NULL, 0, NULL, 0 },
    { "Neg", FLOATS | FM_TYPES_SIGNED, false, true, "(-$0)", "(-$0)", host_neg, int_neg, NULL, 0, NULL, 0 },
    { "Sign", FM_TYPES_NUMBER, false, true, "fm_sign($0)", "(($0>0)-($0<0))", host_sign, int_sign, NULL, 0, NULL, 0 },
    { "Relu", FLOATS | FM_TYPES_SIGNED, false, true, "fm_relu($0)", "($0<0?0:$0)", host_relu, int_relu, NULL, 0, NULL,
      0 },
    { "Not", FM_TYPES_BOOL, true, true, NULL, "($0==0)", NULL, int_not, NULL, 0, NULL, 0 },
    { "BitwiseNot", FM_TYPES_INT, false, false, NULL, "(~$0)", NULL, int_bit_not, NULL, 0, NULL, 0 },
    { "IsNaN", FLOATS, true, true, "isnan($0)", NULL, host_isnan, NULL, NULL, 0, NULL, 0 },
    { "IsInf", FLOATS, true, false, "(isinf($0)&&($0>0.0f?$2:$1)!=0.0f)", NULL, host_isinf, NULL, "detect_negative", 1,
      "detect_positive", 1 },
    { "LeakyRelu", FLOATS, false, true, "fm_leaky_relu($0,$1)", NULL, host_leaky_relu, NULL, "alpha", 0.01f, NULL, 0 },
    { "Elu", FLOATS, false, true, "fm_elu($0,$1)", NULL, host_elu, NULL, "alpha", 1, NULL, 0 },
    { "Celu", FLOATS, false, true, "fm_celu($0,$1)", NULL, host_celu, NULL, "alpha", 1, NULL, 0 },
    { "Selu", FLOATS, false, true, "fm_selu($0,$1,$2)", NULL, host_selu, NULL, "alpha", 1.67326319217681884765625f,
      "gamma", 1.05070102214813232421875f },
    { "ThresholdedRelu", FLOATS, false, true, "fm_thresholded_relu($0,$1)", NULL, host_thresholded_relu, NULL, "alpha",
      1, NULL, 0 },
    { "HardSigmoid", FLOATS, false, true, "fm_hard_sigmoid($0,$1,$2)", NULL, host_hard_sigmoid, NULL, "alpha", 0.2f,
      "beta", 0.5f },
    { "Swish", FLOATS, false, true, "($0*fm_sigmoid($0*$1))", NULL, host_swish, NULL, "alpha", 1, NULL, 0 },
    SIMPLE("HardSwish", "fm_hard_swish($0)", host_hard_swish),
    SIMPLE("Sigmoid", "fm_sigmoid($0)", host_sigmoid),
    SIMPLE("Tanh", "fm_tanh($0)", host_tanh),
    SIMPLE("Erf", "fm_erf($0)", host_erf),
    SIMPLE("Gelu", "fm_gelu($0)", host_gelu),
    SIMPLE("Softplus", "fm_softplus($0)", host_softplus),
    SIMPLE("Softsign", "($0/(fm_abs($0)+1.0f))", host_softsign),
    SIMPLE("Mish", "fm_mish($0)", host_mish),
    SIMPLE("Exp", "fm_exp($0)", host_exp),
    SIMPLE("Log", "log($0)", host_log),
    SIMPLE("Sqrt", "sqrt($0)", host_sqrt),
    SIMPLE("Reciprocal", "(1.0f/$0)", host_reciprocal),
    SIMPLE("Floor", "floor($0)", host_floor),
    SIMPLE("Ceil", "ceil($0)", host_ceil),
    SIMPLE("Round", "rint($0)", host_round),
    SIMPLE("Sin", "sin($0)", host_sin),
    SIMPLE("Cos", "cos($0)", host_cos),
    SIMPLE("Tan", "tan($0)", host_tan),
    SIMPLE("Asin", "asin($0)", host_asin),
    SIMPLE("Acos", "acos($0)", host_acos),
    SIMPLE("Atan", "atan($0)", host_atan),
    SIMPLE("Sinh", "sinh($0)", host_sinh),
    SIMPLE("Cosh", "cosh($0)", host_cosh),
    SIMPLE("Asinh", "asinh($0)", host_asinh),
    SIMPLE("Acosh", "acosh($0)", host_acosh),
    SIMPLE("Atanh", "atanh($0)", host_atanh),
};
static const unary_row gelu_tanh = SIMPLE("Gelu", "fm_gelu_tanh($0)", host_gelu_tanh);

static const unary_row *row_of(const fm_node *node) {
    if (strcmp(node->op->name, "Gelu") == 0 && strcmp(fm_node_string(node, "approximate", "none"), "tanh") == 0)
        return &gelu_tanh;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, node->op->name) == 0) return &rows[i];
    return NULL;
}

/* IsInf's two are integers, all others floats. */
static float parameter(const fm_node *node, const char *name, float otherwise) {
    const fm_attr *a = name ? fm_node_attr(node, name) : NULL;
    if (!a) return otherwise;
    return a->kind == FM_ATTR_INT ? (float)a->i : a->f;
}

static flashmem_status infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const unary_row *row = row_of(node);
    const fm_tensor *x = node->inputs[0];
    FM_TRY(fm_infer_type(node, 0, row->types, err));
    if (strcmp(row->name, "Gelu") == 0) {
        const char *approximate = fm_node_string(node, "approximate", "none");
        if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0)
            return fm_node_fail(err, node, "approximate is '%s', expected 'none' or 'tanh'", approximate);
    }
    fm_infer_output(node, 0, row->to_bool ? FLASHMEM_BOOL : x->dtype, &x->shape);
    return FLASHMEM_OK;
}

static flashmem_status fold(fm_graph *g, fm_node *node, flashmem_error *err) {
    const unary_row *row = row_of(node);
    fm_tensor       *out = node->outputs[0];
    fm_array         x;
    if (!out || !fm_fold_tensor_fits(node->inputs[0]) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    double   p = parameter(node, row->p_name, row->p), q = parameter(node, row->q_name, row->q);
    for (int64_t i = 0; i < x.count; i++) {
        if (fm_dtype_is_float(x.dtype)) fm_array_set_double(&y, i, row->of_double(fm_array_double(&x, i), p, q));
        else fm_array_set_int(&y, i, row->of_int(fm_array_int(&x, i)));
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

bool fm_unary_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    const unary_row *row = row_of(node);
    if (!row) return false;
    bool        is_float = fm_dtype_is_float(node->inputs[0]->dtype);
    const char *text = is_float ? row->expression : row->int_expression;
    if (!text) return false;
    const char *names[3] = { fm_rule_operand(g, out, node->inputs[0], false) };
    if (row->p_name) names[1] = fm_rule_constant(g, out, parameter(node, row->p_name, row->p));
    if (row->q_name) names[2] = fm_rule_constant(g, out, parameter(node, row->q_name, row->q));
    out->expression = fm_expression(g, text, names);
    out->vector_safe = row->vector_safe && (is_float || row->types == FM_TYPES_BOOL);
    return true;
}

#define UNARY(id, opset)                                                                              \
    const fm_op fm_op_##id = {                                                                        \
        #id, "", opset, 1, 1, 1, 1, FM_OP_ELEMENTWISE, infer, fold, false, fm_elementwise_lower, NULL \
    };
UNARY(Abs, 6)
UNARY(Neg, 6)
UNARY(Sign, 9)
UNARY(Relu, 6)
UNARY(Not, 1)
UNARY(BitwiseNot, 18)
UNARY(IsNaN, 9)
UNARY(IsInf, 10)
UNARY(LeakyRelu, 6)
UNARY(Elu, 6)
UNARY(Celu, 12)
UNARY(Selu, 6)
UNARY(ThresholdedRelu, 10)
UNARY(HardSigmoid, 6)
UNARY(HardSwish, 14)
UNARY(Swish, 24)
UNARY(Sigmoid, 6)
UNARY(Tanh, 6)
UNARY(Erf, 9)
UNARY(Gelu, 20)
UNARY(Softplus, 1)
UNARY(Softsign, 1)
UNARY(Mish, 18)
UNARY(Exp, 6)
UNARY(Log, 6)
UNARY(Sqrt, 6)
UNARY(Reciprocal, 6)
UNARY(Floor, 6)
UNARY(Ceil, 6)
UNARY(Round, 11)
UNARY(Sin, 7)
UNARY(Cos, 7)
UNARY(Tan, 7)
UNARY(Asin, 7)
UNARY(Acos, 7)
UNARY(Atan, 7)
UNARY(Sinh, 9)
UNARY(Cosh, 9)
UNARY(Asinh, 9)
UNARY(Acosh, 9)
UNARY(Atanh, 9)
