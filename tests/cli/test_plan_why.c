/* Why a weight is preloaded: one small overlap plan for each reason, and the sentences. */
#include <stdlib.h>
#include <string.h>

#include "cli/plan_why.h"
#include "made_plan.h"
#include "tests/base/cmocka_setup.h"

#define CHUNK (UINT64_C(1) << 20)
enum { STEPS = 12 };

typedef struct small {
    flashmem_plan        plan;
    flashmem_plan_step   steps[STEPS];
    flashmem_plan_weight weights[4];
    flashmem_plan_load   loads[8];
} small;

/* Steps that can load `capacity` chunks each; M_peak holds `m_peak`. */
static void begin(small *s, uint32_t capacity, uint32_t m_peak) {
    memset(s, 0, sizeof *s);
    for (uint32_t k = 0; k < STEPS; k++)
        s->steps[k] = (flashmem_plan_step){ .name = "step", .capacity_bytes = capacity * CHUNK };
    s->plan = (flashmem_plan){ .objective_kind = "opg",
                               .status = "FEASIBLE",
                               .solver = "greedy",
                               .steps = s->steps,
                               .step_count = STEPS,
                               .weights = s->weights,
                               .loads = s->loads,
                               .chunk_bytes = CHUNK,
                               .m_peak_chunks = m_peak,
                               .lambda = 0.9 };
}
static void preload(small *s, uint32_t first, uint64_t bytes) {
    s->weights[s->plan.weight_count++] = (flashmem_plan_weight){ .name = "w",
                                                                 .bytes = bytes,
                                                                 .chunks = (uint32_t)((bytes + CHUNK - 1) / CHUNK),
                                                                 .first = first,
                                                                 .last = first,
                                                                 .preload = 1,
                                                                 .first_load = s->plan.load_count };
}
/* All its chunks under one step. */
static void stream(small *s, uint32_t first, uint32_t chunks, uint32_t step) {
    preload(s, first, chunks * CHUNK);
    flashmem_plan_weight *w = &s->weights[s->plan.weight_count - 1];
    w->preload = 0;
    w->load_count = 1;
    s->loads[s->plan.load_count++] = (flashmem_plan_load){ step, chunks };
}

static void expect(small *s, uint32_t weight, cli_why why, uint64_t first, uint64_t second, const char *sentence) {
    char        text[256];
    cli_reason *reasons = cli_why_weights(&s->plan);
    assert_non_null(reasons);
    assert_int_equal(reasons[weight].why, why);
    assert_int_equal(reasons[weight].first, first);
    assert_int_equal(reasons[weight].second, second);
    cli_why_weight_text(&s->plan, &reasons[weight], text, sizeof text);
    assert_string_equal(text, sentence);
    free(reasons);
}

static void test_why__first_step(void **state) {
    small s;
    (void)state;
    begin(&s, 4, 100);
    preload(&s, 0, CHUNK);
    expect(&s, 0, CLI_WHY_FIRST, 0, 0, "preloaded: the first step uses it, no step runs before");
}

static void test_why__larger_than_m_peak(void **state) {
    small s;
    (void)state;
    begin(&s, 4, 3);
    preload(&s, 5, 4 * CHUNK);
    expect(&s, 0, CLI_WHY_LARGER, 4, 3, "preloaded: 4 chunks are more than the 3 that M_peak holds");
}

static void test_why__no_capacity_before_it(void **state) {
    small s;
    (void)state;
    begin(&s, 1, 100);
    preload(&s, 3, 4 * CHUNK);
    expect(&s, 0, CLI_WHY_CAPACITY, 3, 4, "preloaded: all steps before it can load 3 of its 4 chunks");
    begin(&s, 0, 100);
    preload(&s, 3, 100);
    expect(&s, 0, CLI_WHY_CAPACITY, 0, 1, "preloaded: all steps before it can load 0 of its 1 chunk");
}

