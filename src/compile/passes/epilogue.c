/* What follows a product or convolution and can be done while its result is written: bias, addends before and after an
 * activation, the activation, scaling.
 *
 *     out = act(alpha * acc + bias + pre) + post
 *
 * Operators are taken in one by one while the result so far has one use.  Reshapes on the way are stepped over: the fused
 * node writes the shape of the product and a reshape, which costs nothing, follows. */
#include <float.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"

typedef struct fusion {
    fm_graph  *g;
    fm_node   *node; /* the product or convolution */
    fm_tensor *inputs[FM_FUSED_INPUTS];
    fm_fused   fused;
    fm_tensor *last;    /* result of what has been taken so far */
    fm_node   *at;      /* that made it: the fused node goes in its place */
    uint32_t   channel; /* axis of the product's result that the bias runs along */
    bool       any, seam;
} fusion;

static const fm_shape *product_shape(const fusion *f) { return &f->node->outputs[0]->shape; }

/* --- operators taken in ------------------------------------------------------------------------------------------- */

/* An addend that is one constant per channel of the product: as vector; NULL otherwise. */
static fm_tensor *as_bias(fusion *f, fm_tensor *t) {
    const fm_shape *out = product_shape(f), *have = &f->last->shape;
    int64_t         channels = out->dims[f->channel], count = fm_shape_count(&t->shape);
    fm_shape        vector = { .rank = 1, .dims = { channels } }, one = { .rank = 1, .dims = { 1 } };
    if (!t->constant || t->shape.rank > have->rank) return NULL;
    if (count == 1)
        return fm_graph_constant(
            f->g, t->name,
            fm_recipe_broadcast(f->g->arena, fm_recipe_reshape(f->g->arena, t->constant, &one), &vector));
    bool     stepped = !fm_shape_equal(out, have);
    uint32_t from_end = out->rank - f->channel;
    if (stepped && from_end != 1) return NULL; /* behind a reshape only the last axis is sure to be the channels */
    if (count != channels || t->shape.rank < from_end || t->shape.dims[t->shape.rank - from_end] != channels ||
        have->dims[have->rank - from_end] != channels)
        return NULL;
    return t->shape.rank == 1 ? t
                              : fm_graph_constant(f->g, t->name, fm_recipe_reshape(f->g->arena, t->constant, &vector));
}

static bool take_bias(fusion *f, fm_tensor *t) {
    fm_tensor *bias = as_bias(f, t), *have = f->inputs[FM_FUSED_BIAS];
    if (!bias || (have && (!have->constant || fm_shape_count(&have->shape) != fm_shape_count(&bias->shape))))
        return false;
    if (have) {
        const fm_recipe *r = have->constant;
        if (r->shape.rank != 1) r = fm_recipe_reshape(f->g->arena, r, &bias->shape);
        bias = fm_graph_constant(f->g, have->name, fm_recipe_add(f->g->arena, r, bias->constant));
    }
    f->inputs[FM_FUSED_BIAS] = bias;
    return true;
}

/* An addend of the result's shape (or broadcast to it). */
static bool take_addend(fusion *f, fm_node *add, fm_tensor *t) {
    const fm_shape *out = product_shape(f);
    uint32_t        slot = f->fused.activation == FM_ACT_NONE ? FM_FUSED_PRE : FM_FUSED_POST;
    if (f->inputs[FM_FUSED_POST] || (slot == FM_FUSED_PRE && f->inputs[FM_FUSED_PRE])) return false;
    if (t == f->last || t->shape.rank > f->last->shape.rank) return false;
    if (!fm_shape_equal(&f->last->shape, out)) {
        if (!fm_shape_equal(&t->shape, &f->last->shape)) return false;
        t = fm_reshaped(f->g, add, t, out);
    }
    f->inputs[slot] = t;
    return true;
}

static bool take_scale(fusion *f, double factor) {
    fm_tensor *bias = f->inputs[FM_FUSED_BIAS];
    if (f->fused.activation != FM_ACT_NONE || f->inputs[FM_FUSED_PRE] || f->inputs[FM_FUSED_POST]) return false;
    if (bias && (!bias->constant || bias->dtype != FLASHMEM_F32)) return false;
    if (bias) {
        fm_shape scalar = { 0 };
        float    value = (float)factor;
        bias = fm_graph_constant(
            f->g, bias->name,
            fm_recipe_scale(f->g->arena, bias->constant, fm_recipe_memory(f->g->arena, FLASHMEM_F32, &scalar, &value)));
        f->inputs[FM_FUSED_BIAS] = bias;
    }
    f->fused.alpha *= (float)factor;
    return true;
}

