/* Opens packs.  The file is hostile until proven otherwise: nothing is used before its bounds are checked, and tables
 * only after their checksum. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "contract/pack.h"

#define BAD(...) fm_fail(err, FLASHMEM_BAD_PACK, __VA_ARGS__)

static flashmem_status check_header(const fm_pack *pack, const char *page, uint64_t file_bytes, flashmem_error *err) {
    const fm_pack_header *h = &pack->header;
    if (memcmp(h->magic, FM_PACK_MAGIC, sizeof h->magic) != 0)
        return BAD("%s: not a pack: it does not begin with \"" FM_PACK_MAGIC "\"", pack->path);
    if (h->version != FM_PACK_VERSION)
        return BAD("%s: a pack of version %u, this program reads version %u: compile the model again with `flashmem "
                   "compile MODEL.onnx -o PACK.flm`",
                   pack->path, h->version, FM_PACK_VERSION);
    if (h->header_bytes != sizeof *h)
        return BAD("%s: a header of %u bytes, %zu wanted", pack->path, h->header_bytes, sizeof *h);
    fm_pack_header unsummed = *h;
    unsummed.header_checksum = 0;
    if (fm_hash(&unsummed, sizeof unsummed) != h->header_checksum)
        return BAD("%s: the header does not match its checksum: the file is damaged", pack->path);
    for (size_t i = sizeof *h; i < FM_PACK_ALIGN; i++)
        if (page[i]) return BAD("%s: byte %zu behind the header is not zero: the file is damaged", pack->path, i);
    if (h->file_bytes > file_bytes || h->file_bytes < FM_PACK_ALIGN ||
        h->file_bytes % FM_PACK_ALIGN) /* longer: overlap plans, perhaps old ones */
        return BAD("%s: %" PRIu64 " bytes long, its header says %" PRIu64 ": the file is truncated or overwritten",
                   pack->path, file_bytes, h->file_bytes);
    if (h->overlaps.bytes == 0 ? h->overlaps.offset || h->overlaps_checksum
                               : h->overlaps.offset < h->file_bytes || h->overlaps.offset % FM_PACK_ALIGN ||
                                     h->overlaps.offset > file_bytes || h->overlaps.bytes > FM_PACK_LARGEST_TABLES ||
                                     h->overlaps.bytes > file_bytes - h->overlaps.offset)
        return BAD("%s: overlap plans of %" PRIu64 " bytes at %" PRIu64 " behind weights up to %" PRIu64
                   " in a file of %" PRIu64 ": the file is truncated or overwritten",
                   pack->path, h->overlaps.bytes, h->overlaps.offset, h->file_bytes, file_bytes);
    if (h->layout > FLASHMEM_LAYOUT_GPU || h->weights > FLASHMEM_WEIGHTS_FP16)
        return BAD("%s: layout %u, weights %u", pack->path, h->layout, h->weights);
    if (h->float_weight_bytes > h->file_bytes)
        return BAD("%s: %" PRIu64 " bytes of float weights in %" PRIu64, pack->path, h->float_weight_bytes,
                   h->file_bytes);
    if (h->tables.offset != FM_PACK_ALIGN || h->tables.bytes > FM_PACK_LARGEST_TABLES ||
        h->tables.bytes > h->file_bytes - FM_PACK_ALIGN)
        return BAD("%s: tables of %" PRIu64 " bytes at %" PRIu64 " in a file of %" PRIu64, pack->path, h->tables.bytes,
                   h->tables.offset, h->file_bytes);
    return FLASHMEM_OK;
}

static flashmem_status load_tables(fm_pack *pack, flashmem_error *err) {
    uint64_t bytes = pack->header.tables.bytes;
    if (posix_memalign(&pack->tables, FM_PACK_TABLE_ALIGN, bytes + FM_PACK_TABLE_ALIGN) != 0) {
        pack->tables = NULL;
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %" PRIu64 " bytes of tables", pack->path, bytes);
    }
    posix_fadvise(pack->fd, (off_t)FM_PACK_ALIGN, (off_t)bytes,
                  POSIX_FADV_WILLNEED); /* at once, not window by window */
    FM_TRY(fm_file_read(pack->fd, pack->path, FM_PACK_ALIGN, pack->tables, bytes, err));
    if (fm_hash(pack->tables, bytes) != pack->header.tables_checksum)
        return BAD("%s: the tables do not match their checksum: the file is damaged", pack->path);
    return FLASHMEM_OK;
}

