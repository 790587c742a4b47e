/* Why a weight is preloaded, kept, or read when it is: sentences that follow from the plan's own figures.
 * Who may include: cli, tests. */
#ifndef CLI_PLAN_WHY_H
#define CLI_PLAN_WHY_H

#include <stddef.h>

#include "flashmem/plan.h"

/* Reasons why a weight of an overlap plan is preloaded, the strongest that holds first. */
typedef enum cli_why {
    CLI_WHY_STREAMED, /* it is not: loaded under `first` steps, beginning `second` steps ahead */
    CLI_WHY_FIRST,    /* used by the first step */
    CLI_WHY_LARGER,   /* its chunks, `first`, are more than M_peak's, `second` */
    CLI_WHY_CAPACITY, /* the steps before it can load `first` of its `second` chunks */
    CLI_WHY_CHEAPER,  /* alone it would begin `first` steps ahead, which costs `cost`, preloading `keep` */
    CLI_WHY_SHARED,   /* other weights leave `first` chunks of capacity before it, it has `second` */
    CLI_WHY_DEARER,   /* beside the others it would begin `first` steps ahead, which costs `cost`, preloading `keep` */
    CLI_WHY_MEMORY,   /* beside the others it would bring `first` chunks in flight, M_peak holds `second` */
    CLI_WHY_SOLVER /* no reason of these: streaming it in what the others leave would cost `cost`, preloading `keep` */
} cli_why;

typedef struct cli_reason {
    cli_why  why;
    uint64_t first, second;
    double   keep, cost; /* units of the objective */
} cli_reason;

/* Of every weight of an overlap plan: an array of plan->weight_count, to be freed; NULL: no memory. */
cli_reason *cli_why_weights(const flashmem_plan *plan);
/* One sentence without a full stop.  Cut to fit. */
void cli_why_weight_text(const flashmem_plan *plan, const cli_reason *reason, char *text, size_t bytes);
/* When object `index` is read, and whether it stays, and why. */
void cli_why_object_text(const flashmem_plan *plan, uint32_t index, char *text, size_t bytes);

#endif
