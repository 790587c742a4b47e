/* Import of tensors: every encoding, external data, and what is wrong with each; hoisting changes nothing. */
#include "tests/compile/imported.h"

/* y = initializer "c", an output of its own. */
static wire constant_model(wire initializer, flashmem_dtype dtype, const char *dims) {
    wire graph = { 0 };
    wire_message(&graph, GRAPH_INITIALIZER, initializer);
    value_info(&graph, GRAPH_OUTPUT, "c", dtype, dims);
    return model_of(graph, 17);
}

static void expect_constant(wire initializer, flashmem_dtype dtype, const char *dims, const void *data, size_t bytes) {
    imported i;
    char     got[256];
    import_model(&i, constant_model(initializer, dtype, dims));
    expect_ok(&i);
    fm_tensor *t = find_tensor(&i, "c");
    assert_non_null(t->constant);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(fm_shape_count(&t->shape) * fm_dtype_bytes(dtype), bytes);
    assert_int_equal(fm_recipe_read_all(t->constant, dtype, got, NULL), FLASHMEM_OK);
    assert_memory_equal(got, data, bytes);
    drop(&i);
}

static void test_tensor__raw_data_of_every_type(void **state) {
    (void)state;
    static const flashmem_dtype types[] = { FLASHMEM_F32, FLASHMEM_U8,  FLASHMEM_I8,  FLASHMEM_U16, FLASHMEM_I16,
                                            FLASHMEM_I32, FLASHMEM_I64, FLASHMEM_F16, FLASHMEM_F64, FLASHMEM_U32,
                                            FLASHMEM_U64, FLASHMEM_BF16 };
    uint8_t data[48];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37 + 5);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t bytes = 6 * fm_dtype_bytes(types[i]);
        expect_constant(tensor_raw("c", types[i], "2x3", data, bytes), types[i], "2x3", data, bytes);
    }
    expect_constant(tensor_raw("c", FLASHMEM_BOOL, "3", "\1\0\1", 3), FLASHMEM_BOOL, "3", "\1\0\1", 3);
    expect_constant(tensor_raw("c", FLASHMEM_F32, "", data, 4), FLASHMEM_F32, "", data, 4);
}

static void test_tensor__typed_fields(void **state) {
    (void)state;
    float   floats[2] = { 1.5f, -2 };
    double  doubles[2] = { 1.25, -1e300 };
    int64_t wide[2] = { INT64_MIN, 7 };
    wire    t = tensor("c", FLASHMEM_F32, "2");
    wire_bytes(&t, 4, floats, sizeof floats);
    expect_constant(t, FLASHMEM_F32, "2", floats, sizeof floats);
    t = tensor("c", FLASHMEM_F32, "2"); /* one field per value: not packed */
    wire_float(&t, 4, floats[0]);
    wire_float(&t, 4, floats[1]);
    expect_constant(t, FLASHMEM_F32, "2", floats, sizeof floats);
    t = tensor("c", FLASHMEM_F64, "2");
    wire_bytes(&t, 10, doubles, sizeof doubles);
    expect_constant(t, FLASHMEM_F64, "2", doubles, sizeof doubles);
    t = tensor("c", FLASHMEM_I64, "2");
    wire_ints(&t, 7, wide, 2);
    expect_constant(t, FLASHMEM_I64, "2", wide, sizeof wide);
    t = tensor("c", FLASHMEM_U64, "2");
    wire_ints(&t, 11, wide, 2);
    expect_constant(t, FLASHMEM_U64, "2", wide, sizeof wide);
    uint32_t u32[2] = { 4000000000u, 1 };
    t = tensor("c", FLASHMEM_U32, "2");
    wire_ints(&t, 11, (int64_t[]){ 4000000000, 1 }, 2);
    expect_constant(t, FLASHMEM_U32, "2", u32, sizeof u32);
}

