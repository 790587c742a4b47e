/* Random timed problems, and what their steps need by definition. */
#ifndef TESTS_SCHEDULE_INSTANCES_H
#define TESTS_SCHEDULE_INSTANCES_H

#include <stdlib.h>

#include "schedule/timed.h"

enum { MOST_STEPS = 24, MOST_OBJECTS = 24 };

typedef struct instance {
    fm_timed_step    steps[MOST_STEPS];
    fm_timed_object  objects[MOST_OBJECTS];
    fm_timed_problem problem;
} instance;

static inline int below(int n) { return rand() % n; }

static inline int by_first(const void *a, const void *b) {
    const fm_timed_object *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static inline void make_instance(instance *x, int most_steps, int most_objects, bool residents) {
    uint32_t steps = 1 + (uint32_t)below(most_steps), objects = (uint32_t)below(most_objects + 1);
    for (uint32_t k = 0; k < steps; k++)
        x->steps[k] = (fm_timed_step){ below(4) ? 0.1 + below(20) * 0.1 : 0, (uint64_t)below(below(4) ? 5 : 40) };
    for (uint32_t o = 0; o < objects; o++) {
        fm_timed_object *object = &x->objects[o];
        *object = (fm_timed_object){ .bytes = 1 + (uint64_t)below(12), .first = (uint32_t)below((int)steps) };
        object->last = object->first + (below(3) ? 0 : (uint32_t)below((int)(steps - object->first)));
        object->read_bytes = below(5) ? object->bytes : (uint64_t)below(20);
        object->convert_seconds = below(3) ? 0 : below(5) * 0.1;
        object->resident = residents && below(5) == 0;
    }
    qsort(x->objects, objects, sizeof x->objects[0], by_first);
    x->problem = (fm_timed_problem){ .steps = x->steps,
                                     .step_count = steps,
                                     .objects = x->objects,
                                     .object_count = objects,
                                     .bandwidth = 1 + below(20),
                                     .request_seconds = below(2) * 0.05,
                                     .startup_seconds = below(2) * 1.5 };
}

static inline uint64_t resident_sum(const fm_timed_problem *p) {
    uint64_t sum = 0;
    for (uint32_t o = 0; o < p->object_count; o++) sum += p->objects[o].resident ? p->objects[o].bytes : 0;
    return sum;
}

/* By definition: what each step needs, added up from nothing. */
static inline uint64_t naive_bound(const fm_timed_problem *p) {
    uint64_t bound = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        uint64_t live = p->steps[k].live_bytes + resident_sum(p);
        for (uint32_t o = 0; o < p->object_count; o++)
            if (!p->objects[o].resident && p->objects[o].first <= k && k <= p->objects[o].last)
                live += p->objects[o].bytes;
        if (live > bound) bound = live;
    }
    return bound;
}

#endif
