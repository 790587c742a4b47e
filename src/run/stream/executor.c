/* One run: the caller's thread enqueues each launch as soon as its own objects have arrived, a bounded number of
 * launches and seconds ahead of the device, and sleeps otherwise.
 *
 *     reader    | o0 | o1 | o2 |     | o3 |   o4's memory is free once launch 7 has ended
 *     caller      enqueue 0 1 2 . . 3 . .     waits for arrivals, or for the queue to drain to half
 *     device           | 0 | 1 | 2 |   | 3 |  reports the ends the reader or the caller waits for */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "run/model.h"

/* How far the queue runs ahead of the device: enough that waking up is rare, little enough that cancelling is quick. */
enum { AHEAD_LAUNCHES = 512 };
#define AHEAD_SECONDS 0.3

/* --- made at open ------------------------------------------------------------------------------------------------- */

/* Where the caller lets the queue drain before it goes on: to half of what may be ahead. */
static void make_drains(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    double           ahead = 0;
    uint32_t         ended = 0; /* launches before this one have ended when k is enqueued */
    x->drain_to = fm_arena_array(model->plan_arena, r->step_count, sizeof *x->drain_to);
    for (uint32_t k = 0; k < r->step_count; k++) {
        if (k - ended >= AHEAD_LAUNCHES || ahead > AHEAD_SECONDS) {
            while (ended < k && (k - ended > AHEAD_LAUNCHES / 2 || ahead > AHEAD_SECONDS / 2))
                ahead -= r->steps[ended++].seconds;
            x->drain_to[k] = ended;
        }
        ahead += r->steps[k].seconds;
    }
}

/* Ends that the caller or the reader wait for. */
static void make_notify(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    x->notify = fm_arena_array(model->plan_arena, r->step_count + 1, 1);
    x->notify[r->step_count - 1] = 1;
    for (uint32_t k = 1; k < r->step_count; k++) {
        if (x->gathers[k].rows) x->notify[k - 1] = 1;
        if (x->drain_to[k]) x->notify[x->drain_to[k] - 1] = 1;
    }
    for (uint32_t o = 0; o < r->object_count; o++)
        if (r->objects[o].after >= 0) x->notify[r->objects[o].after] = 1;
}

static void make_converts(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    x->convert_first = fm_arena_array(model->plan_arena, r->step_count + 2, sizeof *x->convert_first);
    x->converts = fm_arena_array(model->plan_arena, r->convert_count, sizeof *x->converts);
    for (uint32_t c = 0; c < r->convert_count; c++) x->convert_first[r->converts[c].before_step + 1]++;
    for (uint32_t k = 0; k < r->step_count; k++) x->convert_first[k + 1] += x->convert_first[k];
    uint32_t *next = fm_arena_array(model->plan_arena, r->step_count + 1, sizeof *next);
    memcpy(next, x->convert_first, r->step_count * sizeof *next);
    for (uint32_t c = 0; c < r->convert_count; c++) x->converts[next[r->converts[c].before_step]++] = c;
}

static void make_gathers(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    uint32_t         most = 0;
    x->gathers = fm_arena_array(model->plan_arena, r->step_count + 1, sizeof *x->gathers);
    for (uint32_t k = 0; k < r->step_count; k++) {
        if (model->program->steps[r->steps[k].step].kind != FM_STEP_GATHER_ROWS) continue;
        fm_gather_of(&model->pack, model->program, r->steps[k].step, &x->gathers[k], NULL); /* checked at open */
        if (x->gathers[k].rows > most) most = x->gathers[k].rows;
    }
    x->order = fm_arena_array(model->plan_arena, most, sizeof *x->order);
}

