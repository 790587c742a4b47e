/* LSTM, GRU and RNN, unrolled: one product of the whole sequence with W, then one product per step with R. */
#include <string.h>

#include "compile/ops/infer_helpers.h"
#include "compile/passes/compose.h"

enum { MOST_STEPS = 1024 };

/* x [steps, batch, inputs], w [ways, gates * hidden, inputs], r [ways, gates * hidden, hidden]. */
typedef struct recurrent {
    fm_composer   *c;
    const fm_node *n;
    int64_t        gates, steps, batch, inputs, hidden, ways;
    bool           backward_only;
    fm_tensor     *h0, *c0;
} recurrent;

/* One direction of it. */
typedef struct way {
    const recurrent *l;
    fm_tensor       *rt;          /* [hidden, gates * hidden] */
    fm_tensor       *x;           /* x W^T + biases, [steps, batch, gates * hidden] */
    fm_tensor       *hidden_bias; /* GRU: of the last gate, inside the reset; or NULL */
    fm_tensor       *h, *cell;    /* [batch, hidden]; NULL: zeros */
} way;

static flashmem_status expect(const fm_node *n, uint32_t input, uint32_t rank, const int64_t *dims,
                              flashmem_error *err) {
    fm_tensor *t = fm_node_input(n, input);
    fm_shape   wanted = { .rank = rank };
    char       found[128], text[128];
    if (!t) return FLASHMEM_OK;
    memcpy(wanted.dims, dims, rank * sizeof *dims);
    FM_TRY(fm_infer_same_type(n, 0, input, err));
    if (fm_shape_equal(&t->shape, &wanted)) return FLASHMEM_OK;
    return fm_node_fail(err, n, "tensor '%s' is %s, expected %s", t->name,
                        fm_shape_print(&t->shape, found, sizeof found), fm_shape_print(&wanted, text, sizeof text));
}

/* Lengths of the sequences must be constant and the whole length. */
static flashmem_status check_lengths(const recurrent *l, flashmem_error *err) {
    fm_tensor *t = fm_node_input(l->n, 4);
    int64_t    values[1024];
    uint32_t   count = 0;
    if (!t) return FLASHMEM_OK;
    bool known = t->constant && fm_tensor_ints(t, values, 1024, &count);
    for (uint32_t i = 0; i < count; i++) known = known && values[i] == l->steps;
    return known ? FLASHMEM_OK : fm_node_unsupported(err, l->n, "sequences of different lengths");
}

