/* Writes ONNX files field by field, valid or not, independently of what reads them.  Tests only; running out of memory
 * aborts. */
#ifndef FM_TESTS_ONNX_WRITER_H
#define FM_TESTS_ONNX_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flashmem/status.h"

/* Serialised fields.  Messages are put into others by wire_message, which frees them. */
typedef struct wire {
    uint8_t *data;
    size_t   bytes, capacity;
} wire;
void wire_append(wire *w, const void *data, size_t bytes);
void wire_varint(wire *w, uint64_t value);
void wire_key(wire *w, uint32_t field, uint32_t type);
void wire_int(wire *w, uint32_t field, int64_t value);
void wire_float(wire *w, uint32_t field, float value);
void wire_bytes(wire *w, uint32_t field, const void *data, size_t bytes);
void wire_text(wire *w, uint32_t field, const char *text);
void wire_message(wire *w, uint32_t field, wire message);
void wire_ints(wire *w, uint32_t field, const int64_t *values, size_t count); /* packed */
void wire_free(wire *w);
void wire_save(const wire *w, const char *path);

enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, FUNCTION_NODE = 7 };

/* Attributes of one node, collected. */
void attr_int(wire *attrs, const char *name, int64_t value);
void attr_float(wire *attrs, const char *name, float value);
void attr_ints(wire *attrs, const char *name, const int64_t *values, size_t count);
void attr_text(wire *attrs, const char *name, const char *text);
void attr_tensor(wire *attrs, const char *name, wire tensor);
void attr_graph(wire *attrs, const char *name, wire graph);
void attr_reference(wire *attrs, const char *name, const char *of, int kind);

/* A node in a graph or function; inputs and outputs as "a,b,,c".  attrs may be NULL, else it is emptied. */
void node_of(wire *to, uint32_t field, const char *op_type, const char *domain, const char *name, const char *inputs,
             const char *outputs, wire *attrs);
void node(wire *graph, const char *op_type, const char *inputs, const char *outputs, wire *attrs); /* named by output */

/* dims as "2x3", "batchx128" (symbols), "?x4" (nameless), "" (scalar), NULL (no shape). */
void value_info(wire *graph, uint32_t field, const char *name, flashmem_dtype dtype, const char *dims);

/* TensorProto without data, then the data by wire_* (raw 9, float 4, int32 5, int64 7, double 10, uint64 11). */
wire tensor(const char *name, flashmem_dtype dtype, const char *dims);
wire tensor_raw(const char *name, flashmem_dtype dtype, const char *dims, const void *data, size_t bytes);
wire tensor_external(const char *name, flashmem_dtype dtype, const char *dims, const char *location, const char *offset,
                     const char *length);

/* A whole model with one opset of ai.onnx; frees graph.  More model fields may be appended after. */
wire model_of(wire graph, int64_t opset);

#endif
