/* A replay as text, for people. */
#include <inttypes.h>

#include "schedule/replay.h"

static double mb(uint64_t bytes) { return (double)bytes * 1e-6; }

static const char *object_name(const fm_packed *pack, const fm_program *program, const fm_replay_object *object) {
    return object->weight == FM_NONE ? "bundle" : fm_program_string(program, pack->weights[object->weight].name);
}

static void print_summary(const fm_replay *r, FILE *to) {
    fprintf(to, "plan: %u launches, %u objects, slabs of at most %.2f MB, %u reads of %.2f MB in flight\n",
            r->step_count, r->object_count, mb(r->slab_bytes), r->read_depth, mb(r->read_bytes));
    fprintf(to, "memory: peak %" PRIu64 " bytes (%.2f MB): %u region%s", r->peak, mb(r->peak), r->region_count,
            r->region_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < r->region_count; i++) fprintf(to, " %.2f", mb(r->region_bytes[i]));
    fprintf(to, ", images %.2f, staging %.2f; activations at most %.2f, resident %.2f, average %.2f\n",
            mb(r->image_bytes), mb(r->staging_bytes), mb(r->activation_peak), mb(r->resident_bytes),
            r->average_bytes * 1e-6);
    fprintf(to, "minimum: %" PRIu64 " bytes (%.2f MB), no plan is below %" PRIu64 " (%.2f MB)\n", r->minimum,
            mb(r->minimum), r->minimum_bound, mb(r->minimum_bound));
    fprintf(to, "predicted: %.2f ms, of which %.2f ms wait for weights\n", r->latency * 1e3, r->stall * 1e3);
}

static void print_request(const fm_replay_object *o, FILE *to) {
    if (o->resident) fprintf(to, "once, stays");
    else if (o->wrap) fprintf(to, "after step %d of the run before", o->after);
    else if (o->after < 0) fprintf(to, "at the start");
    else fprintf(to, "after step %d", o->after);
}

static void print_objects(const fm_packed *pack, const fm_program *program, const fm_replay *r, FILE *to) {
    fprintf(to, "\nreads, in order:\n%6s %10s %8s %7s %11s %19s %9s %9s  %s\n", "object", "bytes", "weight", "panels",
            "steps", "at", "request", "arrival", "when");
    for (uint32_t i = 0; i < r->object_count; i++) {
        const fm_replay_object *o = &r->objects[i];
        char                    panels[24] = "-", steps[24];
        if (o->panels) snprintf(panels, sizeof panels, "%u+%u", o->first_panel, o->panels);
        snprintf(steps, sizeof steps, "%u..%u", o->first, o->last);
        fprintf(to, "%6u %10" PRIu64 " %8d %7s %11s %5u:%-13" PRIu64 " %6.2f ms %6.2f ms  ", i, o->bytes,
                o->weight == FM_NONE ? -1 : (int)o->weight, panels, steps, o->region, o->place, o->request * 1e3,
                o->arrival * 1e3);
        print_request(o, to);
        fprintf(to, "  %s\n", object_name(pack, program, o));
    }
}

static void print_steps(const fm_program *program, const fm_replay *r, FILE *to) {
    fprintf(to, "\nlaunches:\n%6s %6s %11s %9s %9s %9s  %s\n", "launch", "step", "panels", "start", "end", "waits",
            "name");
    double before = 0;
    for (uint32_t k = 0; k < r->step_count; k++) {
        const fm_replay_step *s = &r->steps[k];
        char                  panels[24] = "-";
        if (s->panels) snprintf(panels, sizeof panels, "%u+%u", s->first_panel, s->panels);
        fprintf(to, "%6u %6u %11s %6.2f ms %6.2f ms %6.2f ms  %s\n", k, s->step, panels, s->start * 1e3, s->end * 1e3,
                (s->start - before) * 1e3, fm_program_string(program, program->steps[s->step].name));
        before = s->end;
    }
}

static void print_values(const fm_program *program, const fm_replay *r, FILE *to) {
    fprintf(to, "\nvalues:\n%6s %12s %11s %19s  %s\n", "value", "bytes", "steps", "at", "name");
    for (uint32_t v = 0; v < program->value_count; v++) {
        const fm_replay_value *value = &r->values[v];
        char                   steps[24];
        if (!value->placed) continue;
        snprintf(steps, sizeof steps, "%d..%d", value->from, value->to);
        fprintf(to, "%6u %12" PRIu64 " %11s %5u:%-13" PRIu64 "  %s\n", v, value->bytes, steps, value->region,
                value->offset, fm_program_string(program, program->values[v].name));
    }
}

static void print_images(const fm_replay *r, FILE *to) {
    if (r->pool_count == 0) return;
    fprintf(to, "\nimages:\n");
    for (uint32_t i = 0; i < r->pool_count; i++)
        fprintf(to, "%6u %u x %u %s, %" PRIu64 " bytes\n", i, r->pool[i].width, r->pool[i].height,
                r->pool[i].half ? "half" : "float", r->pool[i].bytes);
}

void fm_replay_print(const fm_packed *pack, const fm_program *program, const fm_replay *replay, FILE *to) {
    print_summary(replay, to);
    print_objects(pack, program, replay, to);
    print_steps(program, replay, to);
    print_values(program, replay, to);
    print_images(replay, to);
}
