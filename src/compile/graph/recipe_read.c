/* Evaluating a box of a recipe into a strided target.  Transposes, slices, concatenations and broadcasts only change
 * where elements go; leaves read them there.  What computes (scale, add, inexact cast) works in tiles of scratch. */
#include "compile/graph/recipe_read.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compile/graph/convert.h"

enum {
    TILE = 64 << 10,        /* elements of scratch for one computed tile */
    READ_BYTES = 1 << 20,   /* one buffered read of a source */
    SPAN_WASTE = 2,         /* read through gaps while the span is at most this many times what is wanted */
    STEPPED_WASTE = 16      /* the same for slices with a step, in elements */
};

static bool is_empty(const int64_t *count, uint32_t rank) {
    for (uint32_t i = 0; i < rank; i++)
        if (count[i] == 0) return true;
    return false;
}

static int64_t box_elements(const int64_t *count, uint32_t rank) {
    int64_t n = 1;
    for (uint32_t i = 0; i < rank; i++) n *= count[i];
    return n;
}

static void dense_strides(const int64_t *count, uint32_t rank, int64_t *strides) {
    int64_t stride = 1;
    for (uint32_t i = rank; i-- > 0; stride *= count[i]) strides[i] = stride;
}

static flashmem_status no_memory(size_t bytes, flashmem_error *err) {
    return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for %zu bytes of a constant", bytes);
}

/* ---- strided copies ---- */

#define COPY_RUN(type)                                                                                    \
    for (int64_t i = 0; i < n; i++) memcpy(to + i * to_step * (int64_t)sizeof(type),                      \
                                           from + i * from_step * (int64_t)sizeof(type), sizeof(type))

static void copy_run(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n, uint32_t each) {
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, (size_t)n * each);
        return;
    }
    switch (each) {
    case 1: COPY_RUN(uint8_t); break;
    case 2: COPY_RUN(uint16_t); break;
    case 4: COPY_RUN(uint32_t); break;
    default: COPY_RUN(uint64_t); break;
    }
}

static void copy_box(char *to, const int64_t *to_strides, const char *from, const int64_t *from_strides,
                     const int64_t *count, uint32_t rank, uint32_t each) {
    if (rank == 0) {
        memcpy(to, from, each);
        return;
    }
    if (rank == 1) {
        copy_run(to, to_strides[0], from, from_strides[0], count[0], each);
        return;
    }
    for (int64_t i = 0; i < count[0]; i++)
        copy_box(to + i * to_strides[0] * each, to_strides + 1, from + i * from_strides[0] * each, from_strides + 1,
                 count + 1, rank - 1, each);
}

/* ---- leaves ---- */

typedef struct leaf_box {
    const fm_source *source;
    flashmem_dtype   from, to;
    uint32_t         rank; /* after merging axes */
    int64_t          count[FM_MAX_RANK], from_strides[FM_MAX_RANK], to_strides[FM_MAX_RANK];
    int64_t          largest;   /* elements of a buffered read */
    char            *buffer;    /* made when first needed */
    char            *converted; /* the same elements as type `to` */
} leaf_box;

/* Elements between the first and the last of axes from `axis` on, both included. */
static int64_t span_of(const leaf_box *b, uint32_t axis) {
    int64_t span = 1;
    for (uint32_t a = axis; a < b->rank; a++) span += (b->count[a] - 1) * b->from_strides[a];
    return span;
}

static flashmem_status make_buffers(leaf_box *b, flashmem_error *err) {
    if (b->buffer) return FLASHMEM_OK;
    size_t bytes = (size_t)b->largest * fm_dtype_bytes(b->from), wide = (size_t)b->largest * fm_dtype_bytes(b->to);
    b->buffer = malloc(bytes);
    if (!b->buffer) return no_memory(bytes, err);
    if (b->from == b->to) return FLASHMEM_OK;
    b->converted = malloc(wide);
    return b->converted ? FLASHMEM_OK : no_memory(wide, err);
}

