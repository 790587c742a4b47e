/* Checks a placement pair by pair, and the bound below which no placement can be. */
#include <inttypes.h>

#include "schedule/place.h"

#define BAD(...) fm_fail(err, FLASHMEM_INTERNAL, __VA_ARGS__)

static bool lives_at(const fm_place_item *item, int32_t step) {
    return (item->from <= step && step <= item->to) || (item->from2 <= step && step <= item->to2);
}

/* Two lives meet iff one of their ranges begins inside the other. */
static bool alive_together(const fm_place_item *a, const fm_place_item *b) {
    return (a->from <= a->to && lives_at(b, a->from)) || (a->from2 <= a->to2 && lives_at(b, a->from2)) ||
           (b->from <= b->to && lives_at(a, b->from)) || (b->from2 <= b->to2 && lives_at(a, b->from2));
}

flashmem_status fm_place_verify(const fm_place_problem *problem, const uint64_t *region_bytes, uint32_t regions,
                                flashmem_error *err) {
    for (uint32_t i = 0; i < problem->count; i++) {
        const fm_place_item *a = &problem->items[i];
        if (a->from > a->to && a->from2 > a->to2) return BAD("item %u: lives at no step", i);
        if (a->from < 0 || a->to >= (int32_t)problem->steps ||
            (a->from2 <= a->to2 && (a->from2 < 0 || a->to2 >= (int32_t)problem->steps)))
            return BAD("item %u: lives outside of %u steps", i, problem->steps);
        if (a->region >= regions) return BAD("item %u: region %u of %u", i, a->region, regions);
        if (a->offset % a->align)
            return BAD("item %u: offset %" PRIu64 " is not aligned to %" PRIu64, i, a->offset, a->align);
        if (a->offset > region_bytes[a->region] || a->bytes > region_bytes[a->region] - a->offset)
            return BAD("item %u: leaves region %u of %" PRIu64 " bytes", i, a->region, region_bytes[a->region]);
        for (uint32_t j = 0; j < i; j++) {
            const fm_place_item *b = &problem->items[j];
            if (a->region == b->region && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes &&
                alive_together(a, b))
                return BAD("items %u and %u overlap in region %u at %" PRIu64, j, i, a->region,
                           a->offset > b->offset ? a->offset : b->offset);
        }
    }
    for (uint32_t r = 0; r < regions; r++)
        if (problem->region_limit && region_bytes[r] > problem->region_limit)
            return BAD("region %u: %" PRIu64 " bytes, at most %" PRIu64, r, region_bytes[r], problem->region_limit);
    return FLASHMEM_OK;
}

uint64_t fm_place_lower_bound(const fm_place_problem *problem, fm_arena *scratch) {
    uint64_t *born = fm_arena_array(scratch, problem->steps + 1u, sizeof *born);
    uint64_t *gone = fm_arena_array(scratch, problem->steps + 1u, sizeof *gone);
    uint64_t  live = 0, bound = 0;
    for (uint32_t i = 0; i < problem->count; i++) {
        const fm_place_item *item = &problem->items[i];
        bool                 second = item->from2 <= item->to2, apart = second;
        int32_t              from = item->from, to = item->to, from2 = item->from2, to2 = item->to2;
        if (second && from <= to && from <= to2 && from2 <= to) { /* ranges that meet are one */
            from = from < from2 ? from : from2;
            to = to > to2 ? to : to2;
            apart = false;
        }
        if (from <= to) born[from] += item->bytes, gone[to + 1] += item->bytes;
        if (apart) born[from2] += item->bytes, gone[to2 + 1] += item->bytes;
    }
    for (uint32_t k = 0; k < problem->steps; k++) {
        live += born[k] - gone[k];
        if (live > bound) bound = live;
    }
    return bound;
}
