/* The timed recursion against definitions, enumeration and an event simulation of its own; its verifier against damage. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/schedule/instances.h"

/* Bytes live at step k of the second of two runs in a row (k may be negative: the first) if everything up to object
 * newest of the second run has been requested. */
static uint64_t naive_live(const fm_timed_problem *p, int k, uint32_t newest) {
    int      steps = (int)p->step_count;
    uint64_t live = p->steps[(k + steps) % steps].live_bytes + resident_sum(p);
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_timed_object *object = &p->objects[o];
        if (object->resident) continue;
        if ((int)object->last - steps >= k) live += object->bytes; /* the copy of the run before */
        if (o <= newest && (int)object->last >= k) live += object->bytes;
    }
    return live;
}

static int naive_barrier(const fm_timed_problem *p, uint32_t o, int lowest) {
    for (int k = (int)p->objects[o].first; k >= lowest; k--)
        if (naive_live(p, k, o) > p->cap) return k;
    return lowest - 1;
}

static void test_timed__bound_is_what_steps_need(void **state) {
    (void)state;
    srand(1);
    for (int i = 0; i < 2000; i++) {
        fm_arena     *arena = fm_arena_create();
        instance      x;
        fm_timed_plan plan;
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, true);
        uint64_t bound = naive_bound(&x.problem);
        assert_int_equal(fm_timed_minimum_bound(&x.problem, arena), bound);
        fm_timed_plan_init(&plan, &x.problem, arena);
        x.problem.cap = bound;
        assert_true(fm_timed_solve(&x.problem, &plan));
        assert_int_equal(plan.peak, bound);
        if (bound) {
            x.problem.cap = bound - 1;
            assert_false(fm_timed_solve(&x.problem, &plan));
            assert_false(fm_timed_solve_steady(&x.problem, &plan));
        }
        fm_arena_destroy(arena);
    }
}

static void test_timed__after_is_the_least_safe_step(void **state) {
    (void)state;
    int waiting = 0, ahead = 0;
    srand(2);
    for (int i = 0; i < 3000; i++) {
        fm_arena      *arena = fm_arena_create();
        flashmem_error err = { 0 };
        instance       x;
        fm_timed_plan  plan, steady;
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, true);
        x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(60);
        fm_timed_plan_init(&plan, &x.problem, arena);
        fm_timed_plan_init(&steady, &x.problem, arena);
        assert_true(fm_timed_solve(&x.problem, &plan));
        if (fm_timed_verify(&x.problem, &plan, &err) != FLASHMEM_OK) fail_msg("instance %d: %s", i, err.message);
        assert_true(fm_timed_solve_steady(&x.problem, &steady));
        if (fm_timed_verify(&x.problem, &steady, &err) != FLASHMEM_OK)
            fail_msg("instance %d, steady: %s", i, err.message);
        assert_true(steady.latency == plan.latency); /* the first run is the same */
        int floor = -1, steps = (int)x.problem.step_count;
        for (uint32_t o = 0; o < x.problem.object_count; o++) {
            const fm_timed_object *object = &x.problem.objects[o];
            if (object->resident) continue;
            int want = naive_barrier(&x.problem, o, 0);
            assert_int_equal(plan.after[o], want);
            waiting += want >= 0;
            if (want >= 0) {
                assert_int_equal(steady.after[o], want);
                assert_int_equal(steady.wrap[o], 0);
                continue;
            }
            int before = naive_barrier(&x.problem, o, -steps) + steps; /* a step of the run before */
            if (before < (int)object->last) before = (int)object->last;
            if (before > floor) floor = before;
            assert_int_equal(steady.wrap[o], floor < steps - 1);
            assert_int_equal(steady.after[o], floor < steps - 1 ? floor : FM_AFTER_START);
            ahead += steady.wrap[o];
        }
        fm_arena_destroy(arena);
    }
    assert_true(waiting > 5000 && ahead > 5000);
}