/* One read of span elements, then a strided copy of those wanted. */
static flashmem_status read_span(leaf_box *b, uint32_t axis, int64_t position, int64_t span, char *to,
                                 flashmem_error *err) {
    uint32_t    from_each = fm_dtype_bytes(b->from), to_each = fm_dtype_bytes(b->to);
    uint64_t    offset = (uint64_t)position * from_each;
    const char *data;
    if (b->source->memory && b->from == b->to) {
        data = (const char *)b->source->memory + offset;
    } else {
        FM_TRY(make_buffers(b, err));
        data = b->buffer;
        if (b->source->memory) data = (const char *)b->source->memory + offset;
        else FM_TRY(b->source->read(b->source, offset, b->buffer, (size_t)span * from_each, err));
        if (b->from != b->to) {
            fm_convert(b->converted, b->to, data, b->from, (size_t)span);
            data = b->converted;
        }
    }
    copy_box(to, b->to_strides + axis, data, b->from_strides + axis, b->count + axis, b->rank - axis, to_each);
    return FLASHMEM_OK;
}

static flashmem_status read_leaf_axes(leaf_box *b, uint32_t axis, int64_t position, char *to, flashmem_error *err) {
    uint32_t from_each = fm_dtype_bytes(b->from), to_each = fm_dtype_bytes(b->to);
    int64_t  span = span_of(b, axis), wanted = box_elements(b->count + axis, b->rank - axis);
    bool     one_run = axis + 1 == b->rank && b->from_strides[axis] == 1;
    if (one_run && b->to_strides[axis] == 1 && b->from == b->to) /* straight to its place */
        return b->source->read(b->source, (uint64_t)position * from_each, to, (size_t)span * from_each, err);
    if (span <= b->largest && span <= wanted * SPAN_WASTE) return read_span(b, axis, position, span, to, err);
    if (axis == b->rank) return read_span(b, axis, position, 1, to, err);
    if (one_run) {
        int64_t whole = b->count[axis], part = b->largest;
        for (int64_t done = 0; done < whole; done += part) {
            b->count[axis] = whole - done < part ? whole - done : part;
            flashmem_status status = read_span(b, axis, position + done, b->count[axis],
                                               to + done * b->to_strides[axis] * to_each, err);
            if (status != FLASHMEM_OK) return status;
        }
        b->count[axis] = whole;
        return FLASHMEM_OK;
    }
    for (int64_t i = 0; i < b->count[axis]; i++)
        FM_TRY(read_leaf_axes(b, axis + 1, position + i * b->from_strides[axis],
                              to + i * b->to_strides[axis] * to_each, err));
    return FLASHMEM_OK;
}

static flashmem_status eval_leaf(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                 const fm_recipe_target *t, flashmem_error *err) {
    leaf_box b = { .source = r->source, .from = r->dtype, .to = t->dtype };
    int64_t  strides[FM_MAX_RANK], position = 0;
    dense_strides(r->shape.dims, r->shape.rank, strides);
    for (uint32_t a = 0; a < r->shape.rank; a++) {
        position += start[a] * strides[a];
        if (count[a] == 1) continue;
        uint32_t last = b.rank - 1;
        if (b.rank && b.from_strides[last] == strides[a] * count[a] && b.to_strides[last] == t->strides[a] * count[a]) {
            b.count[last] *= count[a];
            b.from_strides[last] = strides[a];
            b.to_strides[last] = t->strides[a];
        } else {
            b.count[b.rank] = count[a];
            b.from_strides[b.rank] = strides[a];
            b.to_strides[b.rank++] = t->strides[a];
        }
    }
    int64_t span = span_of(&b, 0), limit = READ_BYTES / fm_dtype_bytes(b.from);
    b.largest = span < limit ? span : limit;
    flashmem_status status = read_leaf_axes(&b, 0, position, t->to, err);
    free(b.buffer);
    free(b.converted);
    return status;
}

/* ---- computed nodes, tile by tile ---- */

typedef struct tile_scratch {
    char *a, *b; /* two dense tiles of up to 8 bytes an element */
} tile_scratch;

