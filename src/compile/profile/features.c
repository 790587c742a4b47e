#include "compile/profile/features.h"

#include <math.h>
#include <string.h>

const char *fm_feature_name(fm_feature feature) {
    static const char *const names[] = {
#define FM_FEATURE_NAME(name, text) text,
        FM_FEATURE_LIST(FM_FEATURE_NAME)
#undef FM_FEATURE_NAME
    };
    return names[feature];
}

static void take_loops(const fm_program *program, const fm_step *step, fm_step_features *out) {
    const fm_loops *loops = fm_loops_of(fm_program_string(program, program->kernels[step->kernel].entry));
    out->tile_rows = loops ? loops->rows : 1;
    out->tile_columns = loops ? loops->columns : 1;
    out->order = loops ? loops->order : FM_LOOPS_RUN;
    out->kernel = loops ? (uint32_t)(loops - fm_loops_table) : fm_loops_count;
}

/* An elementwise kernel takes each input as a buffer, its offset and its strides, innermost last. */
static double inner_stride(const fm_program *program, const fm_step *step) {
    const fm_arg *args = program->args + step->first_arg;
    double        largest = 0;
    if (strcmp(fm_program_string(program, program->kernels[step->kernel].entry), "elementwise") != 0) return 1;
    for (uint32_t a = 0; a + 1 < step->arg_count; a++) {
        if (args[a].kind != FM_ARG_READ) continue;
        while (a + 1 < step->arg_count && args[a + 1].kind == FM_ARG_INT) a++;
        if (args[a].kind == FM_ARG_INT) largest = fmax(largest, fabs((double)fm_program_expr(program, args[a].value)));
    }
    return largest;
}

bool fm_step_features_of(const fm_packed *packed, const fm_program *program, uint32_t s, uint32_t panels,
                         fm_step_features *out) {
    const fm_step *step = &program->steps[s];
    if (step->kind != FM_STEP_KERNEL) return false;
    *out = (fm_step_features){ .work = fm_step_work(packed, program, s, panels) };
    for (int d = 0; d < 3; d++) out->global[d] = (double)fm_program_expr(program, step->global[d]);
    if (panels && step->split_value != FM_NONE)
        out->global[step->split_dim] = ceil((double)panels / step->split_panels) * step->split_scale;
    if (step->local[0] != FM_NONE) {
        out->group = 1;
        for (int d = 0; d < 3; d++) out->group *= (double)fm_program_expr(program, step->local[d]);
    }
    take_loops(program, step, out);
    out->stride = inner_stride(program, step);
    return true;
}

static float size_of(double x) { return (float)log2(1 + x); }

void fm_features_vector(const fm_step_features *f, double load_bytes, double share, float out[FM_FEATURES]) {
    const fm_work *work = &f->work;
    double         bytes = work->bytes + work->weight_bytes;
    out[FM_FEATURE_ITEMS] = size_of(f->global[0] * f->global[1] * f->global[2]);
    out[FM_FEATURE_ITEMS_X] = size_of(f->global[0]);
    out[FM_FEATURE_ITEMS_Y] = size_of(f->global[1]);
    out[FM_FEATURE_GROUP] = size_of(f->group);
    out[FM_FEATURE_TILE_ROWS] = (float)f->tile_rows;
    out[FM_FEATURE_TILE_COLUMNS] = (float)f->tile_columns;
    out[FM_FEATURE_ORDER] = (float)f->order;
    out[FM_FEATURE_CLASS] = (float)work->cost_class;
    out[FM_FEATURE_KERNEL] = (float)f->kernel;
    out[FM_FEATURE_STRIDE] = size_of(f->stride);
    out[FM_FEATURE_FLOPS] = size_of(work->flops);
    out[FM_FEATURE_BYTES] = size_of(work->bytes);
    out[FM_FEATURE_WEIGHT_BYTES] = size_of(work->weight_bytes);
    out[FM_FEATURE_INTENSITY] = size_of(bytes > 0 ? work->flops / bytes : 0);
    out[FM_FEATURE_LOAD] = size_of(load_bytes);
    out[FM_FEATURE_SHARE] = (float)share;
}
