/* Concat and Tile: copies into parts of the output. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* --- Concat ------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_concat(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *first = node->inputs[0];
    uint32_t         axis;
    char             a[160], b[160];
    if (!fm_node_attr(node, "axis")) return fm_node_fail(err, node, "attribute 'axis' is missing");
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), first->shape.rank, &axis, err));
    fm_shape shape = first->shape;
    for (uint32_t i = 1; i < node->input_count; i++) {
        const fm_tensor *t = node->inputs[i];
        if (!t) return fm_node_fail(err, node, "input %u is missing", i);
        FM_TRY(fm_infer_same_type(node, 0, i, err));
        bool fits = t->shape.rank == shape.rank;
        for (uint32_t k = 0; fits && k < shape.rank; k++) fits = k == axis || t->shape.dims[k] == shape.dims[k];
        if (!fits)
            return fm_node_fail(err, node, "tensor '%s' of shape %s does not fit '%s' of shape %s along axis %u",
                                t->name, fm_shape_print(&t->shape, a, sizeof a), first->name,
                                fm_shape_print(&first->shape, b, sizeof b), axis);
        if (__builtin_add_overflow(shape.dims[axis], t->shape.dims[axis], &shape.dims[axis]))
            return fm_node_fail(err, node, "axis %u is too long", axis);
    }
    fm_infer_output(node, 0, first->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_concat(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t          axis;
    const fm_recipe **parts = fm_arena_array(g->arena, node->input_count, sizeof *parts);
    for (uint32_t i = 0; i < node->input_count; i++) parts[i] = node->inputs[i]->constant;
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), node->outputs[0]->shape.rank, &axis, err));
    return fm_fold_recipe(g, node->outputs[0], fm_recipe_concat(g->arena, parts, node->input_count, axis), err);
}

/* A producer that was given its part as destination has written it there. */
static bool same_place(const fm_view *a, const fm_view *b) {
    return a->value == b->value && a->offset == b->offset &&
           memcmp(a->strides, b->strides, a->shape.rank * sizeof *a->strides) == 0;
}

static flashmem_status lower_concat(fm_lower *l, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    int64_t  start = 0;
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), node->outputs[0]->shape.rank, &axis, err));
    fm_view view, like = { 0 };
    for (uint32_t i = node->input_count; i-- > 0;) { /* the parts' memory order, channels-last for one */
        if (node->inputs[i]->constant || fm_shape_count(&node->inputs[i]->shape) == 0) continue;
        FM_TRY(fm_lower_view(l, node->inputs[i], &like, err));
    }
    fm_view out = fm_lower_output_like(l, node->outputs[0], &like);
    for (uint32_t i = 0; i < node->input_count; i++) {
        int64_t count = node->inputs[i]->shape.dims[axis];
        fm_view part = fm_view_slice(&out, axis, start, 1, count);
        start += count;
        if (fm_shape_count(&node->inputs[i]->shape) == 0) continue;
        FM_TRY(fm_lower_view(l, node->inputs[i], &view, err));
        if (!same_place(&view, &part)) FM_TRY(fm_lower_copy(l, node->name, &view, &part, err));
    }
    return FLASHMEM_OK;
}

/* --- Tile --------------------------------------------------------------------------------------------------------- */

static flashmem_status repeats_of(const fm_node *node, int64_t *repeats, flashmem_error *err) {
    const fm_tensor *x = node->inputs[0];
    uint32_t         count = 0;
    FM_TRY(fm_infer_values(node, 1, repeats, FM_MAX_RANK, &count, err));
    if (count != x->shape.rank)
        return fm_node_fail(err, node, "%u repeats, expected %u as tensor '%s' has dims", count, x->shape.rank,
                            x->name);
    for (uint32_t i = 0; i < count; i++)
        if (repeats[i] < 0) return fm_node_fail(err, node, "repeat %u is %" PRId64, i, repeats[i]);
    return FLASHMEM_OK;
}

static flashmem_status infer_tile(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    int64_t  repeats[FM_MAX_RANK];
    fm_shape shape = node->inputs[0]->shape;
    FM_TRY(repeats_of(node, repeats, err));
    for (uint32_t i = 0; i < shape.rank; i++)
        if (__builtin_mul_overflow(shape.dims[i], repeats[i], &shape.dims[i]))
            return fm_node_fail(err, node, "axis %u would be too long", i);
    fm_infer_output(node, 0, node->inputs[0]->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_tile(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *x = node->inputs[0], *out = node->outputs[0];
    fm_array   in;
    int64_t    strides[FM_MAX_RANK], i = 0;
    if (!fm_fold_tensor_fits(x) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(fm_fold_load(g, x, &in, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    fm_dense_strides(&x->shape, strides);
    for (fm_walk_init(&w, &out->shape); !w.done; fm_walk_next(&w)) {
        int64_t from = 0;
        for (uint32_t k = 0; k < out->shape.rank; k++) from += w.index[k] % x->shape.dims[k] * strides[k];
        fm_array_copy(&y, i++, &in, from);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* The output as [repeat, dim] pairs of axes, the input broadcast along the repeats: one copy, or none where only axes
 * of one element are repeated. */
static flashmem_status lower_tile(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *x = node->inputs[0], *out = node->outputs[0];
    int64_t    repeats[FM_MAX_RANK];
    fm_shape   pairs = { 0 }, source = { 0 };
    fm_view    view, split;
    bool       copies = false;
    FM_TRY(repeats_of(node, repeats, err));
    FM_TRY(fm_lower_view(l, x, &view, err));
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool both = repeats[i] > 1 && x->shape.dims[i] > 1;
        if (pairs.rank + 1 + both > FM_MAX_RANK)
            return fm_node_unsupported(err, node, "repeats of more axes than %d loops can express", FM_MAX_RANK);
        if (both) {
            source.dims[source.rank++] = 1;
            pairs.dims[pairs.rank++] = repeats[i];
        }
        source.dims[source.rank++] = x->shape.dims[i];
        pairs.dims[pairs.rank++] = both ? x->shape.dims[i] : out->shape.dims[i];
        copies = copies || both;
    }
    if (!copies) {
        view = fm_view_broadcast(&view, &out->shape);
        fm_lower_alias(l, out, &view);
        return FLASHMEM_OK;
    }
    FM_TRY(fm_view_lower_as(l, node->name, &view, &source, &split, err));
    fm_view_target target = fm_view_lower_target(l, out, &pairs);
    split = fm_view_broadcast(&split, &pairs);
    FM_TRY(fm_lower_copy(l, node->name, &split, &target.view, err));
    return fm_view_lower_done(l, node->name, out, &target, err);
}

const fm_op fm_op_Concat = { "Concat",       "",           4,           1,     UINT32_MAX,   1,   1,
                             FM_OP_MOVEMENT, infer_concat, fold_concat, false, lower_concat, NULL };
const fm_op fm_op_Tile = { "Tile", "", 6, 2, 2, 1, 1, FM_OP_MOVEMENT, infer_tile, fold_tile, false, lower_tile, NULL };
