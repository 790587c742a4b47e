/* The quirk table: every row that matches a device adds its bits. */
#include <string.h>

#include "run/gpu/opencl_device.h"

typedef struct quirk_row {
    const char *platform, *name; /* parts of the device's; NULL: any */
    uint32_t    bits;
    const char *why;
} quirk_row;

static const quirk_row rows[] = {
    { "Portable Computing Language", NULL, FM_QUIRK_HOST_COHERENT | FM_QUIRK_KEEP_CONTEXT,
      "PoCL's CPU devices compute in the host's memory; with its last context its devices are taken down, and a worker "
      "may still be releasing the last event (seen in 3.1: a crash in POclReleaseEvent)" },
    { "Intel(R) OpenCL", "CPU", FM_QUIRK_HOST_COHERENT, "so does Intel's CPU runtime" },
    { "Intel(R) OpenCL", "Xeon", FM_QUIRK_HOST_COHERENT, "the same, named after the processor" },
    { "Intel(R) OpenCL", "Core", FM_QUIRK_HOST_COHERENT, "the same, named after the processor" },
    { "Oclgrind", NULL, 0, "a simulator with memory of its own" },
    { NULL, "Adreno", FM_QUIRK_RETRY_BUILD | FM_QUIRK_IMAGE_PITCH_64, "reported: builds fail under memory pressure" },
    { NULL, "Mali", FM_QUIRK_FLUSH_OFTEN, "reported: batches commands until a flush" },
};

uint32_t fm_quirks_of(const fm_gpu_facts *facts) {
    uint32_t bits = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].platform && !strstr(facts->platform, rows[i].platform)) continue;
        if (rows[i].name && !strstr(facts->name, rows[i].name)) continue;
        bits |= rows[i].bits;
    }
    return bits;
}
