/* Import of graphs: order, functions, branches, shapes, and an error that names what is wrong for everything else. */
#include "tests/compile/imported.h"

static const float four[4] = { 1, 2, 3, 4 };

static uint32_t count_nodes(const imported *i, const char *op_type) {
    uint32_t count = 0;
    for (const fm_node *n = i->graph.first; n; n = n->next) count += strcmp(n->op_type, op_type) == 0;
    return count;
}

static wire unary_chain(void) { /* x -> Relu -> Neg -> y, listed backwards */
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x3");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2x3");
    node(&graph, "Neg", "h", "y", NULL);
    node(&graph, "Relu", "x", "h", NULL);
    return graph;
}

static void test_import__sorts_nodes(void **state) {
    (void)state;
    imported i;
    import_model(&i, model_of(unary_chain(), 17));
    expect_ok(&i);
    assert_string_equal(i.graph.first->op_type, "Relu");
    assert_string_equal(i.graph.last->op_type, "Neg");
    assert_int_equal(i.graph.first->opset, 17);
    drop(&i);
}

static void test_import__names_a_cycle(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "d", FLASHMEM_F32, "2");
    node(&graph, "Add", "x,c", "a", NULL);
    node(&graph, "Neg", "a", "b", NULL);
    node(&graph, "Relu", "b", "c", NULL);
    node(&graph, "Relu", "c", "d", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "3 nodes|cycle|'a' (Add) reads 'c'|'b' (Neg) reads 'a'");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_OUTPUT, "a", FLASHMEM_F32, "2");
    node(&graph, "Neg", "a", "a", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "1 nodes|'a' (Neg) reads 'a'");
}

