/* The overlap problem cut into segments that do not touch each other, and what is known of one before it is solved.
 * Who may include: compile/plan/cpsat, tests.
 *
 * A segment counts only steps that can load: position u is step slots[u], with capacity[u] > 0 chunks.  A weight that
 * is due at step d may be loaded at the positions below `end`, the steps before d; when loading starts at position u,
 * its distance is d - slots[u]:
 *
 *     step       0   1   2   3   4   5 = d
 *     capacity   .   3   .   2   4   .
 *     position       0       1   2       end = 3 */
#ifndef FM_COMPILE_PLAN_CPSAT_SEGMENT_H
#define FM_COMPILE_PLAN_CPSAT_SEGMENT_H

#include "compile/plan/problem.h"

typedef struct fm_cpsat_weight {
    uint32_t chunks, due, end;
    uint32_t latest;   /* position at which loading starts at the latest: later ones do not hold the chunks */
    uint32_t earliest; /* position at which it starts at the earliest: from an earlier one, preloading costs no more */
    bool     held;     /* due at slots[end]: still there while that position loads */
    int64_t  preload;  /* cost */
    uint32_t weight;   /* of the problem; not part of what makes two segments equal */
} fm_cpsat_weight;

typedef struct fm_cpsat_segment {
    uint32_t           *slots, *capacity; uint32_t positions; /* slots[0] = 0 */
    fm_cpsat_weight    *weights;          uint32_t count;     /* by falling due */
    uint64_t            chunks;           /* of all weights */
    uint32_t            m_peak;
    int64_t             step_cost;        /* of a step of distance: of a weight, or of a chunk (FM_DISTANCE_BYTES) */
    fm_overlap_distance distance;
    bool                peak_binds;       /* streaming everything would break C2 here */
} fm_cpsat_segment;

/* Weights that preload marks already, and those that are preloaded in some optimum (then marked too), cost *cost; the
 * others are cut into segments.  UNSUPPORTED: costs that CP-SAT's doubles do not hold exactly. */
flashmem_status fm_cpsat_cut(const fm_overlap_problem *problem, fm_arena *arena, uint8_t *preload, int64_t *cost,
                             fm_cpsat_segment **segments, uint32_t *count, flashmem_error *err);
bool fm_cpsat_segments_equal(const fm_cpsat_segment *a, const fm_cpsat_segment *b);

/* The next weight that differs in nothing from weight i; count when there is none. */
uint32_t fm_cpsat_next_equal(const fm_cpsat_segment *segment, uint32_t i);

/* The best schedule for a choice of preloaded weights: starts[i] gets the position at which loading of weight i starts
 * (FM_NO_LOAD when preloaded; of equal weights the first starts first), *cost all costs.  False: capacities or the peak
 * do not allow the choice. */
bool fm_cpsat_schedule(const fm_cpsat_segment *segment, const uint8_t *preload, fm_arena *scratch, uint32_t *starts,
                       int64_t *cost);

typedef struct fm_cpsat_probe {
    int64_t  bound;   /* no choice costs less */
    int64_t  cost;    /* of preload */
    uint8_t *preload; /* a choice that the segment allows; of equal weights the last are preloaded */
    uint8_t *fixed;   /* [count] FM_CPSAT_STREAMED, FM_CPSAT_PRELOADED or 0: the other value costs more than `cost` */
} fm_cpsat_probe;
enum { FM_CPSAT_STREAMED = 1, FM_CPSAT_PRELOADED = 2 };

/* Bounds from the total backlog alone (docs/planning.md), forwards and backwards.  Where the tables would take more
 * than 128 MiB: preload everything, bound 0, nothing fixed. */
void fm_cpsat_probe_segment(const fm_cpsat_segment *segment, fm_arena *scratch, fm_cpsat_probe *probe);

#endif
