#include "plan_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "plan_why.h"

static double mb(uint64_t bytes) { return (double)bytes * 1e-6; }

static void print_summary(const flashmem_plan *p, FILE *to) {
    fprintf(to, "plan: %u launches, %u objects, slabs of at most %.2f MB, %u reads of %.2f MB in flight\n",
            p->step_count, p->object_count, mb(p->slab_bytes), p->read_depth, mb(p->read_request_bytes));
    fprintf(to, "memory: peak %" PRIu64 " bytes (%.2f MB): %u region%s", p->peak_bytes, mb(p->peak_bytes),
            p->region_count, p->region_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < p->region_count; i++) fprintf(to, " %.2f", mb(p->region_bytes[i]));
    fprintf(to, ", images %.2f, staging %.2f; activations at most %.2f, resident %.2f, average %.2f\n",
            mb(p->image_bytes), mb(p->staging_bytes), mb(p->activation_bytes), mb(p->resident_bytes),
            p->average_bytes * 1e-6);
    fprintf(to, "minimum: %" PRIu64 " bytes (%.2f MB), no plan is below %" PRIu64 " (%.2f MB)\n", p->minimum_bytes,
            mb(p->minimum_bytes), p->minimum_bound_bytes, mb(p->minimum_bound_bytes));
    fprintf(to, "predicted: %.2f ms, of which %.2f ms wait for weights\n", p->latency * 1e3, p->stall * 1e3);
}

static void print_request(const flashmem_plan_object *o, FILE *to) {
    if (o->resident) fprintf(to, "once, stays");
    else if (o->wrap) fprintf(to, "after step %d of the run before", o->after);
    else if (o->after < 0) fprintf(to, "at the start");
    else fprintf(to, "after step %d", o->after);
}

static void print_objects(const flashmem_plan *p, FILE *to) {
    fprintf(to, "\nreads, in order:\n%6s %10s %8s %7s %11s %19s %9s %9s  %s\n", "object", "bytes", "weight", "panels",
            "steps", "at", "request", "arrival", "when");
    for (uint32_t i = 0; i < p->object_count; i++) {
        const flashmem_plan_object *o = &p->objects[i];
        char                        panels[24] = "-", steps[24];
        if (o->panels) snprintf(panels, sizeof panels, "%u+%u", o->first_panel, o->panels);
        snprintf(steps, sizeof steps, "%u..%u", o->first, o->last);
        fprintf(to, "%6u %10" PRIu64 " %8d %7s %11s %5u:%-13" PRIu64 " %6.2f ms %6.2f ms  ", i, o->bytes,
                o->weight == FLASHMEM_NONE ? -1 : (int)o->weight, panels, steps, o->region, o->offset, o->request * 1e3,
                o->arrival * 1e3);
        print_request(o, to);
        fprintf(to, "  %s\n", o->name);
    }
}

static void print_steps(const flashmem_plan *p, FILE *to) {
    fprintf(to, "\nlaunches:\n%6s %6s %11s %9s %9s %9s  %s\n", "launch", "step", "panels", "start", "end", "waits",
            "name");
    double before = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        const flashmem_plan_step *s = &p->steps[k];
        char                      panels[24] = "-";
        if (s->panels) snprintf(panels, sizeof panels, "%u+%u", s->first_panel, s->panels);
        fprintf(to, "%6u %6u %11s %6.2f ms %6.2f ms %6.2f ms  %s\n", k, s->step, panels, s->start * 1e3, s->end * 1e3,
                (s->start - before) * 1e3, s->name);
        before = s->end;
    }
}

static void print_values(const flashmem_plan *p, FILE *to) {
    fprintf(to, "\nvalues:\n%6s %12s %11s %19s  %s\n", "value", "bytes", "steps", "at", "name");
    for (uint32_t v = 0; v < p->value_count; v++) {
        const flashmem_plan_value *value = &p->values[v];
        char                       steps[24];
        snprintf(steps, sizeof steps, "%u..%u", value->from, value->to);
        fprintf(to, "%6u %12" PRIu64 " %11s %5u:%-13" PRIu64 "  %s\n", value->value, value->bytes, steps, value->region,
                value->offset, value->name);
    }
}

static void print_images(const flashmem_plan *p, FILE *to) {
    if (p->image_count == 0) return;
    fprintf(to, "\nimages:\n");
    for (uint32_t i = 0; i < p->image_count; i++)
        fprintf(to, "%6u %u x %u %s, %" PRIu64 " bytes\n", i, p->images[i].width, p->images[i].height,
                p->images[i].half ? "half" : "float", p->images[i].bytes);
}

/* --- overlap plans ------------------------------------------------------------------------------------------------ */

static void print_overlap(const flashmem_plan *p, FILE *to) {
    uint32_t preloaded = 0;
    for (uint32_t w = 0; w < p->weight_count; w++) preloaded += p->weights[w].preload != 0;
    fprintf(to, "overlap: objective %.4f, bound %.4f, gap %.2f %%: %s by %s in %.2f ms\n", p->objective, p->bound,
            p->gap * 100, p->status, p->solver, p->seconds * 1e3);
    if (p->fused_objective > 0)
        fprintf(to, "fusion: %u fused steps split again, objective %.4f before\n", p->split_count, p->fused_objective);
    fprintf(to, "chunks of %" PRIu64 " bytes; in flight at most %u of %u; lambda %g; capacities: %s\n", p->chunk_bytes,
            p->peak_chunks, p->m_peak_chunks, p->lambda, p->capacities);
    fprintf(to, "preloaded: %u of %u weights, %" PRIu64 " bytes (%.2f MB)\n", preloaded, p->weight_count,
            p->preload_bytes, mb(p->preload_bytes));
}

static void print_weights(const flashmem_plan *p, FILE *to) {
    cli_reason *reasons = cli_why_weights(p);
    char        why[256] = "", steps[24];
    fprintf(to, "\nweights:\n%6s %12s %7s %11s  %s\n", "weight", "bytes", "chunks", "steps", "name");
    for (uint32_t i = 0; i < p->weight_count; i++) {
        const flashmem_plan_weight *w = &p->weights[i];
        if (reasons) cli_why_weight_text(p, &reasons[i], why, sizeof why);
        snprintf(steps, sizeof steps, "%u..%u", w->first, w->last);
        fprintf(to, "%6u %12" PRIu64 " %7u %11s  %s  %s\n", i, w->bytes, w->chunks, steps, w->name, why);
    }
    free(reasons);
}

static void print_capacities(const flashmem_plan *p, FILE *to) {
    fprintf(to, "\nloads beside steps, in chunks:\n%6s %9s %9s %12s  %s\n", "step", "possible", "loaded", "takes",
            "name");
    for (uint32_t k = 0; k < p->step_count; k++) {
        const flashmem_plan_step *s = &p->steps[k];
        fprintf(to, "%6u %9" PRIu64 " %9" PRIu64 " %9.2f us  %s\n", k, s->capacity_bytes / p->chunk_bytes,
                s->load_bytes / p->chunk_bytes, s->seconds * 1e6, s->name);
    }
}

void cli_plan_text(const flashmem_plan *plan, FILE *to) {
    bool overlap = plan->chunk_bytes > 0, placed = plan->object_count || !overlap; /* an instance places nothing */
    if (overlap) print_overlap(plan, to);
    if (placed) print_summary(plan, to);
    if (overlap) print_weights(plan, to);
    if (overlap) print_capacities(plan, to);
    if (!placed) return;
    print_objects(plan, to);
    print_steps(plan, to);
    print_values(plan, to);
    print_images(plan, to);
}
