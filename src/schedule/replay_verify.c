/* Checks a replay against pack and program without any of the code that made it: coverage of every panel, every launch's
 * weights, lives and places of everything over the circle of runs, images, order of reads, and the sums. */
#include <inttypes.h>
#include <stdlib.h>

#include "schedule/replay_verify.h"

#define BAD(...) fm_fail(v->err, FLASHMEM_INTERNAL, __VA_ARGS__)

static const fm_weight *weight_of_arg(const fm_replay_verifier *v, const fm_arg *arg) {
    if (arg->kind > FM_ARG_IMAGE || v->program->values[arg->value].kind != FM_VALUE_WEIGHT) return NULL;
    return &v->pack->weights[v->program->values[arg->value].weight];
}

/* --- steps: every panel once -------------------------------------------------------------------------------------- */

static flashmem_status check_parts(const fm_replay_verifier *v, uint32_t s, uint32_t *k) {
    const fm_step   *step = &v->program->steps[s];
    const fm_replay *r = v->replay;
    const fm_weight *split = NULL;
    if (step->split_value != FM_NONE) split = &v->pack->weights[v->program->values[step->split_value].weight];
    if (*k >= r->step_count || r->steps[*k].step != s) return BAD("step %u: not launched in its turn, at %u", s, *k);
    if (r->steps[*k].panels == 0) {
        if (r->steps[*k].first_panel) return BAD("launch %u: no panels from %u", *k, r->steps[*k].first_panel);
        (*k)++;
        return FLASHMEM_OK;
    }
    if (!split) return BAD("launch %u: panels of step %u, which cannot be split", *k, s);
    uint64_t next = 0;
    for (; *k < r->step_count && r->steps[*k].step == s; (*k)++) {
        const fm_replay_step *part = &r->steps[*k];
        if (part->first_panel != next || part->panels == 0)
            return BAD("launch %u: panels %u+%u of step %u, %" PRIu64 " is next", *k, part->first_panel, part->panels,
                       s, next);
        if (part->first_panel % split->unit_panels) return BAD("launch %u: begins inside a cut unit", *k);
        next += part->panels;
    }
    if (next != split->panels) return BAD("step %u: %" PRIu64 " of %" PRIu64 " panels", s, next, split->panels);
    return FLASHMEM_OK;
}

