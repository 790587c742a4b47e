/* Placement of a cut program: what lives always lies lowest; then values and objects that live for several steps, by
 * first fit in several orders; then the other objects in read order, each as early as its memory allows.
 *
 *     bytes  | residents, constants | activations, bundles ... first fit     slabs: the gaps, oldest first
 *     steps  v
 *
 * A slab is used by one step only, so a later one can always wait for those before it: what fits with every object as
 * late as it can be fits here too, unless several objects of one step get in each other's way. */
#include <stdlib.h>
#include <string.h>

#include "schedule/replay_internal.h"

typedef struct piece { /* a value or an object to place */
    fm_place_item item;
    uint32_t      index;
    bool          object;
    double        key;
} piece;

typedef struct sweep {
    const fm_replay_facts  *facts;
    const fm_cut           *cut;
    const fm_timed_problem *problem;
    fm_placed              *out;
    fm_placer              *placer;
    piece                  *pieces; /* always, then lasting */
    uint32_t                always, count;
    uint8_t                *lasting;      /* per object: placed with the pieces */
    int32_t                *lasting_from; /* ... from this step on */
    uint32_t               *due;          /* per object: fm_timed_due */
    uint64_t                limit;
    bool                    fixed; /* every object is placed with the pieces, for the life the plan gives it */
    uint32_t                retries;
} sweep;

enum { BY_SIZE, BY_AREA, BY_START, BY_DURATION, ORDERS };
enum { RETRIES = 32, MOST_PAIRS = 4000000 }; /* placing is part of every start */

void fm_placed_init(fm_placed *placed, const fm_replay_facts *f, const fm_cut *cut, fm_arena *arena) {
    fm_timed_problem problem = fm_replay_problem(f, cut, 0);
    memset(placed, 0, sizeof *placed);
    fm_timed_plan_init(&placed->plan, &problem, arena);
    placed->object_region = fm_arena_array(arena, cut->object_count, sizeof *placed->object_region);
    placed->object_place = fm_arena_array(arena, cut->object_count, sizeof *placed->object_place);
    placed->value_region = fm_arena_array(arena, f->program->value_count, sizeof *placed->value_region);
    placed->value_place = fm_arena_array(arena, f->program->value_count, sizeof *placed->value_place);
}

static int by_key(const void *a, const void *b) {
    const piece *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void sort_pieces(sweep *s, int order) {
    for (uint32_t i = 0; i < s->count; i++) {
        piece *p = &s->pieces[i];
        double bytes = (double)p->item.bytes, steps = p->item.to - p->item.from + 1;
        p->key = order == BY_SIZE    ? bytes
                 : order == BY_AREA  ? bytes * steps
                 : order == BY_START ? -p->item.from
                                     : steps;
        if (i < s->always) p->key = (double)p->item.align * 1e30 + (p->object ? -(double)p->index : bytes);
    }
    qsort(s->pieces, s->always, sizeof *s->pieces, by_key);
    qsort(s->pieces + s->always, s->count - s->always, sizeof *s->pieces, by_key);
}

static void add_piece(sweep *s, bool object, uint32_t index, uint64_t bytes, uint64_t align, int32_t from, int32_t to) {
    s->pieces[s->count++] = (piece){
        .item = { .bytes = bytes, .align = align, .from = from, .to = to, .from2 = 1, .to2 = 0 },
        .object = object,
        .index = index
    };
}

/* after: when each object may be requested; NULL: as late as it can be. */
static void collect(sweep *s, const int32_t *after) {
    const fm_cut *cut = s->cut;
    int32_t       end = (int32_t)cut->step_count - 1;
    s->count = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t o = 0; o < cut->object_count; o++) {
            const fm_timed_object *object = &s->problem->objects[o];
            bool always = object->resident, lasting = !always && (s->fixed || object->last > object->first);
            s->lasting[o] = lasting;
            if (pass == 0 && always) add_piece(s, true, o, object->bytes, FM_PACK_ALIGN, 0, end);
            if (pass == 0 || !lasting) continue;
            s->lasting_from[o] = after ? after[o] + 1 : (int32_t)s->due[o];
            add_piece(s, true, o, object->bytes, FM_PACK_ALIGN, s->lasting_from[o], (int32_t)object->last);
        }
        for (uint32_t v = 0; v < s->facts->program->value_count; v++) {
            const fm_replay_value *value = &cut->values[v];
            bool                   always = value->from == 0 && value->to == end;
            if (value->placed && always == (pass == 0))
                add_piece(s, false, v, value->bytes, s->facts->request->device.value_align, value->from, value->to);
        }
        if (pass == 0) s->always = s->count;
    }
}

/* The first piece that does not fit is put before all others next time. */
static void promote(sweep *s, uint32_t i) {
    piece moved = s->pieces[i];
    memmove(&s->pieces[s->always + 1], &s->pieces[s->always], (i - s->always) * sizeof *s->pieces);
    s->pieces[s->always] = moved;
}

