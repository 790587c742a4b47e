/* Reductions, cumulative sums and orders against the host. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

typedef struct shape_case {
    uint32_t       rank;
    int64_t        dims[8];
    uint32_t       reduced;
    fm_rows_layout x, out;
    uint32_t       broadcast;
} shape_case;

static const shape_case shapes[] = {
    { 1, { 1 }, 1, FM_DENSE, FM_DENSE, 0 },
    { 1, { 37 }, 1, FM_REVERSED, FM_DENSE, 0 },
    { 2, { 5, 40 }, 2, FM_GAPPED, FM_DENSE, 0 },
    { 2, { 40, 35 }, 1, FM_GAPPED, FM_GAPPED, 0 },
    { 2, { 7, 33 }, 2, FM_TRANSPOSED, FM_REVERSED, 0 },
    { 3, { 3, 1, 9 }, 5, FM_DENSE, FM_GAPPED, 0 },
    { 4, { 2, 5, 4, 48 }, 6, FM_DENSE, FM_DENSE, 0 }, /* channels-last spatial mean */
    { 4, { 2, 20, 5, 6 }, 12, FM_DENSE, FM_DENSE, 0 },
    { 4, { 3, 4, 5, 18 }, 10, FM_GAPPED, FM_TRANSPOSED, 1 },
    { 8, { 2, 2, 1, 2, 3, 1, 2, 3 }, 0x99, FM_REVERSED, FM_GAPPED, 0 },
    { 2, { 6, 19 }, 0, FM_DENSE, FM_GAPPED, 0 }, /* nothing reduced */
    { 4, { 1, 7, 7, 2048 }, 6, FM_DENSE, FM_DENSE, 0 },
    { 2, { 3, 50257 }, 2, FM_DENSE, FM_DENSE, 0 },
};

static double start(fm_reduce_op op) {
    switch (op) {
    case FM_REDUCE_MAX:
    case FM_REDUCE_ARG_MAX: return -INFINITY;
    case FM_REDUCE_MIN:
    case FM_REDUCE_ARG_MIN: return INFINITY;
    case FM_REDUCE_PROD: return 1;
    default: return 0;
    }
}

static double combine(fm_reduce_op op, double a, double v) {
    switch (op) {
    case FM_REDUCE_MAX: return v > a ? v : a;
    case FM_REDUCE_MIN: return v < a ? v : a;
    case FM_REDUCE_PROD: return a * v;
    case FM_REDUCE_SUM_SQUARE:
    case FM_REDUCE_L2: return a + v * v;
    case FM_REDUCE_L1: return a + fabs(v);
    case FM_REDUCE_LOG_SUM_EXP: return a + exp(v);
    default: return a + v;
    }
}

static double finish(fm_reduce_op op, double a, double n, bool integers) {
    switch (op) {
    case FM_REDUCE_MEAN: return integers ? trunc(a / n) : a / n;
    case FM_REDUCE_L2: return sqrt(a);
    case FM_REDUCE_LOG_SUM:
    case FM_REDUCE_LOG_SUM_EXP: return log(a);
    default: return a;
    }
}

/* Output element at index (coordinates 0 along reduced axes), by walking the reduced axes. */
static double reduced_at(const fm_rows_case *c, const fm_reduce_desc *d, const int64_t *index) {
    int64_t  at[8], walk[8] = { 0 }, n = 0, found = 0;
    double   total = start(d->op);
    fm_shape inner = d->x.shape;
    for (uint32_t i = 0; i < inner.rank; i++)
        if (!(d->reduced >> i & 1)) inner.dims[i] = 1;
    do {
        for (uint32_t i = 0; i < inner.rank; i++) at[i] = index[i] + walk[i];
        double v = fm_rows_at(c, &d->x, at);
        bool   max = d->op == FM_REDUCE_ARG_MAX, min = d->op == FM_REDUCE_ARG_MIN;
        if (max || min) {
            if (n == 0 || (max ? v > total : v < total) || (d->select_last && v == total)) total = v, found = n;
        } else total = combine(d->op, total, v);
        n++;
    } while (fm_rows_next(&inner, walk));
    if (d->op == FM_REDUCE_ARG_MAX || d->op == FM_REDUCE_ARG_MIN) return (double)found;
    return finish(d->op, total, (double)n, d->x.dtype != FLASHMEM_F32);
}

