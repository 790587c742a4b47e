/* Finds libOpenCL and its entry points. */
#include "run/gpu/opencl_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fm_cl          table;
static char           reason[512]; /* empty: loaded */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *open_library(void) {
    static const char *const names[] = { "libOpenCL.so.1", "libOpenCL.so", "/system/vendor/lib64/libOpenCL.so", NULL };
    const char              *given = getenv("FLASHMEM_OPENCL");
    if (given && *given) {
        void *library = dlopen(given, RTLD_NOW | RTLD_LOCAL);
        if (!library) snprintf(reason, sizeof reason, "FLASHMEM_OPENCL: %s", dlerror());
        return library;
    }
    for (const char *const *name = names; *name; name++) {
        void *library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    snprintf(reason, sizeof reason,
             "looked for libOpenCL.so.1 and libOpenCL.so and found neither; Debian and Ubuntu: "
             "apt install ocl-icd-libopencl1 and a driver, for CPUs pocl-opencl-icd");
    return NULL;
}

static void load(void) {
    void *library = open_library();
    if (!library) return;
#define FM_CL_SYMBOL(name)                           \
    *(void **)(&table.name) = dlsym(library, #name); \
    if (!table.name && !reason[0])                   \
        snprintf(reason, sizeof reason, "the OpenCL library has no " #name " (OpenCL 1.2 is needed)");
    FM_CL_FUNCTIONS(FM_CL_SYMBOL)
#undef FM_CL_SYMBOL
}

flashmem_status fm_cl_load(const fm_cl **out, flashmem_error *err) {
    pthread_once(&once, load);
    if (reason[0]) return fm_fail(err, FLASHMEM_DEVICE, "no OpenCL: %s", reason);
    *out = &table;
    return FLASHMEM_OK;
}

const char *fm_cl_error(cl_int code) {
    static const struct {
        cl_int      code;
        const char *name;
    } names[] = {
#define NAME(code) { code, #code }
        NAME(CL_DEVICE_NOT_FOUND),
        NAME(CL_DEVICE_NOT_AVAILABLE),
        NAME(CL_COMPILER_NOT_AVAILABLE),
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE),
        NAME(CL_OUT_OF_RESOURCES),
        NAME(CL_OUT_OF_HOST_MEMORY),
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE),
        NAME(CL_IMAGE_FORMAT_NOT_SUPPORTED),
        NAME(CL_BUILD_PROGRAM_FAILURE),
        NAME(CL_MAP_FAILURE),
        NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET),
        NAME(CL_COMPILE_PROGRAM_FAILURE),
        NAME(CL_DEVICE_PARTITION_FAILED),
        NAME(CL_INVALID_VALUE),
        NAME(CL_INVALID_DEVICE),
        NAME(CL_INVALID_CONTEXT),
        NAME(CL_INVALID_COMMAND_QUEUE),
        NAME(CL_INVALID_HOST_PTR),
        NAME(CL_INVALID_MEM_OBJECT),
        NAME(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR),
        NAME(CL_INVALID_IMAGE_SIZE),
        NAME(CL_INVALID_BINARY),
        NAME(CL_INVALID_BUILD_OPTIONS),
        NAME(CL_INVALID_PROGRAM),
        NAME(CL_INVALID_PROGRAM_EXECUTABLE),
        NAME(CL_INVALID_KERNEL_NAME),
        NAME(CL_INVALID_KERNEL),
        NAME(CL_INVALID_ARG_INDEX),
        NAME(CL_INVALID_ARG_VALUE),
        NAME(CL_INVALID_ARG_SIZE),
        NAME(CL_INVALID_KERNEL_ARGS),
        NAME(CL_INVALID_WORK_GROUP_SIZE),
        NAME(CL_INVALID_WORK_ITEM_SIZE),
        NAME(CL_INVALID_GLOBAL_OFFSET),
        NAME(CL_INVALID_EVENT),
        NAME(CL_INVALID_OPERATION),
        NAME(CL_INVALID_BUFFER_SIZE),
        NAME(CL_INVALID_GLOBAL_WORK_SIZE),
#undef NAME
        { -1001, "CL_PLATFORM_NOT_FOUND_KHR" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == code) return names[i].name;
    return "an OpenCL error";
}

flashmem_status fm_cl_fail(flashmem_error *err, cl_int code, const char *call, const char *subject) {
    bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
    return fm_fail(err, memory ? FLASHMEM_OUT_OF_MEMORY : FLASHMEM_DEVICE, "%s for %s: %s (%d)", call, subject,
                   fm_cl_error(code), (int)code);
}
