/* Descriptions of devices: defaults and bounds. */
#include "flashmem/device.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

void flashmem_device_init(flashmem_device *device) {
    *device = (flashmem_device){
        .size = sizeof *device,
        .name = "described device",
        .layout = FLASHMEM_LAYOUT_CPU,
        .memory_path = FLASHMEM_PATH_IN_PLACE,
        .startup_seconds = 0.05,
        .launch_seconds = 6e-6,
        .bytes_per_second = 10e9,
        .disk_bytes_per_second = 1e9,
        .request_seconds = 2e-5,
        .load_bytes_per_second = 65e9, /* unified memory to texture, as published */
        .growth = { 3, 0.2, 0 },
        .value_align = 128,
        .image_pitch = 1,
    };
    static const double rates[FLASHMEM_COST_CLASSES] = { 60e9, 45e9, 20e9, 12e9, 2e9, 2e9, 2e9 };
    memcpy(device->flops_per_second, rates, sizeof rates);
}

const char *flashmem_cost_class_name(uint32_t cost_class) {
    static const char *const names[] = {
#define FM_NAME(name, text) text,
        FLASHMEM_COST_CLASS_LIST(FM_NAME)
#undef FM_NAME
    };
    return cost_class < FLASHMEM_COST_CLASSES ? names[cost_class] : "unknown";
}

typedef struct bound {
    const char *field;
    double      value, least;
} bound;

static flashmem_status check_numbers(const flashmem_device *d, flashmem_error *err) {
    const bound bounds[] = {
        { "startup_seconds", d->startup_seconds, 0 },
        { "launch_seconds", d->launch_seconds, 0 },
        { "bytes_per_second", d->bytes_per_second, 1 },
        { "disk_bytes_per_second", d->disk_bytes_per_second, 1 },
        { "request_seconds", d->request_seconds, 0 },
        { "convert_bytes_per_second", d->convert_bytes_per_second, 0 },
        { "check_bytes_per_second", d->check_bytes_per_second, 0 },
        { "load_bytes_per_second", d->load_bytes_per_second, 0 },
        { "growth of elementwise steps", d->growth[FLASHMEM_CAPACITY_ELEMENTWISE], 0 },
        { "growth of reusable steps", d->growth[FLASHMEM_CAPACITY_REUSABLE], 0 },
        { "growth of hierarchical steps", d->growth[FLASHMEM_CAPACITY_HIERARCHICAL], 0 },
        { "idle_watts", d->idle_watts, 0 },
        { "compute_watts", d->compute_watts, 0 },
        { "disk_watts", d->disk_watts, 0 },
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (!(bounds[i].value >= bounds[i].least && bounds[i].value <= 1e18)) /* false for NaN too */
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "device '%s': %s is %g, from %g to 1e18 is wanted", d->name,
                           bounds[i].field, bounds[i].value, bounds[i].least);
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++)
        if (!(d->flops_per_second[c] >= 0 && d->flops_per_second[c] <= 1e18))
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "device '%s': %s does %g operations per second", d->name,
                           flashmem_cost_class_name((uint32_t)c), d->flops_per_second[c]);
    return FLASHMEM_OK;
}

flashmem_status flashmem_device_check(const flashmem_device *d, flashmem_error *err) {
    if (d->size != sizeof *d)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "a device of %zu bytes: call flashmem_device_init", d->size);
    if (!memchr(d->name, 0, sizeof d->name))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "a device whose name does not end");
    FM_TRY(check_numbers(d, err));
    if ((unsigned)d->layout > FLASHMEM_LAYOUT_GPU || (unsigned)d->memory_path > FLASHMEM_PATH_DMA)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "device '%s': layout %d, memory path %d", d->name,
                       (int)d->layout, (int)d->memory_path);
    if (d->value_align < 128 || d->value_align > 1u << 20 || (d->value_align & (d->value_align - 1)))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "device '%s': values aligned to %llu bytes, a power of two from 128 to 1 MiB is wanted", d->name,
                       (unsigned long long)d->value_align);
    if (d->read_depth > 256 || d->read_bytes > 64u << 20 || d->read_bytes % 4096)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "device '%s': %u reads of %u bytes in flight: at most 256, multiples of 4096 up to 64 MiB", d->name,
                       d->read_depth, d->read_bytes);
    return FLASHMEM_OK;
}
