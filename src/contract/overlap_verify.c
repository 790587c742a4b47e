/* Checks overlap plans of a pack against everything but a slab cut, which they name only by its key. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "contract/overlap.h"

typedef struct verifier {
    const fm_stored_overlaps *all;
    const fm_pack            *pack;
    flashmem_error           *err;
} verifier;

#define BAD(...) fm_fail(v->err, FLASHMEM_BAD_PACK, __VA_ARGS__)

/* Ends with NUL and holds nothing behind it. */
static bool is_text(const char *text, size_t bytes) {
    size_t length = 0;
    while (length < bytes && text[length]) length++;
    for (size_t i = length; i < bytes; i++)
        if (text[i]) return false;
    return length < bytes;
}

static flashmem_status check_record(const verifier *v, uint32_t index) {
    const fm_stored_plan *p = &v->all->plans[index];
    if (p->program >= v->pack->program_count)
        return BAD("overlap plan %u: program %u of %u", index, p->program, v->pack->program_count);
    if (p->memory_path == FLASHMEM_PATH_DEFAULT || p->memory_path > FLASHMEM_PATH_DMA ||
        !(v->pack->program_records[p->program].memory_paths & 1u << p->memory_path))
        return BAD("overlap plan %u: memory path %u", index, p->memory_path);
    if (index && (p[-1].program > p->program || (p[-1].program == p->program && p[-1].memory_path >= p->memory_path)))
        return BAD("overlap plan %u: out of order, or the second for its program and memory path", index);
    if (p->status != FM_STORED_FEASIBLE && p->status != FM_STORED_OPTIMAL)
        return BAD("overlap plan %u: status %u", index, p->status);
    if (!is_text(p->solver, sizeof p->solver) || !is_text(p->device, sizeof p->device))
        return BAD("overlap plan %u: the name of its solver or device does not end", index);
    if (p->chunk_bytes == 0 || p->unit <= 0 || p->bound > p->objective || p->objective < 0)
        return BAD("overlap plan %u: chunks of %" PRIu64 " bytes, objective %" PRId64 ", bound %" PRId64
                   ", unit %" PRId64,
                   index, p->chunk_bytes, p->objective, p->bound, p->unit);
    if (!(p->lambda >= 0 && p->lambda <= 1)) return BAD("overlap plan %u: lambda %g", index, p->lambda);
    return FLASHMEM_OK;
}

/* Parts of an object are whole pages. */
static bool is_part(const verifier *v, uint32_t object, uint32_t part) {
    return object < v->pack->packed.object_count && part < v->pack->packed.objects[object].bytes / FM_PACK_ALIGN;
}

static int compare_parts(uint32_t object, uint32_t part, uint32_t other_object, uint32_t other_part) {
    if (object != other_object) return object < other_object ? -1 : 1;
    return part < other_part ? -1 : part > other_part;
}

static flashmem_status check_preloads(const verifier *v, uint32_t index) {
    const fm_stored_plan *p = &v->all->plans[index];
    for (uint32_t i = p->first_preload; i < p->first_preload + p->preload_count; i++) {
        const fm_stored_preload *row = &v->all->preloads[i];
        if (!is_part(v, row->object, row->part))
            return BAD("overlap plan %u: preloads part %u of object %u", index, row->part, row->object);
        if (i > p->first_preload && compare_parts(row[-1].object, row[-1].part, row->object, row->part) >= 0)
            return BAD("overlap plan %u: preload %u is out of order", index, i);
    }
    return FLASHMEM_OK;
}

static int compare_loads(const fm_stored_load *a, const fm_stored_load *b) {
    int parts = compare_parts(a->object, a->part, b->object, b->part);
    return parts ? parts : compare_parts(a->step, a->step_part, b->step, b->step_part);
}

static flashmem_status check_loads(const verifier *v, uint32_t index) {
    const fm_stored_plan    *p = &v->all->plans[index];
    const fm_program        *program = &v->pack->programs[p->program];
    const fm_stored_preload *preload = v->all->preloads + p->first_preload, *end = preload + p->preload_count;
    uint64_t                 chunks = 0; /* of the object at hand, all parts */
    for (uint32_t i = p->first_load; i < p->first_load + p->load_count; i++) {
        const fm_stored_load *row = &v->all->loads[i];
        if (!is_part(v, row->object, row->part) || row->step >= program->step_count)
            return BAD("overlap plan %u: load %u: part %u of object %u before step %u of %u", index, i, row->part,
                       row->object, row->step, program->step_count);
        if (i > p->first_load && compare_loads(row - 1, row) >= 0)
            return BAD("overlap plan %u: load %u is out of order", index, i);
        while (preload < end && compare_parts(preload->object, preload->part, row->object, row->part) < 0) preload++;
        if (preload < end && compare_parts(preload->object, preload->part, row->object, row->part) == 0)
            return BAD("overlap plan %u: part %u of object %u is preloaded and loaded", index, row->part, row->object);
        if (i == p->first_load || row[-1].object != row->object) chunks = 0;
        chunks += row->chunks;
        /* A part may end in a chunk that is not full. */
        uint64_t bytes = v->pack->packed.objects[row->object].bytes;
        if (row->chunks == 0 || chunks > fm_chunks(bytes, p->chunk_bytes) + bytes / FM_PACK_ALIGN)
            return BAD("overlap plan %u: load %u: %u chunks, %" PRIu64 " of object %u so far", index, i, row->chunks,
                       chunks, row->object);
    }
    return FLASHMEM_OK;
}

flashmem_status fm_stored_overlaps_verify(const fm_stored_overlaps *overlaps, const fm_pack *pack,
                                          flashmem_error *err) {
    verifier        checked = { overlaps, pack, err };
    const verifier *v = &checked;
    uint32_t        preloads = 0, loads = 0;
    for (uint32_t i = 0; i < overlaps->plan_count; i++) {
        const fm_stored_plan *p = &overlaps->plans[i];
        FM_TRY(check_record(v, i));
        if (p->first_preload != preloads || p->preload_count > overlaps->preload_count - preloads ||
            p->first_load != loads || p->load_count > overlaps->load_count - loads)
            return BAD("overlap plan %u: preloads %u+%u of %u, loads %u+%u of %u", i, p->first_preload,
                       p->preload_count, overlaps->preload_count, p->first_load, p->load_count, overlaps->load_count);
        FM_TRY(check_preloads(v, i));
        FM_TRY(check_loads(v, i));
        preloads += p->preload_count;
        loads += p->load_count;
    }
    if (preloads != overlaps->preload_count || loads != overlaps->load_count)
        return BAD("overlap plans: %u preloads and %u loads belong to no plan", overlaps->preload_count - preloads,
                   overlaps->load_count - loads);
    return FLASHMEM_OK;
}
