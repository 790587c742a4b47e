/* Typed small arrays on the host: see fold_helpers.h. */
#include "compile/ops/fold_helpers.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "compile/graph/convert.h"

/* Constants up to this size are evaluated when they are made: shape arithmetic reads them at once. */
enum { EVALUATED_AT_ONCE = 4096 };

bool fm_fold_fits(flashmem_dtype dtype, const fm_shape *shape) {
    int64_t count = fm_shape_count(shape);
    return count >= 0 && count <= (int64_t)(FM_FOLD_LIMIT / fm_dtype_bytes(dtype));
}

bool fm_fold_tensor_fits(const fm_tensor *t) { return !t || fm_fold_fits(t->dtype, &t->shape); }

flashmem_status fm_fold_load(fm_graph *g, const fm_tensor *t, fm_array *out, flashmem_error *err) {
    *out = (fm_array){ 0 };
    if (!t) return FLASHMEM_OK;
    assert(t->constant && fm_fold_tensor_fits(t));
    *out = (fm_array){ .dtype = t->dtype, .shape = t->shape, .count = fm_shape_count(&t->shape) };
    const void *data = fm_recipe_data(t->constant);
    if (data) {
        out->data = (void *)(uintptr_t)data; /* read only: results are always new arrays */
        return FLASHMEM_OK;
    }
    out->data = fm_arena_array(g->arena, (size_t)out->count, fm_dtype_bytes(t->dtype));
    return fm_recipe_read_all(t->constant, t->dtype, out->data, err);
}

fm_array fm_fold_new(fm_graph *g, flashmem_dtype dtype, const fm_shape *shape) {
    fm_array a = { .dtype = dtype, .shape = *shape, .count = fm_shape_count(shape) };
    assert(fm_fold_fits(dtype, shape));
    a.data = fm_arena_array(g->arena, (size_t)a.count, fm_dtype_bytes(dtype));
    return a;
}

void fm_fold_store(fm_graph *g, fm_tensor *t, const fm_array *a) {
    assert(a->dtype == t->dtype && fm_shape_equal(&a->shape, &t->shape));
    const fm_source *source = fm_source_memory(g->arena, a->data, (uint64_t)a->count * fm_dtype_bytes(a->dtype));
    t->constant = fm_recipe_leaf(g->arena, source, a->dtype, &a->shape);
}

flashmem_status fm_fold_recipe(fm_graph *g, fm_tensor *t, const fm_recipe *r, flashmem_error *err) {
    assert(r->dtype == t->dtype && fm_shape_equal(&r->shape, &t->shape));
    int64_t count = fm_shape_count(&r->shape);
    if (fm_recipe_data(r) || count * fm_dtype_bytes(r->dtype) > EVALUATED_AT_ONCE) {
        t->constant = r;
        return FLASHMEM_OK;
    }
    fm_array a = fm_fold_new(g, r->dtype, &r->shape);
    FM_TRY(fm_recipe_read_all(r, r->dtype, a.data, err));
    fm_fold_store(g, t, &a);
    return FLASHMEM_OK;
}

double fm_array_double(const fm_array *a, int64_t i) {
    switch (a->dtype) {
    case FLASHMEM_F32: return ((const float *)a->data)[i];
    case FLASHMEM_F64: return ((const double *)a->data)[i];
    case FLASHMEM_F16: return fm_float_from_half(((const uint16_t *)a->data)[i]);
    case FLASHMEM_BF16: return fm_float_from_bf16(((const uint16_t *)a->data)[i]);
    case FLASHMEM_U64: return (double)((const uint64_t *)a->data)[i];
    default: return (double)fm_array_int(a, i);
    }
}

static int64_t int_of_double(double x) {
    if (isnan(x)) return 0;
    if (x >= 9223372036854775808.0) return INT64_MAX;
    if (x <= -9223372036854775808.0) return INT64_MIN;
    return (int64_t)x;
}

