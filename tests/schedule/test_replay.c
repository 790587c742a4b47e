/* Replays of random and of real-sized models: verified, checked by painting memory over three runs, at every budget
 * down to the promised minimum. */
#include <stdio.h>

#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"

/* --- an independent look: bytes in use, step by step over three runs ---------------------------------------------- */

typedef struct span {
    uint32_t region;
    uint64_t from, to;
} span;

static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->region != y->region) return x->region < y->region ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* Does object o hold memory at step t of the line of runs (t counts from the first run)? Read as early as allowed. */
static bool object_lives(const fm_replay *r, const fm_timed_object *memory, uint32_t o, int64_t t) {
    const fm_replay_object *x = &r->objects[o];
    int64_t                 n = r->step_count;
    if (x->resident) return true;
    for (int64_t run = t / n; run <= t / n + 1; run++) { /* this run's copy, or the next one's read ahead */
        int64_t from = run * n + x->after + 1 - (x->wrap ? n : 0), to = run * n + memory[o].last;
        if (from <= t && t <= to) return true;
    }
    return false;
}

static void paint(const model *m, const fm_replay *r, uint64_t budget) {
    uint32_t         n = r->step_count, most = r->object_count + m->program.value_count;
    span            *spans = calloc(most + 1, sizeof *spans);
    fm_timed_object *memory = calloc(r->object_count + 1, sizeof *memory);
    for (uint32_t o = 0; o < r->object_count; o++) {
        const fm_replay_object *x = &r->objects[o];
        const fm_replay_image  *image = &r->images[x->first_image];
        memory[o].last = m->texture && x->weight != FM_NONE && x->images
                             ? r->converts[image->first_convert + image->converts - 1].before_step
                             : x->last;
    }
    for (int64_t t = 0; t < 3 * (int64_t)n; t++) {
        uint32_t count = 0;
        uint64_t sum = r->image_bytes + r->staging_bytes;
        for (uint32_t o = 0; o < r->object_count; o++)
            if (object_lives(r, memory, o, t))
                spans[count++] = (span){ r->objects[o].region, r->objects[o].place,
                                         r->objects[o].place + r->objects[o].bytes };
        for (uint32_t v = 0; v < m->program.value_count; v++) {
            const fm_replay_value *x = &r->values[v];
            if (x->placed && x->from <= t % n && t % n <= x->to)
                spans[count++] = (span){ x->region, x->offset, x->offset + x->bytes };
        }
        qsort(spans, count, sizeof *spans, by_place);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(spans[i].to <= r->region_bytes[spans[i].region]);
            assert_true(i == 0 || spans[i].region != spans[i - 1].region || spans[i].from >= spans[i - 1].to);
            sum += spans[i].to - spans[i].from;
        }
        assert_true(sum <= r->peak && r->peak <= budget);
    }
    free(memory);
    free(spans);
}

/* Every byte of every weight that the program uses is read once per run. */
static void check_reads(const model *m, const fm_replay *r) {
    uint64_t *read = calloc(m->object_count + 1, sizeof *read);
    for (uint32_t o = 0; o < r->object_count; o++) {
        assert_true(r->objects[o].offset == read[r->objects[o].object]);
        read[r->objects[o].object] += r->objects[o].bytes;
    }
    for (size_t o = 0; o < m->object_count; o++) assert_true(read[o] == 0 || read[o] == m->objects[o].bytes);
    free(read);
}

static flashmem_status make(const model *m, const fm_replay_request *request, fm_arena *arena, fm_replay *out,
                            flashmem_error *err) {
    fm_error_clear(err);
    FM_TRY(fm_replay_make(&m->pack.packed, &m->program, request, NULL, arena, out, err));
    return fm_replay_verify(&m->pack.packed, &m->program, request, out, err);
}

