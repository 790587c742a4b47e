/* A device through OpenCL: one context, one in-order queue, the regions wrapped as host-pointer buffers.
 *
 *     region (host memory)  = parent buffer, CL_MEM_USE_HOST_PTR
 *     value, slab, bundled weight = sub-buffer of it, made at prepare; equal ranges share one
 *     input, bound output   = buffer over the caller's memory, made at bind
 *
 * Where the device does not see host writes by itself, writing a range to itself through the queue publishes it, and
 * reading it fetches it: the one use of host-pointer memory that OpenCL 1.2 defines without mapping.
 *
 * With FLASHMEM_SEPARATE_MEMORY set, any device is treated as one with memory of its own, filled with NaN: what should
 * have been published and was not shows in the results, on machines without such a device too. */
#include "run/gpu/gpu.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/gpu/opencl_device.h"
#include "run/gpu/opencl_programs.h"
#include "run/gpu/operands.h"

enum { FLUSH_EVERY = 4 }; /* launches, on devices that batch until a flush */

typedef struct opencl_gpu opencl_gpu;
typedef struct notice {
    opencl_gpu *gpu;
    uint64_t    ended;
} notice;

struct opencl_gpu {
    fm_gpu              gpu;
    fm_cl_device        device;
    const fm_cl        *cl;
    cl_context          context;
    cl_command_queue    queue;
    const fm_log       *log;
    const fm_gpu_setup *setup;
    fm_arena           *arena;
    fm_launch          *launches;
    uint32_t            slots;
    cl_mem             *regions;
    cl_mem             *buffers; /* per slot; NULL for bound values */
    cl_mem             *bound;   /* per value; with the memory it wraps */
    char              **bound_host;
    cl_mem             *images; /* per pool image */
    fm_cl_programs     *programs;
    cl_event           *events;     /* per step, then per conversion: of this run, or NULL */
    notice             *notices;    /* per step */
    uint32_t            callbacks;  /* registered and not yet called */
    pthread_mutex_t     mutex;      /* of callbacks */
    pthread_cond_t      idle;       /* they fell to 0 */
    uint32_t            clock_step; /* first launch of this run: relates the device's clock to ours */
    bool                clock_known;
    uint64_t            clock_host, clock_offset;
    uint32_t            unflushed;
    bool                separate_memory; /* FLASHMEM_SEPARATE_MEMORY: as if the device did not see the host's */
};

static opencl_gpu *of(fm_gpu *gpu) { return (opencl_gpu *)gpu; }

static const char *launch_name(const opencl_gpu *g, uint32_t k) {
    const fm_program *p = g->setup->program;
    return fm_program_string(p, p->steps[g->setup->replay->steps[k].step].name);
}

/* --- prepare ------------------------------------------------------------------------------------------------------ */

/* Memory of the device's own where asked for: whatever is not published then stays NaN. */
static flashmem_status separate(opencl_gpu *g, uint64_t bytes, const char *what, cl_mem *out, flashmem_error *err) {
    static const cl_uint never_published = UINT32_MAX;
    cl_int               code = CL_SUCCESS;
    uint64_t             whole = (bytes + 3) / 4 * 4;
    *out = g->cl->clCreateBuffer(g->context, CL_MEM_READ_WRITE, whole, NULL, &code);
    if (code == CL_SUCCESS)
        code = g->cl->clEnqueueFillBuffer(g->queue, *out, &never_published, sizeof never_published, 0, whole, 0, NULL,
                                          NULL);
    return code == CL_SUCCESS ? FLASHMEM_OK : fm_cl_fail(err, code, "clCreateBuffer", what);
}

static flashmem_status wrap(opencl_gpu *g, void *memory, uint64_t bytes, const char *what, cl_mem *out,
                            flashmem_error *err) {
    cl_int code = CL_SUCCESS;
    if (g->separate_memory) return separate(g, bytes, what, out, err);
    *out = g->cl->clCreateBuffer(g->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, memory, &code);
    return code == CL_SUCCESS ? FLASHMEM_OK : fm_cl_fail(err, code, "clCreateBuffer", what);
}