/* Sections lie in one order, aligned, without overlap: the cursor only moves forward.  Sets *at to the section's bytes
 * and *count to its records. */
static flashmem_status enter_section(const fm_pack *pack, const char *name, fm_section section, size_t record,
                                     uint64_t *cursor, const void **at, uint64_t *count, flashmem_error *err) {
    const fm_section *all = &pack->header.tables;
    if (section.offset < *cursor || section.offset % FM_PACK_TABLE_ALIGN || section.offset > all->offset + all->bytes ||
        section.bytes > all->offset + all->bytes - section.offset)
        return BAD("%s: table '%s' of %" PRIu64 " bytes at %" PRIu64 " overlaps others or leaves the tables",
                   pack->path, name, section.bytes, section.offset);
    if (section.bytes % record || section.bytes / record >= FM_NONE)
        return BAD("%s: table '%s' of %" PRIu64 " bytes is no row of records of %zu", pack->path, name, section.bytes,
                   record);
    *cursor = section.offset + section.bytes;
    *at = (const char *)pack->tables + (section.offset - all->offset);
    *count = section.bytes / record;
    return FLASHMEM_OK;
}

#define ENTER(name, section, type, pointer, number)                                           \
    do {                                                                                      \
        const void *at_ = NULL;                                                               \
        uint64_t    count_ = 0;                                                               \
        FM_TRY(enter_section(pack, name, section, sizeof(type), cursor, &at_, &count_, err)); \
        (pointer) = at_;                                                                      \
        (number) = count_;                                                                    \
    } while (0)

static flashmem_status enter_program(fm_pack *pack, uint32_t index, uint64_t *cursor, flashmem_error *err) {
    const fm_pack_program *record = &pack->program_records[index];
    fm_program            *p = &pack->programs[index];
    if (record->reserved || record->memory_paths == 0 || record->memory_paths >> 5)
        return BAD("%s: program %u: memory paths 0x%x", pack->path, index, record->memory_paths);
    p->strings = pack->strings;
    p->string_bytes = pack->string_bytes;
#define ENTER_TABLE(field, type, count) ENTER(#field, record->field, type, p->field, p->count);
    FM_PACK_PROGRAM_SECTIONS(ENTER_TABLE)
#undef ENTER_TABLE
    return FLASHMEM_OK;
}

static flashmem_status enter_tables(fm_pack *pack, flashmem_error *err) {
    const fm_pack_header *h = &pack->header;
    uint64_t              start = h->tables.offset, *cursor = &start;
    ENTER("strings", h->strings, char, pack->strings, pack->string_bytes);
    if (pack->string_bytes && pack->strings[pack->string_bytes - 1])
        return BAD("%s: the last string has no end", pack->path);
    ENTER("weights", h->weight_table, fm_weight, pack->packed.weights, pack->packed.weight_count);
    ENTER("objects", h->object_table, fm_object, pack->packed.objects, pack->packed.object_count);
    ENTER("checksums", h->checksum_table, uint64_t, pack->checksums, pack->checksum_count);
    ENTER("programs", h->program_table, fm_pack_program, pack->program_records, pack->program_count);
    if (pack->program_count == 0) return BAD("%s: no programs", pack->path);
    pack->programs = calloc(pack->program_count, sizeof *pack->programs);
    if (!pack->programs)
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %u programs", pack->path, pack->program_count);
    for (uint32_t i = 0; i < pack->program_count; i++) FM_TRY(enter_program(pack, i, cursor, err));
    return FLASHMEM_OK;
}

