/* Operators that no kernel runs: their planned steps, what they leave behind when kernels refuse them half-way, who
 * accepts such programs; and every model of the zoo lowered for a plan. */
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "compile/lower_internal.h"
#include "compile/pack.h"
#include "flashmem/planner.h"
#include "tests/compile/imported.h"
#include "tests/compile/skeletons.h"

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* --- graphs ------------------------------------------------------------------------------------------------------- */

/* A float32 constant whose bytes are never read. */
static void constant(wire *graph, const char *name, const char *dims) {
    wire_message(graph, GRAPH_INITIALIZER, tensor_external(name, FLASHMEM_F32, dims, "absent.bin", NULL, NULL));
}

/* x [1, 128, 4, 8, 8] -> Conv, three spatial axes -> c [1, 256, 2, 6, 6] -> Relu */
static wire convolution(void) {
    wire g = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "1x128x4x8x8");
    constant(&g, "w", "256x128x3x3x3");
    constant(&g, "b", "256");
    node(&g, "Conv", "x,w,b", "c", NULL);
    node(&g, "Relu", "c", "y", NULL);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    return model_of(g, 17);
}

static fm_program lower(imported *i, fm_lower *l, wire model, const flashmem_compile_options *o) {
    import_for(i, model, true);
    expect_ok(i);
    fm_lower_init(l, &i->graph, o, o->layout == FLASHMEM_LAYOUT_TEXTURE ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
    if (fm_lower_graph(l, &i->error) != FLASHMEM_OK) fail_msg("%s", i->error.message);
    return fm_builder_program(&l->builder);
}

static const fm_step *step_named(const fm_program *p, const char *name, uint32_t nth) {
    for (uint32_t s = 0; s < p->step_count; s++)
        if (strcmp(fm_program_string(p, p->steps[s].name), name) == 0 && nth-- == 0) return &p->steps[s];
    fail_msg("no step '%s'", name);
    return NULL;
}

static uint32_t count_kind(const fm_program *p, fm_step_kind kind) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < p->step_count; s++) count += p->steps[s].kind == (uint32_t)kind;
    return count;
}

/* Laid out, the program is one that plans accept and packs do not. */
static void expect_for_plans(imported *i, fm_lower *l, const fm_program *p) {
    fm_pack_layout layout;
    assert_int_equal(fm_pack_lay_out(l, p, &layout, &i->error), FLASHMEM_OK);
    uint32_t count = (uint32_t)l->weight_count;
    if (fm_program_verify_planned(p, l->records, count, layout.objects, layout.object_count, &i->error) != FLASHMEM_OK)
        fail_msg("%s", i->error.message);
    assert_int_equal(fm_program_verify(p, l->records, count, layout.objects, layout.object_count, &i->error),
                     FLASHMEM_BAD_PACK);
    assert_non_null(strstr(i->error.message, "planned only"));
}

/* --- planned steps ------------------------------------------------------------------------------------------------ */

enum { MACS = 256 * 2 * 6 * 6 * 128 * 27 };

static void test_planned__a_convolution_has_its_weight_packed(void **state) {
    (void)state;
    for (int texture = 0; texture < 2; texture++) {
        flashmem_compile_options o = { .weights = FLASHMEM_WEIGHTS_FP16,
                                       .layout = texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU };
        imported                 i;
        fm_lower                 l;
        fm_program               p = lower(&i, &l, convolution(), &o);
        const fm_step           *s = step_named(&p, "c", 0);
        assert_int_equal(p.step_count, 2);
        assert_int_equal(l.weight_count, 2); /* b, w */
        assert_int_equal(s->kind, FM_STEP_PLANNED);
        assert_string_equal(fm_program_string(&p, s->kernel), "Conv");
        assert_int_equal(s->cost_class, FLASHMEM_COST_CONV);
        assert_int_equal(fm_program_expr(&p, s->flops), 2 * (int64_t)MACS);
        assert_int_equal(fm_program_expr(&p, s->bytes), 4 * (128 * 4 * 8 * 8 + 256 * 2 * 6 * 6));
        const fm_weight *w = &l.records[p.values[s->split_value].weight];
        assert_int_equal(w->kind, FM_WEIGHT_PANELS);
        assert_int_equal(w->format, FM_WEIGHT_F16);
        assert_int_equal(w->k, 128 * 27);
        assert_int_equal(w->n, 256);
        assert_int_equal(step_named(&p, "y", 0)->kind, FM_STEP_KERNEL);
        expect_for_plans(&i, &l, &p);
        drop(&i);
    }
}

