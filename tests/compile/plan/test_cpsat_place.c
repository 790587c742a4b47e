/* Placement by CP-SAT: as small as trying everything finds, never larger than what it starts from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/plan/cpsat/cpsat_place.h"
#include "tests/base/cmocka_setup.h"

enum { MOST = 60 };

static const fm_cpsat_limits plain = { .seconds = 20, .threads = 1 };

static int below(int n) { return rand() % n; }

static void make_problem(fm_place_problem *p, fm_place_item *items, int steps, int count, int sizes, int aligns) {
    *p = (fm_place_problem){ .items = items, .count = (uint32_t)count, .steps = (uint32_t)steps };
    for (int i = 0; i < count; i++) {
        fm_place_item *x = &items[i];
        *x = (fm_place_item){ .bytes = 1 + (uint64_t)below(sizes), .align = UINT64_C(1) << below(aligns), .from2 = 1 };
        x->from = below(steps);
        x->to = x->from + below(3);
        if (x->to >= steps) x->to = steps - 1;
        if (below(6) == 0) x->from = 0, x->to = steps - 1;
        else if (below(12) == 0) x->from2 = x->to, x->to2 = x->to + below(steps - x->to); /* ranges that meet */
        else if (below(6) == 0 && x->from == 0 && x->to + 1 < steps) { /* wraps over the end of a run */
            x->from2 = x->to + 1 + below(steps - x->to - 1);
            x->to2 = steps - 1;
        }
    }
}

static bool lives(const fm_place_item *x, int step) {
    return (x->from <= step && step <= x->to) || (x->from2 <= step && step <= x->to2);
}

static bool meet(const fm_place_problem *p, const fm_place_item *a, const fm_place_item *b) {
    if (a->offset >= b->offset + b->bytes || b->offset >= a->offset + a->bytes) return false;
    for (int k = 0; k < (int)p->steps; k++)
        if (lives(a, k) && lives(b, k)) return true;
    return false;
}

/* Every offset of every item below the height. */
static bool fits(fm_place_problem *p, uint32_t i, uint64_t height) {
    if (i == p->count) return true;
    fm_place_item *x = &p->items[i];
    for (x->offset = 0; x->offset + x->bytes <= height; x->offset += x->align) {
        uint32_t j = 0;
        while (j < i && !meet(p, x, &p->items[j])) j++;
        if (j == i && fits(p, i + 1, height)) return true;
    }
    return false;
}

static uint64_t brute_force(fm_place_problem *p) {
    uint64_t height = 0;
    while (!fits(p, 0, height)) height++;
    return height;
}

static void must(flashmem_status status, const flashmem_error *err) {
    if (status != FLASHMEM_OK) fail_msg("%s", err->message);
}

static void test_cpsat_place__is_the_least(void **state) {
    (void)state;
    int better = 0, solved = 0;
    srand(11);
    for (int i = 0; i < 3000; i++) {
        fm_arena        *arena = fm_arena_create();
        flashmem_error   err = { 0 };
        fm_place_item    items[7], copies[7];
        fm_place_problem p, copy;
        uint64_t         total, first, bound, region_bytes[FM_PLACE_REGIONS];
        uint32_t         regions;
        make_problem(&p, items, 2 + below(5), 1 + below(7), 5, 1 + i % 3);
        memcpy(copies, items, sizeof items);
        copy = p;
        copy.items = copies;
        must(fm_place_solve(&p, &first, region_bytes, &regions, arena, &err), &err);
        must(fm_cpsat_place(&p, region_bytes, regions, &plain, &total, &bound, arena, &err), &err);
        assert_int_equal(total, brute_force(&copy));
        assert_int_equal(bound, total);
        assert_int_equal(region_bytes[0], total);
        must(fm_place_verify(&p, region_bytes, regions, &err), &err);
        better += total < first;
        solved += first > fm_place_lower_bound(&p, arena);
        fm_arena_destroy(arena);
    }
    printf("%d solved, %d of them lowered\n", solved, better);
    assert_true(solved >= 100 && better > 0);
}

