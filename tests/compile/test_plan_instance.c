/* Instances from graphs: small ones against problems computed by hand, the zoo's against figures kept here. */
#include <inttypes.h>
#include <math.h>

#include "compile/ops/op.h"
#include "compile/plan/capacity.h"
#include "compile/plan/instance.h"
#include "tests/compile/imported.h"
#include "tests/compile/skeletons.h"

/* --- graphs ------------------------------------------------------------------------------------------------------- */

/* A float32 constant whose bytes are never read. */
static void constant(wire *graph, const char *name, const char *dims) {
    wire_message(graph, GRAPH_INITIALIZER, tensor_external(name, FLASHMEM_F32, dims, "absent.bin", NULL, NULL));
}

static void ints(wire *graph, const char *name, const char *dims, const int64_t *values, size_t count) {
    wire_message(graph, GRAPH_INITIALIZER, tensor_raw(name, FLASHMEM_I64, dims, values, count * sizeof *values));
}

/* ids -> Gather -> (view) -> LayerNormalization -> MatMul -> Add -> Relu -> MatMul -> Add (residual) -> Softmax */
static wire block(void) {
    wire    g = { 0 };
    int64_t flat[2] = { 6, 32 };
    value_info(&g, GRAPH_INPUT, "ids", FLASHMEM_I64, "1x6");
    constant(&g, "table", "100x32");
    constant(&g, "gamma", "32");
    constant(&g, "beta", "32");
    constant(&g, "w1", "32x64");
    constant(&g, "b1", "64");
    constant(&g, "w2", "64x32");
    ints(&g, "flat", "2", flat, 2);
    node(&g, "Gather", "table,ids", "e", NULL);
    node(&g, "Reshape", "e,flat", "x", NULL);
    node(&g, "LayerNormalization", "x,gamma,beta", "n", NULL);
    node(&g, "MatMul", "n,w1", "h", NULL);
    node(&g, "Add", "h,b1", "hb", NULL);
    node(&g, "Relu", "hb", "r", NULL);
    node(&g, "MatMul", "r,w2", "o", NULL);
    node(&g, "Add", "o,x", "y", NULL);
    node(&g, "Softmax", "y", "s", NULL);
    value_info(&g, GRAPH_OUTPUT, "s", FLASHMEM_F32, NULL);
    value_info(&g, GRAPH_OUTPUT, "x", FLASHMEM_F32, NULL); /* a view of what Gather makes */
    return model_of(g, 17);
}

/* A 256 x 256 x 256 product, bound by arithmetic, of a table that is also gathered from, and a large addend. */
static wire tied(void) {
    wire g = { 0 };
    value_info(&g, GRAPH_INPUT, "ids", FLASHMEM_I64, "256");
    value_info(&g, GRAPH_INPUT, "mask", FLASHMEM_BOOL, "256x256");
    constant(&g, "w", "256x256");
    constant(&g, "big", "256x256");
    node(&g, "Gather", "w,ids", "e", NULL);
    node(&g, "MatMul", "e,w", "p", NULL);
    node(&g, "Add", "p,big", "q", NULL);
    node(&g, "Where", "mask,q,p", "y", NULL);
    node(&g, "MatMul", "y,w", "z", NULL);
    value_info(&g, GRAPH_OUTPUT, "z", FLASHMEM_F32, NULL);
    return model_of(g, 17);
}

/* --- expectations ------------------------------------------------------------------------------------------------- */

typedef struct expected_step {
    const char       *name;
    fm_capacity_class capacity_class;
    double            macs, bytes, share; /* share 0: whole */
} expected_step;

static const double growths[] = { 3, 0.2, 0 };

static void expect_steps(const fm_overlap_problem *p, const expected_step *steps, uint32_t count, double rate) {
    if (p->step_count != count) fail_msg("%u steps, expected %u", p->step_count, count);
    for (uint32_t l = 0; l < count; l++) {
        const expected_step   *e = &steps[l];
        const fm_overlap_step *s = &p->steps[l];
        double                 seconds = (fmax(e->macs / rate, e->bytes / 60e9) + 5e-6) * (e->share > 0 ? e->share : 1);
        double                 capacity = growths[e->capacity_class] * seconds * 65e9;
        if (strcmp(s->name, e->name) != 0 || s->capacity_class != e->capacity_class)
            fail_msg("step %u: '%s' of class %d, expected '%s' of %d", l, s->name, s->capacity_class, e->name,
                     e->capacity_class);
        if (fabs(s->seconds - seconds) > 1e-12) fail_msg("'%s': %.9g s, expected %.9g", e->name, s->seconds, seconds);
        if (fabs((double)s->capacity_bytes - capacity) > 1)
            fail_msg("'%s': capacity %" PRIu64 ", expected %.0f", e->name, s->capacity_bytes, capacity);
    }
}

