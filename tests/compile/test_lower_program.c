/* From graph to program: what is a weight and how it lies, what inputs and outputs are, which steps products and
 * convolutions become. */
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/ops_case.h"

/* A constant whose elements nothing here reads. */
static fm_tensor *weight(ops_case *c, const char *name, fm_shape shape) {
    float *values = fm_arena_array(c->arena, (size_t)fm_shape_count(&shape), sizeof *values);
    for (int64_t i = 0; i < fm_shape_count(&shape); i++) values[i] = (float)(i % 97) + (float)(name[0]);
    return ops_floats(c, name, shape, values);
}

static const flashmem_compile_options fp32 = { .weights = FLASHMEM_WEIGHTS_FP32, .layout = FLASHMEM_LAYOUT_CPU };
static const flashmem_compile_options fp16 = { .weights = FLASHMEM_WEIGHTS_FP16, .layout = FLASHMEM_LAYOUT_CPU };
static const flashmem_compile_options texture = { .weights = FLASHMEM_WEIGHTS_FP32,
                                                  .layout = FLASHMEM_LAYOUT_TEXTURE,
                                                  .image_limit = 64 };
static const flashmem_compile_options keep = { .weights = FLASHMEM_WEIGHTS_FP32,
                                               .layout = FLASHMEM_LAYOUT_CPU,
                                               .keep_all = 1 };

static void lower(ops_case *c, fm_lower *l, const flashmem_compile_options *options) {
    c->err = (flashmem_error){ 0 };
    fm_lower_init(l, &c->g, options, options->layout == FLASHMEM_LAYOUT_TEXTURE ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
    if (fm_lower_graph(l, &c->err) != FLASHMEM_OK) fail_msg("lower: %s", c->err.message);
}

static const fm_value *value_named(const fm_lower *l, const char *name) {
    for (size_t i = 0; i < l->builder.value_count; i++) {
        const fm_value *v = &l->builder.values[i];
        if (v->name != FM_NONE && strcmp(l->builder.strings + v->name, name) == 0) return v;
    }
    fail_msg("no value '%s'", name);
    return NULL;
}

static const fm_lower_weight *weight_named(const fm_lower *l, const char *name) {
    for (size_t i = 0; i < l->weight_count; i++)
        if (strcmp(l->weights[i].name, name) == 0) return &l->weights[i];
    fail_msg("no weight '%s'", name);
    return NULL;
}

static int64_t bytes_of(const fm_lower *l, const fm_value *v) { return l->builder.exprs[v->bytes].value; }

/* --- weights ------------------------------------------------------------------------------------------------------ */

static void test_panels__of_sixteen_columns(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_output(c, OPS_BINARY(c, "MatMul", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)),
                             weight(c, "w", OPS_SHAPE(24, 40))));
    lower(c, &l, &fp32);
    const fm_weight *w = &weight_named(&l, "w")->record;
    assert_int_equal(w->kind, FM_WEIGHT_PANELS);
    assert_int_equal(w->k, 24);
    assert_int_equal(w->n, 40);
    assert_int_equal(w->panels, 3);
    assert_int_equal(w->panel_bytes, 24 * 16 * 4);
    assert_int_equal(w->unit_panels * w->panel_bytes % 4096, 0);
    assert_int_equal((w->unit_panels - 1) * w->panel_bytes % 4096 == 0, w->unit_panels == 1);
    assert_int_equal(l.builder.step_count, 1);
    assert_int_not_equal(l.builder.steps[0].split_value, FM_NONE);
}

static void test_fp16_packs__keep_vectors_in_fp32(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)), *w = weight(c, "w", OPS_SHAPE(24, 40));
    ops_output(c, ops_made(c, OPS_NODE(c, "Gemm", 1, x, w, weight(c, "b", OPS_SHAPE(40)))));
    lower(c, &l, &fp16);
    assert_int_equal(weight_named(&l, "w")->record.format, FM_WEIGHT_F16);
    assert_int_equal(weight_named(&l, "b")->record.format, FM_WEIGHT_F32);
    assert_int_equal(weight_named(&l, "b")->record.bytes, 160);
}