int64_t fm_array_int(const fm_array *a, int64_t i) {
    switch (a->dtype) {
    case FLASHMEM_I64: return ((const int64_t *)a->data)[i];
    case FLASHMEM_U64: return (int64_t)((const uint64_t *)a->data)[i];
    case FLASHMEM_I32: return ((const int32_t *)a->data)[i];
    case FLASHMEM_U32: return ((const uint32_t *)a->data)[i];
    case FLASHMEM_I16: return ((const int16_t *)a->data)[i];
    case FLASHMEM_U16: return ((const uint16_t *)a->data)[i];
    case FLASHMEM_I8: return ((const int8_t *)a->data)[i];
    case FLASHMEM_U8: return ((const uint8_t *)a->data)[i];
    case FLASHMEM_BOOL: return ((const uint8_t *)a->data)[i] != 0;
    default: return int_of_double(fm_array_double(a, i));
    }
}

void fm_array_set_double(const fm_array *a, int64_t i, double value) {
    switch (a->dtype) {
    case FLASHMEM_F32: ((float *)a->data)[i] = (float)value; break;
    case FLASHMEM_F64: ((double *)a->data)[i] = value; break;
    case FLASHMEM_F16:
    case FLASHMEM_BF16: fm_convert((uint16_t *)a->data + i, a->dtype, &value, FLASHMEM_F64, 1); break;
    case FLASHMEM_BOOL: ((uint8_t *)a->data)[i] = value != 0; break;
    default: fm_array_set_int(a, i, int_of_double(value));
    }
}

void fm_array_set_int(const fm_array *a, int64_t i, int64_t value) {
    uint64_t bits = (uint64_t)value;
    switch (a->dtype) {
    case FLASHMEM_I64:
    case FLASHMEM_U64: ((uint64_t *)a->data)[i] = bits; break;
    case FLASHMEM_I32:
    case FLASHMEM_U32: ((uint32_t *)a->data)[i] = (uint32_t)bits; break;
    case FLASHMEM_I16:
    case FLASHMEM_U16: ((uint16_t *)a->data)[i] = (uint16_t)bits; break;
    case FLASHMEM_I8:
    case FLASHMEM_U8: ((uint8_t *)a->data)[i] = (uint8_t)bits; break;
    case FLASHMEM_BOOL: ((uint8_t *)a->data)[i] = value != 0; break;
    default: fm_array_set_double(a, i, (double)value);
    }
}

void fm_array_copy(const fm_array *to, int64_t i, const fm_array *from, int64_t j) {
    size_t each = fm_dtype_bytes(to->dtype);
    assert(to->dtype == from->dtype);
    memcpy((char *)to->data + (size_t)i * each, (const char *)from->data + (size_t)j * each, each);
}

void fm_dense_strides(const fm_shape *shape, int64_t *strides) {
    int64_t stride = 1;
    for (uint32_t i = shape->rank; i-- > 0;) {
        strides[i] = stride;
        stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
    }
}

void fm_walk_init(fm_walk *w, const fm_shape *shape) {
    memset(w, 0, sizeof *w);
    w->shape = *shape;
    w->done = fm_shape_count(shape) == 0;
}

void fm_walk_add_strides(fm_walk *w, const int64_t *strides) {
    assert(w->arrays < FM_WALK_ARRAYS);
    memcpy(w->strides[w->arrays++], strides, w->shape.rank * sizeof *strides);
}

void fm_walk_add(fm_walk *w, const fm_shape *shape) {
    int64_t  dense[FM_MAX_RANK], strides[FM_MAX_RANK] = { 0 };
    uint32_t added = w->shape.rank - shape->rank;
    assert(shape->rank <= w->shape.rank);
    fm_dense_strides(shape, dense);
    for (uint32_t i = 0; i < shape->rank; i++) strides[i + added] = shape->dims[i] == 1 ? 0 : dense[i];
    fm_walk_add_strides(w, strides);
}

void fm_walk_next(fm_walk *w) {
    for (uint32_t axis = w->shape.rank; axis-- > 0;) {
        for (uint32_t a = 0; a < w->arrays; a++) w->offsets[a] += w->strides[a][axis];
        if (++w->index[axis] < w->shape.dims[axis]) return;
        for (uint32_t a = 0; a < w->arrays; a++) w->offsets[a] -= w->strides[a][axis] * w->shape.dims[axis];
        w->index[axis] = 0;
    }
    w->done = true;
}
