/* The public entry points: options, reports, files and inputs of a model, cancelling, memory. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "compile/lower.h"
#include "contract/pack.h"
#include "flashmem/compile.h"
#include "tests/compile/imported.h"

static char pack_path[128];

static wire simple_model(void) {
    float w[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
    wire  graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "rowsx4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("w", FLASHMEM_F32, "4x3", w, sizeof w));
    node(&graph, "MatMul", "x,w", "product", NULL);
    node(&graph, "Relu", "product", "h", NULL);
    node(&graph, "Softmax", "h", "y", NULL);
    return model_of(graph, 17);
}

static void save_model(wire model) {
    wire_save(&model, model_path);
    wire_free(&model);
    snprintf(pack_path, sizeof pack_path, "%s/model.flm", test_folder);
}

static void test_compile__reports(void **state) {
    (void)state;
    flashmem_compile_options options;
    flashmem_compile_report  report;
    flashmem_error           error;
    flashmem_shape           shape = { "rows", 0, { 5 } };
    fm_pack                  pack;
    save_model(simple_model());
    flashmem_compile_options_init(&options);
    options.shapes = &shape;
    options.shape_count = 1;
    if (flashmem_compile(model_path, pack_path, &options, &report, &error) != FLASHMEM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(report.graph_nodes, 3);
    assert_int_equal(report.steps, 2); /* Relu is the product's epilogue */
    assert_in_range(report.kernel_programs, 1, 2);
    assert_true(report.seconds > 0);
    memset(&error, 0, sizeof error);
    assert_int_equal(fm_pack_open(&pack, pack_path, &error), FLASHMEM_OK);
    const fm_program *p = &pack.programs[0];
    assert_int_equal(p->input_count, 1);
    assert_int_equal(fm_program_expr(p, p->values[p->inputs[0]].shape[0]), 5);
    assert_string_equal(fm_program_string(p, p->values[p->outputs[0]].name), "y");
    fm_pack_close(&pack);
}

static void test_compile__keep_all_exposes_steps(void **state) {
    (void)state;
    flashmem_compile_options options;
    flashmem_error           error;
    flashmem_shape           shape = { "x", 2, { 5, 4 } };
    fm_pack                  pack;
    bool                     found = false;
    save_model(simple_model());
    flashmem_compile_options_init(&options);
    options.shapes = &shape;
    options.shape_count = options.keep_all = 1;
    if (flashmem_compile(model_path, pack_path, &options, NULL, &error) != FLASHMEM_OK) fail_msg("%s", error.message);
    memset(&error, 0, sizeof error);
    assert_int_equal(fm_pack_open(&pack, pack_path, &error), FLASHMEM_OK);
    const fm_program *p = &pack.programs[0];
    assert_string_equal(fm_program_string(p, p->values[p->outputs[0]].name), "y");
    for (uint32_t o = 1; o < p->output_count; o++)
        found = found || strcmp(fm_program_string(p, p->values[p->outputs[o]].name), "h") == 0;
    assert_true(found);
    fm_pack_close(&pack);
}

static void expect_refused(void (*change)(flashmem_compile_options *o), flashmem_status status, const char *part) {
    flashmem_compile_options options;
    flashmem_error           error;
    flashmem_compile_options_init(&options);
    change(&options);
    assert_int_equal(flashmem_compile(model_path, pack_path, &options, NULL, &error), status);
    if (!strstr(error.message, part)) fail_msg("'%s' lacks '%s'", error.message, part);
    assert_int_equal(access(pack_path, F_OK), -1);
}
static void no_size(flashmem_compile_options *o) { o->size = 0; }
static void gpu_layout(flashmem_compile_options *o) { o->layout = FLASHMEM_LAYOUT_GPU; }
static void odd_layout(flashmem_compile_options *o) { o->layout = (flashmem_layout)7; }
static void odd_weights(flashmem_compile_options *o) { o->weights = (flashmem_weights)9; }
static void no_shapes(flashmem_compile_options *o) { o->shape_count = 3; }
static void tiny_images(flashmem_compile_options *o) { o->image_limit = 3; }
static void open_shape(flashmem_compile_options *o) { (void)o; }
static int  cancel(void *user, const char *stage, uint64_t done, uint64_t total) {
    (void)user, (void)done, (void)total;
    return strcmp(stage, "simplify") == 0;
}
static void cancelled(flashmem_compile_options *o) {
    static const flashmem_shape shape = { "rows", 0, { 5 } };
    o->shapes = &shape;
    o->shape_count = 1;
    o->progress = cancel;
}

