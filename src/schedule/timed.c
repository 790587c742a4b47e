/* The timed recursion.
 *
 * Objects are requested in read order, so whoever requests object o has requested everything before it.  With P(o) = streamed
 * bytes up to and including o and Rel(k) = streamed bytes whose last use lies before step k, memory during step k is
 * P(o) - Rel(k) + act_k + residents while o is the newest request: it must not be requested before the end of the last
 * step k for which that exceeds the cap.  Two runs in a row are the same with 2N steps. */
#include "schedule/timed.h"

#include <assert.h>
#include <string.h>

void fm_timed_plan_init(fm_timed_plan *plan, const fm_timed_problem *problem, fm_arena *arena) {
    uint32_t objects = problem->object_count, steps = problem->step_count;
    *plan = (fm_timed_plan){
        .after = fm_arena_array(arena, objects, sizeof *plan->after),
        .wrap = fm_arena_array(arena, objects, sizeof *plan->wrap),
        .request = fm_arena_array(arena, objects, sizeof *plan->request),
        .arrival = fm_arena_array(arena, objects, sizeof *plan->arrival),
        .start = fm_arena_array(arena, steps, sizeof *plan->start),
        .end = fm_arena_array(arena, steps, sizeof *plan->end),
        .due = fm_arena_array(arena, objects, sizeof *plan->due),
        .room = fm_arena_array(arena, 2 * (size_t)steps, sizeof *plan->room),
        .queue = fm_arena_array(arena, 2 * (size_t)steps, sizeof *plan->queue),
    };
}

/* The i-th object that is read. */
static uint32_t read_at(const fm_timed_problem *p, uint32_t i) { return p->read_order ? p->read_order[i] : i; }

void fm_timed_due(const fm_timed_problem *p, uint32_t *due) {
    uint32_t least = UINT32_MAX;
    for (uint32_t i = p->object_count; i-- > 0;) {
        uint32_t o = read_at(p, i);
        if (p->objects[o].first < least) least = p->objects[o].first;
        due[o] = least;
    }
}

static uint64_t resident_bytes(const fm_timed_problem *p) {
    uint64_t bytes = 0;
    for (uint32_t o = 0; o < p->object_count; o++)
        if (p->objects[o].resident) bytes += p->objects[o].bytes;
    return bytes;
}

/* room[k] = cap - residents - act_k + Rel(k), for `runs` runs in a row; returns streamed bytes of one run. */
static int64_t fill_room(const fm_timed_problem *p, uint32_t runs, int64_t *room) {
    uint32_t steps = p->step_count;
    int64_t  streamed = 0, base = (int64_t)p->cap - (int64_t)resident_bytes(p);
    memset(room, 0, runs * (size_t)steps * sizeof *room);
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_timed_object *object = &p->objects[o];
        if (object->resident) continue;
        streamed += (int64_t)object->bytes;
        for (uint32_t r = 0; r < runs; r++) {
            size_t next = r * (size_t)steps + object->last + 1;
            if (next < runs * (size_t)steps) room[next] += (int64_t)object->bytes;
        }
    }
    int64_t released = 0;
    for (uint32_t k = 0; k < runs * steps; k++) {
        released += room[k];
        room[k] = base - (int64_t)p->steps[k % steps].live_bytes + released;
    }
    return streamed;
}

/* Every step must hold what it needs itself, and what is read before that. */
static bool feasible(const fm_timed_problem *p, const uint32_t *due, const int64_t *room) {
    int64_t requested = 0;
    for (uint32_t k = 0, i = 0; k < p->step_count; k++) {
        for (; i < p->object_count && due[read_at(p, i)] <= k; i++)
            if (!p->objects[read_at(p, i)].resident) requested += (int64_t)p->objects[read_at(p, i)].bytes;
        if (room[k] < requested) return false;
    }
    return true;
}

/* barrier(o) = max{k <= bound(o) : room[k] < P(o)} for growing P and bound: the queue holds the steps that no later
 * step with as little room hides, their room rising, so that the steps in the way of P are its front. */
