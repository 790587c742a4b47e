/* What the fuzzers share.  LLVMFuzzerTestOneInput is libFuzzer's; replay.c calls it for files instead. */
#ifndef FM_FUZZ_INPUT_H
#define FM_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A file without a name that holds data; its path is valid until fuzz_file_close. */
typedef struct fuzz_file {
    int  fd;
    char path[64];
} fuzz_file;
void fuzz_file_open(fuzz_file *file, const void *data, size_t bytes);
void fuzz_file_close(fuzz_file *file);

#endif
