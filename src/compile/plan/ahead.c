/* Bounds at the stages of a row. */
#include "compile/plan/ahead.h"

#include <stdlib.h>

enum { MOST_STAGES = 4 << 20 }; /* columns of all stages of a row */

static bool make_bases(fm_ahead *a, const fm_bound_row *row) {
    uint32_t                 count = row->to - row->from;
    const fm_segment_weight *weights = a->bounds->segment->weights;
    a->rests = NULL;
    if (!a->prices || !a->prices->rests) return true;
    if (count + 1 > a->bases_room) {
        free(a->bases);
        a->bases_room = 0;
        a->bases = malloc((count + (size_t)1) * sizeof *a->bases);
        if (!a->bases) return false;
        a->bases_room = count + 1;
    }
    a->rests = a->prices->rests + (size_t)a->row * (a->prices->most + (size_t)1);
    a->bases[count] = a->prices->bases[a->row];
    for (uint32_t k = row->to; k-- > row->from;) {
        int64_t streamed = fm_ahead_rest(a, weights[k].chunks);
        a->bases[k - row->from] = a->bases[k + 1 - row->from] +
                                  (streamed < weights[k].cost ? streamed : weights[k].cost);
    }
    return true;
}

bool fm_ahead_enter(fm_ahead *a, uint32_t row_index) {
    const fm_bound_row *row = &a->bounds->rows[row_index];
    size_t              count = (size_t)(row->to - row->from) * row->columns;
    a->row = row_index;
    a->staged = count <= MOST_STAGES;
    if (!make_bases(a, row)) return false;
    if (!a->staged) return true;
    if (count > a->v_room) {
        free(a->v);
        a->v_room = 0;
        a->v = malloc(count * sizeof *a->v);
        if (!a->v) return false;
        a->v_room = count;
    }
    for (uint32_t k = row->to; k-- > row->from;) {
        int64_t *before = a->v + (size_t)(k - row->from) * row->columns;
        fm_bounds_decide(a->bounds, &a->bounds->segment->weights[k], row->columns,
                         k + 1 == row->to ? row->cost : before + row->columns, before);
    }
    return true;
}

fm_ahead_stage fm_ahead_at(const fm_ahead *a, uint32_t k) {
    const fm_bound_row *row = &a->bounds->rows[a->row];
    bool                inner = k < row->to && a->staged;
    return (fm_ahead_stage){ inner ? a->v + (size_t)(k - row->from) * row->columns : row->cost, row->most,
                             a->bounds->grain, a->rests ? a->bases[k - row->from] : -FM_COST_INFINITE };
}

void fm_ahead_free(fm_ahead *a) {
    free(a->v);
    free(a->bases);
}
