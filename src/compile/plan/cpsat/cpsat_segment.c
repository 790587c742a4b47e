/* Cutting the overlap problem into segments, exactly.
 *
 * With fewer weights streamed the backlog D_l (chunks that must be there by the end of step l for later steps) is
 * nowhere larger.  So where D_l, with every weight streamed, fits the capacity of step l alone, and C2 holds there,
 * what is due after l needs no step before l, and what is due at or before l uses none from l on: the problem falls
 * apart. */
#include <inttypes.h>
#include <string.h>

#include "compile/plan/cpsat/cpsat_segment.h"

#define MOST_COST (INT64_C(1) << 50) /* doubles hold it exactly, and sums of two */

typedef struct cutter {
    const fm_overlap_problem *problem;
    fm_arena                 *arena;
    uint8_t                  *preload;
    int64_t                   step_cost;
    uint64_t                 *before;        /* [steps + 1] capacity of the steps before */
    uint32_t                 *slots;         /* steps with capacity */
    uint32_t                 *slot_below;    /* [steps + 1] how many of them lie before */
    int64_t                  *costs;         /* [weights] of preloading */
    uint32_t                 *least;         /* [weights] distance that it must have */
    uint64_t                 *backlog, *due; /* [steps] of D and A, in chunks */
    fm_cpsat_segment         *segments;
    size_t                    count, capacity;
} cutter;

/* --- what is preloaded in some optimum ---------------------------------------------------------------------------- */

/* The last step from which the steps up to `first` hold the chunks; false when none does. */
static bool latest_start(const cutter *c, const fm_overlap_weight *w, uint32_t *step) {
    uint32_t low = 0, high = w->first;
    if (c->before[w->first] < w->chunks) return false;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (c->before[w->first] - c->before[middle] >= w->chunks) low = middle;
        else high = middle;
    }
    *step = low;
    return true;
}

/* What streaming the weight costs at least, were it alone. */
static int64_t least_cost(const cutter *c, const fm_overlap_weight *w, uint32_t start) {
    if (c->problem->distance == FM_DISTANCE_WEIGHTS) return c->step_cost * (int64_t)(w->first - start);
    int64_t  cost = 0;
    uint64_t left = w->chunks;
    for (uint32_t u = c->slot_below[w->first]; left > 0; u--) {
        uint32_t step = c->slots[u - 1], take = c->problem->steps[step].capacity;
        if (take > left) take = (uint32_t)left;
        cost += c->step_cost * (int64_t)take * (int64_t)(w->first - step);
        left -= take;
    }
    return cost;
}

static void preload_dominated(cutter *c, int64_t *cost) {
    const fm_overlap_problem *p = c->problem;
    *cost = 0;
    for (uint32_t i = 0; i < p->weight_count; i++) {
        const fm_overlap_weight *w = &p->weights[i];
        uint32_t                 start = 0;
        bool                     possible = !c->preload[i] && w->chunks <= p->m_peak && latest_start(c, w, &start);
        if (possible && least_cost(c, w, start) < c->costs[i]) {
            c->least[i] = w->first - start;
        } else {
            c->preload[i] = 1;
            *cost += c->costs[i];
        }
    }
}

/* --- preparation -------------------------------------------------------------------------------------------------- */

static flashmem_status set_step_cost(cutter *c, flashmem_error *err) {
    const fm_overlap_problem *p = c->problem;
    const int64_t             mib = 1 << 20;
    if (p->distance_cost < 0 || p->preload_cost < 0)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "costs %" PRId64 " and %" PRId64 " of an overlap problem: below 0", p->preload_cost,
                       p->distance_cost);
    c->step_cost = p->distance_cost;
    if (p->distance == FM_DISTANCE_WEIGHTS) return FLASHMEM_OK;
    if (p->chunk_bytes > (uint64_t)INT64_MAX ||
        __builtin_mul_overflow(p->distance_cost, (int64_t)p->chunk_bytes, &c->step_cost))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "chunks of %" PRIu64 " bytes: costs beyond 64 bits", p->chunk_bytes);
    if (c->step_cost % mib)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "CP-SAT: a step of distance of a chunk of %" PRIu64 " bytes costs no whole number; choose a "
                       "power of two from 1 KiB on",
                       p->chunk_bytes);
    c->step_cost /= mib;
    return FLASHMEM_OK;
}

