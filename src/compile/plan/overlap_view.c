#include "compile/plan/overlap_view.h"

static flashmem_capacity_class class_of(fm_capacity_class c) {
    if (c == FM_CAPACITY_REUSABLE) return FLASHMEM_CAPACITY_REUSABLE;
    return c == FM_CAPACITY_HIERARCHICAL ? FLASHMEM_CAPACITY_HIERARCHICAL : FLASHMEM_CAPACITY_ELEMENTWISE;
}

static flashmem_plan_step *make_steps(const fm_overlap_problem *problem, fm_arena *arena, flashmem_plan *out) {
    flashmem_plan_step *steps = fm_arena_array(arena, problem->step_count, sizeof *steps);
    double              now = 0;
    for (uint32_t l = 0; l < problem->step_count; l++) {
        const fm_overlap_step *from = &problem->steps[l];
        steps[l] = (flashmem_plan_step){ .name = from->name,
                                         .step = l,
                                         .capacity_class = class_of(from->capacity_class),
                                         .seconds = from->seconds,
                                         .start = now,
                                         .end = now + from->seconds };
        now += from->seconds;
    }
    out->latency = out->compute_seconds = now;
    out->kernel_steps = problem->step_count;
    return steps;
}

static void view_weights(const fm_overlap_problem *problem, const fm_overlap_plan *solved, fm_arena *arena,
                         flashmem_plan_step *steps, flashmem_plan *out) {
    flashmem_plan_weight *weights = fm_arena_array(arena, problem->weight_count, sizeof *weights);
    flashmem_plan_load   *loads = fm_arena_array(arena, solved->load_count, sizeof *loads);
    uint32_t              next = 0;
    for (uint32_t w = 0; w < problem->weight_count; w++) {
        const fm_overlap_weight *from = &problem->weights[w];
        uint32_t                 first = next;
        for (; next < solved->load_count && solved->loads[next].weight == w; next++) {
            loads[next] = (flashmem_plan_load){ solved->loads[next].step, solved->loads[next].chunks };
            steps[loads[next].step].load_bytes += loads[next].chunks * problem->chunk_bytes;
        }
        weights[w] = (flashmem_plan_weight){ .name = from->name,
                                             .bytes = from->bytes,
                                             .chunks = from->chunks,
                                             .first = from->first,
                                             .last = from->last,
                                             .preload = solved->preload[w],
                                             .first_load = first,
                                             .load_count = next - first };
    }
    out->weights = weights;
    out->weight_count = problem->weight_count;
    out->loads = loads;
    out->load_count = solved->load_count;
}

void fm_overlap_view(const fm_overlap_problem *problem, const fm_overlap_plan *solved, fm_arena *arena,
                     flashmem_plan *out) {
    flashmem_plan_step *steps = (flashmem_plan_step *)(uintptr_t)out->steps;
    if (!steps) steps = make_steps(problem, arena, out);
    for (uint32_t l = 0; l < problem->step_count; l++) {
        steps[l].capacity_class = class_of(problem->steps[l].capacity_class);
        steps[l].capacity_bytes = problem->steps[l].capacity_bytes;
        steps[l].load_bytes = 0;
    }
    view_weights(problem, solved, arena, steps, out);
    out->steps = steps;
    out->step_count = problem->step_count;
    out->objective_kind = "opg";
    out->solver = solved->solver;
    out->status = fm_overlap_status_name(solved->status);
    out->objective = fm_overlap_units(problem, solved->objective);
    out->bound = fm_overlap_units(problem, solved->bound);
    out->gap = solved->objective > 0 ? (double)(solved->objective - solved->bound) / (double)solved->objective : 0;
    out->seconds = solved->seconds;
    out->preload_bytes = solved->preload_bytes;
    out->peak_chunks = solved->peak_chunks;
    out->lambda = problem->lambda;
    out->chunk_bytes = problem->chunk_bytes;
    out->m_peak_bytes = problem->m_peak_bytes;
    out->m_peak_chunks = problem->m_peak;
}
