/* What is left where labels prove nothing in time: the published tiers, and the order in which all are tried. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/bounds.h"
#include "compile/plan/solvers.h"

/* ---- soften the capacities ---- */

static uint64_t scaled(uint64_t bytes, double factor) {
    double product = (double)bytes * factor;
    return product < 0x1p63 ? (uint64_t)product : UINT64_MAX;
}

static uint64_t beyond_capacity(const fm_overlap_problem *p, const fm_overlap_plan *plan, fm_arena *arena) {
    uint64_t *used = fm_arena_array(arena, p->step_count, sizeof *used), beyond = 0;
    for (uint32_t i = 0; i < plan->load_count; i++) used[plan->loads[i].step] += plan->loads[i].chunks;
    for (uint32_t l = 0; l < p->step_count; l++)
        if (used[l] > p->steps[l].capacity) beyond += used[l] - p->steps[l].capacity;
    return beyond;
}

/* Labels over capacities times options->soften.  The plan may break C3, which `softened` counts; its bound holds for
 * the problem itself, whose plans are all plans of the softer one. */
flashmem_status fm_overlap_soften(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    double             factor = options->soften == 0 ? 1.5 : options->soften;
    fm_overlap_problem soft = *p;
    fm_overlap_step   *steps = fm_arena_array(arena, p->step_count, sizeof *steps);
    if (!(factor >= 1 && isfinite(factor)))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "capacities softened by %g: at least 1 is wanted", factor);
    for (uint32_t l = 0; l < p->step_count; l++) {
        steps[l] = p->steps[l];
        steps[l].capacity_bytes = scaled(steps[l].capacity_bytes, factor);
        uint64_t chunks = steps[l].capacity_bytes / p->chunk_bytes;
        if (chunks < steps[l].capacity) chunks = steps[l].capacity; /* a double holds 53 bits */
        steps[l].capacity = chunks < UINT32_MAX ? (uint32_t)chunks : UINT32_MAX;
    }
    soft.steps = steps;
    FM_TRY(fm_overlap_labels(&soft, options, arena, plan, err));
    fm_overlap_status status = plan->status;
    plan->solver = "soften";
    plan->softened = beyond_capacity(p, plan, arena);
    fm_overlap_prove(plan, plan->bound);
    if (status == FM_OVERLAP_UNKNOWN) plan->status = status;
    return FLASHMEM_OK;
}

/* ---- preload the heaviest offender ---- */

typedef struct replay {
    const fm_overlap_problem *p;
    uint8_t                  *preload;
    uint32_t                  step, next;             /* weights from `next` on are first used at `step` or later */
    uint32_t                  empty_step, empty_next; /* the same where the backlog was last empty */
} replay;

/* Backwards from the last empty backlog.  False where it is too much: the weights from `next` to `empty_next` are what
 * it is made of. */
static bool replay_backlog(replay *r) {
    uint64_t backlog = 0;
    r->step = r->empty_step;
    r->next = r->empty_next;
    while (r->step > 0) {
        const fm_overlap_step *step = &r->p->steps[--r->step];
        uint64_t               flight = backlog;
        backlog -= backlog < step->capacity ? backlog : step->capacity;
        for (; r->next && r->p->weights[r->next - 1].first == r->step; r->next--) {
            if (r->preload[r->next - 1]) continue;
            backlog += r->p->weights[r->next - 1].chunks;
            flight += r->p->weights[r->next - 1].chunks;
        }
        if (flight > r->p->m_peak) return false;
        if (!backlog) {
            r->empty_step = r->step;
            r->empty_next = r->next;
        }
    }
    return !backlog;
}

/* The heaviest weight of a backlog that is too much is preloaded, until none is.  At the limit all of them are. */
flashmem_status fm_overlap_preload(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                   fm_overlap_plan *plan, flashmem_error *err) {
    fm_overlap_limit until = { fm_clock_seconds() + fm_overlap_time_limit(options), options->stop, options->stop_user };
    replay           r = { p, fm_arena_array(arena, p->weight_count, 1), 0, 0, p->step_count, p->weight_count };
    plan->solver = "preload";
    while (!replay_backlog(&r)) {
        uint32_t heaviest = r.next;
        for (uint32_t w = r.next; w < r.empty_next; w++)
            if (!r.preload[w] && (r.preload[heaviest] || p->weights[w].chunks > p->weights[heaviest].chunks))
                heaviest = w;
        if (fm_overlap_limit_reached(&until)) memset(r.preload + r.next, 1, r.empty_next - r.next);
        r.preload[heaviest] = 1;
    }
    if (!fm_overlap_complete(p, r.preload, arena, plan))
        return fm_fail(err, FLASHMEM_INTERNAL, "plan of '%s': the backlog fits, the plan does not", p->name);
    fm_overlap_prove(plan, 0);
    return FLASHMEM_OK;
}

/* ---- all of them ---- */

/* Labels keep the best plan of the widths they came through (1, 200, full).  Where the time limit came first, the tiers
 * that need no search may have a better one; what labels have proven holds for all.  Softened plans break C3, so they
 * are never taken unasked. */
flashmem_status fm_overlap_auto(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                fm_overlap_plan *plan, flashmem_error *err) {
    static fm_overlap_solver_fn *const last[] = { fm_overlap_preload, fm_overlap_greedy };
    FM_TRY(fm_overlap_labels(p, options, arena, plan, err));
    if (plan->status != FM_OVERLAP_UNKNOWN) return FLASHMEM_OK;
    fm_warn(options->log, "plan",
            "%s: the time limit came before labels had proven a plan (objective %.6g, bound %.6g)", p->name,
            fm_overlap_units(p, plan->objective), fm_overlap_units(p, plan->bound));
    int64_t            bound = plan->bound;
    fm_overlap_options rest = *options;
    rest.time_limit = options->time_limit < 0 ? -1 : fm_overlap_time_limit(options) / 10;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        fm_overlap_plan other = { 0 };
        FM_TRY(last[i](p, &rest, arena, &other, err));
        if (other.objective < plan->objective) *plan = other;
    }
    fm_overlap_prove(plan, bound);
    if (plan->status != FM_OVERLAP_OPTIMAL) plan->status = FM_OVERLAP_UNKNOWN;
    return FLASHMEM_OK;
}
