/* Labels on problems of real size: transformers proven, widths, tiers, limits, the same plan every time. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "compile/plan/labels.h"
#include "compile/plan/solvers.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static const fm_overlap_limit forever = { .deadline = 1e300 };

static const struct {
    const char      *name;
    plan_transformer shape;
} transformers[] = {
    { "13b", { 40, 5120, 13824, 128, 32000, 1 * MIB, 0, false } },
    { "13b fused, 256 KiB", { 40, 5120, 13824, 128, 32000, 256 * KIB, 0, true } },
    { "70b", { 80, 8192, 28672, 128, 32000, 1 * MIB, 0, false } },
    { "70b, 256 KiB", { 80, 8192, 28672, 128, 32000, 256 * KIB, 0, false } },
    { "70b fused, 256 KiB", { 80, 8192, 28672, 128, 32000, 256 * KIB, 0, true } },
    { "1.3b fused, 256 KiB", { 24, 2048, 8192, 128, 50257, 256 * KIB, 0, true } },
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
        clock_t             start = clock();
        fm_overlap_plan     plan = solve(p, (fm_overlap_options){ 0 }, arena);
        double              seconds = (double)(clock() - start) / CLOCKS_PER_SEC; /* of this thread: others may run */
        fm_overlap_plan     greedy = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_GREEDY }, arena);
        printf("%s: %u steps, %u weights, %.4f (greedy %.4f) %s, %.3f s\n", transformers[i].name, p->step_count,
               p->weight_count, fm_overlap_units(p, plan.objective), fm_overlap_units(p, greedy.objective),
               fm_overlap_status_name(plan.status), seconds);
        assert_int_equal(plan.status, FM_OVERLAP_OPTIMAL);
        assert_true(greedy.objective >= plan.objective);
#ifndef __SANITIZE_ADDRESS__
        assert_true(seconds < 1);
#endif
        fm_arena_destroy(arena);
    }
}

/* V alone does not prove this one: prices do. */
static const plan_transformer hard = { 24, 2048, 8192, 128, 50257, 64 * KIB, 0, true };

static bool same_plan(const fm_overlap_problem *p, const fm_overlap_plan *a, const fm_overlap_plan *b) {
    return a->objective == b->objective && a->bound == b->bound && a->status == b->status &&
           a->load_count == b->load_count && !memcmp(a->preload, b->preload, p->weight_count) &&
           !memcmp(a->loads, b->loads, a->load_count * sizeof *a->loads);
}

static void test_plan_auto__is_the_same_every_time(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = plan_case_transformer(&hard, arena);
    fm_overlap_plan     plan = solve(p, (fm_overlap_options){ .width = 300 }, arena);
    fm_overlap_plan     again = solve(p, (fm_overlap_options){ .width = 300, .time_limit = 1000 }, arena);
    assert_true(same_plan(p, &plan, &again));
    assert_int_not_equal(plan.status, FM_OVERLAP_UNKNOWN);
    fm_arena_destroy(arena);
}

/* Whenever time is up there is a plan, a bound that holds, and a status that says which of the two it is. */
static void test_plan_auto__ends_in_time(void **state) {
    (void)state;
    static const double limits[] = { -1, 1e-9, 0.001, 0.01, 0.03, 0.1 };
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = plan_case_transformer(&hard, arena);
    int64_t             best = solve(p, (fm_overlap_options){ 0 }, arena).objective;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        fm_overlap_plan plan = solve(p, (fm_overlap_options){ .time_limit = limits[i] }, arena);
        printf("%g s: %s %s %.4f..%.4f in %.3f s\n", limits[i], plan.solver, fm_overlap_status_name(plan.status),
               fm_overlap_units(p, plan.bound), fm_overlap_units(p, plan.objective), plan.seconds);
        assert_true(plan.objective >= best && plan.bound <= best);
        assert_int_not_equal(plan.status, FM_OVERLAP_FEASIBLE);
        if (i < 2) assert_string_equal(plan.solver, "greedy");
#ifndef __SANITIZE_ADDRESS__
        assert_true(plan.seconds < 2);
#endif
    }
    fm_arena_destroy(arena);
}

/* A search that would take minutes. */
static const plan_regime long_search = { "819 random weights", 1000, 1500, 256 * KIB, 20, 60, 1500, 0, 0, 0.9, false };