/* K 3456 in images of 1024: four steps, the first three into sums, each adding the one before. */
static void test_planned__long_sums_are_bands(void **state) {
    (void)state;
    flashmem_compile_options o = { .layout = FLASHMEM_LAYOUT_TEXTURE, .image_limit = 1024 };
    imported                 i;
    fm_lower                 l;
    fm_program               p = lower(&i, &l, convolution(), &o);
    int64_t                  flops = 0;
    uint64_t                 k = 0;
    uint32_t                 before = FM_NONE;
    assert_int_equal(count_kind(&p, FM_STEP_PLANNED), 4);
    for (uint32_t band = 0; band < 4; band++) {
        const fm_step *s = step_named(&p, "c", band);
        uint32_t       written = FM_NONE;
        bool           adds = false;
        for (uint32_t a = s->first_arg; a < s->first_arg + s->arg_count; a++) {
            adds = adds || (p.args[a].kind == FM_ARG_READ && p.args[a].value == before);
            if (p.args[a].kind == FM_ARG_WRITE) written = p.args[a].value;
        }
        assert_int_equal(adds, band > 0);
        before = written;
        flops += fm_program_expr(&p, s->flops);
        k += l.records[p.values[s->split_value].weight].k;
        assert_true(l.records[p.values[s->split_value].weight].k <= 1024);
    }
    assert_int_equal(k, 128 * 27);
    assert_in_range(flops, 2 * (int64_t)MACS - 4, 2 * (int64_t)MACS);
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

static void test_planned__what_is_no_product_has_dense_weights(void **state) {
    (void)state;
    static const flashmem_compile_options o = { .weights = FLASHMEM_WEIGHTS_FP16 };
    imported                              i;
    fm_lower                              l;
    wire                                  g = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "1x8x4x4x4");
    constant(&g, "w", "8x6x2x2x2");
    node(&g, "ConvTranspose", "x,w", "c", NULL);
    wire          attrs = { 0 };
    const int64_t kernel[3] = { 2, 2, 2 };
    attr_ints(&attrs, "kernel_shape", kernel, 3);
    node(&g, "MaxPool", "c", "m", &attrs);
    value_info(&g, GRAPH_OUTPUT, "m", FLASHMEM_F32, NULL);
    fm_program     p = lower(&i, &l, model_of(g, 17), &o);
    const fm_step *c = step_named(&p, "c", 0), *m = step_named(&p, "m", 0);
    assert_int_equal(c->kind, FM_STEP_PLANNED);
    assert_int_equal(c->cost_class, FLASHMEM_COST_CONV);
    assert_int_equal(c->split_value, FM_NONE);
    assert_int_equal(fm_program_expr(&p, c->flops), 2 * 8 * 64 * 6 * 8);
    assert_int_equal(l.weight_count, 1);
    assert_int_equal(l.records[0].kind, FM_WEIGHT_DENSE);
    assert_int_equal(l.records[0].bytes, 8 * 6 * 8 * 4);
    assert_int_equal(m->kind, FM_STEP_PLANNED);
    assert_int_equal(m->cost_class, FLASHMEM_COST_NORM);
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

/* Both write their parts of the concatenation, which is then nothing to run. */
static void test_planned__steps_write_into_concatenations(void **state) {
    (void)state;
    static const flashmem_compile_options o = { 0 };
    imported                              i;
    fm_lower                              l;
    wire                                  g = { 0 }, attrs = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "1x8x4x4x4");
    constant(&g, "v", "16x8x1x1x1");
    constant(&g, "w", "32x8x1x1x1");
    node(&g, "Conv", "x,v", "a", NULL);
    node(&g, "Conv", "x,w", "b", NULL);
    attr_int(&attrs, "axis", 1);
    node(&g, "Concat", "a,b", "y", &attrs);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    fm_program p = lower(&i, &l, model_of(g, 17), &o);
    assert_int_equal(p.step_count, 2);
    for (uint32_t s = 0; s < 2; s++) {
        const fm_arg *args = p.args + p.steps[s].first_arg;
        for (uint32_t a = 0; a < p.steps[s].arg_count; a++)
            if (args[a].kind == FM_ARG_WRITE) assert_int_equal(args[a].value, p.outputs[0]);
    }
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

/* Einsum sums the labels x and y away in two steps before it sees that seven batch axes are too many. */
static void test_planned__a_node_half_lowered_is_taken_back(void **state) {
    (void)state;
    static const flashmem_compile_options o = { 0 };
    imported                              i;
    fm_lower                              l;
    wire                                  g = { 0 }, attrs = { 0 };
    value_info(&g, GRAPH_INPUT, "p", FLASHMEM_F32, "2x2x2x2x2x2x2x3");
    value_info(&g, GRAPH_INPUT, "q", FLASHMEM_F32, "2x2x2x2x2x2x2x5");
    attr_text(&attrs, "equation", "abcdefgx,abcdefgy->abcdefg");
    node(&g, "Einsum", "p,q", "y", &attrs);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    fm_program p = lower(&i, &l, model_of(g, 17), &o);
    assert_int_equal(p.step_count, 1);
    assert_int_equal(p.steps[0].kind, FM_STEP_PLANNED);
    assert_int_equal(p.steps[0].cost_class, FLASHMEM_COST_BATCH_MATMUL);
    assert_int_equal(p.value_count, 3); /* p, q, y */
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

/* More elements than kernels count: the refusal comes once the storage of the result, a part of y, is there. */
static void test_planned__storage_of_a_refused_lowering_is_made_again(void **state) {
    (void)state;
    static const flashmem_compile_options o = { 0 };
    imported                              i;
    fm_lower                              l;
    wire                                  g = { 0 }, attrs = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "65536x65536");
    node(&g, "Relu", "x", "a", NULL);
    node(&g, "Neg", "x", "b", NULL);
    attr_int(&attrs, "axis", 0);
    node(&g, "Concat", "a,b", "y", &attrs);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    fm_program p = lower(&i, &l, model_of(g, 17), &o);
    assert_int_equal(p.step_count, 2);
    assert_int_equal(p.value_count, 2); /* x, y */
    for (uint32_t s = 0; s < 2; s++) {
        assert_int_equal(p.steps[s].kind, FM_STEP_PLANNED);
        assert_int_equal(p.steps[s].cost_class, FLASHMEM_COST_ELEMENTWISE);
        assert_int_equal(p.args[p.steps[s].first_arg + 1].kind, FM_ARG_WRITE);
        assert_int_equal(p.args[p.steps[s].first_arg + 1].value, p.outputs[0]);
    }
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

/* q is a constant that only a refused lowering has seen: it is placed anew, and known the second time. */
static void test_planned__constants_of_a_refused_lowering_are_placed_again(void **state) {
    (void)state;
    static const flashmem_compile_options o = { 0 };
    imported                              i;
    fm_lower                              l;
    wire                                  g = { 0 };
    value_info(&g, GRAPH_INPUT, "p", FLASHMEM_F32, "2x2x2x2x2x2x2x3");
    constant(&g, "q", "2x2x2x2x2x2x2x5");
    node(&g, "Add", "p,r", "s", NULL);
    constant(&g, "r", "2x2x2x3");
    wire attrs = { 0 };
    attr_text(&attrs, "equation", "abcdefgx,abcdefgy->abcdefg");
    node(&g, "Einsum", "p,q", "y", &attrs);
    wire again = { 0 };
    attr_text(&again, "equation", "abcdefgx,abcdefgy->abcdefg");
    node(&g, "Einsum", "s,q", "z", &again);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    value_info(&g, GRAPH_OUTPUT, "z", FLASHMEM_F32, NULL);
    fm_program p = lower(&i, &l, model_of(g, 17), &o);
    assert_int_equal(count_kind(&p, FM_STEP_PLANNED), 2);
    assert_int_equal(l.weight_count, 2); /* r; q, once */
    expect_for_plans(&i, &l, &p);
    drop(&i);
}

/* --- who takes such programs -------------------------------------------------------------------------------------- */

static void test_planned__packs_refuse_them(void **state) {
    (void)state;
    flashmem_compile_options o = { .size = sizeof o };
    imported                 i;
    fm_lower                 l;
    char                     pack[128];
    lower(&i, &l, convolution(), &o);
    snprintf(pack, sizeof pack, "%s/model.flm", test_folder);
    assert_int_equal(fm_pack_lowered(&l, pack, &o, NULL, &i.error), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(i.error.message, "planned only: no kernel runs Conv ('c')"));
    assert_int_not_equal(access(pack, F_OK), 0);
    fm_error_clear(&i.error);
    i.graph.planning = false;
    fm_lower_init(&l, &i.graph, &o, FM_DEVICE_CPU);
    assert_int_equal(fm_lower_graph(&l, &i.error), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(i.error.message, "three spatial dims have no kernel"));
    drop(&i);
}

/* By file name, with its weights missing: a plan with the weight of the convolution, Relu in it, in slabs. */
static void test_planner__plans_what_no_kernel_runs(void **state) {
    (void)state;
    flashmem_compile_options compile;
    flashmem_plan_options    options;
    flashmem_planner        *planner;
    const flashmem_plan     *plan;
    flashmem_error           err = { 0 };
    wire                     model = convolution();
    wire_save(&model, model_path);
    wire_free(&model);
    flashmem_compile_options_init(&compile);
    flashmem_plan_options_init(&options);
    options.slab_bytes = 1 << 20;
    options.budget_kind = FLASHMEM_BUDGET_OFF;
    if (flashmem_planner_open(model_path, &compile, &planner, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    if (flashmem_planner_plan(planner, &options, &plan, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    assert_int_equal(plan->step_count, 3); /* 3.4 MiB, and none below 1 */
    flashmem_plan_free(plan);
    flashmem_planner_close(planner);
}

/* --- the zoo ------------------------------------------------------------------------------------------------------ */

/* In a process of its own, whose memory is then this model's. */
static void lower_skeleton(const char *name, const char *path) {
    double   begin = cpu_seconds(), imported_at;
    size_t   steps[4], planned = 0;
    skeleton s;
    skeleton_import(&s, name, path);
    skeleton_optimise(&s, name);
    imported_at = cpu_seconds();
    for (int way = 0; way < 4; way++) {
        flashmem_compile_options o = { .layout = way & 1 ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU,
                                       .weights = way & 2 ? FLASHMEM_WEIGHTS_FP16 : FLASHMEM_WEIGHTS_FP32 };
        fm_lower                 l;
        fm_pack_layout           layout;
        fm_lower_init(&l, &s.graph, &o, way & 1 ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
        skeleton_try(&s, fm_lower_graph(&l, &s.error), name);
        fm_program p = fm_builder_program(&l.builder);
        skeleton_try(&s, fm_pack_lay_out(&l, &p, &layout, &s.error), name);
        skeleton_try(&s,
                     fm_program_verify_planned(&p, l.records, (uint32_t)l.weight_count, layout.objects,
                                               layout.object_count, &s.error),
                     name);
        steps[way] = p.step_count;
        planned += count_kind(&p, FM_STEP_PLANNED);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double seconds = cpu_seconds() - begin;
    printf("%-18s %5zu steps (cpu), %5zu (texture), %zu planned; %.3f s to the graph, %.3f s lowered 4 times; %ld MB\n",
           name, steps[0], steps[1], planned, imported_at - begin, seconds - (imported_at - begin),
           usage.ru_maxrss / 1024);
    fflush(stdout);
    assert_int_equal(steps[0], steps[2]);
    assert_int_equal(steps[1], steps[3]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(seconds < 5);
    assert_true(usage.ru_maxrss < 400 * 1024);
#endif
    skeleton_drop(&s);
}

/* Products with biases and norms, one after the other, in file, graph and program. */
static void test_planner__time_grows_with_the_model(void **state) {
    (void)state;
    enum { LAYERS = 32000 };
    static const flashmem_compile_options o = { 0 };
    skeleton                              s = { .arena = fm_arena_create() };
    fm_onnx_model                        *model;
    wire                                  g = { 0 };
    char                                  w[16], names[48], from[16] = "x", to[16];
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "4x64");
    for (int layer = 0; layer < LAYERS; layer++) {
        snprintf(w, sizeof w, "w%d", layer);
        snprintf(names, sizeof names, "%lld", (long long)layer << 14);
        wire_message(&g, GRAPH_INITIALIZER,
                     tensor_external(w, FLASHMEM_F32, layer % 2 ? "64" : "64x64", "absent.bin", names, NULL));
        snprintf(to, sizeof to, "t%d", layer);
        snprintf(names, sizeof names, "%s,%s", from, w);
        node(&g, layer % 2 ? "Add" : "MatMul", names, to, NULL);
        snprintf(from, sizeof from, "%s", to);
        if (layer % 2 == 0) continue;
        snprintf(w, sizeof w, "e%d", layer);
        node(&g, "Exp", to, w, NULL); /* joins Neg, and no product */
        snprintf(from, sizeof from, "n%d", layer);
        node(&g, "Neg", w, from, NULL);
    }
    value_info(&g, GRAPH_OUTPUT, from, FLASHMEM_F32, NULL);
    wire file = model_of(g, 17);
    wire_save(&file, model_path);
    wire_free(&file);
    fm_graph_init(&s.graph, s.arena, model_path, NULL);
    s.graph.planning = true;
    double begin = cpu_seconds();
    skeleton_try(&s, fm_onnx_load(&s.graph, FM_ONNX_HOIST_ABOVE, &model, &s.error), "load");
    skeleton_try(&s, fm_onnx_import(model, &s.error), "import");
    skeleton_try(&s, fm_onnx_fix_shapes(&s.graph, NULL, 0, &s.error), "shapes");
    skeleton_try(&s, fm_pass_fold(&s.graph, &s.error), "fold");
    skeleton_optimise(&s, "passes");
    fm_lower l;
    fm_lower_init(&l, &s.graph, &o, FM_DEVICE_CPU);
    skeleton_try(&s, fm_lower_graph(&l, &s.error), "lower");
    double seconds = cpu_seconds() - begin;
    print_message("%d nodes: %zu steps, %zu weights in %.3f s\n", 2 * LAYERS, l.builder.step_count, l.weight_count,
                  seconds);
    assert_int_equal(l.weight_count, LAYERS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(seconds < 3);
#endif
    skeleton_drop(&s);
}

static void test_zoo__every_model_lowers_for_a_plan(void **state) {
    (void)state;
    for (size_t i = 0; i < SKELETONS; i++) {
        char path[256];
        int  how;
        if (!skeleton_exists(skeleton_names[i], path)) skip();
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            lower_skeleton(skeleton_names[i], path);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &how, 0), child);
        if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) fail_msg("%s: see above", skeleton_names[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zoo__every_model_lowers_for_a_plan), /* first: children begin with this one's memory */
        cmocka_unit_test(test_planned__a_convolution_has_its_weight_packed),
        cmocka_unit_test(test_planned__long_sums_are_bands),
        cmocka_unit_test(test_planned__what_is_no_product_has_dense_weights),
        cmocka_unit_test(test_planned__steps_write_into_concatenations),
        cmocka_unit_test(test_planned__a_node_half_lowered_is_taken_back),
        cmocka_unit_test(test_planned__storage_of_a_refused_lowering_is_made_again),
        cmocka_unit_test(test_planned__constants_of_a_refused_lowering_are_placed_again),
        cmocka_unit_test(test_planned__packs_refuse_them),
        cmocka_unit_test(test_planner__time_grows_with_the_model),
        cmocka_unit_test(test_planner__plans_what_no_kernel_runs),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
