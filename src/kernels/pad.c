/* Padding and cropping. */
#include <string.h>

#include "kernels/view_args.h"

static flashmem_status check(const fm_subject *s, const fm_pad_desc *d) {
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_ANY, FM_RANK_ANY));
    FM_TRY(fm_check_operand(s, "out", &d->out, FM_DTYPE_BIT(d->x.dtype), d->x.shape.rank));
    if (!fm_kernel_type(d->x.dtype)) return fm_refuse(s, "x is %s", fm_dtype_name(d->x.dtype));
    for (uint32_t i = 0; i < d->x.shape.rank; i++)
        if (d->before[i] < -(1 << 30) || d->before[i] > 1 << 30)
            return fm_refuse(s, "axis %u is padded beyond 2^30", i);
    if ((unsigned)d->mode > FM_PAD_WRAP) return fm_refuse(s, "mode %d", (int)d->mode);
    return FLASHMEM_OK;
}

/* The constant in x's type: a value of the program. */
static uint32_t fill_value(fm_emit *e, const fm_pad_desc *d) {
    union {
        float   f;
        int64_t i; /* little-endian: the narrower integers are its first bytes */
        uint8_t bytes[8];
    } fill = { .bytes = { 0 } };
    if (d->x.dtype == FLASHMEM_F32) fill.f = (float)d->value;
    else if (d->x.dtype == FLASHMEM_BOOL) fill.i = d->value != 0;
    else if (d->value >= -9.2e18 && d->value <= 9.2e18) fill.i = (int64_t)d->value;
    else fill.i = d->value > 0 ? INT64_MAX : INT64_MIN;
    return fm_builder_constant(e->builder, d->x.dtype, fill.bytes, fm_dtype_bytes(d->x.dtype));
}

static flashmem_status emit(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_pad_desc  *d = desc;
    fm_program_builder *b = e->builder;
    int64_t             count = fm_view_count(&d->out), run = fm_item_run(e, count, 25);
    uint32_t            rank = d->x.shape.rank, fill = fill_value(e, d);
    const char         *options = fm_arena_printf(b->arena, "-DT=%s", fm_move_type(d->x.dtype));
    (void)err;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "pad.cl", options, "pad", 0), FLASHMEM_COST_ELEMENTWISE);
    fm_args_read(b, &d->x, 8);
    fm_builder_read(b, fill);
    fm_args_write(b, &d->out, 8);
    fm_args_dims(b, &d->out.shape, 8);
    fm_args_dims(b, &d->x.shape, 8);
    for (uint32_t i = rank; i < 8; i++) fm_builder_arg_int(b, 0);
    for (uint32_t i = 0; i < rank; i++) fm_builder_arg_int(b, d->before[i]);
    fm_builder_arg_int(b, d->mode);
    fm_builder_arg_int(b, count);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, 0, fm_view_bytes(&d->x) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

const fm_row fm_row_pad_reference = { "pad_reference", FM_FAMILY_PAD, true, FM_ANY_LAYOUT, 0, NULL, emit };

flashmem_status fm_emit_pad(fm_emit *e, const fm_pad_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_PAD, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_PAD, d->name, d, err);
}
