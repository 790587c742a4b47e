/* A device profile: measured rates of a device, and trees that predict kernel times and how they grow with a load.
 * Format and meaning of every field: docs/device-profile.md.  Who may include: compile, tests.
 *
 *     seconds of a kernel         = fm_work_seconds(device) * exp(time trees)            without trees: * 1
 *     growth with a load of e     = exp(growth trees at e - growth trees at no load)     without: 1 + e / load rate
 *     capacity                    = largest e whose growth is at most 1 + device.growth[class]
 */
#ifndef FM_COMPILE_PROFILE_DEVICE_PROFILE_H
#define FM_COMPILE_PROFILE_DEVICE_PROFILE_H

#include "compile/profile/features.h"
#include "compile/profile/trees.h"
#include "flashmem/profile.h"

/* Relative errors over shapes that the trees had not seen: each shape predicted by trees learnt from the others. */
typedef struct fm_profile_error {
    double   mean, most; /* |predicted - measured| / measured */
    uint32_t samples;
} fm_profile_error;

typedef struct fm_device_profile {
    flashmem_device  device; /* growth: the allowances */
    char             platform[128], version[128], driver[128];
    uint32_t         is_cpu, compute_units, threads; /* threads 0: all */
    flashmem_weights weights;
    bool             full;
    uint64_t         kernels;     /* fm_profile_kernels_key of the build that measured */
    double           gap_seconds; /* from the end of a launch to the begin of the next one */
    char             load_path[16];
    double           least_share, most_share; /* loads that were measured, in seconds of the kernel alone */
    bool             learnt; /* the trees are there */
    fm_trees         time, growth;
    fm_profile_error time_error, growth_error;
} fm_device_profile;

/* Reads the profile at path and the trees it names, beside it.  IO; BAD_MODEL says which field is wrong and what is
 * expected.  Close it in any case; a zeroed profile may be closed. */
flashmem_status fm_device_profile_load(const char *path, fm_device_profile *out, flashmem_error *err);
void            fm_device_profile_close(fm_device_profile *profile);
/* What is measured besides, for people: fields of the "rows" and "sweeps" arrays. */
struct json_t;
/* Writes the trees beside path, then path, each whole or not at all.  samples (may be NULL) is put into the file as it
 * is and not read back. */
flashmem_status fm_device_profile_save(const fm_device_profile *profile, const struct json_t *samples, const char *path,
                                       flashmem_error *err);
/* Of the kernel sources and loops of this build: profiles of other kernels say nothing about these. */
uint64_t fm_profile_kernels_key(void);

/* Of the kernel alone, from its begin to its end. */
double fm_device_profile_kernel_seconds(const fm_device_profile *profile, const fm_step_features *features);
/* That the queue is taken: kernel under extra_load bytes of loading, and the gap to the next launch. */
double fm_device_profile_seconds(const fm_device_profile *profile, const fm_step_features *features, double extra_load);
/* Factor on the kernel's seconds; 1 without load, never falls as the load rises. */
double fm_device_profile_growth(const fm_device_profile *profile, const fm_step_features *features, double extra_load);
/* The same for a kernel that is known to take `seconds` alone. */
double fm_device_profile_growth_at(const fm_device_profile *profile, const fm_step_features *features, double seconds,
                                   double extra_load);
/* Bytes that may be loaded beside the kernel: growth within the class's allowance.  A multiple of 4 KiB; nothing beyond
 * the loads that were measured is promised. */
uint64_t fm_device_profile_capacity(const fm_device_profile *profile, const fm_step_features *features,
                                    flashmem_capacity_class capacity_class);

#endif