static void check_reduce(const shape_case *t, fm_reduce_op op, flashmem_dtype dtype, bool select_last) {
    fm_rows_case c;
    bool         arg = op == FM_REDUCE_ARG_MAX || op == FM_REDUCE_ARG_MIN;
    int64_t      out_dims[8] = { 0 }, index[8] = { 0 }, i = 0, inner = 1;
    for (uint32_t k = 0; k < t->rank; k++) {
        out_dims[k] = t->reduced >> k & 1 ? 1 : t->dims[k];
        inner *= t->dims[k] / out_dims[k];
    }
    fm_rows_open(&c, "reduce op %d of %s, rank %u, mask %x of %d", (int)op, fm_dtype_name(dtype), t->rank, t->reduced,
                 (int)inner);
    fm_reduce_desc d = { .name = "reduce", .op = op, .reduced = t->reduced, .select_last = select_last };
    d.x = fm_rows_view(&c, dtype, t->rank, t->dims, t->x, t->broadcast);
    d.out = fm_rows_view(&c, arg ? FLASHMEM_I64 : dtype, t->rank, out_dims, t->out, 0);
    if (arg || op == FM_REDUCE_MAX) fm_rows_fill(&c, &d.x, -4, 4); /* ties */
    if (op == FM_REDUCE_LOG_SUM) fm_rows_fill(&c, &d.x, 1, 9);
    if (op == FM_REDUCE_PROD && dtype != FLASHMEM_F32) fm_rows_fill(&c, &d.x, -1, 2);
    double *want = malloc((size_t)fm_shape_count(&d.out.shape) * sizeof *want);
    do want[i++] = reduced_at(&c, &d, index);
    while (fm_rows_next(&d.out.shape, index));
    fm_rows_check(&c, FM_FAMILY_REDUCE, &d, &d.out, want,
                  dtype != FLASHMEM_F32 ? 0 : 1e-6 * (20 + sqrt((double)inner)));
    fm_rows_close(&c);
    free(want);
}

static void test_reduce__rows_match_the_host(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int op = FM_REDUCE_SUM; op <= FM_REDUCE_ARG_MIN; op++) {
            bool arg = op == FM_REDUCE_ARG_MAX || op == FM_REDUCE_ARG_MIN;
            bool real_only = op == FM_REDUCE_L2 || op == FM_REDUCE_LOG_SUM || op == FM_REDUCE_LOG_SUM_EXP;
            if (arg && __builtin_popcount(shapes[s].reduced) != 1) continue;
            if (fm_rows_small() && (shapes[s].dims[1] > 100 || shapes[s].dims[3] > 1000)) continue;
            check_reduce(&shapes[s], (fm_reduce_op)op, FLASHMEM_F32, false);
            if (arg) check_reduce(&shapes[s], (fm_reduce_op)op, FLASHMEM_F32, true);
            if (!real_only) check_reduce(&shapes[s], (fm_reduce_op)op, FLASHMEM_I64, false);
            if (!real_only && s % 3 == 1) check_reduce(&shapes[s], (fm_reduce_op)op, FLASHMEM_I32, arg);
        }
}

static void test_cumsum__rows_match_the_host(void **state) {
    static const flashmem_dtype dtypes[3] = { FLASHMEM_F32, FLASHMEM_I64, FLASHMEM_I32 };
    (void)state;
    for (size_t s = 0; s < 10; s++)
        for (uint32_t k = 0; k < 3 * shapes[s].rank * 4; k++) {
            const shape_case *t = &shapes[s];
            fm_rows_case      c;
            int64_t           index[8] = { 0 }, i = 0;
            fm_cumsum_desc    d = { .name = "cumsum", .axis = k / 12, .exclusive = k & 1, .reverse = k & 2 };
            fm_rows_open(&c, "cumsum axis %u of rank %u, variant %u", d.axis, t->rank, k % 12);
            d.x = fm_rows_view(&c, dtypes[k / 4 % 3], t->rank, t->dims, t->x, t->broadcast);
            d.out = fm_rows_view(&c, d.x.dtype, t->rank, t->dims, t->out, 0);
            double *want = malloc((size_t)fm_shape_count(&d.out.shape) * sizeof *want);
            do {
                int64_t at[8], n = t->dims[d.axis], here = index[d.axis];
                memcpy(at, index, sizeof at);
                want[i] = 0;
                for (at[d.axis] = 0; at[d.axis] < n; at[d.axis]++) {
                    int64_t before = d.reverse ? at[d.axis] - here : here - at[d.axis];
                    if (before > 0 || (before == 0 && !d.exclusive)) want[i] += fm_rows_at(&c, &d.x, at);
                }
                i++;
            } while (fm_rows_next(&d.out.shape, index));
            fm_rows_check(&c, FM_FAMILY_CUMSUM, &d, &d.out, want, d.x.dtype == FLASHMEM_F32 ? 3e-6 : 0);
            fm_rows_close(&c);
            free(want);
        }
}

