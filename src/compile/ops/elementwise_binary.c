/* Elementwise operators of two and more inputs: arithmetic, comparison, logic, bits; broadcasting as numpy does. */
#include <math.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"

/* Integer arithmetic wraps; narrower types wrap when stored.  In float16 lanes a truth is float (an input) or int16 (a
 * comparison), so logic compares with 0 first. */
typedef struct binary_row {
    const char *name;
    uint32_t    types;
    bool        to_bool;
    bool        vector_safe; /* on floats, and on truths where it takes only those */
    bool        scalars;     /* a one-element float constant may be a kernel argument */
    const char *expression;  /* floats; $0, $1 */
    const char *int_expression, *unsigned_expression /* NULL: as int */;
    double (*of_double)(double a, double b);
    int64_t (*of_int)(int64_t a, int64_t b);
    uint64_t (*of_unsigned)(uint64_t a, uint64_t b); /* uint64, where it differs from int64 */
} binary_row;

#define DOUBLE(name, result) \
    static double d_##name(double a, double b) { return (result); }
#define INT(name, result) \
    static int64_t i_##name(int64_t a, int64_t b) { return (result); }
#define UINT(name, result) \
    static uint64_t u_##name(uint64_t a, uint64_t b) { return (result); }
DOUBLE(add, a + b)
DOUBLE(sub, a - b)
DOUBLE(mul, a *b)
DOUBLE(div, a / b)
DOUBLE(min, isnan(a) || a < b ? a : b)
DOUBLE(max, isnan(a) || a > b ? a : b)
DOUBLE(equal, a == b)
DOUBLE(greater, a > b)
DOUBLE(less, a < b)
DOUBLE(greater_equal, a >= b)
DOUBLE(less_equal, a <= b)
DOUBLE(prelu, a < 0 ? a * b : a)
/* The sign of the divisor, as in Python. */
static double d_mod(double a, double b) {
    double r = fmod(a, b);
    if (r == 0) return copysign(0.0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
INT(add, (int64_t)((uint64_t)a + (uint64_t)b))
INT(sub, (int64_t)((uint64_t)a - (uint64_t)b))
INT(mul, (int64_t)((uint64_t)a *(uint64_t)b))
INT(div, b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b)
INT(min, a < b ? a : b)
INT(max, a > b ? a : b)
INT(equal, a == b)
INT(greater, a > b)
INT(less, a < b)
INT(greater_equal, a >= b)
INT(less_equal, a <= b)
INT(and, a &&b)
INT(or, a || b)
INT(xor, !a != !b)
INT(bit_and, a &b)
INT(bit_or, a | b)
INT(bit_xor, a ^ b)
INT(prelu, a < 0 ? (int64_t)((uint64_t)a * (uint64_t)b) : a)
INT(fmod, b == 0 || b == -1 ? 0 : a % b)
INT(mod, b == 0 || b == -1 ? 0 : a % b + ((a % b != 0 && (a % b < 0) != (b < 0)) ? b : 0))
INT(shift_left, b<0 || b> 63 ? 0 : (int64_t)((uint64_t)a << b))
INT(shift_right, b<0 || b> 63 ? 0 : (int64_t)((uint64_t)a >> b))
UINT(div, b ? a / b : 0)
UINT(mod, b ? a % b : 0)
UINT(min, a < b ? a : b)
UINT(max, a > b ? a : b)
UINT(greater, a > b)
UINT(less, a < b)
UINT(greater_equal, a >= b)
UINT(less_equal, a <= b)

#define NUMBER FM_TYPES_NUMBER
#define ARITHMETIC(name, op, fn) \
    { name, NUMBER, false, true, true, "($0" op "$1)", "($0" op "$1)", NULL, d_##fn, i_##fn, NULL }
#define COMPARE(name, op, fn) \
    { name, NUMBER, true, true, true, "($0" op "$1)", "($0" op "$1)", NULL, d_##fn, i_##fn, u_##fn }
#define LOGIC(name, expression, fn) \
    { name, FM_TYPES_BOOL, true, true, false, NULL, expression, NULL, NULL, i_##fn, NULL }
#define BITS(name, op, fn) \
    { name, FM_TYPES_INT, false, false, false, NULL, "($0" op "$1)", NULL, NULL, i_##fn, NULL }

static const binary_row rows[] = {
    ARITHMETIC("Add", "+", add),
    ARITHMETIC("Sum", "+", add),
    ARITHMETIC("Mean", "+", add), /* divided by the count at the end */
    ARITHMETIC("Sub", "-", sub),
    ARITHMETIC("Mul", "*", mul),
    { "Div", NUMBER, false, true, true, "($0/$1)", "($1==0?0:$1==-1?-$0:$0/$1)", "($1==0?0:$0/$1)", d_div, i_div,
      u_div },
    { "Min", NUMBER, false, true, false, "fm_min($0,$1)", "min($0,$1)", NULL, d_min, i_min, u_min },
    { "Max", NUMBER, false, true, false, "fm_max($0,$1)", "max($0,$1)", NULL, d_max, i_max, u_max },
    { "Equal", FM_TYPES_ANY, true, true, true, "($0==$1)", "($0==$1)", NULL, d_equal, i_equal, NULL },
    COMPARE("Greater", ">", greater),
    COMPARE("Less", "<", less),
    COMPARE("GreaterOrEqual", ">=", greater_equal),
    COMPARE("LessOrEqual", "<=", less_equal),
    LOGIC("And", "(($0!=0)&&($1!=0))", and),
    LOGIC("Or", "(($0!=0)||($1!=0))", or),
    LOGIC("Xor", "(($0!=0)!=($1!=0))", xor),
    BITS("BitwiseAnd", "&", bit_and),
    BITS("BitwiseOr", "|", bit_or),
    BITS("BitwiseXor", "^", bit_xor),
    { "PRelu", FM_TYPES_FLOAT | FM_TYPES_INT, false, true, false, "(fm_relu($0)-fm_relu(-$0)*$1)", "($0<0?$0*$1:$0)",
      NULL, d_prelu, i_prelu, NULL },
    { "Mod", NUMBER, false, false, false, "(fmod($0,$1)+(fmod($0,$1)!=0.0f&&(fmod($0,$1)<0.0f)!=($1<0.0f)?$1:0.0f))",
      "(($1==0||$1==-1)?0:$0%$1+(($0%$1!=0&&($0%$1<0)!=($1<0))?$1:0))", "($1==0?0:$0%$1)", d_mod, i_mod, u_mod },
};
static const binary_row fmod_row = {
    "Mod", NUMBER, false, false, false, "fmod($0,$1)", "(($1==0||$1==-1)?0:$0%$1)", "($1==0?0:$0%$1)",
    fmod,  i_fmod, u_mod
};
static const binary_row shift_rows[2] = {
    { "BitShift", FM_TYPES_UNSIGNED, false, false, false, NULL, "($0<<$1)", NULL, NULL, i_shift_left, NULL },
    { "BitShift", FM_TYPES_UNSIGNED, false, false, false, NULL, "($0>>$1)", NULL, NULL, i_shift_right, NULL },
};

static const binary_row *row_of(const fm_node *node) {
    const char *name = node->op->name;
    if (strcmp(name, "Mod") == 0 && fm_node_int(node, "fmod", 0)) return &fmod_row;
    if (strcmp(name, "BitShift") == 0) return &shift_rows[strcmp(fm_node_string(node, "direction", ""), "RIGHT") == 0];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static flashmem_status infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    const binary_row *row = row_of(node);
    uint32_t          types = row->types;
    if (strcmp(row->name, "Mean") == 0 || strcmp(row->name, "Sum") == 0) types = FM_TYPES_FLOAT;
    if (strcmp(row->name, "BitShift") == 0) {
        const char *direction = fm_node_string(node, "direction", "");
        if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
            return fm_node_fail(err, node, "direction is '%s', expected 'LEFT' or 'RIGHT'", direction);
    }
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i]) return fm_node_fail(err, node, "input %u is missing", i);
        FM_TRY(fm_infer_type(node, i, types, err));
        FM_TRY(fm_infer_same_type(node, 0, i, err));
    }
    FM_TRY(fm_infer_broadcast(g, node, err));
    fm_tensor *out = node->outputs[0];
    if (out && strcmp(row->name, "PRelu") == 0 && !fm_shape_equal(&out->shape, &node->inputs[0]->shape))
        return fm_node_fail(err, node, "the slope, tensor '%s', has more elements than tensor '%s'",
                            node->inputs[1]->name, node->inputs[0]->name);
    if (out && row->to_bool) out->dtype = FLASHMEM_BOOL;
    return FLASHMEM_OK;
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

/* Weights too large to evaluate: sums and products of floats stay recipes. */
static flashmem_status fold_recipe(fm_graph *g, fm_node *node, flashmem_error *err) {
    const char *name = node->op->name;
    fm_tensor  *out = node->outputs[0], *a = node->inputs[0], *b = node->inputs[1];
    bool        sum = strcmp(name, "Add") == 0, product = strcmp(name, "Mul") == 0;
    if (!fm_dtype_is_float(out->dtype) || (!sum && !product)) return FLASHMEM_OK;
    if (!fm_shape_equal(&a->shape, &out->shape)) a = node->inputs[1], b = node->inputs[0];
    if (!fm_shape_equal(&a->shape, &out->shape) || !fm_fold_tensor_fits(b)) return FLASHMEM_OK;
    return fm_fold_recipe(g, out,
                          sum ? fm_recipe_add(g->arena, a->constant, b->constant)
                              : fm_recipe_scale(g->arena, a->constant, b->constant),
                          err);
}

static void apply(const binary_row *row, const fm_array *a, const fm_array *b, const fm_array *out) {
    fm_walk w;
    int64_t i = 0;
    fm_walk_init(&w, &out->shape);
    fm_walk_add(&w, &a->shape);
    fm_walk_add(&w, &b->shape);
    for (; !w.done; fm_walk_next(&w), i++) {
        int64_t x = w.offsets[0], y = w.offsets[1];
        if (fm_dtype_is_float(a->dtype)) {
            fm_array_set_double(out, i, row->of_double(fm_array_double(a, x), fm_array_double(b, y)));
        } else if (a->dtype == FLASHMEM_U64 && row->of_unsigned) {
            uint64_t r = row->of_unsigned((uint64_t)fm_array_int(a, x), (uint64_t)fm_array_int(b, y));
            fm_array_set_int(out, i, (int64_t)r);
        } else {
            fm_array_set_int(out, i, row->of_int(fm_array_int(a, x), fm_array_int(b, y)));
        }
    }
}

static flashmem_status fold(fm_graph *g, fm_node *node, flashmem_error *err) {
    const binary_row *row = row_of(node);
    fm_tensor        *out = node->outputs[0];
    if (!out) return FLASHMEM_OK;
    bool fits = fm_fold_tensor_fits(out);
    for (uint32_t i = 0; i < node->input_count; i++) fits = fits && fm_fold_tensor_fits(node->inputs[i]);
    if (!fits) return node->input_count == 2 ? fold_recipe(g, node, err) : FLASHMEM_OK;
    fm_array so_far;
    FM_TRY(fm_fold_load(g, node->inputs[0], &so_far, err));
    for (uint32_t i = 1; i < node->input_count; i++) {
        fm_array b;
        fm_shape shape;
        FM_TRY(fm_fold_load(g, node->inputs[i], &b, err));
        bool     whole = fm_shape_broadcast(&so_far.shape, &b.shape, &shape);
        fm_array next = fm_fold_new(g, out->dtype, whole ? &shape : &out->shape);
        apply(row, &so_far, &b, &next);
        so_far = next;
    }
    if (strcmp(row->name, "Mean") == 0) {
        fm_array mean = fm_fold_new(g, out->dtype, &out->shape);
        for (int64_t i = 0; i < mean.count; i++)
            fm_array_set_double(&mean, i, fm_array_double(&so_far, i) / node->input_count);
        so_far = mean;
    }
    fm_fold_store(g, out, &so_far);
    return FLASHMEM_OK;
}

/* --- rules and lowering ------------------------------------------------------------------------------------------- */

static const char *text_of(const binary_row *row, flashmem_dtype dtype) {
    if (fm_dtype_is_float(dtype)) return row->expression;
    bool is_unsigned = FM_TYPES_UNSIGNED >> dtype & 1;
    return is_unsigned && row->unsigned_expression ? row->unsigned_expression : row->int_expression;
}

bool fm_binary_rule(fm_graph *g, const fm_node *node, fm_elementwise_rule *out) {
    const binary_row *row = row_of(node);
    if (!row || node->input_count > FM_ELEMENTWISE_INPUTS) return false;
    const char *text = text_of(row, node->inputs[0]->dtype);
    if (!text) return false;
    bool        scalars = row->scalars && node->input_count == 2;
    const char *names[2] = { fm_rule_operand(g, out, node->inputs[0], scalars) };
    for (uint32_t i = 1; i < node->input_count; i++) {
        /* at least one input stays, so that the expression has a width */
        bool last = i + 1 == node->input_count && out->input_count == 0;
        names[1] = fm_rule_operand(g, out, node->inputs[i], scalars && !last);
        names[0] = fm_expression(g, text, names);
    }
    out->expression = names[0];
    out->vector_safe = row->vector_safe && (fm_dtype_is_float(node->inputs[0]->dtype) || row->types == FM_TYPES_BOOL);
    if (strcmp(row->name, "Mean") == 0) {
        names[1] = fm_rule_constant(g, out, 1.0f / (float)node->input_count);
        out->expression = fm_expression(g, "($0*$1)", names);
    }
    return true;
}

/* More inputs than one step takes: groups through temporaries. */
static flashmem_status lower_many(fm_lower *l, fm_node *node, flashmem_error *err) {
    const binary_row *row = row_of(node);
    fm_graph         *g = l->graph;
    fm_tensor        *out = node->outputs[0];
    fm_view           so_far, target = fm_lower_output(l, out, NULL);
    FM_TRY(fm_lower_view(l, node->inputs[0], &so_far, err));
    for (uint32_t next = 1; next < node->input_count;) {
        fm_elementwise_desc d = { .name = node->name, .vector_safe = false, .input_count = 1 };
        const char         *names[2] = { "a0", NULL };
        d.inputs[0] = fm_view_broadcast(&so_far, &out->shape);
        for (; next < node->input_count && d.input_count < FM_ELEMENTWISE_INPUTS; next++) {
            fm_view view;
            FM_TRY(fm_lower_view(l, node->inputs[next], &view, err));
            names[1] = fm_arena_printf(g->arena, "a%u", d.input_count);
            names[0] = fm_expression(g, text_of(row, out->dtype), names);
            d.inputs[d.input_count++] = fm_view_broadcast(&view, &out->shape);
        }
        bool last = next == node->input_count;
        if (last && strcmp(row->name, "Mean") == 0) {
            names[1] = "c0";
            names[0] = fm_expression(g, "($0*$1)", names);
            d.constants[d.constant_count++] = 1.0f / (float)node->input_count;
        }
        d.expression = names[0];
        d.out = last ? target : fm_lower_temporary(l, target.dtype, &out->shape);
        FM_TRY(fm_emit_elementwise(&l->emit, &d, err));
        so_far = d.out;
    }
    return FLASHMEM_OK;
}

static flashmem_status lower(fm_lower *l, fm_node *node, flashmem_error *err) {
    if (node->input_count > FM_ELEMENTWISE_INPUTS) return lower_many(l, node, err);
    if (node->input_count == 1) {
        fm_view view;
        FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
        fm_lower_alias(l, node->outputs[0], &view);
        return FLASHMEM_OK;
    }
    return fm_elementwise_lower(l, node, err);
}

#define NARY(id, opset, least, most) \
    const fm_op fm_op_##id = { #id, "", opset, least, most, 1, 1, FM_OP_ELEMENTWISE, infer, fold, false, lower, NULL };
NARY(Add, 7, 2, 2)
NARY(Sub, 7, 2, 2)
NARY(Mul, 7, 2, 2)
NARY(Div, 7, 2, 2)
NARY(Mod, 10, 2, 2)
NARY(PRelu, 7, 2, 2)
NARY(Sum, 8, 1, UINT32_MAX)
NARY(Mean, 8, 1, UINT32_MAX)
NARY(Max, 8, 1, UINT32_MAX)
NARY(Min, 8, 1, UINT32_MAX)
NARY(Equal, 7, 2, 2)
NARY(Greater, 7, 2, 2)
NARY(Less, 7, 2, 2)
NARY(GreaterOrEqual, 12, 2, 2)
NARY(LessOrEqual, 12, 2, 2)
NARY(And, 7, 2, 2)
NARY(Or, 7, 2, 2)
NARY(Xor, 7, 2, 2)
NARY(BitwiseAnd, 18, 2, 2)
NARY(BitwiseOr, 18, 2, 2)
NARY(BitwiseXor, 18, 2, 2)
NARY(BitShift, 11, 2, 2)
