/* Placement by first fit.
 *
 * Most items live for a few steps, so the items that can meet a new one are found through one list per first step; the
 * few that live long or in two ranges are in a list of their own; what lives always lies below everything (base).
 *
 *     region 0: | always | first fit by step ...                      |      region 1: ...
 */
#include "schedule/place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT = 24 }; /* steps; longer items are searched one by one */

typedef struct placed {
    uint64_t offset, end;
    int32_t  from, to, from2, to2;
    uint32_t region;
    int32_t  next; /* of the same first step, -1 none */
} placed;

typedef struct meeting { /* a placed item whose life meets the new one's */
    uint64_t offset, end;
    int32_t  from, to;
    uint32_t region;
} meeting;

struct fm_placer {
    uint32_t  steps, capacity, count, long_count;
    uint64_t  region_limit;
    placed   *items;
    int32_t  *heads; /* [steps] short items by first step */
    uint32_t *longs; /* [capacity] */
    meeting  *meetings;
    uint64_t  base[FM_PLACE_REGIONS], bytes[FM_PLACE_REGIONS];
};

fm_placer *fm_placer_create(fm_arena *arena, uint32_t steps, uint32_t most_items, uint64_t region_limit) {
    fm_placer *p = fm_arena_alloc(arena, sizeof *p);
    p->steps = steps;
    p->capacity = most_items;
    p->region_limit = region_limit ? region_limit : UINT64_MAX / 2;
    p->items = fm_arena_array(arena, most_items, sizeof *p->items);
    p->heads = fm_arena_array(arena, steps, sizeof *p->heads);
    p->longs = fm_arena_array(arena, most_items, sizeof *p->longs);
    p->meetings = fm_arena_array(arena, most_items, sizeof *p->meetings);
    fm_placer_reset(p);
    return p;
}

void fm_placer_reset(fm_placer *p) {
    p->count = p->long_count = 0;
    memset(p->heads, 0xff, p->steps * sizeof *p->heads);
    memset(p->base, 0, sizeof p->base);
    memset(p->bytes, 0, sizeof p->bytes);
}

uint64_t fm_placer_total(const fm_placer *p, uint64_t *region_bytes, uint32_t *regions) {
    uint64_t total = 0;
    uint32_t used = 0;
    for (uint32_t r = 0; r < FM_PLACE_REGIONS; r++) {
        total += p->bytes[r];
        if (p->bytes[r]) used = r + 1;
        if (region_bytes) region_bytes[r] = p->bytes[r];
    }
    if (regions) *regions = used;
    return total;
}

static bool ranges_meet(int32_t a_from, int32_t a_to, int32_t b_from, int32_t b_to) {
    return a_from <= a_to && b_from <= b_to && a_from <= b_to && b_from <= a_to; /* empty ranges meet nothing */
}

static bool lives_meet(const placed *a, const fm_place_item *b) {
    return ranges_meet(a->from, a->to, b->from, b->to) || ranges_meet(a->from2, a->to2, b->from, b->to) ||
           ranges_meet(a->from, a->to, b->from2, b->to2) || ranges_meet(a->from2, a->to2, b->from2, b->to2);
}

