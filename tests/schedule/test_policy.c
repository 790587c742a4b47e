/* Baseline policies: what each wishes, by hand and by definition, and their replays on random models. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/policy.h"
#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"

/* --- layers ------------------------------------------------------------------------------------------------------- */

static void check_layers(const char *steps, const char *layers) {
    fm_arena      *arena = fm_arena_create();
    uint32_t       count = (uint32_t)strlen(steps);
    fm_policy_step made[64] = { 0 };
    for (uint32_t k = 0; k < count; k++) /* capitals have weights, larger ones later in the alphabet */
        made[k] = (fm_policy_step){ .type = (uint32_t)steps[k],
                                    .weight_bytes = steps[k] < 'a' ? (uint64_t)(steps[k] - 'A' + 1) : 0 };
    fm_policy_layers(made, count, arena);
    for (uint32_t k = 0; k < count; k++)
        if (made[k].layer != (uint32_t)(layers[k] - '0'))
            fail_msg("%s: step %u in layer %u, not in %c", steps, k, made[k].layer, layers[k]);
    fm_arena_destroy(arena);
}

static void test_policy__layers_are_periods(void **state) {
    (void)state;
    check_layers("", "");
    check_layers("xAyz", "0011");               /* no period: each weight by itself */
    check_layers("eABcABcABcD", "01112223334"); /* embedding, three blocks, head */
    check_layers("ABcABcxDEfDEfDEf", "0001112333444555");
    check_layers("eeAAAB", "001234");                       /* steps without weights are no layer of their own */
    check_layers("ABcdABcdABcdxByAC", "00001111222233334"); /* what fits the largest period stays together */
}

/* --- wishes ------------------------------------------------------------------------------------------------------- */

/* Steps 0..5 of types 0 1 0 1 1 0 and layers 0 0 1 1 2 2; objects first used by 1, 2, 2, 4, 5. */
static void wish(fm_policy policy, const fm_policy_overlap *overlap, uint32_t *order, int32_t *after) {
    static const fm_timed_step   steps[6] = { { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 } };
    static const fm_timed_object objects[5] = {
        { .bytes = 8, .first = 1, .last = 1 }, { .bytes = 8, .first = 2, .last = 2 },
        { .bytes = 8, .first = 2, .last = 5 }, { .bytes = 8, .first = 4, .last = 4 },
        { .bytes = 8, .first = 5, .last = 5 },
    };
    static const fm_policy_step known[6] = {
        { .type = 0, .layer = 0 }, { .type = 1, .layer = 0 }, { .type = 0, .layer = 1 },
        { .type = 1, .layer = 1 }, { .type = 1, .layer = 2 }, { .type = 0, .layer = 2 },
    };
    fm_timed_problem p = { .steps = steps, .step_count = 6, .objects = objects, .object_count = 5, .bandwidth = 1 };
    fm_arena        *arena = fm_arena_create();
    fm_policy_wish(policy, &p, known, overlap, order, after, arena);
    fm_arena_destroy(arena);
}

static void check_wish(fm_policy policy, const fm_policy_overlap *overlap, const uint32_t *order,
                       const int32_t *after) {
    uint32_t have_order[5];
    int32_t  have_after[5];
    wish(policy, overlap, have_order, have_after);
    for (int i = 0; i < 5; i++)
        if (have_order[i] != order[i] || have_after[i] != after[i])
            fail_msg("%s: read %d is %u, object %d waits for %d", fm_policy_name(policy), i, have_order[i], i,
                     have_after[i]);
}

