/* The wire format by hand. */
#include "tests/compile/onnx_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wire_append(wire *w, const void *data, size_t bytes) {
    if (w->bytes + bytes > w->capacity) {
        w->capacity = (w->bytes + bytes) * 2 + 64;
        w->data = realloc(w->data, w->capacity);
        if (!w->data) abort();
    }
    if (bytes) memcpy(w->data + w->bytes, data, bytes);
    w->bytes += bytes;
}

void wire_varint(wire *w, uint64_t value) {
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        wire_append(w, &byte, 1);
        value >>= 7;
    } while (value);
}

void wire_key(wire *w, uint32_t field, uint32_t type) { wire_varint(w, (uint64_t)field << 3 | type); }

void wire_int(wire *w, uint32_t field, int64_t value) {
    wire_key(w, field, 0);
    wire_varint(w, (uint64_t)value);
}

void wire_float(wire *w, uint32_t field, float value) {
    wire_key(w, field, 5);
    wire_append(w, &value, 4);
}

void wire_bytes(wire *w, uint32_t field, const void *data, size_t bytes) {
    wire_key(w, field, 2);
    wire_varint(w, bytes);
    wire_append(w, data, bytes);
}

void wire_text(wire *w, uint32_t field, const char *text) { wire_bytes(w, field, text, strlen(text)); }

void wire_message(wire *w, uint32_t field, wire message) {
    wire_bytes(w, field, message.data, message.bytes);
    wire_free(&message);
}

void wire_ints(wire *w, uint32_t field, const int64_t *values, size_t count) {
    wire packed = { 0 };
    for (size_t i = 0; i < count; i++) wire_varint(&packed, (uint64_t)values[i]);
    wire_message(w, field, packed);
}

void wire_free(wire *w) {
    free(w->data);
    *w = (wire){ 0 };
}

void wire_save(const wire *w, const char *path) {
    remove(path); /* a file system may wait for the disk when a file is emptied and written again */
    FILE *f = fopen(path, "wb");
    if (!f || (w->bytes && fwrite(w->data, 1, w->bytes, f) != w->bytes) || fclose(f) != 0) abort();
}

static wire begin_attr(const char *name, int kind) {
    wire a = { 0 };
    wire_text(&a, 1, name);
    wire_int(&a, 20, kind);
    return a;
}

void attr_int(wire *attrs, const char *name, int64_t value) {
    wire a = begin_attr(name, 2);
    wire_int(&a, 3, value);
    wire_message(attrs, 5, a);
}

void attr_float(wire *attrs, const char *name, float value) {
    wire a = begin_attr(name, 1);
    wire_float(&a, 2, value);
    wire_message(attrs, 5, a);
}

void attr_ints(wire *attrs, const char *name, const int64_t *values, size_t count) {
    wire a = begin_attr(name, 7);
    wire_ints(&a, 8, values, count);
    wire_message(attrs, 5, a);
}

void attr_text(wire *attrs, const char *name, const char *text) {
    wire a = begin_attr(name, 3);
    wire_text(&a, 4, text);
    wire_message(attrs, 5, a);
}

void attr_tensor(wire *attrs, const char *name, wire value) {
    wire a = begin_attr(name, 4);
    wire_message(&a, 5, value);
    wire_message(attrs, 5, a);
}

void attr_graph(wire *attrs, const char *name, wire graph) {
    wire a = begin_attr(name, 5);
    wire_message(&a, 6, graph);
    wire_message(attrs, 5, a);
}

void attr_reference(wire *attrs, const char *name, const char *of, int kind) {
    wire a = begin_attr(name, kind);
    wire_text(&a, 21, of);
    wire_message(attrs, 5, a);
}

static void names(wire *to, uint32_t field, const char *list) {
    if (!*list) return;
    for (const char *end;; list = end + 1) {
        end = list + strcspn(list, ",");
        wire_bytes(to, field, list, (size_t)(end - list));
        if (!*end) return;
    }
}

void node_of(wire *to, uint32_t field, const char *op_type, const char *domain, const char *name, const char *inputs,
             const char *outputs, wire *attrs) {
    wire n = { 0 };
    names(&n, 1, inputs);
    names(&n, 2, outputs);
    if (name) wire_text(&n, 3, name);
    wire_text(&n, 4, op_type);
    if (attrs) wire_append(&n, attrs->data, attrs->bytes);
    if (domain && *domain) wire_text(&n, 7, domain);
    wire_message(to, field, n);
    if (attrs) wire_free(attrs);
}

void node(wire *graph, const char *op_type, const char *inputs, const char *outputs, wire *attrs) {
    node_of(graph, GRAPH_NODE, op_type, "", outputs, inputs, outputs, attrs);
}

/* The next part of "2x3", false at the end. */
static bool next_dim(const char **dims, char *part, size_t room) {
    size_t length = strcspn(*dims, "x");
    if (!**dims) return false;
    snprintf(part, room, "%.*s", (int)length, *dims);
    *dims += length + ((*dims)[length] == 'x');
    return true;
}

void value_info(wire *graph, uint32_t field, const char *name, flashmem_dtype dtype, const char *dims) {
    wire info = { 0 }, type = { 0 }, tensor_type = { 0 }, shape = { 0 };
    char part[64];
    wire_int(&tensor_type, 1, dtype);
    while (dims && next_dim(&dims, part, sizeof part)) {
        wire dim = { 0 };
        bool number = part[0] == '-' || (part[0] >= '0' && part[0] <= '9');
        if (number) wire_int(&dim, 1, strtoll(part, NULL, 10));
        else if (part[0] != '?') wire_text(&dim, 2, part);
        wire_message(&shape, 1, dim);
    }
    if (dims) wire_message(&tensor_type, 2, shape);
    wire_message(&type, 1, tensor_type);
    wire_text(&info, 1, name);
    wire_message(&info, 2, type);
    wire_message(graph, field, info);
}

wire tensor(const char *name, flashmem_dtype dtype, const char *dims) {
    wire t = { 0 };
    char part[64];
    while (next_dim(&dims, part, sizeof part)) wire_int(&t, 1, strtoll(part, NULL, 10));
    wire_int(&t, 2, dtype);
    wire_text(&t, 8, name);
    return t;
}

wire tensor_raw(const char *name, flashmem_dtype dtype, const char *dims, const void *data, size_t bytes) {
    wire t = tensor(name, dtype, dims);
    wire_bytes(&t, 9, data, bytes);
    return t;
}

static void entry(wire *t, const char *key, const char *value) {
    wire e = { 0 };
    if (!value) return;
    wire_text(&e, 1, key);
    wire_text(&e, 2, value);
    wire_message(t, 13, e);
}

wire tensor_external(const char *name, flashmem_dtype dtype, const char *dims, const char *location, const char *offset,
                     const char *length) {
    wire t = tensor(name, dtype, dims);
    entry(&t, "location", location);
    entry(&t, "offset", offset);
    entry(&t, "length", length);
    wire_int(&t, 14, 1);
    return t;
}

wire model_of(wire graph, int64_t opset) {
    wire m = { 0 }, set = { 0 };
    wire_int(&m, 1, 10);
    wire_text(&m, 2, "onnx_writer");
    wire_message(&m, 7, graph);
    wire_text(&set, 1, "");
    wire_int(&set, 2, opset);
    wire_message(&m, 8, set);
    return m;
}
