/* What a plan needs to know of a device: measured facts of the present one (flashmem_device_describe), a description of
 * another, or a device profile.  C99-clean; plain data. */
#ifndef FLASHMEM_DEVICE_H
#define FLASHMEM_DEVICE_H

#include "flashmem/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flashmem_memory_path {
    FLASHMEM_PATH_DEFAULT,      /* what the device and the pack's layout prefer */
    FLASHMEM_PATH_IN_PLACE,     /* disk -> the buffer the kernel reads */
    FLASHMEM_PATH_TEXTURE_COPY, /* disk -> staging slot -> image, copied between launches */
    FLASHMEM_PATH_TEXTURE_EMBEDDED,
    FLASHMEM_PATH_DMA
} flashmem_memory_path;

/* What kernel time depends on; one rate each.  Reusable: MATMUL (by a weight; splittable), CONV, BATCH_MATMUL (activations
 * only).  Hierarchical: ATTENTION, NORM (norms, softmax, reductions).  ELEMENTWISE: and data movement. */
#define FLASHMEM_COST_CLASS_LIST(X) \
    X(MATMUL, "matmul")             \
    X(CONV, "conv")                 \
    X(BATCH_MATMUL, "batch_matmul") \
    X(ATTENTION, "attention")       \
    X(NORM, "norm")                 \
    X(ELEMENTWISE, "elementwise")   \
    X(GATHER, "gather")
typedef enum flashmem_cost_class {
#define FLASHMEM_COST_CLASS_ENUM(name, text) FLASHMEM_COST_##name,
    FLASHMEM_COST_CLASS_LIST(FLASHMEM_COST_CLASS_ENUM)
#undef FLASHMEM_COST_CLASS_ENUM
    FLASHMEM_COST_CLASSES
} flashmem_cost_class;

/* What loading beside a kernel costs it; the published classes. */
typedef enum flashmem_capacity_class {
    FLASHMEM_CAPACITY_ELEMENTWISE,
    FLASHMEM_CAPACITY_REUSABLE,
    FLASHMEM_CAPACITY_HIERARCHICAL,
    FLASHMEM_CAPACITY_CLASSES
} flashmem_capacity_class;

/* A launch takes launch_seconds + max(flops / rate of its class, bytes / bytes_per_second); weight bytes count. */
typedef struct flashmem_device {
    size_t               size; /* sizeof(flashmem_device) */
    char                 name[256];
    flashmem_layout      layout;      /* weight layout it wants */
    flashmem_memory_path memory_path; /* IN_PLACE or TEXTURE_COPY */
    double   startup_seconds; /* before the first launch; reads go on meanwhile */
    double   launch_seconds;
    double   flops_per_second[FLASHMEM_COST_CLASSES];
    double   bytes_per_second;
    double   disk_bytes_per_second;
    double   request_seconds;         /* from a read's submission to its first byte; hidden while others are in flight */
    double   convert_bytes_per_second;/* staging slot to image; 0: in place, nothing is converted */
    double   check_bytes_per_second;  /* checksums of arriving bytes; 0: hidden */
    double   load_bytes_per_second;   /* of the path that a kernel loads by: capacity = growth * seconds * this */
    double   growth[FLASHMEM_CAPACITY_CLASSES]; /* latency a kernel may grow by for loading: 3, 0.2, 0 */
    uint64_t memory_bytes;            /* that a model may take; 0: not known */
    uint64_t largest_allocation;      /* 0: no limit */
    uint64_t value_align;             /* power of two, at least 128 */
    uint32_t image_limit;             /* largest side in texels; 0: no limit */
    uint32_t image_pitch;             /* row pitch alignment in texels */
    uint32_t read_depth, read_bytes;  /* reads in flight and their size; 0: chosen */
    double   idle_watts, compute_watts, disk_watts; /* idle always, the others while at work; 0: not known */
} flashmem_device;

/* A described device with nothing special about it: the published growth, 1 GB/s of disk, rates of one small CPU core. */
FLASHMEM_API void flashmem_device_init(flashmem_device *device);
/* "matmul"; static storage; "unknown" beyond the list. */
FLASHMEM_API const char *flashmem_cost_class_name(uint32_t cost_class);
/* INVALID_ARGUMENT names the field that is out of range (negative, not finite, alignment that is no power of two). */
FLASHMEM_API flashmem_status flashmem_device_check(const flashmem_device *device, flashmem_error *error);

#ifdef __cplusplus
}
#endif
#endif
