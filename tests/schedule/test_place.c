/* Placement on random lives: always valid, never below the bound, seldom far above it; its verifier against damage. */
#include <stdlib.h>
#include <string.h>

#include "schedule/place.h"
#include "tests/base/cmocka_setup.h"

enum { MOST = 120, STEPS = 60 };

static int below(int n) { return rand() % n; }

static void make_problem(fm_place_problem *p, fm_place_item *items) {
    p->steps = 1 + (uint32_t)below(STEPS);
    p->count = 1 + (uint32_t)below(MOST);
    p->items = items;
    p->region_limit = 0;
    p->good_enough = 0;
    int steps = (int)p->steps;
    for (uint32_t i = 0; i < p->count; i++) {
        fm_place_item *x = &items[i];
        *x = (fm_place_item){ .bytes = 1 + (uint64_t)below(below(5) ? 100 : 5000),
                              .align = UINT64_C(1) << below(7),
                              .from2 = 1 };
        x->from = below(steps);
        x->to = x->from + (below(3) ? below(4) : below(steps));
        if (x->to >= steps) x->to = steps - 1;
        if (below(12) == 0) x->from = 0, x->to = steps - 1;
        if (below(10) == 0 && x->to + 1 < steps && x->from == 0) { /* wraps over the end of a run */
            x->from2 = x->to + 1 + below(steps - x->to - 1);
            x->to2 = steps - 1;
        }
        if (below(40) == 0) x->from2 = x->from, x->to2 = x->to, x->from = 1, x->to = 0; /* only a second range */
    }
}

static bool lives(const fm_place_item *x, int step) {
    return (x->from <= step && step <= x->to) || (x->from2 <= step && step <= x->to2);
}

static uint64_t naive_bound(const fm_place_problem *p) {
    uint64_t bound = 0;
    for (int k = 0; k < (int)p->steps; k++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < p->count; i++)
            if (lives(&p->items[i], k)) sum += p->items[i].bytes;
        if (sum > bound) bound = sum;
    }
    return bound;
}

/* Step by step, pair by pair. */
static void check(const fm_place_problem *p, const uint64_t *region_bytes, uint32_t regions) {
    for (uint32_t i = 0; i < p->count; i++) {
        const fm_place_item *a = &p->items[i];
        assert_true(a->region < regions && a->offset % a->align == 0 &&
                    a->offset + a->bytes <= region_bytes[a->region]);
        for (uint32_t j = 0; j < i; j++) {
            const fm_place_item *b = &p->items[j];
            if (a->region != b->region || a->offset >= b->offset + b->bytes || b->offset >= a->offset + a->bytes)
                continue;
            for (int k = 0; k < (int)p->steps; k++) assert_false(lives(a, k) && lives(b, k));
        }
    }
}

static void test_place__valid_and_near_the_bound(void **state) {
    (void)state;
    double ratio = 0;
    int    count = 0, several = 0;
    srand(1);
    for (int i = 0; i < 1500; i++) {
        fm_arena        *arena = fm_arena_create();
        flashmem_error   err = { 0 };
        fm_place_item    items[MOST];
        fm_place_problem p;
        uint64_t         total, again, sum = 0, region_bytes[FM_PLACE_REGIONS];
        uint32_t         regions;
        make_problem(&p, items);
        if (below(4) == 0) p.region_limit = 5000 + (uint64_t)below(3000);
        assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_OK);
        check(&p, region_bytes, regions);
        if (fm_place_verify(&p, region_bytes, regions, &err) != FLASHMEM_OK) fail_msg("problem %d: %s", i, err.message);
        for (uint32_t r = 0; r < regions; r++) {
            sum += region_bytes[r];
            assert_true(!p.region_limit || region_bytes[r] <= p.region_limit);
        }
        assert_int_equal(sum, total);
        uint64_t bound = naive_bound(&p);
        assert_int_equal(fm_place_lower_bound(&p, arena), bound);
        assert_true(total >= bound);
        several += regions > 1;
        if (!p.region_limit) ratio += (double)total / (double)bound, count++;
        p.good_enough = UINT64_MAX; /* the first order is good enough: not better than the best of all */
        assert_int_equal(fm_place_solve(&p, &again, region_bytes, &regions, arena, &err), FLASHMEM_OK);
        assert_true(again >= total);
        fm_arena_destroy(arena);
    }
    assert_true(several > 50);
    assert_true(ratio / count < 1.15);
}

