/* Open, run, close: the pipeline in order.
 *
 *     open   pack -> profile -> plan -> memory -> first reads -> device -> programs        run   launches, outputs
 *
 * The first reads are submitted before the device comes up; its start hides behind them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "run/model.h"
#include "schedule/plan_view.h"

static bool on_null_device(const flashmem_model *model) { return strcmp(model->selector, "null") == 0; }

static flashmem_status load_profile(flashmem_model *model) {
    if (on_null_device(model)) {
        fm_gpu_facts facts;
        fm_gpu_null_facts(&facts);
        fm_profile_default(&model->profile, &facts);
    } else {
        fm_profile_load(&model->profile, model->cache_folder, model->selector, model->options.threads, &model->log);
    }
    return FLASHMEM_OK;
}

static flashmem_status check_gathers(const flashmem_model *model, flashmem_error *err) {
    for (uint32_t k = 0; k < model->replay.step_count; k++) {
        uint32_t  s = model->replay.steps[k].step;
        fm_gather gather;
        if (model->program->steps[s].kind == FM_STEP_GATHER_ROWS)
            FM_TRY(fm_gather_of(&model->pack, model->program, s, &gather, err));
    }
    return FLASHMEM_OK;
}

static flashmem_status make_plan(flashmem_model *model, flashmem_error *err) {
    uint64_t start = fm_clock_ns();
    FM_TRY(fm_options_plan(model, err));
    FM_TRY(check_gathers(model, err));
    if (model->hooks.edit_plan) model->hooks.edit_plan(&model->replay);
    const fm_replay *r = &model->replay;
    fm_info(&model->log, "plan",
            "budget %" PRIu64 " bytes, minimum %" PRIu64 "; %u launches, %u objects, slabs up to %" PRIu64
            " bytes, %u reads of %u bytes in flight; planned in %.1f ms",
            r->peak, r->minimum, r->step_count, r->object_count, r->slab_bytes, r->read_depth, r->read_bytes,
            (double)(fm_clock_ns() - start) * 1e-6);
    fm_stats_begin(model);
    return FLASHMEM_OK;
}

/* --- memory and reads --------------------------------------------------------------------------------------------- */

static uint64_t row_staging(const flashmem_model *model, uint64_t *slot_bytes) {
    *slot_bytes = 0;
    for (uint32_t s = 0; s < model->program->step_count; s++) {
        fm_gather gather;
        if (model->program->steps[s].kind != FM_STEP_GATHER_ROWS) continue;
        fm_gather_of(&model->pack, model->program, s, &gather, NULL);
        uint64_t bytes = fm_replay_row_slot_bytes(model->pack.packed.weights[gather.weight].row_bytes);
        if (bytes > *slot_bytes) *slot_bytes = bytes;
    }
    return *slot_bytes * FM_ROW_SLOTS;
}

static flashmem_status reserve_memory(flashmem_model *model, uint64_t *slot_bytes, flashmem_error *err) {
    uint64_t staging = row_staging(model, slot_bytes);
    FM_TRY(fm_memory_reserve(&model->memory, model->replay.region_bytes, model->replay.region_count, &model->log, err));
    for (uint32_t i = 0; i < model->replay.region_count; i++) model->regions[i] = model->memory.regions[i].base;
    if (staging) FM_TRY(fm_memory_reserve(&model->staging, &staging, 1, NULL, err));
    return fm_bindings_make(model, err);
}

static const char *object_name(flashmem_model *model, const fm_replay_object *object) {
    const char *strings = model->pack.strings;
    if (object->weight == FM_NONE) return fm_arena_printf(model->plan_arena, "bundle %u", object->object);
    uint32_t    name = model->pack.packed.weights[object->weight].name;
    const char *text = name == FM_NONE ? "" : strings + name;
    if (!object->panels) return fm_arena_printf(model->plan_arena, "weight '%s'", text);
    return fm_arena_printf(model->plan_arena, "weight '%s' (panels %u to %u)", text, object->first_panel,
                           object->first_panel + object->panels - 1);
}

static void make_read_objects(flashmem_model *model) {
    const fm_replay *r = &model->replay;
    model->objects = fm_arena_array(model->plan_arena, r->object_count, sizeof *model->objects);
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        const fm_object        *packed = &model->pack.packed.objects[object->object];
        model->objects[o] = (fm_read_object){
            .file_offset = packed->file_offset + object->offset,
            .bytes = object->bytes,
            .to = model->regions[object->region] + object->place,
            .checksums = model->pack.checksums + packed->first_checksum + object->first_unit,
            .unit_bytes = packed->unit_bytes,
            .after = object->after,
            .wrap = object->wrap,
            .resident = object->resident || object->stays,
            .name = object_name(model, object),
        };
    }
}

