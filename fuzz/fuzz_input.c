/* Files in memory. */
#include "fuzz/fuzz_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_file_open(fuzz_file *file, const void *data, size_t bytes) {
    file->fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (file->fd < 0 || (bytes && write(file->fd, data, bytes) != (ssize_t)bytes)) abort();
    snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
}

void fuzz_file_close(fuzz_file *file) { close(file->fd); }
