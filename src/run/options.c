/* What the caller asked for, made into a request to the planner: budget, memory path, device profile. */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/model.h"
#include "schedule/budget.h"

void flashmem_run_options_init(flashmem_run_options *options) {
    *options = (flashmem_run_options){ .size = sizeof *options, .budget_kind = FLASHMEM_BUDGET_AUTO };
}

const char *fm_memory_path_name(flashmem_memory_path path) {
    static const char *const names[] = { "default", "in-place", "texture-copy", "texture-embedded", "dma" };
    return (unsigned)path < sizeof names / sizeof *names ? names[path] : "unknown";
}

const char *fm_layout_name(flashmem_layout layout) {
    static const char *const names[] = { "cpu", "texture", "gpu" };
    return (unsigned)layout < sizeof names / sizeof *names ? names[layout] : "unknown";
}

enum { LARGEST_OPTIONS = 4096 };

static flashmem_status check_options(const flashmem_run_options *o, flashmem_error *err) {
    FM_TRY(fm_budget_check(o->budget_kind, o->budget_value, err));
    if (o->memory_path == FLASHMEM_PATH_TEXTURE_EMBEDDED || o->memory_path == FLASHMEM_PATH_DMA)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "memory path '%s' is not built in this version; 'in-place' and 'texture-copy' are",
                       fm_memory_path_name(o->memory_path));
    if ((unsigned)o->memory_path > FLASHMEM_PATH_DMA)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "memory path %u", (unsigned)o->memory_path);
    if (o->host_budget)
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "a host budget caps pinned staging of devices with their own memory, which the memory paths of "
                       "this version do not use");
    if (!isfinite(o->disk_rate) || o->disk_rate < 0)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "disk rate %g bytes per second", o->disk_rate);
    if (o->read_depth > 256)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%u reads in flight, at most 256", o->read_depth);
    if (o->read_bytes % 4096 || o->read_bytes > 64u << 20)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%u bytes per read: a multiple of 4096 up to 64 MiB is wanted",
                       o->read_bytes);
    if ((unsigned)o->objective > FLASHMEM_OBJECTIVE_OPG)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "objective %u", (unsigned)o->objective);
    if (o->objective == FLASHMEM_OBJECTIVE_OPG && o->policy)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "policy '%s': an overlap plan leaves nothing to a policy",
                       o->policy);
    if (o->objective == FLASHMEM_OBJECTIVE_OPG && o->slab_bytes)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "slabs of %" PRIu64 " bytes: an overlap plan is replayed in the slabs that it was made for",
                       o->slab_bytes);
    if (o->threads > 4096) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%u threads, at most 4096", o->threads);
    return FLASHMEM_OK;
}

flashmem_status fm_options_take(flashmem_model *model, const flashmem_run_options *options, flashmem_error *err) {
    flashmem_run_options_init(&model->options);
    if (options) {
        size_t first = offsetof(flashmem_run_options, objective); /* of the first version */
        if (options->size < first || options->size > LARGEST_OPTIONS)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "run options of %zu bytes, here %zu to %zu: call flashmem_run_options_init", options->size,
                           first, sizeof *options);
        for (size_t i = sizeof *options; i < options->size; i++)
            if (((const char *)options)[i])
                return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                               "run options of %zu bytes set what this version (%zu bytes) does not have",
                               options->size, sizeof *options);
        memcpy(&model->options, options, options->size < sizeof *options ? options->size : sizeof *options);
    }
    FM_TRY(check_options(&model->options, err));
    model->log = (fm_log){ model->options.log, model->options.user };
    model->selector = fm_arena_strdup(model->arena, model->options.device ? model->options.device : "");
    model->options.device = model->selector;
    if (model->options.policy) model->options.policy = fm_arena_strdup(model->arena, model->options.policy);
    if (model->options.cache_dir) {
        model->cache_folder = fm_arena_strdup(model->arena, model->options.cache_dir);
    } else {
        char *folder = fm_file_cache_folder();
        model->cache_folder = fm_arena_strdup(model->arena, folder ? folder : "");
        free(folder);
    }
    model->options.cache_dir = model->cache_folder;
    return FLASHMEM_OK;
}

/* --- program and path --------------------------------------------------------------------------------------------- */

