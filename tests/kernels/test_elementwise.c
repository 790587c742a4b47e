/* Elementwise expressions and copies against the host, and every function of math.clh against libm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

/* --- math.clh ----------------------------------------------------------------------------------------------------- */

typedef struct math_case {
    const char *expression;
    double (*host)(double);
    double low, high;
} math_case;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2.0))); }
static double gelu_tanh(double x) { return 0.5 * x * (1 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x))); }
static double quick_gelu(double x) { return x * sigmoid(1.702 * x); }
static double silu(double x) { return x * sigmoid(x); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double relu(double x) { return x > 0 ? x : 0; }
static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
static double hard_swish(double x) { return x * fmin(1, fmax(0, x / 6 + 0.5)); }
static double hard_sigmoid(double x) { return fmin(1, fmax(0, 0.25 * x + 0.5)); }
static double clip(double x) { return fmin(0.5, fmax(0.25, x)); }
static double leaky(double x) { return x < 0 ? 0.25 * x : x; }
static double elu(double x) { return x < 0 ? 0.25 * expm1(x) : x; }
static double celu(double x) { return x < 0 ? 0.25 * expm1(x / 0.25) : x; }
static double selu(double x) { return 0.5 * elu(x); }
static double thresholded(double x) { return x > 0.25 ? x : 0; }
static double power(double x) { return pow(fabs(x), 0.5); }

static const math_case functions[] = {
    { "fm_exp(a0)", exp, -86, 88 },
    { "fm_log1p(a0)", log1p, -0.9, 100 },
    { "fm_erf(a0)", erf, -6, 6 },
    { "fm_tanh(a0)", tanh, -12, 12 },
    { "fm_sigmoid(a0)", sigmoid, -80, 80 },
    { "fm_relu(a0)", relu, -2, 2 },
    { "fm_gelu(a0)", gelu, -6, 6 },
    { "fm_gelu_tanh(a0)", gelu_tanh, -6, 6 },
    { "fm_quick_gelu(a0)", quick_gelu, -20, 20 },
    { "fm_silu(a0)", silu, -60, 60 },
    { "fm_softplus(a0)", softplus, -60, 60 },
    { "fm_mish(a0)", mish, -20, 20 },
    { "fm_hard_swish(a0)", hard_swish, -5, 5 },
    { "fm_abs(a0)", fabs, -5, 5 },
    { "fm_sign(a0)", sign, -5, 5 },
    { "fm_clip(a0,c0,c1)", clip, -1, 1 },
    { "fm_leaky_relu(a0,c0)", leaky, -1, 1 },
    { "fm_elu(a0,c0)", elu, -10, 10 },
    { "fm_celu(a0,c0)", celu, -10, 10 },
    { "fm_selu(a0,c0,c1)", selu, -10, 10 },
    { "fm_hard_sigmoid(a0,c0,c1)", hard_sigmoid, -5, 5 },
    { "fm_thresholded_relu(a0,c0)", thresholded, -1, 1 },
    { "fm_pow(fabs(a0),a0*0.0f+c1)", power, -4, 4 },
    { "fm_min(a0,fm_max(a0,a0))", fabs, 0.01, 4 },
};

/* Absolute below 1, relative above; exp relative everywhere. */
static void test_math__functions_are_accurate(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) {
        const math_case *m = &functions[f];
        fm_rows_case     c;
        int64_t          n = fm_rows_small() ? 35 : 20011;
        double          *want = malloc((size_t)n * sizeof *want);
        fm_rows_open(&c, "%s", m->expression);
        fm_elementwise_desc d = { .name = "math",
                                  .expression = m->expression,
                                  .vector_safe = true,
                                  .input_count = 1,
                                  .constant_count = 2,
                                  .constants = { 0.25f, 0.5f } };
        d.inputs[0] = fm_rows_view(&c, FLASHMEM_F32, 1, &n, FM_DENSE, 0);
        d.out = fm_rows_view(&c, FLASHMEM_F32, 1, &n, FM_DENSE, 0);
        for (int64_t i = 0; i < n; i++) {
            fm_rows_set(&c, &d.inputs[0], &i,
                        i == 0 ? (m->low > 0 ? m->low : 0) : m->low + (m->high - m->low) * (double)i / (double)n);
            want[i] = m->host(fm_rows_at(&c, &d.inputs[0], &i));
        }
        fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 1e-6);
        fm_rows_close(&c);
        free(want);
    }
}