/* a is the input's tile in `compute` type; the result, of r's type, replaces it or lands in b. */
static flashmem_status compute_tile(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                    flashmem_dtype compute, const tile_scratch *s, const char **result,
                                    flashmem_error *err) {
    uint32_t         rank = r->shape.rank;
    int64_t          n = box_elements(count, rank);
    fm_recipe_target t = { .to = s->a, .dtype = compute };
    dense_strides(count, rank, t.strides);
    FM_TRY(fm_recipe_eval(r->inputs[0], start, count, &t, err));
    *result = s->a;
    if (r->kind == FM_RECIPE_CAST) return FLASHMEM_OK;
    t.to = s->b;
    FM_TRY(fm_recipe_eval(r->inputs[1], start, count, &t, err));
    bool scale = r->kind == FM_RECIPE_SCALE;
    if (compute == FLASHMEM_F64) {
        double *a = (double *)(void *)s->a, *b = (double *)(void *)s->b;
        for (int64_t i = 0; i < n; i++) a[i] = scale ? a[i] * b[i] : a[i] + b[i];
    } else {
        float *a = (float *)(void *)s->a, *b = (float *)(void *)s->b;
        for (int64_t i = 0; i < n; i++) a[i] = scale ? a[i] * b[i] : a[i] + b[i];
    }
    if (compute != r->dtype) {
        fm_convert(s->b, r->dtype, s->a, compute, (size_t)n);
        *result = s->b;
    }
    return FLASHMEM_OK;
}

static flashmem_status eval_tile(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                 const fm_recipe_target *t, const tile_scratch *s, flashmem_error *err) {
    flashmem_dtype compute = r->kind == FM_RECIPE_CAST ? r->dtype
                             : r->dtype == FLASHMEM_F64 ? FLASHMEM_F64 : FLASHMEM_F32;
    const char    *result;
    int64_t        strides[FM_MAX_RANK];
    FM_TRY(compute_tile(r, start, count, compute, s, &result, err));
    if (r->dtype != t->dtype) {
        char *other = result == s->a ? s->b : s->a;
        fm_convert(other, t->dtype, result, r->dtype, (size_t)box_elements(count, r->shape.rank));
        result = other;
    }
    dense_strides(count, r->shape.rank, strides);
    copy_box(t->to, t->strides, result, strides, count, r->shape.rank, fm_dtype_bytes(t->dtype));
    return FLASHMEM_OK;
}

/* Sizes of a tile of at most limit elements: whole in the axes that are innermost in the source. */
static void choose_tile(const fm_recipe *r, const int64_t *count, int64_t limit, int64_t *tile) {
    uint32_t order[FM_MAX_RANK];
    int64_t  left = limit;
    fm_recipe_source_order(r, order);
    for (uint32_t i = r->shape.rank; i-- > 0;) {
        uint32_t a = order[i];
        tile[a] = count[a] < left ? count[a] : left;
        left /= tile[a];
    }
}

static flashmem_status eval_computed(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                     const fm_recipe_target *t, flashmem_error *err) {
    uint32_t rank = r->shape.rank, each = fm_dtype_bytes(t->dtype);
    int64_t  tile[FM_MAX_RANK], at[FM_MAX_RANK] = { 0 }, part_start[FM_MAX_RANK], part[FM_MAX_RANK];
    choose_tile(r, count, TILE, tile);
    size_t          bytes = (size_t)box_elements(tile, rank) * 8;
    flashmem_status status = FLASHMEM_OK;
    tile_scratch    s = { .a = malloc(bytes), .b = malloc(bytes) };
    if (!s.a || !s.b) {
        status = no_memory(bytes, err);
        goto cleanup;
    }
    for (bool more = true; more;) {
        fm_recipe_target here = *t;
        for (uint32_t a = 0; a < rank; a++) {
            part_start[a] = start[a] + at[a];
            part[a] = count[a] - at[a] < tile[a] ? count[a] - at[a] : tile[a];
            here.to += at[a] * t->strides[a] * each;
        }
        FM_TRY_GOTO(eval_tile(r, part_start, part, &here, &s, err));
        uint32_t a = rank;
        while (a > 0 && (at[a - 1] += tile[a - 1]) >= count[a - 1]) at[--a] = 0;
        more = a > 0;
    }
cleanup:
    free(s.a);
    free(s.b);
    return status;
}

/* ---- nodes that only move elements ---- */

static flashmem_status eval_transpose(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                      const fm_recipe_target *t, flashmem_error *err) {
    fm_recipe_target below = { .to = t->to, .dtype = t->dtype };
    int64_t          in_start[FM_MAX_RANK], in_count[FM_MAX_RANK];
    for (uint32_t i = 0; i < r->shape.rank; i++) {
        uint32_t a = r->permutation[i];
        in_start[a] = start[i];
        in_count[a] = count[i];
        below.strides[a] = t->strides[i];
    }
    return fm_recipe_eval(r->inputs[0], in_start, in_count, &below, err);
}