static flashmem_layout preferred_layout(const fm_gpu_facts *facts) {
    return facts->is_cpu ? FLASHMEM_LAYOUT_CPU : FLASHMEM_LAYOUT_TEXTURE;
}

static flashmem_status wrong_layout(const flashmem_model *model, const fm_gpu_facts *facts, flashmem_error *err) {
    flashmem_layout have = (flashmem_layout)model->pack.header.layout, want = preferred_layout(facts);
    return fm_fail(err, FLASHMEM_WRONG_LAYOUT,
                   "%s: its weights are laid out for '%s', device '%s' wants '%s': compile the model with "
                   "`flashmem compile MODEL.onnx -o PACK.flm --layout %s`%s",
                   model->pack.path, fm_layout_name(have), facts->name, fm_layout_name(want), fm_layout_name(want),
                   have == FLASHMEM_LAYOUT_TEXTURE && facts->has_images ? ", or run it with --memory-path texture-copy"
                                                                        : "");
}

static bool allows(const flashmem_model *model, flashmem_memory_path path) {
    return model->pack.program_records[model->options.program].memory_paths & 1u << path;
}

static flashmem_status choose_path(flashmem_model *model, const fm_gpu_facts *facts, flashmem_error *err) {
    flashmem_layout      layout = (flashmem_layout)model->pack.header.layout;
    flashmem_memory_path asked = model->options.memory_path;
    if (asked != FLASHMEM_PATH_DEFAULT) {
        if (!allows(model, asked))
            return fm_fail(err, FLASHMEM_WRONG_LAYOUT,
                           "%s: its '%s' layout cannot be run by memory path '%s': compile the model with "
                           "`flashmem compile MODEL.onnx -o PACK.flm --layout %s`",
                           model->pack.path, fm_layout_name(layout), fm_memory_path_name(asked),
                           asked == FLASHMEM_PATH_TEXTURE_COPY ? "texture" : "cpu");
        model->path = asked;
    } else if (facts->is_null || layout == preferred_layout(facts)) {
        model->path = allows(model, FLASHMEM_PATH_IN_PLACE) ? FLASHMEM_PATH_IN_PLACE : FLASHMEM_PATH_TEXTURE_COPY;
        if (!allows(model, model->path))
            return fm_fail(err, FLASHMEM_UNSUPPORTED,
                           "%s: program %u needs a memory path that is not built in this version", model->pack.path,
                           model->options.program);
    } else {
        return wrong_layout(model, facts, err);
    }
    if (model->path == FLASHMEM_PATH_TEXTURE_COPY && !facts->has_images)
        return fm_fail(err, FLASHMEM_DEVICE, "memory path 'texture-copy' needs images, which device '%s' does not have",
                       facts->name);
    return FLASHMEM_OK;
}

/* The device can run every kernel. */
static flashmem_status check_needs(const flashmem_model *model, const fm_gpu_facts *facts, flashmem_error *err) {
    uint32_t has = FM_DEVICE_NVIDIA * (strstr(facts->platform, "NVIDIA") != NULL) +
                   FM_DEVICE_CPU * (facts->is_cpu != 0) + FM_DEVICE_IMAGE * (facts->has_images != 0) +
                   FM_DEVICE_HALF * (facts->has_fp16 != 0);
    if (facts->is_null) return FLASHMEM_OK;
    for (uint32_t i = 0; i < model->program->kernel_count; i++) {
        const fm_kernel *kernel = &model->program->kernels[i];
        uint32_t         missing = kernel->needs & ~has;
        if (!missing) continue;
        if (missing & (FM_DEVICE_CPU | FM_DEVICE_NVIDIA)) return wrong_layout(model, facts, err);
        return fm_fail(err, FLASHMEM_DEVICE, "kernel '%s' needs %s, which device '%s' does not have",
                       fm_program_string(model->program, kernel->entry),
                       missing & FM_DEVICE_HALF ? "half arithmetic" : "images", facts->name);
    }
    return FLASHMEM_OK;
}

