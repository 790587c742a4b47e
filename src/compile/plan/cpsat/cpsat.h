/* Models for CP-SAT, the constraint solver of OR-Tools, and solving them.  Its library is looked for when the first
 * model is solved, so nothing depends on it.  Who may include: compile/plan, tests.
 *
 * A model is built in an arena: variables first, then the terms of a constraint one by one, then the constraint that
 * takes all terms since the last one.  A literal is a boolean variable v, or FM_CPSAT_NOT(v). */
#ifndef FM_COMPILE_PLAN_CPSAT_H
#define FM_COMPILE_PLAN_CPSAT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

#define FM_CPSAT_NOT(literal) (-(literal) - 1)
#define FM_CPSAT_ALWAYS       INT32_MAX      /* in the place of a literal */
#define FM_CPSAT_LOW          (INT64_MIN / 4) /* no bound below */
#define FM_CPSAT_HIGH         (INT64_MAX / 4)
/* More booleans than this in one model are refused: beyond it proofs do not come in minutes. */
#define FM_CPSAT_MOST_BOOLEANS 10000u

typedef struct fm_cpsat_model fm_cpsat_model;
typedef struct fm_cpsat_expression { /* coefficient * variable + offset; variable < 0: the offset alone */
    int32_t variable;
    int64_t coefficient, offset;
} fm_cpsat_expression;

fm_cpsat_model *fm_cpsat_create(fm_arena *arena);
int32_t  fm_cpsat_integer(fm_cpsat_model *model, int64_t low, int64_t high);
int32_t  fm_cpsat_boolean(fm_cpsat_model *model);
uint32_t fm_cpsat_booleans(const fm_cpsat_model *model); /* made so far */

void fm_cpsat_term(fm_cpsat_model *model, int32_t variable, int64_t coefficient);
/* coefficient * literal, where a negated one is 1 - v: *constant gets what is to be added to the sum. */
void fm_cpsat_literal_term(fm_cpsat_model *model, int32_t literal, int64_t coefficient, int64_t *constant);
/* low <= sum of terms <= high, wherever the literal holds. */
void fm_cpsat_linear(fm_cpsat_model *model, int64_t low, int64_t high, int32_t literal);
/* Makes the sum of terms least; it is known not to be below `least` (FM_CPSAT_LOW: nothing is known). */
void fm_cpsat_minimize(fm_cpsat_model *model, int64_t least);
void fm_cpsat_or(fm_cpsat_model *model, const int32_t *literals, uint32_t count);
void fm_cpsat_exactly_one(fm_cpsat_model *model, const int32_t *literals, uint32_t count);
void fm_cpsat_hint(fm_cpsat_model *model, int32_t variable, int64_t value);
/* [start, start + size); the result is an index of intervals. */
int32_t fm_cpsat_interval(fm_cpsat_model *model, fm_cpsat_expression start, int64_t size);
/* Rectangles x[i] by y[i], no two of which meet. */
void fm_cpsat_no_overlap_2d(fm_cpsat_model *model, const int32_t *x, const int32_t *y, uint32_t count);
/* At every point the demands of the intervals over it sum to at most the capacity. */
void fm_cpsat_cumulative(fm_cpsat_model *model, const int32_t *intervals, const int64_t *demands, uint32_t count,
                         fm_cpsat_expression capacity);

typedef struct fm_cpsat_limits {
    double   seconds; /* 0: none */
    uint32_t threads; /* 0: the processors */
    uint32_t seed;
    bool   (*stop)(void *user); /* asked 50 times a second from another thread; true ends the solve with what it has */
    void    *user;
    const fm_log *log;
} fm_cpsat_limits;

typedef enum fm_cpsat_status {
    FM_CPSAT_UNKNOWN, /* the time limit came first */
    FM_CPSAT_FEASIBLE,
    FM_CPSAT_INFEASIBLE,
    FM_CPSAT_OPTIMAL
} fm_cpsat_status;

typedef struct fm_cpsat_result {
    fm_cpsat_status status;
    const int64_t  *values;    /* [variables], in the arena; NULL without a solution */
    int64_t         objective; /* of values */
    int64_t         bound;     /* proven: no solution is less; FM_CPSAT_LOW when nothing is known */
    double          seconds;
} fm_cpsat_result;

/* Solves.  What the library answers is checked: bounds of every variable, every linear constraint and clause, the
 * objective.  UNSUPPORTED: no library, with what to install and set; or more than FM_CPSAT_MOST_BOOLEANS, with the
 * size.  INTERNAL: the model or the answer is not valid. */
flashmem_status fm_cpsat_solve(fm_cpsat_model *model, const fm_cpsat_limits *limits, fm_cpsat_result *result,
                               flashmem_error *err);
/* UNSUPPORTED without the library, as fm_cpsat_solve says it. */
flashmem_status fm_cpsat_available(flashmem_error *err);

#endif