void fm_executor_make(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    make_gathers(model);
    make_drains(model);
    make_notify(model);
    make_converts(model);
    x->published = fm_arena_array(model->plan_arena, r->object_count, sizeof *x->published);
    x->records = fm_arena_array(model->plan_arena, (size_t)r->step_count + r->convert_count, sizeof *x->records);
    x->bytes_before = fm_arena_array(model->plan_arena, r->step_count, sizeof *x->bytes_before);
    for (uint32_t o = 0; o < r->object_count; o++) x->bytes_before[r->objects[o].first] += r->objects[o].bytes;
    for (uint32_t k = 1; k < r->step_count; k++) x->bytes_before[k] += x->bytes_before[k - 1];
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* Until that many launches have ended since open. */
static flashmem_status wait_launches(flashmem_model *model, uint64_t target, flashmem_error *err) {
    if (atomic_load(&model->progress.completed) < target) FM_TRY(model->gpu->ops->flush(model->gpu, err));
    return fm_progress_wait_launches(&model->progress, target, err);
}

typedef struct object_wait {
    const flashmem_model *model;
    uint32_t              step;
} object_wait;

static bool objects_arrived(void *user) {
    const object_wait *w = user;
    const fm_executor *x = &w->model->executor;
    for (uint32_t i = x->need_first[w->step]; i < x->need_first[w->step + 1]; i++)
        if (!fm_reader_has(w->model->reader, x->needs[i].object, x->needs[i].bytes, x->run)) return false;
    return true;
}

static flashmem_status wait_objects(flashmem_model *model, uint32_t k, flashmem_error *err) {
    object_wait wait = { model, k };
    if (!objects_arrived(&wait)) FM_TRY(model->gpu->ops->flush(model->gpu, err));
    return fm_progress_wait(&model->progress, FM_WAKE_ARRIVALS, objects_arrived, &wait, err);
}

/* --- one step ----------------------------------------------------------------------------------------------------- */

/* Tells a device that does not see host writes about objects that have arrived since. */
static flashmem_status publish_objects(flashmem_model *model, uint32_t k, flashmem_error *err) {
    const fm_replay      *r = &model->replay;
    const fm_replay_step *step = &r->steps[k];
    if (model->gpu->facts.host_coherent) return FLASHMEM_OK;
    for (uint32_t u = 0; u < step->object_count; u++) {
        uint32_t                o = r->uses[step->first_object + u];
        const fm_replay_object *object = &r->objects[o];
        uint64_t                wanted = object->resident ? 1 : model->executor.run + 1;
        if (model->executor.published[o] >= wanted || object->staged) continue; /* images are written from the host */
        FM_TRY(model->gpu->ops->publish(model->gpu, object->region, object->place, object->bytes, err));
        model->executor.published[o] = wanted;
    }
    return FLASHMEM_OK;
}

/* Images that stay are made once. */
static flashmem_status convert_images(flashmem_model *model, uint32_t k, flashmem_error *err) {
    const fm_executor *x = &model->executor;
    const fm_replay   *r = &model->replay;
    for (uint32_t i = x->convert_first[k]; i < x->convert_first[k + 1]; i++) {
        const fm_replay_object *object = &r->objects[r->images[r->converts[x->converts[i]].image].object];
        if (x->run > 0 && object->stays) continue;
        FM_TRY(model->gpu->ops->convert(model->gpu, x->converts[i], err));
    }
    return FLASHMEM_OK;
}

/* Heap sort: in place, no allocation, no bad case. */
static void sort_rows(uint64_t *order, uint32_t count) {
    for (uint32_t start = count / 2, end = count; end > 1;) {
        uint64_t moved;
        if (start > 0) {
            moved = order[--start];
        } else {
            moved = order[--end];
            order[end] = order[0];
        }
        uint32_t hole = start, child;
        for (; (child = 2 * hole + 1) < end; hole = child) {
            if (child + 1 < end && order[child + 1] > order[child]) child++;
            if (order[child] <= moved) break;
            order[hole] = order[child];
        }
        order[hole] = moved;
    }
}

/* The wanted rows, sorted.  Inputs were checked when the run began; an index that a step computed wrong lets the run
 * end on row 0, and fail then. */
static void order_rows(flashmem_model *model, uint32_t k, const fm_gather *gather) {
    fm_executor     *x = &model->executor;
    const fm_value  *value = &model->program->values[gather->indices];
    const fm_weight *table = &model->pack.packed.weights[gather->weight];
    const void      *indices = model->storage[fm_value_root(model->program, gather->indices)];
    for (uint32_t i = 0; i < gather->rows; i++) {
        int64_t  found;
        uint64_t row;
        if (!fm_index_in_range(indices, value->dtype, i, table->k, &found, &row)) {
            row = 0;
            if (!x->bad_index)
                fm_fail(&x->bad_index_error, FLASHMEM_BAD_INPUT,
                        "step %u ('%s'): index %" PRId64 " at position %u, table %s has %" PRIu64 " rows", k,
                        fm_program_string(model->program, model->program->steps[model->replay.steps[k].step].name),
                        found, i, fm_program_string(model->program, table->name), table->k);
            x->bad_index = true;
        }
        x->order[i] = row << 32 | i;
    }
    sort_rows(x->order, gather->rows);
}

static flashmem_status gather_rows(flashmem_model *model, uint32_t k, uint64_t base, flashmem_error *err) {
    fm_executor     *x = &model->executor;
    const fm_gather *gather = &x->gathers[k];
    const fm_weight *table = &model->pack.packed.weights[gather->weight];
    uint32_t         out = fm_value_root(model->program, gather->out);
    FM_TRY(wait_launches(model, base + k, err)); /* the output's memory is free, computed indices are there */
    x->records[k].begin = fm_clock_ns();
    FM_TRY(model->gpu->ops->fetch_value(model->gpu, fm_value_root(model->program, gather->indices), err));
    order_rows(model, k, gather);
    fm_row_batch *batch = &x->batch;
    batch->name = fm_program_string(model->program, table->name);
    batch->file_offset = table->file_offset;
    batch->row_bytes = table->row_bytes;
    batch->elements = table->n;
    batch->checksums = model->pack.checksums + table->first_checksum;
    batch->half = table->format == FM_WEIGHT_F16;
    batch->order = x->order;
    batch->count = gather->rows;
    batch->out = model->storage[out];
    batch->out_bytes = table->n * sizeof(float);
    batch->bytes_read = 0;
    FM_TRY(fm_reader_rows(model->reader, batch, err));
    x->row_bytes += batch->bytes_read;
    FM_TRY(model->gpu->ops->publish_value(model->gpu, out, err));
    x->records[k].end = fm_clock_ns();
    /* The device runs the conversions before this step, and what they read is free once it has ended. */
    if (x->convert_first[k] < x->convert_first[k + 1]) model->gpu->ops->drain(model->gpu);
    fm_progress_completed(&model->progress, base + k + 1);
    return FLASHMEM_OK;
}

static flashmem_status report_progress(flashmem_model *model, uint32_t k) {
    const fm_executor *x = &model->executor;
    uint32_t           last = model->replay.step_count - 1;
    if (!model->options.progress || (k > 0 && x->bytes_before[k] == x->bytes_before[k - 1])) return FLASHMEM_OK;
    if (model->options.progress(model->options.user, "load", x->bytes_before[k], x->bytes_before[last]))
        fm_progress_cancel(&model->progress);
    return FLASHMEM_OK;
}

/* The step's objects have arrived. */
static flashmem_status enqueue_step(flashmem_model *model, uint32_t k, uint64_t base, flashmem_error *err) {
    fm_executor *x = &model->executor;
    FM_TRY(publish_objects(model, k, err));
    FM_TRY(convert_images(model, k, err));
    if (x->gathers[k].rows) return gather_rows(model, k, base, err);
    if (x->drain_to[k]) FM_TRY(wait_launches(model, base + x->drain_to[k], err));
    return model->gpu->ops->launch(model->gpu, k, x->notify[k], base + k + 1, err);
}

/* --- runs --------------------------------------------------------------------------------------------------------- */

static flashmem_status run_overlapped(flashmem_model *model, uint64_t base, flashmem_error *err) {
    uint32_t steps = model->replay.step_count;
    for (uint32_t k = 0; k < steps; k++) {
        FM_TRY(wait_objects(model, k, err));
        FM_TRY(report_progress(model, k));
        FM_TRY(enqueue_step(model, k, base, err));
    }
    return wait_launches(model, base + steps, err);
}

/* Read until memory is full, compute until a launch lacks an object, in turns: what overlap is measured against. */
static flashmem_status run_serial(flashmem_model *model, uint64_t base, flashmem_error *err) {
    fm_executor *x = &model->executor;
    uint32_t     steps = model->replay.step_count, k = 0;
    x->serial_read = x->serial_compute = 0;
    while (k < steps) {
        uint32_t before = k;
        uint64_t start = fm_clock_ns();
        FM_TRY(fm_reader_phase(model->reader, err));
        uint64_t read = fm_clock_ns();
        x->serial_read += (double)(read - start) * 1e-9;
        for (object_wait wait = { model, k }; k < steps && (wait.step = k, objects_arrived(&wait)); k++) {
            FM_TRY(report_progress(model, k));
            FM_TRY(enqueue_step(model, k, base, err));
        }
        if (k == before)
            return fm_fail(err, FLASHMEM_INTERNAL, "launch %u: serial reads end before its objects have arrived", k);
        FM_TRY(model->gpu->ops->flush(model->gpu, err));
        model->gpu->ops->drain(model->gpu);
        if (k > 0) fm_progress_completed(&model->progress, base + k);
        x->serial_compute += (double)(fm_clock_ns() - read) * 1e-9;
    }
    return fm_progress_status(&model->progress, err);
}

static void collect_times(flashmem_model *model) {
    fm_executor *x = &model->executor;
    for (uint32_t k = 0; k < model->replay.step_count; k++) {
        if (x->gathers[k].rows) continue;
        fm_step_record *record = &x->records[k];
        if (!model->gpu->ops->step_times(model->gpu, k, &record->begin, &record->end)) *record = (fm_step_record){ 0 };
    }
    for (uint32_t i = 0; i < model->replay.convert_count; i++) {
        fm_step_record *record = &x->records[model->replay.step_count + i];
        if (!model->gpu->ops->convert_times(model->gpu, i, &record->begin, &record->end))
            *record = (fm_step_record){ 0 };
    }
}

flashmem_status fm_executor_run(flashmem_model *model, flashmem_error *err) {
    fm_executor *x = &model->executor;
    uint64_t     base = x->run * model->replay.step_count;
    x->run_begin = fm_clock_ns();
    x->bad_index = false;
    x->bad_index_error = (flashmem_error){ 0 };
    x->row_bytes = 0;
    fm_reader_begin_run(model->reader, x->run);
    flashmem_status status = model->options.serial ? run_serial(model, base, err) : run_overlapped(model, base, err);
    if (status == FLASHMEM_OK) status = fm_bindings_end_run(model, err);
    x->run_end = fm_clock_ns();
    model->gpu->ops->drain(model->gpu); /* after a failure launches may still run */
    if (status == FLASHMEM_OK) {
        collect_times(model);
        fm_stats_end_run(model);
        if (model->trace) fm_trace_record_run(model);
    }
    model->gpu->ops->end_run(model->gpu, status == FLASHMEM_OK);
    if (status == FLASHMEM_OK) x->run++;
    if (status == FLASHMEM_OK && x->bad_index)
        status = fm_fail(err, FLASHMEM_BAD_INPUT, "%s", x->bad_index_error.message);
    return status;
}
