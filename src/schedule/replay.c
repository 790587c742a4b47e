/* fm_replay_make: facts, a slab size, a timed plan in the least memory that serves it, residents in what is left, and
 * placement. */
#include "schedule/replay.h"

#include <inttypes.h>
#include <string.h>

#include "schedule/replay_internal.h"

/* Largest first: of equals the one with fewer launches is taken. */
static const uint64_t slab_sizes[] = { 16 << 20, 8 << 20, 4 << 20, 2 << 20, 1 << 20 };
enum { SLAB_SIZES = sizeof slab_sizes / sizeof slab_sizes[0] };

/* No smaller slabs beyond: planning is part of every start.  An automatic plan of a model of that size runs long. */
enum { MOST_LAUNCHES = 4096, MOST_LAUNCHES_AUTOMATIC = 40000 };

#define LATENCY_SLACK     0.02  /* of the best latency, given for less memory */
#define PLACEMENT_SLACK   0.005 /* of the latency at that memory, given for closer placement */
#define SLAB_SLACK        0.005 /* of the best latency, given for fewer launches */
#define SEARCH_PER_SECOND 1e5   /* placements of one thing in a search, per second of the run */
#define SEARCH_TRIES      280.0 /* placements of everything that one search makes at most */
#define PLACEMENT_LOSS    0.03  /* of what is alive at once: closer placement is not looked for (automatic) */
#define MEMORY_SLACK      0.1   /* of the least memory, given for fewer launches (automatic) */

typedef struct candidate {
    fm_cut cut;
    double latency; /* predicted at the budget; < 0: does not fit */
    double rule;    /* one run in an explicit budget: the best of a simple rule; < 0: none fits */
    double memory;  /* automatic: least for that latency, images and staging included */
    bool   tried;
} candidate;

typedef struct maker {
    fm_replay_facts facts;
    candidate       candidates[SLAB_SIZES];
    uint32_t        candidate_count;
    fm_placed       minimum; /* of the last candidate, whose slabs are the smallest */
    uint64_t        minimum_bytes, minimum_bound;
    uint64_t        budget;      /* what the plan may take, images and staging included */
    double          target;      /* one run in an explicit budget: what a simple rule would take; 0: no such plan */
    double         *search_left; /* automatic: placements of one thing that searches may still make */
    fm_arena       *arena;
} maker;

/* --- candidates --------------------------------------------------------------------------------------------------- */

static void add_candidate(maker *m, uint64_t slab_bytes) {
    candidate *c = &m->candidates[m->candidate_count];
    fm_replay_cut(&m->facts, slab_bytes, &c->cut);
    c->latency = -1;
    c->tried = false;
    /* A smaller slab that cuts nothing more is the same plan. */
    if (m->candidate_count && c->cut.step_count == c[-1].cut.step_count) return;
    m->candidate_count++;
}

static void make_candidates(maker *m) {
    uint64_t given = m->facts.request->overlap ? fm_slab_limit(m->facts.request) : m->facts.request->slab_bytes;
    uint32_t most = m->facts.request->automatic ? MOST_LAUNCHES_AUTOMATIC : MOST_LAUNCHES;
    if (given) add_candidate(m, given);
    for (int i = 0; i < SLAB_SIZES && !given; i++) {
        add_candidate(m, slab_sizes[i]);
        if (m->candidates[m->candidate_count - 1].cut.step_count > most / 2) break; /* the next may double them */
    }
}

static uint64_t region_cap(const maker *m, const fm_cut *cut) {
    return m->budget > cut->fixed ? m->budget - cut->fixed : 0;
}

/* Latency of each slab size if memory were not fragmented. */
static void time_candidates(maker *m) {
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        candidate       *c = &m->candidates[i];
        fm_timed_plan    plan;
        uint64_t         cap = region_cap(m, &c->cut);
        fm_timed_problem problem = fm_replay_problem(&m->facts, &c->cut, cap < INT64_MAX / 2 ? cap : INT64_MAX / 2);
        fm_timed_plan_init(&plan, &problem, m->arena);
        if (fm_timed_solve(&problem, &plan)) c->latency = plan.latency;
    }
}

