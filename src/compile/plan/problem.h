/* The overlap problem (OPG) and its plans: which weights are preloaded, and how many chunks of every other weight become
 * resident under which step.  One interface for all solvers.  Who may include: compile, tests.
 *
 * Steps l = 0..N-1 run in order; weight w of T chunks is first consumed by step `first`.  p = 1: preloaded; x[w][l]:
 * chunks of w converted while step l runs, l < first; z: first l with x[w][l] > 0.
 *
 *     C0  sum over l of x[w][l] = T (1 - p)                C1  x[w][l] >= 1  =>  z <= l < first
 *     C2  for every step l: over weights with first >= l, the chunks converted in steps <= l sum to at most m_peak
 *         (preloaded weights not counted)
 *     C3  sum over w of x[w][l] <= capacity[l]
 *     min lambda * MiB preloaded + (1 - lambda) * sum over streamed w of (first - z)
 *
 * Source of the problem: FlashMem (arXiv 2602.15379); made precise in docs/planning.md.  Everything a solver needs is in
 * fm_overlap_problem; nothing here knows graphs, packs or devices. */
#ifndef FM_COMPILE_PLAN_PROBLEM_H
#define FM_COMPILE_PLAN_PROBLEM_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

typedef enum fm_capacity_class { /* of a step, by what loading beside it costs */
    FM_CAPACITY_ELEMENTWISE,
    FM_CAPACITY_REUSABLE,
    FM_CAPACITY_HIERARCHICAL,
    FM_CAPACITY_NONE, /* views and other steps that run nothing */
    FM_CAPACITY_CLASSES
} fm_capacity_class;

typedef struct fm_overlap_step {
    const char       *name;
    fm_capacity_class capacity_class;
    double            seconds;        /* predicted, without loading */
    uint64_t          capacity_bytes; /* what it can load */
    uint32_t          capacity;       /* floor(capacity_bytes / chunk_bytes): C of the formulas */
    uint32_t          source;         /* index in what it was made from: step of the program, node of the graph */
} fm_overlap_step;

typedef struct fm_overlap_weight {
    const char *name;
    uint64_t    bytes;
    uint32_t    chunks;      /* T: ceil(bytes / chunk_bytes), at least 1 */
    uint32_t    first, last; /* steps that consume it; weights are sorted by first */
    uint32_t    source;      /* index in what it was made from: object, weight or initialiser */
    uint32_t    part;        /* of that, when it is cut in slabs */
} fm_overlap_weight;

/* What (first - z) is paid for: once per weight (the published problem), or per chunk and in MiB, sum of
 * x * (first - l) * chunk (then the backlog alone is the state of an exact recursion). */
typedef enum fm_overlap_distance { FM_DISTANCE_WEIGHTS, FM_DISTANCE_BYTES } fm_overlap_distance;

typedef struct fm_overlap_problem {
    const char              *name;
    const fm_overlap_step   *steps;   uint32_t step_count;
    const fm_overlap_weight *weights; uint32_t weight_count;
    uint64_t                 chunk_bytes;
    uint64_t                 m_peak_bytes;
    uint32_t                 m_peak;  /* M: floor(m_peak_bytes / chunk_bytes) */
    fm_overlap_distance      distance;
    /* Objective in integers: preload_cost * ceil(KiB of w) for a preloaded weight, distance_cost for a step of distance
     * (of a weight, or of a MiB); divided by unit it is in the units of the formula.  lambda 0.9: 9, 1024, 10240. */
    double  lambda;
    int64_t preload_cost, distance_cost, unit;
} fm_overlap_problem;

#define FM_NO_LOAD UINT32_MAX

typedef struct fm_overlap_load {
    uint32_t weight, step, chunks;
} fm_overlap_load;

typedef enum fm_overlap_status {
    FM_OVERLAP_UNKNOWN,   /* the time limit came first */
    FM_OVERLAP_FEASIBLE,  /* a plan, not proven optimal */
    FM_OVERLAP_OPTIMAL    /* objective equals the proven bound */
} fm_overlap_status;      /* infeasible does not exist: everything preloaded is always a plan */