/* Axis with a step other than 1 or -1: one index after the other. */
static flashmem_status eval_stepped(const fm_recipe *r, uint32_t axis, const int64_t *start, const int64_t *count,
                                    const fm_recipe_target *t, flashmem_error *err) {
    int64_t one_start[FM_MAX_RANK], one[FM_MAX_RANK];
    memcpy(one_start, start, r->shape.rank * sizeof *start);
    memcpy(one, count, r->shape.rank * sizeof *count);
    one[axis] = 1;
    for (int64_t i = 0; i < count[axis]; i++) {
        fm_recipe_target here = *t;
        here.to += i * t->strides[axis] * (int64_t)fm_dtype_bytes(t->dtype);
        one_start[axis] = start[axis] + i;
        FM_TRY(fm_recipe_eval(r, one_start, one, &here, err));
    }
    return FLASHMEM_OK;
}

/* Reads everything between the wanted elements too, and keeps those wanted. */
static flashmem_status eval_covering(const fm_recipe *r, const int64_t *in_start, const int64_t *cover,
                                     const int64_t *in_step, const int64_t *count, const fm_recipe_target *t,
                                     flashmem_error *err) {
    uint32_t         rank = r->shape.rank, each = fm_dtype_bytes(t->dtype);
    size_t           bytes = (size_t)box_elements(cover, rank) * each;
    fm_recipe_target below = { .to = malloc(bytes), .dtype = t->dtype };
    int64_t          strides[FM_MAX_RANK];
    if (!below.to) return no_memory(bytes, err);
    dense_strides(cover, rank, below.strides);
    flashmem_status status = fm_recipe_eval(r->inputs[0], in_start, cover, &below, err);
    if (status == FLASHMEM_OK) {
        for (uint32_t a = 0; a < rank; a++) strides[a] = below.strides[a] * in_step[a];
        copy_box(t->to, t->strides, below.to, strides, count, rank, each);
    }
    free(below.to);
    return status;
}

static flashmem_status eval_slice(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                  const fm_recipe_target *t, flashmem_error *err) {
    fm_recipe_target below = *t;
    int64_t          in_start[FM_MAX_RANK], cover[FM_MAX_RANK], step[FM_MAX_RANK];
    uint32_t         stepped = FM_MAX_RANK;
    for (uint32_t a = 0; a < r->shape.rank; a++) {
        step[a] = r->step[a];
        in_start[a] = r->start[a] + start[a] * r->step[a];
        if (r->step[a] < 0) { /* ascending in the source, descending in the target */
            in_start[a] += (count[a] - 1) * r->step[a];
            below.to += (count[a] - 1) * t->strides[a] * (int64_t)fm_dtype_bytes(t->dtype);
            below.strides[a] = -t->strides[a];
            step[a] = -r->step[a];
        }
        cover[a] = (count[a] - 1) * step[a] + 1;
        if (count[a] > 1 && step[a] != 1 && stepped == FM_MAX_RANK) stepped = a;
    }
    if (stepped == FM_MAX_RANK) return fm_recipe_eval(r->inputs[0], in_start, count, &below, err);
    int64_t covered = box_elements(cover, r->shape.rank);
    if (covered <= TILE && covered <= box_elements(count, r->shape.rank) * STEPPED_WASTE)
        return eval_covering(r, in_start, cover, step, count, &below, err);
    return eval_stepped(r, stepped, start, count, t, err);
}

static flashmem_status eval_concat(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                   const fm_recipe_target *t, flashmem_error *err) {
    uint32_t axis = r->axis;
    int64_t  in_start[FM_MAX_RANK], in_count[FM_MAX_RANK], base = 0;
    memcpy(in_start, start, r->shape.rank * sizeof *start);
    memcpy(in_count, count, r->shape.rank * sizeof *count);
    for (uint32_t i = 0; i < r->input_count; base += r->inputs[i++]->shape.dims[axis]) {
        int64_t first = start[axis] > base ? start[axis] : base, end = start[axis] + count[axis];
        int64_t input_end = base + r->inputs[i]->shape.dims[axis];
        if (end > input_end) end = input_end;
        if (first >= end) continue;
        fm_recipe_target here = *t;
        here.to += (first - start[axis]) * t->strides[axis] * (int64_t)fm_dtype_bytes(t->dtype);
        in_start[axis] = first - base;
        in_count[axis] = end - first;
        FM_TRY(fm_recipe_eval(r->inputs[i], in_start, in_count, &here, err));
    }
    return FLASHMEM_OK;
}

