/* Shapes, types and refusals of the operators of compile/ops; each group has its cases beside each other. */
#include <limits.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

/* --- registry and checks of every node ---------------------------------------------------------------------------- */

static void test_find__knows_names_and_domains(void **state) {
    (void)state;
    assert_string_equal(fm_op_find("Gather", "")->name, "Gather");
    assert_ptr_equal(fm_op_find("Gather", "ai.onnx"), fm_op_find("Gather", ""));
    assert_ptr_equal(fm_op_find("Gather", NULL), fm_op_find("Gather", ""));
    assert_null(fm_op_find("Gather", "com.example"));
    assert_null(fm_op_find("gather", ""));
    assert_null(fm_op_find("fm.Elementwise", ""));
}

static void test_check__counts_and_kinds(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3));
    ops_refused(c, OPS_NODE(c, "Add", 1, x), FLASHMEM_BAD_MODEL, "node 'node' (Add)", "input 1 is missing", NULL);
    ops_refused(c, OPS_NODE(c, "Add", 1, x, NULL), FLASHMEM_BAD_MODEL, "input 1 is missing", NULL);
    ops_refused(c, OPS_NODE(c, "Add", 1, x, x, x), FLASHMEM_BAD_MODEL, "3 inputs, expected at most 2", NULL);
    ops_refused(c, OPS_NODE(c, "Relu", 2, x), FLASHMEM_BAD_MODEL, "2 outputs, expected at most 1", NULL);
    ops_attr_text(c, "axis", "1");
    ops_refused(c, OPS_NODE(c, "Concat", 1, x, x), FLASHMEM_BAD_MODEL, "'axis'", "string", "expected int", NULL);
    c->opset = 12;
    ops_refused(c, OPS_NODE(c, "Mish", 1, x), FLASHMEM_UNSUPPORTED, "opset 12", "18", NULL);
}

static void test_check__untyped_and_enormous_tensors(void **state) {
    ops_case  *c = *state;
    fm_tensor *unknown = fm_graph_tensor(&c->g, "unknown");
    ops_refused(c, OPS_NODE(c, "Relu", 1, unknown), FLASHMEM_BAD_MODEL, "'unknown' is not known", NULL);
    fm_tensor *large = ops_input(c, "large", FLASHMEM_F32, OPS_SHAPE(INT64_MAX / 2, 4));
    ops_refused(c, OPS_NODE(c, "Relu", 1, large), FLASHMEM_BAD_MODEL, "'large'", "no memory holds", NULL);
    fm_tensor *hidden = ops_input(c, "hidden", FLASHMEM_F32,
                                  OPS_SHAPE(0, INT64_MAX, 4)); /* no elements, huge products */
    ops_refused(c, OPS_NODE(c, "Relu", 1, hidden), FLASHMEM_BAD_MODEL, "'hidden'", NULL);
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1 << 20, 1 << 20));
    ops_refused(c, OPS_NODE(c, "Tile", 1, x, OPS_INTS(c, "r", 1 << 20, 1 << 20)), FLASHMEM_BAD_MODEL, "'out0'", NULL);
    ops_refused(c, OPS_NODE(c, "Tile", 1, x, OPS_INTS(c, "r", INT64_MAX, 1)), FLASHMEM_BAD_MODEL, "axis 0", NULL);
}

/* --- elementwise -------------------------------------------------------------------------------------------------- */

