/* An overlap plan of a pack's program, added to the pack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/planner_internal.h"
#include "contract/overlap.h"

static int order(uint32_t a, uint32_t b) { return a < b ? -1 : a > b; }

static int by_object(const void *a, const void *b) {
    const fm_stored_preload *x = a, *y = b;
    return x->object != y->object ? order(x->object, y->object) : order(x->part, y->part);
}

static int by_object_and_step(const void *a, const void *b) {
    const fm_stored_load *x = a, *y = b;
    if (x->object != y->object) return order(x->object, y->object);
    if (x->part != y->part) return order(x->part, y->part);
    return x->step != y->step ? order(x->step, y->step) : order(x->step_part, y->step_part);
}

/* Weights and steps by what they are parts of. */
static void name_rows(const fm_planned *made, fm_stored_plan *record, fm_stored_preload *preloads,
                      fm_stored_load *loads) {
    const fm_program_cut *cut = &made->cut;
    for (uint32_t w = 0; w < made->problem.weight_count; w++) {
        const fm_cut_part *part = &cut->parts[made->problem.weights[w].source];
        if (made->solved.preload[w])
            preloads[record->preload_count++] = (fm_stored_preload){ part->object, part->part };
    }
    for (uint32_t i = 0; i < made->solved.load_count; i++) {
        const fm_overlap_load *load = &made->solved.loads[i];
        const fm_cut_part     *part = &cut->parts[made->problem.weights[load->weight].source];
        const fm_cut_launch   *launch = &cut->launches[made->problem.steps[load->step].source];
        loads[record->load_count++] = (fm_stored_load){ part->object, part->part, launch->step, launch->part,
                                                        load->chunks };
    }
    if (record->preload_count) qsort(preloads, record->preload_count, sizeof *preloads, by_object);
    if (record->load_count) qsort(loads, record->load_count, sizeof *loads, by_object_and_step);
}

static fm_stored_plan describe(const fm_planned *made, uint32_t program) {
    fm_stored_plan record = {
        .program = program,
        .memory_path = made->request.device.memory_path,
        .status = made->solved.status == FM_OVERLAP_OPTIMAL ? FM_STORED_OPTIMAL : FM_STORED_FEASIBLE,
        .image_limit = made->request.device.image_limit,
        .slab_bytes = made->request.slab_bytes,
        .cut_key = made->cut.key,
        .chunk_bytes = made->problem.chunk_bytes,
        .m_peak_bytes = made->problem.m_peak_bytes,
        .objective = made->solved.objective,
        .bound = made->solved.bound,
        .unit = made->problem.unit,
        .lambda = made->problem.lambda,
    };
    snprintf(record.solver, sizeof record.solver, "%s", made->solved.solver);
    snprintf(record.device, sizeof record.device, "%.*s", (int)sizeof record.device - 1, made->request.device.name);
    return record;
}

flashmem_status flashmem_planner_save(flashmem_planner *p, const flashmem_plan *plan, flashmem_error *err) {
    const fm_planned *made = (const fm_planned *)plan;
    fm_error_clear(err);
    if (p->compilation.arena)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "%s: a plan is saved in a pack, this is a model: compile it first", p->path);
    if (!made->cut.part_count)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                       "%s: only overlap plans of the pack's program are saved: timed plans are made at open", p->path);
    fm_stored_plan     record = describe(made, made->program);
    fm_stored_preload *preloads = calloc(made->problem.weight_count + 1u, sizeof *preloads);
    fm_stored_load    *loads = calloc(made->solved.load_count + 1u, sizeof *loads);
    flashmem_status    status;
    if (!preloads || !loads) {
        status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to save a plan", p->path);
    } else {
        name_rows(made, &record, preloads, loads);
        status = fm_pack_append_overlap(p->path, &(fm_stored_overlap){ &record, preloads, loads }, err);
    }
    free(preloads);
    free(loads);
    return status;
}
