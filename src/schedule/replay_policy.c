/* Replays of baseline policies: the same cut, placement and verifier as the timed plan's, another order of reads.
 *
 * Objects that a policy wants there before the first launch become used by it; images that an overlap plan makes in
 * pieces have their object used from the first piece on.  Either changes the order of first use, in which a timed
 * problem numbers its objects: the cut is copied and renumbered. */
#include <stdlib.h>
#include <string.h>

#include "schedule/policy.h"
#include "schedule/replay_internal.h"
#include "schedule/work.h"

static void *copy_of(fm_arena *arena, const void *from, size_t count, size_t size) {
    void *to = fm_arena_array(arena, count, size);
    if (count) memcpy(to, from, count * size);
    return to;
}

void fm_replay_renumber(fm_replay *r, const uint32_t *order, fm_arena *arena) {
    fm_replay_object  *objects = fm_arena_array(arena, r->object_count, sizeof *objects);
    fm_replay_image   *images = fm_arena_array(arena, r->image_count, sizeof *images);
    fm_replay_convert *converts = fm_arena_array(arena, r->convert_count, sizeof *converts);
    uint32_t          *now = fm_arena_array(arena, r->object_count, sizeof *now);
    uint32_t          *image_now = fm_arena_array(arena, r->image_count, sizeof *image_now), rows = 0, copies = 0;
    for (uint32_t i = 0; i < r->object_count; i++) {
        fm_replay_object *object = &objects[i];
        now[order[i]] = i;
        *object = r->objects[order[i]];
        for (uint32_t j = object->first_image; j < object->first_image + object->images; j++) {
            image_now[j] = rows;
            images[rows] = r->images[j];
            images[rows].object = i;
            images[rows].first_convert = copies;
            for (uint32_t c = 0; c < images[rows].converts; c++) {
                converts[copies] = r->converts[r->images[j].first_convert + c];
                converts[copies++].image = rows;
            }
            rows++;
        }
        object->first_image = rows - object->images;
    }
    r->steps = copy_of(arena, r->steps, r->step_count, sizeof *r->steps);
    r->uses = copy_of(arena, r->uses, r->use_count, sizeof *r->uses);
    for (uint32_t k = 0; k < r->step_count; k++)
        if (r->steps[k].image != FM_NONE) r->steps[k].image = image_now[r->steps[k].image];
    for (uint32_t u = 0; u < r->use_count; u++) r->uses[u] = now[r->uses[u]];
    r->objects = objects;
    r->images = images;
    r->converts = converts;
}

/* --- the cut a policy plans with ---------------------------------------------------------------------------------- */

typedef struct policy_cut {
    const fm_replay_facts   *facts;
    fm_cut                  *cut;
    const fm_policy_overlap *overlap; /* by the numbers of the cut as it came */
    uint32_t                *order;   /* [objects] those numbers; NULL: not renumbered */
    uint8_t                 *preload; /* [objects] by the numbers of the cut as it is */
} policy_cut;

typedef struct moved { /* an object and its new first use */
    uint32_t first, object;
} moved;

static int by_first(const void *a, const void *b) {
    const moved *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->object < y->object ? -1 : x->object > y->object;
}

/* Whether an overlap plan's pieces of the object become image: bundles also hold what is read where it lies, and their
 * images are made whole. */
static bool in_pieces(const policy_cut *c, const fm_replay_object *object, uint32_t given) {
    return c->overlap && !c->overlap->preload[given] && object->staged;
}

