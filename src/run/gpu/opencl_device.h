/* Choosing an OpenCL device and learning its facts.  Who may include: run. */
#ifndef FM_RUN_OPENCL_DEVICE_H
#define FM_RUN_OPENCL_DEVICE_H

#include "run/gpu/gpu.h"
#include "run/gpu/opencl_api.h"

typedef struct fm_cl_device {
    const fm_cl   *cl;
    cl_platform_id platform;
    cl_device_id   device;
    bool           is_sub_device; /* release it */
    uint32_t       number;
    uint32_t       quirks; /* FM_QUIRK_* */
    fm_gpu_facts   facts;
} fm_cl_device;

/* selector: "" the first, digits a number, else part of a name or platform, case ignored.  threads > 0: a sub-device of
 * that many compute units.  DEVICE: says what was looked for and what there is. */
flashmem_status fm_cl_device_find(fm_cl_device *out, const char *selector, uint32_t threads, flashmem_error *err);
void            fm_cl_device_release(fm_cl_device *device);

/* Whether the device, through a buffer over host memory, sees what the host writes after a command, and the host what
 * the device writes, without further commands. */
bool fm_cl_test_coherence(const fm_cl_device *device, cl_context context, cl_command_queue queue);

/* quirks.c: what devices do differently; rows of a table. */
#define FM_QUIRK_HOST_COHERENT  (1u << 0) /* kernels see host writes to wrapped memory and the reverse: no self-test */
#define FM_QUIRK_FLUSH_OFTEN    (1u << 1) /* nothing starts before a flush: flush every few launches */
#define FM_QUIRK_RETRY_BUILD    (1u << 2) /* builds fail under memory pressure: finish the queue and build again */
#define FM_QUIRK_IMAGE_PITCH_64 (1u << 3) /* image rows are padded to 64 texels */
#define FM_QUIRK_KEEP_CONTEXT   (1u << 4) /* the driver must not see its last context go: one stays for the process */
uint32_t fm_quirks_of(const fm_gpu_facts *facts);

#endif
