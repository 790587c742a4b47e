/* Every allocation of ours around CP-SAT fails once: the status says so, and nothing leaks. */
#include "compile/plan/cpsat/cpsat_order.h"
#include "compile/plan/cpsat/cpsat_place.h"
#include "compile/plan/problem.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t each);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t each);

static long left = -1; /* allocations until one fails; below 0: none does */

void *__wrap_malloc(size_t bytes) { return left >= 0 && left-- == 0 ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t each) { return left >= 0 && left-- == 0 ? NULL : __real_calloc(count, each); }

static const fm_cpsat_limits plain = { .seconds = 20, .threads = 1 };

static flashmem_status solve_overlap(fm_arena *arena, flashmem_error *err) {
    static const plan_weight weights[] = { { 4, 2 << 20 }, { 4, 2 << 20 }, { 8, 5 << 20 }, { 9, 3 << 20 } };
    static const uint64_t    capacity[10] = { 2 << 20, 1 << 20, 1 << 20, 0,       1 << 20,
                                              1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20 };
    fm_overlap_options       options = { .solver = FM_SOLVER_CPSAT, .threads = 1 };
    fm_overlap_problem      *p = plan_case_make(capacity, 10, weights, 4, 1 << 20, 8 << 20, arena);
    fm_overlap_plan          plan;
    return fm_overlap_solve(p, &options, arena, &plan, err);
}

static flashmem_status solve_place(fm_arena *arena, flashmem_error *err) {
    fm_place_item    items[] = { { 4, 1, 0, 1, 1, 0, 0, 0 }, { 2, 1, 1, 2, 1, 0, 0, 5 } };
    fm_place_problem p = { .items = items, .count = 2, .steps = 3 };
    uint64_t         region_bytes[1] = { 7 }, total, bound;
    return fm_cpsat_place(&p, region_bytes, 1, &plain, &total, &bound, arena, err);
}

/* A step that splits, two branches, a step that joins. */
static const uint32_t         branches[] = { 1, 2 }, join[] = { 3 };
static const double           seconds[] = { 1e-3, 2e-3, 3e-3, 1e-3 };
static const fm_order_value   values[] = { { 9, 0, branches, 2, false },
                                           { 5, 1, join, 1, false },
                                           { 8, 2, join, 1, false } };
static const fm_order_object  objects[] = { { 4, &branches[0], 1 }, { 20, &branches[1], 1 } };
static const fm_order_problem order = { seconds, 4, values, 3, objects, 2, NULL, 0, 4000, 40 };

static flashmem_status solve_peak(fm_arena *arena, flashmem_error *err) {
    fm_order_plan plan;
    return fm_cpsat_order_peak(&order, &plain, arena, &plan, err);
}

static flashmem_status solve_latency(fm_arena *arena, flashmem_error *err) {
    fm_order_plan plan;
    return fm_cpsat_order_latency(&order, &plain, arena, &plan, err);
}

typedef flashmem_status (*solver)(fm_arena *arena, flashmem_error *err);

static flashmem_status solve(solver run, long allocations) {
    volatile flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    flashmem_error           err = { 0 };
    left = allocations;
    fm_arena *arena = fm_arena_create();
    if (!arena) return status;
    if (!fm_arena_trap(arena)) status = run(arena, &err);
    fm_arena_destroy(arena);
    return status;
}

static void test_cpsat__any_allocation_may_fail(void **state) {
    (void)state;
    static const solver solvers[] = { solve_overlap, solve_place, solve_peak, solve_latency };
    for (size_t i = 0; i < sizeof solvers / sizeof *solvers; i++) {
        long failed = 0;
        for (bool done = false; !done; failed++) {
            flashmem_status status = solve(solvers[i], failed);
            done = left >= 0; /* not reached */
            left = -1;
            assert_int_equal(status, done ? FLASHMEM_OK : FLASHMEM_OUT_OF_MEMORY);
        }
        assert_in_range(failed, 3, 500);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cpsat__any_allocation_may_fail) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
