/* MatMul, Gemm and fm.MatMul (a product with its epilogue). */
#include <inttypes.h>

#include "compile/lower_internal.h"
#include "compile/ops/fused.h"
#include "compile/ops/infer_helpers.h"

/* --- shapes ------------------------------------------------------------------------------------------------------- */

static flashmem_status mismatch(const fm_node *node, const fm_shape *a, const fm_shape *b, flashmem_error *err) {
    char x[160], y[160];
    return fm_node_fail(err, node, "tensors '%s' of shape %s and '%s' of shape %s cannot be multiplied",
                        node->inputs[0]->name, fm_shape_print(a, x, sizeof x), node->inputs[1]->name,
                        fm_shape_print(b, y, sizeof y));
}

static void swap_last(fm_shape *s, bool swap) {
    if (!swap || s->rank < 2) return;
    int64_t last = s->dims[s->rank - 1];
    s->dims[s->rank - 1] = s->dims[s->rank - 2];
    s->dims[s->rank - 2] = last;
}

static flashmem_status product_shape(const fm_node *node, fm_shape a, fm_shape b, fm_shape *out, flashmem_error *err) {
    fm_shape a0 = a, b0 = b;
    if (a.rank == 0 || b.rank == 0) return mismatch(node, &a0, &b0, err);
    bool vector_a = a.rank == 1, vector_b = b.rank == 1;
    if (vector_a) a = (fm_shape){ .rank = 2, .dims = { 1, a.dims[0] } };
    if (vector_b) b = (fm_shape){ .rank = 2, .dims = { b.dims[0], 1 } };
    if (a.dims[a.rank - 1] != b.dims[b.rank - 2]) return mismatch(node, &a0, &b0, err);
    int64_t  m = a.dims[a.rank - 2], n = b.dims[b.rank - 1];
    fm_shape batch;
    a.rank -= 2;
    b.rank -= 2;
    if (!fm_shape_broadcast(&a, &b, &batch)) return mismatch(node, &a0, &b0, err);
    if (!vector_a) batch.dims[batch.rank++] = m;
    if (!vector_b) batch.dims[batch.rank++] = n;
    *out = batch;
    return FLASHMEM_OK;
}

static flashmem_status infer_matmul(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    fm_shape out;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_same_type(node, 0, 1, err));
    FM_TRY(product_shape(node, node->inputs[0]->shape, node->inputs[1]->shape, &out, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    return FLASHMEM_OK;
}

static flashmem_status infer_gemm(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_same_type(node, 0, 1, err));
    FM_TRY(fm_infer_same_type(node, 0, 2, err));
    FM_TRY(fm_infer_rank(node, 0, 2, err));
    FM_TRY(fm_infer_rank(node, 1, 2, err));
    fm_shape a = node->inputs[0]->shape, b = node->inputs[1]->shape, out, both;
    swap_last(&a, fm_node_int(node, "transA", 0) != 0);
    swap_last(&b, fm_node_int(node, "transB", 0) != 0);
    FM_TRY(product_shape(node, a, b, &out, err));
    const fm_tensor *c = fm_node_input(node, 2);
    char             x[160], y[160];
    if (c && (!fm_shape_broadcast(&out, &c->shape, &both) || !fm_shape_equal(&out, &both)))
        return fm_node_fail(err, node, "tensor '%s' of shape %s does not broadcast to %s", c->name,
                            fm_shape_print(&c->shape, x, sizeof x), fm_shape_print(&out, y, sizeof y));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    return FLASHMEM_OK;
}

static flashmem_status infer_fused(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_fused *f = node->params;
    fm_shape        a = node->inputs[0]->shape, b = node->inputs[1]->shape, out, both;
    swap_last(&a, f->transpose_x);
    swap_last(&b, f->transpose_w);
    FM_TRY(product_shape(node, a, b, &out, err));
    for (uint32_t i = FM_FUSED_BIAS; i < FM_FUSED_INPUTS; i++) {
        const fm_tensor *t = fm_node_input(node, i);
        if (t && (!fm_shape_broadcast(&out, &t->shape, &both) || !fm_shape_equal(&out, &both)))
            return fm_node_fail(err, node, "tensor '%s' does not broadcast to the product", t->name);
    }
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    return FLASHMEM_OK;
}

/* --- multiply-accumulates ----------------------------------------------------------------------------------------- */

static double macs_of(const fm_node *node, bool transpose_x) {
    const fm_shape *x = &node->inputs[0]->shape;
    uint32_t        k = transpose_x && x->rank > 1 ? x->rank - 2 : x->rank - 1;
    return (double)fm_shape_count(&node->outputs[0]->shape) * (double)x->dims[k];
}

static double macs_matmul(const fm_node *node) { return macs_of(node, false); }
static double macs_gemm(const fm_node *node) { return macs_of(node, fm_node_int(node, "transA", 0) != 0); }
static double macs_fused(const fm_node *node) {
    const fm_fused *f = node->params;
    return macs_of(node, f->transpose_x);
}

