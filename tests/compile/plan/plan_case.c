/* Overlap problems for tests. */
#include "tests/compile/plan/plan_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20 };

#define ANY 0
const plan_regime plan_regimes[] = {
    /* name             steps weights chunk    capacity chunks m_peak due sizes lambda bytes */
    { "plain", 12, 9, 256 * KIB, 3, 6, 40, ANY, ANY, 0.9, false },
    { "starved", 14, 10, 256 * KIB, 1, 7, 40, ANY, ANY, 0.9, false },
    { "binding peak", 12, 10, 256 * KIB, 4, 6, 9, ANY, ANY, 0.9, false },
    { "tiny peak", 12, 9, 256 * KIB, 4, 5, 3, ANY, ANY, 0.9, false },
    { "many at one step", 12, 11, 256 * KIB, 4, 4, 30, 2, 3, 0.9, false },
    { "equal sizes", 16, 11, 256 * KIB, 2, 6, 24, 5, 1, 0.9, false },
    { "no capacity", 10, 8, 256 * KIB, 0, 4, 20, ANY, ANY, 0.9, false },
    { "ample", 12, 9, 256 * KIB, 12, 5, 100, ANY, ANY, 0.9, false },
    { "chunk 64 KiB", 12, 9, 64 * KIB, 9, 30, 100, ANY, ANY, 0.9, false },
    { "chunk 1 MiB", 14, 9, 1024 * KIB, 2, 3, 12, ANY, ANY, 0.9, false },
    { "odd chunk", 12, 9, 100 * 999, 4, 12, 40, ANY, ANY, 0.9, false },
    { "lambda 0.5", 12, 9, 256 * KIB, 3, 9, 20, ANY, ANY, 0.5, false },
    { "lambda 0", 10, 7, 256 * KIB, 3, 6, 20, ANY, ANY, 0.0, false },
    { "lambda 1", 12, 9, 256 * KIB, 2, 6, 12, ANY, ANY, 1.0, false },
    { "lambda 0.997", 14, 10, 256 * KIB, 2, 6, 20, ANY, ANY, 0.997, false },
    { "long", 40, 12, 256 * KIB, 2, 12, 50, 9, 4, 0.95, false },
    { "bytes", 12, 9, 256 * KIB, 3, 6, 20, ANY, ANY, 0.9, true },
    { "bytes starved", 14, 10, 256 * KIB, 1, 7, 12, 4, ANY, 0.97, true },
    { "bytes odd chunk", 12, 9, 100 * 999, 4, 12, 20, ANY, 4, 0.95, true },
};
#undef ANY
const uint32_t plan_regime_count = sizeof plan_regimes / sizeof *plan_regimes;

uint32_t plan_random(uint64_t *seed, uint32_t below) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (uint32_t)((*seed >> 33) % below) : 0;
}

static int by_first(const void *a, const void *b) {
    const plan_weight *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void must(flashmem_status status, const flashmem_error *err) {
    if (status == FLASHMEM_OK) return;
    fprintf(stderr, "%s\n", err->message);
    abort();
}

static fm_overlap_problem *make(const char *name, const uint64_t *capacity_bytes, uint32_t steps,
                                const plan_weight *weights, uint32_t weight_count, uint64_t chunk,
                                uint64_t m_peak_bytes, fm_overlap_distance distance, double lambda, fm_arena *arena) {
    fm_overlap_problem *p = fm_arena_alloc(arena, sizeof *p);
    fm_overlap_step    *s = fm_arena_array(arena, steps, sizeof *s);
    fm_overlap_weight  *w = fm_arena_array(arena, weight_count, sizeof *w);
    flashmem_error      err = { 0 };
    for (uint32_t l = 0; l < steps; l++)
        s[l] = (fm_overlap_step){ .name = fm_arena_printf(arena, "s%u", l), .capacity_bytes = capacity_bytes[l] };
    for (uint32_t i = 0; i < weight_count; i++)
        w[i] = (fm_overlap_weight){ .name = fm_arena_printf(arena, "w%u", i),
                                    .bytes = weights[i].bytes,
                                    .first = weights[i].first,
                                    .last = weights[i].first };
    *p = (fm_overlap_problem){ .name = name,
                               .step_count = steps,
                               .weight_count = weight_count,
                               .chunk_bytes = chunk,
                               .m_peak_bytes = m_peak_bytes,
                               .distance = distance };
    must(fm_overlap_problem_finish(p, s, w, lambda, &err), &err);
    return p;
}

fm_overlap_problem *plan_case_make(const uint64_t *capacity_bytes, uint32_t steps, const plan_weight *weights,
                                   uint32_t weight_count, uint64_t chunk, uint64_t m_peak_bytes, fm_arena *arena) {
    return make("case", capacity_bytes, steps, weights, weight_count, chunk, m_peak_bytes, FM_DISTANCE_WEIGHTS, 0.9,
                arena);
}

fm_overlap_problem *plan_case_random(const plan_regime *r, uint64_t seed, fm_arena *arena) {
    uint64_t     random = seed * 2654435761u + 12345;
    uint32_t     steps = 1 + plan_random(&random, r->most_steps), count = plan_random(&random, r->most_weights + 1);
    uint64_t    *capacity = fm_arena_array(arena, steps, sizeof *capacity);
    plan_weight *weights = fm_arena_array(arena, r->most_weights, sizeof *weights);
    uint64_t     sizes[4];
    uint32_t     dues[16];
    for (uint32_t l = 0; l < steps; l++)
        capacity[l] = plan_random(&random, 3)
                          ? r->chunk * plan_random(&random, r->capacity + 1) + plan_random(&random, (uint32_t)r->chunk)
                          : 0;
    if (!r->capacity) memset(capacity, 0, steps * sizeof *capacity);
    for (uint32_t i = 0; i < 4; i++) sizes[i] = r->chunk * plan_random(&random, r->most_chunks) + 1;
    for (uint32_t i = 0; i < 16; i++) dues[i] = plan_random(&random, steps);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t any = r->chunk * plan_random(&random, r->most_chunks) + plan_random(&random, (uint32_t)r->chunk);
        weights[i].bytes = r->sizes ? sizes[plan_random(&random, r->sizes)] : any;
        weights[i].first = r->due_steps ? dues[plan_random(&random, r->due_steps)] : plan_random(&random, steps);
    }
    qsort(weights, count, sizeof *weights, by_first);
    return make(r->name, capacity, steps, weights, count, r->chunk, r->chunk * plan_random(&random, r->m_peak + 1),
                r->by_bytes ? FM_DISTANCE_BYTES : FM_DISTANCE_WEIGHTS, r->lambda, arena);
}

