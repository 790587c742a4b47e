/* Attention written out becomes one node, and its masks what they mean; what is not provably the same stays. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

enum { S = 6, D = 4, HEADS = 2 };

static fm_tensor *operand(ops_case *c, const char *name, int64_t rows, int64_t columns) {
    return ops_input(c, name, FLASHMEM_F32, OPS_SHAPE(1, HEADS, rows, columns));
}

static fm_tensor *product(ops_case *c) {
    fm_tensor *q = operand(c, "q", S, D), *kt = operand(c, "kt", D, S);
    return OPS_BINARY(c, "MatMul", q, kt);
}

static fm_tensor *weighted(ops_case *c, fm_tensor *scores) {
    return OPS_BINARY(c, "MatMul", OPS_UNARY(c, "Softmax", scores), operand(c, "v", S, D));
}

static void finish(ops_case *c, fm_tensor *t) {
    ops_output(c, t);
    if (fm_pass_fold(&c->g, &c->err) != FLASHMEM_OK || fm_pass_attention(&c->g, &c->err) != FLASHMEM_OK ||
        fm_graph_verify(&c->g, &c->err) != FLASHMEM_OK)
        fail_msg("%s", c->err.message);
}

/* The pass makes t one attention; returns it. */
static fm_node *fused(ops_case *c, fm_tensor *t) {
    finish(c, t);
    if (!fm_is(t->producer, "fm.Attention")) fail_msg("still %s", t->producer->op_type);
    return t->producer;
}

static const fm_attention_params *plain(ops_case *c, fm_tensor *t) {
    fm_node *n = fused(c, t);
    assert_int_equal(c->g.node_count, 1);
    assert_int_equal(n->input_count, 3);
    return n->params;
}

static void stays(ops_case *c, fm_tensor *t) {
    finish(c, t);
    assert_string_equal(t->producer->op_type, "MatMul");
}

/* --- scale -------------------------------------------------------------------------------------------------------- */

static void test_scale__behind_the_product(void **state) {
    ops_case *c = *state;
    assert_float_equal(plain(c, weighted(c, OPS_BINARY(c, "Div", product(c), ops_number(c, 8))))->scale, 0.125f, 0);
}

static void test_scale__of_both_operands_and_the_scores(void **state) {
    ops_case  *c = *state;
    fm_tensor *q = OPS_BINARY(c, "Mul", operand(c, "q", S, D), ops_number(c, 0.5)),
              *kt = OPS_BINARY(c, "Mul", ops_number(c, 0.25), operand(c, "kt", D, S));
    fm_tensor *scores = OPS_BINARY(c, "Mul", OPS_BINARY(c, "MatMul", q, kt), ops_number(c, 3));
    assert_float_equal(plain(c, weighted(c, scores))->scale, 0.375f, 0);
}

static void test_keys__behind_their_transpose(void **state) {
    ops_case *c = *state;
    OPS_ATTR_INTS(c, "perm", 0, 1, 3, 2);
    fm_tensor                 *k = operand(c, "k", S, D), *kt = OPS_UNARY(c, "Transpose", k);
    fm_tensor                 *t = weighted(c, OPS_BINARY(c, "MatMul", operand(c, "q", S, D), kt));
    const fm_attention_params *p = plain(c, t);
    assert_false(p->k_transposed);
    assert_ptr_equal(t->producer->inputs[1], k);
}

/* --- constant masks ----------------------------------------------------------------------------------------------- */

/* Additive: what hides(s, t) says gets `hidden`. */
static fm_tensor *additive(ops_case *c, bool (*hides)(int s, int t), float hidden) {
    float values[S * S];
    for (int s = 0; s < S; s++)
        for (int t = 0; t < S; t++) values[s * S + t] = hides(s, t) ? hidden : 0;
    return ops_floats(c, NULL, OPS_SHAPE(1, 1, S, S), values);
}

static fm_tensor *seen(ops_case *c, bool (*hides)(int s, int t)) {
    uint8_t values[S * S];
    for (int s = 0; s < S; s++)
        for (int t = 0; t < S; t++) values[s * S + t] = !hides(s, t);
    return ops_typed(c, NULL, FLASHMEM_BOOL, OPS_SHAPE(1, 1, S, S), values);
}

static bool nothing(int s, int t) { return (void)s, (void)t, false; }
static bool later(int s, int t) { return t > s; }
static bool later_or_far(int s, int t) { return t > s || t <= s - 3; }
static bool odd(int s, int t) { return s != t && (s + t) % 2; }
static bool first_row(int s, int t) { return (void)t, s == 0; }

static void test_mask__that_hides_nothing_is_dropped(void **state) {
    ops_case *c = *state;
    assert_false(plain(c, weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, nothing, -1e9f))))->causal);
}

static void test_mask__causal(void **state) {
    ops_case                  *c = *state;
    const fm_attention_params *p = plain(c,
                                         weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, later, -FLT_MAX))));
    assert_true(p->causal);
    assert_int_equal(p->causal_offset, 0);
    assert_int_equal(p->window, 0);
}

