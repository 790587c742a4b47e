/* Ordering for the least latency under a cap: the timed recursion of docs/planning.md as constraints.
 *
 * Per slot, X: bytes of values alive less those of objects that are over; P: bytes of objects begun.  R, A: the slot's
 * object is requested, has arrived.  S, E: its step starts, ends.
 *
 *     X_k + P_k <= cap                      R_j >= E_k  for k < j with X_k + P_j > cap
 *     R_j >= A_{j-1}    A_j >= R_j + read   S_k >= E_{k-1}    S_k >= A_k    E_k >= S_k + time
 *
 * Only slots that more than one step can take have anything but constants in X, P, read and time.
 *
 * A model of all slots alone proves little: delays of regions add up, and it has to find each of them out for every
 * combination.  So the slots are cut before each region, at a slot that is fixed, and windows between two cuts are
 * solved first, as if all that the cap lets be read before the first cut were there: the least time from one cut to the
 * other, whatever happens outside.  These times go into the models of wider windows, the last of which is the whole. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat_order_slots.h"

/* Each searches in its own way, and one of the first eight soon closes these models, also on fewer processors; one
 * alone may walk a bound nanosecond by nanosecond. */
enum { WORKERS = 8 };

typedef struct range {
    int64_t low, high;
} range;

typedef struct moment {                /* of a slot: integers of the model */
    int32_t used, begun, arrival, end; /* X, P, A, E */
    range   used_range, begun_range;
} moment;

typedef struct window { /* slots, from behind a cut to a cut */
    uint32_t from, to;
    int64_t  least; /* nanoseconds between the ends of slots from - 1 and to */
} window;

typedef struct latency_model {
    fm_order_model b;
    moment        *moments;               /* [slots] */
    int32_t       *begun, *begun_before;  /* [objects] literals at this slot and at the one before */
    int64_t        cap, earliest, latest; /* times of the window, its first cut being 0 */
    bool           never;                 /* no order fits */
} latency_model;

/* A part of an integer's definition, and of what it can be. */
static void add_part(fm_order_model *b, int32_t literal, int64_t bytes, range *sum, int64_t *constant) {
    if (literal == FM_ORDER_NEVER) return;
    if (bytes > 0 || literal == FM_ORDER_ALWAYS) sum->high += bytes;
    if (bytes < 0 || literal == FM_ORDER_ALWAYS) sum->low += bytes;
    fm_order_term(b, literal, -bytes, constant);
}

