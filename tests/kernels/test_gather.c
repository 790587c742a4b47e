/* Gathers, scatters and padding against the host. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/rows_case.h"

static const flashmem_dtype moved[] = { FLASHMEM_F32, FLASHMEM_I64, FLASHMEM_BOOL, FLASHMEM_I16, FLASHMEM_I32 };
enum { MOVED = sizeof moved / sizeof moved[0] };

/* As devices read an index: negative from the end, then clamped. */
static int64_t read_index(double v, int64_t size) {
    int64_t i = (int64_t)v < 0 ? (int64_t)v + size : (int64_t)v;
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

static double *want_of(const fm_view *out) { return malloc((size_t)fm_shape_count(&out->shape) * sizeof(double)); }

static void test_gather__matches_the_host(void **state) {
    static const struct {
        int64_t o, a, i, n;
    } shapes[] = { { 1, 1, 1, 1 }, { 3, 7, 1, 5 }, { 1, 11, 40, 6 }, { 4, 5, 33, 3 }, { 1, 1000, 96, 128 } };
    (void)state;
    for (int k = 0; k < 5 * MOVED * 4; k++) {
        fm_rows_case   c;
        const int64_t *s = &shapes[k % 5].o, table[3] = { s[0], s[1], s[2] }, out[3] = { s[0], s[3], s[2] };
        flashmem_dtype dtype = moved[k / 5 % MOVED], index_type = k & 1 ? FLASHMEM_I32 : FLASHMEM_I64;
        fm_rows_layout layout = (fm_rows_layout)(k / 5 / MOVED);
        int64_t        index[3] = { 0 }, i = 0;
        if (fm_rows_small() && s[1] == 1000) continue;
        fm_rows_open(&c, "gather %dx%dx%d by %d, layout %d", (int)s[0], (int)s[1], (int)s[2], (int)s[3], (int)layout);
        fm_gather_desc d = { .name = "gather" };
        d.table = fm_rows_view(&c, dtype, 3, table, layout, 0);
        d.indices = fm_rows_view(&c, index_type, 1, &s[3], layout, 0);
        d.out = fm_rows_view(&c, dtype, 3, out, layout == FM_REVERSED ? FM_GAPPED : layout, 0);
        fm_rows_fill(&c, &d.indices, -s[1] - (k % 3 == 0), s[1] + (k % 3 == 0)); /* some just out of range */
        double *want = want_of(&d.out);
        do
            want[i++] = fm_rows_at(
                &c, &d.table,
                (int64_t[]){ index[0], read_index(fm_rows_at(&c, &d.indices, &index[1]), s[1]), index[2] });
        while (fm_rows_next(&d.out.shape, index));
        fm_rows_check(&c, FM_FAMILY_GATHER, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

typedef struct elements_case {
    uint32_t rank, axis;
    int64_t  data[5], indices[5];
} elements_case;

static const elements_case elements[] = {
    { 1, 0, { 9 }, { 4 } },
    { 2, 0, { 5, 7 }, { 3, 6 } },
    { 2, 1, { 5, 7 }, { 5, 20 } },
    { 3, 1, { 4, 6, 5 }, { 4, 3, 5 } },
    { 5, 3, { 2, 3, 1, 4, 5 }, { 2, 2, 1, 9, 5 } },
};

static void test_gather_elements__matches_the_host(void **state) {
    (void)state;
    for (int k = 0; k < 5 * MOVED; k++) {
        const elements_case *t = &elements[k % 5];
        fm_rows_case         c;
        fm_rows_layout       layout = (fm_rows_layout)(k % FM_ROWS_LAYOUTS);
        int64_t              index[5] = { 0 }, i = 0;
        fm_rows_open(&c, "gather elements rank %u axis %u", t->rank, t->axis);
        fm_gather_elements_desc d = { .name = "elements", .axis = t->axis };
        d.data = fm_rows_view(&c, moved[k / 5], t->rank, t->data, layout, 0);
        d.indices = fm_rows_view(&c, k & 1 ? FLASHMEM_I32 : FLASHMEM_I64, t->rank, t->indices, FM_GAPPED, 0);
        d.out = fm_rows_view(&c, moved[k / 5], t->rank, t->indices, FM_TRANSPOSED, 0);
        fm_rows_fill(&c, &d.indices, -t->data[t->axis], t->data[t->axis] + 1);
        double *want = want_of(&d.out);
        do {
            int64_t at[5];
            memcpy(at, index, sizeof at);
            at[t->axis] = read_index(fm_rows_at(&c, &d.indices, index), t->data[t->axis]);
            want[i++] = fm_rows_at(&c, &d.data, at);
        } while (fm_rows_next(&d.out.shape, index));
        fm_rows_check(&c, FM_FAMILY_GATHER_ELEMENTS, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

typedef struct nd_case {
    uint32_t rank;
    int64_t  data[5], n, depth;
} nd_case;

static const nd_case nds[] = {
    { 1, { 6 }, 4, 1 },          { 2, { 5, 7 }, 3, 2 },           { 3, { 4, 3, 20 }, 9, 1 },
    { 4, { 3, 4, 2, 5 }, 6, 2 }, { 5, { 2, 3, 2, 3, 4 }, 10, 3 }, { 3, { 4, 5, 6 }, 30, 3 },
};

/* Position in data of element j of row n. */
static void nd_position(const fm_rows_case *c, const nd_case *t, const fm_view *indices, int64_t n, int64_t j,
                        int64_t *at) {
    for (int64_t q = 0; q < t->depth; q++) at[q] = read_index(fm_rows_at(c, indices, (int64_t[]){ n, q }), t->data[q]);
    for (int64_t q = t->rank; q-- > t->depth;) {
        at[q] = j % t->data[q];
        j /= t->data[q];
    }
}

static int64_t nd_inner(const nd_case *t) {
    int64_t inner = 1;
    for (int64_t q = t->depth; q < t->rank; q++) inner *= t->data[q];
    return inner;
}

static void test_gather_nd__matches_the_host(void **state) {
    (void)state;
    for (int k = 0; k < 6 * MOVED; k++) {
        const nd_case    *t = &nds[k % 6];
        const int64_t     inner = nd_inner(t), index_dims[2] = { t->n, t->depth }, out_dims[2] = { t->n, inner };
        fm_rows_case      c;
        fm_gather_nd_desc d = { .name = "nd" };
        fm_rows_open(&c, "gather nd rank %u depth %d", t->rank, (int)t->depth);
        d.data = fm_rows_view(&c, moved[k / 6], t->rank, t->data, (fm_rows_layout)(k % FM_ROWS_LAYOUTS), 0);
        d.indices = fm_rows_view(&c, k & 1 ? FLASHMEM_I32 : FLASHMEM_I64, 2, index_dims, FM_DENSE, 0);
        d.out = fm_rows_view(&c, moved[k / 6], 2, out_dims, FM_GAPPED, 0);
        fm_rows_fill(&c, &d.indices, -2, 3);
        double *want = want_of(&d.out);
        for (int64_t i = 0; i < t->n * inner; i++) {
            int64_t at[5] = { 0 };
            nd_position(&c, t, &d.indices, i / inner, i % inner, at);
            want[i] = fm_rows_at(&c, &d.data, at);
        }
        fm_rows_check(&c, FM_FAMILY_GATHER_ND, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

static void copy_view(const fm_rows_case *c, const fm_view *data, double *want) {
    int64_t index[8] = { 0 }, i = 0;
    do want[i++] = fm_rows_at(c, data, index);
    while (fm_rows_next(&data->shape, index));
}

static int64_t linear(const fm_shape *shape, const int64_t *index) {
    int64_t at = 0;
    for (uint32_t i = 0; i < shape->rank; i++) at = at * shape->dims[i] + index[i];
    return at;
}

static void test_scatter_nd__last_update_wins(void **state) {
    (void)state;
    for (int k = 0; k < 6 * MOVED * 2; k++) {
        const nd_case  *t = &nds[k % 6];
        const int64_t   inner = nd_inner(t), index_dims[2] = { t->n, t->depth }, update_dims[2] = { t->n, inner };
        fm_rows_case    c;
        fm_scatter_desc d = { .name = "scatter" };
        bool            in_place = k >= 6 * MOVED;
        flashmem_dtype  dtype = moved[k / 6 % MOVED];
        fm_rows_open(&c, "scatter nd rank %u depth %d in place %d", t->rank, (int)t->depth, in_place);
        d.out = fm_rows_view(&c, dtype, t->rank, t->data, FM_GAPPED, 0);
        d.data = in_place ? d.out : fm_rows_view(&c, dtype, t->rank, t->data, (fm_rows_layout)(k % FM_ROWS_LAYOUTS), 0);
        d.indices = fm_rows_view(&c, k & 1 ? FLASHMEM_I32 : FLASHMEM_I64, 2, index_dims, FM_DENSE, 0);
        d.updates = fm_rows_view(&c, dtype, 2, update_dims, FM_TRANSPOSED, 0);
        fm_rows_fill(&c, &d.indices, -2, 3); /* with repetitions */
        double *want = want_of(&d.out);
        copy_view(&c, &d.data, want);
        for (int64_t i = 0; i < t->n * inner; i++) {
            int64_t at[5] = { 0 };
            nd_position(&c, t, &d.indices, i / inner, i % inner, at);
            want[linear(&d.out.shape, at)] = fm_rows_at(&c, &d.updates, (int64_t[]){ i / inner, i % inner });
        }
        fm_rows_check(&c, FM_FAMILY_SCATTER, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

static void test_scatter_elements__last_update_wins(void **state) {
    (void)state;
    for (int k = 0; k < 5 * MOVED; k++) {
        const elements_case *t = &elements[k % 5];
        fm_rows_case         c;
        int64_t              index[5] = { 0 };
        fm_scatter_desc      d = { .name = "scatter", .elements = true, .axis = t->axis };
        fm_rows_open(&c, "scatter elements rank %u axis %u", t->rank, t->axis);
        d.data = fm_rows_view(&c, moved[k / 5], t->rank, t->data, (fm_rows_layout)(k % FM_ROWS_LAYOUTS), 0);
        d.indices = fm_rows_view(&c, k & 1 ? FLASHMEM_I32 : FLASHMEM_I64, t->rank, t->indices, FM_GAPPED, 0);
        d.updates = fm_rows_view(&c, moved[k / 5], t->rank, t->indices, FM_REVERSED, 0);
        d.out = fm_rows_view(&c, moved[k / 5], t->rank, t->data, FM_TRANSPOSED, 0);
        fm_rows_fill(&c, &d.indices, -t->data[t->axis], t->data[t->axis]);
        double *want = want_of(&d.out);
        copy_view(&c, &d.data, want);
        do {
            int64_t at[5];
            memcpy(at, index, sizeof at);
            at[t->axis] = read_index(fm_rows_at(&c, &d.indices, index), t->data[t->axis]);
            want[linear(&d.out.shape, at)] = fm_rows_at(&c, &d.updates, index);
        } while (fm_rows_next(&d.indices.shape, index));
        fm_rows_check(&c, FM_FAMILY_SCATTER, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

typedef struct pad_case {
    uint32_t rank;
    int64_t  dims[5], before[5], after[5];
} pad_case;

static const pad_case pads[] = {
    { 1, { 1 }, { 2 }, { 1 } },
    { 1, { 7 }, { 3 }, { 6 } },
    { 2, { 5, 6 }, { 1, -2 }, { 0, 3 } },
    { 4, { 2, 3, 4, 5 }, { 0, 0, 2, 3 }, { 0, 0, 1, 4 } },
    { 5, { 2, 3, 2, 3, 2 }, { 1, 0, 0, 2, 1 }, { 0, 1, 1, -1, 0 } },
};

static int64_t padded_from(int64_t at, int64_t n, fm_pad_mode mode) {
    if (mode == FM_PAD_EDGE) return at < 0 ? 0 : at >= n ? n - 1 : at;
    if (mode == FM_PAD_WRAP) return (at % n + n) % n;
    while (mode == FM_PAD_REFLECT && n > 1 && (at < 0 || at >= n)) at = at < 0 ? -at : 2 * (n - 1) - at;
    return mode == FM_PAD_REFLECT && n == 1 ? 0 : at;
}

static void test_pad__modes_match_the_host(void **state) {
    (void)state;
    for (int k = 0; k < 5 * MOVED * 4; k++) {
        const pad_case *t = &pads[k % 5];
        fm_rows_case    c;
        int64_t         dims[5], index[5] = { 0 }, i = 0;
        fm_pad_desc     d = { .name = "pad", .mode = (fm_pad_mode)(k / 5 / MOVED), .value = 1 };
        fm_rows_open(&c, "pad rank %u mode %d of %s", t->rank, (int)d.mode, fm_dtype_name(moved[k / 5 % MOVED]));
        if (moved[k / 5 % MOVED] == FLASHMEM_F32) d.value = -INFINITY;
        if (moved[k / 5 % MOVED] == FLASHMEM_I16) d.value = -5;
        for (uint32_t a = 0; a < t->rank; a++) {
            d.before[a] = t->before[a];
            dims[a] = t->before[a] + t->dims[a] + t->after[a];
        }
        d.x = fm_rows_view(&c, moved[k / 5 % MOVED], t->rank, t->dims, (fm_rows_layout)(k % FM_ROWS_LAYOUTS), 0);
        d.out = fm_rows_view(&c, d.x.dtype, t->rank, dims, FM_GAPPED, 0);
        double *want = want_of(&d.out);
        do {
            int64_t at[5];
            bool    inside = true;
            for (uint32_t a = 0; a < t->rank; a++) {
                at[a] = padded_from(index[a] - t->before[a], t->dims[a], d.mode);
                inside = inside && at[a] >= 0 && at[a] < t->dims[a];
            }
            want[i++] = inside ? fm_rows_at(&c, &d.x, at) : d.value;
        } while (fm_rows_next(&d.out.shape, index));
        fm_rows_check(&c, FM_FAMILY_PAD, &d, &d.out, want, 0);
        fm_rows_close(&c);
        free(want);
    }
}

static void test_gather__refuses(void **state) {
    const int64_t three[3] = { 2, 3, 4 }, two[2] = { 5, 4 };
    fm_rows_case  c;
    (void)state;
    fm_rows_open(&c, "refusals");
    fm_gather_desc g = { .name = "g", .table = fm_rows_view(&c, FLASHMEM_F32, 3, three, FM_DENSE, 0) };
    g.indices = fm_rows_view(&c, FLASHMEM_F32, 1, &two[0], FM_DENSE, 0);
    g.out = g.table;
    fm_rows_refuses(&c, FM_FAMILY_GATHER, &g, "indices is float32");
    g.indices = fm_rows_view(&c, FLASHMEM_I64, 1, &two[0], FM_DENSE, 0);
    fm_rows_refuses(&c, FM_FAMILY_GATHER, &g, "out is 2x3x4, wanted 2x5x4");
    fm_gather_nd_desc n = { .name = "n",
                            .data = g.table,
                            .indices = fm_rows_view(&c, FLASHMEM_I64, 2, two, FM_DENSE, 0) };
    n.out = n.data;
    fm_rows_refuses(&c, FM_FAMILY_GATHER_ND, &n, "4 coordinates, data 3 axes");
    fm_pad_desc p = { .name = "p", .x = g.table, .out = n.indices };
    fm_rows_refuses(&c, FM_FAMILY_PAD, &p, "out is int64");
    p.out = fm_rows_view(&c, FLASHMEM_F32, 3, three, FM_DENSE, 0), p.before[1] = INT64_MAX;
    fm_rows_refuses(&c, FM_FAMILY_PAD, &p, "beyond 2^30");
    fm_rows_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather__matches_the_host),
        cmocka_unit_test(test_gather_elements__matches_the_host),
        cmocka_unit_test(test_gather_nd__matches_the_host),
        cmocka_unit_test(test_scatter_nd__last_update_wins),
        cmocka_unit_test(test_scatter_elements__last_update_wins),
        cmocka_unit_test(test_pad__modes_match_the_host),
        cmocka_unit_test(test_gather__refuses),
    };
    return cmocka_run_group_tests(tests, fm_rows_setup, fm_rows_teardown);
}
