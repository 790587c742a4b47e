/* Adaptive fusion against trying every set of splits: of chains made at random, and of instances of the zoo. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compile/plan/fusion.h"
#include "compile/plan/instance.h"
#include "tests/compile/skeletons.h"

enum { MIB = 1 << 20, MOST = 12 };

/* A chain of fused steps, product then elementwise part; split, the part is a step of its own. */
typedef struct chain {
    uint32_t            count;
    double              product[MOST], part[MOST]; /* seconds */
    uint64_t            bytes[MOST];               /* of the product's weight */
    fm_fusion_candidate candidates[MOST];
    uint64_t            chunk, m_peak;
} chain;

static uint64_t capacity(double growth, double seconds) { return (uint64_t)(growth * seconds * 65e9); }

static flashmem_status build(void *user, const uint8_t *split, fm_arena *arena, fm_overlap_problem *out,
                             flashmem_error *err) {
    const chain       *c = user;
    fm_overlap_step   *steps = fm_arena_array(arena, 2 * c->count, sizeof *steps);
    fm_overlap_weight *weights = fm_arena_array(arena, c->count, sizeof *weights);
    uint32_t           l = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        double own = c->product[i] + (split[i] ? 5e-6 : c->part[i]);
        weights[i] = (fm_overlap_weight){ .name = "w", .bytes = c->bytes[i], .first = l, .last = l, .source = i };
        steps[l++] = (fm_overlap_step){ .name = "product",
                                        .capacity_class = FM_CAPACITY_REUSABLE,
                                        .seconds = own,
                                        .capacity_bytes = capacity(0.2, own),
                                        .source = i };
        if (!split[i]) continue;
        own = c->part[i] + 5e-6;
        steps[l++] = (fm_overlap_step){ .name = "part",
                                        .capacity_class = FM_CAPACITY_ELEMENTWISE,
                                        .seconds = own,
                                        .capacity_bytes = capacity(3, own),
                                        .source = i };
    }
    *out = (fm_overlap_problem){
        .name = "chain", .step_count = l, .weight_count = c->count, .chunk_bytes = c->chunk, .m_peak_bytes = c->m_peak
    };
    return fm_overlap_problem_finish(out, steps, weights, 0.9, err);
}

static double random_between(double low, double high) { return low + (high - low) * (rand() / (double)RAND_MAX); }

static void make_chain(chain *c) {
    *c = (chain){ .count = 3 + (uint32_t)rand() % (MOST - 2), .chunk = rand() % 2 ? MIB : MIB / 4 };
    c->m_peak = (uint64_t)(rand() % 3 ? 500 : 24) * MIB;
    for (uint32_t i = 0; i < c->count; i++) {
        c->product[i] = random_between(20e-6, 400e-6);
        c->part[i] = random_between(2e-6, 40e-6);
        c->bytes[i] = (uint64_t)random_between(0.3 * MIB, 12.0 * MIB);
        c->candidates[i] = (fm_fusion_candidate){ .name = "part",
                                                  .step = i,
                                                  .source = i,
                                                  .fused_bytes = capacity(0.2, c->product[i] + c->part[i]),
                                                  .split_bytes = capacity(0.2, c->product[i]) +
                                                                 capacity(3, c->part[i] + 5e-6) };
    }
}

static double solve(chain *c, const uint8_t *split) {
    fm_arena          *arena = fm_arena_create();
    fm_overlap_problem problem;
    fm_overlap_plan    plan;
    fm_overlap_options options = { .solver = FM_SOLVER_LABELS };
    flashmem_error     err = { 0 };
    assert_int_equal(build(c, split, arena, &problem, &err), FLASHMEM_OK);
    if (fm_overlap_solve(&problem, &options, arena, &plan, &err)) fail_msg("%s", err.message);
    double objective = fm_overlap_units(&problem, plan.objective);
    fm_arena_destroy(arena);
    return objective;
}

static double exhaustive(chain *c) {
    double best = INFINITY;
    for (uint32_t set = 0; set < 1u << c->count; set++) {
        uint8_t split[MOST] = { 0 };
        for (uint32_t i = 0; i < c->count; i++) split[i] = set >> i & 1;
        double objective = solve(c, split);
        if (objective < best) best = objective;
    }
    return best;
}

static void test_fusion__drops_as_far_as_trying_everything(void **state) {
    (void)state;
    uint32_t gained = 0;
    srand(11);
    for (int round = 0; round < 40; round++) {
        chain            c;
        fm_fusion_result found;
        fm_arena        *arena = fm_arena_create();
        flashmem_error   err = { 0 };
        make_chain(&c);
        fm_fusion fusion = {
            .candidates = c.candidates, .candidate_count = c.count, .alpha = 0, .build = build, .user = &c
        };
        fm_overlap_options options = { .solver = FM_SOLVER_LABELS };
        if (fm_fusion_adapt(&fusion, &options, arena, &found, &err)) fail_msg("%s", err.message);
        double  best = exhaustive(&c), objective = fm_overlap_units(&found.problem, found.plan.objective);
        uint8_t none[MOST] = { 0 };
        assert_true(fabs(found.fused_objective - solve(&c, none)) < 1e-9);
        assert_true(fabs(objective - solve(&c, found.split)) < 1e-9);
        if (objective > best + 0.02 * (found.fused_objective - best) + 1e-9)
            fail_msg("round %d: fused %.4f, adapted %.4f, exhaustive %.4f", round, found.fused_objective, objective,
                     best);
        if (found.fused_objective - objective > 1e-9) gained++;
        fm_arena_destroy(arena);
    }
    assert_true(gained > 10); /* starved of capacity, most chains gain */
}

