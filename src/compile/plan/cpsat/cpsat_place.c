/* Placement as rectangles, steps by offsets, that do not meet; the height is made least.
 *
 * Offsets are counted in the greatest unit that divides every size and alignment, so nothing is rounded.  Where every
 * size is a multiple of every alignment, whatever lies above an item that lives always can be let down by that item's
 * size: such items are put lowest, and are not part of the model. */
#include "compile/plan/cpsat/cpsat_place.h"

#include <inttypes.h>

typedef struct region {
    fm_place_problem *problem;
    fm_place_problem  inside;     /* its items alone, copies */
    uint32_t         *origin;     /* [inside.count] */
    uint64_t          unit, base; /* bytes; below base lies what lives always */
    uint64_t          bytes, bound;
    int32_t          *variables; /* [inside.count] offset / align; -1 below base */
    int32_t           height;
} region;

static uint64_t greatest_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool lives_always(const region *r, const fm_place_item *x) {
    return x->from == 0 && x->to + 1 == (int32_t)r->problem->steps;
}

static void take_items(region *r, uint32_t index, fm_arena *scratch) {
    const fm_place_problem *p = r->problem;
    r->inside = *p;
    r->inside.items = fm_arena_array(scratch, p->count, sizeof *p->items);
    r->inside.count = 0;
    r->origin = fm_arena_array(scratch, p->count, sizeof *r->origin);
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->items[i].region != index) continue;
        if (!p->items[i].bytes) {
            p->items[i].offset = 0;
            continue;
        }
        r->origin[r->inside.count] = i;
        r->inside.items[r->inside.count] = p->items[i];
        r->inside.items[r->inside.count++].region = 0;
    }
}

/* Unit, and what lives always: lowest, where that costs nothing. */
static void measure(region *r) {
    uint64_t most = 1, sizes = 0, base = 0;
    for (uint32_t i = 0; i < r->inside.count; i++) {
        const fm_place_item *x = &r->inside.items[i];
        r->unit = greatest_divisor(r->unit, greatest_divisor(x->bytes, x->align));
        sizes = greatest_divisor(sizes, x->bytes);
        if (x->align > most) most = x->align;
    }
    for (uint32_t i = 0; sizes % most == 0 && i < r->inside.count; i++)
        if (lives_always(r, &r->inside.items[i])) base += r->inside.items[i].bytes;
    r->base = base;
}

typedef struct rectangles {
    int32_t *x, *y; /* intervals */
    uint32_t count;
} rectangles;

static void add_rectangle(fm_cpsat_model *m, int32_t from, int32_t to, int32_t y, rectangles *all) {
    all->x[all->count] = fm_cpsat_interval(m, (fm_cpsat_expression){ -1, 0, from }, to - from + 1);
    all->y[all->count++] = y;
}

/* Where the item lies once what lives always is below it. */
static uint64_t let_down(const region *r, const fm_place_item *item) {
    uint64_t offset = item->offset;
    for (uint32_t i = 0; r->base && i < r->inside.count; i++) {
        const fm_place_item *x = &r->inside.items[i];
        if (lives_always(r, x) && x->offset > item->offset) offset += x->bytes;
    }
    return offset;
}

/* One rectangle per range; ranges that meet are one. */
static void add_item(region *r, fm_cpsat_model *m, uint32_t i, rectangles *all) {
    const fm_place_item *item = &r->inside.items[i];
    int64_t              size = (int64_t)(item->bytes / r->unit), step = (int64_t)(item->align / r->unit);
    int64_t              low = (int64_t)(r->base / item->align);
    int64_t              high = (int64_t)((r->bytes - item->bytes) / item->align);
    int32_t              from = item->from, to = item->to, from2 = item->from2, to2 = item->to2;
    r->variables[i] = fm_cpsat_integer(m, low, high);
    int32_t interval = fm_cpsat_interval(m, (fm_cpsat_expression){ r->variables[i], step, 0 }, size);
    if (from <= to && from2 <= to2 && from <= to2 && from2 <= to) {
        from = from < from2 ? from : from2;
        to = to > to2 ? to : to2;
        to2 = from2 - 1;
    }
    if (from <= to) add_rectangle(m, from, to, interval, all);
    if (from2 <= to2) add_rectangle(m, from2, to2, interval, all);
    fm_cpsat_term(m, r->height, 1);
    fm_cpsat_term(m, r->variables[i], -step);
    fm_cpsat_linear(m, size, FM_CPSAT_HIGH, FM_CPSAT_ALWAYS);
    fm_cpsat_hint(m, r->variables[i], (int64_t)(let_down(r, item) / item->align));
}

