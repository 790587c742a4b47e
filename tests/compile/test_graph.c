/* Graph edits keep links whole; the verifier notices every kind of damage; simplification removes what changes
 * nothing. */
#include "compile/ops/op.h"
#include "tests/compile/imported.h"

typedef struct small_graph {
    fm_arena  *arena;
    fm_graph   g;
    fm_tensor *x, *a, *b, *c, *y;
    fm_node   *relu, *neg, *add;
} small_graph;

static fm_tensor *shaped(fm_graph *g, const char *name) {
    fm_tensor *t = fm_graph_tensor(g, name);
    fm_infer_set(t, FLASHMEM_F32, &(fm_shape){ 1, { 4 } });
    return t;
}

static void make_graph(small_graph *s) { /* y = relu(x) + neg(relu(x)) + c */
    static const float four[4] = { 1, 2, 3, 4 };
    s->arena = fm_arena_create();
    fm_graph *g = &s->g;
    fm_graph_init(g, s->arena, "test", NULL);
    s->x = shaped(g, "x");
    s->a = shaped(g, "a");
    s->b = shaped(g, "b");
    s->y = shaped(g, "y");
    s->c = fm_graph_constant_floats(g, "c", &(fm_shape){ 1, { 4 } }, four);
    s->x->is_input = s->y->is_output = true;
    FM_PUSH(s->arena, g->inputs, g->input_count, g->input_capacity) = s->x;
    FM_PUSH(s->arena, g->outputs, g->output_count, g->output_capacity) = s->y;
    s->relu = fm_graph_append(g, fm_op_find("Relu", ""), "relu", &s->x, 1, &s->a, 1);
    s->neg = fm_graph_append(g, fm_op_find("Neg", ""), "neg", &s->a, 1, &s->b, 1);
    fm_tensor *inputs[] = { s->a, s->b, s->c };
    s->add = fm_graph_append(g, fm_op_find("Sum", ""), "sum", inputs, 3, &s->y, 1);
    assert_int_equal(fm_graph_verify(g, NULL), FLASHMEM_OK);
}

/* sqrt(abs(neg(relu))), without sqrt: abs and neg go too, relu stays for the sum. */
static void test_graph__prunes_what_only_a_removed_node_used(void **state) {
    (void)state;
    small_graph s;
    make_graph(&s);
    fm_tensor *t[3] = { shaped(&s.g, NULL), shaped(&s.g, NULL), shaped(&s.g, NULL) };
    fm_graph_append(&s.g, fm_op_find("Neg", ""), "neg", &s.a, 1, &t[0], 1);
    fm_graph_append(&s.g, fm_op_find("Abs", ""), "abs", &t[0], 1, &t[1], 1);
    fm_node *last = fm_graph_append(&s.g, fm_op_find("Sqrt", ""), "sqrt", &t[1], 1, &t[2], 1);
    fm_graph_remove(&s.g, last);
    fm_graph_prune_before(&s.g, last);
    assert_int_equal(s.g.node_count, 3);
    assert_ptr_equal(s.g.last, s.add);
    assert_int_equal(s.a->use_count, 2);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_arena_destroy(s.arena);
}

static void test_graph__edits_keep_it_whole(void **state) {
    (void)state;
    small_graph s;
    make_graph(&s);
    fm_tensor *t = shaped(&s.g, NULL);
    fm_node   *extra = fm_graph_insert(&s.g, s.add, fm_op_find("Abs", ""), "abs", &s.a, 1, &t, 1);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    assert_ptr_equal(extra->next, s.add);
    assert_ptr_equal(extra->prev, s.neg);
    fm_graph_set_input(&s.g, s.add, 0, t);
    assert_int_equal(s.a->use_count, 2);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_graph_replace(&s.g, s.b, s.a);
    fm_graph_prune(&s.g);
    assert_int_equal(s.g.node_count, 3);
    assert_null(s.b->producer);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_graph_set_input(&s.g, s.add, 2, NULL);
    assert_int_equal(s.c->use_count, 0);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_arena_destroy(s.arena);
}

static void test_graph__replacing_in_its_own_maker(void **state) {
    (void)state;
    small_graph s;
    make_graph(&s);
    fm_tensor *t = shaped(&s.g, "t"); /* t = abs(a), then everybody but abs reads t for a */
    fm_graph_insert(&s.g, s.neg, fm_op_find("Abs", ""), "abs", &s.a, 1, &t, 1);
    fm_graph_replace(&s.g, s.a, t);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    assert_int_equal(s.a->use_count, 1);
    assert_ptr_equal(s.neg->inputs[0], t);
    fm_arena_destroy(s.arena);
}

