/* Device profiles: measuring a device with micro-benchmark packs, learning from their times, predicting kernels.
 * The compile half writes the packs and learns; whoever calls it runs them with the run half:
 *
 *     open -> { next -> run the pack as often as asked, observing every run } until no run is asked for -> learn -> save
 *
 * C99-clean.  Threads: a profiler or profile belongs to one thread at a time. */
#ifndef FLASHMEM_PROFILE_H
#define FLASHMEM_PROFILE_H

#include "flashmem/run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flashmem_profiler flashmem_profiler;
typedef struct flashmem_profile  flashmem_profile;

typedef struct flashmem_profile_options {
    size_t           size;     /* sizeof(flashmem_profile_options) */
    flashmem_layout  layout;   /* of weights: the device's (flashmem_device_layout) */
    flashmem_weights weights;
    uint32_t         full;     /* 1: every shape and more loads; 0: a few seconds */
    uint32_t         threads;  /* that the packs are run with, 0 = all */
    double           growth[FLASHMEM_CAPACITY_CLASSES]; /* latency a kernel may grow by for loading */
    flashmem_log_fn  log;
    void            *user;
} flashmem_profile_options;

/* Sets size, the published growth (3, 0.2, 0), and 0 or NULL elsewhere. */
FLASHMEM_API void flashmem_profile_options_init(flashmem_profile_options *options);

/* INVALID_ARGUMENT, UNSUPPORTED (layout gpu), OUT_OF_MEMORY.  The functions of this header clear *error first. */
FLASHMEM_API flashmem_status flashmem_profiler_open(const flashmem_profile_options *options, flashmem_profiler **out,
                                                    flashmem_error *error);
FLASHMEM_API void flashmem_profiler_close(flashmem_profiler *profiler); /* NULL allowed */
/* Writes the next pack and says how often it is to be run: with budget off, slab_bytes at its largest, float inputs below
 * 1 and integer ones below their limit.  0: there is no further pack, and none was written. */
FLASHMEM_API flashmem_status flashmem_profiler_next(flashmem_profiler *profiler, const char *pack_path, uint32_t *runs,
                                                    flashmem_error *error);
/* What flashmem_model_stats and flashmem_model_step_times say after each of those runs. */
FLASHMEM_API flashmem_status flashmem_profiler_observe(flashmem_profiler *profiler, const flashmem_stats *stats,
                                                       const flashmem_step_time *times, uint32_t count,
                                                       flashmem_error *error);
/* device: the one that ran them.  Without XGBoost the profile has rates and no trees, and the log says so. */
FLASHMEM_API flashmem_status flashmem_profiler_learn(flashmem_profiler *profiler, const flashmem_device_info *device,
                                                     flashmem_profile **out, flashmem_error *error);

/* IO; BAD_MODEL says which field is wrong. */
FLASHMEM_API flashmem_status flashmem_profile_load(const char *path, flashmem_profile **out, flashmem_error *error);
/* Whole or not at all; the trees lie beside it, under its name with ".time.json" and ".growth.json". */
FLASHMEM_API flashmem_status flashmem_profile_save(const flashmem_profile *profile, const char *path,
                                                   flashmem_error *error);
FLASHMEM_API void flashmem_profile_close(flashmem_profile *profile); /* NULL allowed */
/* Where the profile of a device is kept: device, threads and cache_dir as in the run options ("" is refused). */
FLASHMEM_API flashmem_status flashmem_profile_path(const char *cache_dir, const char *device, uint32_t threads,
                                                   flashmem_layout layout, flashmem_weights weights, char *path,
                                                   size_t bytes, flashmem_error *error);

/* Relative errors |predicted - measured| / measured on shapes that the trees had not seen. */
typedef struct flashmem_profile_error {
    double   mean, most;
    uint32_t samples;
} flashmem_profile_error;

typedef struct flashmem_profile_info {
    flashmem_device        device;   /* measured; growth is what was asked for */
    const char            *platform, *version, *driver; /* owned by the profile */
    uint32_t               compute_units, threads;
    flashmem_weights       weights;
    uint32_t               full;
    uint32_t               learnt;   /* 1: trees; 0: rates and the class table */
    uint32_t               current;  /* 1: measured with the kernels of this build */
    double                 gap_seconds; /* from the end of a launch to the begin of the next one */
    const char            *load_path; /* "separate": loads were launches of their own */
    double                 least_share, most_share; /* of the kernel's own time: loads that were measured */
    flashmem_profile_error time_error, growth_error;
} flashmem_profile_info;
FLASHMEM_API void flashmem_profile_describe(const flashmem_profile *profile, flashmem_profile_info *out);

/* A kernel as it was measured. */
typedef struct flashmem_profile_row {
    const char         *name; /* of the shape */
    flashmem_cost_class cost_class;
    double              flops, bytes;      /* weights counted */
    double              seconds, held_out; /* measured; predicted without this shape (0: no trees) */
    uint64_t            capacity_bytes;
} flashmem_profile_row;
/* The same under a load. */
typedef struct flashmem_profile_sweep {
    const char         *name;
    flashmem_cost_class cost_class;
    uint64_t            load_bytes;
    double              alone_seconds;
    double              growth, held_out; /* factors; held_out 0: no trees */
} flashmem_profile_sweep;
/* Of a profile that was just learnt (a loaded one has none).  Write the first `limit`; return how many there are. */
FLASHMEM_API uint32_t flashmem_profile_rows(const flashmem_profile *profile, flashmem_profile_row *rows, uint32_t limit);
FLASHMEM_API uint32_t flashmem_profile_sweeps(const flashmem_profile *profile, flashmem_profile_sweep *sweeps,
                                              uint32_t limit);

typedef struct flashmem_step_prediction {
    uint32_t                known; /* 0: no kernel (rows, conversions); the rest is 0 */
    flashmem_cost_class     cost_class;
    flashmem_capacity_class capacity_class;
    double                  seconds; /* of the kernel alone */
    uint64_t                capacity_bytes;
} flashmem_step_prediction;
/* For launches of a program of the pack; only step and panels of `times` are read.  BAD_PACK; INVALID_ARGUMENT: a step
 * that the program does not have. */
FLASHMEM_API flashmem_status flashmem_profile_predict(const flashmem_profile *profile, const char *pack_path,
                                                      uint32_t program, const flashmem_step_time *times, uint32_t count,
                                                      flashmem_step_prediction *out, flashmem_error *error);

#ifdef __cplusplus
}
#endif
#endif