static void test_plan_labels__stop_at_the_deadline(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = plan_case_random(&long_search, 2, arena);
    fm_labels_limits    limits = { .width = 5000, .until = { .deadline = 0 } };
    fm_segments         segments;
    uint32_t            largest = 0;
    fm_segments_make(p, arena, &segments);
    for (uint32_t i = 0; i < segments.count; i++)
        if (segments.items[i].weight_count > segments.items[largest].weight_count) largest = i;
    uint8_t         *preload = fm_arena_array(arena, segments.items[largest].weight_count, 1);
    fm_bounds        bounds;
    fm_labels_result result;
    assert_int_equal(fm_bounds_make(&bounds, &segments.items[largest], &forever), FLASHMEM_OK);
    assert_int_equal(fm_labels_solve(&bounds, NULL, &limits, INT64_MAX / 4, preload, &result), FLASHMEM_OK);
    assert_true(result.stopped && !result.found);
    assert_true(result.bound >= bounds.least && result.bound < INT64_MAX / 4);
    fm_bounds_free(&bounds);
    assert_int_equal(fm_bounds_make(&bounds, &segments.items[largest], &limits.until), FLASHMEM_CANCELLED);
    fm_bounds_free(&bounds);
    fm_arena_destroy(arena);
}

static void test_plan_auto__stops_a_long_search(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = plan_case_random(&long_search, 2, arena);
    fm_overlap_plan     plan = solve(p, (fm_overlap_options){ .time_limit = 0.5 }, arena);
    printf("%s: %s %.2f..%.2f in %.3f s\n", p->name, fm_overlap_status_name(plan.status),
           fm_overlap_units(p, plan.bound), fm_overlap_units(p, plan.objective), plan.seconds);
    assert_int_equal(p->weight_count, 819);
    assert_int_equal(plan.status, FM_OVERLAP_UNKNOWN);
    assert_in_range(plan.objective, plan.bound, plan.bound + plan.bound / 50); /* measured: 1 % */
    assert_true(plan.seconds < 4);
    fm_arena_destroy(arena);
}

static bool stop_third(void *asked) { return ++*(uint32_t *)asked >= 3; }

static void test_plan_auto__stops_when_told(void **state) {
    (void)state;
    uint32_t            asked = 0;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = plan_case_random(&long_search, 2, arena);
    fm_overlap_plan     plan = solve(p, (fm_overlap_options){ .stop = stop_third, .stop_user = &asked }, arena);
    assert_int_equal(plan.status, FM_OVERLAP_UNKNOWN);
    assert_true(asked >= 3 && plan.seconds < 2);
    fm_arena_destroy(arena);
}

/* Each tier where it is asked for: a plan of its own, no better than the optimum; and what it is good for. */
static void test_plan_tiers__each_makes_a_plan(void **state) {
    (void)state;
    static const struct {
        fm_overlap_options options;
        double             most; /* times the optimum */
    } tiers[] = {
        { { .solver = FM_SOLVER_LABELS, .width = 200 }, 1.01 },
        { { .solver = FM_SOLVER_WIDTH1 }, 1.15 },
        { { .solver = FM_SOLVER_WINDOW }, 1.15 },
        { { .solver = FM_SOLVER_WINDOW, .window = 8 }, 1.15 },
        { { .solver = FM_SOLVER_PRELOAD }, 3 },
        { { .solver = FM_SOLVER_GREEDY }, 3 },
    };
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++) {
        fm_arena           *arena = fm_arena_create();
        fm_overlap_problem *p = plan_case_transformer(&transformers[i].shape, arena);
        fm_overlap_plan     best = solve(p, (fm_overlap_options){ 0 }, arena);
        fm_overlap_plan     soft = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_SOFTEN, .soften = 1.2 }, arena);
        for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
            fm_overlap_plan plan = solve(p, tiers[t].options, arena);
            double          times = (double)plan.objective / (double)best.objective;
            printf("%s: %s %.4f of the optimum, bound %.4f, %.3f s\n", transformers[i].name, plan.solver, times,
                   (double)plan.bound / (double)best.objective, plan.seconds);
            assert_true(times >= 1 && plan.bound <= best.objective);
            assert_true(times <= tiers[t].most);
        }
        assert_true(soft.objective < best.objective && soft.softened > 0 && soft.bound <= best.objective);
        assert_int_equal(soft.status, FM_OVERLAP_FEASIBLE);
        fm_arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_labels__proves_transformers_in_a_second),
        cmocka_unit_test(test_plan_auto__is_the_same_every_time),
        cmocka_unit_test(test_plan_auto__ends_in_time),
        cmocka_unit_test(test_plan_labels__stop_at_the_deadline),
        cmocka_unit_test(test_plan_auto__stops_a_long_search),
        cmocka_unit_test(test_plan_auto__stops_when_told),
        cmocka_unit_test(test_plan_tiers__each_makes_a_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
