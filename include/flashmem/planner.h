/* Planning without running: of a model (its weights are not needed) or of a pack, for any device, and simulating plans.
 * C99-clean.  Threads: a planner belongs to one thread at a time; separate planners may be used at once. */
#ifndef FLASHMEM_PLANNER_H
#define FLASHMEM_PLANNER_H

#include "flashmem/compile.h"
#include "flashmem/plan.h"
#include "flashmem/simulation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flashmem_planner flashmem_planner;

typedef struct flashmem_plan_options {
    size_t                 size;         /* sizeof(flashmem_plan_options) */
    const flashmem_device *device;       /* NULL: flashmem_device_init's */
    flashmem_objective     objective;
    flashmem_budget_kind   budget_kind;  /* AUTO and LEAVE are relative to device->memory_bytes */
    double                 budget_value;
    uint64_t               slab_bytes;   /* largest slab, 0 = chosen (OPG: none is cut) */
    uint32_t               runs;         /* expected, 0 = unknown */
    uint32_t               program;      /* of a pack */
    const char            *policy;       /* baseline policy instead of our plan (flashmem_policy_name), or NULL */
    const char            *instance;     /* OPG: "u:A" .. "f:C", from graph and class table alone; or NULL */
    const char            *profile;      /* device profile file for times and capacities, or NULL: class table */
    const char            *solver;       /* OPG: "auto", "labels", "cpsat", "greedy", "width1", "soften", "preload",
                                            "window"; NULL = auto */
    double                 time_limit;   /* seconds, 0 = 150 */
    double                 lambda;       /* OPG: 0 .. 1, negative = 0.9 */
    uint64_t               chunk_bytes;  /* OPG: 0 = 256 KiB (instances: 1 MiB) */
    uint64_t               m_peak_bytes; /* OPG: 0 = 500e6 */
    uint32_t               fusion;       /* OPG: 1 = split fused steps where that lowers the objective */
    uint32_t               order;        /* 1 = order of independent branches by CP-SAT */
    uint32_t               placement;    /* 1 = placement by CP-SAT's no-overlap */
    const double          *step_seconds; /* per kernel step of the program, instead of the device's rates; or NULL */
    uint32_t               step_seconds_count;
} flashmem_plan_options;

FLASHMEM_API void flashmem_plan_options_init(flashmem_plan_options *options);

/* Imports and lowers the model at path (an ONNX file whose weights may be missing; operators that no kernel runs are
 * planned), or opens the pack there.  compile may be NULL; for a pack only its log is used.  Statuses as of
 * flashmem_compile, and BAD_PACK. */
FLASHMEM_API flashmem_status flashmem_planner_open(const char *path, const flashmem_compile_options *compile,
                                                   flashmem_planner **out, flashmem_error *error);
/* Of its weights: the pack's, or as compile said. */
FLASHMEM_API flashmem_layout flashmem_planner_layout(const flashmem_planner *planner);
FLASHMEM_API void flashmem_planner_close(flashmem_planner *planner); /* NULL allowed */

/* A verified plan, to be freed; it does not outlive its planner.  Statuses: INVALID_ARGUMENT, BUDGET (the message states
 * the minimum), UNSUPPORTED (a solver needs a library that is missing), OUT_OF_MEMORY, INTERNAL (a constraint does not
 * hold). */
FLASHMEM_API flashmem_status flashmem_planner_plan(flashmem_planner *planner, const flashmem_plan_options *options,
                                                   const flashmem_plan **out, flashmem_error *error);
FLASHMEM_API void flashmem_plan_free(const flashmem_plan *plan); /* NULL allowed */

/* Adds an overlap plan of a pack's program to the pack, in the place of the one for its program and memory path: what
 * `run --objective opg` replays.  The plan must be this planner's.  INVALID_ARGUMENT: not such a plan, or the planner is of
 * a model; IO, DISK_FULL: the pack stays as it was. */
FLASHMEM_API flashmem_status flashmem_planner_save(flashmem_planner *planner, const flashmem_plan *plan,
                                                   flashmem_error *error);

/* Names of baseline policies, and what each does; static storage; NULL beyond the last. */
FLASHMEM_API const char *flashmem_policy_name(uint32_t index);
FLASHMEM_API const char *flashmem_policy_help(uint32_t index);

typedef struct flashmem_simulate_options {
    size_t                 size;         /* sizeof(flashmem_simulate_options) */
    const flashmem_device *device;       /* of the plan's memory path; NULL: the one that the plan was made for */
    const double          *step_seconds; /* per kernel step of the program, instead of the device's rates; NULL: as
                                            planned, or by the rates of another device */
    uint32_t               step_seconds_count;
} flashmem_simulate_options;

FLASHMEM_API void flashmem_simulate_options_init(flashmem_simulate_options *options);

/* Plays the first run of a plan of this planner on a device, event by event; verified, to be freed.  NULL options are
 * the defaults.  Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY, INTERNAL. */
FLASHMEM_API flashmem_status flashmem_simulate(flashmem_planner *planner, const flashmem_plan *plan,
                                               const flashmem_simulate_options *options,
                                               const flashmem_simulation **out, flashmem_error *error);
FLASHMEM_API void flashmem_simulation_free(const flashmem_simulation *simulation); /* NULL allowed */

#ifdef __cplusplus
}
#endif
#endif