static flashmem_status make_sub_buffer(opencl_gpu *g, const fm_operand *o, flashmem_error *err) {
    cl_buffer_region range = { o->offset, o->bytes };
    cl_int           code = CL_SUCCESS;
    char             what[96];
    if (o->kind != FM_OPERAND_MEMORY || o->region == FM_NONE || g->buffers[o->slot]) return FLASHMEM_OK;
    g->buffers[o->slot] = g->cl->clCreateSubBuffer(g->regions[o->region], CL_MEM_READ_WRITE,
                                                   CL_BUFFER_CREATE_TYPE_REGION, &range, &code);
    if (code == CL_SUCCESS) return FLASHMEM_OK;
    snprintf(what, sizeof what, "bytes %" PRIu64 "+%" PRIu64 " of region %u", o->offset, o->bytes, o->region);
    return fm_cl_fail(err, code, "clCreateSubBuffer", what);
}

static flashmem_status make_image(opencl_gpu *g, const fm_replay_pool_image *pool, cl_mem *out, flashmem_error *err) {
    cl_image_format format = { CL_RGBA, pool->half ? CL_HALF_FLOAT : CL_FLOAT };
    cl_image_desc   desc = { .image_type = CL_MEM_OBJECT_IMAGE2D,
                             .image_width = pool->width,
                             .image_height = pool->height };
    cl_int          code = CL_SUCCESS;
    char            what[96];
    *out = g->cl->clCreateImage(g->context, CL_MEM_READ_ONLY, &format, &desc, NULL, &code);
    if (code == CL_SUCCESS) return FLASHMEM_OK;
    snprintf(what, sizeof what, "an image of %u x %u %s texels", pool->width, pool->height,
             pool->half ? "half4" : "float4");
    return fm_cl_fail(err, code, "clCreateImage", what);
}

/* Where the program leaves the local size to us: CPUs run one work-group after the other, of as many items as divide the
 * first dimension; the same few sizes every time, so that the driver's specialised code is found again. */
static void choose_local_sizes(opencl_gpu *g) {
    for (uint32_t k = 0; k < g->setup->replay->step_count; k++) {
        fm_launch *launch = &g->launches[k];
        if (launch->kernel == FM_NONE || launch->local[0] || !g->gpu.facts.is_cpu) continue;
        size_t items = 64;
        while (launch->global[0] % items) items /= 2;
        launch->local[0] = items;
        launch->local[1] = launch->local[2] = 1;
    }
}

static void allocate_tables(opencl_gpu *g) {
    const fm_replay *r = g->setup->replay;
    g->regions = fm_arena_array(g->arena, r->region_count, sizeof *g->regions);
    g->buffers = fm_arena_array(g->arena, g->slots, sizeof *g->buffers);
    g->bound = fm_arena_array(g->arena, g->setup->program->value_count, sizeof *g->bound);
    g->bound_host = fm_arena_array(g->arena, g->setup->program->value_count, sizeof *g->bound_host);
    g->images = fm_arena_array(g->arena, r->pool_count, sizeof *g->images);
    g->events = fm_arena_array(g->arena, (size_t)r->step_count + r->convert_count, sizeof *g->events);
    g->notices = fm_arena_array(g->arena, r->step_count, sizeof *g->notices);
}

