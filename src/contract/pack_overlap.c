/* The section of overlap plans: reading it, and adding a plan to a finished pack. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/hash.h"
#include "contract/overlap.h"

static uint64_t section_bytes(uint64_t plans, uint64_t preloads, uint64_t loads) {
    return sizeof(fm_overlap_head) + plans * sizeof(fm_stored_plan) + preloads * sizeof(fm_stored_preload) +
           loads * sizeof(fm_stored_load);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void enter(const char *bytes, fm_stored_overlaps *out) {
    fm_overlap_head head;
    memcpy(&head, bytes, sizeof head);
    out->plan_count = head.plan_count;
    out->preload_count = head.preload_count;
    out->load_count = head.load_count;
    out->plans = (const fm_stored_plan *)(bytes + sizeof head);
    out->preloads = (const fm_stored_preload *)(out->plans + head.plan_count);
    out->loads = (const fm_stored_load *)(out->preloads + head.preload_count);
}

flashmem_status fm_pack_read_overlaps(const fm_pack *pack, fm_arena *arena, fm_stored_overlaps *out,
                                      flashmem_error *err) {
    const fm_section *section = &pack->header.overlaps;
    *out = (fm_stored_overlaps){ .plan_count = 0 };
    if (section->bytes == 0) return FLASHMEM_OK;
    fm_overlap_head head;
    char           *bytes = fm_arena_alloc(arena, section->bytes);
    FM_TRY(fm_file_read(pack->fd, pack->path, section->offset, bytes, section->bytes, err));
    if (fm_hash(bytes, section->bytes) != pack->header.overlaps_checksum)
        return fm_fail(err, FLASHMEM_BAD_PACK, "%s: the overlap plans do not match their checksum: make them again",
                       pack->path);
    memcpy(&head, bytes, section->bytes < sizeof head ? section->bytes : sizeof head);
    if (section->bytes < sizeof head || head.reserved ||
        section->bytes != section_bytes(head.plan_count, head.preload_count, head.load_count))
        return fm_fail(err, FLASHMEM_BAD_PACK,
                       "%s: overlap plans of %" PRIu64 " bytes do not hold the rows that they say", pack->path,
                       section->bytes);
    enter(bytes, out);
    flashmem_error  found = { 0 };
    flashmem_status status = fm_stored_overlaps_verify(out, pack, &found);
    return status == FLASHMEM_OK ? status : fm_fail(err, status, "%s: %s", pack->path, found.message);
}

static fm_stored_overlap plan_at(const fm_stored_overlaps *overlaps, uint32_t i) {
    const fm_stored_plan *plan = &overlaps->plans[i];
    return (fm_stored_overlap){ plan, overlaps->preloads + plan->first_preload, overlaps->loads + plan->first_load };
}

bool fm_stored_overlaps_find(const fm_stored_overlaps *overlaps, uint32_t program, flashmem_memory_path path,
                             fm_stored_overlap *out) {
    for (uint32_t i = 0; i < overlaps->plan_count; i++) {
        *out = plan_at(overlaps, i);
        if (out->plan->program == program && out->plan->memory_path == (uint32_t)path) return true;
    }
    return false;
}

/* --- adding ------------------------------------------------------------------------------------------------------- */

typedef struct appender {
    const char *path;
    int         fd; /* locked */
    fm_pack     pack;
    fm_arena   *arena;
    char       *bytes; /* the new section */
    uint64_t    size;
} appender;

/* Where the next rows of the new section go. */
typedef struct cursor {
    fm_stored_plan    *plan;
    fm_stored_preload *preload, *first_preload;
    fm_stored_load    *load, *first_load;
} cursor;

static void put(cursor *to, const fm_stored_overlap *overlap) {
    const fm_stored_plan *plan = overlap->plan;
    *to->plan = *plan;
    to->plan->first_preload = (uint32_t)(to->preload - to->first_preload);
    to->plan->first_load = (uint32_t)(to->load - to->first_load);
    if (plan->preload_count) memcpy(to->preload, overlap->preloads, plan->preload_count * sizeof *to->preload);
    if (plan->load_count) memcpy(to->load, overlap->loads, plan->load_count * sizeof *to->load);
    to->plan++;
    to->preload += plan->preload_count;
    to->load += plan->load_count;
}

static void put_at(cursor *to, const fm_stored_overlaps *from, uint32_t i) {
    fm_stored_overlap overlap = plan_at(from, i);
    put(to, &overlap);
}

static bool comes_before(const fm_stored_plan *a, const fm_stored_plan *b) {
    return a->program < b->program || (a->program == b->program && a->memory_path < b->memory_path);
}

/* The old plans with the new one among them, in the place of one for the same program and path. */
static void put_all(cursor *to, const fm_stored_overlaps *old, const fm_stored_overlap *fresh) {
    uint32_t i = 0;
    for (; i < old->plan_count && comes_before(&old->plans[i], fresh->plan); i++) put_at(to, old, i);
    put(to, fresh);
    if (i < old->plan_count && !comes_before(fresh->plan, &old->plans[i])) i++;
    for (; i < old->plan_count; i++) put_at(to, old, i);
}

