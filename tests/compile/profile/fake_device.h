/* A device that runs micro-benchmark packs by a law instead of by running them, and profiles made of it.
 * Tests of profiles may include this. */
#ifndef FM_TESTS_FAKE_DEVICE_H
#define FM_TESTS_FAKE_DEVICE_H

#include "compile/profile/profile.h"

/* A kernel takes launch + max(flops / flops_rate of its class, bytes / bytes_rate) seconds, strided ones `strided` times
 * as much; a load takes launch + bytes / copy_rate; gap lies between launches. */
typedef struct fake_device {
    double launch, gap, flops_rate[FLASHMEM_COST_CLASSES], bytes_rate, copy_rate, strided;
    double disk_rate;
    double slow_run; /* runs 2, 5, 8... take this many times as long: 0 is 1 */
} fake_device;

extern const fake_device fake_plain;

/* Of one launch. */
double fake_seconds(const fake_device *device, const fm_step_features *features);
/* Times of run number `run` of the pack; malloc'd. */
flashmem_step_time *fake_run(const fake_device *device, const char *pack_path, uint32_t run, uint32_t *count);
/* The whole of profiling; the test fails where anything does.  folder: for packs. */
flashmem_profile *fake_profile(const fake_device *device, const flashmem_profile_options *options, const char *folder);

#endif
