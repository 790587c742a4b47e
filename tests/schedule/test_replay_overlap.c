/* Overlap plans replayed as they are: random ones on random models, verified, painted over three runs, in little and in
 * much memory; what does not fit the cut is refused; a replay that differs from its plan is found out. */
#include "tests/base/cmocka_setup.h"
#include "tests/schedule/models.h"
#include "tests/schedule/overlaps.h"

typedef struct context {
    model             m;
    fm_replay_request request;
    made_overlap      plan;
    fm_replay         r;
    fm_arena         *arena;
} context;

static flashmem_status make(context *c, flashmem_error *err) {
    fm_error_clear(err);
    FM_TRY(fm_replay_make(&c->m.pack.packed, &c->m.program, &c->request, NULL, c->arena, &c->r, err));
    return fm_replay_verify(&c->m.pack.packed, &c->m.program, &c->request, &c->r, err);
}

/* A random model and a random plan for it. */
static void prepare(context *c, int seed) {
    static const uint64_t chunks[] = { 4096, 65536, 262144, 1 << 20, 100000 };
    fm_program_cut        cut;
    flashmem_error        err = { 0 };
    srand((unsigned)seed);
    if (seed % 8 == 0) model_gpt(&c->m, seed % 16 == 0, seed % 32 == 0, 16, 3, 256, 9000);
    else model_random(&c->m);
    c->arena = fm_arena_create();
    c->request = model_request(&c->m, UINT64_MAX);
    c->request.slab_bytes = model_below(3) ? UINT64_C(1) << (20 + model_below(3)) : 0;
    if (fm_program_cut_make(&c->m.pack.packed, &c->m.program, &c->request, c->arena, &cut, &err) != FLASHMEM_OK)
        fail_msg("seed %d: %s", seed, err.message);
    overlap_taste taste = { .chunk_bytes = chunks[model_below(5)],
                            .preload = (uint32_t)model_below(2) * (uint32_t)model_below(101),
                            .window = 1 + (uint32_t)model_below(12),
                            .loads = 1 + (uint32_t)model_below(5),
                            .seed = (uint64_t)seed };
    overlap_make(&c->plan, &cut, &c->request, &taste);
    c->request.stored = &c->plan.stored;
}

static void done(context *c) {
    overlap_free(&c->plan);
    model_free(&c->m);
    fm_arena_destroy(c->arena);
}

/* --- an independent look ------------------------------------------------------------------------------------------ */

typedef struct span {
    uint32_t region;
    uint64_t from, to;
} span;

static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->region != y->region) return x->region < y->region ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* Last step at which the object's own bytes are read: by a launch or by a conversion. */
static int64_t last_read(const context *c, uint32_t o) {
    const fm_replay        *r = &c->r;
    const fm_replay_object *x = &r->objects[o];
    if (!c->m.texture || x->weight == FM_NONE || !x->images) return x->last;
    int64_t last = 0;
    for (uint32_t i = 0; i < r->convert_count; i++)
        if (r->images[r->converts[i].image].object == o && r->converts[i].before_step > last)
            last = r->converts[i].before_step;
    for (uint32_t i = 0; i < r->arrival_count; i++) /* and nothing arrives later */
        if (r->arrivals[i].object == o && r->arrivals[i].before_step > last) last = r->arrivals[i].before_step;
    return last;
}

/* Does object o hold memory at step t, which counts on through runs? */
static bool object_lives(const context *c, uint32_t o, int64_t t) {
    const fm_replay_object *x = &c->r.objects[o];
    int64_t                 n = c->r.step_count;
    if (x->resident) return true;
    if (x->stays) return t <= last_read(c, o); /* first run only */
    for (int64_t run = t / n; run <= t / n + 1; run++) {
        int64_t from = run * n + x->after + 1 - (x->wrap ? n : 0), to = run * n + last_read(c, o);
        if (from <= t && t <= to) return true;
    }
    return false;
}

