/* An overlap plan as the program that is replayed.
 *
 *     preloaded   read before the first launch of the first run, on texture paths also converted; stays
 *     streamed    x chunks loaded "while step l runs" have arrived, and on texture paths been converted, when l is launched:
 *                 conversions of whole panels go right before it; objects are read in the order of their first load, as
 *                 early as the plan's M_peak allows, and freed after their last use (staged ones: last conversion)
 *
 * The plan says nothing else: places, and when within M_peak a read may start, are found here and verified like those of
 * any other plan.  Nothing that it does say is changed: what cannot be replayed as it is, is refused. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/replay_internal.h"
#include "schedule/work.h"

#define LATENCY_SLACK 0.02                     /* of the best latency, given for less memory */
static const double rates[] = { 0.7, 1, 1.4 }; /* disks that are likely, of the one planned for */
enum { RATES = sizeof rates / sizeof *rates };

typedef struct decision {            /* of a placed object, in the order of the cut */
    uint32_t first_load, load_count; /* rows of the plan */
    uint32_t need;                   /* launch of its first load */
    bool     preload;
} decision;

typedef struct overlap_maker {
    fm_replay_facts         *facts;
    const fm_stored_overlap *overlap;
    fm_arena                *arena;
    fm_program_cut           view; /* in first-use order: index of the plan's rows */
    fm_cut                   cut;  /* in read order, once ordered */
    decision                *decisions;
    uint32_t                *where, *count; /* per pack object: its parts in `by_part` */
    uint32_t                *by_part;       /* index in the cut */
    flashmem_error          *err;
} overlap_maker;

#define BAD(...) fm_fail(m->err, FLASHMEM_BAD_PACK, __VA_ARGS__)

/* --- the plan against the cut ------------------------------------------------------------------------------------- */

/* The same cut or none: of images no larger than the device allows. */
static flashmem_status make_cut(overlap_maker *m) {
    const fm_stored_plan *plan = m->overlap->plan;
    fm_replay_request    *request = &m->facts->checked;
    uint32_t              device = request->device.image_limit, made = plan->image_limit;
    request->slab_bytes = plan->slab_bytes;
    if (!device || (made && made < device)) request->device.image_limit = made;
    FM_TRY(fm_replay_check_images(m->facts, m->err));
    fm_replay_cut(m->facts, fm_slab_limit(request), &m->cut);
    fm_cut_view(m->facts, &m->cut, &m->view);
    if (m->view.key == plan->cut_key) return FLASHMEM_OK;
    return fm_fail(m->err, FLASHMEM_UNSUPPORTED,
                   "the overlap plan was made for another cut of the program (slabs of %" PRIu64 " bytes, images of %u "
                   "texels; this device: %u)",
                   plan->slab_bytes, made, device);
}

static void index_parts(overlap_maker *m) {
    const fm_program_cut *v = &m->view;
    uint32_t              objects = m->facts->pack->object_count, next = 0;
    m->where = fm_arena_array(m->arena, objects, sizeof *m->where);
    m->count = fm_arena_array(m->arena, objects, sizeof *m->count);
    m->by_part = fm_arena_array(m->arena, v->part_count, sizeof *m->by_part);
    m->decisions = fm_arena_array(m->arena, v->part_count, sizeof *m->decisions);
    for (uint32_t i = 0; i < v->part_count; i++) m->count[v->parts[i].object]++;
    for (uint32_t o = 0; o < objects; o++) {
        m->where[o] = next;
        next += m->count[o];
    }
    for (uint32_t i = 0; i < v->part_count; i++) m->by_part[m->where[v->parts[i].object] + v->parts[i].part] = i;
}

static flashmem_status find_part(const overlap_maker *m, uint32_t object, uint32_t part, uint32_t *index) {
    if (object >= m->facts->pack->object_count || part >= m->count[object])
        return BAD("the overlap plan names part %u of object %u, which this cut does not have", part, object);
    *index = m->by_part[m->where[object] + part];
    return FLASHMEM_OK;
}

