/* Models in CP-SAT: every kind of constraint, limits, interruption, what it refuses. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat.h"
#include "tests/base/cmocka_setup.h"

static const fm_cpsat_limits plain = { .seconds = 30, .threads = 1 };

typedef struct fixture {
    fm_arena       *arena;
    fm_cpsat_model *m;
    fm_cpsat_result r;
    flashmem_error  err;
} fixture;

static int set_up(void **state) {
    fixture *f = test_calloc(1, sizeof *f);
    f->arena = fm_arena_create();
    f->m = fm_cpsat_create(f->arena);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    fm_arena_destroy(f->arena);
    test_free(f);
    return 0;
}

static void solve(fixture *f, fm_cpsat_status expected) {
    if (fm_cpsat_solve(f->m, &plain, &f->r, &f->err) != FLASHMEM_OK) fail_msg("%s", f->err.message);
    assert_int_equal(f->r.status, expected);
}

static void test_cpsat__minimizes_over_linear_constraints(void **state) {
    fixture *f = *state;
    int32_t  x = fm_cpsat_integer(f->m, -5, 20), y = fm_cpsat_integer(f->m, 0, 20), b = fm_cpsat_boolean(f->m);
    fm_cpsat_term(f->m, x, 3);
    fm_cpsat_term(f->m, y, 2);
    fm_cpsat_linear(f->m, 7, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    fm_cpsat_term(f->m, x, 1);
    fm_cpsat_linear(f->m, FM_CPSAT_LOW, -3, b); /* b: x <= -3 */
    fm_cpsat_term(f->m, x, 1);
    fm_cpsat_linear(f->m, 2, FM_CPSAT_HIGH, FM_CPSAT_NOT(b)); /* else x >= 2 */
    fm_cpsat_term(f->m, x, 5);
    fm_cpsat_term(f->m, y, 1);
    fm_cpsat_minimize(f->m, FM_CPSAT_LOW);
    solve(f, FM_CPSAT_OPTIMAL); /* x = -5: y = 11; x = 2: y = 1 */
    assert_int_equal(f->r.objective, -14);
    assert_int_equal(f->r.bound, -14);
    assert_int_equal(f->r.values[x], -5);
    assert_int_equal(f->r.values[y], 11);
    assert_int_equal(f->r.values[b], 1);
}

static void test_cpsat__knows_literals(void **state) {
    fixture *f = *state;
    int32_t  b[4];
    int64_t  constant = 0;
    for (int i = 0; i < 4; i++) b[i] = fm_cpsat_boolean(f->m);
    fm_cpsat_or(f->m, (int32_t[]){ FM_CPSAT_NOT(b[0]), b[1] }, 2);
    fm_cpsat_exactly_one(f->m, (int32_t[]){ b[1], FM_CPSAT_NOT(b[2]), b[3] }, 3);
    fm_cpsat_literal_term(f->m, b[0], -10, &constant);
    fm_cpsat_literal_term(f->m, FM_CPSAT_NOT(b[2]), -6, &constant);
    fm_cpsat_literal_term(f->m, b[3], -4, &constant);
    fm_cpsat_minimize(f->m, FM_CPSAT_LOW);
    solve(f, FM_CPSAT_OPTIMAL); /* b0 needs b1, which leaves neither of the others */
    assert_int_equal(f->r.objective + constant, -10);
    assert_int_equal(f->r.values[b[1]], 1);
    assert_int_equal(f->r.values[b[2]], 1);
    assert_int_equal(fm_cpsat_booleans(f->m), 4);
}

