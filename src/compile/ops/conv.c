/* Conv (1-D and 2-D) and fm.Conv, its fused form.  Results lie channels-last: [N, C, H, W] with C innermost. */
#include <inttypes.h>

#include "compile/lower_internal.h"
#include "compile/ops/fused.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/window.h"

static flashmem_status read_window(const fm_node *node, fm_window *window, flashmem_error *err) {
    const fm_shape *x = &node->inputs[0]->shape, *w = &node->inputs[1]->shape;
    char            a[160], b[160];
    if (w->rank != x->rank || x->rank < 3)
        return fm_node_fail(err, node, "tensors '%s' of shape %s and '%s' of shape %s do not fit a convolution",
                            node->inputs[0]->name, fm_shape_print(x, a, sizeof a), node->inputs[1]->name,
                            fm_shape_print(w, b, sizeof b));
    return fm_window_read(node, x, w->dims + 2, window, err);
}

static flashmem_status infer_conv(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0], *w = node->inputs[1], *bias = fm_node_input(node, 2);
    fm_window        window;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_same_type(node, 0, 1, err));
    FM_TRY(read_window(node, &window, err));
    int64_t group = fm_node_int(node, "group", 1), outputs = w->shape.dims[0];
    if (group < 1 || x->shape.dims[1] % group || outputs % group || w->shape.dims[1] != x->shape.dims[1] / group)
        return fm_node_fail(err, node,
                            "%" PRId64 " channels, %" PRId64 " groups, weight '%s' for %" PRId64
                            " channels each and %" PRId64 " outputs",
                            x->shape.dims[1], group, w->name, w->shape.dims[1], outputs);
    if (bias && fm_shape_count(&bias->shape) != outputs)
        return fm_node_fail(err, node, "bias '%s' has %" PRId64 " elements, expected %" PRId64, bias->name,
                            fm_shape_count(&bias->shape), outputs);
    fm_shape out = { .rank = x->shape.rank, .dims = { x->shape.dims[0], outputs } };
    for (uint32_t i = 0; i < window.axes; i++) out.dims[2 + i] = fm_window_output(&window, i, x->shape.dims[2 + i]);
    fm_infer_output(node, 0, x->dtype, &out);
    return FLASHMEM_OK;
}

static flashmem_status infer_fused(fm_graph *g, fm_node *node, flashmem_error *err) {
    FM_TRY(infer_conv(g, node, err));
    for (uint32_t i = FM_FUSED_PRE; i < FM_FUSED_INPUTS; i++) {
        const fm_tensor *t = fm_node_input(node, i);
        fm_shape         both;
        if (t && (!fm_shape_broadcast(&node->outputs[0]->shape, &t->shape, &both) ||
                  !fm_shape_equal(&node->outputs[0]->shape, &both)))
            return fm_node_fail(err, node, "tensor '%s' does not broadcast to the convolution", t->name);
    }
    return FLASHMEM_OK;
}

/* Every output sums the window over the channels of its group. */
static double macs_conv(const fm_node *node) {
    const fm_shape *w = &node->inputs[1]->shape;
    return (double)fm_shape_count(&node->outputs[0]->shape) * (double)fm_shape_count(w) / (double)w->dims[0];
}

/* --- lowering ----------------------------------------------------------------------------------------------------- */

static const uint32_t channels_last[4] = { 0, 2, 3, 1 }, channels_last_1d[3] = { 0, 2, 1 };

/* [O, C, kh, kw] as [kh, kw, C, O]. */
static const fm_recipe *outputs_last(fm_arena *a, const fm_tensor *w) {
    static const uint32_t order[4] = { 2, 3, 1, 0 };
    const fm_recipe      *r = w->constant;
    if (w->shape.rank == 3) {
        fm_shape s = { .rank = 4, .dims = { w->shape.dims[0], w->shape.dims[1], 1, w->shape.dims[2] } };
        r = fm_recipe_reshape(a, r, &s);
    }
    return fm_recipe_transpose(a, r, order);
}

