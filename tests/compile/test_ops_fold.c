/* Host evaluation: the arithmetic of each element type, chains of shape arithmetic, and its limits. */
#include <math.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

static fm_tensor *int32s(ops_case *c, int32_t a, int32_t b) {
    return ops_typed(c, NULL, FLASHMEM_I32, OPS_SHAPE(2), (int32_t[]){ a, b });
}

static void test_integers__wrap_and_truncate(void **state) {
    ops_case *c = *state;
    OPS_FOLDS_TO(c, OPS_NODE(c, "Add", 1, int32s(c, INT32_MAX, -7), int32s(c, 1, 3)), INT32_MIN, -4);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Mul", 1, int32s(c, 1 << 30, 3), int32s(c, 4, -5)), 0, -15);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Div", 1, int32s(c, -7, INT32_MIN), int32s(c, 2, -1)), -3, INT32_MIN);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Div", 1, OPS_INTS(c, "a", -7, INT64_MIN, 5), OPS_INTS(c, "b", 2, -1, 0)), -3,
                 INT64_MIN, 0);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Mod", 1, OPS_INTS(c, "a", -7, 7, INT64_MIN), OPS_INTS(c, "b", 3, -3, -1)), 2, -2, 0);
    ops_attr_int(c, "fmod", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Mod", 1, OPS_INTS(c, "a", -7, 7), OPS_INTS(c, "b", 3, -3)), -1, 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Neg", 1, int32s(c, INT32_MIN, 4)), INT32_MIN, -4);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Pow", 1, OPS_INTS(c, "a", 3, -2, 5), OPS_INTS(c, "b", 4, 3, -1)), 81, -8, 0);
    fm_tensor *u = ops_typed(c, "u", FLASHMEM_U8, OPS_SHAPE(2), (uint8_t[]){ 250, 3 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "Add", 1, u, u), 244, 6);
    fm_tensor *l = ops_typed(c, "l", FLASHMEM_U64, OPS_SHAPE(2), (uint64_t[]){ UINT64_MAX, 7 });
    fm_tensor *m = ops_typed(c, "m", FLASHMEM_U64, OPS_SHAPE(2), (uint64_t[]){ 2, 9 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "Less", 1, l, m), 0, 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Div", 1, l, m), INT64_MAX, 0);
}

static void test_floats__round_to_their_type(void **state) {
    ops_case  *c = *state;
    fm_tensor *a = ops_floats(c, "a", OPS_SHAPE(3), (float[]){ 16777216.0f, 0.1f, -1.5f });
    fm_tensor *b = ops_floats(c, "b", OPS_SHAPE(3), (float[]){ 1.0f, 0.2f, 0.0f });
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Add", 1, a, b), 16777216.0, 0.1f + 0.2f, -1.5);
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Div", 1, a, b), 16777216.0, 0.5, -INFINITY);
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Sqrt", 1, a), 4096, sqrt(0.1f), NAN);
    fm_tensor *h = ops_typed(c, "h", FLASHMEM_F16, OPS_SHAPE(2), (uint16_t[]){ 0x6800, 0x3c00 }); /* 2048, 1 */
    fm_tensor *one = ops_typed(c, "one", FLASHMEM_F16, OPS_SCALAR, (uint16_t[]){ 0x3c00 });
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Add", 1, h, one), 2048, 2); /* 2049 is no half */
    fm_tensor *nan = ops_floats(c, "nan", OPS_SHAPE(2), (float[]){ NAN, 1 });
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Max", 1, nan, nan), NAN, 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "IsNaN", 1, nan), 1, 0);
    OPS_FOLDS_TO_FLOATS(c,
                        OPS_NODE(c, "Round", 1, ops_floats(c, "r", OPS_SHAPE(4), (float[]){ 0.5f, 1.5f, 2.5f, -0.5f })),
                        0, 2, 2, -0.0);
}

static void test_cast__as_the_standard(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_floats(c, "x", OPS_SHAPE(4), (float[]){ -1.9f, 0.0f, 300.5f, 0.25f });
    ops_attr_int(c, "to", FLASHMEM_I64);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Cast", 1, x), -1, 0, 300, 0);
    ops_attr_int(c, "to", FLASHMEM_BOOL);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Cast", 1, x), 1, 0, 1, 1);
    ops_attr_int(c, "to", FLASHMEM_F32);
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "Cast", 1, OPS_INTS(c, "i", 3, -4)), 3, -4);
    fm_tensor *like = ops_input(c, "like", FLASHMEM_I32, OPS_SHAPE(9)); /* only its type matters */
    OPS_FOLDS_TO(c, OPS_NODE(c, "CastLike", 1, x, like), -1, 0, 300, 0);
}

