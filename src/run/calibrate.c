/* The device profile: defaults, file, and what runs teach it.  Calibration never stands before a start: the first run
 * plans with defaults, and the times of its launches replace them for the next. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/order.h"
#include "run/memory.h"
#include "run/profile.h"

/* A file is this header and the profile as it lies in memory: a cache of one machine, not a document. */
typedef struct profile_file {
    char       magic[8];
    uint32_t   version, bytes;
    uint64_t   key, checksum; /* of profile */
    fm_profile profile;
} profile_file;

static const char MAGIC[8] = "FMDEVICE";
enum { PROFILE_VERSION = 2 };
/* The shortest launch of a program of few long steps says nothing about what a launch costs. */
static const double LAUNCH_CREDIBLE = 8;

void fm_profile_default(fm_profile *profile, const fm_gpu_facts *facts) {
    /* Per class, for a core of a CPU and for a compute unit of a GPU. */
    static const double cpu[FLASHMEM_COST_CLASSES] = { 60e9, 45e9, 20e9, 12e9, 2e9, 2e9, 2e9 };
    static const double gpu[FLASHMEM_COST_CLASSES] = { 100e9, 60e9, 60e9, 40e9, 10e9, 10e9, 10e9 };
    uint32_t            units = facts->compute_units ? facts->compute_units : 1;
    fm_gpu_facts        kept = *facts;
    fm_kernel_times     times = { .launch_seconds = facts->is_cpu ? 6e-6 : 10e-6,
                                  .bytes_per_second = facts->is_cpu ? 10e9 : 40e9 };
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++) times.flops_per_second[c] = (facts->is_cpu ? cpu[c] : gpu[c]) * units;
    *profile = (fm_profile){ .facts = kept, .startup_seconds = 0.05 };
    for (int l = 0; l < FM_PROFILE_LAYOUTS; l++) profile->times[l] = times;
}

static uint64_t profile_key(const char *selector, uint32_t threads) {
    uint64_t key = fm_hash(FLASHMEM_VERSION, sizeof FLASHMEM_VERSION);
    key = fm_hash_seeded(&threads, sizeof threads, key);
    return fm_hash_seeded(selector, strlen(selector), key);
}

static bool profile_path(char *path, size_t bytes, const char *folder, uint64_t key) {
    return snprintf(path, bytes, "%s/device-%016" PRIx64 ".profile", folder, key) < (int)bytes;
}

static bool positive(double x) { return isfinite(x) && x > 0; }

static bool plausible_times(const fm_kernel_times *t) {
    bool ok = positive(t->launch_seconds) && positive(t->bytes_per_second);
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++) ok = ok && positive(t->flops_per_second[c]);
    return ok;
}

static bool plausible(const fm_profile *p) {
    bool ok = positive(p->startup_seconds) && p->disk_count <= FM_PROFILE_RATES && p->disk_next < FM_PROFILE_RATES;
    for (int l = 0; l < FM_PROFILE_LAYOUTS; l++) ok = ok && plausible_times(&p->times[l]);
    for (uint32_t i = 0; ok && i < p->disk_count; i++) ok = positive(p->disk_rates[i]);
    const fm_gpu_facts *f = &p->facts;
    ok = ok && f->base_align && f->base_align <= 65536 && (f->base_align & (f->base_align - 1)) == 0 && f->image_pitch;
    return ok && memchr(f->platform, 0, sizeof f->platform) && memchr(f->name, 0, sizeof f->name) &&
           memchr(f->version, 0, sizeof f->version) && memchr(f->driver, 0, sizeof f->driver);
}

static const char *damage(const profile_file *file, size_t bytes, uint64_t key) {
    if (bytes != sizeof *file || memcmp(file->magic, MAGIC, sizeof MAGIC) != 0) return "not a device profile";
    if (file->version != PROFILE_VERSION || file->bytes != sizeof *file || file->key != key)
        return "of another version";
    if (file->checksum != fm_hash(&file->profile, sizeof file->profile)) return "its checksum does not match";
    return plausible(&file->profile) ? NULL : "values out of range";
}

void fm_profile_load(fm_profile *profile, const char *folder, const char *selector, uint32_t threads,
                     const fm_log *log) {
    fm_gpu_facts facts;
    char         path[4096];
    void        *data = NULL;
    size_t       bytes = 0;
    uint64_t     key = profile_key(selector, threads);
    fm_gpu_default_facts(&facts);
    if (threads) facts.compute_units = threads;
    fm_profile_default(profile, &facts);
    if (!folder[0] || !profile_path(path, sizeof path, folder, key)) return;
    if (fm_file_load(path, 1 << 20, &data, &bytes, NULL) != FLASHMEM_OK) {
        fm_debug(log, "cache", "device profile: MISS (%s)", path);
        return;
    }
    profile_file *file = data;
    const char   *reason = damage(file, bytes, key);
    if (reason) fm_warn(log, "cache", "%s: %s: rebuilt", path, reason);
    else *profile = file->profile;
    free(data);
}

