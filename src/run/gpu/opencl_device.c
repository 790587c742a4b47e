/* OpenCL devices: enumeration, choice, facts. */
#include "run/gpu/opencl_device.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PLATFORMS = 16, MOST_DEVICES = 32 };

void fm_gpu_default_facts(fm_gpu_facts *facts) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *facts = (fm_gpu_facts){
        .name = "not seen yet",
        .is_cpu = 1,
        .has_images = 1,
        .compute_units = cores > 0 ? (uint32_t)cores : 1,
        .base_align = 128,
        .image_pitch = 1,
        .host_coherent = 1,
        .image_width = 16384,
        .image_height = 16384,
        .max_allocation = UINT64_C(1) << 30,
    };
}

static void device_text(const fm_cl *cl, cl_device_id device, cl_device_info what, char *text, size_t bytes) {
    text[0] = '\0';
    cl->clGetDeviceInfo(device, what, bytes, text, NULL);
    text[bytes - 1] = '\0';
}

static uint64_t device_number(const fm_cl *cl, cl_device_id device, cl_device_info what, size_t bytes) {
    union {
        cl_uint  narrow;
        cl_ulong wide;
        size_t   size;
    } value = { 0 };
    if (cl->clGetDeviceInfo(device, what, bytes, &value, NULL) != CL_SUCCESS) return 0;
    return bytes == sizeof value.narrow ? value.narrow : value.wide;
}

static void learn_facts(fm_cl_device *d) {
    const fm_cl  *cl = d->cl;
    fm_gpu_facts *f = &d->facts;
    char          extensions[8192];
    *f = (fm_gpu_facts){ 0 };
    cl->clGetPlatformInfo(d->platform, CL_PLATFORM_NAME, sizeof f->platform - 1, f->platform, NULL);
    device_text(cl, d->device, CL_DEVICE_NAME, f->name, sizeof f->name);
    device_text(cl, d->device, CL_DEVICE_VERSION, f->version, sizeof f->version);
    device_text(cl, d->device, CL_DRIVER_VERSION, f->driver, sizeof f->driver);
    device_text(cl, d->device, CL_DEVICE_EXTENSIONS, extensions, sizeof extensions);
    uint64_t type = device_number(cl, d->device, CL_DEVICE_TYPE, sizeof(cl_device_type));
    f->is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    f->compute_units = (uint32_t)device_number(cl, d->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint));
    f->has_fp16 = strstr(extensions, "cl_khr_fp16") != NULL;
    f->has_images = device_number(cl, d->device, CL_DEVICE_IMAGE_SUPPORT, sizeof(cl_bool)) != 0;
    uint64_t bits = device_number(cl, d->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint));
    f->base_align = bits >= 8 ? (uint32_t)(bits / 8) : 128;
    f->image_width = device_number(cl, d->device, CL_DEVICE_IMAGE2D_MAX_WIDTH, sizeof(size_t));
    f->image_height = device_number(cl, d->device, CL_DEVICE_IMAGE2D_MAX_HEIGHT, sizeof(size_t));
    f->max_allocation = device_number(cl, d->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong));
    f->global_memory = device_number(cl, d->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong));
    d->quirks = fm_quirks_of(f);
    f->image_pitch = d->quirks & FM_QUIRK_IMAGE_PITCH_64 ? 64 : 1;
    f->host_coherent = (d->quirks & FM_QUIRK_HOST_COHERENT) != 0; /* others: tested once a queue exists */
}

/* Calls each for every device, cheapest description first; nonzero stops. */
static flashmem_status walk(int (*each)(void *user, fm_cl_device *device), void *user, flashmem_error *err) {
    fm_cl_device   d = { 0 };
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint        platform_count = 0;
    FM_TRY(fm_cl_load(&d.cl, err));
    cl_int code = d.cl->clGetPlatformIDs(MOST_PLATFORMS, platforms, &platform_count);
    if (code != CL_SUCCESS || platform_count == 0)
        return fm_fail(err, FLASHMEM_DEVICE,
                       "OpenCL is installed, but no platform (clGetPlatformIDs: %s); install a driver, "
                       "for CPUs pocl-opencl-icd",
                       code ? fm_cl_error(code) : "none");
    for (cl_uint p = 0; p < platform_count && p < MOST_PLATFORMS; p++) {
        cl_device_id devices[MOST_DEVICES];
        cl_uint      count = 0;
        if (d.cl->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MOST_DEVICES, devices, &count) != CL_SUCCESS)
            continue;
        for (cl_uint i = 0; i < count && i < MOST_DEVICES; i++) {
            d.platform = platforms[p];
            d.device = devices[i];
            if (each(user, &d)) return FLASHMEM_OK;
            d.number++;
        }
    }
    return d.number ? FLASHMEM_OK
                    : fm_fail(err, FLASHMEM_DEVICE, "OpenCL has %u platforms and no device", platform_count);
}

static bool contains(const char *text, const char *part) {
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (!part[i]) return true;
    }
    return !*part;
}

typedef struct choice {
    const char   *selector;
    bool          numbered;
    unsigned long number;
    fm_cl_device  found;
    bool          done;
    char          seen[640]; /* for the message */
} choice;

