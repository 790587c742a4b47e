/* The exact label algorithm over one segment.  Who may include: compile/plan, tests. */
#ifndef FM_COMPILE_PLAN_LABELS_H
#define FM_COMPILE_PLAN_LABELS_H

#include "compile/plan/prices.h"

typedef struct fm_labels_limits {
    uint32_t width;    /* labels kept, at least 1 */
    uint32_t window;   /* slots after which only the most promising one is, 0 = never */
    fm_overlap_limit until;
} fm_labels_limits;

typedef struct fm_labels_result {
    bool    found;     /* a plan cheaper than the one known */
    bool    stopped;   /* at the limit */
    int64_t objective; /* of it, or `known` */
    int64_t bound;     /* no plan of the segment costs less */
} fm_labels_result;

/* Looks for plans cheaper than `known`; the best one's p goes to preload[weights of the segment].  prices may be NULL.
 * OUT_OF_MEMORY. */
flashmem_status fm_labels_solve(const fm_bounds *bounds, const fm_prices *prices, const fm_labels_limits *limits,
                                int64_t known, uint8_t *preload, fm_labels_result *result);

#endif
