/* What the bare runtime costs: a context, a program, one launch of an empty kernel. */
#include <string.h>

#include "base/clock.h"
#include "run/gpu/opencl_device.h"

static flashmem_status launch_empty(const fm_cl_device *d, cl_context context, flashmem_error *err) {
    static const char *source = "__kernel void empty(void) {}";
    const size_t       one = 1;
    const fm_cl       *cl = d->cl;
    cl_int             code;
    cl_command_queue   queue = cl->clCreateCommandQueue(context, d->device, 0, &code);
    if (code) return fm_cl_fail(err, code, "clCreateCommandQueue", d->facts.name);
    cl_program program = cl->clCreateProgramWithSource(context, 1, &source, NULL, &code);
    if (!code) code = cl->clBuildProgram(program, 1, &d->device, "", NULL, NULL);
    cl_kernel kernel = code ? NULL : cl->clCreateKernel(program, "empty", &code);
    if (!code) code = cl->clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL);
    if (!code) code = cl->clFinish(queue);
    if (kernel) cl->clReleaseKernel(kernel);
    if (program) cl->clReleaseProgram(program);
    cl->clReleaseCommandQueue(queue);
    return code ? fm_cl_fail(err, code, "an empty kernel", d->facts.name) : FLASHMEM_OK;
}

flashmem_status flashmem_device_probe(const char *device, uint32_t threads, double *seconds, flashmem_error *error) {
    double       began = fm_clock_seconds();
    fm_cl_device found;
    cl_int       code;
    if (device && strcmp(device, "null") == 0) { /* no runtime, no cost */
        if (seconds) *seconds = 0;
        return FLASHMEM_OK;
    }
    FM_TRY(fm_cl_device_find(&found, device ? device : "", threads, error));
    cl_context      context = found.cl->clCreateContext(NULL, 1, &found.device, NULL, NULL, &code);
    flashmem_status status = code ? fm_cl_fail(error, code, "clCreateContext", found.facts.name)
                                  : launch_empty(&found, context, error);
    if (!code) found.cl->clReleaseContext(context);
    fm_cl_device_release(&found);
    if (seconds) *seconds = fm_clock_seconds() - began;
    return status;
}
