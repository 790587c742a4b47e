/* The overlap problem as small CP-SAT models, one per distinct segment.
 *
 * Booleans p_w (preloaded) and y_{w,u} (loading of w has begun at or before position u); y rises with u, and equals
 * 1 - p_w from the latest start on.  Given when loading of every weight may begin, chunks can be laid out iff in every
 * window of positions a..e-1 what must lie wholly inside fits (Hall):
 *
 *     sum over w with a < end_w <= e of T_w (1 - p_w - y_{w,a-1})  <=  capacity of a..e-1
 *
 * C2 depends on p alone: R_u, the backlog carried to position u, is at least R_{u+1} + what is due between positions
 * u+1 and u+2 - the capacity of u+1.  Where distance is paid by the chunk, R is all there is: no y. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat.h"
#include "compile/plan/cpsat/cpsat_segment.h"
#include "compile/plan/solvers.h"

#define NEVER INT32_MIN /* in the place of a literal: false */

typedef struct segment_model {
    const fm_cpsat_segment *s;
    fm_cpsat_model         *m;
    fm_arena               *scratch;
    int32_t                *preload;  /* [count] p */
    int32_t               **begun;    /* [count][latest - earliest] y */
    int32_t                *carried;  /* [positions] R; NULL without C2 */
    int64_t                 constant; /* of the objective */
} segment_model;

typedef struct answer {
    uint8_t *preload; /* [count], in the caller's arena */
    int64_t  cost, bound;
    uint32_t same; /* the first segment that equals this one */
} answer;

/* --- model -------------------------------------------------------------------------------------------------------- */

/* [loading of weight i has begun at or before position u], below its end. */
static int32_t begun(const segment_model *b, uint32_t i, uint32_t u) {
    const fm_cpsat_weight *w = &b->s->weights[i];
    if (u >= w->latest) return FM_CPSAT_NOT(b->preload[i]);
    return u < w->earliest ? NEVER : b->begun[i][u - w->earliest];
}

static uint64_t count_booleans(const fm_cpsat_segment *s) {
    uint64_t booleans = s->count;
    for (uint32_t i = 0; s->distance == FM_DISTANCE_WEIGHTS && i < s->count; i++)
        booleans += s->weights[i].latest - s->weights[i].earliest;
    return booleans;
}

/* Loading, once begun, stays so; a preloaded weight never begins. */
static void add_starts(segment_model *b) {
    for (uint32_t i = 0; i < b->s->count; i++) {
        const fm_cpsat_weight *w = &b->s->weights[i];
        for (uint32_t u = w->earliest; u < w->latest; u++)
            fm_cpsat_or(b->m, (int32_t[]){ FM_CPSAT_NOT(begun(b, i, u)), begun(b, i, u + 1) }, 2);
    }
}

/* Of weights that differ in nothing the first begin first, and the last are those that are preloaded. */
static void add_equals(segment_model *b) {
    for (uint32_t i = 0; i < b->s->count; i++) {
        const fm_cpsat_weight *w = &b->s->weights[i];
        uint32_t               next = fm_cpsat_next_equal(b->s, i);
        for (uint32_t u = w->earliest; next < b->s->count && u <= w->latest; u++)
            fm_cpsat_or(b->m, (int32_t[]){ FM_CPSAT_NOT(begun(b, next, u)), begun(b, i, u) }, 2);
    }
}

/* Windows a..e-1 for one a, e falling due by falling due.  Weights lie by falling end, so those with end <= e are a
 * suffix, those with end > a a prefix. */
