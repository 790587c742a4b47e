/* Sliding windows: attributes of Conv, ConvTranspose and the pools. */
#include "compile/ops/window.h"

#include <inttypes.h>
#include <string.h>

#include "compile/ops/infer_helpers.h"

enum { LARGEST = 1 << 24 };

static flashmem_status read_list(const fm_node *node, const char *name, uint32_t expected, int64_t least,
                                 int64_t otherwise, int64_t *to, flashmem_error *err) {
    uint32_t       count = 0;
    const int64_t *list = fm_node_ints(node, name, &count);
    if (list && count != expected)
        return fm_node_fail(err, node, "attribute '%s' has %u values, expected %u", name, count, expected);
    for (uint32_t i = 0; i < expected; i++) {
        to[i] = list ? list[i] : otherwise;
        if (list && (to[i] < least || to[i] > LARGEST))
            return fm_node_fail(err, node, "attribute '%s' holds %" PRId64, name, to[i]);
    }
    return FLASHMEM_OK;
}

/* SAME: output size = ceil(size / stride); the odd element of padding goes to the end (UPPER) or the begin (LOWER). */
static void pad_same(fm_window *w, const fm_shape *x, bool lower) {
    for (uint32_t i = 0; i < w->axes; i++) {
        int64_t size = x->dims[2 + i], out = (size + w->stride[i] - 1) / w->stride[i];
        int64_t total = (out - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1 - size;
        if (total < 0) total = 0;
        w->begin[i] = lower ? (total + 1) / 2 : total / 2;
        w->end[i] = total - w->begin[i];
    }
}

flashmem_status fm_window_read(const fm_node *node, const fm_shape *x, const int64_t *kernel, fm_window *out,
                               flashmem_error *err) {
    char text[160];
    if (x->rank < 3 || x->rank > 2 + FM_WINDOW_AXES)
        return fm_node_unsupported(err, node, "tensor '%s' of shape %s: one to three spatial dims are handled",
                                   node->inputs[0]->name, fm_shape_print(x, text, sizeof text));
    fm_window w = { .axes = x->rank - 2, .ceil = fm_node_int(node, "ceil_mode", 0) != 0 };
    int64_t   pads[2 * FM_WINDOW_AXES];
    FM_TRY(read_list(node, "kernel_shape", w.axes, 1, 0, w.kernel, err));
    for (uint32_t i = 0; kernel && i < w.axes; i++) {
        if (fm_node_attr(node, "kernel_shape") && w.kernel[i] != kernel[i])
            return fm_node_fail(err, node, "kernel_shape holds %" PRId64 ", the weight has %" PRId64, w.kernel[i],
                                kernel[i]);
        w.kernel[i] = kernel[i];
    }
    for (uint32_t i = 0; i < w.axes; i++)
        if (w.kernel[i] < 1 || w.kernel[i] > LARGEST) return fm_node_fail(err, node, "it has no kernel_shape");
    FM_TRY(read_list(node, "strides", w.axes, 1, 1, w.stride, err));
    FM_TRY(read_list(node, "dilations", w.axes, 1, 1, w.dilation, err));
    FM_TRY(read_list(node, "pads", 2 * w.axes, 0, 0, pads, err));
    memcpy(w.begin, pads, w.axes * sizeof *pads);
    memcpy(w.end, pads + w.axes, w.axes * sizeof *pads);
    const char *mode = fm_node_string(node, "auto_pad", "NOTSET");
    if (strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0) {
        pad_same(&w, x, strcmp(mode, "SAME_LOWER") == 0);
    } else if (strcmp(mode, "VALID") == 0) {
        memset(w.begin, 0, sizeof w.begin);
        memset(w.end, 0, sizeof w.end);
    } else if (strcmp(mode, "NOTSET") != 0) {
        return fm_node_fail(err, node, "auto_pad is '%s'", mode);
    }
    *out = w;
    return FLASHMEM_OK;
}

int64_t fm_window_output(const fm_window *w, uint32_t i, int64_t size) {
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1, room = size + w->begin[i] + w->end[i] - span;
    if (room < 0) return 0;
    int64_t out = room / w->stride[i] + 1;
    /* a window more when it begins inside the input or the padding before it */
    if (w->ceil && room % w->stride[i] && out * w->stride[i] < size + w->begin[i]) out++;
    return out;
}

flashmem_status fm_window_2d(const fm_node *node, const fm_window *w, uint32_t kernel[2], uint32_t stride[2],
                             uint32_t dilation[2], int32_t pad[4], flashmem_error *err) {
    if (w->axes > 2) return fm_node_unsupported(err, node, "three spatial dims have no kernel");
    kernel[0] = stride[0] = dilation[0] = 1;
    pad[0] = pad[2] = 0;
    for (uint32_t i = 0; i < w->axes; i++) {
        uint32_t to = w->axes == 1 ? 1 : i;
        kernel[to] = (uint32_t)w->kernel[i];
        stride[to] = (uint32_t)w->stride[i];
        dilation[to] = (uint32_t)w->dilation[i];
        pad[to] = (int32_t)w->begin[i];
        pad[2 + to] = (int32_t)w->end[i];
    }
    return FLASHMEM_OK;
}

fm_view fm_window_view(const fm_view *view) {
    fm_view result = *view;
    if (view->shape.rank != 3) return result;
    result.shape.rank = 4;
    result.shape.dims[3] = view->shape.dims[2];
    result.strides[3] = view->strides[2];
    result.shape.dims[2] = 1;
    result.strides[2] = 0;
    return result;
}
