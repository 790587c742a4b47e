/* Checks a timed plan without the recursion: every precedence by itself, and memory by an event list over three runs in
 * a row.  Written from planning.md's statement, not from timed.c. */
#include <math.h>
#include <stdlib.h>

#include "schedule/timed.h"

#define BAD(...) fm_fail(err, FLASHMEM_INTERNAL, __VA_ARGS__)

static bool close_to(double a, double b) { return fabs(a - b) <= 1e-9 * (1 + fabs(a) + fabs(b)); }

static flashmem_status check_problem(const fm_timed_problem *p, flashmem_error *err) {
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
    for (uint32_t o = 0; o < p->object_count; o++) {
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
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_timed_object *object = &p->objects[o];
        double                 took = p->request_seconds + (double)object->read_bytes / p->bandwidth;
        if (!close_to(plan->arrival[o], plan->request[o] + took))
            return BAD("object %u: its read takes another time", o);
        if (plan->request[o] < 0 ||
            (o && plan->request[o] < plan->arrival[o - 1] && !close_to(plan->request[o], plan->arrival[o - 1])))
            return BAD("object %u: two reads at once", o);
        if (!plan->wrap[o] && plan->after[o] >= 0 && plan->request[o] < plan->end[plan->after[o]])
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

/* Memory at every event of three runs in a row, with exactly the waits that after[] and wrap[] state. */
static flashmem_status check_memory(const fm_timed_problem *p, const fm_timed_plan *plan, event *events, double *ends,
                                    double *requests, flashmem_error *err) {
    uint32_t n = p->step_count, count = 0;
    double   disk = 0;
    int64_t  live = 0, peak = 0;
    for (uint32_t run = 0; run < 3; run++) {
        double begin = run ? ends[run * n - 1] : 0;
        for (uint32_t k = 0, o = 0; k < n; k++) {
            double before = k || run ? ends[run * n + k - 1] : 0;
            double device = k || run ? before : p->startup_seconds, convert = 0;
            for (; o < p->object_count && p->objects[o].first == k; o++) {
                const fm_timed_object *object = &p->objects[o];
                if (object->resident && run) continue;
                double wait = plan->after[o] < 0 ? begin : ends[run * n + (uint32_t)plan->after[o]];
                if (plan->wrap[o]) wait = run ? ends[(run - 1) * n + (uint32_t)plan->after[o]] : 0;
                requests[o] = disk > wait ? disk : wait;
                disk = requests[o] + p->request_seconds + (double)object->read_bytes / p->bandwidth;
                if (disk > device) device = disk;
                convert += object->convert_seconds;
                if (object->resident) live += (int64_t)object->bytes; /* set aside from the start */
                else events[count++] = (event){ requests[o], (int64_t)object->bytes, 1 };
            }
            ends[run * n + k] = device + convert + p->steps[k].seconds;
            events[count++] = (event){ before, (int64_t)p->steps[k].live_bytes, 1 };
            events[count++] = (event){ ends[run * n + k], -(int64_t)p->steps[k].live_bytes, 0 };
        }
        for (uint32_t o = 0; o < p->object_count; o++)
            if (!p->objects[o].resident)
                events[count++] = (event){ ends[run * n + p->objects[o].last], -(int64_t)p->objects[o].bytes, 0 };
    }
    qsort(events, count, sizeof *events, by_time);
    for (uint32_t i = 0; i < count; i++) {
        live += events[i].bytes;
        if (live > peak) peak = live;
    }
    if (peak > (int64_t)p->cap)
        return BAD("%lld bytes live at once, the cap is %llu", (long long)peak, (unsigned long long)p->cap);
    if ((uint64_t)peak > plan->peak)
        return BAD("%lld bytes live at once, the plan says %llu", (long long)peak, (unsigned long long)plan->peak);
    return FLASHMEM_OK;
}

flashmem_status fm_timed_verify(const fm_timed_problem *p, const fm_timed_plan *plan, flashmem_error *err) {
    FM_TRY(check_problem(p, err));
    FM_TRY(check_order(p, plan, err));
    FM_TRY(check_times(p, plan, err));
    size_t          count = 6 * ((size_t)p->object_count + p->step_count);
    event          *events = calloc(count + 1, sizeof *events);
    double         *ends = calloc(3 * (size_t)p->step_count, sizeof *ends);
    double         *requests = calloc((size_t)p->object_count + 1, sizeof *requests);
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    if (events && ends && requests) status = check_memory(p, plan, events, ends, requests, err);
    else fm_fail(err, status, "no memory to check %u objects", p->object_count);
    free(events);
    free(ends);
    free(requests);
    return status;
}