static void expect_weights(const fm_overlap_problem *p, const fm_overlap_weight *weights, uint32_t count) {
    if (p->weight_count != count) fail_msg("%u weights, expected %u", p->weight_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const fm_overlap_weight *w = &p->weights[i], *e = &weights[i];
        if (strcmp(w->name, e->name) != 0 || w->bytes != e->bytes || w->first != e->first || w->last != e->last)
            fail_msg("weight %u: '%s' of %" PRIu64 " bytes in %u..%u, expected '%s' of %" PRIu64 " in %u..%u", i,
                     w->name, w->bytes, w->first, w->last, e->name, e->bytes, e->first, e->last);
    }
}

static void build(imported *i, wire model, const char *instance, uint64_t slab, fm_overlap_problem *p) {
    fm_instance_options o;
    import_for(i, model, true);
    expect_ok(i);
    fm_instance_options_init(&o);
    assert_int_equal(fm_instance_parse(instance, &o, &i->error), FLASHMEM_OK);
    o.slab_bytes = slab;
    if (fm_instance_build(&i->graph, &o, i->arena, p, &i->error) != FLASHMEM_OK) fail_msg("%s", i->error.message);
}

#define BUILD_AND_EXPECT(model, instance, slab, rate, steps, weights)       \
    do {                                                                    \
        imported           i;                                               \
        fm_overlap_problem p;                                               \
        build(&i, (model), (instance), (slab), &p);                         \
        expect_steps(&p, (steps), sizeof(steps) / sizeof *(steps), (rate)); \
        expect_weights(&p, (weights), sizeof(weights) / sizeof *(weights)); \
        drop(&i);                                                           \
    } while (0)

/* --- problems by hand --------------------------------------------------------------------------------------------- */

/* Activations: ids 48, e 6 x 32 x 2 = 384, h 6 x 64 x 2 = 768. */
static void test_instance__every_node_is_a_step(void **state) {
    (void)state;
    static const expected_step steps[] = {
        { "e", FM_CAPACITY_ELEMENTWISE, 0, 48 + 384 + 384, 0 }, /* six rows of 64 bytes */
        { "n", FM_CAPACITY_HIERARCHICAL, 0, 384 + 64 + 64 + 384, 0 },
        { "h", FM_CAPACITY_REUSABLE, 6 * 32 * 64, 384 + 4096 + 768, 0 },
        { "hb", FM_CAPACITY_ELEMENTWISE, 0, 768 + 128 + 768, 0 },
        { "r", FM_CAPACITY_ELEMENTWISE, 0, 768 + 768, 0 },
        { "o", FM_CAPACITY_REUSABLE, 6 * 64 * 32, 768 + 4096 + 384, 0 },
        { "y", FM_CAPACITY_ELEMENTWISE, 0, 384 + 384 + 384, 0 },
        { "s", FM_CAPACITY_HIERARCHICAL, 0, 384 + 384, 0 },
    };
    static const fm_overlap_weight weights[] = {
        { .name = "table", .bytes = 384, .first = 0, .last = 0 },
        { .name = "gamma", .bytes = 64, .first = 1, .last = 1 },
        { .name = "beta", .bytes = 64, .first = 1, .last = 1 },
        { .name = "w1", .bytes = 4096, .first = 2, .last = 2 },
        { .name = "b1", .bytes = 128, .first = 3, .last = 3 },
        { .name = "w2", .bytes = 4096, .first = 5, .last = 5 },
    };
    BUILD_AND_EXPECT(block(), "u:A", 0, 1e12, steps, weights);
}