static void test_graph__outputs_keep_their_names(void **state) {
    (void)state;
    small_graph s;
    make_graph(&s);
    fm_graph_replace(&s.g, s.y, s.b);
    assert_ptr_equal(s.g.outputs[0], s.b);
    assert_string_equal(s.b->name, "y");
    fm_graph_prune(&s.g);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_arena_destroy(s.arena);
    make_graph(&s);
    fm_graph_replace(&s.g, s.y, s.x); /* an input has a name to keep: the output stays as it is */
    assert_ptr_equal(s.g.outputs[0], s.y);
    assert_int_equal(fm_graph_verify(&s.g, NULL), FLASHMEM_OK);
    fm_arena_destroy(s.arena);
}

static void expect_damage(void (*damage)(small_graph *s), const char *part) {
    small_graph    s;
    flashmem_error error = { 0 };
    make_graph(&s);
    damage(&s);
    flashmem_status status = fm_graph_verify(&s.g, &error);
    if (status == FLASHMEM_OK || !strstr(error.message, part))
        fail_msg("%s '%s', expected '%s'", flashmem_status_name(status), error.message, part);
    fm_arena_destroy(s.arena);
}

static void lose_use(small_graph *s) { s->a->use_count--; }
static void add_use(small_graph *s) { FM_PUSH(s->arena, s->x->uses, s->x->use_count, s->x->use_capacity) = s->neg; }
static void wrong_user(small_graph *s) { s->x->uses[0] = s->neg; }
static void no_shape(small_graph *s) { s->b->shaped = false; }
static void no_producer(small_graph *s) { s->b->producer = NULL; }
static void two_producers(small_graph *s) { s->neg->outputs[0] = s->a; }
static void produced_constant(small_graph *s) { s->c->producer = s->add; }
static void other_shape(small_graph *s) { s->c->shape.dims[0] = 5; }
static void bad_shape(small_graph *s) { s->a->shape.dims[0] = -1; }
static void wrong_count(small_graph *s) { s->g.node_count++; }
static void broken_list(small_graph *s) { s->neg->prev = NULL; }
static void looped_list(small_graph *s) { s->add->next = s->relu; }
static void wrong_order(small_graph *s) {
    fm_graph_remove(&s->g, s->relu);
    s->relu = fm_graph_append(&s->g, fm_op_find("Relu", ""), "late", &s->x, 1, &s->a, 1);
}
static void lost_output(small_graph *s) { s->y->is_output = false; }
static void no_operator(small_graph *s) { s->neg->op = NULL; }
static void input_missing(small_graph *s) { fm_graph_set_input(&s->g, s->neg, 0, NULL); }
static void nobody_makes(small_graph *s) { fm_graph_set_input(&s->g, s->neg, 0, shaped(&s->g, "orphan")); }

static void test_verify__notices_damage(void **state) {
    (void)state;
    expect_damage(lose_use, "'a' counts 1 uses, the nodes have 2");
    expect_damage(add_use, "'x' counts 2 uses, the nodes have 1");
    expect_damage(wrong_user, "listed wrongly");
    expect_damage(no_shape, "without a shape");
    expect_damage(no_producer, "producer");
    expect_damage(two_producers, "producer");
    expect_damage(produced_constant, "'c' has a producer");
    expect_damage(other_shape, "'c' differs from its recipe");
    expect_damage(bad_shape, "'a' has an impossible shape");
    expect_damage(wrong_count, "4 nodes counted, 3 linked");
    expect_damage(broken_list, "not linked");
    expect_damage(looped_list, "linked");
    expect_damage(wrong_order, "before it is made");
    expect_damage(lost_output, "output 'y'");
    expect_damage(no_operator, "no operator");
    expect_damage(input_missing, "input 0 is missing");
    expect_damage(nobody_makes, "nobody makes: 'orphan'");
}

/* ---- simplification, on imported models ---- */

static void simplify(imported *i, wire model) {
    import_model(i, model);
    expect_ok(i);
    assert_int_equal(fm_pass_simplify(&i->graph, &i->error), FLASHMEM_OK);
    if (fm_graph_verify(&i->graph, &i->error) != FLASHMEM_OK) fail_msg("%s", i->error.message);
}

