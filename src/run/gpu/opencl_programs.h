/* Device programs of one model: loaded from the cache, or built from the embedded sources, on a thread of their own in
 * order of first use, while the first objects are read.  Who may include: run/gpu. */
#ifndef FM_RUN_OPENCL_PROGRAMS_H
#define FM_RUN_OPENCL_PROGRAMS_H

#include "run/gpu/opencl_device.h"
#include "run/gpu/operands.h"

typedef struct fm_cl_programs fm_cl_programs;

/* Starts the thread.  Everything given outlives the programs.  gpu->cache_state and programs_ready are kept up. */
flashmem_status fm_cl_programs_open(fm_cl_programs **out, fm_gpu *gpu, const fm_cl_device *device, cl_context context,
                                    const fm_gpu_setup *setup, const fm_launch *launches, flashmem_error *err);
/* The kernel of a row of program->kernels; waits until it is built. */
flashmem_status fm_cl_programs_kernel(fm_cl_programs *programs, uint32_t kernel, cl_kernel *out, flashmem_error *err);
/* A complete run is over: saves in the background what the cache does not have. */
void fm_cl_programs_save(fm_cl_programs *programs);
void fm_cl_programs_close(fm_cl_programs *programs); /* NULL allowed; waits for the thread */

#endif
