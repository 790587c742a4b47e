/* The slab cut: splittable steps become parts, their weights slabs, and the timed problem's numbers follow.
 *
 *     step 7 [ panels 0 .................. 95 ]      weight: cut units | u0 | u1 | u2 | u3 | u4 | u5 |
 *     parts  [ 0 .. 31 ][ 32 .. 63 ][ 64 .. 95 ]     slabs:          | slab 0  | slab 1  | slab 2  |
 */
#include <string.h>

#include "schedule/replay_internal.h"
#include "schedule/work.h"

enum { SMALLEST_SLAB = 1 << 20 };

/* Parts of whole cut units, at most slab_bytes each where that does not make them smaller than 1 MiB, and no higher
 * than an image may be. */
static uint32_t part_count(const fm_replay_facts *f, uint32_t w, uint64_t slab_bytes) {
    const fm_weight *weight = &f->pack->weights[w];
    if (!f->weights[w].cuttable) return 1;
    uint64_t unit = weight->unit_panels * weight->panel_bytes;
    uint64_t units = (weight->panels + weight->unit_panels - 1) / weight->unit_panels;
    uint64_t bytes = f->pack->objects[weight->object].bytes, most = slab_bytes / unit ? slab_bytes / unit : 1;
    uint64_t parts = (units + most - 1) / most, allowed = bytes / SMALLEST_SLAB ? bytes / SMALLEST_SLAB : 1;
    if (parts > allowed) parts = allowed;
    if (f->weights[w].image && f->request->device.image_limit) {
        uint64_t high = f->request->device.image_limit / weight->unit_panels; /* units; at least 1, checked */
        if (parts < (units + high - 1) / high) parts = (units + high - 1) / high;
    }
    return (uint32_t)parts;
}

/* First unit of part i of n: the longer parts come first. */
static uint64_t part_begin(uint64_t units, uint32_t parts, uint32_t i) {
    uint64_t each = units / parts, longer = units % parts;
    return each * i + (i < longer ? i : longer);
}

static uint32_t split_weight(const fm_program *p, const fm_step *step) {
    return step->split_value == FM_NONE ? FM_NONE : p->values[step->split_value].weight;
}

