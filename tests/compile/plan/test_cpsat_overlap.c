/* CP-SAT's plans are the optimum: small ones by trying everything, larger ones as the label solver says. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat.h"
#include "compile/plan/cpsat/cpsat_segment.h"
#include "compile/plan/solvers.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { KIB = 1 << 10, MIB = 1 << 20, SEEDS = 100 };

static fm_overlap_plan solve(const fm_overlap_problem *p, fm_overlap_options options, fm_arena *arena) {
    fm_overlap_plan plan;
    flashmem_error  err = { 0 };
    if (fm_overlap_solve(p, &options, arena, &plan, &err) != FLASHMEM_OK) fail_msg("%s: %s", p->name, err.message);
    return plan;
}

static void count_models(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)level;
    (void)category;
    *(uint32_t *)user += strncmp(message, "CP-SAT: ", 8) == 0;
}

static void test_cpsat_overlap__is_the_optimum(void **state) {
    (void)state;
    uint32_t models = 0;
    fm_log   log = { count_models, &models };
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 1000; seed < 1000 + SEEDS; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            fm_overlap_plan     plan = solve(
                    p, (fm_overlap_options){ .solver = FM_SOLVER_CPSAT, .threads = 1, .log = &log }, arena);
            int64_t best = plan_brute_force(p);
            if (plan.objective != best || plan.bound != best || plan.status != FM_OVERLAP_OPTIMAL)
                fail_msg("%s, seed %u: %lld, bound %lld, %s; optimum %lld", p->name, (unsigned)seed,
                         (long long)plan.objective, (long long)plan.bound, fm_overlap_status_name(plan.status),
                         (long long)best);
            assert_string_equal(plan.solver, "cpsat");
            fm_arena_destroy(arena);
        }
    printf("%u models\n", models);
    assert_true(models > 500);
}

/* Too large to try everything, small enough for CP-SAT to close: two solvers that share no code agree. */
static void test_cpsat_overlap__agrees_with_labels(void **state) {
    (void)state;
    static const plan_regime medium[] = {
        { "medium", 60, 15, 256 * KIB, 3, 12, 60, 16, 4, 0.9, false },
        { "medium starved", 60, 15, 256 * KIB, 1, 9, 60, 0, 4, 0.95, false },
        { "medium peak", 60, 15, 256 * KIB, 4, 9, 12, 12, 0, 0.97, false },
        { "medium bytes", 60, 15, 256 * KIB, 2, 12, 20, 0, 0, 0.97, true },
    };
    for (size_t r = 0; r < sizeof medium / sizeof *medium; r++)
        for (uint64_t seed = 0; seed < 15; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&medium[r], seed, arena);
            fm_overlap_plan     plan = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_CPSAT, .threads = 2 }, arena);
            fm_overlap_plan     other = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_LABELS }, arena);
            assert_int_equal(plan.status, FM_OVERLAP_OPTIMAL);
            assert_int_equal(plan.objective, other.objective);
            fm_arena_destroy(arena);
        }
}

static void test_cpsat_overlap__proves_transformers_in_seconds(void **state) {
    (void)state;
    static const struct {
        const char      *name;
        plan_transformer shape;
    } transformers[] = {
        { "1.3b", { 24, 2048, 8192, 256, 50257, 1 * MIB, 0, false } },
        { "13b", { 40, 5120, 13824, 256, 32000, 1 * MIB, 0, false } },
        { "13b, 256 KiB", { 40, 5120, 13824, 256, 32000, 256 * KIB, 0, false } },
        { "70b, the peak binds in every layer", { 80, 8192, 28672, 128, 32000, 1 * MIB, 0, false } },
        { "70b fused, 256 KiB", { 80, 8192, 28672, 128, 32000, 256 * KIB, 0, true } },
    };
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++) {
        fm_arena           *arena = fm_arena_create();
        fm_overlap_problem *p = plan_case_transformer(&transformers[i].shape, arena);
        fm_overlap_plan     plan = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_CPSAT, .threads = 2 }, arena);
        fm_overlap_plan     other = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_LABELS }, arena);
        printf("%s: %u steps, %u weights, %.4f %s, %.3f s\n", transformers[i].name, p->step_count, p->weight_count,
               fm_overlap_units(p, plan.objective), fm_overlap_status_name(plan.status), plan.seconds);
        assert_int_equal(plan.status, FM_OVERLAP_OPTIMAL);
        assert_int_equal(plan.objective, other.objective);
        assert_true(plan.seconds < 10);
        fm_arena_destroy(arena);
    }
}

