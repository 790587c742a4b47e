/* What finish fills and refuses, the edges of the problem, and completing a choice. */
#include <math.h>
#include <string.h>

#include "compile/plan/solvers.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

typedef struct parts {
    fm_overlap_problem problem;
    fm_overlap_step    steps[3];
    fm_overlap_weight  weights[2];
    double             lambda;
} parts;

static parts good_parts(void) {
    return (parts){
        .problem = { .name = "p",
                     .step_count = 3,
                     .weight_count = 2,
                     .chunk_bytes = 256 * KIB,
                     .m_peak_bytes = 9 * MIB },
        .steps = { { .name = "a", .capacity_bytes = MIB - 1 },
                   { .name = "b", .capacity_bytes = MIB },
                   { .name = "c" } },
        .weights = { { .name = "v", .bytes = MIB + 1, .first = 1, .last = 2 }, { .name = "w", .first = 2, .last = 2 } },
        .lambda = 0.9,
    };
}

static flashmem_status finish(parts *p, flashmem_error *err) {
    return fm_overlap_problem_finish(&p->problem, p->steps, p->weights, p->lambda, err);
}

static void test_plan_problem__fills_counts_and_costs(void **state) {
    (void)state;
    parts p = good_parts();
    assert_int_equal(finish(&p, NULL), FLASHMEM_OK);
    assert_int_equal(p.steps[0].capacity, 3);
    assert_int_equal(p.steps[1].capacity, 4);
    assert_int_equal(p.weights[0].chunks, 5);
    assert_int_equal(p.weights[1].chunks, 1);
    assert_int_equal(p.problem.m_peak, 36);
    assert_int_equal(p.problem.preload_cost, 9);
    assert_int_equal(p.problem.distance_cost, 1024);
    assert_int_equal(p.problem.unit, 10240);
    assert_true(fabs(fm_overlap_units(&p.problem, 9 * 1024) - 0.9) < 1e-12);
    assert_int_equal(fm_overlap_preload_cost(&p.problem, &p.weights[0]), 9 * 1025);
    p.lambda = 0.12345; /* to 0.123 */
    assert_int_equal(finish(&p, NULL), FLASHMEM_OK);
    assert_int_equal(p.problem.preload_cost, 123);
    assert_int_equal(p.problem.distance_cost, 877 * 1024);
    assert_int_equal(p.problem.unit, 1000 * 1024);
}

/* A chunk's step of distance is an integer, and in the units of the formula what it should be. */
static void test_plan_problem__pays_chunks_exactly(void **state) {
    (void)state;
    static const uint64_t chunks[] = { 1, 3, 999, 1000, 4096, 99900, 256 * KIB, 100000001 };
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        parts p = good_parts();
        p.problem.distance = FM_DISTANCE_BYTES;
        p.problem.chunk_bytes = chunks[i];
        assert_int_equal(finish(&p, NULL), FLASHMEM_OK);
        assert_int_equal((uint64_t)p.problem.distance_cost * chunks[i] % MIB, 0);
        double paid = fm_overlap_units(&p.problem, fm_overlap_chunk_cost(&p.problem));
        assert_true(fabs(paid / (0.1 * (double)chunks[i] / MIB) - 1) < 1e-9);
    }
}

static void no_chunk(parts *p) { p->problem.chunk_bytes = 0; }
static void lambda_above_one(parts *p) { p->lambda = 1.001; }
static void lambda_below_zero(parts *p) { p->lambda = -0.001; }
static void lambda_is_no_number(parts *p) { p->lambda = NAN; }
static void first_beyond_the_steps(parts *p) { p->weights[1].first = p->weights[1].last = 3; }
static void last_beyond_the_steps(parts *p) { p->weights[0].last = 3; }
static void last_before_first(parts *p) { p->weights[1].last = 1; }
static void weights_out_of_order(parts *p) { p->weights[1].first = 0; }
static void weight_of_too_many_chunks(parts *p) { p->weights[0].bytes = UINT64_MAX; }
static void too_many_chunks_together(parts *p) {
    p->problem.chunk_bytes = KIB;
    p->weights[0].bytes = p->weights[1].bytes = (uint64_t)3 << 40;
}
static void too_many_bytes(parts *p) {
    p->problem.chunk_bytes = UINT64_MAX;
    p->weights[0].bytes = UINT64_MAX;
}
static void distances_too_dear(parts *p) {
    p->problem.distance = FM_DISTANCE_BYTES;
    p->problem.chunk_bytes = ((uint64_t)1 << 52) + 1;
    p->weights[0].bytes = (uint64_t)1 << 52;
}