static void test_cpsat__places_rectangles_and_loads(void **state) {
    fixture *f = *state;
    int32_t  x[3], y[3], at[3], height = fm_cpsat_integer(f->m, 0, 20);
    int64_t  sizes[3] = { 4, 3, 5 };
    for (int i = 0; i < 3; i++) { /* times 0..3, 2..5, 4..7: neighbours meet */
        at[i] = fm_cpsat_integer(f->m, 0, 20);
        x[i] = fm_cpsat_interval(f->m, (fm_cpsat_expression){ -1, 0, 2 * i }, 3);
        y[i] = fm_cpsat_interval(f->m, (fm_cpsat_expression){ at[i], 2, 1 }, sizes[i]); /* from 2 at + 1 */
        fm_cpsat_term(f->m, height, 1);
        fm_cpsat_term(f->m, at[i], -2);
        fm_cpsat_linear(f->m, sizes[i] + 1, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    }
    fm_cpsat_no_overlap_2d(f->m, x, y, 3);
    fm_cpsat_cumulative(f->m, x, sizes, 3, (fm_cpsat_expression){ height, 1, -2 });
    fm_cpsat_term(f->m, height, 1);
    fm_cpsat_minimize(f->m, FM_CPSAT_LOW);
    solve(f,
          FM_CPSAT_OPTIMAL); /* 5 at 1..6; 3 at 7..10 above it, or 3 at 1..4 and 5 at 5..10: cumulative wants 8 + 2 */
    assert_int_equal(f->r.values[height], 10);
}

static void test_cpsat__finds_what_is_infeasible(void **state) {
    fixture *f = *state;
    int32_t  b = fm_cpsat_boolean(f->m);
    fm_cpsat_or(f->m, &b, 1);
    fm_cpsat_or(f->m, (int32_t[]){ FM_CPSAT_NOT(b) }, 1);
    solve(f, FM_CPSAT_INFEASIBLE);
    assert_null(f->r.values);
}

static void test_cpsat__without_objective_any_solution_will_do(void **state) {
    fixture *f = *state;
    int32_t  x = fm_cpsat_integer(f->m, 3, 9);
    solve(f, FM_CPSAT_OPTIMAL);
    assert_in_range(f->r.values[x], 3, 9);
    assert_int_equal(f->r.objective, 0);
}

static void test_cpsat__says_why_a_model_is_invalid(void **state) {
    fixture *f = *state;
    int32_t  x = fm_cpsat_integer(f->m, 5, 3);
    (void)x;
    assert_int_equal(fm_cpsat_solve(f->m, &plain, &f->r, &f->err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(f->err.message, "refuses the model"));
}

static void test_cpsat__refuses_more_booleans_than_it_tries(void **state) {
    fixture *f = *state;
    for (uint32_t i = 0; i <= FM_CPSAT_MOST_BOOLEANS; i++) fm_cpsat_boolean(f->m);
    assert_int_equal(fm_cpsat_solve(f->m, &plain, &f->r, &f->err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(f->err.message, "10001 booleans"));
}

/* Distances between the marks of a ruler, all different: proofs take minutes from 11 marks on. */
enum { MARKS = 11, PAIRS = MARKS * (MARKS - 1) / 2, LENGTH = 120 };

static void make_hard(fixture *f) {
    int32_t  mark[MARKS], pairs[PAIRS];
    uint32_t count = 0;
    for (int i = 0; i < MARKS; i++) mark[i] = fm_cpsat_integer(f->m, i ? 1 : 0, i ? LENGTH : 0);
    for (int i = 0; i < MARKS; i++)
        for (int j = i + 1; j < MARKS; j++) {
            int32_t d = fm_cpsat_integer(f->m, 1, LENGTH);
            fm_cpsat_term(f->m, mark[j], 1);
            fm_cpsat_term(f->m, mark[i], -1);
            fm_cpsat_term(f->m, d, -1);
            fm_cpsat_linear(f->m, 0, 0, FM_CPSAT_ALWAYS);
            pairs[count++] = d;
        }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++) {
            int32_t less = fm_cpsat_boolean(f->m);
            for (int k = 0; k < 2; k++) {
                fm_cpsat_term(f->m, pairs[i], k ? -1 : 1);
                fm_cpsat_term(f->m, pairs[j], k ? 1 : -1);
                fm_cpsat_linear(f->m, 1, FM_CPSAT_HIGH, k ? less : FM_CPSAT_NOT(less));
            }
        }
    fm_cpsat_term(f->m, mark[MARKS - 1], 1);
    fm_cpsat_minimize(f->m, FM_CPSAT_LOW);
}

static void test_cpsat__keeps_the_time_limit(void **state) {
    fixture        *f = *state;
    fm_cpsat_limits limits = { .seconds = 0.3, .threads = 1 };
    make_hard(f);
    double start = fm_clock_seconds();
    assert_int_equal(fm_cpsat_solve(f->m, &limits, &f->r, &f->err), FLASHMEM_OK);
    assert_true(fm_clock_seconds() - start < 5);
    assert_true(f->r.status == FM_CPSAT_UNKNOWN || f->r.status == FM_CPSAT_FEASIBLE);
    if (f->r.values) assert_true(f->r.bound < f->r.objective);
}

typedef struct asking {
    atomic_int count;
    pthread_t  solver;
    bool       elsewhere;
} asking;

static bool stop_after_five(void *user) {
    asking *a = user;
    a->elsewhere = !pthread_equal(a->solver, pthread_self());
    return atomic_fetch_add(&a->count, 1) >= 5;
}

static void test_cpsat__stops_when_asked(void **state) {
    fixture        *f = *state;
    asking          a = { .solver = pthread_self() };
    fm_cpsat_limits limits = { .seconds = 60, .threads = 1, .stop = stop_after_five, .user = &a };
    make_hard(f);
    double start = fm_clock_seconds();
    assert_int_equal(fm_cpsat_solve(f->m, &limits, &f->r, &f->err), FLASHMEM_OK);
    assert_true(fm_clock_seconds() - start < 20);
    assert_true(atomic_load(&a.count) > 5 && a.elsewhere);
    assert_true(f->r.status == FM_CPSAT_UNKNOWN || f->r.status == FM_CPSAT_FEASIBLE);
}

/* A hint that satisfies everything is the first solution, before any search. */
static void test_cpsat__begins_with_the_hint(void **state) {
    static const int golomb[MARKS] = { 0, 1, 4, 13, 28, 33, 47, 54, 64, 70, 72 };
    fixture         *f = *state;
    fm_cpsat_limits  limits = { .seconds = 2, .threads = 1 };
    uint32_t         next = MARKS, pairs[PAIRS], count = 0;
    make_hard(f);
    for (int i = 0; i < MARKS; i++) fm_cpsat_hint(f->m, i, golomb[i]);
    for (int i = 0; i < MARKS; i++)
        for (int j = i + 1; j < MARKS; j++) {
            pairs[count++] = (uint32_t)(golomb[j] - golomb[i]);
            fm_cpsat_hint(f->m, (int32_t)next++, golomb[j] - golomb[i]);
        }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++) fm_cpsat_hint(f->m, (int32_t)next++, pairs[i] < pairs[j]);
    assert_int_equal(fm_cpsat_solve(f->m, &limits, &f->r, &f->err), FLASHMEM_OK);
    assert_int_equal(f->r.status, FM_CPSAT_FEASIBLE);
    assert_int_equal(f->r.objective, 72); /* the shortest there is */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_cpsat__minimizes_over_linear_constraints),
        TEST(test_cpsat__knows_literals),
        TEST(test_cpsat__places_rectangles_and_loads),
        TEST(test_cpsat__finds_what_is_infeasible),
        TEST(test_cpsat__without_objective_any_solution_will_do),
        TEST(test_cpsat__says_why_a_model_is_invalid),
        TEST(test_cpsat__refuses_more_booleans_than_it_tries),
        TEST(test_cpsat__keeps_the_time_limit),
        TEST(test_cpsat__stops_when_asked),
        TEST(test_cpsat__begins_with_the_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