static uint32_t step_parts(const fm_replay_facts *f, const fm_step *step, uint64_t slab_bytes) {
    uint32_t w = split_weight(f->program, step);
    return w == FM_NONE ? 1 : part_count(f, w, slab_bytes);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void cut_steps(const fm_replay_facts *f, fm_cut *cut) {
    const fm_program *p = f->program;
    cut->first_part = fm_arena_array(f->arena, p->step_count + 1u, sizeof *cut->first_part);
    for (uint32_t s = 0; s < p->step_count; s++)
        cut->first_part[s + 1] = cut->first_part[s] + step_parts(f, &p->steps[s], cut->slab_limit);
    cut->step_count = cut->first_part[p->step_count];
    cut->steps = fm_arena_array(f->arena, cut->step_count, sizeof *cut->steps);
    for (uint32_t s = 0; s < p->step_count; s++) {
        uint32_t w = split_weight(p, &p->steps[s]), parts = cut->first_part[s + 1] - cut->first_part[s];
        for (uint32_t i = 0; i < parts; i++) {
            fm_replay_step *part = &cut->steps[cut->first_part[s] + i];
            *part = (fm_replay_step){ .step = s, .image = FM_NONE };
            if (w != FM_NONE && f->weights[w].cuttable) {
                const fm_weight *weight = &f->pack->weights[w];
                uint64_t         units = (weight->panels + weight->unit_panels - 1) / weight->unit_panels;
                uint64_t         end = part_begin(units, parts, i + 1) * weight->unit_panels;
                part->first_panel = (uint32_t)(part_begin(units, parts, i) * weight->unit_panels);
                part->panels = (uint32_t)((end < weight->panels ? end : weight->panels) - part->first_panel);
            }
            part->seconds = fm_launch_seconds(&f->request->device, f->pack, p, f->request->step_seconds, s,
                                              part->panels);
        }
    }
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static uint32_t last_part(const fm_cut *cut, uint32_t s) { return cut->first_part[s + 1] - 1; }

/* Slab i of weight w: first and last step over all steps that use the weight, which are cut alike. */
static void slab_life(const fm_replay_facts *f, const fm_cut *cut, uint32_t w, uint32_t i, fm_replay_object *object) {
    object->first = cut->first_part[f->weights[w].first] + i;
    object->last = cut->first_part[f->weights[w].last] + i;
}

static uint32_t cut_object(const fm_replay_facts *f, const fm_cut *cut, uint32_t o, fm_replay_object *out) {
    const fm_object *object = &f->pack->objects[o];
    uint32_t         w = object->weight;
    fm_replay_object whole = { .object = o,
                               .bytes = object->bytes,
                               .weight = w,
                               .units = (object->bytes + object->unit_bytes - 1) / object->unit_bytes,
                               .first = cut->first_part[f->object_first[o]],
                               .last = last_part(cut, f->object_last[o]) };
    if (w != FM_NONE) whole.panels = (uint32_t)f->pack->weights[w].panels;
    uint32_t parts = w == FM_NONE ? 1 : part_count(f, w, cut->slab_limit);
    if (w == FM_NONE || !f->weights[w].cuttable) {
        *out = whole;
        return 1;
    }
    const fm_weight *weight = &f->pack->weights[w];
    for (uint32_t i = 0; i < parts; i++) {
        uint64_t begin = part_begin(whole.units, parts, i), end = part_begin(whole.units, parts, i + 1);
        uint64_t last_byte = end * object->unit_bytes < object->bytes ? end * object->unit_bytes : object->bytes;
        uint64_t last_panel = end * weight->unit_panels < weight->panels ? end * weight->unit_panels : weight->panels;
        out[i] = whole;
        out[i].offset = begin * object->unit_bytes;
        out[i].bytes = last_byte - out[i].offset;
        out[i].first_unit = begin;
        out[i].units = end - begin;
        out[i].first_panel = (uint32_t)(begin * weight->unit_panels);
        out[i].panels = (uint32_t)(last_panel - out[i].first_panel);
        slab_life(f, cut, w, i, &out[i]);
    }
    return parts;
}

/* Objects sorted by first use; where[pack object] + slab gives the place in `sorted_at`. */
static uint32_t *cut_objects(const fm_replay_facts *f, fm_cut *cut, uint32_t *where) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->order_count; i++) {
        uint32_t o = f->order[i], w = f->pack->objects[o].weight;
        where[o] = count;
        count += w == FM_NONE ? 1 : part_count(f, w, cut->slab_limit);
    }
    fm_replay_object *made = fm_arena_array(f->arena, count, sizeof *made);
    uint32_t         *sorted_at = fm_arena_array(f->arena, count, sizeof *sorted_at);
    uint32_t         *begin = fm_arena_array(f->arena, cut->step_count + 1u, sizeof *begin);
    for (uint32_t i = 0; i < f->order_count; i++) cut_object(f, cut, f->order[i], made + where[f->order[i]]);
    for (uint32_t i = 0; i < count; i++) begin[made[i].first + 1]++;
    for (uint32_t k = 0; k < cut->step_count; k++) begin[k + 1] += begin[k];
    cut->objects = fm_arena_array(f->arena, count, sizeof *cut->objects);
    cut->object_count = count;
    for (uint32_t i = 0; i < count; i++) {
        sorted_at[i] = begin[made[i].first]++;
        cut->objects[sorted_at[i]] = made[i];
        cut->object_bytes += made[i].bytes;
        if (made[i].weight != FM_NONE && made[i].bytes > cut->largest) cut->largest = made[i].bytes;
    }
    return sorted_at;
}

static void add_uses(const fm_replay_facts *f, fm_cut *cut, uint32_t k, const uint32_t *where,
                     const uint32_t *sorted_at, size_t *capacity) {
    const fm_program *p = f->program;
    fm_replay_step   *part = &cut->steps[k];
    const fm_step    *step = &p->steps[part->step];
    size_t            count = cut->use_count;
    part->first_object = cut->use_count;
    for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count; a++) {
        if (p->args[a].kind > FM_ARG_IMAGE || p->values[p->args[a].value].kind != FM_VALUE_WEIGHT) continue;
        uint32_t w = p->values[p->args[a].value].weight, o = f->pack->weights[w].object;
        if (o == FM_NONE) continue;
        uint32_t slab = f->weights[w].cuttable ? k - cut->first_part[part->step] : 0;
        uint32_t object = sorted_at[where[o] + slab];
        bool     known = false;
        for (uint32_t u = part->first_object; u < count; u++) known = known || cut->uses[u] == object;
        if (!known) FM_PUSH(f->arena, cut->uses, count, *capacity) = object;
    }
    cut->use_count = (uint32_t)count;
    part->object_count = cut->use_count - part->first_object;
}

/* --- values and numbers ------------------------------------------------------------------------------------------- */

