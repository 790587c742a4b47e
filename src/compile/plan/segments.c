/* Decomposition in segments: what is preloaded whatever else, where the problem falls apart, which parts are equal. */
#include "compile/plan/segments.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compile/plan/solvers.h"

/* Least distance at which the weight, alone, could be converted; 0 when it cannot.  before[l]: capacity below l. */
static uint32_t least_distance(const uint64_t *before, const fm_overlap_weight *w) {
    if (before[w->first] < w->chunks) return 0;
    uint64_t left = before[w->first] - w->chunks;
    uint32_t low = 0, high = w->first; /* the last l with before[l] <= left */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (before[middle] <= left) low = middle;
        else high = middle;
    }
    return w->first - low;
}

/* Preloading a weight instead of streaming it is always possible and makes room, so it is right where it costs no more
 * than the distance the weight must have. */
static bool must_preload(const fm_overlap_problem *p, const uint64_t *before, const fm_overlap_weight *w) {
    if (!w->first || w->chunks > p->m_peak) return true;
    uint32_t distance = least_distance(before, w);
    if (!distance) return true;
    int64_t paid = p->distance == FM_DISTANCE_BYTES ? fm_overlap_chunk_cost(p) * w->chunks
                                                    : p->distance_cost * distance;
    return fm_overlap_preload_cost(p, w) <= paid;
}

static void find_forced(const fm_overlap_problem *p, fm_arena *arena, fm_segments *s) {
    uint64_t *before = fm_arena_array(arena, (size_t)p->step_count + 1, sizeof *before);
    for (uint32_t l = 0; l < p->step_count; l++) before[l + 1] = before[l] + p->steps[l].capacity;
    s->forced = fm_arena_array(arena, p->weight_count, 1);
    s->forced_cost = 0;
    for (uint32_t w = 0; w < p->weight_count; w++) {
        s->forced[w] = must_preload(p, before, &p->weights[w]);
        if (s->forced[w]) s->forced_cost += fm_overlap_preload_cost(p, &p->weights[w]);
    }
}

static int by_due_and_size(const void *a, const void *b) {
    const fm_segment_weight *x = a, *y = b;
    if (x->due != y->due) return x->due < y->due ? -1 : 1;
    if (x->chunks != y->chunks) return x->chunks > y->chunks ? -1 : 1;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The weights [from, to) of the problem, first used after first_step; slots from the last of those on serve nothing. */
static void add_segment(const fm_overlap_problem *p, fm_arena *arena, fm_segments *s, uint32_t from, uint32_t to,
                        const uint32_t *capacity, uint32_t first_step) {
    fm_segment *segment = &s->items[s->count];
    uint32_t    kept = 0;
    for (uint32_t w = from; w < to; w++) kept += !s->forced[w];
    if (!kept) return;
    *segment = (fm_segment){ .first_step = first_step,
                             .capacity = capacity + first_step,
                             .weights = fm_arena_array(arena, kept, sizeof *segment->weights),
                             .same_as = s->count,
                             .m_peak = p->m_peak,
                             .by_chunk = p->distance == FM_DISTANCE_BYTES };
    segment->step_cost = segment->by_chunk ? fm_overlap_chunk_cost(p) : p->distance_cost;
    for (uint32_t w = from; w < to; w++)
        if (!s->forced[w])
            segment->weights[segment->weight_count++] = (fm_segment_weight){
                p->weights[w].chunks, p->weights[w].first - first_step, fm_overlap_preload_cost(p, &p->weights[w]), w
            };
    qsort(segment->weights, kept, sizeof *segment->weights, by_due_and_size);
    segment->slots = segment->weights[kept - 1].due;
    s->count++;
}

/* *chunks due at step l, forced ones apart; the weights due there end at `end`, their first is returned. */
static uint32_t due_at(const fm_overlap_problem *p, const uint8_t *forced, uint32_t l, uint32_t end, uint64_t *chunks) {
    *chunks = 0;
    for (; end && p->weights[end - 1].first == l; end--)
        if (!forced[end - 1]) *chunks += p->weights[end - 1].chunks;
    return end;
}

static void split(const fm_overlap_problem *p, fm_arena *arena, fm_segments *s) {
    uint32_t *capacity = fm_arena_array(arena, p->step_count, sizeof *capacity);
    uint32_t  last = p->step_count ? p->step_count - 1 : 0, next = p->weight_count, end_weight = next;
    uint64_t  due, backlog;
    next = due_at(p, s->forced, last, next, &backlog);
    for (uint32_t l = last; l-- > 0;) {
        uint32_t from = due_at(p, s->forced, l, next, &due);
        if (backlog > p->m_peak) backlog = p->m_peak; /* C2 allows no more, whatever is streamed */
        capacity[l] = p->steps[l].capacity < backlog ? p->steps[l].capacity : (uint32_t)backlog;
        if ((backlog <= capacity[l] && backlog + due <= p->m_peak) || l == 0) {
            add_segment(p, arena, s, next, end_weight, capacity, l);
            end_weight = next;
        }
        backlog = backlog - capacity[l] + due;
        next = from;
    }
}

/* ---- equal segments ---- */

static uint64_t segment_hash(const fm_segment *s) {
    uint64_t hash = fm_hash_seeded(s->capacity, s->slots * sizeof *s->capacity, s->weight_count);
    for (uint32_t i = 0; i < s->weight_count; i++) {
        const fm_segment_weight *w = &s->weights[i];
        uint64_t                 key[3] = { w->chunks, w->due, (uint64_t)w->cost };
        hash = fm_hash_seeded(key, sizeof key, hash);
    }
    return hash;
}

static bool segments_equal(const fm_segment *a, const fm_segment *b) {
    if (a->slots != b->slots || a->weight_count != b->weight_count ||
        memcmp(a->capacity, b->capacity, a->slots * sizeof *a->capacity))
        return false;
    for (uint32_t i = 0; i < a->weight_count; i++) {
        const fm_segment_weight *x = &a->weights[i], *y = &b->weights[i];
        if (x->chunks != y->chunks || x->due != y->due || x->cost != y->cost) return false;
    }
    return true;
}

static void find_equal(fm_segments *s, fm_arena *arena) {
    size_t slots = 16;
    while (slots < 2 * (size_t)s->count) slots *= 2;
    uint32_t *table = fm_arena_array(arena, slots, sizeof *table); /* index + 1 */
    for (uint32_t i = 0; i < s->count; i++) {
        size_t at = segment_hash(&s->items[i]) & (slots - 1);
        while (table[at] && !segments_equal(&s->items[table[at] - 1], &s->items[i])) at = (at + 1) & (slots - 1);
        if (!table[at]) table[at] = i + 1;
        s->items[i].same_as = table[at] - 1;
    }
}

void fm_segments_make(const fm_overlap_problem *p, fm_arena *arena, fm_segments *s) {
    *s = (fm_segments){ .items = fm_arena_array(arena, p->weight_count, sizeof *s->items) };
    find_forced(p, arena, s);
    split(p, arena, s);
    find_equal(s, arena);
}