static flashmem_status check_steps(const fm_replay_verifier *v) {
    uint32_t k = 0;
    for (uint32_t s = 0; s < v->program->step_count; s++) FM_TRY(check_parts(v, s, &k));
    if (k != v->replay->step_count) return BAD("%u launches, %u belong to steps", v->replay->step_count, k);
    return FLASHMEM_OK;
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static flashmem_status check_object(const fm_replay_verifier *v, uint32_t i) {
    const fm_replay_object *o = &v->replay->objects[i];
    if (o->object >= v->pack->object_count) return BAD("object %u: %u of the pack", i, o->object);
    const fm_object *packed = &v->pack->objects[o->object];
    if (o->offset % packed->unit_bytes || o->bytes == 0 || o->bytes % FM_PACK_ALIGN || o->offset > packed->bytes ||
        o->bytes > packed->bytes - o->offset)
        return BAD("object %u: bytes %" PRIu64 "+%" PRIu64 " of a pack object of %" PRIu64, i, o->offset, o->bytes,
                   packed->bytes);
    if (o->offset + o->bytes != packed->bytes && o->bytes % packed->unit_bytes) return BAD("object %u: cuts a unit", i);
    if (o->first_unit != o->offset / packed->unit_bytes ||
        o->units != (o->bytes + packed->unit_bytes - 1) / packed->unit_bytes)
        return BAD("object %u: checksum units %" PRIu64 "+%" PRIu64, i, o->first_unit, o->units);
    if (o->weight != packed->weight) return BAD("object %u: weight %u, the pack says %u", i, o->weight, packed->weight);
    if (o->first > o->last || o->last >= v->replay->step_count)
        return BAD("object %u: used from step %u to %u", i, o->first, o->last);
    if (o->weight == FM_NONE) {
        if (o->offset || o->bytes != packed->bytes) return BAD("object %u: part of a bundle", i);
        return FLASHMEM_OK;
    }
    const fm_weight *w = &v->pack->weights[o->weight];
    uint64_t first = o->first_panel * w->panel_bytes, end = (uint64_t)(o->first_panel + o->panels) * w->panel_bytes;
    if (w->kind == FM_WEIGHT_PANELS &&
        (first != o->offset || end > o->offset + o->bytes || o->first_panel + o->panels > w->panels))
        return BAD("object %u: panels %u+%u of weight %u lie elsewhere", i, o->first_panel, o->panels, o->weight);
    return FLASHMEM_OK;
}

/* What arrives before a step that does not use it; then who waits for an object first, and until when it is needed. */
static flashmem_status check_needs(const fm_replay_verifier *v) {
    const fm_replay *r = v->replay;
    if (r->arrival_count && !v->request->stored) return BAD("%u arrivals without an overlap plan", r->arrival_count);
    for (uint32_t i = 0; i < r->arrival_count; i++) {
        const fm_replay_arrival *row = &r->arrivals[i];
        if (row->object >= r->object_count || row->bytes == 0 || row->bytes > r->objects[row->object].bytes ||
            row->before_step > r->objects[row->object].last)
            return BAD("arrival %u: %" PRIu64 " bytes of object %u before step %u", i, row->bytes, row->object,
                       row->before_step);
        if (row->before_step < v->need[row->object]) v->need[row->object] = row->before_step;
        if (row->before_step > v->freed[row->object]) v->freed[row->object] = row->before_step;
    }
    for (uint32_t i = 0; i < r->object_count; i++) {
        const fm_replay_object *o = &r->objects[i];
        if (o->need != v->need[i]) return BAD("object %u: needed by step %u, it says %u", i, v->need[i], o->need);
        if (o->freed != v->freed[i])
            return BAD("object %u: freed after step %u, needed until %u", i, o->freed, v->freed[i]);
    }
    return FLASHMEM_OK;
}

/* Requests in order, one position on the line of two runs each, never falling; and before who waits for the object, so
 * that no step waits for a read that waits for it. */
static flashmem_status check_requests(const fm_replay_verifier *v) {
    const fm_replay *r = v->replay;
    int64_t          steps = r->step_count, before = INT64_MIN;
    for (uint32_t i = 0; i < r->object_count; i++) {
        const fm_replay_object *o = &r->objects[i];
        bool ours = i && !r->policy && !r->rule && !v->request->stored; /* others read in the order of their wishes */
        if (ours && o->first < r->objects[i - 1].first) return BAD("object %u: read after one used later", i);
        if (ours && o->object == r->objects[i - 1].object && o->offset < r->objects[i - 1].offset)
            return BAD("object %u: read against the order of the file", i);
        if (o->after < FM_AFTER_START || o->after >= steps) return BAD("object %u: read after step %d", i, o->after);
        if (o->stays && (!v->request->stored || !o->resident != !!o->staged))
            return BAD("object %u: stays, and %s", i,
                       o->staged ? "is kept where only its image is used" : "is not kept");
        if (o->resident || o->stays) {
            if (o->after != FM_AFTER_START || o->wrap) return BAD("object %u: resident and waits", i);
            continue;
        }
        if (o->wrap && o->after < (int64_t)o->freed) return BAD("object %u: read ahead over itself", i);
        if (!o->wrap && o->after >= (int64_t)o->need) return BAD("object %u: read after its first use", i);
        int64_t position = o->after + (o->wrap ? 0 : steps);
        if (position < before) return BAD("object %u: requested before the one ahead of it", i);
        before = position;
    }
    return FLASHMEM_OK;
}

/* --- what every launch needs -------------------------------------------------------------------------------------- */

/* Object bytes that launch k reads of a weight. */
static void needed_bytes(const fm_weight *w, const fm_replay_step *part, bool split, uint64_t value_bytes,
                         uint64_t *from, uint64_t *to) {
    *from = w->object_offset;
    *to = w->object_offset + value_bytes;
    if (!split || part->panels == 0) return;
    *from = w->object_offset + part->first_panel * w->panel_bytes;
    *to = *from + part->panels * w->panel_bytes;
}

static const fm_replay_object *find_use(const fm_replay_verifier *v, uint32_t k, uint32_t object, uint64_t from,
                                        uint64_t to) {
    const fm_replay_step *part = &v->replay->steps[k];
    for (uint32_t u = 0; u < part->object_count; u++) {
        const fm_replay_object *o = &v->replay->objects[v->replay->uses[part->first_object + u]];
        if (o->object == object && o->offset <= from && to <= o->offset + o->bytes) return o;
    }
    return NULL;
}

/* Notes launch k as the last use of its image so far. */
static flashmem_status check_image_use(const fm_replay_verifier *v, uint32_t k, const fm_weight *w,
                                       const fm_replay_object *o, uint32_t first, uint64_t panels, uint32_t *last) {
    for (uint32_t i = o->first_image; i < o->first_image + o->images; i++) {
        const fm_replay_image *image = &v->replay->images[i];
        if (&v->pack->weights[image->weight] != w || image->first_panel != first || image->panels != panels) continue;
        if (fm_verify_last_convert(v->replay, i) > k)
            return BAD("launch %u: its image is made before step %u", k, fm_verify_last_convert(v->replay, i));
        last[i] = k;
        return FLASHMEM_OK;
    }
    return BAD("launch %u: no image of its weight", k);
}

static flashmem_status check_launch(const fm_replay_verifier *v, uint32_t k, uint32_t *last) {
    const fm_replay_step *part = &v->replay->steps[k];
    const fm_step        *step = &v->program->steps[part->step];
    if (part->first_object > v->replay->use_count || part->object_count > v->replay->use_count - part->first_object)
        return BAD("launch %u: uses %u+%u of %u", k, part->first_object, part->object_count, v->replay->use_count);
    for (uint32_t u = 0; u < part->object_count; u++) {
        uint32_t o = v->replay->uses[part->first_object + u];
        if (o >= v->replay->object_count) return BAD("launch %u: object %u of %u", k, o, v->replay->object_count);
        if (k < v->replay->objects[o].first || k > v->replay->objects[o].last)
            return BAD("launch %u: object %u lives for steps %u to %u", k, o, v->replay->objects[o].first,
                       v->replay->objects[o].last);
    }
    for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count; a++) {
        const fm_arg    *arg = &v->program->args[a];
        const fm_weight *w = weight_of_arg(v, arg);
        if (!w || w->kind == FM_WEIGHT_ROWS) continue;
        bool     split = step->split_value == arg->value, cut = split && part->panels;
        uint64_t from, to;
        needed_bytes(w, part, split, (uint64_t)fm_program_expr(v->program, v->program->values[arg->value].bytes), &from,
                     &to);
        const fm_replay_object *o = find_use(v, k, w->object, from, to);
        if (!o)
            return BAD("launch %u: bytes %" PRIu64 "..%" PRIu64 " of object %u are not there", k, from, to, w->object);
        if (arg->kind == FM_ARG_IMAGE)
            FM_TRY(check_image_use(v, k, w, o, cut ? part->first_panel : 0, cut ? part->panels : w->panels, last));
    }
    return FLASHMEM_OK;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

typedef struct life {
    int32_t from, to;
    bool    touched, always, to_end;
} life;

/* Lives of values by storage, from the launches and the value table. */
static void find_lives(const fm_replay_verifier *v, life *lives) {
    const fm_program *p = v->program;
    int32_t           end = (int32_t)v->replay->step_count - 1;
    for (uint32_t k = 0; k <= (uint32_t)end; k++) {
        const fm_step *step = &p->steps[v->replay->steps[k].step];
        for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count; a++) {
            if (p->args[a].kind > FM_ARG_IMAGE) continue;
            uint32_t value = p->args[a].value,
                     root = p->values[value].alias == FM_NONE ? value : p->values[value].alias;
            if (!lives[root].touched) lives[root].from = (int32_t)k;
            lives[root].touched = true;
            lives[root].to = (int32_t)k;
        }
    }
    for (uint32_t i = 0; i < p->value_count; i++) {
        life *root = &lives[p->values[i].alias == FM_NONE ? i : p->values[i].alias];
        if (p->values[i].kind == FM_VALUE_INPUT) root->from = 0;
        if (p->values[i].kind == FM_VALUE_OUTPUT) root->to = end;
        if (p->values[i].kind == FM_VALUE_STATE || p->values[i].kind == FM_VALUE_CONSTANT) root->always = true;
    }
    for (uint32_t i = 0; i < p->value_count; i++)
        if (lives[i].always) lives[i].from = 0, lives[i].to = end;
}

