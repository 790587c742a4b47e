/* Matrix products of any rank brought to the two families: x [B, M, K] with a packed weight, or rank-4 views. */
#include <string.h>

#include "compile/lower_internal.h"

/* The axes from `lead` on keep their places behind the collapsed ones. */
bool fm_lower_collapse_lead(fm_view *views, uint32_t count, uint32_t lead, uint32_t to) {
    fm_view  heads[8];
    uint32_t tail = views[0].shape.rank - lead;
    assert(count <= 8 && to + tail <= FM_MAX_RANK);
    for (uint32_t v = 0; v < count; v++) {
        heads[v] = views[v];
        heads[v].shape.rank = lead;
    }
    if (lead > 0) fm_views_collapse(heads, count);
    uint32_t have = lead > 0 ? heads[0].shape.rank : 0;
    if (have > to) return false;
    for (uint32_t v = 0; v < count; v++) {
        fm_view result = views[v];
        result.shape.rank = to + tail;
        for (uint32_t i = 0; i < to; i++) {
            bool unit = i < to - have;
            result.shape.dims[i] = unit ? 1 : heads[v].shape.dims[i - (to - have)];
            result.strides[i] = unit ? 0 : heads[v].strides[i - (to - have)];
        }
        for (uint32_t i = 0; i < tail; i++) {
            result.shape.dims[to + i] = views[v].shape.dims[lead + i];
            result.strides[to + i] = views[v].strides[lead + i];
        }
        views[v] = result;
    }
    return true;
}

flashmem_status fm_lower_vector(fm_lower *l, fm_tensor *t, int64_t n, fm_view *out, flashmem_error *err) {
    fm_shape shape = { .rank = 1, .dims = { n } };
    int64_t  count = fm_shape_count(&t->shape);
    if (count != n && count != 1)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "tensor '%s': %lld elements where %lld are expected", t->name,
                       (long long)count, (long long)n);
    if (!t->constant) {
        fm_view view;
        FM_TRY(fm_lower_view(l, t, &view, err));
        fm_shape own = { .rank = 1, .dims = { count } };
        if (!fm_view_reshape(&view, &own, &view)) {
            FM_TRY(fm_lower_dense(l, t->name, &view, &view, err));
            if (!fm_view_reshape(&view, &own, &view)) return fm_fail(err, FLASHMEM_INTERNAL, "a dense view reshapes");
        }
        view = fm_view_broadcast(&view, &shape);
        return fm_lower_dense(l, t->name, &view, out, err);
    }
    fm_arena        *a = l->graph->arena;
    const fm_recipe *r = t->constant;
    fm_shape         own = { .rank = 1, .dims = { count } };
    if (r->shape.rank != 1) r = fm_recipe_reshape(a, r, &own);
    if (count != n) r = fm_recipe_broadcast(a, r, &shape);
    fm_tensor vector = { .name = t->name, .dtype = t->dtype, .shape = shape, .constant = r };
    if (count != n && n * 4 > 64) return fm_lower_dense_weight(l, t->name, r, FLASHMEM_F32, out, err);
    FM_TRY(fm_lower_constant(l, &vector, out, err));
    return fm_view_is_dense(out) ? FLASHMEM_OK : fm_lower_dense_weight(l, t->name, r, FLASHMEM_F32, out, err);
}

/* Views of one product in a fixed order, absent ones left out, so that they collapse together. */
typedef struct product {
    fm_view  views[5];
    uint32_t count, a, b, out, pre, post;
} product;

static uint32_t put(product *p, const fm_view *view, bool present) {
    if (!present) return UINT32_MAX;
    p->views[p->count] = *view;
    return p->count++;
}

static product product_of(const fm_lower_matmul_args *m) {
    product p = { .count = 0 };
    p.a = put(&p, &m->a, true);
    p.b = put(&p, &m->b, m->weight == NULL);
    p.out = put(&p, &m->out, true);
    p.pre = put(&p, &m->epilogue.pre, m->epilogue.pre.value != FM_NONE);
    p.post = put(&p, &m->epilogue.post, m->epilogue.post.value != FM_NONE);
    return p;
}

static void product_to(const product *p, fm_lower_matmul_args *m) {
    m->a = p->views[p->a];
    if (p->b != UINT32_MAX) m->b = p->views[p->b];
    m->out = p->views[p->out];
    if (p->pre != UINT32_MAX) m->epilogue.pre = p->views[p->pre];
    if (p->post != UINT32_MAX) m->epilogue.post = p->views[p->post];
}

