/* Files that appear complete or not at all: written under a temporary name beside the target, then renamed.  What
 * exists and is no regular file (a device, a pipe, a folder) is refused and stays.  Who may include: cli. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>

#include "flashmem/status.h"

typedef struct cli_output {
    char target[4096];    /* links followed: a link stays one */
    char temporary[4096]; /* to be opened by the caller */
} cli_output;

bool cli_output_begin(cli_output *output, const char *path, flashmem_error *error);
/* written: whether all of it is in the temporary file; if not, errno says why, and the file is removed. */
bool cli_output_end(const cli_output *output, const char *path, bool written, flashmem_error *error);

#endif
