/* Overlap plans on the command line: the options they share, the device they are for, and adding one to a pack.
 * Who may include: cli. */
#ifndef CLI_OVERLAP_H
#define CLI_OVERLAP_H

#include "flashmem/planner.h"
#include "options.h"

/* Fills objective and what belongs to it.  False: bad usage, message printed. */
bool cli_overlap_options(const cli_options *options, flashmem_plan_options *to);
/* --profile device: the profile of the present device, measured in a few seconds where there is none yet; to->profile gets
 * its path.  Exit code, with the message printed. */
int cli_overlap_profile(const cli_options *options, flashmem_plan_options *to);
/* The present device, or what is remembered of it, for weights of that layout.  Exit code, with the message printed. */
int cli_describe_device(const cli_options *options, const flashmem_run_options *run, flashmem_layout layout,
                        flashmem_device *device);
/* Plans the pack's program and keeps the plan in the pack.  Exit code, with the message printed. */
int cli_overlap_save(const cli_options *options, const char *pack, const flashmem_run_options *run,
                     const flashmem_plan_options *to);

#endif
