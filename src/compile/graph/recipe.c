/* Building recipes.  Constructors collapse what needs no node of its own: equal casts and reshapes, transposes of
 * transposes, slices of slices.  Arguments were checked by shape inference; what does not fit is our bug. */
#include <assert.h>
#include <string.h>

#include "compile/graph/recipe_read.h"

static fm_recipe *new_recipe(fm_arena *a, fm_recipe_kind kind, flashmem_dtype dtype, const fm_shape *shape,
                             const fm_recipe *const *inputs, uint32_t count) {
    fm_recipe *r = fm_arena_alloc(a, sizeof *r);
    *r = (fm_recipe){ .kind = kind, .dtype = dtype, .shape = *shape, .input_count = count };
    if (count) r->inputs = fm_arena_array(a, count, sizeof *r->inputs);
    for (uint32_t i = 0; i < count; i++) {
        r->inputs[i] = inputs[i];
        if (inputs[i]->depth >= r->depth) r->depth = inputs[i]->depth + 1;
    }
    return r;
}

const fm_recipe *fm_recipe_leaf(fm_arena *a, const fm_source *s, flashmem_dtype dtype, const fm_shape *shape) {
    assert(fm_shape_count(shape) >= 0 && (uint64_t)fm_shape_count(shape) <= s->bytes / fm_dtype_bytes(dtype));
    fm_recipe *r = new_recipe(a, FM_RECIPE_LEAF, dtype, shape, NULL, 0);
    r->source = s;
    return r;
}

const fm_recipe *fm_recipe_memory(fm_arena *a, flashmem_dtype dtype, const fm_shape *shape, const void *data) {
    int64_t count = fm_shape_count(shape);
    assert(count >= 0);
    size_t bytes = (size_t)count * fm_dtype_bytes(dtype);
    void  *copy = fm_arena_alloc(a, bytes);
    if (bytes) memcpy(copy, data, bytes);
    return fm_recipe_leaf(a, fm_source_memory(a, copy, bytes), dtype, shape);
}

const fm_recipe *fm_recipe_transpose(fm_arena *a, const fm_recipe *r, const uint32_t *permutation) {
    uint32_t combined[FM_MAX_RANK] = { 0 }, rank = r->shape.rank;
    bool     same = true;
    if (r->kind == FM_RECIPE_TRANSPOSE) {
        for (uint32_t i = 0; i < rank; i++) combined[i] = r->permutation[permutation[i]];
        r = r->inputs[0];
    } else {
        for (uint32_t i = 0; i < rank; i++) combined[i] = permutation[i];
    }
    fm_shape shape = { .rank = rank };
    for (uint32_t i = 0; i < rank; i++) {
        assert(combined[i] < rank);
        shape.dims[i] = r->shape.dims[combined[i]];
        same = same && combined[i] == i;
    }
    if (same) return r;
    fm_recipe *t = new_recipe(a, FM_RECIPE_TRANSPOSE, r->dtype, &shape, &r, 1);
    memcpy(t->permutation, combined, sizeof combined);
    return t;
}

const fm_recipe *fm_recipe_reshape(fm_arena *a, const fm_recipe *r, const fm_shape *shape) {
    assert(fm_shape_count(shape) == fm_shape_count(&r->shape));
    while (r->kind == FM_RECIPE_RESHAPE) r = r->inputs[0];
    if (fm_shape_equal(&r->shape, shape)) return r;
    if (r->kind == FM_RECIPE_LEAF) return fm_recipe_leaf(a, r->source, r->dtype, shape);
    return new_recipe(a, FM_RECIPE_RESHAPE, r->dtype, shape, &r, 1);
}

const fm_recipe *fm_recipe_cast(fm_arena *a, const fm_recipe *r, flashmem_dtype dtype) {
    return r->dtype == dtype ? r : new_recipe(a, FM_RECIPE_CAST, dtype, &r->shape, &r, 1);
}

