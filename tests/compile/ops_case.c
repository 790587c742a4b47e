/* See ops_case.h. */
#include "tests/compile/ops_case.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "tests/base/cmocka_setup.h"

void ops_begin(ops_case *c) {
    *c = (ops_case){ .arena = fm_arena_create(), .opset = OPS_OPSET };
    assert_non_null(c->arena);
    fm_graph_init(&c->g, c->arena, "test.onnx", &c->log);
}

void ops_end(ops_case *c) {
    fm_graph_close(&c->g);
    fm_arena_destroy(c->arena);
}

int ops_setup(void **state) {
    static ops_case c;
    ops_begin(&c);
    *state = &c;
    return 0;
}

int ops_teardown(void **state) {
    ops_end(*state);
    return 0;
}

fm_tensor *ops_input(ops_case *c, const char *name, flashmem_dtype dtype, fm_shape shape) {
    fm_tensor *t = fm_graph_tensor(&c->g, name);
    fm_infer_set(t, dtype, &shape);
    t->is_input = true;
    FM_PUSH(c->arena, c->g.inputs, c->g.input_count, c->g.input_capacity) = t;
    return t;
}

void ops_output(ops_case *c, fm_tensor *t) {
    t->is_output = true;
    FM_PUSH(c->arena, c->g.outputs, c->g.output_count, c->g.output_capacity) = t;
}

fm_tensor *ops_made(ops_case *c, fm_node *node) {
    c->err = (flashmem_error){ 0 };
    if (fm_op_infer(&c->g, node, &c->err) != FLASHMEM_OK) fail_msg("%s: %s", node->op_type, c->err.message);
    return node->outputs[0];
}

fm_tensor *ops_number(ops_case *c, double value) {
    float f = (float)value;
    return ops_floats(c, NULL, OPS_SCALAR, &f);
}

fm_tensor *ops_typed(ops_case *c, const char *name, flashmem_dtype dtype, fm_shape shape, const void *values) {
    return fm_graph_constant(&c->g, name, fm_recipe_memory(c->arena, dtype, &shape, values));
}

fm_tensor *ops_floats(ops_case *c, const char *name, fm_shape shape, const float *values) {
    return ops_typed(c, name, FLASHMEM_F32, shape, values);
}

static fm_attr *attribute(ops_case *c, const char *name, fm_attr_kind kind) {
    assert_true(c->attr_count < 8);
    fm_attr *a = &c->attrs[c->attr_count++];
    *a = (fm_attr){ .name = name, .kind = kind };
    return a;
}

void ops_attr_int(ops_case *c, const char *name, int64_t value) { attribute(c, name, FM_ATTR_INT)->i = value; }
void ops_attr_float(ops_case *c, const char *name, float value) { attribute(c, name, FM_ATTR_FLOAT)->f = value; }
void ops_attr_text(ops_case *c, const char *name, const char *value) { attribute(c, name, FM_ATTR_STRING)->s = value; }

void ops_attr_ints(ops_case *c, const char *name, const int64_t *values, uint32_t count) {
    int64_t *copy = fm_arena_array(c->arena, count, sizeof *copy);
    memcpy(copy, values, count * sizeof *copy);
    fm_attr *a = attribute(c, name, FM_ATTR_INTS);
    a->ints = copy;
    a->count = count;
}

fm_node *ops_node(ops_case *c, const char *op_type, uint32_t outputs, fm_tensor **inputs, uint32_t count) {
    fm_tensor   *made[8];
    const fm_op *op = fm_op_find(op_type, "");
    assert_non_null(op);
    assert_true(outputs <= 8);
    for (uint32_t i = 0; i < outputs; i++) made[i] = fm_graph_tensor(&c->g, fm_arena_printf(c->arena, "out%u", i));
    fm_node *node = fm_graph_append(&c->g, op, "node", inputs, count, made, outputs);
    node->opset = c->opset;
    node->attrs = fm_arena_array(c->arena, c->attr_count, sizeof *node->attrs);
    memcpy(node->attrs, c->attrs, c->attr_count * sizeof *node->attrs);
    node->attr_count = c->attr_count;
    c->attr_count = 0;
    return node;
}

static void infer(ops_case *c, fm_node *node) {
    c->err = (flashmem_error){ 0 };
    if (fm_op_infer(&c->g, node, &c->err) != FLASHMEM_OK) fail_msg("%s: %s", node->op_type, c->err.message);
}

void ops_expect(ops_case *c, fm_node *node, uint32_t output, flashmem_dtype dtype, fm_shape shape) {
    char a[160], b[160];
    infer(c, node);
    const fm_tensor *t = node->outputs[output];
    assert_true(t->shaped);
    if (t->dtype != dtype || !fm_shape_equal(&t->shape, &shape))
        fail_msg("%s: %s %s, expected %s %s", node->op_type, fm_dtype_name(t->dtype),
                 fm_shape_print(&t->shape, a, sizeof a), fm_dtype_name(dtype), fm_shape_print(&shape, b, sizeof b));
}

void ops_refused(ops_case *c, fm_node *node, flashmem_status status, ...) {
    va_list texts;
    c->err = (flashmem_error){ 0 };
    flashmem_status found = fm_op_infer(&c->g, node, &c->err);
    if (found != status)
        fail_msg("%s: %s, expected %s (%s)", node->op_type, flashmem_status_name(found), flashmem_status_name(status),
                 c->err.message);
    va_start(texts, status);
    for (const char *text; (text = va_arg(texts, const char *));)
        if (!strstr(c->err.message, text)) fail_msg("no '%s' in: %s", text, c->err.message);
    va_end(texts);
}

void ops_expect_ints(ops_case *c, fm_node *node, uint32_t output, const int64_t *values, uint32_t count) {
    int64_t found[256];
    infer(c, node);
    const fm_tensor *t = node->outputs[output];
    assert_non_null(t->constant);
    assert_int_equal(fm_shape_count(&t->shape), count);
    assert_false(fm_dtype_is_float(t->dtype));
    c->err = (flashmem_error){ 0 };
    assert_int_equal(fm_recipe_read_all(t->constant, FLASHMEM_I64, found, &c->err), FLASHMEM_OK);
    for (uint32_t i = 0; i < count; i++)
        if (found[i] != values[i])
            fail_msg("%s: element %u is %" PRId64 ", expected %" PRId64, node->op_type, i, found[i], values[i]);
}

void ops_expect_floats(ops_case *c, fm_node *node, uint32_t output, const double *values, uint32_t count) {
    double found[256];
    infer(c, node);
    const fm_tensor *t = node->outputs[output];
    assert_non_null(t->constant);
    assert_int_equal(fm_shape_count(&t->shape), count);
    assert_true(fm_dtype_is_float(t->dtype));
    c->err = (flashmem_error){ 0 };
    assert_int_equal(fm_recipe_read_all(t->constant, FLASHMEM_F64, found, &c->err), FLASHMEM_OK);
    for (uint32_t i = 0; i < count; i++) {
        bool same = isnan(values[i]) ? isnan(found[i])
                                     : found[i] == values[i] || fabs(found[i] - values[i]) <= 1e-6 * fabs(values[i]);
        if (!same) fail_msg("%s: element %u is %.9g, expected %.9g", node->op_type, i, found[i], values[i]);
    }
}
