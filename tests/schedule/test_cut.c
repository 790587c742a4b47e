/* Cuts as others see them: every launch and part named by what it is a part of, and a key that tells cuts apart. */
#include "schedule/cut.h"
#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"

static fm_program_cut cut_of(const model *m, const fm_replay_request *request, fm_arena *arena) {
    fm_program_cut cut;
    flashmem_error err = { 0 };
    if (fm_program_cut_make(&m->pack.packed, &m->program, request, arena, &cut, &err) != FLASHMEM_OK)
        fail_msg("%s", err.message);
    return cut;
}

/* Launches count steps and their parts up; parts of an object lie behind each other and make it whole. */
static void check(const model *m, const fm_program_cut *cut) {
    uint64_t *bytes = calloc(m->object_count + 1, sizeof *bytes);
    uint32_t *parts = calloc(m->object_count + 1, sizeof *parts);
    for (uint32_t k = 0; k < cut->launch_count; k++) {
        const fm_cut_launch *l = &cut->launches[k];
        bool                 next = k > 0 && l->step == l[-1].step;
        assert_int_equal(l->part, next ? l[-1].part + 1 : 0);
        assert_int_equal(l->step, k == 0 ? 0 : next ? l[-1].step : l[-1].step + 1);
        assert_true(l->seconds > 0);
    }
    for (uint32_t i = 0; i < cut->part_count; i++) {
        const fm_cut_part *p = &cut->parts[i];
        assert_true(p->first <= p->last && p->last < cut->launch_count);
        assert_true(i == 0 || p->first >= p[-1].first);
        assert_int_equal(p->part, parts[p->object]++);
        bytes[p->object] += p->bytes;
    }
    for (size_t o = 0; o < m->object_count; o++) assert_true(!parts[o] || bytes[o] == m->objects[o].bytes);
    free(bytes);
    free(parts);
}

static void test_cut__names_every_launch_and_part(void **state) {
    (void)state;
    int parted = 0, told_apart = 0;
    for (int seed = 0; seed < 200; seed++) {
        model     m;
        fm_arena *arena = fm_arena_create();
        srand((unsigned)seed);
        model_random(&m);
        fm_replay_request request = model_request(&m, 0);
        fm_program_cut    whole = cut_of(&m, &request, arena), again = cut_of(&m, &request, arena);
        check(&m, &whole);
        assert_true(whole.key == again.key);
        request.slab_bytes = 1 << 20;
        fm_program_cut slabs = cut_of(&m, &request, arena);
        check(&m, &slabs);
        parted += slabs.launch_count > whole.launch_count;
        assert_true((slabs.key != whole.key) == (slabs.launch_count > whole.launch_count));
        double *seconds = calloc(m.program.step_count, sizeof *seconds);
        for (uint32_t s = 0; s < m.program.step_count; s++) seconds[s] = 1;
        request.step_seconds = seconds;
        request.device.disk_bytes_per_second *= 3;
        request.budget = 1;
        fm_program_cut slower = cut_of(&m, &request, arena);
        assert_true(slower.key == slabs.key); /* times are not part of it */
        assert_true(slower.launches[0].seconds != slabs.launches[0].seconds);
        free(seconds);
        request.step_seconds = NULL;
        request.slab_bytes = 0;
        request.device.image_limit =
            4096; /* of a device that cannot have some weights whole as images, or not at all */
        fm_program_cut banded;
        flashmem_error err = { 0 };
        if (fm_program_cut_make(&m.pack.packed, &m.program, &request, arena, &banded, &err) == FLASHMEM_OK)
            told_apart += banded.key != whole.key;
        else assert_int_equal(err.status, FLASHMEM_UNSUPPORTED);
        model_free(&m);
        fm_arena_destroy(arena);
    }
    assert_true(parted > 50 && told_apart > 5);
}

static void test_cut__is_the_one_that_is_replayed(void **state) {
    (void)state;
    model          m;
    fm_arena      *arena = fm_arena_create();
    fm_replay      r;
    flashmem_error err = { 0 };
    model_gpt(&m, true, true, 16, 3, 512, 9000);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    request.slab_bytes = 1 << 20;
    fm_program_cut cut = cut_of(&m, &request, arena);
    assert_int_equal(fm_replay_make(&m.pack.packed, &m.program, &request, NULL, arena, &r, &err), FLASHMEM_OK);
    assert_int_equal(cut.launch_count, r.step_count);
    assert_int_equal(cut.part_count, r.object_count);
    for (uint32_t i = 0; i < r.object_count; i++) {
        assert_int_equal(cut.parts[i].object, r.objects[i].object);
        assert_int_equal(cut.parts[i].first_panel, r.objects[i].first_panel);
        assert_int_equal(cut.parts[i].first, r.objects[i].first);
    }
    model_free(&m);
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut__names_every_launch_and_part),
        cmocka_unit_test(test_cut__is_the_one_that_is_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
