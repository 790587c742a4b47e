/* A budget as users give it, made into a plan: bytes, percent, automatic.  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_BUDGET_H
#define FM_SCHEDULE_BUDGET_H

#include "flashmem/plan.h"
#include "schedule/replay.h"

typedef struct fm_budget {
    flashmem_budget_kind kind;
    double               value;
    uint64_t             available;    /* bytes free in the system; AUTO, LEAVE: 0 is an error */
    uint64_t             weight_bytes; /* what percents are of */
} fm_budget;

/* Kind and value in range; INVALID_ARGUMENT. */
flashmem_status fm_budget_check(flashmem_budget_kind kind, double value, flashmem_error *err);
/* Sets request's budget, automatic and minimum, and makes the plan; percents are raised to the minimum (logged).
 * BUDGET: bytes below the minimum, which the message states. */
flashmem_status fm_replay_make_within(const fm_packed *packed, const fm_program *program, const fm_budget *budget,
                                      fm_replay_request *request, const fm_log *log, fm_arena *arena, fm_replay *out,
                                      flashmem_error *err);
/* Per value: 1 where the caller's memory is bound: inputs, and outputs that do not alias anything if outputs is set. */
const uint8_t *fm_replay_external(const fm_program *program, bool outputs, fm_arena *arena);

#endif
