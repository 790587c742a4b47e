/* Ordering for the least peak, region by region. */
#include "compile/plan/cpsat/cpsat_order.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat_order_slots.h"

/* An even share of what is left of the time. */
static fm_cpsat_limits limits_until(const fm_cpsat_limits *limits, double deadline, uint32_t shares) {
    fm_cpsat_limits left = *limits;
    if (limits->seconds > 0) {
        left.seconds = (deadline - fm_clock_seconds()) / shares;
        if (left.seconds < 0.01) left.seconds = 0.01;
    }
    return left;
}

typedef struct region { /* slots whose steps have no fixed place */
    uint32_t from, to;
    uint64_t peak; /* in the order that is known */
} region;

typedef struct peak_search {
    fm_order_slots         slots;
    const fm_cpsat_limits *limits;
    double                 deadline;
    uint32_t              *order;
    region                *regions;
    uint32_t               count;
    uint64_t               bound;
} peak_search;

static int by_falling_peak(const void *a, const void *b) {
    const region *x = a, *y = b;
    if (x->peak != y->peak) return x->peak > y->peak ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* What is alive at places that are fixed is the same in every order. */
static void find_regions(peak_search *p) {
    const fm_order_slots *s = &p->slots;
    const uint64_t       *usage = fm_order_usage(s, p->order);
    bool                  inside = false;
    p->regions = fm_arena_array(s->arena, s->count, sizeof *p->regions);
    for (uint32_t i = 0; i < s->count; i++) {
        bool fixed = s->earliest[p->order[i]] == s->latest[p->order[i]];
        if (fixed && usage[i] > p->bound) p->bound = usage[i];
        if (!fixed && !inside) p->regions[p->count++] = (region){ .from = i };
        inside = !fixed;
        if (fixed) continue;
        region *r = &p->regions[p->count - 1];
        r->to = i;
        if (usage[i] > r->peak) r->peak = usage[i];
    }
    qsort(p->regions, p->count, sizeof *p->regions, by_falling_peak);
}

static void add_usage(fm_order_model *b, const fm_order_thing *things, uint32_t count, uint32_t slot,
                      int64_t *constant) {
    for (uint32_t i = 0; i < count; i++)
        fm_order_term(b, fm_order_alive(b, &things[i], slot), -(int64_t)things[i].bytes, constant);
}

/* The least height that is at least the bound and at least what is alive at each slot of the region. */
static flashmem_status solve_region(peak_search *p, const region *r, const fm_cpsat_limits *limits, fm_arena *scratch,
                                    flashmem_error *err) {
    const fm_order_problem *problem = p->slots.problem;
    fm_order_model          b;
    fm_cpsat_result         result;
    fm_order_model_init(&b, &p->slots, r->from, r->to, scratch);
    int32_t height = fm_cpsat_integer(b.m, (int64_t)p->bound, (int64_t)r->peak);
    for (uint32_t slot = r->from; slot <= r->to; slot++) {
        int64_t constant = 0;
        fm_cpsat_term(b.m, height, 1);
        add_usage(&b, p->slots.values, problem->value_count, slot, &constant);
        add_usage(&b, p->slots.objects, problem->object_count, slot, &constant);
        fm_cpsat_linear(b.m, -constant, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    }
    fm_cpsat_term(b.m, height, 1);
    fm_cpsat_minimize(b.m, FM_CPSAT_LOW);
    fm_order_hint(&b, p->order);
    fm_cpsat_hint(b.m, height, (int64_t)r->peak);
    FM_TRY(fm_cpsat_solve(b.m, limits, &result, err));
    if (result.status == FM_CPSAT_INFEASIBLE)
        return fm_fail(err, FLASHMEM_INTERNAL,
                       "CP-SAT: no order of %" PRIu32 " steps in the %" PRIu64 " bytes of the present one",
                       r->to - r->from + 1, r->peak);
    if (result.bound > (int64_t)p->bound) p->bound = (uint64_t)result.bound;
    if (result.values) fm_order_take(&b, result.values, p->order);
    return FLASHMEM_OK;
}

static flashmem_status lower_region(peak_search *p, const region *r, const fm_cpsat_limits *limits,
                                    flashmem_error *err) {
    fm_arena *scratch = fm_arena_create();
    if (!scratch || fm_arena_trap(scratch)) {
        fm_arena_destroy(scratch);
        return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for the order of %" PRIu32 " steps",
                       r->to - r->from + 1);
    }
    flashmem_status status = solve_region(p, r, limits, scratch, err);
    fm_arena_destroy(scratch);
    return status;
}

flashmem_status fm_cpsat_order_peak(const fm_order_problem *problem, const fm_cpsat_limits *limits, fm_arena *arena,
                                    fm_order_plan *plan, flashmem_error *err) {
    peak_search p = { .limits = limits, .deadline = fm_clock_seconds() + limits->seconds };
    *plan = (fm_order_plan){ .order = fm_order_identity(problem, arena) };
    FM_TRY(fm_order_slots_make(problem, false, arena, &p.slots, err));
    p.order = plan->order;
    if (problem->step_count) find_regions(&p);
    for (uint32_t i = 0; i < p.count; i++)
        if (p.regions[i].peak > p.bound) FM_TRY(fm_order_check_size(&p.slots, p.regions[i].from, p.regions[i].to, err));
    for (uint32_t i = 0; i < p.count; i++) {
        fm_cpsat_limits left = limits_until(limits, p.deadline, p.count - i);
        if (p.regions[i].peak > p.bound) FM_TRY(lower_region(&p, &p.regions[i], &left, err));
    }
    FM_TRY(fm_order_verify(&p.slots, plan->order, err));
    plan->peak = fm_order_peak(&p.slots, plan->order);
    plan->bound = p.bound;
    plan->optimal = plan->peak == plan->bound;
    if (plan->peak >= plan->bound) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "order: a peak of %" PRIu64 " bytes, proven to be at least %" PRIu64,
                   plan->peak, plan->bound);
}
