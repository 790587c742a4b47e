/* What a run was like: evaluated after its end from the times of reads and launches, and taught to the profile. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/order.h"
#include "run/model.h"
#include "schedule/work.h"

static double since_open(const flashmem_model *model, uint64_t ns) {
    return ns > model->opened ? (double)(ns - model->opened) * 1e-9 : 0;
}

void fm_stats_begin(flashmem_model *model) {
    const fm_replay *r = &model->replay;
    flashmem_stats  *s = &model->stats;
    bool             unlimited = model->request.budget == UINT64_MAX;
    *s = (flashmem_stats){
        .budget_bytes = unlimited || model->request.minimum || model->request.automatic ? r->peak
                                                                                        : model->request.budget,
        .planned_peak_bytes = r->peak,
        .minimum_budget_bytes = r->minimum,
        .minimum_bound_bytes = r->minimum_bound,
        .weight_bytes = model->pack.header.float_weight_bytes,
        .resident_bytes = r->resident_bytes,
        .staging_bytes = r->staging_bytes,
        .activation_bytes = r->activation_peak,
        .slab_bytes = r->slab_bytes,
        .steps = r->step_count,
        .kernel_steps = model->program->step_count,
        .read_depth = r->read_depth,
        .read_bytes = r->read_bytes,
        .predicted_stall = r->stall,
        .predicted_latency = r->latency,
        .average_bytes = r->average_bytes,
        .reader = "none",
        .memory_path = fm_memory_path_name(model->path),
        .device_name = "",
        .objective = model->request.stored ? "opg" : "timed",
    };
    for (uint32_t i = 0; i < model->program->step_count; i++)
        s->flops += (double)fm_program_expr(model->program, model->program->steps[i].flops);
}

/* Time with at least one read in flight: chunks are recorded in order of submission. */
static uint64_t union_of_reads(const fm_read_record *record) {
    uint64_t total = 0, end = 0;
    for (uint32_t i = 0; i < record->count; i++) {
        const fm_chunk_record *c = &record->chunks[i];
        uint64_t               from = c->submitted > end ? c->submitted : end;
        if (c->completed > from) total += c->completed - from;
        if (c->completed > end) end = c->completed;
    }
    return total;
}

/* What the disk gives when asked: reads are timed in groups of several times what is in flight, because some disks
 * report all of that at once, and the upper quartile is taken, because groups that waited for free memory say nothing
 * about the disk.  0: nothing was read. */
static double disk_rate(const fm_read_record *record, uint64_t in_flight) {
    enum { GROUPS = 64, ROUNDS = 4 };
    double   rates[GROUPS];
    uint64_t total = 0, group_bytes = ROUNDS * in_flight, bytes = 0, first = 0, last = 0, groups_end = 0;
    int      count = 0;
    for (uint32_t i = 0; i < record->count; i++) total += record->chunks[i].bytes;
    if (total / GROUPS >= group_bytes) group_bytes = total / GROUPS + 1;
    if (total < group_bytes) group_bytes = total;
    for (uint32_t i = 0; i < record->count; i++) {
        const fm_chunk_record *c = &record->chunks[i];
        if (bytes == 0) first = c->submitted > groups_end ? c->submitted : groups_end;
        if (c->completed > last) last = c->completed;
        bytes += c->bytes;
        if (bytes < group_bytes) continue;
        if (last > first && count < GROUPS) rates[count++] = (double)bytes / ((double)(last - first) * 1e-9);
        groups_end = last;
        bytes = 0;
    }
    if (!count) return 0;
    qsort(rates, (size_t)count, sizeof *rates, fm_by_value);
    return rates[count * 3 / 4];
}

/* How long step k waited for weights, counted from when the device was free for it. */
static uint64_t stall_of(const flashmem_model *model, const fm_read_record *reads, uint32_t k, uint64_t free_at) {
    uint64_t arrival = fm_needs_arrival(model, reads, k);
    return arrival > free_at ? arrival - free_at : 0;
}

