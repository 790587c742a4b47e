/* Checks that a replay is the overlap plan that it was made from: object by object, load by load.  Written from what such a
 * plan means (docs/planning.md), not from replay_overlap.c. */
#include <inttypes.h>
#include <stdlib.h>

#include "schedule/replay_verify.h"

#define BAD(...) fm_fail(v->err, FLASHMEM_INTERNAL, __VA_ARGS__)

typedef struct part { /* an object as the plan names it */
    uint64_t offset;
    uint32_t object, index; /* of the pack; of the replay */
} part;

static int by_place(const void *a, const void *b) {
    const part *x = a, *y = b;
    if (x->object != y->object) return x->object < y->object ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

typedef struct check {
    const fm_replay_verifier *v;
    const fm_stored_overlap  *overlap;
    part                     *parts;
    uint32_t                 *launch;  /* per kernel step: its first, then the count */
    uint32_t                 *arrival; /* per object: its first row of arrivals, then the count */
} check;

static uint64_t loaded(const fm_stored_overlap *overlap, const fm_replay_object *o, uint64_t chunks) {
    uint64_t whole = fm_chunks(o->bytes, overlap->plan->chunk_bytes);
    return chunks < whole ? chunks * overlap->plan->chunk_bytes : o->bytes;
}

static uint32_t launch_of(const check *c, const fm_stored_load *load) {
    return c->launch[load->step] + load->step_part;
}

/* Panels of the image that lie within the first bytes of the object. */
static uint32_t panels_within(const fm_replay_verifier *v, const fm_replay_image *image, uint64_t bytes) {
    uint64_t panel = v->pack->weights[image->weight].panel_bytes;
    uint32_t panels = 0;
    if (bytes >= image->source)
        panels = (bytes - image->source) / panel < image->panels ? (uint32_t)((bytes - image->source) / panel)
                                                                 : image->panels;
    return panels;
}

/* Panels of the image that are copied right before a launch. */
static uint32_t panels_copied(const fm_replay *r, const fm_replay_image *image, uint32_t launch) {
    uint32_t panels = 0;
    for (uint32_t i = image->first_convert; i < image->first_convert + image->converts; i++)
        if (r->converts[i].before_step == launch) panels += r->converts[i].panels;
    return panels;
}

/* A load copies what it completes of each image, then and not at another launch: all copies together are the image. */
static flashmem_status check_copies(const check *c, uint32_t index, uint32_t launch, uint64_t before, uint64_t bytes) {
    const fm_replay_verifier *v = c->v;
    const fm_replay_object   *o = &v->replay->objects[index];
    for (uint32_t i = o->first_image; i < o->first_image + o->images; i++) {
        const fm_replay_image *image = &v->replay->images[i];
        uint32_t               wanted = panels_within(v, image, bytes) - panels_within(v, image, before);
        uint32_t               found = panels_copied(v->replay, image, launch);
        if (found != wanted)
            return BAD("object %u: %u panels of image %u are copied before launch %u, the overlap plan says %u", index,
                       found, i, launch, wanted);
    }
    return FLASHMEM_OK;
}

static flashmem_status check_preloaded(const check *c, uint32_t index) {
    const fm_replay_verifier *v = c->v;
    const fm_replay          *r = v->replay;
    const fm_replay_object   *o = &r->objects[index];
    uint32_t                  row = c->arrival[index];
    if (!o->preload || !o->stays) return BAD("object %u: the overlap plan preloads it, the replay does not", index);
    if (c->arrival[index + 1] - row != 1 || r->arrivals[row].before_step || r->arrivals[row].bytes != o->bytes)
        return BAD("object %u: preloaded, but not there before the first launch", index);
    return FLASHMEM_OK;
}

static flashmem_status check_streamed(const check *c, uint32_t index, uint32_t first, uint32_t end) {
    const fm_replay_verifier *v = c->v;
    const fm_replay          *r = v->replay;
    const fm_replay_object   *o = &r->objects[index];
    const fm_replay_arrival  *row = r->arrivals + c->arrival[index];
    uint64_t                  chunks = 0, before = 0;
    if (o->preload || o->stays || first == end) return BAD("object %u: the overlap plan does not preload it", index);
    if (c->arrival[index + 1] - c->arrival[index] != end - first)
        return BAD("object %u: %u arrivals, the overlap plan loads it %u times", index,
                   c->arrival[index + 1] - c->arrival[index], end - first);
    for (uint32_t l = first; l < end; l++, row++) {
        uint32_t launch = launch_of(c, &c->overlap->loads[l]);
        chunks += c->overlap->loads[l].chunks;
        uint64_t bytes = loaded(c->overlap, o, chunks);
        if (row->before_step != launch || row->bytes != bytes)
            return BAD("object %u: %" PRIu64 " bytes before launch %u, the overlap plan says %" PRIu64 " before %u",
                       index, row->bytes, row->before_step, bytes, launch);
        FM_TRY(check_copies(c, index, launch, before, bytes));
        before = bytes;
    }
    if (chunks != fm_chunks(o->bytes, c->overlap->plan->chunk_bytes) || row[-1].before_step >= o->first)
        return BAD("object %u: not loaded whole before its first use", index);
    return FLASHMEM_OK;
}

/* Objects in the order of the plan's rows, with which they are used up. */
static flashmem_status check_parts(const check *c) {
    const fm_replay_verifier *v = c->v;
    const fm_stored_plan     *plan = c->overlap->plan;
    uint32_t                  preload = 0, load = 0, number = 0;
    for (uint32_t i = 0; i < v->replay->object_count; i++) {
        const part *p = &c->parts[i];
        number = i && p[-1].object == p->object ? number + 1 : 0;
        uint32_t end = load;
        while (end < plan->load_count && c->overlap->loads[end].object == p->object &&
               c->overlap->loads[end].part == number)
            end++;
        if (preload < plan->preload_count && c->overlap->preloads[preload].object == p->object &&
            c->overlap->preloads[preload].part == number) {
            preload++;
            FM_TRY(check_preloaded(c, p->index));
            continue;
        }
        FM_TRY(check_streamed(c, p->index, load, end));
        load = end;
    }
    if (preload != plan->preload_count || load != plan->load_count)
        return BAD("the overlap plan's preload %u or load %u is of no object", preload, load);
    return FLASHMEM_OK;
}

static flashmem_status number_all(check *c) {
    const fm_replay_verifier *v = c->v;
    const fm_replay          *r = v->replay;
    for (uint32_t i = 0; i < r->object_count; i++)
        c->parts[i] = (part){ r->objects[i].offset, r->objects[i].object, i };
    if (r->object_count) qsort(c->parts, r->object_count, sizeof *c->parts, by_place);
    for (uint32_t k = 0; k < r->step_count; k++) c->launch[r->steps[k].step + 1] = k + 1;
    for (uint32_t a = 0; a < r->arrival_count; a++) {
        if (a && r->arrivals[a].object < r->arrivals[a - 1].object) return BAD("arrival %u: out of order", a);
        c->arrival[r->arrivals[a].object + 1]++;
    }
    for (uint32_t i = 0; i < r->object_count; i++) c->arrival[i + 1] += c->arrival[i];
    return FLASHMEM_OK;
}

flashmem_status fm_verify_overlap(const fm_replay_verifier *v) {
    check c = { .v = v, .overlap = v->request->stored };
    c.parts = calloc((size_t)v->replay->object_count + 1, sizeof *c.parts);
    c.launch = calloc((size_t)v->program->step_count + 2, sizeof *c.launch);
    c.arrival = calloc((size_t)v->replay->object_count + 2, sizeof *c.arrival);
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    if (!c.parts || !c.launch || !c.arrival) fm_fail(v->err, status, "no memory to check the overlap plan");
    else status = number_all(&c);
    if (status == FLASHMEM_OK) status = check_parts(&c);
    free(c.parts);
    free(c.launch);
    free(c.arrival);
    return status;
}
