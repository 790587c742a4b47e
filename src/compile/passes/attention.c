/* Attention written out as products, scaling, masks and softmax becomes one fm.Attention. */
#include <math.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/attention_mask.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"

/* What was found between the softmax and the product of queries and keys. */
typedef struct pattern {
    fm_node *scores; /* MatMul(q, k^T) */
    double   scale;
    fm_mask  masks[FM_MASKS];
    uint32_t mask_count;
} pattern;

static bool last_axis(const fm_node *softmax) {
    int64_t rank = softmax->inputs[0]->shape.rank,
            axis = fm_node_int(softmax, "axis", softmax->opset > 0 && softmax->opset < 13 ? 1 : -1);
    return rank >= 2 && (axis == -1 || axis == rank - 1);
}

/* A mask as it applies to scores of any leading axes: its own leading unit axes dropped beyond the last two.  NULL when
 * it has others and the scores' rank is not its own or more. */
static fm_tensor *fit_rank(fm_graph *g, fm_node *before, fm_tensor *t, uint32_t rank) {
    fm_shape s = t->shape;
    while (s.rank > rank || (s.rank > 2 && s.dims[0] == 1)) {
        if (s.dims[0] != 1) return NULL;
        memmove(s.dims, s.dims + 1, --s.rank * sizeof *s.dims);
    }
    return fm_reshaped(g, before, t, &s);
}

static bool add_mask(pattern *p, fm_mask mask) {
    if (p->mask_count == FM_MASKS) return false;
    p->masks[p->mask_count++] = mask;
    return true;
}

static bool walk(fm_tensor *t, double factor, pattern *p, int depth);

/* Where(condition, scores, hidden) or Where(condition, hidden, scores). */
static bool walk_where(const fm_node *n, double factor, pattern *p, int depth) {
    double hidden;
    bool   visible_when = fm_is_scalar(n->inputs[2], &hidden);
    if ((!visible_when && !fm_is_scalar(n->inputs[1], &hidden)) || hidden > -9000 || factor != 1) return false;
    fm_mask mask = { .tensor = n->inputs[0], .boolean = true, .visible_when = visible_when, .hidden = hidden };
    return walk(n->inputs[visible_when ? 1 : 2], factor, p, depth) && add_mask(p, mask);
}

/* Scores plus a mask, in either order; the one that leads to a product is the scores. */
static bool walk_add(const fm_node *n, double factor, pattern *p, int depth) {
    for (uint32_t i = 0; i < 2; i++) {
        pattern    attempt = *p;
        fm_tensor *mask = n->inputs[1 - i];
        if (factor != 1 || !fm_dtype_is_float(mask->dtype)) return false;
        if (!fm_shape_equal(&n->inputs[i]->shape, &n->outputs[0]->shape)) continue;
        if (!walk(n->inputs[i], factor, &attempt, depth)) continue;
        if (!add_mask(&attempt, (fm_mask){ .tensor = mask })) return false;
        *p = attempt;
        return true;
    }
    return false;
}

/* Back from a tensor to the product of queries and keys; factor multiplies what comes. */
static bool walk(fm_tensor *t, double factor, pattern *p, int depth) {
    double   value;
    fm_node *n = t->producer;
    if (!n || depth == 0 || n->op->domain[0] || !fm_only_use(t)) return false;
    if (fm_is(n, "MatMul")) {
        p->scores = n;
        p->scale *= factor;
        return true;
    }
    if (fm_is(n, "Cast") && fm_dtype_is_float(t->dtype) && fm_dtype_is_float(n->inputs[0]->dtype))
        return walk(n->inputs[0], factor, p, depth - 1);
    if (fm_is(n, "Reshape")) { /* [B * H, S, T] as [B, H, S, T] and back: positions stay */
        const fm_shape *a = &t->shape, *b = &n->inputs[0]->shape;
        bool            same = a->rank >= 2 && b->rank >= 2 && a->dims[a->rank - 1] == b->dims[b->rank - 1] &&
                    a->dims[a->rank - 2] == b->dims[b->rank - 2];
        return same && walk(n->inputs[0], factor, p, depth - 1);
    }
    if (fm_is(n, "Mul") || fm_is(n, "Div")) {
        bool       first;
        fm_tensor *x = fm_scalar_operand(n, &value, &first);
        if (!x || value == 0 || (fm_is(n, "Div") && first)) return false;
        return walk(x, factor * (fm_is(n, "Div") ? 1 / value : value), p, depth - 1);
    }
    if (fm_is(n, "Add")) return walk_add(n, factor, p, depth - 1);
    if (fm_is(n, "Where")) return walk_where(n, factor, p, depth - 1);
    return false;
}

