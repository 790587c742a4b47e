/* The timed recursion where objects are read in another order than that of their first use: against enumeration and an
 * event simulation of its own. */
#include <math.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/schedule/instances.h"

/* Some neighbours change places. */
static void shuffle(uint32_t *order, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (int swaps = below(20); swaps > 0 && count > 1; swaps--) {
        uint32_t i = (uint32_t)below((int)count - 1), other = order[i];
        order[i] = order[i + 1];
        order[i + 1] = other;
    }
}

/* First step that cannot start before the n-th read has ended. */
static uint32_t naive_due(const fm_timed_problem *p, uint32_t n) {
    uint32_t due = p->step_count;
    for (uint32_t i = n; i < p->object_count; i++)
        if (p->objects[p->read_order[i]].first < due) due = p->objects[p->read_order[i]].first;
    return due;
}

/* Bytes live at step k if the first n + 1 reads have been requested. */
static uint64_t naive_live(const fm_timed_problem *p, uint32_t k, uint32_t n) {
    uint64_t live = p->steps[k].live_bytes + resident_sum(p);
    for (uint32_t i = 0; i <= n; i++) {
        const fm_timed_object *object = &p->objects[p->read_order[i]];
        if (!object->resident && object->last >= k) live += object->bytes;
    }
    return live;
}

static int naive_after(const fm_timed_problem *p, uint32_t n) {
    for (int k = (int)naive_due(p, n); k >= 0; k--)
        if (naive_live(p, (uint32_t)k, n) > p->cap) return k;
    return -1;
}

/* Every step holds what must have been requested by then. */
static bool naive_feasible(const fm_timed_problem *p) {
    for (uint32_t n = 0; n < p->object_count; n++)
        for (uint32_t k = naive_due(p, n); k < p->step_count; k++)
            if (naive_live(p, k, n) > p->cap) return false;
    return true;
}

/* One run with given waits; starts of steps. */
static double play(const fm_timed_problem *p, const int32_t *after, double *starts) {
    double   ends[MOST_STEPS], arrivals[MOST_OBJECTS], disk = 0, device = p->startup_seconds;
    uint32_t read = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        double convert = 0;
        for (; read < p->object_count && naive_due(p, read) <= k; read++) {
            uint32_t o = p->read_order[read];
            disk = fmax(disk, (after[o] >= 0 ? ends[after[o]] : 0) + p->request_seconds);
            arrivals[o] = disk += (double)p->objects[o].read_bytes / p->bandwidth;
        }
        for (uint32_t o = 0; o < p->object_count; o++) {
            if (p->objects[o].first != k) continue;
            device = fmax(device, arrivals[o]);
            convert += p->objects[o].convert_seconds;
        }
        starts[k] = device + convert;
        device = ends[k] = starts[k] + p->steps[k].seconds;
    }
    return device;
}

static void check(const fm_timed_problem *p, const fm_timed_plan *plan, int i) {
    flashmem_error err = { 0 };
    double         starts[MOST_STEPS];
    if (fm_timed_verify(p, plan, &err) != FLASHMEM_OK) fail_msg("instance %d: %s", i, err.message);
    double latency = play(p, plan->after, starts);
    assert_true(fabs(latency - plan->latency) < 1e-9);
    for (uint32_t k = 0; k < p->step_count; k++) assert_true(fabs(starts[k] - plan->start[k]) < 1e-9);
}