static const fm_recipe *as_matrix(fm_arena *a, const fm_recipe *r) {
    fm_shape s = { .rank = 2, .dims = { r->shape.dims[0] * r->shape.dims[1] * r->shape.dims[2], r->shape.dims[3] } };
    return fm_recipe_reshape(a, r, &s);
}

static bool is_pointwise(const fm_conv_desc *d) {
    for (uint32_t i = 0; i < 2; i++)
        if (d->kernel[i] != 1 || d->stride[i] != 1 || d->pad[i] || d->pad[2 + i]) return false;
    return d->group == 1;
}

static fm_view permute_present(const fm_view *view, const uint32_t *order) {
    return view->value == FM_NONE ? *view : fm_view_permute(view, order);
}

/* A 1x1 convolution is a matrix product over [N, H, W, C]. */
static flashmem_status emit_pointwise(fm_lower *l, const fm_conv_desc *d, const fm_recipe *kn, const char *weight,
                                      flashmem_error *err) {
    fm_lower_matmul_args m = { .name = d->name, .weight_name = weight, .weight = kn, .epilogue = d->epilogue };
    m.a = fm_view_permute(&d->x, channels_last);
    m.out = fm_view_permute(&d->out, channels_last);
    m.epilogue.pre = permute_present(&d->epilogue.pre, channels_last);
    m.epilogue.post = permute_present(&d->epilogue.post, channels_last);
    return fm_lower_matmul(l, &m, err);
}

/* Fast rows read runs of channels: an input that lies otherwise is copied once. */
static flashmem_status input_channels_last(fm_lower *l, fm_conv_desc *d, flashmem_error *err) {
    if (d->group > 1 || d->x.shape.dims[1] == 1 || d->x.strides[1] == 1) return FLASHMEM_OK;
    fm_view copy = fm_lower_storage(l, FM_VALUE_ACTIVATION, FLASHMEM_F32, &d->x.shape, channels_last, NULL);
    FM_TRY(fm_lower_copy(l, d->name, &d->x, &copy, err));
    d->x = copy;
    return FLASHMEM_OK;
}

/* Channels [from, from + count) of the [kh, kw, C, O] weight. */
static const fm_recipe *channel_slice(fm_arena *a, const fm_recipe *r, int64_t from, int64_t count) {
    int64_t  start[4] = { 0, 0, from, 0 }, step[4] = { 1, 1, 1, 1 };
    fm_shape s = r->shape;
    s.dims[2] = count;
    return fm_recipe_slice(a, r, start, step, &s);
}

/* An image holds at most image_limit rows of K: more channels run as several convolutions, each adding the last. */
static flashmem_status emit_bands(fm_lower *l, const fm_conv_desc *d, const fm_recipe *khwco, const char *weight,
                                  flashmem_error *err) {
    int64_t channels = d->x.shape.dims[1], area = (int64_t)d->kernel[0] * d->kernel[1];
    int64_t most = l->image_limit / area > 0 ? l->image_limit / area : 1;
    fm_view sum = d->epilogue.pre;
    for (int64_t from = 0; from < channels; from += most) {
        int64_t      count = channels - from < most ? channels - from : most;
        bool         last = from + count == channels;
        fm_conv_desc part = *d;
        part.x = fm_view_slice(&d->x, 1, from, 1, count);
        if (!last) {
            fm_epilogue_init(&part.epilogue);
            part.epilogue.alpha = d->epilogue.alpha;
            part.out = fm_lower_storage(l, FM_VALUE_ACTIVATION, FLASHMEM_F32, &d->out.shape, channels_last, NULL);
        }
        part.epilogue.pre = sum;
        sum = part.out;
        const fm_recipe *r = as_matrix(l->graph->arena, channel_slice(l->graph->arena, khwco, from, count));
        FM_TRY(fm_lower_panels(l, weight, r, &part.weight, err));
        FM_TRY(fm_emit_conv(&l->emit, &part, err));
    }
    return FLASHMEM_OK;
}