static void test_elementwise__types_and_broadcasting(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 1, 4)),
              *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(3, 1));
    fm_tensor *h = ops_input(c, "h", FLASHMEM_F16, OPS_SHAPE(4)), *i = ops_input(c, "i", FLASHMEM_I64, OPS_SHAPE(4));
    fm_tensor *b = ops_input(c, "b", FLASHMEM_BOOL, OPS_SCALAR);
    ops_expect(c, OPS_NODE(c, "Add", 1, x, y), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 4));
    ops_expect(c, OPS_NODE(c, "Less", 1, y, x), 0, FLASHMEM_BOOL, OPS_SHAPE(2, 3, 4));
    ops_expect(c, OPS_NODE(c, "Max", 1, x, y, x), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 4));
    ops_expect(c, OPS_NODE(c, "Where", 1, b, x, y), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 4));
    ops_expect(c, OPS_NODE(c, "Pow", 1, h, i), 0, FLASHMEM_F16, OPS_SHAPE(4));
    ops_expect(c, OPS_NODE(c, "IsNaN", 1, h), 0, FLASHMEM_BOOL, OPS_SHAPE(4));
    ops_attr_int(c, "to", FLASHMEM_I32);
    ops_expect(c, OPS_NODE(c, "Cast", 1, x), 0, FLASHMEM_I32, OPS_SHAPE(2, 1, 4));
    ops_refused(c, OPS_NODE(c, "Add", 1, x, h), FLASHMEM_BAD_MODEL, "'h' is float16", "expected float32", NULL);
    ops_refused(c, OPS_NODE(c, "Add", 1, i, b), FLASHMEM_BAD_MODEL, "'b' is bool", NULL);
    ops_refused(c, OPS_NODE(c, "And", 1, i, i), FLASHMEM_BAD_MODEL, "'i' is int64", "bool", NULL);
    ops_refused(c, OPS_NODE(c, "Exp", 1, i), FLASHMEM_BAD_MODEL, "'i' is int64", "float32", NULL);
    ops_refused(c, OPS_NODE(c, "Where", 1, i, x, x), FLASHMEM_BAD_MODEL, "'i' is int64", NULL);
    fm_tensor *z = ops_input(c, "z", FLASHMEM_F32, OPS_SHAPE(5));
    ops_refused(c, OPS_NODE(c, "Mul", 1, x, z), FLASHMEM_BAD_MODEL, "'z' of shape 5", "2x1x4", NULL);
    ops_refused(c, OPS_NODE(c, "PRelu", 1, z, y), FLASHMEM_BAD_MODEL, "slope", NULL);
    ops_attr_text(c, "approximate", "erf");
    ops_refused(c, OPS_NODE(c, "Gelu", 1, x), FLASHMEM_BAD_MODEL, "'erf'", NULL);
    ops_attr_int(c, "to", 77);
    ops_refused(c, OPS_NODE(c, "Cast", 1, x), FLASHMEM_UNSUPPORTED, "77", NULL);
    ops_refused(c, OPS_NODE(c, "Cast", 1, x), FLASHMEM_BAD_MODEL, "'to' is missing", NULL);
    ops_refused(c, OPS_NODE(c, "Clip", 1, z, x), FLASHMEM_BAD_MODEL, "'x'", "0 dims", NULL);
}

/* --- views -------------------------------------------------------------------------------------------------------- */

static void test_reshape__zero_minus_one_and_refusals(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3, 4)),
              *e = ops_input(c, "e", FLASHMEM_F32, OPS_SHAPE(0, 3));
    ops_expect(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 0, -1)), 0, FLASHMEM_F32, OPS_SHAPE(2, 12));
    ops_expect(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 4, 1, 6)), 0, FLASHMEM_F32, OPS_SHAPE(4, 1, 6));
    ops_attr_int(c, "allowzero", 1);
    ops_expect(c, OPS_NODE(c, "Reshape", 1, e, OPS_INTS(c, "s", 5, 0)), 0, FLASHMEM_F32, OPS_SHAPE(5, 0));
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 5, -1)), FLASHMEM_BAD_MODEL, "'x' of shape 2x3x4",
                "24", NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 5, 5)), FLASHMEM_BAD_MODEL, "5x5", NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", -1, -1)), FLASHMEM_BAD_MODEL, "more than one -1",
                NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", -2, 12)), FLASHMEM_BAD_MODEL, "-2", NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 1, 1, 1, 0)), FLASHMEM_BAD_MODEL, "entry 3", NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", INT64_MAX, INT64_MAX)), FLASHMEM_BAD_MODEL, "'x'",
                NULL);
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, OPS_INTS(c, "s", 1, 1, 1, 1, 1, 1, 1, 1, 24)), FLASHMEM_BAD_MODEL,
                "'s'", NULL);
    fm_tensor *late = ops_input(c, "late", FLASHMEM_I64, OPS_SHAPE(2));
    ops_refused(c, OPS_NODE(c, "Reshape", 1, x, late), FLASHMEM_UNSUPPORTED, "'late'", "run time", NULL);
}