typedef struct barrier {
    const int64_t *room;
    uint32_t      *queue;
    uint32_t       head, tail, next;
    int32_t        at;
} barrier;

static int32_t barrier_for(barrier *b, uint32_t bound, int64_t requested) {
    for (; b->next <= bound; b->next++) {
        while (b->tail > b->head && b->room[b->queue[b->tail - 1]] >= b->room[b->next]) b->tail--;
        b->queue[b->tail++] = b->next;
    }
    while (b->head < b->tail && b->room[b->queue[b->head]] < requested) b->at = (int32_t)b->queue[b->head++];
    return b->at;
}

/* least: what each object's request waits for in any case, or NULL. */
static bool solve_order(const fm_timed_problem *p, const int32_t *least, fm_timed_plan *plan) {
    int64_t requested = 0;
    int32_t floor = FM_AFTER_START;
    fill_room(p, 1, plan->room);
    fm_timed_due(p, plan->due);
    if (!feasible(p, plan->due, plan->room)) return false;
    barrier b = { .room = plan->room, .queue = plan->queue, .at = FM_AFTER_START };
    for (uint32_t i = 0; i < p->object_count; i++) {
        uint32_t o = read_at(p, i);
        plan->wrap[o] = 0;
        if (least && least[o] > floor) floor = least[o];
        plan->after[o] = FM_AFTER_START;
        if (p->objects[o].resident) continue; /* its memory is always there */
        requested += (int64_t)p->objects[o].bytes;
        plan->after[o] = barrier_for(&b, plan->due[o], requested);
        if (plan->after[o] < floor) plan->after[o] = floor;
        if (plan->after[o] >= (int32_t)plan->due[o]) plan->after[o] = (int32_t)plan->due[o] - 1;
    }
    fm_timed_replay(p, plan);
    return true;
}

bool fm_timed_solve(const fm_timed_problem *p, fm_timed_plan *plan) { return solve_order(p, NULL, plan); }

bool fm_timed_hold(const fm_timed_problem *p, fm_timed_plan *plan) { return solve_order(p, plan->after, plan); }

bool fm_timed_solve_steady(const fm_timed_problem *p, fm_timed_plan *plan) {
    if (!fm_timed_solve(p, plan)) return false;
    int64_t requested = fill_room(p, 2, plan->room);
    int32_t steps = (int32_t)p->step_count, floor = FM_AFTER_START;
    barrier b = { .room = plan->room, .queue = plan->queue, .at = FM_AFTER_START };
    for (uint32_t i = 0; i < p->object_count && plan->after[read_at(p, i)] == FM_AFTER_START; i++) {
        uint32_t               o = read_at(p, i);
        const fm_timed_object *object = &p->objects[o];
        if (object->resident) continue;
        requested += (int64_t)object->bytes;
        int32_t at = barrier_for(&b, p->step_count + plan->due[o], requested);
        if (at > floor) floor = at;
        if ((int32_t)object->last > floor) floor = (int32_t)object->last;
        if (floor >= steps - 1) break; /* free at the start of the run at best: so are all behind it */
        plan->after[o] = floor;
        plan->wrap[o] = 1;
    }
    fm_timed_replay(p, plan);
    return true;
}

static double read_seconds(const fm_timed_problem *p, const fm_timed_object *object) {
    return (double)object->read_bytes / p->bandwidth;
}

static double larger(double a, double b) { return a > b ? a : b; }

/* End of reading an object that may be asked for at `free`, the disk being at work until `disk`: several requests are in
 * flight, so that what one costs is hidden behind the others. */
static double arrival_of(const fm_timed_problem *p, const fm_timed_object *object, double free, double disk) {
    return larger(disk, free + p->request_seconds) + read_seconds(p, object);
}