/* The memory that each slab size needs for the best latency; those that cannot have it drop out. */
static void measure_candidates(maker *m) {
    double best = -1;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        double latency = m->candidates[i].latency;
        if (latency >= 0 && (best < 0 || latency < best)) best = latency;
    }
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        candidate       *c = &m->candidates[i];
        uint64_t         cap = region_cap(m, &c->cut), whole = c->cut.object_bytes + c->cut.activation_peak;
        fm_timed_problem problem = fm_replay_problem(&m->facts, &c->cut, cap < whole ? cap : whole);
        if (c->latency > best * (1 + SLAB_SLACK)) c->latency = -1;
        if (c->latency < 0) continue;
        c->memory = (double)(fm_timed_least_memory(&problem, LATENCY_SLACK, problem.cap, m->arena) + c->cut.fixed);
    }
}

/* The untried candidate with the least memory; of nearly equals the first, whose slabs are the largest. */
static candidate *next_smallest(maker *m) {
    double least = -1;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        const candidate *c = &m->candidates[i];
        if (!c->tried && c->latency >= 0 && (least < 0 || c->memory < least)) least = c->memory;
    }
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        candidate *c = &m->candidates[i];
        if (c->tried || c->latency < 0 || c->memory > least * (1 + MEMORY_SLACK)) continue;
        c->tried = true;
        return c;
    }
    return NULL;
}

/* The untried candidate with the least latency; of nearly equals the first, whose slabs are the largest, but none that a
 * simple rule beats if there are others. */
static candidate *next_candidate(maker *m) {
    if (m->facts.request->automatic) return next_smallest(m);
    double least = -1;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        const candidate *c = &m->candidates[i];
        if (!c->tried && c->latency >= 0 && (least < 0 || c->latency < least)) least = c->latency;
    }
    double limit = least * (1 + SLAB_SLACK);
    if (m->target > 0 && limit > m->target) limit = m->target > least ? m->target : least;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        candidate *c = &m->candidates[i];
        if (c->tried || c->latency < 0 || c->latency > limit) continue;
        c->tried = true;
        return c;
    }
    return NULL;
}

/* --- residents ---------------------------------------------------------------------------------------------------- */

/* Evenly along the run, so that what is left to read is spread over all of the compute that hides it. */
static uint64_t keep_spread(fm_cut *cut, uint64_t bytes) {
    double   share = (double)bytes / (double)(cut->object_bytes ? cut->object_bytes : 1), credit = 0;
    uint64_t kept = 0;
    for (uint32_t o = 0; o < cut->object_count; o++) {
        fm_timed_object *object = &cut->timed_objects[o];
        credit += share * (double)object->bytes;
        object->resident = credit >= 0.5 * (double)object->bytes && kept + object->bytes <= bytes;
        if (!object->resident) continue;
        credit -= (double)object->bytes;
        kept += object->bytes;
    }
    return kept;
}

/* The first objects of a run: what its start would wait for where nothing can be read ahead. */
static uint64_t keep_first(fm_cut *cut, uint64_t bytes) {
    uint64_t kept = 0;
    for (uint32_t o = 0; o < cut->object_count; o++) {
        fm_timed_object *object = &cut->timed_objects[o];
        object->resident = kept + object->bytes <= bytes;
        if (object->resident) kept += object->bytes;
    }
    return kept;
}

static void keep_none(fm_cut *cut) {
    for (uint32_t o = 0; o < cut->object_count; o++) cut->timed_objects[o].resident = 0;
}

/* Keeps at most `bytes` of objects, by whichever rule makes later runs shorter; returns what is kept. */
static uint64_t choose_residents(const maker *m, fm_cut *cut, uint64_t cap, uint64_t bytes, fm_timed_plan *plan) {
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, cap);
    double           spread = -1, first = -1;
    keep_first(cut, bytes);
    if (fm_timed_solve_steady(&problem, plan)) first = fm_timed_period(&problem, plan, m->arena);
    keep_spread(cut, bytes);
    if (fm_timed_solve_steady(&problem, plan)) spread = fm_timed_period(&problem, plan, m->arena);
    if (first >= 0 && (spread < 0 || first < spread)) return keep_first(cut, bytes);
    return keep_spread(cut, bytes);
}

/* --- one candidate ------------------------------------------------------------------------------------------------ */

/* Everything stays: the plan of a model that fits. */
static bool place_all_resident(const maker *m, fm_cut *cut, uint64_t cap, fm_placed *out) {
    for (uint32_t o = 0; o < cut->object_count; o++) cut->timed_objects[o].resident = 1;
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, INT64_MAX / 2);
    if (fm_timed_solve(&problem, &out->plan) &&
        fm_replay_place(&m->facts, cut, &problem, cap, FM_PLACE_ANYHOW, out, m->arena))
        return true;
    keep_none(cut);
    return false;
}

