/* TensorProto to recipe: every encoding of the elements. */
#include <inttypes.h>
#include <string.h>

#include "compile/onnx/importer.h"

enum { RAW_DATA = 9, FLOAT_DATA = 4, DOUBLE_DATA = 10, EXTERNAL = 1 };

const char *fm_onnx_type_name(int32_t data_type) {
    static const char *const others[] = { [0] = "undefined",        [8] = "string",          [14] = "complex64",
                                          [15] = "complex128",      [17] = "float8e4m3fn",   [18] = "float8e4m3fnuz",
                                          [19] = "float8e5m2",      [20] = "float8e5m2fnuz", [21] = "uint4",
                                          [22] = "int4",            [23] = "float4e2m1",     [24] = "float8e8m0",
                                          [25] = "uint2",           [26] = "int2" };
    if (data_type >= 0 && data_type < (int32_t)(sizeof others / sizeof *others) && others[data_type])
        return others[data_type];
    return fm_dtype_name((flashmem_dtype)data_type);
}

typedef struct tensor_facts {
    const FmOnnx__Tensor *t;
    const char           *label, *path;
    flashmem_dtype        dtype;
    fm_shape              shape;
    uint64_t              count, bytes;
} tensor_facts;

static flashmem_status read_facts(const fm_onnx_model *m, const FmOnnx__Tensor *t, const char *label, tensor_facts *f,
                                  flashmem_error *err) {
    const char *path = m->g->path;
    int64_t     count, bytes;
    *f = (tensor_facts){ .t = t, .label = label, .path = path, .dtype = (flashmem_dtype)t->data_type };
    if (!fm_dtype_bytes(f->dtype))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: tensor '%s' has element type %s (%d)", path, label,
                       fm_onnx_type_name(t->data_type), t->data_type);
    if (t->segment) return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: tensor '%s' is stored in segments", path, label);
    if (t->n_dims > FM_MAX_RANK)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: tensor '%s' has %zu dims, at most %d are supported", path, label,
                       t->n_dims, FM_MAX_RANK);
    f->shape.rank = (uint32_t)t->n_dims;
    for (uint32_t i = 0; i < f->shape.rank; i++) {
        f->shape.dims[i] = t->dims[i];
        if (t->dims[i] < 0)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has dimension %" PRId64 " at axis %u", path, label,
                           t->dims[i], i);
    }
    count = fm_shape_count(&f->shape);
    if (count < 0 || __builtin_mul_overflow(count, (int64_t)fm_dtype_bytes(f->dtype), &bytes) || bytes > INT64_MAX / 16)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has more elements than any file holds", path, label);
    f->count = (uint64_t)count;
    f->bytes = (uint64_t)bytes;
    return FLASHMEM_OK;
}

static flashmem_status wrong_size(const tensor_facts *f, const char *field, uint64_t found, uint64_t expected,
                                  const char *unit, flashmem_error *err) {
    char shape[160];
    return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' (%s %s) has %" PRIu64 " %s in %s, expected %" PRIu64,
                   f->path, f->label, fm_dtype_name(f->dtype), fm_shape_print(&f->shape, shape, sizeof shape), found,
                   unit, field, expected);
}

/* int32_data holds every type up to 32 bits; half types by their bits. */
static void narrow(void *to, flashmem_dtype dtype, const int32_t *from, size_t count) {
    switch (fm_dtype_bytes(dtype)) {
    case 1:
        for (size_t i = 0; i < count; i++)
            ((uint8_t *)to)[i] = (uint8_t)(dtype == FLASHMEM_BOOL ? from[i] != 0 : from[i]);
        break;
    case 2:
        for (size_t i = 0; i < count; i++) ((uint16_t *)to)[i] = (uint16_t)from[i];
        break;
    default: memcpy(to, from, count * sizeof *from); break;
    }
}