static int choose(void *user, fm_cl_device *device) {
    choice *c = user;
    learn_facts(device);
    bool fits = c->numbered
                    ? device->number == c->number
                    : contains(device->facts.name, c->selector) || contains(device->facts.platform, c->selector);
    if (fits) {
        c->found = *device;
        c->done = true;
        return 1;
    }
    size_t used = strlen(c->seen);
    snprintf(c->seen + used, sizeof c->seen - used, "%s%u '%s' (%s)", used ? ", " : "", device->number,
             device->facts.name, device->facts.platform);
    return 0;
}

static flashmem_status take_threads(fm_cl_device *d, uint32_t threads, flashmem_error *err) {
    if (threads == 0 || threads == d->facts.compute_units) return FLASHMEM_OK;
    if (!d->facts.is_cpu)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "threads are for CPU devices; '%s' is none", d->facts.name);
    if (threads > d->facts.compute_units)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%u threads, device '%s' has %u compute units", threads,
                       d->facts.name, d->facts.compute_units);
    cl_device_partition_property by_count[] = { CL_DEVICE_PARTITION_BY_COUNTS, (cl_device_partition_property)threads,
                                                CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0 };
    cl_device_id                 part = NULL;
    cl_uint                      count = 0;
    cl_int                       code = d->cl->clCreateSubDevices(d->device, by_count, 1, &part, &count);
    if (code != CL_SUCCESS)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "device '%s' cannot be limited to %u threads (clCreateSubDevices: %s)", d->facts.name, threads,
                       fm_cl_error(code));
    d->device = part;
    d->is_sub_device = true;
    d->facts.compute_units = threads;
    return FLASHMEM_OK;
}

flashmem_status fm_cl_device_find(fm_cl_device *out, const char *selector, uint32_t threads, flashmem_error *err) {
    choice c = { .selector = selector };
    if (*selector && strspn(selector, "0123456789") == strlen(selector)) {
        c.numbered = true;
        c.number = strtoul(selector, NULL, 10);
    }
    FM_TRY(walk(choose, &c, err));
    if (!c.done) return fm_fail(err, FLASHMEM_DEVICE, "no OpenCL device '%s'; there are: %s", selector, c.seen);
    *out = c.found;
    return take_threads(out, threads, err);
}

void fm_cl_device_release(fm_cl_device *d) {
    if (d->is_sub_device) d->cl->clReleaseDevice(d->device);
    d->is_sub_device = false;
}

typedef struct listing {
    int (*each)(void *user, uint32_t number, const fm_gpu_facts *facts);
    void *user;
} listing;

static int list_one(void *user, fm_cl_device *device) {
    const listing *l = user;
    learn_facts(device);
    return l->each(l->user, device->number, &device->facts);
}

flashmem_status fm_gpu_list_opencl(int (*each)(void *user, uint32_t number, const fm_gpu_facts *facts), void *user,
                                   flashmem_error *err) {
    listing l = { each, user };
    return walk(list_one, &l, err);
}

/* --- coherence ---------------------------------------------------------------------------------------------------- */

enum { TEST_BYTES = 64 << 10 };

static bool holds(const unsigned char *bytes, unsigned char value) {
    for (size_t i = 0; i < TEST_BYTES; i++)
        if (bytes[i] != value) return false;
    return true;
}

/* Host writes 1, device copies, host writes 2, device copies: the copy must hold 2.  Device fills 3: the host must see
 * it. */
static bool survives(const fm_cl *cl, cl_command_queue queue, cl_mem wrapped, cl_mem other, unsigned char *host) {
    static const unsigned char three = 3;
    unsigned char              back[TEST_BYTES];
    for (unsigned char value = 1; value <= 2; value++) {
        memset(host, value, TEST_BYTES);
        memset(back, 0, sizeof back);
        if (cl->clEnqueueCopyBuffer(queue, wrapped, other, 0, 0, TEST_BYTES, 0, NULL, NULL) != CL_SUCCESS ||
            cl->clEnqueueReadBuffer(queue, other, CL_TRUE, 0, TEST_BYTES, back, 0, NULL, NULL) != CL_SUCCESS ||
            !holds(back, value))
            return false;
    }
    return cl->clEnqueueFillBuffer(queue, wrapped, &three, 1, 0, TEST_BYTES, 0, NULL, NULL) == CL_SUCCESS &&
           cl->clFinish(queue) == CL_SUCCESS && holds(host, 3);
}

bool fm_cl_test_coherence(const fm_cl_device *d, cl_context context, cl_command_queue queue) {
    void  *host = NULL;
    cl_int code = CL_SUCCESS;
    if (!device_number(d->cl, d->device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_bool))) return false;
    if (posix_memalign(&host, 4096, TEST_BYTES) != 0) return false;
    cl_mem wrapped = d->cl->clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, TEST_BYTES, host, &code);
    cl_mem other = code == CL_SUCCESS ? d->cl->clCreateBuffer(context, CL_MEM_READ_WRITE, TEST_BYTES, NULL, &code)
                                      : NULL;
    bool   coherent = code == CL_SUCCESS && survives(d->cl, queue, wrapped, other, host);
    if (other) d->cl->clReleaseMemObject(other);
    if (wrapped) d->cl->clReleaseMemObject(wrapped);
    free(host);
    return coherent;
}
