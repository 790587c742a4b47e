/* The budget/latency curve of a model: plans from the minimum budget to off.  Who may include: cli. */
#ifndef CLI_CURVE_H
#define CLI_CURVE_H

#include <stdio.h>

#include "flashmem/planner.h"

#define CLI_CURVE_ROWS 12

typedef struct cli_curve_row {
    uint64_t budget, peak;   /* bytes: asked for, and what the plan takes */
    double   latency, stall; /* predicted, seconds, first run */
    double   average;        /* bytes, over the first run */
    uint64_t resident;       /* bytes kept for later runs */
} cli_curve_row;

typedef struct cli_curve {
    uint32_t      count;
    cli_curve_row rows[CLI_CURVE_ROWS];
} cli_curve;

/* Budgets in equal ratios from the minimum to the peak of the plan without a budget; the budget of options is not
 * used.  Statuses of flashmem_planner_plan; CANCELLED on an interrupt. */
flashmem_status cli_curve_make(flashmem_planner *planner, const flashmem_plan_options *options, cli_curve *curve,
                               flashmem_error *error);
void            cli_curve_text(const cli_curve *curve, FILE *to);

#endif
