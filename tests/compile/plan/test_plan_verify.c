/* The verifier refuses every kind of damage and says what it is. */
#include <stdio.h>
#include <string.h>

#include "compile/plan/problem.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/plan/plan_case.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* w0 must be preloaded, w5 costs too little to be streamed, w1 takes two steps. */
static fm_overlap_problem *a_problem(fm_arena *arena) {
    static const uint64_t    capacity[] = { 100, 2 * MIB, 0, 2 * MIB, 3 * MIB, 1 * MIB, 0, 4 * MIB, 1 * MIB };
    static const plan_weight weights[] = { { 0, 900 * KIB }, { 4, 4 * MIB },    { 6, 3 * MIB + 1 },
                                           { 8, 2 * MIB },   { 8, 1500 * KIB }, { 8, 100 } };
    return plan_case_make(capacity, 9, weights, 6, 256 * KIB, 20 * MIB, arena);
}

typedef struct damaged {
    fm_overlap_problem problem;
    fm_overlap_step    steps[9];
    fm_overlap_weight  weights[6];
    fm_overlap_plan    plan;
    uint8_t            preload[6];
    uint32_t           first_load[6];
    fm_overlap_load    loads[16];
} damaged;

/* The only load of a weight that has one, and the first load of one that has several. */
static fm_overlap_load *single_load(damaged *d) {
    for (uint32_t i = 0; i < d->plan.load_count; i++)
        if ((!i || d->loads[i - 1].weight != d->loads[i].weight) &&
            (i + 1 == d->plan.load_count || d->loads[i + 1].weight != d->loads[i].weight))
            return &d->loads[i];
    fail_msg("no weight has one load");
    return NULL;
}
static fm_overlap_load *several_loads(damaged *d) {
    for (uint32_t i = 0; i + 1 < d->plan.load_count; i++)
        if (d->loads[i].weight == d->loads[i + 1].weight) return &d->loads[i];
    fail_msg("no weight has several loads");
    return NULL;
}

static void one_chunk_less(damaged *d) { several_loads(d)->chunks--; }
static void one_chunk_more(damaged *d) { several_loads(d)->chunks++; }
static void no_chunks(damaged *d) {
    fm_overlap_load *x = several_loads(d);
    x[1].chunks += x->chunks;
    x->chunks = 0;
}
static void load_is_missing(damaged *d) { d->plan.load_count--; }
static void load_is_twice(damaged *d) {
    fm_overlap_load *x = &d->loads[d->plan.load_count++];
    *x = x[-1];
}
static void loads_are_swapped(damaged *d) {
    fm_overlap_load *x = several_loads(d), swap = x[0];
    x[0] = x[1];
    x[1] = swap;
}
static void load_of_no_weight(damaged *d) { d->loads[d->plan.load_count - 1].weight = 6; }
static void load_under_no_step(damaged *d) { d->loads[d->plan.load_count - 1].step = 9; }
static void load_at_first_use(damaged *d) {
    fm_overlap_load *x = several_loads(d) + 1;
    x->step = d->weights[x->weight].first;
}
static void load_before_z(damaged *d) { several_loads(d)->step--; }
static void z_is_later(damaged *d) { d->first_load[several_loads(d)->weight]++; }
static void z_is_earlier(damaged *d) { d->first_load[single_load(d)->weight]--; }
static void z_of_a_preloaded_weight(damaged *d) { d->first_load[0] = 0; }
static void preloaded_and_loaded(damaged *d) { d->preload[several_loads(d)->weight] = 1; }
static void neither_preloaded_nor_loaded(damaged *d) { d->preload[0] = 0; }
static void p_is_two(damaged *d) { d->preload[0] = 2; }
static void objective_is_less(damaged *d) { d->plan.objective--, d->plan.bound--; }
static void objective_is_more(damaged *d) { d->plan.objective++, d->plan.bound++; }
static void objective_is_negative(damaged *d) { d->plan.objective = -1, d->plan.bound = -1; }
static void bound_is_above(damaged *d) { d->plan.bound = d->plan.objective + 1; }
static void bound_is_negative(damaged *d) { d->plan.bound = -1, d->plan.status = FM_OVERLAP_FEASIBLE; }
static void optimal_with_a_gap(damaged *d) { d->plan.bound--; }
static void feasible_without_a_gap(damaged *d) { d->plan.status = FM_OVERLAP_FEASIBLE; }
static void no_such_status(damaged *d) { d->plan.status = (fm_overlap_status)7; }
static void preload_bytes_are_less(damaged *d) { d->plan.preload_bytes--; }
static void peak_is_less(damaged *d) { d->plan.peak_chunks--; }
static void peak_is_more(damaged *d) { d->plan.peak_chunks++; }
static void peak_beyond_memory(damaged *d) {
    d->problem.m_peak_bytes = (uint64_t)(d->plan.peak_chunks - 1) * d->problem.chunk_bytes;
    d->problem.m_peak = d->plan.peak_chunks - 1;
}
static void step_beyond_capacity(damaged *d) {
    fm_overlap_step *step = &d->steps[single_load(d)->step];
    step->capacity = 0;
    step->capacity_bytes = 0;
}
static void softened_without_need(damaged *d) { d->plan.softened = 3, d->plan.status = FM_OVERLAP_FEASIBLE; }
static void softened_by_less(damaged *d) {
    step_beyond_capacity(d);
    d->plan.softened = 1;
    d->plan.status = FM_OVERLAP_FEASIBLE;
}
static void solver_is_not_named(damaged *d) { d->plan.solver = NULL; }
static void seconds_are_negative(damaged *d) { d->plan.seconds = -1; }
static void seconds_are_no_number(damaged *d) { d->plan.seconds = 0.0 / 0.0; }
static void loads_are_gone(damaged *d) { d->plan.loads = NULL; }
static void weight_is_larger(damaged *d) { d->weights[3].bytes += 10 * MIB; }
static void weight_has_a_chunk_less(damaged *d) {
    fm_overlap_load *x = several_loads(d);
    x->chunks--;
    d->weights[x->weight].chunks--;
}
static void capacity_of_more_than_its_bytes(damaged *d) { d->steps[3].capacity++; }
static void memory_of_more_than_its_bytes(damaged *d) { d->problem.m_peak++; }