static void test_mask__causal_by_where_and_again_added(void **state) {
    ops_case  *c = *state;
    fm_tensor *scores = ops_made(c, OPS_NODE(c, "Where", 1, seen(c, later), product(c), ops_number(c, -FLT_MAX)));
    assert_true(plain(c, weighted(c, OPS_BINARY(c, "Add", additive(c, later, -FLT_MAX), scores)))->causal);
}

static void test_mask__causal_in_a_window(void **state) {
    ops_case                  *c = *state;
    const fm_attention_params *p = plain(
        c, weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, later_or_far, -INFINITY))));
    assert_true(p->causal);
    assert_int_equal(p->window, 3);
}

static void test_mask__inverted_where(void **state) {
    ops_case *c = *state;
    uint8_t   hidden[S * S];
    for (int i = 0; i < S * S; i++) hidden[i] = later(i / S, i % S);
    fm_tensor *mask = ops_typed(c, NULL, FLASHMEM_BOOL, OPS_SHAPE(S, S), hidden);
    assert_true(
        plain(c, weighted(c, ops_made(c, OPS_NODE(c, "Where", 1, mask, ops_number(c, -1e9), product(c)))))->causal);
}

static void test_mask__of_another_pattern_stays_boolean(void **state) {
    ops_case *c = *state;
    fm_node  *n = fused(c, weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, odd, -FLT_MAX))));
    uint8_t   found[S * S];
    assert_int_equal(n->input_count, 4);
    assert_int_equal(n->inputs[3]->dtype, FLASHMEM_BOOL);
    assert_int_equal(fm_recipe_read_all(n->inputs[3]->constant, FLASHMEM_BOOL, found, &c->err), FLASHMEM_OK);
    for (int i = 0; i < S * S; i++) assert_int_equal(found[i], !odd(i / S, i % S));
}

static void test_mask__with_a_hidden_row_is_added_as_it_is(void **state) {
    ops_case *c = *state;
    fm_node  *n = fused(c, weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, first_row, -FLT_MAX))));
    assert_int_equal(n->inputs[3]->dtype, FLASHMEM_F32);
}

static void test_mask__of_small_values_is_added(void **state) {
    ops_case                  *c = *state;
    fm_node                   *n = fused(c, weighted(c, OPS_BINARY(c, "Add", product(c), additive(c, later, -2))));
    const fm_attention_params *p = n->params;
    assert_false(p->causal);
    assert_int_equal(n->inputs[3]->dtype, FLASHMEM_F32);
}

/* --- masks of the run --------------------------------------------------------------------------------------------- */

static void test_run_time_mask__is_added(void **state) {
    ops_case  *c = *state;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_F32, OPS_SHAPE(1, 1, S, S));
    fm_node   *n = fused(c, weighted(c, OPS_BINARY(c, "Add", mask, product(c))));
    assert_int_equal(n->input_count, 4);
    fm_tensor *given = n->inputs[3];
    while (given->producer) given = given->producer->inputs[0];
    assert_ptr_equal(given, mask);
}

/* A row with no visible position must come out as the graph computes it, so a causal flag may not replace the sum. */
static void test_run_time_mask__beside_a_causal_one_is_summed(void **state) {
    ops_case  *c = *state;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_F32, OPS_SHAPE(1, 1, 1, S));
    fm_tensor *scores = ops_made(c, OPS_NODE(c, "Where", 1, seen(c, later), product(c), ops_number(c, -FLT_MAX)));
    fm_node   *n = fused(c, weighted(c, OPS_BINARY(c, "Add", scores, mask)));
    const fm_attention_params *p = n->params;
    assert_false(p->causal);
    assert_string_equal(n->inputs[3]->producer->op_type, "Add");
}

static void test_run_time_condition__becomes_one_addend(void **state) {
    ops_case  *c = *state;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_BOOL, OPS_SHAPE(1, 1, S, S));
    fm_node *n = fused(c, weighted(c, ops_made(c, OPS_NODE(c, "Where", 1, mask, product(c), ops_number(c, -FLT_MAX)))));
    assert_string_equal(n->inputs[3]->producer->op_type, "Where");
}

static void test_run_time_condition__with_a_modest_value_stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_BOOL, OPS_SHAPE(1, 1, S, S));
    stays(c, weighted(c, ops_made(c, OPS_NODE(c, "Where", 1, mask, product(c), ops_number(c, -10000)))));
}

/* --- what is not attention ---------------------------------------------------------------------------------------- */

static void test_probabilities_used_elsewhere__stay(void **state) {
    ops_case  *c = *state;
    fm_tensor *p = OPS_UNARY(c, "Softmax", product(c)), *t = OPS_BINARY(c, "MatMul", p, operand(c, "v", S, D));
    p->is_output = true;
    FM_PUSH(c->arena, c->g.outputs, c->g.output_count, c->g.output_capacity) = p;
    stays(c, t);
}