/* h + b1 and Relu join the first product, the residual the second: what lies between is not moved. */
static void test_instance__elementwise_nodes_join_their_producers(void **state) {
    (void)state;
    static const expected_step steps[] = {
        { "e", FM_CAPACITY_ELEMENTWISE, 0, 48 + 384 + 384, 0 },
        { "n", FM_CAPACITY_HIERARCHICAL, 0, 384 + 64 + 64 + 384, 0 },
        { "h", FM_CAPACITY_REUSABLE, 6 * 32 * 64, 384 + 4096 + 128 + 768, 0 },
        { "o", FM_CAPACITY_REUSABLE, 6 * 64 * 32, 768 + 4096 + 384 + 384, 0 },
        { "s", FM_CAPACITY_HIERARCHICAL, 0, 384 + 384, 0 },
    };
    static const fm_overlap_weight weights[] = {
        { .name = "table", .bytes = 384, .first = 0, .last = 0 },
        { .name = "gamma", .bytes = 64, .first = 1, .last = 1 },
        { .name = "beta", .bytes = 64, .first = 1, .last = 1 },
        { .name = "w1", .bytes = 4096, .first = 2, .last = 2 },
        { .name = "b1", .bytes = 128, .first = 2, .last = 2 },
        { .name = "w2", .bytes = 4096, .first = 3, .last = 3 },
    };
    BUILD_AND_EXPECT(block(), "f:C", 0, 1.25e12, steps, weights);
}

/* e, p, q, y, z: 256 x 256 x 2 = 128 KiB each; ids 2 KiB, mask 64 KiB. */
enum { K = 1024, MACS = 256 * 256 * 256 };

static void test_instance__a_table_gathered_and_multiplied_is_two_weights(void **state) {
    (void)state;
    static const expected_step steps[] = {
        { "e", FM_CAPACITY_ELEMENTWISE, 0, (2 + 128 + 128) * K, 0 },
        { "p", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0 },
        { "q", FM_CAPACITY_ELEMENTWISE, 0, 3 * 128 * K, 0 },
        { "y", FM_CAPACITY_ELEMENTWISE, 0, (64 + 3 * 128) * K, 0 },
        { "z", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0 },
    };
    static const fm_overlap_weight weights[] = {
        { .name = "w#rows", .bytes = 128 * K, .first = 0, .last = 0 },
        { .name = "w", .bytes = 128 * K, .first = 1, .last = 4 },
        { .name = "big", .bytes = 128 * K, .first = 2, .last = 2 },
    };
    BUILD_AND_EXPECT(tied(), "u:A", 0, 1e12, steps, weights);
    BUILD_AND_EXPECT(tied(), "u:B", 0, 0.35e12, steps, weights);
}

/* Slabs of 48 KiB: 48, 48 and 32 of w's 128; a part of each product uses one.  big is no product's. */
static void test_instance__slabs_share_a_step(void **state) {
    (void)state;
    static const expected_step steps[] = {
        { "e", FM_CAPACITY_ELEMENTWISE, 0, (2 + 128 + 128) * K, 0 },
        { "p#0", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.375 },
        { "p#1", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.375 },
        { "p#2", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.25 },
        { "q", FM_CAPACITY_ELEMENTWISE, 0, 3 * 128 * K, 0 },
        { "y", FM_CAPACITY_ELEMENTWISE, 0, (64 + 3 * 128) * K, 0 },
        { "z#0", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.375 },
        { "z#1", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.375 },
        { "z#2", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.25 },
    };
    static const fm_overlap_weight weights[] = {
        { .name = "w#rows", .bytes = 128 * K, .first = 0, .last = 0 },
        { .name = "w#0", .bytes = 48 * K, .first = 1, .last = 6 },
        { .name = "w#1", .bytes = 48 * K, .first = 2, .last = 7 },
        { .name = "w#2", .bytes = 32 * K, .first = 3, .last = 8 },
        { .name = "big", .bytes = 128 * K, .first = 4, .last = 4 },
    };
    BUILD_AND_EXPECT(tied(), "u:A", 48 * K, 1e12, steps, weights);
}

/* q joins p and y joins it too: p is read by nobody else, y leaves.  big is there from the first part to the last. */
static void test_instance__a_fused_step_s_other_weights_serve_all_its_parts(void **state) {
    (void)state;
    static const expected_step steps[] = {
        { "e", FM_CAPACITY_ELEMENTWISE, 0, (2 + 128 + 128) * K, 0 },
        { "p#0", FM_CAPACITY_REUSABLE, MACS, (4 * 128 + 64) * K, 0.5 },
        { "p#1", FM_CAPACITY_REUSABLE, MACS, (4 * 128 + 64) * K, 0.5 },
        { "z#0", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.5 },
        { "z#1", FM_CAPACITY_REUSABLE, MACS, 3 * 128 * K, 0.5 },
    };
    static const fm_overlap_weight weights[] = {
        { .name = "w#rows", .bytes = 128 * K, .first = 0, .last = 0 },
        { .name = "w#0", .bytes = 64 * K, .first = 1, .last = 3 },
        { .name = "big", .bytes = 128 * K, .first = 1, .last = 2 },
        { .name = "w#1", .bytes = 64 * K, .first = 2, .last = 4 },
    };
    BUILD_AND_EXPECT(tied(), "f:A", 64 * K, 1e12, steps, weights);
}

