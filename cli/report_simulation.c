/* A simulation as JSON: figures, launches, objects and memory over time. */
#include <jansson.h>

#include "flashmem/planner.h"
#include "report.h"

static json_t *figures(const flashmem_plan *p, const flashmem_simulation *s) {
    return json_pack("{s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f}", "latency_ms", s->latency * 1e3,
                     "stall_ms", s->stall * 1e3, "limit_ms", s->limit * 1e3, "average_bytes", s->average_bytes,
                     "peak_bytes", (json_int_t)s->peak_bytes, "planned_peak_bytes", (json_int_t)p->peak_bytes,
                     "budget_bytes", (json_int_t)p->budget_bytes, "minimum_budget_bytes", (json_int_t)p->minimum_bytes,
                     "read_bytes", (json_int_t)s->read_bytes, "disk_ms", s->disk_seconds * 1e3, "check_ms",
                     s->check_seconds * 1e3, "convert_ms", s->convert_seconds * 1e3, "compute_ms",
                     s->compute_seconds * 1e3, "joules", s->joules);
}

static json_t *steps(const flashmem_plan *p, const flashmem_simulation *s) {
    json_t *list = json_array();
    for (uint32_t k = 0; k < s->step_count; k++) {
        const flashmem_simulated_step *step = &s->steps[k];
        json_t *row = json_pack("{s:i,s:i,s:f,s:f,s:f,s:f}", "step", (int)p->steps[k].step, "part",
                                (int)p->steps[k].part, "start_ms", step->start * 1e3, "end_ms", step->end * 1e3,
                                "convert_ms", step->convert * 1e3, "stall_ms", step->stall * 1e3);
        if (row) json_object_set_new(row, "name", cli_report_text(p->steps[k].name));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *objects(const flashmem_plan *p, const flashmem_simulation *s) {
    json_t *list = json_array();
    for (uint32_t o = 0; o < s->object_count; o++) {
        const flashmem_simulated_object *x = &s->objects[o];
        json_t *row = json_pack("{s:i,s:i,s:I,s:f,s:f,s:f,s:f,s:f}", "object", (int)p->objects[o].object, "part",
                                (int)p->objects[o].part, "bytes", (json_int_t)p->objects[o].bytes, "request_ms",
                                x->request * 1e3, "read_start_ms", x->read_start * 1e3, "read_end_ms",
                                x->read_end * 1e3, "arrival_ms", x->arrival * 1e3, "freed_ms", x->freed * 1e3);
        if (row) json_object_set_new(row, "name", cli_report_text(p->objects[o].name));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *memory(const flashmem_simulation *s) {
    json_t *points = json_array();
    for (uint32_t i = 0; i < s->memory_count; i++) {
        const flashmem_memory_point *m = &s->memory[i];
        json_array_append_new(points, json_pack("[f,I,I,I]", m->at * 1e3, (json_int_t)m->objects,
                                                (json_int_t)m->residents, (json_int_t)m->activations));
    }
    return json_pack("{s:I,s:I,s:[s,s,s,s],s:o}", "image_bytes", (json_int_t)s->image_bytes, "staging_bytes",
                     (json_int_t)s->staging_bytes, "columns", "at_ms", "objects", "residents", "activations", "points",
                     points);
}

int cli_report_simulation(const char *path, const flashmem_plan *p, const flashmem_simulation *s) {
    json_t *root = json_pack("{s:o,s:o,s:o,s:o}", "simulation", figures(p, s), "launches", steps(p, s), "objects",
                             objects(p, s), "memory", memory(s));
    if (root) {
        json_object_set_new(root, "model", cli_report_text(p->model));
        json_object_set_new(root, "device", cli_report_text(s->device));
        json_object_set_new(root, "plan", cli_report_text(p->objective_kind));
    }
    return cli_report_save(root, path);
}
