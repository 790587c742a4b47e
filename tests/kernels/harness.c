/* The OpenCL side of kernel tests: builds programs, makes buffers and images, launches steps whole or in parts. */
#define CL_TARGET_OPENCL_VERSION 120
#include "tests/kernels/harness.h"

#include <CL/cl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/half.h"
#include "kernels/embedded.h"

enum { GUARD = 256, GUARD_BYTE = 0xA5, MAX_PROGRAMS = 256, MAX_PLATFORMS = 8, MAX_DEVICES = 16, MAX_INCLUDES = 16 };

typedef struct built {
    char      *key; /* source, newline, options */
    cl_program program;
} built;

struct fm_harness {
    cl_device_id     device;
    cl_context       context;
    cl_command_queue queue;
    char             name[256];
    uint32_t         bits;
    built            programs[MAX_PROGRAMS];
    uint32_t         program_count;
    double           build_seconds;
};

/* A value (or a slab of a weight) on the device; host is GUARD bytes, the data, GUARD bytes. */
typedef struct placed {
    unsigned char *host;
    size_t         bytes;
    cl_mem         buffer, image;
} placed;

#define CL_TRY(call, err, what)                                                                                \
    do {                                                                                                       \
        cl_int code_ = (call);                                                                                 \
        if (code_ != CL_SUCCESS) return fm_fail((err), FLASHMEM_DEVICE, "%s: OpenCL error %d", (what), code_); \
    } while (0)

static flashmem_status find_device(fm_harness *h, flashmem_error *err) {
    const char    *wanted = getenv("FLASHMEM_TEST_DEVICE");
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint        platform_count = 0;
    CL_TRY(clGetPlatformIDs(MAX_PLATFORMS, platforms, &platform_count), err, "clGetPlatformIDs");
    for (cl_uint p = 0; p < platform_count && p < MAX_PLATFORMS; p++) {
        cl_device_id devices[MAX_DEVICES];
        cl_uint      count = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &count) != CL_SUCCESS) continue;
        for (cl_uint d = 0; d < count && d < MAX_DEVICES; d++) {
            clGetDeviceInfo(devices[d], CL_DEVICE_NAME, sizeof h->name, h->name, NULL);
            if (wanted && *wanted && !strstr(h->name, wanted)) continue;
            h->device = devices[d];
            return FLASHMEM_OK;
        }
    }
    return fm_fail(err, FLASHMEM_DEVICE, "no OpenCL device%s%s", wanted ? " whose name contains " : "",
                   wanted ? wanted : "");
}

static void find_bits(fm_harness *h) {
    cl_device_type type = 0;
    cl_bool        images = CL_FALSE;
    char           extensions[16384] = "";
    clGetDeviceInfo(h->device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    clGetDeviceInfo(h->device, CL_DEVICE_IMAGE_SUPPORT, sizeof images, &images, NULL);
    clGetDeviceInfo(h->device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, NULL);
    h->bits = (type & CL_DEVICE_TYPE_CPU ? FM_DEVICE_CPU : 0) | (images ? FM_DEVICE_IMAGE : 0) |
              (strstr(extensions, "cl_khr_fp16") ? FM_DEVICE_HALF : 0);
}

flashmem_status fm_harness_open(fm_harness **out, flashmem_error *err) {
    fm_harness *h = *out = calloc(1, sizeof *h);
    cl_int      code = CL_SUCCESS;
    if (!h) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "kernel harness");
    FM_TRY(find_device(h, err));
    find_bits(h);
    h->context = clCreateContext(NULL, 1, &h->device, NULL, NULL, &code);
    CL_TRY(code, err, "clCreateContext");
    h->queue = clCreateCommandQueue(h->context, h->device, CL_QUEUE_PROFILING_ENABLE, &code);
    CL_TRY(code, err, "clCreateCommandQueue");
    return FLASHMEM_OK;
}

void fm_harness_close(fm_harness *h) {
    if (!h) return;
    for (uint32_t i = 0; i < h->program_count; i++) {
        clReleaseProgram(h->programs[i].program);
        free(h->programs[i].key);
    }
    if (h->queue) clReleaseCommandQueue(h->queue);
    if (h->context) clReleaseContext(h->context);
    free(h);
}

const char *fm_harness_device_name(const fm_harness *h) { return h->name; }
uint32_t    fm_harness_device_bits(const fm_harness *h) { return h->bits; }
double      fm_harness_build_seconds(const fm_harness *h) { return h->build_seconds; }
uint32_t    fm_harness_programs_built(const fm_harness *h) { return h->program_count; }

