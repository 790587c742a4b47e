/* The order of kernel steps among independent branches, by CP-SAT.  Plain arrays, no graph.  Who may include: compile,
 * tests.
 *
 * Steps are numbered in an order that is valid.  A value lives from its producer to its last consumer (of none: during
 * its producer), an object from its first user to its last; objects are read in the order in which they are first used,
 * those of one step by index, by one disk. */
#ifndef FM_COMPILE_PLAN_CPSAT_ORDER_H
#define FM_COMPILE_PLAN_CPSAT_ORDER_H

#include "compile/plan/cpsat/cpsat.h"

#define FM_ORDER_INPUT UINT32_MAX /* as producer: there from the start */

typedef struct fm_order_value {
    uint64_t        bytes;
    uint32_t        producer;
    const uint32_t *consumers; uint32_t consumer_count;
    bool            output; /* lives to the end */
} fm_order_value;

typedef struct fm_order_object {
    uint64_t        bytes;
    const uint32_t *users; uint32_t user_count; /* at least one */
} fm_order_object;

typedef struct fm_order_edge {
    uint32_t before, after;
} fm_order_edge;

typedef struct fm_order_problem {
    const double          *seconds; uint32_t step_count; /* of each step */
    const fm_order_value  *values;  uint32_t value_count;
    const fm_order_object *objects; uint32_t object_count;
    const fm_order_edge   *edges;   uint32_t edge_count; /* precedences besides those that values make */
    double                 disk_rate; /* bytes per second; latency only */
    uint64_t               cap;       /* on objects and values together; latency only */
} fm_order_problem;

typedef struct fm_order_plan {
    uint32_t *order;   /* [step_count] steps, first to last; in the caller's arena */
    uint64_t  peak;    /* the least cap that this order can run in: values, and objects from first to last use */
    double    seconds; /* fm_cpsat_order_latency: by the timed recursion of docs/planning.md, under the cap */
    uint64_t  bound;   /* proven: no order needs less; bytes, or nanoseconds of latency */
    bool      optimal; /* this order meets the bound */
} fm_order_plan;

/* Least peak.  Steps that every order has at the same place (articulation points) cut the problem into regions that are
 * solved apart.  UNSUPPORTED: no library although some region is open, more than 8192 steps, or a region of more than
 * 10,000 booleans (its size).  INVALID_ARGUMENT: steps that are not numbered in a valid order. */
flashmem_status fm_cpsat_order_peak(const fm_order_problem *problem, const fm_cpsat_limits *limits, fm_arena *arena,
                                    fm_order_plan *plan, flashmem_error *err);
/* Least latency under the cap, times in whole nanoseconds.  BUDGET: no order fits the cap.  Else as above; the whole is
 * one model, in which only what regions leave open costs booleans. */
flashmem_status fm_cpsat_order_latency(const fm_order_problem *problem, const fm_cpsat_limits *limits, fm_arena *arena,
                                       fm_order_plan *plan, flashmem_error *err);

#endif
