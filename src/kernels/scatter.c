/* ScatterND and ScatterElements: a copy of the data (unless it is out itself), then the updates. */
#include "kernels/view_args.h"

static flashmem_status check_nd(const fm_subject *s, const fm_scatter_desc *d) {
    fm_view like = d->updates;
    FM_TRY(fm_check_operand(s, "indices", &d->indices, FM_DTYPES_INDEX, 2));
    int64_t depth = d->indices.shape.dims[1];
    if (depth > d->out.shape.rank)
        return fm_refuse(s, "indices have %d coordinates, data %u axes", (int)depth, d->out.shape.rank);
    like.shape = (fm_shape){ .rank = 2, .dims = { d->indices.shape.dims[0], 1 } };
    for (uint32_t i = (uint32_t)depth; i < d->out.shape.rank; i++) like.shape.dims[1] *= d->out.shape.dims[i];
    return fm_check_like(s, "updates", &d->updates, FM_DTYPE_BIT(d->out.dtype), &like);
}

static flashmem_status check_elements(const fm_subject *s, const fm_scatter_desc *d) {
    FM_TRY(fm_check_operand(s, "indices", &d->indices, FM_DTYPES_INDEX, d->out.shape.rank));
    FM_TRY(fm_check_like(s, "updates", &d->updates, FM_DTYPE_BIT(d->out.dtype), &d->indices));
    if (d->axis >= d->out.shape.rank) return fm_refuse(s, "axis %u of %u", d->axis, d->out.shape.rank);
    for (uint32_t i = 0; i < d->out.shape.rank; i++)
        if (i != d->axis && d->indices.shape.dims[i] > d->out.shape.dims[i])
            return fm_refuse(s, "indices are larger than data along axis %u", i);
    return FLASHMEM_OK;
}

static flashmem_status check(const fm_subject *s, const fm_scatter_desc *d) {
    FM_TRY(fm_check_operand(s, "out", &d->out, FM_DTYPES_ANY, FM_RANK_ANY));
    FM_TRY(fm_check_like(s, "data", &d->data, FM_DTYPE_BIT(d->out.dtype), &d->out));
    return d->elements ? check_elements(s, d) : check_nd(s, d);
}

static uint32_t kernel_of(const fm_emit *e, const fm_scatter_desc *d, const char *entry) {
    const char *options = fm_arena_printf(e->builder->arena, "-DT=%s -DINDEX=%s", fm_move_type(d->out.dtype),
                                          fm_kernel_type(d->indices.dtype));
    return fm_builder_kernel(e->builder, "scatter.cl", options, entry, 0);
}

static void finish(fm_emit *e, const fm_scatter_desc *d, int64_t parts, double each) {
    fm_program_builder *b = e->builder;
    int64_t             run = fm_item_run(e, parts, each);
    fm_builder_arg_int(b, parts);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (parts + run - 1) / run, 1, 1);
    fm_builder_work(b, 0, fm_view_bytes(&d->indices) + 2 * fm_view_bytes(&d->updates));
    fm_builder_end(b);
}

static void emit_nd(fm_emit *e, const fm_scatter_desc *d) {
    fm_program_builder *b = e->builder;
    int64_t             n = d->indices.shape.dims[0], depth = d->indices.shape.dims[1], slices = 1;
    for (int64_t i = 0; i < depth; i++) slices *= d->out.shape.dims[i];
    fm_builder_begin(b, d->name, kernel_of(e, d, "scatter_nd"), FLASHMEM_COST_GATHER);
    fm_args_read(b, &d->indices, 2);
    fm_args_read(b, &d->updates, 2);
    fm_args_write_left(b, &d->out);
    fm_args_dims_left(b, &d->out.shape);
    fm_builder_arg_int(b, depth);
    fm_builder_arg_int(b, n);
    fm_builder_arg_int(b, d->updates.shape.dims[1]);
    finish(e, d, slices, (double)n * (double)d->updates.shape.dims[1] * 10 / (double)slices);
}

static void emit_elements(fm_emit *e, const fm_scatter_desc *d) {
    fm_program_builder *b = e->builder;
    uint32_t            axis = d->axis;
    fm_view             indices = d->indices, updates = d->updates, out = d->out;
    fm_shape            lines = d->indices.shape;
    lines.dims[axis] = 1;
    indices.strides[axis] = updates.strides[axis] = out.strides[axis] = 0;
    fm_builder_begin(b, d->name, kernel_of(e, d, "scatter_elements"), FLASHMEM_COST_GATHER);
    fm_args_read(b, &indices, 8);
    fm_args_read(b, &updates, 8);
    fm_args_write(b, &out, 8);
    fm_args_dims(b, &lines, 8);
    fm_builder_arg_int(b, d->indices.shape.dims[axis]);
    fm_builder_arg_int(b, d->indices.strides[axis]);
    fm_builder_arg_int(b, d->updates.strides[axis]);
    fm_builder_arg_int(b, d->out.strides[axis]);
    fm_builder_arg_int(b, d->out.shape.dims[axis]);
    finish(e, d, fm_shape_count(&lines), 15 + 3 * (double)d->indices.shape.dims[axis]);
}

static bool same_place(const fm_view *a, const fm_view *b) {
    for (uint32_t i = 0; i < a->shape.rank; i++)
        if (a->shape.dims[i] != 1 && a->strides[i] != b->strides[i]) return false;
    return a->value == b->value && a->offset == b->offset;
}

static flashmem_status emit(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_scatter_desc *d = desc;
    if (!same_place(&d->data, &d->out)) {
        fm_elementwise_desc copy = { .name = d->name,
                                     .expression = "a0",
                                     .vector_safe = true,
                                     .input_count = 1,
                                     .inputs = { d->data },
                                     .out = d->out };
        FM_TRY(fm_emit_elementwise(e, &copy, err));
    }
    if (fm_shape_count(&d->updates.shape) == 0) return FLASHMEM_OK;
    if (d->elements) emit_elements(e, d);
    else emit_nd(e, d);
    return FLASHMEM_OK;
}

const fm_row fm_row_scatter_reference = { "scatter_reference", FM_FAMILY_SCATTER, true, FM_ANY_LAYOUT, 0, NULL, emit };

flashmem_status fm_emit_scatter(fm_emit *e, const fm_scatter_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_SCATTER, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_SCATTER, d->name, d, err);
}
