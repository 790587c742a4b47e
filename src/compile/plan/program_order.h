/* The order of a program's kernel steps, chosen by CP-SAT among those that its values allow.  Who may include: compile,
 * tests. */
#ifndef FM_COMPILE_PLAN_PROGRAM_ORDER_H
#define FM_COMPILE_PLAN_PROGRAM_ORDER_H

#include "compile/plan/cpsat/cpsat.h"
#include "contract/pack.h"

typedef struct fm_program_order {
    uint64_t before, peak,
        bound;      /* least memory that the given order, the new one, any one can run in; slabs are not cut */
    uint32_t moved; /* steps that are elsewhere now */
} fm_program_order;

/* Reorders program's steps (a copy of them in arena) for the least peak.  Steps keep the order of writes to a value and of
 * reads around them.  Statuses as of fm_cpsat_order_peak. */
flashmem_status fm_program_reorder(const fm_packed *packed, fm_program *program, const fm_cpsat_limits *limits,
                                   fm_arena *arena, fm_program_order *out, flashmem_error *err);

#endif
