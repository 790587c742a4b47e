/* A stored overlap plan as plain data: weights, loads by launch, and what is loaded beside each launch. */
#include "schedule/plan_view.h"

/* Chunks that have arrived by the arrivals of an object are the rows of its loads. */
static void view_loads(const fm_replay *r, uint64_t chunk, flashmem_plan_weight *weights, flashmem_plan_load *loads,
                       flashmem_plan_step *steps, flashmem_plan *out) {
    uint32_t object = UINT32_MAX;
    uint64_t before = 0; /* bytes of the object that have been loaded */
    for (uint32_t a = 0; a < r->arrival_count; a++) {
        const fm_replay_arrival *row = &r->arrivals[a];
        flashmem_plan_weight    *weight = &weights[row->object];
        if (row->object != object) before = 0;
        object = row->object;
        if (weight->preload) continue;
        if (!weight->load_count++) weight->first_load = out->load_count;
        uint64_t chunks = fm_chunks(row->bytes, chunk) - fm_chunks(before, chunk);
        loads[out->load_count++] = (flashmem_plan_load){ row->before_step, (uint32_t)chunks };
        steps[row->before_step].load_bytes += row->bytes - before;
        before = row->bytes;
    }
}

/* Most chunks that wait for their first use at once. */
static uint32_t most_chunks(const flashmem_plan *plan, fm_arena *arena) {
    int64_t *change = fm_arena_array(arena, plan->step_count + 1u, sizeof *change), live = 0, most = 0;
    for (uint32_t w = 0; w < plan->weight_count; w++)
        for (uint32_t l = 0; l < plan->weights[w].load_count; l++) {
            const flashmem_plan_load *load = &plan->loads[plan->weights[w].first_load + l];
            change[load->step] += load->chunks;
            change[plan->weights[w].first + 1] -= load->chunks;
        }
    for (uint32_t k = 0; k < plan->step_count; k++) {
        live += change[k];
        if (live > most) most = live;
    }
    return (uint32_t)most;
}

void fm_plan_view_overlap(const fm_packed *packed, const fm_program *program, const fm_stored_overlap *overlap,
                          const fm_replay *r, fm_arena *arena, flashmem_plan *out) {
    const fm_stored_plan *plan = overlap->plan;
    flashmem_plan_weight *weights = fm_arena_array(arena, r->object_count, sizeof *weights);
    flashmem_plan_load   *loads = fm_arena_array(arena, r->arrival_count, sizeof *loads);
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        weights[o] = (flashmem_plan_weight){
            .name = object->weight == FM_NONE ? "bundle"
                                              : fm_program_string(program, packed->weights[object->weight].name),
            .bytes = object->bytes,
            .chunks = (uint32_t)fm_chunks(object->bytes, plan->chunk_bytes),
            .first = object->first,
            .last = object->last,
            .preload = object->preload,
        };
    }
    view_loads(r, plan->chunk_bytes, weights, loads, (flashmem_plan_step *)out->steps, out);
    out->weights = weights;
    out->weight_count = r->object_count;
    out->loads = loads;
    out->objective_kind = "opg";
    out->status = plan->status == FM_STORED_OPTIMAL ? "OPTIMAL" : "FEASIBLE";
    out->solver = fm_arena_strdup(arena, plan->solver);
    out->capacities = fm_arena_printf(arena, "as it was made, for '%s'", plan->device);
    out->objective = (double)plan->objective / (double)plan->unit;
    out->bound = (double)plan->bound / (double)plan->unit;
    out->gap = out->objective > 0 ? (out->objective - out->bound) / out->objective : 0;
    out->lambda = plan->lambda;
    out->chunk_bytes = plan->chunk_bytes;
    out->m_peak_bytes = plan->m_peak_bytes;
    out->m_peak_chunks = (uint32_t)(plan->m_peak_bytes / plan->chunk_bytes < UINT32_MAX
                                        ? plan->m_peak_bytes / plan->chunk_bytes
                                        : UINT32_MAX);
    out->peak_chunks = most_chunks(out, arena);
}
