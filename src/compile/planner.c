/* Planning without running: a model is imported and lowered, or a pack opened; then plans for any device. */
#include "compile/planner_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "compile/pack.h"
#include "compile/plan/program_order.h"
#include "schedule/budget.h"
#include "schedule/plan_view.h"

void flashmem_plan_options_init(flashmem_plan_options *options) {
    *options = (flashmem_plan_options){ .size = sizeof *options, .lambda = -1 };
}

/* ---- open ---- */

static bool is_pack(const char *path) {
    char        magic[sizeof FM_PACK_MAGIC - 1] = { 0 };
    struct stat st;
    FILE       *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL; /* a pipe would wait */
    bool        yes = file && fread(magic, sizeof magic, 1, file) == 1 && memcmp(magic, FM_PACK_MAGIC, sizeof magic) == 0;
    if (file) fclose(file);
    return yes;
}

static flashmem_status open_pack(flashmem_planner *p, flashmem_error *err) {
    FM_TRY(fm_pack_open(&p->pack, p->path, err));
    p->packed = p->pack.packed;
    p->program = p->pack.programs[0]; /* until a plan asks for another */
    p->layout = (flashmem_layout)p->pack.header.layout;
    p->weight_bytes = p->pack.header.float_weight_bytes;
    p->lowered = true;
    return FLASHMEM_OK;
}

/* The first plan that needs the program makes it: instances are of the graph as imported. */
static flashmem_status lower_model(flashmem_planner *p, flashmem_error *err) {
    fm_compilation *c = &p->compilation;
    fm_pack_layout  layout;
    if (p->lowered) return FLASHMEM_OK;
    if (fm_arena_trap(c->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory, %zu bytes were in use", p->path,
                       fm_arena_bytes(c->arena));
    FM_TRY(fm_compile_simplify(c, err));
    FM_TRY(fm_compile_lower(c, &p->lower, err));
    p->program = fm_builder_program(&p->lower.builder);
    FM_TRY(fm_pack_lay_out(&p->lower, &p->program, &layout, err));
    p->packed = (fm_packed){ p->lower.records, (uint32_t)p->lower.weight_count, layout.objects, layout.object_count };
    FM_TRY(fm_program_verify_planned(&p->program, p->packed.weights, p->packed.weight_count, p->packed.objects,
                                     p->packed.object_count, err));
    p->layout = p->options.layout;
    p->weight_bytes = fm_lower_float_bytes(&p->lower);
    p->lowered = true;
    return FLASHMEM_OK;
}

static flashmem_status open_arena(flashmem_planner *p, flashmem_error *err) {
    fm_compilation *c = &p->compilation;
    c->arena = fm_arena_create();
    if (!c->arena) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to begin", p->path);
    c->options = &p->options;
    c->log = (fm_log){ p->options.log, p->options.user };
    if (fm_arena_trap(c->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory, %zu bytes were in use", p->path,
                       fm_arena_bytes(c->arena));
    fm_graph_init(&c->graph, c->arena, p->path, &c->log);
    c->graph.planning = true;
    return fm_compile_import(c, err);
}

flashmem_status flashmem_planner_open(const char *path, const flashmem_compile_options *compile, flashmem_planner **out,
                                      flashmem_error *err) {
    fm_error_clear(err);
    *out = NULL;
    if (!path || !*path) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no path of a model or pack");
    flashmem_planner *p = calloc(1, sizeof *p);
    if (p) p->path = strdup(path);
    if (!p || !p->path) {
        free(p);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to begin", path);
    }
    p->pack.fd = -1;
    flashmem_status status = fm_compile_options_check(compile, &p->options, err);
    if (status == FLASHMEM_OK) status = is_pack(path) ? open_pack(p, err) : open_arena(p, err);
    if (status == FLASHMEM_OK) *out = p;
    else flashmem_planner_close(p);
    return status;
}

flashmem_layout flashmem_planner_layout(const flashmem_planner *p) {
    return p->compilation.arena ? p->options.layout : p->layout;
}

void flashmem_planner_close(flashmem_planner *p) {
    if (!p) return;
    if (p->compilation.arena) {
        fm_graph_close(&p->compilation.graph);
        fm_arena_destroy(p->compilation.arena);
    } else if (p->pack.fd >= 0) {
        fm_pack_close(&p->pack);
    }
    free(p->path);
    free(p);
}

/* ---- plan ---- */

static flashmem_status check_options(const flashmem_plan_options *given, flashmem_plan_options *out,
                                     flashmem_error *err) {
    flashmem_plan_options_init(out);
    if (given) {
        if (given->size < offsetof(flashmem_plan_options, budget_value) || given->size > 4096)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "plan options of %zu bytes: call flashmem_plan_options_init",
                           given->size);
        memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    }
    if ((unsigned)out->objective > FLASHMEM_OBJECTIVE_OPG)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "plan options: objective %d", (int)out->objective);
    if (out->objective == FLASHMEM_OBJECTIVE_OPG && (out->order || out->placement))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "order and placement are of timed plans, not of objective opg");
    return fm_budget_check(out->budget_kind, out->budget_value, err);
}

