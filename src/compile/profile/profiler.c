/* Measuring a device: which packs are run, what their times say, and the profile made of that.
 *
 *     probe: a few shapes -> rates -> rows: as many shapes as their seconds allow -> launch cost, gap, copy rate,
 *     kernel times -> loads: as many, sized by those -> growth -> rates, trees
 *
 * The first run of a pack builds programs and reads weights; it is not counted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "compile/profile/profile.h"
#include "compile/profile/sweep.h"

typedef enum stage { STAGE_BEGIN, STAGE_PROBE, STAGE_ROWS, STAGE_LOADS, STAGE_END } stage;

/* Of one run of a pack: seconds that a shape may take, and all together. */
typedef struct allowance {
    double   each, total;
    uint32_t runs; /* the first is not counted */
} allowance;
static const allowance rows_brief = { 0.05, 0.25, 10 }, rows_full = { 0.5, 3, 16 };
static const allowance loads_brief = { 0.06, 0.2, 8 }, loads_full = { 0.6, 2.5, 12 };
enum { PROBE_RUNS = 4 };
/* Shapes of less time than this say more about the clock than about loads. */
static const double SHORTEST = 15e-6;

struct flashmem_profiler {
    fm_arena                *arena;
    fm_log                   log;
    flashmem_profile_options options;
    stage                    stage;
    fm_sweep                 sweep;
    uint32_t                 runs, observed; /* of the present pack, the first one included */
    flashmem_step_time      *launches;       /* of the first run; kernels only */
    uint32_t                 launch_count;
    double                  *begins, *ends; /* [runs][launch_count] */
    double                  *scratch;       /* room for medians */
    double                  *shape_seconds; /* per shape: by one launch, else 0 */
    bool                    *chosen;        /* per shape: in the present pack */
    fm_samples               samples;
    double launch_seconds, gap_seconds, copy_rate, image_bytes, image_seconds, disk_rate, check_rate, startup_seconds;
};

void flashmem_profile_options_init(flashmem_profile_options *options) {
    flashmem_device published;
    flashmem_device_init(&published);
    *options = (flashmem_profile_options){ .size = sizeof *options };
    memcpy(options->growth, published.growth, sizeof options->growth);
}

static flashmem_status check_options(const flashmem_profile_options *o, flashmem_error *err) {
    if (o->size != sizeof *o)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "profile options of %zu bytes: call flashmem_profile_options_init", o->size);
    if (o->layout == FLASHMEM_LAYOUT_GPU)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "layout gpu is not built yet: use cpu or texture");
    if ((unsigned)o->layout > FLASHMEM_LAYOUT_GPU || (unsigned)o->weights > FLASHMEM_WEIGHTS_FP16)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "profile options: layout %d, weights %d", (int)o->layout,
                       (int)o->weights);
    for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++)
        if (!(o->growth[c] >= 0 && o->growth[c] <= 1e6))
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "a growth of %g: 0 to 1e6 is expected", o->growth[c]);
    return FLASHMEM_OK;
}

flashmem_status flashmem_profiler_open(const flashmem_profile_options *options, flashmem_profiler **out,
                                       flashmem_error *error) {
    flashmem_profile_options defaults;
    fm_error_clear(error);
    *out = NULL;
    flashmem_profile_options_init(&defaults);
    if (!options) options = &defaults;
    FM_TRY(check_options(options, error));
    flashmem_profiler *p = calloc(1, sizeof *p);
    if (p) p->arena = fm_arena_create();
    if (!p || !p->arena) {
        free(p);
        return fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "no memory to profile a device");
    }
    p->options = *options;
    p->log = (fm_log){ options->log, options->user };
    *out = p;
    return FLASHMEM_OK;
}

void flashmem_profiler_close(flashmem_profiler *p) {
    if (!p) return;
    fm_arena_destroy(p->arena);
    free(p);
}

static flashmem_status no_memory(flashmem_error *err) {
    return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory to profile a device");
}

/* ---- packs ---- */

static void choose_level(flashmem_profiler *p, fm_shape_level level) {
    for (uint32_t s = 0; s < fm_shape_row_count; s++) p->chosen[s] = fm_shape_rows[s].level >= level;
}

