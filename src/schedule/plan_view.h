/* A replayed program as plain data for users (flashmem_plan).  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_PLAN_VIEW_H
#define FM_SCHEDULE_PLAN_VIEW_H

#include "flashmem/plan.h"
#include "schedule/replay.h"

/* Arrays and texts come from arena or point into program's strings; model and device names are the caller's.  Fields of
 * overlap plans are filled where the replay is one of the pack; budget_bytes and seconds are left 0. */
void fm_plan_view(const fm_packed *packed, const fm_program *program, const fm_replay_request *request,
                  const fm_replay *replay, fm_arena *arena, flashmem_plan *out);

/* Part of the above: what a replay's stored overlap plan decides, load by load; objective, bound and solver are that
 * plan's.  steps and objects of out are there. */
void fm_plan_view_overlap(const fm_packed *packed, const fm_program *program, const fm_stored_overlap *overlap,
                          const fm_replay *replay, fm_arena *arena, flashmem_plan *out);

#endif
