/* Exact decomposition of the overlap problem.  Who may include: compile/plan, tests.
 *
 * If even with everything streamed the backlog of step s is served by s itself, every plan's is: whatever is first used
 * after s is converted at s or later, and the two sides of s are problems of their own.
 *
 *     steps      first_step ............ first_step + slots - 1   | first_step + slots
 *     slots      0  1  2  ...            slots - 1                |
 *     due           1  2  ...            slots - 1                  slots      (first use, relative to first_step)
 *
 * A segment's weights are due at 1..slots and may be converted at slots 0..due-1.  In a model of equal layers most
 * segments are equal: the first of its kind is solved, the others copy. */
#ifndef FM_COMPILE_PLAN_SEGMENTS_H
#define FM_COMPILE_PLAN_SEGMENTS_H

#include "compile/plan/problem.h"

typedef struct fm_segment_weight {
    uint32_t chunks, due;
    int64_t  cost;  /* of preloading it */
    uint32_t index; /* in the problem; equal segments differ only here */
} fm_segment_weight;

typedef struct fm_segment {
    uint32_t           first_step, slots;
    const uint32_t    *capacity; /* [slots], at most the backlog there with everything streamed */
    fm_segment_weight *weights;  /* rising due; of one due larger ones first, equal ones next to each other */
    uint32_t           weight_count;
    uint32_t           same_as;  /* index of the first segment equal to this one, its own where it is that */
    uint32_t           m_peak;   /* of the problem */
    bool               by_chunk; /* distance is paid by the chunk, not by the weight */
    int64_t            step_cost; /* of one step of distance of one weight or chunk */
} fm_segment;

typedef struct fm_segments {
    fm_segment *items; uint32_t count; /* from the last steps to the first; none without weights */
    uint8_t    *forced;      /* [weights of the problem] preloaded in some optimum, and in no segment */
    int64_t     forced_cost; /* of those */
} fm_segments;

void fm_segments_make(const fm_overlap_problem *problem, fm_arena *arena, fm_segments *segments);

#endif