static flashmem_status check_programs(const fm_pack *pack, flashmem_error *err) {
    for (uint32_t i = 0; i < pack->program_count; i++) {
        flashmem_error  found = { 0 };
        flashmem_status status = fm_program_verify(&pack->programs[i], pack->packed.weights, pack->packed.weight_count,
                                                   pack->packed.objects, pack->packed.object_count, &found);
        if (status != FLASHMEM_OK) return fm_fail(err, status, "%s: program %u: %s", pack->path, i, found.message);
    }
    return FLASHMEM_OK;
}

/* One object or row table: in order, inside the file, its checksums the next ones.  Sizes themselves were checked by
 * fm_program_verify. */
static flashmem_status check_range(const fm_pack *pack, const char *what, uint32_t index, uint64_t offset,
                                   uint64_t bytes, uint64_t first_checksum, uint64_t units, uint64_t *cursor,
                                   uint64_t *checksums, flashmem_error *err) {
    if (offset % FM_PACK_ALIGN || offset < *cursor || offset > pack->header.file_bytes ||
        bytes > pack->header.file_bytes - offset)
        return BAD("%s: %s %u: %" PRIu64 " bytes at %" PRIu64 " overlap others or leave the file of %" PRIu64,
                   pack->path, what, index, bytes, offset, pack->header.file_bytes);
    if (first_checksum != *checksums || units > pack->checksum_count - *checksums)
        return BAD("%s: %s %u: checksums %" PRIu64 "+%" PRIu64 " of %" PRIu64, pack->path, what, index, first_checksum,
                   units, pack->checksum_count);
    *cursor = offset + bytes;
    *checksums += units;
    return FLASHMEM_OK;
}

static flashmem_status check_weights(const fm_pack *pack, flashmem_error *err) {
    uint64_t cursor = pack->header.tables.offset + pack->header.tables.bytes, checksums = 0;
    for (uint32_t i = 0; i < pack->packed.object_count; i++) {
        const fm_object *o = &pack->packed.objects[i];
        FM_TRY(check_range(pack, "object", i, o->file_offset, o->bytes, o->first_checksum,
                           o->bytes / o->unit_bytes + (o->bytes % o->unit_bytes != 0), &cursor, &checksums, err));
    }
    for (uint32_t i = 0; i < pack->packed.weight_count; i++) {
        const fm_weight *w = &pack->packed.weights[i];
        if (w->kind == FM_WEIGHT_ROWS)
            FM_TRY(check_range(pack, "row table of weight", i, w->file_offset, w->k * w->row_bytes, w->first_checksum,
                               w->k, &cursor, &checksums, err));
        uint64_t columns = pack->header.layout == FLASHMEM_LAYOUT_TEXTURE ? 4 : 16;
        uint64_t element = w->format == FM_WEIGHT_F32 ? 4 : 2;
        if (w->kind == FM_WEIGHT_PANELS && w->panel_bytes != w->k * element * columns)
            return BAD("%s: weight %u ('%s'): panels of %" PRIu64 " bytes, k %" PRIu64 " in this layout has %" PRIu64,
                       pack->path, i, fm_program_string(&pack->programs[0], w->name), w->panel_bytes, w->k,
                       w->k * element * columns);
    }
    if (checksums != pack->checksum_count)
        return BAD("%s: %" PRIu64 " checksums for %" PRIu64 " units", pack->path, pack->checksum_count, checksums);
    return FLASHMEM_OK;
}

flashmem_status fm_pack_open(fm_pack *pack, const char *path, flashmem_error *err) {
    flashmem_status status;
    uint64_t        file_bytes;
    char            page[FM_PACK_ALIGN];
    *pack = (fm_pack){ .fd = -1 };
    pack->path = strdup(path);
    if (!pack->path) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the path", path);
    FM_TRY_GOTO(fm_file_open(path, &pack->fd, &file_bytes, err));
    if (file_bytes < FM_PACK_ALIGN) {
        status = BAD("%s: %" PRIu64 " bytes long, a pack has at least %u", path, file_bytes, FM_PACK_ALIGN);
        goto cleanup;
    }
    FM_TRY_GOTO(fm_file_read(pack->fd, path, 0, page, sizeof page, err));
    memcpy(&pack->header, page, sizeof pack->header);
    FM_TRY_GOTO(check_header(pack, page, file_bytes, err));
    FM_TRY_GOTO(load_tables(pack, err));
    FM_TRY_GOTO(enter_tables(pack, err));
    FM_TRY_GOTO(check_programs(pack, err));
    FM_TRY_GOTO(check_weights(pack, err));
    return FLASHMEM_OK;
cleanup:
    fm_pack_close(pack);
    return status;
}

