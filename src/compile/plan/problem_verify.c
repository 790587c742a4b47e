/* The plan against the definition of the problem: every count, constraint and sum again from bytes, p and x.  Shares no
 * code with the solvers, and takes nothing from them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "compile/plan/problem.h"

typedef struct check {
    const fm_overlap_problem *p;
    const fm_overlap_plan    *plan;
    uint64_t                 *loaded; /* [weights] chunks converted */
    uint64_t                 *used;   /* [steps] chunks converted under it */
    int64_t                  *change; /* [steps + 1] of the chunks in flight */
    uint64_t                  chunk_steps;
    flashmem_error           *err;
} check;

#define WRONG(c, ...) fm_fail((c)->err, FLASHMEM_INTERNAL, "plan of '%s': " __VA_ARGS__)
#define NAME(c)       ((c)->p->name ? (c)->p->name : "")

static const char *weight_name(const check *c, uint32_t w) {
    return c->p->weights[w].name ? c->p->weights[w].name : "";
}

static uint64_t chunks_of(uint64_t bytes, uint64_t chunk) {
    uint64_t whole = bytes / chunk, rest = bytes % chunk;
    if (rest) whole++;
    return whole ? whole : 1;
}

/* The counts that stand for bytes. */
static flashmem_status check_problem(check *c) {
    const fm_overlap_problem *p = c->p;
    uint64_t                  m_peak = p->chunk_bytes ? p->m_peak_bytes / p->chunk_bytes : 0;
    if (!p->chunk_bytes || p->m_peak != (m_peak < UINT32_MAX ? m_peak : UINT32_MAX))
        return WRONG(c, "M_peak is %" PRIu32 " chunks, %" PRIu64 " bytes are %" PRIu64, NAME(c), p->m_peak,
                     p->m_peak_bytes, m_peak);
    for (uint32_t l = 0; l < p->step_count; l++) {
        uint64_t capacity = p->steps[l].capacity_bytes / p->chunk_bytes;
        if (p->steps[l].capacity != (capacity < UINT32_MAX ? capacity : UINT32_MAX))
            return WRONG(c, "capacity of step %" PRIu32 " is %" PRIu32 " chunks, its bytes are %" PRIu64, NAME(c), l,
                         p->steps[l].capacity, capacity);
    }
    for (uint32_t w = 0; w < p->weight_count; w++)
        if (p->weights[w].chunks != chunks_of(p->weights[w].bytes, p->chunk_bytes) ||
            p->weights[w].first >= p->step_count)
            return WRONG(c, "weight %" PRIu32 " '%s' has %" PRIu32 " chunks and is first used by step %" PRIu32,
                         NAME(c), w, weight_name(c, w), p->weights[w].chunks, p->weights[w].first);
    return FLASHMEM_OK;
}

/* C1, and what the other checks add up. */
static flashmem_status check_loads(check *c) {
    const fm_overlap_plan *plan = c->plan;
    for (uint32_t i = 0; i < plan->load_count; i++) {
        const fm_overlap_load *x = &plan->loads[i], *before = i ? x - 1 : NULL;
        if (x->weight >= c->p->weight_count || x->step >= c->p->step_count || !x->chunks)
            return WRONG(c, "load %" PRIu32 " is %" PRIu32 " chunks of weight %" PRIu32 " under step %" PRIu32, NAME(c),
                         i, x->chunks, x->weight, x->step);
        if (before && (before->weight > x->weight || (before->weight == x->weight && before->step >= x->step)))
            return WRONG(c, "load %" PRIu32 " is out of order", NAME(c), i);
        uint32_t first = c->p->weights[x->weight].first;
        if (plan->preload[x->weight])
            return WRONG(c, "C0: weight %" PRIu32 " '%s' is preloaded and loaded under step %" PRIu32, NAME(c),
                         x->weight, weight_name(c, x->weight), x->step);
        if (x->step >= first || x->step < plan->first_load[x->weight])
            return WRONG(c,
                         "C1: weight %" PRIu32 " '%s' is loaded under step %" PRIu32 ", outside %" PRIu32
                         " to before %" PRIu32,
                         NAME(c), x->weight, weight_name(c, x->weight), x->step, plan->first_load[x->weight], first);
        c->loaded[x->weight] += x->chunks;
        c->used[x->step] += x->chunks;
        c->change[x->step] += x->chunks;
        c->change[first + 1] -= x->chunks;
        c->chunk_steps += x->chunks * (uint64_t)(first - x->step);
    }
    return FLASHMEM_OK;
}

/* C0, and z the first step of each weight that loads anything. */
static flashmem_status check_weights(check *c) {
    const fm_overlap_plan *plan = c->plan;
    uint32_t               at = 0;
    for (uint32_t w = 0; w < c->p->weight_count; w++) {
        while (at < plan->load_count && plan->loads[at].weight < w) at++;
        bool     any = at < plan->load_count && plan->loads[at].weight == w;
        uint32_t z = any ? plan->loads[at].step : FM_NO_LOAD;
        if (plan->preload[w] > 1)
            return WRONG(c, "p of weight %" PRIu32 " '%s' is %u", NAME(c), w, weight_name(c, w), plan->preload[w]);
        if (c->loaded[w] != (plan->preload[w] ? 0 : c->p->weights[w].chunks))
            return WRONG(c, "C0: %" PRIu64 " of %" PRIu32 " chunks of weight %" PRIu32 " '%s' are loaded", NAME(c),
                         c->loaded[w], c->p->weights[w].chunks, w, weight_name(c, w));
        if (plan->first_load[w] != z)
            return WRONG(c, "C1: z of weight %" PRIu32 " '%s' is %" PRIu32 ", its first load %" PRIu32, NAME(c), w,
                         weight_name(c, w), plan->first_load[w], z);
    }
    return FLASHMEM_OK;
}