static void test_compile__refuses_bad_options(void **state) {
    (void)state;
    save_model(simple_model());
    remove(pack_path);
    expect_refused(no_size, FLASHMEM_INVALID_ARGUMENT, "flashmem_compile_options_init");
    expect_refused(gpu_layout, FLASHMEM_UNSUPPORTED, "layout gpu");
    expect_refused(odd_layout, FLASHMEM_INVALID_ARGUMENT, "layout 7");
    expect_refused(odd_weights, FLASHMEM_INVALID_ARGUMENT, "weights 9");
    expect_refused(no_shapes, FLASHMEM_INVALID_ARGUMENT, "3 shapes at NULL");
    expect_refused(tiny_images, FLASHMEM_INVALID_ARGUMENT, "images of 3");
    expect_refused(open_shape, FLASHMEM_INVALID_ARGUMENT, "x [rows, 4]");
    expect_refused(cancelled, FLASHMEM_CANCELLED, "simplify");
    flashmem_error error;
    assert_int_equal(flashmem_compile("/nowhere/model.onnx", pack_path, NULL, NULL, &error), FLASHMEM_IO);
    assert_non_null(strstr(error.message, "/nowhere/model.onnx"));
    assert_int_equal(flashmem_compile(test_folder, pack_path, NULL, NULL, &error), FLASHMEM_IO);
    assert_int_equal(flashmem_compile(NULL, pack_path, NULL, NULL, &error), FLASHMEM_INVALID_ARGUMENT);
    assert_int_equal(flashmem_compile(model_path, "", NULL, NULL, NULL), FLASHMEM_INVALID_ARGUMENT);
}

static void test_compile__pack_folder_is_missing(void **state) {
    (void)state;
    flashmem_compile_options options;
    flashmem_error           error;
    flashmem_shape           shape = { "rows", 0, { 5 } };
    save_model(simple_model());
    flashmem_compile_options_init(&options);
    options.shapes = &shape;
    options.shape_count = 1;
    assert_int_equal(flashmem_compile(model_path, "/nowhere/x.flm", &options, NULL, &error), FLASHMEM_IO);
    assert_non_null(strstr(error.message, "/nowhere/x.flm"));
}

/* ---- what a model says of itself ---- */

static int collect(void *user, const char *path) {
    char *text = user;
    strcat(text, path);
    strcat(text, "\n");
    return 0;
}

static void test_model_files__each_once(void **state) {
    (void)state;
    char           text[2048] = "", expected[2048];
    flashmem_error error;
    wire           graph = { 0 }, attrs = { 0 };
    wire_message(&graph, GRAPH_INITIALIZER, tensor_external("a", FLASHMEM_F32, "4", "one.bin", "0", NULL));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_external("b", FLASHMEM_F32, "4", "sub/two.bin", "0", NULL));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_external("c", FLASHMEM_F32, "4", "one.bin", "16", NULL));
    attr_tensor(&attrs, "value", tensor_external("d", FLASHMEM_F32, "4", "three.bin", "16", NULL));
    node(&graph, "Constant", "", "d", &attrs);
    save_model(model_of(graph, 17));
    assert_int_equal(flashmem_model_files(model_path, collect, text, &error), FLASHMEM_OK);
    snprintf(expected, sizeof expected, "%s\n%s/one.bin\n%s/sub/two.bin\n%s/three.bin\n", model_path, test_folder,
             test_folder, test_folder);
    assert_string_equal(text, expected);
}

static int describe(void *user, const flashmem_model_input *input) {
    char *text = user;
    size_t used = strlen(text);
    used += (size_t)sprintf(text + used, "%s:%d", input->info.name, (int)input->info.dtype);
    for (uint32_t a = 0; a < input->info.rank; a++)
        used += (size_t)sprintf(text + used, ",%lld%s", (long long)input->info.dims[a],
                                input->dim_names[a] ? input->dim_names[a] : "");
    sprintf(text + used, ";");
    return 0;
}