/* Place `rank` in order of the line through index: as many of its elements come before it. */
static double place_at(const fm_rows_case *c, const fm_top_k_desc *d, const int64_t *index) {
    int64_t n = d->x.shape.dims[d->axis], at[8], other[8];
    memcpy(at, index, sizeof at);
    memcpy(other, index, sizeof other);
    for (at[d->axis] = 0; at[d->axis] < n; at[d->axis]++) {
        double  v = fm_rows_at(c, &d->x, at);
        int64_t before = 0;
        for (other[d->axis] = 0; other[d->axis] < n; other[d->axis]++) {
            double w = fm_rows_at(c, &d->x, other);
            before += w == v ? other[d->axis] < at[d->axis] : d->largest ? w > v : w < v;
        }
        if (before == index[d->axis]) return (double)at[d->axis];
    }
    return -1;
}

static void test_top_k__rows_match_the_host(void **state) {
    static const flashmem_dtype dtypes[3] = { FLASHMEM_F32, FLASHMEM_I64, FLASHMEM_I32 };
    (void)state;
    for (size_t s = 0; s < 10; s++)
        for (uint32_t k = 0; k < 3 * shapes[s].rank * 4; k++) {
            const shape_case *t = &shapes[s];
            fm_rows_case      c;
            int64_t           index[8] = { 0 }, dims[8], i = 0;
            fm_top_k_desc     d = { .name = "top_k", .axis = k / 12, .largest = k & 1 };
            memcpy(dims, t->dims, sizeof dims);
            if (k & 2) dims[d.axis] = (dims[d.axis] + 1) / 2;
            fm_rows_open(&c, "top_k axis %u of rank %u, variant %u", d.axis, t->rank, k % 12);
            d.x = fm_rows_view(&c, dtypes[k / 4 % 3], t->rank, t->dims, t->x, t->broadcast);
            d.out = fm_rows_view(&c, FLASHMEM_I64, t->rank, dims, t->out, 0);
            if (k & 4) fm_rows_fill(&c, &d.x, -3, 3); /* ties */
            double *want = malloc((size_t)fm_shape_count(&d.out.shape) * sizeof *want);
            do want[i++] = place_at(&c, &d, index);
            while (fm_rows_next(&d.out.shape, index));
            fm_rows_check(&c, FM_FAMILY_TOP_K, &d, &d.out, want, 0);
            fm_rows_close(&c);
            free(want);
        }
}

static void test_reduce__refuses(void **state) {
    const int64_t dims[2] = { 2, 3 }, out[2] = { 2, 1 };
    fm_rows_case  c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_reduce_desc good = { .name = "r", .op = FM_REDUCE_SUM, .reduced = 2 }, d;
    good.x = fm_rows_view(&c, FLASHMEM_F32, 2, dims, FM_DENSE, 0);
    good.out = fm_rows_view(&c, FLASHMEM_F32, 2, out, FM_DENSE, 0);
    d = good, d.reduced = 4;
    fm_rows_refuses(&c, FM_FAMILY_REDUCE, &d, "axes that x does not have");
    d = good, d.reduced = 1;
    fm_rows_refuses(&c, FM_FAMILY_REDUCE, &d, "out is 2x1, wanted 1x3");
    d = good, d.op = FM_REDUCE_ARG_MAX;
    fm_rows_refuses(&c, FM_FAMILY_REDUCE, &d, "out is float32");
    d = good, d.op = FM_REDUCE_ARG_MAX, d.reduced = 3;
    fm_rows_refuses(&c, FM_FAMILY_REDUCE, &d, "wants one axis");
    d = good, d.op = FM_REDUCE_L2, d.x = fm_rows_view(&c, FLASHMEM_I64, 2, dims, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_REDUCE, &d, "x is int64");
    fm_cumsum_desc e = { .name = "c", .x = good.x, .out = good.x, .axis = 2 };
    fm_rows_refuses(&c, FM_FAMILY_CUMSUM, &e, "axis 2 of 2");
    fm_top_k_desc k = { .name = "k", .x = good.x, .out = good.out, .axis = 0 };
    fm_rows_refuses(&c, FM_FAMILY_TOP_K, &k, "out is float32");
    k.out = fm_rows_view(&c, FLASHMEM_I64, 2, out, FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_TOP_K, &k, "out is 2x1, wanted 2x3");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_reduce__rows_match_the_host),
                                        cmocka_unit_test(test_cumsum__rows_match_the_host),
                                        cmocka_unit_test(test_top_k__rows_match_the_host),
                                        cmocka_unit_test(test_reduce__refuses) };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
