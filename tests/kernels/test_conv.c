/* Every convolution row against a host reference in double precision: kernels, strides, dilations, asymmetric and
 * negative padding, channels-last and channels-first views, groups, transposed, epilogues, fp16, parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/case.h"
#include "tests/kernels/harness_fixture.h"

typedef struct conv_case {
    int64_t       n, c, h, w, o;
    uint32_t      kernel[2], stride[2], dilation[2];
    int32_t       pad[4];
    uint32_t      group;
    bool          first; /* channels-first input */
    bool          out_first;
    fm_activation activation;
    bool          bias, pre, post;
    uint32_t      part;
} conv_case;

static const conv_case cases[] = {
    { 1, 1, 1, 1, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 }, 1, 0, 0, FM_ACT_NONE, 0, 0, 0, 1 },
    { 1, 64, 7, 9, 80, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 }, 1, 0, 0, FM_ACT_RELU, 1, 0, 0, 2 },
    { 2, 40, 8, 6, 33, { 1, 1 }, { 2, 2 }, { 1, 1 }, { 0 }, 1, 0, 1, FM_ACT_NONE, 1, 0, 1, 1 },
    { 1, 16, 9, 11, 48, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 1, 0, 0, FM_ACT_RELU, 1, 1, 0, 1 },
    { 2, 20, 13, 7, 70, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 1, 0, 0, FM_ACT_SILU, 1, 0, 1, 3 },
    { 1, 3, 23, 29, 64, { 7, 7 }, { 2, 2 }, { 1, 1 }, { 3, 3, 3, 3 }, 1, 1, 0, FM_ACT_RELU, 1, 0, 0, 2 },
    { 1, 3, 32, 48, 40, { 16, 16 }, { 16, 16 }, { 1, 1 }, { 0 }, 1, 1, 0, FM_ACT_NONE, 1, 0, 1, 1 },
    { 1, 5, 12, 10, 17, { 3, 2 }, { 1, 2 }, { 2, 3 }, { 2, 1, 3, 0 }, 1, 0, 1, FM_ACT_LEAKY_RELU, 0, 0, 0, 1 },
    { 1, 34, 9, 9, 24, { 3, 3 }, { 1, 1 }, { 1, 1 }, { -1, 2, 0, -1 }, 1, 0, 0, FM_ACT_CLIP, 1, 0, 0, 1 },
    { 1, 80, 6, 6, 16, { 5, 5 }, { 1, 1 }, { 1, 1 }, { 4, 4, 4, 4 }, 1, 1, 1, FM_ACT_NONE, 0, 1, 1, 0 },
    { 1, 100, 14, 14, 40, { 3, 3 }, { 1, 1 }, { 2, 2 }, { 2, 2, 2, 2 }, 1, 0, 0, FM_ACT_RELU, 1, 0, 1, 2 },
    { 1, 48, 5, 50, 40, { 3, 3 }, { 1, 1 }, { 2, 1 }, { 2, 1, 2, 1 }, 1, 0, 0, FM_ACT_RELU, 1, 0, 1, 1 },
    { 2, 24, 5, 70, 20, { 3, 5 }, { 1, 2 }, { 1, 1 }, { 1, 2, 1, 2 }, 1, 0, 0, FM_ACT_NONE, 1, 1, 0, 1 },
    { 1, 16, 6, 30, 35, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 2, 3 }, 1, 0, 0, FM_ACT_RELU, 1, 0, 0, 1 },
    { 1, 12, 9, 8, 12, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 12, 0, 0, FM_ACT_RELU, 1, 0, 0, 0 },
    { 2, 37, 11, 10, 37, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 37, 0, 0, FM_ACT_HARD_SWISH, 1, 0, 1, 0 },
    { 1, 48, 9, 13, 48, { 5, 3 }, { 1, 1 }, { 2, 1 }, { 4, 1, 4, 1 }, 48, 0, 1, FM_ACT_NONE, 0, 1, 0, 0 },
    { 1, 12, 9, 8, 18, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 3, 0, 0, FM_ACT_RELU, 1, 0, 0, 0 },
    { 1, 8, 9, 8, 16, { 3, 1 }, { 1, 2 }, { 1, 1 }, { 1, 0, 1, 0 }, 8, 1, 0, FM_ACT_NONE, 1, 0, 0, 0 },
};

