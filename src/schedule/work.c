#include "schedule/work.h"

fm_work fm_step_work(const fm_packed *packed, const fm_program *program, uint32_t s, uint32_t panels) {
    const fm_step *step = &program->steps[s];
    uint32_t       split = step->split_value == FM_NONE ? FM_NONE : program->values[step->split_value].weight;
    fm_work        work = { .cost_class = (flashmem_cost_class)step->cost_class,
                            .flops = (double)fm_program_expr(program, step->flops),
                            .bytes = (double)fm_program_expr(program, step->bytes),
                            .share = 1 };
    if (panels && split != FM_NONE) work.share = (double)panels / (double)packed->weights[split].panels;
    work.flops *= work.share;
    work.bytes *= work.share;
    if (step->kind == FM_STEP_GATHER_ROWS) {
        const fm_arg    *args = program->args + step->first_arg;
        const fm_weight *table = &packed->weights[program->values[args[1].value].weight];
        work.rows = (double)fm_program_expr(program, args[3].value);
        work.row_bytes = (double)((table->row_bytes + 4095) / 4096 * 4096);
        return work;
    }
    for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count; a++) {
        const fm_arg   *arg = &program->args[a];
        const fm_value *value = arg->kind <= FM_ARG_IMAGE ? &program->values[arg->value] : NULL;
        if (!value || value->kind != FM_VALUE_WEIGHT) continue;
        work.weight_bytes += (double)fm_program_expr(program, value->bytes) * (value->weight == split ? work.share : 1);
    }
    return work;
}

double fm_work_seconds(const flashmem_device *device, const fm_work *work) {
    static const double ROWS_LATENCY = 1e-4; /* of a batch of small reads */
    if (work->rows > 0)
        return device->launch_seconds + ROWS_LATENCY + work->rows * work->row_bytes / device->disk_bytes_per_second;
    double rate = device->flops_per_second[work->cost_class], bandwidth = device->bytes_per_second;
    double compute = rate > 0 ? work->flops / rate : 0;
    double moving = bandwidth > 0 ? (work->bytes + work->weight_bytes) / bandwidth : 0;
    return device->launch_seconds + (compute > moving ? compute : moving);
}

double fm_launch_seconds(const flashmem_device *device, const fm_packed *packed, const fm_program *program,
                         const double *step_seconds, uint32_t step, uint32_t panels) {
    fm_work work = fm_step_work(packed, program, step, panels);
    if (!step_seconds) return fm_work_seconds(device, &work);
    double launch = device->launch_seconds, whole = step_seconds[step];
    return work.share < 1 && whole > launch ? launch + (whole - launch) * work.share : whole;
}

double fm_convert_seconds(const flashmem_device *device, double bytes) {
    double rate = device->convert_bytes_per_second;
    return device->launch_seconds + (rate > 0 ? bytes / rate : 0);
}

flashmem_capacity_class fm_capacity_class_of(flashmem_cost_class cost_class) {
    static const flashmem_capacity_class classes[FLASHMEM_COST_CLASSES] = {
        [FLASHMEM_COST_MATMUL] = FLASHMEM_CAPACITY_REUSABLE,
        [FLASHMEM_COST_CONV] = FLASHMEM_CAPACITY_REUSABLE,
        [FLASHMEM_COST_BATCH_MATMUL] = FLASHMEM_CAPACITY_REUSABLE,
        [FLASHMEM_COST_ATTENTION] = FLASHMEM_CAPACITY_HIERARCHICAL,
        [FLASHMEM_COST_NORM] = FLASHMEM_CAPACITY_HIERARCHICAL,
        [FLASHMEM_COST_ELEMENTWISE] = FLASHMEM_CAPACITY_ELEMENTWISE,
        [FLASHMEM_COST_GATHER] = FLASHMEM_CAPACITY_ELEMENTWISE,
    };
    return classes[cost_class];
}
