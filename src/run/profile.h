/* The device profile: what is known of a device and its disk from earlier runs, so that the next open plans before the
 * device is up.  A small checksummed file in the cache folder; losing it costs nothing but accuracy.
 * Who may include: run, tests. */
#ifndef FM_RUN_PROFILE_H
#define FM_RUN_PROFILE_H

#include "base/log.h"
#include "contract/program.h"
#include "run/gpu/gpu.h"

enum { FM_PROFILE_RATES = 8, FM_PROFILE_LAYOUTS = 3 };

/* seconds = launch + max(flops / rate of its class, bytes / bandwidth) */
typedef struct fm_kernel_times {
    double   launch_seconds, flops_per_second[FLASHMEM_COST_CLASSES], bytes_per_second;
    uint64_t runs; /* whose times went into it */
} fm_kernel_times;

typedef struct fm_profile {
    fm_gpu_facts facts;
    uint32_t     seen; /* facts and times come from a device, not from defaults */
    uint32_t     disk_next, disk_count;
    /* By weight layout: each has kernels of its own. */
    fm_kernel_times times[FM_PROFILE_LAYOUTS];
    double          startup_seconds; /* open to device ready, programs cached */
    double          disk_rates[FM_PROFILE_RATES];
} fm_profile;

/* Sane values for the class of device. */
void fm_profile_default(fm_profile *profile, const fm_gpu_facts *facts);
/* The profile for this way of naming a device and this number of threads; defaults where there is none or it is damaged
 * (logged).  folder "": defaults. */
void fm_profile_load(fm_profile *profile, const char *folder, const char *selector, uint32_t threads,
                     const fm_log *log);
/* Atomically; a failure is a log line. */
void fm_profile_save(const fm_profile *profile, const char *folder, const char *selector, uint32_t threads,
                     const fm_log *log);
/* The device that answered is another one (or has another driver): its facts count, old times do not.  True: the facts
 * differ in what plans depend on. */
bool fm_profile_meet(fm_profile *profile, const fm_gpu_facts *facts);

/* As planning wants it: for a weight layout and a memory path. */
void fm_profile_describe(const fm_profile *profile, flashmem_layout layout, flashmem_memory_path path,
                         flashmem_device *out);

/* Times of one run's launches: sums by cost class. */
typedef struct fm_observed {
    double seconds[FLASHMEM_COST_CLASSES], flops[FLASHMEM_COST_CLASSES], bytes[FLASHMEM_COST_CLASSES]; /* launch cost taken off */
    double shortest;                                                                 /* launch, seconds */
} fm_observed;
void   fm_profile_learn(fm_kernel_times *times, const fm_observed *observed);
void   fm_profile_learn_disk(fm_profile *profile, double bytes_per_second);
double fm_profile_disk_rate(const fm_profile *profile); /* median of the last runs; 1e9 without */

#endif