/* Every weight's worst cost, summed, must stay exact. */
static flashmem_status set_costs(cutter *c, flashmem_error *err) {
    const fm_overlap_problem *p = c->problem;
    int64_t                   sum = 0;
    for (uint32_t i = 0; i < p->weight_count; i++) {
        const fm_overlap_weight *w = &p->weights[i];
        uint64_t                 steps = w->first, kib = w->bytes / 1024 + (w->bytes % 1024 != 0);
        int64_t                  wait;
        if (w->first >= p->step_count || !w->chunks || (i && w[-1].first > w->first))
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "weight %u: first used by step %u of %u, %u chunks; weights must lie in order of first use",
                           i, w->first, p->step_count, w->chunks);
        if (p->distance == FM_DISTANCE_BYTES) steps *= w->chunks;
        if (__builtin_mul_overflow(c->step_cost, steps, &wait) || wait > MOST_COST ||
            __builtin_mul_overflow(p->preload_cost, kib, &c->costs[i]) || c->costs[i] > MOST_COST ||
            (sum += wait + c->costs[i]) > MOST_COST)
            return fm_fail(err, FLASHMEM_UNSUPPORTED, "CP-SAT: costs up to weight %u sum to more than 2^50", i);
    }
    return FLASHMEM_OK;
}

static void list_slots(cutter *c) {
    const fm_overlap_problem *p = c->problem;
    uint32_t                  count = 0;
    for (uint32_t l = 0; l < p->step_count; l++) {
        c->before[l + 1] = c->before[l] + p->steps[l].capacity;
        if (p->steps[l].capacity) c->slots[count++] = l;
        c->slot_below[l + 1] = count;
    }
}

/* C2 allows no backlog above m_peak, whatever is streamed. */
static void add_up_backlog(cutter *c) {
    const fm_overlap_problem *p = c->problem;
    for (uint32_t i = 0; i < p->weight_count; i++)
        if (!c->preload[i]) c->due[p->weights[i].first] += p->weights[i].chunks;
    for (uint32_t l = p->step_count; l-- > 1;) {
        uint64_t capacity = p->steps[l].capacity, rest = c->backlog[l] > capacity ? c->backlog[l] - capacity : 0;
        c->backlog[l - 1] = rest + c->due[l] < p->m_peak ? rest + c->due[l] : p->m_peak;
    }
}

/* --- segments ----------------------------------------------------------------------------------------------------- */

static uint32_t earliest_step(const cutter *c, uint32_t i) {
    uint32_t first = c->problem->weights[i].first;
    if (c->problem->distance == FM_DISTANCE_BYTES || c->step_cost == 0) return 0;
    uint64_t most = (uint64_t)(c->costs[i] - 1) / (uint64_t)c->step_cost; /* distance still cheaper than preloading */
    return most < first ? first - (uint32_t)most : 0;
}

/* Position of the first slot at or after `step`, in the segment whose position 0 is slot `base`. */
static uint32_t position_from(const cutter *c, uint32_t step, uint32_t base) {
    uint32_t u = c->slot_below[step];
    return u > base ? u - base : 0;
}

static void fill_weight(const cutter *c, const fm_cpsat_segment *s, uint32_t i, uint32_t base, fm_cpsat_weight *out) {
    const fm_overlap_weight *w = &c->problem->weights[i];
    out->chunks = w->chunks;
    out->due = w->first - c->slots[base];
    out->end = c->slot_below[w->first] - base;
    out->latest = position_from(c, w->first - c->least[i], base);
    out->earliest = position_from(c, earliest_step(c, i), base);
    out->held = out->end < s->positions && s->slots[out->end] == out->due;
    out->preload = c->costs[i];
    out->weight = i;
}