/* Equal layers come apart and are recognised as equal. */
static void test_cpsat_segments__of_a_transformer_are_few(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    plan_transformer    shape = { 24, 2048, 8192, 256, 50257, 1 * MIB, 0, false };
    fm_overlap_problem *p = plan_case_transformer(&shape, arena);
    uint8_t            *preload = fm_arena_array(arena, p->weight_count, 1);
    fm_cpsat_segment   *segments;
    uint32_t            count, distinct = 0, weights = 0;
    int64_t             cost;
    assert_int_equal(fm_cpsat_cut(p, arena, preload, &cost, &segments, &count, NULL), FLASHMEM_OK);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = 0;
        while (!fm_cpsat_segments_equal(&segments[i], &segments[j])) j++;
        distinct += i == j;
        weights += segments[i].count;
    }
    for (uint32_t w = 0; w < p->weight_count; w++) weights += preload[w];
    assert_int_equal(weights, p->weight_count);
    assert_true(count >= 24 && distinct <= 8);
    fm_arena_destroy(arena);
}

/* What probing says of random segments holds for their optimum. */
static void test_cpsat_probe__bounds_the_optimum_from_both_sides(void **state) {
    (void)state;
    uint32_t fixed = 0;
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            uint8_t            *preload = fm_arena_array(arena, p->weight_count, 1);
            fm_cpsat_segment   *segments;
            uint32_t            count;
            int64_t             low, high;
            assert_int_equal(fm_cpsat_cut(p, arena, preload, &low, &segments, &count, NULL), FLASHMEM_OK);
            high = low;
            for (uint32_t i = 0; i < count; i++) {
                fm_cpsat_probe probe;
                fm_cpsat_probe_segment(&segments[i], arena, &probe);
                low += probe.bound;
                high += probe.cost;
                for (uint32_t k = 0; k < segments[i].count; k++) fixed += probe.fixed[k] != 0;
            }
            int64_t best = plan_brute_force(p);
            if (low > best || high < best)
                fail_msg("%s, seed %u: %lld..%lld without %lld", p->name, (unsigned)seed, (long long)low,
                         (long long)high, (long long)best);
            fm_arena_destroy(arena);
        }
    assert_int_not_equal(fixed, 0);
}

/* A thousand weights of a size of their own in one segment: too much, and the message says how much. */
static fm_overlap_problem *make_large(fm_arena *arena) {
    enum { STEPS = 1200 };
    uint64_t    *capacity = fm_arena_array(arena, STEPS, sizeof *capacity);
    plan_weight *weights = fm_arena_array(arena, STEPS, sizeof *weights);
    for (uint32_t i = 0; i < STEPS; i++) {
        capacity[i] = (1 + i % 2) * 256 * KIB;
        weights[i] = (plan_weight){ i, (3 + i % 7) * 256 * KIB - i };
    }
    return plan_case_make(capacity, STEPS, weights, STEPS, 256 * KIB, 500000000, arena);
}

static void test_cpsat_overlap__refuses_what_is_too_large(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = make_large(arena);
    fm_overlap_options  options = { .solver = FM_SOLVER_CPSAT };
    fm_overlap_plan     plan;
    flashmem_error      err = { 0 };
    unsigned            weights, positions, most;
    unsigned long       booleans;
    assert_int_equal(fm_overlap_solve(p, &options, arena, &plan, &err), FLASHMEM_UNSUPPORTED);
    assert_int_equal(sscanf(err.message,
                            "CP-SAT: a segment of %u weights over %u steps with capacity has %lu booleans, at most %u",
                            &weights, &positions, &booleans, &most),
                     4);
    assert_int_equal(most, FM_CPSAT_MOST_BOOLEANS);
    assert_true(booleans > most && weights > 100 && positions > 100);
    fm_arena_destroy(arena);
}

