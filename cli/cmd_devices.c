/* flashmem devices: OpenCL devices and how they would be used. */
#include <stdio.h>

#include "commands.h"
#include "console.h"

static int print_device(void *user, const flashmem_device_info *d) {
    static const char *const layouts[] = { "cpu", "texture", "gpu" };
    static const char *const paths[] = { "default", "in-place", "texture-copy", "texture-embedded", "dma" };
    (void)user;
    printf("%u  %s\n   platform %s, %s, driver %s\n   %u compute units, memory %.1f GB (largest allocation %.1f GB)\n"
           "   images %s",
           d->number, d->name, d->platform, d->version, d->driver, d->compute_units, (double)d->global_memory * 1e-9,
           (double)d->max_allocation * 1e-9, d->has_images ? "up to " : "none");
    if (d->has_images) printf("%llu x %llu", (unsigned long long)d->image_width, (unsigned long long)d->image_height);
    printf(", half arithmetic %s\n   layout %s, memory path %s\n", d->has_fp16 ? "yes" : "no", layouts[d->layout],
           paths[d->memory_path]);
    return 0;
}

int cmd_devices(const cli_options *options) {
    (void)options;
    flashmem_error error = { 0 };
    return flashmem_devices(print_device, NULL, &error) ? cli_fail(&error) : 0;
}
