/* Overlap plans: of an instance, which needs the graph alone, and of a lowered program. */
#include "compile/plan/fusion.h"
#include "compile/plan/instance.h"
#include "compile/plan/overlap_view.h"
#include "compile/plan/problem_program.h"
#include "compile/planner_internal.h"

#include <string.h>

static flashmem_status choose_solver(const flashmem_plan_options *o, fm_overlap_options *out, flashmem_error *err) {
    *out = (fm_overlap_options){ .time_limit = o->time_limit };
    if (!o->solver) return FLASHMEM_OK;
    for (int s = 0; s < FM_SOLVERS; s++)
        if (strcmp(fm_overlap_solver_name((fm_overlap_solver)s), o->solver) == 0)
            return out->solver = (fm_overlap_solver)s, FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                   "solver '%s': auto, labels, cpsat, greedy, width1, soften, preload or window is wanted", o->solver);
}

/* The graph as imported: the planner's own, or once that was lowered another one. */
static flashmem_status imported_graph(flashmem_planner *p, fm_planned *plan, const fm_graph **out,
                                      flashmem_error *err) {
    fm_compilation *again = &plan->again;
    *out = &p->compilation.graph;
    if (!p->lowered) return FLASHMEM_OK;
    again->arena = plan->arena;
    again->options = &p->options;
    again->log = (fm_log){ p->options.log, p->options.user };
    fm_graph_init(&again->graph, plan->arena, p->path, &again->log);
    *out = &again->graph;
    return fm_compile_import(again, err);
}

/* An instance as fusion sees it. */
typedef struct splitting {
    const fm_graph      *graph;
    fm_instance_options  instance;
    fm_fusion_candidate *candidates;
    uint32_t             count;
    uint8_t             *split; /* [nodes] */
} splitting;

static flashmem_status build_split(void *user, const uint8_t *split, fm_arena *arena, fm_overlap_problem *out,
                                   flashmem_error *err) {
    splitting *s = user;
    for (uint32_t i = 0; i < s->count; i++) s->split[s->candidates[i].source] = split[i];
    return fm_instance_build(s->graph, &s->instance, arena, out, err);
}

static flashmem_status adapt_instance(splitting *s, const fm_overlap_options *options, fm_planned *out,
                                      fm_overlap_problem *problem, fm_overlap_plan *solved, flashmem_error *err) {
    fm_fusion_result found;
    if (!s->instance.fused)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "--fusion splits fused steps: give a fused instance, f:A to f:C");
    FM_TRY(fm_instance_candidates(s->graph, &s->instance, out->arena, &s->candidates, &s->count, err));
    s->split = fm_arena_array(out->arena, s->graph->node_count, 1);
    s->instance.split = s->split;
    fm_fusion fusion = {
        .candidates = s->candidates, .candidate_count = s->count, .alpha = -1, .build = build_split, .user = s
    };
    FM_TRY(fm_fusion_adapt(&fusion, options, out->arena, &found, err));
    fm_info(options->log, "fusion", "%u of %u candidates split in %u solves and %.2f s: objective %.6f to %.6f",
            found.split_count, s->count, found.solves, found.seconds, found.fused_objective,
            fm_overlap_units(&found.problem, found.plan.objective));
    *problem = found.problem;
    *solved = found.plan;
    out->plan.split_count = found.split_count;
    out->plan.fused_objective = found.fused_objective;
    return FLASHMEM_OK;
}

static flashmem_status solve_instance(const fm_graph *graph, const flashmem_plan_options *o, const fm_log *log,
                                      fm_planned *out, flashmem_error *err) {
    splitting          s = { .graph = graph };
    fm_overlap_options options;
    fm_overlap_problem problem;
    fm_overlap_plan    solved;
    fm_instance_options_init(&s.instance);
    FM_TRY(fm_instance_parse(o->instance, &s.instance, err));
    FM_TRY(choose_solver(o, &options, err));
    options.log = log;
    if (o->chunk_bytes) s.instance.chunk_bytes = o->chunk_bytes;
    if (o->m_peak_bytes) s.instance.m_peak_bytes = o->m_peak_bytes;
    if (o->lambda >= 0) s.instance.lambda = o->lambda;
    s.instance.slab_bytes = o->slab_bytes;
    if (o->fusion) {
        FM_TRY(adapt_instance(&s, &options, out, &problem, &solved, err));
    } else {
        FM_TRY(fm_instance_build(graph, &s.instance, out->arena, &problem, err));
        FM_TRY(fm_overlap_solve(&problem, &options, out->arena, &solved, err));
    }
    fm_overlap_view(&problem, &solved, out->arena, &out->plan);
    for (uint32_t w = 0; w < problem.weight_count; w++) {
        out->plan.weight_bytes += problem.weights[w].bytes;
        out->plan.read_bytes += problem.weights[w].bytes;
    }
    out->plan.slab_bytes = o->slab_bytes;
    out->plan.peak_bytes = solved.preload_bytes + (uint64_t)solved.peak_chunks * problem.chunk_bytes;
    out->plan.capacities = fm_arena_printf(out->arena, "instance %s", o->instance);
    out->plan.device = "none";
    return FLASHMEM_OK;
}

