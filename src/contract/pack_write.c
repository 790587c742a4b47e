/* Writes a pack.  The whole tables range is built in memory at open, checksums zero; weights are written straight to
 * their offsets; commit fills the checksums in, writes tables and header, and renames. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "contract/pack.h"

struct fm_pack_writer {
    fm_file_writer file;
    fm_pack_header header;
    char          *tables;  /* header.tables.bytes */
    uint8_t       *written; /* per checksum */
    uint64_t       checksum_count;
    uint32_t       weight_count, object_count;
};

static uint64_t align_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

static fm_weight *weights_of(fm_pack_writer *w) {
    return (fm_weight *)(w->tables + (w->header.weight_table.offset - w->header.tables.offset));
}
static fm_object *objects_of(fm_pack_writer *w) {
    return (fm_object *)(w->tables + (w->header.object_table.offset - w->header.tables.offset));
}
static uint64_t *checksums_of(fm_pack_writer *w) {
    return (uint64_t *)(w->tables + (w->header.checksum_table.offset - w->header.tables.offset));
}

static fm_section take(uint64_t *cursor, uint64_t bytes) {
    fm_section section = { align_up(*cursor, FM_PACK_TABLE_ALIGN), bytes };
    *cursor = section.offset + bytes;
    return section;
}

/* Offsets of all tables; records get one fm_pack_program each. */
static void lay_out_tables(fm_pack_header *h, const fm_pack_contents *c, uint64_t checksums, fm_pack_program *records) {
    uint64_t cursor = FM_PACK_ALIGN;
    h->tables.offset = cursor;
    h->strings = take(&cursor, c->string_bytes);
    h->weight_table = take(&cursor, (uint64_t)c->weight_count * sizeof(fm_weight));
    h->object_table = take(&cursor, (uint64_t)c->object_count * sizeof(fm_object));
    h->checksum_table = take(&cursor, checksums * sizeof(uint64_t));
    h->program_table = take(&cursor, (uint64_t)c->program_count * sizeof(fm_pack_program));
    for (uint32_t i = 0; i < c->program_count; i++) {
        const fm_program *p = &c->programs[i];
        records[i] = (fm_pack_program){ .memory_paths = c->memory_paths[i], .shape_key = c->shape_keys[i] };
#define LAY_OUT(field, type, count) records[i].field = take(&cursor, (uint64_t)p->count * sizeof(type));
        FM_PACK_PROGRAM_SECTIONS(LAY_OUT)
#undef LAY_OUT
    }
    h->tables.bytes = cursor - h->tables.offset;
}

static uint64_t count_checksums(fm_pack_contents *c) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < c->object_count; i++) {
        fm_object *o = &c->object_table[i];
        o->first_checksum = count;
        count += (o->bytes + o->unit_bytes - 1) / o->unit_bytes;
    }
    for (uint32_t i = 0; i < c->weight_count; i++) {
        fm_weight *w = &c->weight_table[i];
        if (w->kind != FM_WEIGHT_ROWS) continue;
        w->first_checksum = count;
        count += w->k;
    }
    return count;
}

/* Objects in the order given, then the tables that are read by row. */
static uint64_t lay_out_weights(fm_pack_contents *c, uint64_t cursor) {
    for (uint32_t i = 0; i < c->object_count; i++) {
        c->object_table[i].file_offset = cursor = align_up(cursor, FM_PACK_ALIGN);
        cursor += c->object_table[i].bytes;
    }
    for (uint32_t i = 0; i < c->weight_count; i++) {
        fm_weight *w = &c->weight_table[i];
        if (w->kind != FM_WEIGHT_ROWS) continue;
        w->file_offset = cursor = align_up(cursor, FM_PACK_ALIGN);
        cursor += w->k * w->row_bytes;
    }
    return align_up(cursor, FM_PACK_ALIGN);
}

static void put(fm_pack_writer *w, fm_section section, const void *data) {
    if (section.bytes) memcpy(w->tables + (section.offset - w->header.tables.offset), data, section.bytes);
}