static void add_windows_from(segment_model *b, uint32_t a) {
    const fm_cpsat_segment *s = b->s;
    uint64_t                capacity = 0, chunks = 0;
    uint32_t                from = s->count, to, end = a;
    while (from > 0 && s->weights[from - 1].end <= a) from--;
    to = from;
    while (from > 0) {
        for (; end < s->weights[from - 1].end; end++) capacity += s->capacity[end];
        for (; from > 0 && s->weights[from - 1].end == end; from--)
            if (a == 0 || a - 1 < s->weights[from - 1].latest) chunks += s->weights[from - 1].chunks;
        if (chunks <= capacity) continue;
        int64_t rest = (int64_t)chunks - (int64_t)capacity;
        for (uint32_t i = from; i < to; i++) {
            int32_t started = a == 0 ? NEVER : begun(b, i, a - 1);
            if (a > 0 && a - 1 >= s->weights[i].latest) continue; /* has begun before, or is preloaded */
            fm_cpsat_term(b->m, b->preload[i], s->weights[i].chunks);
            if (started != NEVER) fm_cpsat_term(b->m, started, s->weights[i].chunks);
        }
        fm_cpsat_linear(b->m, rest, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    }
}

/* Terms sign * (chunks of weights that end at `end`; only those that are held there), streamed ones alone; returns what
 * is constant of it. */
static int64_t due_terms(segment_model *b, uint32_t end, bool held, int64_t sign) {
    int64_t constant = 0;
    for (uint32_t i = 0; i < b->s->count; i++) {
        const fm_cpsat_weight *w = &b->s->weights[i];
        if (w->end == end && (w->held || !held))
            fm_cpsat_literal_term(b->m, FM_CPSAT_NOT(b->preload[i]), sign * w->chunks, &constant);
    }
    return constant;
}

static void add_backlog(segment_model *b) {
    const fm_cpsat_segment *s = b->s;
    int64_t                 most = s->chunks < s->m_peak ? (int64_t)s->chunks : s->m_peak, constant;
    b->carried = fm_arena_array(b->scratch, s->positions, sizeof *b->carried);
    for (uint32_t u = s->positions; u-- > 0;) {
        bool top = u + 1 == s->positions;
        b->carried[u] = fm_cpsat_integer(b->m, 0, top ? 0 : most);
        if (!top) { /* R_u >= R_{u+1} + due - capacity */
            fm_cpsat_term(b->m, b->carried[u], 1);
            fm_cpsat_term(b->m, b->carried[u + 1], -1);
            constant = due_terms(b, u + 2, false, -1);
            fm_cpsat_linear(b->m, -(int64_t)s->capacity[u + 1] - constant, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
        }
        fm_cpsat_term(b->m, b->carried[u], 1);
        constant = due_terms(b, u + 1, false, 1) + due_terms(b, u, true, 1);
        fm_cpsat_linear(b->m, FM_CPSAT_LOW, (int64_t)s->m_peak - constant, FM_CPSAT_ALWAYS);
    }
    fm_cpsat_term(b->m, b->carried[0], 1);
    constant = due_terms(b, 1, false, 1);
    fm_cpsat_linear(b->m, FM_CPSAT_LOW, (int64_t)s->capacity[0] - constant, FM_CPSAT_ALWAYS);
}

/* Preloading costs what it costs less the distance that it spares for certain.  That the backlog alone costs `bound` is
 * a cut of the objective. */
static void add_objective(segment_model *b, int64_t bound) {
    const fm_cpsat_segment *s = b->s;
    bool                    whole = s->distance == FM_DISTANCE_BYTES;
    for (uint32_t i = 0; i < s->count; i++) {
        const fm_cpsat_weight *w = &s->weights[i];
        uint32_t               start = whole ? w->end - 1 : w->latest;
        int64_t                certain = s->step_cost * (int64_t)(w->due - s->slots[start]) * (whole ? w->chunks : 1);
        b->constant += certain;
        fm_cpsat_term(b->m, b->preload[i], w->preload - certain);
        for (uint32_t u = w->earliest; !whole && u < w->latest; u++)
            fm_cpsat_term(b->m, begun(b, i, u), s->step_cost * (int64_t)(s->slots[u + 1] - s->slots[u]));
    }
    for (uint32_t u = 0; whole && u + 1 < s->positions; u++)
        fm_cpsat_term(b->m, b->carried[u], s->step_cost * (int64_t)(s->slots[u + 1] - s->slots[u]));
    fm_cpsat_minimize(b->m, bound - b->constant);
}

static void hint_backlog(segment_model *b, const uint8_t *preload) {
    const fm_cpsat_segment *s = b->s;
    int64_t                 rest = 0;
    for (uint32_t u = s->positions, next = 0; u-- > 0;) {
        fm_cpsat_hint(b->m, b->carried[u], rest);
        for (; next < s->count && s->weights[next].end == u + 1; next++)
            if (!preload[next]) rest += s->weights[next].chunks;
        rest = rest > s->capacity[u] ? rest - s->capacity[u] : 0;
    }
}

static void add_hints(segment_model *b, const uint8_t *preload) {
    uint32_t *starts = fm_arena_array(b->scratch, b->s->count, sizeof *starts);
    int64_t   cost;
    if (!fm_cpsat_schedule(b->s, preload, b->scratch, starts, &cost)) return;
    for (uint32_t i = 0; i < b->s->count; i++) {
        const fm_cpsat_weight *w = &b->s->weights[i];
        fm_cpsat_hint(b->m, b->preload[i], preload[i]);
        for (uint32_t u = w->earliest; b->begun[i] && u < w->latest; u++)
            fm_cpsat_hint(b->m, begun(b, i, u), starts[i] != FM_NO_LOAD && starts[i] <= u);
    }
    if (b->carried) hint_backlog(b, preload);
}

static void build(segment_model *b, const fm_cpsat_probe *probe) {
    const fm_cpsat_segment *s = b->s;
    b->m = fm_cpsat_create(b->scratch);
    b->preload = fm_arena_array(b->scratch, s->count, sizeof *b->preload);
    b->begun = fm_arena_array(b->scratch, s->count, sizeof *b->begun);
    for (uint32_t i = 0; i < s->count; i++) {
        const fm_cpsat_weight *w = &s->weights[i];
        b->preload[i] = fm_cpsat_boolean(b->m);
        if (probe->fixed[i]) {
            fm_cpsat_term(b->m, b->preload[i], 1);
            fm_cpsat_linear(b->m, probe->fixed[i] == FM_CPSAT_PRELOADED, probe->fixed[i] == FM_CPSAT_PRELOADED,
                            FM_CPSAT_ALWAYS);
        }
        if (s->distance == FM_DISTANCE_BYTES) continue;
        b->begun[i] = fm_arena_array(b->scratch, w->latest - w->earliest + (size_t)1, sizeof **b->begun);
        for (uint32_t u = w->earliest; u < w->latest; u++) b->begun[i][u - w->earliest] = fm_cpsat_boolean(b->m);
    }
    if (s->distance == FM_DISTANCE_WEIGHTS) {
        add_starts(b);
        add_equals(b);
        for (uint32_t a = 0; a < s->positions; a++) add_windows_from(b, a);
    }
    if (s->distance == FM_DISTANCE_BYTES || s->peak_binds) add_backlog(b);
    add_objective(b, probe->bound);
    add_hints(b, probe->preload);
}

/* --- solving ------------------------------------------------------------------------------------------------------ */

/* The cheaper of CP-SAT's choice and the probe's; CP-SAT's starts are as good as they can be only when it is proven. */
static flashmem_status take_values(const segment_model *b, const fm_cpsat_probe *probe, const fm_cpsat_result *r,
                                   answer *a, flashmem_error *err) {
    uint32_t *starts = fm_arena_array(b->scratch, b->s->count, sizeof *starts);
    int64_t   stated = r->objective + b->constant;
    a->bound = r->bound + b->constant > probe->bound ? r->bound + b->constant : probe->bound;
    a->cost = INT64_MAX;
    for (uint32_t i = 0; r->values && i < b->s->count; i++) a->preload[i] = r->values[b->preload[i]] != 0;
    if (r->values && (!fm_cpsat_schedule(b->s, a->preload, b->scratch, starts, &a->cost) || a->cost > stated ||
                      (r->status == FM_CPSAT_OPTIMAL && a->cost < stated)))
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: cost %" PRId64 ", but its schedule costs %" PRId64, stated,
                       a->cost);
    if (probe->cost < a->cost) {
        a->cost = probe->cost;
        memcpy(a->preload, probe->preload, b->s->count);
    }
    if (a->bound <= a->cost) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: cost %" PRId64 ", proven to be at least %" PRId64, a->cost,
                   a->bound);
}

