/* Plans simulated on described devices; names of policies. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "compile/planner_internal.h"
#include "schedule/policy.h"
#include "schedule/simulate.h"

typedef struct simulated { /* what a flashmem_simulation handed out is the beginning of */
    flashmem_simulation simulation;
    fm_arena           *arena;
    flashmem_device     device;
} simulated;

const char *flashmem_policy_name(uint32_t index) { return fm_policy_name(index); }
const char *flashmem_policy_help(uint32_t index) { return fm_policy_help(index); }

void flashmem_simulate_options_init(flashmem_simulate_options *options) {
    *options = (flashmem_simulate_options){ .size = sizeof *options };
}

static flashmem_status check_options(const flashmem_simulate_options *given, const fm_planned *plan,
                                     flashmem_simulate_options *out, flashmem_device *device, flashmem_error *err) {
    flashmem_simulate_options_init(out);
    if (given) {
        if (given->size < offsetof(flashmem_simulate_options, step_seconds) || given->size > 4096)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "simulate options of %zu bytes: call flashmem_simulate_options_init", given->size);
        memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    }
    if (!plan->replay.step_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "%s: a problem and its solution, not a plan that is replayed: simulate the policy published",
                       plan->plan.model);
    *device = out->device ? *out->device : plan->request.device;
    FM_TRY(flashmem_device_check(device, err));
    if (device->memory_path != plan->request.device.memory_path)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: planned for memory path %d, device '%s' has %d",
                       plan->plan.model, (int)plan->request.device.memory_path, device->name, (int)device->memory_path);
    if (out->step_seconds && out->step_seconds_count != plan->lowered.step_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "times of %u kernel steps, '%s' has %u", out->step_seconds_count,
                       plan->plan.model, plan->lowered.step_count);
    for (uint32_t s = 0; out->step_seconds && s < out->step_seconds_count; s++)
        if (!(out->step_seconds[s] >= 0 && out->step_seconds[s] <= 1e9))
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "kernel step %u takes %g seconds", s, out->step_seconds[s]);
    return FLASHMEM_OK;
}

static flashmem_status simulate_into(const flashmem_planner *p, const fm_planned *plan,
                                     const flashmem_simulate_options *options, simulated *out, flashmem_error *err) {
    fm_simulate_input in = { .packed = &p->packed,
                             .program = &plan->lowered,
                             .replay = &plan->replay,
                             .device = &out->device,
                             .step_seconds = options->step_seconds };
    if (!options->step_seconds && !options->device) in.step_seconds = plan->request.step_seconds;
    if (fm_arena_trap(out->arena))
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to simulate, %zu bytes were in use", p->path,
                       fm_arena_bytes(out->arena));
    FM_TRY(fm_simulate(&in, out->arena, &out->simulation, err));
    return fm_simulate_verify(&in, &out->simulation, err);
}

flashmem_status flashmem_simulate(flashmem_planner *planner, const flashmem_plan *plan,
                                  const flashmem_simulate_options *options, const flashmem_simulation **out,
                                  flashmem_error *err) {
    const fm_planned         *planned = (const fm_planned *)(const void *)plan;
    flashmem_simulate_options checked;
    fm_error_clear(err);
    *out = NULL;
    simulated *made = calloc(1, sizeof *made);
    if (made) made->arena = fm_arena_create();
    if (!made || !made->arena) {
        free(made);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to simulate", planner->path);
    }
    flashmem_status status = check_options(options, planned, &checked, &made->device, err);
    if (status == FLASHMEM_OK) status = simulate_into(planner, planned, &checked, made, err);
    if (status == FLASHMEM_OK) *out = &made->simulation;
    else flashmem_simulation_free(&made->simulation);
    return status;
}

void flashmem_simulation_free(const flashmem_simulation *simulation) {
    simulated *made = (simulated *)(uintptr_t)simulation;
    if (!made) return;
    fm_arena_destroy(made->arena);
    free(made);
}
