/* Every allocation of a solve fails once: the status says so, and nothing leaks. */
#include "compile/plan/problem.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t each);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t each);
void *__wrap_realloc(void *old, size_t bytes);

static long left = -1; /* allocations until one fails; below 0: none does */

void *__wrap_malloc(size_t bytes) { return left >= 0 && left-- == 0 ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t each) { return left >= 0 && left-- == 0 ? NULL : __real_calloc(count, each); }
void *__wrap_realloc(void *old, size_t bytes) { return left >= 0 && left-- == 0 ? NULL : __real_realloc(old, bytes); }

static flashmem_status solve(const fm_overlap_problem *p, const fm_overlap_options *options, long allocations) {
    volatile flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    fm_arena                *arena = fm_arena_create();
    flashmem_error           err = { 0 };
    fm_overlap_plan          plan;
    if (!fm_arena_trap(arena)) {
        left = allocations;
        status = fm_overlap_solve(p, options, arena, &plan, &err);
    }
    fm_arena_destroy(arena);
    return status;
}

static void test_plan_solve__any_allocation_may_fail(void **state) {
    (void)state;
    static const fm_overlap_options options[] = {
        { .solver = FM_SOLVER_LABELS, .width = 2 },
        { .solver = FM_SOLVER_WINDOW, .width = 40 },
        { .solver = FM_SOLVER_SOFTEN, .width = 1 },
        { .solver = FM_SOLVER_PRELOAD },
        { .solver = FM_SOLVER_GREEDY },
        { .solver = FM_SOLVER_AUTO, .time_limit = -1 },
    };
    static const plan_transformer shape = { 6, 1024, 4096, 128, 8000, 256 << 10, 0, true };
    fm_arena                     *arena = fm_arena_create();
    fm_overlap_problem           *p = plan_case_transformer(&shape, arena);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        long failed = 0;
        for (bool done = false; !done; failed++) {
            flashmem_status status = solve(p, &options[i], failed);
            done = left >= 0; /* not reached */
            left = -1;
            if (done) assert_int_equal(status, FLASHMEM_OK);
            else if (status != FLASHMEM_OK) assert_int_equal(status, FLASHMEM_OUT_OF_MEMORY); /* sorting does without */
        }
        assert_in_range(failed, 4, 5000);
    }
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plan_solve__any_allocation_may_fail) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