static void test_squeeze__by_attribute_and_input(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_I64, OPS_SHAPE(1, 3, 1));
    ops_expect(c, OPS_NODE(c, "Squeeze", 1, x), 0, FLASHMEM_I64, OPS_SHAPE(3));
    ops_expect(c, OPS_NODE(c, "Squeeze", 1, x, OPS_INTS(c, "a", -1)), 0, FLASHMEM_I64, OPS_SHAPE(1, 3));
    ops_expect(c, OPS_NODE(c, "Unsqueeze", 1, x, OPS_INTS(c, "a", 0, -1)), 0, FLASHMEM_I64, OPS_SHAPE(1, 1, 3, 1, 1));
    ops_refused(c, OPS_NODE(c, "Squeeze", 1, x, OPS_INTS(c, "a", 1)), FLASHMEM_BAD_MODEL, "axis 1", "3 elements", NULL);
    ops_refused(c, OPS_NODE(c, "Squeeze", 1, x, OPS_INTS(c, "a", 3)), FLASHMEM_BAD_MODEL, "axis 3", NULL);
    ops_refused(c, OPS_NODE(c, "Unsqueeze", 1, x, OPS_INTS(c, "a", 0, 0)), FLASHMEM_BAD_MODEL, "twice", NULL);
    ops_refused(c, OPS_NODE(c, "Unsqueeze", 1, x), FLASHMEM_BAD_MODEL, "input 1 is missing", NULL);
    ops_refused(c, OPS_NODE(c, "Unsqueeze", 1, x, OPS_INTS(c, "a", 0, 1, 2, 3, 4, 5)), FLASHMEM_UNSUPPORTED, "9 dims",
                NULL);
    c->opset = 11;
    OPS_ATTR_INTS(c, "axes", 2, 0);
    ops_expect(c, OPS_NODE(c, "Squeeze", 1, x), 0, FLASHMEM_I64, OPS_SHAPE(3));
    OPS_ATTR_INTS(c, "axes", 1);
    ops_expect(c, OPS_NODE(c, "Unsqueeze", 1, x), 0, FLASHMEM_I64, OPS_SHAPE(1, 1, 3, 1));
}