static void paint(const context *c, uint64_t budget) {
    const fm_replay *r = &c->r;
    int64_t          n = r->step_count;
    span            *spans = calloc((size_t)r->object_count + c->m.program.value_count + 1, sizeof *spans);
    for (int64_t t = 0; t < 3 * n; t++) {
        uint32_t count = 0;
        uint64_t sum = r->image_bytes + r->staging_bytes;
        for (uint32_t o = 0; o < r->object_count; o++)
            if (object_lives(c, o, t))
                spans[count++] = (span){ r->objects[o].region, r->objects[o].place,
                                         r->objects[o].place + r->objects[o].bytes };
        for (uint32_t v = 0; v < c->m.program.value_count; v++) {
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
    free(spans);
}

static void test_overlap__replayed_as_it_is_in_any_memory(void **state) {
    (void)state;
    int preloaded = 0, parts = 0, early = 0, kept_images = 0, ahead = 0, waits = 0, tight = 0;
    for (int seed = 0; seed < 400; seed++) {
        context        c = { 0 };
        flashmem_error err = { 0 };
        prepare(&c, seed);
        for (int i = 0; i < 4; i++) {
            uint64_t minimum = c.r.minimum, budgets[] = { UINT64_MAX, 0, minimum, minimum + minimum / 8 };
            c.request.budget = budgets[i];
            c.request.minimum = i == 1;
            if (make(&c, &err) != FLASHMEM_OK) fail_msg("seed %d, case %d: %s", seed, i, err.message);
            assert_true(i == 0 || c.r.minimum == minimum);
            paint(&c, i == 1 ? minimum : budgets[i]);
            tight += i > 0 && c.r.peak > minimum;
            for (uint32_t o = 0; o < c.r.object_count; o++) {
                const fm_replay_object *x = &c.r.objects[o];
                preloaded += x->preload;
                early += x->need < x->first;
                ahead += x->wrap;
                waits += x->after >= 0 && !x->wrap;
                kept_images += x->preload && x->images > 0;
            }
            for (uint32_t k = 0; k < c.r.image_count; k++) parts += c.r.images[k].converts > 1;
        }
        c.request.budget = c.r.minimum - 1;
        assert_int_equal(make(&c, &err), FLASHMEM_BUDGET);
        assert_non_null(strstr(err.message, "the overlap plan needs at least"));
        done(&c);
    }
    assert_true(preloaded > 500 && early > 500 && parts > 100 && kept_images > 50 && ahead > 100 && waits > 100 &&
                tight > 20);
}

/* Much M_peak: reads are requested early; little: late. */
static void test_overlap__m_peak_bounds_what_is_read_ahead(void **state) {
    (void)state;
    for (int texture = 0; texture < 2; texture++) {
        context        c = { .arena = fm_arena_create() };
        fm_program_cut cut;
        flashmem_error err = { 0 };
        uint64_t       peaks[2];
        model_gpt(&c.m, texture, false, 16, 4, 512, 9000);
        c.request = model_request(&c.m, UINT64_MAX);
        c.request.slab_bytes = 1 << 20;
        assert_int_equal(fm_program_cut_make(&c.m.pack.packed, &c.m.program, &c.request, c.arena, &cut, &err),
                         FLASHMEM_OK);
        overlap_make(&c.plan, &cut, &c.request, &(overlap_taste){ .chunk_bytes = 65536, .window = 2, .loads = 2 });
        c.request.stored = &c.plan.stored;
        for (int i = 0; i < 2; i++) {
            if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
            uint64_t streamed = 0; /* bytes that are requested before the run begins */
            for (uint32_t o = 0; o < c.r.object_count; o++)
                if (!c.r.objects[o].preload && c.r.objects[o].after < 0) streamed += c.r.objects[o].bytes;
            peaks[i] = c.r.peak;
            if (i == 0) assert_true(streamed <= c.plan.plan.m_peak_bytes + (4 << 20));
            else assert_true(streamed > 20 << 20);
            c.plan.plan.m_peak_bytes = UINT64_C(1) << 40;
        }
        assert_true(peaks[1] > peaks[0]);
        c.request.device.startup_seconds = 0; /* automatic, where compute is the limit: as fast, in less memory */
        for (int i = 0; i < FLASHMEM_COST_CLASSES; i++) c.request.device.flops_per_second[i] = 5e9;
        if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        double latency = c.r.latency;
        c.request.automatic = true;
        c.request.budget = UINT64_C(8) << 30;
        if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        assert_true(c.r.peak < peaks[1] / 2 && c.r.latency <= latency * 1.02);
        done(&c);
    }
}

/* --- what cannot be replayed -------------------------------------------------------------------------------------- */

static void expect_refused(context *c, flashmem_status status, const char *part) {
    flashmem_error  err = { 0 };
    flashmem_status found = make(c, &err);
    if (found != status || !strstr(err.message, part))
        fail_msg("status %d '%s', wanted '%s'", found, err.message, part);
}

static void test_overlap__refuses_other_cuts_and_broken_plans(void **state) {
    (void)state;
    context        c = { .arena = fm_arena_create() };
    fm_program_cut cut;
    flashmem_error err = { 0 };
    model_gpt(&c.m, true, false, 16, 2, 512, 9000);
    c.request = model_request(&c.m, UINT64_MAX);
    c.request.slab_bytes = 1 << 20;
    assert_int_equal(fm_program_cut_make(&c.m.pack.packed, &c.m.program, &c.request, c.arena, &cut, &err), FLASHMEM_OK);
    overlap_make(&c.plan, &cut, &c.request,
                 &(overlap_taste){ .chunk_bytes = 65536, .preload = 20, .window = 4, .loads = 3 });
    c.request.stored = &c.plan.stored;
    if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_stored_plan good = c.plan.plan;
#define REFUSED(status, text, ...)        \
    do {                                  \
        __VA_ARGS__;                      \
        expect_refused(&c, status, text); \
        c.plan.plan = good;               \
    } while (0)
    REFUSED(FLASHMEM_UNSUPPORTED, "made for another cut", c.plan.plan.slab_bytes = 2 << 20);
    REFUSED(FLASHMEM_UNSUPPORTED, "made for another cut", c.plan.plan.slab_bytes = 0);
    REFUSED(FLASHMEM_UNSUPPORTED, "made for another cut", c.plan.plan.cut_key++);
    REFUSED(FLASHMEM_BAD_PACK, "its M_peak is", c.plan.plan.m_peak_bytes = c.plan.plan.m_peak_bytes / 2);
    REFUSED(FLASHMEM_BAD_PACK, "loads 0 of", c.plan.plan.load_count = 0);
    REFUSED(FLASHMEM_BAD_PACK, "which it does not preload", c.plan.plan.preload_count--);
    REFUSED(FLASHMEM_BAD_PACK, "chunks of 0 bytes", c.plan.plan.chunk_bytes = 0);
    REFUSED(FLASHMEM_BAD_PACK, "chunks of part", c.plan.plan.chunk_bytes *= 2; c.plan.plan.m_peak_bytes *= 4);
    fm_stored_load kept = c.plan.loads[3];
    c.plan.loads[3].chunks++;
    expect_refused(&c, FLASHMEM_BAD_PACK, "chunks of part");
    c.plan.loads[3] = kept;
    c.plan.loads[3].step = c.m.program.step_count - 1;
    expect_refused(&c, FLASHMEM_BAD_PACK, "it is used by launch");
    c.plan.loads[3] = kept;
    c.plan.loads[3].step_part = 99;
    expect_refused(&c, FLASHMEM_BAD_PACK, "part 99 of step");
    c.plan.loads[3] = kept;
    c.plan.loads[3].part = 99;
    expect_refused(&c, FLASHMEM_BAD_PACK, "part 99 of object");
    c.plan.loads[3] = kept;
    fm_stored_preload preload = c.plan.preloads[0];
    c.plan.preloads[0].object = 77777;
    expect_refused(&c, FLASHMEM_BAD_PACK, "of object 77777");
    c.plan.preloads[0] = preload;
    /* A device whose images may be smaller than the plan's, but whose cut is the same, replays it; else not. */
    c.request.device.image_limit = 8192;
    if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    c.request.device.image_limit = 2048;
    c.request.slab_bytes = 0;
    assert_int_equal(fm_program_cut_make(&c.m.pack.packed, &c.m.program, &c.request, c.arena, &cut, &err), FLASHMEM_OK);
    assert_true(cut.launch_count > c.m.program.step_count); /* too high for it */
    c.request.device.image_limit = 16384;
    assert_int_equal(fm_program_cut_make(&c.m.pack.packed, &c.m.program, &c.request, c.arena, &cut, &err), FLASHMEM_OK);
    overlap_free(&c.plan);
    overlap_make(&c.plan, &cut, &c.request, &(overlap_taste){ .chunk_bytes = 65536, .window = 4, .loads = 3 });
    if (make(&c, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    c.request.device.image_limit = 2048;
    expect_refused(&c, FLASHMEM_UNSUPPORTED, "this device: 2048");
    done(&c);
}

/* --- a replay that is not its plan -------------------------------------------------------------------------------- */

typedef struct damage {
    const char *name;
    bool (*apply)(context *c); /* false: does not apply to this replay */
    const char *message;
} damage;

#define DAMAGE(name, condition, ...)                                                   \
    static bool name(context *c) {                                                     \
        fm_replay *r = &c->r;                                                          \
        uint32_t   o = (uint32_t)model_below(r->object_count);                         \
        uint32_t   a = r->arrival_count ? (uint32_t)model_below(r->arrival_count) : 0; \
        uint32_t   x = r->convert_count ? (uint32_t)model_below(r->convert_count) : 0; \
        (void)o, (void)a, (void)x;                                                     \
        if (!(condition)) return false;                                                \
        __VA_ARGS__;                                                                   \
        return true;                                                                   \
    }

DAMAGE(arrival_missing, r->arrival_count > 0, r->arrival_count--)
DAMAGE(arrival_short, r->arrivals[a].bytes > 4096, r->arrivals[a].bytes -= 4096)
DAMAGE(arrival_long, 1, r->arrivals[a].bytes += 4096)
DAMAGE(arrival_late, 1, r->arrivals[a].before_step++)
DAMAGE(arrival_early, r->arrivals[a].before_step > 0, r->arrivals[a].before_step--)
DAMAGE(arrival_of_another, r->object_count > 1, r->arrivals[a].object = (r->arrivals[a].object + 1) % r->object_count)
DAMAGE(arrival_of_none, 1, r->arrivals[a].object = r->object_count)
DAMAGE(arrival_never, 1, r->arrivals[a].before_step = r->step_count)
DAMAGE(preload_streams, r->objects[o].preload, r->objects[o].preload = 0)
DAMAGE(preload_goes, r->objects[o].stays, r->objects[o].stays = 0)
DAMAGE(stream_preloads, !r->objects[o].preload && !r->objects[o].wrap && r->objects[o].after < 0,
       r->objects[o].preload = 1)
DAMAGE(preload_leaves, r->objects[o].preload && r->objects[o].resident, r->objects[o].resident = 0)
DAMAGE(preload_waits, r->objects[o].preload, r->objects[o].after = 0)
DAMAGE(preload_wraps, r->objects[o].preload, r->objects[o].wrap = 1)
DAMAGE(need_late, r->objects[o].need < r->objects[o].first, r->objects[o].need++)
DAMAGE(need_early, r->objects[o].need > 0, r->objects[o].need--)
DAMAGE(freed_early, r->objects[o].freed > 0, r->objects[o].freed--)
DAMAGE(read_late, !r->objects[o].preload && !r->objects[o].wrap, r->objects[o].after = (int32_t)r->objects[o].need)
DAMAGE(convert_late, r->convert_count > 0, r->converts[x].before_step++)
DAMAGE(convert_early, r->convert_count > 0 && r->converts[x].before_step > 0, r->converts[x].before_step--)
DAMAGE(convert_less,
       x + 1 < r->convert_count && r->converts[x].image == r->converts[x + 1].image && r->converts[x].panels > 1,
       r->converts[x].panels--;
       r->converts[x + 1].first_panel--; r->converts[x + 1].panels++)
DAMAGE(convert_more,
       x + 1 < r->convert_count && r->converts[x].image == r->converts[x + 1].image && r->converts[x + 1].panels > 1,
       r->converts[x].panels++;
       r->converts[x + 1].first_panel++; r->converts[x + 1].panels--)
DAMAGE(time_early,
       r->arrivals[a].before_step > 0 && r->arrivals[a].bytes > 1 << 18 &&
           r->objects[r->arrivals[a].object].after >= 0 && !r->objects[r->arrivals[a].object].wrap,
       r->objects[r->arrivals[a].object].request += 1;
       r->objects[r->arrivals[a].object].arrival += 1)
DAMAGE(plan_loads_more, c->plan.plan.load_count > 0, c->plan.loads[model_below(c->plan.plan.load_count)].chunks++)
DAMAGE(plan_loads_less, c->plan.plan.load_count > 0, c->plan.plan.load_count--)
DAMAGE(plan_preloads_less, c->plan.plan.preload_count > 0, c->plan.plan.preload_count--)
DAMAGE(no_plan, r->arrival_count > 0, c->request.stored = NULL)

/* The image of a preloaded weight is used for another one. */
static bool kept_image_shared(context *c) {
    fm_replay *r = &c->r;
    for (uint32_t i = 0; i < r->image_count; i++) {
        if (!r->objects[r->images[i].object].preload) continue;
        const fm_replay_pool_image *pool = &r->pool[r->images[i].image];
        for (uint32_t j = 0; j < r->image_count; j++) {
            const fm_weight *w = &c->m.weights[r->images[j].weight];
            if (i == j || pool->width < w->k || pool->height < r->images[j].panels ||
                (pool->half != 0) != (w->format == FM_WEIGHT_F16))
                continue;
            r->images[j].image = r->images[i].image;
            return true;
        }
    }
    return false;
}

#define ROW(name, message) \
    { #name, name, message }
static const damage damages[] = {
    ROW(arrival_missing, ""),
    ROW(arrival_short, ""),
    ROW(arrival_long, ""),
    ROW(arrival_late, ""),
    ROW(arrival_early, ""),
    ROW(arrival_of_another, ""),
    ROW(arrival_of_none, "of object"),
    ROW(arrival_never, "before step"),
    ROW(preload_streams, ""),
    ROW(preload_goes, ""),
    ROW(stream_preloads, ""),
    ROW(preload_leaves, "is not kept"),
    ROW(preload_waits, "waits"),
    ROW(preload_wraps, "waits"),
    ROW(need_late, "needed by step"),
    ROW(need_early, "needed by step"),
    ROW(freed_early, "freed after"),
    ROW(read_late, ""),
    ROW(convert_late, ""),
    ROW(convert_early, ""),
    ROW(convert_less, "the overlap plan says"),
    ROW(convert_more, "the overlap plan says"),
    ROW(time_early, ""),
    ROW(plan_loads_more, "object"),
    ROW(plan_loads_less, "object"),
    ROW(plan_preloads_less, "overlap plan"),
    ROW(no_plan, ""),
    ROW(kept_image_shared, "at the same time"),
};

static void test_overlap__verifier_finds_every_damage(void **state) {
    (void)state;
    for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
        int applied = 0, missed = 0;
        for (int seed = 0; seed < 1200 && applied < 15; seed++) {
            context        c = { 0 };
            flashmem_error err = { 0 };
            prepare(&c, seed);
            c.request.minimum = seed % 3 == 0;
            if (make(&c, &err) != FLASHMEM_OK) fail_msg("seed %d: %s", seed, err.message);
            if (c.r.object_count && c.r.arrival_count && damages[d].apply(&c)) {
                applied++;
                flashmem_status status = fm_replay_verify(&c.m.pack.packed, &c.m.program, &c.request, &c.r, &err);
                if (status == FLASHMEM_OK) missed++;
                else if (status != FLASHMEM_INTERNAL || !strstr(err.message, damages[d].message))
                    fail_msg("%s: status %d '%s'", damages[d].name, status, err.message);
            }
            done(&c);
        }
        if (applied < 10 || missed) fail_msg("%s: applied %d times, missed %d", damages[d].name, applied, missed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap__replayed_as_it_is_in_any_memory),
        cmocka_unit_test(test_overlap__m_peak_bounds_what_is_read_ahead),
        cmocka_unit_test(test_overlap__refuses_other_cuts_and_broken_plans),
        cmocka_unit_test(test_overlap__verifier_finds_every_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