static void test_why__cheaper_than_its_distance(void **state) {
    small s;
    (void)state;
    begin(&s, 4, 100);
    preload(&s, 4, 1024); /* 0.9 / 1024 against 0.1 */
    expect(&s, 0, CLI_WHY_CHEAPER, 1, 0,
           "preloaded: that costs 0.0008789; even alone it would begin 1 step ahead, which costs 0.1");
    s.weights[0].bytes = 117 * 1024; /* 0.1028: streaming is cheaper, and possible */
    expect(&s, 0, CLI_WHY_SOLVER, 1, 0,
           "preloaded by the solver's choice (greedy, FEASIBLE): that costs 0.1028, to stream it in what other weights "
           "leave 0.1");
    s.steps[3].capacity_bytes = s.steps[2].capacity_bytes = 0; /* now its distance is 3 */
    expect(&s, 0, CLI_WHY_CHEAPER, 3, 0,
           "preloaded: that costs 0.1028; even alone it would begin 3 steps ahead, which costs 0.3");
}

/* 0.9 either way, in doubles a little more for the weight. */
static void test_why__as_cheap_as_its_distance(void **state) {
    small s;
    (void)state;
    begin(&s, 1, 100);
    preload(&s, 10, CHUNK);
    for (uint32_t k = 2; k < 10; k++) s.steps[k].capacity_bytes = 0;
    expect(&s, 0, CLI_WHY_CHEAPER, 9, 0,
           "preloaded: that costs 0.9; even alone it would begin 9 steps ahead, which costs 0.9");
}

static void test_why__others_take_the_capacity(void **state) {
    small s;
    (void)state;
    begin(&s, 2, 100);
    stream(&s, 1, 2, 0);
    stream(&s, 2, 2, 1);
    preload(&s, 2, CHUNK);
    expect(&s, 2, CLI_WHY_SHARED, 0, 1, "preloaded: it has 1 chunk, other weights leave capacity for 0 before it");
}

static void test_why__others_push_it_away(void **state) {
    small s;
    (void)state;
    begin(&s, 2, 100);
    for (uint32_t k = 2; k < 6; k++) stream(&s, 6, 2, k);
    s.plan.weight_count = 3; /* three of them, and room for the fourth weight */
    preload(&s, 5, CHUNK / 4);
    s.plan.loads = s.loads;
    expect(&s, 3, CLI_WHY_DEARER, 4, 0,
           "preloaded: that costs 0.225; in what other weights leave it would begin 4 steps ahead, which costs 0.4");
}

static void test_why__over_m_peak(void **state) {
    small s;
    (void)state;
    begin(&s, 4, 5);
    stream(&s, 6, 4, 3); /* in flight from 3 to 6 */
    preload(&s, 5, 2 * CHUNK);
    expect(&s, 1, CLI_WHY_MEMORY, 6, 5,
           "preloaded: in what other weights leave it would bring 6 chunks in flight, M_peak holds 5");
    s.plan.m_peak_chunks = 6;
    cli_reason *reasons = cli_why_weights(&s.plan);
    assert_int_equal(reasons[1].why, CLI_WHY_SOLVER);
    free(reasons);
}

static void test_why__streamed(void **state) {
    small s;
    (void)state;
    begin(&s, 4, 100);
    stream(&s, 6, 4, 3);
    expect(&s, 0, CLI_WHY_STREAMED, 1, 3, "streamed: loaded under 1 step, beginning 3 steps ahead");
}