static void test_math__special_values(void **state) {
    static const float in[8] = { NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e30f, -1e30f, 1e-30f };
    static const struct {
        const char *expression;
        double      want[8];
    } table[] = {
        { "fm_exp(a0)", { NAN, INFINITY, 0, 1, 1, INFINITY, 0, 1 } },
        { "fm_erf(a0)", { NAN, 1, -1, 0, 0, 1, -1, 1.1283791e-30 } },
        { "fm_tanh(a0)", { NAN, 1, -1, 0, 0, 1, -1, 1e-30 } },
        { "fm_sigmoid(a0)", { NAN, 1, 0, 0.5, 0.5, 1, 0, 0.5 } },
        { "fm_relu(a0)", { NAN, INFINITY, 0, 0, 0, 1e30f, 0, 1e-30f } },
        { "fm_gelu(a0)", { NAN, INFINITY, NAN, 0, 0, 1e30f, 0, 0.5e-30 } },
        { "fm_silu(a0)", { NAN, INFINITY, NAN, 0, 0, 1e30f, 0, 0.5e-30 } },
        { "fm_max(a0,c0)", { NAN, INFINITY, 0.25, 0.25, 0.25, 1e30f, 0.25, 0.25 } },
        { "fm_sign(a0)", { NAN, 1, -1, 0, 0, 1, -1, 1 } },
    };
    (void)state;
    for (size_t f = 0; f < sizeof table / sizeof table[0]; f++) {
        fm_rows_case c;
        int64_t      n = 32;
        double       want[32];
        fm_rows_open(&c, "special %s", table[f].expression);
        fm_elementwise_desc d = { .name = "special",
                                  .expression = table[f].expression,
                                  .vector_safe = true,
                                  .input_count = 1,
                                  .constant_count = 1,
                                  .constants = { 0.25f } };
        d.inputs[0] = fm_rows_view(&c, FLASHMEM_F32, 1, &n, FM_DENSE, 0);
        d.out = fm_rows_view(&c, FLASHMEM_F32, 1, &n, FM_DENSE, 0);
        for (int64_t i = 0; i < n; i++) {
            ((float *)c.values[0].data)[i] = in[i % 8];
            want[i] = table[f].want[i % 8];
        }
        fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 1e-6);
        fm_rows_close(&c);
    }
}

/* --- expressions -------------------------------------------------------------------------------------------------- */

typedef struct binary_case {
    uint32_t rank;
    int64_t  dims[8];
    int      layouts[3]; /* two inputs, output */
    uint32_t broadcast[2];
} binary_case;

static const binary_case shapes[] = {
    { 0, { 0 }, { FM_DENSE, FM_DENSE, FM_DENSE }, { 0, 0 } },
    { 1, { 1 }, { FM_DENSE, FM_GAPPED, FM_DENSE }, { 0, 0 } },
    { 1, { 37 }, { FM_REVERSED, FM_DENSE, FM_GAPPED }, { 0, 1 } },
    { 2, { 5, 48 }, { FM_DENSE, FM_DENSE, FM_DENSE }, { 0, 1 } },
    { 2, { 48, 5 }, { FM_DENSE, FM_DENSE, FM_TRANSPOSED }, { 0, 2 } },
    { 3, { 3, 17, 33 }, { FM_TRANSPOSED, FM_GAPPED, FM_DENSE }, { 0, 5 } },
    { 3, { 1, 7, 1 }, { FM_DENSE, FM_REVERSED, FM_GAPPED }, { 7, 2 } },
    { 4, { 2, 3, 4, 19 }, { FM_GAPPED, FM_REVERSED, FM_GAPPED }, { 2, 8 } },
    { 5, { 2, 3, 2, 3, 5 }, { FM_TRANSPOSED, FM_REVERSED, FM_GAPPED }, { 4, 10 } },
    { 8, { 2, 1, 2, 3, 2, 1, 2, 3 }, { FM_REVERSED, FM_TRANSPOSED, FM_GAPPED }, { 16, 128 } },
    { 2, { 197, 1024 }, { FM_DENSE, FM_DENSE, FM_DENSE }, { 0, 1 } },
    { 3, { 60, 40, 70 }, { FM_TRANSPOSED, FM_DENSE, FM_GAPPED }, { 0, 0 } },
};