static flashmem_status take_preloads(overlap_maker *m) {
    for (uint32_t i = 0; i < m->overlap->plan->preload_count; i++) {
        uint32_t index;
        FM_TRY(find_part(m, m->overlap->preloads[i].object, m->overlap->preloads[i].part, &index));
        m->decisions[index].preload = true;
    }
    return FLASHMEM_OK;
}

static uint32_t launch_of(const overlap_maker *m, const fm_stored_load *load) {
    return m->cut.first_part[load->step] + load->step_part;
}

/* Rows are sorted by object and part: each streamed object has a run of them. */
static flashmem_status take_loads(overlap_maker *m) {
    const fm_stored_load *loads = m->overlap->loads;
    for (uint32_t i = 0; i < m->overlap->plan->load_count; i++) {
        uint32_t index;
        FM_TRY(find_part(m, loads[i].object, loads[i].part, &index));
        decision *d = &m->decisions[index];
        if (loads[i].step >= m->facts->program->step_count ||
            loads[i].step_part >= m->cut.first_part[loads[i].step + 1] - m->cut.first_part[loads[i].step])
            return BAD("the overlap plan loads at part %u of step %u, which this cut does not have", loads[i].step_part,
                       loads[i].step);
        uint32_t launch = launch_of(m, &loads[i]);
        if (launch >= m->view.parts[index].first)
            return BAD("the overlap plan loads part %u of object %u at launch %u, it is used by launch %u",
                       loads[i].part, loads[i].object, launch, m->view.parts[index].first);
        if (d->load_count++ == 0) {
            d->first_load = i;
            d->need = launch;
        }
    }
    return FLASHMEM_OK;
}

/* C0 and C1: an object is preloaded, or all of its chunks are loaded before its first use. */
static flashmem_status check_chunks(const overlap_maker *m) {
    for (uint32_t i = 0; i < m->view.part_count; i++) {
        const fm_cut_part *part = &m->view.parts[i];
        const decision    *d = &m->decisions[i];
        uint64_t           wanted = fm_chunks(part->bytes, m->overlap->plan->chunk_bytes), found = 0;
        for (uint32_t l = d->first_load; l < d->first_load + d->load_count; l++) found += m->overlap->loads[l].chunks;
        if (d->preload ? found != 0 : found != wanted)
            return BAD("the overlap plan loads %" PRIu64 " of %" PRIu64 " chunks of part %u of object %u, %s", found,
                       wanted, part->part, part->object,
                       d->preload ? "which it preloads" : "which it does not preload");
    }
    return FLASHMEM_OK;
}

/* C2: chunks that wait for their first use stay within M_peak. */
static flashmem_status check_memory(const overlap_maker *m) {
    const fm_stored_plan *plan = m->overlap->plan;
    int64_t              *change = fm_arena_array(m->arena, m->view.launch_count + 1u, sizeof *change), waiting = 0;
    uint64_t              most = plan->m_peak_bytes / plan->chunk_bytes;
    for (uint32_t i = 0; i < m->view.part_count; i++)
        for (uint32_t l = 0; l < m->decisions[i].load_count; l++) {
            const fm_stored_load *load = &m->overlap->loads[m->decisions[i].first_load + l];
            change[launch_of(m, load)] += load->chunks;
            change[m->view.parts[i].first + 1] -= load->chunks;
        }
    for (uint32_t k = 0; k < m->view.launch_count; k++) {
        waiting += change[k];
        if ((uint64_t)waiting > most)
            return BAD("the overlap plan holds %" PRId64 " chunks at launch %u, its M_peak is %" PRIu64, waiting, k,
                       most);
    }
    return FLASHMEM_OK;
}

static flashmem_status match(overlap_maker *m) {
    if (m->overlap->plan->chunk_bytes == 0) return BAD("the overlap plan has chunks of 0 bytes");
    index_parts(m);
    FM_TRY(take_preloads(m));
    FM_TRY(take_loads(m));
    FM_TRY(check_chunks(m));
    return check_memory(m);
}

