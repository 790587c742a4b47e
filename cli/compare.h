/* plan --compare: every baseline policy beside ours, at one budget.  Who may include: cli. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "planning.h"

/* Plans and simulates each with an open planning; with --run each is also run, in turns, from a cold page cache in fresh
 * processes.  Prints a table and writes --json.  Exit code, with the message printed. */
int cli_compare(const cli_options *options, cli_planning *planning);

#endif
