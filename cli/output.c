/* Output files. */
#include "output.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arrays.h"

bool cli_output_begin(cli_output *output, const char *path, flashmem_error *error) {
    struct stat info;
    bool        exists = stat(path, &info) == 0;
    if (!*path) return cli_error(error, FLASHMEM_INVALID_ARGUMENT, "the name of an output file is empty");
    if (exists && !S_ISREG(info.st_mode))
        return cli_error(error, FLASHMEM_IO, "%s: is %s, only a regular file can be replaced", path,
                         S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
    char *real = exists ? realpath(path, NULL) : NULL;
    int   length = snprintf(output->target, sizeof output->target, "%s", real ? real : path);
    free(real);
    if (length >= (int)sizeof output->target ||
        snprintf(output->temporary, sizeof output->temporary, "%s.%ld.tmp", output->target, (long)getpid()) >=
            (int)sizeof output->temporary)
        return cli_error(error, FLASHMEM_INVALID_ARGUMENT, "%s: the path is too long", path);
    return true;
}

bool cli_output_end(const cli_output *output, const char *path, bool written, flashmem_error *error) {
    if (written && rename(output->temporary, output->target) == 0) return true;
    int why = errno ? errno : EIO;
    unlink(output->temporary);
    return cli_error(error, why == ENOSPC ? FLASHMEM_DISK_FULL : FLASHMEM_IO, "%s: %s", path, strerror(why));
}
