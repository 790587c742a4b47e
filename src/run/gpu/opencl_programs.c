/* Loading and building device programs. */
#include "run/gpu/opencl_programs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "kernels/source.h"
#include "run/gpu/program_cache.h"

/* A source with options; several kernels may be entries of it. */
typedef struct device_program {
    uint32_t         source, options; /* strings */
    uint64_t         key;
    cl_program       program;
    fm_launch_shapes wanted, cached; /* by this model; in the cache's binary */
    bool             built;          /* from source */
    uint64_t         source_hash;
} device_program;

typedef struct device_kernel {
    uint32_t  program, arg_count; /* arguments that launches give it */
    cl_kernel kernel;
    bool      ready;
} device_kernel;

struct fm_cl_programs {
    fm_gpu             *gpu;
    const fm_cl_device *device;
    cl_context          context;
    const fm_gpu_setup *setup;
    device_program     *programs;
    uint32_t            count;
    device_kernel      *kernels; /* per row of program->kernels */
    uint32_t           *order;   /* kernels in order of first use */
    uint32_t            order_count;
    fm_program_cache   *cache;
    pthread_t           thread;
    bool                started;
    pthread_mutex_t     mutex;
    pthread_cond_t      changed;
    bool                stopping, save, saved;
    flashmem_error      error; /* of the thread */
};

static const char *COMMON_OPTIONS = "-cl-std=CL1.2";

/* --- keys --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text, uint64_t seed) { return fm_hash_seeded(text, strlen(text) + 1, seed); }

static uint64_t device_key(const fm_gpu_facts *f) {
    uint64_t key = hash_text(FLASHMEM_VERSION, 7);
    key = hash_text(f->platform, key);
    key = hash_text(f->name, key);
    key = hash_text(f->version, key);
    return hash_text(f->driver, key);
}

/* Drivers compile for local size and for small grids: a hash of what a launch needs. */
static uint64_t launch_shape(const char *entry, const fm_launch *launch) {
    uint64_t shape[7] = { hash_text(entry, 0) };
    for (int d = 0; d < 3; d++) {
        size_t groups = launch->local[d] ? launch->global[d] / launch->local[d] : launch->global[d];
        shape[1 + d] = launch->local[0] ? launch->local[d] : 0;
        shape[4 + d] = groups >= 65535;
    }
    return fm_hash(shape, sizeof shape);
}

/* --- one program -------------------------------------------------------------------------------------------------- */

static const char *text_of(const fm_cl_programs *p, uint32_t string) {
    return fm_program_string(p->setup->program, string);
}

static bool load_binary(fm_cl_programs *p, device_program *program) {
    const fm_cl *cl = p->device->cl;
    size_t       bytes = 0;
    cl_int       code = CL_SUCCESS, status = CL_SUCCESS;
    void        *binary = fm_program_cache_find(p->cache, program->key, &bytes, &program->cached);
    if (!binary) return false;
    program->program = cl->clCreateProgramWithBinary(p->context, 1, &p->device->device, &bytes,
                                                     (const unsigned char **)(void *)&binary, &status, &code);
    free(binary);
    if (code == CL_SUCCESS && status == CL_SUCCESS)
        code = cl->clBuildProgram(program->program, 1, &p->device->device, "", NULL, NULL);
    if (code == CL_SUCCESS && status == CL_SUCCESS) return true;
    if (program->program) cl->clReleaseProgram(program->program);
    program->program = NULL;
    program->cached.count = 0;
    fm_program_cache_reject(p->cache, program->key, "the driver refuses it");
    return false;
}

