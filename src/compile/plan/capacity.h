/* What loading beside an operator costs it: the class that its load capacity comes from.  Apart from fm_op.op_class, which
 * says how an operator is lowered.  Who may include: compile, tests. */
#ifndef FM_COMPILE_PLAN_CAPACITY_H
#define FM_COMPILE_PLAN_CAPACITY_H

#include "compile/graph/graph.h"
#include "compile/plan/problem.h"

/* NONE: its result is its input seen otherwise, and it makes no step.  REUSABLE: it multiplies matrices.  HIERARCHICAL:
 * it reduces (norms, softmax, reductions, pools, attention, sorting).  ELEMENTWISE: all else, moving data included. */
fm_capacity_class fm_capacity_of_node(const fm_node *node);

#endif