static void evaluate_steps(flashmem_model *model, const fm_read_record *reads) {
    const fm_executor *x = &model->executor;
    flashmem_stats    *s = &model->stats;
    uint64_t free_at = x->run_begin > model->device_up ? x->run_begin : model->device_up, stall = 0, compute = 0;
    uint64_t first = 0;
    for (uint32_t k = 0; k < model->replay.step_count; k++) {
        const fm_step_record *record = &x->records[k];
        stall += stall_of(model, reads, k, free_at);
        if (!record->end) continue;
        if (!first && !x->gathers[k].rows) first = record->begin;
        if (!x->gathers[k].rows) compute += record->end - record->begin;
        if (record->end > free_at) free_at = record->end;
    }
    s->stall = (double)stall * 1e-9;
    s->compute_seconds = (double)compute * 1e-9;
    s->first_launch = first ? since_open(model, first) : 0;
}

/* The part of [from, to] inside the run. */
static double seconds_inside(const flashmem_model *model, uint64_t from, uint64_t to) {
    const fm_executor *x = &model->executor;
    if (from < x->run_begin) from = x->run_begin;
    if (to > x->run_end) to = x->run_end;
    return to > from ? (double)(to - from) * 1e-9 : 0;
}

static double average_bytes(const flashmem_model *model, const fm_read_record *reads) {
    const fm_executor *x = &model->executor;
    const fm_replay   *r = &model->replay;
    double             duration = (double)(x->run_end - x->run_begin) * 1e-9, sum = 0;
    if (duration <= 0) return 0;
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        if (object->stays && !object->resident && x->run > 0) continue; /* its images are all that is left */
        uint64_t from = object->resident && x->run > 0 ? x->run_begin : reads->requested[o];
        uint64_t to = object->resident ? x->run_end : x->records[object->freed].end;
        sum += (double)object->bytes * seconds_inside(model, from, to);
    }
    for (uint32_t v = 0; v < model->program->value_count; v++) {
        const fm_replay_value *value = &r->values[v];
        if (!value->placed || value->from < 0 || value->to >= (int32_t)r->step_count) continue;
        uint64_t from = value->from == 0 ? x->run_begin : x->records[value->from].begin;
        uint64_t to = value->to + 1 == (int32_t)r->step_count ? x->run_end : x->records[value->to].end;
        sum += (double)value->bytes * seconds_inside(model, from, to);
    }
    return sum / duration + (double)r->staging_bytes + (double)r->image_bytes;
}

/* Launch times by cost class.  Weight bytes count as bytes, as in the planner's model. */
static void observe(const flashmem_model *model, fm_observed *o) {
    const fm_replay *r = &model->replay;
    double           launch = model->profile.times[model->pack.header.layout].launch_seconds;
    *o = (fm_observed){ .shortest = 0 };
    for (uint32_t k = 0; k < r->step_count; k++) {
        const fm_step_record *record = &model->executor.records[k];
        if (!record->end || model->executor.gathers[k].rows) continue;
        fm_work work = fm_step_work(&model->pack.packed, model->program, r->steps[k].step, r->steps[k].panels);
        double  seconds = (double)(record->end - record->begin) * 1e-9;
        if (seconds < 1e-6) seconds = 1e-6;
        if (o->shortest == 0 || seconds < o->shortest) o->shortest = seconds;
        seconds = seconds > 2 * launch ? seconds - launch : seconds / 2;
        o->seconds[work.cost_class] += seconds;
        o->flops[work.cost_class] += work.flops;
        o->bytes[work.cost_class] += work.bytes + work.weight_bytes;
    }
}

static void learn(flashmem_model *model) {
    fm_observed observed;
    if (model->profile.facts.is_null) return;
    if (model->stats.bytes_read > 8u << 20) fm_profile_learn_disk(&model->profile, model->stats.disk_rate);
    /* A run that built its programs timed the compiler, not the kernels. */
    if (atomic_load(&model->gpu->cache_state) == FM_CACHE_MISS && model->executor.run == 0) return;
    observe(model, &observed);
    fm_profile_learn(&model->profile.times[model->pack.header.layout], &observed);
    if (model->executor.run == 0)
        model->profile.startup_seconds = 0.5 * (model->profile.startup_seconds + model->stats.device_ready);
}

