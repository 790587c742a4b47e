/* Adaptive fusion of a lowered program.  Candidates are tried on the overlap problem with the split step estimated; what
 * is chosen is then lowered for real, and kept only if the real objective is lower too. */
#include "compile/plan/fusion.h"
#include "compile/planner_internal.h"
#include "schedule/work.h"

#include <string.h>

typedef struct seams {
    const fm_overlap_problem *fused;
    const fm_program_cut     *cut;
    const flashmem_device    *device;
    const fm_graph_seam     **seams;      /* [candidates] */
    fm_fusion_candidate      *candidates; /* source: kernel step */
    uint32_t                  count;
} seams;

static double own_seconds(const flashmem_device *d, double bytes) {
    return d->launch_seconds + (d->bytes_per_second > 0 ? bytes / d->bytes_per_second : 0);
}

static uint64_t own_capacity(const flashmem_device *d, double seconds) {
    return (uint64_t)(d->growth[FLASHMEM_CAPACITY_ELEMENTWISE] * seconds * d->load_bytes_per_second);
}

/* Kernel step of that name that is cut as a product or convolution; FM_NONE: none. */
static uint32_t step_named(const fm_program *p, const char *name) {
    for (uint32_t s = 0; name && s < p->step_count; s++) {
        flashmem_capacity_class c = fm_capacity_class_of((flashmem_cost_class)p->steps[s].cost_class);
        if (c == FLASHMEM_CAPACITY_REUSABLE && strcmp(fm_program_string(p, p->steps[s].name), name) == 0) return s;
    }
    return FM_NONE;
}

static uint32_t last_launch(const fm_program_cut *cut, uint32_t step) {
    uint32_t last = 0;
    for (uint32_t k = 0; k < cut->launch_count; k++)
        if (cut->launches[k].step == step) last = k;
    return last;
}

static void collect(flashmem_planner *p, fm_planned *made, seams *out) {
    const fm_graph *g = &p->compilation.graph;
    *out = (seams){ .fused = &made->problem, .cut = &made->cut, .device = &made->request.device };
    out->seams = fm_arena_array(made->arena, g->seam_count, sizeof *out->seams);
    out->candidates = fm_arena_array(made->arena, g->seam_count, sizeof *out->candidates);
    for (size_t i = 0; i < g->seam_count; i++) {
        uint32_t step = step_named(&p->program, g->seams[i].step);
        if (step == FM_NONE) continue;
        uint32_t launch = last_launch(&made->cut, step);
        uint64_t fused = made->problem.steps[launch].capacity_bytes;
        double   seconds = own_seconds(out->device, g->seams[i].bytes);
        out->seams[out->count] = &g->seams[i];
        out->candidates[out->count++] = (fm_fusion_candidate){
            .name = fm_arena_printf(made->arena, "%s | %s", g->seams[i].step, g->seams[i].tensor),
            .step = launch,
            .source = step,
            .fused_bytes = fused,
            .split_bytes = fused + own_capacity(out->device, seconds)
        };
    }
}

/* The fused problem with a step put behind the last launch of each kernel step that is split. */
static flashmem_status build(void *user, const uint8_t *split, fm_arena *arena, fm_overlap_problem *out,
                             flashmem_error *err) {
    const seams              *s = user;
    const fm_overlap_problem *from = s->fused;
    fm_overlap_step          *steps = fm_arena_array(arena, from->step_count + s->count, sizeof *steps);
    fm_overlap_weight        *weights = fm_arena_array(arena, from->weight_count, sizeof *weights);
    uint32_t                 *moved = fm_arena_array(arena, from->step_count + 1u, sizeof *moved);
    uint32_t                 *behind = fm_arena_array(arena, from->step_count + 1u, sizeof *behind), count = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (split[i]) behind[s->candidates[i].step] = i + 1;
    for (uint32_t k = 0; k < from->step_count; k++) {
        moved[k] = count;
        steps[count++] = from->steps[k];
        if (!behind[k]) continue;
        double seconds = own_seconds(s->device, s->seams[behind[k] - 1]->bytes);
        steps[count++] = (fm_overlap_step){ .name = s->seams[behind[k] - 1]->tensor,
                                            .capacity_class = FM_CAPACITY_ELEMENTWISE,
                                            .seconds = seconds,
                                            .capacity_bytes = own_capacity(s->device, seconds),
                                            .source = k };
    }
    for (uint32_t w = 0; w < from->weight_count; w++) {
        weights[w] = from->weights[w];
        weights[w].first = moved[from->weights[w].first];
        weights[w].last = moved[from->weights[w].last];
    }
    *out = *from;
    out->step_count = count;
    return fm_overlap_problem_finish(out, steps, weights, from->lambda, err);
}

/* The model lowered again with those operators apart, and its plan. */
static flashmem_status plan_again(flashmem_planner *p, const flashmem_plan_options *o, const char *const *apart,
                                  uint32_t count, fm_planned *out, flashmem_error *err) {
    flashmem_compile_options options = p->options;
    flashmem_plan_options    plain = *o;
    options.apart = apart;
    options.apart_count = count;
    plain.fusion = 0;
    FM_TRY(flashmem_planner_open(p->path, &options, &out->split, err));
    return flashmem_planner_plan(out->split, &plain, &out->split_plan, err);
}

flashmem_status fm_planner_fusion(flashmem_planner *p, const flashmem_plan_options *o,
                                  const fm_overlap_options *options, fm_planned *out, flashmem_error *err) {
    seams            s;
    fm_fusion_result found;
    collect(p, out, &s);
    fm_fusion fusion = {
        .candidates = s.candidates, .candidate_count = s.count, .alpha = -1, .build = build, .user = &s
    };
    FM_TRY(fm_fusion_adapt(&fusion, options, out->arena, &found, err));
    double fused = fm_overlap_units(&out->problem, out->solved.objective);
    out->plan.fused_objective = fused;
    if (found.split_count == 0) return FLASHMEM_OK;
    const char **apart = fm_arena_array(out->arena, found.split_count, sizeof *apart);
    uint32_t     count = 0;
    for (uint32_t i = 0; i < s.count; i++)
        if (found.split[i]) apart[count++] = s.seams[i]->tensor;
    FM_TRY(plan_again(p, o, apart, count, out, err));
    double real = out->split_plan->objective;
    fm_info(options->log, "fusion", "%u of %u candidates: objective %.6f fused, %.6f estimated, %.6f lowered: %s",
            count, s.count, fused, fm_overlap_units(&found.problem, found.plan.objective), real,
            real < fused ? "split" : "fused as before");
    if (real >= fused) return FLASHMEM_OK;
    out->plan = *out->split_plan;
    out->plan.fused_objective = fused;
    out->plan.split_count = count;
    out->plan.apart = apart;
    return FLASHMEM_OK;
}