/* The box before broadcasting once, then copies of it along each repeated axis. */
static flashmem_status eval_broadcast(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                      const fm_recipe_target *t, flashmem_error *err) {
    uint32_t rank = r->shape.rank, each = fm_dtype_bytes(t->dtype);
    int64_t  in_start[FM_MAX_RANK] = { 0 }, have[FM_MAX_RANK] = { 0 };
    for (uint32_t a = 0; a < rank; a++) {
        bool repeated = r->inputs[0]->shape.dims[a] != r->shape.dims[a];
        in_start[a] = repeated ? 0 : start[a];
        have[a] = repeated ? 1 : count[a];
    }
    FM_TRY(fm_recipe_eval(r->inputs[0], in_start, have, t, err));
    for (uint32_t a = rank; a-- > 0;) {
        for (int64_t made = have[a], part; made < count[a]; made += part) { /* twice as much each time */
            part = count[a] - made < made ? count[a] - made : made;
            have[a] = part;
            copy_box(t->to + made * t->strides[a] * each, t->strides, t->to, t->strides, have, rank, each);
        }
        have[a] = count[a];
    }
    return FLASHMEM_OK;
}

flashmem_status fm_recipe_eval(const fm_recipe *r, const int64_t *start, const int64_t *count,
                               const fm_recipe_target *t, flashmem_error *err) {
    if (is_empty(count, r->shape.rank)) return FLASHMEM_OK;
    switch (r->kind) {
    case FM_RECIPE_LEAF: return eval_leaf(r, start, count, t, err);
    case FM_RECIPE_TRANSPOSE: return eval_transpose(r, start, count, t, err);
    case FM_RECIPE_RESHAPE: return fm_recipe_eval_reshape(r, start, count, t, err);
    case FM_RECIPE_SLICE: return eval_slice(r, start, count, t, err);
    case FM_RECIPE_CONCAT: return eval_concat(r, start, count, t, err);
    case FM_RECIPE_BROADCAST: return eval_broadcast(r, start, count, t, err);
    case FM_RECIPE_SCALE:
    case FM_RECIPE_ADD: return eval_computed(r, start, count, t, err);
    case FM_RECIPE_CAST:
        if (t->dtype == r->dtype || fm_convert_is_exact(r->inputs[0]->dtype, r->dtype))
            return fm_recipe_eval(r->inputs[0], start, count, t, err);
        return eval_computed(r, start, count, t, err);
    }
    return fm_fail(err, FLASHMEM_INTERNAL, "recipe kind %d", (int)r->kind);
}

flashmem_status fm_recipe_read_strided(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                       flashmem_dtype dtype, void *to, const int64_t *strides, flashmem_error *err) {
    fm_recipe_target t = { .to = to, .dtype = dtype };
    for (uint32_t a = 0; a < r->shape.rank; a++) {
        assert(start[a] >= 0 && count[a] >= 0 && count[a] <= r->shape.dims[a] - start[a]);
        t.strides[a] = strides[a];
    }
    return fm_recipe_eval(r, start, count, &t, err);
}

flashmem_status fm_recipe_read(const fm_recipe *r, const int64_t *start, const int64_t *count, flashmem_dtype dtype,
                               void *to, flashmem_error *err) {
    int64_t strides[FM_MAX_RANK];
    dense_strides(count, r->shape.rank, strides);
    return fm_recipe_read_strided(r, start, count, dtype, to, strides, err);
}

flashmem_status fm_recipe_read_all(const fm_recipe *r, flashmem_dtype dtype, void *to, flashmem_error *err) {
    int64_t start[FM_MAX_RANK] = { 0 }, bytes = fm_shape_count(&r->shape);
    if (bytes > (int64_t)(FM_READ_ALL_LIMIT / fm_dtype_bytes(dtype)))
        return fm_fail(err, FLASHMEM_INTERNAL, "a constant of %" PRId64 " elements is read whole", bytes);
    return fm_recipe_read(r, start, r->shape.dims, dtype, to, err);
}
