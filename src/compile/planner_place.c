/* Placement by CP-SAT, on demand: the lives that a timed plan has, in as little memory as there is a placement for. */
#include <string.h>

#include "compile/plan/cpsat/cpsat_place.h"
#include "compile/planner_internal.h"

/* Objects requested during the run before live in two ranges. */
static fm_place_item object_item(const fm_replay_object *o, int32_t end) {
    fm_place_item item = { .bytes = o->bytes,
                           .align = FM_PACK_ALIGN,
                           .from = o->after + 1,
                           .to = (int32_t)o->last,
                           .from2 = 1,
                           .to2 = 0,
                           .region = o->region,
                           .offset = o->place };
    if (o->resident) {
        item.from = 0;
        item.to = end;
    } else if (o->wrap) {
        item.from2 = o->after + 1;
        item.to2 = end;
        item.from = 0;
    }
    return item;
}

static fm_place_item *collect(const fm_planned *plan, uint32_t *count, fm_arena *arena) {
    const fm_replay *r = &plan->replay;
    uint32_t         values = plan->lowered.value_count;
    fm_place_item   *items = fm_arena_array(arena, r->object_count + values, sizeof *items);
    int32_t          end = (int32_t)r->step_count - 1;
    for (uint32_t o = 0; o < r->object_count; o++) items[(*count)++] = object_item(&r->objects[o], end);
    for (uint32_t v = 0; v < values; v++) {
        const fm_replay_value *value = &r->values[v];
        if (!value->placed) continue;
        items[(*count)++] = (fm_place_item){ .bytes = value->bytes,
                                             .align = plan->request.device.value_align,
                                             .from = value->from,
                                             .to = value->to,
                                             .from2 = 1,
                                             .to2 = 0,
                                             .region = value->region,
                                             .offset = value->offset };
    }
    return items;
}

static void put_back(fm_planned *plan, const fm_place_item *items) {
    fm_replay *r = &plan->replay;
    uint32_t   next = 0;
    for (uint32_t o = 0; o < r->object_count; o++, next++) {
        r->objects[o].region = items[next].region;
        r->objects[o].place = items[next].offset;
    }
    for (uint32_t v = 0; v < plan->lowered.value_count; v++) {
        if (!r->values[v].placed) continue;
        r->values[v].region = items[next].region;
        r->values[v].offset = items[next++].offset;
    }
}

flashmem_status fm_planner_place(const flashmem_planner *p, const flashmem_plan_options *o, fm_planned *plan,
                                 flashmem_error *err) {
    fm_log           log = { p->options.log, p->options.user };
    fm_replay       *r = &plan->replay;
    fm_cpsat_limits  limits = { .seconds = o->time_limit > 0 ? o->time_limit : 60, .log = &log };
    fm_place_problem problem = { .region_limit = plan->request.device.largest_allocation, .steps = r->step_count };
    uint64_t         before = 0, total = 0, bound = 0;
    for (uint32_t i = 0; i < r->region_count; i++) before += r->region_bytes[i];
    problem.items = collect(plan, &problem.count, plan->arena);
    FM_TRY(fm_cpsat_place(&problem, r->region_bytes, r->region_count, &limits, &total, &bound, plan->arena, err));
    put_back(plan, problem.items);
    r->peak -= before - total;
    fm_info(&log, "place", "CP-SAT: %.2f to %.2f MB, no placement of these lives is below %.2f", (double)before * 1e-6,
            (double)total * 1e-6, (double)bound * 1e-6);
    return FLASHMEM_OK;
}
