/* An overlap problem and its plan as plain data for users (flashmem_plan).  Who may include: compile, tests. */
#ifndef FM_COMPILE_PLAN_OVERLAP_VIEW_H
#define FM_COMPILE_PLAN_OVERLAP_VIEW_H

#include "compile/plan/problem.h"
#include "flashmem/plan.h"

/* Fills what overlap plans have: objective to seconds, weights, loads, and capacities and loads of steps.  Steps that
 * are there already (of the replayed program, one for one) keep their other fields; else they are made, their times one
 * after the other.  Arrays come from arena. */
void fm_overlap_view(const fm_overlap_problem *problem, const fm_overlap_plan *solved, fm_arena *arena,
                     flashmem_plan *out);

#endif