static void test_transpose_expand_flatten(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3, 4)),
              *o = ops_input(c, "o", FLASHMEM_F32, OPS_SHAPE(3, 1));
    ops_expect(c, OPS_NODE(c, "Transpose", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(4, 3, 2));
    OPS_ATTR_INTS(c, "perm", 1, 2, 0);
    ops_expect(c, OPS_NODE(c, "Transpose", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(3, 4, 2));
    OPS_ATTR_INTS(c, "perm", 1, 1, 0);
    ops_refused(c, OPS_NODE(c, "Transpose", 1, x), FLASHMEM_BAD_MODEL, "axis 1 twice", NULL);
    OPS_ATTR_INTS(c, "perm", 0, 1);
    ops_refused(c, OPS_NODE(c, "Transpose", 1, x), FLASHMEM_BAD_MODEL, "2 entries", "expected 3", NULL);
    ops_expect(c, OPS_NODE(c, "Expand", 1, o, OPS_INTS(c, "s", 2, 1, 6)), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 6));
    ops_expect(c, OPS_NODE(c, "Expand", 1, o, OPS_INTS(c, "s", 1)), 0, FLASHMEM_F32, OPS_SHAPE(3, 1));
    ops_refused(c, OPS_NODE(c, "Expand", 1, o, OPS_INTS(c, "s", 2, 5)), FLASHMEM_BAD_MODEL, "3x1", "2x5", NULL);
    ops_attr_int(c, "axis", -1);
    ops_expect(c, OPS_NODE(c, "Flatten", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(6, 4));
    ops_attr_int(c, "axis", 0);
    ops_expect(c, OPS_NODE(c, "Flatten", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(1, 24));
    ops_attr_int(c, "axis", 4);
    ops_refused(c, OPS_NODE(c, "Flatten", 1, x), FLASHMEM_BAD_MODEL, "axis 4", NULL);
}

/* Lengths as numpy's x[start:end:step] of 10 elements. */
static void test_slice__lengths_as_numpy(void **state) {
    static const struct {
        int64_t start, end, step, length;
    } rows[] = { { 0, INT64_MAX, 1, 10 },
                 { 2, 5, 1, 3 },
                 { -3, INT64_MAX, 1, 3 },
                 { -100, 4, 1, 4 },
                 { 5, 2, 1, 0 },
                 { 1, 10, 4, 3 },
                 { 9, INT64_MIN, -1, 10 },
                 { 100, -100, -3, 4 },
                 { 4, -11, -1, 5 },
                 { -1, 0, -1, 9 },
                 { INT64_MIN, INT64_MAX, INT64_MAX, 1 },
                 { 9, 0, INT64_MIN, 1 },
                 { 12, 20, 1, 0 },
                 { 0, -10, 1, 0 },
                 { 3, 3, -1, 0 } };
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 10));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ops_expect(c,
                   OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", rows[i].start), OPS_INTS(c, "e", rows[i].end),
                            OPS_INTS(c, "a", -1), OPS_INTS(c, "s", rows[i].step)),
                   0, FLASHMEM_F32, OPS_SHAPE(2, rows[i].length));
    ops_expect(c, OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", 1), OPS_INTS(c, "e", 2)), 0, FLASHMEM_F32,
               OPS_SHAPE(1, 10));
    ops_refused(
        c,
        OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", 1), OPS_INTS(c, "e", 2), OPS_INTS(c, "a", 0), OPS_INTS(c, "s", 0)),
        FLASHMEM_BAD_MODEL, "step of axis 0", NULL);
    ops_refused(c, OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", 1), OPS_INTS(c, "e", 2, 3)), FLASHMEM_BAD_MODEL,
                "2 ends", NULL);
    ops_refused(c, OPS_NODE(c, "Slice", 1, x, OPS_INTS(c, "b", 1, 1), OPS_INTS(c, "e", 2, 3), OPS_INTS(c, "a", 1, -1)),
                FLASHMEM_BAD_MODEL, "twice", NULL);
    c->opset = 9;
    OPS_ATTR_INTS(c, "starts", 1, 0);
    OPS_ATTR_INTS(c, "ends", 2, -1);
    ops_expect(c, OPS_NODE(c, "Slice", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(1, 9));
}

static void test_split__sizes(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(7, 6));
    ops_attr_int(c, "axis", 1);
    ops_expect(c, OPS_NODE(c, "Split", 3, x), 2, FLASHMEM_F32, OPS_SHAPE(7, 2));
    ops_attr_int(c, "num_outputs", 3);
    ops_expect(c, OPS_NODE(c, "Split", 3, x), 2, FLASHMEM_F32, OPS_SHAPE(1, 6)); /* 3, 3, 1 */
    ops_expect(c, OPS_NODE(c, "Split", 2, x, OPS_INTS(c, "s", 5, 2)), 1, FLASHMEM_F32, OPS_SHAPE(2, 6));
    ops_refused(c, OPS_NODE(c, "Split", 2, x, OPS_INTS(c, "s", 5, 1)), FLASHMEM_BAD_MODEL, "6 elements in all", "7",
                NULL);
    ops_refused(c, OPS_NODE(c, "Split", 2, x, OPS_INTS(c, "s", 8, -1)), FLASHMEM_BAD_MODEL, "part 0 has 8", NULL);
    ops_refused(c, OPS_NODE(c, "Split", 2, x, OPS_INTS(c, "s", 7)), FLASHMEM_BAD_MODEL, "1 sizes for 2 outputs", NULL);
    ops_attr_int(c, "num_outputs", 4);
    ops_refused(c, OPS_NODE(c, "Split", 3, x), FLASHMEM_BAD_MODEL, "num_outputs is 4", NULL);
    c->opset = 13;
    ops_refused(c, OPS_NODE(c, "Split", 2, x), FLASHMEM_BAD_MODEL, "not a multiple of 2", NULL);
    c->opset = 11;
    OPS_ATTR_INTS(c, "split", 3, 4);
    ops_expect(c, OPS_NODE(c, "Split", 2, x), 1, FLASHMEM_F32, OPS_SHAPE(4, 6));
}