static flashmem_status check_attributes(const fm_node *n, flashmem_error *err) {
    static const char *const refused[] = { "clip", "activation_alpha", "activation_beta" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (fm_node_attr(n, refused[i])) return fm_node_unsupported(err, n, "attribute '%s'", refused[i]);
    if (fm_node_int(n, "input_forget", 0)) return fm_node_unsupported(err, n, "input_forget");
    if (fm_node_int(n, "layout", 0)) return fm_node_unsupported(err, n, "layout 1: batch first");
    return FLASHMEM_OK;
}

/* The activations must be these, per direction. */
static flashmem_status check_activations(const recurrent *l, uint32_t count, const char *const *names,
                                         flashmem_error *err) {
    const fm_attr *a = fm_node_attr(l->n, "activations");
    if (!a) return FLASHMEM_OK;
    for (uint32_t i = 0; i < a->count; i++)
        if (!a->strings[i] || strcmp(a->strings[i], names[i % count]) != 0)
            return fm_node_unsupported(err, l->n, "activation '%s' in place %u", a->strings[i] ? a->strings[i] : "", i);
    return FLASHMEM_OK;
}

static flashmem_status describe(recurrent *l, fm_composer *c, int64_t gates, flashmem_error *err) {
    const fm_node   *n = c->node;
    const char      *direction = fm_node_string(n, "direction", "forward");
    const fm_tensor *x = n->inputs[0], *r = n->inputs[2];
    *l = (recurrent){ .c = c, .n = n, .gates = gates };
    FM_TRY(check_attributes(n, err));
    FM_TRY(fm_infer_type(n, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_rank(n, 0, 3, err));
    FM_TRY(fm_infer_rank(n, 1, 3, err));
    FM_TRY(fm_infer_rank(n, 2, 3, err));
    l->backward_only = strcmp(direction, "reverse") == 0;
    l->ways = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    l->steps = x->shape.dims[0], l->batch = x->shape.dims[1], l->inputs = x->shape.dims[2];
    l->hidden = r->shape.dims[2];
    if (fm_node_int(n, "hidden_size", l->hidden) != l->hidden || l->hidden < 1 || l->hidden > (1 << 20))
        return fm_node_fail(err, n, "hidden_size differs from tensor '%s'", r->name);
    if (l->steps < 1 || l->steps > MOST_STEPS)
        return fm_node_unsupported(err, n, "%lld steps: 1 to %d are handled", (long long)l->steps, MOST_STEPS);
    FM_TRY(expect(n, 1, 3, (int64_t[]){ l->ways, gates * l->hidden, l->inputs }, err));
    FM_TRY(expect(n, 2, 3, (int64_t[]){ l->ways, gates * l->hidden, l->hidden }, err));
    FM_TRY(expect(n, 3, 2, (int64_t[]){ l->ways, 2 * gates * l->hidden }, err));
    FM_TRY(expect(n, 5, 3, (int64_t[]){ l->ways, l->batch, l->hidden }, err));
    FM_TRY(expect(n, 6, 3, (int64_t[]){ l->ways, l->batch, l->hidden }, err));
    l->h0 = fm_node_input(n, 5);
    l->c0 = fm_node_input(n, 6);
    return check_lengths(l, err);
}

/* t [ways, a, b] at one way: [a, b], or [b, a]; likewise of rank 2. */
static fm_tensor *part_of(const recurrent *l, fm_tensor *t, int64_t index, bool transposed) {
    static const int64_t swapped[2] = { 1, 0 };
    fm_shape             shape = { .rank = t->shape.rank - 1 };
    memcpy(shape.dims, t->shape.dims + 1, shape.rank * sizeof *shape.dims);
    if (t->shape.dims[0] != 1) t = fm_part_slice(l->c, t, 0, index, index + 1);
    t = fm_part_reshape(l->c, t, &shape);
    return transposed ? fm_part_transpose(l->c, t, 2, swapped) : t;
}

/* keep: gates at the end whose recurrent bias stays apart. */
static way begin(const recurrent *l, int64_t index, int64_t keep) {
    fm_composer *c = l->c;
    way          w = { .l = l };
    int64_t      width = l->gates * l->hidden, joined = (l->gates - keep) * l->hidden;
    fm_tensor   *b = fm_node_input(l->n, 3);
    w.rt = part_of(l, l->n->inputs[2], index, true);
    w.x = FM_PART(c, "MatMul", l->n->inputs[0], part_of(l, l->n->inputs[1], index, true));
    if (b) {
        b = part_of(l, b, index, false);
        fm_tensor *sum = FM_PART(c, "Add", fm_part_slice(c, b, 0, 0, joined),
                                 fm_part_slice(c, b, 0, width, width + joined));
        if (keep) {
            sum = fm_part_concat(c, 0, 2, (fm_tensor *[]){ sum, fm_part_slice(c, b, 0, joined, width) });
            w.hidden_bias = fm_part_slice(c, b, 0, width + joined, 2 * width);
        }
        w.x = FM_PART(c, "Add", w.x, sum);
    }
    if (l->h0) w.h = part_of(l, l->h0, index, false);
    if (l->c0) w.cell = part_of(l, l->c0, index, false);
    return w;
}

static fm_tensor *x_at(const way *w, int64_t step) {
    const recurrent *l = w->l;
    fm_shape         shape = { .rank = 2, .dims = { l->batch, l->gates * l->hidden } };
    return fm_part_reshape(l->c, fm_part_slice(l->c, w->x, 0, step, step + 1), &shape);
}

static fm_tensor *gate(const way *w, fm_tensor *all, int64_t index) {
    return fm_part_slice(w->l->c, all, 1, index * w->l->hidden, (index + 1) * w->l->hidden);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

typedef void step(way *w, int64_t at);

static void lstm_step(way *w, int64_t at) {
    fm_composer *c = w->l->c;
    fm_tensor   *all = x_at(w, at);
    if (w->h) all = FM_PART(c, "Add", FM_PART(c, "MatMul", w->h, w->rt), all);
    fm_tensor *in = FM_PART(c, "Sigmoid", gate(w, all, 0)), *out = FM_PART(c, "Sigmoid", gate(w, all, 1));
    fm_tensor *forget = FM_PART(c, "Sigmoid", gate(w, all, 2)), *made = FM_PART(c, "Tanh", gate(w, all, 3));
    fm_tensor *cell = FM_PART(c, "Mul", in, made);
    w->cell = w->cell ? FM_PART(c, "Add", FM_PART(c, "Mul", forget, w->cell), cell) : cell;
    w->h = FM_PART(c, "Mul", out, FM_PART(c, "Tanh", w->cell));
}

static void gru_step(way *w, int64_t at) {
    const recurrent *l = w->l;
    fm_composer     *c = l->c;
    int64_t          two = 2 * l->hidden, three = 3 * l->hidden;
    bool             after = fm_node_int(l->n, "linear_before_reset", 0) != 0;
    fm_tensor       *all = x_at(w, at), *update_reset = fm_part_slice(c, all, 1, 0, two), *made = gate(w, all, 2);
    fm_tensor       *rt_hidden = fm_part_slice(c, w->rt, 1, two, three), *inner = w->hidden_bias;
    if (w->h)
        update_reset = FM_PART(c, "Add", FM_PART(c, "MatMul", w->h, fm_part_slice(c, w->rt, 1, 0, two)), update_reset);
    update_reset = FM_PART(c, "Sigmoid", update_reset);
    fm_tensor *update = gate(w, update_reset, 0), *reset = gate(w, update_reset, 1);
    if (after) {
        if (w->h) {
            fm_tensor *product = FM_PART(c, "MatMul", w->h, rt_hidden);
            inner = inner ? FM_PART(c, "Add", product, inner) : product;
        }
        if (inner) made = FM_PART(c, "Add", made, FM_PART(c, "Mul", reset, inner));
    } else {
        if (w->h) made = FM_PART(c, "Add", FM_PART(c, "MatMul", FM_PART(c, "Mul", reset, w->h), rt_hidden), made);
    }
    made = FM_PART(c, "Tanh", made);
    fm_tensor *fresh = FM_PART(c, "Mul", FM_PART(c, "Sub", fm_part_scalar(c, 1, l->n->inputs[0]->dtype), update), made);
    w->h = w->h ? FM_PART(c, "Add", fresh, FM_PART(c, "Mul", update, w->h)) : fresh;
}

static void rnn_step(way *w, int64_t at) {
    fm_composer   *c = w->l->c;
    const fm_attr *a = fm_node_attr(w->l->n, "activations");
    fm_tensor     *all = x_at(w, at);
    if (w->h) all = FM_PART(c, "Add", FM_PART(c, "MatMul", w->h, w->rt), all);
    w->h = FM_PART(c, a && a->count ? a->strings[0] : "Tanh", all);
}

/* --- whole -------------------------------------------------------------------------------------------------------- */

/* Outputs: Y [steps, ways, batch, hidden], Y_h and Y_c [ways, batch, hidden]. */
static void unroll(recurrent *l, int64_t keep, step *one) {
    fm_composer *c = l->c;
    fm_tensor   *all[2], *last[2], *cells[2] = { NULL };
    fm_tensor  **made = fm_arena_array(c->g->arena, (size_t)l->steps, sizeof(fm_tensor *));
    fm_shape     each = { .rank = 4, .dims = { 1, 1, l->batch, l->hidden } };
    fm_shape     state = { .rank = 3, .dims = { 1, l->batch, l->hidden } };
    for (int64_t i = 0; i < l->ways; i++) {
        way  w = begin(l, i, keep);
        bool backward = l->backward_only || i == 1;
        for (int64_t s = 0; s < l->steps; s++) {
            int64_t at = backward ? l->steps - 1 - s : s;
            one(&w, at);
            made[at] = fm_part_reshape(c, w.h, &each);
        }
        all[i] = fm_part_concat(c, 0, (uint32_t)l->steps, made);
        last[i] = fm_part_reshape(c, w.h, &state);
        if (w.cell) cells[i] = fm_part_reshape(c, w.cell, &state);
    }
    uint32_t ways = (uint32_t)l->ways;
    fm_part_output(c, 0, fm_part_concat(c, 1, ways, all));
    fm_part_output(c, 1, fm_part_concat(c, 0, ways, last));
    if (cells[0]) fm_part_output(c, 2, fm_part_concat(c, 0, ways, cells));
}

flashmem_status fm_compose_lstm(fm_composer *c, flashmem_error *err) {
    static const char *const names[3] = { "Sigmoid", "Tanh", "Tanh" };
    recurrent                l;
    FM_TRY(describe(&l, c, 4, err));
    FM_TRY(check_activations(&l, 3, names, err));
    if (fm_node_input(c->node, 7)) return fm_node_unsupported(err, c->node, "peepholes");
    unroll(&l, 0, lstm_step);
    return FLASHMEM_OK;
}

flashmem_status fm_compose_gru(fm_composer *c, flashmem_error *err) {
    static const char *const names[2] = { "Sigmoid", "Tanh" };
    recurrent                l;
    FM_TRY(describe(&l, c, 3, err));
    FM_TRY(check_activations(&l, 2, names, err));
    unroll(&l, fm_node_int(c->node, "linear_before_reset", 0) ? 1 : 0, gru_step);
    return FLASHMEM_OK;
}

flashmem_status fm_compose_rnn(fm_composer *c, flashmem_error *err) {
    const fm_attr *a = fm_node_attr(c->node, "activations");
    recurrent      l;
    FM_TRY(describe(&l, c, 1, err));
    if (a && a->count) {
        if (!a->strings[0] || (strcmp(a->strings[0], "Tanh") != 0 && strcmp(a->strings[0], "Relu") != 0))
            return fm_node_unsupported(err, c->node, "activation '%s'", a->strings[0] ? a->strings[0] : "");
        FM_TRY(check_activations(&l, 1, (const char *const[]){ a->strings[0] }, err));
    }
    unroll(&l, 0, rnn_step);
    return FLASHMEM_OK;
}
