/* Group and instance normalisation. */
#include "kernels/view_args.h"

enum { FLAG_GAMMA = 1, FLAG_BETA = 2, MOST_CHANNELS = 256 /* group_norm.cl */, WANTED_CHANNELS = 32 };

static flashmem_status check(const fm_subject *s, const fm_group_norm_desc *d) {
    fm_view like = d->x;
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_REAL, 4));
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPES_REAL, &d->x));
    like.shape = (fm_shape){ .rank = 2, .dims = { d->x.shape.dims[1], d->x.shape.dims[2] } };
    if (fm_view_present(&d->gamma)) FM_TRY(fm_check_like(s, "gamma", &d->gamma, FM_DTYPES_REAL, &like));
    if (fm_view_present(&d->beta)) FM_TRY(fm_check_like(s, "beta", &d->beta, FM_DTYPES_REAL, &like));
    return FLASHMEM_OK;
}

static flashmem_status emit(fm_emit *e, const fm_group_norm_desc *d, const char *entry, int64_t run, int64_t x,
                            int64_t y) {
    fm_program_builder *b = e->builder;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "group_norm.cl", "", entry, 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &d->x, 4);
    fm_args_read_optional(b, &d->gamma, &d->x, 2);
    fm_args_read_optional(b, &d->beta, &d->x, 2);
    fm_args_write(b, &d->out, 4);
    fm_args_dims(b, &d->x.shape, 4);
    fm_builder_arg_float(b, d->epsilon);
    fm_builder_arg_int(b, (fm_view_present(&d->gamma) ? FLAG_GAMMA : 0) | (fm_view_present(&d->beta) ? FLAG_BETA : 0));
    fm_builder_arg_int(b, run);
    fm_args_items(e, x, y, 1);
    fm_builder_work(b, 8 * (double)fm_view_count(&d->x), 3 * fm_view_bytes(&d->x) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_groups(fm_emit *e, const fm_group_norm_desc *d, const char *entry, double each) {
    const int64_t *dims = d->x.shape.dims;
    int64_t        groups = dims[0] * dims[1], run = fm_item_run(e, groups, each * (double)(dims[2] * dims[3]));
    return emit(e, d, entry, run, (groups + run - 1) / run, 1);
}
static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit_groups(e, desc, "group_norm", 3);
}

static bool takes_dense(const fm_emit *e, const void *desc) {
    const fm_group_norm_desc *d = desc;
    (void)e;
    return fm_axis_dense(&d->x, 3) && fm_axis_dense(&d->out, 3);
}
static flashmem_status emit_dense(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit_groups(e, desc, "group_norm_dense", 0.4);
}

static bool channels_are_dense(const fm_view *v) {
    const int64_t *dims = v->shape.dims;
    return (dims[2] == 1 || v->strides[2] == 1) && (dims[1] == 1 || v->strides[1] == dims[2]);
}
static bool takes_channels(const fm_emit *e, const void *desc) {
    const fm_group_norm_desc *d = desc;
    (void)e;
    return channels_are_dense(&d->x) && channels_are_dense(&d->out) && d->x.shape.dims[2] <= MOST_CHANNELS &&
           d->x.shape.dims[1] * d->x.shape.dims[2] >= 16 && d->x.shape.dims[3] > 1;
}
static flashmem_status emit_channels(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_group_norm_desc *d = desc;
    const int64_t            *dims = d->x.shape.dims;
    int64_t                   run = (WANTED_CHANNELS + dims[2] - 1) / dims[2];
    (void)err;
    return emit(e, d, "group_norm_channels", run, (dims[1] + run - 1) / run, dims[0]);
}

const fm_row fm_row_group_norm_reference = { "group_norm_reference", FM_FAMILY_GROUP_NORM, true, FM_ANY_LAYOUT, 0, NULL,
                                             emit_reference };
const fm_row fm_row_group_norm_cpu_dense = { "group_norm_cpu_dense", FM_FAMILY_GROUP_NORM, false,     FM_ANY_LAYOUT,
                                             FM_DEVICE_CPU,          takes_dense,          emit_dense };
const fm_row fm_row_group_norm_cpu_channels = {
    "group_norm_cpu_channels", FM_FAMILY_GROUP_NORM, false, FM_ANY_LAYOUT, FM_DEVICE_CPU, takes_channels, emit_channels
};

flashmem_status fm_emit_group_norm(fm_emit *e, const fm_group_norm_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_GROUP_NORM, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_GROUP_NORM, d->name, d, err);
}
