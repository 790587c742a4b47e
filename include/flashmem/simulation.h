/* What a plan does on a device, as data: made by flashmem_simulate (planner.h).  C99-clean; plain read-only data, owned
 * by whoever made it.  Times are seconds from the start of the run. */
#ifndef FLASHMEM_SIMULATION_H
#define FLASHMEM_SIMULATION_H

#include "flashmem/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flashmem_simulated_step { /* one per launch of the plan */
    double start, end;
    double convert; /* conversions on the device right before start */
    double stall;   /* the device waited for bytes, before them */
} flashmem_simulated_step;

typedef struct flashmem_simulated_object { /* one per object of the plan */
    double request;              /* its first read is submitted: its memory is taken */
    double read_start, read_end; /* first and last byte on the way from the disk */
    double arrival;              /* all of it there and checked */
    double freed;                /* its memory is free; a resident's never: the end of the run */
} flashmem_simulated_object;

/* Bytes alive from this moment to the next point; images and staging are there all the time. */
typedef struct flashmem_memory_point {
    double   at;
    uint64_t objects, residents, activations;
} flashmem_memory_point;

typedef struct flashmem_simulation {
    const char *device;
    double      latency, stall;
    double      average_bytes; /* time-weighted, images and staging included */
    uint64_t    peak_bytes;    /* largest sum; the plan's peak also counts gaps between places */
    uint64_t    image_bytes, staging_bytes;
    uint64_t    read_bytes;    /* rows included */
    double      disk_seconds, check_seconds, convert_seconds, compute_seconds; /* each machine at work */
    double      limit;         /* max(bytes / disk rate, start-up + kernels): no schedule is faster */
    double      joules;        /* 0 where the device's watts are not known */
    uint32_t    step_count;    const flashmem_simulated_step   *steps;
    uint32_t    object_count;  const flashmem_simulated_object *objects;
    uint32_t    memory_count;  const flashmem_memory_point     *memory;
} flashmem_simulation;

#ifdef __cplusplus
}
#endif
#endif