static void test_constants__up_to_64_bytes_lie_in_the_program(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 16)),
              *y = ops_input(c, "y", FLASHMEM_F32, OPS_SHAPE(3, 17));
    ops_output(c, OPS_BINARY(c, "Add", x, weight(c, "small", OPS_SHAPE(16))));
    ops_output(c, OPS_BINARY(c, "Add", y, weight(c, "large", OPS_SHAPE(17))));
    lower(c, &l, &fp32);
    assert_int_equal(l.weight_count, 1);
    assert_string_equal(l.weights[0].name, "large");
}

static void test_one_matrix_used_twice__is_one_weight(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)), *w = weight(c, "w", OPS_SHAPE(24, 24));
    ops_output(c, OPS_BINARY(c, "MatMul", OPS_BINARY(c, "MatMul", x, w), w));
    lower(c, &l, &fp32);
    assert_int_equal(l.weight_count, 1);
    assert_int_equal(l.weights[0].first_step, 0);
}

static void test_one_matrix_transposed_twice__is_one_weight(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)), *w = weight(c, "w", OPS_SHAPE(24, 24)), *y;
    ops_attr_int(c, "transB", 1);
    y = ops_made(c, OPS_NODE(c, "Gemm", 1, x, w));
    ops_attr_int(c, "transB", 1);
    ops_output(c, ops_made(c, OPS_NODE(c, "Gemm", 1, y, w)));
    lower(c, &l, &fp32);
    assert_int_equal(l.weight_count, 1);
}

static void test_a_constant_on_the_left__is_packed_too(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_output(c, OPS_BINARY(c, "MatMul", weight(c, "w", OPS_SHAPE(20, 24)),
                             ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(24, 5))));
    lower(c, &l, &fp32);
    const fm_weight *w = &weight_named(&l, "w")->record;
    assert_int_equal(w->kind, FM_WEIGHT_PANELS);
    assert_int_equal(w->k, 24);
    assert_int_equal(w->n, 20);
}

static void test_images__hold_at_most_their_limit_of_k(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_output(c, OPS_BINARY(c, "MatMul", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 150)),
                             weight(c, "w", OPS_SHAPE(150, 8))));
    lower(c, &l, &texture);
    assert_int_equal(l.weight_count, 3);
    assert_int_equal(l.builder.step_count, 3);
    assert_int_equal(l.weights[0].record.k + l.weights[1].record.k + l.weights[2].record.k, 150);
    for (int i = 0; i < 3; i++) assert_true(l.weights[i].record.k <= 64);
}

static void test_images__of_a_convolution_hold_whole_channels(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_output(c, OPS_BINARY(c, "Conv", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 16, 5, 5)),
                             weight(c, "w", OPS_SHAPE(8, 16, 3, 3))));
    lower(c, &l, &texture);
    uint64_t k = 0;
    for (size_t i = 0; i < l.weight_count; i++) {
        assert_int_equal(l.weights[i].record.k % 9, 0);
        assert_true(l.weights[i].record.k <= 64);
        k += l.weights[i].record.k;
    }
    assert_int_equal(k, 144);
}

static void test_groups__have_a_dense_weight(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_attr_int(c, "group", 8);
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 8, 5, 5)), *w = weight(c, "w", OPS_SHAPE(8, 1, 3, 3));
    ops_output(c, OPS_BINARY(c, "Conv", x, w));
    lower(c, &l, &fp16);
    assert_int_equal(weight_named(&l, "w")->record.kind, FM_WEIGHT_DENSE);
    assert_int_equal(weight_named(&l, "w")->record.format, FM_WEIGHT_F32);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void test_convolutions__write_channels_last_and_activations_keep_it(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_view    view;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 1, 6, 6));
    fm_tensor *conv = OPS_BINARY(c, "Conv", x, weight(c, "w", OPS_SHAPE(8, 1, 3, 3))),
              *relu = OPS_UNARY(c, "Relu", conv);
    fm_tensor *second = OPS_BINARY(c, "Conv", relu, weight(c, "v", OPS_SHAPE(8, 8, 1, 1)));
    ops_output(c, OPS_UNARY(c, "Relu", second));
    lower(c, &l, &fp32);
    assert_int_equal(fm_lower_view(&l, conv, &view, &c->err), FLASHMEM_OK);
    assert_int_equal(view.strides[1], 1);
    assert_int_equal(fm_lower_view(&l, relu, &view, &c->err), FLASHMEM_OK);
    assert_int_equal(view.strides[1], 1);
    assert_int_equal(l.builder.step_count, 4);
}