static void test_plan_problem__refuses_what_does_not_fit(void **state) {
    (void)state;
    static void (*const rows[])(parts *) = {
        no_chunk,
        lambda_above_one,
        lambda_below_zero,
        lambda_is_no_number,
        first_beyond_the_steps,
        last_beyond_the_steps,
        last_before_first,
        weights_out_of_order,
        weight_of_too_many_chunks,
        too_many_chunks_together,
        too_many_bytes,
        distances_too_dear,
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parts          p = good_parts();
        flashmem_error err = { 0 };
        assert_int_equal(finish(&p, NULL), FLASHMEM_OK);
        rows[i](&p);
        if (finish(&p, &err) != FLASHMEM_INVALID_ARGUMENT || !strstr(err.message, "problem 'p'"))
            fail_msg("row %zu: %s", i, err.message);
    }
}

/* ---- edges ---- */

static const fm_overlap_options every_solver[] = {
    { .solver = FM_SOLVER_AUTO },   { .solver = FM_SOLVER_LABELS },  { .solver = FM_SOLVER_GREEDY },
    { .solver = FM_SOLVER_WIDTH1 }, { .solver = FM_SOLVER_PRELOAD }, { .solver = FM_SOLVER_WINDOW },
    { .solver = FM_SOLVER_SOFTEN },
};

