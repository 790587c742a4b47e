/* Matmul and convolution as one product of gathered rows with panels: checks, arguments, the reference step. */
#include "kernels/matmul_implicit.h"

#include <stdio.h>

void fm_epilogue_init(fm_epilogue *e) {
    *e = (fm_epilogue){ .alpha = 1, .activation = FM_ACT_NONE };
    e->bias.value = e->pre.value = e->post.value = FM_NONE;
}

fm_view fm_view_rank4(const fm_view *view) {
    fm_view  result = *view;
    uint32_t added = 4 - view->shape.rank;
    if (view->value == FM_NONE || view->shape.rank >= 4) return result;
    result.shape.rank = 4;
    for (uint32_t i = 0; i < 4; i++) {
        result.shape.dims[i] = i < added ? 1 : view->shape.dims[i - added];
        result.strides[i] = i < added ? 0 : view->strides[i - added];
    }
    return result;
}

static fm_view channels_last(const fm_view *view) {
    static const uint32_t order[4] = { 0, 2, 3, 1 };
    return view->value == FM_NONE || view->shape.rank != 4 ? *view : fm_view_permute(view, order);
}

void fm_implicit_of_matmul(fm_implicit *i, const fm_matmul_desc *d) {
    *i = (fm_implicit){ .name = d->name,
                        .cost_class = FLASHMEM_COST_MATMUL,
                        .x = fm_view_rank4(&d->x),
                        .out = fm_view_rank4(&d->out),
                        .weight = d->weight,
                        .kernel = { 1, 1 },
                        .stride = { 1, 1 },
                        .dilation = { 1, 1 },
                        .group = 1,
                        .epilogue = d->epilogue };
    i->epilogue.pre = fm_view_rank4(&d->epilogue.pre);
    i->epilogue.post = fm_view_rank4(&d->epilogue.post);
}

void fm_implicit_of_conv(fm_implicit *i, const fm_conv_desc *d) {
    *i = (fm_implicit){ .name = d->name,
                        .cost_class = FLASHMEM_COST_CONV,
                        .x = channels_last(&d->x),
                        .out = channels_last(&d->out),
                        .weight = d->weight,
                        .kernel = { d->kernel[0], d->kernel[1] },
                        .stride = { d->stride[0], d->stride[1] },
                        .dilation = { d->dilation[0], d->dilation[1] },
                        .pad = { d->pad[0], d->pad[1] },
                        .group = d->group,
                        .epilogue = d->epilogue };
    i->epilogue.pre = channels_last(&d->epilogue.pre);
    i->epilogue.post = channels_last(&d->epilogue.post);
}

bool fm_view_fits_int(const fm_view *view) {
    int64_t lowest = view->offset, highest = view->offset;
    if (view->value == FM_NONE) return true;
    for (uint32_t i = 0; i < view->shape.rank; i++) {
        int64_t reach;
        if (view->shape.dims[i] > INT32_MAX || view->strides[i] > INT32_MAX || view->strides[i] < INT32_MIN)
            return false;
        if (view->shape.dims[i] == 0) continue;
        reach = (view->shape.dims[i] - 1) * view->strides[i];
        if (__builtin_add_overflow(reach < 0 ? lowest : highest, reach, reach < 0 ? &lowest : &highest)) return false;
    }
    return lowest >= 0 && highest <= INT32_MAX;
}

static bool operand_fits(const fm_view *view, const fm_shape *shape) {
    return view->value == FM_NONE ||
           (view->dtype == FLASHMEM_F32 && fm_shape_equal(&view->shape, shape) && fm_view_fits_int(view));
}

bool fm_epilogue_is_valid(const fm_epilogue *epilogue, const fm_view *out) {
    fm_shape columns = { .rank = 1, .dims = { out->shape.dims[out->shape.rank - 1] } };
    return operand_fits(&epilogue->bias, &columns) && operand_fits(&epilogue->pre, &out->shape) &&
           operand_fits(&epilogue->post, &out->shape) && epilogue->activation <= FM_ACT_ELU;
}

bool fm_implicit_is_valid(const fm_implicit *i) {
    if (i->x.shape.rank != 4 || i->out.shape.rank != 4 || i->x.shape.dims[0] != i->out.shape.dims[0]) return false;
    if (i->x.dtype != FLASHMEM_F32 || i->out.dtype != FLASHMEM_F32) return false;
    for (int axis = 0; axis < 2; axis++)
        if (i->kernel[axis] - 1 >= INT16_MAX || i->stride[axis] - 1 >= INT16_MAX ||
            i->dilation[axis] - 1 >= INT16_MAX || i->pad[axis] < -INT16_MAX || i->pad[axis] > INT16_MAX)
            return false;
    return fm_view_fits_int(&i->x) && fm_view_fits_int(&i->out) && fm_epilogue_is_valid(&i->epilogue, &i->out);
}

const fm_weight *fm_implicit_panels(const fm_emit *e, const fm_implicit *i) {
    uint32_t         index = e->builder->values[i->weight].weight;
    const fm_weight *weight = index == FM_NONE ? NULL : &e->weights[index];
    uint64_t         k = (uint64_t)i->kernel[0] * i->kernel[1] * (uint64_t)i->x.shape.dims[3];
    if (!weight || weight->kind != FM_WEIGHT_PANELS || weight->format > FM_WEIGHT_F16) return NULL;
    if (weight->k != k || weight->n != (uint64_t)i->out.shape.dims[3] || k > INT32_MAX / 64) return NULL;
    return weight;
}

