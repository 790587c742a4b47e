/* Softmax and its logarithm. */
#include "kernels/view_args.h"

static flashmem_status check(const fm_subject *s, const fm_softmax_desc *d) {
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_REAL, 4));
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPES_REAL, &d->x));
    if (fm_view_present(&d->mask)) FM_TRY(fm_check_like(s, "mask", &d->mask, FM_DTYPES_MASK, &d->x));
    return FLASHMEM_OK;
}

static flashmem_status emit(fm_emit *e, const fm_softmax_desc *d, const char *entry, int64_t run) {
    fm_program_builder *b = e->builder;
    const int64_t      *dims = d->x.shape.dims;
    bool                masked = fm_view_present(&d->mask);
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "softmax.cl", "", entry, 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &d->x, 4);
    fm_builder_read(b, masked ? d->mask.value : d->x.value); /* as floats, then as bools */
    fm_args_read_optional(b, &d->mask, &d->x, 4);
    fm_args_write(b, &d->out, 4);
    fm_args_dims(b, &d->x.shape, 4);
    fm_builder_arg_float(b, d->scale);
    fm_builder_arg_int(b, !masked ? 0 : d->mask.dtype == FLASHMEM_BOOL ? 2 : 1);
    fm_builder_arg_int(b, d->log);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (dims[0] * dims[1] * dims[2] + run - 1) / run, 1, 1);
    fm_builder_work(b, 15.0 * (double)fm_view_count(&d->x),
                    fm_view_bytes(&d->x) + fm_view_bytes(&d->mask) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "softmax", 1);
}

static bool takes_dense(const fm_emit *e, const void *desc) {
    const fm_softmax_desc *d = desc;
    (void)e;
    return fm_axis_dense(&d->x, 3) && fm_axis_dense(&d->out, 3) &&
           (!fm_view_present(&d->mask) || fm_axis_dense(&d->mask, 3) || d->mask.strides[3] == 0);
}

static flashmem_status emit_dense(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_softmax_desc *d = desc;
    const int64_t         *dims = d->x.shape.dims;
    (void)err;
    return emit(e, desc, "softmax_dense", fm_item_run(e, dims[0] * dims[1] * dims[2], 20 + 0.8 * (double)dims[3]));
}

const fm_row fm_row_softmax_reference = { "softmax_reference", FM_FAMILY_SOFTMAX, true, FM_ANY_LAYOUT, 0, NULL,
                                          emit_reference };
const fm_row fm_row_softmax_cpu_dense = { "softmax_cpu_dense", FM_FAMILY_SOFTMAX, false,     FM_ANY_LAYOUT,
                                          FM_DEVICE_CPU,       takes_dense,       emit_dense };

flashmem_status fm_emit_softmax(fm_emit *e, const fm_softmax_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_SOFTMAX, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_SOFTMAX, d->name, d, err);
}
