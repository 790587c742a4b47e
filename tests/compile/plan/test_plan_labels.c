/* Labels on problems of real size: transformers proven, widths, tiers, limits, the same plan every time. */
#include <stdio.h>
#include <string.h>

#include "compile/plan/solvers.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static const struct {
    const char      *name;
    plan_transformer shape;
} transformers[] = {
    { "13b", { 40, 5120, 13824, 128, 32000, 1 * MIB, 0, false } },
    { "13b fused, 256 KiB", { 40, 5120, 13824, 128, 32000, 256 * KIB, 0, true } },
    { "70b", { 80, 8192, 28672, 128, 32000, 1 * MIB, 0, false } },
    { "70b, 256 KiB", { 80, 8192, 28672, 128, 32000, 256 * KIB, 0, false } },
    { "70b fused, 256 KiB", { 80, 8192, 28672, 128, 32000, 256 * KIB, 0, true } },
    { "1.3b fused, 64 KiB", { 24, 2048, 8192, 128, 50257, 64 * KIB, 0, true } },
    { "13b fused in slabs", { 40, 5120, 13824, 128, 32000, 1 * MIB, 16 * MIB, true } },
};

static fm_overlap_plan solve(const fm_overlap_problem *p, fm_overlap_options options, fm_arena *arena) {
    fm_overlap_plan plan;
    flashmem_error  err = { 0 };
    if (fm_overlap_solve(p, &options, arena, &plan, &err) != FLASHMEM_OK) fail_msg("%s: %s", p->name, err.message);
    return plan;
}

static void test_plan_labels__proves_transformers_in_a_second(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++) {
        fm_arena           *arena = fm_arena_create();
        fm_overlap_problem *p = plan_case_transformer(&transformers[i].shape, arena);
        fm_overlap_plan     plan = solve(p, (fm_overlap_options){ 0 }, arena);
        fm_overlap_plan     greedy = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_GREEDY }, arena);
        printf("%s: %u steps, %u weights, %.4f (greedy %.4f) %s, %.3f s\n", transformers[i].name, p->step_count,
               p->weight_count, fm_overlap_units(p, plan.objective), fm_overlap_units(p, greedy.objective),
               fm_overlap_status_name(plan.status), plan.seconds);
        assert_int_equal(plan.status, FM_OVERLAP_OPTIMAL);
        assert_true(greedy.objective >= plan.objective);
#ifndef __SANITIZE_ADDRESS__
        assert_true(plan.seconds < 1);
#endif
        fm_arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_labels__proves_transformers_in_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
