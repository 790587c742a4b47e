/* What devices there are, and which weight layout to compile for. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#include "run/gpu/opencl_device.h"
#include "run/model.h"

static void describe(uint32_t number, const fm_gpu_facts *facts, flashmem_device_info *info) {
    *info = (flashmem_device_info){
        .number = number,
        .is_cpu = facts->is_cpu,
        .compute_units = facts->compute_units,
        .has_fp16 = facts->has_fp16,
        .has_images = facts->has_images,
        .image_width = facts->image_width,
        .image_height = facts->image_height,
        .max_allocation = facts->max_allocation,
        .global_memory = facts->global_memory,
        .layout = facts->is_cpu ? FLASHMEM_LAYOUT_CPU : FLASHMEM_LAYOUT_TEXTURE,
        .memory_path = facts->is_cpu ? FLASHMEM_PATH_IN_PLACE : FLASHMEM_PATH_TEXTURE_COPY,
    };
    memcpy(info->platform, facts->platform, sizeof info->platform);
    memcpy(info->name, facts->name, sizeof info->name);
    memcpy(info->version, facts->version, sizeof info->version);
    memcpy(info->driver, facts->driver, sizeof info->driver);
}

typedef struct listing {
    int (*each)(void *user, const flashmem_device_info *info);
    void *user;
} listing;

static int list_one(void *user, uint32_t number, const fm_gpu_facts *facts) {
    const listing       *l = user;
    flashmem_device_info info;
    describe(number, facts, &info);
    return l->each(l->user, &info);
}

flashmem_status flashmem_devices(int (*each)(void *user, const flashmem_device_info *info), void *user,
                                 flashmem_error *error) {
    listing l = { each, user };
    return fm_gpu_list_opencl(list_one, &l, error);
}

/* What is remembered of a device, or what it says of itself now. */
static flashmem_status remember(const char *device, uint32_t threads, const char *cache_dir, fm_profile *profile,
                                flashmem_error *error) {
    static const fm_log silent;
    fm_cl_device        found;
    char               *folder = cache_dir ? NULL : fm_file_cache_folder();
    const char         *selector = device ? device : "";
    fm_profile_load(profile, cache_dir ? cache_dir : folder ? folder : "", selector, threads, &silent);
    free(folder);
    if (profile->seen || strcmp(selector, "null") == 0) return FLASHMEM_OK;
    FM_TRY(fm_cl_device_find(&found, selector, threads, error));
    fm_profile_meet(profile, &found.facts);
    fm_cl_device_release(&found);
    return FLASHMEM_OK;
}

flashmem_status flashmem_device_layout(const char *device, const char *cache_dir, flashmem_layout *layout,
                                       flashmem_error *error) {
    fm_profile profile;
    *layout = FLASHMEM_LAYOUT_CPU;
    if (device && strcmp(device, "null") == 0) return FLASHMEM_OK;
    FM_TRY(remember(device, 0, cache_dir, &profile, error));
    if (!profile.facts.is_cpu) *layout = FLASHMEM_LAYOUT_TEXTURE;
    return FLASHMEM_OK;
}

flashmem_status flashmem_device_describe(const char *device, uint32_t threads, const char *cache_dir,
                                         flashmem_layout layout, flashmem_device *out, flashmem_error *error) {
    fm_profile profile;
    if (layout != FLASHMEM_LAYOUT_CPU && layout != FLASHMEM_LAYOUT_TEXTURE)
        return fm_fail(error, FLASHMEM_UNSUPPORTED, "layout %d is not built yet: use cpu or texture", (int)layout);
    FM_TRY(remember(device, threads, cache_dir, &profile, error));
    fm_profile_describe(&profile, layout,
                        layout == FLASHMEM_LAYOUT_CPU ? FLASHMEM_PATH_IN_PLACE : FLASHMEM_PATH_TEXTURE_COPY, out);
    return FLASHMEM_OK;
}