static void test_rows_of_one_product__may_be_strided(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    OPS_ATTR_INTS(c, "perm", 1, 0, 2);
    fm_tensor *t = OPS_UNARY(c, "Transpose", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(5, 7, 24)));
    ops_output(c, OPS_BINARY(c, "MatMul", t, weight(c, "w", OPS_SHAPE(24, 8))));
    lower(c, &l, &fp32);
    assert_int_equal(l.builder.step_count, 1);
}

/* Two convolutions write the halves of one channels-last tensor; only the third part is a copy. */
static void test_concatenation__is_written_by_its_producers(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_view    parts[3], whole;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(1, 1, 6, 6));
    fm_tensor *a = OPS_BINARY(c, "Conv", x, weight(c, "v", OPS_SHAPE(4, 1, 1, 1)));
    fm_tensor *b = OPS_UNARY(c, "Relu", OPS_BINARY(c, "Conv", x, weight(c, "w", OPS_SHAPE(8, 1, 1, 1))));
    ops_attr_int(c, "axis", 1);
    fm_tensor *t = ops_made(c, OPS_NODE(c, "Concat", 1, a, b, x));
    ops_output(c, OPS_UNARY(c, "Tanh", t));
    lower(c, &l, &fp32);
    fm_tensor *tensors[3] = { a, b, x };
    for (int i = 0; i < 3; i++) assert_int_equal(fm_lower_view(&l, tensors[i], &parts[i], &c->err), FLASHMEM_OK);
    assert_int_equal(fm_lower_view(&l, t, &whole, &c->err), FLASHMEM_OK);
    assert_int_equal(whole.strides[1], 1);
    assert_int_equal(parts[0].value, whole.value);
    assert_int_equal(parts[1].value, whole.value);
    assert_int_equal(parts[1].offset - whole.offset, 4);
    assert_int_not_equal(parts[2].value, whole.value);
    assert_int_equal(l.builder.step_count, 5); /* two convolutions, Relu, the copy of x, Tanh */
}

static void test_concatenation__of_a_result_read_elsewhere_copies(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(2, 6)), *a = OPS_UNARY(c, "Relu", x);
    ops_attr_int(c, "axis", 0);
    ops_output(c, OPS_UNARY(c, "Tanh", ops_made(c, OPS_NODE(c, "Concat", 1, a, x))));
    ops_output(c, OPS_UNARY(c, "Exp", a));
    lower(c, &l, &fp32);
    assert_int_equal(l.builder.step_count, 5);
}

static void test_an_output__is_written_in_place(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *t = OPS_BINARY(c, "MatMul", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)),
                              weight(c, "w", OPS_SHAPE(24, 40)));
    ops_output(c, t);
    lower(c, &l, &fp32);
    const fm_value *v = value_named(&l, t->name);
    assert_int_equal(v->kind, FM_VALUE_OUTPUT);
    assert_int_equal(bytes_of(&l, v), 3 * 40 * 4);
}

static void test_an_output__that_is_an_input_or_constant_is_a_copy(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)), *w = weight(c, "w", OPS_SHAPE(4, 4));
    ops_output(c, x);
    ops_output(c, w);
    lower(c, &l, &fp32);
    assert_int_equal(l.builder.input_count, 1);
    assert_int_equal(l.builder.output_count, 2);
    assert_int_equal(l.builder.step_count, 2);
    for (int i = 0; i < 2; i++) assert_int_equal(l.builder.values[l.builder.outputs[i]].kind, FM_VALUE_OUTPUT);
}

static void test_an_output__that_is_a_view_is_a_copy(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    OPS_ATTR_INTS(c, "perm", 1, 0);
    ops_output(c, OPS_UNARY(c, "Transpose", OPS_UNARY(c, "Relu", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)))));
    lower(c, &l, &fp32);
    assert_int_equal(l.builder.step_count, 2);
}

