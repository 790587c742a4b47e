#include "schedule/plan_view.h"

#include <string.h>

#include "schedule/work.h"

typedef struct view {
    const fm_packed         *packed;
    const fm_program        *program;
    const fm_replay_request *request;
    const fm_replay         *replay;
    fm_arena                *arena;
    uint32_t                *part; /* [launches] of its kernel step */
} view;

static void number_parts(view *v) {
    v->part = fm_arena_array(v->arena, v->replay->step_count, sizeof *v->part);
    for (uint32_t k = 1; k < v->replay->step_count; k++)
        if (v->replay->steps[k].step == v->replay->steps[k - 1].step) v->part[k] = v->part[k - 1] + 1;
}

/* bytes alive from launch `from` to launch `to`, as changes at launches. */
static void add_life(int64_t *change, uint32_t from, uint32_t to, uint64_t bytes) {
    change[from] += (int64_t)bytes;
    change[to + 1] -= (int64_t)bytes;
}

typedef struct changes {
    int64_t *values, *weights, *residents;
} changes;

static changes lives(const view *v) {
    const fm_replay *r = v->replay;
    size_t           count = r->step_count + 1u;
    changes c = { fm_arena_array(v->arena, count, sizeof *c.values), fm_arena_array(v->arena, count, sizeof *c.weights),
                  fm_arena_array(v->arena, count, sizeof *c.residents) };
    uint32_t end = r->step_count - 1;
    for (uint32_t i = 0; i < v->program->value_count; i++)
        if (r->values[i].placed)
            add_life(c.values, (uint32_t)r->values[i].from, (uint32_t)r->values[i].to, r->values[i].bytes);
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        uint32_t                from = object->wrap || object->after < 0 ? 0 : (uint32_t)object->after + 1;
        if (object->resident) add_life(c.residents, 0, end, object->bytes);
        else add_life(c.weights, from, object->freed, object->bytes);
    }
    return c;
}

static void view_steps(const view *v, flashmem_plan *out) {
    const fm_replay    *r = v->replay;
    flashmem_plan_step *steps = fm_arena_array(v->arena, r->step_count, sizeof *steps);
    changes             c = lives(v);
    int64_t             values = 0, weights = 0, residents = 0;
    double              free_at = v->request->device.startup_seconds;
    for (uint32_t k = 0; k < r->step_count; k++) {
        const fm_replay_step *step = &r->steps[k];
        fm_work               work = fm_step_work(v->packed, v->program, step->step, step->panels);
        values += c.values[k];
        weights += c.weights[k];
        residents += c.residents[k];
        steps[k] = (flashmem_plan_step){
            .name = fm_program_string(v->program, v->program->steps[step->step].name),
            .step = step->step,
            .part = v->part[k],
            .first_panel = step->first_panel,
            .panels = step->panels,
            .cost_class = work.cost_class,
            .capacity_class = fm_capacity_class_of(work.cost_class),
            .seconds = step->seconds,
            .start = step->start,
            .end = step->end,
            .stall = step->start > free_at ? step->start - free_at : 0,
            .flops = work.flops,
            .bytes = work.bytes,
            .activation_bytes = (uint64_t)values,
            .weight_bytes = (uint64_t)weights,
            .resident_bytes = (uint64_t)residents,
            .image_bytes = r->image_bytes,
        };
        free_at = step->end;
        out->compute_seconds += step->seconds;
    }
    out->steps = steps;
    out->step_count = r->step_count;
}

/* Images of an object are made directly before launches. */
static void view_conversion(const view *v, const fm_replay_object *from, flashmem_plan_object *to) {
    const flashmem_device *d = &v->request->device;
    if (!from->images) return;
    const fm_replay_image *first = &v->replay->images[from->first_image], *last = first + from->images - 1;
    uint32_t               begin = v->replay->converts[first->first_convert].before_step;
    double                 seconds = 0; /* right before the first of its launches */
    for (uint32_t c = first->first_convert; c < last->first_convert + last->converts; c++) {
        const fm_replay_convert *row = &v->replay->converts[c];
        const fm_weight         *weight = &v->packed->weights[v->replay->images[row->image].weight];
        double                   end = v->replay->steps[row->before_step].start;
        if (row->before_step == begin)
            seconds += fm_convert_seconds(d, (double)row->panels * (double)weight->panel_bytes);
        if (end > to->convert_end) to->convert_end = end;
    }
    to->convert_start = v->replay->steps[begin].start - seconds;
}