/* One segment with a few thousand booleans that is not closed in an instant. */
static fm_overlap_problem *make_hard(fm_arena *arena) {
    enum { STEPS = 160 };
    uint64_t    *capacity = fm_arena_array(arena, STEPS, sizeof *capacity), random = 7;
    plan_weight *weights = fm_arena_array(arena, STEPS, sizeof *weights);
    uint32_t     count = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        capacity[i] = plan_random(&random, 4) * 256 * KIB;
        if (i % 3 == 0) weights[count++] = (plan_weight){ i, (1 + plan_random(&random, 14)) * 256 * KIB };
    }
    return plan_case_make(capacity, STEPS, weights, count, 256 * KIB, 500000000, arena);
}

/* A time limit, even none at all, leaves a plan and a bound around the optimum. */
static void test_cpsat_overlap__keeps_a_plan_when_time_is_up(void **state) {
    (void)state;
    static const double limits[] = { -1, 0.02, 0.2 };
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = make_hard(arena);
    fm_overlap_plan     best = solve(p, (fm_overlap_options){ .solver = FM_SOLVER_LABELS }, arena);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        double             start = fm_clock_seconds();
        fm_overlap_options options = { .solver = FM_SOLVER_CPSAT, .time_limit = limits[i], .threads = 1 };
        fm_overlap_plan    plan = solve(p, options, arena);
        assert_true(fm_clock_seconds() - start < 5);
        assert_true(plan.bound <= best.objective && best.objective <= plan.objective);
        assert_true(plan.bound > 0);
        if (limits[i] < 0) assert_int_equal(plan.status, FM_OVERLAP_FEASIBLE);
    }
    fm_arena_destroy(arena);
}

static bool stop_after(void *user) { return atomic_fetch_add((atomic_int *)user, 1) >= 2; }

static void test_cpsat_overlap__stops_when_asked(void **state) {
    (void)state;
    atomic_int          asked = 0;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = make_hard(arena);
    fm_overlap_options  options = { .solver = FM_SOLVER_CPSAT, .threads = 1, .stop = stop_after, .stop_user = &asked };
    double              start = fm_clock_seconds();
    fm_overlap_plan     plan = solve(p, options, arena);
    assert_true(fm_clock_seconds() - start < 10);
    assert_true(atomic_load(&asked) > 2);
    assert_int_equal(plan.status, FM_OVERLAP_FEASIBLE);
    fm_arena_destroy(arena);
}

static void test_cpsat_overlap__of_nothing_costs_nothing(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    uint64_t            capacity[2] = { MIB, MIB };
    plan_weight         first = { 0, 3 * MIB };
    fm_overlap_options  options = { .solver = FM_SOLVER_CPSAT };
    fm_overlap_problem *none = plan_case_make(capacity, 2, NULL, 0, MIB, 10 * MIB, arena);
    fm_overlap_problem *one = plan_case_make(capacity, 2, &first, 1, MIB, 10 * MIB, arena);
    assert_int_equal(solve(none, options, arena).objective, 0);
    assert_int_equal(solve(one, options, arena).preload_bytes, 3 * MIB);
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpsat_overlap__is_the_optimum),
        cmocka_unit_test(test_cpsat_overlap__agrees_with_labels),
        cmocka_unit_test(test_cpsat_overlap__proves_transformers_in_seconds),
        cmocka_unit_test(test_cpsat_segments__of_a_transformer_are_few),
        cmocka_unit_test(test_cpsat_probe__bounds_the_optimum_from_both_sides),
        cmocka_unit_test(test_cpsat_overlap__refuses_what_is_too_large),
        cmocka_unit_test(test_cpsat_overlap__keeps_a_plan_when_time_is_up),
        cmocka_unit_test(test_cpsat_overlap__stops_when_asked),
        cmocka_unit_test(test_cpsat_overlap__of_nothing_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