static flashmem_status emit(fm_lower *l, fm_conv_desc *d, const fm_tensor *w, flashmem_error *err) {
    const fm_recipe *r = outputs_last(l->graph->arena, w);
    if (d->group > 1) {
        fm_view weight;
        FM_TRY(fm_lower_dense_weight(l, w->name, r, FLASHMEM_F32, &weight, err));
        d->weight = weight.value;
        return fm_emit_conv(&l->emit, d, err);
    }
    const fm_recipe *kn = as_matrix(l->graph->arena, r);
    FM_TRY(input_channels_last(l, d, err));
    if (is_pointwise(d)) return emit_pointwise(l, d, kn, w->name, err);
    if (l->layout == FLASHMEM_LAYOUT_TEXTURE && kn->shape.dims[0] > (int64_t)l->image_limit)
        return emit_bands(l, d, r, w->name, err);
    FM_TRY(fm_lower_panels(l, w->name, kn, &d->weight, err));
    return fm_emit_conv(&l->emit, d, err);
}

static flashmem_status lower_conv(fm_lower *l, fm_node *node, flashmem_error *err) {
    const fm_fused plain = { .alpha = 1 }, *f = node->params ? node->params : &plain;
    const fm_sides sides = fm_fused_sides(node);
    fm_tensor     *w = node->inputs[1], *t = node->outputs[0];
    fm_window      window;
    fm_view        x, out;
    fm_conv_desc   d = { .name = node->name, .group = (uint32_t)fm_node_int(node, "group", 1) };
    FM_TRY(read_window(node, &window, err));
    FM_TRY(fm_window_2d(node, &window, d.kernel, d.stride, d.dilation, d.pad, err));
    if (!w->constant) return fm_node_unsupported(err, node, "weight '%s' is known only at run time", w->name);
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    out = fm_lower_output(l, t, window.axes == 1 ? channels_last_1d : channels_last);
    d.x = fm_window_view(&x);
    d.out = fm_window_view(&out);
    FM_TRY(fm_lower_epilogue(l, f, &sides, w->shape.dims[0], &t->shape, &d.epilogue, err));
    if (sides.pre) d.epilogue.pre = fm_window_view(&d.epilogue.pre);
    if (sides.post) d.epilogue.post = fm_window_view(&d.epilogue.post);
    return emit(l, &d, w, err);
}

const fm_op fm_op_Conv = { .name = "Conv",
                           .domain = "",
                           .since = 1,
                           .min_inputs = 2,
                           .max_inputs = 3,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .op_class = FM_OP_REUSABLE,
                           .infer = infer_conv,
                           .lower = lower_conv,
                           .macs = macs_conv };
const fm_op fm_op_fused_conv = { .name = "fm.Conv",
                                 .domain = "fm",
                                 .since = 1,
                                 .min_inputs = 2,
                                 .max_inputs = FM_FUSED_INPUTS,
                                 .min_outputs = 1,
                                 .max_outputs = 1,
                                 .op_class = FM_OP_REUSABLE,
                                 .infer = infer_fused,
                                 .lower = lower_conv,
                                 .macs = macs_conv };

/* --- ConvTranspose ------------------------------------------------------------------------------------------------ */

/* With output_shape the padding follows from it; auto_pad alike with output = input * stride. */
static flashmem_status transpose_window(const fm_node *node, fm_window *window, int64_t *sizes, flashmem_error *err) {
    const fm_shape *x = &node->inputs[0]->shape;
    uint32_t        extra_count = 0, wanted_count = 0;
    FM_TRY(read_window(node, window, err));
    const int64_t *extra = fm_node_ints(node, "output_padding", &extra_count);
    const int64_t *wanted = fm_node_ints(node, "output_shape", &wanted_count);
    const char    *mode = fm_node_string(node, "auto_pad", "NOTSET");
    bool           same = mode[0] == 'S', lower = same && mode[5] == 'L';
    if ((extra && extra_count != window->axes) || (wanted && wanted_count < window->axes))
        return fm_node_fail(err, node, "output_padding or output_shape does not have %u values", window->axes);
    for (uint32_t i = 0; i < window->axes; i++) {
        int64_t more = extra ? extra[i] : 0;
        if (more < 0 || more > (1 << 24)) return fm_node_fail(err, node, "output_padding holds %" PRId64, more);
        int64_t whole = (x->dims[2 + i] - 1) * window->stride[i] + more +
                        (window->kernel[i] - 1) * window->dilation[i] + 1;
        if (wanted || same) {
            sizes[i] = wanted ? wanted[wanted_count - window->axes + i] : x->dims[2 + i] * window->stride[i];
            if (!wanted && sizes[i] > whole) sizes[i] = whole; /* as ONNX Runtime: nothing is appended */
            int64_t total = whole - sizes[i] > 0 ? whole - sizes[i] : 0;
            window->begin[i] = lower ? (total + 1) / 2 : total / 2;
            window->end[i] = total - window->begin[i];
        } else {
            sizes[i] = whole - window->begin[i] - window->end[i];
        }
        if (sizes[i] < 1) return fm_node_fail(err, node, "an output of size %" PRId64, sizes[i]);
    }
    return FLASHMEM_OK;
}