static void test_policy__wishes_by_hand(void **state) {
    (void)state;
    static const uint32_t   by_use[5] = { 0, 1, 2, 3, 4 }, same_type[5] = { 1, 2, 0, 4, 3 };
    static const uint8_t    preload[5] = { 0, 0, 0, 1, 0 };
    static const uint32_t   first_load[5] = { 0, 1, 1, 9, 1 };
    const fm_policy_overlap overlap = { preload, first_load, NULL, 0 };
    check_wish(FM_POLICY_PRELOAD_ALL, NULL, by_use, (const int32_t[]){ -1, -1, -1, -1, -1 });
    check_wish(FM_POLICY_LOAD_BEFORE_USE, NULL, by_use, (const int32_t[]){ 0, 1, 1, 3, 4 });
    /* while step 1 runs what step 2 needs is read, while 2 and 3 run what 4 needs */
    check_wish(FM_POLICY_ALWAYS_NEXT, NULL, by_use, (const int32_t[]){ 0, 0, 0, 1, 3 });
    /* step 5 is of the type of 2, step 4 of the type of 3 */
    check_wish(FM_POLICY_SAME_TYPE, NULL, same_type, (const int32_t[]){ 0, -1, -1, 2, 1 });
    check_wish(FM_POLICY_LAYER_BUFFERS, NULL, by_use, (const int32_t[]){ -1, -1, -1, 1, 1 });
    check_wish(FM_POLICY_PUBLISHED, &overlap, (const uint32_t[]){ 0, 3, 1, 2, 4 },
               (const int32_t[]){ -1, 0, 0, -1, 0 });
}

static void test_policy__names(void **state) {
    (void)state;
    for (uint32_t i = 0; i < FM_POLICIES; i++) {
        assert_int_equal(fm_policy_find(fm_policy_name(i)), i);
        assert_non_null(fm_policy_help(i));
    }
    assert_null(fm_policy_name(FM_POLICIES));
    assert_null(fm_policy_help(FM_POLICIES));
    assert_int_equal(fm_policy_find("no such"), FM_POLICIES);
}

/* --- replays ------------------------------------------------------------------------------------------------------ */

typedef struct overlap_arrays {
    fm_policy_overlap overlap;
    uint8_t          *preload;
    uint32_t         *first_load;
    fm_policy_load   *loads;
    size_t            count, capacity;
} overlap_arrays;

/* Any preload set, any pieces before first use, over the objects of ours for that slab size. */
static void make_overlap(overlap_arrays *x, const fm_replay *ours, fm_arena *arena) {
    x->count = x->capacity = 0;
    x->loads = NULL;
    x->preload = fm_arena_array(arena, ours->object_count, 1);
    x->first_load = fm_arena_array(arena, ours->object_count, sizeof *x->first_load);
    for (uint32_t o = 0; o < ours->object_count; o++) {
        const fm_replay_object *object = &ours->objects[o];
        x->preload[o] = object->first == 0 || model_below(4) == 0;
        x->first_load[o] = UINT32_MAX;
        if (x->preload[o]) continue;
        uint32_t step = object->first - 1 - model_below(object->first < 12 ? object->first : 12);
        uint64_t left = object->bytes;
        for (x->first_load[o] = step; left; step += 1 + model_below(2)) {
            uint64_t bytes = step + 2 < object->first && model_below(3) ? left / 2 : left;
            FM_PUSH(arena, x->loads, x->count, x->capacity) = (fm_policy_load){ o, step, bytes };
            left -= bytes;
        }
    }
    x->overlap = (fm_policy_overlap){ x->preload, x->first_load, x->loads, (uint32_t)x->count };
}

static flashmem_status make(const model *m, const fm_replay_request *request, fm_arena *arena, fm_replay *r,
                            flashmem_error *err) {
    static const fm_log log = { 0 };
    return fm_replay_make(&m->pack.packed, &m->program, request, &log, arena, r, err);
}

static double launch_zero_waits_for(const fm_replay *r) {
    double latest = 0;
    for (uint32_t o = 0; o < r->object_count; o++)
        if (r->objects[o].first == 0 && r->objects[o].arrival > latest) latest = r->objects[o].arrival;
    return latest;
}

/* Images of streamed slabs are made in the plan's pieces; preloaded ones whole, where they are first used. */
static void check_pieces(const fm_replay *ours, const fm_replay *r, const overlap_arrays *x) {
    for (uint32_t i = 0; i < r->image_count; i++) {
        const fm_replay_image   *image = &r->images[i];
        const fm_replay_object  *object = &r->objects[image->object];
        const fm_replay_convert *rows = r->converts + image->first_convert;
        uint32_t                 o = 0; /* the same object of ours */
        while (ours->objects[o].object != object->object || ours->objects[o].offset != object->offset) o++;
        if (!object->staged || x->preload[o]) {
            assert_int_equal(image->converts, 1);
            assert_int_equal(
                rows[0].before_step,
                ours->converts[ours->images[ours->objects[o].first_image + i - object->first_image].first_convert]
                    .before_step);
            continue;
        }
        uint32_t l = 0, pieces = 0;
        while (x->loads[l].object != o) l++;
        for (; l < x->count && x->loads[l].object == o; l++)
            if (pieces < image->converts && rows[pieces].before_step == x->loads[l].step) pieces++;
        assert_int_equal(pieces, image->converts);
        assert_true(object->freed == rows[pieces - 1].before_step && object->freed < ours->objects[o].first);
    }
}

