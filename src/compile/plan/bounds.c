/* The recursion of V over the slots of a segment, first slot first. */
#include "compile/plan/bounds.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { MOST_COLUMNS = 16 << 20 }; /* of all rows together: 128 MiB */
enum { MOST_WORK = 64 << 20 };    /* columns computed, a slot and a weight at a time */

bool fm_overlap_limit_reached(const fm_overlap_limit *limit) {
    return fm_clock_seconds() > limit->deadline || (limit->stop && limit->stop(limit->stop_user));
}

/* ---- who can wait ---- */

/* A weight can wait before slot l-1 serves for l in [enter, due]. */
typedef struct waiter {
    uint32_t chunks, enter, due, size; /* size: index of its chunks in `sizes` */
} waiter;

typedef struct waiters {
    waiter   *by_enter, *by_due;
    uint32_t  count, entered, left;
    uint32_t *sizes, *present, size_count; /* falling distinct sizes, and how many of each can wait now */
} waiters;

static int rising_enter(const void *a, const void *b) {
    const waiter *x = a, *y = b;
    return (x->enter > y->enter) - (x->enter < y->enter);
}

static int falling_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static uint32_t size_index(const waiters *w, uint32_t chunks) {
    uint32_t low = 0, high = w->size_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (w->sizes[middle] > chunks) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Weights are sorted by due already. */
static bool waiters_make(waiters *w, const fm_segment *s) {
    uint32_t n = w->count = s->weight_count;
    w->by_enter = malloc(n * sizeof *w->by_enter);
    w->by_due = malloc(n * sizeof *w->by_due);
    w->sizes = malloc(n * sizeof *w->sizes);
    w->present = calloc(n, sizeof *w->present);
    if (!w->by_enter || !w->by_due || !w->sizes || !w->present) return false;
    for (uint32_t i = 0; i < n; i++) w->sizes[i] = s->weights[i].chunks;
    qsort(w->sizes, n, sizeof *w->sizes, falling_size);
    for (uint32_t i = 0; i < n; i++)
        if (!i || w->sizes[i] != w->sizes[w->size_count - 1]) w->sizes[w->size_count++] = w->sizes[i];
    for (uint32_t i = 0; i < n; i++) {
        const fm_segment_weight *from = &s->weights[i];
        int64_t                  longest = s->step_cost ? from->cost / s->step_cost : from->due;
        uint32_t                 distance = longest < from->due ? (uint32_t)longest : from->due;
        w->by_due[i] = (waiter){ from->chunks, from->due - distance + 1, from->due, size_index(w, from->chunks) };
    }
    memcpy(w->by_enter, w->by_due, n * sizeof *w->by_enter);
    qsort(w->by_enter, n, sizeof *w->by_enter, rising_enter);
    return true;
}

static void waiters_free(waiters *w) {
    free(w->by_enter);
    free(w->by_due);
    free(w->sizes);
    free(w->present);
}

/* To those before slot l-1 serves; l rises from call to call. */
static void waiters_at(waiters *w, uint32_t l) {
    for (; w->entered < w->count && w->by_enter[w->entered].enter <= l; w->entered++)
        if (w->by_enter[w->entered].enter <= w->by_enter[w->entered].due) w->present[w->by_enter[w->entered].size]++;
    for (; w->left < w->count && w->by_due[w->left].due < l; w->left++)
        if (w->by_due[w->left].enter <= w->by_due[w->left].due) w->present[w->by_due[w->left].size]--;
}

/* Adds step_cost * n to a row of backlogs; infinite beyond what can wait at all. */
static void add_waiting(const waiters *w, int64_t step_cost, uint32_t grain, int64_t *cost, uint32_t columns) {
    uint64_t held = 0, column = 1;
    int64_t  paid = 0;
    for (uint32_t k = 0; k < w->size_count && column < columns; k++)
        for (uint32_t i = 0; i < w->present[k] && column < columns; i++) {
            held += w->sizes[k];
            paid += step_cost;
            for (; column < columns && column * grain <= held; column++) cost[column] += paid;
        }
    for (; column < columns; column++) cost[column] = FM_COST_INFINITE;
}

/* ---- the recursion ---- */

void fm_bounds_decide(const fm_bounds *b, const fm_segment_weight *w, uint32_t columns, const int64_t *after,
                      int64_t *before) {
    uint32_t jump = w->chunks / b->grain, both = jump < columns ? columns - jump : 0;
    for (uint32_t c = 0; c < both; c++) {
        int64_t preloaded = after[c] + w->cost, streamed = after[c + jump];
        before[c] = preloaded < streamed ? preloaded : streamed;
    }
    for (uint32_t c = both; c < columns; c++) before[c] = after[c] + w->cost;
    for (uint32_t c = 0; c < columns; c++)
        if (before[c] > FM_COST_INFINITE) before[c] = FM_COST_INFINITE;
}

static void decide_row(const fm_bounds *b, const fm_bound_row *row, int64_t *cost, uint32_t columns) {
    for (uint32_t k = row->from; k < row->to; k++) fm_bounds_decide(b, &b->segment->weights[k], columns, cost, cost);
}

typedef struct recursion {
    fm_bounds *b;
    waiters    waiting;
    uint32_t  *most;          /* [slots + 1] largest backlog of any plan, after those due there */
    int64_t   *now, *limited; /* V(l, .); the same where slot l is used up, so that D = R + C_l */
    uint32_t   columns;
} recursion;

/* most[l]: with everything streamed, at most M, and at most what the slots before l can serve. */
static void find_most(recursion *r) {
    const fm_segment *s = r->b->segment;
    uint64_t          backlog = 0, served = 0;
    uint32_t          k = s->weight_count;
    for (uint32_t l = s->slots + 1; l-- > 0;) {
        if (l < s->slots) backlog -= backlog < s->capacity[l] ? backlog : s->capacity[l];
        for (; k && s->weights[k - 1].due == l; k--) backlog += s->weights[k - 1].chunks;
        if (backlog > s->m_peak) backlog = s->m_peak;
        r->most[l] = (uint32_t)backlog;
    }
    for (uint32_t l = 0; l <= s->slots; l++) {
        if (r->most[l] > served) r->most[l] = (uint32_t)served;
        if (l < s->slots) served += s->capacity[l];
    }
}

/* From V(l, .) in `now`, after the weights due at l, to V(l + 1, .). */
static void next_slot(recursion *r, uint32_t l, const fm_bound_row *due_here) {
    const fm_segment *s = r->b->segment;
    uint32_t grain = r->b->grain, capacity = s->capacity[l], shift = capacity / grain + (capacity % grain != 0);
    uint32_t columns = r->most[l + 1] / grain + 1;
    int64_t *used_up = r->now;
    if (due_here) {
        used_up = r->limited;
        for (uint32_t c = 0; c < r->columns; c++)
            used_up[c] = (uint64_t)c * grain + capacity > s->m_peak ? FM_COST_INFINITE : r->now[c];
        decide_row(r->b, due_here, used_up, r->columns);
        decide_row(r->b, due_here, r->now, r->columns);
    }
    int64_t  emptied = r->now[0];
    int64_t *next = used_up == r->now ? r->limited : r->now;
    for (uint32_t c = 0; c < columns; c++)
        next[c] = c <= shift ? emptied : c - shift < r->columns ? used_up[c - shift] : FM_COST_INFINITE;
    if (s->by_chunk) {
        for (uint32_t c = 0; c < columns; c++) next[c] += s->step_cost * (int64_t)((uint64_t)c * grain);
    } else {
        waiters_at(&r->waiting, l + 1);
        add_waiting(&r->waiting, s->step_cost, grain, next, columns);
    }
    for (uint32_t c = 0; c < columns; c++)
        if (next[c] > FM_COST_INFINITE) next[c] = FM_COST_INFINITE;
    r->limited = next == r->now ? r->limited : r->now;
    r->now = next;
    r->columns = columns;
}

static flashmem_status recurse(recursion *r, const fm_overlap_limit *limit) {
    const fm_segment *s = r->b->segment;
    uint32_t          row = 0;
    r->columns = 1;
    r->now[0] = 0;
    for (uint32_t l = 0; l <= s->slots; l++) {
        fm_bound_row *here = row < r->b->row_count && r->b->rows[row].due == l ? &r->b->rows[row++] : NULL;
        if (here) memcpy(here->cost, r->now, here->columns * sizeof *here->cost);
        if (l == s->slots) break;
        next_slot(r, l, here);
        if (l % 64 == 63 && fm_overlap_limit_reached(limit)) return FLASHMEM_CANCELLED;
    }
    decide_row(r->b, &r->b->rows[r->b->row_count - 1], r->now, r->columns); /* nothing waits behind the last */
    r->b->least = r->now[0];
    return FLASHMEM_OK;
}

static bool make_rows(fm_bounds *b, const uint32_t *most) {
    const fm_segment *s = b->segment;
    uint64_t          total = 0, work = 0;
    for (uint32_t i = 0; i < s->weight_count; i++)
        if (!i || s->weights[i].due != s->weights[i - 1].due) b->row_count++;
    b->rows = calloc(b->row_count, sizeof *b->rows);
    if (!b->rows) return false;
    for (uint32_t i = 0, row = 0; i < s->weight_count; row++) {
        uint32_t due = s->weights[i].due, from = i;
        while (i < s->weight_count && s->weights[i].due == due) i++;
        b->rows[row] = (fm_bound_row){ .due = due, .from = from, .to = i, .most = most[due] };
        total += (uint64_t)most[due] + 1;
        work += ((uint64_t)most[due] + 1) * (i - from);
    }
    for (uint32_t l = 0; l < s->slots; l++) work += (uint64_t)most[l] + 1;
    b->grain = (uint32_t)(total / MOST_COLUMNS + work / MOST_WORK + 1);
    for (uint32_t row = 0; row < b->row_count; row++) {
        b->rows[row].columns = b->rows[row].most / b->grain + 1;
        b->rows[row].cost = malloc(b->rows[row].columns * sizeof *b->rows[row].cost);
        if (!b->rows[row].cost) return false;
    }
    return true;
}

flashmem_status fm_bounds_make(fm_bounds *b, const fm_segment *s, const fm_overlap_limit *limit) {
    recursion       r = { .b = b };
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    uint32_t        columns = 0;
    *b = (fm_bounds){ .segment = s };
    r.most = malloc(((size_t)s->slots + 1) * sizeof *r.most);
    if (!r.most) goto cleanup;
    find_most(&r);
    if (!make_rows(b, r.most) || !waiters_make(&r.waiting, s)) goto cleanup;
    for (uint32_t l = 0; l <= s->slots; l++)
        if (r.most[l] / b->grain + 1 > columns) columns = r.most[l] / b->grain + 1;
    int64_t *one = r.now = malloc(columns * sizeof *r.now), *two = r.limited = malloc(columns * sizeof *r.limited);
    if (one && two) status = recurse(&r, limit);
    free(one);
    free(two);
cleanup:
    waiters_free(&r.waiting);
    free(r.most);
    return status;
}

void fm_bounds_free(fm_bounds *b) {
    for (uint32_t i = 0; i < b->row_count && b->rows; i++) free(b->rows[i].cost);
    free(b->rows);
    *b = (fm_bounds){ 0 };
}
