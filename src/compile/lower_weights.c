/* Constants of the graph as weights of the pack: panels of matrices, dense arrays, tables read by row, and program
 * constants up to 64 bytes.  The same recipe in the same arrangement is one weight. */
#include <inttypes.h>

#include "base/hash.h"
#include "compile/lower_internal.h"

enum { PAGE = 4096 };

static bool same_source(const fm_source *a, const fm_source *b) {
    if (a == b) return true;
    if (a->read != b->read || a->bytes != b->bytes || a->memory != b->memory) return false;
    if (a->memory) return true;
    return a->fd == b->fd && a->file_offset == b->file_offset && a->seed == b->seed && a->deviation == b->deviation &&
           a->dtype == b->dtype;
}

static bool same_recipe(const fm_recipe *a, const fm_recipe *b) {
    if (a == b) return true;
    if (a->kind != b->kind || a->dtype != b->dtype || !fm_shape_equal(&a->shape, &b->shape) ||
        a->input_count != b->input_count || a->axis != b->axis)
        return false;
    for (uint32_t i = 0; i < a->shape.rank; i++) {
        if (a->kind == FM_RECIPE_TRANSPOSE && a->permutation[i] != b->permutation[i]) return false;
        if (a->kind == FM_RECIPE_SLICE && (a->start[i] != b->start[i] || a->step[i] != b->step[i])) return false;
    }
    if (a->kind == FM_RECIPE_LEAF && !same_source(a->source, b->source)) return false;
    for (uint32_t i = 0; i < a->input_count; i++)
        if (!same_recipe(a->inputs[i], b->inputs[i])) return false;
    return true;
}

/* The same for equal recipes: shapes and kinds down the first inputs, and where the first source lies. */
static uint64_t recipe_hash(const fm_recipe *r) {
    uint64_t hash = 0;
    for (;; r = r->inputs[0]) {
        const uint64_t facts[] = { r->kind, r->dtype, r->axis, r->kind == FM_RECIPE_SLICE ? (uint64_t)r->start[0] : 0 };
        hash = fm_hash_seeded(facts, sizeof facts, hash);
        hash = fm_hash_seeded(r->shape.dims, r->shape.rank * sizeof *r->shape.dims, hash);
        if (r->kind == FM_RECIPE_LEAF) break;
    }
    const fm_source *s = r->source;
    const uint64_t   place[] = { (uintptr_t)s->memory, s->bytes, s->memory ? 0 : (uint64_t)s->fd,
                               s->memory ? 0 : s->file_offset, s->memory ? 0 : s->seed };
    return fm_hash_seeded(place, sizeof place, hash);
}

static void insert_slot(fm_lower *l, size_t index) {
    size_t mask = l->weight_slot_count - 1, at = recipe_hash(l->weights[index].recipe) & mask;
    while (l->weight_slots[at]) at = (at + 1) & mask;
    l->weight_slots[at] = (uint32_t)index + 1;
    l->weight_entries++;
}

/* At most half full.  Entries of weights that were taken back stay until then: they are compared as all are. */
static void remember(fm_lower *l, size_t index) {
    if (l->weight_entries * 2 >= l->weight_slot_count) {
        l->weight_slot_count = l->weight_slot_count ? l->weight_slot_count * 2 : 64;
        l->weight_slots = fm_arena_array(l->graph->arena, l->weight_slot_count, sizeof *l->weight_slots);
        l->weight_entries = 0;
        for (size_t i = 0; i < index; i++) insert_slot(l, i);
    }
    insert_slot(l, index);
}

static fm_lower_weight *find(fm_lower *l, fm_weight_kind kind, const fm_recipe *r, flashmem_dtype dtype) {
    size_t mask = l->weight_slot_count - 1;
    if (!l->weight_slot_count) return NULL;
    for (size_t at = recipe_hash(r) & mask; l->weight_slots[at]; at = (at + 1) & mask) {
        fm_lower_weight *w = &l->weights[l->weight_slots[at] - 1];
        if (l->weight_slots[at] > l->weight_count || w->record.kind != (uint32_t)kind || w->dtype != dtype) continue;
        if (same_recipe(w->recipe, r)) return w;
    }
    return NULL;
}

static uint32_t add(fm_lower *l, const char *name, const fm_recipe *r, flashmem_dtype dtype, fm_weight record) {
    fm_arena *a = l->graph->arena;
    record.name = fm_builder_string(&l->builder, name);
    record.object = FM_NONE;
    uint32_t index = (uint32_t)l->weight_count;
    size_t   capacity = l->weight_capacity;
    uint32_t value = fm_builder_weight(&l->builder, index, dtype, (int64_t)record.bytes, name);
    l->records = fm_arena_grow(a, l->records, l->weight_count, &capacity, sizeof *l->records);
    l->records[index] = record;
    FM_PUSH(a, l->weights, l->weight_count,
            l->weight_capacity) = (fm_lower_weight){ .record = record,
                                                     .recipe = r,
                                                     .dtype = dtype,
                                                     .first_step = (uint32_t)l->builder.step_count,
                                                     .value = value,
                                                     .name = name };
    l->emit.weights = l->records;
    remember(l, index);
    return value;
}

static flashmem_dtype pack_dtype(const fm_lower *l) {
    return l->format == FLASHMEM_WEIGHTS_FP16 ? FLASHMEM_F16 : FLASHMEM_F32;
}

