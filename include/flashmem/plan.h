/* A plan as data: what to read, convert, launch and free when, and where in memory.  Made by the planner (planner.h) and
 * by an open model (run.h).  C99-clean; plain read-only data, owned by whoever made it. */
#ifndef FLASHMEM_PLAN_H
#define FLASHMEM_PLAN_H

#include "flashmem/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flashmem_budget_kind {
    FLASHMEM_BUDGET_AUTO,    /* least memory for the best predicted latency + 2 %, within half of what is free */
    FLASHMEM_BUDGET_OFF,     /* everything stays */
    FLASHMEM_BUDGET_BYTES,   /* value: bytes */
    FLASHMEM_BUDGET_PERCENT, /* value: percent of float weight bytes, raised to the minimum */
    FLASHMEM_BUDGET_LEAVE,   /* value: bytes of system memory left free */
    FLASHMEM_BUDGET_MINIMUM  /* the promised minimum */
} flashmem_budget_kind;

typedef enum flashmem_objective {
    FLASHMEM_OBJECTIVE_TIMED, /* least latency under the budget, then least memory */
    FLASHMEM_OBJECTIVE_OPG    /* the published overlap problem */
} flashmem_objective;

#define FLASHMEM_NONE UINT32_MAX

/* A launch: a kernel step, or a slab (part) of one.  Bytes are those alive while it runs. */
typedef struct flashmem_plan_step {
    const char             *name;
    uint32_t                step, part;  /* of the unsplit program; part of it */
    uint32_t                first_panel, panels; /* of its weight; 0, 0: not a slab */
    flashmem_cost_class     cost_class;
    flashmem_capacity_class capacity_class;
    double   seconds, start, end;        /* predicted; seconds from the start of the run */
    double   stall;                      /* of it, waiting for weights before start */
    double   flops, bytes;               /* work; activation bytes moved, weights not counted */
    uint64_t activation_bytes, weight_bytes, resident_bytes, image_bytes;
    uint64_t capacity_bytes;             /* that may be loaded beside it; 0 where the plan has no capacities */
    uint64_t load_bytes;                 /* that are */
} flashmem_plan_step;

/* A placed object: a slab of a large weight, or a bundle of small ones; in read order. */
typedef struct flashmem_plan_object {
    const char *name;          /* of the weight, or "bundle" */
    uint32_t    object, part;  /* of the pack; part of it */
    uint32_t    weight;        /* of the pack; FLASHMEM_NONE: a bundle */
    uint32_t    first_panel, panels;
    uint64_t    bytes;
    uint32_t    first, last;   /* launches that use it */
    int32_t     after;         /* read once this launch has ended; -1: at the start */
    uint32_t    wrap;          /* ... of the run before */
    uint32_t    resident, preload; /* kept between runs; read before the first launch (overlap plans) */
    uint32_t    region;
    uint64_t    offset;        /* in the region */
    double      request, arrival, convert_start, convert_end; /* predicted; conversion 0 in place */
} flashmem_plan_object;

typedef struct flashmem_plan_value { /* activations, scratch, inputs and outputs placed by the engine */
    const char *name;
    uint32_t    value;         /* of the program */
    uint64_t    bytes, offset;
    uint32_t    region, from, to; /* launches */
} flashmem_plan_value;

typedef struct flashmem_plan_image { /* an image object of the pool; texels of four elements */
    uint32_t width, height, half;
    uint64_t bytes;
} flashmem_plan_image;

/* What an overlap plan decides for a weight (placed object, or initialiser of an instance). */
typedef struct flashmem_plan_weight {
    const char *name;
    uint64_t    bytes;
    uint32_t    chunks, first, last, preload;
    uint32_t    first_load, load_count; /* rows of loads */
} flashmem_plan_weight;
typedef struct flashmem_plan_load { uint32_t step, chunks; } flashmem_plan_load;

typedef struct flashmem_plan {
    const char *model, *device;
    const char *objective_kind; /* "timed", "opg", or the name of a baseline policy */
    const char *status, *solver; /* "OPTIMAL", "FEASIBLE"; "recursion", "labels", "cpsat", ... */
    const char *capacities;     /* where capacities come from: "class table", "profile FILE", "instance u:A" */
    double      objective, bound, gap; /* gap: (objective - bound) / max(objective, tiny); seconds, or units of OPG */
    double      seconds;        /* the solve alone */
    double      latency, stall, average_bytes; /* predicted, first run */
    double      compute_seconds, disk_seconds; /* of a run: what the physical limit is the larger of */
    uint64_t    budget_bytes, peak_bytes, minimum_bytes, minimum_bound_bytes;
    uint64_t    live_bound_bytes; /* largest sum of what is alive: no placement is below */
    uint64_t    preload_bytes, resident_bytes, staging_bytes, image_bytes, activation_bytes, slab_bytes;
    uint64_t    weight_bytes;   /* float weights at their pack type */
    uint64_t    read_bytes;     /* of one run, without rows */
    uint32_t    kernel_steps;
    uint32_t    read_depth, read_request_bytes;
    uint32_t    region_count;   uint64_t region_bytes[64];
    uint32_t    step_count;     const flashmem_plan_step   *steps;
    uint32_t    object_count;   const flashmem_plan_object *objects;
    uint32_t    value_count;    const flashmem_plan_value  *values;
    uint32_t    image_count;    const flashmem_plan_image  *images;
    /* Overlap plans. */
    double      lambda;
    uint64_t    chunk_bytes, m_peak_bytes;
    uint32_t    m_peak_chunks, peak_chunks;
    uint32_t    split_count;     /* fused steps that were split again */
    double      fused_objective; /* before that; 0 where fusion was not asked for */
    const char *const *apart;    /* split_count: of a lowered program, results of operators that begin steps of their
                                    own (flashmem_compile_options.apart); NULL for instances */
    uint32_t    weight_count;   const flashmem_plan_weight *weights;
    uint32_t    load_count;     const flashmem_plan_load   *loads;
} flashmem_plan;

#ifdef __cplusplus
}
#endif
#endif
