/* Device profiles in the public interface: files, facts, predictions. */
#include "compile/profile/profile.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

void flashmem_profile_close(flashmem_profile *profile) {
    if (!profile) return;
    fm_device_profile_close(&profile->device);
    free(profile->samples.rows);
    free(profile->samples.loads);
    free(profile);
}

flashmem_status flashmem_profile_load(const char *path, flashmem_profile **out, flashmem_error *error) {
    fm_error_clear(error);
    *out = NULL;
    if (!path || !*path) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no path of a device profile");
    flashmem_profile *profile = calloc(1, sizeof *profile);
    if (!profile) return fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for a profile", path);
    flashmem_status status = fm_device_profile_load(path, &profile->device, error);
    if (status == FLASHMEM_OK) *out = profile;
    else flashmem_profile_close(profile);
    return status;
}

static json_t *features_array(const fm_step_features *f) {
    float   x[FM_FEATURES];
    json_t *array = json_array();
    fm_features_vector(f, 0, 0, x);
    for (int i = 0; i < FM_FEATURE_LOAD; i++) json_array_append_new(array, json_real((double)x[i]));
    return array;
}

/* For people and other programs: nothing of it is read back. */
static json_t *samples_object(const fm_samples *s, const char *load_path) {
    json_t *rows = json_array(), *sweeps = json_array();
    for (size_t i = 0; i < s->row_count; i++) {
        const fm_row_sample *row = &s->rows[i];
        json_array_append_new(rows, json_pack("{s:s,s:s,s:f,s:f,s:o}", "shape", row->name, "class",
                                              flashmem_cost_class_name(row->features.work.cost_class), "seconds",
                                              row->seconds, "held_out", row->held_out, "features",
                                              features_array(&row->features)));
    }
    for (size_t i = 0; i < s->load_count; i++) {
        const fm_load_sample *load = &s->loads[i];
        json_array_append_new(sweeps,
                              json_pack("{s:s,s:s,s:f,s:I,s:f,s:f}", "shape", load->name, "load_path", load_path,
                                        "alone_seconds", load->alone, "load_bytes", (json_int_t)load->load_bytes,
                                        "growth", load->growth, "held_out", load->held_out));
    }
    return json_pack("{s:o,s:o}", "rows", rows, "sweeps", sweeps);
}

flashmem_status flashmem_profile_save(const flashmem_profile *profile, const char *path, flashmem_error *error) {
    fm_error_clear(error);
    if (!path || !*path) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no path for the device profile");
    json_t *samples = profile->samples.row_count ? samples_object(&profile->samples, profile->device.load_path) : NULL;
    flashmem_status status = fm_device_profile_save(&profile->device, samples, path, error);
    json_decref(samples);
    return status;
}

flashmem_status flashmem_profile_path(const char *cache_dir, const char *device, uint32_t threads,
                                      flashmem_layout layout, flashmem_weights weights, char *path, size_t bytes,
                                      flashmem_error *error) {
    fm_error_clear(error);
    uint32_t facts[3] = { threads, (uint32_t)layout, (uint32_t)weights };
    uint64_t key = fm_hash_seeded(facts, sizeof facts, 0);
    if (device && *device) key = fm_hash_seeded(device, strlen(device), key);
    char           *folder = cache_dir ? strdup(cache_dir) : fm_file_cache_folder();
    flashmem_status status = FLASHMEM_OK;
    if (!folder) status = fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "no memory for the path of a device profile");
    else if (!*folder)
        status = fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no cache folder to keep a device profile in");
    else if (snprintf(path, bytes, "%s/profile-%016" PRIx64 ".json", folder, key) >= (int)bytes)
        status = fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "%s: the path is too long", folder);
    else status = fm_file_make_folders(folder, error);
    free(folder);
    return status;
}

static flashmem_profile_error public_error(const fm_profile_error *e) {
    return (flashmem_profile_error){ e->mean, e->most, e->samples };
}

