/* An open model: everything between open and close.  Each field says whose it is.  Who may include: run, tests. */
#ifndef FM_RUN_MODEL_H
#define FM_RUN_MODEL_H

#include "base/arena.h"
#include "base/log.h"
#include "contract/pack.h"
#include "flashmem/run.h"
#include "run/gpu/gpu.h"
#include "run/gpu/operands.h"
#include "run/memory.h"
#include "run/profile.h"
#include "run/stream/progress.h"
#include "run/stream/reader.h"
#include "schedule/replay.h"

typedef struct fm_trace fm_trace;

/* For tests: replaces parts of a model. */
typedef struct fm_open_hooks {
    const fm_read_ops *read_ops;          /* backend of the reader */
    bool               buffered;          /* no direct reads */
    double             null_time_scale;   /* a launch on the null device takes its planned seconds times this */
    void (*edit_plan)(fm_replay *replay); /* after planning: breaks the plan on purpose */
} fm_open_hooks;

/* An input or output of the model and where its bytes are. */
typedef struct fm_binding {
    uint32_t value, root;
    bool     placed; /* planned into a region; else bound */
    void    *caller; /* lent by the caller, or NULL */
    void    *copy;   /* our aligned memory for a caller's that kernels cannot use, or NULL */
    void    *bound;  /* what the device has been given */
    uint64_t bytes;
} fm_binding;

/* One launch of the last run, nanoseconds of CLOCK_MONOTONIC; 0: unknown. */
typedef struct fm_step_record {
    uint64_t begin, end;
} fm_step_record;

/* The first bytes of an object that a step waits for. */
typedef struct fm_need {
    uint32_t object;
    uint64_t bytes; /* whole checksum units, or all of the object */
} fm_need;

typedef struct fm_executor {
    uint64_t        run;           /* of the present or next run */
    uint32_t       *need_first;    /* [steps + 1]: needs[need_first[k]..) must have arrived before step k */
    fm_need        *needs;
    uint32_t       *drain_to;      /* per step: launches that must have ended before it is enqueued, 0: none */
    uint8_t        *notify;        /* per step: its end must be reported */
    uint32_t       *convert_first; /* [steps + 1]: converts[convert_first[k]..) are due before step k */
    uint32_t       *converts;      /* rows of replay.converts */
    fm_gather      *gathers;       /* per step; rows 0: none */
    uint64_t       *order;         /* as many as the largest gather has rows */
    uint64_t       *published;     /* per object: run + 1 in which the device was told of its bytes */
    uint64_t       *bytes_before;  /* per step: bytes of objects first used up to it (for progress) */
    bool            bad_index;     /* a computed index was out of range: the run ends, then fails */
    flashmem_error  bad_index_error;
    fm_row_batch    batch;
    fm_step_record *records; /* per step, then per conversion */
    uint64_t        run_begin, run_end, row_bytes;
    double          serial_read, serial_compute;
} fm_executor;

struct flashmem_model {
    fm_arena            *arena; /* of everything that lives until close */
    fm_arena            *plan_arena;
    fm_log               log;
    flashmem_run_options options; /* strings copied */
    fm_open_hooks        hooks;
    char                *cache_folder; /* "" none */
    const char          *selector;     /* of the device; "" the first */
    uint64_t             opened;       /* ns */

    fm_pack              pack;
    const fm_program    *program;
    flashmem_memory_path path;
    fm_profile           profile;
    fm_stored_overlap    overlap; /* the one that is replayed, in plan_arena; plan NULL: none */
    fm_replay_request    request;
    fm_replay            replay; /* arrays in plan_arena */
    double               plan_seconds;
    flashmem_plan        plan; /* replay as data, once it is asked for; steps NULL before */

    fm_memory       memory;  /* the regions */
    fm_memory       staging; /* row slots */
    char           *regions[FM_MEMORY_REGIONS];
    char          **storage; /* per value: host address, NULL while nothing is bound */
    fm_read_object *objects;
    fm_progress     progress;
    fm_reader      *reader;

    fm_gpu      *gpu;
    fm_gpu_setup setup;
    uint64_t     device_up; /* ns: context and queue usable */

    fm_binding    *inputs, *outputs;
    fm_executor    executor;
    fm_trace      *trace; /* NULL: not recording */
    flashmem_stats stats; /* of the last run */
    double         serial_startup;
    bool           broken; /* a run failed for good */
};

/* flashmem_model_open with parts replaced; hooks may be NULL. */
flashmem_status fm_model_open(const char *pack_path, const flashmem_run_options *options, const fm_open_hooks *hooks,
                              flashmem_model **out, flashmem_error *err);

/* options.c */
/* Copies and checks the options; INVALID_ARGUMENT. */
flashmem_status fm_options_take(flashmem_model *model, const flashmem_run_options *options, flashmem_error *err);
/* Chooses program and memory path for the device's facts; WRONG_LAYOUT, UNSUPPORTED, DEVICE. */
flashmem_status fm_options_choose_path(flashmem_model *model, const fm_gpu_facts *facts, bool certain,
                                       flashmem_error *err);
/* Plans into plan_arena for the profile at hand; BUDGET. */
flashmem_status fm_options_plan(flashmem_model *model, flashmem_error *err);

/* bind.c */
flashmem_status fm_bindings_make(flashmem_model *model, flashmem_error *err);
void            fm_bindings_release(flashmem_model *model);
/* Every input bound, indices in range, bytes where kernels read them. BAD_INPUT. */
flashmem_status fm_bindings_begin_run(flashmem_model *model, flashmem_error *err);
/* Outputs readable on the host, copied to where the caller wants them. */
flashmem_status fm_bindings_end_run(flashmem_model *model, flashmem_error *err);
/* An index below zero counts from the end; false: outside [-limit, limit). */
bool fm_index_in_range(const void *indices, uint32_t dtype, uint64_t at, uint64_t limit, int64_t *found, uint64_t *row);

/* stream/needs.c: what each step waits for, from the plan; marks them in model->objects. */
void fm_needs_make(flashmem_model *model);
/* When the last of what step k waits for had arrived in that run; 0: nothing was read for it. */
uint64_t fm_needs_arrival(const flashmem_model *model, const fm_read_record *reads, uint32_t k);

/* stream/executor.c */
void            fm_executor_make(flashmem_model *model);
flashmem_status fm_executor_run(flashmem_model *model, flashmem_error *err);

/* stats.c: evaluates the run that just ended, and teaches the profile. */
void fm_stats_begin(flashmem_model *model);
void fm_stats_end_run(flashmem_model *model);

/* trace.c */
void fm_trace_record_run(flashmem_model *model);
void fm_trace_free(fm_trace *trace);

const char *fm_memory_path_name(flashmem_memory_path path);
const char *fm_layout_name(flashmem_layout layout);

#endif