static void test_tensor__int32_data_holds_narrow_types(void **state) {
    (void)state;
    static const struct {
        flashmem_dtype dtype;
        int64_t        values[2];
        uint32_t       bits[2];
    } rows[] = {
        { FLASHMEM_I32, { -5, 7 }, { (uint32_t)-5, 7 } }, { FLASHMEM_I16, { -5, 7 }, { 0xfffb, 7 } },
        { FLASHMEM_I8, { -5, 7 }, { 0xfb, 7 } },          { FLASHMEM_U16, { 65535, 7 }, { 0xffff, 7 } },
        { FLASHMEM_U8, { 255, 7 }, { 0xff, 7 } },         { FLASHMEM_BOOL, { 1, 0 }, { 1, 0 } },
        { FLASHMEM_F16, { 0x3c00, 0xc000 }, { 0x3c00, 0xc000 } },
        { FLASHMEM_BF16, { 0x3f80, 0xc000 }, { 0x3f80, 0xc000 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t  expected[8];
        uint32_t each = fm_dtype_bytes(rows[i].dtype);
        for (int k = 0; k < 2; k++) memcpy(expected + k * each, &rows[i].bits[k], each);
        wire t = tensor("c", rows[i].dtype, "2");
        wire_ints(&t, 5, rows[i].values, 2);
        expect_constant(t, rows[i].dtype, "2", expected, 2 * each);
    }
}

static void test_tensor__external_data(void **state) {
    (void)state;
    char    path[128];
    uint8_t data[64];
    wire    file = { 0 };
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i + 1);
    wire_append(&file, data, sizeof data);
    snprintf(path, sizeof path, "%s/sub", test_folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/sub/w.bin", test_folder);
    wire_save(&file, path);
    wire_free(&file);
    expect_constant(tensor_external("c", FLASHMEM_I32, "2x2", "sub/w.bin", "16", "16"), FLASHMEM_I32, "2x2", data + 16,
                    16);
    expect_constant(tensor_external("c", FLASHMEM_I32, "3", "sub/w.bin", NULL, NULL), FLASHMEM_I32, "3", data, 12);
#define BAD(parts, status, ...) \
    expect_failure(constant_model(tensor_external("c", FLASHMEM_I32, __VA_ARGS__), FLASHMEM_I32, "4"), status, parts)
    BAD("tensor 'c'|16 bytes at offset 52|sub/w.bin|has 64 bytes", FLASHMEM_IO, "4", "sub/w.bin", "52", "16");
    BAD("tensor 'c'|16 bytes|gone.bin|does not exist", FLASHMEM_IO, "4", "gone.bin", "0", "16");
    BAD("tensor 'c'|'/etc/passwd'|model's folder", FLASHMEM_BAD_MODEL, "4", "/etc/passwd", "0", "16");
    BAD("tensor 'c'|'sub/../../x'|'..'", FLASHMEM_BAD_MODEL, "4", "sub/../../x", "0", "16");
    BAD("tensor 'c'|'..'", FLASHMEM_BAD_MODEL, "4", "..", "0", "16");
    BAD("tensor 'c'|location", FLASHMEM_BAD_MODEL, "4", NULL, "0", "16");
    BAD("tensor 'c'|offset '-4'", FLASHMEM_BAD_MODEL, "4", "sub/w.bin", "-4", "16");
    BAD("tensor 'c'|offset '99999999999999999999'", FLASHMEM_BAD_MODEL, "4", "sub/w.bin", "99999999999999999999", "16");
    BAD("tensor 'c'|12 bytes|need 16", FLASHMEM_BAD_MODEL, "4", "sub/w.bin", "0", "12");
    BAD("tensor 'c'|sub", FLASHMEM_IO, "4", "sub", "0", "16"); /* a folder */
#undef BAD
}

/* More files than are kept open. */
static void test_tensor__one_file_per_tensor(void **state) {
    (void)state;
    enum { FILES = 130 };
    wire     graph = { 0 };
    imported i;
    char     name[32], path[128];
    for (int f = 0; f < FILES; f++) {
        wire    file = { 0 };
        int32_t values[2] = { f, -f };
        snprintf(name, sizeof name, "t%d", f);
        snprintf(path, sizeof path, "%s/%s", test_folder, name);
        wire_append(&file, values, sizeof values);
        wire_save(&file, path);
        wire_free(&file);
        wire_message(&graph, GRAPH_INITIALIZER, tensor_external(name, FLASHMEM_I32, "2", name, "0", "8"));
        value_info(&graph, GRAPH_OUTPUT, name, FLASHMEM_I32, "2");
    }
    import_model(&i, model_of(graph, 17));
    expect_ok(&i);
    for (int round = 0; round < 2; round++)
        for (int f = 0; f < FILES; f++) {
            int32_t values[2];
            snprintf(name, sizeof name, "t%d", f);
            assert_int_equal(fm_recipe_read_all(find_tensor(&i, name)->constant, FLASHMEM_I32, values, NULL),
                             FLASHMEM_OK);
            assert_int_equal(values[1], -f);
        }
    assert_in_range(i.graph.fd_count, 2, 64);
    drop(&i);
}

static wire with_fill(wire model, const char *tensor_name, const char *what) {
    wire e = { 0 };
    char key[64];
    snprintf(key, sizeof key, "fill:%s", tensor_name);
    wire_text(&e, 1, key);
    wire_text(&e, 2, what);
    wire_message(&model, 14, e);
    return model;
}

static void test_tensor__fills_when_the_file_is_absent(void **state) {
    (void)state;
    imported i;
    float    values[4];
#define SKELETON(what, type) \
    with_fill(constant_model(tensor_external("c", type, "4", "no.bin", "0", NULL), type, "4"), "c", what)
    import_model(&i, SKELETON("normal:0.5", FLASHMEM_F32));
    expect_ok(&i);
    assert_int_equal(fm_recipe_read_all(find_tensor(&i, "c")->constant, FLASHMEM_F32, values, NULL), FLASHMEM_OK);
    for (int k = 0; k < 4; k++) assert_true(values[k] > -0.87f && values[k] < 0.87f && values[k] != 0);
    drop(&i);
    expect_failure(SKELETON("safetensors:a.b.T", FLASHMEM_F32), FLASHMEM_IO, "'c'|'a.b.T'|tools/zoo.py|no.bin");
    expect_failure(SKELETON("normal:much", FLASHMEM_F32), FLASHMEM_BAD_MODEL, "'c'|normal:much|normal:<deviation>");
    expect_failure(SKELETON("normal:1", FLASHMEM_I32), FLASHMEM_BAD_MODEL, "'c'|int32");
#undef SKELETON
}

/* The import of a graph that is only planned; reading tensor 'c' then fails with a message that has both parts. */
static void expect_failure_when_read(wire model, const char *part, const char *other) {
    imported i;
    char     data[16];
    import_for(&i, model, true);
    expect_ok(&i);
    const fm_recipe *r = find_tensor(&i, "c")->constant;
    assert_int_equal(fm_recipe_read_all(r, r->dtype, data, &i.error), FLASHMEM_IO);
    if (!strstr(i.error.message, part) || !strstr(i.error.message, other))
        fail_msg("'%s' lacks '%s' or '%s'", i.error.message, part, other);
    drop(&i);
}

static void test_tensor__that_is_absent_fails_a_plan_when_it_is_read(void **state) {
    (void)state;
    wire absent = constant_model(tensor_external("c", FLASHMEM_F32, "4", "no.bin", "0", NULL), FLASHMEM_F32, "4");
    expect_failure_when_read(with_fill(absent, "c", "safetensors:a.b.T"), "'a.b.T'", "tools/zoo.py");
    absent = constant_model(tensor_external("c", FLASHMEM_I32, "4", "gone.bin", "8", "16"), FLASHMEM_I32, "4");
    expect_failure_when_read(absent, "16 bytes at offset 8", "gone.bin', which does not exist");
}

static void test_tensor__rejects_what_does_not_fit(void **state) {
    (void)state;
    uint8_t zero[64] = { 0 };
#define BAD(parts, status, t) expect_failure(constant_model(t, FLASHMEM_F32, "4"), status, parts)
    BAD("'c'|12 bytes|expected 16", FLASHMEM_BAD_MODEL, tensor_raw("c", FLASHMEM_F32, "4", zero, 12));
    BAD("'c'|0 values in float_data|expected 4", FLASHMEM_BAD_MODEL, tensor("c", FLASHMEM_F32, "4"));
    BAD("'c'|-3 at axis 1", FLASHMEM_BAD_MODEL, tensor_raw("c", FLASHMEM_F32, "2x-3", zero, 24));
    BAD("'c'|more elements", FLASHMEM_BAD_MODEL, tensor_raw("c", FLASHMEM_F32, "4294967296x4294967296", zero, 4));
    BAD("'c'|more elements", FLASHMEM_BAD_MODEL, tensor_raw("c", FLASHMEM_F64, "1152921504606846976", zero, 4));
    BAD("'c'|9 dims", FLASHMEM_UNSUPPORTED, tensor_raw("c", FLASHMEM_F32, "1x1x1x1x1x1x1x1x1", zero, 4));
    BAD("'c'|string", FLASHMEM_UNSUPPORTED, tensor("c", (flashmem_dtype)8, "1"));
    BAD("'c'|float8e4m3fn", FLASHMEM_UNSUPPORTED, tensor_raw("c", (flashmem_dtype)17, "1", zero, 1));
    wire segmented = tensor_raw("c", FLASHMEM_F32, "1", zero, 4), segment = { 0 };
    wire_int(&segment, 1, 0);
    wire_message(&segmented, 3, segment);
    BAD("'c'|segments", FLASHMEM_UNSUPPORTED, segmented);
#undef BAD
    wire graph = { 0 }, sparse = { 0 };
    wire_message(&sparse, 1, tensor_raw("s", FLASHMEM_F32, "1", zero, 4));
    wire_message(&graph, 15, sparse);
    expect_failure(model_of(graph, 17), FLASHMEM_UNSUPPORTED, "'s'|sparse");
    graph = (wire){ 0 };
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("c", FLASHMEM_F32, "1", zero, 4));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("c", FLASHMEM_F32, "1", zero, 4));
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'c'|twice");
}

