/* Operands, host reference and comparison for kernel tests. */
#include "tests/kernels/case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "tests/base/cmocka_setup.h"

bool fm_case_wants(const fm_row *row) {
    const char *wanted = getenv("FLASHMEM_TEST_ROW");
    return !wanted || strstr(row->name, wanted);
}

void fm_case_open(fm_case *c, uint32_t seed) {
    *c = (fm_case){ .arena = fm_arena_create(), .seed = seed };
    assert_non_null(c->arena);
    fm_builder_init(&c->builder, c->arena);
}

void fm_case_close(fm_case *c) {
    for (uint32_t i = 0; i < FM_CASE_VALUES; i++) free(c->data[i]);
    fm_arena_destroy(c->arena);
}

static uint32_t new_value(fm_case *c, int64_t count) {
    int64_t  allocated = count > 0 ? count : 1;
    uint32_t value = fm_builder_value(&c->builder, FM_VALUE_ACTIVATION, FLASHMEM_F32, allocated * 4, NULL, NULL);
    assert_true(value < FM_CASE_VALUES);
    c->data[value] = malloc((size_t)allocated * 4);
    assert_non_null(c->data[value]);
    fm_harness_fill(c->data[value], (size_t)allocated, c->seed++);
    return value;
}

fm_view fm_case_view(fm_case *c, const int64_t *dims, uint32_t rank, const uint32_t *order, int64_t gap) {
    fm_view view = { .dtype = FLASHMEM_F32, .shape = { .rank = rank }, .offset = gap };
    int64_t stride = 1;
    memcpy(view.shape.dims, dims, rank * sizeof *dims);
    for (uint32_t i = rank; i-- > 0;) {
        uint32_t axis = order ? order[i] : i;
        view.strides[axis] = stride;
        stride *= dims[axis];
        if (i + 1 == rank) stride += gap;
    }
    view.value = new_value(c, stride + gap);
    return view;
}

fm_view fm_case_bent(fm_case *c, const int64_t *dims, uint32_t rank, uint32_t broadcast, uint32_t reversed) {
    fm_view view = fm_case_view(c, dims, rank, NULL, 3);
    for (uint32_t axis = 0; axis < rank; axis++) {
        if (broadcast >> axis & 1) view.strides[axis] = 0;
        if (!(reversed >> axis & 1)) continue;
        view.offset += (dims[axis] - 1) * view.strides[axis];
        view.strides[axis] = -view.strides[axis];
    }
    return view;
}

fm_view fm_case_absent(void) { return (fm_view){ .value = FM_NONE }; }

uint32_t fm_case_weight(fm_case *c, flashmem_layout layout, fm_weight_format format, uint64_t k, uint64_t n,
                        uint64_t padding, float **matrix) {
    float     *random = fm_arena_array(c->arena, k * n, sizeof(float));
    fm_weight *weight = &c->weights[c->weight_count];
    fm_harness_fill(random, k * n, c->seed++);
    for (uint64_t i = 0; i < k * n && format == FM_WEIGHT_F16; i++)
        random[i] = fm_float_from_half(fm_half_from_float(random[i]));
    void    *packed = fm_harness_pack(weight, layout, format, random, k, n, padding);
    uint32_t value = fm_builder_weight(&c->builder, c->weight_count++,
                                       format == FM_WEIGHT_F16 ? FLASHMEM_F16 : FLASHMEM_F32, (int64_t)weight->bytes,
                                       NULL);
    assert_true(value < FM_CASE_VALUES);
    c->data[value] = packed;
    if (matrix) *matrix = random;
    return value;
}

uint32_t fm_case_dense(fm_case *c, uint64_t count, float **data) {
    fm_weight *weight = &c->weights[c->weight_count];
    *weight = (fm_weight){ .name = FM_NONE, .kind = FM_WEIGHT_DENSE, .format = FM_WEIGHT_RAW, .bytes = count * 4 };
    uint32_t value = fm_builder_weight(&c->builder, c->weight_count++, FLASHMEM_F32, (int64_t)count * 4, NULL);
    assert_true(value < FM_CASE_VALUES);
    c->data[value] = malloc(count * 4);
    assert_non_null(c->data[value]);
    fm_harness_fill(c->data[value], count, c->seed++);
    if (data) *data = c->data[value];
    return value;
}

float fm_case_at(const fm_case *c, const fm_view *view, const int64_t *index) {
    int64_t at = view->offset;
    if (view->value == FM_NONE) return 0;
    for (uint32_t axis = 0; axis < view->shape.rank; axis++) at += index[axis] * view->strides[axis];
    return ((const float *)c->data[view->value])[at];
}

