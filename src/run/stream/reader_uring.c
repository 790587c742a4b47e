/* Reads through io_uring.  The ring belongs to the reader's thread; wakes arrive through an eventfd on which one read
 * is always pending. */
#ifdef FM_HAVE_LIBURING
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "run/stream/read_ops.h"

static const uint64_t WAKE = UINT64_MAX;
enum { LARGE_READ = 64 << 10 };

typedef struct ring {
    struct io_uring uring;
    int             event;
    uint64_t        event_value; /* target of the pending read of the event */
} ring;

static struct io_uring_sqe *next_entry(ring *r) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
    if (!sqe && io_uring_submit(&r->uring) >= 0) sqe = io_uring_get_sqe(&r->uring);
    return sqe;
}

static int arm_wake(ring *r) {
    struct io_uring_sqe *sqe = next_entry(r);
    if (!sqe) return -EBUSY;
    io_uring_prep_read(sqe, r->event, &r->event_value, sizeof r->event_value, 0);
    sqe->user_data = WAKE;
    int submitted = io_uring_submit(&r->uring);
    return submitted < 0 ? submitted : 0;
}

static void ring_close(void *state) {
    ring *r = state;
    io_uring_queue_exit(&r->uring);
    close(r->event);
    free(r);
}

/* Newest kernels deliver completions only when asked for, older ones interrupt: take what there is. */
static int init_queue(struct io_uring *uring, unsigned entries) {
    int result = -EINVAL;
#if defined(IORING_SETUP_SINGLE_ISSUER) && defined(IORING_SETUP_DEFER_TASKRUN)
    result = io_uring_queue_init(entries, uring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
#endif
    return result == -EINVAL ? io_uring_queue_init(entries, uring, 0) : result;
}

static int ring_open(void **state, uint32_t most) {
    ring *r = calloc(1, sizeof *r);
    if (!r) return -ENOMEM;
    r->event = eventfd(0, EFD_CLOEXEC);
    int result = r->event < 0 ? -errno : init_queue(&r->uring, most + 4);
    if (result < 0) {
        if (r->event >= 0) close(r->event);
        free(r);
        return result;
    }
    result = arm_wake(r);
    if (result < 0) {
        ring_close(r);
        return result;
    }
    *state = r;
    return 0;
}

/* Large reads start at once; small ones come in batches and start together when the reader waits. */
static int ring_submit(void *state, const fm_read *read) {
    ring                *r = state;
    struct io_uring_sqe *sqe = next_entry(r);
    if (!sqe) return -EBUSY;
    io_uring_prep_read(sqe, read->fd, read->to, read->bytes, read->offset);
    sqe->user_data = read->tag;
    if (read->bytes < LARGE_READ) return 0;
    int submitted;
    while ((submitted = io_uring_submit(&r->uring)) == -EINTR) {
    }
    return submitted < 0 ? submitted : 0;
}

static int ring_wait(void *state, fm_read_done *done, uint32_t capacity, bool block) {
    ring                *r = state;
    struct io_uring_cqe *cqe = NULL;
    uint32_t             count = 0;
    int result = block ? io_uring_submit_and_wait(&r->uring, 1) : io_uring_submit_and_get_events(&r->uring);
    if (result < 0) return result == -EINTR || result == -EAGAIN ? 0 : result;
    while (count < capacity && io_uring_peek_cqe(&r->uring, &cqe) == 0) {
        uint64_t tag = cqe->user_data;
        int32_t  got = cqe->res;
        io_uring_cqe_seen(&r->uring, cqe);
        if (tag != WAKE) {
            done[count++] = (fm_read_done){ (uint32_t)tag, got };
        } else {
            result = arm_wake(r);
            if (result < 0) return result;
        }
    }
    return (int)count;
}

static void ring_wake(void *state) {
    ring    *r = state;
    uint64_t one = 1;
    ssize_t  put;
    do put = write(r->event, &one, sizeof one);
    while (put < 0 && errno == EINTR); /* a full counter wakes as well */
}

const fm_read_ops fm_read_uring = { "io_uring", ring_open, ring_submit, ring_wait, ring_wake, ring_close };
#endif
