/* What operators become: views cost no step, copies are as few as strides allow, tables are read by row, elementwise
 * expressions are what fusion may compose. */
#include <string.h>

#include "compile/lower.h"
#include "compile/ops/elementwise.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

/* Folds and lowers the graph; the program is in l. */
static void lower(ops_case *c, fm_lower *l) {
    static const flashmem_compile_options options = { .weights = FLASHMEM_WEIGHTS_FP32, .layout = FLASHMEM_LAYOUT_CPU };
    c->err = (flashmem_error){ 0 };
    if (fm_pass_fold(&c->g, &c->err) != FLASHMEM_OK) fail_msg("fold: %s", c->err.message);
    fm_lower_init(l, &c->g, &options, FM_DEVICE_CPU);
    if (fm_lower_graph(l, &c->err) != FLASHMEM_OK) fail_msg("lower: %s", c->err.message);
    assert_int_equal(fm_graph_verify(&c->g, &c->err), FLASHMEM_OK);
}

static void test_views__cost_one_copy_to_the_output(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3, 4, 5));
    OPS_ATTR_INTS(c, "perm", 0, 2, 1, 3);
    fm_tensor *t = ops_made(c, OPS_NODE(c, "Transpose", 1, x)); /* 2x4x3x5 */
    t = ops_made(c, OPS_NODE(c, "Unsqueeze", 1, t, OPS_INTS(c, "a", 1)));
    t = ops_made(c, OPS_NODE(c, "Slice", 1, t, OPS_INTS(c, "b", -1), OPS_INTS(c, "e", INT64_MIN), OPS_INTS(c, "a", 2),
                             OPS_INTS(c, "s", -2)));
    t = ops_made(c, OPS_NODE(c, "Expand", 1, t, OPS_INTS(c, "s", 2, 6, 2, 3, 5)));
    ops_attr_int(c, "axis", 3);
    t = ops_made(c, OPS_NODE(c, "Split", 2, t, OPS_INTS(c, "p", 2, 1)));
    ops_attr_int(c, "axis", 0);
    t = ops_made(c, OPS_NODE(c, "Gather", 1, t, OPS_INTS(c, "i", 1)));
    ops_output(c, ops_made(c, OPS_NODE(c, "Squeeze", 1, t)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 1);
    assert_int_equal(l.weight_count, 0);
}

static void test_reshape__copies_only_where_strides_fail(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(4, 6));
    fm_tensor *split = ops_made(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 4, 2, 3)));
    fm_tensor *turned = ops_made(c, OPS_NODE(c, "Transpose", 1, split));
    ops_output(c, ops_made(c, OPS_NODE(c, "Relu", 1, turned)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 1); /* Relu reads strided */
    ops_output(
        c, ops_made(c, OPS_NODE(c, "Relu", 1, ops_made(c, OPS_NODE(c, "Reshape", 1, turned, OPS_INTS(c, "s", 24))))));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 3); /* Relu, a dense copy, Relu */
}

/* Masks of exporters: GatherND with indices made of two expanded ranges is the mask itself, seen as [B, 1, 1, S]. */
static void test_gather_nd__even_indices_are_a_view(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    int64_t   pairs[2 * 3][2];
    for (int64_t b = 0; b < 2; b++)
        for (int64_t s = 0; s < 3; s++) pairs[b * 3 + s][0] = b, pairs[b * 3 + s][1] = s;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_BOOL, OPS_SHAPE(2, 3));
    fm_tensor *indices = fm_graph_constant_ints(&c->g, "indices", &OPS_SHAPE(2, 1, 1, 3, 2), &pairs[0][0]);
    fm_tensor *seen = ops_made(c, OPS_NODE(c, "GatherND", 1, mask, indices));
    ops_output(c, ops_made(c, OPS_NODE(c, "Not", 1, seen)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 1);
    assert_int_equal(l.weight_count, 0);
    pairs[1][1] = 2; /* no longer even: a gather, and the indices become a weight */
    fm_tensor *uneven = fm_graph_constant_ints(&c->g, "uneven", &OPS_SHAPE(2, 1, 1, 3, 2), &pairs[0][0]);
    ops_output(c, ops_made(c, OPS_NODE(c, "Not", 1, ops_made(c, OPS_NODE(c, "GatherND", 1, mask, uneven)))));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 3);
    assert_int_equal(l.weight_count, 1);
}

static fm_tensor *table(ops_case *c, int64_t rows, int64_t width) {
    static const float value = 0.5f;
    fm_shape           shape = OPS_SHAPE(rows, width), one = OPS_SHAPE(1);
    const fm_recipe   *leaf = fm_recipe_memory(c->arena, FLASHMEM_F32, &one, &value);
    return fm_graph_constant(&c->g, "table", fm_recipe_broadcast(c->arena, leaf, &shape));
}