/* The outermost axis as a loop: one product per index. */
static flashmem_status each_outer(fm_lower *l, const fm_lower_matmul_args *m, flashmem_error *err) {
    for (int64_t i = 0; i < m->out.shape.dims[0]; i++) {
        fm_lower_matmul_args part = *m;
        product              p = product_of(m);
        for (uint32_t v = 0; v < p.count; v++) {
            fm_view *view = &p.views[v];
            *view = fm_view_slice(view, 0, i, 1, 1);
            view->shape.rank--;
            memmove(view->shape.dims, view->shape.dims + 1, view->shape.rank * sizeof *view->shape.dims);
            memmove(view->strides, view->strides + 1, view->shape.rank * sizeof *view->strides);
        }
        product_to(&p, &part);
        FM_TRY(fm_lower_matmul(l, &part, err));
    }
    return FLASHMEM_OK;
}

/* Copies make operands collapse where a loop over the outermost axis would run many small products. */
static flashmem_status copy_operands(fm_lower *l, fm_lower_matmul_args *m, bool *copied, flashmem_error *err) {
    fm_view *views[] = { &m->a, &m->epilogue.pre, &m->epilogue.post };
    *copied = false;
    for (uint32_t i = 0; i < 3; i++) {
        if (views[i]->value == FM_NONE || fm_view_is_dense(views[i])) continue;
        FM_TRY(fm_lower_dense(l, m->name, views[i], views[i], err));
        *copied = true;
    }
    return FLASHMEM_OK;
}

static flashmem_status not_collapsed(fm_lower *l, fm_lower_matmul_args *m, flashmem_error *err) {
    enum { MOST_LOOPS = 4 };
    bool copied = false;
    if (m->out.shape.dims[0] > MOST_LOOPS) FM_TRY(copy_operands(l, m, &copied, err));
    return copied ? fm_lower_matmul(l, m, err) : each_outer(l, m, err);
}

static flashmem_status emit_panels(fm_lower *l, const fm_lower_matmul_args *m, flashmem_error *err) {
    fm_matmul_desc d = { .name = m->name, .x = m->a, .out = m->out, .epilogue = m->epilogue };
    if (d.x.shape.dims[2] > 1 && d.x.strides[2] != 1)
        FM_TRY(fm_lower_dense(l, m->name, &m->a, &d.x, err)); /* fast rows read runs of K */
    FM_TRY(fm_lower_panels(l, m->weight_name, m->weight, &d.weight, err));
    return fm_emit_matmul(&l->emit, &d, err);
}

/* An image holds at most image_limit rows of K: longer sums run as several products, each adding the one before. */
static flashmem_status in_bands(fm_lower *l, const fm_lower_matmul_args *m, flashmem_error *err) {
    int64_t     k = m->weight->shape.dims[0], limit = l->image_limit;
    fm_epilogue last = m->epilogue;
    fm_view     sum = m->epilogue.pre;
    for (int64_t from = 0; from < k; from += limit) {
        int64_t              count = k - from < limit ? k - from : limit, start[2] = { from, 0 }, step[2] = { 1, 1 };
        fm_shape             shape = { .rank = 2, .dims = { count, m->weight->shape.dims[1] } };
        fm_lower_matmul_args part = *m;
        part.a = fm_view_slice(&m->a, 2, from, 1, count);
        part.weight = fm_recipe_slice(l->graph->arena, m->weight, start, step, &shape);
        if (from + count < k) {
            fm_epilogue_init(&part.epilogue);
            part.epilogue.alpha = last.alpha;
            if (from == 0) part.epilogue.bias = last.bias;
            part.out = fm_lower_temporary(l, FLASHMEM_F32, &m->out.shape);
        } else {
            part.epilogue.bias.value = FM_NONE;
        }
        part.epilogue.pre = sum;
        sum = part.out;
        FM_TRY(emit_panels(l, &part, err));
    }
    return FLASHMEM_OK;
}

flashmem_status fm_lower_matmul(fm_lower *l, const fm_lower_matmul_args *args, flashmem_error *err) {
    fm_lower_matmul_args m = *args;
    uint32_t             lead = m.out.shape.rank - 2;
    product              p = product_of(&m);
    if (m.weight) { /* rows and batch are one thing to a packed weight */
        if (!fm_lower_collapse_lead(p.views, p.count, lead + 1, 2)) return not_collapsed(l, &m, err);
        product_to(&p, &m);
        bool bands = l->layout == FLASHMEM_LAYOUT_TEXTURE && m.weight->shape.dims[0] > (int64_t)l->image_limit;
        return bands ? in_bands(l, &m, err) : emit_panels(l, &m, err);
    }
    if (!fm_lower_collapse_lead(p.views, p.count, lead, 2)) return not_collapsed(l, &m, err);
    product_to(&p, &m);
    fm_batch_matmul_desc d = { .name = m.name, .a = m.a, .b = m.b, .out = m.out, .epilogue = m.epilogue };
    return fm_emit_batch_matmul(&l->emit, &d, err);
}
