/* Facts of a replay that simulating starts from, and the memory curve it ends with.
 * Who may include: schedule/simulate*.c. */
#ifndef FM_SCHEDULE_SIMULATE_INTERNAL_H
#define FM_SCHEDULE_SIMULATE_INTERNAL_H

#include "schedule/simulate.h"

typedef struct fm_simulate_need { /* that many bytes of an object, from its first */
    uint32_t object;
    uint64_t bytes;
} fm_simulate_need;

/* What each launch waits for: its objects, whole, what its conversions copy, and what an overlap plan wants there.  *first gets rows
 * per launch, [launches + 1]. */
fm_simulate_need *fm_simulate_needs(const fm_simulate_input *input, uint32_t **first, fm_arena *arena);
double            fm_simulate_convert_seconds(const fm_simulate_input *input, uint32_t convert);
/* Bytes of rows that a launch reads from the pack itself; 0: it is no GATHER_ROWS. */
double fm_simulate_row_bytes(const fm_simulate_input *input, uint32_t launch);
/* The curve, peak and average of what out's times say. */
void fm_simulate_memory(const fm_simulate_input *input, fm_arena *arena, flashmem_simulation *out);

#endif
