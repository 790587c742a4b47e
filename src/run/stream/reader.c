/* The reader's thread: what may be read next, and the loop around the backend. */
#include "run/stream/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/stream/reader_state.h"

const fm_read_ops *const *fm_read_backends(void) {
    static const fm_read_ops *const backends[] = {
#ifdef FM_HAVE_LIBURING
        &fm_read_uring,
#endif
        &fm_read_threads, NULL
    };
    return backends;
}

bool fm_reader_halted(const fm_reader *reader) {
    return atomic_load(&reader->stopping) || atomic_load(&reader->config.progress->failed);
}

void fm_reader_fail(fm_reader *reader, const flashmem_error *error) {
    fm_progress_fail(reader->config.progress, error);
    atomic_store(&reader->phase, 0);
}

static void poke(fm_reader *reader) {
    atomic_fetch_add(&reader->pokes, 1);
    if (atomic_exchange(&reader->asleep, 0)) reader->ops->wake(reader->state);
}

void fm_reader_completed(void *user) {
    fm_reader *reader = user;
    if (atomic_load(&reader->config.progress->completed) >= atomic_load(&reader->needs)) poke(reader);
}

bool fm_reader_submit(fm_reader *reader, void *to, uint64_t offset, uint32_t bytes, uint32_t tag) {
    int     fd = reader->use_direct ? reader->direct_fd : reader->config.fd;
    fm_read read = { .to = to, .fd = fd, .offset = offset, .bytes = bytes, .tag = tag };
    int     result = reader->ops->submit(reader->state, &read);
    if (result == 0) {
        reader->in_flight++;
        return true;
    }
    flashmem_error error = { 0 };
    fm_fail_errno(&error, -result, "%s: start a read of %u bytes at offset %" PRIu64, reader->config.path, bytes,
                  offset);
    fm_reader_fail(reader, &error);
    return false;
}

void fm_reader_leave_direct(fm_reader *reader) {
    if (!reader->use_direct) return;
    fm_warn(reader->config.log, "load", "%s: the file system refuses direct reads: buffered reads instead",
            reader->config.path);
    reader->use_direct = false;
    atomic_store(&reader->direct, 0);
}

/* Launches that must have ended before the next object's memory is free; UINT64_MAX: its run is too far ahead. */
static uint64_t launches_needed(const fm_reader *reader) {
    const fm_read_object *object = &reader->config.objects[reader->object];
    uint64_t              begun = atomic_load(&reader->runs_begun), wrap = reader->config.serial ? 0 : object->wrap;
    if (reader->run > 0 && begun + wrap < reader->run + 1) return UINT64_MAX;
    int64_t needed = ((int64_t)reader->run - object->wrap) * reader->config.steps + object->after + 1;
    return needed > 0 ? (uint64_t)needed : 0;
}

static bool skip_resident(const fm_reader *reader) {
    return reader->run > 0 && reader->config.objects[reader->object].resident;
}

/* To the next object that some run still reads. */
static void advance(fm_reader *reader) {
    reader->offset = 0;
    for (uint32_t tried = 0; tried <= reader->config.count; tried++) {
        if (++reader->object >= reader->config.count) {
            reader->object = 0;
            reader->run++;
        }
        if (!skip_resident(reader)) return;
    }
    reader->exhausted = true;
}

/* A run's record starts with its first read: by then the run two before it has been evaluated. */
static void start_record(fm_reader *reader) {
    fm_read_record *record = &reader->records[reader->run & 1];
    record->run = reader->run;
    record->count = 0;
    memset(record->requested, 0, reader->config.count * sizeof *record->requested);
    memset(record->arrived, 0, reader->config.count * sizeof *record->arrived);
}

static bool first_of_run(const fm_reader *reader) {
    if (reader->offset > 0) return false;
    for (uint32_t i = 0; i < reader->object; i++)
        if (reader->run == 0 || !reader->config.objects[i].resident) return false;
    return true;
}

