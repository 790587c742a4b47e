/* What a person sees: log lines, progress (a bar on a terminal, plain lines elsewhere), errors, usage errors.
 * Who may include: cli. */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include <stdbool.h>

#include "flashmem/status.h"

/* Level by name (NULL: warn); false with a message for an unknown one. */
bool cli_console_setup(const char *level, bool quiet);
bool cli_console_quiet(void);
const char *cli_console_level(void); /* for child processes */
/* Callbacks for the library's options. */
void cli_console_attach(flashmem_log_fn *log, flashmem_progress_fn *progress, void **user);
void cli_console_clear_progress(void);

/* "flashmem: " + message on standard error; returns false so that callers can return it. */
__attribute__((format(printf, 1, 2))) bool cli_usage(const char *format, ...);
/* Prints the error; returns exit code 1. */
int cli_fail(const flashmem_error *error);

/* Set by SIGINT; progress callbacks return it, so that long work ends cleanly. */
bool cli_interrupted(void);
void cli_catch_interrupt(void (*also)(void)); /* also: async-signal-safe, may be NULL */

#endif
