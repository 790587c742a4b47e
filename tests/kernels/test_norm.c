/* Layer, RMS and group normalisation against the host in double precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

enum { ADD = 1, SUM = 2, GAMMA = 4, BETA = 8, RMS = 16, CONSTANT_ROWS = 32, OFFSET_ROWS = 64 };

typedef struct norm_case {
    int64_t        dims[3];
    uint32_t       options;
    fm_rows_layout x, add, out;
} norm_case;

static const norm_case norms[] = {
    { { 1, 1, 1 }, GAMMA | BETA, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 2, 3, 5 }, 0, FM_GAPPED, FM_DENSE, FM_TRANSPOSED },
    { { 1, 4, 16 }, GAMMA, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 2, 3, 37 }, GAMMA | BETA | ADD | SUM, FM_GAPPED, FM_DENSE, FM_GAPPED },
    { { 3, 5, 48 }, GAMMA | BETA | ADD, FM_DENSE, FM_GAPPED, FM_GAPPED },
    { { 3, 2, 33 }, BETA | ADD | SUM, FM_TRANSPOSED, FM_REVERSED, FM_DENSE },
    { { 2, 7, 40 }, RMS | GAMMA, FM_DENSE, FM_DENSE, FM_GAPPED },
    { { 2, 2, 50 }, RMS | ADD | SUM | GAMMA, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 1, 3, 64 }, CONSTANT_ROWS | BETA, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 1, 3, 100 }, OFFSET_ROWS | GAMMA, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 1, 197, 768 }, GAMMA | BETA | ADD | SUM, FM_DENSE, FM_DENSE, FM_DENSE },
    { { 2, 128, 384 }, GAMMA | BETA, FM_REVERSED, FM_DENSE, FM_REVERSED },
};

/* The row's results from its sums; everything indexed by the row's first two coordinates and c. */
static void norm_row(const fm_rows_case *c, const fm_norm_desc *d, int64_t *index, double *out, double *sum) {
    int64_t n = d->x.shape.dims[2];
    double  mean = 0, square = 0;
    for (index[2] = 0; index[2] < n; index[2]++) {
        sum[index[2]] = fm_rows_at(c, &d->x, index);
        if (d->add.value != FM_NONE) sum[index[2]] = (float)(sum[index[2]] + fm_rows_at(c, &d->add, index));
        mean += sum[index[2]] / (double)n;
    }
    if (d->rms) mean = 0;
    for (int64_t i = 0; i < n; i++) square += (sum[i] - mean) * (sum[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (sum[i] - mean) / sqrt(square + (double)d->epsilon);
        if (d->gamma.value != FM_NONE) out[i] *= fm_rows_at(c, &d->gamma, &i);
        if (d->beta.value != FM_NONE) out[i] += fm_rows_at(c, &d->beta, &i);
    }
}

static void check_norm(const norm_case *t) {
    fm_rows_case   c;
    const int64_t *dims = t->dims, n = dims[2], count = dims[0] * dims[1] * n;
    double        *out = malloc((size_t)count * sizeof *out), *sum = malloc((size_t)count * sizeof *sum);
    int64_t        index[3] = { 0 };
    fm_rows_open(&c, "norm %dx%dx%d options %u", (int)dims[0], (int)dims[1], (int)n, t->options);
    fm_norm_desc d = { .name = "norm",
                       .rms = t->options & RMS,
                       .epsilon = 1e-5f,
                       .add = fm_rows_absent(),
                       .sum = fm_rows_absent(),
                       .gamma = fm_rows_absent(),
                       .beta = fm_rows_absent() };
    d.x = fm_rows_view(&c, FLASHMEM_F32, 3, dims, t->x, 0);
    if (t->options & ADD) d.add = fm_rows_view(&c, FLASHMEM_F32, 3, dims, t->add, t->add == FM_DENSE ? 2 : 0);
    if (t->options & SUM) d.sum = fm_rows_view(&c, FLASHMEM_F32, 3, dims, FM_GAPPED, 0);
    if (t->options & GAMMA) d.gamma = fm_rows_view(&c, FLASHMEM_F32, 1, &n, FM_GAPPED, 0);
    if (t->options & BETA) d.beta = fm_rows_view(&c, FLASHMEM_F32, 1, &n, t->options & ADD ? FM_DENSE : FM_REVERSED, 0);
    d.out = fm_rows_view(&c, FLASHMEM_F32, 3, dims, t->out, 0);
    for (int64_t i = 0; i < c.values[d.x.value].count; i++) {
        float *x = c.values[d.x.value].data;
        if (t->options & CONSTANT_ROWS) x[i] = 2.5f;
        if (t->options & OFFSET_ROWS) x[i] = 300 + x[i];
    }
    for (int64_t row = 0; row < dims[0] * dims[1]; row++) {
        index[0] = row / dims[1], index[1] = row % dims[1];
        norm_row(&c, &d, index, out + row * n, sum + row * n);
    }
    fm_view       views[2] = { d.out, d.sum };
    const double *wants[2] = { out, sum };
    fm_rows_check_two(&c, FM_FAMILY_NORM, &d, views, wants, t->options & SUM ? 2 : 1,
                      t->options & OFFSET_ROWS ? 2e-4 : 3e-6);
    fm_rows_close(&c);
    free(out);
    free(sum);
}

static void test_norm__rows_match_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++)
        if (!fm_rows_small() || norms[i].dims[1] < 100) check_norm(&norms[i]);
}