static void submit_chunk(fm_reader *reader) {
    const fm_read_object *object = &reader->config.objects[reader->object];
    uint64_t              left = object->bytes - reader->offset;
    uint32_t              bytes = left < reader->config.bytes ? (uint32_t)left : reader->config.bytes;
    uint32_t              tag = (reader->ring_head + reader->ring_count) % reader->ring_size;
    if (reader->config.memory) fm_memory_populate(reader->config.memory, object->to + reader->offset, bytes);
    if (first_of_run(reader)) start_record(reader);
    reader->ring[tag] = (chunk){ .run = reader->run,
                                 .object = reader->object,
                                 .offset = reader->offset,
                                 .bytes = bytes,
                                 .direct = reader->use_direct,
                                 .submitted = fm_clock_ns() };
    if (reader->offset == 0) reader->records[reader->run & 1].requested[reader->object] = reader->ring[tag].submitted;
    reader->ring_count++;
    reader->chunks_in_flight++;
    fm_reader_submit(reader, object->to + reader->offset, object->file_offset + reader->offset, bytes, tag);
    reader->offset += bytes;
    if (reader->offset == object->bytes) advance(reader);
}

/* Submits what the plan and the depth allow; false: the next object waits for launches (needs says how many). */
static bool submit_chunks(fm_reader *reader) {
    const fm_reader_config *c = &reader->config;
    atomic_store(&reader->needs, UINT64_MAX);
    while (!reader->exhausted && !fm_reader_halted(reader)) {
        if (reader->chunks_in_flight >= c->depth || reader->ring_count == reader->ring_size) return true;
        if (reader->offset == 0) {
            uint64_t needed = launches_needed(reader);
            atomic_store(&reader->needs, needed);
            if (needed > atomic_load(&c->progress->completed)) return false;
        }
        submit_chunk(reader);
    }
    return false;
}

static void end_phase(fm_reader *reader) {
    atomic_store(&reader->phase, 0);
    fm_progress_wake(reader->config.progress, FM_WAKE_READER);
}

/* Nobody will finish what callers wait for. */
static void die(fm_reader *reader) {
    atomic_store(&reader->dead, 1);
    fm_progress_wake(reader->config.progress, FM_WAKE_READER);
}

static void handle_results(fm_reader *reader, bool block) {
    fm_read_done done[32];
    int          count = reader->ops->wait(reader->state, done, 32, block);
    atomic_store(&reader->asleep, 0);
    if (count < 0) {
        flashmem_error error = { 0 };
        fm_fail_errno(&error, -count, "%s: wait for reads (%s)", reader->config.path, reader->ops->name);
        fm_reader_fail(reader, &error);
        reader->in_flight = 0; /* nothing more will come */
        die(reader);
        return;
    }
    for (int i = 0; i < count; i++) {
        reader->in_flight--;
        if (done[i].tag < reader->ring_size) fm_reader_chunk_done(reader, done[i].tag, done[i].result);
        else fm_reader_rows_done(reader, done[i].tag - reader->ring_size, done[i].result);
    }
}

static bool open_backend(fm_reader *reader) {
    const fm_read_ops *const  given[] = { reader->config.ops, NULL };
    const fm_read_ops *const *choice = reader->config.ops ? given : fm_read_backends();
    uint32_t                  most = reader->config.depth + (reader->config.slots ? FM_ROW_SLOTS : 0);
    int                       result = -ENOSYS;
    for (; *choice; choice++) {
        reader->ops = *choice;
        result = reader->ops->open(&reader->state, most);
        if (result == 0) {
            atomic_store(&reader->backend, reader->ops->name);
            return true;
        }
        fm_warn(reader->config.log, "load", "%s is not usable here (%s)%s", reader->ops->name, strerror(-result),
                choice[1] ? ": falling back" : "");
    }
    flashmem_error error = { 0 };
    fm_fail_errno(&error, -result, "%s: no way to read it asynchronously", reader->config.path);
    fm_reader_fail(reader, &error);
    return false;
}

/* Rows go first: a launch waits for all of them, while the objects behind were read ahead of need. */
static bool may_submit(const fm_reader *reader) {
    return !fm_reader_halted(reader) && !atomic_load(&reader->rows) &&
           (!reader->config.serial || atomic_load(&reader->phase));
}

/* Launches ended between the look at them and going to sleep. */
static bool memory_became_free(const fm_reader *reader) {
    return may_submit(reader) && !reader->exhausted && reader->offset == 0 &&
           launches_needed(reader) <= atomic_load(&reader->config.progress->completed);
}

