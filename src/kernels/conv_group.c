/* Grouped and transposed convolution, with dense float32 weights. */
#include "kernels/matmul_implicit.h"

/* A float32 weight of count elements that kernels read as a dense array. */
static bool is_dense(const fm_emit *e, uint32_t value, int64_t count) {
    const fm_value *v = &e->builder->values[value];
    if (v->dtype != FLASHMEM_F32 || count > INT32_MAX || e->builder->exprs[v->bytes].value < count * 4) return false;
    return v->weight == FM_NONE || e->weights[v->weight].kind == FM_WEIGHT_DENSE;
}

static bool takes_group(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    int64_t group = i.group, in = i.x.shape.dims[3], out = i.out.shape.dims[3];
    if (group < 2 || !fm_implicit_is_valid(&i) || in % group != 0 || out % group != 0) return false;
    return is_dense(e, i.weight, (int64_t)i.kernel[0] * i.kernel[1] * (in / group) * out);
}

/* Every input element meets the weights of its window once. */
static void transpose_work(fm_emit *e, const fm_implicit *i) {
    double inputs = (double)fm_shape_count(&i->x.shape), outputs = (double)fm_shape_count(&i->out.shape);
    double window = (double)i->kernel[0] * i->kernel[1] * (double)i->out.shape.dims[3] / i->group;
    fm_builder_work(e->builder, 2 * inputs * window, 4 * (inputs + outputs));
}

/* columns, rows: work-items. */
static void emit(fm_emit *e, const fm_implicit *i, const char *source, const char *entry, uint32_t needs,
                 int64_t columns, int64_t rows, void (*work)(fm_emit *e, const fm_implicit *i)) {
    fm_builder_begin(e->builder, i->name, fm_epilogue_kernel(e, source, entry, &i->epilogue, "", needs),
                     FLASHMEM_COST_CONV);
    fm_builder_read(e->builder, i->x.value);
    fm_builder_read(e->builder, i->weight);
    fm_builder_write(e->builder, i->out.value);
    fm_implicit_args(e, i);
    fm_builder_arg_int(e->builder, i->x.shape.dims[3] / i->group);
    fm_builder_arg_int(e->builder, i->out.shape.dims[3] / i->group);
    fm_epilogue_args(e, &i->epilogue, i->x.value);
    fm_builder_global(e->builder, columns, rows, 1);
    if (needs & FM_DEVICE_CPU) fm_builder_local(e->builder, 1, 1, 1);
    work(e, i);
    fm_builder_end(e->builder);
}

static void emit_each_output(fm_emit *e, const fm_implicit *i, const char *entry,
                             void (*work)(fm_emit *e, const fm_implicit *i)) {
    const int64_t *out = i->out.shape.dims;
    if (fm_shape_count(&i->out.shape) != 0)
        emit(e, i, "conv_group.cl", entry, 0, out[3], out[0] * out[1] * out[2], work);
}

static flashmem_status emit_group(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    (void)err;
    fm_implicit_of_conv(&i, desc);
    emit_each_output(e, &i, "conv_group", fm_implicit_work);
    return FLASHMEM_OK;
}

const fm_row fm_row_conv_group_reference = {
    "conv_group_reference", FM_FAMILY_CONV, true, FM_ANY_LAYOUT, 0, takes_group, emit_group
};

static bool takes_depthwise(const fm_emit *e, const void *desc) {
    fm_implicit i;
    fm_implicit_of_conv(&i, desc);
    return takes_group(e, desc) && i.group == i.x.shape.dims[3] && i.group == i.out.shape.dims[3] &&
           i.x.strides[3] == 1;
}

static flashmem_status emit_depthwise(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    (void)err;
    fm_implicit_of_conv(&i, desc);
    if (fm_shape_count(&i.out.shape) != 0)
        emit(e, &i, "conv_depthwise.cl", "conv_depthwise", FM_DEVICE_CPU, (i.out.shape.dims[3] + 15) / 16,
             i.out.shape.dims[0] * i.out.shape.dims[1], fm_implicit_work);
    return FLASHMEM_OK;
}

const fm_row fm_row_conv_depthwise = { "conv_depthwise", FM_FAMILY_CONV,  false,         FM_ANY_LAYOUT,
                                       FM_DEVICE_CPU,    takes_depthwise, emit_depthwise };

static void implicit_of_transpose(fm_implicit *i, const fm_conv_transpose_desc *d) {
    fm_conv_desc conv = { .name = d->name,
                          .x = d->x,
                          .out = d->out,
                          .weight = d->weight,
                          .group = d->group,
                          .kernel = { d->kernel[0], d->kernel[1] },
                          .stride = { d->stride[0], d->stride[1] },
                          .dilation = { d->dilation[0], d->dilation[1] },
                          .pad = { d->pad[0], d->pad[1], d->pad[2], d->pad[3] },
                          .epilogue = d->epilogue };
    fm_implicit_of_conv(i, &conv);
}

static bool takes_transpose(const fm_emit *e, const void *desc) {
    fm_implicit i;
    implicit_of_transpose(&i, desc);
    int64_t group = i.group, in = i.x.shape.dims[3], out = i.out.shape.dims[3];
    if (group < 1 || !fm_implicit_is_valid(&i) || in % group != 0 || out % group != 0) return false;
    return is_dense(e, i.weight, (int64_t)i.kernel[0] * i.kernel[1] * (out / group) * in);
}

static flashmem_status emit_transpose(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_implicit i;
    (void)err;
    implicit_of_transpose(&i, desc);
    emit_each_output(e, &i, "conv_transpose", transpose_work);
    return FLASHMEM_OK;
}

const fm_row fm_row_conv_transpose_reference = {
    "conv_transpose_reference", FM_FAMILY_CONV_TRANSPOSE, true, FM_ANY_LAYOUT, 0, takes_transpose, emit_transpose
};

flashmem_status fm_emit_conv_transpose(fm_emit *e, const fm_conv_transpose_desc *d, flashmem_error *err) {
    return fm_row_emit(e, FM_FAMILY_CONV_TRANSPOSE, d->name, d, err);
}