typedef struct type_case {
    const char    *expression;
    bool           lanes, integers;
    flashmem_dtype types[3];
    double (*host)(double, double);
} type_case;

static double add_scaled(double a, double b) { return (double)((float)a * 0.5f) + b; }
static double divided(double a, double b) { return b != 0 ? (double)(int64_t)(a / b) : a; }
static double times(double a, double b) { return a * b; }
static double less(double a, double b) { return a < b; }
static double chosen(double a, double b) { return a != 0 ? b : -2; }
static double constants(double a, double b) { return (void)b, a != 0 ? -3 : 0.5; }
static double both(double a, double b) { return a != 0 && b != 0; }
static double differs(double a, double b) { return a != b; }
static double second(double a, double b) { return (void)a, b; }
static double toward_zero(double a, double b) { return (void)b, trunc(a * 50); }
static double truth_value(double a, double b) { return (a > b) * 1.0; }

static const type_case types[] = {
    { "a0*c0+a1", true, false, { FLASHMEM_F32, FLASHMEM_F32, FLASHMEM_F32 }, add_scaled },
    { "a0*c0+a1", false, false, { FLASHMEM_F32, FLASHMEM_F32, FLASHMEM_F32 }, add_scaled },
    { "(a1!=0?a0/a1:a0)", false, true, { FLASHMEM_I64, FLASHMEM_I64, FLASHMEM_I64 }, divided },
    { "a0*a1", false, true, { FLASHMEM_I32, FLASHMEM_I64, FLASHMEM_I64 }, times },
    { "a0*a1", false, true, { FLASHMEM_U8, FLASHMEM_I8, FLASHMEM_I16 }, times },
    { "a0<a1", true, false, { FLASHMEM_F32, FLASHMEM_F32, FLASHMEM_BOOL }, less },
    { "(a0>a1)", true, false, { FLASHMEM_F32, FLASHMEM_F32, FLASHMEM_F32 }, truth_value },
    { "select(a0*0.0f-2.0f,a1,a0!=0)", true, false, { FLASHMEM_BOOL, FLASHMEM_F32, FLASHMEM_F32 }, chosen },
    { "select(c0,c1,a0!=0)", true, false, { FLASHMEM_BOOL, FLASHMEM_F32, FLASHMEM_F32 }, constants },
    { "a0&&a1", true, false, { FLASHMEM_BOOL, FLASHMEM_BOOL, FLASHMEM_BOOL }, both },
    { "a0!=a1", false, true, { FLASHMEM_U16, FLASHMEM_U32, FLASHMEM_BOOL }, differs },
    { "a1", true, false, { FLASHMEM_F32, FLASHMEM_I64, FLASHMEM_F32 }, second },
    { "a0*50", false, false, { FLASHMEM_F32, FLASHMEM_F32, FLASHMEM_I32 }, toward_zero },
};

static void check_binary(const binary_case *s, const type_case *t) {
    fm_rows_case c;
    int64_t      index[8] = { 0 }, i = 0;
    char         shape[128];
    fm_rows_open(&c, "%s", t->expression);
    fm_elementwise_desc d = { .name = "binary",
                              .expression = t->expression,
                              .vector_safe = t->lanes,
                              .input_count = 2,
                              .constant_count = 2,
                              .constants = { 0.5f, -3 } };
    for (int k = 0; k < 2; k++)
        d.inputs[k] = fm_rows_view(&c, t->types[k], s->rank, s->dims, (fm_rows_layout)s->layouts[k], s->broadcast[k]);
    d.out = fm_rows_view(&c, t->types[2], s->rank, s->dims, (fm_rows_layout)s->layouts[2], 0);
    size_t used = strlen(c.label);
    snprintf(c.label + used, sizeof c.label - used, " %s %s", fm_dtype_name(t->types[0]),
             fm_shape_print(&d.out.shape, shape, sizeof shape));
    double *want = malloc((size_t)fm_shape_count(&d.out.shape) * sizeof *want);
    do want[i++] = t->host(fm_rows_at(&c, &d.inputs[0], index), fm_rows_at(&c, &d.inputs[1], index));
    while (fm_rows_next(&d.out.shape, index));
    fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, t->integers ? 0 : 1e-6);
    fm_rows_close(&c);
    free(want);
}

