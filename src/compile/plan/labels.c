/* The exact label algorithm (shortest remaining processing time as dynamic programming), backwards in time.
 *
 *     for each step with weights due, last first:
 *         serve    every slot since the step before: each waiting weight pays a step, the shortest remainders are
 *                  served
 *         decide   weight by weight: every label once with it preloaded, once with it streamed
 *         keep     of equal labels the cheapest; none that another dominates; none whose cost and what is ahead of it
 *                  at least (ahead.h) reach a known plan; of more than `width` the most promising ones: the least
 *                  promise of the others bounds them all
 *
 * Where distance is paid by the chunk only the sum of the remainders matters, none is kept, and V is exact. */
#include "compile/plan/labels.h"

#include <stdlib.h>
#include <string.h>

#include "compile/plan/ahead.h"
#include "compile/plan/label_set.h"

enum { MOST_RESTS = 16 << 20 }; /* remainders in one set: 64 MiB; beyond that the width falls */
enum { CLOCK_EVERY = 1 << 14 }; /* labels */

typedef struct search {
    const fm_segment       *segment;
    const fm_labels_limits *limits;
    int64_t                 known;   /* only plans below this are looked for */
    int64_t                 dropped; /* least cost + bound of labels beyond the width */
    fm_label_set            sets[2], *now, *next;
    fm_history              history;
    fm_ahead                ahead;
    int64_t                *keys; /* of the present labels */
    uint32_t                keys_room, since_clock;
    bool                    stopped;
} search;

static bool limit_reached(search *s) {
    if (++s->since_clock < CLOCK_EVERY) return s->stopped;
    s->since_clock = 0;
    s->stopped = s->stopped || fm_overlap_limit_reached(&s->limits->until);
    return s->stopped;
}

/* ---- serve ---- */

static void serve_slot(const search *s, fm_label *label, uint32_t *rests, uint32_t capacity) {
    uint32_t left = capacity < label->total ? capacity : label->total;
    label->cost += s->segment->step_cost * (int64_t)(s->segment->by_chunk ? label->total : label->count);
    label->total -= left;
    while (left && label->count) {
        uint32_t *shortest = &rests[label->count - 1];
        if (*shortest > left) {
            *shortest -= left;
            break;
        }
        left -= *shortest;
        label->count--;
    }
}

static void price(const search *s, fm_label *label, const uint32_t *rests) {
    label->priced = 0;
    for (uint32_t i = 0; i < label->count; i++) label->priced = fm_ahead_add(&s->ahead, label->priced, rests[i]);
}

/* Slots from..to-1, the later first; flight is what waits before `from` serves. */
static void serve(search *s, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < s->now->count; i++) {
        fm_label *label = &s->now->labels[i];
        label->flight = 0;
        for (uint32_t l = to; l-- > from && label->total;) {
            if (l == from) label->flight = label->total;
            serve_slot(s, label, s->now->rests + label->rests, s->segment->capacity[l]);
        }
    }
}

/* ---- keep ---- */

static int64_t promise(const fm_ahead_stage *stage, const fm_label *label) {
    return label->cost + fm_ahead_cost(stage, label->total, label->priced);
}

/* Takes the label whose remainders stand behind those of `next`; its history is the set's from here. */
static bool keep(search *s, const fm_label *label) {
    bool kept;
    if (!fm_label_set_add(s->next, label, &kept)) return false;
    if (!kept) fm_history_drop(&s->history, label->history);
    return true;
}

static void swap_sets(search *s) {
    fm_label_set *now = s->now;
    s->now = s->next;
    s->next = now;
}

/* After serving: sorted by cost again, without equal and dominated ones. */
static bool settle(search *s, const fm_bound_row *row) {
    fm_ahead_stage stage = fm_ahead_at(&s->ahead, row->from);
    fm_label_set_sort(s->now);
    if (!fm_label_set_clear(s->next, s->now->count)) return false;
    for (uint32_t i = 0; i < s->now->count; i++) {
        fm_label *label = &s->now->labels[i];
        price(s, label, s->now->rests + label->rests);
        if (promise(&stage, label) >= s->known) {
            fm_history_drop(&s->history, label->history);
            continue;
        }
        if (!fm_label_set_reserve(s->next, label->count)) return false;
        memcpy(s->next->rests + s->next->used, s->now->rests + label->rests, label->count * sizeof *s->now->rests);
        if (!keep(s, label)) return false;
    }
    swap_sets(s);
    return true;
}