/* Weights from..to-1 (those not preloaded) over the steps from `low` on. */
static void add_segment(cutter *c, uint32_t low, uint32_t from, uint32_t to) {
    const fm_overlap_problem *p = c->problem;
    fm_cpsat_segment          s = { .m_peak = p->m_peak, .step_cost = c->step_cost, .distance = p->distance };
    uint32_t                  reach = UINT32_MAX, last = 0;
    for (uint32_t i = from; i < to; i++) {
        if (c->preload[i]) continue;
        uint32_t step = earliest_step(c, i);
        if (step < reach) reach = step;
        last = p->weights[i].first;
        s.chunks += p->weights[i].chunks;
        s.count++;
    }
    if (!s.count) return;
    uint32_t base = c->slot_below[reach > low ? reach : low];
    s.positions = c->slot_below[last] - base;
    s.slots = fm_arena_array(c->arena, s.positions, sizeof *s.slots);
    s.capacity = fm_arena_array(c->arena, s.positions, sizeof *s.capacity);
    s.weights = fm_arena_array(c->arena, s.count, sizeof *s.weights);
    for (uint32_t u = 0; u < s.positions; u++) {
        uint32_t step = c->slots[base + u];
        s.slots[u] = step - c->slots[base];
        s.capacity[u] = p->steps[step].capacity;
        if (c->backlog[step] >= p->m_peak || c->backlog[step] + c->due[step] > p->m_peak) s.peak_binds = true;
    }
    for (uint32_t i = to, k = 0; i-- > from;)
        if (!c->preload[i]) fill_weight(c, &s, i, base, &s.weights[k++]);
    FM_PUSH(c->arena, c->segments, c->count, c->capacity) = s;
}

static void find_segments(cutter *c) {
    const fm_overlap_problem *p = c->problem;
    uint32_t                  to = p->weight_count;
    for (uint32_t l = p->step_count; l-- > 0;) {
        bool separates = c->backlog[l] <= p->steps[l].capacity && c->backlog[l] + c->due[l] <= p->m_peak;
        if (!separates && l > 0) continue;
        uint32_t from = to;
        while (from > 0 && p->weights[from - 1].first > l) from--;
        add_segment(c, l, from, to);
        to = from;
    }
}

flashmem_status fm_cpsat_cut(const fm_overlap_problem *problem, fm_arena *arena, uint8_t *preload, int64_t *cost,
                             fm_cpsat_segment **segments, uint32_t *count, flashmem_error *err) {
    uint32_t steps = problem->step_count, weights = problem->weight_count;
    cutter   c = { .problem = problem, .arena = arena, .preload = preload };
    c.before = fm_arena_array(arena, steps + (size_t)1, sizeof *c.before);
    c.slots = fm_arena_array(arena, steps, sizeof *c.slots);
    c.slot_below = fm_arena_array(arena, steps + (size_t)1, sizeof *c.slot_below);
    c.costs = fm_arena_array(arena, weights, sizeof *c.costs);
    c.least = fm_arena_array(arena, weights, sizeof *c.least);
    c.backlog = fm_arena_array(arena, steps, sizeof *c.backlog);
    c.due = fm_arena_array(arena, steps, sizeof *c.due);
    FM_TRY(set_step_cost(&c, err));
    FM_TRY(set_costs(&c, err));
    list_slots(&c);
    preload_dominated(&c, cost);
    add_up_backlog(&c);
    find_segments(&c);
    *segments = c.segments;
    *count = (uint32_t)c.count;
    return FLASHMEM_OK;
}

uint32_t fm_cpsat_next_equal(const fm_cpsat_segment *s, uint32_t i) {
    const fm_cpsat_weight *w = &s->weights[i];
    for (uint32_t j = i + 1; j < s->count && s->weights[j].due == w->due; j++)
        if (s->weights[j].chunks == w->chunks && s->weights[j].preload == w->preload) return j;
    return s->count;
}

bool fm_cpsat_segments_equal(const fm_cpsat_segment *a, const fm_cpsat_segment *b) {
    if (a->positions != b->positions || a->count != b->count || a->chunks != b->chunks ||
        memcmp(a->slots, b->slots, a->positions * sizeof *a->slots) != 0 ||
        memcmp(a->capacity, b->capacity, a->positions * sizeof *a->capacity) != 0)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const fm_cpsat_weight *x = &a->weights[i], *y = &b->weights[i];
        if (x->chunks != y->chunks || x->due != y->due || x->preload != y->preload)
            return false; /* the rest follows from these */
    }
    return true;
}
