/* Operator descriptors: one per operator, one file per operator or small group; op_list.h lists them all, and
 * forgetting one is a link error.  Who may include: compile. */
#ifndef FM_COMPILE_OPS_OP_H
#define FM_COMPILE_OPS_OP_H

#include "compile/graph/graph.h"

typedef enum fm_op_class { FM_OP_VIEW, FM_OP_ELEMENTWISE, FM_OP_REUSABLE, FM_OP_HIERARCHICAL, FM_OP_MOVEMENT } fm_op_class;

struct fm_lower;

typedef struct fm_op {
    const char *name;   /* ONNX op_type; internal operators, which no file can name: "fm.Attention" */
    const char *domain; /* "" is ai.onnx */
    uint32_t    since;  /* lowest opset with the semantics implemented */
    uint32_t    min_inputs, max_inputs, min_outputs, max_outputs; /* max UINT32_MAX: variadic */
    fm_op_class op_class;
    /* Sets dtype and shape of every output from inputs and attributes; rejects what ONNX rejects (fm_node_fail). */
    flashmem_status (*infer)(fm_graph *g, fm_node *node, flashmem_error *err);
    /* Host evaluation.  Called when every input is constant (needs_values), or at once when only shapes matter (Shape,
     * Size).  Sets outputs' `constant` (recipes, or data up to FM_FOLD_LIMIT) or leaves them NULL: not folded. */
    flashmem_status (*fold)(fm_graph *g, fm_node *node, flashmem_error *err);
    bool folds_shapes; /* fold needs the inputs' shapes only */
    /* Emits steps, or makes outputs views of inputs.  NULL: no kernel runs it (planning only). */
    flashmem_status (*lower)(struct fm_lower *lower, fm_node *node, flashmem_error *err);
    /* Multiply-accumulates of one execution, of an inferred node; NULL: it multiplies no matrices.  A product with
     * elements outside the input (padding) counts, one that a causal mask leaves out does not. */
    double (*macs)(const fm_node *node);
} fm_op;
/* Those of any node. */
double fm_node_macs(const fm_node *node);

/* By op_type and domain ("" = "ai.onnx"); NULL if unknown. */
const fm_op *fm_op_find(const char *op_type, const char *domain);
/* Input and output counts, kinds of known attributes. */
flashmem_status fm_node_check(const fm_node *node, flashmem_error *err);

#define FM_OP(id) extern const fm_op fm_op_##id;
#include "compile/ops/op_list.h"
#undef FM_OP

/* Types and shapes of the inputs are known, and sizes that a computation may multiply. */
flashmem_status fm_op_check_inputs(const fm_node *node, flashmem_error *err);
/* Infers (and folds where possible) one node; used by import, passes and after rewrites. */
flashmem_status fm_op_infer(fm_graph *g, fm_node *node, flashmem_error *err);

/* Helpers shared by descriptors (infer_helpers.c). */
flashmem_status fm_infer_same(fm_graph *g, fm_node *node, flashmem_error *err);      /* output 0 like input 0 */
flashmem_status fm_infer_broadcast(fm_graph *g, fm_node *node, flashmem_error *err); /* numpy, type of input 0 */
void            fm_infer_set(fm_tensor *t, flashmem_dtype dtype, const fm_shape *shape);
/* Axis in [-rank, rank) to [0, rank). */
flashmem_status fm_infer_axis(const fm_node *node, int64_t axis, uint32_t rank, uint32_t *out, flashmem_error *err);

#endif
