/* Checks a timed plan without the recursion: every precedence by itself, and memory by an event list over three runs in
 * a row.  Written from planning.md's statement, not from timed.c. */
#include <math.h>
#include <stdlib.h>

#include "schedule/timed.h"

#define BAD(...) fm_fail(err, FLASHMEM_INTERNAL, __VA_ARGS__)

static bool close_to(double a, double b) { return fabs(a - b) <= 1e-9 * (1 + fabs(a) + fabs(b)); }

static uint32_t nth_read(const fm_timed_problem *p, uint32_t n) { return p->read_order ? p->read_order[n] : n; }

/* position: when each object is read. */
static flashmem_status check_problem(const fm_timed_problem *p, uint32_t *position, flashmem_error *err) {
    for (uint32_t o = 0; o < p->object_count; o++) position[o] = UINT32_MAX;
    for (uint32_t n = 0; n < p->object_count; n++) {
        uint32_t o = nth_read(p, n);
        if (o >= p->object_count) return BAD("read %u: object %u of %u", n, o, p->object_count);
        if (position[o] != UINT32_MAX) return BAD("object %u: read twice, as %u and %u", o, position[o], n);
        position[o] = n;
    }
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_timed_object *object = &p->objects[o];
        if (object->first > object->last || object->last >= p->step_count)
            return BAD("object %u: used from step %u to %u of %u", o, object->first, object->last, p->step_count);
        if (o && object->first < p->objects[o - 1].first) return BAD("object %u: out of first-use order", o);
    }
    return FLASHMEM_OK;
}

/* after[] and wrap[] by themselves. */
static flashmem_status check_order(const fm_timed_problem *p, const fm_timed_plan *plan, flashmem_error *err) {
    int64_t before = INT64_MIN; /* request positions, a run counted as step_count */
    for (uint32_t n = 0; n < p->object_count; n++) {
        uint32_t               o = nth_read(p, n);
        const fm_timed_object *object = &p->objects[o];
        int32_t                after = plan->after[o], steps = (int32_t)p->step_count;
        if (after < FM_AFTER_START || after >= steps) return BAD("object %u: requested after step %d", o, after);
        if (object->resident) {
            if (plan->wrap[o] || after != FM_AFTER_START) return BAD("object %u: resident and waits", o);
            continue;
        }
        if (plan->wrap[o] && after < (int32_t)object->last)
            return BAD("object %u: read ahead over itself, after step %d of its last use %u", o, after, object->last);
        if (!plan->wrap[o] && after >= (int32_t)object->first)
            return BAD("object %u: requested after step %d, first used by %u", o, after, object->first);
        int64_t position = after + (plan->wrap[o] ? 0 : (int64_t)steps);
        if (position < before) return BAD("object %u: requested before the one ahead of it", o);
        before = position;
    }
    return FLASHMEM_OK;
}

static flashmem_status check_times(const fm_timed_problem *p, const fm_timed_plan *plan, flashmem_error *err) {
    double disk = 0;
    for (uint32_t n = 0; n < p->object_count; n++) {
        uint32_t               o = nth_read(p, n);
        const fm_timed_object *object = &p->objects[o];
        bool                   waits = !plan->wrap[o] && plan->after[o] >= 0;
        double                 ready = (waits ? plan->end[plan->after[o]] : 0) + p->request_seconds;
        double                 begin = ready > disk ? ready : disk;
        if (!close_to(plan->arrival[o], begin + (double)object->read_bytes / p->bandwidth))
            return BAD("object %u: its read takes another time", o);
        if (plan->request[o] < disk && !close_to(plan->request[o], disk)) return BAD("object %u: two reads at once", o);
        disk = plan->arrival[o];
        if (waits && plan->request[o] < plan->end[plan->after[o]])
            return BAD("object %u: requested before step %d has ended", o, plan->after[o]);
        if (plan->start[object->first] < plan->arrival[o]) return BAD("object %u: arrives after its first use", o);
    }
    uint32_t o = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        double ready = k ? plan->end[k - 1] : p->startup_seconds, convert = 0;
        for (; o < p->object_count && p->objects[o].first == k; o++) {
            if (plan->arrival[o] > ready) ready = plan->arrival[o];
            convert += p->objects[o].convert_seconds;
        }
        if (plan->start[k] < ready + convert && !close_to(plan->start[k], ready + convert))
            return BAD("step %u: starts before what it waits for", k);
        if (!close_to(plan->end[k], plan->start[k] + p->steps[k].seconds)) return BAD("step %u: takes another time", k);
    }
    if (!close_to(plan->latency, plan->end[p->step_count - 1])) return BAD("latency is not the end of the last step");
    return FLASHMEM_OK;
}

typedef struct event {
    double  at;
    int64_t bytes;
    int     order; /* at one moment: releases, then requests */
} event;

