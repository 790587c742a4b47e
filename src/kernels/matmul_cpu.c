/* The CPU row of matmul and convolution: matmul_cpu.cl's block sizes and step. */
#include "kernels/matmul_implicit.h"

/* Blocks of matmul_cpu.cl: its MOST_ROWS is BLOCK_ROWS + TILE_ROWS; PIXELS of
 * conv_channels.cl. */
enum { BLOCK_ROWS = 24, BLOCK_PANELS = 16, TILE_ROWS = 12, ENOUGH_ITEMS = 8, COPY_PIXELS = 64 };

bool fm_implicit_takes_cpu(const fm_emit *e, const fm_implicit *i) {
    return fm_implicit_is_valid(i) && fm_implicit_panels(e, i) && i->group == 1;
}

/* A block of rows more only for more than a tile of rows: a short one would read every weight again for little. */
static int64_t row_blocks(int64_t rows) {
    return rows <= BLOCK_ROWS + TILE_ROWS ? 1 : (rows - TILE_ROWS + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/* Wide groups copy rows less often; narrower ones where there would be too few work-items for the cores. */
static uint32_t group_panels(int64_t blocks, int64_t panels) {
    uint32_t group = BLOCK_PANELS;
    while (group > 2 && blocks * ((panels + group - 1) / group) < ENOUGH_ITEMS) group /= 2;
    return group;
}

/* Channels contiguous: as they are, or copied by a step of its own. */
static flashmem_status contiguous_channels(fm_emit *e, const char *name, const fm_view *x, fm_view *out,
                                           flashmem_error *err) {
    const int64_t *dims = x->shape.dims, count = fm_shape_count(&x->shape);
    *out = *x;
    if (x->strides[3] == 1 || dims[3] == 1 || count == 0) return FLASHMEM_OK;
    if (count < 0 || count > INT32_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "'%s': %lld elements of input, at most %d", name ? name : "",
                       (long long)count, INT32_MAX);
    fm_view_dense(out, fm_builder_value(e->builder, FM_VALUE_ACTIVATION, FLASHMEM_F32, count * 4, NULL, NULL),
                  FLASHMEM_F32, &x->shape);
    fm_builder_begin(e->builder, name,
                     fm_builder_kernel(e->builder, "conv_channels.cl", "", "conv_channels", FM_DEVICE_CPU),
                     FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(e->builder, x->value);
    fm_builder_write(e->builder, out->value);
    fm_builder_arg_int(e->builder, x->offset);
    for (int axis = 0; axis < 4; axis++) fm_builder_arg_int(e->builder, x->strides[axis]);
    fm_builder_arg_int(e->builder, dims[2]);
    fm_builder_arg_int(e->builder, dims[3]);
    fm_builder_global(e->builder, (dims[2] + COPY_PIXELS - 1) / COPY_PIXELS, dims[1], dims[0]);
    fm_builder_local(e->builder, 1, 1, 1);
    fm_builder_work(e->builder, 0, 8.0 * (double)count);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}

flashmem_status fm_implicit_emit_cpu(fm_emit *e, const fm_implicit *given, flashmem_error *err) {
    fm_implicit      i = *given;
    const fm_weight *weight = fm_implicit_panels(e, &i);
    bool             half = weight->format == FM_WEIGHT_F16;
    int64_t          rows = i.out.shape.dims[0] * i.out.shape.dims[1] * i.out.shape.dims[2], blocks = row_blocks(rows);
    uint32_t         group = group_panels(blocks, (int64_t)weight->panels);
    if (fm_shape_count(&i.out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(contiguous_channels(e, i.name, &given->x, &i.x, err));
    bool side_by_side = i.dilation[1] == 1 && i.x.strides[2] == i.x.shape.dims[3];
    fm_builder_begin(e->builder, i.name,
                     fm_epilogue_kernel(e, "matmul_cpu.cl", "matmul_cpu", &i.epilogue, half ? " -DWEIGHT_HALF=1" : "",
                                        FM_DEVICE_CPU),
                     i.cost_class);
    fm_builder_read(e->builder, i.x.value);
    fm_builder_read(e->builder, i.weight);
    fm_builder_write(e->builder, i.out.value);
    fm_implicit_args(e, &i);
    fm_builder_arg_int(e->builder, (int64_t)(weight->panel_bytes / (half ? 2 : 4)));
    fm_epilogue_args(e, &i.epilogue, i.x.value);
    fm_builder_arg_int(e->builder, rows);
    fm_builder_arg_int(e->builder, BLOCK_ROWS);
    fm_builder_arg_int(e->builder, side_by_side ? i.kernel[1] : 1);
    fm_builder_arg_panels(e->builder);
    fm_builder_global(e->builder, blocks, ((int64_t)weight->panels + group - 1) / group, 1);
    fm_builder_local(e->builder, 1, 1, 1);
    fm_implicit_work(e, &i);
    fm_builder_split(e->builder, i.weight, 1, group, 1);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}