static int by_place(const void *a, const void *b) {
    const meeting *x = a, *y = b;
    if (x->region != y->region) return x->region < y->region ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void sort_meetings(meeting *m, uint32_t count) {
    if (count > 32) {
        qsort(m, count, sizeof *m, by_place);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        meeting  moved = m[i];
        uint32_t j = i;
        for (; j > 0 && by_place(&m[j - 1], &moved) > 0; j--) m[j] = m[j - 1];
        m[j] = moved;
    }
}

static void meet(fm_placer *p, const placed *a, uint32_t *count) {
    p->meetings[(*count)++] = (meeting){ a->offset, a->end, a->from, a->from2 <= a->to2 ? INT32_MAX : a->to,
                                         a->region };
}

/* Short items that live in from..to, but not in apart_from..apart_to, where they were met already. */
static void meet_range(fm_placer *p, int32_t from, int32_t to, int32_t apart_from, int32_t apart_to, uint32_t *count) {
    for (int32_t step = from > SHORT ? from - SHORT : 0; from <= to && step <= to; step++)
        for (int32_t i = p->heads[step]; i >= 0; i = p->items[i].next)
            if (p->items[i].to >= from && !ranges_meet(p->items[i].from, p->items[i].to, apart_from, apart_to))
                meet(p, &p->items[i], count);
}

/* All placed items that the new one meets, in order of place. */
static uint32_t gather(fm_placer *p, const fm_place_item *item) {
    uint32_t count = 0;
    meet_range(p, item->from, item->to, 1, 0, &count);
    if (item->from2 <= item->to2) meet_range(p, item->from2, item->to2, item->from, item->to, &count);
    for (uint32_t i = 0; i < p->long_count; i++)
        if (lives_meet(&p->items[p->longs[i]], item)) meet(p, &p->items[p->longs[i]], &count);
    sort_meetings(p->meetings, count);
    return count;
}

static uint64_t align_up(uint64_t x, uint64_t to) { return (x + to - 1) & ~(to - 1); }

/* Lowest gap among the meetings that live at or after `from`.  *next gets the first step at which one of the meetings
 * that were in the way has ended. */
static bool find_gap(fm_placer *p, fm_place_item *item, int32_t from, uint32_t count, uint64_t total_limit,
                     int32_t *next) {
    uint64_t total = fm_placer_total(p, NULL, NULL);
    *next = INT32_MAX;
    for (uint32_t r = 0, i = 0; r < FM_PLACE_REGIONS; r++) {
        uint64_t at = p->base[r], limit = p->region_limit;
        if (total > total_limit) return false;
        if (limit > p->bytes[r] + (total_limit - total)) limit = p->bytes[r] + (total_limit - total);
        bool found = false;
        for (; i < count && p->meetings[i].region == r; i++) {
            const meeting *m = &p->meetings[i];
            if (m->to < from || found) continue;
            if (align_up(at, item->align) + item->bytes <= m->offset) found = true;
            else {
                if (m->end > at) at = m->end;
                if (m->to != INT32_MAX && m->to + 1 < *next) *next = m->to + 1;
            }
        }
        at = align_up(at, item->align);
        if (at <= limit && item->bytes <= limit - at) {
            item->region = r;
            item->offset = at;
            return true;
        }
        if (p->bytes[r] == 0) return false; /* an empty region was not enough: no other is */
    }
    return false;
}

static void add(fm_placer *p, const fm_place_item *item) {
    uint64_t end = item->offset + item->bytes;
    if (end > p->bytes[item->region]) p->bytes[item->region] = end;
    bool    two = item->from2 <= item->to2;
    placed *slot = &p->items[p->count];
    *slot = (placed){ item->offset,        end,          item->from, item->to, two ? item->from2 : 1,
                      two ? item->to2 : 0, item->region, -1 };
    if (!two && item->from == 0 && item->to + 1 == (int32_t)p->steps && item->offset == p->base[item->region]) {
        p->base[item->region] = end;
        return;
    }
    if (two || item->to - item->from > SHORT) {
        p->longs[p->long_count++] = p->count;
    } else {
        slot->next = p->heads[item->from];
        p->heads[item->from] = (int32_t)p->count;
    }
    p->count++;
}

bool fm_placer_put(fm_placer *p, fm_place_item *item, uint64_t total_limit) {
    int32_t  next;
    uint32_t count = gather(p, item);
    if (!find_gap(p, item, 0, count, total_limit, &next)) return false;
    add(p, item);
    return true;
}

bool fm_placer_put_early(fm_placer *p, fm_place_item *item, int32_t latest, uint64_t total_limit) {
    uint32_t count = gather(p, item);
    for (int32_t from = item->from; from <= latest;) {
        int32_t next;
        if (find_gap(p, item, from, count, total_limit, &next)) {
            item->from = from;
            add(p, item);
            return true;
        }
        if (next <= from) next = from + 1;
        from = next;
    }
    return false;
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

typedef struct ranked {
    double   key;
    uint32_t item;
} ranked;

static int by_key(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int32_t duration(const fm_place_item *item) {
    int32_t steps = item->from <= item->to ? item->to - item->from + 1 : 0;
    return item->from2 <= item->to2 ? steps + item->to2 - item->from2 + 1 : steps;
}

enum { BY_SIZE, BY_START, BY_AREA, BY_DURATION, ORDERS };

static void rank(const fm_place_problem *problem, int order, ranked *ranks) {
    for (uint32_t i = 0; i < problem->count; i++) {
        const fm_place_item *item = &problem->items[i];
        double               steps = duration(item), bytes = (double)item->bytes, key = bytes;
        if (order == BY_START) key = -item->from;
        else if (order == BY_AREA) key = steps * bytes;
        else if (order == BY_DURATION) key = steps;
        if (item->from == 0 && item->to + 1 == (int32_t)problem->steps) key = 1e300; /* what lives always lies lowest */
        ranks[i] = (ranked){ key, i };
    }
    qsort(ranks, problem->count, sizeof *ranks, by_key);
}

static flashmem_status check_items(const fm_place_problem *problem, flashmem_error *err) {
    for (uint32_t i = 0; i < problem->count; i++) {
        const fm_place_item *item = &problem->items[i];
        bool                 second = item->from2 <= item->to2, fits = item->from <= item->to || second;
        fits = fits && item->from >= 0 && item->to < (int32_t)problem->steps;
        if (second) fits = fits && item->from2 >= 0 && item->to2 < (int32_t)problem->steps;
        if (!fits || !item->align || item->align & (item->align - 1) || item->bytes > UINT64_MAX / 4)
            return fm_fail(err, FLASHMEM_INTERNAL, "item %u to place: steps %d-%d and %d-%d of %u, align %" PRIu64, i,
                           item->from, item->to, item->from2, item->to2, problem->steps, item->align);
        if (problem->region_limit && item->bytes > problem->region_limit)
            return fm_fail(err, FLASHMEM_UNSUPPORTED,
                           "%" PRIu64 " bytes wanted in one piece, the device allocates at most %" PRIu64 " at once",
                           item->bytes, problem->region_limit);
    }
    return FLASHMEM_OK;
}

flashmem_status fm_place_solve(fm_place_problem *problem, uint64_t *total, uint64_t *region_bytes, uint32_t *regions,
                               fm_arena *scratch, flashmem_error *err) {
    FM_TRY(check_items(problem, err));
    uint32_t   count = problem->count;
    ranked    *ranks = fm_arena_array(scratch, count, sizeof *ranks);
    uint32_t  *best_region = fm_arena_array(scratch, count, sizeof *best_region);
    uint64_t  *best_offset = fm_arena_array(scratch, count, sizeof *best_offset);
    fm_placer *placer = fm_placer_create(scratch, problem->steps, count, problem->region_limit);
    *total = UINT64_MAX;
    for (int order = 0; order < ORDERS; order++) {
        uint32_t done = 0;
        rank(problem, order, ranks);
        fm_placer_reset(placer);
        while (done < count && fm_placer_put(placer, &problem->items[ranks[done].item], UINT64_MAX / 2)) done++;
        uint64_t sum = fm_placer_total(placer, NULL, NULL);
        if (done < count || sum >= *total) continue;
        *total = fm_placer_total(placer, region_bytes, regions);
        for (uint32_t i = 0; i < count; i++) {
            best_region[i] = problem->items[i].region;
            best_offset[i] = problem->items[i].offset;
        }
        if (sum <= problem->good_enough) break;
    }
    if (*total == UINT64_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%u regions of %" PRIu64 " bytes are not enough", FM_PLACE_REGIONS,
                       problem->region_limit);
    for (uint32_t i = 0; i < count; i++) {
        problem->items[i].region = best_region[i];
        problem->items[i].offset = best_offset[i];
    }
    return FLASHMEM_OK;
}
