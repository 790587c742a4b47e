/* Open a pack, run it inside a memory budget, read its outputs.  C99-clean.
 * Threads: a model belongs to one caller thread at a time; separate models (in one process) may be used from separate
 * threads at once; flashmem_model_cancel may be called from any thread and from a signal handler. */
#ifndef FLASHMEM_RUN_H
#define FLASHMEM_RUN_H

#include <stdio.h>

#include "flashmem/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flashmem_model flashmem_model;

typedef struct flashmem_run_options {
    size_t               size;         /* sizeof(flashmem_run_options); options behind it have their defaults */
    flashmem_budget_kind budget_kind;
    double               budget_value;
    uint64_t             host_budget;  /* bytes of pinned staging on devices with their own memory, 0 = none set */
    flashmem_memory_path memory_path;
    const char          *device;       /* number, part of a name, "null", or NULL for the first OpenCL device */
    uint32_t             threads;      /* CPU devices: compute threads, 0 = all */
    uint32_t             serial;       /* 1: read, then compute, in turns (for measuring what overlap hides) */
    uint32_t             program;      /* index of the program in the pack */
    const char          *cache_dir;    /* program cache and device profile; NULL = per-user default, "" = none */
    double               disk_rate;    /* bytes per second to plan with, 0 = profiled or 1e9 */
    uint64_t             slab_bytes;   /* largest slab, 0 = chosen at open */
    uint32_t             read_depth;   /* reads in flight, 0 = chosen at open */
    uint32_t             read_bytes;   /* bytes per read request, 0 = chosen at open */
    uint32_t             runs;         /* how many are expected, 0 = unknown: what a budget leaves free keeps weights for
                                          later runs, and nothing where 1 is expected */
    uint32_t             plan_only;    /* 1: stop after planning; such a model cannot run */
    uint32_t             bind_outputs; /* 1: the caller will bind every output before the first run: they are not
                                          placed and do not count against the budget */
    flashmem_log_fn      log;
    flashmem_progress_fn progress;     /* stage "load": bytes read of bytes to read in this run */
    void                *user;
    flashmem_objective   objective;    /* OPG: the overlap plan that the pack has for this program and memory path, as it
                                          is; a pack without one, or with one that does not fit, is refused */
    const char          *policy;       /* a baseline policy's plan instead of ours (flashmem_policy_name of planner.h, but
                                          for the one that follows an overlap plan), or NULL */
} flashmem_run_options;

/* Sets size, budget auto, and 0 or NULL elsewhere. */
FLASHMEM_API void flashmem_run_options_init(flashmem_run_options *options);

/* Opens, plans, reserves memory, and submits the first reads; brings up the device meanwhile.  NULL options are
 * the defaults.  Statuses: INVALID_ARGUMENT, BAD_PACK, WRONG_LAYOUT, UNSUPPORTED (memory path; no overlap plan that fits),
 * BUDGET (the message states the minimum), DEVICE, IO, OUT_OF_MEMORY. */
FLASHMEM_API flashmem_status flashmem_model_open(const char *pack_path, const flashmem_run_options *options,
                                                 flashmem_model **out, flashmem_error *error);
/* Waits for what is in flight and frees all; NULL allowed. */
FLASHMEM_API void flashmem_model_close(flashmem_model *model);

FLASHMEM_API uint32_t flashmem_model_input_count(const flashmem_model *model);
FLASHMEM_API uint32_t flashmem_model_output_count(const flashmem_model *model);
/* The name lives as long as the model; all zero where there is no such input or output. */
FLASHMEM_API void flashmem_model_input_info(const flashmem_model *model, uint32_t index, flashmem_tensor_info *info);
FLASHMEM_API void flashmem_model_output_info(const flashmem_model *model, uint32_t index, flashmem_tensor_info *info);

/* Lends data (dense, row-major, bytes as in the info, 64-byte aligned preferred) until the next bind or close; it is
 * read during flashmem_model_run.  Every input must be bound before the first run.  INVALID_ARGUMENT: no such input;
 * BAD_INPUT: no data, or another number of bytes than the info says. */
FLASHMEM_API flashmem_status flashmem_model_bind_input(flashmem_model *model, uint32_t index, const void *data,
                                                       uint64_t bytes, flashmem_error *error);
/* Optional: outputs are written there instead of to memory of the model.  Statuses as for inputs. */
FLASHMEM_API flashmem_status flashmem_model_bind_output(flashmem_model *model, uint32_t index, void *data,
                                                        uint64_t bytes, flashmem_error *error);

/* One inference; returns when the outputs are readable in host memory.  BAD_INPUT: an input is not bound, or a value
 * used as an index is out of range; CANCELLED; IO, CORRUPT, DEVICE and others, after which the model can only be
 * closed. */
FLASHMEM_API flashmem_status flashmem_model_run(flashmem_model *model, flashmem_error *error);

/* Lent until the next run or close; NULL before the first run. */
FLASHMEM_API const void *flashmem_model_output(const flashmem_model *model, uint32_t index);

/* Makes the present and later runs return FLASHMEM_CANCELLED at the next step; async-signal-safe. */
FLASHMEM_API void flashmem_model_cancel(flashmem_model *model);