static const struct {
    const char *name;
    void (*damage)(damaged *);
    const char *said; /* part of the message */
} rows[] = {
#define ROW(name, said) \
    { #name, name, said }
    ROW(one_chunk_less, "C0"),
    ROW(one_chunk_more, "C0"),
    ROW(no_chunks, "0 chunks of weight"),
    ROW(load_is_missing, "C0"),
    ROW(load_is_twice, "out of order"),
    ROW(loads_are_swapped, "out of order"),
    ROW(load_of_no_weight, "of weight 6"),
    ROW(load_under_no_step, "under step 9"),
    ROW(load_at_first_use, "C1"),
    ROW(load_before_z, "C1"),
    ROW(z_is_later, "C1"),
    ROW(z_is_earlier, "C1"),
    ROW(z_of_a_preloaded_weight, "C1"),
    ROW(preloaded_and_loaded, "preloaded and loaded"),
    ROW(neither_preloaded_nor_loaded, "C0"),
    ROW(p_is_two, "p of weight 0"),
    ROW(objective_is_less, "the objective"),
    ROW(objective_is_more, "the objective"),
    ROW(objective_is_negative, "the objective"),
    ROW(bound_is_above, "the bound"),
    ROW(bound_is_negative, "the bound"),
    ROW(optimal_with_a_gap, "status"),
    ROW(feasible_without_a_gap, "status"),
    ROW(no_such_status, "status"),
    ROW(preload_bytes_are_less, "preloaded"),
    ROW(peak_is_less, "peak"),
    ROW(peak_is_more, "peak"),
    ROW(peak_beyond_memory, "C2"),
    ROW(step_beyond_capacity, "at most 0"),
    ROW(softened_without_need, "C3"),
    ROW(softened_by_less, "C3"),
    ROW(solver_is_not_named, "solver"),
    ROW(seconds_are_negative, "seconds"),
    ROW(seconds_are_no_number, "seconds"),
    ROW(loads_are_gone, "missing"),
    ROW(weight_is_larger, "chunks"),
    ROW(weight_has_a_chunk_less, "chunks"),
    ROW(capacity_of_more_than_its_bytes, "capacity of step 3"),
    ROW(memory_of_more_than_its_bytes, "M_peak"),
#undef ROW
};

static void copy(damaged *d, const fm_overlap_problem *p, const fm_overlap_plan *plan) {
    assert_true(p->step_count == 9 && p->weight_count == 6 && plan->load_count < 15);
    d->problem = *p;
    d->plan = *plan;
    memcpy(d->steps, p->steps, sizeof d->steps);
    memcpy(d->weights, p->weights, sizeof d->weights);
    memcpy(d->preload, plan->preload, sizeof d->preload);
    memcpy(d->first_load, plan->first_load, sizeof d->first_load);
    memcpy(d->loads, plan->loads, plan->load_count * sizeof *d->loads);
    d->problem.steps = d->steps;
    d->problem.weights = d->weights;
    d->plan.preload = d->preload;
    d->plan.first_load = d->first_load;
    d->plan.loads = d->loads;
}

static void test_plan_verify__refuses_every_damage(void **state) {
    (void)state;
    fm_arena           *arena = fm_arena_create();
    fm_overlap_problem *p = a_problem(arena);
    fm_overlap_plan     plan;
    flashmem_error      err = { 0 };
    assert_int_equal(fm_overlap_solve(p, NULL, arena, &plan, &err), FLASHMEM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        damaged d;
        copy(&d, p, &plan);
        assert_int_equal(fm_overlap_verify(&d.problem, &d.plan, NULL), FLASHMEM_OK);
        rows[i].damage(&d);
        fm_error_clear(&err);
        if (fm_overlap_verify(&d.problem, &d.plan, &err) != FLASHMEM_INTERNAL || !strstr(err.message, rows[i].said))
            fail_msg("%s: %s", rows[i].name, err.message);
    }
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plan_verify__refuses_every_damage) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
