/* Writing the pack: objects one after the other, each in pieces that fit two fixed buffers, then the tables read by
 * row.  Nothing here depends on how large a weight is. */
#include "compile/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "flashmem/run.h"
#include "kernels/source.h"

typedef struct packer {
    fm_lower            *l;
    fm_pack_writer      *writer;
    fm_pack_layout       layout;
    flashmem_progress_fn progress;
    void                *user;
    const fm_recipe    **flat;        /* per weight: DENSE ones as one axis */
    uint64_t             done, total; /* bytes of weights */
    char                *out;         /* FM_PACK_WORK, or the largest piece that cannot be smaller */
    float               *work;
} packer;

static flashmem_status advance(packer *p, uint64_t bytes, flashmem_error *err) {
    p->done += bytes;
    if (p->progress && p->progress(p->user, "pack", p->done, p->total))
        return fm_fail(err, FLASHMEM_CANCELLED, "cancelled after %" PRIu64 " of %" PRIu64 " bytes of weights", p->done,
                       p->total);
    return FLASHMEM_OK;
}

/* Panels that fit both buffers: whole cut units, at least one. */
static uint64_t panels_at_once(const fm_weight *w, uint64_t step) {
    uint64_t widened = w->panel_bytes * (w->format == FM_WEIGHT_F16 ? 2 : 1);
    uint64_t panels = FM_PACK_WORK / widened / step * step;
    if (panels < step) panels = step;
    return panels < w->panels ? panels : w->panels;
}

/* Bytes that the two buffers need: a cut unit or a bundle may be larger than FM_PACK_WORK. */
static void buffer_needs(const packer *p, uint64_t *out, uint64_t *work) {
    *out = *work = FM_PACK_WORK;
    for (uint32_t o = 0; o < p->layout.object_count; o++) {
        const fm_object *object = &p->layout.objects[o];
        uint64_t         piece = object->unit_bytes;
        if (piece > *out) *out = piece;
        for (uint32_t m = p->layout.first_member[o]; m < p->layout.first_member[o + 1]; m++) {
            const fm_weight *w = &p->l->records[p->layout.members[m]];
            if (w->kind != FM_WEIGHT_PANELS) continue;
            uint64_t panels = object->weight == FM_NONE ? w->panels : panels_at_once(w, w->unit_panels);
            uint64_t bytes = panels * w->panel_bytes, widened = bytes * (w->format == FM_WEIGHT_F16 ? 2 : 1);
            if (bytes + FM_PACK_ALIGN > *out) *out = bytes + FM_PACK_ALIGN;
            if (widened > *work) *work = widened;
        }
    }
    for (size_t i = 0; i < p->l->weight_count; i++)
        if (p->l->records[i].kind == FM_WEIGHT_ROWS && p->l->records[i].row_bytes > *out)
            *out = p->l->records[i].row_bytes;
}

/* The piece's end is padded with zeros up to the object's when it is the last one. */
static flashmem_status write_piece(packer *p, uint32_t object, uint64_t offset, uint64_t bytes, flashmem_error *err) {
    uint64_t end = p->layout.objects[object].bytes;
    if (offset + bytes > end - FM_PACK_ALIGN && offset + bytes < end) {
        memset(p->out + bytes, 0, end - offset - bytes);
        bytes = end - offset;
    }
    FM_TRY(fm_pack_writer_object(p->writer, object, offset, p->out, bytes, err));
    return advance(p, bytes, err);
}

static flashmem_status pack_large_panels(packer *p, uint32_t object, const fm_lower_weight *w, flashmem_error *err) {
    uint64_t at_once = panels_at_once(&w->record, w->record.unit_panels);
    for (uint64_t first = 0; first < w->record.panels; first += at_once) {
        uint64_t count = w->record.panels - first < at_once ? w->record.panels - first : at_once;
        FM_TRY(fm_pack_panels(w, first, count, p->out, p->work, err));
        FM_TRY(write_piece(p, object, first * w->record.panel_bytes, count * w->record.panel_bytes, err));
    }
    return FLASHMEM_OK;
}