static fm_view image(fm_case *c, const int64_t *dims, bool channels_first, int64_t gap) {
    static const uint32_t last[4] = { 0, 2, 3, 1 };
    return fm_case_view(c, dims, 4, channels_first ? NULL : last, gap);
}

static int64_t out_size(int64_t in, uint32_t kernel, uint32_t stride, uint32_t dilation, int32_t before,
                        int32_t after) {
    return (in + before + after - (int64_t)dilation * (kernel - 1) - 1) / stride + 1;
}

static void epilogue_of(fm_case *c, const conv_case *t, const int64_t *out, fm_epilogue *ep) {
    fm_epilogue_init(ep);
    ep->activation = t->activation;
    ep->p0 = t->activation == FM_ACT_CLIP ? -0.5f : 0.2f;
    ep->p1 = 0.75f;
    if (t->bias) ep->bias = fm_case_view(c, &out[1], 1, NULL, 0);
    if (t->pre) ep->pre = image(c, out, t->out_first, 2);
    if (t->post) ep->post = image(c, out, t->out_first, 0);
}

/* weights: [kh][kw][C / group][O]. */
static void host_conv(const fm_case *c, const fm_conv_desc *d, const float *weights, double *want) {
    const int64_t *in = d->x.shape.dims, *out = d->out.shape.dims;
    int64_t        group_in = in[1] / d->group, group_out = out[1] / d->group;
    for (int64_t i = 0, count = fm_shape_count(&d->out.shape); i < count; i++) {
        int64_t index[4] = { i / (out[1] * out[2] * out[3]), i / (out[2] * out[3]) % out[1], i / out[3] % out[2],
                             i % out[3] };
        double  sum = 0;
        for (int64_t tap = 0; tap < (int64_t)d->kernel[0] * d->kernel[1]; tap++) {
            int64_t ih = index[2] * d->stride[0] - d->pad[0] + tap / d->kernel[1] * d->dilation[0];
            int64_t iw = index[3] * d->stride[1] - d->pad[1] + tap % d->kernel[1] * d->dilation[1];
            if (ih < 0 || iw < 0 || ih >= in[2] || iw >= in[3]) continue;
            for (int64_t j = 0; j < group_in; j++)
                sum += (double)fm_case_at(c, &d->x,
                                          (int64_t[]){ index[0], index[1] / group_out * group_in + j, ih, iw }) *
                       weights[(tap * group_in + j) * out[1] + index[1]];
        }
        want[i] = fm_case_finish(c, &d->epilogue, index, 1, sum);
    }
}

