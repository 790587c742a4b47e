/* Attention (opset 23) and fm.Attention, which the attention pass makes. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/fused.h"
#include "compile/ops/infer_helpers.h"

/* --- fm.Attention ------------------------------------------------------------------------------------------------- */

static flashmem_status infer_fused(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    (void)err;
    fm_shape out = node->inputs[0]->shape;
    out.dims[out.rank - 1] = node->inputs[2]->shape.dims[out.rank - 1];
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    return FLASHMEM_OK;
}

/* Both products: scores times (D + Dv).  Over as many queries as keys a causal mask leaves half of the scores. */
static double macs_of(double heads, double queries, double keys, double d, double dv, bool causal) {
    return heads * queries * keys * (d + dv) * (causal && queries == keys ? 0.5 : 1);
}

static double macs_fused(const fm_node *node) {
    const fm_attention_params *p = node->params;
    const fm_shape            *q = &node->inputs[0]->shape, *k = &node->inputs[1]->shape, *v = &node->inputs[2]->shape;
    uint32_t                   last = q->rank - 1;
    double                     heads = (double)q->dims[0] * (double)(q->rank == 4 ? q->dims[1] : 1);
    return macs_of(heads, (double)q->dims[last - 1], (double)k->dims[p->k_transposed ? last : last - 1],
                   (double)q->dims[last], (double)v->dims[last], p->causal);
}

/* [B, S, D] as [B, 1, S, D]. */
static fm_view with_heads(const fm_view *view) {
    fm_view v = *view;
    if (v.shape.rank == 4) return v;
    assert(v.shape.rank == 3);
    v.shape.rank = 4;
    for (uint32_t i = 3; i > 1; i--) v.shape.dims[i] = v.shape.dims[i - 1], v.strides[i] = v.strides[i - 1];
    v.shape.dims[1] = 1;
    v.strides[1] = 0;
    return v;
}

static flashmem_status lower_fused(fm_lower *l, fm_node *node, flashmem_error *err) {
    static const uint32_t      swap3[3] = { 0, 2, 1 }, swap4[4] = { 0, 1, 3, 2 };
    static const uint32_t      heads_inner3[3] = { 1, 0, 2 }, heads_inner4[4] = { 0, 2, 1, 3 };
    const fm_attention_params *p = node->params;
    fm_tensor                 *mask = fm_node_input(node, 3);
    fm_view                    q, k, v, m, out;
    uint32_t                   rank = node->inputs[0]->shape.rank;
    FM_TRY(fm_lower_view(l, node->inputs[0], &q, err));
    FM_TRY(fm_lower_view(l, node->inputs[1], &k, err));
    FM_TRY(fm_lower_view(l, node->inputs[2], &v, err));
    if (p->k_transposed) k = fm_view_permute(&k, rank == 4 ? swap4 : swap3);
    fm_attention_desc d = { .name = node->name,
                            .scale = p->scale,
                            .causal = p->causal,
                            .causal_offset = p->causal_offset,
                            .window = p->window };
    d.q = with_heads(&q);
    d.k = with_heads(&k);
    d.v = with_heads(&v);
    d.mask.value = FM_NONE;
    if (mask) {
        fm_shape scores = { .rank = rank };
        for (uint32_t i = 0; i < rank; i++) scores.dims[i] = q.shape.dims[i];
        scores.dims[rank - 1] = k.shape.dims[rank - 2];
        FM_TRY(fm_lower_view(l, mask, &m, err));
        m = fm_view_broadcast(&m, &scores);
        d.mask = with_heads(&m);
    }
    /* [B, S, H, D] in memory: the transpose and reshape that follow are views */
    out = fm_lower_output(l, node->outputs[0], rank == 4 ? heads_inner4 : heads_inner3);
    d.out = with_heads(&out);
    return fm_emit_attention(&l->emit, &d, err);
}

