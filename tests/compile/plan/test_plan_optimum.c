/* Every solver against the optimum by trying everything. */
#include <stdio.h>

#include "compile/plan/labels.h"
#include "compile/plan/solvers.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { SEEDS = 60 };

static const fm_overlap_limit forever = { .deadline = 1e300 };

static fm_overlap_plan solve(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena) {
    fm_overlap_plan plan;
    flashmem_error  err = { 0 };
    if (fm_overlap_solve(p, options, arena, &plan, &err) != FLASHMEM_OK) fail_msg("%s: %s", p->name, err.message);
    return plan;
}

static void test_plan_labels__is_the_optimum(void **state) {
    (void)state;
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            fm_overlap_options  labels = { .solver = FM_SOLVER_LABELS }, any = { .solver = FM_SOLVER_AUTO };
            fm_overlap_plan     plan = solve(p, &labels, arena), other = solve(p, &any, arena);
            int64_t             best = plan_brute_force(p);
            if (plan.objective != best || plan.status != FM_OVERLAP_OPTIMAL || plan.bound != best)
                fail_msg("%s, seed %u: %lld %s, optimum %lld", p->name, (unsigned)seed, (long long)plan.objective,
                         fm_overlap_status_name(plan.status), (long long)best);
            assert_int_equal(other.objective, best);
            assert_string_equal(plan.solver, "labels");
            fm_arena_destroy(arena);
        }
}

/* Solvers that promise only a plan and a bound: both sides of the optimum. */
static void test_plan_solvers__hold_the_optimum_between_bound_and_objective(void **state) {
    (void)state;
    static const fm_overlap_options others[] = {
        { .solver = FM_SOLVER_GREEDY },
        { .solver = FM_SOLVER_WIDTH1 },
        { .solver = FM_SOLVER_PRELOAD },
        { .solver = FM_SOLVER_WINDOW },
        { .solver = FM_SOLVER_WINDOW, .window = 3, .width = 4 },
        { .solver = FM_SOLVER_LABELS, .width = 1 },
        { .solver = FM_SOLVER_LABELS, .width = 2 },
        { .solver = FM_SOLVER_LABELS, .width = 200 },
        { .solver = FM_SOLVER_AUTO, .time_limit = 1e-9 },
        { .solver = FM_SOLVER_AUTO, .time_limit = -1 },
    };
    uint32_t worse[sizeof others / sizeof *others] = { 0 };
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS / 2; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            int64_t             best = plan_brute_force(p);
            for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
                fm_overlap_plan plan = solve(p, &others[i], arena);
                if (plan.objective < best || plan.bound > best)
                    fail_msg("%s, seed %u, %s: %lld..%lld without %lld", p->name, (unsigned)seed, plan.solver,
                             (long long)plan.bound, (long long)plan.objective, (long long)best);
                worse[i] += plan.objective > best;
            }
            fm_arena_destroy(arena);
        }
    assert_int_not_equal(worse[0], 0); /* greedy weighs no costs */
    assert_int_equal(worse[7], 0);     /* no case needs more than 200 labels */
}

/* Softened capacities can only help; what they gain is counted. */
static void test_plan_soften__is_below_the_optimum_and_says_by_what(void **state) {
    (void)state;
    uint32_t below = 0;
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS / 2; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            fm_overlap_options  soften = { .solver = FM_SOLVER_SOFTEN, .soften = 2 };
            fm_overlap_plan     plan = solve(p, &soften, arena);
            int64_t             best = plan_brute_force(p);
            assert_true(plan.objective <= best);
            assert_true(plan.bound <= best);
            if (!plan.softened) assert_int_equal(plan.objective, best);
            if (plan.softened) assert_int_not_equal(plan.status, FM_OVERLAP_OPTIMAL);
            below += plan.objective < best;
            fm_arena_destroy(arena);
        }
    assert_int_not_equal(below, 0);
}

/* Shortest remaining first is the best x for the best p. */
static void test_plan_complete__is_the_best_of_all_loads(void **state) {
    (void)state;
    static const plan_regime tiny[] = {
        { "tiny", 6, 4, 256 << 10, 3, 3, 12, 0, 0, 0.9, false },
        { "tiny starved", 6, 4, 256 << 10, 1, 3, 12, 0, 0, 0.95, false },
        { "tiny peak", 5, 4, 256 << 10, 3, 3, 5, 0, 0, 0.97, false },
        { "tiny bytes", 5, 4, 256 << 10, 2, 3, 6, 0, 0, 0.97, true },
    };
    for (size_t r = 0; r < sizeof tiny / sizeof *tiny; r++)
        for (uint64_t seed = 0; seed < 200; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&tiny[r], seed, arena);
            assert_int_equal(plan_brute_force_loads(p), plan_brute_force(p));
            fm_arena_destroy(arena);
        }
}

/* V is a bound of every segment, and where distance is paid by the chunk the optimum itself. */
static void test_plan_bounds__is_at_most_the_optimum(void **state) {
    (void)state;
    uint32_t tight = 0, cases = 0;
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            int64_t             best = plan_brute_force(p), sum;
            fm_segments         segments;
            fm_segments_make(p, arena, &segments);
            sum = segments.forced_cost;
            for (uint32_t i = 0; i < segments.count; i++) {
                fm_bounds bounds;
                assert_int_equal(fm_bounds_make(&bounds, &segments.items[i], &forever), FLASHMEM_OK);
                sum += bounds.least;
                fm_bounds_free(&bounds);
            }
            if (sum > best)
                fail_msg("%s, seed %u: %lld above %lld", p->name, (unsigned)seed, (long long)sum, (long long)best);
            tight += sum == best;
            cases++;
            fm_arena_destroy(arena);
        }
    assert_true(2 * tight > cases);
}

