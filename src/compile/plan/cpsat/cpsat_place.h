/* Placement without fragmentation, by CP-SAT.  Who may include: compile, tests. */
#ifndef FM_COMPILE_PLAN_CPSAT_PLACE_H
#define FM_COMPILE_PLAN_CPSAT_PLACE_H

#include "compile/plan/cpsat/cpsat.h"
#include "schedule/place.h"

#define FM_CPSAT_MOST_RECTANGLES 4000u

/* The items hold a placement that is valid, as fm_place_solve leaves it, in `regions` regions of region_bytes; they get
 * one that is never larger, every item in the region it was in, and region_bytes what is left of each.  *total gets the
 * sum of regions, *bound what no placement can be below: total, when it is proven that there is no smaller one.  With
 * one region that is always found, time permitting; with several, the bound is the largest sum of live bytes.
 * A placement that meets that sum already needs no library.  UNSUPPORTED: no library, or too many items (the message
 * says how many). */
flashmem_status fm_cpsat_place(fm_place_problem *problem, uint64_t *region_bytes, uint32_t regions,
                               const fm_cpsat_limits *limits, uint64_t *total, uint64_t *bound, fm_arena *scratch,
                               flashmem_error *err);

#endif
