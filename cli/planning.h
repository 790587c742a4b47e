/* Planning a model or pack without running it, for the present device or a described one.  Who may include: cli. */
#ifndef CLI_PLANNING_H
#define CLI_PLANNING_H

#include "flashmem/planner.h"
#include "options.h"

typedef struct cli_planning {
    flashmem_planner     *planner;
    flashmem_device       device;
    flashmem_plan_options to; /* .device points above, unless an instance is planned */
    double               *step_seconds; /* of --step-times; NULL */
} cli_planning;

/* planning_times.c: p->step_seconds from --step-times, for the open planner.  Exit code, with the message printed. */
int  cli_planning_times(cli_planning *p, const char *text);
/* Fills the device (--device-file, or the present one; --disk-rate and the like over both), opens a planner in the layout
 * that it wants, and completes p->to, of which flashmem_plan_options_init and
 * cli_overlap_options have done their part.  Returns 0, or an exit code with
 * the message printed; cli_planning_close in any case. */
int  cli_planning_open(cli_planning *p, const cli_options *options, const flashmem_run_options *run);
void cli_planning_close(cli_planning *p);

#endif
