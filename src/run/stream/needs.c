/* What each step waits for: the objects it uses, whole; as much of an object as its conversions copy; and what the plan
 * says has arrived before it.  The reader is told where partly arrived objects are waited for, so that nobody wakes up in vain. */
#include <stdlib.h>

#include "run/model.h"

/* Whole checksum units, as they arrive. */
static uint64_t round_to_units(const flashmem_model *model, const fm_replay_object *object, uint64_t bytes) {
    uint64_t unit = model->pack.packed.objects[object->object].unit_bytes;
    uint64_t whole = (bytes + unit - 1) / unit * unit;
    return whole < object->bytes ? whole : object->bytes;
}

static fm_need need_of_convert(const flashmem_model *model, const fm_replay_convert *row) {
    const fm_replay_image *image = &model->replay.images[row->image];
    uint64_t               panel = model->pack.packed.weights[image->weight].panel_bytes;
    uint64_t               end = image->source + ((uint64_t)row->first_panel + row->panels) * panel;
    return (fm_need){ image->object, round_to_units(model, &model->replay.objects[image->object], end) };
}

static fm_need need_of_arrival(const flashmem_model *model, const fm_replay_arrival *row) {
    return (fm_need){ row->object, round_to_units(model, &model->replay.objects[row->object], row->bytes) };
}

static void make_table(flashmem_model *model) {
    fm_executor     *x = &model->executor;
    const fm_replay *r = &model->replay;
    size_t           most = (size_t)r->use_count + r->convert_count + r->arrival_count;
    x->need_first = fm_arena_array(model->plan_arena, r->step_count + 2, sizeof *x->need_first);
    x->needs = fm_arena_array(model->plan_arena, most, sizeof *x->needs);
    for (uint32_t k = 0; k < r->step_count; k++) x->need_first[k + 1] += r->steps[k].object_count;
    for (uint32_t c = 0; c < r->convert_count; c++) x->need_first[r->converts[c].before_step + 1]++;
    for (uint32_t a = 0; a < r->arrival_count; a++) x->need_first[r->arrivals[a].before_step + 1]++;
    for (uint32_t k = 0; k < r->step_count; k++) x->need_first[k + 1] += x->need_first[k];
    uint32_t *next = fm_arena_array(model->plan_arena, r->step_count + 1, sizeof *next);
    for (uint32_t k = 0; k < r->step_count; k++) {
        next[k] = x->need_first[k];
        for (uint32_t u = 0; u < r->steps[k].object_count; u++) {
            uint32_t object = r->uses[r->steps[k].first_object + u];
            x->needs[next[k]++] = (fm_need){ object, r->objects[object].bytes };
        }
    }
    for (uint32_t c = 0; c < r->convert_count; c++)
        x->needs[next[r->converts[c].before_step]++] = need_of_convert(model, &r->converts[c]);
    for (uint32_t a = 0; a < r->arrival_count; a++)
        x->needs[next[r->arrivals[a].before_step]++] = need_of_arrival(model, &r->arrivals[a]);
}

static int by_object(const void *a, const void *b) {
    const fm_need *x = a, *y = b;
    if (x->object != y->object) return x->object < y->object ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static void make_marks(flashmem_model *model) {
    const fm_executor *x = &model->executor;
    const fm_replay   *r = &model->replay;
    uint32_t           count = 0, all = x->need_first[r->step_count];
    fm_need           *parts = fm_arena_array(model->plan_arena, all, sizeof *parts);
    uint64_t          *marks = fm_arena_array(model->plan_arena, all, sizeof *marks);
    for (uint32_t i = 0; i < all; i++)
        if (x->needs[i].bytes < r->objects[x->needs[i].object].bytes) parts[count++] = x->needs[i];
    if (count) qsort(parts, count, sizeof *parts, by_object);
    for (uint32_t i = 0; i < count; i++) {
        fm_read_object *object = &model->objects[parts[i].object];
        if (!object->mark_count) object->marks = marks;
        else if (object->marks[object->mark_count - 1] == parts[i].bytes) continue;
        *marks++ = parts[i].bytes;
        object->mark_count++;
    }
}

void fm_needs_make(flashmem_model *model) {
    make_table(model);
    make_marks(model);
}

uint64_t fm_needs_arrival(const flashmem_model *model, const fm_read_record *reads, uint32_t k) {
    const fm_executor *x = &model->executor;
    uint64_t           last = 0;
    for (uint32_t i = x->need_first[k]; i < x->need_first[k + 1]; i++) {
        const fm_need *need = &x->needs[i];
        bool           whole = need->bytes == model->replay.objects[need->object].bytes;
        uint64_t at = whole ? reads->arrived[need->object] : fm_read_record_arrival(reads, need->object, need->bytes);
        if (at > last) last = at;
    }
    return last;
}