static flashmem_status infer_transpose(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0], *w = node->inputs[1], *bias = fm_node_input(node, 2);
    fm_window        window;
    int64_t          sizes[FM_WINDOW_AXES], group = fm_node_int(node, "group", 1);
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_infer_same_type(node, 0, 1, err));
    FM_TRY(transpose_window(node, &window, sizes, err));
    if (group < 1 || x->shape.dims[1] % group || w->shape.dims[0] != x->shape.dims[1] || group > (1 << 24))
        return fm_node_fail(err, node, "%" PRId64 " channels, %" PRId64 " groups, weight '%s' for %" PRId64 " channels",
                            x->shape.dims[1], group, w->name, w->shape.dims[0]);
    fm_shape out = { .rank = x->shape.rank, .dims = { x->shape.dims[0], w->shape.dims[1] * group } };
    if (bias && fm_shape_count(&bias->shape) != out.dims[1])
        return fm_node_fail(err, node, "bias '%s' does not have %" PRId64 " elements", bias->name, out.dims[1]);
    for (uint32_t i = 0; i < window.axes; i++) out.dims[2 + i] = sizes[i];
    fm_infer_output(node, 0, x->dtype, &out);
    return FLASHMEM_OK;
}

/* Every input element adds to a window of the outputs of its group. */
static double macs_transpose(const fm_node *node) {
    const fm_shape *w = &node->inputs[1]->shape;
    return (double)fm_shape_count(&node->inputs[0]->shape) * (double)fm_shape_count(w) / (double)w->dims[0];
}

static flashmem_status lower_transpose(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor             *w = node->inputs[1], *bias = fm_node_input(node, 2);
    fm_window              window;
    int64_t                sizes[FM_WINDOW_AXES];
    fm_view                x, out, weight;
    fm_conv_transpose_desc d = { .name = node->name, .group = (uint32_t)fm_node_int(node, "group", 1) };
    FM_TRY(transpose_window(node, &window, sizes, err));
    FM_TRY(fm_window_2d(node, &window, d.kernel, d.stride, d.dilation, d.pad, err));
    if (!w->constant) return fm_node_unsupported(err, node, "weight '%s' is known only at run time", w->name);
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    FM_TRY(fm_lower_dense_weight(l, w->name, w->constant, FLASHMEM_F32, &weight, err));
    out = fm_lower_output(l, node->outputs[0], window.axes == 1 ? channels_last_1d : channels_last);
    d.x = fm_window_view(&x);
    d.out = fm_window_view(&out);
    d.weight = weight.value;
    fm_epilogue_init(&d.epilogue);
    if (bias) FM_TRY(fm_lower_vector(l, bias, out.shape.dims[1], &d.epilogue.bias, err));
    return fm_emit_conv_transpose(&l->emit, &d, err);
}

const fm_op fm_op_ConvTranspose = { .name = "ConvTranspose",
                                    .domain = "",
                                    .since = 1,
                                    .min_inputs = 2,
                                    .max_inputs = 3,
                                    .min_outputs = 1,
                                    .max_outputs = 1,
                                    .op_class = FM_OP_REUSABLE,
                                    .infer = infer_transpose,
                                    .lower = lower_transpose,
                                    .macs = macs_transpose };