static void test_elementwise__types_and_strides(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            fm_shape shape = { .rank = shapes[s].rank };
            memcpy(shape.dims, shapes[s].dims, sizeof shape.dims);
            if (fm_rows_small() && fm_shape_count(&shape) > 300) continue;
            check_binary(&shapes[s], &types[t]);
        }
}

static void test_elementwise__copies_any_type(void **state) {
    static const flashmem_dtype all[] = { FLASHMEM_F32, FLASHMEM_U8,  FLASHMEM_I8,  FLASHMEM_U16,
                                          FLASHMEM_I16, FLASHMEM_I32, FLASHMEM_I64, FLASHMEM_BOOL,
                                          FLASHMEM_F16, FLASHMEM_F64, FLASHMEM_U32 };
    const int64_t               dims[3] = { 3, 5, 21 };
    (void)state;
    for (size_t t = 0; t < sizeof all / sizeof all[0]; t++)
        for (int layout = 0; layout < FM_ROWS_LAYOUTS; layout++) {
            fm_rows_case c;
            int64_t      index[8] = { 0 }, i = 0;
            double       want[3 * 5 * 21];
            fm_rows_open(&c, "copy %s layout %d", fm_dtype_name(all[t]), layout);
            fm_elementwise_desc d = { .name = "copy", .expression = "a0", .input_count = 1 };
            d.inputs[0] = fm_rows_view(&c, all[t], 3, dims, (fm_rows_layout)layout, layout == FM_GAPPED ? 2 : 0);
            d.out = fm_rows_view(&c, all[t], 3, dims, layout == FM_DENSE ? FM_GAPPED : FM_DENSE, 0);
            do want[i++] = fm_rows_at(&c, &d.inputs[0], index);
            while (fm_rows_next(&d.out.shape, index));
            fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 0);
            fm_rows_close(&c);
        }
}

/* Models' inputs and outputs of types that kernels do not compute with. */
static void test_elementwise__converts_stored_types(void **state) {
    static const flashmem_dtype stored[] = { FLASHMEM_F16, FLASHMEM_F64 };
    const int64_t               dims[2] = { 5, 21 };
    (void)state;
    for (size_t t = 0; t < 2; t++)
        for (int out = 0; out < 2; out++) {
            fm_rows_case c;
            int64_t      index[8] = { 0 }, i = 0;
            double       want[5 * 21];
            fm_rows_open(&c, "convert %s %s", out ? "to" : "from", fm_dtype_name(stored[t]));
            fm_elementwise_desc d = { .name = "convert", .expression = "(a0+c0)", .input_count = 1, .constant_count = 1,
                                      .constants = { 0.25f }, .vector_safe = true };
            d.inputs[0] = fm_rows_view(&c, out ? FLASHMEM_F32 : stored[t], 2, dims, FM_GAPPED, 2);
            d.out = fm_rows_view(&c, out ? stored[t] : FLASHMEM_F32, 2, dims, FM_DENSE, 0);
            do { /* the harness sees the bits of halves as integers */
                double x = fm_rows_at(&c, &d.inputs[0], index);
                if (!out && stored[t] == FLASHMEM_F16) x = fm_float_from_half((uint16_t)x);
                want[i] = out && stored[t] == FLASHMEM_F16 ? fm_half_from_float((float)x + 0.25f) : x + 0.25;
            } while (++i, fm_rows_next(&d.out.shape, index));
            fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, out && stored[t] == FLASHMEM_F16 ? 0 : 1e-6);
            fm_rows_close(&c);
        }
}