static void view_objects(const view *v, flashmem_plan *out) {
    const fm_replay      *r = v->replay;
    flashmem_plan_object *objects = fm_arena_array(v->arena, r->object_count, sizeof *objects);
    uint32_t             *parts = fm_arena_array(v->arena, v->packed->object_count, sizeof *parts);
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *from = &r->objects[o];
        objects[o] = (flashmem_plan_object){
            .name = from->weight == FM_NONE ? "bundle"
                                            : fm_program_string(v->program, v->packed->weights[from->weight].name),
            .object = from->object,
            .part = parts[from->object]++,
            .weight = from->weight,
            .first_panel = from->first_panel,
            .panels = from->panels,
            .bytes = from->bytes,
            .first = from->first,
            .last = from->last,
            .after = from->after,
            .wrap = from->wrap,
            .resident = from->resident,
            .preload = from->preload,
            .region = from->region,
            .offset = from->place,
            .request = from->request,
            .arrival = from->arrival,
        };
        view_conversion(v, from, &objects[o]);
        out->read_bytes += from->bytes;
        if (from->preload) out->preload_bytes += from->bytes;
    }
    out->objects = objects;
    out->object_count = r->object_count;
}

static void view_values(const view *v, flashmem_plan *out) {
    const fm_program    *p = v->program;
    flashmem_plan_value *values = fm_arena_array(v->arena, p->value_count, sizeof *values);
    for (uint32_t i = 0; i < p->value_count; i++) {
        const fm_replay_value *from = &v->replay->values[i];
        if (!from->placed) continue;
        values[out->value_count++] = (flashmem_plan_value){
            .name = fm_program_string(p, p->values[i].name),
            .value = i,
            .bytes = from->bytes,
            .offset = from->offset,
            .region = from->region,
            .from = (uint32_t)from->from,
            .to = (uint32_t)from->to,
        };
    }
    out->values = values;
}

static void view_images(const view *v, flashmem_plan *out) {
    flashmem_plan_image *images = fm_arena_array(v->arena, v->replay->pool_count, sizeof *images);
    for (uint32_t i = 0; i < v->replay->pool_count; i++) {
        const fm_replay_pool_image *from = &v->replay->pool[i];
        images[i] = (flashmem_plan_image){ from->width, from->height, from->half, from->bytes };
    }
    out->images = images;
    out->image_count = v->replay->pool_count;
}

/* No plan of this cut can be faster than its disk or its compute; latency is the objective. */
static void bound_latency(const fm_replay_request *request, const fm_replay *r, flashmem_plan *out) {
    double compute = request->device.startup_seconds + out->compute_seconds;
    out->disk_seconds = (double)out->read_bytes / request->device.disk_bytes_per_second;
    out->objective_kind = r->policy ? r->policy : "timed";
    out->solver = r->policy ? "rule" : r->rule ? r->rule : "recursion";
    out->capacities = "none";
    out->objective = out->latency;
    out->bound = out->disk_seconds > compute ? out->disk_seconds : compute;
    if (out->bound > out->objective) out->bound = out->objective; /* rounding */
    out->gap = out->objective > 0 ? (out->objective - out->bound) / out->objective : 0;
    out->status = out->gap <= 1e-9 ? "OPTIMAL" : "FEASIBLE";
}

/* Largest sum of what is alive at a launch, by the plan's own lives. */
static uint64_t live_bound(const flashmem_plan *plan) {
    uint64_t most = 0;
    for (uint32_t k = 0; k < plan->step_count; k++) {
        const flashmem_plan_step *s = &plan->steps[k];
        uint64_t                  sum = s->activation_bytes + s->weight_bytes + s->resident_bytes;
        if (sum > most) most = sum;
    }
    return most + plan->image_bytes + plan->staging_bytes;
}

void fm_plan_view(const fm_packed *packed, const fm_program *program, const fm_replay_request *request,
                  const fm_replay *r, fm_arena *arena, flashmem_plan *out) {
    view v = { packed, program, request, r, arena, NULL };
    *out = (flashmem_plan){
        .latency = r->latency,
        .stall = r->stall,
        .average_bytes = r->average_bytes,
        .peak_bytes = r->peak,
        .minimum_bytes = r->minimum,
        .minimum_bound_bytes = r->minimum_bound,
        .resident_bytes = r->resident_bytes,
        .staging_bytes = r->staging_bytes,
        .image_bytes = r->image_bytes,
        .activation_bytes = r->activation_peak,
        .slab_bytes = r->slab_bytes,
        .kernel_steps = program->step_count,
        .read_depth = r->read_depth,
        .read_request_bytes = r->read_bytes,
        .region_count = r->region_count,
    };
    memcpy(out->region_bytes, r->region_bytes, sizeof out->region_bytes);
    number_parts(&v);
    view_steps(&v, out);
    view_objects(&v, out);
    view_values(&v, out);
    view_images(&v, out);
    bound_latency(request, r, out);
    if (request->stored) fm_plan_view_overlap(packed, program, request->stored, r, arena, out);
    out->live_bound_bytes = live_bound(out);
}