static void test_softmax_over_another_axis__stays(void **state) {
    ops_case  *c = *state;
    fm_tensor *scores = product(c);
    ops_attr_int(c, "axis", 2);
    fm_tensor *p = OPS_UNARY(c, "Softmax", scores);
    stays(c, OPS_BINARY(c, "MatMul", p, operand(c, "v", S, D)));
}

static void test_where_with_a_visible_value__stays(void **state) {
    ops_case *c = *state;
    stays(c, weighted(c, ops_made(c, OPS_NODE(c, "Where", 1, seen(c, later), product(c), ops_number(c, -1)))));
}

static void test_nan_guard__is_part_of_it(void **state) {
    ops_case  *c = *state;
    fm_tensor *p = OPS_UNARY(c, "Softmax", product(c));
    fm_tensor *guarded = ops_made(c, OPS_NODE(c, "Where", 1, OPS_UNARY(c, "IsNaN", p), ops_number(c, 0), p));
    plain(c, OPS_BINARY(c, "MatMul", guarded, operand(c, "v", S, D)));
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

static fm_tensor *merged(ops_case *c, fm_tensor *t, int64_t rows, int64_t columns) {
    return OPS_BINARY(c, "Reshape", t, OPS_INTS(c, NULL, -1, rows, columns));
}

static void test_merged_heads__are_taken_apart(void **state) {
    ops_case  *c = *state;
    fm_tensor *q = ops_input(c, "q", FLASHMEM_F32, OPS_SHAPE(3, HEADS, S, D)),
              *k = ops_input(c, "k", FLASHMEM_F32, OPS_SHAPE(3, HEADS, S, D));
    fm_tensor *v = ops_input(c, "v", FLASHMEM_F32, OPS_SHAPE(3, HEADS, S, D)), *k3 = merged(c, k, S, D);
    OPS_ATTR_INTS(c, "perm", 0, 2, 1);
    fm_tensor *kt = OPS_UNARY(c, "Transpose", k3), *scores = OPS_BINARY(c, "MatMul", merged(c, q, S, D), kt);
    fm_tensor *t = OPS_BINARY(c, "MatMul", OPS_UNARY(c, "Softmax", scores), merged(c, v, S, D));
    fm_tensor *out = OPS_BINARY(c, "Reshape", t, OPS_INTS(c, NULL, 3, HEADS, S, D));
    fm_node   *n = fused(c, out);
    assert_int_equal(c->g.node_count, 1);
    assert_ptr_equal(n->inputs[0], q);
    assert_ptr_equal(n->inputs[1], k);
    assert_ptr_equal(n->inputs[2], v);
}

static fm_tensor *repeated(ops_case *c, fm_tensor *t) {
    t = OPS_BINARY(c, "Unsqueeze", t, OPS_INTS(c, NULL, 2));
    t = OPS_BINARY(c, "Expand", t, OPS_INTS(c, NULL, 1, 2, 3, S, D));
    return OPS_BINARY(c, "Reshape", t, OPS_INTS(c, NULL, 1, 6, S, D));
}

static void test_repeated_heads__are_read_once(void **state) {
    ops_case  *c = *state;
    fm_tensor *q = ops_input(c, "q", FLASHMEM_F32, OPS_SHAPE(1, 6, S, D)), *k = operand(c, "k", S, D),
              *v = operand(c, "v", S, D);
    fm_tensor *keys = repeated(c, k), *values = repeated(c, v);
    OPS_ATTR_INTS(c, "perm", 0, 1, 3, 2);
    fm_tensor *scores = OPS_BINARY(c, "MatMul", q, OPS_UNARY(c, "Transpose", keys));
    fm_tensor *t = OPS_BINARY(c, "MatMul", OPS_UNARY(c, "Softmax", scores), values);
    plain(c, t);
    assert_ptr_equal(t->producer->inputs[1], k);
    assert_ptr_equal(t->producer->inputs[2], v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ops_setup, ops_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_scale__behind_the_product),
        TEST(test_scale__of_both_operands_and_the_scores),
        TEST(test_keys__behind_their_transpose),
        TEST(test_mask__that_hides_nothing_is_dropped),
        TEST(test_mask__causal),
        TEST(test_mask__causal_by_where_and_again_added),
        TEST(test_mask__causal_in_a_window),
        TEST(test_mask__inverted_where),
        TEST(test_mask__of_another_pattern_stays_boolean),
        TEST(test_mask__with_a_hidden_row_is_added_as_it_is),
        TEST(test_mask__of_small_values_is_added),
        TEST(test_run_time_mask__is_added),
        TEST(test_run_time_mask__beside_a_causal_one_is_summed),
        TEST(test_run_time_condition__becomes_one_addend),
        TEST(test_run_time_condition__with_a_modest_value_stays),
        TEST(test_probabilities_used_elsewhere__stay),
        TEST(test_softmax_over_another_axis__stays),
        TEST(test_where_with_a_visible_value__stays),
        TEST(test_nan_guard__is_part_of_it),
        TEST(test_merged_heads__are_taken_apart),
        TEST(test_repeated_heads__are_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
