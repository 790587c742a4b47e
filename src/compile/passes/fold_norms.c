/* Factors and terms per channel behind a convolution or product become part of its weight and bias: BatchNormalization,
 * and Mul or Add with constants along the channels. */
#include <string.h>

#include "compile/ops/channel_norm.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"

/* What a weighted operator looks like to this pass. */
typedef struct weighted {
    fm_node *node;
    uint32_t weight_axis; /* of its output channels in the weight */
    uint32_t out_axis;    /* in the result */
    int64_t  channels;
} weighted;

static bool describe(fm_node *n, weighted *w) {
    bool conv = fm_is(n, "Conv"), transposed = fm_is(n, "ConvTranspose"), gemm = fm_is(n, "Gemm");
    if (!conv && !transposed && !gemm) return false;
    if (!n->inputs[1]->constant || (n->input_count > 2 && n->inputs[2] && !n->inputs[2]->constant)) return false;
    if (transposed && fm_node_int(n, "group", 1) != 1) return false;
    if (gemm && (fm_node_float(n, "beta", 1) != 1 || fm_node_float(n, "alpha", 1) != 1)) return false;
    w->node = n;
    w->weight_axis = conv ? 0 : transposed ? 1 : fm_node_int(n, "transB", 0) ? 0 : 1;
    w->out_axis = 1;
    w->channels = n->outputs[0]->shape.dims[1];
    if (gemm && n->input_count > 2 && n->inputs[2]) {
        int64_t count = fm_shape_count(&n->inputs[2]->shape);
        if (count != w->channels && count != 1) return false;
    }
    return n->inputs[1]->shape.dims[w->weight_axis] == w->channels;
}

static flashmem_status floats_of(fm_graph *g, const fm_recipe *r, int64_t count, float **out, flashmem_error *err) {
    int64_t have = fm_shape_count(&r->shape);
    *out = fm_arena_array(g->arena, (size_t)count, sizeof **out);
    FM_TRY(fm_recipe_read_all(r, FLASHMEM_F32, *out, err));
    for (int64_t i = have; i < count; i++) (*out)[i] = (*out)[0]; /* a scalar serves every channel */
    return FLASHMEM_OK;
}

/* weight *= scale, bias = bias * scale + shift. */
static flashmem_status apply(fm_graph *g, const weighted *w, const float *scale, const float *shift,
                             flashmem_error *err) {
    fm_node         *n = w->node;
    fm_tensor       *weight = n->inputs[1], *bias = n->input_count > 2 ? n->inputs[2] : NULL;
    const fm_recipe *r = weight->constant;
    fm_shape         along = weight->shape, vector = { .rank = 1, .dims = { w->channels } };
    float           *values;
    if (scale) {
        for (uint32_t i = 0; i < along.rank; i++)
            if (i != w->weight_axis) along.dims[i] = 1;
        if (r->dtype != FLASHMEM_F32) r = fm_recipe_cast(g->arena, r, FLASHMEM_F32);
        r = fm_recipe_scale(g->arena, r, fm_recipe_memory(g->arena, FLASHMEM_F32, &along, scale));
        if (weight->dtype != FLASHMEM_F32) r = fm_recipe_cast(g->arena, r, weight->dtype);
        fm_graph_set_input(g, n, 1, fm_graph_constant(g, weight->name, r));
    }
    if (bias) FM_TRY(floats_of(g, bias->constant, w->channels, &values, err));
    else values = fm_arena_array(g->arena, (size_t)w->channels, sizeof *values);
    for (int64_t i = 0; i < w->channels; i++) values[i] = values[i] * (scale ? scale[i] : 1) + (shift ? shift[i] : 0);
    r = fm_recipe_memory(g->arena, FLASHMEM_F32, &vector, values);
    if (weight->dtype != FLASHMEM_F32) r = fm_recipe_cast(g->arena, r, weight->dtype);
    fm_tensor *folded = fm_graph_constant(g, bias ? bias->name : NULL, r);
    if (n->input_count > 2) {
        fm_graph_set_input(g, n, 2, folded);
        return FLASHMEM_OK;
    }
    fm_tensor *inputs[3] = { n->inputs[0], n->inputs[1], folded };
    fm_node   *made = fm_replace_producer(g, n->outputs[0], n->op, n->name, inputs, 3);
    made->attrs = n->attrs;
    made->attr_count = n->attr_count;
    made->opset = n->opset;
    return FLASHMEM_OK;
}

/* The other operand of an Add or Mul when it is a constant per channel (or one for all); NULL otherwise. */
static const fm_tensor *per_channel(const fm_node *use, const fm_tensor *x, const weighted *w) {
    const fm_tensor *c = use->inputs[use->inputs[0] == x ? 1 : 0];
    if (!c || c == x || !c->constant || c->shape.rank > x->shape.rank) return NULL;
    int64_t count = fm_shape_count(&c->shape);
    if (count == 1) return c;
    uint32_t from_end = x->shape.rank - w->out_axis; /* the channel axis counted from the last */
    if (count != w->channels || c->shape.rank < from_end) return NULL;
    return c->shape.dims[c->shape.rank - from_end] == w->channels ? c : NULL;
}

/* One operator behind n folded in; *folded says whether there was one. */
static flashmem_status fold_next(fm_graph *g, fm_node *n, bool *folded, fm_node **now, flashmem_error *err) {
    weighted w;
    *folded = false;
    if (!describe(n, &w)) return FLASHMEM_OK;
    fm_tensor *x = n->outputs[0];
    fm_node   *use = fm_only_use(x);
    float     *scale = NULL, *shift = NULL;
    if (!use || !use->outputs[0]) return FLASHMEM_OK;
    if (fm_is(use, "BatchNormalization") && use->inputs[0] == x) {
        flashmem_error reading = { 0 };
        if (!fm_batch_norm_factors(g->arena, use, &scale, &shift, &reading))
            return reading.status == FLASHMEM_OK ? FLASHMEM_OK : fm_fail(err, reading.status, "%s", reading.message);
    } else if (fm_is(use, "Mul") || fm_is(use, "Add")) {
        const fm_tensor *c = per_channel(use, x, &w);
        if (!c || w.channels * 4 > (int64_t)FM_FOLD_LIMIT) return FLASHMEM_OK;
        FM_TRY(floats_of(g, c->constant, w.channels, fm_is(use, "Mul") ? &scale : &shift, err));
    } else {
        return FLASHMEM_OK;
    }
    fm_tensor *out = use->outputs[0];
    FM_TRY(apply(g, &w, scale, shift, err));
    /* the weighted operator now makes what `use` made */
    fm_node *made = x->producer, *before = use->next;
    fm_graph_remove(g, use);
    fm_graph_remove(g, made);
    fm_node *moved = fm_graph_insert(g, before, made->op, made->name, made->inputs, made->input_count, &out, 1);
    moved->attrs = made->attrs;
    moved->attr_count = made->attr_count;
    moved->opset = made->opset;
    *folded = true;
    *now = moved;
    return FLASHMEM_OK;
}

flashmem_status fm_pass_fold_norms(fm_graph *g, flashmem_error *err) {
    fm_node **nodes = fm_arena_array(g->arena, g->node_count, sizeof *nodes);
    uint32_t  count = 0;
    for (fm_node *n = g->first; n; n = n->next) nodes[count++] = n;
    for (uint32_t i = 0; i < count; i++) {
        fm_node *n = nodes[i];
        bool     folded = n->outputs[0] && n->outputs[0]->producer == n; /* else folded into another already */
        while (folded) FM_TRY(fold_next(g, n, &folded, &n, err));
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