/* Sizes of pages: larger placements come closer to the sum of what lives, whatever the sizes count in. */
static void test_cpsat_place__lowers_larger_ones(void **state) {
    (void)state;
    uint64_t before = 0, after = 0, bounds = 0;
    int      proven = 0;
    srand(5);
    for (int i = 0; i < 12; i++) {
        fm_arena        *arena = fm_arena_create();
        flashmem_error   err = { 0 };
        fm_cpsat_limits  limits = { .seconds = 0.5, .threads = 2 };
        fm_place_item    items[MOST];
        fm_place_problem p;
        uint64_t         total, first, bound, region_bytes[FM_PLACE_REGIONS];
        uint32_t         regions;
        make_problem(&p, items, 40, MOST, 40, 1);
        for (int k = 0; k < MOST; k++) {
            items[k].bytes *= 4096;
            items[k].align = 4096 >> below(3);
            if (items[k].to - items[k].from < 30) items[k].to = items[k].from + below(40 - items[k].from) % 12;
            if (items[k].from2 <= items[k].to && items[k].to2 >= items[k].from) items[k].to = items[k].from2 - 1;
        }
        must(fm_place_solve(&p, &first, region_bytes, &regions, arena, &err), &err);
        must(fm_cpsat_place(&p, region_bytes, regions, &limits, &total, &bound, arena, &err), &err);
        assert_true(total <= first && bound <= total && bound >= fm_place_lower_bound(&p, arena));
        must(fm_place_verify(&p, region_bytes, regions, &err), &err);
        before += first;
        after += total;
        bounds += bound;
        proven += bound == total;
        fm_arena_destroy(arena);
    }
    printf("first fit %.1f %% above the bound, CP-SAT %.1f %%; %d of 12 proven\n",
           100 * ((double)before / (double)bounds - 1), 100 * ((double)after / (double)bounds - 1), proven);
    assert_true(after < before);
    assert_true(proven >= 6);
}

/* Regions are lowered each on its own. */
static void test_cpsat_place__keeps_items_in_their_region(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    flashmem_error err = { 0 };
    fm_place_item  items[] = { /* in each region 6 would do */
                              { 4, 1, 0, 1, 1, 0, 0, 0 },
                              { 2, 1, 1, 2, 1, 0, 0, 5 },
                              { 0, 1, 1, 2, 1, 0, 0, 7 },
                              { 4, 2, 0, 1, 1, 0, 1, 0 },
                              { 2, 2, 1, 2, 1, 0, 1, 8 }
    };
    fm_place_problem p = { .items = items, .count = 5, .steps = 3, .region_limit = 10 };
    uint64_t         region_bytes[2] = { 7, 10 }, total, bound;
    must(fm_cpsat_place(&p, region_bytes, 2, &plain, &total, &bound, arena, &err), &err);
    assert_int_equal(region_bytes[0], 6);
    assert_int_equal(region_bytes[1], 6);
    assert_int_equal(total, 12);
    assert_int_equal(bound, 12);
    assert_int_equal(items[1].region, 0);
    assert_int_equal(items[4].region, 1);
    fm_arena_destroy(arena);
}

static void test_cpsat_place__wants_a_placement_to_begin_with(void **state) {
    (void)state;
    fm_arena        *arena = fm_arena_create();
    flashmem_error   err = { 0 };
    fm_place_item    items[] = { { 4, 1, 0, 1, 1, 0, 0, 0 }, { 2, 1, 1, 2, 1, 0, 0, 3 } };
    fm_place_problem p = { .items = items, .count = 2, .steps = 3 };
    uint64_t         region_bytes[1] = { 9 }, total, bound;
    assert_int_equal(fm_cpsat_place(&p, region_bytes, 1, &plain, &total, &bound, arena, &err), FLASHMEM_INTERNAL);
    assert_non_null(strstr(err.message, "overlap"));
    fm_arena_destroy(arena);
}

/* Thousands of items that do not lie closest: refused, with their number; closest ones need no solver. */
static void test_cpsat_place__refuses_what_is_too_large(void **state) {
    (void)state;
    enum { COUNT = FM_CPSAT_MOST_RECTANGLES + 1 };
    fm_arena        *arena = fm_arena_create();
    flashmem_error   err = { 0 };
    fm_place_item   *items = fm_arena_array(arena, COUNT, sizeof *items);
    fm_place_problem p = { .items = items, .count = COUNT, .steps = COUNT };
    uint64_t         region_bytes[1] = { 8 }, total, bound;
    for (int i = 0; i < COUNT; i++) items[i] = (fm_place_item){ 4, 1, i, i, 1, 0, 0, 0 };
    must(fm_cpsat_place(&p, region_bytes, 1, &plain, &total, &bound, arena, &err), &err);
    assert_int_equal(total, 4);
    items[7].offset = 4;
    region_bytes[0] = 8;
    assert_int_equal(fm_cpsat_place(&p, region_bytes, 1, &plain, &total, &bound, arena, &err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "4001 items"));
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpsat_place__is_the_least),
        cmocka_unit_test(test_cpsat_place__lowers_larger_ones),
        cmocka_unit_test(test_cpsat_place__keeps_items_in_their_region),
        cmocka_unit_test(test_cpsat_place__wants_a_placement_to_begin_with),
        cmocka_unit_test(test_cpsat_place__refuses_what_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
