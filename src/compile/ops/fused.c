/* The epilogue of fm.MatMul and fm.Conv, and of what lowers as they do. */
#include "compile/ops/fused.h"

#include "compile/lower_internal.h"
#include "compile/ops/infer_helpers.h"

fm_sides fm_fused_sides(const fm_node *node) {
    return (fm_sides){ .bias = fm_node_input(node, FM_FUSED_BIAS),
                       .pre = fm_node_input(node, FM_FUSED_PRE),
                       .post = fm_node_input(node, FM_FUSED_POST) };
}

static flashmem_status side_view(fm_lower *l, fm_tensor *side, const fm_shape *shape, fm_view *out,
                                 flashmem_error *err) {
    if (!side) return FLASHMEM_OK;
    FM_TRY(fm_lower_view(l, side, out, err));
    *out = fm_view_broadcast(out, shape);
    return FLASHMEM_OK;
}

flashmem_status fm_lower_epilogue(fm_lower *l, const fm_fused *f, const fm_sides *sides, int64_t outputs,
                                  const fm_shape *shape, fm_epilogue *out, flashmem_error *err) {
    fm_epilogue_init(out);
    out->alpha = f->alpha;
    out->activation = f->activation;
    out->p0 = f->p0;
    out->p1 = f->p1;
    if (sides->bias) FM_TRY(fm_lower_vector(l, sides->bias, outputs, &out->bias, err));
    FM_TRY(side_view(l, sides->pre, shape, &out->pre, err));
    return side_view(l, sides->post, shape, &out->post, err);
}
