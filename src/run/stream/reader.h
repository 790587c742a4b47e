/* The reader: a thread that reads placed objects from the pack, in order, straight to where they are planned to lie, as
 * early as the plan allows, and checks them on arrival; and rows of tables between them.
 *
 * Runs are numbered from 0.  Reads of run r that the plan wraps are made during run r - 1, right behind its own.
 * Who may include: run, tests. */
#ifndef FM_RUN_READER_H
#define FM_RUN_READER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "run/memory.h"
#include "run/stream/progress.h"
#include "run/stream/read_ops.h"

typedef struct fm_reader fm_reader;

typedef struct fm_read_object {
    uint64_t        file_offset, bytes; /* multiples of 4096 */
    char           *to;                 /* 4096-aligned */
    const uint64_t *checksums;          /* XXH3-64 of each unit from the object's first byte */
    uint64_t        unit_bytes;
    const uint64_t *marks;          /* rising byte counts below `bytes`, whole units: when so many of its first bytes have
                                       arrived, those who wait are told */
    uint32_t        mark_count;
    int32_t         after;          /* -1: the start of a run; else may be read once this launch has ended */
    uint8_t         wrap, resident; /* of the previous run; read in run 0 only */
    const char     *name;           /* of the weight, or what a bundle is called */
} fm_read_object;

typedef struct fm_reader_config {
    const char           *path;
    int                   fd;           /* of the pack, buffered; the caller's until close */
    const fm_read_object *objects;      /* in read order */
    uint32_t              count, steps; /* launches of one run */
    uint32_t              depth, bytes; /* reads in flight, bytes of one: a multiple of 4096 */
    const fm_read_ops    *ops;          /* NULL: io_uring where it works, else threads */
    bool                  buffered;     /* do not try direct reads */
    bool                  serial;       /* reads only inside fm_reader_phase, only for the present run */
    char                 *slots;        /* FM_ROW_SLOTS slots for table rows, 4096-aligned, or NULL */
    uint64_t              slot_bytes;
    fm_memory            *memory; /* populated ahead of the reads, or NULL */
    fm_progress          *progress;
    const fm_log         *log;
} fm_reader_config;

/* Starts the thread, and with it the reads of run 0 (unless serial).  config is copied; what it points to stays the
 * caller's until close. */
flashmem_status fm_reader_open(fm_reader **out, const fm_reader_config *config, flashmem_error *err);
/* Waits for reads in flight, drops the rest. NULL allowed. */
void fm_reader_close(fm_reader *reader);

/* The caller's thread: run r begins (r counts up from 0). */
void fm_reader_begin_run(fm_reader *reader, uint64_t run);
/* Whether that many first bytes of the object (a mark, or all) have arrived, checked, for that run.  Acquires them. */
bool fm_reader_has(const fm_reader *reader, uint32_t object, uint64_t bytes, uint64_t run);
/* Launches have ended: any thread, cheap; for fm_progress.on_completed. */
void fm_reader_completed(void *reader);
/* Serial: reads until the next object's memory is not free or all is read; returns when everything has arrived. */
flashmem_status fm_reader_phase(fm_reader *reader, flashmem_error *err);

/* Rows of a table.  The caller fills the upper part; order holds row << 32 | position for each wanted row, sorted. */
typedef struct fm_row_batch {
    const char     *name;
    uint64_t        file_offset, row_bytes, elements;
    const uint64_t *checksums; /* one per row of the table */
    bool            half;      /* stored binary16, wanted binary32 */
    const uint64_t *order;
    uint32_t        count;
    char           *out; /* [count][out_bytes] */
    uint64_t        out_bytes;
    uint64_t        bytes_read;       /* added to by the reader */
    uint32_t        next, unfinished; /* the reader's */
    _Atomic bool    done;
} fm_row_batch;
/* Reads, checks and converts the rows; blocks. */
flashmem_status fm_reader_rows(fm_reader *reader, fm_row_batch *batch, flashmem_error *err);

/* What was recorded of a run whose objects have all arrived; valid until the next run begins.  Nanoseconds of
 * CLOCK_MONOTONIC.  requested and arrived hold 0 for residents after run 0; a run that read
 * nothing has an empty record. */
typedef struct fm_chunk_record {
    uint64_t submitted, completed, check_from, check_to;
    uint64_t bytes;
    uint32_t object;
} fm_chunk_record;
typedef struct fm_read_record {
    uint64_t         run;
    fm_chunk_record *chunks;
    uint32_t         count;
    uint64_t        *requested, *arrived; /* per object */
} fm_read_record;
const fm_read_record *fm_reader_record(const fm_reader *reader, uint64_t run);
/* When that many first bytes of the object had arrived and been checked; 0: not read in this run. */
uint64_t fm_read_record_arrival(const fm_read_record *record, uint32_t object, uint64_t bytes);

bool        fm_reader_is_direct(const fm_reader *reader);
const char *fm_reader_backend(const fm_reader *reader); /* "io_uring"; "none" before the first read */

/* Backends to choose from, best first; NULL-terminated. */
const fm_read_ops *const *fm_read_backends(void);

#endif