static void test_place__refuses_what_cannot_be(void **state) {
    (void)state;
    fm_arena        *arena = fm_arena_create();
    flashmem_error   err = { 0 };
    uint64_t         total, region_bytes[FM_PLACE_REGIONS];
    uint32_t         regions;
    fm_place_item    good = { .bytes = 10, .align = 8, .from = 0, .to = 3, .from2 = 1, .to2 = 0 }, item;
    fm_place_problem p = { .items = &item, .count = 1, .steps = 4 };
    item = good, item.to = 4;
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_INTERNAL);
    item = good, item.from = 3, item.to = 2;
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, NULL), FLASHMEM_INTERNAL);
    item = good, item.align = 12;
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, NULL), FLASHMEM_INTERNAL);
    item = good, p.region_limit = 9, fm_error_clear(&err);
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "10 bytes wanted in one piece"));
    fm_place_item many[FM_PLACE_REGIONS + 1];
    for (int i = 0; i <= FM_PLACE_REGIONS; i++) many[i] = good;
    p = (fm_place_problem){ .items = many, .count = FM_PLACE_REGIONS + 1, .steps = 4, .region_limit = 10 };
    fm_error_clear(&err);
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_UNSUPPORTED);
    p.count--;
    assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_OK);
    assert_int_equal(regions, FM_PLACE_REGIONS);
    fm_arena_destroy(arena);
}

/* put_early finds the first step from which some offset is free for the item's whole life. */
static void test_placer__earliest_start(void **state) {
    (void)state;
    int raised = 0, refused = 0;
    srand(2);
    for (int i = 0; i < 1500; i++) {
        fm_arena        *arena = fm_arena_create();
        fm_place_item    items[MOST];
        fm_place_problem p;
        make_problem(&p, items);
        for (uint32_t j = 0; j < p.count; j++) /* items with two ranges are not waited for */
            if (items[j].from2 <= items[j].to2)
                items[j].from = 0, items[j].to = (int)p.steps - 1, items[j].from2 = 1, items[j].to2 = 0;
        fm_placer *placer = fm_placer_create(arena, p.steps, p.count + 1, 0);
        for (uint32_t j = 0; j < p.count; j++) assert_true(fm_placer_put(placer, &items[j], UINT64_MAX / 2));
        uint64_t limit = fm_placer_total(placer, NULL, NULL);
        int      from = below((int)p.steps), latest = from + below((int)p.steps - from),
            to = latest + below((int)p.steps - latest);
        fm_place_item item = { .bytes = 1 + (uint64_t)below(300), .align = 16, .from = from, .to = to, .from2 = 1 };
        int           best = -1;
        for (int f = from; f <= latest && best < 0; f++)
            for (uint64_t at = 0; at + item.bytes <= limit && best < 0; at += 16) {
                bool free = true;
                for (uint32_t j = 0; j < p.count && free; j++) {
                    if (items[j].offset >= at + item.bytes || at >= items[j].offset + items[j].bytes) continue;
                    for (int k = f; k <= to && free; k++) free = !lives(&items[j], k);
                }
                if (free) best = f;
            }
        bool put = fm_placer_put_early(placer, &item, latest, limit);
        assert_int_equal(put, best >= 0);
        if (put) assert_int_equal(item.from, best);
        raised += put && best > from;
        refused += !put;
        assert_true(fm_placer_total(placer, NULL, NULL) == limit);
        fm_arena_destroy(arena);
    }
    assert_true(raised > 30 && refused > 100);
}

