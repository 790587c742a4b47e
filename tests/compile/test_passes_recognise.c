/* Spellings of activations and norms that exporters use become one node; near misses stay. */
#include <math.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

/* Runs the pass on the graph whose result is t; the one node left, or NULL when there are others. */
static fm_node *recognised(ops_case *c, fm_tensor *t) {
    ops_output(c, t);
    assert_int_equal(fm_pass_recognise(&c->g, &c->err), FLASHMEM_OK);
    if (fm_graph_verify(&c->g, &c->err) != FLASHMEM_OK) fail_msg("%s", c->err.message);
    assert_ptr_equal(c->g.last->outputs[0], t);
    return c->g.node_count == 1 ? c->g.first : NULL;
}

static fm_tensor *input(ops_case *c) { return ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3, 8)); }

/* --- GELU --------------------------------------------------------------------------------------------------------- */

static void expect_gelu(ops_case *c, fm_tensor *t, const char *approximate) {
    fm_node *n = recognised(c, t);
    assert_non_null(n);
    assert_string_equal(n->op_type, "Gelu");
    assert_string_equal(fm_node_string(n, "approximate", ""), approximate);
    assert_string_equal(n->inputs[0]->name, "x");
}

static fm_tensor *one_plus_erf(ops_case *c, fm_tensor *x, bool divide) {
    fm_tensor *u = divide ? OPS_BINARY(c, "Div", x, ops_number(c, sqrt(2)))
                          : OPS_BINARY(c, "Mul", ops_number(c, 1 / sqrt(2)), x);
    return OPS_BINARY(c, "Add", OPS_UNARY(c, "Erf", u), ops_number(c, 1));
}

static void test_gelu__half_x_first(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *half = OPS_BINARY(c, "Mul", x, ops_number(c, 0.5));
    expect_gelu(c, OPS_BINARY(c, "Mul", half, one_plus_erf(c, x, true)), "none");
}

static void test_gelu__half_last(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *product = OPS_BINARY(c, "Mul", x, one_plus_erf(c, x, true));
    expect_gelu(c, OPS_BINARY(c, "Mul", product, ops_number(c, 0.5)), "none");
}

static void test_gelu__half_with_the_gate(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *gate = OPS_BINARY(c, "Mul", ops_number(c, 0.5), one_plus_erf(c, x, false));
    expect_gelu(c, OPS_BINARY(c, "Mul", gate, x), "none");
}

static void test_gelu__divided_by_two(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *product = OPS_BINARY(c, "Mul", one_plus_erf(c, x, false), x);
    expect_gelu(c, OPS_BINARY(c, "Div", product, ops_number(c, 2)), "none");
}

static void test_gelu__another_factor_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *product = OPS_BINARY(c, "Mul", x, one_plus_erf(c, x, true));
    assert_null(recognised(c, OPS_BINARY(c, "Mul", product, ops_number(c, 0.6))));
}

static void test_gelu__of_another_tensor_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(2, 3, 8));
    fm_tensor *product = OPS_BINARY(c, "Mul", y, one_plus_erf(c, x, true));
    assert_null(recognised(c, OPS_BINARY(c, "Mul", product, ops_number(c, 0.5))));
}

static fm_tensor *tanh_gate(ops_case *c, fm_tensor *cubic) {
    fm_tensor *u = OPS_BINARY(c, "Mul", cubic, ops_number(c, sqrt(2 / M_PI)));
    return OPS_BINARY(c, "Add", OPS_UNARY(c, "Tanh", u), ops_number(c, 1));
}

static void test_tanh_gelu__with_pow(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c),
              *cube = OPS_BINARY(c, "Mul", OPS_BINARY(c, "Pow", x, ops_number(c, 3)), ops_number(c, 0.044715));
    fm_tensor *gate = tanh_gate(c, OPS_BINARY(c, "Add", x, cube));
    expect_gelu(c, OPS_BINARY(c, "Mul", OPS_BINARY(c, "Mul", x, ops_number(c, 0.5)), gate), "tanh");
}

static void test_tanh_gelu__with_products(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *square = OPS_BINARY(c, "Mul", x, x);
    fm_tensor *inner = OPS_BINARY(c, "Add", OPS_BINARY(c, "Mul", square, ops_number(c, 0.044715)), ops_number(c, 1));
    fm_tensor *gate = tanh_gate(c, OPS_BINARY(c, "Mul", x, inner));
    expect_gelu(c, OPS_BINARY(c, "Mul", OPS_BINARY(c, "Mul", gate, ops_number(c, 0.5)), x), "tanh");
}

