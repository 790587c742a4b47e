/* Placement: live ranges to offsets in regions, no two overlapping.  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_PLACE_H
#define FM_SCHEDULE_PLACE_H

#include "base/arena.h"
#include "base/error.h"

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
} fm_place_problem;

/* Best of several first-fit orders (by size, by start, by area, by duration); deterministic.  *total gets the sum of
 * region sizes used.  region_bytes: array of at least 64 in which each region's size is left.  *regions its count. */
flashmem_status fm_place_solve(fm_place_problem *problem, uint64_t *total, uint64_t *region_bytes, uint32_t *regions,
                               fm_arena *scratch, flashmem_error *err);
/* Largest sum of live bytes over the steps: no placement is smaller. */
uint64_t fm_place_lower_bound(const fm_place_problem *problem, fm_arena *scratch);
/* Independent check: alignment, region bounds, no overlap of live items.  INTERNAL. */
flashmem_status fm_place_verify(const fm_place_problem *problem, const uint64_t *region_bytes, uint32_t regions,
                                flashmem_error *err);

#endif
