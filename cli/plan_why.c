/* Reasons.  With T chunks, M_peak, capacities C and loads x of the plan:
 *     preloading costs lambda * MiB, MiB = ceil(KiB) / 1024          a start d steps ahead costs (1 - lambda) * d
 * A weight that streams alone begins at the last step from which the capacities up to its use reach T; beside the others,
 * at the last from which what they leave does: later it cannot, whatever order the others take within their steps. */
#include "plan_why.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SAME = 1 + 1e-9; /* equal costs but for rounding */

typedef struct facts {
    const flashmem_plan *plan;
    uint64_t            *capacity; /* [steps] chunks */
    uint64_t            *left;     /* [steps] chunks that no weight takes */
    uint64_t            *flight;   /* [steps] chunks converted and not yet used up to here: F of C2 */
    uint64_t            *mine;     /* [steps] scratch: chunks of the weight at hand */
} facts;

static const flashmem_plan_load *load_of(const facts *f, const flashmem_plan_weight *w, uint32_t i) {
    return &f->plan->loads[w->first_load + i];
}

/* Chunks stay in flight from the step that converts them to the first that uses them, both included. */
static void count_flight(const facts *f) {
    const flashmem_plan *p = f->plan;
    for (uint32_t i = 0; i < p->weight_count; i++) {
        const flashmem_plan_weight *w = &p->weights[i];
        for (uint32_t k = 0; k < w->load_count; k++) {
            const flashmem_plan_load *load = load_of(f, w, k);
            f->left[load->step] -= load->chunks < f->left[load->step] ? load->chunks : f->left[load->step];
            f->flight[load->step] += load->chunks;
            if (w->first + 1 < p->step_count) f->flight[w->first + 1] -= load->chunks; /* unsigned: sums wrap back */
        }
    }
    for (uint32_t s = 1; s < p->step_count; s++) f->flight[s] += f->flight[s - 1];
}

/* Steps from the last start at which `capacity` suffices to the use; 0: it never does, *sum is what there is. */
static uint64_t least_distance(const facts *f, const flashmem_plan_weight *w, const uint64_t *capacity, uint64_t *sum) {
    *sum = 0;
    for (uint32_t s = w->first; s-- > 0;) {
        uint64_t missing = w->chunks - *sum;
        f->mine[s] = capacity[s] < missing ? capacity[s] : missing;
        *sum += capacity[s];
        if (*sum >= w->chunks) return w->first - s;
    }
    return 0;
}

/* Largest C2 sum with the weight streamed as least_distance left it in mine. */
static uint64_t flight_with(const facts *f, const flashmem_plan_weight *w, uint64_t distance) {
    uint64_t most = 0, own = 0;
    for (uint32_t s = (uint32_t)(w->first - distance); s <= w->first; s++) {
        if (s < w->first) own += f->mine[s];
        if (f->flight[s] + own > most) most = f->flight[s] + own;
    }
    return most;
}

static cli_reason reason_of_preload(const facts *f, const flashmem_plan_weight *w) {
    const flashmem_plan *p = f->plan;
    double               keep = p->lambda * (double)((w->bytes + 1023) / 1024) / 1024, ahead = 1 - p->lambda;
    uint64_t             sum;
    if (w->first == 0) return (cli_reason){ .why = CLI_WHY_FIRST };
    if (w->chunks > p->m_peak_chunks)
        return (cli_reason){ .why = CLI_WHY_LARGER, .first = w->chunks, .second = p->m_peak_chunks };
    uint64_t distance = least_distance(f, w, f->capacity, &sum);
    if (!distance) return (cli_reason){ .why = CLI_WHY_CAPACITY, .first = sum, .second = w->chunks };
    cli_reason r = { .first = distance, .keep = keep, .cost = ahead * (double)distance };
    if (r.keep <= r.cost * SAME) return r.why = CLI_WHY_CHEAPER, r;
    distance = least_distance(f, w, f->left, &sum);
    if (!distance) return (cli_reason){ .why = CLI_WHY_SHARED, .first = sum, .second = w->chunks };
    r = (cli_reason){ .first = distance, .keep = keep, .cost = ahead * (double)distance };
    if (r.keep <= r.cost * SAME) return r.why = CLI_WHY_DEARER, r;
    uint64_t flight = flight_with(f, w, distance);
    if (flight > p->m_peak_chunks)
        return (cli_reason){ .why = CLI_WHY_MEMORY, .first = flight, .second = p->m_peak_chunks };
    return r.why = CLI_WHY_SOLVER, r;
}

static cli_reason reason_of(const facts *f, const flashmem_plan_weight *w) {
    if (w->preload) return reason_of_preload(f, w);
    uint32_t first = w->first;
    for (uint32_t k = 0; k < w->load_count; k++)
        if (load_of(f, w, k)->step < first) first = load_of(f, w, k)->step;
    return (cli_reason){ .why = CLI_WHY_STREAMED, .first = w->load_count, .second = w->first - first };
}

