/* From measured kernels to a device profile: rates by class, trees, and how far they are off on shapes they had not seen.
 * Who may include: compile, tests. */
#ifndef FM_COMPILE_PROFILE_LEARN_H
#define FM_COMPILE_PROFILE_LEARN_H

#include "base/arena.h"
#include "base/log.h"
#include "compile/profile/device_profile.h"

typedef struct fm_row_sample {
    const char      *name;
    uint32_t         shape; /* samples of one shape are held out together */
    fm_step_features features;
    double           seconds, held_out;
} fm_row_sample;

typedef struct fm_load_sample {
    const char      *name;
    uint32_t         shape;
    fm_step_features features;
    double           alone, load_bytes, growth, held_out;
} fm_load_sample;

typedef struct fm_samples {
    fm_row_sample  *rows;  size_t row_count, row_capacity;
    fm_load_sample *loads; size_t load_count, load_capacity;
} fm_samples;

/* Rates by class from the rows. */
void fm_learn_rates(const fm_samples *samples, flashmem_device *device);
/* The trees of profile, whose device is known; held_out of every sample; errors.  UNSUPPORTED without XGBoost and with
 * too few samples: the profile has no trees then. */
flashmem_status fm_learn_trees(fm_samples *samples, fm_arena *arena, fm_device_profile *profile, flashmem_error *err);

#endif