/* x -> MatMul m -> ReduceMax r; Sub(m, r) joins r, which begins last, although m is read too.  What broadcasting repeats
 * counts once (below 1 MiB folding makes it whole); 4 bytes are no weight. */
static void test_instance__a_node_joins_the_step_that_begins_last(void **state) {
    (void)state;
    enum { ROWS = 16384 };
    static const expected_step steps[] = {
        { "m", FM_CAPACITY_REUSABLE, ROWS * 8.0 * 32, ROWS * 8 * 2 + 512 + ROWS * 32 * 2, 0 },
        { "r", FM_CAPACITY_HIERARCHICAL, 0, ROWS * 32 * 2 + 64 + 64 + ROWS * 32 * 2, 0 },
    };
    static const fm_overlap_weight weights[] = { { .name = "w", .bytes = 512, .first = 0, .last = 0 },
                                                 { .name = "rows", .bytes = 64, .first = 1, .last = 1 },
                                                 { .name = "again", .bytes = 64, .first = 1, .last = 1 } };
    static const int64_t           shape[2] = { ROWS, 32 };
    static const float             row[32];
    wire                           g = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "16384x8");
    constant(&g, "w", "8x32");
    wire_message(&g, GRAPH_INITIALIZER, tensor_raw("row", FLASHMEM_F32, "1x32", row, sizeof row));
    constant(&g, "small", "1"); /* 4 bytes */
    ints(&g, "shape", "2", shape, 2);
    node(&g, "Expand", "row,shape", "rows", NULL);
    node(&g, "MatMul", "x,w", "m", NULL);
    node(&g, "ReduceMax", "m", "r", NULL);
    node(&g, "Sub", "m,r", "s", NULL);
    node(&g, "Mul", "s,rows", "t", NULL);
    node(&g, "ConstantOfShape", "shape", "zeros", NULL);
    wire_message(&g, GRAPH_INITIALIZER, tensor_raw("zero", FLASHMEM_F32, "", row, sizeof *row));
    node(&g, "Mul", "zeros,zero", "one", NULL); /* one number */
    node(&g, "Mul", "zeros,row", "again", NULL);
    node(&g, "Sum", "t,small,one,again", "y", NULL);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    BUILD_AND_EXPECT(model_of(g, 17), "f:A", 0, 1e12, steps, weights);
}

/* --- classes and options ------------------------------------------------------------------------------------------ */

static void test_capacity__of_every_operator(void **state) {
    static const char *const none[] = { "Cast",    "CastLike", "Constant", "Dropout", "Flatten",  "Identity",
                                        "Reshape", "Shape",    "Size",     "Squeeze", "Unsqueeze" };
    static const char *const reduces[] = { "ArgMax",
                                           "ArgMin",
                                           "Attention",
                                           "AveragePool",
                                           "CumSum",
                                           "GlobalAveragePool",
                                           "GlobalMaxPool",
                                           "GroupNormalization",
                                           "InstanceNormalization",
                                           "LayerNormalization",
                                           "LogSoftmax",
                                           "LpNormalization",
                                           "MaxPool",
                                           "RMSNormalization",
                                           "ReduceL1",
                                           "ReduceL2",
                                           "ReduceLogSum",
                                           "ReduceLogSumExp",
                                           "ReduceMax",
                                           "ReduceMean",
                                           "ReduceMin",
                                           "ReduceProd",
                                           "ReduceSum",
                                           "ReduceSumSquare",
                                           "SimplifiedLayerNormalization",
                                           "Softmax",
                                           "TopK" };
    uint32_t                 found[FM_CAPACITY_CLASSES] = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        fm_node n = { .op = fm_op_find(none[i], "") };
        assert_int_equal(fm_capacity_of_node(&n), FM_CAPACITY_NONE);
    }
    for (size_t i = 0; i < sizeof reduces / sizeof *reduces; i++) {
        fm_node n = { .op = fm_op_find(reduces[i], "") };
        assert_int_equal(fm_capacity_of_node(&n), FM_CAPACITY_HIERARCHICAL);
    }