static flashmem_status add_values(const fm_replay_verifier *v, const life *lives, fm_place_problem *places) {
    const fm_program *p = v->program;
    for (uint32_t i = 0; i < p->value_count; i++) {
        const fm_replay_value *value = &v->replay->values[i];
        bool                   bound = v->request->external && v->request->external[i];
        bool                   own = p->values[i].kind != FM_VALUE_WEIGHT && p->values[i].alias == FM_NONE;
        bool                   wanted = own && !bound &&
                      (lives[i].touched || p->values[i].kind == FM_VALUE_INPUT ||
                       p->values[i].kind == FM_VALUE_OUTPUT || p->values[i].kind == FM_VALUE_STATE);
        if (value->placed != wanted)
            return BAD("value %u: %s", i, wanted ? "has no place" : "has a place and needs none");
        if (!wanted) continue;
        if (value->bytes < (uint64_t)fm_program_expr(p, p->values[i].bytes))
            return BAD("value %u: %" PRIu64 " bytes", i, value->bytes);
        if (value->from > lives[i].from || value->to < lives[i].to)
            return BAD("value %u: kept for steps %d to %d, needed %d to %d", i, value->from, value->to, lives[i].from,
                       lives[i].to);
        places->items[places->count++] = (fm_place_item){ .bytes = value->bytes,
                                                          .align = v->request->device.value_align
                                                                       ? v->request->device.value_align
                                                                       : 128,
                                                          .from = lives[i].from,
                                                          .to = lives[i].to,
                                                          .from2 = 1,
                                                          .to2 = 0,
                                                          .region = value->region,
                                                          .offset = value->offset };
    }
    return FLASHMEM_OK;
}