/* Largest sum over the steps of what the intervals after+1..last say. */
static uint64_t structural_peak(const fm_timed_problem *p, const fm_timed_plan *plan) {
    int64_t *change = plan->room, live = (int64_t)resident_bytes(p), peak = 0;
    memset(change, 0, ((size_t)p->step_count + 1) * sizeof *change);
    for (uint32_t o = 0; o < p->object_count; o++) {
        const fm_timed_object *object = &p->objects[o];
        int64_t                bytes = (int64_t)object->bytes;
        if (object->resident) continue;
        change[plan->after[o] + 1] += bytes;
        if (plan->wrap[o]) live += bytes;
        if (object->last + 1 < p->step_count) change[object->last + 1] -= bytes;
    }
    for (uint32_t k = 0; k < p->step_count; k++) {
        live += change[k];
        if (live + (int64_t)p->steps[k].live_bytes > peak) peak = live + (int64_t)p->steps[k].live_bytes;
    }
    return (uint64_t)peak;
}

/* Of the objects first used by step k that are read in this run; they are sorted by first use, *o is the next. */
static double conversion_of(const fm_timed_problem *p, uint32_t k, bool first_run, uint32_t *o) {
    double seconds = 0;
    for (; *o < p->object_count && p->objects[*o].first <= k; ++*o)
        if (first_run || !p->objects[*o].resident) seconds += p->objects[*o].convert_seconds;
    return seconds;
}

void fm_timed_replay(const fm_timed_problem *p, fm_timed_plan *plan) {
    double   disk = 0, device = p->startup_seconds;
    uint32_t read = 0, used = 0;
    plan->stall = 0;
    fm_timed_due(p, plan->due);
    for (uint32_t k = 0; k < p->step_count; k++) {
        double arrived = 0;
        for (; read < p->object_count && plan->due[read_at(p, read)] <= k; read++) {
            uint32_t o = read_at(p, read);
            bool     at_start = plan->wrap[o] || plan->after[o] < 0;
            double   free = at_start ? 0 : plan->end[plan->after[o]];
            plan->request[o] = larger(disk, free);
            plan->arrival[o] = disk = arrival_of(p, &p->objects[o], free, disk);
            arrived = disk;
        }
        if (arrived > device) plan->stall += arrived - device;
        plan->start[k] = larger(device, arrived) + conversion_of(p, k, true, &used);
        plan->end[k] = device = plan->start[k] + p->steps[k].seconds;
    }
    plan->latency = device;
    plan->peak = structural_peak(p, plan);
}

double fm_timed_period(const fm_timed_problem *p, const fm_timed_plan *plan, fm_arena *scratch) {
    double   *ends[2], disk = 0, device = p->startup_seconds, begin = 0;
    uint32_t *due = fm_arena_array(scratch, p->object_count, sizeof *due);
    for (int i = 0; i < 2; i++) ends[i] = fm_arena_array(scratch, p->step_count, sizeof(double));
    fm_timed_due(p, due);
    for (int run = 0; run < 3; run++) {
        double       *end = ends[run & 1];
        const double *previous = ends[(run + 1) & 1];
        uint32_t      read = 0, used = 0;
        begin = run ? device : 0;
        for (uint32_t k = 0; k < p->step_count; k++) {
            double arrived = 0;
            for (; read < p->object_count && due[read_at(p, read)] <= k; read++) {
                uint32_t o = read_at(p, read);
                if (p->objects[o].resident && run) continue;
                double free = plan->wrap[o]        ? (run ? previous[plan->after[o]] : 0)
                              : plan->after[o] < 0 ? begin
                                                   : end[plan->after[o]];
                arrived = disk = arrival_of(p, &p->objects[o], free, disk);
            }
            device = end[k] = larger(device, arrived) + conversion_of(p, k, run == 0, &used) + p->steps[k].seconds;
        }
    }
    return device - begin;
}

