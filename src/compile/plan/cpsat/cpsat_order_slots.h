/* What both goals of ordering share: where steps can lie, what is alive when, and what an order costs.
 * Who may include: compile/plan/cpsat.
 *
 * Orders are counted in slots.  For the peak a step takes one.  For latency it takes one for each object that it uses,
 * at least one, and computes in the last; in the others it only waits for an object, which is what lets requests of the
 * objects of one step wait for different steps.
 *
 *     done(s, k): the last slot of step s is at most k; NEVER below its earliest end, ALWAYS from its latest end on */
#ifndef FM_COMPILE_PLAN_CPSAT_ORDER_SLOTS_H
#define FM_COMPILE_PLAN_CPSAT_ORDER_SLOTS_H

#include "compile/plan/cpsat/cpsat_order.h"

#define FM_ORDER_NEVER  INT32_MIN
#define FM_ORDER_ALWAYS FM_CPSAT_ALWAYS

typedef struct fm_order_birth { /* done(step, slot + later) */
    uint32_t step, later;
} fm_order_birth;

typedef struct fm_order_thing { /* a value or an object */
    uint64_t        bytes;
    bool            from_start, to_end;
    fm_order_birth *births; uint32_t birth_count; /* alive from the first of them on */
    const uint32_t *deaths; uint32_t death_count; /* until all of these are done */
} fm_order_thing;

typedef struct fm_order_slots {
    const fm_order_problem *problem;
    fm_arena               *arena;
    uint32_t               *length;           /* [steps] slots of a step */
    uint32_t               *earliest, *latest; /* [steps] last slot of a step */
    uint32_t                count;            /* slots */
    fm_order_thing         *values, *objects;
    fm_order_edge          *edges; size_t edge_count, edge_capacity; /* all precedences */
} fm_order_slots;

/* by_object: slots as for latency.  UNSUPPORTED, INVALID_ARGUMENT as cpsat_order.h says. */
flashmem_status fm_order_slots_make(const fm_order_problem *problem, bool by_object, fm_arena *arena,
                                    fm_order_slots *slots, flashmem_error *err);
uint32_t *fm_order_identity(const fm_order_problem *problem, fm_arena *arena);
/* Bytes at each place of an order: values alive, and objects from first to last use. */
uint64_t *fm_order_usage(const fm_order_slots *slots, const uint32_t *order);
/* The largest of them: the least cap in which the order can run. */
uint64_t fm_order_peak(const fm_order_slots *slots, const uint32_t *order);
/* Each step once, precedences kept.  INTERNAL. */
flashmem_status fm_order_verify(const fm_order_slots *slots, const uint32_t *order, flashmem_error *err);
/* Its latency under the cap in nanoseconds; false when it does not fit. */
bool fm_order_latency(const fm_order_slots *slots, const uint32_t *order, int64_t *nanoseconds);
int64_t fm_order_step_ns(const fm_order_problem *problem, uint32_t step);
int64_t fm_order_read_ns(const fm_order_problem *problem, uint32_t object);

/* --- models ------------------------------------------------------------------------------------------------------- */

typedef struct fm_order_model {
    const fm_order_slots *slots;
    fm_cpsat_model       *m;
    fm_arena             *arena;  /* the model's */
    uint32_t              from, to; /* slots of the model */
    int32_t             **done;   /* [steps][latest - earliest]; NULL outside the model */
} fm_order_model;

/* Booleans, and that every slot is taken once and precedences are kept. */
void fm_order_model_init(fm_order_model *model, const fm_order_slots *slots, uint32_t from, uint32_t to,
                         fm_arena *arena);
int32_t fm_order_done(const fm_order_model *model, uint32_t step, int64_t slot);
/* A literal that holds when the thing is alive at the slot (and, where that costs less, may hold otherwise). */
int32_t fm_order_alive(fm_order_model *model, const fm_order_thing *thing, uint32_t slot);
/* Exactly: its first user has begun by the slot; implied by: all its users are done before the slot. */
int32_t fm_order_begun(fm_order_model *model, const fm_order_thing *thing, uint32_t slot);
int32_t fm_order_over(fm_order_model *model, const fm_order_thing *thing, uint32_t slot);
/* coefficient * literal to the open sum, what is constant of it to *constant. */
void fm_order_term(fm_order_model *model, int32_t literal, int64_t coefficient, int64_t *constant);
/* The model's slots of an order as a hint, and of a solution into an order (whose other places stay). */
void fm_order_hint(fm_order_model *model, const uint32_t *order);
void fm_order_take(const fm_order_model *model, const int64_t *values, uint32_t *order);
/* UNSUPPORTED with the size when more booleans than FM_CPSAT_MOST_BOOLEANS would be needed for `done` alone. */
flashmem_status fm_order_check_size(const fm_order_slots *slots, uint32_t from, uint32_t to, flashmem_error *err);

#endif