/* What the policy's name promises, seen in the replay. */
static void check_promise(fm_policy policy, const fm_replay *r, const overlap_arrays *x) {
    uint32_t preloaded = 0;
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *object = &r->objects[o];
        assert_int_equal(object->wrap, 0);
        if (policy == FM_POLICY_PRELOAD_ALL) assert_true(object->resident && object->first == 0);
        if (policy == FM_POLICY_LOAD_BEFORE_USE) assert_int_equal(object->after, (int32_t)object->first - 1);
        if (policy == FM_POLICY_ALWAYS_NEXT && object->first > 0)
            for (uint32_t k = (uint32_t)(object->after + 2); k < object->first; k++)
                for (uint32_t i = 0; i < r->object_count; i++) assert_true(r->objects[i].first != k);
        preloaded += policy == FM_POLICY_PUBLISHED ? x->preload[o] : object->first == 0;
    }
    if (policy == FM_POLICY_PRELOAD_ALL || policy == FM_POLICY_PUBLISHED) {
        assert_true(r->step_count == 0 || r->steps[0].start >= launch_zero_waits_for(r) - 1e-12);
        assert_true(r->step_count == 0 || r->steps[0].object_count >= preloaded);
    }
}

static void test_policy__replays_hold(void **state) {
    (void)state;
    int      fits[FM_POLICIES] = { 0 }, refused[FM_POLICIES] = { 0 };
    uint32_t pieces = 0;
    for (int seed = 0; seed < 260; seed++) {
        model     m;
        fm_arena *arena = fm_arena_create();
        srand((unsigned)seed * 7 + 5);
        if (seed % 8 == 0) model_gpt(&m, seed % 16 == 0, true, 16, 3, 256, 9000);
        else model_random(&m);
        fm_replay         ours;
        flashmem_error    err = { 0 };
        fm_replay_request request = model_request(&m, UINT64_MAX);
        request.once = true;
        request.slab_bytes = seed % 3 ? 4 << 20 : UINT64_C(1) << 50;
        if (make(&m, &request, arena, &ours, &err) != FLASHMEM_OK) fail_msg("seed %d: %s", seed, err.message);
        request.budget = seed % 4 == 0 ? UINT64_MAX
                                       : ours.minimum + (ours.peak - ours.minimum) * (uint64_t)(seed % 4) / 3;
        for (uint32_t policy = 0; policy < FM_POLICIES; policy++) {
            overlap_arrays x = { 0 };
            fm_replay      r;
            err = (flashmem_error){ 0 };
            request.policy = fm_policy_name(policy);
            request.overlap = NULL;
            if (policy == FM_POLICY_PUBLISHED) {
                make_overlap(&x, &ours, arena);
                request.overlap = &x.overlap;
            }
            flashmem_status status = make(&m, &request, arena, &r, &err);
            if (status == FLASHMEM_BUDGET) {
                refused[policy]++;
                if (request.budget == UINT64_MAX || !strstr(err.message, "needs at least"))
                    fail_msg("seed %d, %s: %s", seed, request.policy, err.message);
                continue;
            }
            if (status == FLASHMEM_OK) status = fm_replay_verify(&m.pack.packed, &m.program, &request, &r, &err);
            if (status != FLASHMEM_OK) fail_msg("seed %d, %s: %s", seed, request.policy, err.message);
            fits[policy]++;
            if (request.budget == UINT64_MAX) check_promise((fm_policy)policy, &r, &x);
            if (policy == FM_POLICY_PUBLISHED) check_pieces(&ours, &r, &x);
            for (uint32_t i = 0; policy == FM_POLICY_PUBLISHED && i < r.image_count; i++)
                pieces += r.images[i].converts - 1;
        }
        model_free(&m);
        fm_arena_destroy(arena);
    }
    if (pieces < 200) fail_msg("%u pieces", pieces);
    for (uint32_t policy = 0; policy < FM_POLICIES; policy++)
        if (fits[policy] < 65 || (policy == FM_POLICY_PRELOAD_ALL && refused[policy] < 20))
            fail_msg("%s: %d plans, %d refused", fm_policy_name(policy), fits[policy], refused[policy]);
}