static void ints(wire *graph, const char *name, const char *dims, const int64_t *values, size_t count) {
    wire_message(graph, GRAPH_INITIALIZER, tensor_raw(name, FLASHMEM_I64, dims, values, count * sizeof *values));
}

/* x [2, 1, 3] through one node to a Relu: how many nodes are left? */
static uint32_t left_of(const char *op_type, const char *more_inputs, wire *attrs) {
    imported i;
    wire     graph = { 0 };
    char     inputs[64];
    float    one = 1, zero = 0;
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x1x3");
    value_info(&graph, GRAPH_OUTPUT, "y", (flashmem_dtype)0, NULL); /* of any type */
    ints(&graph, "same", "3", (int64_t[]){ 2, 1, 3 }, 3);
    ints(&graph, "other", "3", (int64_t[]){ 3, 1, 2 }, 3);
    ints(&graph, "wider", "3", (int64_t[]){ 2, 4, 3 }, 3);
    ints(&graph, "ones", "3", (int64_t[]){ 1, 1, 1 }, 3);
    ints(&graph, "zero3", "3", (int64_t[]){ 0, 0, 0 }, 3);
    ints(&graph, "last3", "3", (int64_t[]){ -1, -1, -1 }, 3);
    ints(&graph, "low3", "3", (int64_t[]){ -100, -100, -100 }, 3);
    ints(&graph, "back3", "3", (int64_t[]){ -1, -1, -1 }, 3);
    ints(&graph, "axes3", "3", (int64_t[]){ 0, 1, 2 }, 3);
    ints(&graph, "pads", "6", (int64_t[]){ 0, 0, 0, 0, 0, 0 }, 6);
    ints(&graph, "shift", "6", (int64_t[]){ 0, 0, 1, 0, 0, -1 }, 6);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("one", FLASHMEM_F32, "", &one, 4));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("none", FLASHMEM_F32, "1x1x1x1", &zero, 4));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("zero", FLASHMEM_F32, "1", &zero, 4));
    snprintf(inputs, sizeof inputs, strstr(more_inputs, "%s") ? more_inputs : "x%s",
             strstr(more_inputs, "%s") ? "x" : more_inputs);
    node(&graph, op_type, inputs, "h", attrs);
    node(&graph, "Relu", "h", "y", NULL);
    simplify(&i, model_of(graph, 17));
    uint32_t left = i.graph.node_count;
    drop(&i);
    return left;
}

static void test_simplify__removes_what_changes_nothing(void **state) {
    (void)state;
    wire attrs = { 0 };
    assert_int_equal(left_of("Identity", "", NULL), 1);
    assert_int_equal(left_of("Dropout", "", NULL), 1);
    attr_int(&attrs, "to", FLASHMEM_F32);
    assert_int_equal(left_of("Cast", "", &attrs), 1);
    attr_int(&attrs, "to", FLASHMEM_F64);
    assert_int_equal(left_of("Cast", "", &attrs), 2);
    assert_int_equal(left_of("Reshape", ",same", NULL), 1);
    assert_int_equal(left_of("Reshape", ",other", NULL), 2);
    assert_int_equal(left_of("Expand", ",ones", NULL), 1);
    assert_int_equal(left_of("Expand", ",wider", NULL), 2);
    assert_int_equal(left_of("Tile", ",ones", NULL), 1);
    assert_int_equal(left_of("Tile", ",same", NULL), 2);
    attr_ints(&attrs, "perm", (int64_t[]){ 0, 1, 2 }, 3);
    assert_int_equal(left_of("Transpose", "", &attrs), 1);
    attr_ints(&attrs, "perm", (int64_t[]){ 2, 1, 0 }, 3);
    assert_int_equal(left_of("Transpose", "", &attrs), 2);
    assert_int_equal(left_of("Slice", ",zero3,same,axes3,ones", NULL), 1);
    assert_int_equal(left_of("Slice", ",last3,low3,axes3,back3", NULL), 2); /* reversed: same shape, other order */
    assert_int_equal(left_of("Pad", ",pads", NULL), 1);
    assert_int_equal(left_of("Pad", ",shift", NULL), 2);
    attr_int(&attrs, "axis", 0);
    assert_int_equal(left_of("Concat", "", &attrs), 1);
    assert_int_equal(left_of("Sum", "", NULL), 1);
    assert_int_equal(left_of("Neg", "", NULL), 2);
}

