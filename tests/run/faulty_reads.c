#include "tests/run/faulty_reads.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAGS = 4096 };

faulty_plan faulty;

static int64_t      read_of_tag[TAGS], large_of_tag[TAGS];
static fm_read      reads_by_tag[TAGS];
static fm_read_done held;
static bool         have_held;

void faulty_reset(const fm_read_ops *under) {
    faulty = (faulty_plan){ .under = under, .fail_at = -1, .short_at = -1, .flip_at = -1, .hold_at = -1 };
    have_held = false;
}

static int faulty_open(void **state, uint32_t most) {
    if (faulty.refuse_open) return -faulty.refuse_open;
    return faulty.under->open(state, most);
}

static int faulty_submit(void *state, const fm_read *read) {
    read_of_tag[read->tag] = faulty.reads++;
    large_of_tag[read->tag] = read->bytes > 32 << 10 ? faulty.large_reads++ : -1;
    reads_by_tag[read->tag] = *read;
    if (faulty.delay) usleep(faulty.delay);
    return faulty.under->submit(state, read);
}

/* Takes the held read out of what has come, or gives it back. */
static int hold(fm_read_done *done, int count, uint32_t capacity) {
    for (int i = 0; i < count && !have_held; i++) {
        if (faulty.hold_at < 0 || read_of_tag[done[i].tag] != faulty.hold_at) continue;
        held = done[i];
        have_held = true;
        done[i] = done[--count];
    }
    if (!have_held || !atomic_load(&faulty.released) || count >= (int)capacity) return count;
    done[count++] = held;
    have_held = false;
    faulty.hold_at = -1;
    return count;
}

static int faulty_wait(void *state, fm_read_done *done, uint32_t capacity, bool block) {
    int count = hold(done, faulty.under->wait(state, done, capacity, block), capacity);
    for (int i = 0; i < count; i++) {
        int64_t number = read_of_tag[done[i].tag];
        if (number == faulty.fail_at) done[i].result = -faulty.error;
        if (number == faulty.short_at && done[i].result > faulty.short_bytes) {
            fm_read *read = &reads_by_tag[done[i].tag];
            memset((char *)read->to + faulty.short_bytes, 0xee, read->bytes - (uint32_t)faulty.short_bytes);
            done[i].result = faulty.short_bytes;
        }
        if (faulty.flip_at >= 0 && large_of_tag[done[i].tag] == faulty.flip_at)
            ((char *)reads_by_tag[done[i].tag].to)[done[i].result / 2] ^= 4;
        if (faulty.refuse_direct && reads_by_tag[done[i].tag].fd != faulty.refuse_direct) done[i].result = -EINVAL;
    }
    return count;
}

static void faulty_wake(void *state) { faulty.under->wake(state); }
static void faulty_close(void *state) { faulty.under->close(state); }

const fm_read_ops faulty_ops = { "faulty", faulty_open, faulty_submit, faulty_wait, faulty_wake, faulty_close };
