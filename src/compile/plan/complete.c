/* x and z from p alone.
 *
 * Backwards in time a weight's first use is its release date, a step a slot that serves `capacity` chunks, and
 * first - z its flow time: one machine, preemption, sum of completion times.  Serving the weight with the shortest
 * remainder is optimal for any capacities (L. Schrage, 1968), and being work-conserving it keeps the backlog, so C2's
 * F, least at every step.  Where distance is paid by the chunk every work-conserving order costs the same. */
#include <string.h>

#include "compile/plan/solvers.h"

typedef struct waiting {
    uint32_t rest, weight;
} waiting;

typedef struct heap {
    waiting *items;
    uint32_t count;
} heap;

static bool before(const waiting *a, const waiting *b) {
    return a->rest != b->rest ? a->rest < b->rest : a->weight < b->weight;
}

static void heap_push(heap *h, waiting item) {
    uint32_t at = h->count++;
    for (; at && before(&item, &h->items[(at - 1) / 2]); at = (at - 1) / 2) h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = item;
}

static void heap_pop(heap *h) {
    waiting  item = h->items[--h->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && before(&h->items[child + 1], &h->items[child])) child++;
        if (!before(&h->items[child], &item)) break;
        h->items[at] = h->items[child];
        at = child;
    }
    h->items[at] = item;
}

/* One step's capacity to the shortest remainders; loads are appended in falling order of steps. */
static uint64_t serve(heap *h, uint32_t step, uint32_t capacity, fm_overlap_load *loads, uint32_t *load_count) {
    uint64_t served = 0;
    while (capacity && h->count) {
        waiting *next = &h->items[0]; /* stays the smallest when it is served in part */
        uint32_t chunks = next->rest < capacity ? next->rest : capacity;
        loads[(*load_count)++] = (fm_overlap_load){ next->weight, step, chunks };
        served += chunks;
        capacity -= chunks;
        next->rest -= chunks;
        if (!next->rest) heap_pop(h);
    }
    return served;
}

/* Falling steps to rising (weight, step): counting sort by weight. */
static void sort_loads(const fm_overlap_problem *p, fm_overlap_plan *plan, const fm_overlap_load *falling,
                       uint32_t *starts) {
    for (uint32_t i = 0; i < plan->load_count; i++) starts[falling[i].weight + 1]++;
    for (uint32_t w = 0; w < p->weight_count; w++) starts[w + 1] += starts[w];
    for (uint32_t i = plan->load_count; i-- > 0;) plan->loads[starts[falling[i].weight]++] = falling[i];
}

bool fm_overlap_complete(const fm_overlap_problem *p, const uint8_t *preload, fm_arena *arena, fm_overlap_plan *plan) {
    uint32_t weights = p->weight_count, next = weights;
    /* Every load either finishes its weight or is the last of its step. */
    size_t           most = (size_t)weights + p->step_count;
    fm_overlap_load *falling = fm_arena_array(arena, most, sizeof *falling);
    uint32_t        *starts = fm_arena_array(arena, (size_t)weights + 1, sizeof *starts);
    heap             h = { .items = fm_arena_array(arena, weights, sizeof(waiting)) };
    uint64_t         backlog = 0;
    plan->preload = fm_arena_array(arena, weights, 1);
    plan->first_load = fm_arena_array(arena, weights, sizeof *plan->first_load);
    plan->load_count = 0;
    for (uint32_t w = 0; w < weights; w++) plan->preload[w] = preload[w] != 0;
    for (uint32_t step = p->step_count; step-- > 0;) {
        uint64_t in_flight = backlog;
        backlog -= serve(&h, step, p->steps[step].capacity, falling, &plan->load_count);
        for (; next && p->weights[next - 1].first == step; next--) {
            if (preload[next - 1]) continue;
            heap_push(&h, (waiting){ p->weights[next - 1].chunks, next - 1 });
            backlog += p->weights[next - 1].chunks;
            in_flight += p->weights[next - 1].chunks;
        }
        if (in_flight > p->m_peak) return false;
    }
    if (backlog) return false;
    plan->loads = fm_arena_array(arena, plan->load_count, sizeof *plan->loads);
    sort_loads(p, plan, falling, starts);
    for (uint32_t w = 0; w < weights; w++) plan->first_load[w] = FM_NO_LOAD;
    for (uint32_t i = plan->load_count; i-- > 0;) plan->first_load[plan->loads[i].weight] = plan->loads[i].step;
    plan->softened = 0;
    fm_overlap_measure(p, plan, arena);
    return true;
}

void fm_overlap_measure(const fm_overlap_problem *p, fm_overlap_plan *plan, fm_arena *arena) {
    int64_t  cost = 0, flight = 0;
    int64_t *change = fm_arena_array(arena, (size_t)p->step_count + 1, sizeof *change);
    bool     by_chunk = p->distance == FM_DISTANCE_BYTES;
    plan->preload_bytes = 0;
    plan->peak_chunks = 0;
    for (uint32_t w = 0; w < p->weight_count; w++) {
        if (plan->preload[w]) {
            cost += fm_overlap_preload_cost(p, &p->weights[w]);
            plan->preload_bytes += p->weights[w].bytes;
        } else if (!by_chunk) {
            cost += p->distance_cost * (int64_t)(p->weights[w].first - plan->first_load[w]);
        }
    }
    for (uint32_t i = 0; i < plan->load_count; i++) {
        const fm_overlap_load *load = &plan->loads[i];
        uint32_t               first = p->weights[load->weight].first;
        if (by_chunk) cost += fm_overlap_chunk_cost(p) * load->chunks * (int64_t)(first - load->step);
        change[load->step] += load->chunks;
        change[first + 1] -= load->chunks;
    }
    for (uint32_t l = 0; l < p->step_count; l++) {
        flight += change[l];
        if (flight > plan->peak_chunks) plan->peak_chunks = (uint32_t)flight;
    }
    plan->objective = cost;
}