static flashmem_status solve_in(const fm_cpsat_segment *s, const fm_cpsat_limits *limits, fm_arena *scratch, answer *a,
                                flashmem_error *err) {
    segment_model   b = { .s = s, .scratch = scratch };
    fm_cpsat_probe  probe;
    fm_cpsat_result result;
    fm_cpsat_probe_segment(s, scratch, &probe);
    if (!s->peak_binds) memset(probe.fixed, 0, s->count); /* CP-SAT closes alone */
    build(&b, &probe);
    FM_TRY(fm_cpsat_solve(b.m, limits, &result, err));
    if (result.status == FM_CPSAT_INFEASIBLE)
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: no plan for %u weights, though all may be preloaded", s->count);
    FM_TRY(take_values(&b, &probe, &result, a, err));
    fm_debug(limits->log, "plan",
             "segment of %u weights over %u positions: cost %" PRId64 ", bound %" PRId64 ", backlog bound %" PRId64
             ", %u booleans, %.3f s",
             s->count, s->positions, a->cost, a->bound, probe.bound, fm_cpsat_booleans(b.m), result.seconds);
    return FLASHMEM_OK;
}

/* Preloads what probing says must be. */
static flashmem_status probe_in(const fm_cpsat_segment *s, fm_arena *scratch, answer *a) {
    fm_cpsat_probe probe;
    fm_cpsat_probe_segment(s, scratch, &probe);
    for (uint32_t i = 0; i < s->count; i++) a->preload[i] = probe.fixed[i] == FM_CPSAT_PRELOADED;
    return FLASHMEM_OK;
}

