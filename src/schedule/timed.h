/* The timed plan: when each placed object is requested and each step starts, inside a hard memory cap.
 * Pure C, no allocation after create, microseconds to milliseconds.  Who may include: compile, run, tests.
 *
 * Steps k = 0..N-1 run in order and take t_k with act_k live activation bytes.  Objects are read one after the other, in
 * first-use order unless the problem says otherwise, by one disk of bandwidth B; object o is used from step first_o to
 * last_o and lives from its request to the end of last_o.  One run repeats: in the steady state an object may be
 * requested during the previous run (lookahead), and a resident object is read in the first run only.
 *
 * Method: monotone max-plus recursion over precedences (docs/planning.md), optimal for first-use order. */
#ifndef FM_SCHEDULE_TIMED_H
#define FM_SCHEDULE_TIMED_H

#include "base/arena.h"
#include <stdbool.h>

#include "base/error.h"

typedef struct fm_timed_step {
    double   seconds;
    uint64_t live_bytes; /* activations, scratch, inputs and outputs placed by us and alive during this step */
} fm_timed_step;

typedef struct fm_timed_object {
    uint64_t bytes;        /* memory it occupies */
    uint64_t read_bytes;   /* bytes read from disk */
    uint32_t first, last;  /* steps; objects are sorted by first */
    double   convert_seconds; /* before first use, after arrival (texture paths); 0 in place */
    uint8_t  resident;     /* read in the first run, never released; its memory is set aside from the start */
} fm_timed_object;

typedef struct fm_timed_problem {
    const fm_timed_step   *steps;   uint32_t step_count;
    const fm_timed_object *objects; uint32_t object_count;
    double   bandwidth;       /* bytes per second */
    double   request_seconds; /* from asking for an object to its first byte, where the disk is idle meanwhile */
    double   startup_seconds; /* step 0 of the first run cannot start before */
    uint64_t cap;             /* bytes over objects + live activations */
    const uint32_t *read_order; /* [object_count] objects in the order in which they are read; NULL: as numbered */
} fm_timed_problem;

#define FM_AFTER_START (-1) /* request at the start of a run */

/* after[o]: the request waits for the end of this step; FM_AFTER_START..N-1.  With wrap[o] = 1 it is a step of the
 * previous run (read-ahead; in the first run: at the start). */
typedef struct fm_timed_plan {
    int32_t *after;   /* [object_count]; never falls over the streamed objects, taken in read order */
    uint8_t *wrap;    /* [object_count] */
    double  *request, *arrival; /* [object_count] seconds from the start of the first run */
    double  *start, *end;       /* [step_count] */
    uint32_t *due;     /* [object_count] scratch: first step that waits for this object or one read after it */
    int64_t  *room;    /* [2 * step_count] scratch of the solver */
    uint32_t *queue;   /* [2 * step_count] scratch of the solver */
    double   latency;  /* end of the last step, first run */
    double   stall;    /* sum of waits for objects, after startup */
    uint64_t peak;     /* largest sum of live objects + activations */
} fm_timed_plan;

/* Allocates the arrays from arena. */
void fm_timed_plan_init(fm_timed_plan *plan, const fm_timed_problem *problem, fm_arena *arena);
/* As-soon-as-possible schedule of one run; wrap all 0: the best there is for the problem's read order.  False:
 * infeasible under the cap. */
bool fm_timed_solve(const fm_timed_problem *problem, fm_timed_plan *plan);
/* The same, and reads ahead across runs: every object whose memory is free before the end of the previous run gets
 * wrap = 1 and the earliest safe step of it, never before its own last use there (an object has one place).  The first
 * run's times are those of fm_timed_solve. */
bool fm_timed_solve_steady(const fm_timed_problem *problem, fm_timed_plan *plan);
/* Raises the after[] that plan holds (as wished; below each object's first use) to what the cap and the read order
 * allow, wrap all 0, and replays.  False: infeasible under the cap. */
bool fm_timed_hold(const fm_timed_problem *problem, fm_timed_plan *plan);
/* due[o] = first step that waits for object o or one read after it: reads up to o have ended when it starts. */
void fm_timed_due(const fm_timed_problem *problem, uint32_t *due);
/* Times, stall and peak of the first run for the after[] and wrap[] that plan holds. */
void fm_timed_replay(const fm_timed_problem *problem, fm_timed_plan *plan);
/* Seconds of a run in the steady state (the third of three in a row) for the after[] and wrap[] that plan holds. */
double fm_timed_period(const fm_timed_problem *problem, const fm_timed_plan *plan, fm_arena *scratch);
/* Recomputes every constraint independently: precedence, bandwidth, cap at every event, order. INTERNAL. */
flashmem_status fm_timed_verify(const fm_timed_problem *problem, const fm_timed_plan *plan, flashmem_error *err);
/* max over k of (bytes of objects that must have been requested for step k) + act_k: closed form of planning.md. */
uint64_t fm_timed_minimum_bound(const fm_timed_problem *problem, fm_arena *scratch);
/* Least cap with latency <= (1 + eps) * optimum at bandwidth * {0.7, 1, 1.4}; never above high. */
uint64_t fm_timed_least_memory(const fm_timed_problem *problem, double eps, uint64_t high, fm_arena *scratch);
/* As late as possible reads at the same latency: raises after[] without moving any start.  First-use order only. */
void fm_timed_delay_reads(const fm_timed_problem *problem, fm_timed_plan *plan);
/* Time-weighted mean of live bytes over [0, latency]. */
double fm_timed_average_memory(const fm_timed_problem *problem, const fm_timed_plan *plan);

#endif