static flashmem_status probe_pack(flashmem_profiler *p, const fm_sweep_options *o, const char *pack_path,
                                  flashmem_error *err) {
    p->chosen = fm_arena_array(p->arena, fm_shape_row_count, sizeof *p->chosen);
    p->shape_seconds = fm_arena_array(p->arena, fm_shape_row_count, sizeof *p->shape_seconds);
    fm_sweep_options probe = *o;
    probe.chosen = p->chosen;
    choose_level(p, FM_SHAPES_PROBE);
    p->runs = PROBE_RUNS;
    return fm_sweep_rows(&probe, pack_path, p->arena, &p->sweep, err);
}

/* The probe's samples have told the rates; they are measured again. */
static flashmem_status rows_pack(flashmem_profiler *p, const fm_sweep_options *o, const char *pack_path,
                                 flashmem_error *err) {
    const allowance *allowed = o->full ? &rows_full : &rows_brief;
    fm_shape_level   level = o->full ? FM_SHAPES_FULL : FM_SHAPES_BRIEF;
    flashmem_device  device;
    flashmem_device_init(&device);
    device.launch_seconds = p->launch_seconds;
    fm_learn_rates(&p->samples, &device);
    p->samples.row_count = 0;
    choose_level(p, level);
    FM_TRY(fm_sweep_estimate(o, &device, p->arena, p->shape_seconds, err));
    fm_shapes_choose(p->shape_seconds, level, allowed->each, allowed->total, p->chosen);
    memset(p->shape_seconds, 0, fm_shape_row_count * sizeof *p->shape_seconds);
    p->runs = allowed->runs;
    return fm_sweep_rows(o, pack_path, p->arena, &p->sweep, err);
}

static flashmem_status loads_pack(flashmem_profiler *p, const fm_sweep_options *o, const char *pack_path,
                                  flashmem_error *err) {
    const allowance *allowed = o->full ? &loads_full : &loads_brief;
    double          *cost = fm_arena_array(p->arena, fm_shape_row_count, sizeof *cost);
    for (size_t i = 0; i < p->samples.row_count; i++) {
        const fm_row_sample *row = &p->samples.rows[i];
        flashmem_capacity_class class = fm_capacity_class_of(row->features.work.cost_class);
        if (p->shape_seconds[row->shape] >= SHORTEST)
            cost[row->shape] = row->seconds * fm_sweep_loads_cost(class, o->full);
    }
    fm_shapes_choose(cost, FM_SHAPES_FULL, allowed->each, allowed->total, p->chosen);
    p->runs = allowed->runs;
    return fm_sweep_loads(o, pack_path, p->shape_seconds, p->copy_rate, p->arena, &p->sweep, err);
}

static flashmem_status next_pack(flashmem_profiler *p, const char *pack_path, flashmem_error *err) {
    fm_sweep_options o = { p->options.layout, p->options.weights, p->chosen, p->options.full != 0, &p->log };
    p->observed = p->runs = 0;
    p->stage++;
    if (p->stage == STAGE_PROBE) return probe_pack(p, &o, pack_path, err);
    return p->stage == STAGE_ROWS ? rows_pack(p, &o, pack_path, err) : loads_pack(p, &o, pack_path, err);
}

flashmem_status flashmem_profiler_next(flashmem_profiler *p, const char *pack_path, uint32_t *runs,
                                       flashmem_error *error) {
    fm_error_clear(error);
    *runs = 0;
    if (!pack_path || !*pack_path) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no path for the pack");
    if (p->observed < p->runs)
        return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "%u of %u runs of the last pack were observed", p->observed,
                       p->runs);
    if (p->stage >= STAGE_LOADS) return FLASHMEM_OK;
    if (fm_arena_trap(p->arena)) return no_memory(error);
    FM_TRY(next_pack(p, pack_path, error));
    *runs = p->runs;
    return FLASHMEM_OK;
}

/* ---- what was measured ---- */

static double begin_of(const flashmem_profiler *p, uint32_t run, uint32_t launch) {
    return p->begins[(size_t)run * p->launch_count + launch];
}
static double end_of(const flashmem_profiler *p, uint32_t run, uint32_t launch) {
    return p->ends[(size_t)run * p->launch_count + launch];
}