const fm_op fm_op_fused_attention = { .name = "fm.Attention",
                                      .domain = "fm",
                                      .since = 1,
                                      .min_inputs = 3,
                                      .max_inputs = 4,
                                      .min_outputs = 1,
                                      .max_outputs = 1,
                                      .op_class = FM_OP_HIERARCHICAL,
                                      .infer = infer_fused,
                                      .lower = lower_fused,
                                      .macs = macs_fused };

/* --- Attention ---------------------------------------------------------------------------------------------------- */

/* Heads of an operand: axis 1 of rank 4, an attribute for [B, S, H * D]. */
static flashmem_status split_heads(const fm_node *node, uint32_t input, const char *attribute, fm_shape *out,
                                   flashmem_error *err) {
    const fm_tensor *t = node->inputs[input];
    char             text[160];
    if (t->shape.rank == 4) {
        *out = t->shape;
        return FLASHMEM_OK;
    }
    if (t->shape.rank != 3)
        return fm_node_fail(err, node, "tensor '%s' has shape %s, expected 3 or 4 dims", t->name,
                            fm_shape_print(&t->shape, text, sizeof text));
    int64_t heads = fm_node_int(node, attribute, 0), width = t->shape.dims[2];
    if (heads < 1 || width % heads)
        return fm_node_fail(err, node, "attribute '%s' is %" PRId64 ", tensor '%s' is %" PRId64 " wide", attribute,
                            heads, t->name, width);
    *out = (fm_shape){ .rank = 4, .dims = { t->shape.dims[0], heads, t->shape.dims[1], width / heads } };
    return FLASHMEM_OK;
}

static flashmem_status attention_shapes(const fm_node *node, fm_shape *q, fm_shape *k, fm_shape *v,
                                        flashmem_error *err) {
    FM_TRY(split_heads(node, 0, "q_num_heads", q, err));
    FM_TRY(split_heads(node, 1, "kv_num_heads", k, err));
    FM_TRY(split_heads(node, 2, "kv_num_heads", v, err));
    if (k->dims[1] < 1 || q->dims[1] % k->dims[1] || k->dims[1] != v->dims[1] || q->dims[0] != k->dims[0] ||
        k->dims[0] != v->dims[0] || q->dims[3] != k->dims[3] || k->dims[2] != v->dims[2])
        return fm_node_fail(err, node, "tensors '%s', '%s' and '%s' do not fit each other", node->inputs[0]->name,
                            node->inputs[1]->name, node->inputs[2]->name);
    return FLASHMEM_OK;
}

static flashmem_status infer_attention(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    fm_shape q, k, v, out;
    for (uint32_t i = 0; i < 3; i++) FM_TRY(fm_infer_type(node, i, FM_TYPES_FLOAT, err));
    if (fm_node_input(node, 4) || fm_node_input(node, 5))
        return fm_node_unsupported(err, node, "past_key and past_value are not handled");
    if (fm_node_input(node, 6))
        return fm_node_unsupported(err, node, "nonpad_kv_seqlen (tensor '%s') is not handled", node->inputs[6]->name);
    if (fm_node_float(node, "softcap", 0) != 0) return fm_node_unsupported(err, node, "softcap is not handled");
    FM_TRY(attention_shapes(node, &q, &k, &v, err));
    const fm_tensor *mask = fm_node_input(node, 3);
    if (mask) {
        fm_shape scores = { .rank = 4, .dims = { q.dims[0], q.dims[1], q.dims[2], k.dims[2] } }, both;
        char     a[160], b[160];
        if (!fm_shape_broadcast(&scores, &mask->shape, &both) || !fm_shape_equal(&scores, &both))
            return fm_node_fail(err, node, "mask '%s' of shape %s does not broadcast to %s", mask->name,
                                fm_shape_print(&mask->shape, a, sizeof a), fm_shape_print(&scores, b, sizeof b));
    }
    out = q;
    out.dims[3] = v.dims[3];
    if (node->inputs[0]->shape.rank == 3)
        out = (fm_shape){ .rank = 3, .dims = { q.dims[0], q.dims[2], q.dims[1] * v.dims[3] } };
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    for (uint32_t i = 1; i < node->output_count; i++)
        if (node->outputs[i]) return fm_node_unsupported(err, node, "only its first output is handled");
    return FLASHMEM_OK;
}

