#include "compile/plan/fusion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { PAIRS_BELOW = 17 }; /* as few candidates are also tried two at a time */

typedef struct ranked {
    double   penalty;
    uint32_t candidate;
} ranked;

typedef struct search {
    const fm_fusion          *fusion;
    const fm_overlap_options *options;
    fm_arena                 *arena; /* of what stays */
    ranked                   *ranks;
    uint32_t                  count; /* of ranks: candidates worth trying */
    uint8_t                  *split, *tried;
    double                    best, until;
    uint32_t                  solves;
} search;

/* Objective in the units of the formula.  Everything of a try is freed with it. */
static flashmem_status evaluate(search *s, const uint8_t *split, double *objective, flashmem_error *err) {
    fm_overlap_problem problem;
    fm_overlap_plan    plan;
    fm_overlap_options options = *s->options;
    fm_arena          *scratch = fm_arena_create();
    if (!scratch) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory to try a split");
    if (fm_arena_trap(scratch)) {
        fm_arena_destroy(scratch);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory to try a split");
    }
    options.time_limit = s->until - fm_clock_seconds();
    flashmem_status status = s->fusion->build(s->fusion->user, split, scratch, &problem, err);
    if (status == FLASHMEM_OK) status = fm_overlap_solve(&problem, &options, scratch, &plan, err);
    if (status == FLASHMEM_OK) *objective = fm_overlap_units(&problem, plan.objective);
    s->solves++;
    fm_arena_destroy(scratch);
    return status;
}

static bool time_left(const search *s) { return fm_clock_seconds() < s->until; }

/* Keeps `tried` when it is better; or as good with fewer splits. */
static flashmem_status try_it(search *s, int change, const char *what, bool *kept, flashmem_error *err) {
    static const double EQUAL = 1e-9;
    double              objective;
    *kept = false;
    if (!time_left(s)) return FLASHMEM_OK;
    FM_TRY(evaluate(s, s->tried, &objective, err));
    double gain = s->best - objective;
    *kept = gain > EQUAL || (gain > -EQUAL && change < 0);
    if (!*kept) return FLASHMEM_OK;
    fm_info(s->options->log, "fusion", "%s %s: objective %.6f to %.6f (gain %.6f)",
            change < 0 ? "fused again" : "split", what, s->best, objective, gain);
    memcpy(s->split, s->tried, s->fusion->candidate_count);
    s->best = objective;
    return FLASHMEM_OK;
}

/* ---- ranking ---- */

static int by_penalty(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->penalty != y->penalty) return x->penalty > y->penalty ? -1 : 1;
    return x->candidate < y->candidate ? -1 : x->candidate > y->candidate;
}

/* What the capacity lost at this step costs under the plan: weights that are preloaded though it lies in their reach,
 * and streamed ones that had to begin before it. */
static double penalty_of(const fm_overlap_problem *p, const fm_overlap_plan *plan, const fm_fusion_candidate *c) {
    double lost = (double)(c->split_bytes - c->fused_bytes) / 1048576.0, cost = 0, room = lost;
    for (uint32_t w = 0; w < p->weight_count && room > 0; w++) {
        const fm_overlap_weight *weight = &p->weights[w];
        double                   mib = (double)weight->bytes / 1048576.0;
        if (weight->first <= c->step) continue;
        double distance = weight->first - c->step, used = mib < room ? mib : room;
        if (plan->preload[w]) {
            double saved = p->lambda * mib - (1 - p->lambda) * distance;
            if (saved <= 0) continue;
            cost += saved * used / (mib > 0 ? mib : 1);
        } else if (plan->first_load[w] < c->step) {
            cost += (1 - p->lambda) * (double)(c->step - plan->first_load[w]) * used / (mib > 0 ? mib : 1);
        } else {
            continue;
        }
        room -= used;
    }
    return cost;
}