static bool clip_bounds(const fm_node *n, fm_fused *to) {
    double bounds[2] = { fm_node_float(n, "min", -FLT_MAX), fm_node_float(n, "max", FLT_MAX) };
    for (uint32_t i = 0; i < 2; i++) {
        const fm_tensor *t = n->input_count > 1 + i ? n->inputs[1 + i] : NULL;
        if (t && !fm_is_scalar(t, &bounds[i])) return false;
    }
    to->p0 = (float)bounds[0];
    to->p1 = (float)bounds[1];
    return true;
}

static bool activation_of(const fm_node *n, fm_fused *to) {
    static const struct {
        const char   *name;
        fm_activation activation;
    } plain[] = {
        { "Relu", FM_ACT_RELU },
        { "Tanh", FM_ACT_TANH },
        { "Sigmoid", FM_ACT_SIGMOID },
        { "HardSwish", FM_ACT_HARD_SWISH },
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (fm_is(n, plain[i].name)) {
            to->activation = plain[i].activation;
            return true;
        }
    if (fm_is(n, "Gelu")) {
        to->activation = strcmp(fm_node_string(n, "approximate", "none"), "tanh") == 0 ? FM_ACT_GELU_TANH : FM_ACT_GELU;
    } else if (fm_is(n, "Swish")) {
        float alpha = fm_node_float(n, "alpha", 1);
        if (alpha != 1 && !fm_is_near(alpha, 1.702)) return false;
        to->activation = alpha == 1 ? FM_ACT_SILU : FM_ACT_QUICK_GELU;
    } else if (fm_is(n, "LeakyRelu")) {
        to->activation = FM_ACT_LEAKY_RELU;
        to->p0 = fm_node_float(n, "alpha", 0.01f);
    } else if (fm_is(n, "Elu")) {
        to->activation = FM_ACT_ELU;
        to->p0 = fm_node_float(n, "alpha", 1);
    } else if (fm_is(n, "HardSigmoid")) {
        to->activation = FM_ACT_HARD_SIGMOID;
        to->p0 = fm_node_float(n, "alpha", 0.2f);
        to->p1 = fm_node_float(n, "beta", 0.5f);
    } else if (fm_is(n, "Clip")) {
        if (!clip_bounds(n, to)) return false;
        to->activation = FM_ACT_CLIP;
    } else {
        return false;
    }
    return true;
}

/* The operator behind `last` taken in, if it is one of those. */
static bool take(fusion *f, fm_node *n) {
    double value;
    if (!n->outputs[0] || !fm_dtype_is_float(n->outputs[0]->dtype) || n->outputs[0]->dtype != f->last->dtype ||
        !fm_shape_equal(&n->outputs[0]->shape, &f->last->shape))
        return false;
    if (fm_is(n, "Add") || (fm_is(n, "Sum") && n->input_count == 2)) {
        fm_tensor *other = n->inputs[n->inputs[0] == f->last ? 1 : 0];
        bool       before = f->fused.activation == FM_ACT_NONE && !f->inputs[FM_FUSED_POST];
        return (before && take_bias(f, other)) || take_addend(f, n, other);
    }
    if (fm_is(n, "Mul") || fm_is(n, "Div")) {
        bool       first, div = fm_is(n, "Div");
        fm_tensor *x = fm_scalar_operand(n, &value, &first);
        return x == f->last && value != 0 && !(div && first) && take_scale(f, div ? 1 / value : value);
    }
    if (f->fused.activation != FM_ACT_NONE || f->inputs[FM_FUSED_POST] || n->inputs[0] != f->last) return false;
    return activation_of(n, &f->fused);
}

/* --- the fused node ----------------------------------------------------------------------------------------------- */

/* Gemm's own scaling and addend. */
static bool begin_gemm(fusion *f) {
    fm_node   *n = f->node;
    fm_tensor *c = n->input_count > 2 ? n->inputs[2] : NULL;
    float      beta = fm_node_float(n, "beta", 1);
    f->fused.alpha = fm_node_float(n, "alpha", 1);
    f->fused.transpose_x = fm_node_int(n, "transA", 0) != 0;
    f->fused.transpose_w = fm_node_int(n, "transB", 0) != 0;
    f->inputs[FM_FUSED_BIAS] = NULL;
    if (!c || beta == 0) return true;
    if (beta != 1) return false;
    if (!take_bias(f, c)) f->inputs[FM_FUSED_PRE] = c;
    return true;
}

static bool begin(fm_graph *g, fm_node *n, fusion *f) {
    bool conv = fm_is(n, "Conv"), gemm = fm_is(n, "Gemm");
    if (!conv && !gemm && !fm_is(n, "MatMul")) return false;
    *f = (fusion){ .g = g, .node = n, .last = n->outputs[0], .at = n, .fused = { .alpha = 1 } };
    f->inputs[FM_FUSED_X] = n->inputs[0];
    f->inputs[FM_FUSED_W] = n->inputs[1];
    if (n->inputs[0]->shape.rank < 2 || n->inputs[1]->shape.rank < 2) return false;
    f->channel = conv ? 1 : product_shape(f)->rank - 1;
    if (conv && n->input_count > 2) f->inputs[FM_FUSED_BIAS] = n->inputs[2];
    return !gemm || begin_gemm(f);
}

/* --- where to cut ------------------------------------------------------------------------------------------------- */

static bool stays_apart(const fm_graph *g, const fm_node *n) {
    for (uint32_t i = 0; i < g->apart_count; i++)
        if (n->outputs[0] && strcmp(g->apart[i], n->outputs[0]->name) == 0) return true;
    return false;
}

/* The first operator beyond bias and scaling is where the step could be cut; bias stays with its product. */
static void note_seam(fusion *f, const fm_node *n) {
    bool beyond = f->fused.activation != FM_ACT_NONE || f->inputs[FM_FUSED_PRE] || f->inputs[FM_FUSED_POST];
    if (!beyond || f->seam) return;
    double bytes = 4.0 * (double)fm_shape_count(&n->outputs[0]->shape);
    f->seam = true;
    FM_PUSH(f->g->arena, f->g->seams, f->g->seam_count, f->g->seam_capacity) = (fm_graph_seam){
        .step = f->node->name, .tensor = n->outputs[0]->name,
        .bytes = bytes * (f->fused.activation == FM_ACT_NONE ? 3 : 2) /* an addend is read too */
    };
}

static bool take_unless_apart(fusion *f, fm_node *n) {
    if (stays_apart(f->g, n) || !take(f, n)) return false;
    note_seam(f, n);
    return true;
}

/* Takes what follows, over at most one reshape that keeps the last axis. */
static void follow(fusion *f) {
    bool reshaped = false;
    for (;;) {
        fm_node *n = fm_only_use(f->last);
        if (!n) return;
        if (!reshaped && fm_is(n, "Reshape") && n->inputs[0] == f->last) {
            fm_tensor *before = f->last;
            fm_node   *after = fm_only_use(n->outputs[0]);
            f->last = n->outputs[0];
            if (!after || !take_unless_apart(f, after)) {
                f->last = before;
                return;
            }
            reshaped = true;
            n = after;
        } else if (!take_unless_apart(f, n)) {
            return;
        }
        f->any = true;
        f->at = n;
        f->last = n->outputs[0];
    }
}

static void finish(fusion *f) {
    fm_graph  *g = f->g;
    fm_node   *n = f->node, *before = f->at->next;
    fm_tensor *out = f->last, *direct = out;
    bool       reshaped = !fm_shape_equal(&out->shape, product_shape(f)), conv = fm_is(n, "Conv");
    fm_fused  *params = fm_arena_alloc(g->arena, sizeof *params);
    *params = f->fused;
    fm_graph_remove(g, f->at);
    if (reshaped) {
        direct = fm_graph_tensor(g, NULL);
        fm_infer_set(direct, out->dtype, product_shape(f));
    }
    fm_node *made = fm_graph_insert(g, before, conv ? &fm_op_fused_conv : &fm_op_fused_matmul, n->name, f->inputs,
                                    FM_FUSED_INPUTS, &direct, 1);
    made->params = params;
    made->attrs = n->attrs;
    made->attr_count = n->attr_count;
    if (!reshaped) return;
    fm_shape   list = { .rank = 1, .dims = { out->shape.rank } };
    fm_tensor *inputs[2] = { direct, fm_graph_constant_ints(g, NULL, &list, out->shape.dims) };
    fm_node   *view = fm_graph_insert(g, before, fm_op_find("Reshape", ""), out->name, inputs, 2, &out, 1);
    fm_set_attr(g, view, (fm_attr){ .name = "allowzero", .kind = FM_ATTR_INT, .i = 1 });
}

flashmem_status fm_pass_epilogue(fm_graph *g, flashmem_error *err) {
    (void)err;
    fm_node **nodes = fm_arena_array(g->arena, g->node_count, sizeof *nodes);
    uint32_t  count = 0;
    for (fm_node *n = g->first; n; n = n->next) nodes[count++] = n;
    for (uint32_t i = 0; i < count; i++) {
        fusion f;
        if (!nodes[i]->outputs[0] || nodes[i]->outputs[0]->producer != nodes[i] || !begin(g, nodes[i], &f)) continue;
        follow(&f);
        if (!f.any) continue;
        finish(&f);
        fm_graph_prune_before(g, f.at);
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