/* Solves with all; the objective of labels, in units, must be `objective`. */
static void check_all(const fm_overlap_problem *p, double objective) {
    for (size_t i = 0; i < sizeof every_solver / sizeof *every_solver; i++) {
        fm_arena       *arena = fm_arena_create();
        fm_overlap_plan plan;
        flashmem_error  err = { 0 };
        if (fm_overlap_solve(p, &every_solver[i], arena, &plan, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        double units = fm_overlap_units(p, plan.objective);
        if (i < 2 && (plan.status != FM_OVERLAP_OPTIMAL || fabs(units - objective) > 1e-6 * (1 + objective)))
            fail_msg("%s: %g %s, %g wanted", plan.solver, units, fm_overlap_status_name(plan.status), objective);
        assert_string_equal(plan.solver, i ? fm_overlap_solver_name(every_solver[i].solver) : "labels");
        fm_arena_destroy(arena);
    }
}

static void test_plan_edges__nothing_at_all(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    const uint64_t capacity[] = { MIB, 0 };
    check_all(plan_case_make(NULL, 0, NULL, 0, KIB, MIB, arena), 0);
    check_all(plan_case_make(capacity, 2, NULL, 0, KIB, MIB, arena), 0);
    fm_arena_destroy(arena);
}

static void test_plan_edges__everything_must_be_preloaded(void **state) {
    (void)state;
    fm_arena         *arena = fm_arena_create();
    const uint64_t    capacity[] = { 64 * MIB, 64 * MIB, 64 * MIB }, none[3] = { 0 };
    const plan_weight first[] = { { 0, MIB }, { 0, 2 * MIB } }, later[] = { { 1, MIB }, { 2, 2 * MIB } };
    check_all(plan_case_make(capacity, 1, first, 2, 256 * KIB, 64 * MIB, arena), 2.7); /* no step before */
    check_all(plan_case_make(none, 3, later, 2, 256 * KIB, 64 * MIB, arena), 2.7);     /* no capacity */
    check_all(plan_case_make(capacity, 3, later, 2, 256 * KIB, 0, arena), 2.7);        /* no memory */
    check_all(plan_case_make(capacity, 3, later, 2, 256 * KIB, MIB, arena), 1.9);      /* for one of them */
    check_all(plan_case_make(capacity, 3, later, 2, 256 * KIB, 64 * MIB, arena), 0.2);
    fm_arena_destroy(arena);
}

/* Preloading costs less than one step of distance: up to 0.111 MiB, and nothing at all without bytes. */
static void test_plan_edges__small_weights_are_preloaded(void **state) {
    (void)state;
    fm_arena         *arena = fm_arena_create();
    const uint64_t    capacity[] = { 64 * MIB, 64 * MIB };
    const plan_weight small[] = { { 1, 0 }, { 1, 113 * KIB } }, larger[] = { { 1, 0 }, { 1, 114 * KIB } };
    check_all(plan_case_make(capacity, 2, small, 2, 256 * KIB, 64 * MIB, arena), 0.9 * 113 / 1024);
    check_all(plan_case_make(capacity, 2, larger, 2, 256 * KIB, 64 * MIB, arena), 0.1);
    fm_arena_destroy(arena);
}

/* Petabytes in chunks of gigabytes; a memory and capacities without a limit; grids too fine for V. */
static void test_plan_edges__huge_values(void **state) {
    (void)state;
    fm_arena         *arena = fm_arena_create();
    const uint64_t    without[] = { UINT64_MAX, UINT64_MAX, UINT64_MAX }, fine[] = { 3000000, 2000000000, 1000000 };
    const plan_weight petabytes[] = { { 1, (uint64_t)1 << 50 }, { 2, (uint64_t)1 << 50 } };
    const plan_weight bytes[] = { { 1, 3000000 }, { 2, 1500000000 }, { 2, 400000000 } };
    check_all(plan_case_make(without, 3, petabytes, 2, (uint64_t)1 << 30, UINT64_MAX, arena), 0.2);
    check_all(plan_case_make(fine, 3, bytes, 3, 1, UINT64_MAX, arena), 0.3);
    check_all(plan_case_make(fine, 3, bytes, 3, 1, 1899999999, arena), 0.2 + 0.9 * 390625 / 1024);
    fm_arena_destroy(arena);
}

static void test_plan_solve__refuses_what_is_no_solver(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_options  none = { .solver = FM_SOLVERS }, soft = { .solver = FM_SOLVER_SOFTEN, .soften = 0.5 };
    fm_overlap_plan     plan;
    flashmem_error      err = { 0 };
    const uint64_t      capacity[] = { MIB };
    fm_overlap_problem *p = plan_case_make(capacity, 1, NULL, 0, KIB, MIB, arena);
    assert_int_equal(fm_overlap_solve(p, &none, arena, &plan, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_int_equal(fm_overlap_solve(p, &soft, arena, &plan, NULL), FLASHMEM_INVALID_ARGUMENT);
    assert_string_equal(fm_overlap_solver_name(FM_SOLVERS), "none");
    assert_string_equal(fm_overlap_solver_name(FM_SOLVER_CPSAT), "cpsat");
    assert_string_equal(fm_overlap_status_name(FM_OVERLAP_OPTIMAL), "OPTIMAL");
    assert_string_equal(fm_overlap_status_name((fm_overlap_status)9), "none");
    fm_arena_destroy(arena);
}

/* Of two weights due together the smaller is loaded last, so that it waits least. */
static void test_plan_complete__serves_the_shortest_remainder(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    const uint64_t      capacity[] = { MIB, MIB, MIB, 0 };
    const plan_weight   weights[] = { { 3, 2 * MIB }, { 3, MIB } };
    const uint8_t       both[] = { 0, 0 }, one[] = { 1, 0 };
    fm_overlap_problem *p = plan_case_make(capacity, 4, weights, 2, 256 * KIB, 3 * MIB, arena);
    fm_overlap_plan     plan = { 0 };
    assert_true(fm_overlap_complete(p, both, arena, &plan));
    assert_int_equal(plan.load_count, 3);
    assert_int_equal(plan.first_load[0], 0);
    assert_int_equal(plan.first_load[1], 2);
    assert_int_equal(plan.loads[1].step, 1);
    assert_int_equal(plan.peak_chunks, 12);
    assert_int_equal(plan.objective, 4 * 1024);
    assert_true(fm_overlap_complete(p, one, arena, &plan));
    assert_int_equal(plan.preload_bytes, 2 * MIB);
    assert_int_equal(plan.objective, 1024 + 9 * 2048);
    p = plan_case_make(capacity, 4, weights, 2, 256 * KIB, 3 * MIB - 1, arena);
    assert_false(fm_overlap_complete(p, both, arena, &plan)); /* C2 */
    assert_true(fm_overlap_complete(p, one, arena, &plan));
    p = plan_case_make(capacity + 1, 3, weights, 0, 256 * KIB, 3 * MIB, arena);
    assert_true(fm_overlap_complete(p, both, arena, &plan));
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_problem__fills_counts_and_costs),
        cmocka_unit_test(test_plan_problem__pays_chunks_exactly),
        cmocka_unit_test(test_plan_problem__refuses_what_does_not_fit),
        cmocka_unit_test(test_plan_edges__nothing_at_all),
        cmocka_unit_test(test_plan_edges__everything_must_be_preloaded),
        cmocka_unit_test(test_plan_edges__small_weights_are_preloaded),
        cmocka_unit_test(test_plan_edges__huge_values),
        cmocka_unit_test(test_plan_solve__refuses_what_is_no_solver),
        cmocka_unit_test(test_plan_complete__serves_the_shortest_remainder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
