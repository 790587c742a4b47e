/* Reading attributes and small constants of nodes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "compile/graph/graph.h"
#include "compile/graph/convert.h"

const fm_attr *fm_node_attr(const fm_node *node, const char *name) {
    for (uint32_t i = 0; i < node->attr_count; i++)
        if (strcmp(node->attrs[i].name, name) == 0) return &node->attrs[i];
    return NULL;
}

static const fm_attr *attr_of_kind(const fm_node *node, const char *name, fm_attr_kind kind) {
    const fm_attr *a = fm_node_attr(node, name);
    return a && a->kind == kind ? a : NULL;
}

int64_t fm_node_int(const fm_node *node, const char *name, int64_t otherwise) {
    const fm_attr *a = attr_of_kind(node, name, FM_ATTR_INT);
    return a ? a->i : otherwise;
}

float fm_node_float(const fm_node *node, const char *name, float otherwise) {
    const fm_attr *a = attr_of_kind(node, name, FM_ATTR_FLOAT);
    return a ? a->f : otherwise;
}

const char *fm_node_string(const fm_node *node, const char *name, const char *otherwise) {
    const fm_attr *a = attr_of_kind(node, name, FM_ATTR_STRING);
    return a ? a->s : otherwise;
}

const int64_t *fm_node_ints(const fm_node *node, const char *name, uint32_t *count) {
    const fm_attr *a = attr_of_kind(node, name, FM_ATTR_INTS);
    if (count) *count = a ? a->count : 0;
    return a ? a->ints : NULL;
}

/* An unnamed node is known by its first output. */
flashmem_status fm_node_fail(flashmem_error *err, const fm_node *node, const char *format, ...) {
    char        message[768];
    const char *name = node->name;
    va_list     args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (name && *name)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "node '%.120s' (%.60s): %s", name, node->op_type, message);
    const char *output = node->output_count && node->outputs[0] ? node->outputs[0]->name : "";
    return fm_fail(err, FLASHMEM_BAD_MODEL, "node making '%.120s' (%.60s): %s", output, node->op_type, message);
}

bool fm_tensor_ints(const fm_tensor *t, int64_t *to, uint32_t limit, uint32_t *count) {
    if (!t || !t->constant || fm_dtype_is_float(t->constant->dtype)) return false;
    int64_t n = fm_shape_count(&t->constant->shape);
    if (n < 0 || n > (int64_t)limit) return false;
    if (count) *count = (uint32_t)n;
    return n == 0 || fm_recipe_read_all(t->constant, FLASHMEM_I64, to, NULL) == FLASHMEM_OK;
}

bool fm_tensor_scalar(const fm_tensor *t, double *value) {
    if (!t || !t->constant || fm_shape_count(&t->constant->shape) != 1) return false;
    return fm_recipe_read_all(t->constant, FLASHMEM_F64, value, NULL) == FLASHMEM_OK;
}