static void test_replay__random_models(void **state) {
    (void)state;
    int streamed = 0, ahead = 0, kept = 0, cut = 0, images = 0, regions = 0;
    for (int seed = 0; seed < 600; seed++) {
        model          m;
        flashmem_error err = { 0 };
        srand((unsigned)seed);
        model_random(&m);
        if (fm_program_verify(&m.program, m.weights, (uint32_t)m.weight_count, m.objects, (uint32_t)m.object_count,
                              &err) != FLASHMEM_OK)
            fail_msg("seed %d: %s", seed, err.message);
        uint64_t minimum = 0;
        uint8_t *external = calloc(m.program.value_count + 1, 1);
        if (model_below(2)) external[m.program.inputs[0]] = 1;
        uint64_t limit = model_below(3) ? 0 : (16 << 20) + model_below(32 << 20);
        for (int i = 0; i < 6; i++) {
            fm_arena         *arena = fm_arena_create();
            fm_replay_request request = model_request(&m, i == 1   ? minimum
                                                          : i == 2 ? minimum + minimum / 16
                                                          : i == 3 ? minimum * 2
                                                                   : UINT64_MAX);
            fm_replay         r;
            request.minimum = i == 0;
            request.automatic = i == 4;
            if (i == 4) request.budget = UINT64_C(8) << 30;
            request.external = external;
            request.device.largest_allocation = limit;
            flashmem_status status = make(&m, &request, arena, &r, &err);
            if (status == FLASHMEM_UNSUPPORTED && limit) { /* a bundle or activation larger than a region may be */
                fm_arena_destroy(arena);
                break;
            }
            if (status != FLASHMEM_OK) fail_msg("seed %d, case %d: %s", seed, i, err.message);
            if (i == 0) minimum = r.minimum;
            assert_true(r.minimum == minimum && r.minimum >= r.minimum_bound);
            paint(&m, &r, i == 0 ? minimum : request.budget);
            check_reads(&m, &r);
            for (uint32_t o = 0; o < r.object_count; o++) {
                ahead += r.objects[o].wrap;
                kept += r.objects[o].resident;
                streamed += !r.objects[o].resident && r.objects[o].after >= 0;
            }
            cut += r.step_count > m.program.step_count;
            images += r.pool_count > 0;
            regions += r.region_count > 1;
            fm_arena_destroy(arena);
        }
        if (minimum) { /* one byte less is refused, and the message says what is needed */
            fm_arena         *arena = fm_arena_create();
            fm_replay_request request = model_request(&m, minimum - 1);
            fm_replay         r;
            char              text[32];
            request.external = external;
            request.device.largest_allocation = limit;
            snprintf(text, sizeof text, "%llu", (unsigned long long)minimum);
            assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_BUDGET);
            assert_non_null(strstr(err.message, text));
            fm_arena_destroy(arena);
        }
        free(external);
        model_free(&m);
    }
    assert_true(streamed > 1000 && ahead > 300 && kept > 1000 && cut > 300 && images > 300 && regions > 100);
}

static void test_replay__gpt_in_every_budget(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        model          m;
        flashmem_error err = { 0 };
        double         latency = -1;
        model_gpt(&m, kind & 1, kind & 2, 128, 12, 768, 50257);
        uint64_t weights = 0;
        for (size_t o = 0; o < m.object_count; o++) weights += m.objects[o].bytes;
        const uint64_t budgets[] = { UINT64_MAX, weights / 2, weights / 4, weights / 6, 34 << 20 };
        for (int i = 0; i < 5; i++) {
            fm_arena         *arena = fm_arena_create();
            fm_replay_request request = model_request(&m, budgets[i]);
            fm_replay         r;
            if (make(&m, &request, arena, &r, &err) != FLASHMEM_OK)
                fail_msg("kind %d, budget %d: %s", kind, i, err.message);
            paint(&m, &r, budgets[i]);
            check_reads(&m, &r);
            assert_true(r.minimum <= 32000000); /* 26 MB of them are the outputs */
            assert_true(r.read_depth >= 4 && r.read_bytes >= 256 << 10 && r.read_bytes <= 4 << 20);
            assert_true((uint64_t)r.read_depth * r.read_bytes <= 16 << 20);
            if (i == 0) {
                assert_true(r.resident_bytes == weights && r.peak >= weights);
                latency = r.latency;
            }
            if (i && i <= 3)
                assert_true(r.peak > budgets[i] / 10 * 9 && r.resident_bytes > 0); /* a budget is used whole */
            if (i <= 3) assert_true(r.latency <= latency * 1.1);                   /* less memory hardly costs time */
            assert_true(r.stall <= r.latency);
            fm_arena_destroy(arena);
        }
        model_free(&m);
    }
}

static void test_replay__automatic_takes_little(void **state) {
    (void)state;
    model          m;
    flashmem_error err = { 0 };
    fm_arena      *arena = fm_arena_create();
    fm_replay      whole, little, tiny;
    model_gpt(&m, false, false, 128, 12, 768, 50257);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    assert_int_equal(make(&m, &request, arena, &whole, &err), FLASHMEM_OK);
    request.automatic = true;
    request.budget = UINT64_C(8) << 30;
    assert_int_equal(make(&m, &request, arena, &little, &err), FLASHMEM_OK);
    assert_true(little.peak < whole.peak / 2);
    assert_true(little.latency <= whole.latency * 1.03);
    assert_int_equal(little.resident_bytes, 0);
    model_free(&m);
    /* A model that needs all of itself at once stays. */
    model_init(&m, false, false, 4);
    fm_program_builder *b = &m.builder;
    uint32_t in = model_value(&m, FM_VALUE_INPUT, 4096, "in"), out = model_value(&m, FM_VALUE_OUTPUT, 4096, "out");
    fm_builder_input(b, in);
    fm_builder_output(b, out);
    model_step(&m, in, FM_NONE, model_dense(&m, 20000), FM_NONE, out, 100);
    model_finish(&m);
    assert_int_equal(make(&m, &request, arena, &tiny, &err), FLASHMEM_OK);
    assert_int_equal(tiny.resident_bytes, 20480);
    model_free(&m);
    fm_arena_destroy(arena);
}