/* Elements [first, first + count) in row-major order. */
static flashmem_status read_dense(packer *p, const fm_lower_weight *w, uint64_t first, uint64_t count, void *to,
                                  flashmem_error *err) {
    int64_t start = (int64_t)first, length = (int64_t)count;
    return fm_recipe_read(p->flat[w - p->l->weights], &start, &length, w->dtype, to, err);
}

/* All at once and before anything is open: the arena may unwind. */
static void flatten(packer *p) {
    p->flat = fm_arena_array(p->l->graph->arena, p->l->weight_count, sizeof *p->flat);
    for (size_t i = 0; i < p->l->weight_count; i++) {
        const fm_recipe *r = p->l->weights[i].recipe;
        fm_shape         flat = { .rank = 1, .dims = { fm_shape_count(&r->shape) } };
        if (p->l->records[i].kind == FM_WEIGHT_DENSE) p->flat[i] = fm_recipe_reshape(p->l->graph->arena, r, &flat);
    }
}

static flashmem_status pack_large_dense(packer *p, uint32_t object, const fm_lower_weight *w, flashmem_error *err) {
    uint64_t element = fm_dtype_bytes(w->dtype), unit = p->layout.objects[object].unit_bytes;
    uint64_t at_once = (FM_PACK_WORK - FM_PACK_ALIGN) / unit * unit;
    for (uint64_t offset = 0; offset < w->record.bytes; offset += at_once) {
        uint64_t bytes = w->record.bytes - offset < at_once ? w->record.bytes - offset : at_once;
        FM_TRY(read_dense(p, w, offset / element, bytes / element, p->out, err));
        FM_TRY(write_piece(p, object, offset, bytes, err));
    }
    return FLASHMEM_OK;
}

static flashmem_status pack_bundle(packer *p, uint32_t object, flashmem_error *err) {
    const fm_object *o = &p->layout.objects[object];
    memset(p->out, 0, o->bytes);
    for (uint32_t m = p->layout.first_member[object]; m < p->layout.first_member[object + 1]; m++) {
        const fm_lower_weight *w = &p->l->weights[p->layout.members[m]];
        char                  *to = p->out + w->record.object_offset;
        if (w->record.kind == FM_WEIGHT_PANELS) FM_TRY(fm_pack_panels(w, 0, w->record.panels, to, p->work, err));
        else FM_TRY(read_dense(p, w, 0, w->record.bytes / fm_dtype_bytes(w->dtype), to, err));
    }
    FM_TRY(fm_pack_writer_object(p->writer, object, 0, p->out, o->bytes, err));
    return advance(p, o->bytes, err);
}

static flashmem_status pack_rows(packer *p, uint32_t weight, flashmem_error *err) {
    const fm_lower_weight *w = &p->l->weights[weight];
    uint64_t               rows = w->record.k, at_once = FM_PACK_WORK / w->record.row_bytes;
    if (at_once == 0) at_once = 1;
    for (uint64_t first = 0; first < rows; first += at_once) {
        uint64_t count = rows - first < at_once ? rows - first : at_once;
        int64_t  start[2] = { (int64_t)first, 0 }, box[2] = { (int64_t)count, (int64_t)w->record.n };
        FM_TRY(fm_recipe_read(w->recipe, start, box, w->dtype, p->out, err));
        FM_TRY(fm_pack_writer_rows(p->writer, weight, first, p->out, count, err));
        FM_TRY(advance(p, count * w->record.row_bytes, err));
    }
    return FLASHMEM_OK;
}

static flashmem_status write_weights(packer *p, flashmem_error *err) {
    for (uint32_t o = 0; o < p->layout.object_count; o++) {
        uint32_t weight = p->layout.objects[o].weight;
        if (weight == FM_NONE) FM_TRY(pack_bundle(p, o, err));
        else if (p->l->records[weight].kind == FM_WEIGHT_PANELS)
            FM_TRY(pack_large_panels(p, o, &p->l->weights[weight], err));
        else FM_TRY(pack_large_dense(p, o, &p->l->weights[weight], err));
    }
    for (size_t i = 0; i < p->l->weight_count; i++)
        if (p->l->records[i].kind == FM_WEIGHT_ROWS) FM_TRY(pack_rows(p, (uint32_t)i, err));
    return FLASHMEM_OK;
}