void fm_pack_close(fm_pack *pack) {
    if (!pack->path) return; /* never opened, or closed */
    if (pack->fd >= 0) close(pack->fd);
    free(pack->programs);
    free(pack->tables);
    free(pack->path);
    *pack = (fm_pack){ .fd = -1 };
}

/* --- weight bytes ------------------------------------------------------------------------------------------------- */

/* Units of unit bytes from file offset on, read several at a time through buffer (capacity a multiple of unit). */
static flashmem_status verify_units(const fm_pack *pack, const char *what, uint32_t index, const char *name,
                                    uint64_t offset, uint64_t bytes, uint64_t unit, const uint64_t *checksums,
                                    char *buffer, uint64_t capacity, flashmem_error *err) {
    for (uint64_t done = 0; done < bytes;) {
        uint64_t batch = bytes - done < capacity ? bytes - done : capacity;
        FM_TRY(fm_file_read(pack->fd, pack->path, offset + done, buffer, batch, err));
        for (uint64_t at = 0; at < batch; at += unit) {
            uint64_t length = batch - at < unit ? batch - at : unit;
            if (fm_hash(buffer + at, length) != checksums[(done + at) / unit])
                return fm_fail(err, FLASHMEM_CORRUPT,
                               "%s: %s %u ('%s'): bytes %" PRIu64 "..%" PRIu64
                               " of the file do not match their checksum",
                               pack->path, what, index, name, offset + done + at, offset + done + at + length - 1);
        }
        done += batch;
    }
    return FLASHMEM_OK;
}

static uint64_t batch_of(uint64_t unit) {
    uint64_t wanted = 4 << 20;
    return unit >= wanted ? unit : wanted / unit * unit;
}

flashmem_status fm_pack_verify_weights(const fm_pack *pack, flashmem_error *err) {
    flashmem_status   status = FLASHMEM_OK;
    const fm_program *texts = &pack->programs[0];
    uint64_t          capacity = 0;
    for (uint32_t i = 0; i < pack->packed.object_count; i++)
        if (batch_of(pack->packed.objects[i].unit_bytes) > capacity)
            capacity = batch_of(pack->packed.objects[i].unit_bytes);
    for (uint32_t i = 0; i < pack->packed.weight_count; i++)
        if (pack->packed.weights[i].kind == FM_WEIGHT_ROWS && batch_of(pack->packed.weights[i].row_bytes) > capacity)
            capacity = batch_of(pack->packed.weights[i].row_bytes);
    char *buffer = malloc(capacity + 1);
    if (!buffer)
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %" PRIu64 " bytes of weights", pack->path,
                       capacity);
    for (uint32_t i = 0; i < pack->packed.object_count; i++) {
        const fm_object *o = &pack->packed.objects[i];
        const char      *name = o->weight == FM_NONE ? "bundle"
                                                     : fm_program_string(texts, pack->packed.weights[o->weight].name);
        FM_TRY_GOTO(verify_units(pack, "object", i, name, o->file_offset, o->bytes, o->unit_bytes,
                                 pack->checksums + o->first_checksum, buffer, batch_of(o->unit_bytes), err));
    }
    for (uint32_t i = 0; i < pack->packed.weight_count; i++) {
        const fm_weight *w = &pack->packed.weights[i];
        if (w->kind != FM_WEIGHT_ROWS) continue;
        FM_TRY_GOTO(verify_units(pack, "row table of weight", i, fm_program_string(texts, w->name), w->file_offset,
                                 w->k * w->row_bytes, w->row_bytes, pack->checksums + w->first_checksum, buffer,
                                 batch_of(w->row_bytes), err));
    }
cleanup:
    free(buffer);
    return status;
}
