/* Operators that give another shape to the same elements, or repeat them without storing: they are views of their
 * inputs where strides can express it, and a dense copy otherwise.  Constants stay recipes. */
#include <inttypes.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

flashmem_status fm_view_lower_as(fm_lower *l, const char *name, const fm_view *from, const fm_shape *shape,
                                 fm_view *out, flashmem_error *err) {
    fm_view dense;
    if (fm_view_reshape(from, shape, out)) return FLASHMEM_OK;
    FM_TRY(fm_lower_dense(l, name, from, &dense, err));
    if (fm_view_reshape(&dense, shape, out)) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "node '%s': a dense view has no such shape", name);
}

fm_view_target fm_view_lower_target(fm_lower *l, fm_tensor *t, const fm_shape *shape) {
    fm_view_target target = { .place = fm_lower_output(l, t, NULL) };
    target.copied = !fm_view_reshape(&target.place, shape, &target.view);
    if (target.copied) target.view = fm_lower_temporary(l, target.place.dtype, shape);
    return target;
}

flashmem_status fm_view_lower_done(fm_lower *l, const char *name, fm_tensor *t, const fm_view_target *target,
                                   flashmem_error *err) {
    fm_view from;
    if (!target->copied) return FLASHMEM_OK;
    FM_TRY(fm_view_lower_as(l, name, &target->view, &t->shape, &from, err));
    return fm_lower_copy(l, name, &from, &target->place, err);
}

flashmem_status fm_view_lower_reshape(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    fm_view    view, result;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    FM_TRY(fm_view_lower_as(l, node->name, &view, &out->shape, &result, err));
    fm_lower_alias(l, out, &result);
    return FLASHMEM_OK;
}

flashmem_status fm_view_fold_reshape(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    if (!out) return FLASHMEM_OK;
    return fm_fold_recipe(g, out, fm_recipe_reshape(g->arena, node->inputs[0]->constant, &out->shape), err);
}

/* --- Reshape ------------------------------------------------------------------------------------------------------ */

static flashmem_status reshape_counts(const fm_node *node, fm_shape *shape, int unknown, flashmem_error *err) {
    const fm_tensor *x = node->inputs[0];
    char             from[160], to[160];
    int64_t          count = fm_shape_count(&x->shape), rest = 1;
    bool             fits = true;
    for (uint32_t i = 0; i < shape->rank; i++)
        if ((int)i != unknown && __builtin_mul_overflow(rest, shape->dims[i], &rest)) fits = false;
    if (fits && unknown >= 0) {
        fits = rest > 0 && count % rest == 0;
        shape->dims[unknown] = fits ? count / rest : -1;
    } else {
        fits = fits && rest == count;
    }
    if (fits) return FLASHMEM_OK;
    return fm_node_fail(err, node, "tensor '%s' of shape %s (%" PRId64 " elements) cannot have shape %s", x->name,
                        fm_shape_print(&x->shape, from, sizeof from), count, fm_shape_print(shape, to, sizeof to));
}