/* One run in a budget that the user set: no rule is predicted to be faster in the same memory. */
static void test_policy__none_is_faster_than_ours(void **state) {
    (void)state;
    int compared = 0, faster = 0;
    for (int seed = 0; seed < 200; seed++) {
        model             m;
        fm_arena         *arena = fm_arena_create();
        fm_replay         ours, theirs;
        flashmem_error    err = { 0 };
        fm_replay_request request;
        srand((unsigned)seed * 11 + 3);
        if (seed % 4 == 0) model_gpt(&m, seed % 8 == 0, true, 1 + (int64_t)model_below(200), 3, 512, 9000);
        else model_random(&m);
        request = model_request(&m, UINT64_MAX);
        request.device.disk_bytes_per_second = 1e8 * (double)(1 + model_below(30));
        request.once = true;
        assert_int_equal(make(&m, &request, arena, &ours, &err), FLASHMEM_OK);
        request.budget = ours.minimum + (ours.peak > ours.minimum ? model_below(ours.peak - ours.minimum) : 0);
        if (seed % 5 == 0) request.budget = ours.minimum;
        if (make(&m, &request, arena, &ours, &err) != FLASHMEM_OK) fail_msg("seed %d: %s", seed, err.message);
        if (fm_replay_verify(&m.pack.packed, &m.program, &request, &ours, &err) != FLASHMEM_OK)
            fail_msg("seed %d: %s", seed, err.message);
        for (uint32_t policy = 0; policy < FM_POLICY_PUBLISHED; policy++) {
            err = (flashmem_error){ 0 };
            request.policy = fm_policy_name(policy);
            if (make(&m, &request, arena, &theirs, &err) != FLASHMEM_OK) continue;
            compared++;
            faster += ours.latency < theirs.latency * (1 - 1e-6);
            if (ours.latency > theirs.latency * (1 + 1e-9))
                fail_msg("seed %d: %.9f s in %" PRIu64 " bytes, %s %.9f in %" PRIu64, seed, ours.latency, ours.peak,
                         request.policy, theirs.latency, theirs.peak);
        }
        request.policy = NULL;
        model_free(&m);
        fm_arena_destroy(arena);
    }
    assert_true(compared > 600 && faster > 300);
}

static void test_policy__refusals(void **state) {
    (void)state;
    model          m;
    fm_arena      *arena = fm_arena_create();
    fm_replay      ours, r;
    overlap_arrays x;
    flashmem_error err = { 0 };
    model_gpt(&m, false, true, 16, 12, 512, 9000);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    assert_int_equal(make(&m, &request, arena, &ours, &err), FLASHMEM_OK);
    make_overlap(&x, &ours, arena);
    uint64_t weights = 0;
    for (uint32_t o = 0; o < ours.object_count; o++) weights += ours.objects[o].bytes;
    request.policy = "preload-all";
    request.budget = weights / 10 > ours.minimum ? weights / 10 : ours.minimum;
    assert_true(request.budget < weights);
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_BUDGET);
    assert_non_null(strstr(err.message, "'preload-all' reads: it needs at least"));
    err = (flashmem_error){ 0 };
    request.policy = "sometimes";
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_INVALID_ARGUMENT);
    err = (flashmem_error){ 0 };
    request.policy = "published";
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "there is none here"));
    err = (flashmem_error){ 0 };
    request.policy = "always-next";
    request.overlap = &x.overlap;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_INVALID_ARGUMENT);
    model_free(&m);
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy__layers_are_periods),
        cmocka_unit_test(test_policy__wishes_by_hand),
        cmocka_unit_test(test_policy__names),
        cmocka_unit_test(test_policy__replays_hold),
        cmocka_unit_test(test_policy__none_is_faster_than_ours),
        cmocka_unit_test(test_policy__refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
