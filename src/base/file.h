/* Files: whole reads at offsets, and writers whose result appears complete or not at all.  Anyone may include. */
#ifndef FM_BASE_FILE_H
#define FM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Opens for reading; path names the file in messages.  *size gets its bytes.  A directory or FIFO is IO. */
flashmem_status fm_file_open(const char *path, int *fd, uint64_t *size, flashmem_error *err);

/* Reads exactly bytes at offset, continuing short reads; end of file is IO naming path, offset and what was found. */
flashmem_status fm_file_read(int fd, const char *path, uint64_t offset, void *to, size_t bytes, flashmem_error *err);

/* A file being written under a temporary name in the target's folder.  A path that exists must be a regular file, or a
 * link to one, which stays a link: devices, pipes and folders are IO and stay as they are. */
typedef struct fm_file_writer {
    int      fd;
    uint64_t size; /* end of what was written */
    char    *path, *temporary;
} fm_file_writer;

flashmem_status fm_file_writer_open(fm_file_writer *writer, const char *path, flashmem_error *err);
/* Grows the file as needed. */
flashmem_status fm_file_writer_write(fm_file_writer *writer, uint64_t offset, const void *from, size_t bytes,
                                     flashmem_error *err);
/* Renames over path: the file exists whole from here on. sync: fsync first. */
flashmem_status fm_file_writer_commit(fm_file_writer *writer, bool sync, flashmem_error *err);
/* Removes the temporary; a no-op after commit or on a zeroed writer. */
void fm_file_writer_abort(fm_file_writer *writer);

/* Whole small file into malloc'd memory (limit: refuse above); *bytes excludes the added final NUL. */
flashmem_status fm_file_load(const char *path, size_t limit, void **data, size_t *bytes, flashmem_error *err);
flashmem_status fm_file_save(const char *path, const void *data, size_t bytes, flashmem_error *err);
/* mkdir -p. */
flashmem_status fm_file_make_folders(const char *path, flashmem_error *err);
/* "$FLASHMEM_CACHE_DIR", "$XDG_CACHE_HOME/flashmem", "$HOME/.cache/flashmem", or "/tmp/flashmem-UID"; malloc'd. */
char *fm_file_cache_folder(void);

#endif