static int by_time(const void *a, const void *b) {
    const event *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->order - y->order;
}

typedef struct checker {
    const fm_timed_problem *problem;
    const fm_timed_plan    *plan;
    uint32_t               *position; /* [objects] */
    double                 *ends;     /* [3 * steps] */
    event                  *events;
    uint32_t                count;
    double                  disk;
    flashmem_error         *err;
} checker;

/* Reads the n-th object of a run; its arrival. */
static double read_object(checker *c, uint32_t run, uint32_t n, int64_t *live) {
    const fm_timed_problem *p = c->problem;
    uint32_t                o = nth_read(p, n), steps = p->step_count;
    const fm_timed_object  *object = &p->objects[o];
    int32_t                 after = c->plan->after[o];
    double                  wait = run ? c->ends[run * steps - 1] : 0;
    if (c->plan->wrap[o]) wait = run ? c->ends[(run - 1) * steps + (uint32_t)after] : 0;
    else if (after >= 0) wait = c->ends[run * steps + (uint32_t)after];
    double asked = wait > c->disk ? wait : c->disk;
    if (object->resident) *live += (int64_t)object->bytes; /* set aside from the start */
    else c->events[c->count++] = (event){ asked, (int64_t)object->bytes, 1 };
    if (wait + p->request_seconds > c->disk) c->disk = wait + p->request_seconds;
    return c->disk += (double)object->read_bytes / p->bandwidth;
}

static void play_run(checker *c, uint32_t run, int64_t *live) {
    const fm_timed_problem *p = c->problem;
    uint32_t                steps = p->step_count, read = 0, o = 0;
    for (uint32_t k = 0; k < steps; k++) {
        bool     very_first = k == 0 && run == 0;
        double   before = very_first ? 0 : c->ends[run * steps + k - 1];
        double   device = very_first ? p->startup_seconds : before, convert = 0;
        uint32_t wanted = read; /* reads that must have ended */
        for (; o < p->object_count && p->objects[o].first == k; o++) {
            if (c->position[o] >= wanted) wanted = c->position[o] + 1;
            if (!p->objects[o].resident || run == 0) convert += p->objects[o].convert_seconds;
        }
        for (; read < wanted; read++) {
            if (p->objects[nth_read(p, read)].resident && run) continue;
            double arrival = read_object(c, run, read, live);
            if (arrival > device) device = arrival;
        }
        c->ends[run * steps + k] = device + convert + p->steps[k].seconds;
        c->events[c->count++] = (event){ before, (int64_t)p->steps[k].live_bytes, 1 };
        c->events[c->count++] = (event){ c->ends[run * steps + k], -(int64_t)p->steps[k].live_bytes, 0 };
    }
    for (o = 0; o < p->object_count; o++)
        if (!p->objects[o].resident)
            c->events[c->count++] = (event){ c->ends[run * steps + p->objects[o].last], -(int64_t)p->objects[o].bytes,
                                             0 };
}

/* Memory at every event of three runs in a row, with exactly the waits that after[] and wrap[] state. */
static flashmem_status check_memory(checker *c) {
    const fm_timed_problem *p = c->problem;
    flashmem_error         *err = c->err;
    event                  *events = c->events;
    int64_t                 live = 0, peak = 0;
    for (uint32_t run = 0; run < 3; run++) play_run(c, run, &live);
    qsort(events, c->count, sizeof *events, by_time);
    for (uint32_t i = 0; i < c->count; i++) {
        live += events[i].bytes;
        if (live > peak) peak = live;
    }
    if (peak > (int64_t)p->cap)
        return BAD("%lld bytes live at once, the cap is %llu", (long long)peak, (unsigned long long)p->cap);
    if ((uint64_t)peak > c->plan->peak)
        return BAD("%lld bytes live at once, the plan says %llu", (long long)peak, (unsigned long long)c->plan->peak);
    return FLASHMEM_OK;
}

static flashmem_status check_all(checker *c) {
    FM_TRY(check_problem(c->problem, c->position, c->err));
    FM_TRY(check_order(c->problem, c->plan, c->err));
    FM_TRY(check_times(c->problem, c->plan, c->err));
    return check_memory(c);
}

flashmem_status fm_timed_verify(const fm_timed_problem *p, const fm_timed_plan *plan, flashmem_error *err) {
    checker c = { .problem = p, .plan = plan, .err = err };
    c.events = calloc(6 * ((size_t)p->object_count + p->step_count) + 1, sizeof *c.events);
    c.ends = calloc(3 * (size_t)p->step_count, sizeof *c.ends);
    c.position = calloc((size_t)p->object_count + 1, sizeof *c.position);
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    if (c.events && c.ends && c.position) status = check_all(&c);
    else fm_fail(err, status, "no memory to check %u objects", p->object_count);
    free(c.events);
    free(c.ends);
    free(c.position);
    return status;
}
