/* Plans made by hand, so that what shows a plan can be tried on any size without a model: a chain of matmul, norm and
 * elementwise launches, an object per matmul, one serial disk. */
#ifndef FM_TESTS_MADE_PLAN_H
#define FM_TESTS_MADE_PLAN_H

#include "flashmem/plan.h"

typedef enum made_kind {
    MADE_TIMED,   /* in place, some objects kept */
    MADE_TEXTURE, /* objects are converted */
    MADE_OVERLAP, /* an overlap plan: capacities, loads, preloaded weights */
    MADE_HOSTILE, /* timed, with names that would be a page's end, a script, no UTF-8 */
    MADE_EMPTY    /* nothing at all */
} made_kind;

/* To be freed with made_plan_free; aborts without memory. */
flashmem_plan *made_plan(made_kind kind, uint32_t steps);
void           made_plan_free(flashmem_plan *plan);

#endif
