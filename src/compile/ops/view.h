/* What view-like operators share.  Who may include: compile/ops. */
#ifndef FM_COMPILE_OPS_VIEW_H
#define FM_COMPILE_OPS_VIEW_H

#include "compile/lower_internal.h"

/* Output 0 has input 0's elements in row-major order. */
flashmem_status fm_view_lower_reshape(fm_lower *l, fm_node *node, flashmem_error *err);
flashmem_status fm_view_fold_reshape(fm_graph *g, fm_node *node, flashmem_error *err);

/* View `from` under another shape, through a dense copy where strides do not serve. */
flashmem_status fm_view_lower_as(fm_lower *l, const char *name, const fm_view *from, const fm_shape *shape,
                                 fm_view *out, flashmem_error *err);
/* Storage of output t under another shape with as many elements.  Where the output's own place cannot be seen that way,
 * *out is a temporary, and fm_view_lower_done copies it once the step that writes it has been emitted. */
typedef struct fm_view_target {
    fm_view view;  /* what to write, in the shape asked for */
    fm_view place; /* the output's place when `copied` */
    bool    copied;
} fm_view_target;
fm_view_target  fm_view_lower_target(fm_lower *l, fm_tensor *t, const fm_shape *shape);
flashmem_status fm_view_lower_done(fm_lower *l, const char *name, fm_tensor *t, const fm_view_target *target,
                                   flashmem_error *err);

#endif