/* --- lowering ----------------------------------------------------------------------------------------------------- */

/* What MatMul, Gemm and fm.MatMul come down to. */
typedef struct operands {
    fm_tensor *x, *w;
    fm_sides   sides;
    fm_fused   fused;
} operands;

static fm_view swap_axes(const fm_view *view) {
    uint32_t order[FM_MAX_RANK], rank = view->shape.rank;
    for (uint32_t i = 0; i < rank; i++) order[i] = i;
    order[rank - 1] = rank - 2;
    order[rank - 2] = rank - 1;
    return fm_view_permute(view, order);
}

/* Vectors become matrices; transposes apply. */
static fm_view as_matrix(fm_view view, bool column, bool transpose) {
    if (view.shape.rank == 1) {
        uint32_t at = column ? 1 : 0;
        view.shape.rank = 2;
        if (at == 0) {
            view.shape.dims[1] = view.shape.dims[0];
            view.strides[1] = view.strides[0];
        }
        view.shape.dims[at] = 1;
        view.strides[at] = 0;
        return view;
    }
    return transpose ? swap_axes(&view) : view;
}

/* The constant as one [K, N] recipe; NULL when it is none or differs from batch to batch. */
static const fm_recipe *matrix_recipe(fm_arena *arena, const fm_tensor *w, bool transpose, bool column) {
    static const uint32_t swapped[2] = { 1, 0 };
    const fm_recipe      *r = w->constant;
    if (!r || fm_shape_count(&w->shape) <= 0) return NULL;
    fm_shape flat = { .rank = 2 };
    if (w->shape.rank == 1) {
        flat.dims[column ? 0 : 1] = w->shape.dims[0];
        flat.dims[column ? 1 : 0] = 1;
        return fm_recipe_reshape(arena, r, &flat);
    }
    for (uint32_t i = 0; i + 2 < w->shape.rank; i++)
        if (w->shape.dims[i] != 1) return NULL;
    flat.dims[0] = w->shape.dims[w->shape.rank - 2];
    flat.dims[1] = w->shape.dims[w->shape.rank - 1];
    if (w->shape.rank != 2) r = fm_recipe_reshape(arena, r, &flat);
    return transpose ? fm_recipe_transpose(arena, r, swapped) : r;
}

/* The output with the axes that vectors lost put back. */
static fm_view full_output(const fm_view *out, bool vector_x, bool vector_w) {
    fm_view full = *out;
    if (vector_w) {
        full.shape.dims[full.shape.rank] = 1;
        full.strides[full.shape.rank++] = 0;
    }
    if (vector_x) {
        uint32_t at = full.shape.rank - 1;
        full.shape.dims[full.shape.rank] = full.shape.dims[at];
        full.strides[full.shape.rank++] = full.strides[at];
        full.shape.dims[at] = 1;
        full.strides[at] = 0;
    }
    return full;
}

static fm_shape batch_of(const fm_shape *full, int64_t rows, int64_t columns) {
    fm_shape s = *full;
    s.dims[s.rank - 2] = rows;
    s.dims[s.rank - 1] = columns;
    return s;
}

static flashmem_status lower_product(fm_lower *l, fm_node *node, const operands *o, flashmem_error *err) {
    fm_tensor           *t = node->outputs[0];
    bool                 vector_x = o->x->shape.rank == 1, vector_w = o->w->shape.rank == 1;
    bool                 tx = o->fused.transpose_x && !vector_x, tw = o->fused.transpose_w && !vector_w;
    fm_arena            *arena = l->graph->arena;
    fm_lower_matmul_args m = { .name = node->name };
    const fm_recipe     *left = NULL;
    m.weight = matrix_recipe(arena, o->w, tw, true);
    m.weight_name = o->w->name;
    if (!m.weight && !o->sides.bias) left = matrix_recipe(arena, o->x, tx, false);
    if (!left) {
        FM_TRY(fm_lower_view(l, o->x, &m.a, err));
        m.a = as_matrix(m.a, false, tx);
    }
    if (!m.weight) {
        FM_TRY(fm_lower_view(l, o->w, &m.b, err));
        m.b = as_matrix(m.b, true, tw);
    }
    fm_view out = fm_lower_output(l, t, NULL);
    m.out = full_output(&out, vector_x, vector_w);
    if (vector_x || vector_w) assert(!o->sides.pre && !o->sides.post);
    fm_shape full = m.out.shape;
    FM_TRY(fm_lower_epilogue(l, &o->fused, &o->sides, full.dims[full.rank - 1], &full, &m.epilogue, err));
    int64_t k = left ? left->shape.dims[1] : m.a.shape.dims[m.a.shape.rank - 1];
    if (!left) {
        fm_shape s = batch_of(&full, full.dims[full.rank - 2], k);
        m.a = fm_view_broadcast(&m.a, &s);
    }
    if (!m.weight) {
        fm_shape s = batch_of(&full, k, full.dims[full.rank - 1]);
        m.b = fm_view_broadcast(&m.b, &s);
    }
    if (left) { /* (x w)^T = w^T x^T: the constant is the packed side */
        static const uint32_t swapped[2] = { 1, 0 };
        m.a = swap_axes(&m.b);
        m.out = swap_axes(&m.out);
        if (m.epilogue.pre.value != FM_NONE) m.epilogue.pre = swap_axes(&m.epilogue.pre);
        if (m.epilogue.post.value != FM_NONE) m.epilogue.post = swap_axes(&m.epilogue.post);
        m.weight = fm_recipe_transpose(arena, left, swapped);
        m.weight_name = o->x->name;
    }
    return fm_lower_matmul(l, &m, err);
}