flashmem_status fm_planner_device(const flashmem_planner *p, const flashmem_plan_options *o, flashmem_device *out,
                                  flashmem_error *err) {
    if (o->device) {
        FM_TRY(flashmem_device_check(o->device, err));
        *out = *o->device;
    } else {
        flashmem_device_init(out);
    }
    bool texture = p->layout == FLASHMEM_LAYOUT_TEXTURE;
    if (!o->device) out->memory_path = texture ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE;
    if (out->memory_path != (texture ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE))
        return fm_fail(
            err, FLASHMEM_WRONG_LAYOUT,
            "%s: its weights are laid out for '%s', which memory path %d of device '%s' does not read: choose "
            "the other layout",
            p->path, texture ? "texture" : "cpu", (int)out->memory_path, out->name);
    return FLASHMEM_OK;
}

static flashmem_status order_steps(const flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                   flashmem_error *err) {
    fm_log           log = { p->options.log, p->options.user };
    fm_cpsat_limits  limits = { .seconds = o->time_limit > 0 ? o->time_limit : 60, .log = &log };
    fm_program_order found;
    if (o->step_seconds)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "times of kernel steps are of the given order: not with another one");
    FM_TRY(fm_program_reorder(&p->packed, &out->lowered, &limits, out->arena, &found, err));
    fm_info(&log, "order",
            "%u of %u steps moved: least peak %.2f MB in the given order, %.2f in this one, %.2f in any one",
            found.moved, p->program.step_count, (double)found.before * 1e-6, (double)found.peak * 1e-6,
            (double)found.bound * 1e-6);
    return FLASHMEM_OK;
}

static flashmem_status plan_timed(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                  flashmem_error *err) {
    fm_replay_request *r = &out->request;
    fm_log             log = { p->options.log, p->options.user };
    FM_TRY(fm_planner_device(p, o, &r->device, err));
    r->slab_bytes = o->slab_bytes;
    r->once = o->runs == 1;
    r->external = fm_replay_external(&p->program, false, out->arena);
    r->policy = o->policy;
    out->lowered = p->program;
    if (o->order) FM_TRY(order_steps(p, o, out, err));
    FM_TRY(fm_planner_profile(p, o, out, err));
    if (o->step_seconds) r->step_seconds = o->step_seconds;
    if (o->step_seconds && o->step_seconds_count != p->program.step_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "times of %u kernel steps, '%s' has %u", o->step_seconds_count,
                       p->path, p->program.step_count);
    if (o->policy && strcmp(o->policy, "published") == 0) FM_TRY(fm_planner_published(p, o, out, err));
    double    begin = fm_clock_seconds();
    fm_budget budget = { o->budget_kind, o->budget_value, r->device.memory_bytes, p->weight_bytes };
    FM_TRY(fm_replay_make_within(&p->packed, &out->lowered, &budget, r, &log, out->arena, &out->replay, err));
    if (o->placement) FM_TRY(fm_planner_place(p, o, out, err));
    double seconds = fm_clock_seconds() - begin;
    FM_TRY(fm_replay_verify(&p->packed, &out->lowered, r, &out->replay, err));
    fm_plan_view(&p->packed, &out->lowered, r, &out->replay, out->arena, &out->plan);
    out->plan.seconds = seconds;
    if (r->overlap) fm_planner_note_published(out);
    out->plan.budget_bytes = r->automatic || r->minimum || r->budget == UINT64_MAX ? out->replay.peak : r->budget;
    return FLASHMEM_OK;
}

static flashmem_status choose_program(flashmem_planner *p, uint32_t program, flashmem_error *err) {
    uint32_t count = p->compilation.arena ? 1 : p->pack.program_count;
    if (program >= count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: program %u of %u", p->path, program, count);
    if (!p->compilation.arena) p->program = p->pack.programs[program];
    return FLASHMEM_OK;
}

static flashmem_status plan_into(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                 flashmem_error *err) {
    if (fm_arena_trap(out->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to plan, %zu bytes were in use", p->path,
                       fm_arena_bytes(out->arena));
    if (o->instance) FM_TRY(fm_planner_instance(p, o, out, err));
    else if (o->objective == FLASHMEM_OBJECTIVE_OPG) FM_TRY(fm_planner_program(p, o, out, err));
    else FM_TRY(plan_timed(p, o, out, err));
    out->plan.model = fm_arena_strdup(out->arena, p->path);
    if (o->instance) return FLASHMEM_OK;
    out->plan.device = fm_arena_strdup(out->arena, out->request.device.name);
    out->plan.weight_bytes = p->weight_bytes;
    return FLASHMEM_OK;
}

flashmem_status flashmem_planner_plan(flashmem_planner *p, const flashmem_plan_options *options,
                                      const flashmem_plan **out, flashmem_error *err) {
    flashmem_plan_options checked;
    fm_error_clear(err);
    *out = NULL;
    FM_TRY(check_options(options, &checked, err));
    if (!checked.instance) FM_TRY(lower_model(p, err));
    FM_TRY(choose_program(p, checked.program, err));
    fm_planned *made = calloc(1, sizeof *made);
    if (made) made->arena = fm_arena_create();
    if (!made || !made->arena) {
        free(made);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to plan", p->path);
    }
    flashmem_status status = plan_into(p, &checked, made, err);
    if (status == FLASHMEM_OK) *out = &made->plan;
    else flashmem_plan_free(&made->plan);
    return status;
}

void flashmem_plan_free(const flashmem_plan *plan) {
    fm_planned *made = (fm_planned *)(uintptr_t)plan;
    if (!made) return;
    flashmem_plan_free(made->split_plan);
    flashmem_planner_close(made->split);
    fm_graph_close(&made->again.graph);
    fm_device_profile_close(&made->profile);
    fm_arena_destroy(made->arena);
    free(made);
}
