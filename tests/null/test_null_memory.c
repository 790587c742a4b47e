/* Stepping allocates nothing: linked with --wrap for every allocator, which count while `counting`. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/model.h"
#include "tests/base/cmocka_setup.h"
#include "tests/null/synthetic.h"
#include "tests/run/overlap_pack.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t each);
void *__real_realloc(void *block, size_t bytes);
int   __real_posix_memalign(void **out, size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t each);
void *__wrap_realloc(void *block, size_t bytes);
int   __wrap_posix_memalign(void **out, size_t align, size_t bytes);

static _Atomic int counting, counted;

static void count(void) {
    if (atomic_load(&counting)) atomic_fetch_add(&counted, 1);
}
void *__wrap_malloc(size_t bytes) {
    count();
    return __real_malloc(bytes);
}
void *__wrap_calloc(size_t n, size_t each) {
    count();
    return __real_calloc(n, each);
}
void *__wrap_realloc(void *block, size_t bytes) {
    count();
    return __real_realloc(block, bytes);
}
int __wrap_posix_memalign(void **out, size_t align, size_t bytes) {
    count();
    return __real_posix_memalign(out, align, bytes);
}

static void run_counted(const fm_synthetic *what, flashmem_objective objective, flashmem_budget_kind kind, double value,
                        uint32_t serial) {
    char                 path[] = "/var/tmp/fm-alloc-XXXXXX";
    flashmem_run_options o;
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    fm_synthetic_inputs  inputs = { 0 };
    close(mkstemp(path));
    fm_synthetic_write(what, path);
    flashmem_run_options_init(&o);
    o.device = "null";
    o.cache_dir = "";
    o.budget_kind = kind;
    o.budget_value = value;
    o.serial = serial;
    o.objective = objective;
    overlap_taste taste = { .chunk_bytes = 65536, .preload = 20, .window = 4, .loads = 3 };
    if (objective == FLASHMEM_OBJECTIVE_OPG)
        assert_int_equal(fm_overlap_add(path, &o, &taste, 1 << 20, &err), FLASHMEM_OK);
    if (flashmem_model_open(path, &o, &model, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_synthetic_bind(model, &inputs, 3);
    while (strcmp(fm_reader_backend(model->reader), "none") == 0) usleep(1000); /* its thread makes its ring */
    atomic_store(&counted, 0);
    for (int run = 0; run < 4; run++) {
        atomic_store(&counting, 1);
        flashmem_status status = flashmem_model_run(model, &err);
        atomic_store(&counting, 0);
        if (status != FLASHMEM_OK) fail_msg("%s", err.message);
        assert_int_equal(atomic_load(&counted), 0);
    }
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
    unlink(path);
}

static void test_run__allocates_nothing(void **state) {
    (void)state;
    fm_synthetic what = {
        .seed = 5, .steps = 6, .weight_bytes = 3u << 19, .rows = 100, .computed_rows = 9, .tied = 1, .half = 1
    };
    run_counted(&what, FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_MINIMUM, 0, 0);
    run_counted(&what, FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_PERCENT, 40, 0);
    run_counted(&what, FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_OFF, 0, 0);
    run_counted(&what, FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_PERCENT, 40, 1);
    run_counted(&what, FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_OFF, 0, 0);
    what = (fm_synthetic){ .seed = 6, .steps = 4, .weight_bytes = 3u << 19, .texture = 1 };
    run_counted(&what, FLASHMEM_OBJECTIVE_TIMED, FLASHMEM_BUDGET_PERCENT, 40, 0);
    run_counted(&what, FLASHMEM_OBJECTIVE_OPG, FLASHMEM_BUDGET_MINIMUM, 0, 0);
}

static void test_counting__counts(void **state) {
    (void)state;
    atomic_store(&counted, 0);
    atomic_store(&counting, 1);
    void *volatile block = malloc(10);
    block = realloc(block, 20);
    free(block);
    atomic_store(&counting, 0);
    assert_int_equal(atomic_load(&counted), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_counting__counts),
                                        cmocka_unit_test(test_run__allocates_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
