/* Every matmul and batch_matmul row against a host reference in double precision: odd sizes, strided, reversed and
 * broadcast views, all epilogues, fp32 and fp16 weights, both layouts, parts against the whole. */
#include <stdio.h>
#include <string.h>

#include "tests/kernels/case.h"
#include "tests/kernels/harness_fixture.h"

enum { PLAIN, K_OUTER /* x [K][M], out [N][M] */, REVERSED, BROADCAST_ROWS, GAPS };

typedef struct matmul_case {
    int64_t       batch, m, k, n;
    int           views;
    fm_activation activation;
    bool          bias, pre, post;
    uint64_t      padding; /* elements between panels, times 16 */
    uint32_t      part;
} matmul_case;

static const matmul_case cases[] = {
    { 1, 1, 1, 1, PLAIN, FM_ACT_NONE, 0, 0, 0, 0, 0 },
    { 1, 1, 96, 40, PLAIN, FM_ACT_NONE, 1, 0, 0, 0, 1 },
    { 1, 2, 33, 17, PLAIN, FM_ACT_RELU, 1, 0, 0, 1, 1 },
    { 1, 3, 64, 64, GAPS, FM_ACT_GELU, 1, 1, 0, 0, 2 },
    { 1, 4, 257, 48, PLAIN, FM_ACT_GELU_TANH, 1, 0, 1, 0, 3 },
    { 2, 5, 31, 65, K_OUTER, FM_ACT_QUICK_GELU, 1, 1, 1, 0, 2 },
    { 3, 7, 100, 100, PLAIN, FM_ACT_TANH, 0, 0, 1, 2, 4 },
    { 1, 11, 130, 90, REVERSED, FM_ACT_SIGMOID, 1, 0, 1, 0, 2 },
    { 2, 13, 40, 33, BROADCAST_ROWS, FM_ACT_SILU, 0, 1, 0, 0, 1 },
    { 1, 24, 300, 130, PLAIN, FM_ACT_CLIP, 1, 0, 0, 0, 5 },
    { 1, 49, 72, 208, GAPS, FM_ACT_LEAKY_RELU, 1, 0, 1, 1, 4 },
    { 2, 50, 520, 72, PLAIN, FM_ACT_HARD_SWISH, 0, 0, 0, 0, 3 },
    { 1, 97, 48, 50, K_OUTER, FM_ACT_HARD_SIGMOID, 1, 0, 0, 0, 2 },
    { 1, 128, 64, 160, PLAIN, FM_ACT_ELU, 1, 0, 1, 0, 7 },
    { 5, 41, 17, 19, REVERSED, FM_ACT_NONE, 1, 1, 1, 0, 1 },
    { 1, 200, 513, 31, BROADCAST_ROWS, FM_ACT_NONE, 0, 0, 1, 0, 1 },
};

static fm_view operand(fm_case *c, const int64_t *dims, uint32_t rank, int views, bool written) {
    static const uint32_t outer[4] = { 0, 2, 1, 3 }, outer4[4] = { 0, 1, 3, 2 };
    switch (views) {
    case K_OUTER: return fm_case_view(c, dims, rank, rank == 3 ? outer : outer4, 1);
    case REVERSED: return fm_case_bent(c, dims, rank, 0, rank == 3 ? 5 : 13);
    case BROADCAST_ROWS: return fm_case_bent(c, dims, rank, written ? 0 : rank == 3 ? 1 : 2, 2);
    case GAPS: return fm_case_view(c, dims, rank, NULL, 5);
    default: return fm_case_view(c, dims, rank, NULL, 0);
    }
}

static void epilogue_of(fm_case *c, const matmul_case *t, const int64_t *dims, uint32_t rank, fm_epilogue *ep) {
    fm_epilogue_init(ep);
    ep->activation = t->activation;
    ep->alpha = t->post ? 0.5f : 1.0f;
    ep->p0 = t->activation == FM_ACT_CLIP ? -0.5f : 0.3f;
    ep->p1 = 0.75f;
    if (t->bias) ep->bias = operand(c, &dims[rank - 1], 1, PLAIN, false);
    if (t->pre) ep->pre = operand(c, dims, rank, BROADCAST_ROWS, false);
    if (t->post) ep->post = operand(c, dims, rank, t->views, false);
}

