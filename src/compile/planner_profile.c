/* Plans with a device profile: kernel times and load capacities as they were learnt, instead of rates and a class table. */
#include <string.h>

#include "compile/planner_internal.h"

/* Launches that a profile says nothing about keep the time that the device's rates give. */
static const double *step_times(const flashmem_planner *p, const fm_planned *plan) {
    double *seconds = fm_arena_array(plan->arena, plan->lowered.step_count, sizeof *seconds);
    for (uint32_t s = 0; s < plan->lowered.step_count; s++) {
        fm_step_features features;
        if (fm_step_features_of(&p->packed, &plan->lowered, s, 0, &features)) {
            seconds[s] = fm_device_profile_seconds(&plan->profile, &features, 0);
        } else {
            fm_work work = fm_step_work(&p->packed, &plan->lowered, s, 0);
            seconds[s] = fm_work_seconds(&plan->request.device, &work);
        }
    }
    return seconds;
}

uint64_t fm_planner_capacity(void *user, uint32_t k) {
    const fm_planner_launches *of = user;
    const flashmem_planner    *p = of->planner;
    const fm_cut_launch       *launch = &of->plan->cut.launches[k];
    flashmem_cost_class        c = (flashmem_cost_class)p->program.steps[launch->step].cost_class;
    fm_step_features           features;
    if (!fm_step_features_of(&p->packed, &p->program, launch->step, launch->panels, &features)) return 0;
    return fm_device_profile_capacity(&of->plan->profile, &features, fm_capacity_class_of(c));
}

flashmem_status fm_planner_profile(flashmem_planner *p, const flashmem_plan_options *o, fm_planned *out,
                                   flashmem_error *err) {
    flashmem_device *device = &out->request.device;
    if (!o->profile || strcmp(o->profile, "table") == 0) return FLASHMEM_OK;
    FM_TRY(fm_device_profile_load(o->profile, &out->profile, err));
    if (out->profile.device.layout != p->layout)
        return fm_fail(err, FLASHMEM_WRONG_LAYOUT, "%s: a profile of layout %d, '%s' has its weights in layout %d",
                       o->profile, (int)out->profile.device.layout, p->path, (int)p->layout);
    uint64_t memory = device->memory_bytes;
    *device = out->profile.device;
    if (!device->memory_bytes) device->memory_bytes = memory;
    out->request.step_seconds = step_times(p, out);
    return FLASHMEM_OK;
}
