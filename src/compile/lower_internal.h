/* What the files of lowering share: placements, and steps of fm_lower_graph.  Who may include: compile/lower*.c and the
 * operators of compile/ops. */
#ifndef FM_COMPILE_LOWER_INTERNAL_H
#define FM_COMPILE_LOWER_INTERNAL_H

#include "compile/lower.h"

/* fm_tensor.lowered. */
typedef struct fm_placement {
    fm_view    view;
    bool       ready;           /* view is valid */
    bool       written;         /* steps write the view (it is no view of another tensor) */
    bool       is_output_value; /* view is the whole of a program output */
    bool       is_allocated;    /* view is storage, some of it written already by producers of parts */
    fm_tensor *whole;           /* the concatenation that it is written into, along `axis` from `start`, or NULL */
    uint32_t   axis;
    int64_t    start;
} fm_placement;

fm_placement *fm_lower_placement(fm_lower *l, fm_tensor *t);
/* Lets producers write straight into concatenations (lower_concat.c). */
void fm_lower_choose_parts(fm_lower *l);
/* A new value with a dense view in the memory order given (NULL: row-major). */
fm_view fm_lower_storage(fm_lower *l, fm_value_kind kind, flashmem_dtype dtype, const fm_shape *shape,
                         const uint32_t *order, const char *name);
/* A nameless activation, for results between the steps of one operator. */
fm_view fm_lower_temporary(fm_lower *l, flashmem_dtype dtype, const fm_shape *shape);
/* A constant as program constant (up to FM_PROGRAM_CONSTANT bytes), or as weight (lower_weights.c). */
#define FM_PROGRAM_CONSTANT 64
flashmem_status fm_lower_constant(fm_lower *l, fm_tensor *t, fm_view *out, flashmem_error *err);
/* lower_boundary.c: declares inputs; exposes a node's results (keep_all); declares outputs, with copies where needed. */
flashmem_status fm_lower_inputs(fm_lower *l, flashmem_error *err);
flashmem_status fm_lower_keep(fm_lower *l, fm_node *node, flashmem_error *err);
flashmem_status fm_lower_outputs(fm_lower *l, flashmem_error *err);

/* --- lower_planned.c ---------------------------------------------------------------------------------------------- */

/* Where lowering stood before a node, and back there: steps, values and weights made since, and what the placements of
 * the node's tensors say of them. */
typedef struct fm_lower_marked {
    fm_builder_marked builder;
    size_t            weights;
} fm_lower_marked;
fm_lower_marked fm_lower_mark(const fm_lower *l);
void            fm_lower_rewind(fm_lower *l, fm_node *node, const fm_lower_marked *mark);
/* Steps of kind FM_STEP_PLANNED for a node that no kernel runs. */
flashmem_status fm_lower_planned(fm_lower *l, fm_node *node, flashmem_error *err);

/* --- lower_matmul.c ---------------------------------------------------------------------------------------------- */

/* out = epilogue(a x b): a [batch..., M, K], out [batch..., M, N]; b is the constant matrix `weight` [K, N] when given,
 * else the view b [batch..., K, N].  pre and post of the epilogue have out's shape.  Batch axes: as many as there are,
 * all of one shape (broadcast strides). */
typedef struct fm_lower_matmul_args {
    const char      *name, *weight_name;
    fm_view          a, b, out;
    const fm_recipe *weight;
    fm_epilogue      epilogue;
} fm_lower_matmul_args;
flashmem_status fm_lower_matmul(fm_lower *l, const fm_lower_matmul_args *args, flashmem_error *err);

/* Collapses the first `lead` axes of count views (equal there) to exactly `to` axes; false when strides forbid it. */
bool fm_lower_collapse_lead(fm_view *views, uint32_t count, uint32_t lead, uint32_t to);
/* A constant as float32 vector of n elements (scalars and unit axes broadcast), for biases and norm parameters. */
flashmem_status fm_lower_vector(fm_lower *l, fm_tensor *t, int64_t n, fm_view *out, flashmem_error *err);

#endif
