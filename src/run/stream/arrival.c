/* Chunks that come back: short reads go on, checksums are compared in file order, whole objects and what comes up to
 * their marks are published. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "run/stream/reader_state.h"

void fm_reader_drop_cached(fm_reader *reader, uint64_t offset, uint64_t bytes) {
    posix_fadvise(reader->config.fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

flashmem_status fm_reader_finish_short(fm_reader *reader, char *to, uint64_t offset, uint32_t have, uint32_t want,
                                       flashmem_error *err) {
    fm_debug(reader->config.log, "load", "read at %" PRIu64 " gave %u of %u bytes: continued", offset, have, want);
    return fm_file_read(reader->config.fd, reader->config.path, offset + have, to + have, want - have, err);
}

/* The checksum units that lie whole in the object's first `end` bytes and have not been compared yet. */
static flashmem_status check_units(fm_reader *reader, const fm_read_object *object, uint64_t end, flashmem_error *err) {
    while (reader->checked < end) {
        uint64_t unit = reader->checked / object->unit_bytes, left = object->bytes - reader->checked;
        uint64_t bytes = left < object->unit_bytes ? left : object->unit_bytes;
        if (reader->checked + bytes > end) break;
        uint64_t found = fm_hash(object->to + reader->checked, bytes);
        if (found != object->checksums[unit])
            return fm_fail(err, FLASHMEM_CORRUPT,
                           "%s: %s: bytes %" PRIu64 " to %" PRIu64 " of the file have checksum %016" PRIx64
                           ", %016" PRIx64 " was packed: compile the model again",
                           reader->config.path, object->name, object->file_offset + reader->checked,
                           object->file_offset + reader->checked + bytes - 1, found, object->checksums[unit]);
        reader->checked += bytes;
    }
    return FLASHMEM_OK;
}

/* Tells who waits, if the object has come whole or past a mark. */
static void publish(fm_reader *reader, const chunk *c, const fm_read_object *object) {
    uint64_t arrived = c->run * (object->bytes / 4096) + reader->checked / 4096;
    bool     whole = reader->checked == object->bytes, marked = false;
    for (; reader->mark < object->mark_count && object->marks[reader->mark] <= reader->checked; reader->mark++)
        marked = true;
    if (whole) {
        reader->records[c->run & 1].arrived[c->object] = fm_clock_ns();
        reader->checked = 0;
        reader->mark = 0;
    }
    if (!whole && !marked) return;
    atomic_store(&reader->arrived[c->object], arrived);
    fm_progress_wake(reader->config.progress, FM_WAKE_ARRIVALS);
}

bool fm_reader_check_oldest(fm_reader *reader) {
    const chunk *c = &reader->ring[reader->ring_head];
    if (!reader->ring_count || !c->done || atomic_load(&reader->config.progress->failed)) return false;
    const fm_read_object *object = &reader->config.objects[c->object];
    fm_read_record       *record = &reader->records[c->run & 1];
    flashmem_error        error = { 0 };
    uint64_t              from = fm_clock_ns(), end = c->offset + c->bytes;
    if (check_units(reader, object, end, &error) != FLASHMEM_OK) {
        fm_reader_fail(reader, &error);
        return false;
    }
    if (record->count < reader->chunk_capacity)
        record->chunks[record->count++] = (fm_chunk_record){
            .submitted = c->submitted,
            .completed = c->completed,
            .check_from = from,
            .check_to = fm_clock_ns(),
            .bytes = c->bytes,
            .object = c->object,
        };
    publish(reader, c, object);
    reader->ring_head = (reader->ring_head + 1) % reader->ring_size;
    reader->ring_count--;
    return true;
}

void fm_reader_chunk_done(fm_reader *reader, uint32_t tag, int32_t result) {
    chunk                *c = &reader->ring[tag];
    const fm_read_object *object = &reader->config.objects[c->object];
    uint64_t              offset = object->file_offset + c->offset;
    char                 *to = object->to + c->offset;
    flashmem_error        error = { 0 };
    if (result == -EAGAIN || result == -EINTR || (result == -EINVAL && c->direct)) {
        if (result == -EINVAL) fm_reader_leave_direct(reader);
        c->direct = reader->use_direct;
        fm_reader_submit(reader, to, offset, c->bytes, tag);
        return;
    }
    c->completed = fm_clock_ns();
    reader->chunks_in_flight--;
    if (result < 0)
        fm_fail_errno(&error, -result, "%s: read of %u bytes at offset %" PRIu64 " for %s", reader->config.path,
                      c->bytes, offset, object->name);
    else if ((uint32_t)result < c->bytes)
        fm_reader_finish_short(reader, to, offset, (uint32_t)result, c->bytes, &error);
    if (error.status != FLASHMEM_OK) {
        fm_reader_fail(reader, &error);
        return;
    }
    if (!c->direct || (uint32_t)result < c->bytes) fm_reader_drop_cached(reader, offset, c->bytes);
    c->done = true;
}