static void test_concat_tile_pad(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3)),
              *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(2, 5));
    fm_tensor *i = ops_input(c, "i", FLASHMEM_I64, OPS_SHAPE(2, 3));
    ops_attr_int(c, "axis", -1);
    ops_expect(c, OPS_NODE(c, "Concat", 1, x, y, x), 0, FLASHMEM_F32, OPS_SHAPE(2, 11));
    ops_attr_int(c, "axis", 0);
    ops_refused(c, OPS_NODE(c, "Concat", 1, x, y), FLASHMEM_BAD_MODEL, "'y' of shape 2x5", "axis 0", NULL);
    ops_attr_int(c, "axis", 0);
    ops_refused(c, OPS_NODE(c, "Concat", 1, x, i), FLASHMEM_BAD_MODEL, "'i' is int64", NULL);
    ops_refused(c, OPS_NODE(c, "Concat", 1, x, y), FLASHMEM_BAD_MODEL, "'axis' is missing", NULL);
    ops_expect(c, OPS_NODE(c, "Tile", 1, x, OPS_INTS(c, "r", 3, 2)), 0, FLASHMEM_F32, OPS_SHAPE(6, 6));
    ops_refused(c, OPS_NODE(c, "Tile", 1, x, OPS_INTS(c, "r", 3)), FLASHMEM_BAD_MODEL, "1 repeats", NULL);
    ops_expect(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", 1, 0, 2, -1)), 0, FLASHMEM_F32, OPS_SHAPE(5, 2));
    ops_expect(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", 1, 2), NULL, OPS_INTS(c, "a", 1)), 0, FLASHMEM_F32,
               OPS_SHAPE(2, 6));
    ops_refused(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", -3, 0, 0, 0)), FLASHMEM_BAD_MODEL, "axis 0", NULL);
    ops_refused(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", 1, 0, 0)), FLASHMEM_BAD_MODEL, "3 pads for 2 axes", NULL);
    ops_attr_text(c, "mode", "circular");
    ops_refused(c, OPS_NODE(c, "Pad", 1, x, OPS_INTS(c, "p", 1, 0, 0, 0)), FLASHMEM_BAD_MODEL, "'circular'", NULL);
}

/* --- indexing and reductions -------------------------------------------------------------------------------------- */

static void test_gather__shapes(void **state) {
    ops_case  *c = *state;
    fm_tensor *t = ops_input(c, "t", FLASHMEM_F16, OPS_SHAPE(5, 6, 7)),
              *ids = ops_input(c, "ids", FLASHMEM_I64, OPS_SHAPE(2, 3));
    fm_tensor *one = ops_input(c, "one", FLASHMEM_I32, OPS_SCALAR), *f = ops_input(c, "f", FLASHMEM_F32, OPS_SHAPE(2));
    ops_expect(c, OPS_NODE(c, "Gather", 1, t, ids), 0, FLASHMEM_F16, OPS_SHAPE(2, 3, 6, 7));
    ops_attr_int(c, "axis", -2);
    ops_expect(c, OPS_NODE(c, "Gather", 1, t, one), 0, FLASHMEM_F16, OPS_SHAPE(5, 7));
    ops_attr_int(c, "axis", 3);
    ops_refused(c, OPS_NODE(c, "Gather", 1, t, ids), FLASHMEM_BAD_MODEL, "axis 3", NULL);
    ops_refused(c, OPS_NODE(c, "Gather", 1, t, f), FLASHMEM_BAD_MODEL, "'f' is float32", NULL);
    fm_tensor *pairs = ops_input(c, "pairs", FLASHMEM_I64, OPS_SHAPE(5, 4, 2));
    ops_expect(c, OPS_NODE(c, "GatherND", 1, t, pairs), 0, FLASHMEM_F16, OPS_SHAPE(5, 4, 7));
    ops_attr_int(c, "batch_dims", 1);
    ops_expect(c, OPS_NODE(c, "GatherND", 1, t, pairs), 0, FLASHMEM_F16, OPS_SHAPE(5, 4));
    ops_attr_int(c, "batch_dims", 2);
    ops_refused(c, OPS_NODE(c, "GatherND", 1, t, pairs), FLASHMEM_BAD_MODEL, "tuples of 2", NULL);
    ops_attr_int(c, "batch_dims", 1);
    ops_refused(c, OPS_NODE(c, "GatherND", 1, t, ids), FLASHMEM_BAD_MODEL, NULL);
    ops_attr_int(c, "axis", 1);
    ops_refused(c, OPS_NODE(c, "GatherElements", 1, t, ids), FLASHMEM_BAD_MODEL, "'ids'", "3 dims", NULL);
}

static void test_scatter__shapes(void **state) {
    ops_case  *c = *state;
    fm_tensor *d = ops_input(c, "d", FLASHMEM_F32, OPS_SHAPE(5, 6)),
              *n = ops_input(c, "n", FLASHMEM_I64, OPS_SHAPE(3, 1));
    fm_tensor *u = ops_input(c, "u", FLASHMEM_F32, OPS_SHAPE(3, 6)),
              *w = ops_input(c, "w", FLASHMEM_F32, OPS_SHAPE(3, 1));
    ops_expect(c, OPS_NODE(c, "ScatterND", 1, d, n, u), 0, FLASHMEM_F32, OPS_SHAPE(5, 6));
    ops_refused(c, OPS_NODE(c, "ScatterND", 1, d, n, w), FLASHMEM_BAD_MODEL, "'w' has shape 3x1, expected 3x6", NULL);
    ops_expect(c, OPS_NODE(c, "ScatterElements", 1, d, n, w), 0, FLASHMEM_F32, OPS_SHAPE(5, 6));
    ops_attr_text(c, "reduction", "sum");
    ops_refused(c, OPS_NODE(c, "ScatterElements", 1, d, n, w), FLASHMEM_BAD_MODEL, "'sum'", NULL);
}

static void test_reduce__axes(void **state) {
    ops_case  *c = *state;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 3, 4)),
              *none = ops_typed(c, "none", FLASHMEM_I64, OPS_SHAPE(0), "");
    ops_expect(c, OPS_NODE(c, "ReduceMean", 1, x, OPS_INTS(c, "a", -1)), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 1));
    ops_attr_int(c, "keepdims", 2); /* only 1 keeps, as ONNX Runtime has it */
    ops_expect(c, OPS_NODE(c, "ReduceMean", 1, x, OPS_INTS(c, "a", -1)), 0, FLASHMEM_F32, OPS_SHAPE(2, 3));
    ops_attr_int(c, "keepdims", 0);
    ops_expect(c, OPS_NODE(c, "ReduceMax", 1, x, OPS_INTS(c, "a", 0, 2)), 0, FLASHMEM_F32, OPS_SHAPE(3));
    ops_expect(c, OPS_NODE(c, "ReduceSum", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(1, 1, 1));
    ops_expect(c, OPS_NODE(c, "ReduceSum", 1, x, none), 0, FLASHMEM_F32, OPS_SHAPE(1, 1, 1));
    ops_attr_int(c, "noop_with_empty_axes", 1);
    ops_expect(c, OPS_NODE(c, "ReduceSum", 1, x, none), 0, FLASHMEM_F32, OPS_SHAPE(2, 3, 4));
    ops_refused(c, OPS_NODE(c, "ReduceSum", 1, x, OPS_INTS(c, "a", 3)), FLASHMEM_BAD_MODEL, "axis 3", NULL);
    ops_attr_int(c, "axis", 1);
    ops_attr_int(c, "keepdims", 0);
    ops_expect(c, OPS_NODE(c, "ArgMax", 1, x), 0, FLASHMEM_I64, OPS_SHAPE(2, 4));
    c->opset = 13;
    OPS_ATTR_INTS(c, "axes", 1, 2);
    ops_expect(c, OPS_NODE(c, "ReduceMean", 1, x), 0, FLASHMEM_F32, OPS_SHAPE(2, 1, 1));
    fm_tensor *empty = ops_input(c, "empty", FLASHMEM_F32, OPS_SHAPE(2, 0));
    ops_attr_int(c, "axis", 1);
    ops_refused(c, OPS_NODE(c, "ArgMax", 1, empty), FLASHMEM_BAD_MODEL, "'empty'", "extreme", NULL);
}

