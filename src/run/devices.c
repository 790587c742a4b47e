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

flashmem_status flashmem_device_layout(const char *device, const char *cache_dir, flashmem_layout *layout,
                                       flashmem_error *error) {
    static const fm_log silent;
    fm_cl_device        found;
    fm_profile          profile;
    *layout = FLASHMEM_LAYOUT_CPU;
    if (device && strcmp(device, "null") == 0) return FLASHMEM_OK;
    char *folder = cache_dir ? NULL : fm_file_cache_folder();
    fm_profile_load(&profile, cache_dir ? cache_dir : folder ? folder : "", device ? device : "", 0, &silent);
    free(folder);
    if (!profile.seen) {
        FM_TRY(fm_cl_device_find(&found, device ? device : "", 0, error));
        profile.facts = found.facts;
        fm_cl_device_release(&found);
    }
    if (!profile.facts.is_cpu) *layout = FLASHMEM_LAYOUT_TEXTURE;
    return FLASHMEM_OK;
}