#define FM_OP(id)                                                                \
    if (fm_op_##id.domain[0] == '\0') { /* others are put together from these */ \
        fm_node n = { .op = &fm_op_##id };                                       \
        bool    product = n.op->macs && strcmp(n.op->name, "Attention") != 0;    \
        found[product ? FM_CAPACITY_REUSABLE : fm_capacity_of_node(&n)]++;       \
    }
#include "compile/ops/op_list.h"
#undef FM_OP
    assert_int_equal(found[FM_CAPACITY_NONE], sizeof none / sizeof *none);
    assert_int_equal(found[FM_CAPACITY_HIERARCHICAL], sizeof reduces / sizeof *reduces);
    assert_int_equal(found[FM_CAPACITY_REUSABLE], 5);
}

static void test_instance__refuses_what_it_cannot_mean(void **state) {
    (void)state;
    static const char *const bad[] = { "", "u", "u:", "u:D", "x:A", "u:AB", "uA", "f:a" };
    fm_instance_options      o;
    fm_overlap_problem       p;
    imported                 i;
    fm_instance_options_init(&o);
    import_for(&i, tied(), true);
    expect_ok(&i);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_int_equal(fm_instance_parse(bad[k], &o, &i.error), FLASHMEM_INVALID_ARGUMENT);
        assert_non_null(strstr(i.error.message, "expected u:A"));
    }
    assert_true(o.speed == 'A' && !o.fused);
#define REFUSED(field, value, says)                                                                          \
    do {                                                                                                     \
        fm_instance_options_init(&o);                                                                        \
        o.field = (value);                                                                                   \
        fm_error_clear(&i.error);                                                                            \
        assert_int_equal(fm_instance_build(&i.graph, &o, i.arena, &p, &i.error), FLASHMEM_INVALID_ARGUMENT); \
        if (!strstr(i.error.message, says)) fail_msg("'%s' lacks '%s'", i.error.message, says);              \
    } while (0)
    REFUSED(speed, 'D', "speed");
    REFUSED(slab_bytes, 4095, "4096");
    REFUSED(chunk_bytes, 0, "chunk");
    REFUSED(lambda, 1.5, "lambda");
#undef REFUSED
    drop(&i);
}

static void test_instance__of_a_graph_that_folds_away(void **state) {
    (void)state;
    imported            i;
    fm_overlap_problem  p;
    fm_instance_options o;
    wire                g = { 0 };
    value_info(&g, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    node(&g, "Identity", "x", "y", NULL);
    value_info(&g, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    import_for(&i, model_of(g, 17), true);
    expect_ok(&i);
    fm_instance_options_init(&o);
    assert_int_equal(fm_instance_build(&i.graph, &o, i.arena, &p, &i.error), FLASHMEM_UNSUPPORTED);
    assert_non_null(strstr(i.error.message, "no step"));
    drop(&i);
}

/* --- the zoo ------------------------------------------------------------------------------------------------------ */

typedef struct expected_model {
    const char *name;
    uint32_t    steps, fused, parts, weights, slabs; /* u, f, u in slabs of 16 MiB; weights whole and in slabs */
    uint64_t    kib;
    double      mmacs; /* rounded */
} expected_model;

/* in the order of skeleton_names */
static const expected_model models[] = {
    { "deepvit", 610, 270, 610, 300, 300, 397678, 55596 },
    { "depth-l", 778, 302, 779, 498, 499, 652606, 137865 },
    { "depth-s", 430, 170, 430, 282, 282, 48263, 10529 },
    { "gptn-1.3b", 724, 267, 784, 342, 402, 2562732, 169404 },
    { "gptn-2.7b", 964, 355, 1171, 454, 661, 5169919, 341275 },
    { "gptn-s", 364, 135, 368, 174, 178, 242064, 16114 },
    { "llama2-13b", 2009, 483, 3468, 366, 1825, 25102986, 1651717 },
    { "llama2-70b", 4169, 963, 11800, 726, 8357, 134210160, 8816763 },
    { "minilm-l6-dynamic", 164, 70, 164, 103, 103, 20991, 1434 },
    { "minilm-l6", 164, 70, 164, 103, 103, 20991, 1434 },
    { "resnet50", 121, 56, 121, 108, 108, 49864, 4089 },
    { "sam2-hiera-l", 1328, 448, 1328, 594, 594, 415436, 216779 },
    { "sd-unet", 1201, 488, 1245, 705, 749, 1681020, 90053 },
    { "vit-8b", 1047, 443, 1767, 649, 1369, 15748629, 1599791 },
    { "vit-b16", 295, 111, 295, 152, 152, 169077, 17564 },
    { "vit", 262, 114, 262, 144, 144, 200866, 27696 },
    { "whisper-m-dec", 1013, 460, 1019, 583, 589, 892167, 137635 },
    { "whisper-m-enc", 583, 267, 583, 367, 367, 600032, 569033 },
};

static uint64_t kib(const fm_overlap_problem *p) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->weight_count; i++) bytes += p->weights[i].bytes;
    return bytes / 1024;
}

