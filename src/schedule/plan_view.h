/* A replayed program as plain data for users (flashmem_plan).  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_PLAN_VIEW_H
#define FM_SCHEDULE_PLAN_VIEW_H

#include "flashmem/plan.h"
#include "schedule/replay.h"

/* Arrays and texts come from arena or point into program's strings; model and device names are the caller's.  Fields of
 * overlap plans, budget_bytes and seconds are left 0. */
void fm_plan_view(const fm_packed *packed, const fm_program *program, const fm_replay_request *request,
                  const fm_replay *replay, fm_arena *arena, flashmem_plan *out);

#endif
