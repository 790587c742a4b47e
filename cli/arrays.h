/* NumPy files: .npy (format versions 1 to 3) and .npz (through minizip).  Who may include: cli. */
#ifndef CLI_ARRAYS_H
#define CLI_ARRAYS_H

#include <stdbool.h>

#include "flashmem/status.h"

typedef struct cli_array {
    char          *name; /* from NAME=FILE or the npz member; malloc'd */
    flashmem_dtype dtype;
    uint32_t       rank;
    int64_t        dims[FLASHMEM_MAX_RANK];
    uint64_t       bytes;
    void          *data; /* row-major, 64-byte aligned, free()d */
} cli_array;

typedef struct cli_arrays {
    cli_array *items;
    int        count;
} cli_arrays;
void       cli_arrays_free(cli_arrays *arrays);
cli_array *cli_arrays_find(const cli_arrays *arrays, const char *name);

/* "NAME=FILE.npy", "FILE.npz", or "FILE.npy" (named after the file).  Fortran order and big-endian are refused with the
 * call that converts.  False: error is written. */
bool cli_arrays_read(cli_arrays *arrays, const char *spec, flashmem_error *error);
/* Appends an owned array. */
cli_array *cli_arrays_add(cli_arrays *arrays, const char *name, const flashmem_tensor_info *info);

/* Writes version 1.0 under a temporary name and renames.  bfloat16 is written as uint16 (NumPy has none). */
bool cli_array_write(const char *path, flashmem_dtype dtype, uint32_t rank, const int64_t *dims, const void *data,
                     uint64_t bytes, flashmem_error *error);

const char *cli_dtype_name(flashmem_dtype dtype); /* NumPy's: "float32" */
/* "1x128", "scalar"; returns buffer. */
const char *cli_shape_print(uint32_t rank, const int64_t *dims, char *buffer, size_t bytes);
bool        cli_error(flashmem_error *error, flashmem_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
