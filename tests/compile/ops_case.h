/* One operator at a time: tensors, a node, inference.  For tests of compile/ops. */
#ifndef FM_TESTS_COMPILE_OPS_CASE_H
#define FM_TESTS_COMPILE_OPS_CASE_H

#include "compile/ops/op.h"

enum { OPS_OPSET = 20 };

typedef struct ops_case {
    fm_arena      *arena;
    fm_graph       g;
    fm_log         log;
    flashmem_error err;
    int64_t        opset; /* of nodes made from now on */
    fm_attr        attrs[8];
    uint32_t       attr_count; /* of the next node */
} ops_case;

void ops_begin(ops_case *c);
void ops_end(ops_case *c);
/* cmocka fixtures: a case begun and ended per test; *state is it. */
int ops_setup(void **state);
int ops_teardown(void **state);

/* Shapes: OPS_SHAPE(2, 3); a scalar is OPS_SCALAR. */
#define OPS_COUNT(...) ((uint32_t)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)))
#define OPS_SHAPE(...) ((fm_shape){ .rank = OPS_COUNT(__VA_ARGS__), .dims = { __VA_ARGS__ } })
#define OPS_SCALAR     ((fm_shape){ 0 })

fm_tensor *ops_input(ops_case *c, const char *name, flashmem_dtype dtype, fm_shape shape);
/* Makes t an output of the graph. */
void ops_output(ops_case *c, fm_tensor *t);
/* Constants. */
fm_tensor *ops_floats(ops_case *c, const char *name, fm_shape shape, const float *values);
fm_tensor *ops_typed(ops_case *c, const char *name, flashmem_dtype dtype, fm_shape shape, const void *values);
fm_tensor *ops_number(ops_case *c, double value); /* a float32 scalar */
#define OPS_INTS(c, name, ...) \
    fm_graph_constant_ints(&(c)->g, (name), &OPS_SHAPE(OPS_COUNT(__VA_ARGS__)), (int64_t[]){ __VA_ARGS__ })

void ops_attr_int(ops_case *c, const char *name, int64_t value);
void ops_attr_float(ops_case *c, const char *name, float value);
void ops_attr_text(ops_case *c, const char *name, const char *value);
void ops_attr_ints(ops_case *c, const char *name, const int64_t *values, uint32_t count);
#define OPS_ATTR_INTS(c, name, ...) ops_attr_ints((c), (name), (int64_t[]){ __VA_ARGS__ }, OPS_COUNT(__VA_ARGS__))

/* Appends a node called "node" with the attributes given since the last one; outputs are "out0", "out1", ... */
fm_node *ops_node(ops_case *c, const char *op_type, uint32_t outputs, fm_tensor **inputs, uint32_t count);
#define OPS_NODE(c, op_type, outputs, ...)                              \
    ops_node((c), (op_type), (outputs), (fm_tensor *[]){ __VA_ARGS__ }, \
             (uint32_t)(sizeof((fm_tensor *[]){ __VA_ARGS__ }) / sizeof(fm_tensor *)))

/* Infers; output 0.  The test fails unless it succeeds. */
fm_tensor *ops_made(ops_case *c, fm_node *node);
#define OPS_UNARY(c, op, x)     ops_made((c), OPS_NODE((c), (op), 1, (x)))
#define OPS_BINARY(c, op, x, y) ops_made((c), OPS_NODE((c), (op), 1, (x), (y)))

/* Infers; the test fails unless it succeeds and output i has this type and shape. */
void ops_expect(ops_case *c, fm_node *node, uint32_t output, flashmem_dtype dtype, fm_shape shape);
/* Infers; the test fails unless it is refused with this status and a message that holds every text (NULL ends them). */
void ops_refused(ops_case *c, fm_node *node, flashmem_status status, ...) __attribute__((sentinel));
/* Output 0 is folded to these integers (any integer or bool type) / to these floats within 1e-6 of their size. */
void ops_expect_ints(ops_case *c, fm_node *node, uint32_t output, const int64_t *values, uint32_t count);
void ops_expect_floats(ops_case *c, fm_node *node, uint32_t output, const double *values, uint32_t count);
#define OPS_FOLDS_TO(c, node, ...) ops_expect_ints((c), (node), 0, (int64_t[]){ __VA_ARGS__ }, OPS_COUNT(__VA_ARGS__))
#define OPS_FOLDS_TO_FLOATS(c, node, ...)                        \
    ops_expect_floats((c), (node), 0, (double[]){ __VA_ARGS__ }, \
                      (uint32_t)(sizeof((double[]){ __VA_ARGS__ }) / sizeof(double)))

#endif