/* --- objects in read order ---------------------------------------------------------------------------------------- */

typedef struct rank {
    uint32_t streamed, need, first, index;
} rank;

static int by_rank(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Preloaded ones, then by first load.  Images and uses follow, and so do the decisions. */
static void order_objects(overlap_maker *m) {
    fm_cut   *cut = &m->cut;
    uint32_t  n = cut->object_count;
    rank     *ranks = fm_arena_array(m->arena, n, sizeof *ranks);
    uint32_t *order = fm_arena_array(m->arena, n, sizeof *order);
    decision *decisions = fm_arena_array(m->arena, n, sizeof *decisions);
    fm_replay view = { .steps = cut->steps,
                       .step_count = cut->step_count,
                       .objects = cut->objects,
                       .object_count = n,
                       .uses = cut->uses,
                       .use_count = cut->use_count,
                       .images = cut->images,
                       .image_count = cut->image_count,
                       .converts = cut->converts,
                       .convert_count = cut->convert_count };
    for (uint32_t i = 0; i < n; i++)
        ranks[i] = (rank){ !m->decisions[i].preload, m->decisions[i].need, cut->objects[i].first, i };
    if (n) qsort(ranks, n, sizeof *ranks, by_rank);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = ranks[i].index;
        decisions[i] = m->decisions[order[i]];
    }
    fm_replay_renumber(&view, order, m->arena);
    for (uint32_t i = 0; i < n; i++) view.objects[i].preload = view.objects[i].stays = decisions[i].preload;
    cut->steps = view.steps;
    cut->objects = view.objects;
    cut->uses = view.uses;
    cut->images = view.images;
    m->decisions = decisions;
}

/* --- loads: arrivals and conversions ------------------------------------------------------------------------------ */

/* Bytes of an object that have been loaded by row i of its loads. */
static uint64_t loaded_bytes(const overlap_maker *m, const fm_replay_object *object, uint64_t chunks) {
    uint64_t chunk = m->overlap->plan->chunk_bytes;
    return chunks >= fm_chunks(object->bytes, chunk) ? object->bytes : chunks * chunk;
}

static void add_arrivals(overlap_maker *m) {
    fm_cut *cut = &m->cut;
    size_t  most = (size_t)m->overlap->plan->load_count + cut->object_count;
    cut->arrivals = fm_arena_array(m->arena, most, sizeof *cut->arrivals);
    for (uint32_t o = 0; o < cut->object_count; o++) {
        const decision *d = &m->decisions[o];
        uint64_t        chunks = 0;
        if (d->preload) cut->arrivals[cut->arrival_count++] = (fm_replay_arrival){ o, 0, cut->objects[o].bytes };
        for (uint32_t l = d->first_load; l < d->first_load + d->load_count; l++) {
            const fm_stored_load *load = &m->overlap->loads[l];
            chunks += load->chunks;
            cut->arrivals[cut->arrival_count++] = (fm_replay_arrival){ o, launch_of(m, load),
                                                                       loaded_bytes(m, &cut->objects[o], chunks) };
        }
    }
}

/* Panels of an image that lie whole in the first bytes of its object. */
static uint32_t panels_within(const overlap_maker *m, const fm_replay_image *image, uint64_t bytes) {
    uint64_t panel = m->facts->pack->weights[image->weight].panel_bytes;
    uint64_t whole = bytes > image->source ? (bytes - image->source) / panel : 0;
    return whole < image->panels ? (uint32_t)whole : image->panels;
}

