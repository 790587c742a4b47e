/* Where steps can lie, what an order costs, and the part of the models that both goals share. */
#include "compile/plan/cpsat/cpsat_order_slots.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "schedule/timed.h"

enum { MOST_STEPS = 8192 };
#define MOST_SUM ((uint64_t)1 << 50) /* of bytes and of nanoseconds: doubles hold it exactly */

int64_t fm_order_step_ns(const fm_order_problem *p, uint32_t step) { return llround(p->seconds[step] * 1e9); }

int64_t fm_order_read_ns(const fm_order_problem *p, uint32_t object) {
    return llround((double)p->objects[object].bytes / p->disk_rate * 1e9);
}

/* --- checking what comes in --------------------------------------------------------------------------------------- */

static flashmem_status add_edge(fm_order_slots *s, uint32_t before, uint32_t after, flashmem_error *err) {
    if (before >= after || after >= s->problem->step_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "order: step %" PRIu32 " before step %" PRIu32 " of %" PRIu32
                       ": steps must be numbered in a valid order",
                       before, after, s->problem->step_count);
    FM_PUSH(s->arena, s->edges, s->edge_count, s->edge_capacity) = (fm_order_edge){ before, after };
    return FLASHMEM_OK;
}

static flashmem_status add_edges(fm_order_slots *s, flashmem_error *err) {
    const fm_order_problem *p = s->problem;
    for (uint32_t v = 0; v < p->value_count; v++) {
        const fm_order_value *value = &p->values[v];
        bool                  made = value->producer != FM_ORDER_INPUT;
        if (made && value->producer >= p->step_count)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "order: value %" PRIu32 " is made by step %" PRIu32 " of %" PRIu32, v, value->producer,
                           p->step_count);
        for (uint32_t c = 0; c < value->consumer_count; c++)
            if (made) FM_TRY(add_edge(s, value->producer, value->consumers[c], err));
            else if (value->consumers[c] >= p->step_count)
                return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                               "order: value %" PRIu32 " is read by step %" PRIu32 " of %" PRIu32, v,
                               value->consumers[c], p->step_count);
    }
    for (uint32_t e = 0; e < p->edge_count; e++) FM_TRY(add_edge(s, p->edges[e].before, p->edges[e].after, err));
    return FLASHMEM_OK;
}

static flashmem_status check_sizes(const fm_order_slots *s, bool by_object, flashmem_error *err) {
    const fm_order_problem *p = s->problem;
    uint64_t                bytes = 0;
    double                  seconds = 0;
    if (p->step_count > MOST_STEPS)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "order: %" PRIu32 " steps, at most %d are tried", p->step_count,
                       MOST_STEPS);
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_order_object *object = &p->objects[o];
        bytes += object->bytes < MOST_SUM ? object->bytes : MOST_SUM;
        for (uint32_t u = 0; u < object->user_count; u++)
            if (object->users[u] >= p->step_count)
                return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                               "order: object %" PRIu32 " is used by step %" PRIu32 " of %" PRIu32, o, object->users[u],
                               p->step_count);
        if (!object->user_count)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "order: object %" PRIu32 " has no user", o);
    }
    if (by_object && p->object_count && !(p->disk_rate > 0))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "order: a disk rate of %g bytes per second", p->disk_rate);
    if (by_object && p->object_count) seconds = (double)bytes / p->disk_rate;
    for (uint32_t v = 0; v < p->value_count; v++)
        bytes += p->values[v].bytes < MOST_SUM ? p->values[v].bytes : MOST_SUM;
    for (uint32_t k = 0; by_object && k < p->step_count; k++) {
        if (!(p->seconds[k] >= 0))
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "order: step %" PRIu32 " takes %g s", k, p->seconds[k]);
        seconds += p->seconds[k];
    }
    if (bytes > MOST_SUM || !(seconds * 1e9 < (double)MOST_SUM))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "order: %" PRIu64 " bytes and %g s are more than is held exactly",
                       bytes, seconds);
    return FLASHMEM_OK;
}

/* --- slots -------------------------------------------------------------------------------------------------------- */

static void make_things(fm_order_slots *s, bool by_object) {
    const fm_order_problem *p = s->problem;
    uint32_t               *used = fm_arena_array(s->arena, p->step_count, sizeof *used);
    s->values = fm_arena_array(s->arena, p->value_count, sizeof *s->values);
    s->objects = fm_arena_array(s->arena, p->object_count, sizeof *s->objects);
    for (uint32_t v = 0; v < p->value_count; v++) {
        const fm_order_value *value = &p->values[v];
        fm_order_thing       *t = &s->values[v];
        *t = (fm_order_thing){ .bytes = value->bytes, .to_end = value->output };
        t->from_start = value->producer == FM_ORDER_INPUT;
        t->births = fm_arena_alloc(s->arena, sizeof *t->births);
        t->births[0] = (fm_order_birth){ value->producer, 0 };
        t->birth_count = !t->from_start;
        t->deaths = value->consumer_count ? value->consumers : &value->producer;
        t->death_count = value->consumer_count ? value->consumer_count : t->birth_count;
    }
    for (uint32_t o = 0; by_object && o < p->object_count; o++)
        for (uint32_t u = 0; u < p->objects[o].user_count; u++) s->length[p->objects[o].users[u]]++;
    for (uint32_t k = 0; k < p->step_count; k++) s->length[k] = s->length[k] ? s->length[k] : 1;
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_order_object *object = &p->objects[o];
        fm_order_thing        *t = &s->objects[o];
        *t = (fm_order_thing){ .bytes = object->bytes, .deaths = object->users, .death_count = object->user_count };
        t->births = fm_arena_array(s->arena, object->user_count, sizeof *t->births);
        t->birth_count = object->user_count;
        for (uint32_t u = 0; u < object->user_count; u++) {
            uint32_t step = object->users[u], at = by_object ? used[step]++ : 0;
            t->births[u] = (fm_order_birth){ step, s->length[step] - 1 - at };
        }
    }
}