/* Source text with #include "x.clh" lines replaced by the file, each file once. */
typedef struct text {
    char       *data;
    size_t      bytes, capacity;
    const char *included[MAX_INCLUDES];
    uint32_t    included_count;
} text;

static void append(text *t, const char *data, size_t bytes) {
    while (t->bytes + bytes + 1 > t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 65536;
        t->data = realloc(t->data, t->capacity);
        if (!t->data) abort();
    }
    memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
    t->data[t->bytes] = 0;
}

static flashmem_status expand(text *t, const char *name, flashmem_error *err) {
    const fm_embedded_file *file = fm_embedded_find(name);
    if (!file) return fm_fail(err, FLASHMEM_INTERNAL, "kernel source %s is not embedded", name);
    for (uint32_t i = 0; i < t->included_count; i++)
        if (strcmp(t->included[i], file->name) == 0) return FLASHMEM_OK;
    if (t->included_count == MAX_INCLUDES) return fm_fail(err, FLASHMEM_INTERNAL, "%s: too many includes", name);
    t->included[t->included_count++] = file->name;
    const char *at = (const char *)file->data, *end = at + file->bytes;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t      bytes = line_end ? (size_t)(line_end - at) + 1 : (size_t)(end - at);
        char        included[128], line[256] = "";
        memcpy(line, at, bytes < sizeof line ? bytes : sizeof line - 1);
        if (sscanf(line, " #include \"%127[^\"]\"", included) == 1) FM_TRY(expand(t, included, err));
        else append(t, at, bytes);
        at += bytes;
    }
    return FLASHMEM_OK;
}

static flashmem_status build(fm_harness *h, const char *source, const char *options, cl_program *out,
                             flashmem_error *err) {
    char key[2048];
    snprintf(key, sizeof key, "%s\n%s", source, options);
    for (uint32_t i = 0; i < h->program_count; i++)
        if (strcmp(h->programs[i].key, key) == 0) return *out = h->programs[i].program, FLASHMEM_OK;
    if (h->program_count == MAX_PROGRAMS) return fm_fail(err, FLASHMEM_INTERNAL, "more than %d programs", MAX_PROGRAMS);
    text            t = { 0 };
    flashmem_status status = expand(&t, source, err);
    if (status != FLASHMEM_OK) return free(t.data), status;
    double      start = fm_clock_seconds();
    cl_int      code = CL_SUCCESS;
    const char *texts[1] = { t.data };
    cl_program  program = clCreateProgramWithSource(h->context, 1, texts, NULL, &code);
    if (code == CL_SUCCESS) code = clBuildProgram(program, 1, &h->device, options, NULL, NULL);
    free(t.data);
    if (code != CL_SUCCESS) {
        char   log[700] = "";
        size_t bytes = 0;
        if (program) clGetProgramBuildInfo(program, h->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
        char *whole = calloc(1, bytes + 1);
        if (program && whole) clGetProgramBuildInfo(program, h->device, CL_PROGRAM_BUILD_LOG, bytes, whole, NULL);
        if (whole) snprintf(log, sizeof log, "%s", whole);
        free(whole);
        if (program) clReleaseProgram(program);
        return fm_fail(err, FLASHMEM_DEVICE, "%s %s: OpenCL error %d: %s", source, options, code, log);
    }
    h->build_seconds += fm_clock_seconds() - start;
    h->programs[h->program_count++] = (built){ strdup(key), program };
    *out = program;
    return FLASHMEM_OK;
}

/* What one execution holds. */
typedef struct execution {
    fm_harness           *h;
    const fm_harness_run *run;
    const fm_program     *p;
    placed               *places; /* per value */
    placed                slab;   /* the split weight's part */
} execution;

static size_t value_bytes(const execution *e, uint32_t v) {
    const fm_value *value = &e->p->values[v];
    if (value->kind == FM_VALUE_WEIGHT && e->run->weights[value->weight].kind == FM_WEIGHT_PANELS)
        return e->run->weights[value->weight].panels * e->run->weights[value->weight].panel_bytes;
    return (size_t)fm_program_expr(e->p, value->bytes);
}

static void close_place(placed *place) {
    if (place->buffer) clReleaseMemObject(place->buffer);
    if (place->image) clReleaseMemObject(place->image);
    free(place->host);
    memset(place, 0, sizeof *place);
}

static flashmem_status open_place(fm_harness *h, placed *place, const void *from, size_t bytes, flashmem_error *err) {
    size_t huge = (size_t)2 << 20, align = bytes >= huge / 2 ? huge : 4096;
    size_t rounded = (bytes + GUARD + GUARD + align - 1) & ~(align - 1);
    cl_int code = CL_SUCCESS;
    place->host = aligned_alloc(align, rounded);
    place->bytes = bytes;
    if (!place->host) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "kernel harness: %zu bytes", bytes);
    if (align == huge) madvise(place->host, rounded, MADV_HUGEPAGE); /* as the engine's memory lies, where it can */
    memset(place->host, GUARD_BYTE, rounded);
    if (from) memcpy(place->host + GUARD, from, bytes);
    else memset(place->host + GUARD, 0, bytes);
    place->buffer = clCreateBuffer(h->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes ? bytes : 1,
                                   place->host + GUARD, &code);
    CL_TRY(code, err, "clCreateBuffer");
    return FLASHMEM_OK;
}