static void stack_base(region *r) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < r->inside.count; i++)
        if (r->base && lives_always(r, &r->inside.items[i])) {
            r->inside.items[i].offset = at;
            at += r->inside.items[i].bytes;
        }
}

static fm_cpsat_model *build(region *r, fm_arena *scratch) {
    fm_cpsat_model *m = fm_cpsat_create(scratch);
    rectangles      all = { .x = fm_arena_array(scratch, 2 * (size_t)r->inside.count, sizeof(int32_t)),
                            .y = fm_arena_array(scratch, 2 * (size_t)r->inside.count, sizeof(int32_t)) };
    r->variables = fm_arena_array(scratch, r->inside.count, sizeof *r->variables);
    r->height = fm_cpsat_integer(m, (int64_t)(r->bound / r->unit), (int64_t)(r->bytes / r->unit));
    fm_cpsat_hint(m, r->height, (int64_t)(r->bytes / r->unit));
    for (uint32_t i = 0; i < r->inside.count; i++) {
        r->variables[i] = -1;
        if (!r->base || !lives_always(r, &r->inside.items[i])) add_item(r, m, i, &all);
    }
    fm_cpsat_no_overlap_2d(m, all.x, all.y, all.count);
    fm_cpsat_term(m, r->height, 1);
    fm_cpsat_minimize(m, FM_CPSAT_LOW);
    return m;
}

static void take_values(region *r, const fm_cpsat_result *result) {
    stack_base(r);
    for (uint32_t i = 0; i < r->inside.count; i++)
        if (r->variables[i] >= 0)
            r->inside.items[i].offset = (uint64_t)result->values[r->variables[i]] * r->inside.items[i].align;
}

static uint64_t top_of(const region *r) {
    uint64_t top = 0;
    for (uint32_t i = 0; i < r->inside.count; i++) {
        uint64_t end = r->inside.items[i].offset + r->inside.items[i].bytes;
        if (end > top) top = end;
    }
    return top;
}

/* Lowers what is in one region; its bytes and what is proven of them. */
static flashmem_status lower(region *r, uint32_t index, const fm_cpsat_limits *limits, fm_arena *scratch,
                             flashmem_error *err) {
    fm_cpsat_result result;
    take_items(r, index, scratch);
    r->bytes = top_of(r);
    r->bound = fm_place_lower_bound(&r->inside, scratch);
    if (r->bytes == r->bound) return FLASHMEM_OK;
    if (r->inside.count > FM_CPSAT_MOST_RECTANGLES)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "CP-SAT: %u items to place, at most %u are tried", r->inside.count,
                       FM_CPSAT_MOST_RECTANGLES);
    measure(r);
    FM_TRY(fm_cpsat_solve(build(r, scratch), limits, &result, err));
    if (result.status == FM_CPSAT_INFEASIBLE)
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: no placement of %u items in %" PRIu64 " bytes, which hold them",
                       r->inside.count, r->bytes);
    if (result.bound > (int64_t)(r->bound / r->unit)) r->bound = (uint64_t)result.bound * r->unit;
    if (result.values) take_values(r, &result); /* else the placement there was stays */
    r->bytes = top_of(r);
    if (r->bound > r->bytes)
        return fm_fail(err, FLASHMEM_INTERNAL,
                       "CP-SAT: a placement of %" PRIu64 " bytes, proven to take at least %" PRIu64, r->bytes,
                       r->bound);
    FM_TRY(fm_place_verify(&r->inside, &r->bytes, 1, err));
    for (uint32_t i = 0; i < r->inside.count; i++) r->problem->items[r->origin[i]].offset = r->inside.items[i].offset;
    return FLASHMEM_OK;
}

flashmem_status fm_cpsat_place(fm_place_problem *problem, uint64_t *region_bytes, uint32_t regions,
                               const fm_cpsat_limits *limits, uint64_t *total, uint64_t *bound, fm_arena *scratch,
                               flashmem_error *err) {
    fm_cpsat_limits each = *limits;
    each.seconds = limits->seconds / (regions ? regions : 1);
    FM_TRY(fm_place_verify(problem, region_bytes, regions, err));
    *bound = fm_place_lower_bound(problem, scratch);
    *total = 0;
    for (uint32_t i = 0; i < regions; i++) {
        region r = { .problem = problem };
        FM_TRY(lower(&r, i, &each, scratch, err));
        region_bytes[i] = r.bytes;
        *total += r.bytes;
        if (regions == 1) *bound = r.bound;
    }
    return fm_place_verify(problem, region_bytes, regions, err);
}