/* Edges sorted by their later step, the nearest earlier step first. */
static void sort_edges(fm_order_slots *s, uint32_t *starts) {
    fm_order_edge *sorted = fm_arena_array(s->arena, s->edge_count, sizeof *sorted);
    uint32_t      *by_before = fm_arena_array(s->arena, s->problem->step_count + (size_t)1, sizeof *by_before);
    fm_order_edge *half = fm_arena_array(s->arena, s->edge_count, sizeof *half);
    uint32_t       n = s->problem->step_count;
    for (size_t e = 0; e < s->edge_count; e++) by_before[n - 1 - s->edges[e].before]++, starts[s->edges[e].after + 1]++;
    for (uint32_t k = 0, sum = 0; k < n; k++) {
        uint32_t count = by_before[k];
        by_before[k] = sum;
        sum += count;
        starts[k + 1] += starts[k];
    }
    for (size_t e = 0; e < s->edge_count; e++) half[by_before[n - 1 - s->edges[e].before]++] = s->edges[e];
    uint32_t *next = by_before;
    memcpy(next, starts, n * sizeof *next);
    for (size_t e = 0; e < s->edge_count; e++) sorted[next[half[e].after]++] = half[e];
    s->edges = sorted;
}

/* Earliest and latest ends from the slots of all that must come before and after; precedences that follow from others
 * are dropped. */
static void close_precedences(fm_order_slots *s) {
    uint32_t  n = s->problem->step_count, words = n / 64 + 1;
    uint64_t *before = fm_arena_array(s->arena, (size_t)n * words, sizeof *before);
    uint32_t *starts = fm_arena_array(s->arena, n + (size_t)1, sizeof *starts);
    size_t    kept = 0;
    sort_edges(s, starts);
    s->count = 0;
    for (uint32_t k = 0; k < n; k++) s->count += s->length[k];
    for (uint32_t k = 0; k < n; k++) s->latest[k] = s->count - 1;
    for (uint32_t k = 0; k < n; k++) {
        uint64_t *mine = before + (size_t)k * words;
        for (uint32_t e = starts[k]; e < starts[k + 1]; e++) {
            uint32_t other = s->edges[e].before;
            if (mine[other / 64] >> other % 64 & 1) continue;
            for (uint32_t w = 0; w < words; w++) mine[w] |= before[(size_t)other * words + w];
            mine[other / 64] |= UINT64_C(1) << other % 64;
            s->edges[kept++] = s->edges[e];
        }
        s->earliest[k] = s->length[k] - 1;
        for (uint32_t other = 0; other < k; other++)
            if (mine[other / 64] >> other % 64 & 1) {
                s->earliest[k] += s->length[other];
                s->latest[other] -= s->length[k];
            }
    }
    s->edge_count = kept;
}

flashmem_status fm_order_slots_make(const fm_order_problem *problem, bool by_object, fm_arena *arena, fm_order_slots *s,
                                    flashmem_error *err) {
    *s = (fm_order_slots){ .problem = problem, .arena = arena };
    s->length = fm_arena_array(arena, problem->step_count, sizeof *s->length);
    s->earliest = fm_arena_array(arena, problem->step_count, sizeof *s->earliest);
    s->latest = fm_arena_array(arena, problem->step_count, sizeof *s->latest);
    FM_TRY(check_sizes(s, by_object, err));
    FM_TRY(add_edges(s, err));
    make_things(s, by_object);
    if (problem->step_count) close_precedences(s);
    return FLASHMEM_OK;
}

/* --- what an order costs ------------------------------------------------------------------------------------------ */

typedef struct life { /* places in the order */
    uint32_t from, to;
} life;

static life life_of(const fm_order_slots *s, const fm_order_thing *t, const uint32_t *place) {
    uint32_t last = s->problem->step_count - 1;
    life     l = { t->from_start ? 0 : last, t->to_end ? last : 0 };
    for (uint32_t i = 0; i < t->birth_count; i++)
        if (place[t->births[i].step] < l.from) l.from = place[t->births[i].step];
    for (uint32_t i = 0; i < t->death_count; i++)
        if (place[t->deaths[i]] > l.to) l.to = place[t->deaths[i]];
    return l;
}