/* What the launch takes when nothing else runs: interruptions only add, and the lower quartile has few of them. */
static double typical(double *values, size_t count) {
    qsort(values, count, sizeof *values, fm_by_value);
    return values[count / 4];
}

/* Launches [*first, *first + *count) of the mark's steps. */
static void launches_of(const flashmem_profiler *p, const fm_sweep_mark *m, uint32_t *first, uint32_t *count) {
    *first = *count = 0;
    for (uint32_t i = 0; i < p->launch_count; i++) {
        uint32_t step = p->launches[i].step;
        if (step < m->first_step || step >= m->first_step + m->steps) continue;
        if (!(*count)++) *first = i;
    }
}

/* Over the runs, the time from the first launch's begin to the last one's end. */
static double span_seconds(flashmem_profiler *p, uint32_t first, uint32_t last) {
    for (uint32_t r = 1; r < p->runs; r++) p->scratch[r - 1] = end_of(p, r, last) - begin_of(p, r, first);
    return typical(p->scratch, p->runs - 1);
}

static void take_launch_cost(flashmem_profiler *p, uint32_t first, uint32_t count) {
    size_t n = 0;
    for (uint32_t r = 1; r < p->runs; r++)
        for (uint32_t i = first; i + 1 < first + count; i++)
            p->scratch[n++] = begin_of(p, r, i + 1) - begin_of(p, r, i);
    p->launch_seconds = typical(p->scratch, n);
    n = 0;
    for (uint32_t r = 1; r < p->runs; r++)
        for (uint32_t i = first; i + 1 < first + count; i++)
            p->scratch[n++] = fmax(begin_of(p, r, i + 1) - end_of(p, r, i), 0);
    p->gap_seconds = typical(p->scratch, n);
}

static void take_rows(flashmem_profiler *p, const fm_sweep_mark *m, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) {
        const flashmem_step_time *launch = &p->launches[i];
        fm_row_sample             sample = { .name = fm_shape_rows[m->shape].name,
                                             .shape = m->shape,
                                             .seconds = span_seconds(p, i, i) };
        if (!fm_step_features_of(&p->sweep.packed, &p->sweep.program, launch->step, launch->panels, &sample.features))
            continue;
        if (sample.seconds <= 0) continue;
        FM_PUSH(p->arena, p->samples.rows, p->samples.row_count, p->samples.row_capacity) = sample;
        if (count == 1) p->shape_seconds[m->shape] = sample.seconds;
    }
}

static void evaluate_rows(flashmem_profiler *p) {
    double   copy = 0;
    uint32_t first, count, copies = 0;
    for (size_t i = 0; i < p->sweep.mark_count; i++) {
        const fm_sweep_mark *m = &p->sweep.marks[i];
        launches_of(p, m, &first, &count);
        if (m->kind == FM_SWEEP_LAUNCH) take_launch_cost(p, first, count);
        else if (m->kind == FM_SWEEP_ROW) take_rows(p, m, first, count);
        else if (m->kind == FM_SWEEP_COPY) copy += (double)m->load_bytes / span_seconds(p, first, first), copies++;
    }
    p->copy_rate = copy / copies;
}

/* [fm_shape_row_count][runs]: the shorter of the shape's ALONE marks in each run. */
static double *alone_seconds(flashmem_profiler *p) {
    double  *alone = fm_arena_array(p->arena, (size_t)fm_shape_row_count * p->runs, sizeof *alone);
    uint32_t first, count;
    for (size_t i = 0; i < p->sweep.mark_count; i++) {
        const fm_sweep_mark *m = &p->sweep.marks[i];
        if (m->kind != FM_SWEEP_ALONE) continue;
        launches_of(p, m, &first, &count);
        for (uint32_t r = 1; r < p->runs; r++) {
            double *least = &alone[(size_t)m->shape * p->runs + r],
                   seconds = end_of(p, r, first) - begin_of(p, r, first);
            if (*least <= 0 || seconds < *least) *least = seconds;
        }
    }
    return alone;
}