/* Solves for a cap and places under a limit. */
static bool place_streamed(const maker *m, const fm_cut *cut, uint64_t cap, uint64_t limit, fm_placed *out) {
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, cap);
    return fm_timed_solve(&problem, &out->plan) &&
           fm_replay_place(&m->facts, cut, &problem, limit, FM_PLACE_ANYHOW, out, m->arena);
}

/* --- close placement ---------------------------------------------------------------------------------------------- */

typedef struct tight {
    const maker     *m;
    const fm_cut    *cut;
    fm_timed_problem problem, slow;
    double           allowed; /* latency */
    uint64_t         limit;
    fm_placed       *out;
} tight;

/* Limits above what is alive at once, as factors. */
static const double over[] = { 1, 1.01, 1.02, 1.03, 1.04, 1.05, 1.065, 1.08, 1.1, 1.15, 1.2, 1.3, 1.5 };
enum { OVERS = sizeof over / sizeof *over };

/* As planned, else with every read as late as a disk of 0.7 times the rate allows: short lives leave fewer gaps. */
static bool place_at(tight *t, int i, fm_place_effort effort) {
    for (int late = 0; late < 2; late++) {
        if (!fm_timed_solve(&t->problem, &t->out->plan)) return false;
        if (late) fm_timed_delay_reads(&t->slow, &t->out->plan);
        double alive = late ? (double)t->out->plan.peak : (double)t->problem.cap, wanted = alive * over[i];
        if (wanted > (double)t->problem.cap * over[i]) wanted = (double)t->problem.cap * over[i];
        if (wanted < (double)t->limit &&
            fm_replay_place(&t->m->facts, t->cut, &t->problem, (uint64_t)wanted, effort, t->out, t->m->arena) &&
            t->out->plan.latency <= t->allowed)
            return true;
    }
    return false;
}

/* Least factor at which placement fits without a search, by bisection; OVERS: none. */
static int bisect(tight *t) {
    int bad = 0, good = OVERS;
    if (place_at(t, 0, FM_PLACE_ANYHOW)) return 0;
    while (good - bad > 1) {
        int middle = (good + bad) / 2;
        if (place_at(t, middle, FM_PLACE_ANYHOW)) good = middle;
        else bad = middle;
    }
    return good;
}

/* As little as placement can do with and no latency lost.  Planning is part of every start: a search goes on only while
 * its work is little beside the run. */
static bool place_tightly(const maker *m, const fm_cut *cut, uint64_t cap, uint64_t limit, fm_placed *out) {
    tight t = { m, cut, .problem = fm_replay_problem(&m->facts, cut, cap), .limit = limit, .out = out };
    t.slow = t.problem;
    t.slow.bandwidth *= 0.7;
    if (!fm_timed_solve(&t.problem, &out->plan)) return false;
    t.allowed = out->plan.latency * (1 + PLACEMENT_SLACK);
    double step = SEARCH_TRIES * (cut->object_count + cut->step_count);
    if (*m->search_left < 0) *m->search_left = out->plan.latency * SEARCH_PER_SECOND;
    int             best = bisect(&t), at = best;
    fm_place_effort effort = FM_PLACE_ANYHOW;
    while (at > 0 && over[at < OVERS ? at : OVERS - 1] > 1 + PLACEMENT_LOSS && *m->search_left > step) {
        *m->search_left -= step;
        if (!place_at(&t, at - 1, FM_PLACE_SEARCH)) break;
        best = --at;
        effort = FM_PLACE_SEARCH;
    }
    if (best < OVERS && place_at(&t, best, effort)) return true;
    return place_streamed(m, cut, cap, limit, out);
}

static uint64_t least_cap(const maker *m, const fm_cut *cut) {
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, 0);
    return fm_timed_minimum_bound(&problem, m->arena);
}

static bool place_residents(const maker *m, fm_cut *cut, uint64_t cap, uint64_t stream_cap, uint64_t room,
                            double latency, fm_placed *out) {
    uint64_t kept = choose_residents(m, cut, stream_cap + room, room, &out->plan), least = least_cap(m, cut);
    uint64_t wanted = stream_cap + kept > least ? stream_cap + kept : least;
    return kept && place_streamed(m, cut, wanted < cap ? wanted : cap, cap, out) &&
           out->plan.latency <= latency * (1 + LATENCY_SLACK);
}

/* What the budget leaves keeps weights for later runs, as long as the first one is not slower for it.  What is kept
 * need not be streamed, which leaves room for more: a search for the most that fits. */