typedef struct flashmem_stats {
    /* seconds on CLOCK_MONOTONIC since flashmem_model_open was entered */
    double   device_ready;  /* context and programs usable */
    double   first_launch;  /* of the last run */
    double   run_begin, run_end; /* of the last run */
    double   stall;         /* last run: kernel steps waiting for weights, sum */
    double   predicted_stall, predicted_latency;
    double   read_seconds;  /* last run: time with at least one read in flight */
    double   compute_seconds; /* last run: time with a kernel executing, from events (serial: exact phases) */
    double   serial_startup, serial_read, serial_compute; /* phases of a --serial run, else 0 */
    double   verify_seconds; /* checksums, last run */
    double   flops;         /* floating-point operations of one run */
    double   average_bytes; /* time-weighted mean of the engine's own bytes, last run */
    uint64_t budget_bytes, planned_peak_bytes, minimum_budget_bytes, minimum_bound_bytes;
    uint64_t weight_bytes;  /* float weights at their pack type */
    uint64_t bytes_read;    /* last run */
    double   disk_rate;     /* bytes / second observed in the last run */
    uint64_t resident_bytes, staging_bytes, activation_bytes, slab_bytes;
    uint32_t steps;         /* launches of one run, slabs counted */
    uint32_t kernel_steps;  /* of the unsplit program */
    uint32_t direct;        /* 1: O_DIRECT reads */
    uint32_t read_depth;    uint32_t read_bytes;
    uint32_t huge_pages;    /* 1: the arena lies in huge pages */
    uint32_t program_cache_hit; /* 1: every program came from the cache */
    uint64_t runs;
    const char *reader;     /* "io_uring", "pread threads", ... static */
    const char *memory_path; const char *device_name;
    const char *objective;  /* of the plan: "timed", "opg" */
} flashmem_stats;
FLASHMEM_API void flashmem_model_stats(const flashmem_model *model, flashmem_stats *out);

typedef enum flashmem_step_kind {
    FLASHMEM_STEP_KERNEL,
    FLASHMEM_STEP_ROWS,      /* rows of a table, read by index */
    FLASHMEM_STEP_CONVERSION /* a weight, or a slab of one, to an image */
} flashmem_step_kind;

/* When a launch or conversion of the last run executed. */
typedef struct flashmem_step_time {
    const char        *name;  /* of the model's node or weight; owned by the model */
    flashmem_step_kind kind;
    uint32_t           step;  /* of the unsplit program; of a conversion, the one it comes before */
    uint32_t           first_panel, panels; /* of the slab; 0, 0: the whole step */
    uint64_t           bytes; /* that a conversion copies; else 0 */
    double             begin, end; /* seconds since flashmem_model_open was entered; both 0: not known */
} flashmem_step_time;
/* Launches in order of execution, then conversions.  Writes the first `limit`; returns how many there are, 0 before the
 * first run. */
FLASHMEM_API uint32_t flashmem_model_step_times(const flashmem_model *model, flashmem_step_time *times, uint32_t limit);

/* The plan: launches, slabs, objects, when read, where placed, what is resident, the minimum budget; as predicted at
 * open.  Lives as long as the model. */
FLASHMEM_API flashmem_status flashmem_model_plan(flashmem_model *model, const flashmem_plan **out,
                                                 flashmem_error *error);
/* Recomputes every constraint of the plan and the replayed program, independently of what made them.
 * INTERNAL names what does not hold. */
FLASHMEM_API flashmem_status flashmem_model_verify_plan(const flashmem_model *model, flashmem_error *error);
/* Records the following runs; write them as Chrome/Perfetto trace JSON (disk, conversion, kernels, stalls, memory). */
FLASHMEM_API flashmem_status flashmem_model_trace_begin(flashmem_model *model, flashmem_error *error);
FLASHMEM_API flashmem_status flashmem_model_trace_write(flashmem_model *model, const char *path, flashmem_error *error);

/* Packs. */
/* Prints header, sections, programs, weights; verify_weights also reads and checks every checksum. */
FLASHMEM_API flashmem_status flashmem_pack_inspect(const char *pack_path, int verify_weights, FILE *to,
                                                   flashmem_error *error);

/* Devices. */
typedef struct flashmem_device_info {
    uint32_t        number;
    char            platform[128], name[256], version[128], driver[128];
    uint32_t        is_cpu, compute_units, has_fp16, has_images;
    uint64_t        image_width, image_height, max_allocation, global_memory;
    flashmem_layout layout; /* weight layout this device prefers */
    flashmem_memory_path memory_path;
} flashmem_device_info;
/* Calls each once per device; nonzero stops.  No OpenCL at all is FLASHMEM_DEVICE. */
FLASHMEM_API flashmem_status flashmem_devices(int (*each)(void *user, const flashmem_device_info *info), void *user,
                                              flashmem_error *error);
/* Makes a context, builds and runs an empty kernel: what the bare runtime costs.  *seconds may be NULL. */
FLASHMEM_API flashmem_status flashmem_device_probe(const char *device, uint32_t threads, double *seconds,
                                                   flashmem_error *error);
/* The layout class to compile for: device and cache_dir as in the run options.  A device that has run before is
 * remembered in its profile and not brought up. */
FLASHMEM_API flashmem_status flashmem_device_layout(const char *device, const char *cache_dir, flashmem_layout *layout,
                                                    flashmem_error *error);
/* What plans for this device are made with: its profile, or defaults for its class where it has not run yet.  device,
 * threads and cache_dir as in the run options; memory_bytes is what the system has free. */
FLASHMEM_API flashmem_status flashmem_device_describe(const char *device, uint32_t threads, const char *cache_dir,
                                                      flashmem_layout layout, flashmem_device *out,
                                                      flashmem_error *error);

#ifdef __cplusplus
}
#endif
#endif