static flashmem_status lower_matmul(fm_lower *l, fm_node *node, flashmem_error *err) {
    operands o = { .x = node->inputs[0], .w = node->inputs[1], .fused = { .alpha = 1 } };
    return lower_product(l, node, &o, err);
}

/* beta * C, as a bias where it is one row of constants, else as an addend of the output's shape. */
static flashmem_status gemm_addend(fm_lower *l, fm_node *node, operands *o, flashmem_error *err) {
    fm_tensor *c = fm_node_input(node, 2);
    float      beta = fm_node_float(node, "beta", 1);
    if (!c || beta == 0) return FLASHMEM_OK;
    if (beta != 1 && c->constant) {
        fm_shape         scalar = { 0 };
        const fm_recipe *factor = fm_recipe_memory(l->graph->arena, FLASHMEM_F32, &scalar, &beta);
        const fm_recipe *r = fm_recipe_cast(l->graph->arena, c->constant, FLASHMEM_F32);
        c = fm_graph_constant(l->graph, NULL, fm_recipe_scale(l->graph->arena, r, factor));
    } else if (beta != 1) {
        fm_elementwise_desc d = { .name = node->name,
                                  .expression = "a0*c0",
                                  .vector_safe = true,
                                  .input_count = 1,
                                  .constant_count = 1,
                                  .constants = { beta } };
        fm_tensor          *scaled = fm_graph_tensor(l->graph, NULL);
        fm_infer_set(scaled, c->dtype, &c->shape);
        FM_TRY(fm_lower_view(l, c, &d.inputs[0], err));
        d.out = fm_lower_output(l, scaled, NULL);
        FM_TRY(fm_emit_elementwise(&l->emit, &d, err));
        c = scaled;
    }
    bool row = c->shape.rank < 2 || c->shape.dims[0] == 1;
    if (row && c->constant) o->sides.bias = c;
    else o->sides.pre = c;
    return FLASHMEM_OK;
}

static flashmem_status lower_gemm(fm_lower *l, fm_node *node, flashmem_error *err) {
    operands o = { .x = node->inputs[0], .w = node->inputs[1], .fused = { .alpha = fm_node_float(node, "alpha", 1) } };
    o.fused.transpose_x = fm_node_int(node, "transA", 0) != 0;
    o.fused.transpose_w = fm_node_int(node, "transB", 0) != 0;
    FM_TRY(gemm_addend(l, node, &o, err));
    return lower_product(l, node, &o, err);
}

static flashmem_status lower_fused(fm_lower *l, fm_node *node, flashmem_error *err) {
    const fm_fused *f = node->params;
    operands        o = {
               .x = node->inputs[FM_FUSED_X], .w = node->inputs[FM_FUSED_W], .sides = fm_fused_sides(node), .fused = *f
    };
    return lower_product(l, node, &o, err);
}

const fm_op fm_op_MatMul = { .name = "MatMul",
                             .domain = "",
                             .since = 1,
                             .min_inputs = 2,
                             .max_inputs = 2,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .op_class = FM_OP_REUSABLE,
                             .infer = infer_matmul,
                             .lower = lower_matmul,
                             .macs = macs_matmul };
const fm_op fm_op_Gemm = { .name = "Gemm",
                           .domain = "",
                           .since = 7,
                           .min_inputs = 2,
                           .max_inputs = 3,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .op_class = FM_OP_REUSABLE,
                           .infer = infer_gemm,
                           .lower = lower_gemm,
                           .macs = macs_gemm };
const fm_op fm_op_fused_matmul = { .name = "fm.MatMul",
                                   .domain = "fm",
                                   .since = 1,
                                   .min_inputs = 2,
                                   .max_inputs = FM_FUSED_INPUTS,
                                   .min_outputs = 1,
                                   .max_outputs = 1,
                                   .op_class = FM_OP_REUSABLE,
                                   .infer = infer_fused,
                                   .lower = lower_fused,
                                   .macs = macs_fused };
