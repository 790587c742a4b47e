/* Cumulative sums. */
#include "kernels/view_args.h"

static flashmem_status check(const fm_subject *s, const fm_cumsum_desc *d) {
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_NUMBER, FM_RANK_ANY));
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPE_BIT(d->x.dtype), &d->x));
    if (d->axis >= d->x.shape.rank) return fm_refuse(s, "axis %u of %u", d->axis, d->x.shape.rank);
    return FLASHMEM_OK;
}

static flashmem_status emit(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_cumsum_desc *d = desc;
    fm_program_builder   *b = e->builder;
    fm_view               x = d->x, out = d->out;
    fm_shape              lines = d->x.shape;
    const char           *options = fm_arena_printf(b->arena, "-DT=%s", fm_kernel_type(d->x.dtype));
    (void)err;
    lines.dims[d->axis] = 1;
    x.strides[d->axis] = out.strides[d->axis] = 0;
    int64_t count = fm_shape_count(&lines), run = fm_item_run(e, count, 10 + (double)d->x.shape.dims[d->axis]);
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "cumsum.cl", options, "cumsum", 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &x, 8);
    fm_args_write(b, &out, 8);
    fm_args_dims(b, &lines, 8);
    fm_builder_arg_int(b, d->x.shape.dims[d->axis]);
    fm_builder_arg_int(b, d->x.strides[d->axis]);
    fm_builder_arg_int(b, d->out.strides[d->axis]);
    fm_builder_arg_int(b, d->exclusive);
    fm_builder_arg_int(b, d->reverse);
    fm_builder_arg_int(b, count);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, (double)fm_view_count(&d->x), fm_view_bytes(&d->x) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

const fm_row fm_row_cumsum_reference = { "cumsum_reference", FM_FAMILY_CUMSUM, true, FM_ANY_LAYOUT, 0, NULL, emit };

flashmem_status fm_emit_cumsum(fm_emit *e, const fm_cumsum_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_CUMSUM, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_CUMSUM, d->name, d, err);
}