/* ---- transformers ---- */

typedef struct stack {
    uint64_t    *capacity;
    plan_weight *weights;
    uint32_t     steps, count;
    uint64_t     slab;
} stack;

/* The recipe's step: A computes 1.0 TMAC/s, memory moves 60 GB/s, texture 65 GB/s. */
static void add_step(stack *s, double macs, double activation_bytes, uint64_t weight_bytes, double allowance) {
    double compute = macs / 1e12, memory = (activation_bytes + (double)weight_bytes) / 60e9;
    double seconds = (compute > memory ? compute : memory) + 5e-6;
    for (uint64_t left = weight_bytes; left;) {
        uint64_t bytes = s->slab && left > s->slab ? s->slab : left;
        s->weights[s->count++] = (plan_weight){ s->steps, bytes };
        left -= bytes;
    }
    s->capacity[s->steps++] = (uint64_t)(allowance * seconds * 65e9);
}

static void add_layer(stack *s, const plan_transformer *t) {
    double   tokens = t->tokens, width = t->width, inner = t->inner, io = 4 * tokens * width;
    uint64_t square = 2 * (uint64_t)t->width * t->width, wide = 2 * (uint64_t)t->width * t->inner;
    double   elementwise = 3, reusable = 0.2;
    add_step(s, 0, io, 2 * t->width, 0); /* norm */
    for (int i = 0; i < 3; i++) add_step(s, tokens * width * width, io, square, reusable);
    add_step(s, tokens * tokens * width, io, 0, reusable);
    add_step(s, 0, 4 * tokens * tokens * width / 128, 0, 0); /* softmax */
    add_step(s, tokens * tokens * width, io, 0, reusable);
    add_step(s, tokens * width * width, io, square, reusable);
    if (!t->fused) add_step(s, 0, 6 * tokens * width, 0, elementwise);
    add_step(s, 0, io, 2 * t->width, 0); /* norm */
    for (int i = 0; i < 2; i++) add_step(s, tokens * width * inner, 2 * tokens * (width + inner), wide, reusable);
    if (!t->fused) add_step(s, 0, 6 * tokens * inner, 0, elementwise);
    add_step(s, tokens * width * inner, 2 * tokens * (width + inner), wide, reusable);
    if (!t->fused) add_step(s, 0, 6 * tokens * width, 0, elementwise);
}

fm_overlap_problem *plan_case_transformer(const plan_transformer *t, fm_arena *arena) {
    uint64_t largest = 2 * (uint64_t)t->width * (t->inner > t->vocabulary ? t->inner : t->vocabulary);
    size_t   parts = t->slab ? (size_t)(largest / t->slab + 1) : 1;
    stack    s = { .capacity = fm_arena_array(arena, 16 * ((size_t)t->layers + 1), sizeof(uint64_t)),
                   .weights = fm_arena_array(arena, 9 * parts * ((size_t)t->layers + 1), sizeof(plan_weight)),
                   .slab = t->slab };
    add_step(&s, 0, 4.0 * t->tokens * t->width, 2 * (uint64_t)t->tokens * t->width, 0.2); /* rows of the table */
    for (uint32_t i = 0; i < t->layers; i++) add_layer(&s, t);
    add_step(&s, (double)t->tokens * t->width * t->vocabulary, 2.0 * t->tokens * t->vocabulary,
             2 * (uint64_t)t->width * t->vocabulary, 0.2);
    return make("transformer", s.capacity, s.steps, s.weights, s.count, t->chunk, 500000000, FM_DISTANCE_WEIGHTS, 0.9,
                arena);
}

