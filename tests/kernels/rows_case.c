/* Typed operands, running of rows, comparison. */
#include "tests/kernels/rows_case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/harness_fixture.h"

int fm_rows_setup(void **state) { return open_harness(state); }
int fm_rows_teardown(void **state) { return close_harness(state); }

bool fm_rows_small(void) { return getenv("FLASHMEM_TEST_SMALL") != NULL; }

void fm_rows_open(fm_rows_case *c, const char *label, ...) {
    va_list list;
    *c = (fm_rows_case){ .harness = harness, .seed = 1 };
    va_start(list, label);
    vsnprintf(c->label, sizeof c->label, label, list);
    va_end(list);
}

void fm_rows_close(fm_rows_case *c) {
    for (uint32_t i = 0; i < c->value_count; i++) free(c->values[i].data);
}

static uint32_t random_bits(fm_rows_case *c) {
    c->seed = c->seed * 1664525u + 1013904223u;
    return c->seed >> 8;
}

static double load(const fm_rows_value *v, int64_t at) {
    switch (v->dtype) {
    case FLASHMEM_F32: return ((const float *)v->data)[at];
    case FLASHMEM_U8:
    case FLASHMEM_BOOL: return ((const uint8_t *)v->data)[at];
    case FLASHMEM_I8: return ((const int8_t *)v->data)[at];
    case FLASHMEM_U16:
    case FLASHMEM_F16: return ((const uint16_t *)v->data)[at];
    case FLASHMEM_I16: return ((const int16_t *)v->data)[at];
    case FLASHMEM_I32: return ((const int32_t *)v->data)[at];
    case FLASHMEM_U32: return ((const uint32_t *)v->data)[at];
    case FLASHMEM_I64: return (double)((const int64_t *)v->data)[at];
    case FLASHMEM_F64: return ((const double *)v->data)[at];
    default: fail_msg("no host form of %s", fm_dtype_name(v->dtype)); return 0;
    }
}

static void store(fm_rows_value *v, int64_t at, double x) {
    switch (v->dtype) {
    case FLASHMEM_F32: ((float *)v->data)[at] = (float)x; return;
    case FLASHMEM_U8:
    case FLASHMEM_BOOL: ((uint8_t *)v->data)[at] = (uint8_t)x; return;
    case FLASHMEM_I8: ((int8_t *)v->data)[at] = (int8_t)x; return;
    case FLASHMEM_U16:
    case FLASHMEM_F16: ((uint16_t *)v->data)[at] = (uint16_t)x; return;
    case FLASHMEM_I16: ((int16_t *)v->data)[at] = (int16_t)x; return;
    case FLASHMEM_I32: ((int32_t *)v->data)[at] = (int32_t)x; return;
    case FLASHMEM_U32: ((uint32_t *)v->data)[at] = (uint32_t)x; return;
    case FLASHMEM_I64: ((int64_t *)v->data)[at] = (int64_t)x; return;
    case FLASHMEM_F64: ((double *)v->data)[at] = x; return;
    default: fail_msg("no host form of %s", fm_dtype_name(v->dtype));
    }
}

static bool is_unsigned(flashmem_dtype t) {
    return t == FLASHMEM_U8 || t == FLASHMEM_U16 || t == FLASHMEM_U32 || t == FLASHMEM_F16;
}

static uint32_t new_value(fm_rows_case *c, flashmem_dtype dtype, int64_t count) {
    fm_rows_value *v = &c->values[c->value_count];
    assert_true(c->value_count < FM_ROWS_VALUES);
    *v = (fm_rows_value){ dtype, count, malloc((size_t)count * fm_dtype_bytes(dtype)) };
    assert_non_null(v->data);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = random_bits(c);
        double   number = is_unsigned(dtype) ? bits % 100 : (double)(bits % 200) - 100;
        store(v, i, dtype == FLASHMEM_F32 ? bits / 8388608.0 - 1 : dtype == FLASHMEM_BOOL ? bits & 1 : number);
    }
    return c->value_count++;
}

