/* The solvers of the overlap problem, and what they have in common.  Who may include: compile/plan, tests. */
#ifndef FM_COMPILE_PLAN_SOLVERS_H
#define FM_COMPILE_PLAN_SOLVERS_H

#include "compile/plan/problem.h"

/* A solver fills every field of the plan but seconds, which fm_overlap_solve measures.  Memory that stays comes from
 * arena. */
typedef flashmem_status fm_overlap_solver_fn(const fm_overlap_problem *problem, const fm_overlap_options *options,
                                             fm_arena *arena, fm_overlap_plan *plan, flashmem_error *err);
fm_overlap_solver_fn fm_overlap_auto, fm_overlap_labels, fm_overlap_cpsat, fm_overlap_greedy, fm_overlap_width1,
    fm_overlap_soften, fm_overlap_preload, fm_overlap_window;

/* Integer cost of preloading weight w; of one step of distance of one chunk (FM_DISTANCE_BYTES). */
int64_t fm_overlap_preload_cost(const fm_overlap_problem *problem, const fm_overlap_weight *w);
int64_t fm_overlap_chunk_cost(const fm_overlap_problem *problem);
/* Objective, preload_bytes and peak_chunks of a plan whose preload, first_load and loads stand. */
void fm_overlap_measure(const fm_overlap_problem *problem, fm_overlap_plan *plan, fm_arena *arena);
/* Sets bound and the status that follows from it. */
void fm_overlap_prove(fm_overlap_plan *plan, int64_t bound);

/* 150 s unless options say otherwise; a limit that is not a positive number is no time at all. */
double fm_overlap_time_limit(const fm_overlap_options *options);

#endif