/* Plays one run with given waits; false if memory exceeds the cap at any moment. */
static bool play(const fm_timed_problem *p, const int *after, double *starts, double *latency) {
    double requests[MOST_OBJECTS], ends[MOST_STEPS], disk = 0, device = p->startup_seconds;
    for (uint32_t k = 0, o = 0; k < p->step_count; k++) {
        double convert = 0;
        for (; o < p->object_count && p->objects[o].first == k; o++) {
            double free = after[o] < 0 ? 0 : ends[after[o]];
            /* what hides its cost is in flight, and has its memory */
            requests[o] = p->request_seconds > 0 ? fmax(o ? requests[o - 1] : 0, free) : fmax(disk, free);
            disk = fmax(disk, free + p->request_seconds) + (double)p->objects[o].read_bytes / p->bandwidth;
            device = fmax(device, disk);
            convert += p->objects[o].convert_seconds;
        }
        starts[k] = device + convert;
        device = ends[k] = starts[k] + p->steps[k].seconds;
    }
    *latency = device;
    for (uint32_t at = 0; at < p->object_count + p->step_count;
         at++) { /* memory only grows at requests and at steps' starts */
        double   now = at < p->object_count ? requests[at] : at - p->object_count ? ends[at - p->object_count - 1] : 0;
        uint32_t step = 0; /* the step that runs or is waited for at that moment */
        while (step < p->step_count && ends[step] <= now) step++;
        if (step == p->step_count) continue;
        if (at >= p->object_count && at - p->object_count > step) step = at - p->object_count;
        uint64_t live = p->steps[step].live_bytes;
        for (uint32_t o = 0; o < p->object_count; o++)
            if (requests[o] <= now && (p->objects[o].last >= step)) live += p->objects[o].bytes;
        if (live > p->cap) return false;
    }
    return true;
}

/* Every choice of waits, the order of requests kept: none is feasible and starts any step earlier. */
static void test_timed__no_choice_is_faster(void **state) {
    (void)state;
    int choices = 0, feasible = 0;
    srand(3);
    for (int i = 0; i < 600; i++) {
        fm_arena     *arena = fm_arena_create();
        instance      x;
        fm_timed_plan plan;
        int           after[MOST_OBJECTS];
        double        starts[MOST_STEPS], latency;
        make_instance(&x, 5, 5, false);
        for (uint32_t k = 0; k < x.problem.step_count; k++) x.steps[k].seconds += 0.01;
        x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(12);
        fm_timed_plan_init(&plan, &x.problem, arena);
        assert_true(fm_timed_solve(&x.problem, &plan));
        for (uint32_t o = 0; o < x.problem.object_count; o++) after[o] = plan.after[o];
        assert_true(play(&x.problem, after, starts, &latency));
        assert_true(fabs(latency - plan.latency) < 1e-9);
        for (uint32_t o = 0; o < x.problem.object_count; o++) after[o] = -1;
        for (bool more = true; more;) {
            choices++;
            if (play(&x.problem, after, starts, &latency)) {
                feasible++;
                for (uint32_t k = 0; k < x.problem.step_count; k++) assert_true(starts[k] >= plan.start[k] - 1e-9);
            }
            more = false;
            for (uint32_t o = 0; o < x.problem.object_count && !more; o++) {
                if (after[o] + 1 < (int)x.problem.objects[o].first) after[o]++, more = true;
                else after[o] = -1;
            }
        }
        fm_arena_destroy(arena);
    }
    assert_true(choices > 10000 && feasible > 3000);
}

static void test_timed__least_memory_holds_the_latency(void **state) {
    (void)state;
    int less = 0;
    srand(4);
    for (int i = 0; i < 600; i++) {
        fm_arena     *arena = fm_arena_create();
        instance      x;
        fm_timed_plan plan;
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, false);
        for (uint32_t o = 0; o < x.problem.object_count; o++) x.objects[o].bytes *= 1 << 20;
        for (uint32_t k = 0; k < x.problem.step_count; k++) x.steps[k].live_bytes *= 1 << 20;
        uint64_t bound = naive_bound(&x.problem), high = bound + ((uint64_t)below(100) << 20);
        double   bandwidth = x.problem.bandwidth, eps = 0.02;
        fm_timed_plan_init(&plan, &x.problem, arena);
        uint64_t least = fm_timed_least_memory(&x.problem, eps, high, arena);
        assert_true(least <= high && least >= bound);
        less += least < high;
        for (int b = 0; b < 3; b++) {
            x.problem.bandwidth = bandwidth * (b == 0 ? 0.7 : b == 1 ? 1 : 1.4);
            x.problem.cap = high;
            assert_true(fm_timed_solve(&x.problem, &plan));
            double allowed = plan.latency * (1 + eps);
            x.problem.cap = least;
            assert_true(fm_timed_solve(&x.problem, &plan));
            assert_true(plan.latency <= allowed + 1e-9);
        }
        fm_arena_destroy(arena);
    }
    assert_true(less > 100);
}