/* Scaling of an operand joins the scale of the scores. */
static fm_tensor *unscaled(fm_tensor *t, double *scale) {
    double value;
    for (;;) {
        fm_node   *n = t->producer;
        bool       first, div = n && fm_is(n, "Div");
        fm_tensor *x = n && (div || fm_is(n, "Mul")) && fm_only_use(t) ? fm_scalar_operand(n, &value, &first) : NULL;
        if (!x || value == 0 || (div && first)) return t;
        *scale *= div ? 1 / value : value;
        t = x;
    }
}

/* Behind Where(IsNaN(p), 0, p), casts and Dropout to the softmax. */
static fm_node *softmax_behind(fm_tensor *t) {
    if (!fm_only_use(t)) return NULL;
    for (int depth = 0; depth < 8; depth++) {
        double   value;
        fm_node *n = t->producer;
        if (!n || t->is_output) return NULL;
        if (fm_is(n, "Softmax")) return last_axis(n) ? n : NULL;
        if (fm_is(n, "Where") && fm_made_by(n->inputs[0], "IsNaN") &&
            n->inputs[0]->producer->inputs[0] == n->inputs[2] && fm_is_scalar(n->inputs[1], &value) && value == 0 &&
            n->inputs[2]->use_count == 2)
            t = n->inputs[2];
        else if ((fm_is(n, "Identity") || fm_is(n, "Dropout") || (fm_is(n, "Cast") && fm_dtype_is_float(t->dtype))) &&
                 fm_only_use(t))
            t = n->inputs[0];
        else if (fm_is(n, "Reshape") && fm_only_use(t) && t->shape.rank >= 2 && n->inputs[0]->shape.rank >= 2 &&
                 t->shape.dims[t->shape.rank - 1] == n->inputs[0]->shape.dims[n->inputs[0]->shape.rank - 1] &&
                 t->shape.dims[t->shape.rank - 2] == n->inputs[0]->shape.dims[n->inputs[0]->shape.rank - 2])
            t = n->inputs[0];
        else return NULL;
    }
    return NULL;
}

/* Keys and values repeated for groups of heads, [B, Hk, T, D] -> [B, Hk, n, T, D] -> [B, H, T, D] (or [B * H, T, D]):
 * the tensor before; t itself when it is no such thing.  heads: [B, H, T, D]. */
static fm_tensor *before_repeat(fm_tensor *t, const fm_shape *heads) {
    fm_node *reshape = fm_made_by(t, "Reshape");
    fm_node *expand = reshape ? fm_made_by(reshape->inputs[0], "Expand") : NULL;
    fm_node *unsqueeze = expand ? fm_made_by(expand->inputs[0], "Unsqueeze") : NULL;
    if (!unsqueeze && expand) unsqueeze = fm_made_by(expand->inputs[0], "Reshape");
    if (!unsqueeze || heads->rank != 4) return t;
    fm_tensor      *x = unsqueeze->inputs[0];
    const fm_shape *wide = &expand->outputs[0]->shape, *thin = &expand->inputs[0]->shape;
    if (x->shape.rank != 4 || wide->rank != 5 || thin->rank != 5) return t;
    for (uint32_t i = 0; i < 5; i++)
        if (thin->dims[i] != (i == 2 ? 1 : x->shape.dims[i < 2 ? i : i - 1])) return t;
    bool repeats = heads->dims[1] == wide->dims[1] * wide->dims[2] && heads->dims[0] == x->shape.dims[0] &&
                   heads->dims[2] == x->shape.dims[2] && heads->dims[3] == x->shape.dims[3];
    return repeats ? x : t;
}