void flashmem_profile_describe(const flashmem_profile *profile, flashmem_profile_info *out) {
    const fm_device_profile *p = &profile->device;
    *out = (flashmem_profile_info){
        .device = p->device,
        .platform = p->platform,
        .version = p->version,
        .driver = p->driver,
        .compute_units = p->compute_units,
        .threads = p->threads,
        .weights = p->weights,
        .full = p->full,
        .learnt = p->learnt,
        .current = p->kernels == fm_profile_kernels_key(),
        .gap_seconds = p->gap_seconds,
        .load_path = p->load_path,
        .least_share = p->least_share,
        .most_share = p->most_share,
        .time_error = public_error(&p->time_error),
        .growth_error = public_error(&p->growth_error),
    };
}

uint32_t flashmem_profile_rows(const flashmem_profile *profile, flashmem_profile_row *rows, uint32_t limit) {
    const fm_samples *s = &profile->samples;
    for (size_t i = 0; i < s->row_count && i < limit; i++) {
        const fm_row_sample *row = &s->rows[i];
        const fm_work       *work = &row->features.work;
        rows[i] = (flashmem_profile_row){
            .name = row->name,
            .cost_class = work->cost_class,
            .flops = work->flops,
            .bytes = work->bytes + work->weight_bytes,
            .seconds = row->seconds,
            .held_out = row->held_out,
            .capacity_bytes = fm_device_profile_capacity(&profile->device, &row->features,
                                                         fm_capacity_class_of(work->cost_class)),
        };
    }
    return (uint32_t)s->row_count;
}

uint32_t flashmem_profile_sweeps(const flashmem_profile *profile, flashmem_profile_sweep *sweeps, uint32_t limit) {
    const fm_samples *s = &profile->samples;
    for (size_t i = 0; i < s->load_count && i < limit; i++) {
        const fm_load_sample *load = &s->loads[i];
        sweeps[i] = (flashmem_profile_sweep){
            load->name,    load->features.work.cost_class, (uint64_t)load->load_bytes, load->alone, load->growth,
            load->held_out
        };
    }
    return (uint32_t)s->load_count;
}

/* ---- predictions ---- */

static void predict(const fm_device_profile *p, const fm_pack *pack, const fm_program *program,
                    const flashmem_step_time *time, flashmem_step_prediction *out) {
    fm_step_features features;
    *out = (flashmem_step_prediction){ .known = 0 };
    if (time->kind == FLASHMEM_STEP_CONVERSION ||
        !fm_step_features_of(&pack->packed, program, time->step, time->panels, &features))
        return;
    out->known = 1;
    out->cost_class = features.work.cost_class;
    out->capacity_class = fm_capacity_class_of(out->cost_class);
    out->seconds = fm_device_profile_kernel_seconds(p, &features);
    out->capacity_bytes = fm_device_profile_capacity(p, &features, out->capacity_class);
}

flashmem_status flashmem_profile_predict(const flashmem_profile *profile, const char *pack_path, uint32_t program,
                                         const flashmem_step_time *times, uint32_t count, flashmem_step_prediction *out,
                                         flashmem_error *error) {
    fm_pack pack;
    fm_error_clear(error);
    FM_TRY(fm_pack_open(&pack, pack_path, error));
    flashmem_status status = FLASHMEM_OK;
    if (program >= pack.program_count)
        status = fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "%s: program %u of %u", pack_path, program,
                         pack.program_count);
    for (uint32_t i = 0; i < count && status == FLASHMEM_OK; i++) {
        if (times[i].step < pack.programs[program].step_count)
            predict(&profile->device, &pack, &pack.programs[program], &times[i], &out[i]);
        else
            status = fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "%s: step %u of %u", pack_path, times[i].step,
                             pack.programs[program].step_count);
    }
    fm_pack_close(&pack);
    return status;
}