const fm_recipe *fm_recipe_slice(fm_arena *a, const fm_recipe *r, const int64_t *start, const int64_t *step,
                                 const fm_shape *shape) {
    bool same = true;
    assert(shape->rank == r->shape.rank);
    for (uint32_t i = 0; i < shape->rank; i++) {
        int64_t last = start[i] + (shape->dims[i] - 1) * step[i];
        assert(shape->dims[i] <= 0 || (start[i] >= 0 && start[i] < r->shape.dims[i]));
        assert(shape->dims[i] <= 0 || (last >= 0 && last < r->shape.dims[i]));
        (void)last;
        same = same && (start[i] == 0 || shape->dims[i] == 0) && (step[i] == 1 || shape->dims[i] <= 1) &&
               shape->dims[i] == r->shape.dims[i];
    }
    if (same) return r;
    const fm_recipe *input = r->kind == FM_RECIPE_SLICE ? r->inputs[0] : r;
    fm_recipe       *s = new_recipe(a, FM_RECIPE_SLICE, r->dtype, shape, &input, 1);
    for (uint32_t i = 0; i < shape->rank; i++) {
        s->start[i] = r == input ? start[i] : r->start[i] + start[i] * r->step[i];
        s->step[i] = r == input ? step[i] : step[i] * r->step[i];
    }
    return s;
}

const fm_recipe *fm_recipe_concat(fm_arena *a, const fm_recipe **inputs, uint32_t count, uint32_t axis) {
    assert(count > 0 && axis < inputs[0]->shape.rank);
    if (count == 1) return inputs[0];
    fm_shape shape = inputs[0]->shape;
    for (uint32_t i = 1; i < count; i++) {
        assert(inputs[i]->dtype == inputs[0]->dtype && inputs[i]->shape.rank == shape.rank);
        shape.dims[axis] += inputs[i]->shape.dims[axis];
    }
    fm_recipe *r = new_recipe(a, FM_RECIPE_CONCAT, inputs[0]->dtype, &shape, inputs, count);
    r->axis = axis;
    return r;
}

const fm_recipe *fm_recipe_broadcast(fm_arena *a, const fm_recipe *r, const fm_shape *shape) {
    if (fm_shape_equal(&r->shape, shape)) return r;
    fm_shape check, padded = { .rank = shape->rank };
    bool     fits = fm_shape_broadcast(&r->shape, shape, &check) && fm_shape_equal(&check, shape);
    assert(fits);
    (void)fits;
    uint32_t added = shape->rank - r->shape.rank;
    for (uint32_t i = 0; i < shape->rank; i++) padded.dims[i] = i < added ? 1 : r->shape.dims[i - added];
    r = fm_recipe_reshape(a, r, &padded);
    return fm_shape_equal(&padded, shape) ? r : new_recipe(a, FM_RECIPE_BROADCAST, r->dtype, shape, &r, 1);
}

static const fm_recipe *combine(fm_arena *a, fm_recipe_kind kind, const fm_recipe *r, const fm_recipe *other) {
    assert(fm_dtype_is_float(r->dtype) && fm_dtype_is_float(other->dtype));
    const fm_recipe *inputs[2] = { r, fm_recipe_broadcast(a, other, &r->shape) };
    return new_recipe(a, kind, r->dtype, &r->shape, inputs, 2);
}

const fm_recipe *fm_recipe_scale(fm_arena *a, const fm_recipe *r, const fm_recipe *factor) {
    return combine(a, FM_RECIPE_SCALE, r, factor);
}

const fm_recipe *fm_recipe_add(fm_arena *a, const fm_recipe *r, const fm_recipe *term) {
    return combine(a, FM_RECIPE_ADD, r, term);
}

const void *fm_recipe_data(const fm_recipe *r) {
    return r->kind == FM_RECIPE_LEAF ? r->source->memory : NULL;
}

/* Axes of r, the one that moves slowest through its first source first. */
void fm_recipe_source_order(const fm_recipe *r, uint32_t *order) {
    uint32_t rank = r->shape.rank;
    for (uint32_t i = 0; i < rank; i++) order[i] = i;
    if (r->kind == FM_RECIPE_LEAF) return;
    const fm_recipe *input = r->inputs[0];
    uint32_t         below[FM_MAX_RANK], place[FM_MAX_RANK];
    fm_recipe_source_order(input, below);
    if (r->kind == FM_RECIPE_TRANSPOSE) {
        for (uint32_t i = 0; i < rank; i++) place[r->permutation[i]] = i;
        for (uint32_t i = 0; i < rank; i++) order[i] = place[below[i]];
    } else if (r->kind != FM_RECIPE_RESHAPE) {
        for (uint32_t i = 0; i < rank; i++) order[i] = below[i];
    } else {
        fm_recipe_reshape_order(&input->shape, below, &r->shape, order);
    }
}
