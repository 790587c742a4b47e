/* Multiply-accumulates of operators: by hand for each, and over the zoo against what the kernels' steps record. */
#include <string.h>

#include "compile/lower.h"
#include "compile/ops/fused.h"
#include "tests/compile/ops_case.h"
#include "tests/compile/skeletons.h"

static fm_tensor *in(ops_case *c, const char *name, fm_shape shape) { return ops_input(c, name, FLASHMEM_F32, shape); }

static void expect(ops_case *c, fm_node *node, double macs) {
    ops_made(c, node);
    if (fm_node_macs(node) != macs) fail_msg("%s: %.1f, expected %.1f", node->op_type, fm_node_macs(node), macs);
}

static void test_macs__matrix_products(void **state) {
    ops_case *c = *state;
    expect(c, OPS_NODE(c, "MatMul", 1, in(c, "a", OPS_SHAPE(3, 24)), in(c, "b", OPS_SHAPE(24, 40))), 3 * 24 * 40);
    expect(c, OPS_NODE(c, "MatMul", 1, in(c, "a", OPS_SHAPE(2, 1, 3, 24)), in(c, "b", OPS_SHAPE(5, 24, 7))),
           2 * 5 * 3 * 24 * 7);
    expect(c, OPS_NODE(c, "MatMul", 1, in(c, "a", OPS_SHAPE(24)), in(c, "b", OPS_SHAPE(24, 40))), 24 * 40);
    expect(c, OPS_NODE(c, "MatMul", 1, in(c, "a", OPS_SHAPE(24)), in(c, "b", OPS_SHAPE(24))), 24);
    ops_attr_int(c, "transA", 1);
    expect(c, OPS_NODE(c, "Gemm", 1, in(c, "a", OPS_SHAPE(24, 3)), in(c, "b", OPS_SHAPE(24, 40))), 3 * 24 * 40);
    ops_attr_int(c, "transB", 1);
    expect(c, OPS_NODE(c, "Gemm", 1, in(c, "a", OPS_SHAPE(3, 24)), in(c, "b", OPS_SHAPE(40, 24))), 3 * 24 * 40);
}

/* What only one operand has is summed before, and multiplies nothing. */
static void test_macs__einsum(void **state) {
    ops_case *c = *state;
    ops_attr_text(c, "equation", "bhij,bhjd->bhid");
    expect(c, OPS_NODE(c, "Einsum", 1, in(c, "a", OPS_SHAPE(2, 3, 4, 5)), in(c, "b", OPS_SHAPE(2, 3, 5, 6))),
           2 * 3 * 4 * 5 * 6);
    ops_attr_text(c, "equation", "ijk,jl->il");
    expect(c, OPS_NODE(c, "Einsum", 1, in(c, "a", OPS_SHAPE(2, 3, 7)), in(c, "b", OPS_SHAPE(3, 5))), 2 * 3 * 5);
    ops_attr_text(c, "equation", "ij->ji");
    expect(c, OPS_NODE(c, "Einsum", 1, in(c, "a", OPS_SHAPE(2, 3))), 0);
}

static void test_macs__convolutions(void **state) {
    ops_case *c = *state;
    OPS_ATTR_INTS(c, "pads", 1, 1, 1, 1);
    expect(c, OPS_NODE(c, "Conv", 1, in(c, "x", OPS_SHAPE(2, 8, 10, 12)), in(c, "w", OPS_SHAPE(16, 8, 3, 3))),
           2.0 * 16 * 10 * 12 * 8 * 9);
    ops_attr_int(c, "group", 4);
    expect(c, OPS_NODE(c, "Conv", 1, in(c, "x", OPS_SHAPE(1, 8, 5, 5)), in(c, "w", OPS_SHAPE(16, 2, 3, 3))),
           16.0 * 3 * 3 * 2 * 9);
    expect(c, OPS_NODE(c, "Conv", 1, in(c, "x", OPS_SHAPE(1, 8, 5)), in(c, "w", OPS_SHAPE(16, 8, 3))), 16 * 3 * 8 * 3);
    OPS_ATTR_INTS(c, "strides", 4, 4);
    expect(c, OPS_NODE(c, "ConvTranspose", 1, in(c, "x", OPS_SHAPE(1, 8, 5, 5)), in(c, "w", OPS_SHAPE(8, 6, 4, 4))),
           8.0 * 25 * 6 * 16);
    expect(c, OPS_NODE(c, "Conv", 1, in(c, "x", OPS_SHAPE(1, 2, 4, 4, 4)), in(c, "w", OPS_SHAPE(3, 2, 2, 2, 2))),
           3.0 * 27 * 2 * 8); /* no kernel runs it */
}

