/* DepthToSpace, SpaceToDepth, Pad: elements put elsewhere. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* --- DepthToSpace, SpaceToDepth ----------------------------------------------------------------------------------- */

/* Both are: split axes, permute, join.  `split` is the input's shape with axes split, `permutation` orders it. */
typedef struct rearrangement {
    fm_shape split, out;
    uint32_t permutation[FM_MAX_RANK];
} rearrangement;

static flashmem_status rearrangement_of(const fm_node *node, rearrangement *r, flashmem_error *err) {
    static const uint32_t column_row[] = { 0, 1, 4, 2, 5, 3 }, depth_column_row[] = { 0, 3, 4, 1, 5, 2 };
    static const uint32_t to_depth[] = { 0, 3, 5, 1, 2, 4 }, to_depth_column_row[] = { 0, 1, 3, 5, 2, 4 };
    const fm_tensor      *x = node->inputs[0];
    const int64_t        *d = x->shape.dims;
    int64_t               b = fm_node_int(node, "blocksize", 0);
    const char           *mode = fm_node_string(node, "mode", "DCR");
    bool                  to_space = strcmp(node->op->name, "DepthToSpace") == 0, crd = strcmp(mode, "CRD") == 0;
    FM_TRY(fm_infer_rank(node, 0, 4, err));
    if (b < 1 || b > 1 << 20) return fm_node_fail(err, node, "blocksize is %" PRId64, b);
    if (!crd && strcmp(mode, "DCR") != 0) return fm_node_fail(err, node, "mode is '%s', expected DCR or CRD", mode);
    if (to_space ? d[1] % (b * b) != 0 : d[2] % b != 0 || d[3] % b != 0)
        return fm_node_fail(err, node, "blocks of %" PRId64 " do not divide tensor '%s' evenly", b, x->name);
    if (to_space) {
        int64_t c = d[1] / (b * b);
        r->split = crd ? (fm_shape){ 6, { d[0], c, b, b, d[2], d[3] } }
                       : (fm_shape){ 6, { d[0], b, b, c, d[2], d[3] } };
        r->out = (fm_shape){ 4, { d[0], c, d[2] * b, d[3] * b } };
        memcpy(r->permutation, crd ? column_row : depth_column_row, sizeof column_row);
    } else {
        r->split = (fm_shape){ 6, { d[0], d[1], d[2] / b, b, d[3] / b, b } };
        r->out = (fm_shape){ 4, { d[0], d[1] * b * b, d[2] / b, d[3] / b } };
        memcpy(r->permutation, crd ? to_depth_column_row : to_depth, sizeof to_depth);
    }
    return FLASHMEM_OK;
}

