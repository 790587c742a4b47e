/* Asynchronous file reads: what the reader needs of a backend.  Tests put their own in front to inject faults.
 * Who may include: run, tests. */
#ifndef FM_RUN_READ_OPS_H
#define FM_RUN_READ_OPS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fm_read {
    void    *to;
    int      fd;
    uint64_t offset; /* in the file */
    uint32_t bytes;
    uint32_t tag; /* comes back with the result */
} fm_read;

typedef struct fm_read_done {
    uint32_t tag;
    int32_t  result; /* bytes read, fewer at the end of the file or when the system stops early; or -errno */
} fm_read_done;

/* All calls but wake come from the reader's thread; close when that has ended.  Integer results: 0 or a count, or -errno. */
typedef struct fm_read_ops {
    const char *name;
    int (*open)(void **state, uint32_t most);        /* at most `most` reads are ever unfinished */
    int (*submit)(void *state, const fm_read *read); /* does not block */
    /* Fills done; block: waits for a result or a wake, and may still give 0. */
    int (*wait)(void *state, fm_read_done *done, uint32_t capacity, bool block);
    void (*wake)(void *state);  /* any thread: makes the present or the next wait return */
    void (*close)(void *state); /* every read has come back, or the backend has failed */
} fm_read_ops;

extern const fm_read_ops fm_read_threads;
#ifdef FM_HAVE_LIBURING
extern const fm_read_ops fm_read_uring;
#endif

#endif
