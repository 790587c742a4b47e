/* Overlap problems of programs: a small one by hand, and the zoo's lowered for a plan. */
#include <math.h>
#include <string.h>

#include "compile/lower.h"
#include "compile/pack.h"
#include "compile/plan/problem_program.h"
#include "tests/compile/skeletons.h"
#include "tests/schedule/models.h"

/* ids -> gather rows -> x; h = x w (4 MiB), s = step(h) with a vector (in a bundle), y = s v (64 KiB, the same bundle) */
static void small(model *m) {
    enum { D = 1024, SHORT = 16 };
    model_init(m, false, false, 1);
    fm_program_builder *b = &m->builder;
    fm_shape            ids_shape = { 1, { 1 } };
    uint32_t            ids = fm_builder_value(b, FM_VALUE_INPUT, FLASHMEM_I64, 8, "ids", &ids_shape);
    uint32_t            table = model_table(m, 100, D), x = model_value(m, FM_VALUE_ACTIVATION, D * 4, NULL);
    uint32_t            h = model_value(m, FM_VALUE_ACTIVATION, D * 4, NULL);
    uint32_t            s = model_value(m, FM_VALUE_ACTIVATION, D * 4, NULL);
    uint32_t            y = model_value(m, FM_VALUE_OUTPUT, SHORT * 4, "y");
    fm_builder_input(b, ids);
    fm_builder_output(b, y);
    fm_builder_gather_rows(b, "embed", ids, fm_builder_weight(b, table, FLASHMEM_F32, 100 * D * 4, NULL), x, 1);
    model_matmul(m, x, model_panels(m, D, D), FM_NONE, h);
    model_step(m, h, FM_NONE, model_dense(m, D * 4), FM_NONE, s, 1e5);
    model_matmul(m, s, model_panels(m, D, SHORT), FM_NONE, y);
    model_finish(m);
}

static const double launch_seconds[4] = { 1e-3, 8e-4, 2e-5, 1e-4 };

/* Cuts as of->device says and makes the problem, chunks of 256 KiB. */
static void make(model *m, fm_arena *arena, uint64_t slab, fm_program_problem *of, fm_overlap_problem *p) {
    fm_replay_request request = { .device = *of->device, .step_seconds = launch_seconds, .slab_bytes = slab };
    fm_program_cut    cut;
    flashmem_error    err = { 0 };
    of->packed = &m->pack.packed;
    of->program = &m->program;
    of->cut = &cut;
    of->chunk_bytes = 1 << 18;
    of->m_peak_bytes = 500000000;
    of->lambda = 0.9;
    if (fm_program_cut_make(of->packed, of->program, &request, arena, &cut, &err) != FLASHMEM_OK ||
        fm_overlap_problem_of_program(of, arena, p, &err) != FLASHMEM_OK)
        fail_msg("%s", err.message);
}

typedef struct expected_step {
    const char       *name;
    fm_capacity_class capacity_class;
    double            seconds, growth;
} expected_step;

static void expect_steps(const fm_overlap_problem *p, const expected_step *steps, uint32_t count) {
    assert_int_equal(p->step_count, count);
    for (uint32_t l = 0; l < count; l++) {
        assert_string_equal(p->steps[l].name, steps[l].name);
        assert_int_equal(p->steps[l].capacity_class, steps[l].capacity_class);
        assert_int_equal(p->steps[l].source, l);
        assert_true(fabs(p->steps[l].seconds - steps[l].seconds) < 1e-12);
        assert_true(fabs((double)p->steps[l].capacity_bytes - steps[l].growth * steps[l].seconds * 65e9) < 1.5);
        assert_int_equal(p->steps[l].capacity, p->steps[l].capacity_bytes >> 18);
    }
}

static void expect_weight(const fm_overlap_weight *w, const char *name, uint64_t bytes, uint32_t first, uint32_t last,
                          uint32_t source, uint32_t part) {
    assert_string_equal(w->name, name);
    assert_int_equal(w->bytes, bytes);
    assert_int_equal(w->chunks, (bytes + (1 << 18) - 1) >> 18);
    assert_int_equal(w->first, first);
    assert_int_equal(w->last, last);
    assert_int_equal(w->source, source);
    assert_int_equal(w->part, part);
}

enum { MIB = 1 << 20, BUNDLE = 4096 + 65536 };

static void test_program__whole(void **state) {
    (void)state;
    static const expected_step steps[] = { { "embed", FM_CAPACITY_ELEMENTWISE, 1e-3, 0 }, /* reads rows */
                                           { "matmul", FM_CAPACITY_REUSABLE, 8e-4, 0.2 },
                                           { "step", FM_CAPACITY_ELEMENTWISE, 2e-5, 3 },
                                           { "matmul", FM_CAPACITY_REUSABLE, 1e-4, 0.2 } };
    fm_arena                  *arena = fm_arena_create();
    flashmem_device            device;
    fm_program_problem         of = { .device = &device };
    fm_overlap_problem         p;
    model                      m;
    small(&m);
    flashmem_device_init(&device);
    make(&m, arena, 0, &of, &p);
    expect_steps(&p, steps, 4);
    assert_int_equal(p.weight_count, 2);
    assert_int_equal(p.m_peak, 500000000 >> 18);
    expect_weight(&p.weights[0], "w", 4 * MIB, 1, 1, 0, 0);
    expect_weight(&p.weights[1], "bundle#1", BUNDLE, 2, 3, 1, 0);
    model_free(&m);
    fm_arena_destroy(arena);
}