static flashmem_status rank_all(search *s, flashmem_error *err) {
    const fm_fusion   *f = s->fusion;
    double             alpha = f->alpha < 0 ? 0.2 : f->alpha;
    fm_overlap_problem problem;
    fm_overlap_plan    plan;
    FM_TRY(f->build(f->user, s->split, s->arena, &problem, err));
    FM_TRY(fm_overlap_solve(&problem, s->options, s->arena, &plan, err));
    s->solves++;
    s->best = fm_overlap_units(&problem, plan.objective);
    s->ranks = fm_arena_array(s->arena, f->candidate_count, sizeof *s->ranks);
    for (uint32_t i = 0; i < f->candidate_count; i++) {
        const fm_fusion_candidate *c = &f->candidates[i];
        if ((double)c->split_bytes < (1 + alpha) * (double)c->fused_bytes || c->split_bytes <= c->fused_bytes) continue;
        s->ranks[s->count++] = (ranked){ penalty_of(&problem, &plan, c), i };
    }
    if (s->count) qsort(s->ranks, s->count, sizeof *s->ranks, by_penalty);
    return FLASHMEM_OK;
}

/* ---- search ---- */

/* The first 1, 2, 4 ... of the ranking at once: where capacity lacks everywhere, single splits gain little. */
static flashmem_status try_prefixes(search *s, flashmem_error *err) {
    for (uint32_t size = 1, last = 0; last < s->count; size *= 2) {
        bool     kept;
        char     what[64];
        uint32_t end = size < s->count ? size : s->count;
        memset(s->tried, 0, s->fusion->candidate_count);
        for (uint32_t i = 0; i < end; i++) s->tried[s->ranks[i].candidate] = 1;
        snprintf(what, sizeof what, "the %u steps ranked worst", end);
        FM_TRY(try_it(s, 1, what, &kept, err));
        last = end;
    }
    return FLASHMEM_OK;
}

static flashmem_status flip(search *s, uint32_t a, uint32_t b, bool *changed, flashmem_error *err) {
    bool kept;
    memcpy(s->tried, s->split, s->fusion->candidate_count);
    s->tried[a] ^= 1;
    if (b != a) s->tried[b] ^= 1;
    int change = (s->tried[a] ? 1 : -1) + (b == a ? 0 : s->tried[b] ? 1 : -1);
    FM_TRY(try_it(s, change, s->fusion->candidates[a].name, &kept, err));
    *changed = *changed || kept;
    return FLASHMEM_OK;
}

static flashmem_status climb(search *s, flashmem_error *err) {
    bool pairs = s->count < PAIRS_BELOW;
    for (bool changed = true; changed && time_left(s);) {
        changed = false;
        for (uint32_t i = 0; i < s->count; i++)
            FM_TRY(flip(s, s->ranks[i].candidate, s->ranks[i].candidate, &changed, err));
        for (uint32_t i = 0; pairs && !changed && i < s->count; i++)
            for (uint32_t j = i + 1; j < s->count; j++)
                FM_TRY(flip(s, s->ranks[i].candidate, s->ranks[j].candidate, &changed, err));
    }
    return FLASHMEM_OK;
}

flashmem_status fm_fusion_adapt(const fm_fusion *fusion, const fm_overlap_options *options, fm_arena *arena,
                                fm_fusion_result *out, flashmem_error *err) {
    double begin = fm_clock_seconds();
    search s = { .fusion = fusion,
                 .options = options,
                 .arena = arena,
                 .split = fm_arena_array(arena, fusion->candidate_count + 1u, 1),
                 .tried = fm_arena_array(arena, fusion->candidate_count + 1u, 1),
                 .until = begin + (options->time_limit > 0 ? options->time_limit : 150) };
    FM_TRY(rank_all(&s, err));
    *out = (fm_fusion_result){ .split = s.split, .fused_objective = s.best };
    FM_TRY(try_prefixes(&s, err));
    FM_TRY(climb(&s, err));
    FM_TRY(fusion->build(fusion->user, s.split, arena, &out->problem, err));
    FM_TRY(fm_overlap_solve(&out->problem, options, arena, &out->plan, err));
    for (uint32_t i = 0; i < fusion->candidate_count; i++) out->split_count += s.split[i];
    out->solves = s.solves + 1;
    out->seconds = fm_clock_seconds() - begin;
    out->plan.seconds = out->seconds;
    return FLASHMEM_OK;
}
