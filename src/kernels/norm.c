/* Layer and RMS normalisation. */
#include "kernels/view_args.h"

enum { FLAG_RMS = 1, FLAG_ADD = 2, FLAG_SUM = 4, FLAG_GAMMA = 8, FLAG_BETA = 16 };

static flashmem_status check(const fm_subject *s, const fm_norm_desc *d) {
    fm_view c = d->x;
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_REAL, 3));
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPES_REAL, &d->x));
    if (fm_view_present(&d->add)) FM_TRY(fm_check_like(s, "add", &d->add, FM_DTYPES_REAL, &d->x));
    if (fm_view_present(&d->sum)) FM_TRY(fm_check_like(s, "sum", &d->sum, FM_DTYPES_REAL, &d->x));
    c.shape = (fm_shape){ .rank = 1, .dims = { d->x.shape.dims[2] } };
    if (fm_view_present(&d->gamma)) FM_TRY(fm_check_like(s, "gamma", &d->gamma, FM_DTYPES_REAL, &c));
    if (fm_view_present(&d->beta)) FM_TRY(fm_check_like(s, "beta", &d->beta, FM_DTYPES_REAL, &c));
    return FLASHMEM_OK;
}

static flashmem_status emit(fm_emit *e, const fm_norm_desc *d, const char *entry, int64_t run) {
    fm_program_builder *b = e->builder;
    const int64_t      *dims = d->x.shape.dims;
    int                 flags = (d->rms ? FLAG_RMS : 0) | (fm_view_present(&d->add) ? FLAG_ADD : 0) |
                (fm_view_present(&d->sum) ? FLAG_SUM : 0) | (fm_view_present(&d->gamma) ? FLAG_GAMMA : 0) |
                (fm_view_present(&d->beta) ? FLAG_BETA : 0);
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "norm.cl", "", entry, 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &d->x, 3);
    fm_args_read_optional(b, &d->add, &d->x, 3);
    fm_args_write_optional(b, &d->sum, &d->out, 3);
    fm_args_read_optional(b, &d->gamma, &d->x, 1);
    fm_args_read_optional(b, &d->beta, &d->x, 1);
    fm_args_write(b, &d->out, 3);
    fm_args_dims(b, &d->x.shape, 3);
    fm_builder_arg_float(b, d->epsilon);
    fm_builder_arg_int(b, flags);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (dims[0] * dims[1] + run - 1) / run, 1, 1);
    fm_builder_work(b, 8.0 * (double)fm_view_count(&d->x),
                    fm_view_bytes(&d->x) + fm_view_bytes(&d->add) + fm_view_bytes(&d->sum) + fm_view_bytes(&d->gamma) +
                        fm_view_bytes(&d->beta) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "norm", 1);
}

static bool takes_dense(const fm_emit *e, const void *desc) {
    const fm_norm_desc *d = desc;
    (void)e;
    return fm_axis_dense(&d->x, 2) && fm_axis_dense(&d->out, 2) &&
           (!fm_view_present(&d->add) || fm_axis_dense(&d->add, 2)) &&
           (!fm_view_present(&d->sum) || fm_axis_dense(&d->sum, 2)) &&
           (!fm_view_present(&d->gamma) || fm_axis_dense(&d->gamma, 0)) &&
           (!fm_view_present(&d->beta) || fm_axis_dense(&d->beta, 0));
}

static flashmem_status emit_dense(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_norm_desc *d = desc;
    const int64_t      *dims = d->x.shape.dims;
    (void)err;
    return emit(e, desc, "norm_dense", fm_item_run(e, dims[0] * dims[1], 20 + 0.3 * (double)dims[2]));
}

const fm_row fm_row_norm_reference = { "norm_reference", FM_FAMILY_NORM, true, FM_ANY_LAYOUT, 0, NULL, emit_reference };
const fm_row fm_row_norm_cpu_dense = { "norm_cpu_dense", FM_FAMILY_NORM, false,     FM_ANY_LAYOUT,
                                       FM_DEVICE_CPU,    takes_dense,    emit_dense };

flashmem_status fm_emit_norm(fm_emit *e, const fm_norm_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_NORM, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_NORM, d->name, d, err);
}
