/* Kernel families: what each computes, as a description that compile's lowering, kernel tests and micro-benchmarks fill
 * in, and an emit function that chooses a row (kernel_list.h) and appends the step(s) to a program.
 * Who may include: compile, tests, bench.
 *
 * All floating-point activations are float32 on the device; integers int64 or int32, booleans uint8.  Views give
 * strides in elements and may be broadcast (stride 0) where read.  Every emit returns UNSUPPORTED with the reason where
 * no row takes the description; a plain reference row takes everything that the description's comment allows. */
#ifndef FM_KERNELS_LAUNCH_H
#define FM_KERNELS_LAUNCH_H

#include "base/error.h"
#include "contract/program_builder.h"

typedef struct fm_target {
    flashmem_layout layout;    /* weight layout class of the pack */
    uint32_t        device;    /* FM_DEVICE_* bits the target has */
    bool            reference; /* only reference rows (tests) */
} fm_target;

typedef struct fm_emit {
    fm_program_builder *builder;
    fm_target           target;
    const fm_weight    *weights; /* the pack's weight table, indexed by fm_value.weight */
} fm_emit;

typedef enum fm_activation {
    FM_ACT_NONE, FM_ACT_RELU, FM_ACT_GELU /* erf */, FM_ACT_GELU_TANH, FM_ACT_QUICK_GELU /* x*sigmoid(1.702x) */,
    FM_ACT_TANH, FM_ACT_SIGMOID, FM_ACT_SILU, FM_ACT_CLIP /* p0..p1 */, FM_ACT_LEAKY_RELU /* slope p0 */,
    FM_ACT_HARD_SWISH, FM_ACT_HARD_SIGMOID /* p0*x+p1 */, FM_ACT_ELU /* p0 */
} fm_activation;

/* out = act(alpha * acc + bias + pre) + post;  views with value FM_NONE are absent.  bias is [N]; pre and post have the
 * output's shape (broadcast strides allowed). */
typedef struct fm_epilogue {
    float         alpha; /* 1 by default */
    fm_view       bias, pre, post;
    fm_activation activation;
    float         p0, p1;
} fm_epilogue;
void fm_epilogue_init(fm_epilogue *e); /* alpha 1, no bias, no residual, no activation */

/* out[b, m, n] = epilogue(sum_k x[b, m, k] * W[k, n]).  x rank 3 [B, M, K], any strides; out rank 3 [B, M, N], any
 * strides; W a PANELS weight (k, n in its record), fp32 or fp16 in the target's layout.  Splittable along N. */
typedef struct fm_matmul_desc {
    const char *name;
    fm_view     x, out;
    uint32_t    weight; /* value */
    fm_epilogue epilogue;
} fm_matmul_desc;
flashmem_status fm_emit_matmul(fm_emit *e, const fm_matmul_desc *d, flashmem_error *err);

/* out[b0, b1, m, n] = alpha * sum_k a[b0, b1, m, k] * b[b0, b1, k, n] (+ epilogue).  All rank 4 views, any strides. */
typedef struct fm_batch_matmul_desc {
    const char *name;
    fm_view     a, b, out;
    fm_epilogue epilogue; /* bias [N] allowed */
} fm_batch_matmul_desc;
flashmem_status fm_emit_batch_matmul(fm_emit *e, const fm_batch_matmul_desc *d, flashmem_error *err);

/* 2-D convolution, cross-correlation as in ONNX.  x [N, C, H, W], out [N, O, OH, OW], any strides (channels-last is
 * expressed by strides and is what fast rows want: stride of C = 1).
 * group 1: weight PANELS with K ordered [kh][kw][c], n = O; splittable along O.
 * group > 1: weight DENSE float32 [kh][kw][C/group][O]; depthwise (group = C = O) has a row of its own. */
typedef struct fm_conv_desc {
    const char *name;
    fm_view     x, out;
    uint32_t    weight; /* value */
    uint32_t    group, kernel[2], stride[2], dilation[2];
    int32_t     pad[4]; /* top, left, bottom, right */
    fm_epilogue epilogue; /* bias [O]; pre, post [N, O, OH, OW] */
} fm_conv_desc;
flashmem_status fm_emit_conv(fm_emit *e, const fm_conv_desc *d, flashmem_error *err);