static void host_matmul(const fm_case *c, const fm_matmul_desc *d, const float *matrix, double *want) {
    const int64_t *out = d->out.shape.dims, k = d->x.shape.dims[2];
    for (int64_t b = 0; b < out[0]; b++)
        for (int64_t m = 0; m < out[1]; m++)
            for (int64_t n = 0; n < out[2]; n++) {
                double sum = 0;
                for (int64_t i = 0; i < k; i++)
                    sum += (double)fm_case_at(c, &d->x, (int64_t[]){ b, m, i }) * matrix[i * out[2] + n];
                *want++ = fm_case_finish(c, &d->epilogue, (int64_t[]){ b, m, n }, 2, sum);
            }
}

static uint32_t check_matmul(const fm_row *row, const matmul_case *t, flashmem_layout layout, fm_weight_format format) {
    fm_case        c;
    fm_matmul_desc d = { .name = "matmul" };
    float         *matrix;
    flashmem_error err = { 0 };
    char           label[160];
    int64_t        in[3] = { t->batch, t->m, t->k }, out[3] = { t->batch, t->m, t->n };
    fm_case_open(&c, (uint32_t)(t - cases) * 100 + 1);
    d.x = operand(&c, in, 3, t->views, false);
    d.out = operand(&c, out, 3, t->views, true);
    d.weight = fm_case_weight(&c, layout, format, (uint64_t)t->k, (uint64_t)t->n, t->padding * 64, &matrix);
    epilogue_of(&c, t, out, 3, &d.epilogue);
    fm_emit e = fm_case_emit(&c, layout, fm_harness_device_bits(harness));
    bool    fits = fm_row_fits(row, &e, &d);
    if (fits) {
        double *want = fm_arena_array(c.arena, (size_t)(t->batch * t->m * t->n), sizeof *want);
        snprintf(label, sizeof label, "%s case %d %s", row->name, (int)(t - cases),
                 format == FM_WEIGHT_F16 ? "fp16" : "fp32");
        host_matmul(&c, &d, matrix, want);
        if (row->emit(&e, &d, &err) != FLASHMEM_OK) fail_msg("%s: %s", label, err.message);
        fm_case_check(&c, harness, &d.out, want, 1e-5, t->part, label);
    }
    fm_case_close(&c);
    return fits;
}

static void test_matmul__every_row_matches_the_host(void **state) {
    (void)state;
    for (size_t r = 0; r < fm_row_count; r++) {
        if (fm_rows[r]->family != FM_FAMILY_MATMUL || !fm_case_wants(fm_rows[r])) continue;
        uint32_t checked = 0;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            for (int layout = FLASHMEM_LAYOUT_CPU; layout <= FLASHMEM_LAYOUT_TEXTURE; layout++)
                for (int format = FM_WEIGHT_F32; format <= FM_WEIGHT_F16; format++)
                    checked += check_matmul(fm_rows[r], &cases[i], (flashmem_layout)layout, (fm_weight_format)format);
        print_message("%s: %u cases\n", fm_rows[r]->name, checked);
        assert_true(checked >= 8 || (fm_rows[r]->needs & ~fm_harness_device_bits(harness)));
    }
}

static void host_batch(const fm_case *c, const fm_batch_matmul_desc *d, double *want) {
    const int64_t *out = d->out.shape.dims, k = d->a.shape.dims[3];
    for (int64_t i = 0, count = fm_shape_count(&d->out.shape); i < count; i++) {
        int64_t n = i % out[3], m = i / out[3] % out[2], h = i / out[3] / out[2] % out[1],
                b = i / out[3] / out[2] / out[1];
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += (double)fm_case_at(c, &d->a, (int64_t[]){ b, h, m, j }) *
                   fm_case_at(c, &d->b, (int64_t[]){ b, h, j, n });
        want[i] = fm_case_finish(c, &d->epilogue, (int64_t[]){ b, h, m, n }, 3, sum);
    }
}

/* b_views: how b lies, which is what decides between copying and transposing rows. */
static uint32_t check_batch(const fm_row *row, const matmul_case *t, int b_views) {
    fm_case              c;
    fm_batch_matmul_desc d = { .name = "batch" };
    flashmem_error       err = { 0 };
    char                 label[160];
    int64_t              heads = 3, a[4] = { t->batch, heads, t->m, t->k }, b[4] = { t->batch, heads, t->k, t->n };
    int64_t              out[4] = { t->batch, heads, t->m, t->n };
    fm_case_open(&c, (uint32_t)(t - cases) * 100 + 7);
    d.a = operand(&c, a, 4, t->views, false);
    d.b = operand(&c, b, 4, b_views, false);
    d.out = operand(&c, out, 4, t->views, true);
    epilogue_of(&c, t, out, 4, &d.epilogue);
    fm_emit e = fm_case_emit(&c, FLASHMEM_LAYOUT_CPU, fm_harness_device_bits(harness));
    bool    fits = fm_row_fits(row, &e, &d);
    if (fits) {
        double *want = fm_arena_array(c.arena, (size_t)fm_shape_count(&d.out.shape), sizeof *want);
        snprintf(label, sizeof label, "%s case %d b %d", row->name, (int)(t - cases), b_views);
        host_batch(&c, &d, want);
        if (row->emit(&e, &d, &err) != FLASHMEM_OK) fail_msg("%s: %s", label, err.message);
        fm_case_check(&c, harness, &d.out, want, 1e-5, 0, label);
    }
    fm_case_close(&c);
    return fits;
}