static flashmem_status start_reads(flashmem_model *model, uint64_t slot_bytes, flashmem_error *err) {
    make_read_objects(model);
    fm_needs_make(model);
    fm_reader_config config = {
        .path = model->pack.path,
        .fd = model->pack.fd,
        .objects = model->objects,
        .count = model->replay.object_count,
        .steps = model->replay.step_count,
        .depth = model->replay.read_depth ? model->replay.read_depth : 1,
        .bytes = model->replay.read_bytes ? model->replay.read_bytes : 1u << 20,
        .ops = model->hooks.read_ops,
        .buffered = model->hooks.buffered,
        .serial = model->options.serial != 0,
        .slots = slot_bytes ? model->staging.regions[0].base : NULL,
        .slot_bytes = slot_bytes,
        .memory = &model->memory,
        .progress = &model->progress,
        .log = &model->log,
    };
    FM_TRY(fm_reader_open(&model->reader, &config, err));
    model->progress.on_completed = fm_reader_completed;
    model->progress.user = model->reader;
    fm_debug(&model->log, "load", "first reads submitted %.1f ms after open",
             (double)(fm_clock_ns() - model->opened) * 1e-6);
    return FLASHMEM_OK;
}

static flashmem_status start_streaming(flashmem_model *model, flashmem_error *err) {
    uint64_t slot_bytes;
    FM_TRY(reserve_memory(model, &slot_bytes, err));
    return start_reads(model, slot_bytes, err);
}

static void stop_streaming(flashmem_model *model) {
    fm_reader_close(model->reader);
    model->reader = NULL;
    model->progress.on_completed = NULL;
    fm_bindings_release(model);
    fm_memory_release(&model->staging);
    fm_memory_release(&model->memory);
}

/* --- device ------------------------------------------------------------------------------------------------------- */

static flashmem_status open_device(flashmem_model *model, flashmem_error *err) {
    if (on_null_device(model)) FM_TRY(fm_gpu_open_null(&model->gpu, model->hooks.null_time_scale, &model->log, err));
    else FM_TRY(fm_gpu_open_opencl(&model->gpu, model->selector, model->options.threads, &model->log, err));
    model->device_up = fm_clock_ns();
    fm_debug(&model->log, "cl", "device '%s' up %.1f ms after open", model->gpu->facts.name,
             (double)(model->device_up - model->opened) * 1e-6);
    return FLASHMEM_OK;
}

/* The plan was made for the device of the profile.  If another one answered, whose limits differ, it is made again. */
static flashmem_status meet_device(flashmem_model *model, flashmem_error *err) {
    flashmem_memory_path planned = model->path;
    bool                 differs = fm_profile_meet(&model->profile, &model->gpu->facts);
    FM_TRY(fm_options_choose_path(model, &model->gpu->facts, true, err));
    if (!differs && planned == model->path) return FLASHMEM_OK;
    if (planned == FLASHMEM_PATH_IN_PLACE && model->path == planned &&
        model->request.device.value_align >= model->gpu->facts.base_align &&
        model->request.device.largest_allocation <= model->gpu->facts.max_allocation)
        return FLASHMEM_OK; /* what differs does not matter to this plan */
    fm_info(&model->log, "plan", "device '%s' is not the one planned for: planned again", model->gpu->facts.name);
    stop_streaming(model);
    FM_TRY(make_plan(model, err));
    return start_streaming(model, err);
}

static flashmem_status prepare_device(flashmem_model *model, flashmem_error *err) {
    model->setup = (fm_gpu_setup){
        .pack = &model->pack,
        .program = model->program,
        .replay = &model->replay,
        .regions = model->regions,
        .path = model->path,
        .cache_folder = model->cache_folder,
        .progress = &model->progress,
        .log = &model->log,
    };
    fm_executor_make(model);
    FM_TRY(model->gpu->ops->prepare(model->gpu, &model->setup, err));
    for (uint32_t v = 0; v < model->program->value_count; v++)
        if (model->program->values[v].kind == FM_VALUE_CONSTANT && model->replay.values[v].placed)
            FM_TRY(model->gpu->ops->publish(model->gpu, model->replay.values[v].region, model->replay.values[v].offset,
                                            model->replay.values[v].bytes, err));
    fm_debug(&model->log, "cl", "device prepared %.1f ms after open", (double)(fm_clock_ns() - model->opened) * 1e-6);
    return FLASHMEM_OK;
}

/* --- open --------------------------------------------------------------------------------------------------------- */