static uint32_t *places(const fm_order_slots *s, const uint32_t *order) {
    uint32_t *place = fm_arena_array(s->arena, s->problem->step_count, sizeof *place);
    for (uint32_t i = 0; i < s->problem->step_count; i++) place[order[i]] = i;
    return place;
}

static void add_lives(const fm_order_slots *s, const fm_order_thing *things, uint32_t count, const uint32_t *place,
                      uint64_t *bytes) {
    uint64_t *change = fm_arena_array(s->arena, s->problem->step_count + (size_t)1, sizeof *change);
    for (uint32_t i = 0; i < count; i++) {
        life l = life_of(s, &things[i], place);
        if (!things[i].to_end && !things[i].death_count) continue; /* an input that nothing reads */
        change[l.from] += things[i].bytes;
        change[l.to + 1] -= things[i].bytes;
    }
    uint64_t live = 0;
    for (uint32_t k = 0; k < s->problem->step_count; k++) bytes[k] += live += change[k];
}

uint64_t *fm_order_usage(const fm_order_slots *s, const uint32_t *order) {
    uint32_t *place = places(s, order);
    uint64_t *bytes = fm_arena_array(s->arena, s->problem->step_count, sizeof *bytes);
    add_lives(s, s->values, s->problem->value_count, place, bytes);
    add_lives(s, s->objects, s->problem->object_count, place, bytes);
    return bytes;
}

uint64_t fm_order_peak(const fm_order_slots *s, const uint32_t *order) {
    const uint64_t *usage = fm_order_usage(s, order);
    uint64_t        peak = 0;
    for (uint32_t i = 0; i < s->problem->step_count; i++)
        if (usage[i] > peak) peak = usage[i];
    return peak;
}

uint32_t *fm_order_identity(const fm_order_problem *problem, fm_arena *arena) {
    uint32_t *order = fm_arena_array(arena, problem->step_count, sizeof *order);
    for (uint32_t i = 0; i < problem->step_count; i++) order[i] = i;
    return order;
}

flashmem_status fm_order_verify(const fm_order_slots *s, const uint32_t *order, flashmem_error *err) {
    uint32_t  n = s->problem->step_count;
    uint32_t *place = fm_arena_array(s->arena, n, sizeof *place); /* 1 + place */
    for (uint32_t i = 0; i < n; i++) {
        if (order[i] >= n || place[order[i]])
            return fm_fail(err, FLASHMEM_INTERNAL, "order: step %" PRIu32 " at place %" PRIu32 " of %" PRIu32, order[i],
                           i, n);
        place[order[i]] = i + 1;
    }
    for (size_t e = 0; e < s->edge_count; e++)
        if (place[s->edges[e].before] > place[s->edges[e].after])
            return fm_fail(err, FLASHMEM_INTERNAL, "order: step %" PRIu32 " does not come before step %" PRIu32,
                           s->edges[e].before, s->edges[e].after);
    return FLASHMEM_OK;
}

bool fm_order_latency(const fm_order_slots *s, const uint32_t *order, int64_t *nanoseconds) {
    const fm_order_problem *p = s->problem;
    uint32_t               *place = places(s, order), count = 0;
    uint64_t               *live = fm_arena_array(s->arena, p->step_count, sizeof *live);
    uint32_t               *starts = fm_arena_array(s->arena, p->step_count + (size_t)1, sizeof *starts);
    fm_timed_step          *steps = fm_arena_array(s->arena, p->step_count, sizeof *steps);
    fm_timed_object        *objects = fm_arena_array(s->arena, p->object_count, sizeof *objects);
    fm_timed_problem        timed = { .steps = steps,
                                      .step_count = p->step_count,
                                      .objects = objects,
                                      .bandwidth = 1,
                                      .object_count = p->object_count,
                                      .cap = p->cap }; /* times count in nanoseconds */
    fm_timed_plan           plan;
    add_lives(s, s->values, p->value_count, place, live);
    for (uint32_t i = 0; i < p->step_count; i++)
        steps[i] = (fm_timed_step){ .seconds = (double)fm_order_step_ns(p, order[i]), .live_bytes = live[i] };
    for (uint32_t o = 0; o < p->object_count; o++) starts[life_of(s, &s->objects[o], place).from]++;
    for (uint32_t k = 0; k < p->step_count; k++) {
        uint32_t here = starts[k];
        starts[k] = count;
        count += here;
    }
    for (uint32_t o = 0; o < p->object_count; o++) {
        life l = life_of(s, &s->objects[o], place);
        objects[starts[l.from]++] = (fm_timed_object){
            .bytes = p->objects[o].bytes, .first = l.from, .last = l.to, .read_bytes = (uint64_t)fm_order_read_ns(p, o)
        };
    }
    fm_timed_plan_init(&plan, &timed, s->arena);
    if (!fm_timed_solve(&timed, &plan)) return false;
    *nanoseconds = llround(plan.latency);
    return true;
}
