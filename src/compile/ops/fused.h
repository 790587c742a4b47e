/* Internal operators made by passes.  They are not in op_list.h, so no file can name them.  Who may include: compile.
 *
 *     fm.MatMul  inputs x, w, bias [N], pre, post (the last three may be absent)
 *     fm.Conv    inputs x, w, bias [O], pre, post; attributes as Conv
 *     out = act(alpha * (x * w) + bias + pre) + post
 * A fused node's op_type is its own name; node->params is its fm_fused. */
#ifndef FM_COMPILE_OPS_FUSED_H
#define FM_COMPILE_OPS_FUSED_H

#include "compile/ops/op.h"
#include "kernels/launch.h"

enum { FM_FUSED_X, FM_FUSED_W, FM_FUSED_BIAS, FM_FUSED_PRE, FM_FUSED_POST, FM_FUSED_INPUTS };

typedef struct fm_fused {
    float         alpha;
    fm_activation activation;
    float         p0, p1;
    bool          transpose_x, transpose_w; /* fm.MatMul: the last two axes */
} fm_fused;

/* The inputs of an epilogue; NULL: absent. */
typedef struct fm_sides {
    fm_tensor *bias, *pre, *post;
} fm_sides;

/* Those of a node with the inputs of fm.MatMul and fm.Conv (Conv, without pre and post, is one). */
fm_sides fm_fused_sides(const fm_node *node);
/* The epilogue f with its sides as the kernels see them: bias a vector of `outputs` elements, pre and post broadcast to
 * shape. */
flashmem_status fm_lower_epilogue(struct fm_lower *l, const fm_fused *f, const fm_sides *sides, int64_t outputs,
                                  const fm_shape *shape, fm_epilogue *out, flashmem_error *err);

/* fm.Attention: inputs q [.., S, D], k [.., T, D] (or [.., D, T]), v [.., T, Dv], mask (may be absent; added, or bool);
 * rank 3 [B, S, D] or 4 [B, H, S, D]. */
typedef struct fm_attention_params {
    float   scale;
    bool    k_transposed; /* k is [.., D, T] */
    bool    causal;
    int64_t causal_offset, window;
} fm_attention_params;

/* fm.Norm: inputs x, add, gamma, beta (all but x may be absent), outputs out, sum (may be absent): normalises x + add over
 * the last axis. */
typedef struct fm_norm_params {
    bool  rms;
    float epsilon;
} fm_norm_params;

/* fm.Elementwise: one expression over its inputs, which broadcast to the shape given. */
typedef struct fm_fused_elementwise {
    const char    *expression;
    bool           vector_safe;
    uint32_t       constant_count;
    float          constants[8];
    flashmem_dtype dtype;
    fm_shape       shape;
} fm_fused_elementwise;

extern const fm_op fm_op_fused_matmul, fm_op_fused_conv, fm_op_fused_attention, fm_op_fused_norm,
    fm_op_fused_elementwise;

#endif