/* ---- hoisting ---- */

static wire model_with_payloads(void) {
    static uint8_t bytes[40000];
    wire           graph = { 0 }, attrs = { 0 }, f = tensor("floats", FLASHMEM_F32, "100x100"), branch = { 0 };
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * i + i / 7);
    wire_bytes(&f, 4, bytes, sizeof bytes);
    wire_message(&graph, GRAPH_INITIALIZER, f);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("raw", FLASHMEM_I16, "20000", bytes, sizeof bytes));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("yes", FLASHMEM_BOOL, "", "\1", 1));
    attr_tensor(&attrs, "value", tensor_raw("v", FLASHMEM_U8, "40000", bytes, sizeof bytes));
    node(&graph, "Constant", "", "made", &attrs);
    attr_tensor(&attrs, "value", tensor_raw("b", FLASHMEM_U8, "30000", bytes + 1, 30000));
    node(&branch, "Constant", "", "inside", &attrs);
    value_info(&branch, GRAPH_OUTPUT, "inside", FLASHMEM_U8, "30000");
    wire copy = { 0 };
    wire_append(&copy, branch.data, branch.bytes);
    attr_graph(&attrs, "then_branch", branch);
    attr_graph(&attrs, "else_branch", copy);
    node(&graph, "If", "yes", "chosen", &attrs);
    value_info(&graph, GRAPH_OUTPUT, "floats", FLASHMEM_F32, NULL);
    value_info(&graph, GRAPH_OUTPUT, "raw", FLASHMEM_I16, NULL);
    value_info(&graph, GRAPH_OUTPUT, "made", FLASHMEM_U8, NULL);
    value_info(&graph, GRAPH_OUTPUT, "chosen", FLASHMEM_U8, NULL);
    return model_of(graph, 17);
}