/* A random block of layers three times over, sizes of the later ones sometimes a little less: of as many chunks, but
 * cheaper to preload. */
static fm_overlap_problem *three_blocks(uint64_t seed, fm_arena *arena) {
    uint64_t    random = seed + 77, capacity[15] = { 0 };
    plan_weight weights[12];
    for (uint32_t l = 0; l < 5; l++) capacity[l] = (uint64_t)plan_random(&random, 4) << 18;
    for (uint32_t i = 0; i < 4; i++)
        weights[i] = (plan_weight){ i + 1,
                                    ((uint64_t)plan_random(&random, 3) << 18) + 1 + plan_random(&random, 1 << 18) };
    for (uint32_t l = 5; l < 15; l++) capacity[l] = capacity[l - 5];
    for (uint32_t i = 4; i < 12; i++) {
        uint64_t bytes = weights[i - 4].bytes, rest = bytes & ((1 << 18) - 1);
        weights[i] = (plan_weight){ weights[i - 4].first + 5, bytes };
        if (rest > 1 && plan_random(&random, 4) == 0) weights[i].bytes -= plan_random(&random, (uint32_t)rest - 1);
    }
    return plan_case_make(capacity, 15, weights, 12, 1 << 18, 5 << 18, arena);
}

static void test_plan_segments__copy_only_what_is_equal(void **state) {
    (void)state;
    uint32_t copies = 0, several = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        fm_arena           *arena = fm_arena_create();
        fm_overlap_problem *p = three_blocks(seed, arena);
        fm_overlap_options  labels = { .solver = FM_SOLVER_LABELS };
        fm_segments         segments;
        fm_segments_make(p, arena, &segments);
        for (uint32_t i = 0; i < segments.count; i++) copies += segments.items[i].same_as != i;
        several += segments.count > 1;
        assert_int_equal(solve(p, &labels, arena).objective, plan_brute_force(p));
        fm_arena_destroy(arena);
    }
    assert_in_range(copies, 100, 2000);
    assert_in_range(several, 100, 400);
}

/* What labels of one width find and prove with prices, all segments together. */
static void solve_priced(const fm_overlap_problem *p, uint32_t width, fm_arena *arena, int64_t *objective,
                         int64_t *bound, int64_t *least) {
    fm_labels_limits limits = { .width = width, .until = { .deadline = 1e300 } };
    fm_segments      segments;
    fm_segments_make(p, arena, &segments);
    *objective = *bound = *least = segments.forced_cost;
    for (uint32_t i = 0; i < segments.count; i++) {
        fm_segment      *segment = &segments.items[i];
        uint8_t         *preload = fm_arena_array(arena, segment->weight_count, 1);
        int64_t          known = 0;
        fm_bounds        bounds;
        fm_prices        prices;
        fm_labels_result result;
        for (uint32_t k = 0; k < segment->weight_count; k++) known += segment->weights[k].cost;
        assert_int_equal(fm_bounds_make(&bounds, segment, &forever), FLASHMEM_OK);
        assert_int_equal(fm_prices_make(&prices, &bounds, known, &forever), FLASHMEM_OK);
        assert_true(!prices.rests == segment->by_chunk);
        assert_int_equal(fm_labels_solve(&bounds, &prices, &limits, known, preload, &result), FLASHMEM_OK);
        *objective += result.objective;
        *bound += result.bound;
        *least += prices.least;
        fm_prices_free(&prices);
        fm_bounds_free(&bounds);
    }
}

/* Prices are a bound too, and no label that the optimum needs is dropped for them. */
static void test_plan_prices__bound_and_guide_labels(void **state) {
    (void)state;
    uint32_t better = 0;
    for (uint32_t r = 0; r < plan_regime_count; r++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            fm_arena           *arena = fm_arena_create();
            fm_overlap_problem *p = plan_case_random(&plan_regimes[r], seed, arena);
            int64_t             best = plan_brute_force(p), objective, bound, least, narrow, narrow_bound;
            solve_priced(p, 100000, arena, &objective, &bound, &least);
            solve_priced(p, 1, arena, &narrow, &narrow_bound, &least);
            if (objective != best || bound != best || least > best || narrow < best || narrow_bound > best)
                fail_msg("%s, seed %u: %lld, bound %lld, prices %lld, width 1 %lld..%lld; optimum %lld", p->name,
                         (unsigned)seed, (long long)objective, (long long)bound, (long long)least,
                         (long long)narrow_bound, (long long)narrow, (long long)best);
            better += narrow_bound < least;
            fm_arena_destroy(arena);
        }
    assert_int_equal(better, 0); /* what prices prove is in every bound */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_labels__is_the_optimum),
        cmocka_unit_test(test_plan_solvers__hold_the_optimum_between_bound_and_objective),
        cmocka_unit_test(test_plan_soften__is_below_the_optimum_and_says_by_what),
        cmocka_unit_test(test_plan_complete__is_the_best_of_all_loads),
        cmocka_unit_test(test_plan_bounds__is_at_most_the_optimum),
        cmocka_unit_test(test_plan_segments__copy_only_what_is_equal),
        cmocka_unit_test(test_plan_prices__bound_and_guide_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