/* Transposed convolution; weight DENSE float32 [C][O/group][kh][kw]. */
typedef struct fm_conv_transpose_desc {
    const char *name;
    fm_view     x, out;
    uint32_t    weight;
    uint32_t    group, kernel[2], stride[2], dilation[2];
    int32_t     pad[4];
    fm_epilogue epilogue;
} fm_conv_transpose_desc;
flashmem_status fm_emit_conv_transpose(fm_emit *e, const fm_conv_transpose_desc *d, flashmem_error *err);

/* softmax(scale * q k^T + mask) v, streaming softmax in float32; a row whose every score is masked gives zeros.
 * q [B, H, S, D], k [B, Hk, T, D], v [B, Hk, T, Dv], out [B, H, S, Dv], any strides; Hk divides H.
 * mask: float32 (added) or bool (false = excluded) [B, H, S, T] broadcast, or value FM_NONE.
 * causal: position t is seen by s iff t <= s + causal_offset; window > 0: and t > s + causal_offset - window. */
typedef struct fm_attention_desc {
    const char *name;
    fm_view     q, k, v, mask, out;
    float       scale;
    bool        causal;
    int64_t     causal_offset, window;
} fm_attention_desc;
flashmem_status fm_emit_attention(fm_emit *e, const fm_attention_desc *d, flashmem_error *err);

/* x, out [N, C, H, W], any strides. Average: divides by the elements inside the input, or by kernel area with
 * count_include_pad.  Padding is never a maximum. */
typedef struct fm_pool_desc {
    const char *name;
    fm_view     x, out;
    bool        average, count_include_pad;
    uint32_t    kernel[2], stride[2], dilation[2];
    int32_t     pad[4];
} fm_pool_desc;
flashmem_status fm_emit_pool(fm_emit *e, const fm_pool_desc *d, flashmem_error *err);

/* Normalises over the last axis: x, out [R1, R0, C].  LAYER: (x - mean) / sqrt(var + eps) * gamma + beta; RMS without
 * mean.  gamma, beta [C] float32 or FM_NONE.  add (FM_NONE or [R1, R0, C]): x + add is normalised, and written to sum
 * (FM_NONE or the same shape) when given. */
typedef struct fm_norm_desc {
    const char *name;
    bool        rms;
    fm_view     x, add, sum, gamma, beta, out;
    float       epsilon;
} fm_norm_desc;
flashmem_status fm_emit_norm(fm_emit *e, const fm_norm_desc *d, flashmem_error *err);

/* x, out [N, G, C/G, S]: mean and variance over the last two axes; gamma, beta [G, C/G] or FM_NONE.  Instance norm is
 * G = C. */
typedef struct fm_group_norm_desc {
    const char *name;
    fm_view     x, gamma, beta, out;
    float       epsilon;
} fm_group_norm_desc;
flashmem_status fm_emit_group_norm(fm_emit *e, const fm_group_norm_desc *d, flashmem_error *err);

/* Over the last axis of x, out [R2, R1, R0, C].  log: log-softmax.  scale multiplies x first; mask is float32 (added
 * after the scale) or bool (false = excluded), same shape broadcast, or FM_NONE. */
typedef struct fm_softmax_desc {
    const char *name;
    fm_view     x, mask, out;
    float       scale;
    bool        log;
} fm_softmax_desc;
flashmem_status fm_emit_softmax(fm_emit *e, const fm_softmax_desc *d, flashmem_error *err);

typedef enum fm_reduce_op {
    FM_REDUCE_SUM, FM_REDUCE_MEAN, FM_REDUCE_MAX, FM_REDUCE_MIN, FM_REDUCE_PROD, FM_REDUCE_SUM_SQUARE, FM_REDUCE_L1,
    FM_REDUCE_L2, FM_REDUCE_LOG_SUM, FM_REDUCE_LOG_SUM_EXP, FM_REDUCE_ARG_MAX, FM_REDUCE_ARG_MIN
} fm_reduce_op;
/* x: up to 8 axes of which `reduced` (bit per axis) are reduced; out has the same rank with 1 there (any strides).
 * ARG_*: out int64, exactly one reduced axis; select_last takes the last of equals. Types: float32, int64, int32. */
typedef struct fm_reduce_desc {
    const char  *name;
    fm_reduce_op op;
    fm_view      x, out;
    uint32_t     reduced;
    bool         select_last;
} fm_reduce_desc;
flashmem_status fm_emit_reduce(fm_emit *e, const fm_reduce_desc *d, flashmem_error *err);