static void test_tanh_gelu__another_cubic_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c),
              *cube = OPS_BINARY(c, "Mul", OPS_BINARY(c, "Pow", x, ops_number(c, 3)), ops_number(c, 0.05));
    fm_tensor *gate = tanh_gate(c, OPS_BINARY(c, "Add", x, cube));
    assert_null(recognised(c, OPS_BINARY(c, "Mul", OPS_BINARY(c, "Mul", x, ops_number(c, 0.5)), gate)));
}

/* --- gates -------------------------------------------------------------------------------------------------------- */

static void test_swish__with_and_without_a_factor(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *gate = OPS_UNARY(c, "Sigmoid", OPS_BINARY(c, "Mul", x, ops_number(c, 1.702)));
    fm_node   *n = recognised(c, OPS_BINARY(c, "Mul", x, gate));
    assert_non_null(n);
    assert_string_equal(n->op_type, "Swish");
    assert_float_equal(fm_node_float(n, "alpha", 0), 1.702f, 1e-6);
    ops_end(c);
    ops_begin(c);
    x = input(c);
    n = recognised(c, OPS_BINARY(c, "Mul", OPS_UNARY(c, "Sigmoid", x), x));
    assert_non_null(n);
    assert_float_equal(fm_node_float(n, "alpha", 0), 1, 0);
}

static void test_hard_swish__from_clip(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *clip = ops_made(c, OPS_NODE(c, "Clip", 1, OPS_BINARY(c, "Add", x, ops_number(c, 3)),
                                                          ops_number(c, 0), ops_number(c, 6)));
    fm_node   *n = recognised(c, OPS_BINARY(c, "Div", OPS_BINARY(c, "Mul", x, clip), ops_number(c, 6)));
    assert_non_null(n);
    assert_string_equal(n->op_type, "HardSwish");
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

static fm_tensor *mean_last(ops_case *c, fm_tensor *x, int64_t axis) {
    OPS_ATTR_INTS(c, "axes", axis);
    c->opset = 13;
    fm_tensor *mean = ops_made(c, OPS_NODE(c, "ReduceMean", 1, x));
    c->opset = OPS_OPSET;
    return mean;
}

static fm_tensor *vector(ops_case *c, float value) {
    float values[8];
    for (int i = 0; i < 8; i++) values[i] = value + (float)i;
    return ops_floats(c, NULL, OPS_SHAPE(8), values);
}

static fm_tensor *deviation(ops_case *c, fm_tensor *d, int64_t axis) {
    fm_tensor *variance = mean_last(c, OPS_BINARY(c, "Pow", d, ops_number(c, 2)), axis);
    return OPS_UNARY(c, "Sqrt", OPS_BINARY(c, "Add", variance, ops_number(c, 1e-5)));
}

static void test_layer_norm__as_primitives(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *d = OPS_BINARY(c, "Sub", x, mean_last(c, x, -1));
    fm_tensor *t = OPS_BINARY(c, "Div", d, deviation(c, d, 2));
    fm_node   *n = recognised(c, OPS_BINARY(c, "Add", OPS_BINARY(c, "Mul", t, vector(c, 1)), vector(c, 20)));
    assert_non_null(n);
    assert_string_equal(n->op_type, "fm.Norm");
    const fm_norm_params *p = n->params;
    float                 first;
    assert_false(p->rms);
    assert_float_equal(p->epsilon, 1e-5f, 1e-9);
    assert_ptr_equal(n->inputs[0], x);
    assert_null(n->inputs[1]);
    int64_t at[1] = { 0 }, one[1] = { 1 };
    assert_int_equal(fm_recipe_read(n->inputs[2]->constant, at, one, FLASHMEM_F32, &first, &c->err), FLASHMEM_OK);
    assert_float_equal(first, 1, 0);
    assert_int_equal(fm_recipe_read(n->inputs[3]->constant, at, one, FLASHMEM_F32, &first, &c->err), FLASHMEM_OK);
    assert_float_equal(first, 20, 0);
}

static void test_rms_norm__with_reciprocal(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *factor = OPS_UNARY(c, "Reciprocal", deviation(c, x, -1));
    fm_node   *n = recognised(c, OPS_BINARY(c, "Mul", vector(c, 1), OPS_BINARY(c, "Mul", x, factor)));
    assert_non_null(n);
    const fm_norm_params *p = n->params;
    assert_true(p->rms);
    assert_non_null(n->inputs[2]);
    assert_null(n->inputs[3]);
}

static void test_norm__over_another_axis_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *d = OPS_BINARY(c, "Sub", x, mean_last(c, x, 1));
    assert_null(recognised(c, OPS_BINARY(c, "Div", d, deviation(c, d, 1))));
}