static void cut_values(const fm_replay_facts *f, fm_cut *cut) {
    const fm_program *p = f->program;
    int32_t           end = (int32_t)cut->step_count - 1;
    int64_t          *change = fm_arena_array(f->arena, cut->step_count + 1u, sizeof *change), live = 0;
    cut->values = fm_arena_array(f->arena, p->value_count, sizeof *cut->values);
    for (uint32_t v = 0; v < p->value_count; v++) {
        const fm_value_use *use = &f->values[v];
        bool                touched = use->first != FM_NONE;
        fm_replay_value     value = { .bytes = use->bytes, .placed = use->placed, .from = 0, .to = end };
        if (!use->always) {
            if (touched && !use->from_begin) value.from = (int32_t)cut->first_part[use->first];
            if (!use->to_end) value.to = touched ? (int32_t)last_part(cut, use->last) : 0;
            if (!touched && !use->from_begin && use->to_end) value.from = end;
        }
        cut->values[v] = value;
        if (!value.placed) continue;
        change[value.from] += (int64_t)value.bytes;
        change[value.to + 1] -= (int64_t)value.bytes;
    }
    cut->timed_steps = fm_arena_array(f->arena, cut->step_count, sizeof *cut->timed_steps);
    for (uint32_t k = 0; k < cut->step_count; k++) {
        live += change[k];
        cut->timed_steps[k] = (fm_timed_step){ cut->steps[k].seconds, (uint64_t)live };
        if ((uint64_t)live > cut->activation_peak) cut->activation_peak = (uint64_t)live;
    }
}

void fm_replay_time_conversions(const fm_replay_facts *f, fm_cut *cut) {
    for (uint32_t k = 0; k < cut->step_count; k++) cut->timed_steps[k].seconds = cut->steps[k].seconds;
    for (uint32_t o = 0; o < cut->object_count; o++) {
        cut->timed_objects[o].convert_seconds = 0;
        cut->objects[o].need = cut->objects[o].first;
        cut->objects[o].freed = cut->timed_objects[o].last = cut->objects[o].last;
    }
    for (uint32_t c = 0; c < cut->convert_count; c++) {
        const fm_replay_convert *row = &cut->converts[c];
        const fm_replay_image   *image = &cut->images[row->image];
        fm_replay_object        *object = &cut->objects[image->object];
        fm_timed_object         *timed = &cut->timed_objects[image->object];
        double                   seconds = fm_convert_seconds(&f->request->device,
                                                              (double)row->panels * (double)f->pack->weights[image->weight].panel_bytes);
        if (row->before_step == object->first) timed->convert_seconds += seconds;
        else cut->timed_steps[row->before_step].seconds += seconds;
        /* A staged slab is done with once its image is made; a bundle also holds what is read where it lies. */
        if (object->staged) object->freed = timed->last = row->before_step; /* rows rise in steps */
    }
}

static void time_objects(const fm_replay_facts *f, fm_cut *cut) {
    cut->timed_objects = fm_arena_array(f->arena, cut->object_count, sizeof *cut->timed_objects);
    for (uint32_t i = 0; i < cut->object_count; i++) {
        fm_replay_object *object = &cut->objects[i];
        object->staged = object->images && object->weight != FM_NONE && !f->weights[object->weight].buffer;
        cut->timed_objects[i] = (fm_timed_object){ .bytes = object->bytes,
                                                   .read_bytes = object->bytes,
                                                   .first = object->first };
    }
    fm_replay_time_conversions(f, cut);
}

void fm_replay_cut(const fm_replay_facts *f, uint64_t slab_bytes, fm_cut *cut) {
    size_t capacity = 0;
    *cut = (fm_cut){ .slab_limit = slab_bytes };
    cut_steps(f, cut);
    uint32_t *where = fm_arena_array(f->arena, f->pack->object_count, sizeof *where);
    uint32_t *sorted_at = cut_objects(f, cut, where);
    for (uint32_t k = 0; k < cut->step_count; k++) add_uses(f, cut, k, where, sorted_at, &capacity);
    cut_values(f, cut);
    fm_replay_assign_images(f, cut);
    time_objects(f, cut);
    cut->fixed = cut->image_bytes + f->staging;
}

fm_timed_problem fm_replay_problem(const fm_replay_facts *f, const fm_cut *cut, uint64_t cap) {
    return (fm_timed_problem){
        .steps = cut->timed_steps,
        .step_count = cut->step_count,
        .objects = cut->timed_objects,
        .object_count = cut->object_count,
        .bandwidth = f->request->device.disk_bytes_per_second,
        .request_seconds = f->request->device.request_seconds,
        .startup_seconds = f->request->device.startup_seconds,
        .cap = cap,
        .read_order = cut->read_order,
    };
}