static void test_timed__delayed_reads_move_no_start(void **state) {
    (void)state;
    int delayed = 0;
    srand(5);
    for (int i = 0; i < 1000; i++) {
        fm_arena      *arena = fm_arena_create();
        flashmem_error err = { 0 };
        instance       x;
        fm_timed_plan  plan, late;
        make_instance(&x, MOST_STEPS, MOST_OBJECTS, true);
        x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(80);
        fm_timed_plan_init(&plan, &x.problem, arena);
        fm_timed_plan_init(&late, &x.problem, arena);
        assert_true(fm_timed_solve(&x.problem, &plan));
        assert_true(fm_timed_solve(&x.problem, &late));
        fm_timed_delay_reads(&x.problem, &late);
        if (fm_timed_verify(&x.problem, &late, &err) != FLASHMEM_OK) fail_msg("instance %d: %s", i, err.message);
        for (uint32_t k = 0; k < x.problem.step_count; k++) assert_true(late.start[k] <= plan.start[k] + 1e-9);
        for (uint32_t o = 0; o < x.problem.object_count; o++) {
            assert_true(late.after[o] >= plan.after[o]);
            delayed += late.after[o] > plan.after[o];
        }
        assert_true(late.peak <= plan.peak);
        assert_true(fm_timed_average_memory(&x.problem, &late) <= fm_timed_average_memory(&x.problem, &plan) + 1e-9);
        fm_arena_destroy(arena);
    }
    assert_true(delayed > 1000);
}

static void test_timed__average_is_the_integral(void **state) {
    (void)state;
    fm_timed_step    steps[2] = { { 2, 10 }, { 3, 20 } };
    fm_timed_object  objects[2] = { { 100, 100, 0, 0, 0, 0 }, { 50, 50, 1, 1, 0.5, 0 } };
    fm_timed_problem p = { steps, 2, objects, 2, 100, 0, 0, 1000, NULL };
    fm_arena        *arena = fm_arena_create();
    fm_timed_plan    plan;
    fm_timed_plan_init(&plan, &p, arena);
    assert_true(fm_timed_solve(&p, &plan));
    /* reads: 0-1, 1-1.5; step 0: 1-3, step 1: 3.5-6.5 */
    assert_true(fabs(plan.latency - 6.5) < 1e-12);
    assert_true(fabs(plan.stall - 1) < 1e-12);
    assert_true(fabs(fm_timed_average_memory(&p, &plan) - (100 * 3 + 50 * 5.5 + 10 * 3 + 20 * 3.5) / 6.5) < 1e-9);
    assert_true(fabs(fm_timed_period(&p, &plan, arena) - 6.5) < 1e-12);
    assert_true(fm_timed_solve_steady(&p, &plan)); /* object 0 is read again under step 1, before the next run */
    assert_int_equal(plan.wrap[0], 1);
    assert_int_equal(plan.after[0], 0);
    assert_true(fabs(fm_timed_period(&p, &plan, arena) - 5.5) < 1e-12);
    fm_arena_destroy(arena);
}

/* --- the verifier ------------------------------------------------------------------------------------------------- */

typedef struct damage {
    const char *name;
    bool (*apply)(const fm_timed_problem *p, fm_timed_plan *plan, uint32_t o, uint32_t k); /* false: does not apply */
    const char *message;
} damage;

#define DAMAGE(name, condition, ...)                                                           \
    static bool name(const fm_timed_problem *p, fm_timed_plan *plan, uint32_t o, uint32_t k) { \
        (void)p, (void)o, (void)k;                                                             \
        if (!(condition)) return false;                                                        \
        __VA_ARGS__;                                                                           \
        return true;                                                                           \
    }
DAMAGE(after_low, 1, plan->after[o] = -2)
DAMAGE(after_high, 1, plan->after[o] = (int32_t)p->step_count)
DAMAGE(after_first, !plan->wrap[o] && !p->objects[o].resident, plan->after[o] = (int32_t)p->objects[o].first)
DAMAGE(resident_waits, p->objects[o].resident && p->step_count > 1, plan->after[o] = 0)
DAMAGE(over_itself, plan->wrap[o] && p->objects[o].last > 0, plan->after[o] = (int32_t)p->objects[o].last - 1)
DAMAGE(overtakes,
       o > 0 && !p->objects[o].resident && !plan->wrap[o] && !p->objects[o - 1].resident && !plan->wrap[o - 1] &&
           plan->after[o - 1] >= 0,
       plan->after[o] = FM_AFTER_START)
