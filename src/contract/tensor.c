/* Shapes and strided views. */
#include "contract/tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

const char *fm_dtype_name(flashmem_dtype t) {
    switch (t) {
    case FLASHMEM_F32: return "float32";
    case FLASHMEM_U8: return "uint8";
    case FLASHMEM_I8: return "int8";
    case FLASHMEM_U16: return "uint16";
    case FLASHMEM_I16: return "int16";
    case FLASHMEM_I32: return "int32";
    case FLASHMEM_I64: return "int64";
    case FLASHMEM_BOOL: return "bool";
    case FLASHMEM_F16: return "float16";
    case FLASHMEM_F64: return "float64";
    case FLASHMEM_U32: return "uint32";
    case FLASHMEM_U64: return "uint64";
    case FLASHMEM_BF16: return "bfloat16";
    }
    return "unknown";
}

int64_t fm_shape_count(const fm_shape *shape) {
    int64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dims[i] == 0) return 0; /* even where the other dims overflow */
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0 || __builtin_mul_overflow(count, shape->dims[i], &count)) return -1;
    return count;
}

bool fm_shape_equal(const fm_shape *a, const fm_shape *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

const char *fm_shape_print(const fm_shape *shape, char *buffer, size_t bytes) {
    if (bytes == 0) return buffer;
    if (shape->rank == 0) snprintf(buffer, bytes, "scalar");
    for (uint32_t i = 0, used = 0; i < shape->rank; i++) {
        int put = snprintf(buffer + used, bytes - used, "%s%" PRId64, i ? "x" : "", shape->dims[i]);
        if (put < 0 || (size_t)put >= bytes - used) break;
        used += (uint32_t)put;
    }
    return buffer;
}

bool fm_shape_broadcast(const fm_shape *a, const fm_shape *b, fm_shape *out) {
    fm_shape result = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (uint32_t i = 0; i < result.rank; i++) { /* i counts from the last axis */
        int64_t da = i < a->rank ? a->dims[a->rank - 1 - i] : 1;
        int64_t db = i < b->rank ? b->dims[b->rank - 1 - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        result.dims[result.rank - 1 - i] = da == 1 ? db : da;
    }
    *out = result;
    return true;
}

void fm_view_dense(fm_view *view, uint32_t value, flashmem_dtype dtype, const fm_shape *shape) {
    *view = (fm_view){ .value = value, .dtype = dtype, .shape = *shape };
    int64_t stride = 1;
    for (uint32_t i = shape->rank; i-- > 0;) {
        view->strides[i] = stride;
        stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
    }
}

bool fm_view_is_dense(const fm_view *view) {
    int64_t stride = 1;
    for (uint32_t i = view->shape.rank; i-- > 0;) {
        if (view->shape.dims[i] == 0) return true;
        if (view->shape.dims[i] == 1) continue;
        if (view->strides[i] != stride) return false;
        stride *= view->shape.dims[i];
    }
    return true;
}

fm_view fm_view_permute(const fm_view *view, const uint32_t *permutation) {
    fm_view result = *view;
    for (uint32_t i = 0; i < view->shape.rank; i++) {
        assert(permutation[i] < view->shape.rank);
        result.shape.dims[i] = view->shape.dims[permutation[i]];
        result.strides[i] = view->strides[permutation[i]];
    }
    return result;
}

fm_view fm_view_broadcast(const fm_view *view, const fm_shape *shape) {
    fm_view  result = *view;
    uint32_t added = shape->rank - view->shape.rank;
    assert(shape->rank >= view->shape.rank);
    result.shape = *shape;
    for (uint32_t i = 0; i < shape->rank; i++) {
        bool repeated = i < added || view->shape.dims[i - added] != shape->dims[i];
        assert(i < added || !repeated || view->shape.dims[i - added] == 1);
        result.strides[i] = repeated ? 0 : view->strides[i - added];
    }
    return result;
}

fm_view fm_view_slice(const fm_view *view, uint32_t axis, int64_t start, int64_t step, int64_t count) {
    fm_view result = *view;
    assert(axis < view->shape.rank && count >= 0);
    if (count > 0) result.offset += start * view->strides[axis];
    result.strides[axis] *= step;
    result.shape.dims[axis] = count;
    return result;
}

/* Walks groups of axes of both shapes that hold the same number of elements: such a group is one run of evenly spaced
 * elements in the old view, or no strides express the new shape. */
bool fm_view_reshape(const fm_view *view, const fm_shape *shape, fm_view *out) {
    int64_t count = fm_shape_count(&view->shape);
    if (count < 0 || count != fm_shape_count(shape)) return false;
    fm_view result;
    fm_view_dense(&result, view->value, view->dtype, shape);
    result.offset = view->offset;
    if (count > 0) {
        int64_t  old_dims[FM_MAX_RANK], old_strides[FM_MAX_RANK];
        uint32_t olds = 0;
        for (uint32_t i = 0; i < view->shape.rank; i++) {
            if (view->shape.dims[i] == 1) continue;
            old_dims[olds] = view->shape.dims[i];
            old_strides[olds++] = view->strides[i];
        }
        uint32_t old = 0, axis = 0;
        while (old < olds) {
            uint32_t first_old = old, first_axis = axis;
            int64_t  old_count = old_dims[old++], new_count = shape->dims[axis++];
            while (old_count != new_count) {
                if (old_count < new_count) old_count *= old_dims[old++];
                else new_count *= shape->dims[axis++];
            }
            for (uint32_t i = first_old; i + 1 < old; i++)
                if (old_strides[i] != old_strides[i + 1] * old_dims[i + 1]) return false;
            int64_t stride = old_strides[old - 1];
            for (uint32_t i = axis; i-- > first_axis;) {
                result.strides[i] = stride;
                stride *= shape->dims[i];
            }
        }
    }
    *out = result;
    return true;
}

static bool axes_merge(const fm_view *views, uint32_t count, uint32_t outer, uint32_t inner) {
    for (uint32_t v = 0; v < count; v++)
        if (views[v].strides[outer] != views[v].strides[inner] * views[v].shape.dims[inner]) return false;
    return true;
}

void fm_views_collapse(fm_view *views, uint32_t count) {
    if (count == 0) return;
    uint32_t rank = views[0].shape.rank, kept = 0;
    for (uint32_t axis = 0; axis < rank; axis++) {
        int64_t dim = views[0].shape.dims[axis];
        if (dim == 1) continue;
        bool merge = kept > 0 && axes_merge(views, count, kept - 1, axis);
        for (uint32_t v = 0; v < count; v++) {
            assert(views[v].shape.rank == rank && views[v].shape.dims[axis] == dim);
            uint32_t to = merge ? kept - 1 : kept;
            int64_t  outer = merge ? views[v].shape.dims[to] : 1;
            views[v].strides[to] = views[v].strides[axis];
            views[v].shape.dims[to] = outer * dim;
        }
        if (!merge) kept++;
    }
    for (uint32_t v = 0; v < count; v++) {
        if (kept == 0) views[v].shape.dims[0] = 1, views[v].strides[0] = 1;
        views[v].shape.rank = kept ? kept : 1;
    }
}