/* The median over the runs of pair over alone: clocks change between runs more than within one. */
static double growth_of(flashmem_profiler *p, const double *alone, uint32_t first, uint32_t count) {
    size_t n = 0;
    for (uint32_t r = 1; r < p->runs; r++)
        if (alone[r] > 0) p->scratch[n++] = (end_of(p, r, first + count - 1) - begin_of(p, r, first)) / alone[r];
    qsort(p->scratch, n, sizeof *p->scratch, fm_by_value);
    return n ? p->scratch[n / 2] : 0;
}

static void evaluate_loads(flashmem_profiler *p) {
    double  *alone = alone_seconds(p);
    uint32_t first, count;
    for (size_t i = 0; i < p->sweep.mark_count; i++) {
        const fm_sweep_mark *m = &p->sweep.marks[i];
        const double        *alone_in = alone + (size_t)m->shape * p->runs;
        if (m->kind != FM_SWEEP_PAIR) continue;
        launches_of(p, m, &first, &count);
        fm_load_sample sample = { .name = fm_shape_rows[m->shape].name,
                                  .shape = m->shape,
                                  .growth = growth_of(p, alone_in, first, count),
                                  .load_bytes = (double)m->load_bytes };
        memcpy(p->scratch, alone_in + 1, (p->runs - 1) * sizeof *p->scratch);
        sample.alone = typical(p->scratch, p->runs - 1);
        if (sample.growth <= 0 || sample.alone <= 0 ||
            !fm_step_features_of(&p->sweep.packed, &p->sweep.program, m->first_step, 0, &sample.features))
            continue;
        FM_PUSH(p->arena, p->samples.loads, p->samples.load_count, p->samples.load_capacity) = sample;
    }
}

/* ---- runs ---- */

static bool is_kernel(const flashmem_step_time *t) { return t->kind == FLASHMEM_STEP_KERNEL; }

static void first_run(flashmem_profiler *p, const flashmem_stats *stats, const flashmem_step_time *times,
                      uint32_t count) {
    p->launch_count = 0;
    p->launches = fm_arena_array(p->arena, count, sizeof *p->launches);
    for (uint32_t i = 0; i < count; i++)
        if (is_kernel(&times[i])) p->launches[p->launch_count++] = times[i];
    size_t cells = (size_t)p->runs * p->launch_count;
    p->begins = fm_arena_array(p->arena, cells, sizeof *p->begins);
    p->ends = fm_arena_array(p->arena, cells, sizeof *p->ends);
    p->scratch = fm_arena_array(p->arena, cells, sizeof *p->scratch);
    if (p->stage == STAGE_ROWS) {
        p->disk_rate = stats->disk_rate;
        if (stats->verify_seconds > 0) p->check_rate = (double)stats->bytes_read / stats->verify_seconds;
    }
    p->startup_seconds = stats->device_ready; /* of the last pack: programs are cached then */
}

static flashmem_status take_run(flashmem_profiler *p, const flashmem_step_time *times, uint32_t count,
                                flashmem_error *err) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < count; i++) {
        const flashmem_step_time *t = &times[i];
        if (t->kind == FLASHMEM_STEP_CONVERSION && t->end > t->begin && p->observed > 0) {
            p->image_bytes += (double)t->bytes;
            p->image_seconds += t->end - t->begin;
        }
        if (!is_kernel(t)) continue;
        if (k == p->launch_count || t->step != p->launches[k].step || t->panels != p->launches[k].panels)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "run %u is not of the pack that run 0 was of", p->observed);
        if (!(t->end > 0))
            return fm_fail(err, FLASHMEM_DEVICE, "the device does not say when launch %u ('%s') executed", k,
                           t->name ? t->name : "");
        p->begins[(size_t)p->observed * p->launch_count + k] = t->begin;
        p->ends[(size_t)p->observed * p->launch_count + k++] = t->end;
    }
    if (k == p->launch_count) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "run %u: %u kernels of %u", p->observed, k, p->launch_count);
}

flashmem_status flashmem_profiler_observe(flashmem_profiler *p, const flashmem_stats *stats,
                                          const flashmem_step_time *times, uint32_t count, flashmem_error *error) {
    fm_error_clear(error);
    if (p->observed >= p->runs)
        return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "every run that was asked for has been observed");
    if (fm_arena_trap(p->arena)) return no_memory(error);
    if (p->observed == 0) first_run(p, stats, times, count);
    FM_TRY(take_run(p, times, count, error));
    if (++p->observed < p->runs) return FLASHMEM_OK;
    if (p->stage == STAGE_LOADS) evaluate_loads(p);
    else evaluate_rows(p);
    return FLASHMEM_OK;
}