/* What compile hands over is verified before anything is computed from it: a pack that cannot be opened is our bug. */
static flashmem_status verify_contents(const char *path, const fm_pack_contents *c, flashmem_error *err) {
    if (c->program_count == 0) return fm_fail(err, FLASHMEM_INTERNAL, "%s: a pack without programs", path);
    for (uint32_t i = 0; i < c->program_count; i++) {
        flashmem_error found = { 0 };
        fm_program     program = c->programs[i];
        program.strings = c->strings;
        program.string_bytes = c->string_bytes;
        if (fm_program_check_runnable(&program, &found) != FLASHMEM_OK)
            return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: %s", path, found.message);
        flashmem_status status = fm_program_verify(&program, c->weight_table, c->weight_count, c->object_table,
                                                   c->object_count, &found);
        if (status == FLASHMEM_OUT_OF_MEMORY) return fm_fail(err, status, "%s: %s", path, found.message);
        if (status != FLASHMEM_OK)
            return fm_fail(err, FLASHMEM_INTERNAL, "%s: program %u to be written is not valid: %s", path, i,
                           found.message);
    }
    return FLASHMEM_OK;
}

static flashmem_status build_tables(fm_pack_writer *w, const char *path, fm_pack_contents *c, flashmem_error *err) {
    fm_pack_program *records = calloc(c->program_count, sizeof *records);
    if (!records) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %u programs", path, c->program_count);
    w->checksum_count = count_checksums(c);
    lay_out_tables(&w->header, c, w->checksum_count, records);
    w->header.file_bytes = lay_out_weights(c,
                                           align_up(w->header.tables.offset + w->header.tables.bytes, FM_PACK_ALIGN));
    w->tables = calloc(1, w->header.tables.bytes);
    w->written = calloc(w->checksum_count + 1, 1);
    if (!w->tables || !w->written) {
        free(records);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %" PRIu64 " bytes of tables", path,
                       w->header.tables.bytes);
    }
    put(w, w->header.strings, c->strings);
    put(w, w->header.weight_table, c->weight_table);
    put(w, w->header.object_table, c->object_table);
    put(w, w->header.program_table, records);
    for (uint32_t i = 0; i < c->program_count; i++) {
#define PUT(field, type, count) put(w, records[i].field, c->programs[i].field);
        FM_PACK_PROGRAM_SECTIONS(PUT)
#undef PUT
    }
    free(records);
    return FLASHMEM_OK;
}

/* Asks the file system for all the space at once: a full disk shows now, and the file is less scattered. */
static flashmem_status reserve_space(fm_pack_writer *w, const char *path, flashmem_error *err) {
    if (fallocate(w->file.fd, 0, 0, (off_t)w->header.file_bytes) == 0 || (errno != ENOSPC && errno != EDQUOT))
        return FLASHMEM_OK;
    return fm_fail_errno(err, errno, "%s: %" PRIu64 " bytes wanted", path, w->header.file_bytes);
}

flashmem_status fm_pack_writer_open(fm_pack_writer **out, const char *path, fm_pack_contents *contents,
                                    flashmem_error *err) {
    flashmem_status status;
    *out = NULL;
    FM_TRY(verify_contents(path, contents, err));
    fm_pack_writer *w = calloc(1, sizeof *w);
    if (!w) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the pack writer", path);
    memcpy(w->header.magic, FM_PACK_MAGIC, sizeof w->header.magic);
    w->header.version = FM_PACK_VERSION;
    w->header.header_bytes = sizeof(fm_pack_header);
    w->header.layout = contents->layout;
    w->header.weights = contents->weights;
    w->header.float_weight_bytes = contents->float_weight_bytes;
    w->weight_count = contents->weight_count;
    w->object_count = contents->object_count;
    FM_TRY_GOTO(build_tables(w, path, contents, err));
    FM_TRY_GOTO(fm_file_writer_open(&w->file, path, err));
    FM_TRY_GOTO(reserve_space(w, path, err));
    *out = w;
    return FLASHMEM_OK;
cleanup:
    fm_pack_writer_abort(w);
    return status;
}