static void test_keep_all__adds_every_written_tensor(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *x = ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 24)), *relu = OPS_UNARY(c, "Relu", x);
    OPS_ATTR_INTS(c, "perm", 1, 0);
    fm_tensor *view = OPS_UNARY(c, "Transpose", relu), *tanh = OPS_UNARY(c, "Tanh", view);
    ops_output(c, OPS_UNARY(c, "Exp", tanh));
    lower(c, &l, &keep);
    assert_int_equal(l.builder.output_count, 3); /* the model's own, relu and tanh; a view is no result */
    assert_string_equal(l.builder.strings + l.builder.values[l.builder.outputs[1]].name, relu->name);
    assert_string_equal(l.builder.strings + l.builder.values[l.builder.outputs[2]].name, tanh->name);
}

/* --- inputs ------------------------------------------------------------------------------------------------------- */

static void test_inputs__that_index_know_their_limit(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *ids = ops_input(c, "ids", FLASHMEM_I64, OPS_SHAPE(2, 5)),
              *flat = OPS_BINARY(c, "Reshape", ids, OPS_INTS(c, NULL, 10));
    ops_output(c, OPS_BINARY(c, "Gather", weight(c, "words", OPS_SHAPE(100, 8)), flat));
    ops_output(c, OPS_BINARY(c, "Gather", weight(c, "kinds", OPS_SHAPE(30, 8)), ids));
    lower(c, &l, &fp32);
    assert_int_equal(value_named(&l, "ids")->limit, 30);
    assert_int_equal(value_named(&l, "ids")->flags, 0);
}

static void test_inputs__that_hide_are_masks(void **state) {
    ops_case  *c = *state;
    fm_lower   l;
    fm_tensor *mask = ops_input(c, "mask", FLASHMEM_I64, OPS_SHAPE(2, 5)),
              *wide = OPS_BINARY(c, "Unsqueeze", mask, OPS_INTS(c, NULL, 1));
    ops_attr_int(c, "to", FLASHMEM_F32);
    ops_output(c, OPS_UNARY(c, "Cast", wide));
    lower(c, &l, &fp32);
    assert_int_equal(value_named(&l, "mask")->limit, 0);
    assert_int_equal(value_named(&l, "mask")->flags, FM_VALUE_IS_MASK);
}

static void test_inputs__without_elements_are_refused(void **state) {
    ops_case *c = *state;
    fm_lower  l;
    ops_output(c, OPS_UNARY(c, "Relu", ops_input(c, "x", FLASHMEM_F32, OPS_SHAPE(3, 0))));
    fm_lower_init(&l, &c->g, &fp32, FM_DEVICE_CPU);
    assert_int_equal(fm_lower_graph(&l, &c->err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(c->err.message, "'x'"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ops_setup, ops_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_panels__of_sixteen_columns),
        TEST(test_fp16_packs__keep_vectors_in_fp32),
        TEST(test_constants__up_to_64_bytes_lie_in_the_program),
        TEST(test_one_matrix_used_twice__is_one_weight),
        TEST(test_one_matrix_transposed_twice__is_one_weight),
        TEST(test_a_constant_on_the_left__is_packed_too),
        TEST(test_images__hold_at_most_their_limit_of_k),
        TEST(test_images__of_a_convolution_hold_whole_channels),
        TEST(test_groups__have_a_dense_weight),
        TEST(test_convolutions__write_channels_last_and_activations_keep_it),
        TEST(test_rows_of_one_product__may_be_strided),
        TEST(test_concatenation__is_written_by_its_producers),
        TEST(test_concatenation__of_a_result_read_elsewhere_copies),
        TEST(test_an_output__is_written_in_place),
        TEST(test_an_output__that_is_an_input_or_constant_is_a_copy),
        TEST(test_an_output__that_is_a_view_is_a_copy),
        TEST(test_keep_all__adds_every_written_tensor),
        TEST(test_inputs__that_index_know_their_limit),
        TEST(test_inputs__that_hide_are_masks),
        TEST(test_inputs__without_elements_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