flashmem_status fm_options_choose_path(flashmem_model *model, const fm_gpu_facts *facts, bool certain,
                                       flashmem_error *err) {
    if (model->options.program >= model->pack.program_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: program %u of %u", model->pack.path, model->options.program,
                       model->pack.program_count);
    model->program = &model->pack.programs[model->options.program];
    if (!certain && choose_path(model, facts, NULL) == FLASHMEM_OK) return FLASHMEM_OK;
    if (!certain) { /* the device may turn out to be another; plan for what the layout suggests */
        model->path = model->pack.header.layout == FLASHMEM_LAYOUT_CPU ? FLASHMEM_PATH_IN_PLACE
                                                                       : FLASHMEM_PATH_TEXTURE_COPY;
        if (allows(model, model->path)) return FLASHMEM_OK;
    }
    FM_TRY(choose_path(model, facts, err));
    return check_needs(model, facts, err);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static void set_device(flashmem_model *model) {
    flashmem_device *device = &model->request.device;
    fm_profile_describe(&model->profile, (flashmem_layout)model->pack.header.layout, model->path, device);
    if (model->options.disk_rate > 0) device->disk_bytes_per_second = model->options.disk_rate;
}

/* What makes an overlap plan for this way of running the pack. */
static const char *overlap_command(flashmem_model *model) {
    const flashmem_run_options *o = &model->options;
    bool                        texture = o->memory_path == FLASHMEM_PATH_TEXTURE_COPY;
    const char *program = o->program ? fm_arena_printf(model->plan_arena, " --program %u", o->program) : "";
    return fm_arena_printf(model->plan_arena, "flashmem plan %s --objective opg --save%s%s", model->pack.path,
                           texture ? " --memory-path texture-copy" : "", program);
}

static flashmem_status find_overlap(flashmem_model *model, flashmem_error *err) {
    fm_stored_overlaps all;
    FM_TRY(fm_pack_read_overlaps(&model->pack, model->plan_arena, &all, err));
    if (!fm_stored_overlaps_find(&all, model->options.program, model->path, &model->overlap))
        return fm_fail(err, FLASHMEM_UNSUPPORTED,
                       "%s: it has no overlap plan for program %u by memory path '%s': make one with `%s`",
                       model->pack.path, model->options.program, fm_memory_path_name(model->path),
                       overlap_command(model));
    const fm_stored_plan *plan = model->overlap.plan;
    fm_info(&model->log, "plan", "overlap plan by '%s' for '%s': objective %.6g, bound %.6g, %u preloads, %u loads",
            plan->solver, plan->device, (double)plan->objective / (double)plan->unit,
            (double)plan->bound / (double)plan->unit, plan->preload_count, plan->load_count);
    model->request.stored = &model->overlap;
    return FLASHMEM_OK;
}

static flashmem_status make_plan(flashmem_model *model, const fm_budget *budget, flashmem_error *err) {
    flashmem_error  found = { 0 };
    flashmem_status status = fm_replay_make_within(&model->pack.packed, model->program, budget, &model->request,
                                                   &model->log, model->plan_arena, &model->replay, &found);
    if (model->request.stored && (status == FLASHMEM_UNSUPPORTED || status == FLASHMEM_BAD_PACK))
        return fm_fail(err, status, "%s: %s: make it again with `%s`", model->pack.path, found.message,
                       overlap_command(model));
    return status == FLASHMEM_OK ? status : fm_fail(err, status, "%s", found.message);
}

flashmem_status fm_options_plan(flashmem_model *model, flashmem_error *err) {
    model->request = (fm_replay_request){ .slab_bytes = model->options.slab_bytes,
                                          .read_depth = model->options.read_depth,
                                          .once = model->options.runs == 1,
                                          .policy = model->options.policy,
                                          .read_bytes = model->options.read_bytes };
    set_device(model);
    if (model->options.objective == FLASHMEM_OBJECTIVE_OPG) FM_TRY(find_overlap(model, err));
    /* Inputs always come from the caller; outputs are ours to lend unless the caller promises to bind them. */
    model->request.external = fm_replay_external(model->program, model->options.bind_outputs, model->plan_arena);
    fm_budget budget = { model->options.budget_kind, model->options.budget_value, model->request.device.memory_bytes,
                         model->pack.header.float_weight_bytes };
    double    begin = fm_clock_seconds();
    FM_TRY(make_plan(model, &budget, err));
    model->plan_seconds = fm_clock_seconds() - begin;
    model->plan.steps = NULL;
    return fm_replay_verify(&model->pack.packed, model->program, &model->request, &model->replay, err);
}