static void add_objects(const fm_replay_verifier *v, fm_place_problem *places) {
    int32_t end = (int32_t)v->replay->step_count - 1;
    for (uint32_t i = 0; i < v->replay->object_count; i++) {
        const fm_replay_object *o = &v->replay->objects[i];
        fm_place_item           item = { .bytes = o->bytes,
                                         .align = FM_PACK_ALIGN,
                                         .from = o->after + 1,
                                         .to = (int32_t)o->freed,
                                         .from2 = 1,
                                         .to2 = 0,
                                         .region = o->region,
                                         .offset = o->place };
        if (o->wrap) { /* from the run before into this one */
            item.from2 = o->after + 1;
            item.to2 = end;
            item.from = 0;
        }
        if (o->resident)
            item = (fm_place_item){ .bytes = o->bytes,
                                    .align = FM_PACK_ALIGN,
                                    .from = 0,
                                    .to = end,
                                    .from2 = 1,
                                    .to2 = 0,
                                    .region = o->region,
                                    .offset = o->place };
        places->items[places->count++] = item;
    }
}

static flashmem_status check_places(const fm_replay_verifier *v, life *lives, fm_place_item *items) {
    const fm_replay *r = v->replay;
    fm_place_problem places = { .items = items,
                                .region_limit = v->request->device.largest_allocation,
                                .steps = r->step_count };
    if (r->region_count > FM_PLACE_REGIONS) return BAD("%u regions", r->region_count);
    find_lives(v, lives);
    FM_TRY(add_values(v, lives, &places));
    add_objects(v, &places);
    return fm_place_verify(&places, r->region_bytes, r->region_count, v->err);
}

/* --- sums and times ----------------------------------------------------------------------------------------------- */

static flashmem_status check_sums(const fm_replay_verifier *v) {
    const fm_replay  *r = v->replay;
    const fm_program *p = v->program;
    uint64_t          regions = 0, staging = 0;
    for (uint32_t i = 0; i < r->region_count; i++) regions += r->region_bytes[i];
    for (uint32_t s = 0; s < p->step_count; s++) {
        if (p->steps[s].kind != FM_STEP_GATHER_ROWS) continue;
        const fm_weight *table = weight_of_arg(v, &p->args[p->steps[s].first_arg + 1]);
        uint64_t         slots = FM_ROW_SLOTS * fm_replay_row_slot_bytes(table->row_bytes);
        if (slots > staging) staging = slots;
    }
    if (r->staging_bytes != staging)
        return BAD("%" PRIu64 " bytes of staging, %" PRIu64 " needed", r->staging_bytes, staging);
    if (r->peak != regions + r->image_bytes + staging)
        return BAD("peak %" PRIu64 ", regions, images and staging are %" PRIu64, r->peak,
                   regions + r->image_bytes + staging);
    uint64_t budget = v->request->minimum ? r->minimum : v->request->budget;
    if (r->peak > budget) return BAD("peak %" PRIu64 " above the budget of %" PRIu64, r->peak, budget);
    if (r->minimum < r->minimum_bound || budget < r->minimum)
        return BAD("minimum %" PRIu64 ", bound %" PRIu64, r->minimum, r->minimum_bound);
    if (r->read_depth == 0 || r->read_bytes == 0 || r->read_bytes % FM_PACK_ALIGN)
        return BAD("%u reads of %u bytes", r->read_depth, r->read_bytes);
    return FLASHMEM_OK;
}