static fm_weight_format format_of(flashmem_dtype dtype) {
    return dtype == FLASHMEM_F32 ? FM_WEIGHT_F32 : dtype == FLASHMEM_F16 ? FM_WEIGHT_F16 : FM_WEIGHT_RAW;
}

static uint64_t divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

flashmem_status fm_lower_panels(fm_lower *l, const char *name, const fm_recipe *kn, uint32_t *value,
                                flashmem_error *err) {
    flashmem_dtype   dtype = pack_dtype(l);
    fm_lower_weight *found = find(l, FM_WEIGHT_PANELS, kn, dtype);
    if (found) {
        *value = found->value;
        return FLASHMEM_OK;
    }
    assert(kn->shape.rank == 2);
    uint64_t columns = l->layout == FLASHMEM_LAYOUT_TEXTURE ? 4 : 16;
    uint64_t k = (uint64_t)kn->shape.dims[0], n = (uint64_t)kn->shape.dims[1], total;
    if (k == 0 || n == 0 || k > INT32_MAX || n > INT32_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "weight '%s': %" PRIu64 " x %" PRIu64 " is no matrix to pack", name,
                       k, n);
    fm_weight w = { .kind = FM_WEIGHT_PANELS, .format = format_of(dtype), .k = k, .n = n };
    w.panels = (n + columns - 1) / columns;
    w.panel_bytes = k * columns * fm_dtype_bytes(dtype);
    w.unit_panels = (uint32_t)(PAGE / divisor(PAGE, w.panel_bytes));
    if (__builtin_mul_overflow(w.panels, w.panel_bytes, &total) || total > INT64_MAX - PAGE)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "weight '%s': %" PRIu64 " x %" PRIu64 " is too large", name, k, n);
    w.bytes = total;
    *value = add(l, name, kn, dtype, w);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_dense_weight(fm_lower *l, const char *name, const fm_recipe *r, flashmem_dtype dtype,
                                      fm_view *out, flashmem_error *err) {
    fm_lower_weight *found = find(l, FM_WEIGHT_DENSE, r, dtype);
    uint32_t         value;
    if (found) {
        value = found->value;
    } else {
        int64_t count = fm_shape_count(&r->shape), bytes;
        if (count <= 0 || __builtin_mul_overflow(count, (int64_t)fm_dtype_bytes(dtype), &bytes))
            return fm_fail(err, FLASHMEM_UNSUPPORTED, "constant '%s': %" PRId64 " elements", name, count);
        fm_weight w = {
            .kind = FM_WEIGHT_DENSE, .format = format_of(dtype), .k = 1, .n = (uint64_t)count, .bytes = (uint64_t)bytes
        };
        value = add(l, name, r, dtype, w);
    }
    fm_view_dense(out, value, dtype, &r->shape);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_rows(fm_lower *l, const char *name, const fm_recipe *r, uint32_t *value, flashmem_error *err) {
    flashmem_dtype   dtype = fm_dtype_is_float(r->dtype) ? pack_dtype(l) : r->dtype;
    fm_lower_weight *found = find(l, FM_WEIGHT_ROWS, r, dtype);
    if (found) {
        *value = found->value;
        return FLASHMEM_OK;
    }
    assert(r->shape.rank == 2);
    uint64_t rows = (uint64_t)r->shape.dims[0], width = (uint64_t)r->shape.dims[1], row_bytes, total;
    if (rows == 0 || width == 0 || __builtin_mul_overflow(width, (uint64_t)fm_dtype_bytes(dtype), &row_bytes) ||
        __builtin_mul_overflow(rows, row_bytes, &total) || total > INT64_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "table '%s': %" PRIu64 " x %" PRIu64, name, rows, width);
    fm_weight w = { .kind = FM_WEIGHT_ROWS,
                    .format = format_of(dtype),
                    .k = rows,
                    .n = width,
                    .row_bytes = row_bytes,
                    .bytes = total };
    *value = add(l, name, r, dtype, w);
    return FLASHMEM_OK;
}

/* Small constants travel in the program itself. */
static flashmem_status program_constant(fm_lower *l, const fm_recipe *r, flashmem_dtype dtype, fm_view *out,
                                        flashmem_error *err) {
    uint8_t  data[FM_PROGRAM_CONSTANT] = { 0 };
    int64_t  count = fm_shape_count(&r->shape);
    uint32_t bytes = (uint32_t)(count > 0 ? count : 1) * fm_dtype_bytes(dtype);
    if (count > 0) FM_TRY(fm_recipe_read_all(r, dtype, data, err));
    fm_view_dense(out, fm_builder_constant(&l->builder, dtype, data, bytes), dtype, &r->shape);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_constant(fm_lower *l, fm_tensor *t, fm_view *out, flashmem_error *err) {
    const fm_recipe *r = t->constant;
    flashmem_dtype   dtype = fm_lower_dtype(t);
    fm_shape         shape = r->shape;
    while (r->kind == FM_RECIPE_BROADCAST) r = r->inputs[0];
    int64_t count = fm_shape_count(&r->shape);
    if (count < 0) return fm_fail(err, FLASHMEM_UNSUPPORTED, "constant '%s' is too large", t->name);
    if (count * fm_dtype_bytes(dtype) <= FM_PROGRAM_CONSTANT) FM_TRY(program_constant(l, r, dtype, out, err));
    else FM_TRY(fm_lower_dense_weight(l, t->name, r, dtype, out, err));
    *out = fm_view_broadcast(out, &shape);
    return FLASHMEM_OK;
}
