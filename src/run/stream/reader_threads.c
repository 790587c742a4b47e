/* Reads through a few threads that call pread: where the system has no io_uring. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "run/stream/read_ops.h"

enum { MOST_THREADS = 16 };

typedef struct pread_pool {
    uint32_t        most;
    pthread_mutex_t mutex;
    pthread_cond_t  work, results;
    fm_read        *queue; /* ring of most */
    uint32_t        queue_head, queued;
    fm_read_done   *done; /* ring of most */
    uint32_t        done_head, done_count;
    bool            woken, stopping;
    pthread_t       threads[MOST_THREADS];
    uint32_t        thread_count;
} pread_pool;

static int32_t read_whole(const fm_read *read) {
    uint32_t done = 0;
    while (done < read->bytes) {
        ssize_t got = pread(read->fd, (char *)read->to + done, read->bytes - done, (off_t)(read->offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return done ? (int32_t)done : -errno;
        if (got == 0) break;
        done += (uint32_t)got;
        if (done % 4096 != 0) break; /* direct reads cannot go on from there */
    }
    return (int32_t)done;
}

static void *work(void *argument) {
    pread_pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->queued && !pool->stopping) pthread_cond_wait(&pool->work, &pool->mutex);
        if (!pool->queued) break;
        fm_read read = pool->queue[pool->queue_head];
        pool->queue_head = (pool->queue_head + 1) % pool->most;
        pool->queued--;
        pthread_mutex_unlock(&pool->mutex);
        int32_t result = read_whole(&read);
        pthread_mutex_lock(&pool->mutex);
        pool->done[(pool->done_head + pool->done_count++) % pool->most] = (fm_read_done){ read.tag, result };
        pthread_cond_signal(&pool->results);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void pool_close(void *state) {
    pread_pool *pool = state;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->thread_count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->results);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->queue);
    free(pool->done);
    free(pool);
}

static int pool_open(void **state, uint32_t most) {
    pread_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return -ENOMEM;
    pool->most = most;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->results, NULL);
    pool->queue = calloc(most, sizeof *pool->queue);
    pool->done = calloc(most, sizeof *pool->done);
    int failed = pool->queue && pool->done ? 0 : ENOMEM;
    for (uint32_t i = 0; !failed && i < most && i < MOST_THREADS; i++) {
        failed = pthread_create(&pool->threads[i], NULL, work, pool);
        if (!failed) pool->thread_count++;
        else if (pool->thread_count) failed = 0, most = i; /* fewer threads do as well */
    }
    if (failed) {
        pool_close(pool);
        return -failed;
    }
    *state = pool;
    return 0;
}

static int pool_submit(void *state, const fm_read *read) {
    pread_pool *pool = state;
    pthread_mutex_lock(&pool->mutex);
    pool->queue[(pool->queue_head + pool->queued++) % pool->most] = *read;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}

static int pool_wait(void *state, fm_read_done *done, uint32_t capacity, bool block) {
    pread_pool *pool = state;
    uint32_t    count = 0;
    pthread_mutex_lock(&pool->mutex);
    while (block && !pool->done_count && !pool->woken) pthread_cond_wait(&pool->results, &pool->mutex);
    if (block) pool->woken = false;
    for (; count < capacity && pool->done_count; pool->done_count--) {
        done[count++] = pool->done[pool->done_head];
        pool->done_head = (pool->done_head + 1) % pool->most;
    }
    pthread_mutex_unlock(&pool->mutex);
    return (int)count;
}

static void pool_wake(void *state) {
    pread_pool *pool = state;
    pthread_mutex_lock(&pool->mutex);
    pool->woken = true;
    pthread_cond_signal(&pool->results);
    pthread_mutex_unlock(&pool->mutex);
}

const fm_read_ops fm_read_threads = { "pread threads", pool_open, pool_submit, pool_wait, pool_wake, pool_close };
