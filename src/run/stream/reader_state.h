/* The reader's own state, shared by reader.c, arrival.c and rows.c.  Nobody else includes this. */
#ifndef FM_RUN_READER_STATE_H
#define FM_RUN_READER_STATE_H

#include <pthread.h>

#include "run/stream/reader.h"
#include "schedule/replay.h"

/* A read in flight, or come back and waiting for the reads before it. */
typedef struct chunk {
    uint64_t run, offset, submitted, completed; /* offset inside the object */
    uint32_t object, bytes;
    bool     done, direct;
} chunk;

/* A span of table rows in flight: entries [first, last) of the batch's order. */
typedef struct row_span {
    uint64_t file_offset;
    uint32_t bytes, first, last;
    bool     busy, direct;
} row_span;

struct fm_reader {
    fm_reader_config   config;
    int                direct_fd; /* -1: none; stays open after a fallback: reads may be in flight through it */
    bool               use_direct;
    const fm_read_ops *ops;
    void              *state; /* of ops; set before `ready` */
    pthread_t          thread, populator;
    bool               populates; /* populator runs until close */

    /* Between threads. */
    _Atomic(const char *)   backend;
    _Atomic uint64_t        pokes, needs, runs_begun;
    _Atomic int             asleep, stopping, dead, phase, direct;
    _Atomic(fm_row_batch *) rows;
    _Atomic uint64_t       *arrived; /* per object: pages (of 4 KiB) of all runs that have arrived; only grows */

    /* The thread's own. */
    uint64_t       run, offset; /* the next chunk's */
    uint32_t       object;
    bool           exhausted; /* nothing is left for any run */
    chunk         *ring;      /* in order of submission */
    uint32_t       ring_size, ring_head, ring_count;
    uint32_t       in_flight, chunks_in_flight;
    uint64_t       checked; /* bytes of the oldest unfinished object whose checksums have been compared */
    uint32_t       mark;    /* the next of its marks */
    row_span       spans[FM_ROW_SLOTS];
    uint32_t       chunk_capacity; /* of each record */
    fm_read_record records[2];     /* by the parity of the run */
    fm_read_record no_record;
};

/* arrival.c: a chunk came back with result (bytes or -errno); submits again what the system interrupted. */
void fm_reader_chunk_done(fm_reader *reader, uint32_t tag, int32_t result);
/* arrival.c: compares the checksums of the oldest chunk, if it has come back, and publishes its object with the last
 * one.  False: nothing to do.  One at a time, so that the disk never waits for checksums. */
bool fm_reader_check_oldest(fm_reader *reader);
/* rows.c */
void fm_reader_submit_rows(fm_reader *reader);
void fm_reader_rows_done(fm_reader *reader, uint32_t slot, int32_t result);
/* reader.c */
/* False: it could not be started, and the reader has failed. */
bool fm_reader_submit(fm_reader *reader, void *to, uint64_t offset, uint32_t bytes, uint32_t tag);
void fm_reader_fail(fm_reader *reader, const flashmem_error *error);
bool fm_reader_halted(const fm_reader *reader);
/* Falls back to buffered reads: the file system refused direct ones. */
void fm_reader_leave_direct(fm_reader *reader);
/* arrival.c: reads the rest of a range through the page cache and drops it from there. */
flashmem_status fm_reader_finish_short(fm_reader *reader, char *to, uint64_t offset, uint32_t have, uint32_t want,
                                       flashmem_error *err);
void            fm_reader_drop_cached(fm_reader *reader, uint64_t offset, uint64_t bytes);

#endif