void fm_stats_end_run(flashmem_model *model) {
    const fm_executor    *x = &model->executor;
    const fm_read_record *reads = fm_reader_record(model->reader, x->run);
    flashmem_stats       *s = &model->stats;
    uint64_t              bytes = 0, check = 0, ready = atomic_load(&model->gpu->programs_ready);
    for (uint32_t i = 0; i < reads->count; i++) {
        bytes += reads->chunks[i].bytes;
        check += reads->chunks[i].check_to - reads->chunks[i].check_from;
    }
    s->runs = x->run + 1;
    s->run_begin = since_open(model, x->run_begin);
    s->run_end = since_open(model, x->run_end);
    s->device_ready = since_open(model, ready > model->device_up ? ready : model->device_up);
    s->bytes_read = bytes + x->row_bytes;
    s->read_seconds = (double)union_of_reads(reads) * 1e-9;
    s->disk_rate = disk_rate(reads, (uint64_t)s->read_depth * s->read_bytes);
    s->verify_seconds = (double)check * 1e-9;
    s->average_bytes = average_bytes(model, reads);
    s->direct = fm_reader_is_direct(model->reader);
    s->reader = fm_reader_backend(model->reader);
    s->program_cache_hit = atomic_load(&model->gpu->cache_state) == FM_CACHE_HIT;
    evaluate_steps(model, reads);
    if (model->options.serial) {
        s->serial_read = x->serial_read;
        s->serial_compute = x->serial_compute;
        s->serial_startup = x->run == 0 ? model->serial_startup : 0;
    }
    learn(model);
}

void flashmem_model_stats(const flashmem_model *model, flashmem_stats *out) {
    *out = model->stats;
    if (model->memory.count) out->huge_pages = fm_memory_in_huge_pages(&model->memory);
    if (model->gpu) out->device_name = model->gpu->facts.name;
}

static flashmem_step_time time_of_launch(const flashmem_model *model, uint32_t k) {
    const fm_replay_step *step = &model->replay.steps[k];
    uint32_t              name = model->program->steps[step->step].name;
    return (flashmem_step_time){ .name = fm_program_string(model->program, name),
                                 .kind = model->executor.gathers[k].rows ? FLASHMEM_STEP_ROWS : FLASHMEM_STEP_KERNEL,
                                 .step = step->step,
                                 .first_panel = step->first_panel,
                                 .panels = step->panels };
}

static flashmem_step_time time_of_conversion(const flashmem_model *model, uint32_t i) {
    const fm_replay_convert *convert = &model->replay.converts[i];
    const fm_replay_image   *image = &model->replay.images[convert->image];
    const fm_weight         *weight = &model->pack.packed.weights[image->weight];
    return (flashmem_step_time){ .name = fm_program_string(model->program, weight->name),
                                 .kind = FLASHMEM_STEP_CONVERSION,
                                 .step = model->replay.steps[convert->before_step].step,
                                 .first_panel = image->first_panel + convert->first_panel,
                                 .panels = convert->panels,
                                 .bytes = convert->panels * weight->panel_bytes };
}

uint32_t flashmem_model_step_times(const flashmem_model *model, flashmem_step_time *times, uint32_t limit) {
    const fm_executor *x = &model->executor;
    uint32_t           launches = model->replay.step_count, count = launches + model->replay.convert_count;
    if (!x->run) return 0;
    for (uint32_t i = 0; i < count && i < limit; i++) {
        const fm_step_record *record = &x->records[i];
        times[i] = i < launches ? time_of_launch(model, i) : time_of_conversion(model, i - launches);
        if (!record->end) continue;
        times[i].begin = since_open(model, record->begin);
        times[i].end = since_open(model, record->end);
    }
    return count;
}
