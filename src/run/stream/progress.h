/* How far a model's runs have come, and what its caller's thread sleeps on.
 *
 * Three parties meet here: the device reports completed launches, the reader reports arrived objects, the caller's
 * thread waits for either.  Everything that wakes is an atomic store and at most one sem_post.
 * Who may include: run, tests. */
#ifndef FM_RUN_PROGRESS_H
#define FM_RUN_PROGRESS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Reasons to wake; failure and cancelling always do.  On two cores that both compute a needless wake costs a kernel. */
enum { FM_WAKE_LAUNCHES = 1, FM_WAKE_ARRIVALS = 2, FM_WAKE_READER = 4 };

typedef struct fm_progress {
    _Atomic uint64_t completed; /* launches that have ended since open: run * steps + step + 1 */
    _Atomic int      cancelled, failed;
    _Atomic int      asleep; /* what wakes the caller's thread, which is about to sleep or sleeps: FM_WAKE_*, or 0 */
    _Atomic uint64_t wanted; /* FM_WAKE_LAUNCHES: not before completed is this large */
    sem_t            wake;
    pthread_mutex_t  mutex;           /* of error */
    flashmem_error   error;           /* the first failure of any thread */
    void (*on_completed)(void *user); /* told after completed has grown; set before the first launch */
    void *user;
} fm_progress;

void fm_progress_init(fm_progress *progress);
void fm_progress_deinit(fm_progress *progress);

/* Any thread. */
void fm_progress_completed(fm_progress *progress, uint64_t launches); /* out of order allowed: the largest counts */
void fm_progress_fail(fm_progress *progress, const flashmem_error *error);
void fm_progress_wake(fm_progress *progress, int reason);
void fm_progress_cancel(fm_progress *progress); /* async-signal-safe */

/* The caller's thread: sleeps until ready(user), which only changes with `reason`, or cancelled or failed; the failure
 * is copied to err. */
flashmem_status fm_progress_wait(fm_progress *progress, int reason, bool (*ready)(void *user), void *user,
                                 flashmem_error *err);
/* The same, but only ready(user) ends it. */
void fm_progress_sleep(fm_progress *progress, int reason, bool (*ready)(void *user), void *user);
/* Until that many launches have ended. */
flashmem_status fm_progress_wait_launches(fm_progress *progress, uint64_t launches, flashmem_error *err);
/* OK, CANCELLED or the failure. */
flashmem_status fm_progress_status(fm_progress *progress, flashmem_error *err);

#endif
