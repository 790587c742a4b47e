/* Plans from labels: the segments of a problem, each solved with growing width until it is proven. */
#include <string.h>

#include "base/clock.h"
#include "compile/plan/labels.h"
#include "compile/plan/solvers.h"

enum { FULL_WIDTH = 300000, WIDEST = 1 << 24, WINDOW_WIDTH = 2000, WINDOW_STEPS = 64, PASS_WIDTHS = 6 };

/* Widths up to the one asked for, each until a segment is proven.  V costs next to nothing; prices take a quarter of a
 * second, and then narrow searches find and prove what wide ones do not without. */
typedef struct label_pass {
    bool     priced;
    uint32_t window;
    uint32_t widths[PASS_WIDTHS];
} label_pass;
static const label_pass passes[] = {
    { .widths = { 1 } },
    { .widths = { 200 } },
    { .widths = { 2000 } },
    { .priced = true, .widths = { 200, 1000, 5000, 20000, 100000, UINT32_MAX } },
};
enum { PASSES = sizeof passes / sizeof *passes };

typedef struct segment_state {
    int64_t  objective, bound;
    uint8_t *preload; /* [weights of the segment] */
} segment_state;

typedef struct labels_plan {
    fm_segments      segments;
    segment_state   *states; /* [segments]; used where the segment is the first of its kind */
    uint32_t         width;
    fm_overlap_limit until;
    bool             stopped;
} labels_plan;

/* Everything preloaded is where each segment starts from. */
static void start(labels_plan *s, const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena) {
    s->until = (fm_overlap_limit){ fm_clock_seconds() + fm_overlap_time_limit(options), options->stop,
                                   options->stop_user };
    fm_segments_make(p, arena, &s->segments);
    s->states = fm_arena_array(arena, s->segments.count, sizeof *s->states);
    for (uint32_t i = 0; i < s->segments.count; i++) {
        const fm_segment *segment = &s->segments.items[i];
        if (segment->same_as != i) continue;
        s->states[i].preload = fm_arena_array(arena, segment->weight_count, 1);
        memset(s->states[i].preload, 1, segment->weight_count);
        for (uint32_t k = 0; k < segment->weight_count; k++) s->states[i].objective += segment->weights[k].cost;
    }
}

/* What one search has found; a search that the limit ended has still proven something. */
static void take(labels_plan *s, uint32_t i, const fm_labels_result *result, const uint8_t *preload) {
    segment_state *state = &s->states[i];
    if (result->found) memcpy(state->preload, preload, s->segments.items[i].weight_count);
    state->objective = result->objective;
    if (result->bound > state->bound) state->bound = result->bound;
    s->stopped = s->stopped || result->stopped;
}

static flashmem_status search_segment(labels_plan *s, uint32_t i, const label_pass *pass, uint8_t *preload) {
    segment_state   *state = &s->states[i];
    fm_labels_limits limits = { 0, pass->window, s->until };
    fm_bounds        bounds;
    fm_prices        prices = { 0 };
    fm_labels_result result;
    flashmem_status  status = fm_bounds_make(&bounds, &s->segments.items[i], &s->until);
    if (status == FLASHMEM_OK && pass->priced) status = fm_prices_make(&prices, &bounds, state->objective, &s->until);
    for (uint32_t k = 0; k < PASS_WIDTHS && status == FLASHMEM_OK && limits.width < s->width; k++) {
        if (!pass->widths[k] || state->bound == state->objective || s->stopped) break;
        limits.width = pass->widths[k] < s->width ? pass->widths[k] : s->width;
        status = fm_labels_solve(&bounds, &prices, &limits, state->objective, preload, &result);
        if (status == FLASHMEM_OK) take(s, i, &result, preload);
    }
    fm_prices_free(&prices);
    fm_bounds_free(&bounds);
    s->stopped = s->stopped || status == FLASHMEM_CANCELLED;
    return status == FLASHMEM_CANCELLED ? FLASHMEM_OK : status;
}

/* One pass over every segment that is not proven yet. */
static flashmem_status search_all(labels_plan *s, const label_pass *pass, uint8_t *preload) {
    for (uint32_t i = 0; i < s->segments.count && !s->stopped; i++)
        if (s->segments.items[i].same_as == i && s->states[i].bound < s->states[i].objective)
            FM_TRY(search_segment(s, i, pass, preload));
    return FLASHMEM_OK;
}

static flashmem_status finish(const labels_plan *s, const fm_overlap_problem *p, fm_arena *arena, fm_overlap_plan *plan,
                              flashmem_error *err) {
    uint8_t *preload = fm_arena_array(arena, p->weight_count, 1);
    int64_t  bound = s->segments.forced_cost;
    memcpy(preload, s->segments.forced, p->weight_count);
    for (uint32_t i = 0; i < s->segments.count; i++) {
        const fm_segment    *segment = &s->segments.items[i];
        const segment_state *state = &s->states[segment->same_as];
        for (uint32_t k = 0; k < segment->weight_count; k++) preload[segment->weights[k].index] = state->preload[k];
        bound += state->bound;
    }
    if (!fm_overlap_complete(p, preload, arena, plan))
        return fm_fail(err, FLASHMEM_INTERNAL, "plan of '%s': segments do not make a whole", p->name);
    fm_overlap_prove(plan, bound);
    if (s->stopped && plan->status != FM_OVERLAP_OPTIMAL) plan->status = FM_OVERLAP_UNKNOWN;
    return FLASHMEM_OK;
}

static flashmem_status plan_with(const fm_overlap_problem *p, const fm_overlap_options *options, uint32_t width,
                                 const label_pass *list, uint32_t count, fm_arena *arena, fm_overlap_plan *plan,
                                 flashmem_error *err) {
    uint8_t    *preload = fm_arena_array(arena, p->weight_count, 1);
    labels_plan s = { .width = width < WIDEST ? width : WIDEST };
    start(&s, p, options, arena);
    for (uint32_t i = 0; i < count; i++)
        if (search_all(&s, &list[i], preload) != FLASHMEM_OK)
            return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "plan of '%s': no memory for labels", p->name);
    return finish(&s, p, arena, plan, err);
}

flashmem_status fm_overlap_labels(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    plan->solver = "labels";
    return plan_with(p, options, options->width ? options->width : FULL_WIDTH, passes, PASSES, arena, plan, err);
}

flashmem_status fm_overlap_width1(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    plan->solver = "width1";
    return plan_with(p, options, 1, passes, 1, arena, plan, err);
}

/* Decisions of a window are final before the next one is looked at: work grows with the steps alone. */
flashmem_status fm_overlap_window(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    const label_pass one = { .window = options->window ? options->window : WINDOW_STEPS, .widths = { UINT32_MAX } };
    plan->solver = "window";
    return plan_with(p, options, options->width ? options->width : WINDOW_WIDTH, &one, 1, arena, plan, err);
}