static void test_norm__of_another_tensor_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c), *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(2, 3, 8));
    assert_null(recognised(c, OPS_BINARY(c, "Div", y, deviation(c, x, 2))));
}

/* --- batch norm --------------------------------------------------------------------------------------------------- */

static void test_batch_norm__joins_the_convolution(void **state) {
    ops_case  *c = *state;
    float      weight[4] = { 1, 2, 3, 4 }, bias[2] = { 1, -1 }, scale[2] = { 2, 3 }, shift[2] = { 5, 6 };
    float      mean[2] = { 1, 2 }, variance[2] = { 3, 8 };
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 2, 4, 4));
    fm_tensor *conv = ops_made(c, OPS_NODE(c, "Conv", 1, x, ops_floats(c, "w", OPS_SHAPE(2, 2, 1, 1), weight),
                                           ops_floats(c, "b", OPS_SHAPE(2), bias)));
    ops_attr_float(c, "epsilon", 1);
    fm_tensor *t = ops_made(c, OPS_NODE(c, "BatchNormalization", 1, conv, ops_floats(c, "s", OPS_SHAPE(2), scale),
                                        ops_floats(c, "t", OPS_SHAPE(2), shift), ops_floats(c, "m", OPS_SHAPE(2), mean),
                                        ops_floats(c, "v", OPS_SHAPE(2), variance)));
    ops_output(c, t);
    assert_int_equal(fm_pass_fold_norms(&c->g, &c->err), FLASHMEM_OK);
    assert_int_equal(fm_graph_verify(&c->g, &c->err), FLASHMEM_OK);
    assert_int_equal(c->g.node_count, 1);
    fm_node *n = c->g.first;
    assert_string_equal(n->op_type, "Conv");
    assert_ptr_equal(n->outputs[0], t);
    float found[4];
    assert_int_equal(fm_recipe_read_all(n->inputs[1]->constant, FLASHMEM_F32, found, &c->err), FLASHMEM_OK);
    /* factors 2 / sqrt(4), 3 / sqrt(9) */
    for (int i = 0; i < 4; i++) assert_float_equal(found[i], weight[i], 1e-6);
    assert_int_equal(fm_recipe_read_all(n->inputs[2]->constant, FLASHMEM_F32, found, &c->err), FLASHMEM_OK);
    assert_float_equal(found[0], (1 - 1) * 1 + 5, 1e-6);
    assert_float_equal(found[1], (-1 - 2) * 1 + 6, 1e-6);
}

static void test_batch_norm__of_a_shared_result_stays(void **state) {
    ops_case  *c = *state;
    float      ones[4] = { 1, 1, 1, 1 };
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 2, 4, 4)), *v = ops_floats(c, "v", OPS_SHAPE(2), ones);
    fm_tensor *conv = ops_made(c, OPS_NODE(c, "Conv", 1, x, ops_floats(c, "w", OPS_SHAPE(2, 2, 1, 1), ones)));
    fm_tensor *t = OPS_BINARY(c, "Add", ops_made(c, OPS_NODE(c, "BatchNormalization", 1, conv, v, v, v, v)), conv);
    ops_output(c, t);
    assert_int_equal(fm_pass_fold_norms(&c->g, &c->err), FLASHMEM_OK);
    assert_int_equal(c->g.node_count, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ops_setup, ops_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_gelu__half_x_first),
        TEST(test_gelu__half_last),
        TEST(test_gelu__half_with_the_gate),
        TEST(test_gelu__divided_by_two),
        TEST(test_gelu__another_factor_stays),
        TEST(test_gelu__of_another_tensor_stays),
        TEST(test_tanh_gelu__with_pow),
        TEST(test_tanh_gelu__with_products),
        TEST(test_tanh_gelu__another_cubic_stays),
        TEST(test_swish__with_and_without_a_factor),
        TEST(test_hard_swish__from_clip),
        TEST(test_layer_norm__as_primitives),
        TEST(test_rms_norm__with_reciprocal),
        TEST(test_norm__over_another_axis_stays),
        TEST(test_norm__of_another_tensor_stays),
        TEST(test_batch_norm__joins_the_convolution),
        TEST(test_batch_norm__of_a_shared_result_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
