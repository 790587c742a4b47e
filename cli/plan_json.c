/* Field names are an interface: scripts read them. */
#include "plan_json.h"

#include <math.h>

#include "console.h"
#include "report.h"

static void set_bytes(json_t *object, const char *key, uint64_t n) {
    json_object_set_new(object, key, json_integer((json_int_t)n));
}

static void set_number(json_t *object, const char *key, double x) {
    json_object_set_new(object, key, isfinite(x) ? json_real(x) : json_null());
}

static void set_text(json_t *object, const char *key, const char *text) {
    json_object_set_new(object, key, cli_report_text(text));
}

/* What the objective is about: weights of an overlap plan, else what is placed and read as one. */
static uint32_t weight_count(const flashmem_plan *p) { return p->weight_count ? p->weight_count : p->object_count; }

json_t *cli_plan_figures(const flashmem_plan *p) {
    json_t *o = json_object();
    set_text(o, "objective_kind", p->objective_kind);
    set_number(o, "objective", p->objective);
    set_number(o, "bound", p->bound);
    set_number(o, "gap", p->gap);
    set_text(o, "status", p->status);
    set_text(o, "solver", p->solver);
    set_text(o, "capacities", p->capacities);
    set_number(o, "seconds", p->seconds);
    set_bytes(o, "steps", p->step_count);
    set_bytes(o, "kernel_steps", p->kernel_steps);
    set_bytes(o, "weights", weight_count(p));
    set_bytes(o, "preload_bytes", p->preload_bytes);
    set_bytes(o, "read_bytes", p->read_bytes);
    set_bytes(o, "peak_bytes", p->peak_bytes);
    set_number(o, "average_bytes", p->average_bytes);
    set_number(o, "predicted_latency_ms", p->latency * 1e3);
    set_number(o, "predicted_stall_ms", p->stall * 1e3);
    set_number(o, "compute_ms", p->compute_seconds * 1e3);
    set_number(o, "disk_ms", p->disk_seconds * 1e3);
    if (!p->chunk_bytes) return o;
    set_number(o, "lambda", p->lambda);
    set_bytes(o, "chunk_bytes", p->chunk_bytes);
    set_bytes(o, "m_peak_bytes", p->m_peak_bytes);
    set_bytes(o, "m_peak_chunks", p->m_peak_chunks);
    set_bytes(o, "peak_chunks", p->peak_chunks);
    if (p->fused_objective <= 0) return o;
    set_number(o, "fused_objective", p->fused_objective);
    set_bytes(o, "splits", p->split_count);
    return o;
}

json_t *cli_plan_memory(const flashmem_plan *p) {
    json_t *o = json_object();
    set_bytes(o, "budget_bytes", p->budget_bytes);
    set_bytes(o, "planned_peak_bytes", p->peak_bytes);
    set_bytes(o, "live_bound_bytes", p->live_bound_bytes);
    set_bytes(o, "minimum_budget_bytes", p->minimum_bytes);
    set_bytes(o, "minimum_bound_bytes", p->minimum_bound_bytes);
    set_bytes(o, "resident_bytes", p->resident_bytes);
    set_bytes(o, "staging_bytes", p->staging_bytes);
    set_bytes(o, "image_bytes", p->image_bytes);
    set_bytes(o, "activation_bytes", p->activation_bytes);
    set_bytes(o, "slab_bytes", p->slab_bytes);
    return o;
}

json_t *cli_plan_curve(const cli_curve *curve) {
    json_t *rows = json_array();
    for (uint32_t i = 0; i < curve->count; i++) {
        const cli_curve_row *r = &curve->rows[i];
        json_t              *row = json_object();
        set_bytes(row, "budget_bytes", r->budget);
        set_bytes(row, "peak_bytes", r->peak);
        set_number(row, "average_bytes", r->average);
        set_bytes(row, "resident_bytes", r->resident);
        set_number(row, "latency_ms", r->latency * 1e3);
        set_number(row, "stall_ms", r->stall * 1e3);
        json_array_append_new(rows, row);
    }
    return rows;
}

int cli_plan_json(const char *path, const flashmem_plan *plan, const cli_curve *curve, const char *cache) {
    json_t *root = json_object();
    json_object_set_new(root, "plan", cli_plan_figures(plan));
    json_object_set_new(root, "memory", cli_plan_memory(plan));
    set_text(root, "model", plan->model);
    set_text(root, "device", plan->device);
    set_bytes(root, "weights_bytes", plan->weight_bytes);
    if (curve) json_object_set_new(root, "curve", cli_plan_curve(curve));
    if (cache) json_object_set_new(root, "cache", json_pack("{s:s}", "pack", cache));
    return cli_report_save(root, path);
}

static json_t *weight_object(const flashmem_plan *p, const flashmem_plan_weight *w) {
    json_t *o = json_object(), *load = json_array();
    set_text(o, "name", w->name);
    set_bytes(o, "bytes", w->bytes);
    set_bytes(o, "chunks", w->chunks);
    set_bytes(o, "first", w->first);
    set_bytes(o, "last", w->last);
    json_object_set_new(o, "preload", json_boolean(w->preload));
    for (uint32_t i = 0; i < w->load_count; i++) {
        const flashmem_plan_load *l = &p->loads[w->first_load + i];
        json_array_append_new(load, json_pack("[I,I]", (json_int_t)l->step, (json_int_t)l->chunks));
    }
    json_object_set_new(o, "load", load);
    return o;
}

int cli_plan_dump(const char *path, const flashmem_plan *p) {
    if (!p->chunk_bytes) {
        cli_usage("--dump-problem: the plan is %s, only an overlap plan has a problem: add --objective opg",
                  p->objective_kind ? p->objective_kind : "another");
        return 2;
    }
    json_t *root = json_object(), *capacities = json_array(), *steps = json_array(), *weights = json_array();
    set_bytes(root, "chunk_bytes", p->chunk_bytes);
    set_bytes(root, "m_peak_chunks", p->m_peak_chunks);
    set_number(root, "lambda", p->lambda);
    for (uint32_t s = 0; s < p->step_count; s++) {
        json_array_append_new(capacities, json_integer((json_int_t)(p->steps[s].capacity_bytes / p->chunk_bytes)));
        json_array_append_new(steps, cli_report_text(p->steps[s].name));
    }
    for (uint32_t w = 0; w < p->weight_count; w++) json_array_append_new(weights, weight_object(p, &p->weights[w]));
    json_object_set_new(root, "capacity_chunks", capacities);
    json_object_set_new(root, "steps", steps);
    json_object_set_new(root, "weights", weights);
    return cli_report_save(root, path);
}
