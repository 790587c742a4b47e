/* A device without OpenCL that runs whole programs: its launches move no data but check that the plan put everything
 * where it belongs at that moment, and write values that depend on every byte they should have read.
 *
 *     weight bytes    compared with the pack's checksums when the launch executes
 *     written values  panel by panel (or whole) a function of step, panel, the read values' bytes and the weight's, so
 *                     that a schedule which overwrites something live changes the outputs, and how it is cut does not
 *
 * Launches execute on a thread of their own, as a real device's do. */
#include "run/gpu/gpu.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "run/gpu/operands.h"

enum { QUEUE = 1024 };

typedef struct command {
    bool     convert, notify;
    uint32_t index; /* step, or row of converts */
    uint64_t ended;
} command;

typedef struct step_time {
    uint64_t begin, end;
} step_time;

typedef struct null_device {
    fm_gpu              gpu;
    double              time_scale;
    const fm_gpu_setup *setup;
    fm_arena           *arena;
    fm_launch          *launches;
    char              **bound;  /* per value: bound memory, or NULL */
    char              **images; /* per pool image */
    char               *unit;   /* a checksum unit gathered from image rows */
    step_time          *times, *convert_times;
    pthread_t           thread;
    bool                started;
    pthread_mutex_t     mutex;
    pthread_cond_t      work, idle;
    command             queue[QUEUE];
    uint32_t            head, queued;
    bool                busy, stopping;
} null_device;

static char *operand_memory(const null_device *d, const fm_operand *o) {
    return o->region == FM_NONE ? d->bound[o->value] : d->setup->regions[o->region] + o->offset;
}

