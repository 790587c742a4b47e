/* V(l, R): what a segment costs at least from step l down to its first, given the backlog R alone.  Who may include:
 * compile/plan, tests.
 *
 * Backwards in time, with D chunks waiting before slot l serves and A of those due at l streamed,
 *
 *     V(l + 1, D) = step_cost * n(l, D) + min over subsets of the weights due at l of
 *                   (cost of those preloaded + V(l, max(0, D - C_l) + A))          while D + A <= M;  V(0, 0) = 0
 *
 * n(l, D): at least as many weights wait as the largest of those that can wait hold D; a weight whose distance would
 * cost more than preloading it waits in no optimum.  Where distance is paid by the chunk n is D itself.  Rows are kept
 * at the steps where weights are due, over a grid of `grain` chunks where a finer one would take too much memory: R is
 * rounded down and capacities up, which keeps V a bound. */
#ifndef FM_COMPILE_PLAN_BOUNDS_H
#define FM_COMPILE_PLAN_BOUNDS_H

#include "compile/plan/segments.h"

#define FM_COST_INFINITE (INT64_MAX / 2) /* no plan; costs stay below half of it */

/* When a solve ends with what it has. */
typedef struct fm_overlap_limit {
    double deadline;           /* fm_clock_seconds */
    bool (*stop)(void *user);  /* NULL: not asked */
    void  *stop_user;
} fm_overlap_limit;
bool fm_overlap_limit_reached(const fm_overlap_limit *limit);

typedef struct fm_bound_row {
    uint32_t  due;          /* slots 0..due-1 are to come */
    uint32_t  from, to;     /* the weights due here */
    uint32_t  most;         /* largest backlog any plan has here, those weights included */
    uint32_t  columns;      /* most / grain + 1 */
    int64_t  *cost;         /* [columns] V(due, column * grain): the choice among the weights due here is made */
} fm_bound_row;

typedef struct fm_bounds {
    const fm_segment *segment;
    fm_bound_row     *rows; uint32_t row_count; /* rising due */
    uint32_t          grain;
    int64_t           least; /* of any plan of the segment */
} fm_bounds;

/* OUT_OF_MEMORY, or CANCELLED at the limit.  Free with fm_bounds_free in any case. */
flashmem_status fm_bounds_make(fm_bounds *bounds, const fm_segment *segment, const fm_overlap_limit *limit);
void            fm_bounds_free(fm_bounds *bounds);

/* before[c] = what stands at column c before weight w is decided, from after[c] when it is: min of preloading and
 * streaming it.  before and after may be one. */
void fm_bounds_decide(const fm_bounds *bounds, const fm_segment_weight *w, uint32_t columns, const int64_t *after,
                      int64_t *before);

static inline int64_t fm_bound_at(const fm_bounds *bounds, const int64_t *cost, uint32_t backlog) {
    return cost[backlog / bounds->grain];
}

#endif