/* Is it a transpose of the last two axes? */
static bool swaps_last(const fm_node *n) {
    uint32_t       count = 0;
    const int64_t *order = n ? fm_node_ints(n, "perm", &count) : NULL;
    if (!order || count < 2) return false;
    for (uint32_t i = 0; i + 2 < count; i++)
        if (order[i] != (int64_t)i) return false;
    return order[count - 1] == (int64_t)count - 2 && order[count - 2] == (int64_t)count - 1;
}

/* The keys behind k^T [.., D, T]: through a transpose of the last axes, alone or between reshapes of the leading ones.
 * Of kt's leading axes, [B, H, T, D], or [B * H, T, D] where they are still to be split; NULL when kt is no such thing. */
static fm_tensor *behind_transpose(fm_tensor *kt) {
    uint32_t rank = kt->shape.rank;
    fm_node *reshape = fm_made_by(kt, "Reshape"), *transpose = fm_made_by(kt, "Transpose");
    if (reshape) transpose = fm_made_by(reshape->inputs[0], "Transpose");
    if (!transpose || !swaps_last(transpose)) return NULL;
    const fm_shape *inner = &transpose->outputs[0]->shape;
    if (inner->dims[inner->rank - 1] != kt->shape.dims[rank - 1] ||
        inner->dims[inner->rank - 2] != kt->shape.dims[rank - 2])
        return NULL;
    return transpose->inputs[0];
}

/* Keys and values as the fused step reads them; they stay as they are where no copy is saved. */
static void direct_operands(fm_tensor **kt, fm_tensor **v, bool *k_transposed) {
    fm_tensor *k = behind_transpose(*kt);
    uint32_t   rank = (*kt)->shape.rank;
    fm_shape   heads = (*kt)->shape, values = (*v)->shape;
    if (!k || rank != 4) return;
    heads.dims[2] = (*kt)->shape.dims[3];
    heads.dims[3] = (*kt)->shape.dims[2];
    fm_tensor *few_k = before_repeat(k, &heads), *few_v = before_repeat(*v, &values);
    if (few_k != k && few_v != *v && few_k->shape.dims[1] == few_v->shape.dims[1]) {
        *kt = few_k;
        *v = few_v;
        *k_transposed = false;
        return;
    }
    fm_node *split = fm_made_by(k, "Reshape");
    if (!fm_shape_equal(&k->shape, &heads) && split) k = split->inputs[0];
    if (!fm_shape_equal(&k->shape, &heads)) return;
    *kt = k;
    *k_transposed = false;
}

static bool shapes_fit(const fm_tensor *q, const fm_tensor *kt, const fm_tensor *v, const fm_tensor *out) {
    uint32_t rank = q->shape.rank;
    if ((rank != 3 && rank != 4) || kt->shape.rank != rank || v->shape.rank != rank || out->shape.rank != rank)
        return false;
    for (uint32_t i = 0; i + 2 < rank; i++)
        if (q->shape.dims[i] != kt->shape.dims[i] || q->shape.dims[i] != v->shape.dims[i]) return false;
    return kt->shape.dims[rank - 1] == v->shape.dims[rank - 2] && fm_dtype_is_float(q->dtype);
}

/* x [B * H, ..] as the [B, H, ..] that it was reshaped from; NULL when it was not. */
static fm_tensor *before_merge(const fm_tensor *x) {
    fm_node *n = fm_made_by(x, "Reshape");
    if (!n) return NULL;
    const fm_shape *s = &n->inputs[0]->shape;
    bool            merges = x->shape.rank == 3 && s->rank == 4 && s->dims[0] * s->dims[1] == x->shape.dims[0] &&
                  s->dims[2] == x->shape.dims[1] && s->dims[3] == x->shape.dims[2];
    return merges ? n->inputs[0] : NULL;
}

typedef struct operands {
    fm_tensor *q, *k, *v, *out;
    bool       k_transposed;
} operands;