/* On false, *failed is the piece that did not fit. */
static bool place_pieces(sweep *s, uint32_t *failed) {
    fm_placed *out = s->out;
    fm_placer_reset(s->placer);
    for (uint32_t i = 0; i < s->count; i++) {
        piece *p = &s->pieces[i];
        *failed = i;
        if (!fm_placer_put(s->placer, &p->item, s->limit)) return false;
        if (p->object) {
            out->object_region[p->index] = p->item.region;
            out->object_place[p->index] = p->item.offset;
        } else {
            out->value_region[p->index] = p->item.region;
            out->value_place[p->index] = p->item.offset;
        }
    }
    return true;
}

/* Objects used by one step, in read order.  Requests never overtake: from[] never falls. */
static bool place_slabs(sweep *s, const int32_t *after) {
    int32_t floor = 0;
    for (uint32_t i = 0; i < s->cut->object_count; i++) {
        uint32_t               o = s->cut->read_order ? s->cut->read_order[i] : i;
        const fm_timed_object *object = &s->problem->objects[o];
        int32_t                from = s->lasting[o] ? s->lasting_from[o] : after ? after[o] + 1 : (int32_t)s->due[o];
        if (object->resident) {
            s->out->plan.after[o] = FM_AFTER_START;
            continue;
        }
        if (from > floor) floor = from;
        if (!s->lasting[o]) {
            fm_place_item item = { .bytes = object->bytes,
                                   .align = FM_PACK_ALIGN,
                                   .from = floor,
                                   .to = (int32_t)object->last,
                                   .from2 = 1,
                                   .to2 = 0 };
            if (!fm_placer_put_early(s->placer, &item, (int32_t)s->due[o], s->limit)) return false;
            s->out->object_region[o] = item.region;
            s->out->object_place[o] = item.offset;
            floor = item.from;
        }
        s->out->plan.after[o] = floor - 1;
    }
    return true;
}

/* --- reading ahead across runs ------------------------------------------------------------------------------------ */

typedef struct extent {
    uint64_t offset, end;
    uint32_t region;
    int32_t  to;
} extent;

/* Whatever lives later than the start of a run, at its place: what an object read ahead must not meet.  initial: also
 * objects requested at the start, which are apart from each other. */
static uint32_t collect_extents(const sweep *s, bool initial, extent *extents) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const piece *p = &s->pieces[i];
        if (p->object && !initial && s->out->plan.after[p->index] == FM_AFTER_START) continue;
        extents[count++] = (extent){ p->item.offset, p->item.offset + p->item.bytes, p->item.region, p->item.to };
    }
    for (uint32_t o = 0; o < s->cut->object_count; o++) {
        const fm_timed_object *object = &s->problem->objects[o];
        if (s->lasting[o] || object->resident || (!initial && s->out->plan.after[o] == FM_AFTER_START)) continue;
        uint64_t place = s->out->object_place[o];
        extents[count++] = (extent){ place, place + object->bytes, s->out->object_region[o], (int32_t)object->last };
    }
    return count;
}

/* Every object may come as soon as nothing lives at its place any more: its memory is there, and reads that wait for
 * nothing forgive a slow disk. */
static void advance(sweep *s, fm_arena *scratch) {
    fm_timed_plan *plan = &s->out->plan;
    size_t         most = (size_t)s->count + s->cut->object_count;
    int32_t        floor = FM_AFTER_START;
    if (most * s->cut->object_count > MOST_PAIRS) return;
    extent  *extents = fm_arena_array(scratch, most, sizeof *extents);
    uint32_t count = collect_extents(s, true, extents);
    for (uint32_t o = 0; o < s->cut->object_count; o++) {
        const fm_timed_object *object = &s->problem->objects[o];
        uint64_t               place = s->out->object_place[o];
        int32_t                after = floor;
        if (object->resident) continue;
        for (uint32_t i = 0; i < count; i++)
            if (extents[i].to <= plan->after[o] && extents[i].to > after &&
                extents[i].region == s->out->object_region[o] && extents[i].offset < place + object->bytes &&
                place < extents[i].end)
                after = extents[i].to;
        if (after < plan->after[o]) plan->after[o] = after;
        floor = plan->after[o];
    }
}