flashmem_status fm_pack_writer_object(fm_pack_writer *w, uint32_t object, uint64_t offset, const void *data,
                                      uint64_t bytes, flashmem_error *err) {
    assert(object < w->object_count);
    const fm_object *o = &objects_of(w)[object];
    assert(offset % o->unit_bytes == 0 && offset <= o->bytes && bytes <= o->bytes - offset);
    assert(bytes % o->unit_bytes == 0 || offset + bytes == o->bytes);
    for (uint64_t done = 0; done < bytes; done += o->unit_bytes) {
        uint64_t unit = o->first_checksum + (offset + done) / o->unit_bytes;
        uint64_t length = bytes - done < o->unit_bytes ? bytes - done : o->unit_bytes;
        checksums_of(w)[unit] = fm_hash((const char *)data + done, length);
        w->written[unit] = 1;
    }
    return fm_file_writer_write(&w->file, o->file_offset + offset, data, bytes, err);
}

flashmem_status fm_pack_writer_rows(fm_pack_writer *w, uint32_t weight, uint64_t first_row, const void *data,
                                    uint64_t rows, flashmem_error *err) {
    assert(weight < w->weight_count);
    const fm_weight *table = &weights_of(w)[weight];
    assert(table->kind == FM_WEIGHT_ROWS && first_row <= table->k && rows <= table->k - first_row);
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t unit = table->first_checksum + first_row + i;
        checksums_of(w)[unit] = fm_hash((const char *)data + i * table->row_bytes, table->row_bytes);
        w->written[unit] = 1;
    }
    return fm_file_writer_write(&w->file, table->file_offset + first_row * table->row_bytes, data,
                                rows * table->row_bytes, err);
}

/* The page after the last row table may end the file early. */
static flashmem_status pad_file(fm_pack_writer *w, flashmem_error *err) {
    char     zero[FM_PACK_ALIGN] = { 0 };
    uint64_t end = w->file.size;
    while (end < w->header.file_bytes) {
        uint64_t bytes = w->header.file_bytes - end < sizeof zero ? w->header.file_bytes - end : sizeof zero;
        FM_TRY(fm_file_writer_write(&w->file, end, zero, bytes, err));
        end += bytes;
    }
    return FLASHMEM_OK;
}

static flashmem_status write_tables(fm_pack_writer *w, flashmem_error *err) {
    char page[FM_PACK_ALIGN] = { 0 };
    for (uint64_t i = 0; i < w->checksum_count; i++)
        if (!w->written[i])
            return fm_fail(err, FLASHMEM_INTERNAL, "%s: checksum unit %" PRIu64 " of %" PRIu64 " was not written",
                           w->file.path, i, w->checksum_count);
    w->header.tables_checksum = fm_hash(w->tables, w->header.tables.bytes);
    w->header.header_checksum = 0;
    w->header.header_checksum = fm_hash(&w->header, sizeof w->header);
    memcpy(page, &w->header, sizeof w->header);
    FM_TRY(fm_file_writer_write(&w->file, w->header.tables.offset, w->tables, w->header.tables.bytes, err));
    FM_TRY(fm_file_writer_write(&w->file, 0, page, sizeof page, err));
    return pad_file(w, err);
}

flashmem_status fm_pack_writer_commit(fm_pack_writer *w, uint64_t *bytes, flashmem_error *err) {
    flashmem_status status = write_tables(w, err);
    if (status == FLASHMEM_OK) {
        if (bytes) *bytes = w->header.file_bytes;
        status = fm_file_writer_commit(&w->file, true, err);
    }
    fm_pack_writer_abort(w);
    return status;
}

void fm_pack_writer_abort(fm_pack_writer *w) {
    if (!w) return;
    fm_file_writer_abort(&w->file);
    free(w->tables);
    free(w->written);
    free(w);
}
