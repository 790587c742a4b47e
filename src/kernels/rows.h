/* Kernel rows: the variants of each family, and the choice among them.
 *
 * A family's .c defines its rows and lists them in kernel_list.h, the plain reference row first; the last row that the
 * target has and that takes the description wins.  The same rows drive emission, correctness tests and micro-benchmarks.
 * Who may include: kernels, tests, bench. */
#ifndef FM_KERNELS_ROWS_H
#define FM_KERNELS_ROWS_H

#include "kernels/launch.h"

typedef enum fm_family {
    FM_FAMILY_MATMUL,
    FM_FAMILY_BATCH_MATMUL,
    FM_FAMILY_CONV,
    FM_FAMILY_CONV_TRANSPOSE,
    FM_FAMILY_ATTENTION,
    FM_FAMILY_POOL,
    FM_FAMILY_NORM,
    FM_FAMILY_GROUP_NORM,
    FM_FAMILY_SOFTMAX,
    FM_FAMILY_REDUCE,
    FM_FAMILY_ELEMENTWISE,
    FM_FAMILY_GATHER,
    FM_FAMILY_GATHER_ELEMENTS,
    FM_FAMILY_GATHER_ND,
    FM_FAMILY_SCATTER,
    FM_FAMILY_PAD,
    FM_FAMILY_CUMSUM,
    FM_FAMILY_TOP_K,
    FM_FAMILY_LOAD,
    FM_FAMILIES
} fm_family;

#define FM_ANY_LAYOUT         UINT32_MAX
#define FM_LAYOUT_BIT(layout) (1u << (layout))

typedef struct fm_row {
    const char *name; /* "matmul_cpu"; unique */
    fm_family   family;
    bool        reference;
    uint32_t    layouts; /* FM_LAYOUT_BIT of the weight layouts it reads, or FM_ANY_LAYOUT */
    uint32_t    needs;   /* FM_DEVICE_* bits that the target must have */
    /* NULL: takes everything.  desc is the family's description of launch.h. */
    bool (*takes)(const fm_emit *e, const void *desc);
    flashmem_status (*emit)(fm_emit *e, const void *desc, flashmem_error *err);
} fm_row;

/* All rows in the order of kernel_list.h. */
extern const fm_row *const fm_rows[];
extern const size_t        fm_row_count;

/* Whether the row may be used for desc on e's target (its `reference` wish aside). */
bool fm_row_fits(const fm_row *row, const fm_emit *e, const void *desc);
/* The last row that fits, or NULL. */
const fm_row *fm_row_choose(const fm_emit *e, fm_family family, const void *desc);
/* Chooses and emits; UNSUPPORTED names the family and step where no row fits. */
flashmem_status fm_row_emit(fm_emit *e, fm_family family, const char *name, const void *desc, flashmem_error *err);
const char     *fm_family_name(fm_family family);

#endif
