/* Gather, GatherElements and GatherND. */
#include "kernels/view_args.h"

static const char *options_of(const fm_emit *e, const fm_view *moved, const fm_view *indices) {
    return fm_arena_printf(e->builder->arena, "-DT=%s -DINDEX=%s", fm_move_type(moved->dtype),
                           fm_kernel_type(indices->dtype));
}

/* The last arguments and the sizes of a step over count elements. */
static void finish(fm_emit *e, const fm_view *out, const fm_view *indices, double each) {
    fm_program_builder *b = e->builder;
    int64_t             count = fm_view_count(out), run = fm_item_run(e, count, each);
    fm_builder_arg_int(b, count);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, 0, 2 * fm_view_bytes(out) + fm_view_bytes(indices));
    fm_builder_end(b);
}

/* --- gather ------------------------------------------------------------------------------------------------------- */

static flashmem_status check_gather(const fm_subject *s, const fm_gather_desc *d) {
    fm_view like = d->table;
    FM_TRY(fm_check_operand(s, "table", &d->table, FM_DTYPES_ANY, 3));
    FM_TRY(fm_check_operand(s, "indices", &d->indices, FM_DTYPES_INDEX, 1));
    like.shape.dims[1] = d->indices.shape.dims[0];
    return fm_check_like(s, "out", &d->out, FM_DTYPE_BIT(d->table.dtype), &like);
}

static flashmem_status emit_gather(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_gather_desc *d = desc;
    fm_program_builder   *b = e->builder;
    double                each = d->out.shape.dims[2] >= 16 ? 0.3 : 5;
    (void)err;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "gather.cl", options_of(e, &d->table, &d->indices), "gather", 0),
                     FLASHMEM_COST_GATHER);
    fm_args_read(b, &d->table, 3);
    fm_args_read(b, &d->indices, 1);
    fm_args_write(b, &d->out, 3);
    fm_args_dims(b, &d->out.shape, 3);
    fm_builder_arg_int(b, d->table.shape.dims[1]);
    finish(e, &d->out, &d->indices, each);
    return FLASHMEM_OK;
}

const fm_row fm_row_gather_reference = {
    "gather_reference", FM_FAMILY_GATHER, true, FM_ANY_LAYOUT, 0, NULL, emit_gather
};

flashmem_status fm_emit_gather(fm_emit *e, const fm_gather_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_GATHER, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check_gather(&s, d));
    return fm_row_emit(e, FM_FAMILY_GATHER, d->name, d, err);
}

/* --- gather elements ---------------------------------------------------------------------------------------------- */

static flashmem_status check_elements(const fm_subject *s, const fm_gather_elements_desc *d) {
    FM_TRY(fm_check_operand(s, "data", &d->data, FM_DTYPES_ANY, FM_RANK_ANY));
    FM_TRY(fm_check_operand(s, "indices", &d->indices, FM_DTYPES_INDEX, d->data.shape.rank));
    FM_TRY(fm_check_like(s, "out", &d->out, FM_DTYPE_BIT(d->data.dtype), &d->indices));
    if (d->axis >= d->data.shape.rank) return fm_refuse(s, "axis %u of %u", d->axis, d->data.shape.rank);
    for (uint32_t i = 0; i < d->data.shape.rank; i++)
        if (i != d->axis && d->indices.shape.dims[i] > d->data.shape.dims[i])
            return fm_refuse(s, "indices are larger than data along axis %u", i);
    return FLASHMEM_OK;
}

static flashmem_status emit_elements(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_gather_elements_desc *d = desc;
    fm_program_builder            *b = e->builder;
    (void)err;
    fm_builder_begin(b, d->name,
                     fm_builder_kernel(b, "gather.cl", options_of(e, &d->data, &d->indices), "gather_elements", 0),
                     FLASHMEM_COST_GATHER);
    fm_args_read(b, &d->data, 8);
    fm_args_read(b, &d->indices, 8);
    fm_args_write(b, &d->out, 8);
    fm_args_dims(b, &d->out.shape, 8);
    fm_builder_arg_int(b, 8 - d->data.shape.rank + d->axis);
    fm_builder_arg_int(b, d->data.shape.dims[d->axis]);
    finish(e, &d->out, &d->indices, 15);
    return FLASHMEM_OK;
}

const fm_row fm_row_gather_elements_reference = {
    "gather_elements_reference", FM_FAMILY_GATHER_ELEMENTS, true, FM_ANY_LAYOUT, 0, NULL, emit_elements
};

flashmem_status fm_emit_gather_elements(fm_emit *e, const fm_gather_elements_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_GATHER_ELEMENTS, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check_elements(&s, d));
    return fm_row_emit(e, FM_FAMILY_GATHER_ELEMENTS, d->name, d, err);
}

/* --- gather ND ---------------------------------------------------------------------------------------------------- */

static flashmem_status check_nd(const fm_subject *s, const fm_gather_nd_desc *d) {
    fm_view like = d->out;
    FM_TRY(fm_check_operand(s, "data", &d->data, FM_DTYPES_ANY, FM_RANK_ANY));
    FM_TRY(fm_check_operand(s, "indices", &d->indices, FM_DTYPES_INDEX, 2));
    uint32_t rank = d->data.shape.rank;
    if (d->indices.shape.dims[1] > rank)
        return fm_refuse(s, "indices have %d coordinates, data %u axes", (int)d->indices.shape.dims[1], rank);
    like.shape = (fm_shape){ .rank = 2, .dims = { d->indices.shape.dims[0], 1 } };
    for (uint32_t i = (uint32_t)d->indices.shape.dims[1]; i < rank; i++) like.shape.dims[1] *= d->data.shape.dims[i];
    return fm_check_like(s, "out", &d->out, FM_DTYPE_BIT(d->data.dtype), &like);
}

static flashmem_status emit_nd(fm_emit *e, const void *desc, flashmem_error *err) {
    const fm_gather_nd_desc *d = desc;
    fm_program_builder      *b = e->builder;
    (void)err;
    fm_builder_begin(b, d->name,
                     fm_builder_kernel(b, "gather.cl", options_of(e, &d->data, &d->indices), "gather_nd", 0),
                     FLASHMEM_COST_GATHER);
    fm_args_read_left(b, &d->data);
    fm_args_read(b, &d->indices, 2);
    fm_args_write(b, &d->out, 2);
    fm_args_dims_left(b, &d->data.shape);
    fm_builder_arg_int(b, d->indices.shape.dims[1]);
    fm_builder_arg_int(b, d->out.shape.dims[1]);
    finish(e, &d->out, &d->indices, 15);
    return FLASHMEM_OK;
}

const fm_row fm_row_gather_nd_reference = {
    "gather_nd_reference", FM_FAMILY_GATHER_ND, true, FM_ANY_LAYOUT, 0, NULL, emit_nd
};

flashmem_status fm_emit_gather_nd(fm_emit *e, const fm_gather_nd_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_GATHER_ND, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check_nd(&s, d));
    return fm_row_emit(e, FM_FAMILY_GATHER_ND, d->name, d, err);
}