static void test_import__names_what_is_missing(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2");
    node_of(&graph, GRAPH_NODE, "Add", "", "sum", "x,lost", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'sum' (Add)|input 1|'lost'|no node, input or initializer");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2");
    node_of(&graph, GRAPH_NODE, "Add", "", "sum", "x", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'sum' (Add)|input");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "nowhere", FLASHMEM_F32, "2");
    node(&graph, "Neg", "x", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "output 'nowhere'");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    node(&graph, "Neg", "x", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "no outputs");
    wire empty = { 0 };
    wire_int(&empty, 1, 8);
    expect_failure(empty, FLASHMEM_BAD_MODEL, "no graph");
    expect_failure((wire){ 0 }, FLASHMEM_BAD_MODEL, "empty");
}

static void test_import__names_duplicates(void **state) {
    (void)state;
    wire graph = unary_chain();
    node(&graph, "Relu", "x", "h", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'h'|twice");
    graph = unary_chain();
    node(&graph, "Relu", "h", "x", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'x'|twice");
    graph = unary_chain();
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2x3");
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'x'|twice");
    graph = unary_chain();
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2x3");
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'y'|twice");
}

static void test_import__checks_types(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_INPUT, "i", FLASHMEM_I64, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2");
    node_of(&graph, GRAPH_NODE, "Add", "", "sum", "x,i", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'sum' (Add)|float32|int64");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_I64, "2");
    node(&graph, "Neg", "x", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'y'|declared int64|float32");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "x", (flashmem_dtype)8, "2");
    expect_failure(model_of(graph, 17), FLASHMEM_UNSUPPORTED, "'x'|string");
}

static void test_import__lists_all_unknown_operators(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "2");
    node_of(&graph, GRAPH_NODE, "Frobnicate", "", "first", "x", "a", NULL);
    node_of(&graph, GRAPH_NODE, "Frobnicate", "", "second", "a", "b", NULL);
    node_of(&graph, GRAPH_NODE, "Twist", "com.example", "third", "b", "c", NULL);
    node_of(&graph, GRAPH_NODE, "Loop", "", "fourth", "c", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_UNSUPPORTED,
                   "3 operators|Frobnicate (ai.onnx, 2 nodes, first 'first'|Twist (com.example, 1 node, first 'third'|"
                   "Loop (ai.onnx, 1 node, first 'fourth', loops are not supported");
}

typedef struct log_lines {
    char text[1024];
} log_lines;
static void keep_log(void *user, flashmem_log_level level, const char *category, const char *message) {
    log_lines *lines = user;
    if (level == FLASHMEM_LOG_WARN && strcmp(category, "import") == 0)
        strncat(lines->text, message, sizeof lines->text - strlen(lines->text) - 1);
}

static void test_import__opsets(void **state) {
    (void)state;
    imported  i;
    log_lines lines = { "" };
    fm_log    log = { keep_log, &lines };
    expect_failure(model_of(unary_chain(), 10), FLASHMEM_UNSUPPORTED, "opset 10|11|version_converter");
    wire model = { 0 };
    wire_message(&model, 7, unary_chain());
    expect_failure(model, FLASHMEM_BAD_MODEL, "'h'|ai.onnx|no version");
    model = model_of(unary_chain(), FM_ONNX_NEWEST_OPSET + 1);
    wire_save(&model, model_path);
    wire_free(&model);
    memset(&i, 0, sizeof i);
    i.arena = fm_arena_create();
    fm_graph_init(&i.graph, i.arena, model_path, &log);
    assert_int_equal(fm_onnx_load(&i.graph, 4096, &i.model, &i.error), FLASHMEM_OK);
    assert_int_equal(fm_onnx_import(i.model, &i.error), FLASHMEM_OK);
    assert_non_null(strstr(lines.text, "newer than"));
    drop(&i);
}

static void test_import__constants_of_every_kind(void **state) {
    (void)state;
    wire     graph = { 0 }, attrs = { 0 };
    imported i;
    int64_t  ints[4] = { 0 };
    uint32_t count;
    double   value;
    attr_int(&attrs, "value_int", -7);
    node(&graph, "Constant", "", "a", &attrs);
    attr_float(&attrs, "value_float", 2.5f);
    node(&graph, "Constant", "", "b", &attrs);
    attr_ints(&attrs, "value_ints", (int64_t[]){ 4, 5, 6 }, 3);
    node(&graph, "Constant", "", "c", &attrs);
    attr_tensor(&attrs, "value", tensor_raw("", FLASHMEM_F32, "4", four, sizeof four));
    node(&graph, "Constant", "", "d", &attrs);
    for (const char *name = "abcd"; *name; name++) {
        flashmem_dtype t = *name == 'a' || *name == 'c' ? FLASHMEM_I64 : FLASHMEM_F32;
        value_info(&graph, GRAPH_OUTPUT, (char[]){ *name, 0 }, t, NULL);
    }
    import_model(&i, model_of(graph, 13));
    expect_ok(&i);
    assert_int_equal(i.graph.node_count, 0);
    assert_true(fm_tensor_scalar(find_tensor(&i, "a"), &value) && value == -7);
    assert_true(fm_tensor_scalar(find_tensor(&i, "b"), &value) && value == 2.5);
    assert_true(fm_tensor_ints(find_tensor(&i, "c"), ints, 4, &count) && count == 3 && ints[2] == 6);
    assert_int_equal(find_tensor(&i, "d")->shape.dims[0], 4);
    drop(&i);
    graph = (wire){ 0 };
    attr_text(&attrs, "value_string", "text");
    node(&graph, "Constant", "", "s", &attrs);
    expect_failure(model_of(graph, 13), FLASHMEM_UNSUPPORTED, "'s' (Constant)|strings");
    graph = (wire){ 0 };
    node(&graph, "Constant", "", "s", NULL);
    expect_failure(model_of(graph, 13), FLASHMEM_BAD_MODEL, "'s' (Constant)|no value");
}

/* ---- functions ---- */

static wire function(const char *name, const char *input, const char *output) {
    wire f = { 0 }, set = { 0 };
    wire_text(&f, 1, name);
    wire_text(&f, 4, input);
    wire_text(&f, 5, output);
    wire_text(&f, 10, "local");
    wire_int(&set, 2, 17);
    wire_message(&f, 9, set);
    return f;
}

static void test_functions__become_their_nodes(void **state) {
    (void)state;
    wire     graph = { 0 }, attrs = { 0 }, inner = function("Inner", "v", "w"), outer = function("Outer", "p", "q");
    imported i;
    wire_text(&inner, 6, "amount");
    attr_reference(&attrs, "value_float", "amount", 1);
    node_of(&inner, FUNCTION_NODE, "Constant", "", "k", "", "k", &attrs);
    node_of(&inner, FUNCTION_NODE, "Mul", "", "scale", "v,k", "w", NULL);
    attr_float(&attrs, "amount", 3);
    node_of(&outer, FUNCTION_NODE, "Inner", "local", "call", "p", "h", &attrs);
    node_of(&outer, FUNCTION_NODE, "Relu", "", "", "h", "q", NULL);
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "4");
    node_of(&graph, GRAPH_NODE, "Outer", "local", "one", "x", "h", NULL);
    node_of(&graph, GRAPH_NODE, "Outer", "local", "two", "h", "y", NULL);
    wire model = model_of(graph, 17);
    wire_message(&model, 25, inner);
    wire_message(&model, 25, outer);
    import_model(&i, model);
    expect_ok(&i);
    double amount = 0;
    assert_int_equal(i.graph.node_count, 4);
    assert_int_equal(count_nodes(&i, "Mul"), 2);
    assert_string_equal(i.graph.first->name, "one/call/scale");
    assert_true(fm_tensor_scalar(i.graph.first->inputs[1], &amount) && amount == 3);
    assert_string_equal(i.graph.last->outputs[0]->name, "y");
    drop(&i);
}

static void test_functions__that_call_themselves(void **state) {
    (void)state;
    wire graph = { 0 }, f = function("Self", "v", "w");
    node_of(&f, FUNCTION_NODE, "Self", "local", "again", "v", "w", NULL);
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "4");
    node_of(&graph, GRAPH_NODE, "Self", "local", "one", "x", "y", NULL);
    wire model = model_of(graph, 17);
    wire_message(&model, 25, f);
    expect_failure(model, FLASHMEM_BAD_MODEL, "Self|deeper than");
}

static void test_functions__that_double_at_every_level(void **state) {
    (void)state;
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "4");
    node_of(&graph, GRAPH_NODE, "F0", "local", "one", "x", "y", NULL);
    wire model = model_of(graph, 17);
    for (int level = 0; level < 22; level++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "F%d", level);
        snprintf(next, sizeof next, "F%d", level + 1);
        wire f = function(name, "v", "w");
        bool last = level == 21;
        node_of(&f, FUNCTION_NODE, last ? "Neg" : next, last ? "" : "local", "a", "v", "h", NULL);
        node_of(&f, FUNCTION_NODE, last ? "Neg" : next, last ? "" : "local", "b", "h", "w", NULL);
        wire_message(&model, 25, f);
    }
    expect_failure(model, FLASHMEM_UNSUPPORTED, "more than 131072 nodes");
}