/* The reader works for microseconds between long sleeps, on cores that kernels keep busy for milliseconds.  Since Linux
 * 6.12 a short slice lets such a thread run as soon as it wakes; older systems ignore it. */
static void ask_for_short_slices(void) {
#if defined(__linux__) && defined(SYS_sched_setattr)
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t  nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = { .size = sizeof attributes, .runtime = 100000 };
    attributes.nice = getpriority(PRIO_PROCESS, 0);
    syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

static void *reader_main(void *argument) {
    fm_reader *reader = argument;
    ask_for_short_slices();
    if (!open_backend(reader)) {
        die(reader);
        return NULL;
    }
    for (;;) {
        uint64_t pokes = atomic_load(&reader->pokes);
        bool     full = false;
        if (atomic_load(&reader->stopping) && !reader->in_flight) break;
        fm_reader_submit_rows(reader);
        if (may_submit(reader)) {
            full = submit_chunks(reader);
            if (!full && reader->config.serial && !reader->in_flight && !reader->ring_count) end_phase(reader);
        }
        if (fm_reader_check_oldest(reader)) {
            handle_results(reader, false);
            continue;
        }
        atomic_store(&reader->asleep, 1);
        if ((!full && memory_became_free(reader)) || atomic_load(&reader->pokes) != pokes) {
            atomic_store(&reader->asleep, 0);
            continue;
        }
        handle_results(reader, true);
    }
    return NULL;
}

/* Gives the first reads' memory its pages, ahead of the reader, which does the same for what it comes to first: where
 * pages are dear (virtual machines that give free ones back to the host), two threads get them two to four times as
 * fast as one, and the disk need not wait for them. */
static void *populator_main(void *argument) {
    fm_reader *reader = argument;
#ifdef __linux__
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 5); /* of this thread: the device's start comes first */
#endif
    for (uint32_t o = 0; o < reader->config.count && reader->config.objects[o].after < 0; o++) {
        const fm_read_object *object = &reader->config.objects[o];
        for (uint64_t at = 0; at < object->bytes; at += reader->config.bytes) {
            uint64_t left = object->bytes - at;
            if (fm_reader_halted(reader)) return NULL;
            fm_memory_populate(reader->config.memory, object->to + at,
                               left < reader->config.bytes ? left : reader->config.bytes);
        }
    }
    return NULL;
}

/* The same file as config.fd even if the path names another by now. */
static int open_direct(const fm_reader_config *config) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", config->fd);
    return open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
}

static void free_record(fm_read_record *record) {
    free(record->chunks);
    free(record->requested);
    free(record->arrived);
}

static bool make_record(fm_read_record *record, uint64_t chunks, uint32_t objects) {
    record->run = UINT64_MAX;
    record->chunks = calloc(chunks + 1, sizeof *record->chunks);
    record->requested = calloc(objects + 1, sizeof *record->requested);
    record->arrived = calloc(objects + 1, sizeof *record->arrived);
    return record->chunks && record->requested && record->arrived;
}

static void release(fm_reader *reader) {
    if (reader->direct_fd >= 0) close(reader->direct_fd);
    free(reader->arrived);
    free(reader->ring);
    free_record(&reader->records[0]);
    free_record(&reader->records[1]);
    free_record(&reader->no_record);
    free(reader);
}

static bool allocate(fm_reader *reader) {
    const fm_reader_config *c = &reader->config;
    uint64_t                chunks = 0;
    for (uint32_t i = 0; i < c->count; i++) chunks += (c->objects[i].bytes + c->bytes - 1) / c->bytes;
    if (chunks > UINT32_MAX) return false;
    reader->ring_size = 2 * c->depth;
    reader->chunk_capacity = (uint32_t)chunks;
    reader->ring = calloc(reader->ring_size, sizeof *reader->ring);
    reader->arrived = calloc(c->count + 1, sizeof *reader->arrived);
    bool records = make_record(&reader->records[0], chunks, c->count) &&
                   make_record(&reader->records[1], chunks, c->count) && make_record(&reader->no_record, 0, c->count);
    return records && reader->ring && reader->arrived;
}