/* Every preloaded weight of a greedy plan has a reason that its own figures bear out. */
static void test_why__a_whole_plan(void **state) {
    (void)state;
    flashmem_plan *p = made_plan(MADE_OVERLAP, 600);
    cli_reason    *reasons = cli_why_weights(p);
    uint32_t       seen = 0;
    for (uint32_t w = 0; w < p->weight_count; w++) {
        cli_reason r = reasons[w];
        assert_int_equal(r.why == CLI_WHY_STREAMED, !p->weights[w].preload);
        if (r.why == CLI_WHY_CHEAPER || r.why == CLI_WHY_DEARER) assert_true(r.keep <= r.cost);
        if (r.why == CLI_WHY_SOLVER) assert_true(r.keep > r.cost);
        if (r.why == CLI_WHY_SHARED || r.why == CLI_WHY_CAPACITY) assert_true(r.first < r.second);
        seen |= 1u << r.why;
    }
    assert_true(seen & 1u << CLI_WHY_STREAMED && seen & 1u << CLI_WHY_FIRST && seen & 1u << CLI_WHY_SOLVER);
    free(reasons);
    made_plan_free(p);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static void expect_object(const flashmem_plan *plan, uint32_t index, const char *sentence) {
    char text[256];
    cli_why_object_text(plan, index, text, sizeof text);
    assert_string_equal(text, sentence);
}

static void test_why__objects(void **state) {
    (void)state;
    flashmem_plan_step   steps[] = { { .name = "one", .start = 0.010, .end = 0.011 },
                                     { .name = "two", .start = 0.015, .end = 0.016, .stall = 0.004 } };
    flashmem_plan_object objects[] = {
        { .first = 0, .last = 0, .after = -1, .arrival = 0.002 },
        { .first = 1, .last = 1, .after = 0, .arrival = 0.015 },
        { .first = 0, .last = 1, .after = -1, .arrival = 0.010, .resident = 1 },
        { .first = 0, .last = 0, .after = 1, .wrap = 1, .arrival = 0.010 },
        { .first = 1, .last = 1, .after = -1, .arrival = 0.010, .preload = 1 },
    };
    flashmem_plan p = { .objective_kind = "timed",
                        .steps = steps,
                        .step_count = 2,
                        .objects = objects,
                        .object_count = 5,
                        .read_bytes = 10,
                        .resident_bytes = 4 };
    expect_object(&p, 0, "read from the start: its memory is free; arrives 8 ms before its first use");
    expect_object(&p, 1,
                  "read after launch 0 (one): its memory is free then; its first use waits for it, 4 ms after the "
                  "launch before");
    expect_object(&p, 2, "kept in memory that is left: later runs do not read it; arrives 0 ms before its first use");
    expect_object(&p, 3,
                  "read from the start; for later runs after launch 1 (two) of the run before; arrives 0 ms before "
                  "its first use");
    expect_object(&p, 4, "read before the first launch; arrives 5 ms before its first use");
    p.resident_bytes = 10;
    expect_object(&p, 2, "kept: everything fits, nothing is read twice; arrives 0 ms before its first use");
    p.objective_kind = "just-before"; /* a policy reads when it likes */
    expect_object(&p, 1, "read after launch 0 (one); its first use waits for it, 4 ms after the launch before");
}

static void test_why__long_names_are_cut(void **state) {
    (void)state;
    char                 name[5000], text[64];
    flashmem_plan_step   step = { .name = name };
    flashmem_plan_object object = { .after = 0 };
    flashmem_plan        p = {
               .objective_kind = "timed", .steps = &step, .step_count = 1, .objects = &object, .object_count = 1
    };
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    cli_why_object_text(&p, 0, text, sizeof text);
    assert_int_equal(strlen(text), sizeof text - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_why__first_step),
        cmocka_unit_test(test_why__larger_than_m_peak),
        cmocka_unit_test(test_why__no_capacity_before_it),
        cmocka_unit_test(test_why__cheaper_than_its_distance),
        cmocka_unit_test(test_why__as_cheap_as_its_distance),
        cmocka_unit_test(test_why__others_take_the_capacity),
        cmocka_unit_test(test_why__others_push_it_away),
        cmocka_unit_test(test_why__over_m_peak),
        cmocka_unit_test(test_why__streamed),
        cmocka_unit_test(test_why__a_whole_plan),
        cmocka_unit_test(test_why__objects),
        cmocka_unit_test(test_why__long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
