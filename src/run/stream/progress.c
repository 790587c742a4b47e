/* Sleeping and waking of the caller's thread.  A semaphore, not a condition variable: cancel may come from a signal
 * handler, where sem_post is allowed. */
#include "run/stream/progress.h"

#include <errno.h>
#include <string.h>

void fm_progress_init(fm_progress *progress) {
    memset(progress, 0, sizeof *progress);
    sem_init(&progress->wake, 0, 0);
    pthread_mutex_init(&progress->mutex, NULL);
}

void fm_progress_deinit(fm_progress *progress) {
    pthread_mutex_destroy(&progress->mutex);
    sem_destroy(&progress->wake);
}

void fm_progress_wake(fm_progress *progress, int reason) {
    if (atomic_load(&progress->asleep) & reason && atomic_exchange(&progress->asleep, 0)) sem_post(&progress->wake);
}

enum { ANY_REASON = FM_WAKE_LAUNCHES | FM_WAKE_ARRIVALS | FM_WAKE_READER };

void fm_progress_completed(fm_progress *progress, uint64_t launches) {
    uint64_t seen = atomic_load(&progress->completed);
    while (seen < launches && !atomic_compare_exchange_weak(&progress->completed, &seen, launches)) {
    }
    if (progress->on_completed) progress->on_completed(progress->user);
    if (atomic_load(&progress->completed) >= atomic_load(&progress->wanted))
        fm_progress_wake(progress, FM_WAKE_LAUNCHES);
}

void fm_progress_fail(fm_progress *progress, const flashmem_error *error) {
    pthread_mutex_lock(&progress->mutex);
    if (progress->error.status == FLASHMEM_OK) progress->error = *error;
    pthread_mutex_unlock(&progress->mutex);
    atomic_store(&progress->failed, 1);
    fm_progress_wake(progress, ANY_REASON);
}

void fm_progress_cancel(fm_progress *progress) {
    atomic_store(&progress->cancelled, 1);
    fm_progress_wake(progress, ANY_REASON);
}

flashmem_status fm_progress_status(fm_progress *progress, flashmem_error *err) {
    if (atomic_load(&progress->failed)) {
        pthread_mutex_lock(&progress->mutex);
        flashmem_status status = fm_fail(err, progress->error.status, "%s", progress->error.message);
        pthread_mutex_unlock(&progress->mutex);
        return status;
    }
    if (atomic_load(&progress->cancelled)) return fm_fail(err, FLASHMEM_CANCELLED, "cancelled by the caller");
    return FLASHMEM_OK;
}

static bool interrupted(fm_progress *progress) {
    return atomic_load(&progress->failed) || atomic_load(&progress->cancelled);
}

static void sleep_until(fm_progress *progress, int reason, bool (*ready)(void *user), void *user, bool interruptible) {
    while (!(interruptible && interrupted(progress)) && !ready(user)) {
        atomic_store(&progress->asleep, reason);
        if ((interruptible && interrupted(progress)) || ready(user)) {
            atomic_store(&progress->asleep, 0); /* a post that came between costs one spare round of a later sleep */
            return;
        }
        while (sem_wait(&progress->wake) != 0 && errno == EINTR) {
        }
    }
}

flashmem_status fm_progress_wait(fm_progress *progress, int reason, bool (*ready)(void *user), void *user,
                                 flashmem_error *err) {
    sleep_until(progress, reason, ready, user, true);
    return fm_progress_status(progress, err);
}

void fm_progress_sleep(fm_progress *progress, int reason, bool (*ready)(void *user), void *user) {
    sleep_until(progress, reason, ready, user, false);
}

static bool launches_ended(void *user) {
    const fm_progress *progress = user;
    return atomic_load(&progress->completed) >= atomic_load(&progress->wanted);
}

flashmem_status fm_progress_wait_launches(fm_progress *progress, uint64_t launches, flashmem_error *err) {
    atomic_store(&progress->wanted, launches);
    return fm_progress_wait(progress, FM_WAKE_LAUNCHES, launches_ended, progress, err);
}
