/* Checks a simulation from the replay and the device alone: each machine does one thing at a time, nothing happens
 * before what it waits for, memory adds up. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "schedule/simulate.h"
#include "schedule/work.h"

typedef struct checker {
    const fm_simulate_input   *in;
    const fm_replay           *replay;
    const flashmem_simulation *s;
    flashmem_error            *err;
} checker;

#define BAD(...) fm_fail(c->err, FLASHMEM_INTERNAL, __VA_ARGS__)

static double slack(double x) { return 1e-9 * (1 + fabs(x)); }
static bool   before(double a, double b) { return a < b - slack(b); }
static bool   differ(double a, double b) { return fabs(a - b) > slack(a) + slack(b); }

static bool is_gather(const checker *c, uint32_t k) {
    return c->in->program->steps[c->replay->steps[k].step].kind == FM_STEP_GATHER_ROWS;
}

/* The device: start-up, then conversions and launches, one after the other. */
static flashmem_status check_device(const checker *c) {
    double free_at = c->in->device->startup_seconds, stall = 0, convert = 0, compute = 0;
    for (uint32_t k = 0; k < c->replay->step_count; k++) {
        const flashmem_simulated_step *step = &c->s->steps[k];
        double seconds = fm_launch_seconds(c->in->device, c->in->packed, c->in->program, c->in->step_seconds,
                                           c->replay->steps[k].step, c->replay->steps[k].panels);
        double begin = free_at + step->stall + step->convert;
        if (step->stall < 0 || before(step->start, begin)) return BAD("launch %u: starts while the device is busy", k);
        if (!is_gather(c, k) && differ(step->start, begin)) return BAD("launch %u: starts late without a stall", k);
        if (differ(step->end - step->start, seconds)) return BAD("launch %u: takes another time", k);
        free_at = step->end;
        stall += step->stall;
        convert += step->convert;
        compute += seconds;
    }
    double copies = 0;
    for (uint32_t r = 0; r < c->replay->convert_count; r++) {
        const fm_replay_convert *row = &c->replay->converts[r];
        uint32_t                 weight = c->replay->images[row->image].weight;
        copies += fm_convert_seconds(c->in->device,
                                     (double)row->panels * (double)c->in->packed->weights[weight].panel_bytes);
    }
    if (differ(convert, copies) || differ(c->s->convert_seconds, copies)) return BAD("conversions take another time");
    if (differ(c->s->stall, stall) || differ(c->s->compute_seconds, compute))
        return BAD("stalls or kernels do not add up");
    if (differ(c->s->latency, free_at)) return BAD("latency is not the end of the last launch");
    return FLASHMEM_OK;
}

static uint64_t rows_of(const checker *c, double *seconds) {
    double bytes = 0;
    for (uint32_t k = 0; k < c->replay->step_count; k++) {
        fm_work work = fm_step_work(c->in->packed, c->in->program, c->replay->steps[k].step, 0);
        bytes += work.rows * work.row_bytes;
    }
    *seconds = bytes / c->in->device->disk_bytes_per_second;
    return (uint64_t)bytes;
}

/* The disk: one object after the other, none faster than it can be read, none before its memory is free. */
static flashmem_status check_disk(const checker *c) {
    const flashmem_device *d = c->in->device;
    double                 disk = 0, rows_seconds, requested = 0;
    uint64_t               bytes = rows_of(c, &rows_seconds);
    for (uint32_t o = 0; o < c->replay->object_count; o++) {
        const fm_replay_object          *object = &c->replay->objects[o];
        const flashmem_simulated_object *x = &c->s->objects[o];
        double free = object->after >= 0 && !object->wrap ? c->s->steps[object->after].end : 0;
        if (before(x->request, free)) return BAD("object %u: requested before launch %d has ended", o, object->after);
        if (before(x->request, requested)) return BAD("object %u: requested before the one ahead of it", o);
        if (before(x->read_start, x->request + d->request_seconds))
            return BAD("object %u: read before it is asked for", o);
        if (before(x->read_start, disk)) return BAD("object %u: two reads at once", o);
        if (before(x->read_end, x->read_start + (double)object->bytes / d->disk_bytes_per_second))
            return BAD("object %u: read faster than the disk is", o);
        double last = (double)((object->bytes - 1) % c->replay->read_bytes +
                               1); /* the last request, checked when read */
        if (before(x->arrival, x->read_end + (d->check_bytes_per_second > 0 ? last / d->check_bytes_per_second : 0)))
            return BAD("object %u: arrives unchecked", o);
        if (differ(x->freed, object->resident ? c->s->latency : c->s->steps[object->freed].end))
            return BAD("object %u: freed at another time than the plan says", o);
        requested = x->request;
        disk = x->read_end;
        bytes += object->bytes;
    }
    if (bytes != c->s->read_bytes) return BAD("%" PRIu64 " bytes read, the plan has %" PRIu64, c->s->read_bytes, bytes);
    if (differ(c->s->disk_seconds, (double)(bytes) / d->disk_bytes_per_second)) return BAD("reads do not add up");
    if (before(c->s->latency, c->s->limit)) return BAD("faster than disk and kernels allow");
    return FLASHMEM_OK;
}

