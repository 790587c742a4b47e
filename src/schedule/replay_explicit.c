/* Plans of one run for a budget that the user set.
 *
 * The plan in the least memory that costs no more than 2 % is taken first: memory that is touched is paid for.  But a
 * plan of ours that a simple rule beats at the same budget would be no plan: where the rules' latencies, which cost
 * little to predict, are below it, or fragmentation made reads wait, other ways to fill the same memory are tried. */
#include <string.h>

#include "schedule/policy.h"
#include "schedule/replay_internal.h"

/* Rules that read while steps run; the others wait for more. */
static const fm_policy rules[] = { FM_POLICY_ALWAYS_NEXT, FM_POLICY_LAYER_BUFFERS, FM_POLICY_SAME_TYPE };
enum { RULES = sizeof rules / sizeof *rules };

/* Wishes of a rule, held to the cap; in_order: with reads in order of first use all the same.  False: infeasible. */
static bool hold_rule(const fm_replay_facts *f, const fm_cut *cut, fm_policy rule, bool in_order,
                      fm_timed_problem *problem, fm_timed_plan *plan) {
    uint32_t *order = fm_arena_array(f->arena, cut->object_count, sizeof *order);
    fm_policy_wish(rule, problem, fm_replay_describe_steps(f, cut), NULL, order, plan->after, f->arena);
    if (!in_order) problem->read_order = order;
    return fm_timed_hold(problem, plan);
}

double fm_replay_rule_latency(const fm_replay_facts *f, const fm_cut *cut, uint64_t cap) {
    double        least = -1;
    fm_timed_plan plan;
    for (int i = 0; i < RULES; i++) {
        fm_timed_problem problem = fm_replay_problem(f, cut, cap < INT64_MAX / 2 ? cap : INT64_MAX / 2);
        fm_timed_plan_init(&plan, &problem, f->arena);
        if (hold_rule(f, cut, rules[i], false, &problem, &plan) && (least < 0 || plan.latency < least))
            least = plan.latency;
    }
    return least;
}

enum { LEAST_MEMORY, ENOUGH_MEMORY, ALL_MEMORY, LATE, NEXT, LAYERS, SAME, TIGHT, LAST_MOMENT, WAYS };

/* Fills plan->after. */
static bool plan_way(const fm_replay_facts *f, const fm_cut *cut, int way, uint64_t stream_cap, double target,
                     fm_timed_problem *problem, fm_timed_plan *plan) {
    fm_timed_problem slow;
    switch (way) {
    case ENOUGH_MEMORY: /* the least for the target, placement's losses apart */
        if (!fm_timed_solve(problem, plan)) return false;
        double spare = target / plan->latency - 1;
        problem->cap = fm_timed_least_memory(problem, spare > 0 ? spare / 2 : 0, problem->cap, f->arena);
        return fm_timed_solve(problem, plan);
    case LEAST_MEMORY: problem->cap = stream_cap; return fm_timed_solve(problem, plan);
    case ALL_MEMORY: return fm_timed_solve(problem, plan);
    case LATE: /* as a disk of 0.7 times the rate allows: short lives leave fewer gaps */
        if (!fm_timed_solve(problem, plan)) return false;
        slow = *problem;
        slow.bandwidth *= 0.7;
        fm_timed_delay_reads(&slow, plan);
        return true;
    case NEXT: return hold_rule(f, cut, FM_POLICY_ALWAYS_NEXT, true, problem, plan);
    case LAYERS: return hold_rule(f, cut, FM_POLICY_LAYER_BUFFERS, true, problem, plan);
    case SAME: return hold_rule(f, cut, FM_POLICY_SAME_TYPE, true, problem, plan);
    case TIGHT: problem->cap = fm_timed_minimum_bound(problem, f->arena); return fm_timed_solve(problem, plan);
    default:
        for (uint32_t o = 0; o < cut->object_count; o++) plan->after[o] = (int32_t)problem->objects[o].first - 1;
        return fm_timed_hold(problem, plan);
    }
}

bool fm_replay_place_explicit(const fm_replay_facts *f, const fm_cut *cut, uint64_t cap, uint64_t stream_cap,
                              double target, fm_placed *out) {
    fm_placed other;
    bool      placed = false;
    fm_placed_init(&other, f, cut, f->arena);
    for (int way = 0; way < WAYS; way++) {
        uint64_t         whole = cut->object_bytes + cut->activation_peak;
        fm_timed_problem problem = fm_replay_problem(f, cut, cap < whole ? cap : whole);
        if (!plan_way(f, cut, way, stream_cap, target, &problem, &other.plan)) continue;
        if (!fm_replay_place(f, cut, &problem, cap, FM_PLACE_ANYHOW, &other, f->arena)) continue;
        if (placed && other.plan.latency >= out->plan.latency) continue;
        fm_placed better = other;
        other = *out;
        *out = better;
        placed = true;
        if (out->plan.latency <= target) return true;
    }
    return placed;
}

const char *fm_replay_place_rule(const fm_replay_facts *f, uint64_t budget, fm_cut *cut, fm_placed *out) {
    const char *best = NULL;
    uint64_t    slab = cut->slab_limit;
    for (int i = 0; i < RULES; i++) {
        fm_cut    own;
        fm_placed placed;
        uint64_t  needed;
        fm_replay_cut(f, slab, &own);
        if (!fm_replay_place_policy(f, &own, rules[i], budget, &placed, &needed)) continue;
        if (placed.plan.latency >= out->plan.latency) continue;
        *cut = own;
        *out = placed;
        best = fm_policy_name(rules[i]);
    }
    return best;
}