static flashmem_status build_failed(fm_cl_programs *p, device_program *program, cl_int code, flashmem_error *err) {
    const fm_cl *cl = p->device->cl;
    size_t       bytes = 0;
    char        *text = NULL;
    cl->clGetProgramBuildInfo(program->program, p->device->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    if (bytes) text = calloc(bytes + 1, 1);
    if (text) cl->clGetProgramBuildInfo(program->program, p->device->device, CL_PROGRAM_BUILD_LOG, bytes, text, NULL);
    flashmem_status status = fm_fail(err, FLASHMEM_DEVICE,
                                     "kernel source '%s' with '%s' does not build on '%s': %s: %.600s",
                                     text_of(p, program->source), text_of(p, program->options), p->device->facts.name,
                                     fm_cl_error(code), text ? text : "");
    free(text);
    return status;
}

static flashmem_status build_source(fm_cl_programs *p, device_program *program, const char *source, size_t bytes,
                                    flashmem_error *err) {
    const fm_cl *cl = p->device->cl;
    char         options[4096];
    cl_int       code = CL_SUCCESS;
    uint64_t     start = fm_clock_ns();
    if (snprintf(options, sizeof options, "%s %s", COMMON_OPTIONS, text_of(p, program->options)) >= (int)sizeof options)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "kernel source '%s': its options are too long",
                       text_of(p, program->source));
    program->program = cl->clCreateProgramWithSource(p->context, 1, &source, &bytes, &code);
    if (code != CL_SUCCESS) return fm_cl_fail(err, code, "clCreateProgramWithSource", text_of(p, program->source));
    code = cl->clBuildProgram(program->program, 1, &p->device->device, options, NULL, NULL);
    if (code == CL_BUILD_PROGRAM_FAILURE && p->device->quirks & FM_QUIRK_RETRY_BUILD)
        code = cl->clBuildProgram(program->program, 1, &p->device->device, options, NULL, NULL);
    if (code != CL_SUCCESS) return build_failed(p, program, code, err);
    program->built = true;
    fm_debug(p->setup->log, "cl", "built '%s' %s in %.0f ms", text_of(p, program->source), text_of(p, program->options),
             (double)(fm_clock_ns() - start) * 1e-6);
    return FLASHMEM_OK;
}

static flashmem_status obtain_program(fm_cl_programs *p, device_program *program, flashmem_error *err) {
    char  *source = NULL;
    size_t bytes = 0;
    if (program->program) return FLASHMEM_OK;
    FM_TRY(fm_program_source(text_of(p, program->source), &source, &bytes, err));
    program->source_hash = fm_hash(source, bytes);
    program->key = hash_text(text_of(p, program->options), hash_text(COMMON_OPTIONS, program->source_hash));
    bool            hit = load_binary(p, program);
    flashmem_status status = hit ? FLASHMEM_OK : build_source(p, program, source, bytes, err);
    fm_debug(p->setup->log, "cache", "program '%s' %s: %s", text_of(p, program->source), text_of(p, program->options),
             hit ? "HIT" : "MISS");
    if (!hit) atomic_store(&p->gpu->cache_state, FM_CACHE_MISS);
    free(source);
    return status;
}

/* A pack made for other kernel sources must not be launched with these; with FLASHMEM_KERNEL_DIR a person is at work. */
static flashmem_status check_source(const fm_cl_programs *p, const fm_kernel *packed, uint64_t hash,
                                    flashmem_error *err) {
    if (!packed->source_hash || packed->source_hash == hash || getenv("FLASHMEM_KERNEL_DIR")) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_BAD_PACK, "%s: made for another '%s' than this version has; compile the model again",
                   p->setup->pack->path, text_of(p, packed->source));
}