/* Launches and conversions have their bytes. */
static flashmem_status check_waits(const checker *c) {
    const fm_replay *r = c->replay;
    for (uint32_t k = 0; k < r->step_count; k++)
        for (uint32_t u = 0; u < r->steps[k].object_count; u++) {
            uint32_t o = r->uses[r->steps[k].first_object + u];
            if (before(c->s->steps[k].start - c->s->steps[k].convert, c->s->objects[o].arrival))
                return BAD("launch %u: before object %u has arrived", k, o);
        }
    for (uint32_t i = 0; i < r->arrival_count; i++) {
        const fm_replay_arrival       *row = &r->arrivals[i];
        const flashmem_simulated_step *step = &c->s->steps[row->before_step];
        double                         read = (double)row->bytes / c->in->device->disk_bytes_per_second;
        if (before(step->start - step->convert, c->s->objects[row->object].read_start + read))
            return BAD("launch %u: before %" PRIu64 " bytes of object %u have arrived", row->before_step, row->bytes,
                       row->object);
    }
    for (uint32_t i = 0; i < r->convert_count; i++) {
        const fm_replay_convert         *row = &r->converts[i];
        const fm_replay_image           *image = &r->images[row->image];
        const flashmem_simulated_object *x = &c->s->objects[image->object];
        const flashmem_simulated_step   *step = &c->s->steps[row->before_step];
        double                           bytes = (double)image->source + (double)(row->first_panel + row->panels) *
                                                   (double)c->in->packed->weights[image->weight].panel_bytes;
        if (before(step->start - step->convert, x->read_start + bytes / c->in->device->disk_bytes_per_second))
            return BAD("launch %u: converts what has not been read of object %u", row->before_step, image->object);
    }
    return FLASHMEM_OK;
}

/* Bytes alive just after a moment, from the lives of everything. */
static flashmem_memory_point alive(const checker *c, double at) {
    flashmem_memory_point p = { .at = at };
    for (uint32_t o = 0; o < c->replay->object_count; o++) {
        const fm_replay_object *object = &c->replay->objects[o];
        if (c->s->objects[o].request > at || c->s->objects[o].freed <= at) continue;
        if (object->resident) p.residents += object->bytes;
        else p.objects += object->bytes;
    }
    for (uint32_t v = 0; v < c->in->program->value_count; v++) {
        const fm_replay_value *value = &c->replay->values[v];
        if (!value->placed) continue;
        double from = value->from > 0 ? c->s->steps[value->from - 1].end : 0;
        if (from <= at && at < c->s->steps[value->to].end) p.activations += value->bytes;
    }
    return p;
}

/* Some points in full, all of them for order and sum. */
static flashmem_status check_memory(const checker *c) {
    enum { SAMPLES = 64 };
    const flashmem_simulation *s = c->s;
    uint64_t                   fixed = s->image_bytes + s->staging_bytes, regions = 0, peak = 0;
    double                     sum = 0;
    for (uint32_t i = 0; i < c->replay->region_count; i++) regions += c->replay->region_bytes[i];
    for (uint32_t i = 0; i < s->memory_count; i++) {
        const flashmem_memory_point *p = &s->memory[i];
        uint64_t                     all = p->objects + p->residents + p->activations;
        double                       until = i + 1 < s->memory_count ? s->memory[i + 1].at : s->latency;
        if (until < p->at) return BAD("memory: point %u lies behind the next", i);
        if (all > regions) return BAD("memory: %" PRIu64 " bytes alive, %" PRIu64 " reserved", all, regions);
        if (all > peak) peak = all;
        sum += (double)all * (until - p->at);
        if (i % (s->memory_count / SAMPLES + 1)) continue;
        flashmem_memory_point want = alive(c, p->at);
        if (p->objects != want.objects || p->residents != want.residents || p->activations != want.activations)
            return BAD("memory: %" PRIu64 " + %" PRIu64 " + %" PRIu64 " bytes at %g s, %" PRIu64 " + %" PRIu64
                       " + %" PRIu64 " are alive",
                       p->objects, p->residents, p->activations, p->at, want.objects, want.residents, want.activations);
    }
    if (s->peak_bytes != peak + fixed)
        return BAD("memory: peak %" PRIu64 ", the curve's is %" PRIu64, s->peak_bytes, peak + fixed);
    if (s->peak_bytes > c->replay->peak) return BAD("memory: peak %" PRIu64 " above the plan's", s->peak_bytes);
    double average = (s->latency > 0 ? sum / s->latency : 0) + (double)fixed;
    if (differ(average, s->average_bytes))
        return BAD("memory: average %g, the curve's is %g", s->average_bytes, average);
    return FLASHMEM_OK;
}

flashmem_status fm_simulate_verify(const fm_simulate_input *in, const flashmem_simulation *s, flashmem_error *err) {
    const checker made = { in, in->replay, s, err }, *c = &made;
    if (s->step_count != in->replay->step_count || s->object_count != in->replay->object_count)
        return BAD("%u launches and %u objects, the plan has %u and %u", s->step_count, s->object_count,
                   in->replay->step_count, in->replay->object_count);
    if (s->image_bytes != in->replay->image_bytes || s->staging_bytes != in->replay->staging_bytes)
        return BAD("images of %" PRIu64 " bytes and %" PRIu64 " of staging are not the plan's", s->image_bytes,
                   s->staging_bytes);
    FM_TRY(check_device(c));
    FM_TRY(check_disk(c));
    FM_TRY(check_waits(c));
    return check_memory(c);
}