static void test_batch_matmul__every_row_matches_the_host(void **state) {
    (void)state;
    for (size_t r = 0; r < fm_row_count; r++) {
        if (fm_rows[r]->family != FM_FAMILY_BATCH_MATMUL || !fm_case_wants(fm_rows[r])) continue;
        uint32_t checked = 0;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            for (int b_views = PLAIN; b_views <= GAPS; b_views++)
                checked += check_batch(fm_rows[r], &cases[i], b_views);
        print_message("%s: %u cases\n", fm_rows[r]->name, checked);
        assert_true(checked >= 8);
    }
}

/* A residual that is the output's own memory is read before it is written. */
static void test_matmul__adds_in_place(void **state) {
    (void)state;
    for (size_t r = 0; r < fm_row_count; r++) {
        fm_case        c;
        fm_matmul_desc d = { .name = "in place" };
        float         *matrix;
        flashmem_error err = { 0 };
        if (fm_rows[r]->family != FM_FAMILY_MATMUL || !fm_case_wants(fm_rows[r])) continue;
        if (!(fm_rows[r]->layouts & FM_LAYOUT_BIT(FLASHMEM_LAYOUT_CPU))) continue;
        fm_case_open(&c, 5);
        d.x = fm_case_view(&c, (int64_t[]){ 1, 30, 40 }, 3, NULL, 0);
        d.out = fm_case_view(&c, (int64_t[]){ 1, 30, 70 }, 3, NULL, 0);
        d.weight = fm_case_weight(&c, FLASHMEM_LAYOUT_CPU, FM_WEIGHT_F32, 40, 70, 0, &matrix);
        fm_epilogue_init(&d.epilogue);
        d.epilogue.post = d.out;
        fm_emit e = fm_case_emit(&c, FLASHMEM_LAYOUT_CPU, fm_harness_device_bits(harness));
        if (fm_row_fits(fm_rows[r], &e, &d)) {
            double *want = fm_arena_array(c.arena, 30 * 70, sizeof *want);
            host_matmul(&c, &d, matrix, want);
            assert_int_equal(fm_rows[r]->emit(&e, &d, &err), FLASHMEM_OK);
            fm_case_check(&c, harness, &d.out, want, 1e-5, 0, fm_rows[r]->name);
        }
        fm_case_close(&c);
    }
}

static void test_matmul__refuses_what_it_cannot_compute(void **state) {
    (void)state;
    fm_case        c;
    fm_matmul_desc d = { .name = "wrong" };
    flashmem_error err = { 0 };
    fm_case_open(&c, 9);
    d.x = fm_case_view(&c, (int64_t[]){ 1, 4, 40 }, 3, NULL, 0);
    d.out = fm_case_view(&c, (int64_t[]){ 1, 4, 70 }, 3, NULL, 0);
    d.weight = fm_case_weight(&c, FLASHMEM_LAYOUT_CPU, FM_WEIGHT_F32, 41, 70, 0, NULL); /* K is 40 */
    fm_epilogue_init(&d.epilogue);
    fm_emit e = fm_case_emit(&c, FLASHMEM_LAYOUT_CPU, FM_DEVICE_CPU);
    assert_int_equal(fm_emit_matmul(&e, &d, &err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "wrong"));
    d.x.dtype = FLASHMEM_I64;
    assert_int_equal(fm_emit_matmul(&e, &d, NULL), FLASHMEM_UNSUPPORTED);
    fm_case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul__every_row_matches_the_host),
        cmocka_unit_test(test_batch_matmul__every_row_matches_the_host),
        cmocka_unit_test(test_matmul__adds_in_place),
        cmocka_unit_test(test_matmul__refuses_what_it_cannot_compute),
    };
    return cmocka_run_group_tests(tests, open_harness, close_harness);
}