/* Objects requested at the start of a run may come earlier: as soon as nothing of the run before lives at their place. */
static void read_ahead(sweep *s, fm_arena *scratch) {
    fm_timed_plan *plan = &s->out->plan;
    int32_t        end = (int32_t)s->cut->step_count - 1, floor = FM_AFTER_START;
    extent        *extents = fm_arena_array(scratch, (size_t)s->count + s->cut->object_count, sizeof *extents);
    uint32_t       count = collect_extents(s, false, extents);
    memset(plan->wrap, 0, s->cut->object_count);
    for (uint32_t o = 0; o < s->cut->object_count && plan->after[o] == FM_AFTER_START; o++) {
        const fm_timed_object *object = &s->problem->objects[o];
        uint64_t               place = s->out->object_place[o];
        if (object->resident || s->cut->objects[o].stays) continue; /* not read again */
        if ((int32_t)object->last > floor) floor = (int32_t)object->last;
        for (uint32_t i = 0; i < count; i++)
            if (extents[i].to > floor && extents[i].region == s->out->object_region[o] &&
                extents[i].offset < place + object->bytes && place < extents[i].end)
                floor = extents[i].to;
        if (floor >= end) return;
        plan->after[o] = floor;
        plan->wrap[o] = 1;
    }
}

/* --- both uses ---------------------------------------------------------------------------------------------------- */

static void begin(sweep *s, const fm_replay_facts *f, const fm_cut *cut, const fm_timed_problem *problem,
                  fm_placed *out, fm_arena *scratch) {
    uint32_t most = cut->object_count + f->program->value_count;
    *s = (sweep){ .facts = f, .cut = cut, .problem = problem, .out = out, .limit = UINT64_MAX / 2 };
    s->placer = fm_placer_create(scratch, cut->step_count, most, f->request->device.largest_allocation);
    s->pieces = fm_arena_array(scratch, most, sizeof *s->pieces);
    s->lasting = fm_arena_array(scratch, cut->object_count, 1);
    s->lasting_from = fm_arena_array(scratch, cut->object_count, sizeof *s->lasting_from);
    s->due = fm_arena_array(scratch, cut->object_count, sizeof *s->due);
    fm_timed_due(problem, s->due);
}

static bool place_in_order(sweep *s, int order, const int32_t *lasting_after, const int32_t *after) {
    uint32_t failed = 0, retries = s->fixed ? s->retries : 0;
    collect(s, lasting_after);
    sort_pieces(s, order);
    while (!place_pieces(s, &failed)) {
        if (!retries-- || failed <= s->always) return false;
        promote(s, failed);
    }
    if (!place_slabs(s, after)) return false;
    s->out->total = fm_placer_total(s->placer, s->out->region_bytes, &s->out->regions);
    return true;
}

flashmem_status fm_replay_place_minimum(const fm_replay_facts *f, const fm_cut *cut, fm_placed *out, fm_arena *scratch,
                                        flashmem_error *err) {
    fm_timed_problem problem = fm_replay_problem(f, cut, UINT64_MAX / 2);
    uint64_t         bound = fm_timed_minimum_bound(&problem, scratch), best = UINT64_MAX;
    int              best_order = -1, last = -1;
    sweep            s;
    begin(&s, f, cut, &problem, out, scratch);
    for (int order = 0; order < ORDERS && best > bound + bound / 256; order++) { /* planning must stay quick */
        if (!place_in_order(&s, order, NULL, NULL)) continue;
        last = order;
        if (out->total >= best) continue;
        best = out->total;
        best_order = order;
    }
    if (best_order < 0)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "the device allocates at most %llu bytes at once: too little for this model",
                       (unsigned long long)f->request->device.largest_allocation);
    if (last != best_order) place_in_order(&s, best_order, NULL, NULL);
    advance(&s, scratch);
    memset(out->plan.wrap, 0, cut->object_count);
    fm_timed_replay(&problem, &out->plan);
    return FLASHMEM_OK;
}

bool fm_replay_place(const fm_replay_facts *f, const fm_cut *cut, const fm_timed_problem *problem, uint64_t limit,
                     fm_place_effort effort, fm_placed *out, fm_arena *scratch) {
    int32_t *after = fm_arena_array(scratch, cut->object_count, sizeof *after);
    int      attempts = effort == FM_PLACE_AS_PLANNED ? ORDERS : 3 * ORDERS;
    sweep    s;
    memcpy(after, out->plan.after, cut->object_count * sizeof *after);
    begin(&s, f, cut, problem, out, scratch);
    s.limit = limit;
    s.retries = effort == FM_PLACE_SEARCH ? RETRIES : 0;
    for (int attempt = 0; attempt < attempts; attempt++) { /* as planned; slabs later; bundles late too */
        s.fixed = attempt < ORDERS;
        if (!place_in_order(&s, attempt % ORDERS, attempt < 2 * ORDERS ? after : NULL, after)) continue;
        if (!cut->one_run) advance(&s, scratch);
        if (!cut->one_run) read_ahead(&s, scratch);
        else memset(out->plan.wrap, 0, cut->object_count);
        fm_timed_replay(problem, &out->plan);
        return true;
    }
    memcpy(out->plan.after, after, cut->object_count * sizeof *after);
    return false;
}
