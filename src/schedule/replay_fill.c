/* A placed cut as those who replay it see it. */
#include <string.h>

#include "schedule/replay_internal.h"

/* Small enough that a step's first bytes are checked while its last are read, and many, so that the disk has work until
 * a reader whose cores are busy wakes up; measured in docs/planning.md. */
enum { READ_DEPTH = 16, READ_BYTES = 512 << 10 };

static void choose_requests(const fm_replay_request *r, fm_replay *out) {
    uint32_t depth = r->read_depth ? r->read_depth : r->device.read_depth;
    uint32_t bytes = r->read_bytes ? r->read_bytes : r->device.read_bytes;
    out->read_depth = depth ? depth : READ_DEPTH;
    out->read_bytes = bytes ? bytes / FM_PACK_ALIGN * FM_PACK_ALIGN : READ_BYTES;
    if (out->read_bytes < FM_PACK_ALIGN) out->read_bytes = FM_PACK_ALIGN;
}

static void fill_objects(const fm_placed *placed, const fm_cut *cut, fm_replay *out) {
    for (uint32_t o = 0; o < cut->object_count; o++) {
        fm_replay_object *object = &cut->objects[o];
        object->after = placed->plan.after[o];
        object->wrap = placed->plan.wrap[o];
        object->resident = cut->timed_objects[o].resident;
        object->region = placed->object_region[o];
        object->place = placed->object_place[o];
        object->request = placed->plan.request[o];
        object->arrival = placed->plan.arrival[o];
        if (object->resident) out->resident_bytes += object->bytes;
    }
}

void fm_replay_fill(const fm_replay_facts *f, const fm_cut *cut, const fm_placed *placed, uint64_t minimum,
                    uint64_t minimum_bound, fm_replay *out) {
    fm_timed_problem problem = fm_replay_problem(f, cut, 0);
    *out = (fm_replay){
        .steps = cut->steps,
        .step_count = cut->step_count,
        .objects = cut->objects,
        .object_count = cut->object_count,
        .uses = cut->uses,
        .use_count = cut->use_count,
        .values = cut->values,
        .images = cut->images,
        .image_count = cut->image_count,
        .converts = cut->converts,
        .convert_count = cut->convert_count,
        .arrivals = cut->arrivals,
        .arrival_count = cut->arrival_count,
        .pool = cut->pool,
        .pool_count = cut->pool_count,
        .region_count = placed->regions,
        .slab_bytes = cut->largest,
        .staging_bytes = f->staging,
        .activation_peak = cut->activation_peak,
        .image_bytes = cut->image_bytes,
        .peak = placed->total + cut->fixed,
        .minimum = minimum,
        .minimum_bound = minimum_bound,
        .latency = placed->plan.latency,
        .stall = placed->plan.stall,
        .policy = f->request->policy ? fm_policy_name(fm_policy_find(f->request->policy)) : NULL,
    };
    memcpy(out->region_bytes, placed->region_bytes, sizeof out->region_bytes);
    out->average_bytes = fm_timed_average_memory(&problem, &placed->plan) + (double)cut->fixed;
    fill_objects(placed, cut, out);
    for (uint32_t v = 0; v < f->program->value_count; v++) {
        if (!cut->values[v].placed) continue;
        cut->values[v].region = placed->value_region[v];
        cut->values[v].offset = placed->value_place[v];
    }
    for (uint32_t k = 0; k < cut->step_count; k++) {
        cut->steps[k].start = placed->plan.start[k];
        cut->steps[k].end = placed->plan.end[k];
    }
    choose_requests(f->request, out);
    if (cut->read_order) fm_replay_renumber(out, cut->read_order, f->arena);
}