static void add_residents(const maker *m, fm_cut *cut, uint64_t cap, uint64_t stream_cap, fm_placed *out) {
    double   latency = out->plan.latency;
    uint64_t good = 0, bad = cap, room = cap - out->total;
    bool     placed = true; /* out is what `good` gives */
    for (int attempt = 0; attempt < 5 && room > good; attempt++) {
        placed = place_residents(m, cut, cap, stream_cap, room, latency, out);
        if (placed) good = room;
        else bad = room;
        uint64_t left = placed ? cap - out->total : 0;
        if (placed && left < cap / 32) return;
        room = placed && good + left < bad ? good + left : good + (bad - good) / 2;
    }
    if (placed) return;
    keep_none(cut);
    if (!good || !place_residents(m, cut, cap, stream_cap, good, latency, out)) {
        keep_none(cut);
        place_streamed(m, cut, stream_cap, cap, out); /* as it was */
    }
}

static bool place_candidate(const maker *m, candidate *c, fm_placed *out) {
    fm_cut          *cut = &c->cut;
    uint64_t         cap = region_cap(m, cut), whole = cut->object_bytes + cut->activation_peak;
    bool             automatic = m->facts.request->automatic;
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, cap);
    fm_placed_init(out, &m->facts, cut, m->arena);
    if (whole <= cap && !automatic && place_all_resident(m, cut, cap, out)) return true;
    if (problem.cap > whole) problem.cap = whole; /* more changes nothing */
    uint64_t stream_cap = fm_timed_least_memory(&problem, LATENCY_SLACK, problem.cap, m->arena);
    if (m->target > 0) { /* nothing is faster than the recursion */
        double enough = m->target > c->latency ? m->target : c->latency * (1 + 1e-12);
        return fm_replay_place_explicit(&m->facts, cut, cap, stream_cap, enough, out);
    }
    if (automatic ? !place_tightly(m, cut, stream_cap, cap, out) : !place_streamed(m, cut, stream_cap, cap, out)) {
        stream_cap = least_cap(m, cut);
        if (!place_streamed(m, cut, stream_cap, cap, out)) return false;
    }
    if (automatic) {
        fm_placed whole_plan;
        if (whole > out->total || whole > cap) return true;
        fm_placed_init(&whole_plan, &m->facts, cut, m->arena);
        if (place_all_resident(m, cut, cap, &whole_plan)) *out = whole_plan;
        return true;
    }
    if (out->total < cap && !m->facts.request->once) add_residents(m, cut, cap, stream_cap, out);
    return true;
}

/* --- the replay --------------------------------------------------------------------------------------------------- */

static flashmem_status find_minimum(maker *m, flashmem_error *err) {
    fm_cut          *cut = &m->candidates[m->candidate_count - 1].cut;
    fm_timed_problem problem = fm_replay_problem(&m->facts, cut, 0);
    fm_placed_init(&m->minimum, &m->facts, cut, m->arena);
    FM_TRY(fm_replay_place_minimum(&m->facts, cut, &m->minimum, m->arena, err));
    m->minimum_bytes = m->minimum.total + cut->fixed;
    m->minimum_bound = fm_timed_minimum_bound(&problem, m->arena) + cut->fixed;
    m->budget = m->facts.request->minimum ? m->minimum_bytes : m->facts.request->budget;
    if (m->budget >= m->minimum_bytes) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_BUDGET,
                   "a budget of %" PRIu64 " bytes, this model needs at least %" PRIu64 " (%.1f MB): give that or more",
                   m->budget, m->minimum_bytes, (double)m->minimum_bytes * 1e-6);
}

/* Of one run in an explicit budget. */
static void set_target(maker *m) {
    m->target = 0;
    if (m->facts.request->automatic || !m->facts.request->once) return;
    m->target = 1e300;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        candidate *c = &m->candidates[i];
        c->rule = fm_replay_rule_latency(&m->facts, &c->cut, region_cap(m, &c->cut));
        if (c->rule >= 0 && c->rule < m->target) m->target = c->rule;
    }
}