/* A part has half of the time without the launch, 6 us, and a launch. */
static void test_program__in_slabs(void **state) {
    (void)state;
    static const expected_step steps[] = { { "embed", FM_CAPACITY_ELEMENTWISE, 1e-3, 0 }, /* reads rows */
                                           { "matmul", FM_CAPACITY_REUSABLE, 4.03e-4, 0.2 },
                                           { "matmul#1", FM_CAPACITY_REUSABLE, 4.03e-4, 0.2 },
                                           { "step", FM_CAPACITY_ELEMENTWISE, 2e-5, 3 },
                                           { "matmul", FM_CAPACITY_REUSABLE, 1e-4, 0.2 } };
    fm_arena                  *arena = fm_arena_create();
    flashmem_device            device;
    fm_program_problem         of = { .device = &device };
    fm_overlap_problem         p;
    model                      m;
    small(&m);
    flashmem_device_init(&device);
    make(&m, arena, 2 * MIB, &of, &p);
    expect_steps(&p, steps, 5);
    assert_int_equal(p.weight_count, 3);
    expect_weight(&p.weights[0], "w#0", 2 * MIB, 1, 1, 0, 0);
    expect_weight(&p.weights[1], "w#1", 2 * MIB, 2, 2, 1, 1);
    expect_weight(&p.weights[2], "bundle#1", BUNDLE, 3, 4, 2, 0);
    model_free(&m);
    fm_arena_destroy(arena);
}

static uint64_t learnt(void *user, uint32_t launch) { return *(const uint64_t *)user * launch; }

static void test_program__capacities_are_the_device_s_or_given(void **state) {
    (void)state;
    uint64_t           each = 20 * MIB;
    fm_arena          *arena = fm_arena_create();
    flashmem_device    device;
    fm_program_problem of = { .device = &device };
    fm_overlap_problem p;
    model              m;
    small(&m);
    flashmem_device_init(&device);
    device.growth[FLASHMEM_CAPACITY_REUSABLE] = 0.5;
    device.load_bytes_per_second = 10e9;
    make(&m, arena, 0, &of, &p);
    assert_int_equal(p.steps[1].capacity_bytes, 0.5 * 8e-4 * 10e9);
    device.load_bytes_per_second = 1e300;
    make(&m, arena, 0, &of, &p);
    assert_int_equal(p.steps[1].capacity, UINT32_MAX);
    of.capacity = learnt;
    of.user = &each;
    make(&m, arena, 0, &of, &p);
    for (uint32_t l = 0; l < 4; l++) assert_int_equal(p.steps[l].capacity_bytes, l * each);
    model_free(&m);
    fm_arena_destroy(arena);
}

/* Every model, in the layouts, whole and in slabs of 16 MiB: a problem of all that its objects hold. */
static void test_program__of_every_model_of_the_zoo(void **state) {
    (void)state;
    for (size_t i = 0; i < SKELETONS; i++) {
        const char *name = skeleton_names[i];
        char        path[256];
        skeleton    s;
        if (!skeleton_exists(name, path)) skip();
        skeleton_import(&s, name, path);
        skeleton_optimise(&s, name);
        for (int way = 0; way < 4; way++) {
            bool                     texture = way & 1;
            flashmem_compile_options o = { .layout = texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU,
                                           .weights = FLASHMEM_WEIGHTS_FP16 };
            fm_replay_request        request = { .slab_bytes = way & 2 ? 16 << 20 : 0 };
            fm_lower                 l;
            fm_pack_layout           layout;
            fm_program_cut           cut;
            fm_program_problem       of;
            fm_overlap_problem       p;
            uint64_t                 bytes = 0, held = 0;
            double                   seconds = 0, launches = 0;
            fm_lower_init(&l, &s.graph, &o, texture ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
            skeleton_try(&s, fm_lower_graph(&l, &s.error), name);
            fm_program program = fm_builder_program(&l.builder);
            skeleton_try(&s, fm_pack_lay_out(&l, &program, &layout, &s.error), name);
            fm_packed packed = { l.records, (uint32_t)l.weight_count, layout.objects, layout.object_count };
            flashmem_device_init(&request.device);
            if (texture) request.device.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
            skeleton_try(&s, fm_program_cut_make(&packed, &program, &request, s.arena, &cut, &s.error), name);
            of = (fm_program_problem){ .packed = &packed,
                                       .program = &program,
                                       .cut = &cut,
                                       .device = &request.device,
                                       .chunk_bytes = 1 << 18,
                                       .m_peak_bytes = 500000000,
                                       .lambda = 0.9 };
            skeleton_try(&s, fm_overlap_problem_of_program(&of, s.arena, &p, &s.error), name);
            for (uint32_t w = 0; w < p.weight_count; w++) bytes += p.weights[w].bytes;
            for (uint32_t k = 0; k < layout.object_count; k++) held += layout.objects[k].bytes;
            for (uint32_t k = 0; k < p.step_count; k++) seconds += p.steps[k].seconds;
            for (uint32_t k = 0; k < cut.launch_count; k++) launches += cut.launches[k].seconds;
            if (way >= 2)
                print_message("%-18s %-7s %5u steps, %5u weights, %9.1f MiB\n", name, texture ? "texture" : "cpu",
                              p.step_count, p.weight_count, (double)bytes / MIB);
            assert_int_equal(bytes, held);
            assert_true(seconds == launches && seconds > 0);
            assert_true(p.step_count >= program.step_count && p.weight_count >= layout.object_count);
        }
        skeleton_drop(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program__whole),
        cmocka_unit_test(test_program__in_slabs),
        cmocka_unit_test(test_program__capacities_are_the_device_s_or_given),
        cmocka_unit_test(test_program__of_every_model_of_the_zoo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
