#include "schedule/simulate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/simulate_internal.h"
#include "schedule/work.h"

typedef struct request { /* of one chunk, from its submission to its check */
    uint32_t object;
    uint64_t end; /* of the chunk in the object */
    uint64_t bytes;
    double   ready;
} request;

typedef struct activity { /* of a machine that does one thing at a time */
    bool   busy;
    double until;
} activity;

typedef struct simulator {
    const fm_simulate_input   *in;
    const fm_replay           *replay;
    flashmem_simulation       *out;
    flashmem_simulated_step   *steps;
    flashmem_simulated_object *objects;
    fm_simulate_need          *needs;
    uint32_t                  *need_first; /* [launches + 1] */
    double                    *seconds;    /* [launches] */
    double                    *convert;    /* [launches] conversions right before it */
    uint64_t                  *arrived;    /* [objects] bytes there and checked */
    double                     now;
    /* Requests are submitted, transferred and checked in one order; the ring holds those not checked yet. */
    request *ring;
    uint64_t ring_size, submitted, transferred, checked;
    uint32_t next_object;
    uint64_t next_offset;
    activity disk, checker, device;
    bool     rows_on_disk;
    double   rows_bytes;   /* a launch waits for that many bytes of rows to be read, or 0 */
    double   rows_from;    /* ... once its conversions are done */
    uint32_t launch, need; /* the launch at hand, and the first of its needs that is not met */
    uint32_t ended;        /* launches that have ended */
    double   free_at;      /* when the device was free for the launch at hand */
} simulator;

/* --- machines ----------------------------------------------------------------------------------------------------- */

static bool memory_is_free(const simulator *s, const fm_replay_object *object) {
    return object->wrap || object->after < 0 || s->ended > (uint32_t)object->after;
}

static bool submit_request(simulator *s) {
    const fm_replay *r = s->replay;
    if (s->next_object == r->object_count || s->rows_bytes > 0) return false;
    if (s->submitted - s->transferred >= r->read_depth || s->submitted - s->checked >= s->ring_size) return false;
    const fm_replay_object *object = &r->objects[s->next_object];
    if (s->next_offset == 0 && !memory_is_free(s, object)) return false;
    uint64_t left = object->bytes - s->next_offset, bytes = left < r->read_bytes ? left : r->read_bytes;
    if (s->next_offset == 0) s->objects[s->next_object].request = s->now;
    s->next_offset += bytes;
    s->ring[s->submitted++ % s->ring_size] = (request){ s->next_object, s->next_offset, bytes,
                                                        s->now + s->in->device->request_seconds };
    if (s->next_offset == object->bytes) {
        s->next_object++;
        s->next_offset = 0;
    }
    return true;
}

static bool start_disk(simulator *s) {
    double rate = s->in->device->disk_bytes_per_second;
    if (s->disk.busy) return false;
    if (s->rows_bytes > 0) {
        double seconds = s->rows_bytes / rate, begin = s->rows_from > s->now ? s->rows_from : s->now;
        s->disk = (activity){ true, begin + seconds };
        s->rows_on_disk = true;
        s->device.until = begin + s->seconds[s->launch];
        s->out->read_bytes += (uint64_t)s->rows_bytes;
        s->out->disk_seconds += seconds;
        return true;
    }
    if (s->transferred == s->submitted) return false;
    const request             *next = &s->ring[s->transferred % s->ring_size];
    flashmem_simulated_object *object = &s->objects[next->object];
    double begin = next->ready > s->now ? next->ready : s->now, seconds = (double)next->bytes / rate;
    if (next->end == next->bytes) object->read_start = begin;
    s->disk = (activity){ true, begin + seconds };
    s->out->read_bytes += next->bytes;
    s->out->disk_seconds += seconds;
    return true;
}

static void end_disk(simulator *s) {
    s->disk.busy = false;
    if (s->rows_on_disk) {
        s->rows_on_disk = false;
        s->rows_bytes = 0;
        return;
    }
    s->objects[s->ring[s->transferred++ % s->ring_size].object].read_end = s->now;
}

static bool start_check(simulator *s) {
    double rate = s->in->device->check_bytes_per_second;
    if (s->checker.busy || s->checked == s->transferred) return false;
    double seconds = rate > 0 ? (double)s->ring[s->checked % s->ring_size].bytes / rate : 0;
    s->checker = (activity){ true, s->now + seconds };
    s->out->check_seconds += seconds;
    return true;
}

static void end_check(simulator *s) {
    const request *done = &s->ring[s->checked++ % s->ring_size];
    s->checker.busy = false;
    s->arrived[done->object] = done->end;
    if (done->end == s->replay->objects[done->object].bytes) s->objects[done->object].arrival = s->now;
}

static bool needs_are_met(simulator *s) {
    for (; s->need < s->need_first[s->launch + 1]; s->need++)
        if (s->arrived[s->needs[s->need].object] < s->needs[s->need].bytes) return false;
    return true;
}

