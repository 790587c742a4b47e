/* Adaptive fusion: which fused steps to split again because the capacity that fusing them lost costs the overlap plan
 * more than fusing them gains.  Knows problems and candidates, not graphs.  Who may include: compile, tests.
 *
 * Method (FlashMem, arXiv 2602.15379; docs/planning.md): start fully fused; rank candidates by the estimated penalty
 * lambda * (bytes that could be streamed instead of preloaded) + mu * (distance that could be saved); try them with a
 * real solve each; keep what lowers the objective. */
#ifndef FM_COMPILE_PLAN_FUSION_H
#define FM_COMPILE_PLAN_FUSION_H

#include "compile/plan/problem.h"

typedef struct fm_fusion_candidate {
    const char *name;           /* of the operator that would begin a step of its own */
    uint32_t    step;           /* of the fully fused problem */
    uint32_t    source;         /* what build knows it by */
    uint64_t    fused_bytes;    /* capacity of the fused step */
    uint64_t    split_bytes;    /* capacities of its two halves together, estimated */
} fm_fusion_candidate;

typedef struct fm_fusion {
    const fm_fusion_candidate *candidates; uint32_t candidate_count;
    double                     alpha; /* a split must give (1 + alpha) times the capacity to be tried; negative = 0.2 */
    /* The problem with these candidates split ([candidate_count]). */
    flashmem_status (*build)(void *user, const uint8_t *split, fm_arena *arena, fm_overlap_problem *out,
                             flashmem_error *err);
    void *user;
} fm_fusion;

typedef struct fm_fusion_result {
    uint8_t           *split; /* [candidate_count] */
    uint32_t           split_count, solves;
    double             fused_objective; /* units of the formula */
    double             seconds;
    fm_overlap_problem problem; /* as split */
    fm_overlap_plan    plan;
} fm_fusion_result;

/* Logs each split that is kept with its gain.  options->time_limit is for all solves together. */
flashmem_status fm_fusion_adapt(const fm_fusion *fusion, const fm_overlap_options *options, fm_arena *arena,
                                fm_fusion_result *out, flashmem_error *err);

#endif
