/* Damaged and malicious files: an error or a valid graph, never a crash, a hang or much memory. */
#include "tests/compile/imported.h"

/* A bit of everything that import reads. */
static wire rich_model(void) {
    wire    graph = { 0 }, attrs = { 0 }, yes = { 0 }, no = { 0 }, f = { 0 }, set = { 0 };
    float   weights[12] = { 1, 2, 3 };
    int64_t perm[2] = { 1, 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x3");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2x4");
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("w", FLASHMEM_F32, "4x3", weights, sizeof weights));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("c", FLASHMEM_BOOL, "", "\1", 1));
    attr_ints(&attrs, "perm", perm, 2);
    node(&graph, "Transpose", "w", "t", &attrs);
    node(&graph, "MatMul", "x,t", "m", NULL);
    node(&yes, "Neg", "m", "o", NULL);
    value_info(&yes, GRAPH_OUTPUT, "o", FLASHMEM_F32, NULL);
    node(&no, "Abs", "m", "o", NULL);
    value_info(&no, GRAPH_OUTPUT, "o", FLASHMEM_F32, NULL);
    attr_graph(&attrs, "then_branch", yes);
    attr_graph(&attrs, "else_branch", no);
    node(&graph, "If", "c", "i", &attrs);
    node_of(&graph, GRAPH_NODE, "F", "local", "call", "i", "y", NULL);
    wire_text(&f, 1, "F");
    wire_text(&f, 4, "a");
    wire_text(&f, 5, "b");
    wire_text(&f, 10, "local");
    wire_int(&set, 2, 17);
    wire_message(&f, 9, set);
    node_of(&f, FUNCTION_NODE, "Relu", "", "r", "a", "b", NULL);
    wire model = model_of(graph, 17);
    wire_message(&model, 25, f);
    return model;
}

static void import_bytes(const uint8_t *data, size_t bytes, flashmem_status *status) {
    imported i;
    wire     w = { (uint8_t *)(uintptr_t)data, bytes, bytes };
    wire_save(&w, model_path);
    import_with(&i, 16, NULL, 0);
    *status = i.status;
    if (i.status != FLASHMEM_OK) assert_true(strlen(i.error.message) > 10);
    assert_int_not_equal(i.status, FLASHMEM_INTERNAL);
    assert_int_not_equal(i.status, FLASHMEM_OUT_OF_MEMORY);
    assert_true(fm_arena_bytes(i.arena) < 8 << 20);
    drop(&i);
}

static void test_hostile__cut_at_every_byte(void **state) {
    (void)state;
    wire            model = rich_model();
    flashmem_status status;
    size_t          good = 0;
    for (size_t cut = 0; cut <= model.bytes; cut++) {
        import_bytes(model.data, cut, &status);
        good += status == FLASHMEM_OK;
        if (cut == model.bytes) assert_int_equal(status, FLASHMEM_OK);
    }
    assert_int_equal(good, 1);
    wire_free(&model);
}

static void test_hostile__every_bit_flipped(void **state) {
    (void)state;
    wire            model = rich_model();
    flashmem_status status;
    size_t          bad = 0;
    for (size_t bit = 0; bit < model.bytes * 8; bit++) {
        model.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        import_bytes(model.data, model.bytes, &status);
        bad += status != FLASHMEM_OK;
        model.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(bad > model.bytes); /* most flips are noticed; the others change names and values */
    wire_free(&model);
}

static void test_hostile__every_byte_saturated(void **state) {
    (void)state;
    wire            model = rich_model();
    flashmem_status status;
    for (size_t at = 0; at < model.bytes; at++) {
        uint8_t kept = model.data[at];
        for (int k = 0; k < 3; k++) {
            model.data[at] = (uint8_t[]){ 0xff, 0x80, 0x00 }[k];
            import_bytes(model.data, model.bytes, &status);
        }
        model.data[at] = kept;
    }
    wire_free(&model);
}

/* Noise in several places at once, repeatably. */
static void test_hostile__noise(void **state) {
    (void)state;
    wire            model = rich_model();
    uint8_t        *copy = malloc(model.bytes);
    uint64_t        seed = 99;
    flashmem_status status;
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, model.data, model.bytes);
        for (int k = 0; k < 1 + round % 7; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            copy[(seed >> 20) % model.bytes] = (uint8_t)(seed >> 55);
        }
        import_bytes(copy, model.bytes, &status);
    }
    free(copy);
    wire_free(&model);
}

