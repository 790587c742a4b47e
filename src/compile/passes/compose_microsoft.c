/* Operators of com.microsoft that ONNX Runtime's optimiser writes for transformers, as what they were made from. */
#include <math.h>
#include <string.h>

#include "compile/ops/infer_helpers.h"
#include "compile/passes/compose.h"

static fm_tensor *plus(fm_composer *c, fm_tensor *a, fm_tensor *b) { return b ? FM_PART(c, "Add", a, b) : a; }

static void set_float(fm_composer *c, fm_tensor *made, const char *name, float value) {
    fm_set_attr(c->g, made->producer, (fm_attr){ .name = name, .kind = FM_ATTR_FLOAT, .f = value });
}

/* --- activations -------------------------------------------------------------------------------------------------- */

/* Gelu, BiasGelu and FastGelu: of x + bias; the last approximates with tanh. */
flashmem_status fm_compose_gelu(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    fm_tensor *y = FM_PART(c, "Gelu", plus(c, n->inputs[0], fm_node_input(n, 1)));
    if (strcmp(n->op_type, "FastGelu") == 0)
        fm_set_attr(c->g, y->producer, (fm_attr){ .name = "approximate", .kind = FM_ATTR_STRING, .s = "tanh" });
    fm_part_output(c, 0, y);
    return FLASHMEM_OK;
}