static void test_macs__attention(void **state) {
    ops_case  *c = *state;
    fm_tensor *q = in(c, "q", OPS_SHAPE(1, 4, 10, 16)), *k = in(c, "k", OPS_SHAPE(1, 2, 20, 16));
    fm_tensor *v = in(c, "v", OPS_SHAPE(1, 2, 20, 8)), *own = in(c, "own", OPS_SHAPE(1, 4, 10, 16));
    c->opset = 23;
    expect(c, OPS_NODE(c, "Attention", 1, q, k, v), 4.0 * 10 * 20 * (16 + 8));
    ops_attr_int(c, "is_causal", 1);
    expect(c, OPS_NODE(c, "Attention", 1, own, own, own), 4.0 * 10 * 10 * (16 + 16) / 2);
}

static void test_macs__of_others_are_none(void **state) {
    ops_case *c = *state;
    expect(c, OPS_NODE(c, "Mul", 1, in(c, "a", OPS_SHAPE(3, 4)), in(c, "b", OPS_SHAPE(3, 4))), 0);
    expect(c, OPS_NODE(c, "Softmax", 1, in(c, "a", OPS_SHAPE(3, 4))), 0);
}

/* --- the zoo ------------------------------------------------------------------------------------------------------ */

/* Floating-point operations that a node's steps should record: two per multiply-accumulate, and for attention's softmax
 * 12 per score. */
static double expected_flops(const fm_node *node) {
    double macs = fm_node_macs(node);
    if (node->op != &fm_op_fused_attention) return 2 * macs;
    const fm_shape *q = &node->inputs[0]->shape, *v = &node->inputs[2]->shape;
    return 2 * macs + 12 * macs / (double)(q->dims[q->rank - 1] + v->dims[v->rank - 1]);
}

static bool multiplies(const fm_step *step) {
    return step->cost_class == FLASHMEM_COST_MATMUL || step->cost_class == FLASHMEM_COST_CONV ||
           step->cost_class == FLASHMEM_COST_BATCH_MATMUL || step->cost_class == FLASHMEM_COST_ATTENTION;
}

/* Steps carry their node's name.  A name may stand for several nodes: sums are compared. */
static uint32_t compare_flops(const skeleton *s, const fm_program *p, const char *model) {
    uint32_t compared = 0;
    double   steps = 0, nodes = 0;
    for (uint32_t i = 0; i < p->step_count; i++)
        if (multiplies(&p->steps[i])) steps += (double)fm_program_expr(p, p->steps[i].flops);
    for (const fm_node *n = s->graph.first; n; n = n->next) {
        double expected = 0, found = 0;
        nodes += expected_flops(n);
        if (expected_flops(n) == 0) continue;
        for (const fm_node *m = s->graph.first; m; m = m->next)
            if (strcmp(m->name, n->name) == 0) expected += expected_flops(m);
        for (uint32_t i = 0; i < p->step_count; i++)
            if (multiplies(&p->steps[i]) && strcmp(fm_program_string(p, p->steps[i].name), n->name) == 0)
                found += (double)fm_program_expr(p, p->steps[i].flops);
        if (found != expected)
            fail_msg("%s: node '%s' (%s): steps record %.0f operations, expected %.0f", model, n->name, n->op_type,
                     found, expected);
        compared++;
    }
    if (steps != nodes) fail_msg("%s: steps record %.0f operations, nodes have %.0f", model, steps, nodes);
    return compared;
}
static void test_macs__are_what_the_zoo_s_steps_record(void **state) {
    (void)state;
    uint32_t compared = 0;
    for (size_t i = 0; i < SKELETONS; i++) {
        char path[256];
        if (!skeleton_exists(skeleton_names[i], path)) skip();
        skeleton s;
        skeleton_import(&s, skeleton_names[i], path);
        skeleton_optimise(&s, skeleton_names[i]);
        for (int texture = 0; texture < 2; texture++) {
            flashmem_compile_options o = { .layout = texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU };
            fm_lower                 l;
            fm_lower_init(&l, &s.graph, &o, texture ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
            skeleton_try(&s, fm_lower_graph(&l, &s.error), skeleton_names[i]);
            fm_program p = fm_builder_program(&l.builder);
            compared += compare_flops(&s, &p, skeleton_names[i]);
        }
        skeleton_drop(&s);
    }
    assert_true(compared > 2 * 3000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_macs__matrix_products, ops_setup, ops_teardown),
        cmocka_unit_test_setup_teardown(test_macs__einsum, ops_setup, ops_teardown),
        cmocka_unit_test_setup_teardown(test_macs__convolutions, ops_setup, ops_teardown),
        cmocka_unit_test_setup_teardown(test_macs__attention, ops_setup, ops_teardown),
        cmocka_unit_test_setup_teardown(test_macs__of_others_are_none, ops_setup, ops_teardown),
        cmocka_unit_test(test_macs__are_what_the_zoo_s_steps_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