static void test_resize__sizes(void **state) {
    static const float scales[] = { 1, 1, 2, 0.5f }, bad[] = { 1, 1, -2, 1 };
    ops_case          *c = *state;
    fm_tensor         *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 3, 5, 7));
    fm_tensor         *s = ops_floats(c, "s", OPS_SHAPE(4), scales), *b = ops_floats(c, "b", OPS_SHAPE(4), bad);
    ops_expect(c, OPS_NODE(c, "Resize", 1, x, NULL, s), 0, FLASHMEM_F32, OPS_SHAPE(1, 3, 10, 3));
    ops_expect(c, OPS_NODE(c, "Resize", 1, x, NULL, NULL, OPS_INTS(c, "z", 1, 3, 9, 9)), 0, FLASHMEM_F32,
               OPS_SHAPE(1, 3, 9, 9));
    OPS_ATTR_INTS(c, "axes", 2, 3);
    ops_attr_text(c, "keep_aspect_ratio_policy", "not_larger");
    ops_expect(c, OPS_NODE(c, "Resize", 1, x, NULL, NULL, OPS_INTS(c, "z", 10, 10)), 0, FLASHMEM_F32,
               OPS_SHAPE(1, 3, 7, 10));
    ops_refused(c, OPS_NODE(c, "Resize", 1, x, NULL, b), FLASHMEM_BAD_MODEL, "scale 2 is -2", NULL);
    ops_refused(c, OPS_NODE(c, "Resize", 1, x), FLASHMEM_BAD_MODEL, "either scales or sizes", NULL);
    ops_attr_text(c, "mode", "area");
    ops_refused(c, OPS_NODE(c, "Resize", 1, x, NULL, s), FLASHMEM_BAD_MODEL, "'area'", NULL);
}

