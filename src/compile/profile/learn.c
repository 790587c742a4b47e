#include "compile/profile/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "compile/profile/xgboost.h"

enum { FOLDS = 5, LARGE_BYTES = 1 << 20 };

/* ---- rates ---- */

/* The value that `part` of them lie below. */
static double quantile(double *values, size_t count, double part) {
    qsort(values, count, sizeof *values, fm_by_value);
    return values[(size_t)((double)(count - 1) * part + 0.5)];
}

static bool moves_bytes(flashmem_cost_class c) {
    return c == FLASHMEM_COST_NORM || c == FLASHMEM_COST_ELEMENTWISE || c == FLASHMEM_COST_GATHER;
}

/* Without what a launch costs; at least half, as for a kernel that is hardly more than its launch. */
static double work_seconds(const fm_row_sample *row, const flashmem_device *device) {
    double seconds = row->seconds - device->launch_seconds;
    return seconds > row->seconds / 2 ? seconds : row->seconds / 2;
}

/* What most kernels of a class that computes reach, and the best of one that is mostly bound by memory: the others say
 * nothing about how fast it computes. */
static double class_rate(const fm_samples *s, const flashmem_device *device, flashmem_cost_class c, double *scratch) {
    size_t count = 0;
    for (size_t i = 0; i < s->row_count; i++)
        if (s->rows[i].features.work.cost_class == c && s->rows[i].features.work.flops > 0)
            scratch[count++] = s->rows[i].features.work.flops / work_seconds(&s->rows[i], device);
    return count ? quantile(scratch, count, moves_bytes(c) ? 1 : 0.5) : 0;
}

/* Of kernels that move more than they compute; small ones, which stay in caches, only where there are no others. */
static double byte_rate(const fm_samples *s, const flashmem_device *device, double least, double *scratch) {
    size_t count = 0;
    for (size_t i = 0; i < s->row_count; i++) {
        const fm_work *work = &s->rows[i].features.work;
        if (moves_bytes(work->cost_class) && work->bytes + work->weight_bytes >= least)
            scratch[count++] = (work->bytes + work->weight_bytes) / work_seconds(&s->rows[i], device);
    }
    return count ? quantile(scratch, count, 0.5) : 0;
}

void fm_learn_rates(const fm_samples *s, flashmem_device *device) {
    double *scratch = calloc(s->row_count + 1, sizeof *scratch), rate;
    if (!scratch) return; /* defaults stand */
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++)
        if ((rate = class_rate(s, device, (flashmem_cost_class)c, scratch)) > 0) device->flops_per_second[c] = rate;
    rate = byte_rate(s, device, LARGE_BYTES, scratch);
    if (rate <= 0) rate = byte_rate(s, device, 1, scratch);
    if (rate > 0) device->bytes_per_second = rate;
    free(scratch);
}

/* ---- trees ---- */

/* A regression over samples of shapes, some of which are held out. */
typedef struct table {
    float    *rows, *targets, *weights;
    uint32_t *shapes;
    uint32_t  count;
} table;

static table make_table(fm_arena *arena, size_t most) {
    return (table){ .rows = fm_arena_array(arena, most, FM_FEATURES * sizeof(float)),
                    .targets = fm_arena_array(arena, most, sizeof(float)),
                    .weights = fm_arena_array(arena, most, sizeof(float)),
                    .shapes = fm_arena_array(arena, most, sizeof(uint32_t)) };
}

static void add(table *t, uint32_t shape, const fm_step_features *f, double load, double share, double target) {
    fm_features_vector(f, load, share, t->rows + (size_t)t->count * FM_FEATURES);
    t->targets[t->count] = (float)target;
    t->weights[t->count] = 1;
    t->shapes[t->count++] = shape;
}

/* What a kernel takes over what its work and class say. */
static table time_table(const fm_samples *s, const flashmem_device *device, fm_arena *arena) {
    table t = make_table(arena, s->row_count);
    for (size_t i = 0; i < s->row_count; i++) {
        const fm_row_sample *row = &s->rows[i];
        add(&t, row->shape, &row->features, 0, 0, log(row->seconds / fm_work_seconds(device, &row->features.work)));
    }
    return t;
}

static double share_of(const fm_load_sample *load, const flashmem_device *device) {
    return load->load_bytes / device->load_bytes_per_second / load->alone;
}

/* Growth under loads, and none without. */
static table growth_table(const fm_samples *s, const flashmem_device *device, fm_arena *arena) {
    table t = make_table(arena, 2 * s->load_count);
    for (size_t i = 0; i < s->load_count; i++) {
        const fm_load_sample *load = &s->loads[i];
        if (i == 0 || load->shape != s->loads[i - 1].shape) add(&t, load->shape, &load->features, 0, 0, 0);
        add(&t, load->shape, &load->features, load->load_bytes, share_of(load, device), log(fmax(load->growth, 1)));
    }
    return t;
}

static uint32_t fold_of(uint32_t shape) { return shape % FOLDS; }

/* Whatever fold is held out, samples of both kinds are left. */
static bool can_fold(const fm_samples *s) {
    uint32_t rows = 0, loads = 0; /* folds that have some */
    for (size_t i = 0; i < s->row_count; i++) rows |= 1u << fold_of(s->rows[i].shape);
    for (size_t i = 0; i < s->load_count; i++) loads |= 1u << fold_of(s->loads[i].shape);
    return s->row_count >= 2 * FOLDS && s->load_count >= 2 * FOLDS && (rows & (rows - 1)) && (loads & (loads - 1));
}