double fm_case_activate(fm_activation activation, double x, double p0, double p1) {
    switch (activation) {
    case FM_ACT_NONE: return x;
    case FM_ACT_RELU: return x > 0 ? x : 0;
    case FM_ACT_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
    case FM_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case FM_ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case FM_ACT_TANH: return tanh(x);
    case FM_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case FM_ACT_SILU: return x / (1 + exp(-x));
    case FM_ACT_CLIP: return x < p0 ? p0 : x > p1 ? p1 : x;
    case FM_ACT_LEAKY_RELU: return x < 0 ? p0 * x : x;
    case FM_ACT_HARD_SWISH: return x * fmin(1, fmax(0, x / 6 + 0.5));
    case FM_ACT_HARD_SIGMOID: return fmin(1, fmax(0, p0 * x + p1));
    case FM_ACT_ELU: return x < 0 ? p0 * expm1(x) : x;
    }
    return NAN;
}

double fm_case_finish(const fm_case *c, const fm_epilogue *ep, const int64_t *index, uint32_t channel, double sum) {
    sum = (double)ep->alpha * sum + fm_case_at(c, &ep->bias, &index[channel]) + fm_case_at(c, &ep->pre, index);
    return fm_case_activate(ep->activation, sum, ep->p0, ep->p1) + fm_case_at(c, &ep->post, index);
}

fm_emit fm_case_emit(fm_case *c, flashmem_layout layout, uint32_t device) {
    return (fm_emit){ .builder = &c->builder, .weights = c->weights, .target = { .layout = layout, .device = device } };
}

static void execute(fm_case *c, fm_harness *h, const fm_program *program, void **data, uint32_t part_panels,
                    const char *label) {
    flashmem_error err = { 0 };
    assert_true(program->value_count <= FM_CASE_VALUES);
    fm_harness_run run = { .program = program, .weights = c->weights, .data = data, .part_panels = part_panels };
    if (fm_harness_execute(h, &run, &err) != FLASHMEM_OK) fail_msg("%s: %s", label, err.message);
}

/* Elements of the output's value that the view does not cover keep their bytes. */
static void check_untouched(const fm_view *out, const float *before, const float *after, size_t count,
                            const char *label) {
    unsigned char *covered = calloc(count, 1);
    int64_t        index[FM_MAX_RANK] = { 0 };
    assert_non_null(covered);
    for (int64_t i = 0, n = fm_shape_count(&out->shape); i < n; i++) {
        int64_t at = out->offset;
        for (uint32_t axis = 0; axis < out->shape.rank; axis++) at += index[axis] * out->strides[axis];
        covered[at] = 1;
        for (uint32_t axis = out->shape.rank; axis-- > 0 && ++index[axis] == out->shape.dims[axis];) index[axis] = 0;
    }
    for (size_t i = 0; i < count; i++)
        if (!covered[i] && memcmp(&before[i], &after[i], 4) != 0)
            fail_msg("%s: wrote element %zu beside the view", label, i);
    free(covered);
}

static void check_values(fm_case *c, const fm_view *out, const double *want, double tolerance, const char *label) {
    int64_t index[FM_MAX_RANK] = { 0 };
    double  largest = 1e-30, worst = 0;
    int64_t worst_at = 0, n = fm_shape_count(&out->shape);
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs(fm_case_at(c, out, index) - want[i]);
        if (!(difference <= worst)) worst = difference, worst_at = i;
        if (fabs(want[i]) > largest) largest = fabs(want[i]);
        for (uint32_t axis = out->shape.rank; axis-- > 0 && ++index[axis] == out->shape.dims[axis];) index[axis] = 0;
    }
    if (!(worst <= tolerance * largest))
        fail_msg("%s: element %lld is off by %g (largest %g, wanted %g)", label, (long long)worst_at, worst, largest,
                 want[worst_at]);
}

void fm_case_check(fm_case *c, fm_harness *h, const fm_view *out, const double *want, double tolerance,
                   uint32_t part_panels, const char *label) {
    fm_program program = fm_builder_program(&c->builder);
    size_t     bytes = (size_t)fm_program_expr(&program, program.values[out->value].bytes);
    float     *before = malloc(bytes), *whole = malloc(bytes);
    assert_true(before && whole);
    memcpy(before, c->data[out->value], bytes);
    execute(c, h, &program, c->data, 0, label);
    check_values(c, out, want, tolerance, label);
    check_untouched(out, before, c->data[out->value], bytes / 4, label);
    if (part_panels) {
        memcpy(whole, c->data[out->value], bytes);
        memcpy(c->data[out->value], before, bytes);
        execute(c, h, &program, c->data, part_panels, label);
        if (memcmp(whole, c->data[out->value], bytes) != 0) fail_msg("%s: parts differ from the whole", label);
    }
    free(before);
    free(whole);
}