fm_view fm_rows_view(fm_rows_case *c, flashmem_dtype dtype, uint32_t rank, const int64_t *dims, fm_rows_layout layout,
                     uint32_t broadcast) {
    fm_view view = { .dtype = dtype, .shape = { .rank = rank }, .offset = layout == FM_DENSE ? 0 : 3 };
    int64_t stride = 1, span = view.offset;
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t axis = layout == FM_TRANSPOSED ? i : rank - 1 - i;
        view.shape.dims[axis] = dims[axis];
        if (broadcast >> axis & 1) continue;
        view.strides[axis] = stride;
        span += (dims[axis] - 1) * stride;
        stride *= dims[axis];
        if (i == 0 && layout == FM_GAPPED) stride += 5;
    }
    for (uint32_t axis = 0; layout == FM_REVERSED && axis<rank; axis += rank> 1 ? rank - 1 : 1) {
        view.offset += (dims[axis] - 1) * view.strides[axis];
        view.strides[axis] = -view.strides[axis];
    }
    view.value = new_value(c, dtype, span + 1 + (layout == FM_DENSE ? 0 : 2));
    return view;
}

fm_view fm_rows_absent(void) { return (fm_view){ .value = FM_NONE }; }

static int64_t position(const fm_view *view, const int64_t *index) {
    int64_t at = view->offset;
    for (uint32_t axis = 0; axis < view->shape.rank; axis++) at += index[axis] * view->strides[axis];
    return at;
}

double fm_rows_at(const fm_rows_case *c, const fm_view *view, const int64_t *index) {
    fm_rows_value v = c->values[view->value];
    v.dtype = view->dtype;
    return load(&v, position(view, index));
}

void fm_rows_set(fm_rows_case *c, const fm_view *view, const int64_t *index, double value) {
    store(&c->values[view->value], position(view, index), value);
}

bool fm_rows_next(const fm_shape *shape, int64_t *index) {
    for (uint32_t axis = shape->rank; axis-- > 0;) {
        if (++index[axis] < shape->dims[axis]) return true;
        index[axis] = 0;
    }
    return false;
}