/* Solves, or only probes without limits, with an arena of its own: models are large and short-lived. */
static flashmem_status work_on(const fm_cpsat_segment *s, const fm_cpsat_limits *limits, answer *a,
                               flashmem_error *err) {
    fm_arena *scratch = fm_arena_create();
    if (!scratch || fm_arena_trap(scratch)) {
        fm_arena_destroy(scratch);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for CP-SAT's model of %u weights", s->count);
    }
    flashmem_status status = limits ? solve_in(s, limits, scratch, a, err) : probe_in(s, scratch, a);
    fm_arena_destroy(scratch);
    return status;
}

/* --- the whole problem -------------------------------------------------------------------------------------------- */

typedef struct solve {
    const fm_overlap_problem *problem;
    const fm_overlap_options *options;
    fm_arena                 *arena;
    double                    deadline;
    uint8_t                  *preload; /* [weights] */
    int64_t                   cost;    /* of those preloaded before segments are solved */
    fm_cpsat_segment         *segments;
    uint32_t                  count;
    answer                   *answers;
} solve;

static flashmem_status cut(solve *v, flashmem_error *err) {
    FM_TRY(fm_cpsat_cut(v->problem, v->arena, v->preload, &v->cost, &v->segments, &v->count, err));
    v->answers = fm_arena_array(v->arena, v->count, sizeof *v->answers);
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t j = 0;
        while (j < i && (v->answers[j].same != j || !fm_cpsat_segments_equal(&v->segments[i], &v->segments[j]))) j++;
        v->answers[i].same = j;
        v->answers[i].preload = fm_arena_array(v->arena, v->segments[i].count, 1);
    }
    return FLASHMEM_OK;
}

