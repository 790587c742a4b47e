/* What kernel time and load capacity are predicted from: features of a launch, taken from the program alone.
 * Who may include: compile, tests. */
#ifndef FM_COMPILE_PROFILE_FEATURES_H
#define FM_COMPILE_PROFILE_FEATURES_H

#include "kernels/loops.h"
#include "schedule/work.h"

/* X(enumerator, name): global and local work size, tile, loop order, operator class, the kernel within it, work, and the
 * load beside it.  Sizes count as log2(1 + x). */
#define FM_FEATURE_LIST(X)                                                                                       \
    X(ITEMS, "work_items") X(ITEMS_X, "work_items_x") X(ITEMS_Y, "work_items_y") X(GROUP, "group_items")        \
    X(TILE_ROWS, "tile_rows") X(TILE_COLUMNS, "tile_columns") X(ORDER, "loop_order") X(CLASS, "operator_class") \
    X(KERNEL, "kernel") X(STRIDE, "inner_stride")                                                                 \
    X(FLOPS, "flops") X(BYTES, "activation_bytes") X(WEIGHT_BYTES, "weight_bytes")          \
    X(INTENSITY, "intensity") X(LOAD, "load_bytes") X(SHARE, "load_share")
typedef enum fm_feature {
#define FM_FEATURE_ENUM(name, text) FM_FEATURE_##name,
    FM_FEATURE_LIST(FM_FEATURE_ENUM)
#undef FM_FEATURE_ENUM
    FM_FEATURES
} fm_feature;
const char *fm_feature_name(fm_feature feature);

/* A launch without load. */
typedef struct fm_step_features {
    fm_work       work;
    double        global[3];
    double        group; /* work-items of a work-group, 0: the implementation chooses */
    double        tile_rows, tile_columns;
    double        stride; /* elementwise kernels: of the innermost loop over the input that it is largest for; else 1 */
    fm_loop_order order;
    uint32_t      kernel; /* row of fm_loops_table; fm_loops_count: not in it */
} fm_step_features;

/* Of `panels` panels of a splittable step; panels 0: the whole step.  False: no kernel runs it (rows, planned steps). */
bool fm_step_features_of(const fm_packed *packed, const fm_program *program, uint32_t step, uint32_t panels,
                         fm_step_features *out);
/* As the trees take them.  share: seconds that the load alone takes over those of the kernel alone. */
void fm_features_vector(const fm_step_features *features, double load_bytes, double share, float out[FM_FEATURES]);

#endif