flashmem_status fm_compose_quick_gelu(fm_composer *c, flashmem_error *err) {
    fm_tensor *x = c->node->inputs[0];
    FM_TRY(fm_infer_type(c->node, 0, FM_TYPES_FLOAT, err));
    fm_tensor *alpha = fm_part_scalar(c, fm_node_float(c->node, "alpha", 1.702f), x->dtype);
    fm_part_output(c, 0, FM_PART(c, "Mul", x, FM_PART(c, "Sigmoid", FM_PART(c, "Mul", x, alpha))));
    return FLASHMEM_OK;
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

/* Norm of x + skip + bias; the sum is an output of its own. */
static flashmem_status skip_norm(fm_composer *c, bool rms, flashmem_error *err) {
    const fm_node *n = c->node;
    fm_tensor     *beta = rms ? NULL : fm_node_input(n, 3), *bias = fm_node_input(n, rms ? 3 : 4);
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    for (uint32_t i = 1; i < 3 && i < n->output_count; i++)
        if (n->outputs[i] && (n->outputs[i]->use_count || n->outputs[i]->is_output))
            return fm_node_unsupported(err, n, "output '%s' (a statistic) is used", n->outputs[i]->name);
    fm_tensor *sum = plus(c, FM_PART(c, "Add", n->inputs[0], n->inputs[1]), bias);
    fm_tensor *y = rms    ? FM_PART(c, "RMSNormalization", sum, n->inputs[2])
                   : beta ? FM_PART(c, "LayerNormalization", sum, n->inputs[2], beta)
                          : FM_PART(c, "LayerNormalization", sum, n->inputs[2]);
    set_float(c, y, "epsilon", fm_node_float(n, "epsilon", 1e-12f));
    fm_part_output(c, 0, y);
    fm_part_output(c, 3, sum);
    return FLASHMEM_OK;
}

flashmem_status fm_compose_skip_norm(fm_composer *c, flashmem_error *err) { return skip_norm(c, false, err); }
flashmem_status fm_compose_skip_rms_norm(fm_composer *c, flashmem_error *err) { return skip_norm(c, true, err); }

/* Rows of word, position and segment tables, added and normalised. */
flashmem_status fm_compose_embed_norm(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    fm_tensor     *ids = n->inputs[0], *segments = fm_node_input(n, 1), *table = fm_node_input(n, 4);
    fm_tensor     *at = fm_node_input(n, 8), *gamma = fm_node_input(n, 5), *beta = fm_node_input(n, 6), *positions;
    if (!fm_node_input(n, 2) || !fm_node_input(n, 3)) return fm_node_fail(err, n, "a table is missing");
    FM_TRY(fm_infer_rank(n, 0, 2, err));
    FM_TRY(fm_infer_rank(n, 3, 2, err));
    if (!gamma || !beta) return fm_node_fail(err, n, "gamma or beta is missing");
    if (n->output_count > 1 && n->outputs[1] && (n->outputs[1]->use_count || n->outputs[1]->is_output))
        return fm_node_unsupported(err, n, "output '%s' (lengths of the mask) is used", n->outputs[1]->name);
    if (at) positions = FM_PART(c, "Gather", n->inputs[3], at);
    else positions = fm_part_slice(c, n->inputs[3], 0, 0, ids->shape.dims[1]);
    fm_tensor *sum = FM_PART(c, "Add", FM_PART(c, "Gather", n->inputs[2], ids), positions);
    if (segments && table) sum = FM_PART(c, "Add", sum, FM_PART(c, "Gather", table, segments));
    fm_tensor *y = FM_PART(c, "LayerNormalization", sum, gamma, beta);
    set_float(c, y, "epsilon", fm_node_float(n, "epsilon", 1e-12f));
    fm_part_output(c, 0, y);
    fm_part_output(c, 2, sum);
    return FLASHMEM_OK;
}

/* --- products ----------------------------------------------------------------------------------------------------- */

static fm_tensor *swap_last(fm_composer *c, fm_tensor *t, uint32_t rank) {
    int64_t order[FM_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) order[i] = i;
    order[rank - 2] = rank - 1, order[rank - 1] = rank - 2;
    return fm_part_transpose(c, t, rank, order);
}

/* batch: its first axis belongs behind the batch axes that follow. */
static fm_tensor *arranged(fm_composer *c, fm_tensor *t, bool batch, bool swapped) {
    uint32_t rank = t->shape.rank;
    if (batch && rank > 2) {
        int64_t order[FM_MAX_RANK];
        for (uint32_t i = 0; i + 2 < rank; i++) order[i] = i + 1;
        order[rank - 2] = 0, order[rank - 1] = rank - 1;
        t = fm_part_transpose(c, t, rank, order);
    }
    return swapped && rank > 1 ? swap_last(c, t, rank) : t;
}

flashmem_status fm_compose_fused_matmul(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    float          alpha = fm_node_float(n, "alpha", 1);
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    fm_tensor *a = arranged(c, n->inputs[0], fm_node_int(n, "transBatchA", 0), fm_node_int(n, "transA", 0));
    fm_tensor *b = arranged(c, n->inputs[1], fm_node_int(n, "transBatchB", 0), fm_node_int(n, "transB", 0));
    fm_tensor *y = FM_PART(c, "MatMul", a, b);
    if (alpha != 1) y = FM_PART(c, "Mul", y, fm_part_scalar(c, alpha, n->inputs[0]->dtype));
    fm_part_output(c, 0, y);
    return FLASHMEM_OK;
}

/* Attributes of the node but for those of its activation. */
static void copy_attributes(fm_composer *c, fm_tensor *made) {
    for (uint32_t i = 0; i < c->node->attr_count; i++)
        if (strncmp(c->node->attrs[i].name, "activation", 10) != 0)
            fm_set_attr(c->g, made->producer, c->node->attrs[i]);
}

static flashmem_status activated(fm_composer *c, fm_tensor *t, flashmem_error *err) {
    static const char *const plain[] = { "Relu", "Tanh", "Sigmoid", "Softplus", NULL };
    const char              *name = fm_node_string(c->node, "activation", "");
    const fm_attr           *p = fm_node_attr(c->node, "activation_params");
    uint32_t                 i = 0;
    while (plain[i] && strcmp(plain[i], name) != 0) i++;
    if (plain[i]) {
        t = FM_PART(c, plain[i], t);
    } else if (strcmp(name, "LeakyRelu") == 0 && p && p->kind == FM_ATTR_FLOATS && p->count == 1) {
        t = FM_PART(c, "LeakyRelu", t);
        set_float(c, t, "alpha", p->floats[0]);
    } else if (strcmp(name, "Clip") == 0 && p && p->kind == FM_ATTR_FLOATS && p->count == 2) {
        flashmem_dtype dtype = c->node->inputs[0]->dtype;
        t = FM_PART(c, "Clip", t, fm_part_scalar(c, p->floats[0], dtype), fm_part_scalar(c, p->floats[1], dtype));
    } else if (name[0]) {
        return fm_node_unsupported(err, c->node, "activation '%s'", name);
    }
    fm_part_output(c, 0, t);
    return FLASHMEM_OK;
}

flashmem_status fm_compose_fused_gemm(fm_composer *c, flashmem_error *err) {
    fm_tensor *y = fm_part(c, "Gemm", c->node->input_count, c->node->inputs);
    copy_attributes(c, y);
    return activated(c, y, err);
}

/* The fourth input is added before the activation. */
flashmem_status fm_compose_fused_conv(fm_composer *c, flashmem_error *err) {
    fm_tensor *y = fm_part(c, "Conv", c->node->input_count > 3 ? 3 : c->node->input_count, c->node->inputs);
    copy_attributes(c, y);
    return activated(c, plus(c, y, fm_node_input(c->node, 3)), err);
}

/* --- attention ---------------------------------------------------------------------------------------------------- */

/* [batch, length, heads * size] as [batch, heads, length, size]. */
static fm_tensor *heads_first(fm_composer *c, fm_tensor *t, int64_t batch, int64_t length, int64_t heads,
                              int64_t size) {
    static const int64_t order[4] = { 0, 2, 1, 3 };
    fm_shape             shape = { .rank = 4, .dims = { batch, length, heads, size } };
    return fm_part_transpose(c, fm_part_reshape(c, t, &shape), 4, order);
}

typedef struct heads {
    int64_t    count, batch, rows, keys, size, value_size;
    fm_tensor *q, *k, *v;      /* [batch, rows or keys, count * size] */
    fm_tensor *padding, *bias; /* [batch, keys], 0 hides; added to scores; or NULL */
} heads;

static flashmem_status attend(fm_composer *c, const heads *h, flashmem_error *err) {
    static const int64_t order[4] = { 0, 2, 1, 3 };
    const fm_node       *n = c->node;
    flashmem_dtype       dtype = n->inputs[0]->dtype;
    float                scale = fm_node_float(n, "scale", 0), hidden = fm_node_float(n, "mask_filter_value", -10000);
    fm_tensor           *q = heads_first(c, h->q, h->batch, h->rows, h->count, h->size);
    fm_tensor           *k = heads_first(c, h->k, h->batch, h->keys, h->count, h->size), *mask = NULL;
    fm_tensor           *v = heads_first(c, h->v, h->batch, h->keys, h->count, h->value_size);
    fm_tensor           *scores = FM_PART(c, "MatMul", q, swap_last(c, k, 4));
    if (scale == 0) scale = (float)(1 / sqrt((double)h->size));
    scores = plus(c, FM_PART(c, "Mul", scores, fm_part_scalar(c, scale, dtype)), h->bias);
    if (h->padding) {
        fm_shape seen = { .rank = 4, .dims = { h->batch, 1, 1, h->keys } };
        if (h->padding->shape.rank != 2 || fm_shape_count(&h->padding->shape) != h->batch * h->keys)
            return fm_node_unsupported(err, n, "mask '%s' is no mask of keys, %lldx%lld", h->padding->name,
                                       (long long)h->batch, (long long)h->keys);
        mask = FM_PART(c, "CastLike", fm_part_reshape(c, h->padding, &seen), fm_part_scalar(c, 0, FLASHMEM_BOOL));
        scores = FM_PART(c, "Add", scores,
                         FM_PART(c, "Where", mask, fm_part_scalar(c, 0, dtype), fm_part_scalar(c, hidden, dtype)));
    }
    if (fm_node_int(n, "unidirectional", 0)) {
        static const fm_shape one = { .rank = 1, .dims = { 1 } };
        fm_shape              square = { .rank = 2, .dims = { h->rows, h->keys } };
        int64_t               dims[2] = { h->rows, h->keys }, offset = h->keys - h->rows + 1;
        if (fm_shape_count(&square) > (1 << 26)) return fm_node_unsupported(err, n, "more than 2^26 scores per head");
        fm_shape   list = { .rank = 1, .dims = { 2 } };
        fm_tensor *all = FM_PART(c, "Expand", fm_part_reshape(c, fm_part_scalar(c, -1e30, FLASHMEM_F32), &one),
                                 fm_graph_constant_ints(c->g, NULL, &list, dims));
        static const fm_shape scalar = { 0 };
        fm_tensor            *above = FM_PART(c, "Trilu", all, fm_graph_constant_ints(c->g, NULL, &scalar, &offset));
        scores = FM_PART(c, "Add", scores, dtype == FLASHMEM_F32 ? above : FM_PART(c, "CastLike", above, scores));
    }
    fm_tensor *seen = FM_PART(c, "Softmax", scores);
    fm_part_int(c, seen, "axis", -1);
    fm_shape   out = { .rank = 3, .dims = { h->batch, h->rows, h->count * h->value_size } };
    fm_tensor *y = fm_part_transpose(c, FM_PART(c, "MatMul", seen, v), 4, order);
    fm_part_output(c, 0, fm_part_reshape(c, y, &out));
    return FLASHMEM_OK;
}

static flashmem_status refuse_inputs(const fm_node *n, uint32_t from, uint32_t but, flashmem_error *err) {
    for (uint32_t i = from; i < n->input_count; i++)
        if (n->inputs[i] && i != but)
            return fm_node_unsupported(err, n, "input %u ('%s') is given", i, n->inputs[i]->name);
    for (uint32_t i = 1; i < n->output_count; i++)
        if (n->outputs[i]) return fm_node_unsupported(err, n, "output %u ('%s') is taken", i, n->outputs[i]->name);
    return FLASHMEM_OK;
}

static flashmem_status head_count(const fm_node *n, int64_t width, int64_t *count, flashmem_error *err) {
    *count = fm_node_int(n, "num_heads", 0);
    if (*count >= 1 && width >= 1 && width % *count == 0) return FLASHMEM_OK;
    return fm_node_fail(err, n, "%lld heads for a width of %lld", (long long)*count, (long long)width);
}

/* One product makes q, k and v. */
flashmem_status fm_compose_ms_attention(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    heads          h = { .padding = fm_node_input(n, 3), .bias = fm_node_input(n, 5) };
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_rank(n, 0, 3, err));
    FM_TRY(fm_infer_rank(n, 1, 2, err));
    FM_TRY(refuse_inputs(n, 4, 5, err));
    int64_t width = n->inputs[1]->shape.dims[1] / 3;
    if (fm_node_attr(n, "qkv_hidden_sizes") || fm_node_int(n, "do_rotary", 0) ||
        width * 3 != n->inputs[1]->shape.dims[1])
        return fm_node_unsupported(err, n, "queries and values of different sizes, or rotation");
    FM_TRY(head_count(n, width, &h.count, err));
    h.batch = n->inputs[0]->shape.dims[0], h.rows = h.keys = n->inputs[0]->shape.dims[1];
    h.size = h.value_size = width / h.count;
    fm_tensor *all = plus(c, FM_PART(c, "MatMul", n->inputs[0], n->inputs[1]), fm_node_input(n, 2));
    h.q = fm_part_slice(c, all, 2, 0, width);
    h.k = fm_part_slice(c, all, 2, width, 2 * width);
    h.v = fm_part_slice(c, all, 2, 2 * width, 3 * width);
    return attend(c, &h, err);
}