/* Rows are copied tight first: not every implementation honours a row pitch here. */
static flashmem_status open_image(fm_harness *h, placed *place, const fm_weight *weight, uint64_t panels,
                                  flashmem_error *err) {
    bool            half = weight->format == FM_WEIGHT_F16;
    size_t          row = (size_t)weight->k * (half ? 8 : 16);
    cl_int          code = CL_SUCCESS;
    cl_image_format format = { CL_RGBA, half ? CL_HALF_FLOAT : CL_FLOAT };
    cl_image_desc   desc = { .image_type = CL_MEM_OBJECT_IMAGE2D,
                             .image_width = (size_t)weight->k,
                             .image_height = (size_t)panels };
    unsigned char  *tight = malloc(row * (size_t)panels);
    if (!tight) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "kernel harness: an image");
    for (size_t panel = 0; panel < panels; panel++)
        memcpy(tight + panel * row, place->host + GUARD + panel * weight->panel_bytes, row);
    place->image = clCreateImage(h->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &format, &desc, tight, &code);
    free(tight);
    CL_TRY(code, err, "clCreateImage");
    return FLASHMEM_OK;
}

static const fm_weight *weight_of(const execution *e, uint32_t value) {
    return &e->run->weights[e->p->values[value].weight];
}

static flashmem_status open_values(execution *e, flashmem_error *err) {
    for (uint32_t v = 0; v < e->p->value_count; v++) {
        const fm_value *value = &e->p->values[v];
        const void     *from = e->run->data ? e->run->data[v] : NULL;
        if (value->kind == FM_VALUE_CONSTANT) from = e->p->blob + value->blob;
        FM_TRY(open_place(e->h, &e->places[v], from, value_bytes(e, v), err));
    }
    return FLASHMEM_OK;
}

static flashmem_status check_guards(const execution *e, flashmem_error *err) {
    for (uint32_t v = 0; v < e->p->value_count; v++)
        for (size_t i = 0; i < GUARD; i++)
            if (e->places[v].host[i] != GUARD_BYTE || e->places[v].host[GUARD + e->places[v].bytes + i] != GUARD_BYTE)
                return fm_fail(err, FLASHMEM_INTERNAL, "value %u (%s): a kernel wrote outside its %zu bytes", v,
                               fm_program_string(e->p, e->p->values[v].name), e->places[v].bytes);
    return FLASHMEM_OK;
}

static flashmem_status read_values(execution *e, flashmem_error *err) {
    for (uint32_t v = 0; v < e->p->value_count; v++) {
        size_t bytes = e->places[v].bytes;
        cl_int code = CL_SUCCESS;
        if (bytes == 0 || e->p->values[v].kind == FM_VALUE_WEIGHT || e->p->values[v].kind == FM_VALUE_CONSTANT)
            continue;
        void *mapped = clEnqueueMapBuffer(e->h->queue, e->places[v].buffer, CL_TRUE, CL_MAP_READ, 0, bytes, 0, NULL,
                                          NULL, &code);
        CL_TRY(code, err, "clEnqueueMapBuffer");
        if (e->run->data && e->run->data[v]) memcpy(e->run->data[v], mapped, bytes);
        CL_TRY(clEnqueueUnmapMemObject(e->h->queue, e->places[v].buffer, mapped, 0, NULL, NULL), err, "unmap");
    }
    CL_TRY(clFinish(e->h->queue), err, "clFinish");
    return FLASHMEM_OK;
}

