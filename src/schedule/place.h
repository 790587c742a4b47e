/* Placement: live ranges to offsets in regions, no two overlapping.  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_PLACE_H
#define FM_SCHEDULE_PLACE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"

#define FM_PLACE_REGIONS 64

/* An item lives during the closed step ranges [from, to], and if to2 >= from2 also [from2, to2] (a live range that
 * wraps over the end of a run).  Items with from > to and no second range are an error. */
typedef struct fm_place_item {
    uint64_t bytes, align; /* align a power of two */
    int32_t  from, to, from2, to2;
    uint32_t region;       /* out */
    uint64_t offset;       /* out */
} fm_place_item;

typedef struct fm_place_problem {
    fm_place_item *items; uint32_t count;
    uint64_t region_limit; /* largest region, 0 = none: one region */
    uint32_t steps;        /* ranges lie in 0..steps-1 */
    uint64_t good_enough;  /* the first order whose total is at most this is taken; 0 = try all */
} fm_place_problem;

/* Best of several first-fit orders (by size, by start, by area, by duration); deterministic.  *total gets the sum of
 * region sizes used.  region_bytes: array of at least 64 in which each region's size is left.  *regions its count. */
flashmem_status fm_place_solve(fm_place_problem *problem, uint64_t *total, uint64_t *region_bytes, uint32_t *regions,
                               fm_arena *scratch, flashmem_error *err);
/* Placing one item after the other: what fm_place_solve and the replay's sweep are made of.  Regions grow as needed, up
 * to region_limit each. */
typedef struct fm_placer fm_placer;
fm_placer *fm_placer_create(fm_arena *arena, uint32_t steps, uint32_t most_items, uint64_t region_limit);
void       fm_placer_reset(fm_placer *placer);
/* Lowest offset of the first region at which the item overlaps nothing live, the regions' sum staying at most
 * total_limit.  False: nothing fits.  Items that live always are cheapest put first. */
bool       fm_placer_put(fm_placer *placer, fm_place_item *item, uint64_t total_limit);
/* The same for an item with one range whose from may be raised up to latest: takes the least from that fits.
 * Items with two ranges are in the way to the end. */
bool       fm_placer_put_early(fm_placer *placer, fm_place_item *item, int32_t latest, uint64_t total_limit);
/* Sum of the regions used so far; region_bytes (FM_PLACE_REGIONS, may be NULL) gets each. */
uint64_t   fm_placer_total(const fm_placer *placer, uint64_t *region_bytes, uint32_t *regions);

/* Largest sum of live bytes over the steps: no placement is smaller. */
uint64_t fm_place_lower_bound(const fm_place_problem *problem, fm_arena *scratch);
/* Independent check: alignment, region bounds, no overlap of live items.  INTERNAL. */
flashmem_status fm_place_verify(const fm_place_problem *problem, const uint64_t *region_bytes, uint32_t regions,
                                flashmem_error *err);

#endif