static void test_select_and_broadcast(void **state) {
    ops_case  *c = *state;
    fm_tensor *mask = ops_typed(c, "mask", FLASHMEM_BOOL, OPS_SHAPE(2, 1), (uint8_t[]){ 1, 0 });
    fm_tensor *a = OPS_INTS(c, "a", 1, 2, 3), *b = fm_graph_constant_ints(&c->g, "b", &OPS_SCALAR, (int64_t[]){ -9 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "Where", 1, mask, a, b), 1, 2, 3, -9, -9, -9);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Equal", 1, mask, mask), 1, 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Xor", 1, mask, mask), 0, 0);
    fm_tensor *low = fm_graph_constant_ints(&c->g, "low", &OPS_SCALAR, (int64_t[]){ 2 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "Clip", 1, a, low), 2, 2, 3);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Clip", 1, a, NULL, low), 1, 2, 2);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Expand", 1, a, OPS_INTS(c, "s", 2, 3)), 1, 2, 3, 1, 2, 3);
}

static void test_views__fold_to_the_right_elements(void **state) {
    ops_case  *c = *state;
    fm_tensor *flat = OPS_INTS(c, "flat", 0, 1, 2, 3, 4, 5);
    fm_node   *m = OPS_NODE(c, "Reshape", 1, flat, OPS_INTS(c, "s", 2, 3));
    OPS_FOLDS_TO(c, m, 0, 1, 2, 3, 4, 5);
    fm_tensor *x = m->outputs[0];
    OPS_FOLDS_TO(c, OPS_NODE(c, "Transpose", 1, x), 0, 3, 1, 4, 2, 5);
    OPS_FOLDS_TO(c,
                 OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", -1), OPS_INTS(c, "e", INT64_MIN), OPS_INTS(c, "a", 1),
                          OPS_INTS(c, "t", -2)),
                 2, 0, 5, 3);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Tile", 1, x, OPS_INTS(c, "r", 1, 2)), 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5);
    ops_attr_int(c, "axis", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Concat", 1, x, x), 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5);
    ops_attr_int(c, "axis", 1);
    fm_node *split = OPS_NODE(c, "Split", 2, x, OPS_INTS(c, "s", 1, 2));
    ops_expect_ints(c, split, 1, (int64_t[]){ 1, 2, 4, 5 }, 4);
    ops_attr_text(c, "mode", "reflect");
    OPS_FOLDS_TO(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", 0, 2, 0, 1)), 2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4);
    ops_attr_int(c, "upper", 0);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Trilu", 1, x), 0, 0, 0, 3, 4, 0);
}

/* What TorchScript exports for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape. */
static void test_shape_chain__folds_from_shapes_alone(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 4, 5));
    fm_node   *shape = OPS_NODE(c, "Shape", 1, x);
    OPS_FOLDS_TO(c, shape, 3, 4, 5);
    fm_tensor *zero = fm_graph_constant_ints(&c->g, "zero", &OPS_SCALAR, (int64_t[]){ 0 });
    fm_node   *first = OPS_NODE(c, "Gather", 1, shape->outputs[0], zero);
    OPS_FOLDS_TO(c, first, 3);
    fm_node *list = OPS_NODE(c, "Unsqueeze", 1, first->outputs[0], OPS_INTS(c, "a", 0));
    OPS_FOLDS_TO(c, list, 3);
    ops_attr_int(c, "axis", 0);
    fm_node *both = OPS_NODE(c, "Concat", 1, list->outputs[0], OPS_INTS(c, "rest", -1));
    OPS_FOLDS_TO(c, both, 3, -1);
    ops_expect(c, OPS_NODE(c, "Reshape", 1, x, both->outputs[0]), 0, FLASHMEM_F32, OPS_SHAPE(3, 20));
    ops_attr_int(c, "start", -2);
    ops_attr_int(c, "end", 9);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Shape", 1, x), 4, 5);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Size", 1, x), 60);
}

