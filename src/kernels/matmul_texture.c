/* The texture row of matmul and convolution: matmul_texture.cl's step. */
#include "kernels/matmul_implicit.h"

enum { ROWS = 8 }; /* as in matmul_texture.cl */

flashmem_status fm_implicit_emit_texture(fm_emit *e, const fm_implicit *i, flashmem_error *err) {
    const fm_weight *weight = fm_implicit_panels(e, i);
    int64_t          rows = i->out.shape.dims[0] * i->out.shape.dims[1] * i->out.shape.dims[2];
    (void)err;
    if (fm_shape_count(&i->out.shape) == 0) return FLASHMEM_OK;
    fm_builder_begin(e->builder, i->name,
                     fm_epilogue_kernel(e, "matmul_texture.cl", "matmul_texture", &i->epilogue, "", FM_DEVICE_IMAGE),
                     i->cost_class);
    fm_builder_read(e->builder, i->x.value);
    fm_builder_image(e->builder, i->weight);
    fm_builder_write(e->builder, i->out.value);
    fm_implicit_args(e, i);
    fm_epilogue_args(e, &i->epilogue, i->x.value);
    fm_builder_arg_int(e->builder, rows);
    fm_builder_arg_panels(e->builder);
    fm_builder_global(e->builder, (int64_t)weight->panels, (rows + ROWS - 1) / ROWS, 1);
    fm_implicit_work(e, i);
    fm_builder_split(e->builder, i->weight, 0, 1, 1);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}
