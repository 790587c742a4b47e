/* Attributes of nodes, and the constants that Constant nodes make of them. */
#include <inttypes.h>
#include <string.h>

#include "compile/onnx/importer.h"

/* Files older than the type field leave it out. */
static int32_t kind_of(const FmOnnx__Attribute *p) {
    if (p->has_type && p->type) return p->type;
    if (p->has_f) return FM_ATTR_FLOAT;
    if (p->has_i) return FM_ATTR_INT;
    if (p->has_s) return FM_ATTR_STRING;
    if (p->t) return FM_ATTR_TENSOR;
    if (p->g) return FM_ATTR_GRAPH;
    if (p->n_floats) return FM_ATTR_FLOATS;
    if (p->n_strings) return FM_ATTR_STRINGS;
    return FM_ATTR_INTS;
}

static const char *text_of(fm_arena *a, const ProtobufCBinaryData *bytes) {
    return bytes->len ? fm_arena_strndup(a, (const char *)bytes->data, bytes->len) : "";
}

static flashmem_status convert_attribute(fm_onnx_model *m, const FmOnnx__Attribute *p, const char *node, fm_attr *to,
                                         flashmem_error *err) {
    fm_arena *a = m->g->arena;
    to->name = p->name ? p->name : "";
    to->kind = (fm_attr_kind)kind_of(p);
    switch ((int)to->kind) {
    case FM_ATTR_FLOAT: to->f = p->f; return FLASHMEM_OK;
    case FM_ATTR_INT: to->i = p->i; return FLASHMEM_OK;
    case FM_ATTR_STRING: to->s = text_of(a, &p->s); return FLASHMEM_OK;
    case FM_ATTR_GRAPH: return FLASHMEM_OK;
    case FM_ATTR_TENSOR:
        if (!p->t)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s': attribute '%s' holds no tensor", m->g->path, node,
                           to->name);
        return fm_onnx_tensor(m, p->t, fm_arena_printf(a, "%s.%s", node, to->name), &to->tensor, err);
    case FM_ATTR_FLOATS:
        to->floats = p->floats;
        to->count = (uint32_t)p->n_floats;
        return FLASHMEM_OK;
    case FM_ATTR_INTS:
        to->ints = p->ints;
        to->count = (uint32_t)p->n_ints;
        return FLASHMEM_OK;
    case FM_ATTR_STRINGS:
        to->strings = fm_arena_array(a, p->n_strings, sizeof *to->strings);
        to->count = (uint32_t)p->n_strings;
        for (size_t i = 0; i < p->n_strings; i++) to->strings[i] = text_of(a, &p->strings[i]);
        return FLASHMEM_OK;
    default:
        return fm_fail(
            err, FLASHMEM_UNSUPPORTED,
            "%s: node '%s': attribute '%s' is of kind %d: only numbers, strings, dense tensors and their lists "
            "are supported",
            m->g->path, node, to->name, (int)to->kind);
    }
}

/* ref_attr_name: the call's attribute, else the function's default; found = false: the attribute is absent. */
static flashmem_status resolve(const fm_onnx_body *b, const FmOnnx__Attribute *p, const char *node, fm_attr *to,
                               bool *found, flashmem_error *err) {
    *found = true;
    if (!p->ref_attr_name || !*p->ref_attr_name) return convert_attribute(b->m, p, node, to, err);
    for (uint32_t i = 0; i < b->argument_count; i++)
        if (strcmp(b->arguments[i].name, p->ref_attr_name) == 0) {
            *to = b->arguments[i];
            to->name = p->name ? p->name : "";
            return FLASHMEM_OK;
        }
    for (size_t i = 0; b->function && i < b->function->n_attribute_proto; i++) {
        const FmOnnx__Attribute *given = b->function->attribute_proto[i];
        if (!given->name || strcmp(given->name, p->ref_attr_name) != 0) continue;
        FM_TRY(convert_attribute(b->m, given, node, to, err));
        to->name = p->name ? p->name : "";
        return FLASHMEM_OK;
    }
    *found = false;
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_attributes(const fm_onnx_body *b, const FmOnnx__Node *proto, const char *node, fm_attr **attrs,
                                   uint32_t *count, flashmem_error *err) {
    *attrs = fm_arena_array(b->m->g->arena, proto->n_attribute, sizeof **attrs);
    *count = 0;
    for (size_t i = 0; i < proto->n_attribute; i++) {
        bool found;
        FM_TRY(resolve(b, proto->attribute[i], node, &(*attrs)[*count], &found, err));
        *count += found;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_constant(const fm_onnx_body *b, const char *node, const fm_attr *attrs, uint32_t count,
                                 const fm_recipe **out, flashmem_error *err) {
    fm_arena   *a = b->m->g->arena;
    const char *path = b->m->g->path;
    for (uint32_t i = 0; i < count; i++) {
        const fm_attr *v = &attrs[i];
        fm_shape       scalar = { .rank = 0 }, list = { .rank = 1, .dims = { v->count } };
        if (strncmp(v->name, "value", 5) != 0) continue;
        switch (v->kind) {
        case FM_ATTR_TENSOR: *out = v->tensor; return FLASHMEM_OK;
        case FM_ATTR_FLOAT: *out = fm_recipe_memory(a, FLASHMEM_F32, &scalar, &v->f); return FLASHMEM_OK;
        case FM_ATTR_INT: *out = fm_recipe_memory(a, FLASHMEM_I64, &scalar, &v->i); return FLASHMEM_OK;
        case FM_ATTR_FLOATS: *out = fm_recipe_memory(a, FLASHMEM_F32, &list, v->floats); return FLASHMEM_OK;
        case FM_ATTR_INTS: *out = fm_recipe_memory(a, FLASHMEM_I64, &list, v->ints); return FLASHMEM_OK;
        default:
            return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: node '%s' (Constant): '%s' holds strings", path, node,
                           v->name);
        }
    }
    return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: node '%s' (Constant): no value", path, node);
}