static void test_elementwise__coordinates(void **state) {
    const int64_t dims[3] = { 2, 3, 35 };
    fm_rows_case  c;
    int64_t       index[8] = { 0 }, i = 0;
    double        want[2 * 3 * 35];
    (void)state;
    fm_rows_open(&c, "coordinates");
    fm_elementwise_desc d = { .name = "coordinates",
                              .expression = "i0*1000+i1*100+i2+a0",
                              .uses_coordinates = true,
                              .vector_safe = true,
                              .input_count = 1 };
    d.inputs[0] = fm_rows_view(&c, FLASHMEM_I64, 3, dims, FM_DENSE, 0);
    d.out = fm_rows_view(&c, FLASHMEM_I64, 3, dims, FM_TRANSPOSED, 0);
    do want[i++] = (double)(index[0] * 1000 + index[1] * 100 + index[2]) + fm_rows_at(&c, &d.inputs[0], index);
    while (fm_rows_next(&d.out.shape, index));
    fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 0);
    fm_rows_close(&c);
}

static void test_elementwise__eight_inputs_and_none(void **state) {
    const int64_t dims[2] = { 9, 40 };
    fm_rows_case  c;
    double        want[9 * 40];
    int64_t       index[8] = { 0 }, i = 0;
    (void)state;
    fm_rows_open(&c, "eight inputs");
    fm_elementwise_desc d = {
        .name = "eight", .expression = "a0+a1+a2+a3+a4+a5+a6+a7", .vector_safe = true, .input_count = 8
    };
    for (uint32_t k = 0; k < 8; k++) d.inputs[k] = fm_rows_view(&c, FLASHMEM_F32, 2, dims, FM_GAPPED, k % 4);
    d.out = fm_rows_view(&c, FLASHMEM_F32, 2, dims, FM_DENSE, 0);
    do {
        want[i] = 0;
        for (uint32_t k = 0; k < 8; k++) want[i] += fm_rows_at(&c, &d.inputs[k], index);
        i++;
    } while (fm_rows_next(&d.out.shape, index));
    fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 1e-6);
    d.input_count = 0, d.expression = "c0", d.constant_count = 1, d.constants[0] = 7;
    for (i = 0; i < 9 * 40; i++) want[i] = 7;
    fm_rows_check(&c, FM_FAMILY_ELEMENTWISE, &d, &d.out, want, 0);
    fm_rows_close(&c);
}

static void test_elementwise__refuses(void **state) {
    const int64_t dims[2] = { 2, 3 };
    fm_rows_case  c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_elementwise_desc good = { .name = "node", .expression = "a0+1", .input_count = 1 }, d;
    good.inputs[0] = fm_rows_view(&c, FLASHMEM_F32, 2, dims, FM_DENSE, 0);
    good.out = fm_rows_view(&c, FLASHMEM_F32, 2, dims, FM_DENSE, 0);
    d = good, d.expression = "a0 + 1";
    fm_rows_refuses(&c, FM_FAMILY_ELEMENTWISE, &d, "blanks");
    d = good, d.out.shape.dims[0] = 1;
    fm_rows_refuses(&c, FM_FAMILY_ELEMENTWISE, &d, "2x3, wanted 1x3");
    d = good, d.inputs[0].shape.dims[1] = 2;
    fm_rows_refuses(&c, FM_FAMILY_ELEMENTWISE, &d, "2x2, wanted 2x3");
    d = good, d.inputs[0].strides[0] = INT64_C(1) << 40;
    fm_rows_refuses(&c, FM_FAMILY_ELEMENTWISE, &d, "beyond 2^31");
    d = good, d.input_count = 9;
    fm_rows_refuses(&c, FM_FAMILY_ELEMENTWISE, &d, "at most 8");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_math__functions_are_accurate),
        cmocka_unit_test(test_math__special_values),
        cmocka_unit_test(test_elementwise__types_and_strides),
        cmocka_unit_test(test_elementwise__copies_any_type),
        cmocka_unit_test(test_elementwise__converts_stored_types),
        cmocka_unit_test(test_elementwise__coordinates),
        cmocka_unit_test(test_elementwise__eight_inputs_and_none),
        cmocka_unit_test(test_elementwise__refuses),
    };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