static flashmem_status opencl_prepare(fm_gpu *gpu, const fm_gpu_setup *setup, flashmem_error *err) {
    opencl_gpu      *g = of(gpu);
    const fm_replay *r = setup->replay;
    g->setup = setup;
    g->arena = fm_arena_create();
    if (!g->arena || fm_arena_trap(g->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the device's tables");
    FM_TRY(fm_launches_make(setup, g->arena, &g->launches, &g->slots, err));
    choose_local_sizes(g);
    FM_TRY(fm_cl_programs_open(&g->programs, gpu, &g->device, g->context, setup, g->launches, err));
    allocate_tables(g);
    for (uint32_t i = 0; i < r->region_count; i++)
        FM_TRY(wrap(g, setup->regions[i], r->region_bytes[i], "a region", &g->regions[i], err));
    for (uint32_t k = 0; k < r->step_count; k++)
        for (uint32_t a = 0; a < g->launches[k].count; a++)
            FM_TRY(make_sub_buffer(g, &g->launches[k].operands[a], err));
    for (uint32_t i = 0; i < r->pool_count; i++) FM_TRY(make_image(g, &r->pool[i], &g->images[i], err));
    return FLASHMEM_OK;
}

static flashmem_status opencl_bind(fm_gpu *gpu, uint32_t value, void *data, uint64_t bytes, flashmem_error *err) {
    opencl_gpu *g = of(gpu);
    if (g->bound[value]) g->cl->clReleaseMemObject(g->bound[value]);
    g->bound[value] = NULL;
    g->bound_host[value] = data;
    return wrap(g, data, bytes, "memory bound by the caller", &g->bound[value], err);
}

/* --- host and device see each other's writes ---------------------------------------------------------------------- */

static flashmem_status publish_range(opencl_gpu *g, cl_mem buffer, uint64_t offset, uint64_t bytes, const void *host,
                                     flashmem_error *err) {
    cl_int code = g->cl->clEnqueueWriteBuffer(g->queue, buffer, CL_FALSE, offset, bytes, host, 0, NULL, NULL);
    return code == CL_SUCCESS ? FLASHMEM_OK
                              : fm_cl_fail(err, code, "clEnqueueWriteBuffer", "bytes written by the host");
}

static flashmem_status opencl_publish(fm_gpu *gpu, uint32_t region, uint64_t offset, uint64_t bytes,
                                      flashmem_error *err) {
    opencl_gpu *g = of(gpu);
    if (gpu->facts.host_coherent) return FLASHMEM_OK;
    return publish_range(g, g->regions[region], offset, bytes, g->setup->regions[region] + offset, err);
}

typedef struct place {
    cl_mem   buffer;
    uint64_t offset, bytes;
    char    *host;
} place;

static place place_of(const opencl_gpu *g, uint32_t value) {
    const fm_replay_value *placed = &g->setup->replay->values[value];
    uint64_t               bytes = (uint64_t)fm_program_expr(g->setup->program, g->setup->program->values[value].bytes);
    if (!placed->placed) return (place){ g->bound[value], 0, bytes, g->bound_host[value] };
    return (place){ g->regions[placed->region], placed->offset, bytes,
                    g->setup->regions[placed->region] + placed->offset };
}

static flashmem_status opencl_publish_value(fm_gpu *gpu, uint32_t value, flashmem_error *err) {
    if (gpu->facts.host_coherent) return FLASHMEM_OK;
    place p = place_of(of(gpu), value);
    return publish_range(of(gpu), p.buffer, p.offset, p.bytes, p.host, err);
}

static flashmem_status opencl_fetch_value(fm_gpu *gpu, uint32_t value, flashmem_error *err) {
    opencl_gpu *g = of(gpu);
    if (gpu->facts.host_coherent) return FLASHMEM_OK;
    place  p = place_of(g, value);
    cl_int code = g->cl->clEnqueueReadBuffer(g->queue, p.buffer, CL_TRUE, p.offset, p.bytes, p.host, 0, NULL, NULL);
    return code == CL_SUCCESS ? FLASHMEM_OK : fm_cl_fail(err, code, "clEnqueueReadBuffer", "bytes wanted by the host");
}

/* --- launches ----------------------------------------------------------------------------------------------------- */

static flashmem_status opencl_convert(fm_gpu *gpu, uint32_t row, flashmem_error *err) {
    opencl_gpu              *g = of(gpu);
    const fm_replay         *r = g->setup->replay;
    const fm_replay_convert *convert = &r->converts[row];
    const fm_replay_image   *image = &r->images[convert->image];
    const fm_replay_object  *object = &r->objects[image->object];
    const fm_weight         *weight = &g->setup->pack->packed.weights[image->weight];
    uint64_t                 from = object->place + image->source + convert->first_panel * weight->panel_bytes;
    size_t    origin[3] = { 0, convert->first_panel, 0 }, size[3] = { (size_t)weight->k, convert->panels, 1 };
    cl_event *event = &g->events[r->step_count + row];
    cl_int    code;
    if (gpu->facts.host_coherent)
        code = g->cl->clEnqueueCopyBufferToImage(g->queue, g->regions[object->region], g->images[image->image], from,
                                                 origin, size, 0, NULL, event);
    else
        code = g->cl->clEnqueueWriteImage(g->queue, g->images[image->image], CL_FALSE, origin, size, 0, 0,
                                          g->setup->regions[object->region] + from, 0, NULL, event);
    return code == CL_SUCCESS ? FLASHMEM_OK : fm_cl_fail(err, code, "copy to an image", "a weight");
}

static void CL_CALLBACK ended(cl_event event, cl_int status, void *user) {
    notice      *n = user;
    opencl_gpu  *g = n->gpu;
    fm_progress *progress = g->setup->progress;
    (void)event;
    if (status < 0) {
        flashmem_error error = { 0 };
        fm_fail(&error, FLASHMEM_DEVICE, "launch %u ('%s') on '%s': %s (%d)", (unsigned)(n - g->notices),
                launch_name(g, (uint32_t)(n - g->notices)), g->gpu.facts.name, fm_cl_error(status), (int)status);
        fm_progress_fail(progress, &error);
    }
    fm_progress_completed(progress, n->ended);
    pthread_mutex_lock(&g->mutex);
    if (--g->callbacks == 0) pthread_cond_signal(&g->idle);
    pthread_mutex_unlock(&g->mutex);
}

static flashmem_status set_arguments(opencl_gpu *g, uint32_t k, cl_kernel kernel, flashmem_error *err) {
    const fm_launch *launch = &g->launches[k];
    for (uint32_t a = 0; a < launch->count; a++) {
        const fm_operand *o = &launch->operands[a];
        cl_int            code = CL_SUCCESS;
        switch ((fm_operand_kind)o->kind) {
        case FM_OPERAND_MEMORY: {
            const cl_mem *buffer = o->region == FM_NONE ? &g->bound[o->value] : &g->buffers[o->slot];
            code = g->cl->clSetKernelArg(kernel, a, sizeof *buffer, buffer);
            break;
        }
        case FM_OPERAND_IMAGE:
            code = g->cl->clSetKernelArg(kernel, a, sizeof(cl_mem),
                                         &g->images[g->setup->replay->images[o->image].image]);
            break;
        case FM_OPERAND_INT: code = g->cl->clSetKernelArg(kernel, a, sizeof o->number, &o->number); break;
        case FM_OPERAND_FLOAT: code = g->cl->clSetKernelArg(kernel, a, sizeof o->real, &o->real); break;
        }
        if (code != CL_SUCCESS)
            return fm_fail(err, FLASHMEM_DEVICE, "launch %u ('%s'): argument %u: %s (%d)", k, launch_name(g, k), a,
                           fm_cl_error(code), (int)code);
    }
    return FLASHMEM_OK;
}

static flashmem_status notify_end(opencl_gpu *g, uint32_t k, uint64_t count, flashmem_error *err) {
    g->notices[k] = (notice){ g, count };
    pthread_mutex_lock(&g->mutex);
    g->callbacks++;
    pthread_mutex_unlock(&g->mutex);
    cl_int code = g->cl->clSetEventCallback(g->events[k], CL_COMPLETE, ended, &g->notices[k]);
    if (code == CL_SUCCESS) return FLASHMEM_OK;
    pthread_mutex_lock(&g->mutex);
    g->callbacks--;
    pthread_mutex_unlock(&g->mutex);
    return fm_cl_fail(err, code, "clSetEventCallback", launch_name(g, k));
}

static flashmem_status opencl_flush(fm_gpu *gpu, flashmem_error *err) {
    opencl_gpu *g = of(gpu);
    g->unflushed = 0;
    cl_int code = g->cl->clFlush(g->queue);
    return code == CL_SUCCESS ? FLASHMEM_OK : fm_cl_fail(err, code, "clFlush", g->gpu.facts.name);
}

static flashmem_status opencl_launch(fm_gpu *gpu, uint32_t k, bool notify, uint64_t count, flashmem_error *err) {
    opencl_gpu      *g = of(gpu);
    const fm_launch *launch = &g->launches[k];
    cl_kernel        kernel;
    FM_TRY(fm_cl_programs_kernel(g->programs, launch->kernel, &kernel, err));
    FM_TRY(set_arguments(g, k, kernel, err));
    if (g->clock_step == FM_NONE) {
        g->clock_step = k;
        g->clock_host = fm_clock_ns();
    }
    cl_int code = g->cl->clEnqueueNDRangeKernel(g->queue, kernel, 3, NULL, launch->global,
                                                launch->local[0] ? launch->local : NULL, 0, NULL, &g->events[k]);
    if (code != CL_SUCCESS)
        return fm_fail(err, FLASHMEM_DEVICE, "launch %u ('%s') of %zu x %zu x %zu on '%s': %s (%d)", k,
                       launch_name(g, k), launch->global[0], launch->global[1], launch->global[2], gpu->facts.name,
                       fm_cl_error(code), (int)code);
    if (notify) {
        FM_TRY(notify_end(g, k, count, err));
        return opencl_flush(gpu, err);
    }
    if (g->device.quirks & FM_QUIRK_FLUSH_OFTEN && ++g->unflushed >= FLUSH_EVERY) return opencl_flush(gpu, err);
    return FLASHMEM_OK;
}

/* Callbacks may come after clFinish returns. */
static void opencl_drain(fm_gpu *gpu) {
    opencl_gpu *g = of(gpu);
    if (!g->queue) return;
    g->cl->clFinish(g->queue);
    pthread_mutex_lock(&g->mutex);
    while (g->callbacks) pthread_cond_wait(&g->idle, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

/* --- after a run -------------------------------------------------------------------------------------------------- */

/* The device's clock is related to the host's where the first launch was queued. */
static bool event_times(opencl_gpu *g, cl_event event, uint64_t *begin, uint64_t *end) {
    cl_ulong queued = 0, from = 0, to = 0;
    if (!event || g->clock_step == FM_NONE) return false;
    if (!g->clock_known) {
        if (g->cl->clGetEventProfilingInfo(g->events[g->clock_step], CL_PROFILING_COMMAND_QUEUED, sizeof queued,
                                           &queued, NULL) != CL_SUCCESS)
            return false;
        g->clock_offset = g->clock_host - queued;
        g->clock_known = true;
    }
    if (g->cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof from, &from, NULL) != CL_SUCCESS ||
        g->cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof to, &to, NULL) != CL_SUCCESS)
        return false;
    *begin = from + g->clock_offset;
    *end = to + g->clock_offset;
    return true;
}

static bool opencl_step_times(fm_gpu *gpu, uint32_t k, uint64_t *begin, uint64_t *end) {
    return event_times(of(gpu), of(gpu)->events[k], begin, end);
}

static bool opencl_convert_times(fm_gpu *gpu, uint32_t row, uint64_t *begin, uint64_t *end) {
    return event_times(of(gpu), of(gpu)->events[of(gpu)->setup->replay->step_count + row], begin, end);
}

static void release_events(opencl_gpu *g) {
    if (!g->events) return;
    for (size_t i = 0; i < (size_t)g->setup->replay->step_count + g->setup->replay->convert_count; i++) {
        if (g->events[i]) g->cl->clReleaseEvent(g->events[i]);
        g->events[i] = NULL;
    }
    g->clock_step = FM_NONE;
    g->clock_known = false;
}

static void opencl_end_run(fm_gpu *gpu, bool complete) {
    release_events(of(gpu));
    if (complete) fm_cl_programs_save(of(gpu)->programs);
}

/* The youngest first: NVIDIA's driver (580.159) crashes when many sub-buffers are released in the order they were made. */
static void release_buffers(const opencl_gpu *g, cl_mem *buffers, uint32_t count) {
    for (uint32_t i = count; buffers && i-- > 0;)
        if (buffers[i]) g->cl->clReleaseMemObject(buffers[i]);
}

static void opencl_close(fm_gpu *gpu) {
    opencl_gpu *g = of(gpu);
    opencl_drain(gpu);
    fm_cl_programs_close(g->programs);
    if (g->setup) {
        release_events(g);
        release_buffers(g, g->buffers, g->slots);
        release_buffers(g, g->bound, g->bound ? g->setup->program->value_count : 0);
        release_buffers(g, g->images, g->images ? g->setup->replay->pool_count : 0);
        release_buffers(g, g->regions, g->regions ? g->setup->replay->region_count : 0);
    }
    if (g->queue) g->cl->clReleaseCommandQueue(g->queue);
    if (g->context) g->cl->clReleaseContext(g->context);
    fm_cl_device_release(&g->device);
    fm_arena_destroy(g->arena);
    pthread_cond_destroy(&g->idle);
    pthread_mutex_destroy(&g->mutex);
    free(g);
}

static const fm_gpu_ops opencl_ops = {
    .prepare = opencl_prepare,
    .bind = opencl_bind,
    .publish = opencl_publish,
    .publish_value = opencl_publish_value,
    .fetch_value = opencl_fetch_value,
    .convert = opencl_convert,
    .launch = opencl_launch,
    .flush = opencl_flush,
    .drain = opencl_drain,
    .step_times = opencl_step_times,
    .convert_times = opencl_convert_times,
    .end_run = opencl_end_run,
    .close = opencl_close,
};

/* A reference more than is ever given back, once in a process. */
static void keep_context(const opencl_gpu *g) {
    static atomic_flag kept = ATOMIC_FLAG_INIT;
    if (g->device.quirks & FM_QUIRK_KEEP_CONTEXT && !atomic_flag_test_and_set(&kept))
        g->cl->clRetainContext(g->context);
}

flashmem_status fm_gpu_open_opencl(fm_gpu **out, const char *selector, uint32_t threads, const fm_log *log,
                                   flashmem_error *err) {
    opencl_gpu *g = calloc(1, sizeof *g);
    cl_int      code = CL_SUCCESS;
    *out = NULL;
    if (!g) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for a device");
    g->gpu.ops = &opencl_ops;
    g->log = log;
    g->clock_step = FM_NONE;
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->idle, NULL);
    flashmem_status status = fm_cl_device_find(&g->device, selector, threads, err);
    if (status != FLASHMEM_OK) goto failed;
    g->cl = g->device.cl;
    g->context = g->cl->clCreateContext(NULL, 1, &g->device.device, NULL, NULL, &code);
    if (code == CL_SUCCESS)
        g->queue = g->cl->clCreateCommandQueue(g->context, g->device.device, CL_QUEUE_PROFILING_ENABLE, &code);
    if (code != CL_SUCCESS) {
        status = fm_cl_fail(err, code, g->context ? "clCreateCommandQueue" : "clCreateContext", g->device.facts.name);
        goto failed;
    }
    g->separate_memory = getenv("FLASHMEM_SEPARATE_MEMORY") != NULL;
    if (g->separate_memory) g->device.facts.host_coherent = 0;
    else if (!g->device.facts.host_coherent)
        g->device.facts.host_coherent = fm_cl_test_coherence(&g->device, g->context, g->queue);
    keep_context(g);
    g->gpu.facts = g->device.facts;
    *out = &g->gpu;
    return FLASHMEM_OK;
failed:
    opencl_close(&g->gpu);
    return status;
}