static void test_generators(void **state) {
    ops_case  *c = *state;
    fm_tensor *at[3];
    int64_t    range[3] = { 7, 0, -3 };
    for (uint32_t i = 0; i < 3; i++) at[i] = fm_graph_constant_ints(&c->g, NULL, &OPS_SCALAR, &range[i]);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Range", 1, at[0], at[1], at[2]), 7, 4, 1);
    ops_expect(c, OPS_NODE(c, "Range", 1, at[1], at[2], at[0]), 0, FLASHMEM_I64, OPS_SHAPE(0));
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "ConstantOfShape", 1, OPS_INTS(c, "s", 2, 1)), 0, 0);
    OPS_FOLDS_TO(
        c, OPS_NODE(c, "NonZero", 1, ops_typed(c, "b", FLASHMEM_BOOL, OPS_SHAPE(2, 2), (uint8_t[]){ 0, 1, 1, 1 })), 0,
        1, 1, 1, 0, 1);
    fm_tensor *ids = OPS_INTS(c, "ids", 1, 0, -1), *on_off = OPS_INTS(c, "v", 5, 9);
    fm_tensor *depth = fm_graph_constant_ints(&c->g, "depth", &OPS_SCALAR, (int64_t[]){ 2 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "OneHot", 1, ids, depth, on_off), 5, 9, 9, 5, 5, 9);
    ops_attr_int(c, "k", 1);
    ops_attr_int(c, "dtype", FLASHMEM_I32);
    OPS_FOLDS_TO(c, OPS_NODE(c, "EyeLike", 1, ops_input(c, "e", FLASHMEM_F32, OPS_SHAPE(2, 3))), 0, 1, 0, 0, 0, 1);
}

static void test_indexing(void **state) {
    ops_case  *c = *state;
    fm_node   *m = OPS_NODE(c, "Reshape", 1, OPS_INTS(c, "flat", 10, 11, 12, 13, 14, 15), OPS_INTS(c, "s", 3, 2));
    fm_tensor *ids = OPS_INTS(c, "ids", 2, 0, -1);
    OPS_FOLDS_TO(c, m, 10, 11, 12, 13, 14, 15);
    fm_tensor *x = m->outputs[0];
    OPS_FOLDS_TO(c, OPS_NODE(c, "Gather", 1, x, ids), 14, 15, 10, 11, 14, 15);
    ops_attr_int(c, "axis", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "Gather", 1, x, OPS_INTS(c, "one", -1)), 11, 13, 15);
    fm_tensor *pairs = fm_graph_constant_ints(&c->g, "pairs", &OPS_SHAPE(2, 2), (int64_t[]){ 2, 1, 0, -1 });
    OPS_FOLDS_TO(c, OPS_NODE(c, "GatherND", 1, x, pairs), 15, 11);
    fm_tensor *updates = OPS_INTS(c, "u", 7, 8);
    OPS_FOLDS_TO(c, OPS_NODE(c, "ScatterND", 1, x, pairs, updates), 10, 8, 12, 13, 14, 7);
    ops_refused(c, OPS_NODE(c, "Gather", 1, x, OPS_INTS(c, "far", 0, 3)), FLASHMEM_BAD_MODEL, "index 3", "'far'",
                "of 3", NULL);
    ops_refused(c, OPS_NODE(c, "Gather", 1, x, OPS_INTS(c, "far", -4)), FLASHMEM_BAD_MODEL, "index -4", NULL);
    fm_tensor *outside = fm_graph_constant_ints(&c->g, "outside", &OPS_SHAPE(1, 1), (int64_t[]){ 5 });
    ops_refused(c, OPS_NODE(c, "GatherND", 1, x, outside), FLASHMEM_BAD_MODEL, "index 5", "'outside'", NULL);
}