static int rising(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The width that also keeps the remainders in bounds. */
static uint32_t width_now(const search *s, uint32_t width) {
    uint64_t fits = s->now->used > MOST_RESTS ? (uint64_t)s->now->count * MOST_RESTS / s->now->used : width;
    return fits < width ? (fits ? (uint32_t)fits : 1) : width;
}

/* Leaves the `width` most promising labels. */
static bool cut(search *s, const fm_ahead_stage *stage, uint32_t width) {
    fm_label_set *set = s->now;
    uint32_t      kept = 0, equal = 0;
    width = width_now(s, width);
    if (set->count <= width) return true;
    if (set->count > s->keys_room) {
        free(s->keys);
        s->keys_room = 0;
        s->keys = malloc(set->count * sizeof *s->keys);
        if (!s->keys) return false;
        s->keys_room = set->count;
    }
    for (uint32_t i = 0; i < set->count; i++) s->keys[i] = promise(stage, &set->labels[i]);
    qsort(s->keys, set->count, sizeof *s->keys, rising);
    int64_t last = s->keys[width - 1];
    if (s->keys[width] < s->dropped) s->dropped = s->keys[width];
    for (uint32_t i = 0; i < width; i++) equal += s->keys[i] == last;
    for (uint32_t i = 0; i < set->count; i++) {
        fm_label *label = &set->labels[i];
        int64_t   key = promise(stage, label);
        if (key < last || (key == last && equal)) {
            equal -= key == last;
            set->labels[kept++] = *label;
        } else {
            fm_history_drop(&s->history, label->history);
        }
    }
    set->count = kept;
    return true;
}

/* ---- decide ---- */

static bool add_preloaded(search *s, const fm_label *from, const fm_label *child, uint32_t k) {
    fm_label label = *child;
    if (!fm_label_set_reserve(s->next, from->count) || !fm_history_push(&s->history, from->history, k, &label.history))
        return false;
    memcpy(s->next->rests + s->next->used, s->now->rests + from->rests, from->count * sizeof *s->now->rests);
    return keep(s, &label);
}

static bool add_streamed(search *s, const fm_label *from, const fm_label *child) {
    uint32_t        chunks = child->total - from->total;
    fm_label        label = *child;
    const uint32_t *old = s->now->rests + from->rests;
    uint32_t        i = 0;
    if (!fm_label_set_reserve(s->next, (size_t)from->count + 1)) return false;
    uint32_t *rests = s->next->rests + s->next->used;
    if (!s->segment->by_chunk) {
        for (; i < from->count && old[i] >= chunks; i++) rests[i] = old[i];
        rests[i] = chunks;
        memcpy(rests + i + 1, old + i, (from->count - i) * sizeof *old);
        label.count++;
    }
    fm_history_take(&s->history, label.history);
    return keep(s, &label);
}

/* Both children of every label, in order of cost: two runs of the same order, merged. */
static bool decide(search *s, uint32_t k, bool binding) {
    const fm_segment_weight *w = &s->segment->weights[k];
    const fm_label          *labels = s->now->labels;
    fm_ahead_stage           stage = fm_ahead_at(&s->ahead, k + 1);
    uint32_t                 count = s->now->count, streamed = 0, preloaded = 0;
    if (!fm_label_set_clear(s->next, 2 * count)) return false;
    while (preloaded < count) {
        if (limit_reached(s)) return true;
        if (streamed < count && labels[streamed].cost <= labels[preloaded].cost + w->cost) {
            const fm_label *from = &labels[streamed++];
            fm_label        child = *from;
            child.total += w->chunks;
            if (binding) child.flight += w->chunks;
            child.priced = fm_ahead_add(&s->ahead, child.priced, w->chunks);
            bool fits = child.total > from->total && child.flight <= s->segment->m_peak;
            if (fits && promise(&stage, &child) < s->known && !add_streamed(s, from, &child)) return false;
        } else {
            const fm_label *from = &labels[preloaded++];
            fm_label        child = *from;
            child.cost += w->cost;
            if (promise(&stage, &child) < s->known && !add_preloaded(s, from, &child, k)) return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) fm_history_drop(&s->history, labels[i].history);
    swap_sets(s);
    return true;
}

/* Whether C2 can be felt at this step; where it cannot, flight must not keep equal labels apart. */
static bool mark_binding(search *s, const fm_bound_row *row) {
    uint64_t most = 0, due = 0;
    for (uint32_t i = 0; i < s->now->count; i++)
        if (s->now->labels[i].flight > most) most = s->now->labels[i].flight;
    for (uint32_t k = row->from; k < row->to; k++) due += s->segment->weights[k].chunks;
    if (most + due > s->segment->m_peak) return true;
    for (uint32_t i = 0; i < s->now->count; i++) s->now->labels[i].flight = 0;
    return false;
}

/* When time is up: what has been dropped and what is left, as far as weight k of the row, bound every plan. */
static void bound_rest(search *s, uint32_t k) {
    fm_ahead_stage stage = fm_ahead_at(&s->ahead, k);
    for (uint32_t i = 0; i < s->now->count; i++) {
        const fm_label *label = &s->now->labels[i];
        int64_t         key = promise(&stage, label);
        if (key < s->dropped) s->dropped = key;
    }
}

static bool decide_row(search *s, const fm_bound_row *row, uint32_t width) {
    bool binding = mark_binding(s, row);
    if (!settle(s, row)) return false;
    for (uint32_t k = row->from; k < row->to; k++) {
        if (!decide(s, k, binding)) return false;
        if (s->stopped) {
            bound_rest(s, k);
            return true;
        }
        fm_ahead_stage stage = fm_ahead_at(&s->ahead, k + 1);
        if (!cut(s, &stage, k + 1 < row->to ? s->limits->width : width)) return false;
    }
    return true;
}

/* ---- the search ---- */

static bool run(search *s) {
    uint32_t served = s->segment->slots, cut_at = served;
    if (!fm_label_set_reserve(s->now, 1) || !fm_label_set_reserve(s->next, 1)) return false;
    fm_label root = { .history = FM_NO_HISTORY };
    if (!keep(s, &root)) return false; /* `next` is empty as well */
    swap_sets(s);
    for (uint32_t r = s->ahead.bounds->row_count; r-- > 0 && !s->stopped;) {
        const fm_bound_row *row = &s->ahead.bounds->rows[r];
        bool                at_window = s->limits->window && cut_at - row->due >= s->limits->window;
        serve(s, row->due, served);
        served = row->due;
        if (at_window) cut_at = row->due;
        if (!fm_ahead_enter(&s->ahead, r) || !decide_row(s, row, at_window ? 1 : s->limits->width)) return false;
    }
    if (!s->stopped) serve(s, 0, served);
    return true;
}

static void take_best(search *s, uint8_t *preload, fm_labels_result *result) {
    const fm_label *best = NULL;
    for (uint32_t i = 0; i < s->now->count; i++) {
        const fm_label *label = &s->now->labels[i];
        if (!label->total && label->cost < s->known && (!best || label->cost < best->cost)) best = label;
    }
    if (!best) return;
    result->found = true;
    result->objective = best->cost;
    memset(preload, 0, s->segment->weight_count);
    for (uint32_t h = best->history; h != FM_NO_HISTORY; h = s->history.nodes[h].parent)
        preload[s->history.nodes[h].weight] = 1;
}

flashmem_status fm_labels_solve(const fm_bounds *bounds, const fm_prices *prices, const fm_labels_limits *limits,
                                int64_t known, uint8_t *preload, fm_labels_result *result) {
    search s = { .segment = bounds->segment,
                 .limits = limits,
                 .known = known,
                 .dropped = FM_COST_INFINITE,
                 .ahead = { .bounds = bounds, .prices = prices } };
    s.now = &s.sets[0];
    s.next = &s.sets[1];
    *result = (fm_labels_result){ .objective = known };
    bool memory = fm_label_set_clear(s.next, 1) && run(&s);
    if (memory && !s.stopped) take_best(&s, preload, result);
    result->stopped = s.stopped;
    result->bound = s.dropped < result->objective ? s.dropped : result->objective;
    if (result->bound < bounds->least) result->bound = bounds->least;
    if (prices && prices->rests && result->bound < prices->least) result->bound = prices->least;
    if (result->bound > result->objective) result->bound = result->objective;
    fm_label_set_free(&s.sets[0]);
    fm_label_set_free(&s.sets[1]);
    fm_history_free(&s.history);
    fm_ahead_free(&s.ahead);
    free(s.keys);
    return memory ? FLASHMEM_OK : FLASHMEM_OUT_OF_MEMORY;
}
