/* Pooling against the host: both layouts, padding, dilation, ceil-mode windows. */
#include <math.h>
#include <stdlib.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

typedef struct pool_case {
    int64_t        n, c, h, w, oh, ow;
    uint32_t       kernel[2], stride[2], dilation[2];
    int32_t        pad[4];
    fm_rows_layout layout;
} pool_case;

static const pool_case cases[] = {
    { 1, 1, 1, 1, 1, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, FM_DENSE },
    { 2, 3, 7, 9, 3, 4, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0, 0, 0 }, FM_GAPPED },
    { 1, 5, 8, 8, 4, 4, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, FM_DENSE },
    { 2, 16, 6, 5, 6, 5, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, FM_REVERSED },
    { 1, 37, 9, 10, 4, 5, { 2, 4 }, { 2, 2 }, { 2, 1 }, { 0, 2, 1, 1 }, FM_DENSE },
    { 1, 20, 7, 7, 4, 4, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0, 0, 0, 0 }, FM_DENSE }, /* ceil mode: windows leave x */
    { 2, 40, 7, 6, 1, 1, { 7, 6 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, FM_GAPPED },
    { 1, 18, 5, 5, 2, 2, { 2, 2 }, { 3, 3 }, { 3, 3 }, { 1, 1, 1, 1 }, FM_TRANSPOSED },
    { 1, 64, 56, 56, 28, 28, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, FM_DENSE },
};

static double pooled(const fm_rows_case *c, const fm_pool_desc *d, const int64_t *out) {
    double  result = d->average ? 0 : -INFINITY, area = 0;
    int64_t h = d->x.shape.dims[2], w = d->x.shape.dims[3];
    for (int64_t i = 0; i < d->kernel[0]; i++)
        for (int64_t j = 0; j < d->kernel[1]; j++) {
            int64_t y = out[2] * d->stride[0] - d->pad[0] + i * d->dilation[0];
            int64_t z = out[3] * d->stride[1] - d->pad[1] + j * d->dilation[1];
            if (d->count_include_pad && y < h + d->pad[2] && z < w + d->pad[3]) area++;
            if (y < 0 || y >= h || z < 0 || z >= w) continue;
            double v = fm_rows_at(c, &d->x, (int64_t[]){ out[0], out[1], y, z });
            if (!d->count_include_pad) area++;
            result = d->average ? result + v : fmax(result, v);
        }
    return d->average ? result / (area > 1 ? area : 1) : result;
}

static fm_view operand(fm_rows_case *c, int64_t n, int64_t channels, int64_t h, int64_t w, fm_rows_layout layout,
                       bool last) {
    static const uint32_t back[4] = { 0, 3, 1, 2 };
    if (!last) return fm_rows_view(c, FLASHMEM_F32, 4, (int64_t[]){ n, channels, h, w }, layout, 0);
    fm_view view = fm_rows_view(c, FLASHMEM_F32, 4, (int64_t[]){ n, h, w, channels }, layout, 0);
    return fm_view_permute(&view, back);
}

static void check(const pool_case *t, bool channels_last, bool average, bool whole) {
    fm_rows_case c;
    int64_t      index[4] = { 0 }, i = 0;
    fm_rows_open(&c, "pool c%d %dx%d to %dx%d last %d average %d whole %d", (int)t->c, (int)t->h, (int)t->w, (int)t->oh,
                 (int)t->ow, channels_last, average, whole);
    fm_pool_desc d = { .name = "pool",
                       .average = average,
                       .count_include_pad = whole,
                       .kernel = { t->kernel[0], t->kernel[1] },
                       .stride = { t->stride[0], t->stride[1] },
                       .dilation = { t->dilation[0], t->dilation[1] },
                       .pad = { t->pad[0], t->pad[1], t->pad[2], t->pad[3] } };
    d.x = operand(&c, t->n, t->c, t->h, t->w, t->layout, channels_last);
    d.out = operand(&c, t->n, t->c, t->oh, t->ow, t->layout, channels_last);
    double *want = malloc((size_t)fm_shape_count(&d.out.shape) * sizeof *want);
    do want[i++] = pooled(&c, &d, index);
    while (fm_rows_next(&d.out.shape, index));
    fm_rows_check(&c, FM_FAMILY_POOL, &d, &d.out, want, average ? 1e-6 : 0);
    fm_rows_close(&c);
    free(want);
}

static void test_pool__rows_match_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int variant = 0; variant < 6; variant++)
            if (!fm_rows_small() || cases[i].h < 50) check(&cases[i], variant & 1, variant > 1, variant > 3);
}

static void test_pool__refuses(void **state) {
    fm_rows_case c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_pool_desc good = { .name = "p", .kernel = { 2, 2 }, .stride = { 2, 2 }, .dilation = { 1, 1 } }, d;
    good.x = operand(&c, 1, 2, 4, 4, FM_DENSE, false);
    good.out = operand(&c, 1, 2, 2, 2, FM_DENSE, false);
    d = good, d.stride[1] = 0;
    fm_rows_refuses(&c, FM_FAMILY_POOL, &d, "stride");
    d = good, d.pad[3] = -1;
    fm_rows_refuses(&c, FM_FAMILY_POOL, &d, "padding");
    d = good, d.out.shape.dims[1] = 1;
    fm_rows_refuses(&c, FM_FAMILY_POOL, &d, "channels");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pool__rows_match_the_host),
                                        cmocka_unit_test(test_pool__refuses) };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
