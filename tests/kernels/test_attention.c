/* Attention against the host in double precision: head layouts, masks, causal and sliding windows, grouped heads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

enum { NO_MASK, ADDED, BOOLS, MINUS_INFINITY };
enum {
    HEADS_OUTER /* [B, H, S, D] */,
    HEADS_INNER /* [B, S, H, D] */,
    PACKED /* q, k, v in [B, S, 3, H, D] */,
    REVERSED
};

typedef struct attention_case {
    int64_t  b, h, hk, s, t, d, dv;
    int      layout, mask;
    uint32_t broadcast; /* of the mask */
    bool     causal;
    int64_t  offset, window;
} attention_case;

static const attention_case cases[] = {
    { 1, 1, 1, 1, 1, 1, 1, HEADS_OUTER, NO_MASK, 0, false, 0, 0 },
    { 1, 2, 2, 3, 5, 4, 3, HEADS_OUTER, ADDED, 0, false, 0, 0 },
    { 2, 2, 1, 17, 17, 16, 16, HEADS_INNER, NO_MASK, 0, true, 0, 0 },
    { 2, 3, 3, 7, 33, 8, 20, HEADS_INNER, BOOLS, 3, false, 0, 0 },
    { 1, 4, 2, 18, 40, 24, 24, REVERSED, BOOLS, 7, true, 22, 9 },
    { 1, 2, 2, 35, 35, 16, 16, PACKED, MINUS_INFINITY, 3, false, 0, 0 },
    { 2, 1, 1, 33, 20, 5, 7, HEADS_OUTER, MINUS_INFINITY, 7, false, 0, 0 },
    { 1, 1, 1, 20, 30, 3, 2, HEADS_OUTER, NO_MASK, 0, true, -5, 0 }, /* the first five rows see nothing */
    { 1, 1, 1, 40, 40, 16, 16, HEADS_OUTER, NO_MASK, 0, true, 0, 4 },
    { 1, 1, 1, 24, 50, 16, 16, HEADS_OUTER, NO_MASK, 0, false, 10, 6 }, /* a window open to the right */
    { 1, 2, 2, 1, 70, 32, 32, HEADS_INNER, NO_MASK, 0, true, 69, 0 },   /* a step with a cache */
    { 1, 2, 2, 49, 65, 64, 64, PACKED, ADDED, 13, false, 0, 0 },
    { 1, 2, 2, 34, 67, 33, 65, HEADS_INNER, ADDED, 1, true, 33, 40 },
    { 1, 1, 1, 19, 37, 256, 256, HEADS_OUTER, NO_MASK, 0, false, 0, 0 },
    { 1, 1, 1, 19, 37, 300, 300, HEADS_OUTER, NO_MASK, 0, false, 0, 0 },
    { 1, 12, 12, 197, 197, 64, 64, PACKED, NO_MASK, 0, false, 0, 0 },
    { 2, 12, 12, 128, 128, 64, 64, HEADS_INNER, NO_MASK, 0, true, 0, 0 },
    { 2, 12, 12, 128, 128, 32, 32, HEADS_INNER, BOOLS, 6, false, 0, 0 },
    { 1, 8, 2, 300, 700, 64, 64, HEADS_OUTER, NO_MASK, 0, true, 400, 256 },
};

static fm_view heads(fm_rows_case *c, const attention_case *t, int64_t h, int64_t s, int64_t d) {
    static const uint32_t swap[4] = { 0, 2, 1, 3 };
    const int64_t         outer[4] = { t->b, h, s, d }, inner[4] = { t->b, s, h, d };
    if (t->layout == HEADS_OUTER || t->layout == REVERSED)
        return fm_rows_view(c, FLASHMEM_F32, 4, outer, t->layout == REVERSED ? FM_REVERSED : FM_GAPPED, 0);
    fm_view view = fm_rows_view(c, FLASHMEM_F32, 4, inner, FM_DENSE, 0);
    return fm_view_permute(&view, swap);
}

static void operands(fm_rows_case *c, const attention_case *t, fm_attention_desc *d) {
    static const uint32_t to_front[5] = { 2, 0, 3, 1, 4 }; /* [3, B, H, S, D] */
    d->out = heads(c, t, t->h, t->s, t->dv);
    if (t->layout != PACKED) {
        d->q = heads(c, t, t->h, t->s, t->d);
        d->k = heads(c, t, t->hk, t->t, t->d);
        d->v = heads(c, t, t->hk, t->t, t->dv);
        return;
    }
    const int64_t dims[5] = { t->b, t->t, 3, t->h, t->d };
    fm_view       packed = fm_rows_view(c, FLASHMEM_F32, 5, dims, FM_DENSE, 0), *parts[3] = { &d->q, &d->k, &d->v };
    packed = fm_view_permute(&packed, to_front);
    for (int i = 0; i < 3; i++) {
        fm_view part = fm_view_slice(&packed, 0, i, 1, 1);
        *parts[i] = (fm_view){
            .value = part.value, .dtype = part.dtype, .offset = part.offset, .shape = { .rank = 4 }
        };
        memcpy(parts[i]->shape.dims, &part.shape.dims[1], 4 * sizeof(int64_t));
        memcpy(parts[i]->strides, &part.strides[1], 4 * sizeof(int64_t));
    }
    d->q.shape.dims[2] = t->s;
}

