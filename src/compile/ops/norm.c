/* Norms over trailing axes: LayerNormalization, RMSNormalization, SimplifiedLayerNormalization, fm.Norm (with an
 * addend), and LpNormalization. */
#include <inttypes.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/fused.h"
#include "compile/ops/infer_helpers.h"

static flashmem_status norm_axis(const fm_node *node, uint32_t *axis, flashmem_error *err) {
    return fm_infer_axis(node, fm_node_int(node, "axis", -1), node->inputs[0]->shape.rank, axis, err);
}

static flashmem_status infer_norm(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    uint32_t         axis;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (x->shape.rank == 0) return fm_node_fail(err, node, "tensor '%s' is a scalar", x->name);
    FM_TRY(norm_axis(node, &axis, err));
    fm_shape normalised = { .rank = x->shape.rank - axis };
    memcpy(normalised.dims, x->shape.dims + axis, normalised.rank * sizeof *normalised.dims);
    for (uint32_t i = 1; i < 3; i++) {
        const fm_tensor *t = fm_node_input(node, i);
        fm_shape         both;
        char             a[160], b[160];
        if (t && (!fm_shape_broadcast(&normalised, &t->shape, &both) || !fm_shape_equal(&normalised, &both)))
            return fm_node_fail(err, node, "tensor '%s' of shape %s does not broadcast to %s", t->name,
                                fm_shape_print(&t->shape, a, sizeof a), fm_shape_print(&normalised, b, sizeof b));
    }
    fm_infer_output(node, 0, x->dtype, &x->shape);
    fm_shape statistics = x->shape;
    for (uint32_t i = axis; i < statistics.rank; i++) statistics.dims[i] = 1;
    fm_infer_output(node, 1, FLASHMEM_F32, &statistics);
    fm_infer_output(node, 2, FLASHMEM_F32, &statistics);
    return FLASHMEM_OK;
}

/* A parameter that broadcasts to the normalised axes as a vector of all their elements. */
static flashmem_status parameter(fm_lower *l, fm_tensor *t, const fm_shape *normalised, fm_view *out,
                                 flashmem_error *err) {
    if (!t) return FLASHMEM_OK;
    int64_t count = fm_shape_count(normalised);
    if (t->constant && !fm_shape_equal(&t->shape, normalised) && fm_shape_count(&t->shape) != 1)
        t = fm_graph_constant(l->graph, t->name, fm_recipe_broadcast(l->graph->arena, t->constant, normalised));
    else if (!t->constant && !fm_shape_equal(&t->shape, normalised) && fm_shape_count(&t->shape) != 1)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "parameter '%s' is broadcast and known only at run time", t->name);
    return fm_lower_vector(l, t, count, out, err);
}

/* Views [lead..., tail...] as [R1, R0, C]; copies those of the `readable` first that strides keep from it. */
static flashmem_status to_rows(fm_lower *l, const char *name, fm_view *views, uint32_t count, uint32_t readable,
                               uint32_t axis, flashmem_error *err) {
    fm_shape flat = views[0].shape;
    flat.rank = axis + 1;
    flat.dims[axis] = 1;
    for (uint32_t i = axis; i < views[0].shape.rank; i++) flat.dims[axis] *= views[0].shape.dims[i];
    fm_view merged[4];
    for (uint32_t attempt = 0; attempt < 2; attempt++) {
        bool good = true;
        for (uint32_t v = 0; v < count; v++)
            if (!fm_view_reshape(&views[v], &flat, &merged[v])) good = false;
        if (good && fm_lower_collapse_lead(merged, count, axis, 2)) {
            memcpy(views, merged, count * sizeof *views);
            return FLASHMEM_OK;
        }
        for (uint32_t v = 0; v < readable; v++) FM_TRY(fm_lower_dense(l, name, &views[v], &views[v], err));
    }
    return fm_fail(err, FLASHMEM_INTERNAL, "'%s': an output has no row-major order", name);
}

static flashmem_status emit_rows(fm_lower *l, fm_norm_desc *d, uint32_t axis, flashmem_error *err) {
    fm_view  views[4];
    uint32_t count = 0, readable;
    bool     add = d->add.value != FM_NONE, sum = d->sum.value != FM_NONE;
    views[count++] = d->x;
    if (add) views[count++] = d->add;
    readable = count;
    if (sum) views[count++] = d->sum;
    views[count++] = d->out;
    FM_TRY(to_rows(l, d->name, views, count, readable, axis, err));
    d->x = views[0];
    if (add) d->add = views[1];
    if (sum) d->sum = views[count - 2];
    d->out = views[count - 1];
    return fm_emit_norm(&l->emit, d, err);
}

static fm_norm_desc empty_norm(const fm_node *node) {
    fm_norm_desc d = { .name = node->name };
    d.add.value = d.sum.value = d.gamma.value = d.beta.value = FM_NONE;
    return d;
}