void fm_rows_fill(fm_rows_case *c, const fm_view *view, int64_t low, int64_t high) {
    int64_t index[FM_MAX_RANK] = { 0 };
    do fm_rows_set(c, view, index, (double)(low + random_bits(c) % (high - low)));
    while (fm_rows_next(&view->shape, index));
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static flashmem_status emit_public(fm_emit *e, fm_family family, const void *d, flashmem_error *err) {
    switch (family) {
    case FM_FAMILY_ATTENTION: return fm_emit_attention(e, d, err);
    case FM_FAMILY_POOL: return fm_emit_pool(e, d, err);
    case FM_FAMILY_NORM: return fm_emit_norm(e, d, err);
    case FM_FAMILY_GROUP_NORM: return fm_emit_group_norm(e, d, err);
    case FM_FAMILY_SOFTMAX: return fm_emit_softmax(e, d, err);
    case FM_FAMILY_REDUCE: return fm_emit_reduce(e, d, err);
    case FM_FAMILY_ELEMENTWISE: return fm_emit_elementwise(e, d, err);
    case FM_FAMILY_GATHER: return fm_emit_gather(e, d, err);
    case FM_FAMILY_GATHER_ELEMENTS: return fm_emit_gather_elements(e, d, err);
    case FM_FAMILY_GATHER_ND: return fm_emit_gather_nd(e, d, err);
    case FM_FAMILY_SCATTER: return fm_emit_scatter(e, d, err);
    case FM_FAMILY_PAD: return fm_emit_pad(e, d, err);
    case FM_FAMILY_CUMSUM: return fm_emit_cumsum(e, d, err);
    case FM_FAMILY_TOP_K: return fm_emit_top_k(e, d, err);
    case FM_FAMILY_LOAD: return fm_emit_load(e, d, err);
    default: return fm_fail(err, FLASHMEM_INTERNAL, "family %d is tested elsewhere", (int)family);
    }
}

typedef struct attempt {
    fm_arena          *arena;
    fm_program_builder builder;
    fm_emit            emit;
} attempt;

static void open_attempt(attempt *a, const fm_rows_case *c) {
    *a = (attempt){ .arena = fm_arena_create() };
    assert_non_null(a->arena);
    fm_builder_init(&a->builder, a->arena);
    for (uint32_t i = 0; i < c->value_count; i++)
        assert_int_equal(i, fm_builder_value(&a->builder, FM_VALUE_ACTIVATION, c->values[i].dtype,
                                             c->values[i].count * fm_dtype_bytes(c->values[i].dtype), NULL, NULL));
    a->emit = (fm_emit){ &a->builder, { FLASHMEM_LAYOUT_CPU, fm_harness_device_bits(c->harness), false }, NULL };
}

static void check_output(const fm_rows_case *c, const fm_view *out, const double *want, double tolerance,
                         const void *after, const char *row) {
    fm_rows_value  v = { out->dtype, 0, (void *)after };
    fm_rows_value  before = c->values[out->value];
    unsigned char *covered = calloc((size_t)before.count, 1);
    int64_t        index[FM_MAX_RANK] = { 0 }, i = 0;
    size_t         each = fm_dtype_bytes(out->dtype);
    assert_non_null(covered);
    do {
        int64_t at = position(out, index);
        double  got = load(&v, at), size = fabs(want[i]) > 1 ? fabs(want[i]) : 1;
        bool    same = got == want[i] || (isnan(got) && isnan(want[i]));
        if (!same && !(fabs(got - want[i]) <= tolerance * size))
            fail_msg("%s: %s: element %lld is %.9g, wanted %.9g", c->label, row, (long long)i, got, want[i]);
        covered[at] = 1;
        i++;
    } while (fm_rows_next(&out->shape, index));
    for (int64_t k = 0; k < before.count; k++)
        if (!covered[k] &&
            memcmp((char *)before.data + (size_t)k * each, (const char *)after + (size_t)k * each, each) != 0)
            fail_msg("%s: %s: wrote element %lld beside the view", c->label, row, (long long)k);
    free(covered);
}

static void run_attempt(attempt *a, fm_rows_case *c, const fm_view *outs, const double *const *wants, uint32_t count,
                        double tolerance, const char *row) {
    fm_program     program = fm_builder_program(&a->builder);
    void         **data = fm_arena_array(a->arena, program.value_count, sizeof *data);
    flashmem_error err = { 0 };
    for (uint32_t i = 0; i < c->value_count; i++) {
        size_t bytes = (size_t)c->values[i].count * fm_dtype_bytes(c->values[i].dtype);
        data[i] = fm_arena_alloc(a->arena, bytes);
        memcpy(data[i], c->values[i].data, bytes);
    }
    fm_harness_run run = { .program = &program, .data = data };
    if (fm_harness_execute(c->harness, &run, &err) != FLASHMEM_OK) fail_msg("%s: %s: %s", c->label, row, err.message);
    for (uint32_t i = 0; i < count; i++) check_output(c, &outs[i], wants[i], tolerance, data[outs[i].value], row);
}

void fm_rows_check_two(fm_rows_case *c, fm_family family, const void *desc, const fm_view *outs,
                       const double *const *wants, uint32_t count, double tolerance) {
    for (size_t i = 0; i <= fm_row_count; i++) {
        const fm_row  *row = i < fm_row_count ? fm_rows[i] : NULL;
        flashmem_error err = { 0 };
        attempt        a;
        if (row && row->family != family) continue;
        open_attempt(&a, c);
        if (!row || fm_row_fits(row, &a.emit, desc)) {
            a.emit.target.reference = row && row->reference;
            flashmem_status status = row ? row->emit(&a.emit, desc, &err) : emit_public(&a.emit, family, desc, &err);
            if (status != FLASHMEM_OK) fail_msg("%s: %s: %s", c->label, row ? row->name : "chosen", err.message);
            run_attempt(&a, c, outs, wants, count, tolerance, row ? row->name : "chosen");
        }
        fm_arena_destroy(a.arena);
    }
}

void fm_rows_check(fm_rows_case *c, fm_family family, const void *desc, const fm_view *out, const double *want,
                   double tolerance) {
    fm_rows_check_two(c, family, desc, out, &want, 1, tolerance);
}

void fm_rows_refuses(fm_rows_case *c, fm_family family, const void *desc, const char *reason) {
    flashmem_error err = { 0 };
    attempt        a;
    open_attempt(&a, c);
    flashmem_status status = emit_public(&a.emit, family, desc, &err);
    if (status != FLASHMEM_UNSUPPORTED || !strstr(err.message, reason))
        fail_msg("%s: status %s, '%s' does not say '%s'", c->label, flashmem_status_name(status), err.message, reason);
    assert_int_equal(a.builder.step_count, 0);
    fm_arena_destroy(a.arena);
}