static flashmem_status compose(appender *a, const fm_stored_overlaps *old, const fm_stored_overlap *fresh,
                               flashmem_error *err) {
    const fm_stored_plan *record = fresh->plan;
    fm_stored_overlap     replaced;
    uint64_t              plans = old->plan_count + UINT64_C(1);
    uint64_t              preload_count = (uint64_t)old->preload_count + record->preload_count;
    uint64_t              load_count = (uint64_t)old->load_count + record->load_count;
    if (fm_stored_overlaps_find(old, record->program, (flashmem_memory_path)record->memory_path, &replaced)) {
        plans--;
        preload_count -= replaced.plan->preload_count;
        load_count -= replaced.plan->load_count;
    }
    if (plans > UINT32_MAX || preload_count > UINT32_MAX || load_count > UINT32_MAX ||
        section_bytes(plans, preload_count, load_count) > FM_PACK_LARGEST_TABLES)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "%s: overlap plans of %" PRIu64 " preloads and %" PRIu64 " loads are too many", a->path,
                       preload_count, load_count);
    fm_overlap_head head = { (uint32_t)plans, (uint32_t)preload_count, (uint32_t)load_count, 0 };
    a->size = section_bytes(plans, preload_count, load_count);
    a->bytes = fm_arena_alloc(a->arena, a->size);
    memcpy(a->bytes, &head, sizeof head);
    cursor to = { .plan = (fm_stored_plan *)(a->bytes + sizeof head) };
    to.first_preload = to.preload = (fm_stored_preload *)(to.plan + plans);
    to.first_load = to.load = (fm_stored_load *)(to.preload + preload_count);
    put_all(&to, old, fresh);
    fm_stored_overlaps all;
    flashmem_error     found = { 0 };
    enter(a->bytes, &all);
    if (fm_stored_overlaps_verify(&all, &a->pack, &found) == FLASHMEM_OK) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: the plan to be added does not hold: %s", a->path,
                   found.message);
}

static flashmem_status write_at(const appender *a, uint64_t offset, const void *from, uint64_t bytes,
                                flashmem_error *err) {
    for (uint64_t done = 0; done < bytes;) {
        ssize_t put = pwrite(a->fd, (const char *)from + done, bytes - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            return fm_fail_errno(err, errno, "%s: write of %" PRIu64 " bytes at offset %" PRIu64, a->path, bytes,
                                 offset);
        done += (uint64_t)put;
    }
    return FLASHMEM_OK;
}

static flashmem_status sync_file(const appender *a, flashmem_error *err) {
    return fsync(a->fd) == 0 ? FLASHMEM_OK : fm_fail_errno(err, errno, "%s: sync", a->path);
}

/* Where the present section is not: before it, if there is room, else behind. */
static uint64_t free_offset(const appender *a) {
    const fm_pack_header *h = &a->pack.header;
    if (h->overlaps.bytes == 0 || a->size <= h->overlaps.offset - h->file_bytes) return h->file_bytes;
    return (h->overlaps.offset + h->overlaps.bytes + FM_PACK_ALIGN - 1) / FM_PACK_ALIGN * FM_PACK_ALIGN;
}

/* What lies behind the plans harms nobody: gives its space back where that can be done. */
static void cut_file(const appender *a, uint64_t bytes) {
    if (ftruncate(a->fd, (off_t)bytes) != 0) return;
}

static flashmem_status write_section(const appender *a, flashmem_error *err) {
    char           page[FM_PACK_ALIGN] = { 0 };
    fm_pack_header header = a->pack.header;
    uint64_t       before = header.overlaps.bytes ? header.overlaps.offset + header.overlaps.bytes : header.file_bytes;
    header.overlaps = (fm_section){ free_offset(a), a->size };
    header.overlaps_checksum = fm_hash(a->bytes, a->size);
    header.header_checksum = 0;
    header.header_checksum = fm_hash(&header, sizeof header);
    memcpy(page, &header, sizeof header);
    flashmem_status status = write_at(a, header.overlaps.offset, a->bytes, a->size, err);
    if (status == FLASHMEM_OK) status = sync_file(a, err);
    if (status != FLASHMEM_OK) {
        cut_file(a, before);
        return status;
    }
    FM_TRY(write_at(a, 0, page, sizeof page, err));
    FM_TRY(sync_file(a, err));
    if (header.overlaps.offset + a->size < before) cut_file(a, header.overlaps.offset + a->size);
    return FLASHMEM_OK;
}

static flashmem_status append(appender *a, const fm_stored_overlap *overlap, flashmem_error *err) {
    fm_stored_overlaps old;
    flashmem_error     damaged = { 0 };
    a->arena = fm_arena_create();
    if (!a->arena || fm_arena_trap(a->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for its overlap plans", a->path);
    a->fd = open(a->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (a->fd < 0) return fm_fail_errno(err, errno, "%s: open for writing", a->path);
    if (flock(a->fd, LOCK_EX) != 0) return fm_fail_errno(err, errno, "%s: lock", a->path);
    FM_TRY(fm_pack_open(&a->pack, a->path, err));
    if (fm_pack_read_overlaps(&a->pack, a->arena, &old, &damaged) != FLASHMEM_OK)
        old = (fm_stored_overlaps){ .plan_count = 0 };
    FM_TRY(compose(a, &old, overlap, err));
    return write_section(a, err);
}

flashmem_status fm_pack_append_overlap(const char *path, const fm_stored_overlap *overlap, flashmem_error *err) {
    appender        a = { .path = path, .fd = -1, .pack = { .fd = -1 } };
    flashmem_status status = append(&a, overlap, err);
    fm_pack_close(&a.pack);
    if (a.fd >= 0) close(a.fd); /* unlocks */
    fm_arena_destroy(a.arena);
    return status;
}