static flashmem_status lower_norm(fm_lower *l, fm_node *node, flashmem_error *err) {
    uint32_t     axis;
    fm_norm_desc d = empty_norm(node);
    for (uint32_t i = 1; i < node->output_count; i++)
        if (node->outputs[i] && (node->outputs[i]->use_count || node->outputs[i]->is_output))
            return fm_node_unsupported(err, node, "output '%s' (a statistic) is used", node->outputs[i]->name);
    FM_TRY(norm_axis(node, &axis, err));
    d.rms = strcmp(node->op_type, "LayerNormalization") != 0;
    d.epsilon = fm_node_float(node, "epsilon", 1e-5f);
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.x, err));
    fm_shape normalised = { .rank = d.x.shape.rank - axis };
    memcpy(normalised.dims, d.x.shape.dims + axis, normalised.rank * sizeof *normalised.dims);
    FM_TRY(parameter(l, fm_node_input(node, 1), &normalised, &d.gamma, err));
    FM_TRY(parameter(l, fm_node_input(node, 2), &normalised, &d.beta, err));
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    return emit_rows(l, &d, axis, err);
}

static flashmem_status infer_fused(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    fm_infer_output(node, 0, node->inputs[0]->dtype, &node->inputs[0]->shape);
    fm_infer_output(node, 1, node->inputs[0]->dtype, &node->inputs[0]->shape);
    return FLASHMEM_OK;
}

static flashmem_status lower_fused(fm_lower *l, fm_node *node, flashmem_error *err) {
    const fm_norm_params *p = node->params;
    fm_norm_desc          d = empty_norm(node);
    fm_tensor            *add = fm_node_input(node, 1);
    uint32_t              axis = node->inputs[0]->shape.rank - 1;
    fm_shape              normalised = { .rank = 1, .dims = { node->inputs[0]->shape.dims[axis] } };
    d.rms = p->rms;
    d.epsilon = p->epsilon;
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.x, err));
    if (add) {
        FM_TRY(fm_lower_view(l, add, &d.add, err));
        d.add = fm_view_broadcast(&d.add, &d.x.shape);
    }
    FM_TRY(parameter(l, fm_node_input(node, 2), &normalised, &d.gamma, err));
    FM_TRY(parameter(l, fm_node_input(node, 3), &normalised, &d.beta, err));
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    if (node->output_count > 1 && node->outputs[1]) d.sum = fm_lower_output(l, node->outputs[1], NULL);
    return emit_rows(l, &d, axis, err);
}

#define NORM(id, onnx, the_domain, least, most, outputs, infer_fn, lower_fn) \
    const fm_op fm_op_##id = { .name = onnx,                                 \
                               .domain = the_domain,                         \
                               .since = 1,                                   \
                               .min_inputs = least,                          \
                               .max_inputs = most,                           \
                               .min_outputs = 1,                             \
                               .max_outputs = outputs,                       \
                               .op_class = FM_OP_HIERARCHICAL,               \
                               .infer = infer_fn,                            \
                               .lower = lower_fn }
NORM(LayerNormalization, "LayerNormalization", "", 2, 3, 3, infer_norm, lower_norm);
NORM(RMSNormalization, "RMSNormalization", "", 2, 2, 1, infer_norm, lower_norm);
NORM(SimplifiedLayerNormalization, "SimplifiedLayerNormalization", "", 2, 2, 2, infer_norm, lower_norm);
NORM(fused_norm, "fm.Norm", "fm", 1, 4, 2, infer_fused, lower_fused);

/* --- LpNormalization ---------------------------------------------------------------------------------------------- */

static flashmem_status infer_lp(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    int64_t  p = fm_node_int(node, "p", 2);
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(norm_axis(node, &axis, err));
    if (p != 1 && p != 2) return fm_node_fail(err, node, "attribute 'p' is %" PRId64 ", expected 1 or 2", p);
    return fm_infer_same(g, node, err);
}

static flashmem_status lower_lp(fm_lower *l, fm_node *node, flashmem_error *err) {
    uint32_t       axis;
    fm_reduce_desc norm = { .name = node->name };
    FM_TRY(norm_axis(node, &axis, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &norm.x, err));
    fm_shape reduced = norm.x.shape;
    reduced.dims[axis] = 1;
    norm.op = fm_node_int(node, "p", 2) == 1 ? FM_REDUCE_L1 : FM_REDUCE_L2;
    norm.reduced = 1u << axis;
    norm.out = fm_lower_temporary(l, FLASHMEM_F32, &reduced);
    FM_TRY(fm_emit_reduce(&l->emit, &norm, err));
    fm_elementwise_desc d = { .name = node->name,
                              .expression = "a0/fmax(a1,c0)",
                              .vector_safe = true,
                              .input_count = 2,
                              .constant_count = 1,
                              .constants = { 1e-37f } }; /* zeros stay zeros */
    d.inputs[0] = norm.x;
    d.inputs[1] = fm_view_broadcast(&norm.out, &norm.x.shape);
    d.out = fm_lower_output_like(l, node->outputs[0], &norm.x);
    return fm_emit_elementwise(&l->emit, &d, err);
}

NORM(LpNormalization, "LpNormalization", "", 1, 1, 1, infer_lp, lower_lp);