static void test_hoisting__equals_not_hoisting(void **state) {
    (void)state;
    imported with, without;
    wire     model = model_with_payloads();
    wire_save(&model, model_path);
    import_with(&with, 4096, NULL, 0);
    import_with(&without, UINT64_MAX, NULL, 0);
    expect_ok(&with);
    expect_ok(&without);
    assert_true(fm_arena_bytes(with.arena) + 150000 < fm_arena_bytes(without.arena));
    assert_int_equal(with.graph.output_count, 4);
    for (size_t o = 0; o < 4; o++) {
        fm_tensor *a = with.graph.outputs[o], *b = without.graph.outputs[o];
        static uint8_t x[160000], y[160000];
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_null(fm_recipe_data(a->constant));
        assert_int_equal(fm_recipe_read_all(a->constant, a->dtype, x, NULL), FLASHMEM_OK);
        assert_int_equal(fm_recipe_read_all(b->constant, b->dtype, y, NULL), FLASHMEM_OK);
        assert_memory_equal(x, y, (size_t)fm_shape_count(&a->shape) * fm_dtype_bytes(a->dtype));
    }
    drop(&with);
    drop(&without);
    wire_free(&model);
}

static void test_hoisting__data_twice_is_an_error(void **state) {
    (void)state;
    static uint8_t bytes[16384];
    wire           t = tensor_raw("c", FLASHMEM_F32, "4096", bytes, sizeof bytes);
    wire_bytes(&t, 9, bytes, sizeof bytes);
    expect_failure(constant_model(t, FLASHMEM_F32, "4096"), FLASHMEM_BAD_MODEL, "comes twice");
    t = tensor_raw("c", FLASHMEM_F32, "4096", bytes, sizeof bytes);
    wire_bytes(&t, 4, bytes, sizeof bytes);
    expect_failure(constant_model(t, FLASHMEM_F32, "4096"), FLASHMEM_BAD_MODEL, "several pieces");
    t = tensor("c", FLASHMEM_F32, "4096"); /* our own fields in a file mean nothing */
    wire_int(&t, 1001, 9);
    wire_int(&t, 1002, 0);
    wire_int(&t, 1003, 16384);
    expect_failure(constant_model(t, FLASHMEM_F32, "4096"), FLASHMEM_BAD_MODEL, "0 values in float_data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor__raw_data_of_every_type),
        cmocka_unit_test(test_tensor__typed_fields),
        cmocka_unit_test(test_tensor__int32_data_holds_narrow_types),
        cmocka_unit_test(test_tensor__external_data),
        cmocka_unit_test(test_tensor__one_file_per_tensor),
        cmocka_unit_test(test_tensor__fills_when_the_file_is_absent),
        cmocka_unit_test(test_tensor__that_is_absent_fails_a_plan_when_it_is_read),
        cmocka_unit_test(test_tensor__rejects_what_does_not_fit),
        cmocka_unit_test(test_hoisting__equals_not_hoisting),
        cmocka_unit_test(test_hoisting__data_twice_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
