/* Plans from labels: the segments of a problem, each solved with growing width until it is proven. */
#include <string.h>

#include "base/clock.h"
#include "compile/plan/labels.h"
#include "compile/plan/solvers.h"

enum { FULL_WIDTH = 300000, NARROW = 200, WINDOW_WIDTH = 2000, WINDOW_STEPS = 64 };

typedef struct segment_state {
    int64_t  objective, bound;
    uint8_t *preload; /* [weights of the segment] */
    bool     found;   /* a search has come to its end */
} segment_state;

typedef struct labels_plan {
    fm_segments    segments;
    segment_state *states; /* [segments]; used where the segment is the first of its kind */
    double         deadline;
    bool           stopped;
} labels_plan;

/* Everything preloaded is where each segment starts from. */
static void start(labels_plan *s, const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena) {
    s->deadline = fm_clock_seconds() + fm_overlap_time_limit(options);
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

static flashmem_status search_segment(labels_plan *s, uint32_t i, const fm_labels_limits *limits, uint8_t *preload) {
    segment_state   *state = &s->states[i];
    fm_bounds        bounds;
    fm_labels_result result;
    flashmem_status  status = fm_bounds_make(&bounds, &s->segments.items[i], limits->deadline);
    if (status == FLASHMEM_OK) status = fm_labels_solve(&bounds, limits, state->objective, preload, &result);
    fm_bounds_free(&bounds);
    if (status == FLASHMEM_CANCELLED) s->stopped = true;
    if (status != FLASHMEM_OK) return status == FLASHMEM_CANCELLED ? FLASHMEM_OK : status;
    if (result.found) memcpy(state->preload, preload, s->segments.items[i].weight_count);
    state->objective = result.objective;
    if (result.bound > state->bound) state->bound = result.bound;
    state->found = state->found || !result.stopped;
    s->stopped = s->stopped || result.stopped;
    return FLASHMEM_OK;
}

/* One width for every segment that is not proven yet. */
static flashmem_status search_all(labels_plan *s, uint32_t width, uint32_t window, uint8_t *preload) {
    fm_labels_limits limits = { width, window, s->deadline };
    for (uint32_t i = 0; i < s->segments.count && !s->stopped; i++)
        if (s->segments.items[i].same_as == i && s->states[i].bound < s->states[i].objective)
            FM_TRY(search_segment(s, i, &limits, preload));
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
                                 uint32_t window, fm_arena *arena, fm_overlap_plan *plan, flashmem_error *err) {
    const uint32_t widths[] = { 1, NARROW, width };
    uint8_t       *preload = fm_arena_array(arena, p->weight_count, 1);
    labels_plan    s = { 0 };
    start(&s, p, options, arena);
    for (uint32_t i = 0; i < 3; i++) {
        if (i < 2 && (widths[i] >= width || window)) continue;
        if (search_all(&s, widths[i], window, preload) != FLASHMEM_OK)
            return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "plan of '%s': no memory for labels", p->name);
    }
    return finish(&s, p, arena, plan, err);
}

flashmem_status fm_overlap_labels(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    plan->solver = "labels";
    return plan_with(p, options, options->width ? options->width : FULL_WIDTH, 0, arena, plan, err);
}

flashmem_status fm_overlap_width1(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    plan->solver = "width1";
    return plan_with(p, options, 1, 0, arena, plan, err);
}

/* Decisions of a window are final before the next one is looked at: work grows with the steps, not with their square. */
flashmem_status fm_overlap_window(const fm_overlap_problem *p, const fm_overlap_options *options, fm_arena *arena,
                                  fm_overlap_plan *plan, flashmem_error *err) {
    plan->solver = "window";
    return plan_with(p, options, options->width ? options->width : WINDOW_WIDTH,
                     options->window ? options->window : WINDOW_STEPS, arena, plan, err);
}
