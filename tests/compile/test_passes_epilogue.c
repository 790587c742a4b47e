/* What a product or convolution takes in, in which place, and what it must leave alone; trees of elementwise operators. */
#include <stdio.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

static fm_tensor *constant(ops_case *c, fm_shape shape, float first) {
    float values[512];
    for (int i = 0; i < fm_shape_count(&shape); i++) values[i] = first + (float)i;
    return ops_floats(c, NULL, shape, values);
}

static fm_tensor *input(ops_case *c, const char *name) { return ops_input(c, name, FLASHMEM_F32, OPS_SHAPE(2, 3, 8)); }
static fm_tensor *product(ops_case *c) {
    return OPS_BINARY(c, "MatMul", input(c, "x"), constant(c, OPS_SHAPE(8, 8), 0));
}

static fm_node *run(ops_case *c, fm_tensor *t, flashmem_status (*pass)(fm_graph *g, flashmem_error *err)) {
    ops_output(c, t);
    if (pass(&c->g, &c->err) != FLASHMEM_OK || fm_graph_verify(&c->g, &c->err) != FLASHMEM_OK)
        fail_msg("%s", c->err.message);
    return t->producer;
}

static fm_node *epilogue(ops_case *c, fm_tensor *t) { return run(c, t, fm_pass_epilogue); }
static fm_node *alone(ops_case *c, fm_tensor *t, const char *op_type) {
    fm_node *n = epilogue(c, t);
    assert_string_equal(n->op_type, op_type);
    assert_int_equal(c->g.node_count, 1);
    return n;
}

static void expect_vector(const fm_tensor *t, float first) {
    float   found[8];
    int64_t count = fm_shape_count(&t->shape);
    assert_int_equal(count, 8);
    assert_int_equal(fm_recipe_read_all(t->constant, FLASHMEM_F32, found, NULL), FLASHMEM_OK);
    for (int i = 0; i < 8; i++) assert_float_equal(found[i], first + (float)i, 1e-5);
}

/* --- products ----------------------------------------------------------------------------------------------------- */

static void test_bias_activation_residual__in_this_order(void **state) {
    ops_case       *c = *state;
    fm_tensor      *r = input(c, "r"), *t = OPS_BINARY(c, "Add", product(c), constant(c, OPS_SHAPE(8), 5));
    fm_node        *n = alone(c, OPS_BINARY(c, "Add", r, OPS_UNARY(c, "Relu", t)), "fm.MatMul");
    const fm_fused *f = n->params;
    assert_int_equal(f->activation, FM_ACT_RELU);
    expect_vector(n->inputs[FM_FUSED_BIAS], 5);
    assert_null(n->inputs[FM_FUSED_PRE]);
    assert_ptr_equal(n->inputs[FM_FUSED_POST], r);
}

static void test_residual_before_the_activation(void **state) {
    ops_case       *c = *state;
    fm_tensor      *r = input(c, "r");
    fm_node        *n = alone(c, OPS_UNARY(c, "Tanh", OPS_BINARY(c, "Add", product(c), r)), "fm.MatMul");
    const fm_fused *f = n->params;
    assert_int_equal(f->activation, FM_ACT_TANH);
    assert_ptr_equal(n->inputs[FM_FUSED_PRE], r);
    assert_null(n->inputs[FM_FUSED_POST]);
}

static void test_scale__multiplies_the_bias_too(void **state) {
    ops_case       *c = *state;
    fm_tensor      *t = OPS_BINARY(c, "Add", constant(c, OPS_SHAPE(1, 1, 8), 4), product(c));
    fm_node        *n = alone(c, OPS_BINARY(c, "Div", t, ops_number(c, 0.5)), "fm.MatMul");
    const fm_fused *f = n->params;
    float           found[8];
    assert_float_equal(f->alpha, 2, 0);
    assert_int_equal(fm_recipe_read_all(n->inputs[FM_FUSED_BIAS]->constant, FLASHMEM_F32, found, NULL), FLASHMEM_OK);
    assert_float_equal(found[0], 8, 0);
}

static void test_two_biases__are_one(void **state) {
    ops_case  *c = *state;
    fm_tensor *t = OPS_BINARY(c, "Add", OPS_BINARY(c, "Add", product(c), constant(c, OPS_SHAPE(8), 5)),
                              ops_number(c, 2));
    expect_vector(alone(c, t, "fm.MatMul")->inputs[FM_FUSED_BIAS], 7);
}

static void test_gemm__with_its_own_bias_and_transpose(void **state) {
    ops_case *c = *state;
    ops_attr_int(c, "transB", 1);
    ops_attr_float(c, "alpha", 3);
    fm_tensor      *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 8)), *w = constant(c, OPS_SHAPE(8, 8), 0);
    fm_tensor      *t = ops_made(c, OPS_NODE(c, "Gemm", 1, x, w, constant(c, OPS_SHAPE(8), 1)));
    fm_node        *n = alone(c, OPS_UNARY(c, "Sigmoid", t), "fm.MatMul");
    const fm_fused *f = n->params;
    assert_true(f->transpose_w);
    assert_float_equal(f->alpha, 3, 0);
    expect_vector(n->inputs[FM_FUSED_BIAS], 1);
}

