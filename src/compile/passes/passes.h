/* Graph rewrites, in the order compile.c runs them; each leaves a graph that fm_graph_verify accepts. */
#ifndef FM_COMPILE_PASSES_PASSES_H
#define FM_COMPILE_PASSES_PASSES_H

#include "compile/graph/graph.h"

/* Evaluates nodes with constant inputs; shape arithmetic included. */
flashmem_status fm_pass_fold(fm_graph *g, flashmem_error *err);
/* Identity, Dropout, no-op Cast/Reshape/Transpose/Slice/Expand, x*1, x+0; duplicates (common subexpressions). */
flashmem_status fm_pass_simplify(fm_graph *g, flashmem_error *err);
/* Decomposed GELU, LayerNorm, RMSNorm, softmax, SiLU... to one operator. */
flashmem_status fm_pass_recognise(fm_graph *g, flashmem_error *err);
/* Batch-norm into convolution or matmul weights (recipes), or to scale and shift. */
flashmem_status fm_pass_fold_norms(fm_graph *g, flashmem_error *err);
/* MatMul, scale, mask, Softmax, MatMul to fm.Attention. */
flashmem_status fm_pass_attention(fm_graph *g, flashmem_error *err);
/* Bias, activation, residual, scaling into the producing matmul or convolution. */
flashmem_status fm_pass_epilogue(fm_graph *g, flashmem_error *err);
/* Chains of elementwise operators to fm.Elementwise. */
flashmem_status fm_pass_elementwise(fm_graph *g, flashmem_error *err);

#endif