static flashmem_status obtain_kernel(fm_cl_programs *p, uint32_t index, flashmem_error *err) {
    const fm_kernel *packed = &p->setup->program->kernels[index];
    device_kernel   *kernel = &p->kernels[index];
    const char      *entry = text_of(p, packed->entry);
    cl_int           code = CL_SUCCESS;
    FM_TRY(obtain_program(p, &p->programs[kernel->program], err));
    FM_TRY(check_source(p, packed, p->programs[kernel->program].source_hash, err));
    kernel->kernel = p->device->cl->clCreateKernel(p->programs[kernel->program].program, entry, &code);
    if (code != CL_SUCCESS) return fm_cl_fail(err, code, "clCreateKernel", entry);
    cl_uint takes = kernel->arg_count;
    p->device->cl->clGetKernelInfo(kernel->kernel, CL_KERNEL_NUM_ARGS, sizeof takes, &takes, NULL);
    if (takes == kernel->arg_count) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_BAD_PACK,
                   "%s: kernel '%s' of '%s' takes %u arguments, the pack gives %u: it was compiled by "
                   "another version; compile the model again",
                   p->setup->pack->path, entry, text_of(p, p->programs[kernel->program].source), (unsigned)takes,
                   kernel->arg_count);
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

static bool worth_saving(const fm_cl_programs *p) {
    for (uint32_t i = 0; i < p->count; i++)
        if (p->programs[i].built || !fm_launch_shapes_cover(&p->programs[i].cached, &p->programs[i].wanted))
            return true;
    return false;
}

