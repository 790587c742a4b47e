/* Maximum and average pooling. */
#include "kernels/view_args.h"

enum { LARGEST = 1 << 15, MOST_LINE = 4096 /* pool.cl */ };

static flashmem_status check(const fm_subject *s, const fm_pool_desc *d) {
    FM_TRY(fm_check_operand(s, "x", &d->x, FM_DTYPES_REAL, 4));
    FM_TRY(fm_check_operand(s, "out", &d->out, FM_DTYPES_REAL, 4));
    if (d->x.shape.dims[0] != d->out.shape.dims[0] || d->x.shape.dims[1] != d->out.shape.dims[1])
        return fm_refuse(s, "out does not fit x in batch or channels");
    for (int i = 0; i < 2; i++)
        if (d->kernel[i] - 1u >= LARGEST || d->stride[i] - 1u >= LARGEST || d->dilation[i] - 1u >= LARGEST ||
            d->pad[i] < 0 || d->pad[i] > LARGEST || d->pad[i + 2] < 0 || d->pad[i + 2] > LARGEST ||
            d->x.shape.dims[i + 2] > LARGEST || d->out.shape.dims[i + 2] > LARGEST)
            return fm_refuse(s, "kernel, stride, dilation, padding or size beyond 1..%d", LARGEST);
    return FLASHMEM_OK;
}

/* extent > 0 is one more argument. */
static flashmem_status emit(fm_emit *e, const fm_pool_desc *d, const char *entry, int64_t count, int64_t run,
                            int64_t extent) {
    fm_program_builder *b = e->builder;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "pool.cl", "", entry, 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &d->x, 4);
    fm_args_write(b, &d->out, 4);
    fm_args_dims(b, &d->x.shape, 4);
    for (int i = 0; i < 2; i++) fm_builder_arg_int(b, d->out.shape.dims[2 + i]);
    for (int i = 0; i < 2; i++) fm_builder_arg_int(b, d->kernel[i]);
    for (int i = 0; i < 2; i++) fm_builder_arg_int(b, d->stride[i]);
    for (int i = 0; i < 2; i++) fm_builder_arg_int(b, d->dilation[i]);
    for (int i = 0; i < 4; i++) fm_builder_arg_int(b, d->pad[i]);
    fm_builder_arg_int(b, d->average);
    fm_builder_arg_int(b, d->count_include_pad);
    fm_builder_arg_int(b, run);
    if (extent > 0) fm_builder_arg_int(b, extent);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, (double)fm_view_count(&d->out) * d->kernel[0] * d->kernel[1],
                    fm_view_bytes(&d->x) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_plain(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_pool_desc *d = desc;
    int64_t             count = fm_view_count(&d->out);
    (void)err;
    return emit(e, d, "pool", count, fm_item_run(e, count, 10.0 + d->kernel[0] * d->kernel[1]), 0);
}
static bool takes_channels(const fm_emit *e, const void *desc) {
    const fm_pool_desc *d = desc;
    (void)e;
    return d->x.shape.dims[1] >= 16 && d->x.strides[1] == 1 && d->out.strides[1] == 1;
}
static flashmem_status emit_channels(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_pool_desc *d = desc;
    const int64_t      *out = d->out.shape.dims;
    int64_t             count = out[0] * out[2] * out[3];
    (void)err;
    return emit(e, d, "pool_channels", count,
                fm_item_run(e, count, 20.0 + 0.1 * d->kernel[0] * d->kernel[1] * (double)out[1]), 0);
}

/* Elements from the first that a row's windows touch to the last, or the padded row when that is longer. */
static int64_t line_extent(const fm_pool_desc *d) {
    int64_t windows = (d->out.shape.dims[3] - 1) * d->stride[1] + (int64_t)(d->kernel[1] - 1) * d->dilation[1] + 1;
    int64_t padded = d->pad[1] + d->x.shape.dims[3];
    return windows > padded ? windows : padded;
}
static bool takes_lines(const fm_emit *e, const void *desc) {
    const fm_pool_desc *d = desc;
    (void)e;
    return fm_axis_dense(&d->x, 3) && line_extent(d) <= MOST_LINE;
}
static flashmem_status emit_lines(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_pool_desc *d = desc;
    const int64_t      *out = d->out.shape.dims;
    int64_t             count = out[0] * out[1] * out[2];
    double              each = 20.0 + 0.1 * d->kernel[0] * (double)d->x.shape.dims[3] + d->kernel[1] * (double)out[3];
    (void)err;
    return emit(e, d, "pool_lines", count, fm_item_run(e, count, each), line_extent(d));
}

const fm_row fm_row_pool_reference = { "pool_reference", FM_FAMILY_POOL, true, FM_ANY_LAYOUT, 0, NULL, emit_plain };
const fm_row fm_row_pool_cpu_lines = { "pool_cpu_lines", FM_FAMILY_POOL, false,     FM_ANY_LAYOUT,
                                       FM_DEVICE_CPU,    takes_lines,    emit_lines };
const fm_row fm_row_pool_cpu_channels = { "pool_cpu_channels", FM_FAMILY_POOL, false,        FM_ANY_LAYOUT,
                                          FM_DEVICE_CPU,       takes_channels, emit_channels };

flashmem_status fm_emit_pool(fm_emit *e, const fm_pool_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_POOL, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_POOL, d->name, d, err);
}