static double seconds(const fm_overlap_problem *p) {
    double sum = 0;
    for (uint32_t l = 0; l < p->step_count; l++) sum += p->steps[l].seconds;
    return sum;
}

static fm_overlap_problem instance_of(skeleton *s, const char *text, uint64_t slab, uint64_t chunk) {
    fm_instance_options o;
    fm_overlap_problem  p;
    fm_instance_options_init(&o);
    skeleton_try(s, fm_instance_parse(text, &o, &s->error), text);
    o.slab_bytes = slab;
    o.chunk_bytes = chunk;
    skeleton_try(s, fm_instance_build(&s->graph, &o, s->arena, &p, &s->error), text);
    assert_int_equal(p.m_peak, 500000000 / chunk);
    for (uint32_t i = 0; i < p.weight_count; i++)
        assert_true(p.weights[i].chunks == (p.weights[i].bytes + chunk - 1) / chunk);
    return p;
}

/* What no form of an instance changes. */
static void expect_alike(skeleton *s, const expected_model *e) {
    static const char *const forms[] = { "u:A", "u:B", "u:C", "f:A", "f:B", "f:C" };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        fm_overlap_problem whole = instance_of(s, forms[i], 0, 1 << 20),
                           cut = instance_of(s, forms[i], 16 << 20, 1 << 18);
        assert_int_equal(kib(&whole), e->kib);
        assert_int_equal(kib(&cut), e->kib);
        assert_int_equal(whole.step_count, i < 3 ? e->steps : e->fused);
        assert_int_equal(whole.weight_count, e->weights);
        assert_int_equal(cut.weight_count, e->slabs);
        assert_int_equal(cut.step_count - whole.step_count, e->parts - e->steps);
        assert_true(fabs(seconds(&whole) - seconds(&cut)) < 1e-9 * seconds(&whole));
        for (uint32_t k = 0; k < cut.weight_count; k++) assert_true(cut.weights[k].bytes <= 16 << 20);
    }
}

static void test_instance__of_every_model_of_the_zoo(void **state) {
    (void)state;
    for (size_t i = 0; i < SKELETONS; i++) {
        const expected_model *e = &models[i];
        char                  path[256];
        skeleton              s;
        double                macs = 0;
        assert_string_equal(e->name, skeleton_names[i]);
        if (!skeleton_exists(e->name, path)) skip();
        skeleton_import(&s, e->name, path);
        for (const fm_node *n = s.graph.first; n; n = n->next) macs += fm_node_macs(n);
        fm_overlap_problem u = instance_of(&s, "u:A", 0, 1 << 20), f = instance_of(&s, "f:A", 0, 1 << 20);
        fm_overlap_problem cut = instance_of(&s, "u:A", 16 << 20, 1 << 20);
        print_message("%-18s %5u steps, %4u fused, %5u cut; %4u weights, %4u cut; %10" PRIu64 " KiB, %8.0f MMAC\n",
                      e->name, u.step_count, f.step_count, cut.step_count, u.weight_count, cut.weight_count, kib(&u),
                      macs * 1e-6);
        assert_true(fabs(macs * 1e-6 - e->mmacs) <= 0.5);
        assert_true(seconds(&f) < seconds(&u));
        expect_alike(&s, e);
        skeleton_drop(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instance__every_node_is_a_step),
        cmocka_unit_test(test_instance__elementwise_nodes_join_their_producers),
        cmocka_unit_test(test_instance__a_table_gathered_and_multiplied_is_two_weights),
        cmocka_unit_test(test_instance__slabs_share_a_step),
        cmocka_unit_test(test_instance__a_fused_step_s_other_weights_serve_all_its_parts),
        cmocka_unit_test(test_instance__a_node_joins_the_step_that_begins_last),
        cmocka_unit_test(test_capacity__of_every_operator),
        cmocka_unit_test(test_instance__refuses_what_it_cannot_mean),
        cmocka_unit_test(test_instance__of_a_graph_that_folds_away),
        cmocka_unit_test(test_instance__of_every_model_of_the_zoo),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
