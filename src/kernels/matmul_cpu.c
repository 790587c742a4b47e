/* The CPU row of matmul and convolution: matmul_cpu.cl's block sizes and step. */
#include "kernels/matmul_implicit.h"

/* As in matmul_cpu.cl. */
enum { BLOCK_ROWS = 48, BLOCK_PANELS = 4 };

bool fm_implicit_takes_cpu(const fm_emit *e, const fm_implicit *i) {
    return fm_implicit_is_valid(i) && fm_implicit_panels(e, i) && i->group == 1 &&
           (i->x.strides[3] == 1 || i->x.shape.dims[3] == 1);
}

flashmem_status fm_implicit_emit_cpu(fm_emit *e, const fm_implicit *i, flashmem_error *err) {
    const fm_weight *weight = fm_implicit_panels(e, i);
    bool             half = weight->format == FM_WEIGHT_F16;
    int64_t          rows = i->out.shape.dims[0] * i->out.shape.dims[1] * i->out.shape.dims[2];
    int64_t          blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, groups = ((int64_t)weight->panels + BLOCK_PANELS - 1) / BLOCK_PANELS;
    bool             side_by_side = i->dilation[1] == 1 && i->x.strides[2] == i->x.shape.dims[3];
    (void)err;
    if (fm_shape_count(&i->out.shape) == 0) return FLASHMEM_OK;
    fm_builder_begin(e->builder, i->name,
                     fm_epilogue_kernel(e, "matmul_cpu.cl", "matmul_cpu", &i->epilogue, half ? " -DWEIGHT_HALF=1" : "",
                                        FM_DEVICE_CPU), i->cost_class);
    fm_builder_read(e->builder, i->x.value);
    fm_builder_read(e->builder, i->weight);
    fm_builder_write(e->builder, i->out.value);
    fm_implicit_args(e, i);
    fm_builder_arg_int(e->builder, (int64_t)(weight->panel_bytes / (half ? 2 : 4)));
    fm_epilogue_args(e, &i->epilogue, i->x.value);
    fm_builder_arg_int(e->builder, rows);
    fm_builder_arg_int(e->builder, (rows + blocks - 1) / blocks);
    fm_builder_arg_int(e->builder, side_by_side ? i->kernel[1] : 1);
    fm_builder_arg_panels(e->builder);
    fm_builder_global(e->builder, blocks, groups, 1);
    fm_builder_local(e->builder, 1, 1, 1);
    fm_implicit_work(e, i);
    fm_builder_split(e->builder, i->weight, 1, BLOCK_PANELS, 1);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}