static flashmem_status infer_reshape(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    int64_t          wanted[FM_MAX_RANK];
    uint32_t         rank = 0;
    bool             allow_zero = fm_node_int(node, "allowzero", 0) != 0;
    int              unknown = -1;
    FM_TRY(fm_infer_values(node, 1, wanted, FM_MAX_RANK, &rank, err));
    fm_shape shape = { .rank = rank };
    for (uint32_t i = 0; i < rank; i++) {
        shape.dims[i] = wanted[i];
        if (wanted[i] == 0 && !allow_zero) {
            if (i >= x->shape.rank)
                return fm_node_fail(err, node, "shape entry %u is 0 (keep), but tensor '%s' has %u dims", i, x->name,
                                    x->shape.rank);
            shape.dims[i] = x->shape.dims[i];
        } else if (wanted[i] == -1) {
            if (unknown >= 0) return fm_node_fail(err, node, "more than one -1 in the shape");
            unknown = (int)i;
        } else if (wanted[i] < 0) {
            return fm_node_fail(err, node, "shape entry %u is %" PRId64, i, wanted[i]);
        }
    }
    if (unknown >= 0 && allow_zero)
        for (uint32_t i = 0; i < rank; i++)
            if (wanted[i] == 0) return fm_node_fail(err, node, "both 0 and -1 in the shape, with allowzero");
    FM_TRY(reshape_counts(node, &shape, unknown, err));
    fm_infer_output(node, 0, x->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status infer_flatten(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    int64_t          axis = fm_node_int(node, "axis", 1);
    if (axis < -(int64_t)x->shape.rank || axis > (int64_t)x->shape.rank)
        return fm_node_fail(err, node, "axis %" PRId64 " is outside tensor '%s' of %u dims", axis, x->name,
                            x->shape.rank);
    if (axis < 0) axis += x->shape.rank;
    fm_shape shape = { .rank = 2, .dims = { 1, 1 } };
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (__builtin_mul_overflow(shape.dims[i >= axis], x->shape.dims[i], &shape.dims[i >= axis]))
            return fm_node_fail(err, node, "tensor '%s' has too many elements", x->name);
    fm_infer_output(node, 0, x->dtype, &shape);
    return FLASHMEM_OK;
}

/* --- Squeeze, Unsqueeze ------------------------------------------------------------------------------------------- */

/* The axes are an attribute before opset 13, an input from then on. */
static flashmem_status infer_squeeze(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    uint32_t         mask, count;
    bool             given;
    FM_TRY(fm_infer_axes(node, 1, x->shape.rank, &mask, NULL, &count, &given, err));
    fm_shape shape = { 0 };
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool drop = given ? (mask >> i & 1) : x->shape.dims[i] == 1;
        if (drop && x->shape.dims[i] != 1)
            return fm_node_fail(err, node, "axis %u of tensor '%s' has %" PRId64 " elements, expected 1", i, x->name,
                                x->shape.dims[i]);
        if (!drop) shape.dims[shape.rank++] = x->shape.dims[i];
    }
    fm_infer_output(node, 0, x->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status infer_unsqueeze(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    int64_t          values[FM_MAX_RANK];
    uint32_t         count = 0, mask, from = 0;
    bool             given;
    const int64_t   *axes = fm_node_ints(node, "axes", &count);
    if (!axes) FM_TRY(fm_infer_values(node, 1, values, FM_MAX_RANK, &count, err));
    if (x->shape.rank + count > FM_MAX_RANK)
        return fm_node_unsupported(err, node, "%u dims, at most %d are handled", x->shape.rank + count, FM_MAX_RANK);
    fm_shape shape = { .rank = x->shape.rank + count };
    FM_TRY(fm_infer_axes(node, axes ? FM_NO_INPUT : 1, shape.rank, &mask, NULL, NULL, &given, err));
    for (uint32_t i = 0; i < shape.rank; i++) shape.dims[i] = mask >> i & 1 ? 1 : x->shape.dims[from++];
    fm_infer_output(node, 0, x->dtype, &shape);
    return FLASHMEM_OK;
}

/* --- Identity, Dropout -------------------------------------------------------------------------------------------- */

static flashmem_status fold_identity(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    if (node->outputs[0]) node->outputs[0]->constant = node->inputs[0]->constant;
    return FLASHMEM_OK;
}

static flashmem_status lower_identity(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_view view;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

static flashmem_status infer_dropout(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    fm_tensor *x = node->inputs[0], *training = fm_node_input(node, 2);
    double     on = 0;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (training && (!training->constant || !fm_tensor_scalar(training, &on) || on != 0))
        return fm_node_unsupported(err, node, "training mode; export the model for inference");
    fm_infer_output(node, 0, x->dtype, &x->shape);
    fm_infer_output(node, 1, FLASHMEM_BOOL, &x->shape);
    return FLASHMEM_OK;
}

/* The mask of inference keeps everything; the ratio does not matter. */
static const fm_recipe *dropout_mask(fm_graph *g, const fm_shape *shape) {
    static const uint8_t  one = 1;
    static const fm_shape scalar = { 0 };
    return fm_recipe_broadcast(g->arena, fm_recipe_memory(g->arena, FLASHMEM_BOOL, &scalar, &one), shape);
}

static flashmem_status fold_dropout(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *mask = node->output_count > 1 ? node->outputs[1] : NULL;
    if (node->outputs[0] && node->inputs[0]->constant) node->outputs[0]->constant = node->inputs[0]->constant;
    return mask ? fm_fold_recipe(g, mask, dropout_mask(g, &mask->shape), err) : FLASHMEM_OK;
}

static flashmem_status lower_dropout(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *mask = node->output_count > 1 ? node->outputs[1] : NULL;
    fm_view    view;
    if (node->outputs[0]) FM_TRY(lower_identity(l, node, err));
    if (!mask) return FLASHMEM_OK;
    fm_tensor *kept = fm_graph_constant(l->graph, NULL, dropout_mask(l->graph, &mask->shape));
    FM_TRY(fm_lower_view(l, kept, &view, err));
    fm_lower_alias(l, mask, &view);
    return FLASHMEM_OK;
}

/* --- Transpose ---------------------------------------------------------------------------------------------------- */

static flashmem_status permutation_of(const fm_node *node, uint32_t *permutation, flashmem_error *err) {
    uint32_t       count = 0, rank = node->inputs[0]->shape.rank, seen = 0;
    const int64_t *given = fm_node_ints(node, "perm", &count);
    for (uint32_t i = 0; i < rank; i++) permutation[i] = rank - 1 - i;
    if (!given) return FLASHMEM_OK;
    if (count != rank)
        return fm_node_fail(err, node, "perm has %u entries, expected %u as tensor '%s' has dims", count, rank,
                            node->inputs[0]->name);
    for (uint32_t i = 0; i < rank; i++) {
        FM_TRY(fm_infer_axis(node, given[i], rank, &permutation[i], err));
        if (seen >> permutation[i] & 1) return fm_node_fail(err, node, "perm names axis %" PRId64 " twice", given[i]);
        seen |= 1u << permutation[i];
    }
    return FLASHMEM_OK;
}

static flashmem_status infer_transpose(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    uint32_t permutation[FM_MAX_RANK];
    fm_shape shape = node->inputs[0]->shape;
    FM_TRY(permutation_of(node, permutation, err));
    for (uint32_t i = 0; i < shape.rank; i++) shape.dims[i] = node->inputs[0]->shape.dims[permutation[i]];
    fm_infer_output(node, 0, node->inputs[0]->dtype, &shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_transpose(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t permutation[FM_MAX_RANK];
    FM_TRY(permutation_of(node, permutation, err));
    return fm_fold_recipe(g, node->outputs[0], fm_recipe_transpose(g->arena, node->inputs[0]->constant, permutation),
                          err);
}

static flashmem_status lower_transpose(fm_lower *l, fm_node *node, flashmem_error *err) {
    uint32_t permutation[FM_MAX_RANK];
    fm_view  view;
    FM_TRY(permutation_of(node, permutation, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    view = fm_view_permute(&view, permutation);
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

/* --- Expand ------------------------------------------------------------------------------------------------------- */

static flashmem_status infer_expand(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    int64_t          wanted[FM_MAX_RANK];
    uint32_t         rank = 0;
    char             a[160], b[160];
    FM_TRY(fm_infer_values(node, 1, wanted, FM_MAX_RANK, &rank, err));
    fm_shape to = { .rank = rank }, shape;
    for (uint32_t i = 0; i < rank; i++) {
        to.dims[i] = wanted[i];
        if (wanted[i] < 0) return fm_node_fail(err, node, "shape entry %u is %" PRId64, i, wanted[i]);
    }
    if (!fm_shape_broadcast(&x->shape, &to, &shape))
        return fm_node_fail(err, node, "tensor '%s' of shape %s does not broadcast to %s", x->name,
                            fm_shape_print(&x->shape, a, sizeof a), fm_shape_print(&to, b, sizeof b));
    fm_infer_output(node, 0, x->dtype, &shape);
    return FLASHMEM_OK;
}

/* A broadcast recipe costs what its source costs: lowering stores only that. */
static flashmem_status fold_expand(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    return fm_fold_recipe(g, out, fm_recipe_broadcast(g->arena, node->inputs[0]->constant, &out->shape), err);
}

static flashmem_status lower_expand(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_view view;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    view = fm_view_broadcast(&view, &node->outputs[0]->shape);
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

#define VIEW(id, opset, least, most, infer, fold, lower) \
    const fm_op fm_op_##id = { #id, "", opset, least, most, 1, 1, FM_OP_VIEW, infer, fold, false, lower, NULL };
VIEW(Reshape, 5, 2, 2, infer_reshape, fm_view_fold_reshape, fm_view_lower_reshape)
VIEW(Flatten, 1, 1, 1, infer_flatten, fm_view_fold_reshape, fm_view_lower_reshape)
VIEW(Squeeze, 1, 1, 2, infer_squeeze, fm_view_fold_reshape, fm_view_lower_reshape)
VIEW(Unsqueeze, 1, 1, 2, infer_unsqueeze, fm_view_fold_reshape, fm_view_lower_reshape)
VIEW(Transpose, 1, 1, 1, infer_transpose, fold_transpose, lower_transpose)
VIEW(Expand, 8, 2, 2, infer_expand, fold_expand, lower_expand)
VIEW(Identity, 1, 1, 1, fm_infer_same, fold_identity, lower_identity)
const fm_op fm_op_Dropout = { "Dropout",     "",  7, 1, 3, 1, 2, FM_OP_VIEW, infer_dropout, fold_dropout, true,
                              lower_dropout, NULL };