flashmem_status fm_compose_ms_multi_head(fm_composer *c, flashmem_error *err) {
    const fm_node *n = c->node;
    heads          h = { .padding = fm_node_input(n, 4), .bias = fm_node_input(n, 5) };
    fm_tensor     *bias = fm_node_input(n, 3);
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    FM_TRY(refuse_inputs(n, 6, UINT32_MAX, err));
    for (uint32_t i = 0; i < 3; i++) {
        if (!fm_node_input(n, i)) return fm_node_unsupported(err, n, "input %u is not given: packed forms", i);
        FM_TRY(fm_infer_rank(n, i, 3, err));
    }
    int64_t width = n->inputs[0]->shape.dims[2], value_width = n->inputs[2]->shape.dims[2];
    FM_TRY(head_count(n, width, &h.count, err));
    FM_TRY(head_count(n, value_width, &h.count, err));
    h.batch = n->inputs[0]->shape.dims[0], h.rows = n->inputs[0]->shape.dims[1];
    h.keys = n->inputs[1]->shape.dims[1];
    h.size = width / h.count, h.value_size = value_width / h.count;
    h.q = n->inputs[0], h.k = n->inputs[1], h.v = n->inputs[2];
    if (bias) {
        h.q = FM_PART(c, "Add", h.q, fm_part_slice(c, bias, 0, 0, width));
        h.k = FM_PART(c, "Add", h.k, fm_part_slice(c, bias, 0, width, 2 * width));
        h.v = FM_PART(c, "Add", h.v, fm_part_slice(c, bias, 0, 2 * width, 2 * width + value_width));
    }
    return attend(c, &h, err);
}