static int32_t add_used(latency_model *l, uint32_t slot) {
    const fm_order_slots   *s = l->b.slots;
    const fm_order_problem *p = s->problem;
    range                  *sum = &l->moments[slot].used_range;
    int64_t                 constant = 0;
    for (uint32_t v = 0; v < p->value_count; v++)
        add_part(&l->b, fm_order_alive(&l->b, &s->values[v], slot), (int64_t)s->values[v].bytes, sum, &constant);
    for (uint32_t o = 0; o < p->object_count; o++)
        add_part(&l->b, fm_order_over(&l->b, &s->objects[o], slot), -(int64_t)s->objects[o].bytes, sum, &constant);
    int32_t used = fm_cpsat_integer(l->b.m, sum->low, sum->high);
    fm_cpsat_term(l->b.m, used, 1);
    fm_cpsat_linear(l->b.m, -constant, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    return used;
}

static int32_t add_begun(latency_model *l, uint32_t slot) {
    const fm_order_slots *s = l->b.slots;
    range                *sum = &l->moments[slot].begun_range;
    int64_t               constant = 0;
    for (uint32_t o = 0; o < s->problem->object_count; o++) {
        l->begun[o] = fm_order_begun(&l->b, &s->objects[o], slot);
        add_part(&l->b, l->begun[o], (int64_t)s->objects[o].bytes, sum, &constant);
    }
    int32_t begun = fm_cpsat_integer(l->b.m, sum->low, sum->high);
    fm_cpsat_term(l->b.m, begun, 1);
    fm_cpsat_linear(l->b.m, -constant, -constant, FM_CPSAT_ALWAYS);
    return begun;
}

/* later >= earlier + what the open terms, taken off, make. */
static void add_after(latency_model *l, int32_t later, int32_t earlier, int64_t constant) {
    fm_cpsat_term(l->b.m, later, 1);
    fm_cpsat_term(l->b.m, earlier, -1);
    fm_cpsat_linear(l->b.m, -constant, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
}

static int32_t add_time(latency_model *l) { return fm_cpsat_integer(l->b.m, l->earliest, l->latest); }

/* The request at slot j waits for the last step at which there was no room; too many open questions end the model. */
static void add_waits(latency_model *l, uint32_t j, int32_t request) {
    const moment *object = &l->moments[j];
    uint32_t      last = l->b.from ? l->b.from - 1 : 0; /* what ended before that is over */
    for (uint32_t k = j; k-- > last && fm_cpsat_booleans(l->b.m) <= FM_CPSAT_MOST_BOOLEANS;) {
        const moment *step = &l->moments[k];
        if (step->used_range.high + object->begun_range.high <= l->cap) continue;
        if (step->used_range.low + object->begun_range.low > l->cap) {
            add_after(l, request, step->end, 0);
            return; /* earlier ends are earlier */
        }
        int32_t waits = fm_cpsat_boolean(l->b.m);
        fm_cpsat_term(l->b.m, step->used, 1);
        fm_cpsat_term(l->b.m, object->begun, 1);
        fm_cpsat_linear(l->b.m, FM_CPSAT_LOW, l->cap, FM_CPSAT_NOT(waits));
        fm_cpsat_term(l->b.m, request, 1);
        fm_cpsat_term(l->b.m, step->end, -1);
        fm_cpsat_linear(l->b.m, 0, FM_CPSAT_HIGH, waits);
    }
}

/* When the object of a slot arrives, if it may have one. */
static int32_t add_read(latency_model *l, uint32_t slot) {
    const fm_order_problem *p = l->b.slots->problem;
    bool                    reads = false;
    int64_t                 constant = 0;
    for (uint32_t o = 0; o < p->object_count; o++) reads |= l->begun[o] != l->begun_before[o];
    if (!reads) return slot ? l->moments[slot - 1].arrival : fm_cpsat_integer(l->b.m, 0, 0);
    int32_t request = add_time(l), arrival = add_time(l);
    if (slot) add_after(l, request, l->moments[slot - 1].arrival, 0);
    add_waits(l, slot, request);
    for (uint32_t o = 0; o < p->object_count; o++) {
        if (l->begun[o] == l->begun_before[o]) continue;
        fm_order_term(&l->b, l->begun[o], -fm_order_read_ns(p, o), &constant);
        fm_order_term(&l->b, l->begun_before[o], fm_order_read_ns(p, o), &constant);
    }
    add_after(l, arrival, request, constant);
    return arrival;
}

static int32_t add_step(latency_model *l, uint32_t slot) {
    const fm_order_problem *p = l->b.slots->problem;
    int32_t                 start = add_time(l), end = add_time(l);
    int64_t                 constant = 0;
    add_after(l, start, l->moments[slot].arrival, 0);
    if (slot) add_after(l, start, l->moments[slot - 1].end, 0);
    for (uint32_t k = 0; k < p->step_count; k++) {
        int32_t now = fm_order_done(&l->b, k, slot), before = fm_order_done(&l->b, k, (int64_t)slot - 1);
        if (now == before) continue;
        fm_order_term(&l->b, now, -fm_order_step_ns(p, k), &constant);
        fm_order_term(&l->b, before, fm_order_step_ns(p, k), &constant);
    }
    add_after(l, end, start, constant);
    return end;
}

static void add_slot(latency_model *l, uint32_t slot) {
    moment *m = &l->moments[slot];
    m->used = add_used(l, slot);
    m->begun = add_begun(l, slot);
    if (m->used_range.low + m->begun_range.low > l->cap) l->never = true;
    if (m->used_range.high + m->begun_range.high > l->cap) {
        fm_cpsat_term(l->b.m, m->used, 1);
        fm_cpsat_term(l->b.m, m->begun, 1);
        fm_cpsat_linear(l->b.m, FM_CPSAT_LOW, l->cap, FM_CPSAT_ALWAYS);
    }
    m->arrival = add_read(l, slot);
    m->end = add_step(l, slot);
    int32_t *swapped = l->begun_before;
    l->begun_before = l->begun;
    l->begun = swapped;
}

/* What has been read when the window begins is there since ever. */
static void add_cut(latency_model *l, uint32_t slot) {
    moment *m = &l->moments[slot];
    m->used = add_used(l, slot);
    m->begun = add_begun(l, slot);
    m->arrival = fm_cpsat_integer(l->b.m, l->earliest, l->earliest);
    m->end = fm_cpsat_integer(l->b.m, 0, 0);
    int32_t *swapped = l->begun_before;
    l->begun_before = l->begun;
    l->begun = swapped;
}

/* --- windows ------------------------------------------------------------------------------------------------------ */

typedef struct search {
    fm_order_slots         slots;
    const fm_cpsat_limits *limits;
    double                 deadline;
    int64_t                busy;            /* nanoseconds of all steps and reads: nothing takes longer */
    uint32_t              *cuts, cut_count; /* slots, rising; the last slot is the last */
    window                *windows;
    size_t                 window_count, window_capacity;
    uint32_t              *order, *other; /* the best so far; another one */
    bool                   fits, never;
    int64_t                latency, bound;
    fm_arena              *arena;
} search;

static void build(latency_model *l, const search *v, const window *w, fm_arena *scratch) {
    const fm_order_slots   *s = &v->slots;
    const fm_order_problem *p = s->problem;
    fm_order_model_init(&l->b, s, w->from, w->to, scratch);
    l->cap = p->cap < (uint64_t)INT64_MAX / 8 ? (int64_t)p->cap : INT64_MAX / 8;
    l->latest = v->busy;
    l->earliest = w->from ? -v->busy : 0;
    l->moments = fm_arena_array(scratch, s->count, sizeof *l->moments);
    l->begun = fm_arena_array(scratch, p->object_count, sizeof *l->begun);
    l->begun_before = fm_arena_array(scratch, p->object_count, sizeof *l->begun_before);
    for (uint32_t o = 0; o < p->object_count; o++) l->begun_before[o] = FM_ORDER_NEVER;
    if (w->from) add_cut(l, w->from - 1);
    for (uint32_t slot = w->from; slot <= w->to && !l->never; slot++) add_slot(l, slot);
    for (size_t i = 0; i < v->window_count && !l->never; i++) {
        const window *known = &v->windows[i];
        if (known->from < w->from || known->to > w->to || (known->from == 0 && w->from != 0)) continue;
        fm_cpsat_term(l->b.m, l->moments[known->to].end, 1);
        if (known->from) fm_cpsat_term(l->b.m, l->moments[known->from - 1].end, -1);
        fm_cpsat_linear(l->b.m, known->least, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    }
    if (l->never) return;
    fm_cpsat_term(l->b.m, l->moments[w->to].end, 1);
    fm_cpsat_minimize(l->b.m, FM_CPSAT_LOW);
}

static flashmem_status solve_in(search *v, window *w, const fm_cpsat_limits *limits, fm_arena *scratch, bool *found,
                                flashmem_error *err) {
    latency_model   l = { 0 };
    fm_cpsat_result result = { .bound = FM_CPSAT_LOW };
    build(&l, v, w, scratch);
    if (!l.never) {
        if (v->fits) fm_order_hint(&l.b, v->order);
        FM_TRY(fm_cpsat_solve(l.b.m, limits, &result, err));
    }
    v->never |= l.never || result.status == FM_CPSAT_INFEASIBLE;
    if (result.bound > w->least) w->least = result.bound;
    *found = result.values != NULL;
    if (*found) fm_order_take(&l.b, result.values, v->other);
    return FLASHMEM_OK;
}

static flashmem_status solve_window(search *v, window *w, const fm_cpsat_limits *limits, bool *found,
                                    flashmem_error *err) {
    fm_arena *scratch = fm_arena_create();
    if (!scratch || fm_arena_trap(scratch)) {
        fm_arena_destroy(scratch);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the order of %" PRIu32 " steps",
                       v->slots.problem->step_count);
    }
    flashmem_status status = solve_in(v, w, limits, scratch, found, err);
    fm_arena_destroy(scratch);
    return status;
}

/* The best order with the window's part as it was found there, if that is better as a whole. */
static flashmem_status try_order(search *v, flashmem_error *err) {
    int64_t  latency;
    uint32_t count = v->slots.problem->step_count;
    FM_TRY(fm_order_verify(&v->slots, v->other, err));
    if (fm_order_latency(&v->slots, v->other, &latency) && (!v->fits || latency < v->latency)) {
        v->fits = true;
        v->latency = latency;
        memcpy(v->order, v->other, count * sizeof *v->order);
    }
    if (v->fits) memcpy(v->other, v->order, count * sizeof *v->order);
    return FLASHMEM_OK;
}

/* Least times between cuts add up to a least time of all. */
static void add_up(search *v) {
    int64_t *least = fm_arena_array(v->arena, v->cut_count, sizeof *least);
    for (uint32_t i = 0; i < v->cut_count; i++)
        for (size_t k = 0; k < v->window_count; k++) {
            const window *w = &v->windows[k];
            if (w->to != v->cuts[i]) continue;
            uint32_t from = i;
            while (from > 0 && v->cuts[from - 1] >= w->from) from--;
            int64_t sum = w->least + (from ? least[from - 1] : 0);
            if (sum > least[i]) least[i] = sum;
        }
    if (least[v->cut_count - 1] > v->bound) v->bound = least[v->cut_count - 1];
}

static bool is_done(const search *v) { return v->never || (v->fits && v->latency == v->bound); }

/* Windows over `wide` regions each, every second region a new one. */
static flashmem_status solve_windows(search *v, uint32_t wide, double seconds, flashmem_error *err) {
    uint32_t stride = wide > 1 ? wide / 2 : 1;
    uint32_t count = wide < v->cut_count ? (v->cut_count - wide + stride - 1) / stride + 1 : 1;
    for (uint32_t i = 0; i < v->cut_count && !is_done(v); i += stride) {
        uint32_t        last = i + wide < v->cut_count ? i + wide - 1 : v->cut_count - 1;
        window          w = { .from = i ? v->cuts[i - 1] + 1 : 0, .to = v->cuts[last] };
        fm_cpsat_limits limits = *v->limits;
        bool            found;
        if (limits.threads < WORKERS) limits.threads = WORKERS;
        if (v->limits->seconds > 0) limits.seconds = seconds / count > 0.01 ? seconds / count : 0.01;
        FM_TRY(solve_window(v, &w, &limits, &found, err));
        FM_PUSH(v->arena, v->windows, v->window_count, v->window_capacity) = w;
        if (found) FM_TRY(try_order(v, err));
        if (last + 1 == v->cut_count) break;
    }
    add_up(v);
    return FLASHMEM_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

/* The slot before each run of slots that are not fixed, and the last slot. */
static void find_cuts(search *v) {
    const fm_order_slots *s = &v->slots;
    uint8_t              *open = fm_arena_array(v->arena, s->count + (size_t)1, 1);
    v->cuts = fm_arena_array(v->arena, s->count, sizeof *v->cuts);
    for (uint32_t k = 0; k < s->problem->step_count; k++)
        if (s->earliest[k] != s->latest[k])
            for (uint32_t slot = s->earliest[k] + 1 - s->length[k]; slot <= s->latest[k]; slot++) open[slot] = 1;
    for (uint32_t slot = 0; slot + 1 < s->count; slot++)
        if (!open[slot] && open[slot + 1]) v->cuts[v->cut_count++] = slot;
    v->cuts[v->cut_count++] = s->count - 1;
}

static flashmem_status finish(const search *v, fm_order_plan *plan, flashmem_error *err) {
    const fm_order_slots *s = &v->slots;
    if (v->never || !v->fits)
        return fm_fail(err, FLASHMEM_BUDGET,
                       "order: %s in %" PRIu64 " bytes; as they are numbered, the steps need %" PRIu64,
                       v->never ? "no order of the steps runs" : "no order was found in time that runs",
                       s->problem->cap, fm_order_peak(s, fm_order_identity(s->problem, v->arena)));
    *plan = (fm_order_plan){ .order = v->order,
                             .peak = fm_order_peak(s, v->order),
                             .seconds = (double)v->latency / 1e9,
                             .bound = (uint64_t)v->bound,
                             .optimal = v->latency == v->bound };
    if (v->latency >= v->bound) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "order: %" PRId64 " ns, proven to be at least %" PRId64, v->latency,
                   v->bound);
}

static void begin(search *v) {
    const fm_order_problem *p = v->slots.problem;
    int64_t                 read = 0;
    for (uint32_t k = 0; k < p->step_count; k++) v->bound += fm_order_step_ns(p, k);
    for (uint32_t o = 0; o < p->object_count; o++) read += fm_order_read_ns(p, o);
    v->busy = v->bound + read;
    if (read > v->bound) v->bound = read;
    v->order = fm_order_identity(p, v->arena);
    v->other = fm_order_identity(p, v->arena);
    v->fits = fm_order_latency(&v->slots, v->order, &v->latency);
}

flashmem_status fm_cpsat_order_latency(const fm_order_problem *problem, const fm_cpsat_limits *limits, fm_arena *arena,
                                       fm_order_plan *plan, flashmem_error *err) {
    search v = { .limits = limits, .arena = arena, .deadline = fm_clock_seconds() + limits->seconds };
    *plan = (fm_order_plan){ .order = fm_order_identity(problem, arena), .optimal = true };
    FM_TRY(fm_order_slots_make(problem, true, arena, &v.slots, err));
    if (!problem->step_count) return FLASHMEM_OK;
    FM_TRY(fm_order_check_size(&v.slots, 0, v.slots.count - 1, err));
    begin(&v);
    find_cuts(&v);
    for (uint32_t wide = 1;; wide = 2 * wide < v.cut_count ? 2 * wide : v.cut_count) {
        double left = v.deadline - fm_clock_seconds();
        FM_TRY(solve_windows(&v, wide, wide < v.cut_count ? left / 2 : left, err));
        if (is_done(&v) || wide >= v.cut_count) break;
    }
    return finish(&v, plan, err);
}
