/* A reading backend that misbehaves on request, in front of a real one.  Tests of run include it. */
#ifndef FM_TESTS_FAULTY_READS_H
#define FM_TESTS_FAULTY_READS_H

#include <stdint.h>

#include "run/stream/read_ops.h"

/* Set before a reader is opened with faulty_ops; counts reads from 0. */
typedef struct faulty_plan {
    const fm_read_ops *under;   /* the real backend */
    int64_t            fail_at; /* this read gives -error; -1: none */
    int                error;
    int64_t            short_at; /* this read gives short_bytes only; -1: none */
    int32_t            short_bytes;
    int64_t            flip_at; /* one byte of what this read gave is changed, counting reads above 32 KiB (smaller
                                      ones may be table rows, whose padding nothing covers); -1: none */
    int                refuse_direct;      /* every read through an fd other than this gives -EINVAL; 0: off */
    int                refuse_open;        /* open fails with this errno */
    int64_t            reads, large_reads; /* submitted so far */
    int64_t            hold_at; /* this read comes back only once released is set and the reader looks again; -1: none */
    _Atomic int        released;
    uint32_t           delay; /* microseconds before every read */
} faulty_plan;

extern faulty_plan       faulty;
extern const fm_read_ops faulty_ops;
void                     faulty_reset(const fm_read_ops *under);

#endif