static void test_replay__slab_size_is_kept(void **state) {
    (void)state;
    model          m;
    flashmem_error err = { 0 };
    model_gpt(&m, false, false, 128, 2, 768, 50257);
    for (uint64_t slab = 2 << 20; slab <= 64 << 20; slab *= 2) {
        fm_arena         *arena = fm_arena_create();
        fm_replay_request request = model_request(&m, UINT64_MAX);
        fm_replay         r;
        request.slab_bytes = slab;
        request.read_depth = 7;
        request.read_bytes = 1234567;
        assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_OK);
        assert_true(r.slab_bytes <= slab && r.slab_bytes > slab / 4);
        assert_true(r.read_depth == 7 && r.read_bytes == 1234567 / 4096 * 4096);
        for (uint32_t o = 0; o < r.object_count; o++)
            if (r.objects[o].weight != FM_NONE && m.weights[r.objects[o].weight].kind == FM_WEIGHT_PANELS)
                assert_true(r.objects[o].bytes <= slab && r.objects[o].bytes >= 1 << 20);
        fm_arena_destroy(arena);
    }
    model_free(&m);
}

static void test_replay__tied_weight_is_cut_alike(void **state) {
    (void)state;
    model          m;
    flashmem_error err = { 0 };
    fm_arena      *arena = fm_arena_create();
    fm_replay      r;
    model_init(&m, false, false, 16);
    fm_program_builder *b = &m.builder;
    uint32_t x = model_value(&m, FM_VALUE_INPUT, 4096, "x"), y = model_value(&m, FM_VALUE_ACTIVATION, 4096, NULL);
    uint32_t z = model_value(&m, FM_VALUE_OUTPUT, 4096, "z"), w = model_panels(&m, 512, 4096),
             other = model_panels(&m, 512, 4096);
    uint32_t between = model_value(&m, FM_VALUE_ACTIVATION, 4096, NULL);
    fm_builder_input(b, x);
    fm_builder_output(b, z);
    model_matmul(&m, x, w, FM_NONE, y);
    model_matmul(&m, y, other, FM_NONE, between);
    model_matmul(&m, between, w, FM_NONE, z);
    model_finish(&m);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    request.slab_bytes = 2 << 20;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_OK);
    assert_int_equal(r.step_count, 12);
    assert_int_equal(r.object_count, 8); /* read once, alive from the first use to the last */
    for (uint32_t o = 0; o < 4; o++) {
        assert_int_equal(r.objects[o].weight, w);
        assert_int_equal(r.objects[o].first, o);
        assert_int_equal(r.objects[o].last, o + 8);
    }
    model_free(&m);
    fm_arena_destroy(arena);
}

static void test_replay__image_limits(void **state) {
    (void)state;
    model          m;
    flashmem_error err = { 0 };
    fm_arena      *arena = fm_arena_create();
    fm_replay      r;
    model_gpt(&m, true, true, 16, 1, 768, 50257);
    fm_replay_request request = model_request(&m, UINT64_MAX);
    request.device.image_limit = 3072;
    request.slab_bytes = 64 << 20;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_OK);
    for (uint32_t i = 0; i < r.pool_count; i++) assert_true(r.pool[i].width <= 3072 && r.pool[i].height <= 3072);
    assert_true(r.step_count > m.program.step_count); /* the head is 12565 panels high */
    request.device.image_limit = 2048;                /* one weight is 3072 wide */
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "3072 x"));
    request = model_request(&m, UINT64_MAX);
    request.device.memory_path = FLASHMEM_PATH_IN_PLACE;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "texture-copy"));
    request.device.memory_path = FLASHMEM_PATH_DMA;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_UNSUPPORTED);
    request.device.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    request.device.disk_bytes_per_second = 0;
    assert_int_equal(make(&m, &request, arena, &r, &err), FLASHMEM_INVALID_ARGUMENT);
    model_free(&m);
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay__random_models),
        cmocka_unit_test(test_replay__gpt_in_every_budget),
        cmocka_unit_test(test_replay__automatic_takes_little),
        cmocka_unit_test(test_replay__slab_size_is_kept),
        cmocka_unit_test(test_replay__tied_weight_is_cut_alike),
        cmocka_unit_test(test_replay__image_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