flashmem_status fm_reader_open(fm_reader **out, const fm_reader_config *config, flashmem_error *err) {
    *out = NULL;
    fm_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for its reader", config->path);
    reader->config = *config;
    reader->direct_fd = -1;
    atomic_store(&reader->backend, "none");
    atomic_store(&reader->needs, UINT64_MAX);
    reader->exhausted = config->count == 0;
    if (!allocate(reader)) {
        release(reader);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for its reader", config->path);
    }
    if (!config->buffered) {
        reader->direct_fd = open_direct(config);
        if (reader->direct_fd < 0)
            fm_warn(config->log, "load", "%s: no direct reads (%s): buffered reads instead", config->path,
                    strerror(errno));
    }
    reader->use_direct = reader->direct_fd >= 0;
    atomic_store(&reader->direct, reader->use_direct);
    int failed = pthread_create(&reader->thread, NULL, reader_main, reader);
    if (failed) {
        release(reader);
        return fm_fail_errno(err, failed, "%s: start the reader's thread", config->path);
    }
    reader->populates = config->memory && !pthread_create(&reader->populator, NULL, populator_main, reader);
    *out = reader;
    return FLASHMEM_OK;
}

void fm_reader_close(fm_reader *reader) {
    if (!reader) return;
    atomic_store(&reader->stopping, 1);
    poke(reader);
    pthread_join(reader->thread, NULL);
    if (reader->populates) pthread_join(reader->populator, NULL);
    if (reader->state) reader->ops->close(reader->state); /* here: the poke above may still have used it */
    release(reader);
}

void fm_reader_begin_run(fm_reader *reader, uint64_t run) {
    atomic_store(&reader->runs_begun, run + 1);
    poke(reader);
}

bool fm_reader_has(const fm_reader *reader, uint32_t object, uint64_t bytes, uint64_t run) {
    const fm_read_object *o = &reader->config.objects[object];
    uint64_t              before = o->resident ? 0 : run * (o->bytes / 4096); /* pages of the runs before */
    return atomic_load(&reader->arrived[object]) >= before + (bytes + 4095) / 4096;
}

static bool phase_over(void *user) { return !atomic_load(&((fm_reader *)user)->phase); }

flashmem_status fm_reader_phase(fm_reader *reader, flashmem_error *err) {
    atomic_store(&reader->phase, 1);
    poke(reader);
    return fm_progress_wait(reader->config.progress, FM_WAKE_READER, phase_over, reader, err);
}

typedef struct rows_wait {
    fm_reader    *reader;
    fm_row_batch *batch;
} rows_wait;

static bool rows_over(void *user) {
    const rows_wait *w = user;
    return atomic_load(&w->batch->done) || atomic_load(&w->reader->dead);
}

flashmem_status fm_reader_rows(fm_reader *reader, fm_row_batch *batch, flashmem_error *err) {
    rows_wait wait = { reader, batch };
    batch->next = batch->unfinished = 0;
    atomic_store(&batch->done, false);
    atomic_store(&reader->rows, batch);
    poke(reader);
    fm_progress_sleep(reader->config.progress, FM_WAKE_READER, rows_over,
                      &wait); /* even when cancelled: out may be the caller's */
    return fm_progress_status(reader->config.progress, err);
}

const fm_read_record *fm_reader_record(const fm_reader *reader, uint64_t run) {
    const fm_read_record *record = &reader->records[run & 1];
    return record->run == run ? record : &reader->no_record;
}

uint64_t fm_read_record_arrival(const fm_read_record *record, uint32_t object, uint64_t bytes) {
    uint32_t low = 0, high = record->count; /* chunks lie in the order of objects */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (record->chunks[middle].object < object) low = middle + 1;
        else high = middle;
    }
    for (uint64_t have = 0; low < record->count && record->chunks[low].object == object; low++) {
        have += record->chunks[low].bytes;
        if (have >= bytes) return record->chunks[low].check_to;
    }
    return record->arrived[object];
}

bool        fm_reader_is_direct(const fm_reader *reader) { return atomic_load(&reader->direct); }
const char *fm_reader_backend(const fm_reader *reader) { return atomic_load(&reader->backend); }