/* ---- trying everything ---- */

static int64_t preload_cost(const fm_overlap_problem *p, uint32_t choice) {
    int64_t cost = 0;
    for (uint32_t w = 0; w < p->weight_count; w++)
        if (choice >> w & 1) cost += p->preload_cost * (int64_t)((p->weights[w].bytes + 1023) / 1024);
    return cost;
}

/* Distance of one choice, chunk by chunk; -1 where capacities or the peak do not allow it. */
static int64_t shortest_first(const fm_overlap_problem *p, uint32_t choice) {
    uint32_t rest[16] = { 0 };
    uint64_t waiting = 0;
    int64_t  cost = 0;
    for (uint32_t l = p->step_count; l-- > 0;) {
        uint64_t flight = waiting;
        for (uint32_t w = 0; w < p->weight_count; w++)
            if (rest[w] && p->distance == FM_DISTANCE_WEIGHTS) cost += p->distance_cost;
        if (p->distance == FM_DISTANCE_BYTES)
            cost += (int64_t)(waiting * p->chunk_bytes * (uint64_t)p->distance_cost >> 20);
        for (uint32_t left = p->steps[l].capacity; left && waiting; left--, waiting--) {
            uint32_t shortest = 16;
            for (uint32_t w = 0; w < p->weight_count; w++)
                if (rest[w] && (shortest == 16 || rest[w] < rest[shortest])) shortest = w;
            rest[shortest]--;
        }
        for (uint32_t w = 0; w < p->weight_count; w++)
            if (p->weights[w].first == l && !(choice >> w & 1)) {
                rest[w] = p->weights[w].chunks;
                waiting += rest[w];
                flight += rest[w];
            }
        if (flight > p->m_peak) return -1;
    }
    return waiting ? -1 : cost;
}

int64_t plan_brute_force(const fm_overlap_problem *p) {
    int64_t best = INT64_MAX;
    for (uint32_t choice = 0; choice < 1u << p->weight_count; choice++) {
        int64_t distance = shortest_first(p, choice), cost = distance + preload_cost(p, choice);
        if (distance >= 0 && cost < best) best = cost;
    }
    return best;
}

typedef struct every_load {
    const fm_overlap_problem *p;
    uint32_t                  choice, x[6][16];
    int64_t                   best;
} every_load;

/* The sums of C0, C2 and the objective as they are written down. */
static void judge(every_load *e) {
    const fm_overlap_problem *p = e->p;
    int64_t                   cost = preload_cost(p, e->choice);
    for (uint32_t l = 0; l < p->step_count; l++) {
        uint64_t flight = 0;
        for (uint32_t w = 0; w < p->weight_count; w++)
            for (uint32_t k = 0; k <= l && p->weights[w].first >= l; k++) flight += e->x[w][k];
        if (flight > p->m_peak) return;
    }
    for (uint32_t w = 0; w < p->weight_count; w++) {
        uint32_t first = p->weights[w].first;
        bool     started = false;
        for (uint32_t l = 0; l < first; l++) {
            if (p->distance == FM_DISTANCE_BYTES)
                cost += (int64_t)(e->x[w][l] * (uint64_t)(first - l) * p->chunk_bytes * (uint64_t)p->distance_cost >>
                                  20);
            else if (e->x[w][l] && !started) cost += p->distance_cost * (int64_t)(first - l);
            started = started || e->x[w][l];
        }
    }
    if (cost < e->best) e->best = cost;
}

/* Every way to spread weight w's chunks over the steps from l on that come before its first use. */
static void spread(every_load *e, uint32_t w, uint32_t l, uint32_t left, uint32_t *room) {
    const fm_overlap_problem *p = e->p;
    if (w == p->weight_count) {
        judge(e);
        return;
    }
    if (!left) {
        uint32_t next = w + 1;
        spread(e, next, 0, next < p->weight_count && !(e->choice >> next & 1) ? p->weights[next].chunks : 0, room);
        return;
    }
    if (l >= p->weights[w].first) return;
    uint32_t most = room[l] < left ? room[l] : left;
    for (uint32_t chunks = 0; chunks <= most; chunks++) {
        e->x[w][l] = chunks;
        room[l] -= chunks;
        spread(e, w, l + 1, left - chunks, room);
        room[l] += chunks;
        e->x[w][l] = 0;
    }
}

int64_t plan_brute_force_loads(const fm_overlap_problem *p) {
    every_load e = { .p = p, .best = INT64_MAX };
    for (e.choice = 0; e.choice < 1u << p->weight_count; e.choice++) {
        uint32_t room[16] = { 0 };
        for (uint32_t l = 0; l < p->step_count; l++) room[l] = p->steps[l].capacity;
        spread(&e, 0, 0, p->weight_count && !(e.choice & 1) ? p->weights[0].chunks : 0, room);
    }
    return e.best;
}