/* Panels [first, first + panels) of the step's weight, or all. */
typedef struct panel_run {
    uint64_t first, panels;
} panel_run;

static flashmem_status set_args(execution *e, const fm_step *step, cl_kernel kernel, panel_run part,
                                flashmem_error *err) {
    for (uint32_t i = 0; i < step->arg_count; i++) {
        const fm_arg *arg = &e->p->args[step->first_arg + i];
        bool          split = step->split_value != FM_NONE && arg->value == step->split_value;
        placed       *place = NULL;
        cl_int        integer = 0;
        const void   *data = &integer;
        size_t        bytes = sizeof integer;
        switch ((fm_arg_kind)arg->kind) {
        case FM_ARG_READ:
        case FM_ARG_WRITE:
            place = split && e->slab.host ? &e->slab : &e->places[arg->value];
            data = &place->buffer, bytes = sizeof place->buffer;
            break;
        case FM_ARG_IMAGE:
            place = split && e->slab.host ? &e->slab : &e->places[arg->value];
            if (!place->image)
                FM_TRY(open_image(e->h, place, weight_of(e, arg->value),
                                  place == &e->slab ? part.panels : weight_of(e, arg->value)->panels, err));
            data = &place->image, bytes = sizeof place->image;
            break;
        case FM_ARG_INT:
            if (fm_program_expr(e->p, arg->value) != (cl_int)fm_program_expr(e->p, arg->value))
                return fm_fail(err, FLASHMEM_INTERNAL, "argument %u does not fit an int", i);
            integer = (cl_int)fm_program_expr(e->p, arg->value);
            break;
        case FM_ARG_FLOAT: data = &arg->value; break;
        case FM_ARG_FIRST_PANEL: integer = (cl_int)part.first; break;
        case FM_ARG_PANELS: integer = (cl_int)part.panels; break;
        }
        cl_int code = clSetKernelArg(kernel, i, bytes, data);
        if (code != CL_SUCCESS)
            return fm_fail(err, FLASHMEM_DEVICE, "step %s, argument %u: OpenCL error %d",
                           fm_program_string(e->p, step->name), i, code);
    }
    return FLASHMEM_OK;
}

static flashmem_status launch(execution *e, const fm_step *step, cl_kernel kernel, panel_run part, double *samples,
                              flashmem_error *err) {
    size_t global[3], local[3];
    FM_TRY(set_args(e, step, kernel, part, err));
    for (int d = 0; d < 3; d++) {
        global[d] = (size_t)fm_program_expr(e->p, step->global[d]);
        local[d] = step->local[d] == FM_NONE ? 0 : (size_t)fm_program_expr(e->p, step->local[d]);
    }
    if (step->split_value != FM_NONE)
        global[step->split_dim] = (part.panels + step->split_panels - 1) / step->split_panels * step->split_scale;
    for (uint32_t r = 0; r < (e->run->repeats ? e->run->repeats : 1); r++) {
        cl_event event = NULL;
        cl_ulong start = 0, end = 0;
        cl_int   code = clEnqueueNDRangeKernel(e->h->queue, kernel, 3, NULL, global, local[0] ? local : NULL, 0, NULL,
                                               &event);
        if (code != CL_SUCCESS)
            return fm_fail(err, FLASHMEM_DEVICE, "step %s: clEnqueueNDRangeKernel: OpenCL error %d",
                           fm_program_string(e->p, step->name), code);
        CL_TRY(clFinish(e->h->queue), err, "clFinish");
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
        if (samples) samples[r] += (double)(end - start) * 1e-9;
        clReleaseEvent(event);
    }
    return FLASHMEM_OK;
}

static flashmem_status launch_parts(execution *e, const fm_step *step, cl_kernel kernel, double *samples,
                                    flashmem_error *err) {
    const fm_weight *weight = weight_of(e, step->split_value);
    flashmem_status  status = FLASHMEM_OK;
    for (uint64_t first = 0; first < weight->panels && status == FLASHMEM_OK; first += e->run->part_panels) {
        uint64_t  left = weight->panels - first;
        panel_run part = { first, left < e->run->part_panels ? left : e->run->part_panels };
        status = open_place(e->h, &e->slab, e->places[step->split_value].host + GUARD + first * weight->panel_bytes,
                            (size_t)(part.panels * weight->panel_bytes), err);
        if (status == FLASHMEM_OK) status = launch(e, step, kernel, part, samples, err);
        close_place(&e->slab);
    }
    return status;
}