static flashmem_status infer_rearrange(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    rearrangement r;
    FM_TRY(rearrangement_of(node, &r, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &r.out);
    return FLASHMEM_OK;
}

static flashmem_status fold_rearrange(fm_graph *g, fm_node *node, flashmem_error *err) {
    rearrangement r;
    FM_TRY(rearrangement_of(node, &r, err));
    const fm_recipe *split = fm_recipe_reshape(g->arena, node->inputs[0]->constant, &r.split);
    const fm_recipe *turned = fm_recipe_transpose(g->arena, split, r.permutation);
    return fm_fold_recipe(g, node->outputs[0], fm_recipe_reshape(g->arena, turned, &r.out), err);
}

static flashmem_status lower_rearrange(fm_lower *l, fm_node *node, flashmem_error *err) {
    rearrangement r;
    fm_view       view;
    FM_TRY(rearrangement_of(node, &r, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    FM_TRY(fm_view_lower_as(l, node->name, &view, &r.split, &view, err));
    view = fm_view_permute(&view, r.permutation);
    fm_view_target target = fm_view_lower_target(l, node->outputs[0], &view.shape);
    FM_TRY(fm_lower_copy(l, node->name, &view, &target.view, err));
    return fm_view_lower_done(l, node->name, node->outputs[0], &target, err);
}

/* --- Pad ---------------------------------------------------------------------------------------------------------- */

typedef struct padding {
    fm_pad_mode mode;
    int64_t     before[FM_MAX_RANK], after[FM_MAX_RANK]; /* negative: crops */
    fm_shape    out;
} padding;

static flashmem_status pad_amounts(const fm_node *node, padding *p, flashmem_error *err) {
    uint32_t       rank = node->inputs[0]->shape.rank, count = 0, axes[FM_MAX_RANK], axis_count = rank, mask;
    int64_t        values[2 * FM_MAX_RANK];
    bool           given;
    const int64_t *pads = fm_node_ints(node, "pads", &count);
    if (!pads) FM_TRY(fm_infer_values(node, 1, values, 2 * FM_MAX_RANK, &count, err));
    for (uint32_t i = 0; i < FM_MAX_RANK; i++) axes[i] = i, p->before[i] = p->after[i] = 0;
    if (fm_node_input(node, 3)) FM_TRY(fm_infer_axes(node, 3, rank, &mask, axes, &axis_count, &given, err));
    if (count != 2 * axis_count)
        return fm_node_fail(err, node, "%u pads for %u axes, expected two for each", count, axis_count);
    if (pads) memcpy(values, pads, count * sizeof *values);
    for (uint32_t i = 0; i < axis_count; i++) {
        p->before[axes[i]] = values[i];
        p->after[axes[i]] = values[axis_count + i];
    }
    return FLASHMEM_OK;
}

static flashmem_status padding_of(const fm_node *node, padding *p, flashmem_error *err) {
    static const char *const names[] = { "constant", "reflect", "edge", "wrap" };
    const fm_tensor         *x = node->inputs[0];
    const char              *mode = fm_node_string(node, "mode", "constant");
    uint32_t                 m = 0;
    while (m < 4 && strcmp(names[m], mode) != 0) m++;
    if (m == 4) return fm_node_fail(err, node, "mode is '%s', expected constant, reflect, edge or wrap", mode);
    p->mode = (fm_pad_mode)m;
    FM_TRY(pad_amounts(node, p, err));
    p->out = x->shape;
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        int64_t dim = x->shape.dims[i], b = p->before[i], a = p->after[i];
        if (b < -FM_LARGEST_DIM || b > FM_LARGEST_DIM || a < -FM_LARGEST_DIM || a > FM_LARGEST_DIM || dim + a + b < 0)
            return fm_node_fail(err, node, "axis %u: %" PRId64 " before and %" PRId64 " behind %" PRId64, i, b, a, dim);
        int64_t inside = dim + (b < 0 ? b : 0) + (a < 0 ? a : 0);
        bool    grows = b > 0 || a > 0;
        if (p->mode != FM_PAD_CONSTANT && grows && inside < 1)
            return fm_node_fail(err, node, "axis %u: nothing to pad from", i);
        p->out.dims[i] = dim + a + b;
    }
    return FLASHMEM_OK;
}

static flashmem_status infer_pad(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    padding          p;
    const fm_tensor *value = fm_node_input(node, 2);
    FM_TRY(fm_infer_same_type(node, 0, 2, err));
    if (value && fm_shape_count(&value->shape) != 1) return fm_infer_rank(node, 2, 0, err);
    FM_TRY(padding_of(node, &p, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &p.out);
    return FLASHMEM_OK;
}

static flashmem_status pad_value(const fm_node *node, double *value, flashmem_error *err) {
    const fm_tensor *t = fm_node_input(node, 2);
    *value = fm_node_float(node, "value", 0);
    if (t && (!t->constant || !fm_tensor_scalar(t, value)))
        return fm_node_unsupported(err, node, "tensor '%s', the value to pad with, is known only at run time", t->name);
    return FLASHMEM_OK;
}

/* Where the element at place i of an axis comes from; -1: the value to pad with.  Padding repeats what is inside after
 * cropping: [low, low + n). */
static int64_t source_of(fm_pad_mode mode, int64_t i, int64_t low, int64_t n) {
    int64_t at = i - low;
    if (at >= 0 && at < n) return i;
    if (mode == FM_PAD_EDGE) return at < 0 ? low : low + n - 1;
    if (mode == FM_PAD_WRAP) return low + (at % n + n) % n;
    if (mode == FM_PAD_CONSTANT) return -1;
    if (n == 1) return low;
    int64_t period = 2 * (n - 1), r = (at % period + period) % period;
    return low + (r < n ? r : period - r);
}

static flashmem_status fold_pad(fm_graph *g, fm_node *node, flashmem_error *err) {
    fm_tensor *x = node->inputs[0], *out = node->outputs[0], *value = fm_node_input(node, 2);
    padding    p;
    fm_array   in, fill;
    int64_t    strides[FM_MAX_RANK], i = 0;
    if (!fm_fold_tensor_fits(x) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(padding_of(node, &p, err));
    FM_TRY(fm_fold_load(g, x, &in, err));
    FM_TRY(fm_fold_load(g, value, &fill, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_walk  w;
    fm_dense_strides(&x->shape, strides);
    for (fm_walk_init(&w, &out->shape); !w.done; fm_walk_next(&w), i++) {
        int64_t from = 0;
        for (uint32_t k = 0; k < x->shape.rank && from >= 0; k++) {
            int64_t b = p.before[k], a = p.after[k], low = b < 0 ? -b : 0, n = x->shape.dims[k] - low + (a < 0 ? a : 0);
            int64_t at = source_of(p.mode, w.index[k] - b, low, n);
            from = at < 0 ? -1 : from + at * strides[k];
        }
        if (from >= 0) fm_array_copy(&y, i, &in, from);
        else if (fill.count) fm_array_copy(&y, i, &fill, 0);
        else fm_array_set_double(&y, i, fm_node_float(node, "value", 0));
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

static flashmem_status lower_pad(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_pad_desc d = { .name = node->name };
    padding     p;
    FM_TRY(padding_of(node, &p, err));
    FM_TRY(pad_value(node, &d.value, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.x, err));
    d.mode = p.mode;
    for (uint32_t i = 0; i < d.x.shape.rank; i++) { /* crop first, so that what is repeated is what stays */
        int64_t low = p.before[i] < 0 ? -p.before[i] : 0;
        int64_t n = d.x.shape.dims[i] - low + (p.after[i] < 0 ? p.after[i] : 0);
        d.x = fm_view_slice(&d.x, i, low, 1, n > 0 ? n : 0);
        d.before[i] = p.before[i] > 0 ? p.before[i] : 0;
        if (n <= 0) d.before[i] = p.out.dims[i];
    }
    d.out = fm_lower_output_like(l, node->outputs[0], &d.x);
    if (fm_shape_equal(&d.x.shape, &d.out.shape)) return fm_lower_copy(l, node->name, &d.x, &d.out, err);
    return fm_emit_pad(&l->emit, &d, err);
}

const fm_op fm_op_DepthToSpace = {
    "DepthToSpace", "", 1, 1, 1, 1, 1, FM_OP_MOVEMENT, infer_rearrange, fold_rearrange, false, lower_rearrange, NULL
};
const fm_op fm_op_SpaceToDepth = {
    "SpaceToDepth", "", 1, 1, 1, 1, 1, FM_OP_MOVEMENT, infer_rearrange, fold_rearrange, false, lower_rearrange, NULL
};
const fm_op fm_op_Pad = { "Pad", "", 2, 1, 4, 1, 1, FM_OP_MOVEMENT, infer_pad, fold_pad, false, lower_pad, NULL };