static void int_args(fm_emit *e, const int64_t *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) fm_builder_arg_int(e->builder, values[i]);
}

void fm_implicit_args(fm_emit *e, const fm_implicit *i) {
    const fm_view *x = &i->x, *out = &i->out;
    int_args(e, (int64_t[]){ x->offset, x->strides[0], x->strides[1], x->strides[2], x->strides[3] }, 5);
    int_args(e, x->shape.dims + 1, 3);
    int_args(e, (int64_t[]){ out->offset, out->strides[0], out->strides[1], out->strides[2], out->strides[3] }, 5);
    int_args(e, out->shape.dims + 1, 3);
    int_args(e,
             (int64_t[]){ i->kernel[0], i->kernel[1], i->stride[0], i->stride[1], i->dilation[0], i->dilation[1],
                          i->pad[0], i->pad[1] },
             8);
}

static void operand_args(fm_emit *e, const fm_view *view, uint32_t any) {
    bool    absent = view->value == FM_NONE;
    int64_t strides[4] = { 0 };
    fm_builder_read(e->builder, absent ? any : view->value);
    fm_builder_arg_int(e->builder, absent ? 0 : view->offset);
    for (uint32_t axis = 0; axis < 4 && !absent; axis++) strides[axis] = view->strides[axis];
    int_args(e, strides, 4);
}

void fm_epilogue_args(fm_emit *e, const fm_epilogue *ep, uint32_t any) {
    bool bias = ep->bias.value != FM_NONE;
    fm_builder_arg_float(e->builder, ep->alpha);
    fm_builder_arg_float(e->builder, ep->p0);
    fm_builder_arg_float(e->builder, ep->p1);
    fm_builder_arg_int(e->builder,
                       (bias ? 1 : 0) | (ep->pre.value != FM_NONE ? 2 : 0) | (ep->post.value != FM_NONE ? 4 : 0));
    fm_builder_read(e->builder, bias ? ep->bias.value : any);
    fm_builder_arg_int(e->builder, bias ? ep->bias.offset : 0);
    fm_builder_arg_int(e->builder, bias ? ep->bias.strides[0] : 0);
    operand_args(e, &ep->pre, any);
    operand_args(e, &ep->post, any);
}

void fm_implicit_work(fm_emit *e, const fm_implicit *i) {
    double outputs = (double)fm_shape_count(&i->out.shape), inputs = (double)fm_shape_count(&i->x.shape);
    double k = (double)i->kernel[0] * i->kernel[1] * (double)i->x.shape.dims[3] / i->group;
    double operands = 1 + (i->epilogue.pre.value != FM_NONE) + (i->epilogue.post.value != FM_NONE);
    fm_builder_work(e->builder, 2 * k * outputs, 4 * (inputs + outputs * operands));
}

uint32_t fm_epilogue_kernel(fm_emit *e, const char *source, const char *entry, const fm_epilogue *epilogue,
                            const char *extra, uint32_t needs) {
    char options[256];
    snprintf(options, sizeof options, "-DACTIVATION=%d%s", (int)epilogue->activation, extra);
    return fm_builder_kernel(e->builder, source, options, entry, needs);
}

flashmem_status fm_implicit_emit_reference(fm_emit *e, const fm_implicit *i, flashmem_error *err) {
    const fm_weight *weight = fm_implicit_panels(e, i);
    bool             texture = e->target.layout == FLASHMEM_LAYOUT_TEXTURE;
    int64_t     columns = texture ? 4 : 16, rows = i->out.shape.dims[0] * i->out.shape.dims[1] * i->out.shape.dims[2];
    const char *extra = texture ? " -DTEXTURE=1" : weight->format == FM_WEIGHT_F16 ? " -DWEIGHT_HALF=1" : "";
    (void)err;
    if (fm_shape_count(&i->out.shape) == 0) return FLASHMEM_OK;
    fm_builder_begin(e->builder, i->name,
                     fm_epilogue_kernel(e, "matmul_reference.cl", "matmul_reference", &i->epilogue, extra,
                                        texture ? FM_DEVICE_IMAGE : 0),
                     i->cost_class);
    fm_builder_read(e->builder, i->x.value);
    if (texture) fm_builder_image(e->builder, i->weight);
    else fm_builder_read(e->builder, i->weight);
    fm_builder_write(e->builder, i->out.value);
    fm_implicit_args(e, i);
    fm_builder_arg_int(e->builder, (int64_t)(weight->panel_bytes / (weight->format == FM_WEIGHT_F16 ? 2 : 4)));
    fm_epilogue_args(e, &i->epilogue, i->x.value);
    fm_builder_arg_panels(e->builder);
    fm_builder_global(e->builder, (int64_t)weight->panels * columns, rows, 1);
    fm_implicit_work(e, i);
    fm_builder_split(e->builder, i->weight, 0, 1, (uint32_t)columns);
    fm_builder_end(e->builder);
    return FLASHMEM_OK;
}