static void *binary_of(fm_cl_programs *p, const device_program *program, size_t *bytes) {
    const fm_cl *cl = p->device->cl;
    *bytes = 0;
    if (!program->program ||
        cl->clGetProgramInfo(program->program, CL_PROGRAM_BINARY_SIZES, sizeof *bytes, bytes, NULL) != CL_SUCCESS ||
        !*bytes)
        return NULL;
    unsigned char *binary = malloc(*bytes);
    if (binary &&
        cl->clGetProgramInfo(program->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
        return binary;
    free(binary);
    return NULL;
}

static void save_programs(fm_cl_programs *p) {
    fm_cached_program *saved = calloc(p->count + 1, sizeof *saved);
    uint32_t           count = 0;
    if (!saved) return;
    for (uint32_t i = 0; i < p->count; i++) {
        const device_program *program = &p->programs[i];
        if (!program->built && fm_launch_shapes_cover(&program->cached, &program->wanted)) continue;
        fm_cached_program *entry = &saved[count];
        entry->binary = binary_of(p, program, &entry->bytes);
        if (!entry->binary) continue;
        entry->key = program->key;
        entry->shapes = program->cached;
        for (uint32_t s = 0; s < program->wanted.count; s++)
            fm_launch_shapes_add(&entry->shapes, program->wanted.hashes[s]);
        count++;
    }
    fm_program_cache_save(p->cache, saved, count);
    for (uint32_t i = 0; i < count; i++) free((void *)(uintptr_t)saved[i].binary);
    free(saved);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void *programs_main(void *argument) {
    fm_cl_programs *p = argument;
    flashmem_error  error = { 0 };
    bool            stopping = false;
    atomic_store(&p->gpu->cache_state, p->order_count ? FM_CACHE_HIT : FM_CACHE_NONE);
    for (uint32_t i = 0; i < p->order_count && !stopping && error.status == FLASHMEM_OK; i++) {
        obtain_kernel(p, p->order[i], &error);
        pthread_mutex_lock(&p->mutex);
        p->kernels[p->order[i]].ready = error.status == FLASHMEM_OK;
        p->error = error;
        stopping = p->stopping;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->mutex);
    }
    atomic_store(&p->gpu->programs_ready, fm_clock_ns());
    if (error.status == FLASHMEM_OK && !stopping)
        fm_info(p->setup->log, "cache", "programs: %s (%u)",
                atomic_load(&p->gpu->cache_state) == FM_CACHE_MISS ? "MISS" : "HIT", p->count);
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping && !p->save) pthread_cond_wait(&p->changed, &p->mutex);
    bool save = p->save;
    pthread_mutex_unlock(&p->mutex);
    if (save) save_programs(p);
    return NULL;
}

flashmem_status fm_cl_programs_kernel(fm_cl_programs *p, uint32_t kernel, cl_kernel *out, flashmem_error *err) {
    flashmem_status status = FLASHMEM_OK;
    pthread_mutex_lock(&p->mutex);
    while (!p->kernels[kernel].ready && p->error.status == FLASHMEM_OK) pthread_cond_wait(&p->changed, &p->mutex);
    if (p->kernels[kernel].ready) *out = p->kernels[kernel].kernel;
    else status = fm_fail(err, p->error.status, "%s", p->error.message);
    pthread_mutex_unlock(&p->mutex);
    return status;
}

void fm_cl_programs_save(fm_cl_programs *p) {
    pthread_mutex_lock(&p->mutex);
    if (!p->saved && worth_saving(p)) {
        p->save = true;
        pthread_cond_broadcast(&p->changed);
    }
    p->saved = true;
    pthread_mutex_unlock(&p->mutex);
}

/* --- open, close -------------------------------------------------------------------------------------------------- */

static uint32_t program_of(fm_cl_programs *p, const fm_kernel *kernel) {
    uint32_t i = 0;
    while (i < p->count && (p->programs[i].source != kernel->source || p->programs[i].options != kernel->options)) i++;
    if (i == p->count)
        p->programs[p->count++] = (device_program){ .source = kernel->source, .options = kernel->options };
    return i;
}

static void order_kernels(fm_cl_programs *p, const fm_launch *launches) {
    const fm_program *program = p->setup->program;
    for (uint32_t i = 0; i < program->kernel_count; i++) p->kernels[i].program = UINT32_MAX;
    for (uint32_t k = 0; k < p->setup->replay->step_count; k++) {
        uint32_t kernel = launches[k].kernel;
        if (kernel == FM_NONE) continue;
        const char *entry = text_of(p, program->kernels[kernel].entry);
        if (p->kernels[kernel].program == UINT32_MAX) {
            p->kernels[kernel].program = program_of(p, &program->kernels[kernel]);
            p->kernels[kernel].arg_count = launches[k].count;
            p->order[p->order_count++] = kernel;
        }
        fm_launch_shapes_add(&p->programs[p->kernels[kernel].program].wanted, launch_shape(entry, &launches[k]));
    }
}

void fm_cl_programs_close(fm_cl_programs *p) {
    if (!p) return;
    if (p->started) {
        pthread_mutex_lock(&p->mutex);
        p->stopping = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->mutex);
        pthread_join(p->thread, NULL);
    }
    for (uint32_t i = 0; p->kernels && i < p->setup->program->kernel_count; i++)
        if (p->kernels[i].kernel) p->device->cl->clReleaseKernel(p->kernels[i].kernel);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->programs[i].program) p->device->cl->clReleaseProgram(p->programs[i].program);
    fm_program_cache_close(p->cache);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p->programs);
    free(p->kernels);
    free(p->order);
    free(p);
}

flashmem_status fm_cl_programs_open(fm_cl_programs **out, fm_gpu *gpu, const fm_cl_device *device, cl_context context,
                                    const fm_gpu_setup *setup, const fm_launch *launches, flashmem_error *err) {
    uint32_t        kernels = setup->program->kernel_count;
    fm_cl_programs *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for device programs");
    p->gpu = gpu;
    p->device = device;
    p->context = context;
    p->setup = setup;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->programs = calloc(kernels + 1, sizeof *p->programs);
    p->kernels = calloc(kernels + 1, sizeof *p->kernels);
    p->order = calloc(kernels + 1, sizeof *p->order);
    p->cache = fm_program_cache_open(setup->cache_folder, device_key(&device->facts), setup->log);
    if (!p->programs || !p->kernels || !p->order || !p->cache) {
        fm_cl_programs_close(p);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for device programs");
    }
    order_kernels(p, launches);
    int failed = pthread_create(&p->thread, NULL, programs_main, p);
    if (failed) {
        fm_cl_programs_close(p);
        return fm_fail_errno(err, failed, "start the thread that loads programs");
    }
    p->started = true;
    *out = p;
    return FLASHMEM_OK;
}