uint64_t fm_timed_minimum_bound(const fm_timed_problem *p, fm_arena *scratch) {
    uint64_t *released = fm_arena_array(scratch, (size_t)p->step_count + 1,
                                        sizeof *released); /* after the step before */
    uint32_t *due = fm_arena_array(scratch, p->object_count, sizeof *due);
    uint64_t  bound = 0, live = resident_bytes(p);
    uint32_t  i = 0;
    fm_timed_due(p, due);
    for (uint32_t o = 0; o < p->object_count; o++)
        if (!p->objects[o].resident) released[p->objects[o].last + 1] += p->objects[o].bytes;
    for (uint32_t k = 0; k < p->step_count; k++) {
        for (; i < p->object_count && due[read_at(p, i)] <= k; i++)
            if (!p->objects[read_at(p, i)].resident) live += p->objects[read_at(p, i)].bytes;
        live -= released[k];
        if (live + p->steps[k].live_bytes > bound) bound = live + p->steps[k].live_bytes;
    }
    return bound;
}

static double latency_at(fm_timed_problem *p, fm_timed_plan *plan, uint64_t cap, double bandwidth) {
    p->cap = cap;
    p->bandwidth = bandwidth;
    return fm_timed_solve(p, plan) ? plan->latency : -1;
}

uint64_t fm_timed_least_memory(const fm_timed_problem *problem, double eps, uint64_t high, fm_arena *scratch) {
    static const double factors[3] = { 0.7, 1.0, 1.4 };
    fm_timed_problem    p = *problem;
    fm_timed_plan       plan;
    double              allowed[3];
    fm_timed_plan_init(&plan, problem, scratch);
    for (int i = 0; i < 3; i++) {
        allowed[i] = latency_at(&p, &plan, high, problem->bandwidth * factors[i]) * (1 + eps);
        if (allowed[i] < 0) return high; /* infeasible: nothing below can be better */
    }
    uint64_t low = fm_timed_minimum_bound(problem, scratch), step = high / 512 + 4096;
    while (low + step < high) { /* high always holds the allowance */
        uint64_t middle = low + (high - low) / 2;
        bool     holds = true;
        for (int i = 0; i < 3 && holds; i++) {
            double latency = latency_at(&p, &plan, middle, problem->bandwidth * factors[i]);
            holds = latency >= 0 && latency <= allowed[i];
        }
        if (holds) high = middle;
        else low = middle;
    }
    return high;
}

void fm_timed_delay_reads(const fm_timed_problem *p, fm_timed_plan *plan) {
    assert(!p->read_order);
    double   latest = plan->latency; /* when the read behind this one begins */
    int32_t  limit = INT32_MAX;      /* after[] of the streamed object behind this one */
    uint32_t step = p->step_count;
    double   convert = 0; /* of all objects of one step: it begins when the last has arrived */
    for (uint32_t o = p->object_count; o-- > 0;) {
        const fm_timed_object *object = &p->objects[o];
        if (object->first != step) {
            step = object->first;
            convert = 0;
            for (uint32_t i = o + 1; i-- > 0 && p->objects[i].first == step;) convert += p->objects[i].convert_seconds;
        }
        double due = plan->start[step] - convert;
        latest = (due < latest ? due : latest) - read_seconds(p, object);
        if (object->resident) continue;
        int32_t k = (int32_t)step - 1 < limit ? (int32_t)step - 1 : limit;
        while (k > plan->after[o] && plan->end[k] + p->request_seconds > latest) k--;
        if (!plan->wrap[o] && k > plan->after[o]) plan->after[o] = k;
        limit = plan->wrap[o] ? FM_AFTER_START : plan->after[o];
    }
    fm_timed_replay(p, plan);
}

double fm_timed_average_memory(const fm_timed_problem *p, const fm_timed_plan *plan) {
    double sum = 0, before = 0;
    for (uint32_t o = 0; o < p->object_count; o++) {
        double until = p->objects[o].resident ? plan->latency : plan->end[p->objects[o].last];
        sum += (double)p->objects[o].bytes * (until - plan->request[o]);
    }
    for (uint32_t k = 0; k < p->step_count; k++) {
        sum += (double)p->steps[k].live_bytes * (plan->end[k] - before);
        before = plan->end[k];
    }
    return plan->latency > 0 ? sum / plan->latency : 0;
}