DAMAGE(read_too_fast, p->objects[o].read_bytes > 0, plan->arrival[o] -= 1e-3)
DAMAGE(two_reads, o > 0 && p->objects[o - 1].read_bytes > 0,
       plan->request[o] -= 1e-3 + (plan->request[o] - plan->arrival[o - 1]);
       plan->arrival[o] = plan->request[o] + p->request_seconds + (double)p->objects[o].read_bytes / p->bandwidth)
DAMAGE(requested_early,
       !plan->wrap[o] && plan->after[o] >= 0 && (o == 0 || plan->end[plan->after[o]] > plan->arrival[o - 1] + 0.01),
       plan->request[o] = plan->end[plan->after[o]] - 1e-3;
       plan->arrival[o] = plan->request[o] + p->request_seconds + (double)p->objects[o].read_bytes / p->bandwidth)
DAMAGE(step_early, k > 0, plan->start[k] = plan->end[k - 1] - 1e-3)
DAMAGE(step_short, p->steps[k].seconds > 0, plan->end[k] -= 1e-3)
DAMAGE(latency_wrong, 1, plan->latency += 1)
DAMAGE(peak_wrong, plan->peak > 0, plan->peak--)
DAMAGE(cap_exceeded, plan->peak > 0, ((fm_timed_problem *)(uintptr_t)p)->cap = plan->peak - 1)

static void test_timed_verify__rejects_every_damage(void **state) {
    (void)state;
    static const damage damages[] = {
        { "after_low", after_low, "requested after step -2" },
        { "after_high", after_high, "requested after step" },
        { "after_first", after_first, "first used by" },
        { "resident_waits", resident_waits, "resident and waits" },
        { "over_itself", over_itself, "read ahead over itself" },
        { "overtakes", overtakes, "requested before the one ahead" },
        { "read_too_fast", read_too_fast, "takes another time" },
        { "two_reads", two_reads, "" },
        { "requested_early", requested_early, "" },
        { "step_early", step_early, "" },
        { "step_short", step_short, "" },
        { "latency_wrong", latency_wrong, "latency" },
        { "peak_wrong", peak_wrong, "the plan says" },
        { "cap_exceeded", cap_exceeded, "the cap is" },
    };
    srand(6);
    for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
        int done = 0, missed = 0;
        for (int i = 0; i < 4000 && done < 40; i++) {
            fm_arena      *arena = fm_arena_create();
            flashmem_error err = { 0 };
            instance       x;
            fm_timed_plan  plan;
            make_instance(&x, MOST_STEPS, MOST_OBJECTS, true);
            for (uint32_t k = 0; k < x.problem.step_count; k++) x.steps[k].seconds += 0.01;
            x.problem.cap = naive_bound(&x.problem) + (uint64_t)below(40);
            fm_timed_plan_init(&plan, &x.problem, arena);
            assert_true(fm_timed_solve_steady(&x.problem, &plan));
            if (x.problem.object_count &&
                damages[d].apply(&x.problem, &plan, (uint32_t)below((int)x.problem.object_count),
                                 (uint32_t)below((int)x.problem.step_count))) {
                done++;
                /* The structural peak may lie above what the clock ever reaches: those two are not always damage. */
                bool soft = damages[d].apply == peak_wrong || damages[d].apply == cap_exceeded;
                if (fm_timed_verify(&x.problem, &plan, &err) == FLASHMEM_OK && ++missed && !soft)
                    fail_msg("%s: not seen", damages[d].name);
                if (err.message[0] && !strstr(err.message, damages[d].message))
                    fail_msg("%s: '%s'", damages[d].name, err.message);
            }
            fm_arena_destroy(arena);
        }
        if (done < 20 || missed > done / 2) fail_msg("%s: applied %d times, missed %d", damages[d].name, done, missed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timed__bound_is_what_steps_need),
        cmocka_unit_test(test_timed__after_is_the_least_safe_step),
        cmocka_unit_test(test_timed__no_choice_is_faster),
        cmocka_unit_test(test_timed__least_memory_holds_the_latency),
        cmocka_unit_test(test_timed__delayed_reads_move_no_start),
        cmocka_unit_test(test_timed__average_is_the_integral),
        cmocka_unit_test(test_timed_verify__rejects_every_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