static void test_functions__pass_inputs_through(void **state) {
    (void)state;
    wire     graph = { 0 }, f = function("Same", "v", "v");
    imported i;
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, "4");
    node_of(&graph, GRAPH_NODE, "Same", "local", "one", "x", "y", NULL);
    wire model = model_of(graph, 17);
    wire_message(&model, 25, f);
    import_model(&i, model);
    expect_ok(&i);
    assert_int_equal(count_nodes(&i, "Identity"), 1);
    drop(&i);
}

/* ---- branches ---- */

/* y = If(condition: x has more than two rows, Relu(x + k), Neg(x)); k is a constant of the branch. */
static wire model_with_if(const char *dims) {
    wire graph = { 0 }, yes = { 0 }, no = { 0 }, attrs = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, dims);
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    node(&graph, "Shape", "x", "shape", NULL);
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("zero", FLASHMEM_I64, "", "\0\0\0\0\0\0\0\0", 8));
    wire_message(&graph, GRAPH_INITIALIZER, tensor_raw("two", FLASHMEM_I64, "", "\2\0\0\0\0\0\0\0", 8));
    node(&graph, "Gather", "shape,zero", "rows", NULL);
    node(&graph, "Greater", "rows,two", "many", NULL);
    wire_message(&yes, GRAPH_INITIALIZER, tensor_raw("k", FLASHMEM_F32, "1", four, 4));
    node(&yes, "Add", "outer,k", "sum", NULL);
    node(&yes, "Relu", "sum", "out", NULL);
    value_info(&yes, GRAPH_OUTPUT, "out", FLASHMEM_F32, NULL);
    node(&no, "Neg", "outer", "out", NULL);
    value_info(&no, GRAPH_OUTPUT, "out", FLASHMEM_F32, NULL);
    attr_graph(&attrs, "then_branch", yes);
    attr_graph(&attrs, "else_branch", no);
    node(&graph, "If", "many", "y", &attrs);
    node(&graph, "Abs", "x", "outer", NULL); /* only the branches read it; listed after them */
    return model_of(graph, 17);
}