static uint32_t check_conv(const fm_row *row, const conv_case *t, flashmem_layout layout, fm_weight_format format) {
    fm_case        c;
    flashmem_error err = { 0 };
    char           label[160];
    float         *weights;
    fm_conv_desc   d = { .name = "conv", .group = t->group };
    int64_t        in[4] = { t->n, t->c, t->h, t->w }, out[4] = { t->n, t->o };
    for (int axis = 0; axis < 2; axis++) {
        d.kernel[axis] = t->kernel[axis], d.stride[axis] = t->stride[axis], d.dilation[axis] = t->dilation[axis];
        out[2 + axis] = out_size(in[2 + axis], t->kernel[axis], t->stride[axis], t->dilation[axis], t->pad[axis],
                                 t->pad[axis + 2]);
    }
    memcpy(d.pad, t->pad, sizeof d.pad);
    fm_case_open(&c, (uint32_t)(t - cases) * 100 + 3);
    d.x = image(&c, in, t->first, t->part ? 0 : 4);
    d.out = image(&c, out, t->out_first, t->part ? 0 : 3);
    uint64_t k = (uint64_t)(t->kernel[0] * t->kernel[1]) * (uint64_t)t->c / t->group;
    d.weight = t->group == 1 ? fm_case_weight(&c, layout, format, k, (uint64_t)t->o, 0, &weights)
                             : fm_case_dense(&c, k * (uint64_t)t->o, &weights);
    epilogue_of(&c, t, out, &d.epilogue);
    fm_emit e = fm_case_emit(&c, layout, fm_harness_device_bits(harness));
    bool    fits = fm_row_fits(row, &e, &d);
    if (fits) {
        double *want = fm_arena_array(c.arena, (size_t)fm_shape_count(&d.out.shape), sizeof *want);
        snprintf(label, sizeof label, "%s case %d %s", row->name, (int)(t - cases),
                 format == FM_WEIGHT_F16 ? "fp16" : "fp32");
        host_conv(&c, &d, weights, want);
        if (row->emit(&e, &d, &err) != FLASHMEM_OK) fail_msg("%s: %s", label, err.message);
        fm_case_check(&c, harness, &d.out, want, 1e-5, t->part, label);
    }
    fm_case_close(&c);
    return fits;
}

static void test_conv__every_row_matches_the_host(void **state) {
    (void)state;
    for (size_t r = 0; r < fm_row_count; r++) {
        if (fm_rows[r]->family != FM_FAMILY_CONV || !fm_case_wants(fm_rows[r])) continue;
        uint32_t checked = 0;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            for (int layout = FLASHMEM_LAYOUT_CPU; layout <= FLASHMEM_LAYOUT_TEXTURE; layout++)
                for (int format = FM_WEIGHT_F32; format <= FM_WEIGHT_F16; format++)
                    checked += check_conv(fm_rows[r], &cases[i], (flashmem_layout)layout, (fm_weight_format)format);
        print_message("%s: %u cases\n", fm_rows[r]->name, checked);
        assert_true(checked >= 2 || (fm_rows[r]->needs & ~fm_harness_device_bits(harness)));
    }
}

/* Every case has a row on both layouts: what lowering relies on. */
static void test_conv__a_row_takes_every_case(void **state) {
    (void)state;
    if (getenv("FLASHMEM_TEST_ROW")) skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int layout = FLASHMEM_LAYOUT_CPU; layout <= FLASHMEM_LAYOUT_TEXTURE; layout++) {
            uint32_t taken = 0;
            for (size_t r = 0; r < fm_row_count; r++)
                if (fm_rows[r]->family == FM_FAMILY_CONV && fm_rows[r]->reference)
                    taken += check_conv(fm_rows[r], &cases[i], (flashmem_layout)layout, FM_WEIGHT_F32);
            assert_true(taken > 0);
        }
}

typedef struct transpose_case {
    int64_t  n, c, h, w, o;
    uint32_t kernel[2], stride[2], dilation[2];
    int32_t  pad[4];
    int64_t  extra; /* output padding */
    uint32_t group;
    bool     first;
} transpose_case;

static const transpose_case transpose_cases[] = {
    { 1, 4, 5, 6, 8, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 1, 0 },
    { 2, 6, 4, 5, 4, { 4, 3 }, { 2, 1 }, { 1, 2 }, { 1, 0, 1, 2 }, 0, 2, 1 },
    { 1, 3, 7, 3, 5, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 1, 1, 0 },
};

