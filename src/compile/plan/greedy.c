/* The greedy reference: weights in the order of their first use, each as late as capacities and M_peak leave room;
 * preloaded when there is no room for the whole of it.  It weighs no costs: the floor that other solvers are measured
 * against. */
#include <string.h>

#include "compile/plan/solvers.h"

typedef struct greedy {
    const fm_overlap_problem *p;
    uint32_t                 *room;   /* [steps] capacity left */
    uint32_t                 *flight; /* [steps] F of C2 */
} greedy;

/* As late as possible; returns how many loads it took, 0 when the weight does not fit.  A chunk at step l is in flight
 * from l to `first`, so `space`, the least room of C2 over those steps, only falls with l. */
static uint32_t load_backwards(const greedy *g, uint32_t weight, fm_overlap_load *loads) {
    const fm_overlap_weight *w = &g->p->weights[weight];
    uint32_t                 rest = w->chunks, count = 0, space = g->p->m_peak - g->flight[w->first];
    for (uint32_t l = w->first; l-- > 0 && rest && space;) {
        uint32_t here = g->p->m_peak - g->flight[l], chunks = rest;
        if (space > here) space = here;
        if (chunks > space) chunks = space;
        if (chunks > g->room[l]) chunks = g->room[l];
        if (!chunks) continue;
        loads[count++] = (fm_overlap_load){ weight, l, chunks };
        rest -= chunks;
        space -= chunks;
    }
    return rest ? 0 : count;
}

/* Takes what the loads use, and turns them into rising steps. */
static void take(greedy *g, fm_overlap_load *loads, uint32_t count) {
    uint32_t first = g->p->weights[loads[0].weight].first, resident = 0;
    for (uint32_t i = 0; i < count / 2; i++) {
        fm_overlap_load swap = loads[i];
        loads[i] = loads[count - 1 - i];
        loads[count - 1 - i] = swap;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t until = i + 1 < count ? loads[i + 1].step : first + 1;
        g->room[loads[i].step] -= loads[i].chunks;
        resident += loads[i].chunks;
        for (uint32_t l = loads[i].step; l < until; l++) g->flight[l] += resident;
    }
}

flashmem_status fm_overlap_greedy(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    (void)options;
    (void)err;
    greedy g = { p, fm_arena_array(arena, p->step_count, sizeof(uint32_t)),
                 fm_arena_array(arena, p->step_count, sizeof(uint32_t)) };
    for (uint32_t l = 0; l < p->step_count; l++) g.room[l] = p->steps[l].capacity;
    plan->solver = "greedy";
    plan->preload = fm_arena_array(arena, p->weight_count, 1);
    plan->first_load = fm_arena_array(arena, p->weight_count, sizeof *plan->first_load);
    plan->load_count = 0;
    /* A load of a weight that fits finishes it or uses up its step; the weight being tried has at most one per step. */
    plan->loads = fm_arena_array(arena, p->weight_count + 2 * (size_t)p->step_count, sizeof *plan->loads);
    for (uint32_t w = 0; w < p->weight_count; w++) {
        fm_overlap_load *loads = plan->loads + plan->load_count;
        uint32_t         count = load_backwards(&g, w, loads);
        plan->preload[w] = !count;
        if (count) take(&g, loads, count);
        plan->first_load[w] = count ? loads[0].step : FM_NO_LOAD;
        plan->load_count += count;
    }
    fm_overlap_measure(p, plan, arena);
    fm_overlap_prove(plan, 0);
    return FLASHMEM_OK;
}
