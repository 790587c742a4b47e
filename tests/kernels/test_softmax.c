/* Softmax against the host in double precision. */
#include <math.h>
#include <stdlib.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

enum { NO_MASK, ADDED, BOOLS, MINUS_INFINITY, LOWEST };

typedef struct softmax_case {
    int64_t        dims[4];
    int            mask;
    uint32_t       broadcast;
    bool           log;
    fm_rows_layout x, out;
} softmax_case;

static const softmax_case cases[] = {
    { { 1, 1, 1, 1 }, NO_MASK, 0, false, FM_DENSE, FM_DENSE },
    { { 1, 2, 3, 5 }, NO_MASK, 0, false, FM_TRANSPOSED, FM_GAPPED },
    { { 2, 2, 3, 16 }, ADDED, 6, false, FM_DENSE, FM_DENSE },
    { { 2, 3, 4, 37 }, BOOLS, 6, false, FM_GAPPED, FM_GAPPED },
    { { 2, 3, 4, 50 }, BOOLS, 8, false, FM_DENSE, FM_GAPPED },
    { { 1, 2, 9, 33 }, ADDED, 11, false, FM_DENSE, FM_DENSE },
    { { 2, 1, 3, 40 }, MINUS_INFINITY, 0, false, FM_DENSE, FM_DENSE },
    { { 2, 1, 3, 40 }, LOWEST, 3, false, FM_DENSE, FM_DENSE },
    { { 2, 3, 2, 35 }, NO_MASK, 0, true, FM_DENSE, FM_DENSE },
    { { 2, 3, 2, 35 }, ADDED, 0, true, FM_REVERSED, FM_REVERSED },
    { { 1, 12, 64, 197 }, NO_MASK, 0, false, FM_DENSE, FM_DENSE },
    { { 1, 1, 8, 32000 }, NO_MASK, 0, true, FM_DENSE, FM_DENSE },
};

static double score(const fm_rows_case *c, const fm_softmax_desc *d, const int64_t *index) {
    double v = fm_rows_at(c, &d->x, index) * (double)d->scale;
    if (d->mask.value == FM_NONE) return v;
    double mask = fm_rows_at(c, &d->mask, index);
    if (d->mask.dtype == FLASHMEM_BOOL) return mask != 0 ? v : -INFINITY;
    return (float)(v + mask); /* the sum is rounded on the device: a mask of -3e38 swallows scores */
}

static void softmax_row(const fm_rows_case *c, const fm_softmax_desc *d, int64_t *index, double *out) {
    int64_t n = d->x.shape.dims[3];
    double  top = -INFINITY, total = 0;
    for (index[3] = 0; index[3] < n; index[3]++) {
        out[index[3]] = score(c, d, index);
        top = fmax(top, out[index[3]]);
    }
    for (int64_t i = 0; i < n && top != -INFINITY; i++) total += exp(out[i] - top);
    for (int64_t i = 0; i < n; i++)
        out[i] = top == -INFINITY ? 0 : d->log ? out[i] - top - log(total) : exp(out[i] - top) / total;
}

static void set_special(fm_rows_case *c, const softmax_case *t, const fm_view *mask) {
    int64_t index[4] = { 0 }, i = 0;
    do {
        bool whole_row = index[2] == 1 && index[0] == 0;
        if (t->mask == MINUS_INFINITY) fm_rows_set(c, mask, index, whole_row || i % 3 == 0 ? -INFINITY : 0);
        if (t->mask == LOWEST) fm_rows_set(c, mask, index, whole_row || i % 3 == 0 ? -3.402823466e38 : 0);
        i++;
    } while (fm_rows_next(&mask->shape, index));
}

static void check(const softmax_case *t) {
    fm_rows_case   c;
    const int64_t *dims = t->dims;
    int64_t        rows = dims[0] * dims[1] * dims[2], index[4] = { 0 };
    double        *want = malloc((size_t)(rows * dims[3]) * sizeof *want);
    fm_rows_open(&c, "softmax %dx%dx%dx%d mask %d", (int)dims[0], (int)dims[1], (int)dims[2], (int)dims[3], t->mask);
    fm_softmax_desc d = { .name = "softmax", .mask = fm_rows_absent(), .scale = 7.5f, .log = t->log };
    d.x = fm_rows_view(&c, FLASHMEM_F32, 4, dims, t->x, 0);
    if (t->mask != NO_MASK)
        d.mask = fm_rows_view(&c, t->mask == BOOLS ? FLASHMEM_BOOL : FLASHMEM_F32, 4, dims,
                              t->x == FM_DENSE ? FM_GAPPED : FM_REVERSED, t->broadcast);
    if (t->mask == MINUS_INFINITY || t->mask == LOWEST) set_special(&c, t, &d.mask);
    d.out = fm_rows_view(&c, FLASHMEM_F32, 4, dims, t->out, 0);
    for (int64_t row = 0; row < rows; row++) {
        index[0] = row / dims[2] / dims[1], index[1] = row / dims[2] % dims[1], index[2] = row % dims[2];
        softmax_row(&c, &d, index, want + row * dims[3]);
    }
    fm_rows_check(&c, FM_FAMILY_SOFTMAX, &d, &d.out, want, 2e-6);
    fm_rows_close(&c);
    free(want);
}

static void test_softmax__rows_match_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (!fm_rows_small() || cases[i].dims[3] < 100) check(&cases[i]);
}

static void test_softmax__refuses(void **state) {
    const int64_t dims[4] = { 1, 2, 3, 4 }, other[4] = { 1, 2, 3, 5 };
    fm_rows_case  c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_softmax_desc good = { .name = "s", .mask = fm_rows_absent(), .scale = 1 }, d;
    good.x = fm_rows_view(&c, FLASHMEM_F32, 4, dims, FM_DENSE, 0);
    good.out = fm_rows_view(&c, FLASHMEM_F32, 4, dims, FM_DENSE, 0);
    d = good, d.mask = fm_rows_view(&c, FLASHMEM_I64, 4, dims, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_SOFTMAX, &d, "mask is int64");
    d = good, d.mask = fm_rows_view(&c, FLASHMEM_BOOL, 4, other, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_SOFTMAX, &d, "mask is 1x2x3x5, wanted 1x2x3x4");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_softmax__rows_match_the_host),
                                        cmocka_unit_test(test_softmax__refuses) };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