cli_reason *cli_why_weights(const flashmem_plan *plan) {
    size_t      steps = plan->step_count + 1u;
    uint64_t   *sums = calloc(4 * steps, sizeof *sums);
    cli_reason *reasons = calloc(plan->weight_count + 1u, sizeof *reasons);
    facts       f = { plan, sums, sums + steps, sums + 2 * steps, sums + 3 * steps };
    if (!sums || !reasons) {
        free(reasons);
        reasons = NULL;
        goto cleanup;
    }
    for (uint32_t s = 0; s < plan->step_count; s++)
        f.capacity[s] = f.left[s] = plan->chunk_bytes ? plan->steps[s].capacity_bytes / plan->chunk_bytes : 0;
    count_flight(&f);
    for (uint32_t i = 0; i < plan->weight_count; i++) reasons[i] = reason_of(&f, &plan->weights[i]);
cleanup:
    free(sums);
    return reasons;
}

/* --- as text ------------------------------------------------------------------------------------------------------ */

static const char *plural(uint64_t count) { return count == 1 ? "" : "s"; }

void cli_why_weight_text(const flashmem_plan *plan, const cli_reason *r, char *text, size_t bytes) {
    switch (r->why) {
    case CLI_WHY_STREAMED:
        snprintf(text, bytes, "streamed: loaded under %" PRIu64 " step%s, beginning %" PRIu64 " step%s ahead", r->first,
                 plural(r->first), r->second, plural(r->second));
        return;
    case CLI_WHY_FIRST: snprintf(text, bytes, "preloaded: the first step uses it, no step runs before"); return;
    case CLI_WHY_LARGER:
        snprintf(text, bytes, "preloaded: %" PRIu64 " chunks are more than the %" PRIu64 " that M_peak holds", r->first,
                 r->second);
        return;
    case CLI_WHY_CAPACITY:
        snprintf(text, bytes, "preloaded: all steps before it can load %" PRIu64 " of its %" PRIu64 " chunk%s",
                 r->first, r->second, plural(r->second));
        return;
    case CLI_WHY_CHEAPER:
        snprintf(text, bytes,
                 "preloaded: that costs %.4g; even alone it would begin %" PRIu64 " step%s ahead, which costs %.4g",
                 r->keep, r->first, plural(r->first), r->cost);
        return;
    case CLI_WHY_SHARED:
        snprintf(text, bytes,
                 "preloaded: it has %" PRIu64 " chunk%s, other weights leave capacity for %" PRIu64 " before it",
                 r->second, plural(r->second), r->first);
        return;
    case CLI_WHY_DEARER:
        snprintf(text, bytes,
                 "preloaded: that costs %.4g; in what other weights leave it would begin %" PRIu64
                 " step%s ahead, which costs %.4g",
                 r->keep, r->first, plural(r->first), r->cost);
        return;
    case CLI_WHY_MEMORY:
        snprintf(text, bytes,
                 "preloaded: in what other weights leave it would bring %" PRIu64
                 " chunks in flight, M_peak holds %" PRIu64,
                 r->first, r->second);
        return;
    case CLI_WHY_SOLVER:
        snprintf(
            text, bytes,
            "preloaded by the solver's choice (%s, %s): that costs %.4g, to stream it in what other weights leave %.4g",
            plan->solver ? plan->solver : "", plan->status ? plan->status : "", r->keep, r->cost);
        return;
    }
}

/* How the arrival stands to the first launch that needs it. */
static void append_arrival(const flashmem_plan *plan, const flashmem_plan_object *o, char *text, size_t bytes) {
    const flashmem_plan_step *first = o->first < plan->step_count ? &plan->steps[o->first] : NULL;
    if (!first || first->start <= 0) return;
    double before = o->first ? plan->steps[o->first - 1].end : 0, early = first->start - o->arrival;
    if (first->stall > 0 && o->arrival > before)
        snprintf(text, bytes, "; its first use waits for it, %.3g ms after the launch before",
                 (o->arrival - before) * 1e3);
    else if (early >= 0) snprintf(text, bytes, "; arrives %.3g ms before its first use", early * 1e3);
}

/* The residents are the first objects of a run or spread evenly, whichever makes later runs shorter; which of the two is
 * not part of the plan.  Only the timed plan reads an object as soon as its memory is free. */
static int write_when(const flashmem_plan *plan, const flashmem_plan_object *o, char *text, size_t bytes) {
    bool        timed = plan->objective_kind && !strcmp(plan->objective_kind, "timed");
    const char *name = o->after >= 0 && (uint32_t)o->after < plan->step_count ? plan->steps[o->after].name : "";
    if (o->resident)
        return snprintf(text, bytes, "%s",
                        plan->resident_bytes >= plan->read_bytes
                            ? "kept: everything fits, nothing is read twice"
                            : "kept in memory that is left: later runs do not read it");
    if (o->preload) return snprintf(text, bytes, "read before the first launch");
    if (o->wrap)
        return snprintf(text, bytes,
                        "read from the start; for later runs after launch %" PRId32 " (%s) of the run before", o->after,
                        name);
    if (o->after < 0) return snprintf(text, bytes, "read from the start%s", timed ? ": its memory is free" : "");
    return snprintf(text, bytes, "read after launch %" PRId32 " (%s)%s", o->after, name,
                    timed ? ": its memory is free then" : "");
}

void cli_why_object_text(const flashmem_plan *plan, uint32_t index, char *text, size_t bytes) {
    const flashmem_plan_object *o = &plan->objects[index];
    int                         used = write_when(plan, o, text, bytes);
    if (used > 0 && (size_t)used < bytes) append_arrival(plan, o, text + used, bytes - (size_t)used);
}