/* Keeps the best of the candidates that can be placed; usually the first is. */
static void solve(maker *m, fm_replay *out) {
    const fm_cut *best_cut = NULL;
    fm_placed     best;
    bool          automatic = m->facts.request->automatic;
    double        least = 0, search_left = -1;
    m->search_left = &search_left;
    time_candidates(m);
    set_target(m);
    if (automatic) measure_candidates(m);
    for (candidate *c; (c = next_candidate(m));) {
        fm_placed placed;
        bool      beaten = best_cut && m->target > 0 && best.plan.latency > m->target; /* by a simple rule */
        double    wanted = best_cut ? best.plan.latency * (beaten ? 1 : 1 - SLAB_SLACK) : 0;
        if (!automatic && best_cut && c->latency >= wanted) continue;
        if (!place_candidate(m, c, &placed)) continue;
        double memory = (double)(placed.total + c->cut.fixed);
        if (best_cut && (automatic ? memory >= least : placed.plan.latency >= wanted)) continue;
        best = placed;
        best_cut = &c->cut;
        least = memory;
        if (m->target > 0 && placed.plan.latency > m->target) continue;
        if (automatic ? memory <= c->memory * (1 + PLACEMENT_LOSS)
                      : placed.plan.latency <= c->latency * (1 + LATENCY_SLACK + SLAB_SLACK))
            break; /* as predicted */
    }
    if (!best_cut) best_cut = &m->candidates[m->candidate_count - 1].cut, best = m->minimum;
    fm_cut      chosen = *best_cut;
    const char *rule = NULL;
    for (uint32_t i = 0; i < m->candidate_count && m->target > 0; i++) {
        const candidate *c = &m->candidates[i];
        if (c->rule < 0 || c->rule >= best.plan.latency) continue;
        fm_cut      cut = c->cut;
        const char *name = fm_replay_place_rule(&m->facts, m->budget, &cut, &best);
        if (name) chosen = cut, rule = name;
    }
    fm_replay_fill(&m->facts, &chosen, &best, m->minimum_bytes, m->minimum_bound, out);
    out->rule = rule;
}

/* The slab size at which the policy is fastest. */
static flashmem_status solve_policy(maker *m, fm_replay *out, flashmem_error *err) {
    fm_policy     policy = fm_policy_find(m->facts.request->policy);
    const fm_cut *best_cut = NULL;
    uint64_t      least = UINT64_MAX;
    fm_placed     best;
    for (uint32_t i = 0; i < m->candidate_count; i++) {
        fm_cut   *cut = &m->candidates[i].cut;
        fm_placed placed;
        uint64_t  needed;
        bool      fits = fm_replay_place_policy(&m->facts, cut, policy, m->budget, &placed, &needed);
        if (needed < least) least = needed;
        if (!fits) continue;
        if (best_cut && placed.plan.latency >= best.plan.latency * (1 - SLAB_SLACK)) continue;
        best = placed;
        best_cut = cut;
    }
    if (!best_cut)
        return fm_fail(err, FLASHMEM_BUDGET,
                       "a budget of %" PRIu64
                       " bytes does not hold what the policy '%s' reads: it needs at least %" PRIu64 " (%.1f MB)",
                       m->budget, m->facts.request->policy, least, (double)least * 1e-6);
    fm_replay_fill(&m->facts, best_cut, &best, m->minimum_bytes, m->minimum_bound, out);
    return FLASHMEM_OK;
}

static flashmem_status check_policy(const fm_replay_request *r, flashmem_error *err) {
    if (!r->policy) return FLASHMEM_OK;
    fm_policy policy = fm_policy_find(r->policy);
    if (policy == FM_POLICIES) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no policy is called '%s'", r->policy);
    if ((policy == FM_POLICY_PUBLISHED) != (r->overlap != NULL))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "the policy '%s' follows %s", r->policy,
                       r->overlap ? "no overlap plan" : "an overlap plan, and there is none here");
    return FLASHMEM_OK;
}

flashmem_status fm_replay_make(const fm_packed *pack, const fm_program *program, const fm_replay_request *request,
                               const fm_log *log, fm_arena *arena, fm_replay *out, flashmem_error *err) {
    maker m = { .arena = arena };
    memset(out, 0, sizeof *out);
    FM_TRY(check_policy(request, err));
    FM_TRY(fm_replay_analyse(&m.facts, pack, program, request, arena, err));
    if (request->stored) return fm_replay_make_overlap(&m.facts, log, out, err);
    make_candidates(&m);
    FM_TRY(find_minimum(&m, err));
    out->minimum = m.minimum_bytes;
    if (request->policy) FM_TRY(solve_policy(&m, out, err));
    else solve(&m, out);
    fm_debug(log, "plan",
             "%u launches, %u objects, slabs of at most %" PRIu64 " bytes; peak %" PRIu64 ", resident %" PRIu64
             ", minimum %" PRIu64 " (bound %" PRIu64 "); predicted %.1f ms, stalls %.1f ms",
             out->step_count, out->object_count, out->slab_bytes, out->peak, out->resident_bytes, out->minimum,
             out->minimum_bound, out->latency * 1e3, out->stall * 1e3);
    return FLASHMEM_OK;
}
