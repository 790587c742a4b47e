/* Every allocation of a compilation fails once: the status says so, nothing leaks, nothing is left on disk. */
#include "flashmem/compile.h"
#include "tests/compile/imported.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t each);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t each);

static long left = -1; /* allocations until one fails; below 0: none does */

void *__wrap_malloc(size_t bytes) { return left >= 0 && left-- == 0 ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t each) { return left >= 0 && left-- == 0 ? NULL : __real_calloc(count, each); }

static wire model(void) {
    static float w[64 * 64];
    wire         graph = { 0 };
    for (size_t i = 0; i < 64 * 64; i++) w[i] = (float)i;
    value_info(&graph, GRAPH_INPUT, "ids", FLASHMEM_I64, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("table", FLASHMEM_F32, "64x64", w, sizeof w));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("w", FLASHMEM_F32, "64x64", w, sizeof w));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("b", FLASHMEM_F32, "64", w, 256));
    node(&graph, "Gather", "table,ids", "e", NULL);
    node(&graph, "MatMul", "e,w", "m", NULL);
    node(&graph, "Add", "m,b", "n", NULL);
    node(&graph, "Softmax", "n", "y", NULL);
    return model_of(graph, 17);
}

static void test_compile__any_allocation_may_fail(void **state) {
    (void)state;
    char           folder[96], pack[128];
    flashmem_error error;
    long           failed = 0;
    wire           m = model();
    wire_save(&m, model_path);
    wire_free(&m);
    snprintf(folder, sizeof folder, "%s/out", test_folder);
    snprintf(pack, sizeof pack, "%s/out/model.flm", test_folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (bool done = false; !done; failed++) {
        left = failed;
        flashmem_status status = flashmem_compile(model_path, pack, NULL, NULL, &error);
        done = left >= 0; /* not reached */
        left = -1;
        if (!done && status == FLASHMEM_OK) { /* something did without: a file's mode, say; the pack must be whole */
            assert_int_equal(remove(pack), 0);
            continue;
        }
        if (done) assert_int_equal(status, FLASHMEM_OK);
        else if (status != FLASHMEM_OUT_OF_MEMORY) fail_msg("allocation %ld: %s", failed, error.message);
        if (!done) assert_int_equal(access(pack, F_OK), -1);
    }
    assert_in_range(failed, 10, 2000);
    remove(pack);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_compile__any_allocation_may_fail) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
