/* The published policy: an overlap plan of the lowered program, replayed. */
#include "compile/planner_internal.h"

/* p, z and x of the solved problem over the parts and launches of the cut, in bytes. */
static const fm_policy_overlap *arrays_of(const fm_planned *out, fm_arena *arena) {
    const fm_overlap_problem *problem = &out->problem;
    const fm_overlap_plan    *solved = &out->solved;
    fm_policy_overlap        *to = fm_arena_array(arena, 1, sizeof *to);
    uint8_t                  *preload = fm_arena_array(arena, problem->weight_count, sizeof *preload);
    uint32_t                 *first_load = fm_arena_array(arena, problem->weight_count, sizeof *first_load);
    uint64_t                 *left = fm_arena_array(arena, problem->weight_count, sizeof *left);
    fm_policy_load           *loads = fm_arena_array(arena, solved->load_count, sizeof *loads);
    for (uint32_t w = 0; w < problem->weight_count; w++) { /* weights and parts have the same numbers */
        preload[w] = solved->preload[w];
        first_load[w] = solved->first_load[w];
        left[w] = problem->weights[w].bytes;
    }
    for (uint32_t i = 0; i < solved->load_count; i++) {
        const fm_overlap_load *load = &solved->loads[i];
        uint64_t               bytes = load->chunks * problem->chunk_bytes;
        if (bytes > left[load->weight]) bytes = left[load->weight]; /* the last chunk is short */
        left[load->weight] -= bytes;
        loads[i] = (fm_policy_load){ load->weight, load->step, bytes };
    }
    *to = (fm_policy_overlap){ preload, first_load, loads, solved->load_count };
    return to;
}

flashmem_status fm_planner_published(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                     flashmem_error *err) {
    if (o->fusion)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "%s: the published policy is replayed as the program is fused, which adaptive fusion changes",
                       p->path);
    FM_TRY(fm_planner_program(p, o, out, err));
    out->request.overlap = arrays_of(out, out->arena);
    return FLASHMEM_OK;
}

void fm_planner_note_published(fm_planned *out) {
    out->plan.solver = out->solved.solver;
    out->plan.status = fm_overlap_status_name(out->solved.status);
    out->plan.seconds += out->solved.seconds;
    out->plan.lambda = out->problem.lambda;
    out->plan.chunk_bytes = out->problem.chunk_bytes;
    out->plan.m_peak_bytes = out->problem.m_peak_bytes;
    out->plan.m_peak_chunks = out->problem.m_peak;
    out->plan.peak_chunks = out->solved.peak_chunks;
}