static void test_gather__large_tables_are_read_by_row(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *ids = ops_input(c, "ids", FLASHMEM_I64, OPS_SHAPE(2, 5));
    ops_output(c, ops_made(c, OPS_NODE(c, "Gather", 1, table(c, 1000, 64), ids)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 1);
    assert_int_equal(l.builder.steps[0].kind, FM_STEP_GATHER_ROWS);
    assert_int_equal(l.weight_count, 1);
    assert_int_equal(l.weights[0].record.kind, FM_WEIGHT_ROWS);
    assert_int_equal(l.weights[0].record.k, 1000);
    assert_int_equal(l.weights[0].record.n, 64);
    assert_int_equal(l.builder.values[l.builder.inputs[0]].limit, 1000);
}

static void test_gather__small_tables_are_weights(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *ids = ops_input(c, "ids", FLASHMEM_I64, OPS_SHAPE(2, 5));
    ops_output(c, ops_made(c, OPS_NODE(c, "Gather", 1, table(c, 100, 16), ids)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 1);
    assert_int_equal(l.builder.steps[0].kind, FM_STEP_KERNEL);
}

static void test_many_inputs__go_in_groups(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x[20];
    for (uint32_t i = 0; i < 20; i++)
        x[i] = ops_input(c, fm_arena_printf(c->arena, "x%u", i), FLASHMEM_F32, OPS_SHAPE(4));
    ops_output(c, ops_made(c, ops_node(c, "Mean", 1, x, 20)));
    lower(c, &l);
    assert_int_equal(l.builder.step_count, 3); /* 8, 7 more, 5 more */
}

static void expect_rule(ops_case *c, fm_node *node, const char *expression, uint32_t inputs, uint32_t constants,
                        bool vector_safe) {
    fm_elementwise_rule rule;
    ops_made(c, node);
    assert_true(fm_elementwise_rule_of(&c->g, node, &rule));
    assert_string_equal(rule.expression, expression);
    assert_int_equal(rule.input_count, inputs);
    assert_int_equal(rule.constant_count, constants);
    assert_int_equal(rule.vector_safe, vector_safe);
}

static void test_rules__are_terms_over_inputs_and_constants(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(4)), *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(2, 4));
    fm_tensor *i = ops_input(c, "i", FLASHMEM_I64, OPS_SHAPE(4)), *m = ops_input(c, "m", FLASHMEM_BOOL, OPS_SHAPE(4));
    fm_tensor *half = ops_floats(c, "half", OPS_SCALAR, (float[]){ 0.5f }),
              *two = ops_floats(c, "two", OPS_SCALAR, (float[]){ 2 });
    expect_rule(c, OPS_NODE(c, "Add", 1, x, y), "(a0+a1)", 2, 0, true);
    expect_rule(c, OPS_NODE(c, "Mul", 1, x, x), "(a0*a0)", 1, 0, true);
    expect_rule(c, OPS_NODE(c, "Mul", 1, x, half), "(a0*c0)", 1, 1, true);
    expect_rule(c, OPS_NODE(c, "Sub", 1, half, x), "(c0-a0)", 1, 1, true);
    expect_rule(c, OPS_NODE(c, "Pow", 1, x, two), "(a0*a0)", 1, 0, true);
    expect_rule(c, OPS_NODE(c, "Pow", 1, x, half), "sqrt(a0)", 1, 0, true);
    expect_rule(c, OPS_NODE(c, "Add", 1, i, i), "(a0+a0)", 1, 0, false);
    expect_rule(c, OPS_NODE(c, "Max", 1, x, y, x), "fm_max(fm_max(a0,a1),a0)", 2, 0, true);
    expect_rule(c, OPS_NODE(c, "Where", 1, m, x, y), "select(a2,a1,a0!=0)", 3, 0, true);
    expect_rule(c, OPS_NODE(c, "Where", 1, m, i, i), "(a0?a1:a1)", 2, 0, false);
    ops_attr_float(c, "alpha", 0.25f);
    expect_rule(c, OPS_NODE(c, "LeakyRelu", 1, x), "fm_leaky_relu(a0,c0)", 1, 1, true);
    expect_rule(c, OPS_NODE(c, "Clip", 1, x, half, two), "fm_clip(a0,c0,c1)", 1, 2, true);
    ops_attr_int(c, "to", FLASHMEM_F32);
    expect_rule(c, OPS_NODE(c, "Cast", 1, i), "((float)a0)", 1, 0, false);
    ops_attr_text(c, "approximate", "tanh");
    expect_rule(c, OPS_NODE(c, "Gelu", 1, x), "fm_gelu_tanh(a0)", 1, 0, true);
    fm_elementwise_rule rule;
    fm_node            *softmax = OPS_NODE(c, "Softmax", 1, x);
    ops_made(c, softmax);
    assert_false(fm_elementwise_rule_of(&c->g, softmax, &rule));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_views__cost_one_copy_to_the_output),         TEST(test_reshape__copies_only_where_strides_fail),
        TEST(test_gather_nd__even_indices_are_a_view),         TEST(test_gather__large_tables_are_read_by_row),
        TEST(test_gather__small_tables_are_weights),           TEST(test_many_inputs__go_in_groups),
        TEST(test_rules__are_terms_over_inputs_and_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