/* Numbers objects by the first use that the policy gives them. */
static void renumber(policy_cut *c) {
    fm_cut          *cut = c->cut;
    fm_arena        *arena = c->facts->arena;
    uint32_t         count = cut->object_count;
    moved           *moves = fm_arena_array(arena, count, sizeof *moves);
    uint8_t         *preload = fm_arena_array(arena, count, sizeof *preload);
    fm_timed_object *timed = fm_arena_array(arena, count, sizeof *timed);
    c->order = fm_arena_array(arena, count, sizeof *c->order);
    for (uint32_t o = 0; o < count; o++) {
        bool pieces = in_pieces(c, &cut->objects[o], o);
        moves[o] = (moved){ c->preload[o] ? 0 : pieces ? c->overlap->first_load[o] : cut->objects[o].first, o };
    }
    if (count) qsort(moves, count, sizeof *moves, by_first);
    for (uint32_t i = 0; i < count; i++) {
        c->order[i] = moves[i].object;
        preload[i] = c->preload[moves[i].object];
        timed[i] = cut->timed_objects[moves[i].object];
        timed[i].first = moves[i].first;
    }
    fm_replay view = { .steps = cut->steps,
                       .step_count = cut->step_count,
                       .objects = cut->objects,
                       .object_count = count,
                       .uses = cut->uses,
                       .use_count = cut->use_count,
                       .images = cut->images,
                       .image_count = cut->image_count,
                       .converts = cut->converts,
                       .convert_count = cut->convert_count };
    fm_replay_renumber(&view, c->order, arena);
    for (uint32_t i = 0; i < count; i++) view.objects[i].first = moves[i].first;
    cut->steps = view.steps;
    cut->objects = view.objects;
    cut->uses = view.uses;
    cut->images = view.images;
    cut->converts = view.converts;
    cut->timed_objects = timed;
    c->preload = preload;
}

/* Launch 0 waits for everything preloaded. */
static void use_preloaded(policy_cut *c) {
    fm_cut   *cut = c->cut;
    uint32_t *uses = fm_arena_array(c->facts->arena, (size_t)cut->use_count + cut->object_count, sizeof *uses);
    uint32_t  count = 0, own = cut->steps[0].object_count;
    for (uint32_t o = 0; o < cut->object_count; o++) {
        bool known = !c->preload[o];
        for (uint32_t u = 0; u < own && !known; u++) known = cut->uses[cut->steps[0].first_object + u] == o;
        if (!known) uses[count++] = o;
        cut->objects[o].preload = c->preload[o];
    }
    for (uint32_t k = 0; k < cut->step_count; k++) {
        fm_replay_step *step = &cut->steps[k];
        uint32_t        first = step->first_object;
        step->first_object = k ? count : 0;
        memcpy(uses + count, cut->uses + first, step->object_count * sizeof *uses);
        count += step->object_count;
        if (k == 0) step->object_count = count;
    }
    cut->uses = uses;
    cut->use_count = count;
}

/* Rows of loads of each object of the cut as it came: [objects + 1]. */
static uint32_t *index_loads(const policy_cut *c) {
    uint32_t *begin = fm_arena_array(c->facts->arena, c->cut->object_count + 1u, sizeof *begin);
    for (uint32_t l = 0; l < c->overlap->load_count; l++) begin[c->overlap->loads[l].object + 1]++;
    for (uint32_t o = 0; o < c->cut->object_count; o++) begin[o + 1] += begin[o];
    return begin;
}

/* Images of streamed slabs, panel by panel as the plan's pieces arrive. */
static void convert_in_pieces(policy_cut *c) {
    fm_cut            *cut = c->cut;
    const uint32_t    *begin = index_loads(c);
    size_t             most = (size_t)cut->convert_count + c->overlap->load_count;
    fm_replay_convert *rows = fm_arena_array(c->facts->arena, most, sizeof *rows);
    uint32_t           count = 0;
    for (uint32_t i = 0; i < cut->image_count; i++) {
        fm_replay_image        *image = &cut->images[i];
        const fm_replay_object *object = &cut->objects[image->object];
        uint32_t                given = c->order[image->object], first = count, done = 0;
        uint64_t                bytes = 0;
        for (uint32_t l = begin[given]; in_pieces(c, object, given) && l < begin[given + 1]; l++) {
            bytes += c->overlap->loads[l].bytes;
            uint32_t end = (uint32_t)((double)image->panels * ((double)bytes / (double)object->bytes) + 1e-9);
            if (l + 1 == begin[given + 1] || end > image->panels) end = image->panels;
            if (end > done) rows[count++] = (fm_replay_convert){ i, done, end - done, c->overlap->loads[l].step };
            done = end;
        }
        for (uint32_t j = 0; done == 0 && j < image->converts; j++)
            rows[count++] = cut->converts[image->first_convert + j];
        image->first_convert = first;
        image->converts = count - first;
    }
    cut->converts = rows;
    cut->convert_count = count;
}

