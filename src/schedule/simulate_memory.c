/* What a simulation starts from and ends with: needs of launches, and bytes alive over time. */
#include <stdlib.h>

#include "schedule/simulate_internal.h"
#include "schedule/work.h"

static uint64_t converted_bytes(const fm_simulate_input *in, const fm_replay_convert *row) {
    const fm_replay_image *image = &in->replay->images[row->image];
    return row->panels * in->packed->weights[image->weight].panel_bytes;
}

double fm_simulate_convert_seconds(const fm_simulate_input *in, uint32_t convert) {
    return fm_convert_seconds(in->device, (double)converted_bytes(in, &in->replay->converts[convert]));
}

double fm_simulate_row_bytes(const fm_simulate_input *in, uint32_t launch) {
    fm_work work = fm_step_work(in->packed, in->program, in->replay->steps[launch].step, 0);
    return work.rows * work.row_bytes;
}

/* The first bytes of an object, as they arrive: whole checksum units. */
static fm_simulate_need first_bytes(const fm_simulate_input *in, uint32_t index, uint64_t bytes) {
    const fm_replay_object *object = &in->replay->objects[index];
    uint64_t                unit = in->packed->objects[object->object].unit_bytes;
    uint64_t                end = (bytes + unit - 1) / unit * unit;
    return (fm_simulate_need){ index, end < object->bytes ? end : object->bytes };
}

/* Up to the end of what a conversion copies. */
static fm_simulate_need need_of_convert(const fm_simulate_input *in, const fm_replay_convert *row) {
    const fm_replay_image *image = &in->replay->images[row->image];
    uint64_t               before = row->first_panel * in->packed->weights[image->weight].panel_bytes;
    return first_bytes(in, image->object, image->source + before + converted_bytes(in, row));
}

fm_simulate_need *fm_simulate_needs(const fm_simulate_input *in, uint32_t **first, fm_arena *arena) {
    const fm_replay  *r = in->replay;
    uint32_t         *begin = fm_arena_array(arena, r->step_count + 2u, sizeof *begin);
    size_t            most = (size_t)r->use_count + r->convert_count + r->arrival_count;
    fm_simulate_need *needs = fm_arena_array(arena, most, sizeof *needs);
    for (uint32_t k = 0; k < r->step_count; k++) begin[k + 2] += r->steps[k].object_count;
    for (uint32_t c = 0; c < r->convert_count; c++) begin[r->converts[c].before_step + 2]++;
    for (uint32_t a = 0; a < r->arrival_count; a++) begin[r->arrivals[a].before_step + 2]++;
    for (uint32_t k = 0; k < r->step_count; k++) begin[k + 2] += begin[k + 1];
    for (uint32_t k = 0; k < r->step_count; k++)
        for (uint32_t u = 0; u < r->steps[k].object_count; u++) {
            uint32_t object = r->uses[r->steps[k].first_object + u];
            needs[begin[k + 1]++] = (fm_simulate_need){ object, r->objects[object].bytes };
        }
    for (uint32_t c = 0; c < r->convert_count; c++)
        needs[begin[r->converts[c].before_step + 1]++] = need_of_convert(in, &r->converts[c]);
    for (uint32_t a = 0; a < r->arrival_count; a++)
        needs[begin[r->arrivals[a].before_step + 1]++] = first_bytes(in, r->arrivals[a].object, r->arrivals[a].bytes);
    *first = begin;
    return needs;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

enum { OBJECT, RESIDENT, ACTIVATION };

typedef struct change {
    double  at;
    int64_t bytes;
    int     kind;
} change;

static int by_time(const void *a, const void *b) { /* at one moment, what ends goes first */
    const change *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if ((x->bytes < 0) != (y->bytes < 0)) return x->bytes < 0 ? -1 : 1;
    return x->kind - y->kind;
}

static change *collect(const fm_simulate_input *in, const flashmem_simulation *s, fm_arena *arena, size_t *count) {
    const fm_replay *r = in->replay;
    change *changes = fm_arena_array(arena, 2 * ((size_t)r->object_count + in->program->value_count), sizeof *changes);
    size_t  n = 0;
    for (uint32_t o = 0; o < r->object_count; o++) {
        int     kind = r->objects[o].resident ? RESIDENT : OBJECT;
        int64_t bytes = (int64_t)r->objects[o].bytes;
        changes[n++] = (change){ s->objects[o].request, bytes, kind };
        changes[n++] = (change){ s->objects[o].freed, -bytes, kind };
    }
    for (uint32_t v = 0; v < in->program->value_count; v++) {
        const fm_replay_value *value = &r->values[v];
        if (!value->placed) continue;
        changes[n++] = (change){ value->from > 0 ? s->steps[value->from - 1].end : 0, (int64_t)value->bytes,
                                 ACTIVATION };
        changes[n++] = (change){ s->steps[value->to].end, -(int64_t)value->bytes, ACTIVATION };
    }
    *count = n;
    return changes;
}

void fm_simulate_memory(const fm_simulate_input *in, fm_arena *arena, flashmem_simulation *out) {
    size_t                 count;
    change                *changes = collect(in, out, arena, &count);
    flashmem_memory_point *points = fm_arena_array(arena, count + 1, sizeof *points);
    uint32_t               n = 0;
    int64_t                live[3] = { 0 }, fixed = (int64_t)(out->image_bytes + out->staging_bytes), peak = 0;
    double                 sum = 0;
    if (count) qsort(changes, count, sizeof *changes, by_time);
    for (size_t i = 0; i < count; i++) {
        live[changes[i].kind] += changes[i].bytes;
        if (i + 1 < count && changes[i + 1].at == changes[i].at) continue;
        points[n++] = (flashmem_memory_point){ changes[i].at, (uint64_t)live[OBJECT], (uint64_t)live[RESIDENT],
                                               (uint64_t)live[ACTIVATION] };
        int64_t all = live[OBJECT] + live[RESIDENT] + live[ACTIVATION];
        double  until = i + 1 < count ? changes[i + 1].at : out->latency;
        if (all > peak) peak = all;
        sum += (double)all * (until - changes[i].at);
    }
    out->memory = points;
    out->memory_count = n;
    out->peak_bytes = (uint64_t)(peak + fixed);
    out->average_bytes = (out->latency > 0 ? sum / out->latency : 0) + (double)fixed;
}
