/* Small questions that passes ask of a graph, and the edits they share.  Who may include: compile/passes. */
#ifndef FM_COMPILE_PASSES_MATCH_H
#define FM_COMPILE_PASSES_MATCH_H

#include "compile/ops/op.h"

/* The ONNX operator of that name (internal operators: "fm.X"). */
bool fm_is(const fm_node *node, const char *op_type);
/* The tensor's producer when it is that operator and the tensor is its first output, else NULL. */
fm_node *fm_made_by(const fm_tensor *t, const char *op_type);
/* Behind casts between floating-point types, which change nothing on the device. */
fm_tensor *fm_uncast(fm_tensor *t);
/* The one consumer of t when nothing else sees t (one use, no output), else NULL. */
fm_node *fm_only_use(const fm_tensor *t);
bool     fm_is_scalar(const fm_tensor *t, double *value); /* a constant of one element */
bool     fm_is_near(double a, double b);                  /* to 1e-3 relative: constants that exporters round */
/* For a two-input node: the operand that is no scalar constant; its value goes to *value.  NULL when both or none are. */
fm_tensor *fm_scalar_operand(const fm_node *node, double *value, bool *scalar_first);
/* A reduction over the last axis only, keeping it: its input; else NULL. */
fm_tensor *fm_reduced_last(const fm_tensor *t, const char *op_type);

/* A new node in the place of the producer of `out`, which it replaces. */
fm_node *fm_replace_producer(fm_graph *g, fm_tensor *out, const fm_op *op, const char *name, fm_tensor **inputs,
                             uint32_t input_count);
void     fm_set_attr(fm_graph *g, fm_node *node, fm_attr attr);
/* Reshape of t to shape, before `before`; t itself when it has it. */
fm_tensor *fm_reshaped(fm_graph *g, fm_node *before, fm_tensor *t, const fm_shape *shape);

#endif