static double macs_attention(const fm_node *node) {
    fm_shape       q, k, v;
    flashmem_error ignored = { 0 };
    if (attention_shapes(node, &q, &k, &v, &ignored) != FLASHMEM_OK) return 0;
    return macs_of((double)q.dims[0] * (double)q.dims[1], (double)q.dims[2], (double)k.dims[2], (double)q.dims[3],
                   (double)v.dims[3], fm_node_int(node, "is_causal", 0) == 1);
}

/* [B, S, H * D] seen as [B, H, S, D]; a copy where strides do not allow it (operands only). */
static flashmem_status as_heads(fm_lower *l, const char *name, fm_view view, const fm_shape *heads, fm_view *out,
                                flashmem_error *err) {
    static const uint32_t swap[4] = { 0, 2, 1, 3 };
    if (view.shape.rank == 4) {
        *out = view;
        return FLASHMEM_OK;
    }
    fm_shape s = { .rank = 4, .dims = { heads->dims[0], heads->dims[2], heads->dims[1], heads->dims[3] } };
    if (!fm_view_reshape(&view, &s, out)) {
        FM_TRY(fm_lower_dense(l, name, &view, &view, err));
        if (!fm_view_reshape(&view, &s, out)) return fm_fail(err, FLASHMEM_INTERNAL, "a dense view reshapes");
    }
    *out = fm_view_permute(out, swap);
    return FLASHMEM_OK;
}

static flashmem_status lower_attention(fm_lower *l, fm_node *node, flashmem_error *err) {
    static const uint32_t heads_inner[4] = { 0, 2, 1, 3 };
    fm_shape              q, k, v;
    fm_view               view;
    fm_attention_desc     d = { .name = node->name, .causal = fm_node_int(node, "is_causal", 0) == 1 };
    FM_TRY(attention_shapes(node, &q, &k, &v, err));
    const fm_shape *shapes[3] = { &q, &k, &v };
    fm_view        *views[3] = { &d.q, &d.k, &d.v };
    for (uint32_t i = 0; i < 3; i++) {
        FM_TRY(fm_lower_view(l, node->inputs[i], &view, err));
        FM_TRY(as_heads(l, node->name, view, shapes[i], views[i], err));
    }
    d.scale = fm_node_float(node, "scale", (float)(1 / sqrt((double)q.dims[3])));
    d.mask.value = FM_NONE;
    fm_tensor *mask = fm_node_input(node, 3);
    if (mask) {
        fm_shape scores = { .rank = 4, .dims = { q.dims[0], q.dims[1], q.dims[2], k.dims[2] } };
        FM_TRY(fm_lower_view(l, mask, &d.mask, err));
        d.mask = fm_view_broadcast(&d.mask, &scores);
    }
    fm_shape heads = q;
    heads.dims[3] = v.dims[3];
    bool flat = node->inputs[0]->shape.rank == 3;
    view = fm_lower_output(l, node->outputs[0], flat ? NULL : heads_inner);
    FM_TRY(as_heads(l, node->name, view, &heads, &d.out, err));
    return fm_emit_attention(&l->emit, &d, err);
}

const fm_op fm_op_Attention = { .name = "Attention",
                                .domain = "",
                                .since = 23,
                                .min_inputs = 3,
                                .max_inputs = 7,
                                .min_outputs = 1,
                                .max_outputs = 4,
                                .op_class = FM_OP_HIERARCHICAL,
                                .infer = infer_attention,
                                .lower = lower_attention,
                                .macs = macs_attention };