static flashmem_status typed_data(fm_arena *a, const tensor_facts *f, const void **data, flashmem_error *err) {
    const FmOnnx__Tensor *t = f->t;
    switch (f->dtype) {
    case FLASHMEM_F32:
        if (t->n_float_data != f->count) return wrong_size(f, "float_data", t->n_float_data, f->count, "values", err);
        *data = t->float_data;
        return FLASHMEM_OK;
    case FLASHMEM_F64:
        if (t->n_double_data != f->count)
            return wrong_size(f, "double_data", t->n_double_data, f->count, "values", err);
        *data = t->double_data;
        return FLASHMEM_OK;
    case FLASHMEM_I64:
        if (t->n_int64_data != f->count) return wrong_size(f, "int64_data", t->n_int64_data, f->count, "values", err);
        *data = t->int64_data;
        return FLASHMEM_OK;
    case FLASHMEM_U64:
    case FLASHMEM_U32:
        if (t->n_uint64_data != f->count)
            return wrong_size(f, "uint64_data", t->n_uint64_data, f->count, "values", err);
        *data = t->uint64_data;
        if (f->dtype == FLASHMEM_U32) {
            uint32_t *narrowed = fm_arena_alloc(a, (size_t)f->bytes);
            for (size_t i = 0; i < f->count; i++) narrowed[i] = (uint32_t)t->uint64_data[i];
            *data = narrowed;
        }
        return FLASHMEM_OK;
    default:
        if (t->n_int32_data != f->count) return wrong_size(f, "int32_data", t->n_int32_data, f->count, "values", err);
        void *narrowed = fm_arena_alloc(a, (size_t)f->bytes);
        narrow(narrowed, f->dtype, t->int32_data, (size_t)f->count);
        *data = narrowed;
        return FLASHMEM_OK;
    }
}

static flashmem_status hoisted_source(const fm_onnx_model *m, const tensor_facts *f, const fm_source **out,
                                      flashmem_error *err) {
    const FmOnnx__Tensor *t = f->t;
    int32_t               field = t->hoisted_field;
    bool fits = field == RAW_DATA || (field == FLOAT_DATA && f->dtype == FLASHMEM_F32) ||
                (field == DOUBLE_DATA && f->dtype == FLASHMEM_F64);
    if (!fits || t->has_raw_data || t->n_float_data || t->n_double_data)
        return fm_fail(err, FLASHMEM_BAD_MODEL,
                       "%s: tensor '%s' (%s) has data in more than one field, or in a wrong one", f->path, f->label,
                       fm_dtype_name(f->dtype));
    if (t->hoisted_bytes != f->bytes) return wrong_size(f, "its data", t->hoisted_bytes, f->bytes, "bytes", err);
    *out = fm_source_file(m->g->arena, f->path, m->fd, t->hoisted_offset, f->bytes);
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_tensor(fm_onnx_model *m, const FmOnnx__Tensor *t, const char *label, const fm_recipe **out,
                               flashmem_error *err) {
    fm_arena        *a = m->g->arena;
    tensor_facts     f;
    const fm_source *source;
    FM_TRY(read_facts(m, t, label, &f, err));
    if (t->data_location == EXTERNAL) {
        FM_TRY(fm_onnx_external(m, label, t, f.dtype, f.bytes, &source, err));
    } else if (t->has_hoisted_field) {
        FM_TRY(hoisted_source(m, &f, &source, err));
    } else if (t->has_raw_data) {
        if (t->raw_data.len != f.bytes) return wrong_size(&f, "raw_data", t->raw_data.len, f.bytes, "bytes", err);
        source = fm_source_memory(a, t->raw_data.data, f.bytes);
    } else {
        const void *data = NULL;
        if (f.count) FM_TRY(typed_data(a, &f, &data, err));
        source = fm_source_memory(a, data, f.bytes);
    }
    *out = fm_recipe_leaf(a, source, f.dtype, &f.shape);
    return FLASHMEM_OK;
}