/* index: b, h, s; out: the row's Dv elements; scores: T of them. */
static void attention_row(const fm_rows_case *c, const attention_case *t, const fm_attention_desc *d,
                          const int64_t *index, double *out, double *scores) {
    double  top = -INFINITY, total = 0;
    int64_t s = index[2], group = t->h / t->hk;
    for (int64_t k = 0; k < t->t; k++) {
        bool seen = (!t->causal || k <= s + t->offset) && (t->window <= 0 || k > s + t->offset - t->window);
        scores[k] = 0;
        for (int64_t i = 0; i < t->d; i++)
            scores[k] += fm_rows_at(c, &d->q, (int64_t[]){ index[0], index[1], s, i }) *
                         fm_rows_at(c, &d->k, (int64_t[]){ index[0], index[1] / group, k, i });
        scores[k] *= (double)d->scale;
        double mask = t->mask == NO_MASK ? 0 : fm_rows_at(c, &d->mask, (int64_t[]){ index[0], index[1], s, k });
        scores[k] = t->mask == BOOLS ? (mask != 0 ? scores[k] : -INFINITY) : scores[k] + mask;
        if (!seen) scores[k] = -INFINITY;
        top = fmax(top, scores[k]);
    }
    for (int64_t i = 0; i < t->dv; i++) out[i] = 0;
    if (top == -INFINITY) return;
    for (int64_t k = 0; k < t->t; k++) total += exp(scores[k] - top);
    for (int64_t k = 0; k < t->t; k++)
        for (int64_t i = 0; i < t->dv; i++)
            out[i] += exp(scores[k] - top) / total *
                      fm_rows_at(c, &d->v, (int64_t[]){ index[0], index[1] / group, k, i });
}

static void check(const attention_case *t) {
    fm_rows_case c;
    int64_t      rows = t->b * t->h * t->s;
    double      *want = malloc((size_t)(rows * t->dv) * sizeof *want), *scores = malloc((size_t)t->t * sizeof *scores);
    fm_rows_open(&c, "attention b%d h%d/%d s%d t%d d%d/%d layout %d mask %d", (int)t->b, (int)t->h, (int)t->hk,
                 (int)t->s, (int)t->t, (int)t->d, (int)t->dv, t->layout, t->mask);
    fm_attention_desc d = { .name = "attention",
                            .mask = fm_rows_absent(),
                            .scale = 2.0f / sqrtf((float)t->d),
                            .causal = t->causal,
                            .causal_offset = t->offset,
                            .window = t->window };
    operands(&c, t, &d);
    const int64_t mask[4] = { t->b, t->h, t->s, t->t };
    int64_t       index[4] = { 0 }, i = 0;
    if (t->mask != NO_MASK)
        d.mask = fm_rows_view(&c, t->mask == BOOLS ? FLASHMEM_BOOL : FLASHMEM_F32, 4, mask, FM_GAPPED, t->broadcast);
    if (t->mask == MINUS_INFINITY) do
            fm_rows_set(&c, &d.mask, index, index[2] == 1 || index[0] == 1 || i++ % 3 == 0 ? -INFINITY : 0);
        while (fm_rows_next(&d.mask.shape, index));
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at[3] = { row / t->s / t->h, row / t->s % t->h, row % t->s };
        attention_row(&c, t, &d, at, want + row * t->dv, scores);
    }
    fm_rows_check(&c, FM_FAMILY_ATTENTION, &d, &d.out, want, 5e-6);
    fm_rows_close(&c);
    free(want);
    free(scores);
}

static void test_attention__rows_match_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (!fm_rows_small() || cases[i].s * cases[i].t * cases[i].d < 50000) check(&cases[i]);
}

static void test_attention__refuses(void **state) {
    const attention_case good = { 1, 4, 4, 3, 3, 8, 8, HEADS_OUTER, NO_MASK, 0, false, 0, 0 };
    const int64_t        mask[4] = { 1, 4, 3, 4 }, three[4] = { 1, 3, 3, 8 };
    fm_rows_case         c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_attention_desc d = { .name = "a", .mask = fm_rows_absent(), .scale = 1 }, e;
    operands(&c, &good, &d);
    e = d, e.mask = fm_rows_view(&c, FLASHMEM_F32, 4, mask, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_ATTENTION, &e, "mask is 1x4x3x4, wanted 1x4x3x3");
    e = d, e.k = e.v = fm_rows_view(&c, FLASHMEM_F32, 4, three, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_ATTENTION, &e, "k does not fit q");
    e = d, e.v.shape.dims[2] = 2;
    fm_rows_refuses(&c, FM_FAMILY_ATTENTION, &e, "v does not fit k");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_attention__rows_match_the_host),
                                        cmocka_unit_test(test_attention__refuses) };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