static flashmem_status execute_step(execution *e, const fm_step *step, double *samples, flashmem_error *err) {
    if (step->kind != FM_STEP_KERNEL) return fm_fail(err, FLASHMEM_UNSUPPORTED, "only kernel steps");
    const fm_kernel *k = &e->p->kernels[step->kernel];
    cl_program       program = NULL;
    cl_int           code = CL_SUCCESS;
    FM_TRY(build(e->h, fm_program_string(e->p, k->source), fm_program_string(e->p, k->options), &program, err));
    cl_kernel kernel = clCreateKernel(program, fm_program_string(e->p, k->entry), &code);
    if (code != CL_SUCCESS)
        return fm_fail(err, FLASHMEM_DEVICE, "no kernel %s in %s: OpenCL error %d", fm_program_string(e->p, k->entry),
                       fm_program_string(e->p, k->source), code);
    bool            split = step->split_value != FM_NONE;
    panel_run       all = { 0, split ? weight_of(e, step->split_value)->panels : 0 };
    flashmem_status status = split && e->run->part_panels ? launch_parts(e, step, kernel, samples, err)
                                                          : launch(e, step, kernel, all, samples, err);
    clReleaseKernel(kernel);
    return status;
}

flashmem_status fm_harness_execute(fm_harness *h, const fm_harness_run *run, flashmem_error *err) {
    execution       e = { .h = h, .run = run, .p = run->program };
    uint32_t        repeats = run->repeats ? run->repeats : 1;
    flashmem_status status;
    e.places = calloc(e.p->value_count + 1, sizeof *e.places);
    if (!e.places) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "kernel harness");
    if (run->samples) memset(run->samples, 0, sizeof(double) * e.p->step_count * repeats);
    FM_TRY_GOTO(open_values(&e, err));
    for (uint32_t s = 0; s < e.p->step_count; s++)
        FM_TRY_GOTO(execute_step(&e, &e.p->steps[s], run->samples ? run->samples + (size_t)s * repeats : NULL, err));
    FM_TRY_GOTO(read_values(&e, err));
    FM_TRY_GOTO(check_guards(&e, err));
cleanup:
    clFinish(h->queue);
    for (uint32_t v = 0; v < e.p->value_count; v++) close_place(&e.places[v]);
    free(e.places);
    return status;
}

void *fm_harness_pack(fm_weight *weight, flashmem_layout layout, fm_weight_format format, const float *matrix,
                      uint64_t k, uint64_t n, uint64_t padding) {
    uint64_t width = layout == FLASHMEM_LAYOUT_TEXTURE ? 4 : 16, element = format == FM_WEIGHT_F16 ? 2 : 4;
    *weight = (fm_weight){ .name = FM_NONE,
                           .kind = FM_WEIGHT_PANELS,
                           .format = format,
                           .k = k,
                           .n = n,
                           .panels = (n + width - 1) / width,
                           .panel_bytes = k * width * element + padding,
                           .unit_panels = 1 };
    weight->bytes = weight->panels * weight->panel_bytes;
    unsigned char *packed = aligned_alloc(64, (weight->bytes + 63) & ~(uint64_t)63);
    if (!packed) abort();
    memset(packed, 0, weight->bytes);
    for (uint64_t column = 0; column < n; column++)
        for (uint64_t row = 0; row < k; row++) {
            unsigned char *to = packed + column / width * weight->panel_bytes +
                                (row * width + column % width) * element;
            float    value = matrix[row * n + column];
            uint16_t half = fm_half_from_float(value);
            memcpy(to, element == 2 ? (const void *)&half : (const void *)&value, element);
        }
    return packed;
}

void fm_harness_fill(float *to, size_t count, uint32_t seed) {
    uint32_t state = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (float)(int32_t)(state & 0xFFFFFF00u) / 2147483648.0f;
    }
}

double fm_harness_error(const float *got, const float *want, size_t count) {
    double largest = 1e-30, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - (double)want[i]), size = fabs((double)want[i]);
        if (isnan(difference)) return INFINITY;
        if (size > largest) largest = size;
        if (difference > worst) worst = difference;
    }
    return worst / largest;
}
