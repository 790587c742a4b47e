/* What a label has still to pay at least: V of its backlog or the priced cost of its remainders, whichever is more, at
 * each weight of the row being decided.  Who may include: compile/plan. */
#ifndef FM_COMPILE_PLAN_AHEAD_H
#define FM_COMPILE_PLAN_AHEAD_H

#include "compile/plan/prices.h"

typedef struct fm_ahead {
    const fm_bounds *bounds;
    const fm_prices *prices; /* NULL, or without tables: V alone */
    uint32_t         row;    /* the present one */
    int64_t         *v;      /* [weights due][columns] V before each weight is decided */
    size_t           v_room;
    bool             staged; /* v stands; else V of the row bounds all its stages: streaming less costs no more later */
    int64_t         *bases;  /* [weights due + 1] what weights not yet decided pay at least, less capacity's worth */
    uint32_t         bases_room;
    const int64_t   *rests;  /* [chunks] under prices, here */
} fm_ahead;

/* Before weight k of the row is decided; behind the last, k = to. */
typedef struct fm_ahead_stage {
    const int64_t *v;
    uint32_t       most, grain;
    int64_t        base; /* below 0 and out of the way without prices */
} fm_ahead_stage;

/* False when the system gives no memory. */
bool           fm_ahead_enter(fm_ahead *ahead, uint32_t row);
fm_ahead_stage fm_ahead_at(const fm_ahead *ahead, uint32_t k);
void           fm_ahead_free(fm_ahead *ahead);

/* `total` chunks wait, and pay `priced` under prices. */
static inline int64_t fm_ahead_cost(const fm_ahead_stage *stage, uint32_t total, int64_t priced) {
    if (total > stage->most) return FM_COST_INFINITE;
    int64_t v = stage->v[total / stage->grain], p = stage->base + priced;
    return v > p ? v : p;
}

static inline int64_t fm_ahead_rest(const fm_ahead *ahead, uint32_t chunks) {
    return ahead->rests[chunks < ahead->prices->most ? chunks : ahead->prices->most];
}

/* What one remainder pays under prices; sums of them stay finite this way. */
static inline int64_t fm_ahead_add(const fm_ahead *ahead, int64_t priced, uint32_t chunks) {
    if (!ahead->rests) return 0;
    int64_t sum = priced + fm_ahead_rest(ahead, chunks);
    return sum < FM_COST_INFINITE ? sum : FM_COST_INFINITE;
}

#endif