static void test_fusion__keeps_what_gains_nothing(void **state) {
    (void)state;
    chain            c;
    fm_fusion_result found;
    fm_arena        *arena = fm_arena_create();
    flashmem_error   err = { 0 };
    srand(5);
    make_chain(&c);
    for (uint32_t i = 0; i < c.count; i++) c.product[i] = 1; /* capacity beyond all need */
    fm_fusion fusion = {
        .candidates = c.candidates, .candidate_count = c.count, .alpha = 0, .build = build, .user = &c
    };
    fm_overlap_options options = { .solver = FM_SOLVER_LABELS };
    assert_int_equal(fm_fusion_adapt(&fusion, &options, arena, &found, &err), FLASHMEM_OK);
    assert_int_equal(found.split_count, 0);
    fm_arena_destroy(arena);
}

/* ---- the zoo ---- */

enum { ZOO = 8 }; /* candidates: every set of them is solved */

typedef struct instance {
    skeleton             model;
    fm_instance_options  options;
    fm_fusion_candidate *candidates;
    uint8_t             *split; /* [nodes] */
} instance;

static flashmem_status build_instance(void *user, const uint8_t *split, fm_arena *arena, fm_overlap_problem *out,
                                      flashmem_error *err) {
    instance *of = user;
    for (uint32_t i = 0; i < ZOO; i++) of->split[of->candidates[i].source] = split[i];
    return fm_instance_build(&of->model.graph, &of->options, arena, out, err);
}

static double solve_instance(instance *of, const uint8_t *split) {
    fm_arena          *arena = fm_arena_create();
    fm_overlap_problem problem;
    fm_overlap_plan    plan;
    fm_overlap_options options = { .solver = FM_SOLVER_LABELS };
    flashmem_error     err = { 0 };
    if (build_instance(of, split, arena, &problem, &err) || fm_overlap_solve(&problem, &options, arena, &plan, &err))
        fail_msg("%s", err.message);
    double objective = fm_overlap_units(&problem, plan.objective);
    fm_arena_destroy(arena);
    return objective;
}

/* The first candidates of the graph, where capacity lacks most: what comes before is all that can hide their weights. */
static void begin_instance(instance *of, const char *name, const char *path, const char *form) {
    uint32_t       count = 0;
    flashmem_error err = { 0 };
    skeleton_import(&of->model, name, path);
    fm_instance_options_init(&of->options);
    assert_int_equal(fm_instance_parse(form, &of->options, &err), FLASHMEM_OK);
    assert_int_equal(
        fm_instance_candidates(&of->model.graph, &of->options, of->model.arena, &of->candidates, &count, &err),
        FLASHMEM_OK);
    assert_true(count >= ZOO);
    of->split = fm_arena_array(of->model.arena, of->model.graph.node_count, 1);
    of->options.split = of->split;
}

static void adapt_instance(const char *name, const char *path, const char *form) {
    instance           of;
    fm_fusion_result   found;
    flashmem_error     err = { 0 };
    fm_overlap_options options = { .solver = FM_SOLVER_LABELS };
    begin_instance(&of, name, path, form);
    fm_fusion fusion = {
        .candidates = of.candidates, .candidate_count = ZOO, .alpha = 0, .build = build_instance, .user = &of
    };
    double best = INFINITY;
    for (uint32_t set = 0; set < 1u << ZOO; set++) {
        uint8_t split[ZOO];
        for (uint32_t i = 0; i < ZOO; i++) split[i] = set >> i & 1;
        best = fmin(best, solve_instance(&of, split));
    }
    if (fm_fusion_adapt(&fusion, &options, of.model.arena, &found, &err)) fail_msg("%s", err.message);
    double objective = fm_overlap_units(&found.problem, found.plan.objective);
    assert_true(best < found.fused_objective - 1e-9);
    if (objective > best + 0.02 * (found.fused_objective - best) + 1e-9)
        fail_msg("%s %s: fused %.4f, adapted %.4f, exhaustive %.4f", name, form, found.fused_objective, objective,
                 best);
    print_message("%s %s: fused %.3f, adapted %.3f, exhaustive %.3f\n", name, form, found.fused_objective, objective,
                  best);
    skeleton_drop(&of.model);
}

static void test_fusion__of_the_zoo_drops_as_far_as_trying_everything(void **state) {
    (void)state;
    static const char *const models[] = { "gptn-s", "vit-b16" }, *const forms[] = { "f:A", "f:C" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[256];
        if (!skeleton_exists(models[i], path)) skip();
        for (size_t j = 0; j < 2; j++) adapt_instance(models[i], path, forms[j]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fusion__drops_as_far_as_trying_everything),
        cmocka_unit_test(test_fusion__keeps_what_gains_nothing),
        cmocka_unit_test(test_fusion__of_the_zoo_drops_as_far_as_trying_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