typedef struct damage {
    const char *name;
    bool (*apply)(fm_place_problem *p, uint64_t *region_bytes, uint32_t *regions, uint32_t i);
    const char *message;
} damage;

#define DAMAGE(name, condition, ...)                                                               \
    static bool name(fm_place_problem *p, uint64_t *region_bytes, uint32_t *regions, uint32_t i) { \
        (void)region_bytes, (void)regions, (void)i;                                                \
        if (!(condition)) return false;                                                            \
        __VA_ARGS__;                                                                               \
        return true;                                                                               \
    }
static bool overlap(fm_place_problem *p, uint64_t *region_bytes, uint32_t *regions, uint32_t i) {
    (void)region_bytes, (void)regions;
    for (uint32_t j = 0; j < p->count; j++) {
        bool together = false;
        for (int k = 0; k < (int)p->steps; k++)
            together = together || (lives(&p->items[i], k) && lives(&p->items[j], k));
        if (j == i || !together) continue;
        p->items[i].offset = p->items[j].offset;
        p->items[i].region = p->items[j].region;
        p->items[i].align = 1;
        return p->items[i].bytes <= p->items[j].bytes;
    }
    return false;
}
DAMAGE(misaligned, p->items[i].align > 1, p->items[i].offset++)
DAMAGE(outside, 1, p->items[i].offset = region_bytes[0] / 64 * 64 + 64)
DAMAGE(wrapping, 1, p->items[i].offset = UINT64_MAX - 63)
DAMAGE(no_region, 1, p->items[i].region = *regions)
DAMAGE(region_shrinks, p->items[i].offset + p->items[i].bytes == region_bytes[p->items[i].region],
       region_bytes[p->items[i].region]--)
DAMAGE(never_lives, 1, p->items[i].from = 1; p->items[i].to = 0; p->items[i].from2 = 1; p->items[i].to2 = 0)
DAMAGE(lives_too_long, 1, p->items[i].to = (int32_t)p->steps)
DAMAGE(lives_before, 1, p->items[i].from = -1)
DAMAGE(region_above_limit, 1, p->region_limit = region_bytes[0] - 1)

static void test_place_verify__rejects_every_damage(void **state) {
    (void)state;
    static const damage damages[] = {
        { "overlap", overlap, "overlap in region" },    { "misaligned", misaligned, "is not aligned" },
        { "outside", outside, "leaves region" },        { "wrapping", wrapping, "leaves region" },
        { "no_region", no_region, "region 1 of 1" },    { "region_shrinks", region_shrinks, "leaves region" },
        { "never_lives", never_lives, "at no step" },   { "lives_too_long", lives_too_long, "outside of" },
        { "lives_before", lives_before, "outside of" }, { "region_above_limit", region_above_limit, "at most" },
    };
    srand(3);
    for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
        int done = 0;
        for (int i = 0; i < 3000 && done < 40; i++) {
            fm_arena        *arena = fm_arena_create();
            flashmem_error   err = { 0 };
            fm_place_item    items[MOST];
            fm_place_problem p;
            uint64_t         total, region_bytes[FM_PLACE_REGIONS];
            uint32_t         regions;
            make_problem(&p, items);
            assert_int_equal(fm_place_solve(&p, &total, region_bytes, &regions, arena, &err), FLASHMEM_OK);
            if (damages[d].apply(&p, region_bytes, &regions, (uint32_t)below((int)p.count))) {
                done++;
                assert_int_equal(fm_place_verify(&p, region_bytes, regions, &err), FLASHMEM_INTERNAL);
                if (!strstr(err.message, damages[d].message)) fail_msg("%s: '%s'", damages[d].name, err.message);
            }
            fm_arena_destroy(arena);
        }
        if (done < 20) fail_msg("%s: applied %d times", damages[d].name, done);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place__valid_and_near_the_bound),
        cmocka_unit_test(test_place__refuses_what_cannot_be),
        cmocka_unit_test(test_placer__earliest_start),
        cmocka_unit_test(test_place_verify__rejects_every_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