static void test_if__takes_the_branch_that_shapes_decide(void **state) {
    (void)state;
    imported i;
    import_model(&i, model_with_if("5x2"));
    expect_ok(&i);
    assert_int_equal(i.graph.node_count, 3);
    assert_int_equal(count_nodes(&i, "Relu"), 1);
    assert_string_equal(i.graph.outputs[0]->name, "y");
    drop(&i);
    import_model(&i, model_with_if("2x2"));
    expect_ok(&i);
    assert_int_equal(i.graph.node_count, 2);
    assert_string_equal(i.graph.last->op_type, "Neg");
    drop(&i);
}

static void test_if__needs_a_constant_condition(void **state) {
    (void)state;
    wire graph = { 0 }, attrs = { 0 }, yes = { 0 }, no = { 0 };
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "2");
    value_info(&graph, GRAPH_INPUT, "c", FLASHMEM_BOOL, "1");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    value_info(&yes, GRAPH_OUTPUT, "x", FLASHMEM_F32, NULL);
    value_info(&no, GRAPH_OUTPUT, "x", FLASHMEM_F32, NULL);
    attr_graph(&attrs, "then_branch", yes);
    attr_graph(&attrs, "else_branch", no);
    node_of(&graph, GRAPH_NODE, "If", "", "choose", "c", "y", &attrs);
    expect_failure(model_of(graph, 17), FLASHMEM_UNSUPPORTED, "'choose' (If)|'c'|run time");
    graph = (wire){ 0 };
    value_info(&graph, GRAPH_INPUT, "c", FLASHMEM_BOOL, "1");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    node_of(&graph, GRAPH_NODE, "If", "", "choose", "c", "y", NULL);
    expect_failure(model_of(graph, 17), FLASHMEM_BAD_MODEL, "'choose' (If)|then_branch");
}

/* ---- shapes ---- */