/* What each load completes of each image, rounded to whole panels. */
static void add_converts(overlap_maker *m) {
    fm_cut *cut = &m->cut;
    size_t  capacity = 0, count = 0;
    cut->converts = NULL;
    for (uint32_t i = 0; i < cut->image_count; i++) {
        fm_replay_image        *image = &cut->images[i];
        const fm_replay_object *object = &cut->objects[image->object];
        const decision         *d = &m->decisions[image->object];
        uint32_t                done = 0;
        uint64_t                chunks = 0;
        image->first_convert = (uint32_t)count;
        if (d->preload)
            FM_PUSH(m->arena, cut->converts, count, capacity) = (fm_replay_convert){ i, 0, image->panels, 0 };
        for (uint32_t l = d->first_load; l < d->first_load + d->load_count; l++) {
            chunks += m->overlap->loads[l].chunks;
            uint32_t panels = panels_within(m, image, loaded_bytes(m, object, chunks));
            if (panels > done)
                FM_PUSH(m->arena, cut->converts, count,
                        capacity) = (fm_replay_convert){ i, done, panels - done, launch_of(m, &m->overlap->loads[l]) };
            done = panels > done ? panels : done;
        }
        image->converts = (uint32_t)count - image->first_convert;
    }
    cut->convert_count = (uint32_t)count;
}

/* --- when and where ----------------------------------------------------------------------------------------------- */

/* Until when each object's memory is needed and who waits for it first; objects of the timed problem live as long. */
static void time_objects(overlap_maker *m) {
    fm_cut *cut = &m->cut;
    for (uint32_t o = 0; o < cut->object_count; o++) {
        fm_replay_object *object = &cut->objects[o];
        object->need = object->first;
        object->freed = object->staged ? 0 : object->last;
    }
    for (uint32_t c = 0; c < cut->convert_count; c++) {
        fm_replay_object *object = &cut->objects[cut->images[cut->converts[c].image].object];
        if (cut->converts[c].before_step < object->need) object->need = cut->converts[c].before_step;
        if (cut->converts[c].before_step > object->freed) object->freed = cut->converts[c].before_step;
    }
    for (uint32_t a = 0; a < cut->arrival_count; a++) {
        fm_replay_object *object = &cut->objects[cut->arrivals[a].object];
        if (cut->arrivals[a].before_step < object->need) object->need = cut->arrivals[a].before_step;
        if (cut->arrivals[a].before_step > object->freed) object->freed = cut->arrivals[a].before_step; /* still read */
    }
    for (uint32_t o = 0; o < cut->object_count; o++) {
        const fm_replay_object *object = &cut->objects[o];
        cut->timed_objects[o] = (fm_timed_object){ .bytes = object->bytes,
                                                   .read_bytes = object->bytes,
                                                   .first = object->need,
                                                   .last = object->freed,
                                                   .resident = object->stays && !object->staged };
    }
    cut->fixed = cut->image_bytes + m->facts->staging;
}

static double convert_seconds(const overlap_maker *m, const fm_replay_convert *row) {
    uint64_t panel = m->facts->pack->weights[m->cut.images[row->image].weight].panel_bytes;
    return fm_convert_seconds(&m->facts->request->device, (double)row->panels * (double)panel);
}

/* Streamed bytes, as they lie and as images, within M_peak: activations have their own memory. */
static fm_timed_problem within_m_peak(const overlap_maker *m, uint64_t m_peak) {
    const fm_cut    *cut = &m->cut;
    fm_timed_problem problem = fm_replay_problem(m->facts, cut, m_peak);
    fm_timed_step   *steps = fm_arena_array(m->arena, cut->step_count, sizeof *steps);
    fm_timed_object *objects = fm_arena_array(m->arena, cut->object_count, sizeof *objects);
    int64_t         *change = fm_arena_array(m->arena, cut->step_count + 1u, sizeof *change), live = 0;
    for (uint32_t i = 0; i < cut->image_count; i++) {
        const fm_replay_image  *image = &cut->images[i];
        const fm_replay_object *object = &cut->objects[image->object];
        int64_t                 bytes = (int64_t)(image->panels * m->facts->pack->weights[image->weight].panel_bytes);
        if (object->stays) continue;
        change[cut->converts[image->first_convert].before_step] += bytes;
        change[object->last + 1] -= bytes;
    }
    for (uint32_t k = 0; k < cut->step_count; k++) {
        live += change[k];
        steps[k] = (fm_timed_step){ .live_bytes = (uint64_t)live };
    }
    for (uint32_t o = 0; o < cut->object_count; o++) {
        objects[o] = cut->timed_objects[o];
        if (cut->objects[o].stays) objects[o].bytes = 0; /* not counted */
    }
    problem.steps = steps;
    problem.objects = objects;
    uint64_t least = fm_timed_minimum_bound(&problem, m->arena);
    if (problem.cap < least) problem.cap = least; /* whole objects lie in memory, chunks count in M_peak */
    return problem;
}

