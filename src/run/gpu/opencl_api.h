/* OpenCL through dlopen: the library needs no OpenCL at link time.  Who may include: run/gpu. */
#ifndef FM_RUN_OPENCL_API_H
#define FM_RUN_OPENCL_API_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <stdbool.h>

#include "base/error.h"

/* Every host call the engine makes; all of OpenCL 1.2. */
#define FM_CL_FUNCTIONS(X)                                                                                             \
    X(clGetPlatformIDs)                                                                                                \
    X(clGetPlatformInfo)                                                                                               \
    X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateSubDevices) X(clReleaseDevice) X(clCreateContext)                   \
        X(clRetainContext) X(clReleaseContext) X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clCreateBuffer)      \
            X(clCreateSubBuffer) X(clCreateImage) X(clReleaseMemObject) X(clCreateProgramWithSource)                   \
                X(clCreateProgramWithBinary) X(clBuildProgram) X(clGetProgramBuildInfo) X(clGetProgramInfo)            \
                    X(clReleaseProgram) X(clCreateKernel) X(clReleaseKernel) X(clGetKernelInfo) X(clSetKernelArg)      \
                        X(clEnqueueNDRangeKernel) X(clEnqueueCopyBuffer) X(clEnqueueFillBuffer) X(clEnqueueReadBuffer) \
                            X(clEnqueueWriteBuffer) X(clEnqueueCopyBufferToImage) X(clEnqueueWriteImage)               \
                                X(clSetEventCallback) X(clGetEventProfilingInfo) X(clReleaseEvent) X(clFlush)          \
                                    X(clFinish)

typedef struct fm_cl {
#define FM_CL_MEMBER(name) __typeof__(name) *name;
    FM_CL_FUNCTIONS(FM_CL_MEMBER)
#undef FM_CL_MEMBER
} fm_cl;

/* Loads the ICD loader once per process (FLASHMEM_OPENCL names another library); stays loaded.  DEVICE: says what was
 * looked for. */
flashmem_status fm_cl_load(const fm_cl **out, flashmem_error *err);
/* "CL_OUT_OF_RESOURCES"; static. */
const char *fm_cl_error(cl_int code);
/* DEVICE (memory codes: OUT_OF_MEMORY) with the call, what it was for and the code. */
flashmem_status fm_cl_fail(flashmem_error *err, cl_int code, const char *call, const char *subject);

#endif