/* A plan as solvers leave it: p, x, z and what was proven. */
typedef struct fm_overlap_plan {
    uint8_t           *preload;    /* [weights] p */
    uint32_t          *first_load; /* [weights] z; FM_NO_LOAD when preloaded */
    fm_overlap_load   *loads;      /* sorted by weight, then step */
    uint32_t           load_count;
    int64_t            objective;  /* integer units, recomputed from p and z */
    int64_t            bound;      /* proven lower bound, integer units; at most objective */
    fm_overlap_status  status;
    const char        *solver;     /* static: "labels", "cpsat", "greedy", "labels+soften", ... */
    double             seconds;    /* the solve alone */
    uint64_t           preload_bytes;
    uint32_t           peak_chunks; /* largest F of C2 */
    uint64_t           softened;    /* chunks beyond C3 that the "soften" tier allowed, 0 otherwise */
} fm_overlap_plan;

typedef enum fm_overlap_solver {
    FM_SOLVER_AUTO,   /* labels; where they prove nothing within the limits, the tiers of docs/planning.md */
    FM_SOLVER_LABELS, /* exact label algorithm (labels.c) */
    FM_SOLVER_CPSAT,  /* CP-SAT over OR-Tools (cpsat/) */
    FM_SOLVER_GREEDY, /* the reference (greedy.c) */
    FM_SOLVER_WIDTH1, /* look-ahead greedy: labels of width 1 */
    FM_SOLVER_SOFTEN, /* published tier: soften capacities (tiers.c) */
    FM_SOLVER_PRELOAD,/* published tier: preload the worst offender and solve again (tiers.c) */
    FM_SOLVER_WINDOW, /* rolling window over steps (labels_plan.c) */
    FM_SOLVERS
} fm_overlap_solver;

typedef struct fm_overlap_options {
    fm_overlap_solver solver;
    double            time_limit;  /* seconds, 0 = 150 */
    uint32_t          width;       /* labels kept per step, 0 = 300000 */
    uint32_t          window;      /* FM_SOLVER_WINDOW: steps per window, 0 = chosen */
    uint32_t          threads;     /* CP-SAT workers, 0 = the processors */
    double            soften;      /* FM_SOLVER_SOFTEN: factor on capacities, 0 = 1.5 */
    const fm_log     *log;
    bool            (*stop)(void *user); /* asked now and then, from any thread: true ends the solve with what it has */
    void             *stop_user;
} fm_overlap_options;

/* Fills m_peak, chunks and capacities from bytes, and the integer costs from lambda (rounded to 1/1000); checks that
 * weights are sorted, first < step_count and sizes fit 32-bit counts.  INVALID_ARGUMENT otherwise. */
flashmem_status fm_overlap_problem_finish(fm_overlap_problem *problem, fm_overlap_step *steps,
                                          fm_overlap_weight *weights, double lambda, flashmem_error *err);
/* Solves as options say; the plan is replayed and verified before it returns.  UNSUPPORTED: the solver needs a library
 * that is not there, or refuses the size (the message says which and what else to use). */
flashmem_status fm_overlap_solve(const fm_overlap_problem *problem, const fm_overlap_options *options, fm_arena *arena,
                                 fm_overlap_plan *plan, flashmem_error *err);
/* Given p alone: x and z by shortest remaining processing time backwards (optimal for fixed p; Schrage).  False when
 * capacities or m_peak do not allow p. */
bool fm_overlap_complete(const fm_overlap_problem *problem, const uint8_t *preload, fm_arena *arena,
                         fm_overlap_plan *plan);
/* C0-C3, z, objective, bound <= objective, peak and preload bytes, recomputed from the definition and independently of
 * every solver.  INTERNAL names the constraint, weight and step. */
flashmem_status fm_overlap_verify(const fm_overlap_problem *problem, const fm_overlap_plan *plan, flashmem_error *err);
/* In the units of the formula. */
double fm_overlap_units(const fm_overlap_problem *problem, int64_t integer);
const char *fm_overlap_solver_name(fm_overlap_solver solver);
const char *fm_overlap_status_name(fm_overlap_status status);

#endif