static wire model_with_symbols(void) {
    wire graph = { 0 };
    value_info(&graph, GRAPH_INPUT, "ids", FLASHMEM_F32, "batchxsequence");
    value_info(&graph, GRAPH_INPUT, "mask", FLASHMEM_F32, "batchxsequence");
    value_info(&graph, GRAPH_INPUT, "extra", FLASHMEM_F32, "?x4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    value_info(&graph, GRAPH_OUTPUT, "z", FLASHMEM_F32, NULL);
    node(&graph, "Add", "ids,mask", "y", NULL);
    node(&graph, "Neg", "extra", "z", NULL);
    return model_of(graph, 17);
}

static void import_shaped(imported *i, const flashmem_shape *shapes, uint32_t count) {
    wire model = model_with_symbols();
    wire_save(&model, model_path);
    wire_free(&model);
    import_with(i, 4096, shapes, count);
}

static void test_shapes__are_fixed_by_input_and_by_symbol(void **state) {
    (void)state;
    imported       i;
    flashmem_shape by_symbol[] = { { "batch", 0, { 2 } }, { "sequence", 0, { 7 } }, { "extra", 2, { 3, 4 } } };
    import_shaped(&i, by_symbol, 3);
    expect_ok(&i);
    assert_int_equal(i.graph.outputs[0]->shape.dims[1], 7);
    assert_int_equal(i.graph.outputs[1]->shape.dims[0], 3);
    drop(&i);
    flashmem_shape by_input[] = { { "ids", 2, { 5, 6 } }, { "extra", 2, { 1, 4 } } }; /* mask follows */
    import_shaped(&i, by_input, 2);
    expect_ok(&i);
    assert_int_equal(i.graph.outputs[0]->shape.dims[0], 5);
    drop(&i);
}

static void expect_shape_failure(const flashmem_shape *shapes, uint32_t count, const char *parts) {
    imported i;
    char     copy[256];
    import_shaped(&i, shapes, count);
    assert_int_equal(i.status, FLASHMEM_INVALID_ARGUMENT);
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(i.error.message, part)) fail_msg("'%s' lacks '%s'", i.error.message, part);
    drop(&i);
}

static void test_shapes__errors(void **state) {
    (void)state;
    expect_shape_failure(NULL, 0,
                         "3 inputs|ids [batch, sequence]|mask [batch, sequence]|extra [?, 4]|--shape ids=1x128");
    expect_shape_failure((flashmem_shape[]){ { "batch", 0, { 2 } } }, 1, "3 inputs|ids [2, sequence]");
    expect_shape_failure((flashmem_shape[]){ { "nobody", 0, { 2 } } }, 1, "'nobody'|no input and no symbolic|ids [");
    expect_shape_failure((flashmem_shape[]){ { "ids", 2, { 1, 8 } }, { "sequence", 0, { 9 } } }, 2, "'sequence'|8|9");
    expect_shape_failure((flashmem_shape[]){ { "ids", 2, { 1, 8 } }, { "mask", 2, { 1, 9 } } }, 2,
                         "'sequence'|'ids'|'mask'");
    expect_shape_failure((flashmem_shape[]){ { "extra", 2, { 1, 5 } } }, 1, "'extra'|4 at axis 1|5");
    expect_shape_failure((flashmem_shape[]){ { "ids", 3, { 1, 1, 1 } } }, 1, "'ids'|2 dims|has 3");
    expect_shape_failure((flashmem_shape[]){ { "ids", 2, { 1, 0 } } }, 1, "'ids'|0 at axis 1");
    expect_shape_failure((flashmem_shape[]){ { "batch", 0, { -1 } } }, 1, "'batch'|-1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import__sorts_nodes),
        cmocka_unit_test(test_import__names_a_cycle),
        cmocka_unit_test(test_import__names_what_is_missing),
        cmocka_unit_test(test_import__names_duplicates),
        cmocka_unit_test(test_import__checks_types),
        cmocka_unit_test(test_import__lists_all_unknown_operators),
        cmocka_unit_test(test_import__opsets),
        cmocka_unit_test(test_import__constants_of_every_kind),
        cmocka_unit_test(test_functions__become_their_nodes),
        cmocka_unit_test(test_functions__that_call_themselves),
        cmocka_unit_test(test_functions__that_double_at_every_level),
        cmocka_unit_test(test_functions__pass_inputs_through),
        cmocka_unit_test(test_if__takes_the_branch_that_shapes_decide),
        cmocka_unit_test(test_if__needs_a_constant_condition),
        cmocka_unit_test(test_shapes__are_fixed_by_input_and_by_symbol),
        cmocka_unit_test(test_shapes__errors),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
