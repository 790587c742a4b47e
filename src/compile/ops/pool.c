/* MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool. */
#include <inttypes.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/window.h"

static flashmem_status infer_pool(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    fm_window        window;
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    FM_TRY(fm_window_read(node, &x->shape, NULL, &window, err));
    fm_shape out = x->shape;
    for (uint32_t i = 0; i < window.axes; i++) {
        if (window.begin[i] >= window.kernel[i] * window.dilation[i] ||
            window.end[i] >= window.kernel[i] * window.dilation[i])
            return fm_node_fail(err, node, "padding %" PRId64 " and %" PRId64 " are not below the kernel's %" PRId64,
                                window.begin[i], window.end[i], window.kernel[i]);
        out.dims[2 + i] = fm_window_output(&window, i, x->shape.dims[2 + i]);
    }
    fm_infer_output(node, 0, x->dtype, &out);
    fm_infer_output(node, 1, FLASHMEM_I64, &out);
    return FLASHMEM_OK;
}

static flashmem_status lower_pool(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_window    window;
    fm_view      x, out;
    fm_pool_desc d = { .name = node->name, .average = strcmp(node->op_type, "AveragePool") == 0 };
    if (node->output_count > 1 && node->outputs[1] && (node->outputs[1]->use_count || node->outputs[1]->is_output))
        return fm_node_unsupported(err, node, "its output of indices is used");
    FM_TRY(fm_lower_view(l, node->inputs[0], &x, err));
    FM_TRY(fm_window_read(node, &x.shape, NULL, &window, err));
    FM_TRY(fm_window_2d(node, &window, d.kernel, d.stride, d.dilation, d.pad, err));
    out = fm_lower_output_like(l, node->outputs[0], &x);
    d.x = fm_window_view(&x);
    d.out = fm_window_view(&out);
    d.count_include_pad = fm_node_int(node, "count_include_pad", 0) != 0;
    return fm_emit_pool(&l->emit, &d, err);
}

static flashmem_status infer_global(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const fm_tensor *x = node->inputs[0];
    char             text[160];
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (x->shape.rank < 3)
        return fm_node_fail(err, node, "tensor '%s' of shape %s has no spatial dims", x->name,
                            fm_shape_print(&x->shape, text, sizeof text));
    fm_shape out = x->shape;
    for (uint32_t i = 2; i < out.rank; i++) out.dims[i] = 1;
    fm_infer_output(node, 0, x->dtype, &out);
    return FLASHMEM_OK;
}

static flashmem_status lower_global(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_reduce_desc d = { .name = node->name };
    d.op = strcmp(node->op_type, "GlobalMaxPool") == 0 ? FM_REDUCE_MAX : FM_REDUCE_MEAN;
    FM_TRY(fm_lower_view(l, node->inputs[0], &d.x, err));
    for (uint32_t i = 2; i < d.x.shape.rank; i++) d.reduced |= 1u << i;
    d.out = fm_lower_output(l, node->outputs[0], NULL);
    return fm_emit_reduce(&l->emit, &d, err);
}

#define POOL(id, onnx, outputs, infer_fn, lower_fn)            \
    const fm_op fm_op_##id = { .name = onnx,                   \
                               .domain = "",                   \
                               .since = 1,                     \
                               .min_inputs = 1,                \
                               .max_inputs = 1,                \
                               .min_outputs = 1,               \
                               .max_outputs = outputs,         \
                               .op_class = FM_OP_HIERARCHICAL, \
                               .infer = infer_fn,              \
                               .lower = lower_fn }
POOL(MaxPool, "MaxPool", 2, infer_pool, lower_pool);
POOL(AveragePool, "AveragePool", 1, infer_pool, lower_pool);
POOL(GlobalAveragePool, "GlobalAveragePool", 1, infer_global, lower_global);
POOL(GlobalMaxPool, "GlobalMaxPool", 1, infer_global, lower_global);
