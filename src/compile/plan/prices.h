/* A bound that sees every weight by itself: capacity at a price.  Who may include: compile/plan, tests.
 *
 * With a price for a chunk of each slot's capacity the weights no longer meet (Lagrange relaxation of C3, C2 left out):
 * each is preloaded or streamed, whichever costs less, and
 *
 *     least = sum over weights of min(cost, f(due, chunks)) - sum over slots of price * capacity
 *     f(l, r) = step_cost + min over x <= min(r, C_{l-1}) of (x * price_{l-1} + f(l-1, r-x));  f(l, 0) = 0
 *
 * is at most what any plan costs, f(l, r) being the least that r chunks waiting at l pay, distance and prices, to the
 * end.  Prices are found by steps along the subgradient (what is used less what there is), of B. Polyak's length. */
#ifndef FM_COMPILE_PLAN_PRICES_H
#define FM_COMPILE_PLAN_PRICES_H

#include "compile/plan/bounds.h"

typedef struct fm_prices {
    uint32_t most;      /* chunks of the largest weight, or what memory allows */
    int64_t *rests;     /* [rows of the bounds][most + 1] f at the steps where weights are due; more pay no less */
    int64_t *bases;     /* [rows] what the weights due before a row pay at least, less the priced capacity before it */
    int64_t  least;     /* of any plan of the segment */
} fm_prices;

/* Needs a plan's cost, `known`, to aim at.  Leaves prices->rests NULL where the tables would be too large for two
 * chunks, and where distance is paid by the chunk (V is exact then).  OUT_OF_MEMORY, or CANCELLED at the limit.  Free
 * with fm_prices_free in any case. */
flashmem_status fm_prices_make(fm_prices *prices, const fm_bounds *bounds, int64_t known,
                               const fm_overlap_limit *limit);
void            fm_prices_free(fm_prices *prices);

#endif
