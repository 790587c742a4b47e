/* What the two files of recipe evaluation share.  Who may include: recipe.c, recipe_read.c, recipe_reshape.c. */
#ifndef FM_COMPILE_GRAPH_RECIPE_READ_H
#define FM_COMPILE_GRAPH_RECIPE_READ_H

#include "compile/graph/recipe.h"

/* Where a box goes: element (i0, i1, ...) to `to` + sum(i * strides) elements of dtype. */
typedef struct fm_recipe_target {
    char          *to;
    flashmem_dtype dtype;
    int64_t        strides[FM_MAX_RANK];
} fm_recipe_target;

flashmem_status fm_recipe_eval(const fm_recipe *r, const int64_t *start, const int64_t *count,
                               const fm_recipe_target *target, flashmem_error *err);
flashmem_status fm_recipe_eval_reshape(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                       const fm_recipe_target *target, flashmem_error *err);
void fm_recipe_reshape_order(const fm_shape *from, const uint32_t *from_order, const fm_shape *to, uint32_t *order);

#endif