static void test_timed_order__after_is_the_least_safe_step(void **state) {
    (void)state;
    int infeasible = 0, waiting = 0;
    srand(11);
    for (int i = 0; i < 3000; i++) {
        fm_arena     *arena = fm_arena_create();
        instance      x;
        fm_timed_plan plan;
        uint32_t      order[MOST_OBJECTS];
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, true);
        shuffle(order, x.problem.object_count);
        x.problem.read_order = order;
        x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(40);
        fm_timed_plan_init(&plan, &x.problem, arena);
        bool feasible = fm_timed_solve(&x.problem, &plan), wanted = naive_feasible(&x.problem);
        for (uint32_t n = 0; n < x.problem.object_count; n++) {
            if (x.objects[order[n]].resident) continue;
            if (feasible) assert_int_equal(plan.after[order[n]], naive_after(&x.problem, n));
            waiting += feasible && plan.after[order[n]] >= 0;
        }
        assert_int_equal(feasible, wanted);
        assert_int_equal(fm_timed_minimum_bound(&x.problem, arena) <= x.problem.cap, wanted);
        infeasible += !feasible;
        if (feasible) check(&x.problem, &plan, i);
        if (feasible && fm_timed_solve_steady(&x.problem, &plan)) {
            flashmem_error err = { 0 };
            if (fm_timed_verify(&x.problem, &plan, &err) != FLASHMEM_OK) fail_msg("steady %d: %s", i, err.message);
        }
        fm_arena_destroy(arena);
    }
    if (infeasible < 100 || waiting < 1000) fail_msg("%d infeasible, %d waiting", infeasible, waiting);
}

/* Wishes are kept where the cap and the order of reads allow, and never undercut. */
static void test_timed_order__wishes_are_held(void **state) {
    (void)state;
    int raised = 0, kept = 0;
    srand(12);
    for (int i = 0; i < 2000; i++) {
        fm_arena     *arena = fm_arena_create();
        instance      x;
        fm_timed_plan plan;
        uint32_t      order[MOST_OBJECTS];
        int32_t       wish[MOST_OBJECTS];
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, false);
        shuffle(order, x.problem.object_count);
        if (below(2)) x.problem.read_order = order;
        x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(120);
        fm_timed_plan_init(&plan, &x.problem, arena);
        for (uint32_t o = 0; o < x.problem.object_count; o++)
            plan.after[o] = wish[o] = below((int)x.objects[o].first + 1) - 1;
        if (fm_timed_hold(&x.problem, &plan)) {
            flashmem_error err = { 0 };
            if (fm_timed_verify(&x.problem, &plan, &err) != FLASHMEM_OK) fail_msg("instance %d: %s", i, err.message);
            for (uint32_t o = 0; o < x.problem.object_count; o++) {
                uint32_t due = plan.due[o];
                assert_true(plan.after[o] >= wish[o] || plan.after[o] == (int32_t)due - 1);
                raised += plan.after[o] > wish[o];
                kept += plan.after[o] == wish[o];
            }
        }
        fm_arena_destroy(arena);
    }
    assert_true(raised > 1000 && kept > 1000);
}

static void test_timed_order__verifier_sees_wrong_orders(void **state) {
    (void)state;
    fm_timed_step    steps[2] = { { 1, 0 }, { 1, 0 } };
    fm_timed_object  objects[2] = { { 10, 10, 0, 0, 0, 0 }, { 20, 20, 1, 1, 0, 0 } };
    uint32_t         order[2] = { 1, 0 };
    fm_timed_problem p = { steps, 2, objects, 2, 10, 0, 0, 100, order };
    fm_arena        *arena = fm_arena_create();
    flashmem_error   err = { 0 };
    fm_timed_plan    plan;
    fm_timed_plan_init(&plan, &p, arena);
    assert_true(fm_timed_solve(&p, &plan));
    assert_true(fabs(plan.start[0] - 3) < 1e-12 && fabs(plan.latency - 5) < 1e-12); /* 1 is read before 0 */
    assert_int_equal(fm_timed_verify(&p, &plan, &err), FLASHMEM_OK);
    p.read_order = NULL; /* the same times in the other order */
    assert_int_equal(fm_timed_verify(&p, &plan, &err), FLASHMEM_INTERNAL);
    p.read_order = order;
    order[1] = 1;
    err = (flashmem_error){ 0 };
    assert_int_equal(fm_timed_verify(&p, &plan, &err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(err.message, "read twice"));
    order[1] = 2;
    err = (flashmem_error){ 0 };
    assert_int_equal(fm_timed_verify(&p, &plan, &err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(err.message, "object 2 of 2"));
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timed_order__after_is_the_least_safe_step),
        cmocka_unit_test(test_timed_order__wishes_are_held),
        cmocka_unit_test(test_timed_order__verifier_sees_wrong_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