/* Where C2 binds, few segments come apart at first.  What is found to be preloaded there lets more of them. */
static flashmem_status narrow(solve *v, bool *found, flashmem_error *err) {
    *found = false;
    for (uint32_t i = 0; i < v->count; i++) {
        const fm_cpsat_segment *s = &v->segments[i];
        answer                 *a = &v->answers[v->answers[i].same];
        if (!s->peak_binds) continue;
        if (v->answers[i].same == i) FM_TRY(work_on(s, NULL, a, err));
        for (uint32_t k = 0; k < s->count; k++) {
            *found |= a->preload[k];
            v->preload[s->weights[k].weight] |= a->preload[k];
        }
    }
    return *found ? cut(v, err) : FLASHMEM_OK;
}

static flashmem_status check_sizes(const solve *v, flashmem_error *err) {
    for (uint32_t i = 0; i < v->count; i++) {
        uint64_t booleans = count_booleans(&v->segments[i]);
        if (booleans > FM_CPSAT_MOST_BOOLEANS)
            return fm_fail(err, FLASHMEM_UNSUPPORTED,
                           "CP-SAT: a segment of %u weights over %u steps with capacity has %" PRIu64
                           " booleans, at most %u are tried; use the label solver, or larger chunks",
                           v->segments[i].count, v->segments[i].positions, booleans, FM_CPSAT_MOST_BOOLEANS);
    }
    return FLASHMEM_OK;
}

typedef struct ranked {
    uint64_t booleans;
    uint32_t segment;
} ranked;

static int by_booleans(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->booleans != y->booleans) return x->booleans < y->booleans ? -1 : 1;
    return x->segment < y->segment ? -1 : x->segment > y->segment;
}

/* Distinct segments, small ones first: each may take its share of the time that is left, and what it leaves over goes
 * to those behind it. */
static flashmem_status solve_all(solve *v, flashmem_error *err) {
    ranked  *order = fm_arena_array(v->arena, v->count, sizeof *order);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < v->count; i++)
        if (v->answers[i].same == i) order[distinct++] = (ranked){ count_booleans(&v->segments[i]), i };
    qsort(order, distinct, sizeof *order, by_booleans);
    for (uint32_t k = 0; k < distinct; k++) {
        uint32_t        i = order[k].segment;
        double          left = (v->deadline - fm_clock_seconds()) / (distinct - k);
        fm_cpsat_limits limits = { .seconds = left > 0.01 ? left : 0.01,
                                   .threads = v->options->threads,
                                   .stop = v->options->stop,
                                   .user = v->options->stop_user,
                                   .log = v->options->log };
        FM_TRY(work_on(&v->segments[i], &limits, &v->answers[i], err));
    }
    return FLASHMEM_OK;
}

static flashmem_status finish(solve *v, fm_overlap_plan *plan, flashmem_error *err) {
    int64_t objective = v->cost, bound = v->cost;
    for (uint32_t i = 0; i < v->count; i++) {
        const answer *a = &v->answers[v->answers[i].same];
        for (uint32_t k = 0; k < v->segments[i].count; k++)
            v->preload[v->segments[i].weights[k].weight] = a->preload[k];
        objective += a->cost;
        bound += a->bound;
    }
    if (!fm_overlap_complete(v->problem, v->preload, v->arena, plan))
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: its choice of preloaded weights leaves no schedule");
    if (plan->objective != objective)
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: cost %" PRId64 ", but its schedule costs %" PRId64, objective,
                       plan->objective);
    fm_overlap_prove(plan, bound);
    return FLASHMEM_OK;
}

flashmem_status fm_overlap_cpsat(const fm_overlap_problem *problem, const fm_overlap_options *options, fm_arena *arena,
                                 fm_overlap_plan *plan, flashmem_error *err) {
    bool  found;
    solve v = { .problem = problem, .options = options, .arena = arena };
    v.deadline = fm_clock_seconds() + fm_overlap_time_limit(options);
    v.preload = fm_arena_array(arena, problem->weight_count, 1);
    FM_TRY(fm_cpsat_available(err));
    FM_TRY(cut(&v, err));
    do FM_TRY(narrow(&v, &found, err));
    while (found);
    FM_TRY(check_sizes(&v, err));
    FM_TRY(solve_all(&v, err));
    return finish(&v, plan, err);
}