static void test_reductions(void **state) {
    ops_case *c = *state;
    fm_node  *m = OPS_NODE(c, "Reshape", 1, OPS_INTS(c, "flat", 3, 1, 3, -7, 5, 2), OPS_INTS(c, "s", 2, 3));
    OPS_FOLDS_TO(c, m, 3, 1, 3, -7, 5, 2);
    fm_tensor *x = m->outputs[0];
    OPS_FOLDS_TO(c, OPS_NODE(c, "ReduceSum", 1, x, OPS_INTS(c, "a", 1)), 7, 0);
    OPS_FOLDS_TO(c, OPS_NODE(c, "ReduceMin", 1, x, OPS_INTS(c, "a", 0)), -7, 1, 2);
    OPS_FOLDS_TO(c, OPS_NODE(c, "ReduceProd", 1, x), 630 * -1);
    ops_attr_int(c, "axis", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "ArgMax", 1, x), 0, 1);
    ops_attr_int(c, "axis", 1);
    ops_attr_int(c, "select_last_index", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "ArgMax", 1, x), 2, 1);
    fm_tensor *axis = fm_graph_constant_ints(&c->g, "axis", &OPS_SCALAR, (int64_t[]){ 1 });
    ops_attr_int(c, "reverse", 1);
    ops_attr_int(c, "exclusive", 1);
    OPS_FOLDS_TO(c, OPS_NODE(c, "CumSum", 1, x, axis), 4, 3, 0, 7, 2, 0);
    fm_node *top = OPS_NODE(c, "TopK", 2, x, OPS_INTS(c, "k", 2));
    OPS_FOLDS_TO(c, top, 3, 3, 5, 2);
    ops_expect_ints(c, top, 1, (int64_t[]){ 0, 2, 1, 2 }, 4);
    fm_tensor *f = ops_floats(c, "f", OPS_SHAPE(3), (float[]){ 1000, 1000, -INFINITY });
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "ReduceLogSumExp", 1, f), 1000 + log(2));
    OPS_FOLDS_TO_FLOATS(c, OPS_NODE(c, "ReduceMean", 1, ops_floats(c, "g", OPS_SHAPE(4), (float[]){ 1, 2, 3, 5 })),
                        2.75);
}

/* Large weights stay recipes; what would have to be evaluated above the limit stays a node. */
static void test_limit__large_constants_are_not_evaluated(void **state) {
    ops_case          *c = *state;
    static const float one = 1;
    const fm_recipe   *leaf = fm_recipe_memory(c->arena, FLASHMEM_F32, &OPS_SCALAR, &one);
    fm_tensor         *w = fm_graph_constant(&c->g, "w", fm_recipe_broadcast(c->arena, leaf, &OPS_SHAPE(4096, 4096)));
    size_t             before = fm_arena_bytes(c->arena);
    const char        *recipes[] = { "Transpose", "Identity" };
    for (size_t i = 0; i < 2; i++) {
        fm_node *node = OPS_NODE(c, recipes[i], 1, w);
        ops_expect(c, node, 0, FLASHMEM_F32, OPS_SHAPE(4096, 4096));
        assert_non_null(node->outputs[0]->constant);
    }
    ops_attr_int(c, "to", FLASHMEM_F16);
    fm_node *cast = OPS_NODE(c, "Cast", 1, w);
    ops_expect(c, cast, 0, FLASHMEM_F16, OPS_SHAPE(4096, 4096));
    assert_int_equal(cast->outputs[0]->constant->kind, FM_RECIPE_CAST);
    fm_node *scaled = OPS_NODE(c, "Mul", 1, ops_floats(c, "k", OPS_SCALAR, (float[]){ 0.125f }), w);
    ops_expect(c, scaled, 0, FLASHMEM_F32, OPS_SHAPE(4096, 4096));
    assert_int_equal(scaled->outputs[0]->constant->kind, FM_RECIPE_SCALE);
    fm_node *node = OPS_NODE(c, "Exp", 1, w);
    ops_expect(c, node, 0, FLASHMEM_F32, OPS_SHAPE(4096, 4096));
    assert_null(node->outputs[0]->constant);
    node = OPS_NODE(c, "Slice", 1, w, OPS_INTS(c, "b", 5, 6), OPS_INTS(c, "e", 6, 8));
    OPS_FOLDS_TO_FLOATS(c, node, 1, 1);
    assert_true(fm_arena_bytes(c->arena) - before < FM_FOLD_LIMIT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_integers__wrap_and_truncate),
        TEST(test_floats__round_to_their_type),
        TEST(test_cast__as_the_standard),
        TEST(test_select_and_broadcast),
        TEST(test_views__fold_to_the_right_elements),
        TEST(test_shape_chain__folds_from_shapes_alone),
        TEST(test_generators),
        TEST(test_indexing),
        TEST(test_reductions),
        TEST(test_limit__large_constants_are_not_evaluated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