/* Batch and heads merged to one axis for the products are taken apart again, where all operands show how. */
static void split_heads(fm_graph *g, operands *o) {
    if (o->q->shape.rank != 3) return;
    fm_tensor *k3 = behind_transpose(o->k), *q = before_merge(o->q), *v = before_merge(o->v);
    fm_tensor *k = k3 ? before_merge(k3) : NULL;
    if (!k || !q || !v) return;
    for (uint32_t i = 0; i < 2; i++)
        if (q->shape.dims[i] != k->shape.dims[i] || q->shape.dims[i] != v->shape.dims[i]) return;
    fm_shape shape = q->shape;
    shape.dims[3] = v->shape.dims[3];
    fm_node *use = fm_only_use(o->out);
    if (use && fm_is(use, "Reshape") && use->inputs[0] == o->out && fm_shape_equal(&use->outputs[0]->shape, &shape)) {
        o->out = use->outputs[0]; /* the split that follows is the result itself */
    } else {
        fm_tensor *whole = fm_graph_tensor(g, NULL);
        fm_shape   list = { .rank = 1, .dims = { 3 } };
        fm_tensor *inputs[2] = { whole, fm_graph_constant_ints(g, NULL, &list, o->out->shape.dims) };
        fm_infer_set(whole, o->out->dtype, &shape);
        fm_node *product = o->out->producer, *before = product->next;
        fm_graph_remove(g, product);
        fm_graph_insert(g, before, product->op, product->name, product->inputs, product->input_count, &whole, 1);
        fm_graph_insert(g, before, fm_op_find("Reshape", ""), o->out->name, inputs, 2, &o->out, 1);
        o->out = whole;
    }
    o->q = q;
    o->k = k;
    o->v = v;
    o->k_transposed = false;
}

static flashmem_status fuse(fm_graph *g, fm_node *product, flashmem_error *err) {
    pattern    p = { .scale = 1 };
    operands   o = { .v = product->inputs[1], .out = product->outputs[0], .k_transposed = true };
    fm_tensor *mask;
    fm_node   *softmax = softmax_behind(product->inputs[0]);
    if (!softmax || !walk(softmax->inputs[0], 1, &p, 16)) return FLASHMEM_OK;
    o.q = unscaled(p.scores->inputs[0], &p.scale);
    o.k = unscaled(p.scores->inputs[1], &p.scale);
    if (!shapes_fit(o.q, o.k, o.v, o.out) || o.q->constant || o.k->constant) return FLASHMEM_OK;
    fm_shape   scores = p.scores->outputs[0]->shape;
    fm_tensor *split = scores.rank == 3 ? before_merge(o.q) : NULL;
    if (split) /* masks apply to [B, H, S, T] */
        scores = (fm_shape){ .rank = 4,
                             .dims = { split->shape.dims[0], split->shape.dims[1], scores.dims[1], scores.dims[2] } };
    for (uint32_t i = 0; i < p.mask_count; i++) {
        fm_shape both;
        p.masks[i].tensor = fit_rank(g, product, p.masks[i].tensor, scores.rank);
        if (!p.masks[i].tensor || !fm_shape_broadcast(&scores, &p.masks[i].tensor->shape, &both) ||
            !fm_shape_equal(&scores, &both))
            return FLASHMEM_OK;
    }
    fm_attention_params *params = fm_arena_alloc(g->arena, sizeof *params);
    bool                 done;
    params->scale = (float)p.scale;
    FM_TRY(fm_masks_resolve(g, product, p.masks, p.mask_count, &scores, o.q->dtype, &mask, params, &done, err));
    if (!done) return FLASHMEM_OK;
    if (split) {
        uint32_t mask_rank = mask ? mask->shape.rank : 0;
        split_heads(g, &o);
        if (o.q->shape.rank == 3 && mask_rank > 2) return FLASHMEM_OK;
    } else {
        direct_operands(&o.k, &o.v, &o.k_transposed);
    }
    params->k_transposed = o.k_transposed;
    fm_tensor *inputs[4] = { o.q, o.k, o.v, mask };
    fm_node   *made = fm_replace_producer(g, o.out, &fm_op_fused_attention, product->name, inputs, mask ? 4 : 3);
    made->params = params;
    return FLASHMEM_OK;
}

flashmem_status fm_pass_attention(fm_graph *g, flashmem_error *err) {
    for (fm_node *n = g->first, *next; n; n = next) {
        next = n->next;
        if (fm_is(n, "MatMul") && n->outputs[0]->producer == n) FM_TRY(fuse(g, n, err));
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