/* Conversions and launch are one stay on the device, unless rows have to be read between them. */
static bool start_launch(simulator *s) {
    if (s->device.busy || s->launch == s->replay->step_count || s->now < s->free_at || !needs_are_met(s)) return false;
    flashmem_simulated_step *step = &s->steps[s->launch];
    double                   rows = fm_simulate_row_bytes(s->in, s->launch);
    step->stall = s->now - s->free_at;
    step->convert = s->convert[s->launch];
    s->device = (activity){ true, s->now + step->convert + s->seconds[s->launch] };
    if (rows > 0) { /* the disk sets the end */
        s->rows_bytes = rows;
        s->rows_from = s->now + step->convert;
        s->device.until = 1e300;
    }
    return true;
}

static void end_launch(simulator *s) {
    flashmem_simulated_step *step = &s->steps[s->launch];
    s->device.busy = false;
    step->end = s->now;
    step->start = s->now - s->seconds[s->launch];
    s->free_at = s->now;
    s->need = s->need_first[++s->launch];
    s->ended = s->launch;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void start_all(simulator *s) {
    for (bool more = true; more;) {
        more = start_launch(s);
        more = start_disk(s) || more;
        more = start_check(s) || more;
        while (submit_request(s)) more = true;
    }
}

/* When something ends next, or the device is up; a negative number: never. */
static double next_event(const simulator *s) {
    double next = -1;
    if (s->disk.busy) next = s->disk.until;
    if (s->checker.busy && (next < 0 || s->checker.until < next)) next = s->checker.until;
    if (s->device.busy && (next < 0 || s->device.until < next)) next = s->device.until;
    if (!s->device.busy && s->now < s->free_at && (next < 0 || s->free_at < next)) next = s->free_at;
    return next;
}

static flashmem_status play(simulator *s, flashmem_error *err) {
    for (;;) {
        start_all(s);
        if (s->launch == s->replay->step_count && s->checked == s->submitted) return FLASHMEM_OK;
        double next = next_event(s);
        if (next < 0 || next >= 1e300)
            return fm_fail(err, FLASHMEM_INTERNAL, "launch %u waits for bytes that are never read", s->launch);
        s->now = next;
        if (s->disk.busy && s->disk.until <= s->now) end_disk(s);
        if (s->checker.busy && s->checker.until <= s->now) end_check(s);
        if (s->device.busy && s->device.until <= s->now) end_launch(s);
    }
}

/* --- before and after --------------------------------------------------------------------------------------------- */

static void prepare(simulator *s, fm_arena *arena) {
    const fm_replay *r = s->replay;
    s->steps = fm_arena_array(arena, r->step_count, sizeof *s->steps);
    s->objects = fm_arena_array(arena, r->object_count, sizeof *s->objects);
    s->seconds = fm_arena_array(arena, r->step_count, sizeof *s->seconds);
    s->convert = fm_arena_array(arena, r->step_count, sizeof *s->convert);
    s->arrived = fm_arena_array(arena, r->object_count, sizeof *s->arrived);
    s->ring_size = 2 * (uint64_t)r->read_depth; /* as many as may wait for their check */
    s->ring = fm_arena_array(arena, s->ring_size, sizeof *s->ring);
    s->needs = fm_simulate_needs(s->in, &s->need_first, arena);
    s->free_at = s->in->device->startup_seconds;
    for (uint32_t k = 0; k < r->step_count; k++)
        s->seconds[k] = fm_launch_seconds(s->in->device, s->in->packed, s->in->program, s->in->step_seconds,
                                          r->steps[k].step, r->steps[k].panels);
    for (uint32_t c = 0; c < r->convert_count; c++)
        s->convert[r->converts[c].before_step] += fm_simulate_convert_seconds(s->in, c);
}

static void sum_up(simulator *s) {
    const flashmem_device *d = s->in->device;
    flashmem_simulation   *out = s->out;
    const fm_replay       *r = s->replay;
    for (uint32_t k = 0; k < r->step_count; k++) {
        out->stall += s->steps[k].stall;
        out->convert_seconds += s->convert[k];
        out->compute_seconds += s->seconds[k];
    }
    for (uint32_t o = 0; o < r->object_count; o++)
        s->objects[o].freed = r->objects[o].resident ? s->free_at : s->steps[r->objects[o].freed].end;
    out->device = d->name;
    out->latency = s->free_at;
    out->image_bytes = r->image_bytes;
    out->staging_bytes = r->staging_bytes;
    double disk = (double)out->read_bytes / d->disk_bytes_per_second;
    out->limit = d->startup_seconds + out->compute_seconds;
    if (disk > out->limit) out->limit = disk;
    out->joules = d->idle_watts * out->latency + d->compute_watts * (out->convert_seconds + out->compute_seconds) +
                  d->disk_watts * out->disk_seconds;
    out->steps = s->steps;
    out->step_count = r->step_count;
    out->objects = s->objects;
    out->object_count = r->object_count;
}

flashmem_status fm_simulate(const fm_simulate_input *in, fm_arena *arena, flashmem_simulation *out,
                            flashmem_error *err) {
    simulator s = { .in = in, .replay = in->replay, .out = out };
    memset(out, 0, sizeof *out);
    prepare(&s, arena);
    FM_TRY(play(&s, err));
    sum_up(&s);
    fm_simulate_memory(in, arena, out);
    return FLASHMEM_OK;
}
