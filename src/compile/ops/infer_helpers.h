/* What infer rules share beyond op.h: type classes, constant integer inputs, axes.  Who may include: compile/ops. */
#ifndef FM_COMPILE_OPS_INFER_HELPERS_H
#define FM_COMPILE_OPS_INFER_HELPERS_H

#include "compile/ops/op.h"

/* Sets of element types: bit per flashmem_dtype. */
#define FM_TYPE(name) (1u << FLASHMEM_##name)
#define FM_TYPES_FLOAT (FM_TYPE(F32) | FM_TYPE(F16) | FM_TYPE(F64) | FM_TYPE(BF16))
#define FM_TYPES_SIGNED (FM_TYPE(I8) | FM_TYPE(I16) | FM_TYPE(I32) | FM_TYPE(I64))
#define FM_TYPES_UNSIGNED (FM_TYPE(U8) | FM_TYPE(U16) | FM_TYPE(U32) | FM_TYPE(U64))
#define FM_TYPES_INT (FM_TYPES_SIGNED | FM_TYPES_UNSIGNED)
#define FM_TYPES_NUMBER (FM_TYPES_FLOAT | FM_TYPES_INT)
#define FM_TYPES_BOOL FM_TYPE(BOOL)
#define FM_TYPES_ANY (FM_TYPES_NUMBER | FM_TYPES_BOOL)
#define FM_TYPES_INDEX (FM_TYPE(I32) | FM_TYPE(I64))

/* No dimension, nor the product of any of a tensor's dimensions, is above this (fm_op_infer checks inputs and outputs),
 * so that rules may add them without overflow. */
#define FM_LARGEST_DIM ((int64_t)1 << 46)

/* NULL when absent. */
fm_tensor *fm_node_input(const fm_node *node, uint32_t index);

/* Fails unless the input's type is in the set. */
flashmem_status fm_infer_type(const fm_node *node, uint32_t input, uint32_t types, flashmem_error *err);
/* Fails unless the two inputs have one type. */
flashmem_status fm_infer_same_type(const fm_node *node, uint32_t a, uint32_t b, flashmem_error *err);
/* Fails unless the input has `rank` axes. */
flashmem_status fm_infer_rank(const fm_node *node, uint32_t input, uint32_t rank, flashmem_error *err);
/* An input whose value shapes depend on: UNSUPPORTED where it is known only at run time. */
flashmem_status fm_infer_values(const fm_node *node, uint32_t input, int64_t *to, uint32_t limit, uint32_t *count,
                                flashmem_error *err);
/* One integer of such an input. */
flashmem_status fm_infer_value(const fm_node *node, uint32_t input, int64_t *to, flashmem_error *err);

/* Axes from attribute "axes" or, where the node has it, input `input` (FM_NO_INPUT: none): a bit per axis, and in
 * their order when `list` is given (room for FM_MAX_RANK).  *given: were there any (an empty list counts as none). */
#define FM_NO_INPUT UINT32_MAX
flashmem_status fm_infer_axes(const fm_node *node, uint32_t input, uint32_t rank, uint32_t *mask, uint32_t *list,
                              uint32_t *count, bool *given, flashmem_error *err);

/* fm_infer_set for output i when the node has it. */
void fm_infer_output(const fm_node *node, uint32_t output, flashmem_dtype dtype, const fm_shape *shape);
/* An element type from an attribute holding a TensorProto.DataType. */
flashmem_status fm_infer_dtype(const fm_node *node, int64_t number, flashmem_dtype *out, flashmem_error *err);
/* Status UNSUPPORTED with "node 'x' (Op): " before the message. */
__attribute__((format(printf, 3, 4)))
flashmem_status fm_node_unsupported(flashmem_error *err, const fm_node *node, const char *format, ...);

#endif