/* ---- the profile ---- */

static void identify(fm_device_profile *out, const flashmem_profiler *p, const flashmem_device_info *info) {
    flashmem_device *d = &out->device;
    flashmem_device_init(d);
    memcpy(d->name, info->name, sizeof d->name);
    memcpy(out->platform, info->platform, sizeof out->platform);
    memcpy(out->version, info->version, sizeof out->version);
    memcpy(out->driver, info->driver, sizeof out->driver);
    d->layout = p->options.layout;
    d->memory_path = d->layout == FLASHMEM_LAYOUT_TEXTURE ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE;
    d->largest_allocation = info->max_allocation;
    d->image_limit = (uint32_t)(info->image_width < info->image_height ? info->image_width : info->image_height);
    memcpy(d->growth, p->options.growth, sizeof d->growth);
    out->is_cpu = info->is_cpu;
    out->compute_units = info->compute_units;
    out->threads = p->options.threads;
    out->weights = p->options.weights;
    out->full = p->options.full != 0;
    out->kernels = fm_profile_kernels_key();
    memcpy(out->load_path, FM_LOAD_SEPARATE, sizeof FM_LOAD_SEPARATE);
}

static void take_rates(fm_device_profile *out, const flashmem_profiler *p) {
    flashmem_device *d = &out->device;
    d->launch_seconds = p->launch_seconds;
    d->startup_seconds = p->startup_seconds;
    out->gap_seconds = p->gap_seconds;
    d->load_bytes_per_second = p->copy_rate;
    d->check_bytes_per_second = p->check_rate;
    if (p->disk_rate > 0) d->disk_bytes_per_second = p->disk_rate;
    if (p->image_seconds > 0) d->convert_bytes_per_second = p->image_bytes / p->image_seconds;
    fm_learn_rates(&p->samples, d);
}

/* The samples outlive the profiler. */
static flashmem_status keep_samples(fm_samples *to, const fm_samples *from, flashmem_error *err) {
    to->rows = calloc(from->row_count + 1, sizeof *to->rows);
    to->loads = calloc(from->load_count + 1, sizeof *to->loads);
    if (!to->rows || !to->loads) return no_memory(err);
    if (from->row_count) memcpy(to->rows, from->rows, from->row_count * sizeof *to->rows);
    if (from->load_count) memcpy(to->loads, from->loads, from->load_count * sizeof *to->loads);
    to->row_count = from->row_count;
    to->load_count = from->load_count;
    return FLASHMEM_OK;
}

static flashmem_status make_profile(flashmem_profiler *p, const flashmem_device_info *info, flashmem_profile *profile,
                                    flashmem_error *err) {
    flashmem_error found = { 0 };
    identify(&profile->device, p, info);
    take_rates(&profile->device, p);
    flashmem_status status = fm_learn_trees(&p->samples, p->arena, &profile->device, &found);
    if (status == FLASHMEM_UNSUPPORTED) /* no library, or too few samples */
        fm_warn(&p->log, "profile", "%s. The profile has measured rates only: capacities are those of the class table",
                found.message);
    else if (status != FLASHMEM_OK) return fm_fail(err, status, "%s", found.message);
    FM_TRY(flashmem_device_check(&profile->device.device, err));
    return keep_samples(&profile->samples, &p->samples, err);
}

flashmem_status flashmem_profiler_learn(flashmem_profiler *p, const flashmem_device_info *device,
                                        flashmem_profile **out, flashmem_error *error) {
    fm_error_clear(error);
    *out = NULL;
    if (p->stage < STAGE_LOADS || p->observed < p->runs)
        return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "%u of %u runs were observed", p->observed, p->runs);
    flashmem_profile *profile = calloc(1, sizeof *profile);
    if (!profile) return no_memory(error);
    flashmem_status status;
    if (fm_arena_trap(p->arena)) status = no_memory(error);
    else status = make_profile(p, device, profile, error);
    if (status == FLASHMEM_OK) *out = profile;
    else flashmem_profile_close(profile);
    return status;
}
