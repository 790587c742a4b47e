/* The product of two activations: its rows and emit function. */
#include "kernels/matmul_implicit.h"

enum { CPU_COLUMNS = 64 }; /* BLOCK_PANELS * 16 of batch_matmul_cpu.cl */

static bool takes_any(const fm_emit *e, const void *desc) {
    const fm_batch_matmul_desc *d = desc;
    const int64_t              *a = d->a.shape.dims, *b = d->b.shape.dims, *out = d->out.shape.dims;
    (void)e;
    if (d->a.shape.rank != 4 || d->b.shape.rank != 4 || d->out.shape.rank != 4) return false;
    if (d->a.dtype != FLASHMEM_F32 || d->b.dtype != FLASHMEM_F32 || d->out.dtype != FLASHMEM_F32) return false;
    if (a[0] != out[0] || b[0] != out[0] || a[1] != out[1] || b[1] != out[1]) return false;
    if (a[2] != out[2] || b[3] != out[3] || a[3] != b[2]) return false;
    return fm_view_fits_int(&d->a) && fm_view_fits_int(&d->b) && fm_view_fits_int(&d->out) &&
           fm_epilogue_is_valid(&d->epilogue, &d->out);
}

static void view_args(fm_emit *e, const fm_view *view) {
    fm_builder_arg_int(e->builder, view->offset);
    for (int axis = 0; axis < 4; axis++) fm_builder_arg_int(e->builder, view->strides[axis]);
}

static void emit(fm_emit *e, const fm_batch_matmul_desc *d, uint32_t kernel, const int64_t *global, bool local_one) {
    const int64_t *out = d->out.shape.dims;
    double         outputs = (double)fm_shape_count(&d->out.shape), k = (double)d->a.shape.dims[3];
    fm_builder_begin(e->builder, d->name, kernel, FLASHMEM_COST_BATCH_MATMUL);
    fm_builder_read(e->builder, d->a.value);
    fm_builder_read(e->builder, d->b.value);
    fm_builder_write(e->builder, d->out.value);
    view_args(e, &d->a);
    view_args(e, &d->b);
    view_args(e, &d->out);
    for (int axis = 1; axis < 4; axis++) fm_builder_arg_int(e->builder, out[axis]);
    fm_builder_arg_int(e->builder, d->a.shape.dims[3]);
    fm_epilogue_args(e, &d->epilogue, d->a.value);
    fm_builder_global(e->builder, global[0], global[1], global[2]);
    if (local_one) fm_builder_local(e->builder, 1, 1, 1);
    fm_builder_work(e->builder, 2 * k * outputs,
                    4 * (outputs + (double)fm_shape_count(&d->a.shape) + (double)fm_shape_count(&d->b.shape)));
    fm_builder_end(e->builder);
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_batch_matmul_desc *d = desc;
    const int64_t              *out = d->out.shape.dims;
    (void)err;
    if (fm_shape_count(&d->out.shape) != 0)
        emit(e, d, fm_epilogue_kernel(e, "batch_matmul.cl", "batch_matmul", &d->epilogue, "", 0),
             (int64_t[]){ out[3], out[2], out[0] * out[1] }, false);
    return FLASHMEM_OK;
}

const fm_row fm_row_batch_matmul_reference = {
    "batch_matmul_reference", FM_FAMILY_BATCH_MATMUL, true, FM_ANY_LAYOUT, 0, takes_any, emit_reference
};

static flashmem_status emit_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_batch_matmul_desc *d = desc;
    const int64_t              *out = d->out.shape.dims;
    (void)err;
    if (fm_shape_count(&d->out.shape) != 0)
        emit(e, d, fm_epilogue_kernel(e, "batch_matmul_cpu.cl", "batch_matmul_cpu", &d->epilogue, "", FM_DEVICE_CPU),
             (int64_t[]){ (out[3] + CPU_COLUMNS - 1) / CPU_COLUMNS, out[0] * out[1], 1 }, true);
    return FLASHMEM_OK;
}

const fm_row fm_row_batch_matmul_cpu = {
    "batch_matmul_cpu", FM_FAMILY_BATCH_MATMUL, false, FM_ANY_LAYOUT, FM_DEVICE_CPU, takes_any, emit_cpu
};

flashmem_status fm_emit_batch_matmul(fm_emit *e, const fm_batch_matmul_desc *d, flashmem_error *err) {
    return fm_row_emit(e, FM_FAMILY_BATCH_MATMUL, d->name, d, err);
}