static void host_transpose(const fm_case *c, const fm_conv_transpose_desc *d, const float *weights, double *want) {
    const int64_t *in = d->x.shape.dims, *out = d->out.shape.dims;
    int64_t        group_in = in[1] / d->group, group_out = out[1] / d->group;
    for (int64_t n = 0; n < in[0]; n++)
        for (int64_t i = 0; i < in[1] * group_out * d->kernel[0] * d->kernel[1]; i++) {
            int64_t kw = i % d->kernel[1], kh = i / d->kernel[1] % d->kernel[0];
            int64_t o = i / d->kernel[1] / d->kernel[0] % group_out, ci = i / d->kernel[1] / d->kernel[0] / group_out;
            for (int64_t p = 0; p < in[2] * in[3]; p++) {
                int64_t oh = p / in[3] * d->stride[0] - d->pad[0] + kh * d->dilation[0];
                int64_t ow = p % in[3] * d->stride[1] - d->pad[1] + kw * d->dilation[1];
                if (oh < 0 || ow < 0 || oh >= out[2] || ow >= out[3]) continue;
                want[((n * out[1] + ci / group_in * group_out + o) * out[2] + oh) * out[3] + ow] +=
                    (double)fm_case_at(c, &d->x, (int64_t[]){ n, ci, p / in[3], p % in[3] }) * weights[i];
            }
        }
    for (int64_t i = 0, count = fm_shape_count(&d->out.shape); i < count; i++)
        want[i] = fm_case_finish(c, &d->epilogue, (int64_t[]){ 0, i / out[3] / out[2] % out[1], 0, 0 }, 1, want[i]);
}

static void test_conv_transpose__every_row_matches_the_host(void **state) {
    (void)state;
    for (size_t r = 0; r < fm_row_count; r++)
        for (size_t i = 0; i < sizeof transpose_cases / sizeof transpose_cases[0]; i++) {
            const transpose_case  *t = &transpose_cases[i];
            fm_case                c;
            flashmem_error         err = { 0 };
            float                 *weights;
            fm_conv_transpose_desc d = { .name = "transpose", .group = t->group };
            int64_t                in[4] = { t->n, t->c, t->h, t->w }, out[4] = { t->n, t->o };
            if (fm_rows[r]->family != FM_FAMILY_CONV_TRANSPOSE || !fm_case_wants(fm_rows[r])) continue;
            for (int axis = 0; axis < 2; axis++) {
                d.kernel[axis] = t->kernel[axis], d.stride[axis] = t->stride[axis],
                d.dilation[axis] = t->dilation[axis];
                out[2 + axis] = (in[2 + axis] - 1) * t->stride[axis] + t->dilation[axis] * (t->kernel[axis] - 1) + 1 -
                                t->pad[axis] - t->pad[axis + 2] + t->extra;
            }
            memcpy(d.pad, t->pad, sizeof d.pad);
            fm_case_open(&c, (uint32_t)i + 900);
            d.x = image(&c, in, t->first, 1);
            d.out = image(&c, out, !t->first, 2);
            d.weight = fm_case_dense(&c, (uint64_t)(t->c * t->o / t->group) * t->kernel[0] * t->kernel[1], &weights);
            fm_epilogue_init(&d.epilogue);
            d.epilogue.activation = FM_ACT_RELU;
            d.epilogue.bias = fm_case_view(&c, &out[1], 1, NULL, 0);
            fm_emit e = fm_case_emit(&c, FLASHMEM_LAYOUT_CPU, fm_harness_device_bits(harness));
            double *want = fm_arena_array(c.arena, (size_t)fm_shape_count(&d.out.shape), sizeof *want);
            assert_true(fm_row_fits(fm_rows[r], &e, &d));
            host_transpose(&c, &d, weights, want);
            if (fm_rows[r]->emit(&e, &d, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
            fm_case_check(&c, harness, &d.out, want, 1e-5, 0, fm_rows[r]->name);
            fm_case_close(&c);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv__every_row_matches_the_host),
        cmocka_unit_test(test_conv__a_row_takes_every_case),
        cmocka_unit_test(test_conv_transpose__every_row_matches_the_host),
    };
    return cmocka_run_group_tests(tests, open_harness, close_harness);
}