/* The first run: a launch waits for what the plan says has arrived, then for its conversions.  rate: of the disk's. */
static void predict(const overlap_maker *m, double rate, fm_timed_plan *plan) {
    const fm_cut    *cut = &m->cut;
    fm_timed_problem problem = fm_replay_problem(m->facts, cut, 0);
    double          *converts = fm_arena_array(m->arena, cut->step_count, sizeof *converts);
    uint32_t        *next = fm_arena_array(m->arena, cut->step_count + 1u, sizeof *next);
    uint32_t        *rows = fm_arena_array(m->arena, cut->arrival_count, sizeof *rows); /* arrivals by launch */
    double           disk = 0, device = problem.startup_seconds;
    problem.bandwidth *= rate;
    for (uint32_t c = 0; c < cut->convert_count; c++)
        converts[cut->converts[c].before_step] += convert_seconds(m, &cut->converts[c]);
    for (uint32_t a = 0; a < cut->arrival_count; a++) next[cut->arrivals[a].before_step + 1]++;
    for (uint32_t k = 0; k < cut->step_count; k++) next[k + 1] += next[k];
    for (uint32_t a = 0; a < cut->arrival_count; a++) rows[next[cut->arrivals[a].before_step]++] = a;
    plan->stall = 0;
    for (uint32_t k = 0, o = 0, a = 0; k < cut->step_count; k++) {
        double arrived = 0;
        for (; o < cut->object_count && cut->objects[o].need <= k; o++) {
            double free = plan->wrap[o] || plan->after[o] < 0 ? 0 : plan->end[plan->after[o]];
            plan->request[o] = disk > free ? disk : free;
            disk = plan->request[o] + problem.request_seconds + (double)cut->objects[o].bytes / problem.bandwidth;
            plan->arrival[o] = disk;
        }
        for (; a < next[k]; a++) { /* next[k] is by now the end of k's rows */
            const fm_replay_arrival *row = &cut->arrivals[rows[a]];
            double at = plan->request[row->object] + problem.request_seconds + (double)row->bytes / problem.bandwidth;
            if (at > arrived) arrived = at;
        }
        if (arrived > device) plan->stall += arrived - device;
        plan->start[k] = (arrived > device ? arrived : device) + converts[k];
        plan->end[k] = device = plan->start[k] + cut->steps[k].seconds;
    }
    plan->latency = device;
}

/* Reads as early as m_peak allows, in regions of at most limit.  *least: less changes nothing. */
static bool place_within(overlap_maker *m, uint64_t m_peak, uint64_t limit, fm_placed *out, bool *least) {
    fm_timed_problem problem = fm_replay_problem(m->facts, &m->cut, UINT64_MAX / 2), capped = within_m_peak(m, m_peak);
    fm_placed_init(out, m->facts, &m->cut, m->arena);
    *least = capped.cap > m_peak;
    return fm_timed_solve(&capped, &out->plan) &&
           fm_replay_place(m->facts, &m->cut, &problem, limit, FM_PLACE_ANYHOW, out, m->arena);
}

/* As the plan's M_peak allows; if that does not fit the limit, as a part of it does, which *m_peak gets.  False: it
 * fits only with every read as late as it may be. */