static void test_values_at_run_time__are_named(void **state) {
    ops_case  *c = *state;
    fm_tensor *late = ops_input(c, "late", FLASHMEM_I64, OPS_SHAPE(1)),
              *n = ops_input(c, "n", FLASHMEM_I64, OPS_SCALAR);
    ops_refused(c, OPS_NODE(c, "ConstantOfShape", 1, late), FLASHMEM_UNSUPPORTED, "'late'", "run time", NULL);
    ops_refused(c, OPS_NODE(c, "Range", 1, n, n, n), FLASHMEM_UNSUPPORTED, "'n'", "run time", NULL);
    ops_refused(c, OPS_NODE(c, "NonZero", 1, late), FLASHMEM_UNSUPPORTED, "'late'", NULL);
    ops_refused(c, OPS_NODE(c, "TopK", 2, late, late), FLASHMEM_UNSUPPORTED, "'late'", NULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_setup, ops_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_find__knows_names_and_domains),
        TEST(test_check__counts_and_kinds),
        TEST(test_check__untyped_and_enormous_tensors),
        TEST(test_elementwise__types_and_broadcasting),
        TEST(test_reshape__zero_minus_one_and_refusals),
        TEST(test_squeeze__by_attribute_and_input),
        TEST(test_transpose_expand_flatten),
        TEST(test_slice__lengths_as_numpy),
        TEST(test_split__sizes),
        TEST(test_concat_tile_pad),
        TEST(test_gather__shapes),
        TEST(test_scatter__shapes),
        TEST(test_reduce__axes),
        TEST(test_resize__sizes),
        TEST(test_values_at_run_time__are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
