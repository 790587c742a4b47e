#include "schedule/policy.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *help;
} policies[] = {
#define FM_POLICY_ROW(name, text, help) { text, help },
    FM_POLICY_LIST(FM_POLICY_ROW)
#undef FM_POLICY_ROW
};

const char *fm_policy_name(uint32_t policy) { return policy < FM_POLICIES ? policies[policy].name : NULL; }
const char *fm_policy_help(uint32_t policy) { return policy < FM_POLICIES ? policies[policy].help : NULL; }

fm_policy fm_policy_find(const char *name) {
    uint32_t policy = 0;
    while (policy < FM_POLICIES && strcmp(policies[policy].name, name)) policy++;
    return (fm_policy)policy;
}

/* --- layers ------------------------------------------------------------------------------------------------------- */

static bool alike(const fm_policy_step *a, const fm_policy_step *b) {
    return a->type == b->type && a->flops == b->flops && a->weight_bytes == b->weight_bytes;
}

typedef struct repeat { /* the longest run of equal periods from a step on */
    uint32_t period, steps;
} repeat;

static repeat *find_repeats(const fm_policy_step *steps, uint32_t count, fm_arena *scratch) {
    repeat   *best = fm_arena_array(scratch, count, sizeof *best);
    uint64_t *before = fm_arena_array(scratch, count + 1u, sizeof *before); /* weight bytes of the steps before */
    for (uint32_t k = 0; k < count; k++) before[k + 1] = before[k] + steps[k].weight_bytes;
    for (uint32_t period = 1; period <= count / 2; period++) {
        uint32_t matching = 0; /* steps from k on that equal the step a period later */
        for (uint32_t k = count - period; k-- > 0;) {
            matching = alike(&steps[k], &steps[k + period]) ? matching + 1 : 0;
            uint32_t covered = matching >= period ? (matching / period + 1) * period : 0;
            if (covered > best[k].steps && before[k + period] > before[k]) best[k] = (repeat){ period, covered };
        }
    }
    return best;
}

void fm_policy_layers(fm_policy_step *steps, uint32_t count, fm_arena *scratch) {
    repeat  *repeats = find_repeats(steps, count, scratch);
    uint64_t largest = 0, taken = 0;
    uint32_t next = 0;     /* layer that has no step yet */
    bool     open = false; /* the last layer is no period and may grow */
    for (uint32_t k = 0; k < count; k += repeats[k].period ? repeats[k].steps : 1) {
        uint64_t bytes = 0;
        for (uint32_t i = k; i < k + repeats[k].period; i++) bytes += steps[i].weight_bytes;
        if (bytes > largest) largest = bytes;
    }
    for (uint32_t k = 0; k < count;) {
        if (repeats[k].period) {
            for (uint32_t from = k, end = k + repeats[k].steps; k < end; k++)
                steps[k].layer = next + (k - from) / repeats[from].period;
            next = steps[k - 1].layer + 1;
            open = false;
            continue;
        }
        if (!open || (taken && taken + steps[k].weight_bytes > largest)) next++, taken = 0;
        open = true;
        taken += steps[k].weight_bytes;
        steps[k++].layer = next - 1;
    }
}

/* --- wishes ------------------------------------------------------------------------------------------------------- */

void fm_policy_preload(fm_policy policy, const fm_timed_problem *p, const fm_policy_overlap *overlap,
                       uint8_t *preload) {
    for (uint32_t o = 0; o < p->object_count; o++)
        preload[o] = policy == FM_POLICY_PRELOAD_ALL || (policy == FM_POLICY_PUBLISHED && overlap->preload[o]);
}

/* Each step: the last weighted step before it, or UINT32_MAX. */
static uint32_t *weighted_before(const fm_timed_problem *p, fm_arena *scratch) {
    uint32_t *before = fm_arena_array(scratch, p->step_count, sizeof *before), last = UINT32_MAX, o = 0;
    for (uint32_t k = 0; k < p->step_count; k++) {
        before[k] = last;
        for (; o < p->object_count && p->objects[o].first == k; o++) last = k;
    }
    return before;
}

/* Each step: the last one before it of the same type, or UINT32_MAX. */
static uint32_t *type_before(const fm_timed_problem *p, const fm_policy_step *steps, fm_arena *scratch) {
    uint32_t *before = fm_arena_array(scratch, p->step_count, sizeof *before), most = 0;
    for (uint32_t k = 0; k < p->step_count; k++)
        if (steps[k].type > most) most = steps[k].type;
    uint32_t *last = fm_arena_array(scratch, most + 1u, sizeof *last);
    memset(last, 0xff, (most + 1u) * sizeof *last);
    for (uint32_t k = 0; k < p->step_count; k++) {
        before[k] = last[steps[k].type];
        last[steps[k].type] = k;
    }
    return before;
}

/* Each step: the first one of the layer before its own, or UINT32_MAX. */
static uint32_t *layer_before(const fm_timed_problem *p, const fm_policy_step *steps, fm_arena *scratch) {
    uint32_t *before = fm_arena_array(scratch, p->step_count, sizeof *before), mine = 0, previous = UINT32_MAX;
    for (uint32_t k = 0; k < p->step_count; k++) {
        if (k > 0 && steps[k].layer != steps[k - 1].layer) {
            previous = mine;
            mine = k;
        }
        before[k] = previous;
    }
    return before;
}

typedef struct wish {
    int32_t  after;
    uint32_t object;
} wish;

static int by_after(const void *a, const void *b) {
    const wish *x = a, *y = b;
    if (x->after != y->after) return x->after < y->after ? -1 : 1;
    return x->object < y->object ? -1 : x->object > y->object;
}

void fm_policy_wish(fm_policy policy, const fm_timed_problem *p, const fm_policy_step *steps,
                    const fm_policy_overlap *overlap, uint32_t *read_order, int32_t *after, fm_arena *scratch) {
    wish           *wishes = fm_arena_array(scratch, p->object_count, sizeof *wishes);
    const uint32_t *trigger = NULL; /* the step at whose start what step k needs is asked for */
    if (policy == FM_POLICY_ALWAYS_NEXT) trigger = weighted_before(p, scratch);
    if (policy == FM_POLICY_SAME_TYPE) trigger = type_before(p, steps, scratch);
    if (policy == FM_POLICY_LAYER_BUFFERS) trigger = layer_before(p, steps, scratch);
    for (uint32_t o = 0; o < p->object_count; o++) {
        uint32_t first = p->objects[o].first, at = first;
        if (trigger && trigger[first] != UINT32_MAX) at = trigger[first];
        else if (policy == FM_POLICY_LAYER_BUFFERS) at = 0; /* the first layer is loaded whole */
        if (policy == FM_POLICY_PUBLISHED) at = overlap->preload[o] ? 0 : overlap->first_load[o];
        if (policy == FM_POLICY_PRELOAD_ALL) at = 0;
        wishes[o] = (wish){ at == 0 ? FM_AFTER_START : (int32_t)at - 1, o };
    }
    qsort(wishes, p->object_count, sizeof *wishes, by_after);
    for (uint32_t i = 0; i < p->object_count; i++) {
        read_order[i] = wishes[i].object;
        after[wishes[i].object] = wishes[i].after;
    }
}