/* C2, C3 and the peak. */
static flashmem_status check_steps(check *c) {
    int64_t  flight = 0, peak = 0;
    uint64_t beyond = 0;
    for (uint32_t l = 0; l < c->p->step_count; l++) {
        uint32_t capacity = c->p->steps[l].capacity;
        flight += c->change[l];
        if (flight > peak) peak = flight;
        if (flight > (int64_t)c->p->m_peak)
            return WRONG(c, "C2: %" PRId64 " chunks in flight at step %" PRIu32 ", at most %" PRIu32, NAME(c), flight,
                         l, c->p->m_peak);
        if (c->used[l] > capacity) beyond += c->used[l] - capacity;
        if (c->used[l] > capacity && !c->plan->softened)
            return WRONG(c, "C3: %" PRIu64 " chunks under step %" PRIu32 ", at most %" PRIu32, NAME(c), c->used[l], l,
                         capacity);
    }
    if (beyond != c->plan->softened)
        return WRONG(c, "C3: %" PRIu64 " chunks beyond the capacities, %" PRIu64 " said", NAME(c), beyond,
                     c->plan->softened);
    if (peak != c->plan->peak_chunks)
        return WRONG(c, "the peak is %" PRId64 " chunks, %" PRIu32 " said", NAME(c), peak, c->plan->peak_chunks);
    return FLASHMEM_OK;
}

/* The objective in integers; sums fit, as fm_overlap_problem_finish made sure. */
static flashmem_status check_objective(check *c) {
    const fm_overlap_problem *p = c->p;
    uint64_t                  bytes = 0, kib = 0, steps = 0;
    for (uint32_t w = 0; w < p->weight_count; w++) {
        if (c->plan->preload[w]) {
            bytes += p->weights[w].bytes;
            kib += p->weights[w].bytes / 1024 + (p->weights[w].bytes % 1024 ? 1 : 0);
        } else {
            steps += p->weights[w].first - c->plan->first_load[w];
        }
    }
    uint64_t cost = kib * (uint64_t)p->preload_cost;
    if (p->distance == FM_DISTANCE_BYTES)
        cost += c->chunk_steps * ((uint64_t)p->distance_cost * p->chunk_bytes / 1048576);
    else cost += steps * (uint64_t)p->distance_cost;
    if (bytes != c->plan->preload_bytes)
        return WRONG(c, "%" PRIu64 " bytes are preloaded, %" PRIu64 " said", NAME(c), bytes, c->plan->preload_bytes);
    if (c->plan->objective < 0 || cost != (uint64_t)c->plan->objective)
        return WRONG(c, "the objective is %" PRIu64 ", %" PRId64 " said", NAME(c), cost, c->plan->objective);
    return FLASHMEM_OK;
}

static flashmem_status check_claims(check *c) {
    const fm_overlap_plan *plan = c->plan;
    bool                   proven = plan->bound == plan->objective && !plan->softened;
    if (plan->bound < 0 || plan->bound > plan->objective)
        return WRONG(c, "the bound is %" PRId64 ", the objective %" PRId64, NAME(c), plan->bound, plan->objective);
    if ((uint32_t)plan->status > FM_OVERLAP_OPTIMAL || (plan->status == FM_OVERLAP_OPTIMAL) != proven)
        return WRONG(c, "status %d at objective %" PRId64 ", bound %" PRId64 ", %" PRIu64 " chunks beyond C3", NAME(c),
                     (int)plan->status, plan->objective, plan->bound, plan->softened);
    if (!plan->solver || !*plan->solver) return WRONG(c, "no solver is named", NAME(c));
    if (!(plan->seconds >= 0 && isfinite(plan->seconds))) return WRONG(c, "%g seconds", NAME(c), plan->seconds);
    return FLASHMEM_OK;
}

static flashmem_status check_all(check *c) {
    FM_TRY(check_problem(c));
    FM_TRY(check_loads(c));
    FM_TRY(check_weights(c));
    FM_TRY(check_steps(c));
    FM_TRY(check_objective(c));
    return check_claims(c);
}

flashmem_status fm_overlap_verify(const fm_overlap_problem *problem, const fm_overlap_plan *plan, flashmem_error *err) {
    check c = { .p = problem, .plan = plan, .err = err };
    if ((problem->weight_count && (!plan->preload || !plan->first_load)) || (plan->load_count && !plan->loads))
        return WRONG(&c, "p, z or x is missing", NAME(&c));
    c.loaded = calloc((size_t)problem->weight_count + 1, sizeof *c.loaded);
    c.used = calloc((size_t)problem->step_count + 1, sizeof *c.used);
    c.change = calloc((size_t)problem->step_count + 2, sizeof *c.change);
    flashmem_status status = c.loaded && c.used && c.change
                                 ? check_all(&c)
                                 : fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory to verify a plan");
    free(c.loaded);
    free(c.used);
    free(c.change);
    return status;
}
