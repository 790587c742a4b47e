/* Operators that are compositions of others: the folding pass replaces them before anything else sees them.
 * Who may include: compile/passes. */
#ifndef FM_COMPILE_PASSES_COMPOSE_H
#define FM_COMPILE_PASSES_COMPOSE_H

#include "compile/passes/match.h"

/* Where the parts go: in the place of `node`, which is unlinked already and keeps its inputs, outputs, attributes. */
typedef struct fm_composer {
    fm_graph      *g;
    const fm_node *node;
    fm_node       *before;
} fm_composer;

/* Makes every output of c->node, from parts that need not be inferred.  Inputs are known in type and shape. */
typedef flashmem_status fm_compose(fm_composer *c, flashmem_error *err);

/* NULL: no composition. */
fm_compose *fm_composition_of(const fm_op *op);
/* Replaces the node; *next is the first part. */
flashmem_status fm_compose_node(fm_graph *g, fm_node *node, fm_node **next, flashmem_error *err);
/* `infer` of such operators: nobody asks. */
flashmem_status fm_infer_composed(fm_graph *g, fm_node *node, flashmem_error *err);

/* Parts: a node of ai.onnx with one new tensor, which is returned.  Attributes are added to fm_part_node. */
fm_tensor *fm_part(fm_composer *c, const char *op_type, uint32_t count, fm_tensor **inputs);
#define FM_PART(c, op_type, ...)                                                                  \
    fm_part(c, op_type, (uint32_t)(sizeof((fm_tensor *[]){ __VA_ARGS__ }) / sizeof(fm_tensor *)), \
            (fm_tensor *[]){ __VA_ARGS__ })
fm_tensor *fm_part_scalar(fm_composer *c, double value, flashmem_dtype dtype);
fm_tensor *fm_part_slice(fm_composer *c, fm_tensor *t, int64_t axis, int64_t from, int64_t to);
fm_tensor *fm_part_reshape(fm_composer *c, fm_tensor *t, const fm_shape *shape);
fm_tensor *fm_part_transpose(fm_composer *c, fm_tensor *t, uint32_t rank, const int64_t *order);
fm_tensor *fm_part_concat(fm_composer *c, int64_t axis, uint32_t count, fm_tensor **parts);
void       fm_part_int(fm_composer *c, fm_tensor *made, const char *name, int64_t value);
void       fm_part_ints(fm_composer *c, fm_tensor *made, const char *name, uint32_t count, const int64_t *values);
/* t is output `index` of the node (nothing where the node lacks it). */
void fm_part_output(fm_composer *c, uint32_t index, fm_tensor *t);

/* compose_recurrent.c */
fm_compose fm_compose_lstm, fm_compose_gru, fm_compose_rnn;
/* compose_microsoft.c */
fm_compose fm_compose_gelu, fm_compose_quick_gelu, fm_compose_skip_norm, fm_compose_skip_rms_norm,
    fm_compose_embed_norm, fm_compose_fused_matmul, fm_compose_fused_gemm, fm_compose_fused_conv,
    fm_compose_ms_attention, fm_compose_ms_multi_head;

#endif