void fm_profile_save(const fm_profile *profile, const char *folder, const char *selector, uint32_t threads,
                     const fm_log *log) {
    char           path[4096];
    flashmem_error error = { 0 };
    uint64_t       key = profile_key(selector, threads);
    if (!folder[0] || !profile_path(path, sizeof path, folder, key)) return;
    profile_file *file = calloc(1, sizeof *file);
    if (!file) return;
    memcpy(file->magic, MAGIC, sizeof MAGIC);
    file->version = PROFILE_VERSION;
    file->bytes = sizeof *file;
    file->key = key;
    memcpy(&file->profile, profile, sizeof *profile); /* padding too: the checksum covers it */
    file->checksum = fm_hash(&file->profile, sizeof file->profile);
    if (fm_file_make_folders(folder, &error) != FLASHMEM_OK ||
        fm_file_save(path, file, sizeof *file, &error) != FLASHMEM_OK)
        fm_warn(log, "cache", "device profile not saved: %s", error.message);
    free(file);
}

static bool same_device(const fm_gpu_facts *a, const fm_gpu_facts *b) {
    return strcmp(a->platform, b->platform) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(a->version, b->version) == 0 && strcmp(a->driver, b->driver) == 0 &&
           a->compute_units == b->compute_units;
}

bool fm_profile_meet(fm_profile *profile, const fm_gpu_facts *facts) {
    const fm_gpu_facts known = profile->facts;
    bool               replan = facts->base_align > known.base_align || facts->max_allocation < known.max_allocation ||
                  facts->image_width < known.image_width || facts->image_height < known.image_height ||
                  facts->image_pitch != known.image_pitch || facts->is_cpu != known.is_cpu;
    if (!profile->seen || !same_device(&known, facts)) {
        fm_profile fresh;
        fm_profile_default(&fresh, facts);
        memcpy(fresh.disk_rates, profile->disk_rates, sizeof fresh.disk_rates);
        fresh.disk_next = profile->disk_next;
        fresh.disk_count = profile->disk_count;
        *profile = fresh;
    }
    profile->facts = *facts;
    profile->seen = 1;
    return replan;
}

static double mix(double old, double observed, bool first) { return first ? observed : 0.5 * old + 0.5 * observed; }

void fm_profile_learn(fm_kernel_times *times, const fm_observed *o) {
    bool   first = times->runs == 0;
    double seconds = 0, bytes = 0;
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++) {
        if (o->seconds[c] <= 0) continue;
        if (o->flops[c] > 0)
            times->flops_per_second[c] = mix(times->flops_per_second[c], o->flops[c] / o->seconds[c], first);
        if (c != FLASHMEM_COST_NORM && c != FLASHMEM_COST_ELEMENTWISE && c != FLASHMEM_COST_GATHER) continue;
        seconds += o->seconds[c];
        bytes += o->bytes[c];
    }
    if (seconds > 0 && bytes > 0) times->bytes_per_second = mix(times->bytes_per_second, bytes / seconds, first);
    if (o->shortest > 0 && o->shortest < LAUNCH_CREDIBLE * times->launch_seconds)
        times->launch_seconds = mix(times->launch_seconds, o->shortest, first);
    times->runs++;
}

void fm_profile_learn_disk(fm_profile *profile, double rate) {
    if (!positive(rate)) return;
    profile->disk_rates[profile->disk_next] = rate;
    profile->disk_next = (profile->disk_next + 1) % FM_PROFILE_RATES;
    if (profile->disk_count < FM_PROFILE_RATES) profile->disk_count++;
}

double fm_profile_disk_rate(const fm_profile *profile) {
    double   sorted[FM_PROFILE_RATES];
    uint32_t count = profile->disk_count;
    if (!count) return 1e9;
    memcpy(sorted, profile->disk_rates, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, fm_by_value);
    return sorted[count / 2];
}

void fm_profile_describe(const fm_profile *profile, flashmem_layout layout, flashmem_memory_path path,
                         flashmem_device *out) {
    const fm_gpu_facts    *facts = &profile->facts;
    const fm_kernel_times *times = &profile->times[layout];
    flashmem_device_init(out);
    snprintf(out->name, sizeof out->name, "%s", facts->name[0] ? facts->name : "a device that has not run yet");
    out->layout = layout;
    out->memory_path = path;
    out->startup_seconds = profile->startup_seconds;
    out->launch_seconds = times->launch_seconds;
    memcpy(out->flops_per_second, times->flops_per_second, sizeof out->flops_per_second);
    out->bytes_per_second = out->load_bytes_per_second = times->bytes_per_second;
    out->disk_bytes_per_second = fm_profile_disk_rate(profile);
    out->convert_bytes_per_second = path == FLASHMEM_PATH_TEXTURE_COPY ? times->bytes_per_second / 2 : 0;
    out->memory_bytes = fm_memory_available();
    out->largest_allocation = facts->max_allocation;
    out->value_align = facts->base_align > 128 ? facts->base_align : 128;
    out->image_limit = (uint32_t)(facts->image_width < facts->image_height ? facts->image_width : facts->image_height);
    out->image_pitch = facts->image_pitch;
}
