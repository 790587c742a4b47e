/* Rows of tables: batches of small direct reads into a few reused slots, checked and converted as they arrive.
 *
 *     order (sorted by row)   3 3 7 8 8 9 | 40 | 41 ...
 *     span, 4 KiB aligned     [ rows 7..9 ]            neighbours share a read while they fit a slot
 *     slot -> out             one copy per wanted position */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/half.h"
#include "base/hash.h"
#include "run/stream/reader_state.h"

static uint64_t row_at(const fm_row_batch *batch, uint32_t entry) { return batch->order[entry] >> 32; }

static uint64_t row_offset(const fm_row_batch *batch, uint32_t entry) {
    return batch->file_offset + row_at(batch, entry) * batch->row_bytes;
}

static uint64_t align_down(uint64_t offset) { return offset / 4096 * 4096; }
static uint64_t align_up(uint64_t offset) { return align_down(offset + 4095); }

static char *slot_memory(const fm_reader *reader, uint32_t slot) {
    return reader->config.slots + slot * reader->config.slot_bytes;
}

static void submit_span(fm_reader *reader, fm_row_batch *batch, uint32_t slot) {
    row_span *span = &reader->spans[slot];
    span->direct = reader->use_direct;
    if (fm_reader_submit(reader, slot_memory(reader, slot), span->file_offset, span->bytes, reader->ring_size + slot))
        return;
    span->busy = false;
    batch->unfinished--;
}

/* Takes the next rows that fit one slot without reading anything between them. */
static void start_span(fm_reader *reader, fm_row_batch *batch, uint32_t slot) {
    row_span *span = &reader->spans[slot];
    uint64_t  from = align_down(row_offset(batch, batch->next));
    uint64_t  to = align_up(row_offset(batch, batch->next) + batch->row_bytes);
    uint32_t  last = batch->next + 1;
    for (; last < batch->count; last++) {
        uint64_t first_byte = row_offset(batch, last), end = align_up(first_byte + batch->row_bytes);
        if (align_down(first_byte) > to || end - from > reader->config.slot_bytes) break;
        to = end;
    }
    *span = (row_span){
        .file_offset = from, .bytes = (uint32_t)(to - from), .first = batch->next, .last = last, .busy = true
    };
    batch->next = last;
    batch->unfinished++;
    batch->bytes_read += span->bytes;
    submit_span(reader, batch, slot);
}

void fm_reader_submit_rows(fm_reader *reader) {
    fm_row_batch *batch = atomic_load(&reader->rows);
    if (!batch) return;
    for (uint32_t slot = 0; slot < FM_ROW_SLOTS && batch->next < batch->count && !fm_reader_halted(reader); slot++)
        if (!reader->spans[slot].busy) start_span(reader, batch, slot);
    if (batch->unfinished || (batch->next < batch->count && !fm_reader_halted(reader))) return;
    atomic_store(&reader->rows, NULL);
    atomic_store(&batch->done, true);
    fm_progress_wake(reader->config.progress, FM_WAKE_READER);
}

static flashmem_status check_row(fm_reader *reader, const fm_row_batch *batch, uint64_t row, const char *bytes,
                                 flashmem_error *err) {
    uint64_t found = fm_hash(bytes, batch->row_bytes);
    if (found == batch->checksums[row]) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_CORRUPT,
                   "%s: row %" PRIu64 " of table %s, at byte %" PRIu64 " of the file, has checksum %016" PRIx64
                   ", %016" PRIx64 " was packed: compile the model again",
                   reader->config.path, row, batch->name, batch->file_offset + row * batch->row_bytes, found,
                   batch->checksums[row]);
}

static flashmem_status deliver(fm_reader *reader, fm_row_batch *batch, const row_span *span, const char *slot,
                               flashmem_error *err) {
    for (uint32_t entry = span->first; entry < span->last; entry++) {
        const char *from = slot + (row_offset(batch, entry) - span->file_offset);
        char       *to = batch->out + (batch->order[entry] & UINT32_MAX) * batch->out_bytes;
        if (entry == span->first || row_at(batch, entry) != row_at(batch, entry - 1))
            FM_TRY(check_row(reader, batch, row_at(batch, entry), from, err));
        if (batch->half)
            fm_floats_from_half((float *)(void *)to, (const uint16_t *)(const void *)from, batch->elements);
        else memcpy(to, from, batch->out_bytes);
    }
    return FLASHMEM_OK;
}

void fm_reader_rows_done(fm_reader *reader, uint32_t slot, int32_t result) {
    fm_row_batch  *batch = atomic_load(&reader->rows);
    row_span      *span = &reader->spans[slot];
    char          *memory = slot_memory(reader, slot);
    flashmem_error error = { 0 };
    if (result == -EAGAIN || result == -EINTR || (result == -EINVAL && span->direct)) {
        if (result == -EINVAL) fm_reader_leave_direct(reader);
        submit_span(reader, batch, slot);
        return;
    }
    /* The last row may end before its 4 KiB do, at the end of the file. */
    uint64_t end = row_offset(batch, span->last - 1) + batch->row_bytes;
    uint32_t needed = (uint32_t)(end - span->file_offset);
    if (result < 0)
        fm_fail_errno(&error, -result, "%s: read of %u bytes at offset %" PRIu64 " for table %s", reader->config.path,
                      span->bytes, span->file_offset, batch->name);
    else if ((uint32_t)result < needed)
        fm_reader_finish_short(reader, memory, span->file_offset, (uint32_t)result, needed, &error);
    if (error.status == FLASHMEM_OK) deliver(reader, batch, span, memory, &error);
    if (error.status != FLASHMEM_OK) fm_reader_fail(reader, &error);
    if (!span->direct) fm_reader_drop_cached(reader, span->file_offset, span->bytes);
    span->busy = false;
    batch->unfinished--;
}