typedef struct group_case {
    int64_t        dims[4];
    bool           affine;
    fm_rows_layout x, out;
    bool           channels_last;
} group_case;

static const group_case groups[] = {
    { { 1, 1, 1, 1 }, true, FM_DENSE, FM_DENSE, false },
    { { 2, 3, 1, 35 }, true, FM_DENSE, FM_GAPPED, false }, /* instance norm */
    { { 2, 2, 5, 12 }, false, FM_TRANSPOSED, FM_REVERSED, false },
    { { 1, 4, 3, 16 }, true, FM_GAPPED, FM_DENSE, false },
    { { 2, 8, 10, 9 }, true, FM_DENSE, FM_DENSE, true },
    { { 1, 32, 1, 7 }, true, FM_DENSE, FM_DENSE, true },
    { { 2, 5, 7, 6 }, false, FM_DENSE, FM_DENSE, true },
    { { 1, 2, 130, 4 }, true, FM_DENSE, FM_DENSE, true },
    { { 1, 2, 300, 3 }, true, FM_DENSE, FM_DENSE, true }, /* too many channels for that row */
    { { 1, 32, 10, 1024 }, true, FM_DENSE, FM_DENSE, true },
    { { 1, 32, 10, 1000 }, true, FM_DENSE, FM_DENSE, false },
};

/* [N, G, C, S] whose memory order is N, S, G, C. */
static fm_view group_view(fm_rows_case *c, const group_case *t, fm_rows_layout layout) {
    const uint32_t back[4] = { 0, 2, 3, 1 };
    const int64_t  stored[4] = { t->dims[0], t->dims[3], t->dims[1], t->dims[2] };
    if (!t->channels_last) return fm_rows_view(c, FLASHMEM_F32, 4, t->dims, layout, 0);
    fm_view view = fm_rows_view(c, FLASHMEM_F32, 4, stored, layout, 0);
    return fm_view_permute(&view, back);
}

static void check_group(const group_case *t) {
    fm_rows_case   c;
    const int64_t *dims = t->dims, count = dims[0] * dims[1] * dims[2] * dims[3], inner = dims[2] * dims[3];
    double        *want = malloc((size_t)count * sizeof *want);
    fm_rows_open(&c, "group norm %dx%dx%dx%d", (int)dims[0], (int)dims[1], (int)dims[2], (int)dims[3]);
    fm_group_norm_desc d = { .name = "group", .gamma = fm_rows_absent(), .beta = fm_rows_absent(), .epsilon = 1e-5f };
    d.x = group_view(&c, t, t->x);
    d.out = group_view(&c, t, t->out);
    if (t->affine) d.gamma = fm_rows_view(&c, FLASHMEM_F32, 2, &dims[1], FM_GAPPED, 0);
    if (t->affine) d.beta = fm_rows_view(&c, FLASHMEM_F32, 2, &dims[1], FM_REVERSED, 0);
    for (int64_t g = 0; g < dims[0] * dims[1]; g++) {
        double mean = 0, square = 0, *row = want + g * inner;
        for (int64_t i = 0; i < inner; i++) {
            row[i] = fm_rows_at(&c, &d.x, (int64_t[]){ g / dims[1], g % dims[1], i / dims[3], i % dims[3] });
            mean += row[i] / (double)inner;
        }
        for (int64_t i = 0; i < inner; i++) square += (row[i] - mean) * (row[i] - mean) / (double)inner;
        for (int64_t i = 0; i < inner; i++) {
            const int64_t channel[2] = { g % dims[1], i / dims[3] };
            row[i] = (row[i] - mean) / sqrt(square + 1e-5);
            if (t->affine) row[i] = row[i] * fm_rows_at(&c, &d.gamma, channel) + fm_rows_at(&c, &d.beta, channel);
        }
    }
    fm_rows_check(&c, FM_FAMILY_GROUP_NORM, &d, &d.out, want, 5e-6);
    fm_rows_close(&c);
    free(want);
}

static void test_group_norm__rows_match_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (!fm_rows_small() || groups[i].dims[3] < 1000) check_group(&groups[i]);
}

static void test_norm__refuses(void **state) {
    const int64_t dims[3] = { 2, 3, 4 }, five = 5;
    fm_rows_case  c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_norm_desc good = { .name = "n",
                          .add = fm_rows_absent(),
                          .sum = fm_rows_absent(),
                          .gamma = fm_rows_absent(),
                          .beta = fm_rows_absent(),
                          .epsilon = 1e-5f },
                 d;
    good.x = fm_rows_view(&c, FLASHMEM_F32, 3, dims, FM_DENSE, 0);
    good.out = fm_rows_view(&c, FLASHMEM_F32, 3, dims, FM_DENSE, 0);
    d = good, d.gamma = fm_rows_view(&c, FLASHMEM_F32, 1, &five, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_NORM, &d, "gamma is 5, wanted 4");
    d = good, d.x = fm_rows_view(&c, FLASHMEM_I64, 3, dims, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_NORM, &d, "x is int64");
    d = good, d.x.shape.rank = 2;
    fm_rows_refuses(&c, FM_FAMILY_NORM, &d, "x has 2 axes, wanted 3");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_norm__rows_match_the_host),
                                        cmocka_unit_test(test_group_norm__rows_match_the_host),
                                        cmocka_unit_test(test_norm__refuses) };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