static void adapt(policy_cut *c) {
    fm_cut  *cut = c->cut;
    uint64_t staging = cut->fixed - cut->image_bytes;
    renumber(c);
    use_preloaded(c);
    if (c->overlap && cut->image_count) {
        convert_in_pieces(c);
        fm_replay_pool_images(c->facts, cut);
        cut->fixed = cut->image_bytes + staging;
    }
    fm_replay_time_conversions(c->facts, cut);
}

/* --- what policies know of steps ---------------------------------------------------------------------------------- */

fm_policy_step *fm_replay_describe_steps(const fm_replay_facts *f, const fm_cut *cut) {
    uint32_t        count = f->program->step_count;
    fm_policy_step *whole = fm_arena_array(f->arena, count, sizeof *whole);
    fm_policy_step *steps = fm_arena_array(f->arena, cut->step_count, sizeof *steps);
    for (uint32_t s = 0; s < count; s++) {
        fm_work work = fm_step_work(f->pack, f->program, s, 0);
        whole[s] = (fm_policy_step){ work.cost_class, 0, work.flops, (uint64_t)work.weight_bytes };
    }
    fm_policy_layers(whole, count, f->arena);
    for (uint32_t k = 0; k < cut->step_count; k++) steps[k] = whole[cut->steps[k].step];
    return steps;
}

/* --- placing ------------------------------------------------------------------------------------------------------ */

/* The overlap plan by the cut's numbers. */
static const fm_policy_overlap *overlap_now(const policy_cut *c) {
    uint32_t           count = c->cut->object_count;
    fm_policy_overlap *now = fm_arena_array(c->facts->arena, 1, sizeof *now);
    uint32_t          *first_load = fm_arena_array(c->facts->arena, count, sizeof *first_load);
    for (uint32_t o = 0; o < count; o++) first_load[o] = c->overlap->first_load[c->order[o]];
    *now = (fm_policy_overlap){ .preload = c->preload, .first_load = first_load };
    return now;
}

bool fm_replay_place_policy(const fm_replay_facts *f, fm_cut *cut, fm_policy policy, uint64_t budget, fm_placed *out,
                            uint64_t *least) {
    policy_cut       c = { .facts = f, .cut = cut, .overlap = f->request->overlap };
    fm_timed_problem problem = fm_replay_problem(f, cut, 0);
    uint32_t        *order = fm_arena_array(f->arena, cut->object_count, sizeof *order);
    c.preload = fm_arena_array(f->arena, cut->object_count, sizeof *c.preload);
    fm_policy_preload(policy, &problem, c.overlap, c.preload);
    if (policy == FM_POLICY_PRELOAD_ALL || c.overlap) adapt(&c);
    for (uint32_t o = 0; policy == FM_POLICY_PRELOAD_ALL && o < cut->object_count; o++)
        cut->timed_objects[o].resident = 1;
    uint64_t limit = budget > cut->fixed ? budget - cut->fixed : 0;
    problem = fm_replay_problem(f, cut, limit < INT64_MAX / 2 ? limit : INT64_MAX / 2);
    fm_placed_init(out, f, cut, f->arena);
    fm_policy_wish(policy, &problem, fm_replay_describe_steps(f, cut), c.overlap ? overlap_now(&c) : NULL, order, out->plan.after,
                   f->arena);
    cut->read_order = problem.read_order = order;
    cut->one_run = true;
    *least = fm_timed_minimum_bound(&problem, f->arena) + cut->fixed;
    return fm_timed_hold(&problem, &out->plan) && fm_replay_place(f, cut, &problem, limit, FM_PLACE_ANYHOW, out, f->arena);
}