static void test_hostile__deep_nesting(void **state) {
    (void)state;
    wire inner = { 0 };
    for (int depth = 0; depth < 200; depth++) {
        wire graph = { 0 }, attrs = { 0 };
        attr_graph(&attrs, "body", inner);
        node(&graph, "If", "c", "y", &attrs);
        inner = graph;
    }
    expect_failure(model_of(inner, 17), FLASHMEM_BAD_MODEL, "nested deeper");
}

static void test_hostile__huge_lengths(void **state) {
    (void)state;
    static const uint64_t lengths[] = { 1000, UINT32_MAX, (uint64_t)1 << 40, INT64_MAX, UINT64_MAX };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        wire model = { 0 };
        wire_int(&model, 1, 8);
        wire_key(&model, 7, 2);
        wire_varint(&model, lengths[i]);
        wire_append(&model, "\x0a\x03", 2);
        expect_failure(model, FLASHMEM_BAD_MODEL, "field 7 declares|has 2 left");
    }
    wire group = { 0 };
    wire_key(&group, 7, 3);
    expect_failure(group, FLASHMEM_BAD_MODEL, "wire type 3");
    wire number = { 0 };
    wire_append(&number, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
    expect_failure(number, FLASHMEM_BAD_MODEL, "more than ten bytes");
    wire zero = { 0 };
    wire_append(&zero, "\x00\x01", 2);
    expect_failure(zero, FLASHMEM_BAD_MODEL, "field number 0");
    wire text = { 0 };
    wire_append(&text, "<!DOCTYPE html><html>not a model</html>", 39);
    expect_failure(text, FLASHMEM_BAD_MODEL, "not a valid ONNX file");
}

static void test_hostile__sizes_that_overflow(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4611686018427387904x4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    node(&graph, "Neg", "x", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'x'|more elements");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "1099511627776x1");
    value_info(&graph, GRAPH_INPUT, "z", FLASHMEM_F32, "1x1099511627776");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    node(&graph, "Add", "x,z", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'y'");
}

/* Payloads that lie on what hoisting leaves in the file: the file ends before them. */
static void test_hostile__file_shorter_than_when_opened(void **state) {
    (void)state;
    wire     graph = { 0 };
    imported i;
    uint8_t *data = calloc(1, 100000), *got = malloc(100000);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("c", FLASHMEM_U8, "100000", data, 100000));
    value_info(&graph, GRAPH_OUTPUT, "c", FLASHMEM_U8, NULL);
    import_model(&i, model_of(graph, 17));
    expect_ok(&i);
    assert_int_equal(truncate(model_path, 5000), 0);
    assert_int_equal(fm_recipe_read_all(find_tensor(&i, "c")->constant, FLASHMEM_U8, got, &i.error), FLASHMEM_IO);
    assert_non_null(strstr(i.error.message, "the file ends at 5000"));
    drop(&i);
    free(data);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile__cut_at_every_byte),
        cmocka_unit_test(test_hostile__every_bit_flipped),
        cmocka_unit_test(test_hostile__every_byte_saturated),
        cmocka_unit_test(test_hostile__noise),
        cmocka_unit_test(test_hostile__deep_nesting),
        cmocka_unit_test(test_hostile__huge_lengths),
        cmocka_unit_test(test_hostile__sizes_that_overflow),
        cmocka_unit_test(test_hostile__file_shorter_than_when_opened),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