static void test_a_scale_behind_an_activation__stays(void **state) {
    ops_case *c = *state;
    fm_node  *n = epilogue(c, OPS_BINARY(c, "Mul", OPS_UNARY(c, "Relu", product(c)), ops_number(c, 2)));
    assert_string_equal(n->op_type, "Mul");
    assert_string_equal(n->inputs[0]->producer->op_type, "fm.MatMul");
}

static void test_a_second_activation__stays(void **state) {
    ops_case *c = *state;
    assert_string_equal(epilogue(c, OPS_UNARY(c, "Tanh", OPS_UNARY(c, "Relu", product(c))))->op_type, "Tanh");
}

static void test_a_result_used_twice__stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *t = product(c);
    fm_node   *n = epilogue(c, OPS_BINARY(c, "Mul", OPS_UNARY(c, "Relu", t), t));
    assert_string_equal(n->op_type, "Mul");
    assert_string_equal(t->producer->op_type, "MatMul");
}

static void test_an_output__stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *t = product(c);
    ops_output(c, t);
    assert_string_equal(epilogue(c, OPS_UNARY(c, "Relu", t))->op_type, "Relu");
    assert_string_equal(t->producer->op_type, "MatMul");
}

static void test_an_addend_wider_than_the_result__stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *r = ops_input(c, "r", FLASHMEM_F32, OPS_SHAPE(4, 2, 3, 8));
    assert_string_equal(epilogue(c, OPS_BINARY(c, "Add", product(c), r))->op_type, "Add");
}

static void test_a_reshape__is_stepped_over(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(6, 8)), *r = input(c, "r");
    fm_tensor *t = OPS_BINARY(c, "Reshape", OPS_BINARY(c, "MatMul", x, constant(c, OPS_SHAPE(8, 8), 0)),
                              OPS_INTS(c, NULL, 2, 3, 8));
    fm_node   *n = epilogue(
          c, OPS_BINARY(c, "Add", OPS_UNARY(c, "Relu", OPS_BINARY(c, "Add", t, constant(c, OPS_SHAPE(8), 5))), r));
    assert_string_equal(n->op_type, "Reshape");
    fm_node *fused = n->inputs[0]->producer;
    assert_string_equal(fused->op_type, "fm.MatMul");
    expect_vector(fused->inputs[FM_FUSED_BIAS], 5);
    assert_ptr_equal(fused->inputs[FM_FUSED_POST]->producer->inputs[0], r);
    assert_true(fm_shape_equal(&fused->inputs[FM_FUSED_POST]->shape, &OPS_SHAPE(6, 8)));
}

/* --- convolutions ------------------------------------------------------------------------------------------------- */

static void test_convolution__bias_runs_along_channels(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 2, 4, 8)),
              *r = ops_input(c, "r", FLASHMEM_F32, OPS_SHAPE(1, 8, 4, 8));
    fm_tensor *t = OPS_BINARY(c, "Conv", x, constant(c, OPS_SHAPE(8, 2, 1, 1), 0));
    t = OPS_BINARY(c, "Add", OPS_BINARY(c, "Add", t, constant(c, OPS_SHAPE(1, 8, 1, 1), 3)), r);
    fm_node        *n = alone(c, ops_made(c, OPS_NODE(c, "Clip", 1, t, ops_number(c, 0), ops_number(c, 6))), "fm.Conv");
    const fm_fused *f = n->params;
    expect_vector(n->inputs[FM_FUSED_BIAS], 3);
    assert_ptr_equal(n->inputs[FM_FUSED_PRE], r);
    assert_int_equal(f->activation, FM_ACT_CLIP);
    assert_float_equal(f->p1, 6, 0);
}

/* Along W, which has as many elements as there are channels. */
static void test_convolution__a_row_is_no_bias(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 2, 4, 8));
    fm_tensor *t = OPS_BINARY(c, "Conv", x, constant(c, OPS_SHAPE(8, 2, 1, 1), 0)), *row = constant(c, OPS_SHAPE(8), 3);
    fm_node   *n = alone(c, OPS_BINARY(c, "Add", t, row), "fm.Conv");
    assert_null(n->inputs[FM_FUSED_BIAS]);
    assert_ptr_equal(n->inputs[FM_FUSED_PRE], row);
}