static bool place_early(overlap_maker *m, uint64_t limit, fm_placed *out, uint64_t *m_peak) {
    uint64_t whole = m->cut.object_bytes + m->cut.image_bytes;
    bool     least = false;
    *m_peak = m->overlap->plan->m_peak_bytes < whole ? m->overlap->plan->m_peak_bytes : whole;
    for (int attempt = 0; attempt < 4 && !least; attempt++, *m_peak /= 2)
        if (place_within(m, *m_peak, limit, out, &least)) return true;
    return false;
}

static bool as_fast(const overlap_maker *m, const double *allowed, fm_placed *placed) {
    for (int i = 0; i < RATES; i++) {
        predict(m, rates[i], &placed->plan);
        if (placed->plan.latency > allowed[i]) return false;
    }
    return true;
}

/* Automatic budgets: of parts of M_peak the least at which no disk rate that is likely is slower for it. */
static void choose_least(overlap_maker *m, uint64_t m_peak, const fm_placed *late, fm_placed *out) {
    uint64_t  limit = out->total;
    double    allowed[RATES];
    bool      least = false;
    fm_placed tried;
    for (int i = 0; i < RATES; i++) {
        predict(m, rates[i], &out->plan);
        allowed[i] = out->plan.latency * (1 + LATENCY_SLACK);
    }
    for (m_peak /= 2; !least; m_peak /= 2) {
        if (!place_within(m, m_peak, limit, &tried, &least) || !as_fast(m, allowed, &tried)) return;
        if (tried.total < out->total) *out = tried;
    }
    tried = *late;
    if (tried.total < out->total && as_fast(m, allowed, &tried)) *out = tried;
}

static flashmem_status find_place(overlap_maker *m, fm_replay *out) {
    const fm_replay_request *r = m->facts->request;
    fm_timed_problem         problem = fm_replay_problem(m->facts, &m->cut, 0);
    fm_placed                late, early;
    uint64_t                 m_peak;
    fm_placed_init(&late, m->facts, &m->cut, m->arena);
    FM_TRY(fm_replay_place_minimum(m->facts, &m->cut, &late, m->arena, m->err));
    uint64_t minimum = late.total + m->cut.fixed, bound = fm_timed_minimum_bound(&problem, m->arena) + m->cut.fixed;
    if (!r->minimum && r->budget < minimum)
        return fm_fail(m->err, FLASHMEM_BUDGET,
                       "a budget of %" PRIu64 " bytes, the overlap plan needs at least %" PRIu64
                       " (%.1f MB): give that or more, or make one for a smaller M_peak",
                       r->budget, minimum, (double)minimum * 1e-6);
    uint64_t limit = r->minimum ? 0 : r->budget - m->cut.fixed;
    bool     fits = !r->minimum && place_early(m, limit < UINT64_MAX / 2 ? limit : UINT64_MAX / 2, &early, &m_peak);
    if (fits && r->automatic) choose_least(m, m_peak, &late, &early);
    fm_placed *placed = fits ? &early : &late;
    predict(m, 1, &placed->plan);
    fm_replay_fill(m->facts, &m->cut, placed, minimum, bound, out);
    return FLASHMEM_OK;
}

flashmem_status fm_replay_make_overlap(fm_replay_facts *facts, const fm_log *log, fm_replay *out, flashmem_error *err) {
    overlap_maker m = { .facts = facts, .overlap = facts->request->stored, .arena = facts->arena, .err = err };
    FM_TRY(make_cut(&m));
    FM_TRY(match(&m));
    order_objects(&m);
    add_arrivals(&m);
    add_converts(&m);
    fm_replay_pool_images(facts, &m.cut);
    time_objects(&m);
    FM_TRY(find_place(&m, out));
    fm_debug(log, "plan",
             "overlap plan: %u launches, %u objects, %u of them preloaded, %u conversions; peak %" PRIu64
             ", minimum %" PRIu64 " (bound %" PRIu64 "); predicted %.1f ms, stalls %.1f ms",
             out->step_count, out->object_count, m.overlap->plan->preload_count, out->convert_count, out->peak,
             out->minimum, out->minimum_bound, out->latency * 1e3, out->stall * 1e3);
    return FLASHMEM_OK;
}