uint64_t fm_lower_float_bytes(const fm_lower *l) {
    uint64_t total = 0;
    for (size_t i = 0; i < l->weight_count; i++) {
        const fm_weight *w = &l->records[i];
        if (w->format != FM_WEIGHT_RAW) total += w->k * w->n * (w->format == FM_WEIGHT_F16 ? 2 : 4);
    }
    return total;
}

/* Name, type and sizes of every input. */
static uint64_t shape_key(const fm_graph *g) {
    uint64_t key = 0;
    for (size_t i = 0; i < g->input_count; i++) {
        const fm_tensor *t = g->inputs[i];
        uint32_t         facts[2] = { (uint32_t)t->dtype, t->shape.rank };
        key = fm_hash_seeded(t->name, strlen(t->name), key);
        key = fm_hash_seeded(facts, sizeof facts, key);
        key = fm_hash_seeded(t->shape.dims, t->shape.rank * sizeof *t->shape.dims, key);
    }
    return key;
}

static void count_total(packer *p) {
    for (uint32_t o = 0; o < p->layout.object_count; o++) p->total += p->layout.objects[o].bytes;
    for (size_t i = 0; i < p->l->weight_count; i++)
        if (p->l->records[i].kind == FM_WEIGHT_ROWS) p->total += p->l->records[i].k * p->l->records[i].row_bytes;
}

static uint32_t memory_paths(const fm_lower *l) {
    return l->layout == FLASHMEM_LAYOUT_TEXTURE ? 1u << FLASHMEM_PATH_TEXTURE_COPY : 1u << FLASHMEM_PATH_IN_PLACE;
}

/* The runner refuses kernels that are not the ones chosen here. */
static flashmem_status stamp_kernels(fm_program_builder *b, flashmem_error *err) {
    for (size_t i = 0; i < b->kernel_count; i++)
        FM_TRY(fm_program_source_hash(b->strings + b->kernels[i].source, &b->kernels[i].source_hash, err));
    return FLASHMEM_OK;
}

flashmem_status fm_pack_lowered(fm_lower *l, const char *pack_path, const flashmem_compile_options *options,
                                flashmem_compile_report *report, flashmem_error *err) {
    flashmem_status status;
    packer          p = { .l = l, .progress = options->progress, .user = options->user };
    FM_TRY(stamp_kernels(&l->builder, err));
    fm_program      program = fm_builder_program(&l->builder);
    uint64_t        key = shape_key(l->graph), out_bytes, work_bytes, pack_bytes = 0;
    uint32_t        paths = memory_paths(l);
    FM_TRY(fm_pack_lay_out(l, &program, &p.layout, err));
    fm_pack_contents contents = {
        .layout = l->layout, .weights = l->format, .float_weight_bytes = fm_lower_float_bytes(l),
        .strings = l->builder.strings, .string_bytes = l->builder.string_bytes,
        .weight_table = l->records, .weight_count = (uint32_t)l->weight_count,
        .object_table = p.layout.objects, .object_count = p.layout.object_count,
        .programs = &program, .memory_paths = &paths, .shape_keys = &key, .program_count = 1,
    };
    count_total(&p);
    flatten(&p);
    buffer_needs(&p, &out_bytes, &work_bytes);
    FM_TRY_GOTO(fm_pack_writer_open(&p.writer, pack_path, &contents, err));
    p.out = malloc(out_bytes);
    p.work = malloc(work_bytes);
    if (!p.out || !p.work) {
        status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the packer's buffers of %" PRIu64 " bytes",
                         pack_path, out_bytes + work_bytes);
        goto cleanup;
    }
    FM_TRY_GOTO(write_weights(&p, err));
    status = fm_pack_writer_commit(p.writer, &pack_bytes, err);
    p.writer = NULL;
    if (report) {
        report->steps = program.step_count;
        report->kernel_programs = program.kernel_count;
        report->weight_bytes = contents.float_weight_bytes;
        report->pack_bytes = pack_bytes;
    }
cleanup:
    free(p.out);
    free(p.work);
    fm_pack_writer_abort(p.writer);
    return status;
}