static void test_simplify__removes_neutral_arithmetic(void **state) {
    (void)state;
    assert_int_equal(left_of("Mul", ",one", NULL), 1);
    assert_int_equal(left_of("Mul", "one,%s", NULL), 1);
    assert_int_equal(left_of("Mul", ",zero", NULL), 2);
    assert_int_equal(left_of("Add", ",zero", NULL), 1);
    assert_int_equal(left_of("Add", "zero,%s", NULL), 1);
    assert_int_equal(left_of("Add", ",none", NULL), 2); /* adds an axis */
    assert_int_equal(left_of("Sub", ",zero", NULL), 1);
    assert_int_equal(left_of("Sub", "zero,%s", NULL), 2);
    assert_int_equal(left_of("Div", ",one", NULL), 1);
    assert_int_equal(left_of("Div", "one,%s", NULL), 2);
    assert_int_equal(left_of("Pow", ",one", NULL), 1);
}

static void test_simplify__merges_repeated_nodes_and_constants(void **state) {
    (void)state;
    imported i;
    wire     graph = { 0 };
    float    two = 2, three = 3;
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    value_info(&graph, GRAPH_OUTPUT, "z", FLASHMEM_F32, NULL);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("two", FLASHMEM_F32, "", &two, 4));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("zwei", FLASHMEM_F32, "", &two, 4));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("three", FLASHMEM_F32, "", &three, 4));
    node(&graph, "Mul", "x,two", "a", NULL);
    node(&graph, "Mul", "x,zwei", "b", NULL);
    node(&graph, "Mul", "x,three", "c", NULL);
    node(&graph, "Add", "a,b", "d", NULL);
    node(&graph, "Add", "d,c", "y", NULL);
    node(&graph, "Neg", "b", "z", NULL);
    simplify(&i, model_of(graph, 17));
    assert_int_equal(i.graph.node_count, 5);
    assert_ptr_equal(i.graph.outputs[1]->producer->inputs[0], find_tensor(&i, "a"));
    drop(&i);
    /* Equal outputs both stay: each has a name. */
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    value_info(&graph, GRAPH_OUTPUT, "z", FLASHMEM_F32, NULL);
    node(&graph, "Neg", "x", "y", NULL);
    node(&graph, "Neg", "x", "z", NULL);
    simplify(&i, model_of(graph, 17));
    assert_string_equal(i.graph.outputs[0]->name, "y");
    assert_string_equal(i.graph.outputs[1]->name, "z");
    drop(&i);
}

static void test_simplify__reshapes_that_return(void **state) {
    (void)state;
    imported i;
    wire     graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x6");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    ints(&graph, "s1", "3", (int64_t[]){ 2, 3, 2 }, 3);
    ints(&graph, "s2", "1", (int64_t[]){ 12 }, 1);
    ints(&graph, "s3", "2", (int64_t[]){ 2, 6 }, 2);
    node(&graph, "Reshape", "x,s1", "a", NULL);
    node(&graph, "Reshape", "a,s2", "b", NULL);
    node(&graph, "Reshape", "b,s3", "c", NULL);
    node(&graph, "Relu", "c", "y", NULL);
    simplify(&i, model_of(graph, 17));
    assert_int_equal(i.graph.node_count, 1);
    drop(&i);
}

static void test_simplify__an_input_that_is_an_output(void **state) {
    (void)state;
    imported i;
    wire     graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    node(&graph, "Identity", "x", "y", NULL);
    simplify(&i, model_of(graph, 17));
    assert_int_equal(i.graph.node_count, 1);
    assert_string_equal(i.graph.outputs[0]->name, "y");
    assert_string_equal(i.graph.inputs[0]->name, "x");
    drop(&i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph__edits_keep_it_whole),
        cmocka_unit_test(test_graph__prunes_what_only_a_removed_node_used),
        cmocka_unit_test(test_graph__replacing_in_its_own_maker),
        cmocka_unit_test(test_graph__outputs_keep_their_names),
        cmocka_unit_test(test_verify__notices_damage),
        cmocka_unit_test(test_simplify__removes_what_changes_nothing),
        cmocka_unit_test(test_simplify__removes_neutral_arithmetic),
        cmocka_unit_test(test_simplify__merges_repeated_nodes_and_constants),
        cmocka_unit_test(test_simplify__reshapes_that_return),
        cmocka_unit_test(test_simplify__an_input_that_is_an_output),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