/* The table without the shapes of a fold; FOLDS: all of it. */
static table without_fold(const table *all, uint32_t fold, fm_arena *arena) {
    table t = make_table(arena, all->count);
    for (uint32_t i = 0; i < all->count; i++) {
        if (fold_of(all->shapes[i]) == fold) continue;
        memcpy(t.rows + (size_t)t.count * FM_FEATURES, all->rows + (size_t)i * FM_FEATURES,
               FM_FEATURES * sizeof(float));
        t.targets[t.count] = all->targets[i];
        t.weights[t.count] = all->weights[i];
        t.shapes[t.count++] = all->shapes[i];
    }
    return t;
}

typedef struct settings {
    uint32_t rounds, depth;
    double   rate, least_weight;
    bool     rising_load;
} settings;
/* Chosen by held-out errors on CPU devices. */
static const settings TIME = { 100, 4, 0.15, 2, false }, GROWTH = { 100, 5, 0.15, 3, true };

/* trees must agree with the library on what they were learnt from. */
static flashmem_status check_trees(const fm_trees *trees, const table *t, const float *fitted, flashmem_error *err) {
    for (uint32_t i = 0; i < t->count; i++) {
        float ours = fm_trees_predict(trees, t->rows + (size_t)i * FM_FEATURES);
        if (!(fabsf(ours - fitted[i]) <= 1e-4f * (1 + fabsf(fitted[i]))))
            return fm_fail(err, FLASHMEM_INTERNAL, "trees give %g where XGBoost gives %g", (double)ours,
                           (double)fitted[i]);
    }
    return FLASHMEM_OK;
}

/* Memory of the arena first: what is malloc'd afterwards is handed to trees at once. */
static flashmem_status learn(const fm_xgboost *library, const table *t, const settings *s, const char *name,
                             fm_arena *arena, fm_trees *trees, flashmem_error *err) {
    bool   rising[FM_FEATURES] = { [FM_FEATURE_LOAD] = s->rising_load, [FM_FEATURE_SHARE] = s->rising_load };
    char  *json;
    size_t bytes;
    float *fitted = fm_arena_array(arena, t->count, sizeof *fitted);
    fm_xgboost_problem problem = { t->rows, t->targets, t->weights, t->count, FM_FEATURES,
                                   rising,  s->rounds,  s->depth,   s->rate,  s->least_weight };
    FM_TRY(fm_xgboost_learn(library, &problem, &json, &bytes, fitted, err));
    FM_TRY(fm_trees_parse(trees, json, bytes, FM_FEATURES, name, err));
    return check_trees(trees, t, fitted, err);
}

static void take_error(fm_profile_error *e, double predicted, double measured) {
    double error = fabs(predicted - measured) / measured;
    e->mean += error;
    if (error > e->most) e->most = error;
    e->samples++;
}

/* Predictions of profile, learnt without a fold, for that fold's shapes. */
static void judge_fold(fm_samples *s, const fm_device_profile *profile, uint32_t fold, fm_profile_error *time_error,
                       fm_profile_error *growth_error) {
    for (size_t i = 0; i < s->row_count; i++) {
        fm_row_sample *row = &s->rows[i];
        if (fold_of(row->shape) != fold) continue;
        row->held_out = fm_device_profile_kernel_seconds(profile, &row->features);
        take_error(time_error, row->held_out, row->seconds);
    }
    for (size_t i = 0; i < s->load_count; i++) {
        fm_load_sample *load = &s->loads[i];
        if (fold_of(load->shape) != fold) continue;
        load->held_out = fm_device_profile_growth_at(profile, &load->features, load->alone, load->load_bytes);
        take_error(growth_error, load->held_out, load->growth);
    }
}

static void measure_range(const fm_samples *s, fm_device_profile *profile) {
    profile->least_share = INFINITY;
    profile->most_share = 0;
    for (size_t i = 0; i < s->load_count; i++) {
        double share = share_of(&s->loads[i], &profile->device);
        profile->least_share = fmin(profile->least_share, share);
        profile->most_share = fmax(profile->most_share, share);
    }
}

static flashmem_status learn_both(const fm_xgboost *library, const table *time, const table *growth, uint32_t fold,
                                  fm_arena *arena, fm_device_profile *profile, flashmem_error *err) {
    table t = without_fold(time, fold, arena), g = without_fold(growth, fold, arena);
    fm_device_profile_close(profile);
    FM_TRY(learn(library, &t, &TIME, "time trees", arena, &profile->time, err));
    FM_TRY(learn(library, &g, &GROWTH, "growth trees", arena, &profile->growth, err));
    profile->learnt = true;
    return FLASHMEM_OK;
}

flashmem_status fm_learn_trees(fm_samples *s, fm_arena *arena, fm_device_profile *profile, flashmem_error *err) {
    const fm_xgboost *library;
    fm_profile_error  time_error = { 0 }, growth_error = { 0 };
    if (!can_fold(s))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%zu kernels and %zu loads are too few to learn trees from",
                       s->row_count, s->load_count);
    FM_TRY(fm_xgboost_load(&library, err));
    table time = time_table(s, &profile->device, arena), growth = growth_table(s, &profile->device, arena);
    measure_range(s, profile);
    for (uint32_t fold = 0; fold < FOLDS; fold++) {
        FM_TRY(learn_both(library, &time, &growth, fold, arena, profile, err));
        judge_fold(s, profile, fold, &time_error, &growth_error);
    }
    time_error.mean /= time_error.samples;
    growth_error.mean /= growth_error.samples;
    profile->time_error = time_error;
    profile->growth_error = growth_error;
    return learn_both(library, &time, &growth, FOLDS, arena, profile, err);
}