static const char *launch_name(const null_device *d, uint32_t k) {
    const fm_program *p = d->setup->program;
    return fm_program_string(p, p->steps[d->setup->replay->steps[k].step].name);
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

static flashmem_status wrong_bytes(const null_device *d, uint32_t k, uint32_t object, uint64_t unit,
                                   flashmem_error *err) {
    const fm_replay_object *o = &d->setup->replay->objects[object];
    return fm_fail(err, FLASHMEM_INTERNAL,
                   "launch %u ('%s'): object %u (pack object %u, unit %" PRIu64 ") does not lie at %" PRIu64
                   " of region %u when the launch executes",
                   k, launch_name(d, k), object, o->object, unit, o->place, o->region);
}

/* The object lies whole where the plan puts it. */
static flashmem_status check_object(const null_device *d, uint32_t k, uint32_t index, flashmem_error *err) {
    const fm_replay_object *object = &d->setup->replay->objects[index];
    const fm_object        *packed = &d->setup->pack->packed.objects[object->object];
    const char             *at = d->setup->regions[object->region] + object->place;
    uint64_t                left = object->bytes;
    for (uint64_t u = 0; u < object->units && left; u++) {
        uint64_t bytes = left < packed->unit_bytes ? left : packed->unit_bytes;
        uint64_t unit = object->first_unit + u;
        if (fm_hash(at, bytes) != d->setup->pack->checksums[packed->first_checksum + unit])
            return wrong_bytes(d, k, index, unit, err);
        at += bytes;
        left -= bytes;
    }
    return left ? wrong_bytes(d, k, index, object->units, err) : FLASHMEM_OK;
}

/* The panels lie in the pool image; *hashes gets a hash per panel if not NULL. */
static uint64_t image_row_bytes(const null_device *d, const fm_replay_pool_image *pool) {
    (void)d;
    return (uint64_t)pool->width * (pool->half ? 8 : 16);
}

static uint64_t panel_hash(const null_device *d, const fm_operand *o, uint64_t panel, uint64_t panel_bytes) {
    if (o->kind == FM_OPERAND_MEMORY) return fm_hash(operand_memory(d, o) + panel * panel_bytes, panel_bytes);
    const fm_replay_image      *image = &d->setup->replay->images[o->image];
    const fm_replay_pool_image *pool = &d->setup->replay->pool[image->image];
    return fm_hash(d->images[image->image] + panel * image_row_bytes(d, pool), panel_bytes);
}

static flashmem_status check_image(const null_device *d, uint32_t k, const fm_operand *o, flashmem_error *err) {
    const fm_replay_image      *image = &d->setup->replay->images[o->image];
    const fm_replay_pool_image *pool = &d->setup->replay->pool[image->image];
    const fm_weight            *weight = &d->setup->pack->packed.weights[image->weight];
    const fm_object            *packed = &d->setup->pack->packed.objects[weight->object];
    if (packed->weight != image->weight || image->first_panel % weight->unit_panels)
        return FLASHMEM_OK; /* in a bundle */
    uint64_t unit_panels = weight->unit_panels, row = image_row_bytes(d, pool);
    for (uint64_t p = 0; p < image->panels; p += unit_panels) {
        uint64_t count = image->panels - p < unit_panels ? image->panels - p : unit_panels;
        uint64_t unit = (image->first_panel + p) / unit_panels;
        uint64_t bytes = unit * packed->unit_bytes + packed->unit_bytes > packed->bytes
                             ? packed->bytes - unit * packed->unit_bytes
                             : packed->unit_bytes;
        if (count * weight->panel_bytes != bytes) continue; /* a padded unit: its padding is not in the image */
        for (uint64_t i = 0; i < count; i++)
            memcpy(d->unit + i * weight->panel_bytes, d->images[image->image] + (p + i) * row, weight->panel_bytes);
        if (fm_hash(d->unit, bytes) != d->setup->pack->checksums[packed->first_checksum + unit])
            return wrong_bytes(d, k, o->object, unit, err);
    }
    return FLASHMEM_OK;
}

static flashmem_status check_weights(const null_device *d, uint32_t k, flashmem_error *err) {
    const fm_launch *launch = &d->launches[k];
    for (uint32_t a = 0; a < launch->count; a++) {
        const fm_operand *o = &launch->operands[a];
        if (o->kind == FM_OPERAND_IMAGE) FM_TRY(check_image(d, k, o, err));
        else if (o->kind == FM_OPERAND_MEMORY && o->object != FM_NONE) FM_TRY(check_object(d, k, o->object, err));
    }
    return FLASHMEM_OK;
}

/* --- what a launch writes ----------------------------------------------------------------------------------------- */

static bool split_operand(const null_device *d, uint32_t k, const fm_operand *o) {
    const fm_program *p = d->setup->program;
    return p->steps[d->setup->replay->steps[k].step].split_value == o->value && o->object != FM_NONE;
}

/* A hash of everything the launch reads but its split weight: the same for every part of a step. */
static uint64_t hash_reads(const null_device *d, uint32_t k) {
    const fm_launch *launch = &d->launches[k];
    uint64_t         hash = fm_hash_seeded(&d->setup->replay->steps[k].step, sizeof(uint32_t), 1);
    for (uint32_t a = 0; a < launch->count; a++) {
        const fm_operand *o = &launch->operands[a];
        if (split_operand(d, k, o) || o->write) continue;
        if (o->kind == FM_OPERAND_MEMORY) hash = fm_hash_seeded(operand_memory(d, o), o->bytes, hash);
        else if (o->kind == FM_OPERAND_FLOAT) hash = fm_hash_seeded(&o->real, sizeof o->real, hash);
        else if (o->kind == FM_OPERAND_IMAGE) {
            const fm_replay_image *image = &d->setup->replay->images[o->image];
            uint64_t               bytes = d->setup->pack->packed.weights[image->weight].panel_bytes;
            for (uint32_t p = 0; p < image->panels; p++) {
                uint64_t panel = panel_hash(d, o, p, bytes);
                hash = fm_hash_seeded(&panel, sizeof panel, hash);
            }
        }
    }
    return hash;
}

/* Integers become 0 or 1, so that they may index. */
static void fill(const null_device *d, const fm_operand *o, uint64_t from, uint64_t to, uint64_t seed) {
    uint32_t dtype = d->setup->program->values[o->value].dtype, each = fm_dtype_bytes((flashmem_dtype)dtype);
    char    *memory = operand_memory(d, o);
    if (!fm_dtype_is_float((flashmem_dtype)dtype)) {
        from = (from + each - 1) / each * each;
        memset(memory + from, 0, to > from ? to - from : 0);
        for (uint64_t i = from; i + each <= to; i += each) memory[i] = (char)(seed >> (i / each % 61) & 1);
        return;
    }
    for (uint64_t i = from; i < to; i += 8) {
        seed = (seed + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
        uint64_t word = seed ^ seed >> 29;
        memcpy(memory + i, &word, to - i < 8 ? to - i : 8);
    }
}

static void write_part(const null_device *d, uint32_t k, const fm_operand *split, uint64_t seed) {
    const fm_replay_step *rs = &d->setup->replay->steps[k];
    const fm_launch      *launch = &d->launches[k];
    const fm_weight      *weight = &d->setup->pack->packed.weights[d->setup->program->values[split->value].weight];
    uint64_t              first = rs->panels ? rs->first_panel : 0, panels = rs->panels ? rs->panels : weight->panels;
    for (uint64_t i = 0; i < panels; i++) {
        uint64_t key[2] = { first + i, panel_hash(d, split, i, weight->panel_bytes) };
        uint64_t hash = fm_hash_seeded(key, sizeof key, seed);
        for (uint32_t a = 0; a < launch->count; a++) {
            const fm_operand *o = &launch->operands[a];
            if (!o->write) continue;
            uint64_t p = first + i, each = o->bytes / weight->panels / 8 * 8;
            fill(d, o, p * each, p + 1 == weight->panels ? o->bytes : (p + 1) * each, hash + a);
        }
    }
}

static void write_values(const null_device *d, uint32_t k) {
    const fm_launch  *launch = &d->launches[k];
    const fm_operand *split = NULL;
    uint64_t          seed = hash_reads(d, k);
    for (uint32_t a = 0; a < launch->count; a++)
        if (split_operand(d, k, &launch->operands[a])) split = &launch->operands[a];
    if (split) {
        write_part(d, k, split, seed);
        return;
    }
    for (uint32_t a = 0; a < launch->count; a++)
        if (launch->operands[a].write) fill(d, &launch->operands[a], 0, launch->operands[a].bytes, seed + a);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void take_time(const null_device *d, uint32_t k) {
    double seconds = d->setup->replay->steps[k].seconds * d->time_scale;
    if (seconds <= 0) return;
    struct timespec rest = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&rest, NULL);
}

static flashmem_status execute(null_device *d, uint32_t k, flashmem_error *err) {
    d->times[k].begin = fm_clock_ns();
    FM_TRY(check_weights(d, k, err));
    take_time(d, k);
    FM_TRY(check_weights(d, k, err)); /* and still there */
    write_values(d, k);
    d->times[k].end = fm_clock_ns();
    return FLASHMEM_OK;
}

static void execute_convert(null_device *d, uint32_t row) {
    const fm_replay            *r = d->setup->replay;
    const fm_replay_convert    *convert = &r->converts[row];
    const fm_replay_image      *image = &r->images[convert->image];
    const fm_replay_pool_image *pool = &r->pool[image->image];
    const fm_weight            *weight = &d->setup->pack->packed.weights[image->weight];
    const fm_replay_object     *object = &r->objects[image->object];
    const char                 *from = d->setup->regions[object->region] + object->place + image->source;
    take_time(d, convert->before_step); /* as long as that one */
    d->convert_times[row].begin = fm_clock_ns();
    for (uint64_t p = convert->first_panel; p < convert->first_panel + convert->panels; p++)
        memcpy(d->images[image->image] + p * image_row_bytes(d, pool), from + p * weight->panel_bytes,
               weight->panel_bytes);
    d->convert_times[row].end = fm_clock_ns();
}

static void *device_main(void *argument) {
    null_device *d = argument;
    pthread_mutex_lock(&d->mutex);
    for (;;) {
        while (!d->queued && !d->stopping) pthread_cond_wait(&d->work, &d->mutex);
        if (!d->queued) break;
        command c = d->queue[d->head];
        d->head = (d->head + 1) % QUEUE;
        d->queued--;
        d->busy = true;
        pthread_mutex_unlock(&d->mutex);
        flashmem_error error = { 0 };
        if (c.convert) execute_convert(d, c.index);
        else if (execute(d, c.index, &error) != FLASHMEM_OK) fm_progress_fail(d->setup->progress, &error);
        if (c.notify) fm_progress_completed(d->setup->progress, c.ended);
        pthread_mutex_lock(&d->mutex);
        d->busy = false;
        pthread_cond_signal(&d->idle);
    }
    pthread_mutex_unlock(&d->mutex);
    return NULL;
}

static flashmem_status enqueue(null_device *d, command c) {
    pthread_mutex_lock(&d->mutex);
    while (d->queued == QUEUE) pthread_cond_wait(&d->idle, &d->mutex);
    d->queue[(d->head + d->queued++) % QUEUE] = c;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->mutex);
    return FLASHMEM_OK;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static flashmem_status make_images(null_device *d, flashmem_error *err) {
    const fm_replay *r = d->setup->replay;
    uint64_t         largest = 1;
    d->images = fm_arena_array(d->arena, r->pool_count, sizeof *d->images);
    for (uint32_t i = 0; i < r->image_count; i++) {
        const fm_replay_image      *image = &r->images[i];
        const fm_replay_pool_image *pool = &r->pool[image->image];
        const fm_weight            *weight = &d->setup->pack->packed.weights[image->weight];
        if (weight->panel_bytes > image_row_bytes(d, pool) || image->panels > pool->height)
            return fm_fail(err, FLASHMEM_INTERNAL, "image %u does not fit pool image %u", i, image->image);
        if (weight->unit_panels * weight->panel_bytes > largest) largest = weight->unit_panels * weight->panel_bytes;
    }
    for (uint32_t i = 0; i < r->pool_count; i++)
        d->images[i] = fm_arena_alloc(d->arena, image_row_bytes(d, &r->pool[i]) * r->pool[i].height);
    d->unit = fm_arena_alloc(d->arena, largest);
    return FLASHMEM_OK;
}

static flashmem_status null_prepare(fm_gpu *gpu, const fm_gpu_setup *setup, flashmem_error *err) {
    null_device *d = (null_device *)gpu;
    uint32_t     slots;
    d->setup = setup;
    d->arena = fm_arena_create();
    if (!d->arena) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the null device");
    if (fm_arena_trap(d->arena)) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the null device");
    FM_TRY(fm_launches_make(setup, d->arena, &d->launches, &slots, err));
    d->bound = fm_arena_array(d->arena, setup->program->value_count, sizeof *d->bound);
    d->times = fm_arena_array(d->arena, setup->replay->step_count, sizeof *d->times);
    d->convert_times = fm_arena_array(d->arena, setup->replay->convert_count, sizeof *d->convert_times);
    FM_TRY(make_images(d, err));
    int failed = pthread_create(&d->thread, NULL, device_main, d);
    if (failed) return fm_fail_errno(err, failed, "start the null device's thread");
    d->started = true;
    atomic_store(&gpu->programs_ready, fm_clock_ns());
    return FLASHMEM_OK;
}

static flashmem_status null_bind(fm_gpu *gpu, uint32_t value, void *data, uint64_t bytes, flashmem_error *err) {
    (void)bytes, (void)err;
    ((null_device *)gpu)->bound[value] = data;
    return FLASHMEM_OK;
}

static flashmem_status null_publish(fm_gpu *gpu, uint32_t region, uint64_t offset, uint64_t bytes,
                                    flashmem_error *err) {
    (void)gpu, (void)region, (void)offset, (void)bytes, (void)err;
    return FLASHMEM_OK;
}

static flashmem_status null_value(fm_gpu *gpu, uint32_t value, flashmem_error *err) {
    (void)gpu, (void)value, (void)err;
    return FLASHMEM_OK;
}

static flashmem_status null_convert(fm_gpu *gpu, uint32_t row, flashmem_error *err) {
    (void)err;
    return enqueue((null_device *)gpu, (command){ .convert = true, .index = row });
}

static flashmem_status null_launch(fm_gpu *gpu, uint32_t step, bool notify, uint64_t ended, flashmem_error *err) {
    (void)err;
    return enqueue((null_device *)gpu, (command){ .notify = notify, .index = step, .ended = ended });
}

static flashmem_status null_flush(fm_gpu *gpu, flashmem_error *err) {
    (void)gpu, (void)err;
    return FLASHMEM_OK;
}

static void null_drain(fm_gpu *gpu) {
    null_device *d = (null_device *)gpu;
    if (!d->started) return;
    pthread_mutex_lock(&d->mutex);
    while (d->queued || d->busy) pthread_cond_wait(&d->idle, &d->mutex);
    pthread_mutex_unlock(&d->mutex);
}

static bool null_step_times(fm_gpu *gpu, uint32_t step, uint64_t *begin, uint64_t *end) {
    const step_time *t = &((null_device *)gpu)->times[step];
    *begin = t->begin;
    *end = t->end;
    return t->end != 0;
}

static bool null_convert_times(fm_gpu *gpu, uint32_t row, uint64_t *begin, uint64_t *end) {
    const step_time *t = &((null_device *)gpu)->convert_times[row];
    *begin = t->begin;
    *end = t->end;
    return t->end != 0;
}

/* Not every conversion is made in every run. */
static void null_end_run(fm_gpu *gpu, bool complete) {
    null_device *d = (null_device *)gpu;
    (void)complete;
    if (d->setup) memset(d->convert_times, 0, d->setup->replay->convert_count * sizeof *d->convert_times);
}

static void null_close(fm_gpu *gpu) {
    null_device *d = (null_device *)gpu;
    if (d->started) {
        null_drain(gpu);
        pthread_mutex_lock(&d->mutex);
        d->stopping = true;
        pthread_cond_signal(&d->work);
        pthread_mutex_unlock(&d->mutex);
        pthread_join(d->thread, NULL);
    }
    pthread_cond_destroy(&d->work);
    pthread_cond_destroy(&d->idle);
    pthread_mutex_destroy(&d->mutex);
    fm_arena_destroy(d->arena);
    free(d);
}

static const fm_gpu_ops null_ops = {
    .prepare = null_prepare,
    .bind = null_bind,
    .publish = null_publish,
    .publish_value = null_value,
    .fetch_value = null_value,
    .convert = null_convert,
    .launch = null_launch,
    .flush = null_flush,
    .drain = null_drain,
    .step_times = null_step_times,
    .convert_times = null_convert_times,
    .end_run = null_end_run,
    .close = null_close,
};

void fm_gpu_null_facts(fm_gpu_facts *facts) {
    *facts = (fm_gpu_facts){
        .platform = "FlashMem",
        .name = "null",
        .version = "1",
        .driver = FLASHMEM_VERSION,
        .is_cpu = 1,
        .is_null = 1,
        .compute_units = 1,
        .has_images = 1,
        .base_align = 128,
        .image_pitch = 1,
        .host_coherent = 1,
        .image_width = 16384,
        .image_height = 16384,
        .max_allocation = UINT64_C(1) << 40,
        .global_memory = UINT64_C(1) << 40,
    };
}

flashmem_status fm_gpu_open_null(fm_gpu **out, double time_scale, const fm_log *log, flashmem_error *err) {
    (void)log;
    null_device *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the null device");
    d->gpu.ops = &null_ops;
    d->time_scale = time_scale;
    fm_gpu_null_facts(&d->gpu.facts);
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->work, NULL);
    pthread_cond_init(&d->idle, NULL);
    *out = &d->gpu;
    return FLASHMEM_OK;
}
