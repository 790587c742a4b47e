/* Discrete-event simulation of a replay on a described device.  Pure C, deterministic, no clock.
 * Who may include: compile, run, tests.
 *
 *     disk    requests of read_bytes in the plan's order, at most read_depth in flight; each may begin request_seconds
 *             after it was submitted, one is transferred at a time; rows of a GATHER_ROWS step go first
 *     reader  checks what has arrived, request by request, at check_bytes_per_second
 *     device  from start-up on, in order: the conversions of a step, the step; both wait for every byte they need
 *     memory  an object's first request waits for the end of the step that the plan says; it is free at the end of the
 *             step that the plan says
 *
 * The first run of a model is simulated: residents are read too, reads ahead of a later run are not. */
#ifndef FM_SCHEDULE_SIMULATE_H
#define FM_SCHEDULE_SIMULATE_H

#include "flashmem/simulation.h"
#include "schedule/replay.h"

typedef struct fm_simulate_input {
    const fm_packed       *packed;
    const fm_program      *program;
    const fm_replay       *replay;       /* verified */
    const flashmem_device *device;       /* checked */
    const double          *step_seconds; /* [program steps] whole kernel steps, instead of the device's rates; NULL */
} fm_simulate_input;

/* All arrays come from arena.  INTERNAL: a launch waits for what is never read. */
flashmem_status fm_simulate(const fm_simulate_input *input, fm_arena *arena, flashmem_simulation *out,
                            flashmem_error *err);
/* Independent of fm_simulate: no machine does two things at once, nothing happens before what it waits for, bytes alive
 * add up and stay under what the plan reserved, sums are those of their parts.  INTERNAL. */
flashmem_status fm_simulate_verify(const fm_simulate_input *input, const flashmem_simulation *simulation,
                                   flashmem_error *err);

#endif
