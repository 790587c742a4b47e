/* A device as the executor sees it: a queue that runs launches in order and says when they have ended.
 *
 * Life: open -> prepare (once the plan and its memory exist) -> per run: launch, convert... -> close.
 * All calls come from the model's caller thread; completions come back through fm_progress from any thread.
 * Who may include: run, tests. */
#ifndef FM_RUN_GPU_H
#define FM_RUN_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "contract/pack.h"
#include "flashmem/run.h"
#include "run/stream/progress.h"
#include "schedule/replay.h"

/* What planning and caches must know of a device; kept in the device profile so that the next open plans before the
 * device is up.  Fixed-size: written to the profile as it is. */
typedef struct fm_gpu_facts {
    char     platform[128], name[256], version[128], driver[128];
    uint32_t is_cpu, compute_units, has_fp16, has_images, is_null;
    uint32_t base_align;    /* bytes: sub-buffer origins */
    uint32_t image_pitch;   /* texels: row pitch alignment of images */
    uint32_t host_coherent; /* kernels see host writes to wrapped memory, and the host theirs, without a command */
    uint64_t image_width, image_height, max_allocation, global_memory;
} fm_gpu_facts;

typedef struct fm_gpu_setup {
    const fm_pack       *pack;
    const fm_program    *program;
    const fm_replay     *replay;
    char *const         *regions; /* host memory of each of replay->region_count regions */
    flashmem_memory_path path;
    const char          *cache_folder; /* of the program cache; "" none */
    fm_progress         *progress;
    const fm_log        *log;
} fm_gpu_setup;

typedef struct fm_gpu fm_gpu;
typedef struct fm_gpu_ops {
    /* Wraps the regions, makes images, starts loading programs.  setup and what it points to outlive the device. */
    flashmem_status (*prepare)(fm_gpu *gpu, const fm_gpu_setup *setup, flashmem_error *err);
    /* Storage of a value that the plan does not place (inputs, outputs bound by the caller). */
    flashmem_status (*bind)(fm_gpu *gpu, uint32_t value, void *data, uint64_t bytes, flashmem_error *err);
    /* The host wrote these bytes of a region, or of a bound value: kernels launched from here on must see them. */
    flashmem_status (*publish)(fm_gpu *gpu, uint32_t region, uint64_t offset, uint64_t bytes, flashmem_error *err);
    flashmem_status (*publish_value)(fm_gpu *gpu, uint32_t value, flashmem_error *err);
    /* Every launch has ended: makes a value's bytes readable at its host address. */
    flashmem_status (*fetch_value)(fm_gpu *gpu, uint32_t value, flashmem_error *err);
    /* Enqueues a row of replay->converts: the copy of some panels into their pool image. */
    flashmem_status (*convert)(fm_gpu *gpu, uint32_t row, flashmem_error *err);
    /* Enqueues a replayed step; waits for its program to be built.  notify: reports `ended` launches when it and all
     * before it have ended.  Allocates nothing but what the driver needs for its event. */
    flashmem_status (*launch)(fm_gpu *gpu, uint32_t step, bool notify, uint64_t ended, flashmem_error *err);
    /* Makes what was enqueued start. */
    flashmem_status (*flush)(fm_gpu *gpu, flashmem_error *err);
    /* Waits for everything enqueued; never fails to return. */
    void (*drain)(fm_gpu *gpu);
    /* After a run: when the step executed, nanoseconds of CLOCK_MONOTONIC; false: unknown. */
    bool (*step_times)(fm_gpu *gpu, uint32_t step, uint64_t *begin, uint64_t *end);
    bool (*convert_times)(fm_gpu *gpu, uint32_t row, uint64_t *begin, uint64_t *end);
    /* A run is over, complete or not (everything drained): lets go of its events; after the first complete one the
     * programs are saved in the background. */
    void (*end_run)(fm_gpu *gpu, bool complete);
    void (*close)(fm_gpu *gpu); /* frees; drains first */
} fm_gpu_ops;

typedef enum fm_cache_state { FM_CACHE_NONE, FM_CACHE_HIT, FM_CACHE_MISS } fm_cache_state;

struct fm_gpu {
    const fm_gpu_ops *ops;
    fm_gpu_facts      facts;
    _Atomic int       cache_state;    /* fm_cache_state of the programs; MISS as soon as one was built */
    _Atomic uint64_t  programs_ready; /* CLOCK_MONOTONIC ns when the last program became usable, 0 = not yet */
};

/* selector: as flashmem_run_options.device but "null"; threads 0 = all. */
flashmem_status fm_gpu_open_opencl(fm_gpu **out, const char *selector, uint32_t threads, const fm_log *log,
                                   flashmem_error *err);
/* time_scale: a launch takes its planned seconds times this (0: as fast as it goes). */
flashmem_status fm_gpu_open_null(fm_gpu **out, double time_scale, const fm_log *log, flashmem_error *err);
/* What a null device is, without opening one. */
void fm_gpu_null_facts(fm_gpu_facts *facts);
/* What is assumed of a device before it has been seen. */
void fm_gpu_default_facts(fm_gpu_facts *facts);

/* Calls each once per OpenCL device, numbered from 0; nonzero stops.  DEVICE: no OpenCL or no device. */
flashmem_status fm_gpu_list_opencl(int (*each)(void *user, uint32_t number, const fm_gpu_facts *facts), void *user,
                                   flashmem_error *err);

#endif
