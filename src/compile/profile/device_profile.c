/* Predictions of a device profile. */
#include "compile/profile/device_profile.h"

#include <math.h>

#include "base/hash.h"
#include "kernels/embedded.h"

enum { PAGE = 4096 };

void fm_device_profile_close(fm_device_profile *p) {
    fm_trees_free(&p->time);
    fm_trees_free(&p->growth);
    p->learnt = false;
}

uint64_t fm_profile_kernels_key(void) {
    uint64_t key = 0;
    for (size_t i = 0; i < fm_embedded_file_count; i++)
        key = fm_hash_seeded(&fm_embedded_files[i].hash, sizeof fm_embedded_files[i].hash, key);
    for (uint32_t i = 0; i < fm_loops_count; i++) {
        uint32_t facts[3] = { (uint32_t)fm_loops_table[i].order, fm_loops_table[i].rows, fm_loops_table[i].columns };
        key = fm_hash_seeded(facts, sizeof facts, key);
    }
    return key;
}

double fm_device_profile_kernel_seconds(const fm_device_profile *p, const fm_step_features *f) {
    double seconds = fm_work_seconds(&p->device, &f->work);
    float  x[FM_FEATURES];
    if (!p->learnt) return seconds;
    fm_features_vector(f, 0, 0, x);
    return seconds * exp((double)fm_trees_predict(&p->time, x));
}

static double trees_growth(const fm_device_profile *p, const fm_step_features *f, double load, double share) {
    float  x[FM_FEATURES];
    double unloaded, loaded;
    fm_features_vector(f, 0, 0, x);
    unloaded = (double)fm_trees_predict(&p->growth, x);
    fm_features_vector(f, load, share, x);
    loaded = (double)fm_trees_predict(&p->growth, x);
    return loaded > unloaded ? exp(loaded - unloaded) : 1;
}

/* A load smaller than any measured costs what the smallest did; beyond the largest every byte costs its own time. */
double fm_device_profile_growth_at(const fm_device_profile *p, const fm_step_features *f, double seconds, double load) {
    double rate = p->device.load_bytes_per_second, share;
    if (load <= 0) return 1;
    if (rate <= 0 || seconds <= 0) return INFINITY;
    share = load / rate / seconds;
    if (!p->learnt) return 1 + share;
    if (share < p->least_share) return trees_growth(p, f, p->least_share * seconds * rate, p->least_share);
    if (share <= p->most_share) return trees_growth(p, f, load, share);
    return trees_growth(p, f, p->most_share * seconds * rate, p->most_share) + share - p->most_share;
}

double fm_device_profile_growth(const fm_device_profile *p, const fm_step_features *f, double extra_load) {
    return fm_device_profile_growth_at(p, f, fm_device_profile_kernel_seconds(p, f), extra_load);
}

double fm_device_profile_seconds(const fm_device_profile *p, const fm_step_features *f, double extra_load) {
    double seconds = fm_device_profile_kernel_seconds(p, f);
    return seconds * fm_device_profile_growth_at(p, f, seconds, extra_load) + p->gap_seconds;
}

/* Growth never falls as the load rises: bisection over pages. */
uint64_t fm_device_profile_capacity(const fm_device_profile *p, const fm_step_features *f,
                                    flashmem_capacity_class capacity_class) {
    double allowed = 1 + p->device.growth[capacity_class], seconds = fm_device_profile_kernel_seconds(p, f);
    double rate = p->device.load_bytes_per_second;
    double most = (p->learnt ? p->most_share : p->device.growth[capacity_class]) * seconds * rate / PAGE;
    if (!(most >= 1) || most > 1e15) return 0;
    uint64_t fits = 0, beyond = (uint64_t)most + 1;
    while (beyond - fits > 1) {
        uint64_t middle = fits + (beyond - fits) / 2;
        if (fm_device_profile_growth_at(p, f, seconds, (double)middle * PAGE) <= allowed) fits = middle;
        else beyond = middle;
    }
    return fits * PAGE;
}