static void test_two_convolutions_and_a_sum__fuse_once(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 2, 4, 4)), *w = constant(c, OPS_SHAPE(8, 2, 1, 1), 0);
    fm_tensor *a = OPS_BINARY(c, "Conv", x, w), *b = OPS_BINARY(c, "Conv", x, constant(c, OPS_SHAPE(8, 2, 1, 1), 9));
    fm_node   *n = epilogue(c, OPS_UNARY(c, "Relu", OPS_BINARY(c, "Add", a, b)));
    assert_string_equal(n->op_type, "fm.Conv");
    assert_int_equal(c->g.node_count, 2);
    assert_non_null(n->inputs[FM_FUSED_PRE]);
}

/* --- elementwise trees -------------------------------------------------------------------------------------------- */

static fm_node *tree(ops_case *c, fm_tensor *t) { return run(c, t, fm_pass_elementwise); }

static void test_tree__is_one_expression(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = input(c, "x"), *y = input(c, "y"), *v = ops_input(c, "v", FLASHMEM_F32, OPS_SHAPE(8));
    fm_node   *n = tree(c, OPS_BINARY(c, "Add", OPS_BINARY(c, "Mul", x, ops_number(c, 2)),
                                      OPS_UNARY(c, "Sqrt", OPS_BINARY(c, "Sub", y, v))));
    assert_string_equal(n->op_type, "fm.Elementwise");
    assert_int_equal(c->g.node_count, 1);
    assert_int_equal(n->input_count, 3);
    const fm_fused_elementwise *p = n->params;
    assert_int_equal(p->constant_count, 1);
    assert_true(p->vector_safe);
}

static void test_shared_result__is_computed_once(void **state) {
    ops_case  *c = *state;
    fm_tensor *shared = OPS_UNARY(c, "Exp", input(c, "x"));
    ops_output(c, OPS_UNARY(c, "Sqrt", shared));
    fm_node *n = tree(c, OPS_UNARY(c, "Neg", shared));
    assert_string_equal(n->op_type, "Neg");
    assert_string_equal(shared->producer->op_type, "Exp");
}

static void test_result_read_twice_in_the_tree__joins(void **state) {
    ops_case  *c = *state;
    fm_tensor *e = OPS_UNARY(c, "Exp", input(c, "x"));
    tree(c, OPS_BINARY(c, "Div", e, OPS_BINARY(c, "Add", e, ops_number(c, 1))));
    assert_int_equal(c->g.node_count, 1);
}

static void test_small_result__is_not_computed_wide(void **state) {
    ops_case  *c = *state;
    fm_tensor *v = OPS_UNARY(c, "Exp", ops_input(c, "v", FLASHMEM_F32, OPS_SHAPE(8)));
    fm_node   *n = tree(c, OPS_BINARY(c, "Mul", input(c, "x"), v));
    assert_string_equal(n->op_type, "Mul");
    assert_int_equal(c->g.node_count, 2);
}

static void test_tree__has_at_most_eight_inputs(void **state) {
    ops_case  *c = *state;
    fm_tensor *t = input(c, "x0");
    char       name[8];
    for (int i = 1; i < 12; i++) {
        snprintf(name, sizeof name, "x%d", i);
        t = OPS_BINARY(c, "Add", t, input(c, name));
    }
    fm_node *n = tree(c, t);
    assert_int_equal(n->input_count, FM_ELEMENTWISE_INPUTS);
    assert_int_equal(c->g.node_count, 2);
}

static void test_narrow_integers__wrap_between_operators(void **state) {
    ops_case  *c = *state;
    fm_tensor *a = ops_input(c, "a", FLASHMEM_U8, OPS_SHAPE(8)), *b = ops_input(c, "b", FLASHMEM_U8, OPS_SHAPE(8));
    fm_tensor *sum = OPS_BINARY(c, "Add", a, b);
    ops_attr_int(c, "to", FLASHMEM_F32);
    tree(c, OPS_UNARY(c, "Cast", sum));
    assert_int_equal(c->g.node_count, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ops_setup, ops_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_bias_activation_residual__in_this_order),
        TEST(test_residual_before_the_activation),
        TEST(test_scale__multiplies_the_bias_too),
        TEST(test_two_biases__are_one),
        TEST(test_gemm__with_its_own_bias_and_transpose),
        TEST(test_a_scale_behind_an_activation__stays),
        TEST(test_a_second_activation__stays),
        TEST(test_a_result_used_twice__stays),
        TEST(test_an_output__stays),
        TEST(test_an_addend_wider_than_the_result__stays),
        TEST(test_a_reshape__is_stepped_over),
        TEST(test_convolution__bias_runs_along_channels),
        TEST(test_convolution__a_row_is_no_bias),
        TEST(test_two_convolutions_and_a_sum__fuse_once),
        TEST(test_tree__is_one_expression),
        TEST(test_shared_result__is_computed_once),
        TEST(test_result_read_twice_in_the_tree__joins),
        TEST(test_small_result__is_not_computed_wide),
        TEST(test_tree__has_at_most_eight_inputs),
        TEST(test_narrow_integers__wrap_between_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