static flashmem_status open_pipeline(flashmem_model *model, const char *path, flashmem_error *err) {
    FM_TRY(fm_pack_open(&model->pack, path, err));
    FM_TRY(load_profile(model));
    FM_TRY(fm_options_choose_path(model, &model->profile.facts, on_null_device(model), err));
    FM_TRY(make_plan(model, err));
    if (model->options.plan_only) return FLASHMEM_OK;
    FM_TRY(start_streaming(model, err));
    FM_TRY(open_device(model, err));
    FM_TRY(meet_device(model, err));
    return prepare_device(model, err);
}

/* The outermost frame of both arenas: running out of them comes back here. */
static flashmem_status open_trapped(flashmem_model *model, const char *path, const flashmem_run_options *options,
                                    flashmem_error *err) {
    model->arena = fm_arena_create();
    model->plan_arena = fm_arena_create();
    if (!model->arena || !model->plan_arena || fm_arena_trap(model->arena) || fm_arena_trap(model->plan_arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to open it", path);
    FM_TRY(fm_options_take(model, options, err));
    return open_pipeline(model, path, err);
}

flashmem_status fm_model_open(const char *path, const flashmem_run_options *options, const fm_open_hooks *hooks,
                              flashmem_model **out, flashmem_error *err) {
    *out = NULL;
    if (!path) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no pack path");
    flashmem_model *model = calloc(1, sizeof *model);
    if (!model) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to open it", path);
    model->opened = fm_clock_ns();
    model->pack.fd = -1;
    if (hooks) model->hooks = *hooks;
    fm_progress_init(&model->progress);
    flashmem_status status = open_trapped(model, path, options, err);
    if (status != FLASHMEM_OK) {
        flashmem_model_close(model);
        return status;
    }
    model->serial_startup = (double)(fm_clock_ns() - model->opened) * 1e-9;
    *out = model;
    return FLASHMEM_OK;
}

flashmem_status flashmem_model_open(const char *pack_path, const flashmem_run_options *options, flashmem_model **out,
                                    flashmem_error *error) {
    if (!out) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no place for the model");
    return fm_model_open(pack_path, options, NULL, out, error);
}

void flashmem_model_close(flashmem_model *model) {
    if (!model) return;
    if (model->gpu) model->gpu->ops->drain(model->gpu);
    fm_reader_close(model->reader);
    if (model->gpu) model->gpu->ops->close(model->gpu);
    if (model->executor.run > 0 && !on_null_device(model))
        fm_profile_save(&model->profile, model->cache_folder, model->selector, model->options.threads, &model->log);
    fm_trace_free(model->trace);
    fm_bindings_release(model);
    fm_memory_release(&model->staging);
    fm_memory_release(&model->memory);
    fm_pack_close(&model->pack);
    fm_progress_deinit(&model->progress);
    fm_arena_destroy(model->plan_arena);
    fm_arena_destroy(model->arena);
    free(model);
}

/* --- run ---------------------------------------------------------------------------------------------------------- */

flashmem_status flashmem_model_run(flashmem_model *model, flashmem_error *error) {
    if (!model) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "no model");
    if (model->options.plan_only) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "opened with plan_only: cannot run");
    if (model->broken) return fm_fail(error, FLASHMEM_INVALID_ARGUMENT, "an earlier run failed: only close is left");
    FM_TRY(fm_progress_status(&model->progress, error));
    FM_TRY(fm_bindings_begin_run(model, error));
    flashmem_status status = fm_executor_run(model, error);
    model->broken = status != FLASHMEM_OK && status != FLASHMEM_BAD_INPUT && status != FLASHMEM_CANCELLED;
    return status;
}

void flashmem_model_cancel(flashmem_model *model) { fm_progress_cancel(&model->progress); }

flashmem_status flashmem_model_plan(flashmem_model *model, const flashmem_plan **out, flashmem_error *error) {
    *out = NULL;
    if (fm_arena_trap(model->plan_arena))
        return fm_fail(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to describe the plan", model->pack.path);
    if (!model->plan.steps) {
        fm_plan_view(&model->pack.packed, model->program, &model->request, &model->replay, model->plan_arena,
                     &model->plan);
        model->plan.model = model->pack.path;
        model->plan.device = model->request.device.name;
        model->plan.weight_bytes = model->pack.header.float_weight_bytes;
        model->plan.budget_bytes = model->stats.budget_bytes;
        model->plan.seconds = model->plan_seconds;
    }
    *out = &model->plan;
    return FLASHMEM_OK;
}

flashmem_status flashmem_model_verify_plan(const flashmem_model *model, flashmem_error *error) {
    return fm_replay_verify(&model->pack.packed, model->program, &model->request, &model->replay, error);
}