#define FM_ELEMENTWISE_INPUTS 8
/* out = expression(a0..a7): an OpenCL C expression without blanks over a0.. (each of its view's type), constants c0..c7
 * (float arguments) and coordinates i0..i7 (int64 coordinates of the output's axes, only if uses_coordinates).  All views
 * have the output's shape (broadcast strides).  The result is converted to the output's type (bool: != 0).  The
 * expression must also be valid on float16 vectors (use select(), not ?:, and the fm_* functions of math.clh) when
 * vector_safe; rows use that when every operand is float32 or bool (a bool is then a float 0 or 1, a comparison a truth
 * vector).  A strided copy or transpose is expression "a0" (any element type). */
typedef struct fm_elementwise_desc {
    const char *name;
    const char *expression;
    bool        vector_safe, uses_coordinates;
    uint32_t    input_count, constant_count;
    fm_view     inputs[FM_ELEMENTWISE_INPUTS], out;
    float       constants[8];
} fm_elementwise_desc;
flashmem_status fm_emit_elementwise(fm_emit *e, const fm_elementwise_desc *d, flashmem_error *err);

/* out[o, i, n] = table[o, indices[i], n]; table [O, A, I], indices [n] int64 or int32 (negative counts from the end),
 * out [O, n, I]; any element type.  Out-of-range indices are clamped on the device (hosts check what they can). */
typedef struct fm_gather_desc {
    const char *name;
    fm_view     table, indices, out;
} fm_gather_desc;
flashmem_status fm_emit_gather(fm_emit *e, const fm_gather_desc *d, flashmem_error *err);

/* GatherElements: data, indices, out of one rank; axis.  GatherND: data rank r, indices [n, q] dense with batch_dims
 * leading axes already flattened away by the caller (0), out [n, inner]. */
typedef struct fm_gather_elements_desc { const char *name; fm_view data, indices, out; uint32_t axis; } fm_gather_elements_desc;
flashmem_status fm_emit_gather_elements(fm_emit *e, const fm_gather_elements_desc *d, flashmem_error *err);
typedef struct fm_gather_nd_desc { const char *name; fm_view data, indices, out; } fm_gather_nd_desc;
flashmem_status fm_emit_gather_nd(fm_emit *e, const fm_gather_nd_desc *d, flashmem_error *err);

/* out = data, then out at indices updated.  ND: indices [n, q] dense, updates [n, inner].  elements: along axis. */
typedef struct fm_scatter_desc {
    const char *name;
    bool        elements;
    uint32_t    axis;
    fm_view     data, indices, updates, out;
} fm_scatter_desc;
flashmem_status fm_emit_scatter(fm_emit *e, const fm_scatter_desc *d, flashmem_error *err);

typedef enum fm_pad_mode { FM_PAD_CONSTANT, FM_PAD_REFLECT, FM_PAD_EDGE, FM_PAD_WRAP } fm_pad_mode;
typedef struct fm_pad_desc {
    const char *name;
    fm_pad_mode mode;
    fm_view     x, out;
    int64_t     before[FM_MAX_RANK]; /* may be negative: crops */
    double      value;
} fm_pad_desc;
flashmem_status fm_emit_pad(fm_emit *e, const fm_pad_desc *d, flashmem_error *err);

/* Cumulative sum along axis (float32, int64, int32). */
typedef struct fm_cumsum_desc { const char *name; fm_view x, out; uint32_t axis; bool exclusive, reverse; } fm_cumsum_desc;
flashmem_status fm_emit_cumsum(fm_emit *e, const fm_cumsum_desc *d, flashmem_error *err);

/* out (int64): places along axis of the out.dims[axis] first elements of x in descending (largest) or ascending order;
 * equal ones in the order of their places.  Types of x: float32, int64, int32. */
typedef struct fm_top_k_desc { const char *name; fm_view x, out; uint32_t axis; bool largest; } fm_top_k_desc;
flashmem_status fm_emit_top_k(fm_emit *e, const fm_top_k_desc *d, flashmem_error *err);

/* to[0, bytes) = from[offset, offset + bytes): loading by a launch of its own, for micro-benchmarks.  offset and bytes
 * are multiples of 16. */
typedef struct fm_load_desc { const char *name; uint32_t from, to; /* values */ int64_t offset, bytes; } fm_load_desc;
flashmem_status fm_emit_load(fm_emit *e, const fm_load_desc *d, flashmem_error *err);

#endif