flashmem_status fm_planner_instance(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                    flashmem_error *err) {
    const fm_graph *graph;
    if (!p->compilation.arena)
        return fm_fail(
            err, FLASHMEM_INVALID_ARGUMENT,
            "%s: a pack has no graph to make instance %s of: give the model, or plan the pack's program with "
            "--profile FILE or --profile table",
            p->path, o->instance);
    FM_TRY(imported_graph(p, out, &graph, err));
    fm_log log = { p->options.log, p->options.user };
    return solve_instance(graph, o, &log, out, err);
}

/* ---- the lowered program ---- */

enum { CHUNK = 256 << 10, M_PEAK = 500000000 };

/* Steps of the view, whose times follow each other. */
static void name_launches(const fm_program_cut *cut, fm_planned *out) {
    flashmem_plan_step *steps = (flashmem_plan_step *)(uintptr_t)out->plan.steps;
    for (uint32_t k = 0; k < cut->launch_count; k++) {
        steps[k].step = cut->launches[k].step;
        steps[k].part = cut->launches[k].part;
        steps[k].first_panel = cut->launches[k].first_panel;
        steps[k].panels = cut->launches[k].panels;
    }
}

flashmem_status fm_planner_program(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                   flashmem_error *err) {
    fm_log             log = { p->options.log, p->options.user };
    fm_overlap_options options;
    if (o->fusion && !p->compilation.arena)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "%s: a pack's program is fused as it was compiled: adapt fusion for the model", p->path);
    FM_TRY(choose_solver(o, &options, err));
    options.log = &log;
    FM_TRY(fm_planner_device(p, o, &out->request.device, err));
    out->lowered = p->program;
    FM_TRY(fm_planner_profile(p, o, out, err));
    fm_planner_launches launches = { p, out };
    out->request.slab_bytes = o->slab_bytes;
    out->program = o->program;
    FM_TRY(fm_program_cut_make(&p->packed, &p->program, &out->request, out->arena, &out->cut, err));
    fm_program_problem of = {
        .packed = &p->packed,
        .program = &p->program,
        .cut = &out->cut,
        .device = &out->request.device,
        .capacity = out->profile.learnt ? fm_planner_capacity : NULL,
        .user = &launches,
        .chunk_bytes = o->chunk_bytes ? o->chunk_bytes : CHUNK,
        .m_peak_bytes = o->m_peak_bytes ? o->m_peak_bytes : M_PEAK,
        .lambda = o->lambda >= 0 ? o->lambda : 0.9,
    };
    FM_TRY(fm_overlap_problem_of_program(&of, out->arena, &out->problem, err));
    FM_TRY(fm_overlap_solve(&out->problem, &options, out->arena, &out->solved, err));
    fm_overlap_view(&out->problem, &out->solved, out->arena, &out->plan);
    name_launches(&out->cut, out);
    for (uint32_t i = 0; i < out->cut.part_count; i++) out->plan.read_bytes += out->cut.parts[i].bytes;
    out->plan.kernel_steps = p->program.step_count;
    out->plan.slab_bytes = o->slab_bytes;
    out->plan.peak_bytes = out->solved.preload_bytes + (uint64_t)out->solved.peak_chunks * out->problem.chunk_bytes;
    out->plan.capacities = !out->request.step_seconds ? "class table"
                           : out->profile.learnt      ? fm_arena_printf(out->arena, "profile %s", o->profile)
                                                      : "class table, on the times of a profile without trees";
    return o->fusion ? fm_planner_fusion(p, o, &options, out, err) : FLASHMEM_OK;
}
