/* Overlap problems for tests: random small ones in named regimes, transformer-like ones, and their optimum by trying
 * everything.  Tests of the planner may include this. */
#ifndef FM_TESTS_PLAN_CASE_H
#define FM_TESTS_PLAN_CASE_H

#include "compile/plan/problem.h"

typedef struct plan_regime {
    const char *name;
    uint32_t    most_steps, most_weights;
    uint64_t    chunk;
    uint32_t    capacity;     /* of a step, at most, in chunks; a third of the steps have none */
    uint32_t    most_chunks;  /* of a weight */
    uint32_t    m_peak;       /* chunks, at most; 0 is possible */
    uint32_t    due_steps;    /* weights are first used by this many steps only, 0 = any */
    uint32_t    sizes;        /* distinct ones, 0 = any */
    double      lambda;
    bool        by_bytes;     /* FM_DISTANCE_BYTES */
} plan_regime;

extern const plan_regime plan_regimes[];
extern const uint32_t    plan_regime_count;

/* Random numbers of the case: the same for the same seed everywhere. */
uint32_t plan_random(uint64_t *seed, uint32_t below);

/* Finished; lives in the arena. */
fm_overlap_problem *plan_case_random(const plan_regime *regime, uint64_t seed, fm_arena *arena);
/* From steps' capacities and (first, bytes) pairs, in chunks of 256 KiB unless bytes say otherwise. */
typedef struct plan_weight {
    uint32_t first;
    uint64_t bytes;
} plan_weight;
fm_overlap_problem *plan_case_make(const uint64_t *capacity_bytes, uint32_t steps, const plan_weight *weights,
                                   uint32_t weight_count, uint64_t chunk, uint64_t m_peak_bytes, fm_arena *arena);
/* Decoder layers of 13 steps with 9 weights each (two of them norms), by the recipe "u:A" of docs/planning.md for
 * `tokens` tokens; slab 0: whole weights. */
typedef struct plan_transformer {
    uint32_t layers, width, inner, tokens, vocabulary;
    uint64_t chunk, slab;
    bool     fused; /* elementwise steps folded into their producers: a third of the capacity is left */
} plan_transformer;
fm_overlap_problem *plan_case_transformer(const plan_transformer *shape, fm_arena *arena);

/* The optimum over all p, each completed by serving the shortest remainder; at most 16 weights. */
int64_t plan_brute_force(const fm_overlap_problem *problem);
/* The optimum over all p and all x; for a few weights of a few chunks. */
int64_t plan_brute_force_loads(const fm_overlap_problem *problem);

#endif