static void test_model_inputs__as_declared(void **state) {
    (void)state;
    char           text[256] = "";
    flashmem_error error;
    wire           graph = { 0 };
    float          one = 1;
    value_info(&graph, GRAPH_INPUT, "ids", FLASHMEM_I64, "batchx8");
    value_info(&graph, GRAPH_INPUT, "k", FLASHMEM_F32, "1"); /* an initializer too: no input */
    value_info(&graph, GRAPH_INPUT, "mask", FLASHMEM_BOOL, "?");
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("k", FLASHMEM_F32, "1", &one, 4));
    save_model(model_of(graph, 17));
    assert_int_equal(flashmem_model_inputs(model_path, describe, text, &error), FLASHMEM_OK);
    assert_string_equal(text, "ids:7,-1batch,8;mask:9,-1;");
}

/* ---- memory ---- */

/* 200 MB of external weights (a hole in a sparse file) and 40 MB inline, compiled in a process of its own. */
static void make_large_model(void) {
    wire  graph = { 0 };
    char  path[128], from[16] = "x", name[16], to[16], inputs[40];
    void *mask = calloc(1, 4 << 20);
    snprintf(path, sizeof path, "%s/large.bin", test_folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), 200 * (1 << 20)), 0);
    fclose(f);
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x2048");
    for (int i = 0; i < 10; i++) {
        char offset[24];
        snprintf(name, sizeof name, "w%d", i);
        snprintf(to, sizeof to, "h%d", i);
        snprintf(offset, sizeof offset, "%lld", i * (20LL << 20));
        snprintf(inputs, sizeof inputs, "%s,%s", from, name);
        wire_message(&graph, GRAPH_INITIALIZER,
                     tensor_external(name, FLASHMEM_F32, "2048x2048", "large.bin", offset, NULL));
        node(&graph, "MatMul", inputs, to, NULL);
        snprintf(name, sizeof name, "m%d", i);
        wire_message(&graph, GRAPH_INITIALIZER, tensor_raw(name, FLASHMEM_U8, "2048x2048", mask, 4 << 20));
        value_info(&graph, GRAPH_OUTPUT, to, FLASHMEM_F32, NULL);
        snprintf(from, sizeof from, "%s", to);
    }
    free(mask);
    save_model(model_of(graph, 17));
}

/* In a child, whose peak is its own; this process is small when it forks. */
static void expect_small_peak(const char *model, const char *pack) {
    enum { MOST_KIB = 120 * 1024 };
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rusage  usage;
        flashmem_error error;
        flashmem_status status = flashmem_compile(model, pack, NULL, NULL, &error);
        getrusage(RUSAGE_SELF, &usage);
        if (status != FLASHMEM_OK) fprintf(stderr, "%s\n", error.message);
        if (usage.ru_maxrss > MOST_KIB) fprintf(stderr, "%s: peak of %ld KiB\n", model, usage.ru_maxrss);
        _exit(status != FLASHMEM_OK || usage.ru_maxrss > MOST_KIB);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

static void test_compile__memory_is_a_slab(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer's own memory is larger */
#endif
    make_large_model();
    expect_small_peak(model_path, pack_path);
    remove(pack_path);
}

static void test_compile__memory_of_gptn_s(void **state) {
    (void)state;
    const char *model = FM_MODELS_DIR "/gptn-s.onnx";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    if (access(model, R_OK) != 0) {
        print_message("%s is not there: tools/zoo.py makes it\n", model);
        skip();
    }
    snprintf(pack_path, sizeof pack_path, "%s/gptn-s.flm", test_folder);
    expect_small_peak(model, pack_path);
    remove(pack_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compile__memory_is_a_slab), /* first: a child starts with this process's memory */
        cmocka_unit_test(test_compile__memory_of_gptn_s),
        cmocka_unit_test(test_compile__reports),
        cmocka_unit_test(test_compile__keep_all_exposes_steps),
        cmocka_unit_test(test_compile__refuses_bad_options),
        cmocka_unit_test(test_compile__pack_folder_is_missing),
        cmocka_unit_test(test_model_files__each_once),
        cmocka_unit_test(test_model_inputs__as_declared),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