static flashmem_status check_times(const fm_replay_verifier *v) {
    const fm_replay *r = v->replay;
    double           disk = 0, before = v->request->device.startup_seconds;
    for (uint32_t i = 0; i < r->object_count; i++) {
        const fm_replay_object *o = &r->objects[i];
        double slack = 1e-9 * (1 + o->arrival), free = o->after >= 0 && !o->wrap ? r->steps[o->after].end : 0;
        if (o->request < disk - slack || o->request < free - slack) return BAD("object %u: requested too early", i);
        if (o->arrival < o->request + (double)o->bytes / v->request->device.disk_bytes_per_second - slack)
            return BAD("object %u: arrives too early", i);
        if (r->steps[o->first].start < o->arrival - slack) return BAD("object %u: used before it arrives", i);
        disk = o->arrival;
    }
    for (uint32_t i = 0; i < r->arrival_count; i++) {
        const fm_replay_arrival *row = &r->arrivals[i];
        double at = r->objects[row->object].request + (double)row->bytes / v->request->device.disk_bytes_per_second;
        if (r->steps[row->before_step].start < at - 1e-9 * (1 + at)) return BAD("arrival %u: comes too late", i);
    }
    for (uint32_t k = 0; k < r->step_count; k++) {
        double slack = 1e-9 * (1 + before);
        if (r->steps[k].start < before - slack || r->steps[k].end < r->steps[k].start + r->steps[k].seconds - slack)
            return BAD("launch %u: begins before the one ahead of it has ended", k);
        before = r->steps[k].end;
    }
    return FLASHMEM_OK;
}

static flashmem_status check_all(const fm_replay_verifier *v, life *lives, fm_place_item *items, uint32_t *last,
                                 fm_image_life *images) {
    for (uint32_t a = 0; a < v->program->arg_count; a++)
        if (v->program->args[a].kind <= FM_ARG_WRITE && weight_of_arg(v, &v->program->args[a]))
            v->buffer_read[v->program->values[v->program->args[a].value].weight] = 1;
    FM_TRY(check_steps(v));
    for (uint32_t i = 0; i < v->replay->object_count; i++) FM_TRY(check_object(v, i));
    FM_TRY(fm_verify_images(v));
    FM_TRY(check_needs(v));
    FM_TRY(check_requests(v));
    for (uint32_t k = 0; k < v->replay->step_count; k++) FM_TRY(check_launch(v, k, last));
    FM_TRY(fm_verify_image_sharing(v, last, images));
    FM_TRY(check_places(v, lives, items));
    FM_TRY(check_sums(v));
    FM_TRY(check_times(v));
    return v->request->stored ? fm_verify_overlap(v) : FLASHMEM_OK;
}

flashmem_status fm_replay_verify(const fm_packed *pack, const fm_program *program, const fm_replay_request *request,
                                 const fm_replay *replay, flashmem_error *err) {
    fm_replay_verifier v = { pack, program, request, replay, NULL, NULL, NULL, err };
    size_t             places = (size_t)replay->object_count + program->value_count;
    life              *lives = calloc((size_t)program->value_count + 1, sizeof *lives);
    fm_place_item     *items = calloc(places + 1, sizeof *items);
    uint32_t          *last = calloc((size_t)replay->image_count + 1, sizeof *last);
    fm_image_life     *images = calloc((size_t)replay->image_count + 1, sizeof *images);
    v.buffer_read = calloc((size_t)pack->weight_count + 1, 1);
    v.need = calloc(2 * ((size_t)replay->object_count + 1), sizeof *v.need);
    v.freed = v.need ? v.need + replay->object_count + 1 : NULL;
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    if (lives && v.buffer_read && v.need && items && last && images) status = check_all(&v, lives, items, last, images);
    else fm_fail(err, status, "no memory to check the plan");
    free(lives);
    free(v.buffer_read);
    free(v.need);
    free(items);
    free(last);
    free(images);
    return status;
}
