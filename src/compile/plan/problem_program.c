#include "compile/plan/problem_program.h"

#include "schedule/work.h"

static fm_capacity_class class_of(flashmem_capacity_class c) {
    static const fm_capacity_class classes[FLASHMEM_CAPACITY_CLASSES] = {
        [FLASHMEM_CAPACITY_ELEMENTWISE] = FM_CAPACITY_ELEMENTWISE,
        [FLASHMEM_CAPACITY_REUSABLE] = FM_CAPACITY_REUSABLE,
        [FLASHMEM_CAPACITY_HIERARCHICAL] = FM_CAPACITY_HIERARCHICAL,
    };
    return classes[c];
}

static uint64_t table_capacity(const flashmem_device *d, flashmem_capacity_class c, double seconds) {
    double bytes = d->growth[c] * seconds * d->load_bytes_per_second;
    return bytes >= 9e18 ? (uint64_t)9e18 : (uint64_t)bytes;
}

static fm_overlap_step *make_steps(const fm_program_problem *of, fm_arena *arena) {
    fm_overlap_step *steps = fm_arena_array(arena, of->cut->launch_count, sizeof *steps);
    for (uint32_t k = 0; k < of->cut->launch_count; k++) {
        const fm_cut_launch    *launch = &of->cut->launches[k];
        const fm_step          *step = &of->program->steps[launch->step];
        flashmem_capacity_class c = fm_capacity_class_of((flashmem_cost_class)step->cost_class);
        const char             *name = fm_program_string(of->program, step->name);
        steps[k] = (fm_overlap_step){
            .name = launch->part ? fm_arena_printf(arena, "%s#%u", name, launch->part) : name,
            .capacity_class = class_of(c),
            .seconds = launch->seconds,
            .capacity_bytes = step->kind == FM_STEP_GATHER_ROWS ? 0 /* reads, and launches nothing */
                              : of->capacity                   ? of->capacity(of->user, k)
                                                               : table_capacity(of->device, c, launch->seconds),
            .source = k,
        };
    }
    return steps;
}

static const char *part_name(const fm_program_problem *of, const fm_cut_part *part, fm_arena *arena) {
    if (part->weight == FM_NONE) return fm_arena_printf(arena, "bundle#%u", part->object);
    const fm_weight *weight = &of->packed->weights[part->weight];
    const char      *name = fm_program_string(of->program, weight->name);
    return part->panels && part->panels != weight->panels ? fm_arena_printf(arena, "%s#%u", name, part->part) : name;
}

flashmem_status fm_overlap_problem_of_program(const fm_program_problem *of, fm_arena *arena, fm_overlap_problem *out,
                                              flashmem_error *err) {
    const fm_program_cut *cut = of->cut;
    fm_overlap_weight    *weights = fm_arena_array(arena, cut->part_count, sizeof *weights);
    for (uint32_t i = 0; i < cut->part_count; i++)
        weights[i] = (fm_overlap_weight){ .name = part_name(of, &cut->parts[i], arena),
                                          .bytes = cut->parts[i].bytes,
                                          .first = cut->parts[i].first,
                                          .last = cut->parts[i].last,
                                          .source = i,
                                          .part = cut->parts[i].part };
    *out = (fm_overlap_problem){ .name = "program",
                                 .step_count = cut->launch_count,
                                 .weight_count = cut->part_count,
                                 .chunk_bytes = of->chunk_bytes,
                                 .m_peak_bytes = of->m_peak_bytes };
    return fm_overlap_problem_finish(out, make_steps(of, arena), weights, of->lambda, err);
}
