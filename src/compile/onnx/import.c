/* The model as a whole: opening and parsing, inputs and outputs, what the file says about itself. */
#include "compile/onnx/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "compile/onnx/importer.h"
#include "compile/onnx/scan.h"

static void *proto_alloc(void *arena, size_t bytes) { return fm_arena_alloc(arena, bytes); }
static void  proto_free(void *arena, void *memory) {
    (void)arena;
    (void)memory; /* the arena's */
}

flashmem_status fm_onnx_load(fm_graph *g, uint64_t hoist_above, fm_onnx_model **out, flashmem_error *err) {
    fm_onnx_model     *m = fm_arena_alloc(g->arena, sizeof *m);
    ProtobufCAllocator allocator = { .alloc = proto_alloc, .free = proto_free, .allocator_data = g->arena };
    uint64_t           file_bytes;
    uint8_t           *reduced;
    size_t             reduced_bytes;
    m->g = g;
    FM_TRY(fm_file_open(g->path, &m->fd, &file_bytes, err));
    FM_PUSH(g->arena, g->fds, g->fd_count, g->fd_capacity) = m->fd;
    FM_TRY(fm_onnx_scan(g->arena, m->fd, g->path, file_bytes, hoist_above, &reduced, &reduced_bytes, err));
    m->proto = fm_onnx__model__unpack(&allocator, reduced_bytes, reduced);
    if (!m->proto)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: not a valid ONNX file: protobuf cannot parse it", g->path);
    if (!m->proto->graph)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: not an ONNX model: it has no graph", g->path);
    m->files = fm_onnx_files_create(g);
    fm_names_init(&m->scope, g->arena, NULL);
    fm_names_init(&m->fills, g->arena, NULL);
    for (size_t i = 0; i < m->proto->n_metadata_props; i++) {
        FmOnnx__Entry *e = m->proto->metadata_props[i];
        if (e->key && e->value && strncmp(e->key, "fill:", 5) == 0) fm_names_put(&m->fills, e->key + 5, e->value);
    }
    g->name = m->proto->graph->name ? m->proto->graph->name : "";
    *out = m;
    return fm_onnx_index_functions(m, err);
}

static flashmem_status read_dims(fm_onnx_model *m, const FmOnnx__Shape *shape, fm_tensor *t, flashmem_error *err) {
    fm_graph *g = m->g;
    if (shape->n_dim > FM_MAX_RANK)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: input '%s' has %zu dims, at most %d are supported", g->path,
                       t->name, shape->n_dim, FM_MAX_RANK);
    t->shape.rank = (uint32_t)shape->n_dim;
    t->shaped = true;
    for (uint32_t i = 0; i < t->shape.rank; i++) {
        const FmOnnx__Dimension *d = shape->dim[i];
        bool                     fixed = d->has_dim_value && d->dim_value >= 0;
        t->shape.dims[i] = fixed ? d->dim_value : -1;
        t->dim_names[i] = !fixed && d->dim_param && *d->dim_param ? d->dim_param : NULL;
        t->shaped = t->shaped && fixed;
    }
    if (t->shaped && fm_shape_count(&t->shape) < 0)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: input '%s' has more elements than any memory holds", g->path,
                       t->name);
    return FLASHMEM_OK;
}

static flashmem_status import_input(fm_onnx_model *m, const FmOnnx__ValueInfo *info, flashmem_error *err) {
    fm_graph *g = m->g;
    if (!info->name || !*info->name) return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: an input has no name", g->path);
    if (!info->type || !info->type->tensor_type)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: input '%s' is not a tensor", g->path, info->name);
    const FmOnnx__TensorType *type = info->type->tensor_type;
    if (!fm_dtype_bytes((flashmem_dtype)type->elem_type))
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: input '%s' has element type %s (%d)", g->path, info->name,
                       fm_onnx_type_name(type->elem_type), type->elem_type);
    if (fm_names_local(&m->scope, info->name))
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: input '%s' is declared twice", g->path, info->name);
    fm_tensor *t = fm_graph_tensor(g, info->name);
    t->dtype = (flashmem_dtype)type->elem_type;
    t->is_input = true;
    t->shape.rank = FM_RANK_UNKNOWN;
    if (type->shape) FM_TRY(read_dims(m, type->shape, t, err));
    FM_PUSH(g->arena, g->inputs, g->input_count, g->input_capacity) = t;
    fm_names_put(&m->scope, info->name, t);
    return FLASHMEM_OK;
}

/* Old files list initializers among the inputs too: those are constants. */
flashmem_status fm_onnx_import_inputs(fm_onnx_model *m, flashmem_error *err) {
    FmOnnx__Graph *graph = m->proto->graph;
    fm_names       initializers;
    fm_names_init(&initializers, m->g->arena, NULL);
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (graph->initializer[i]->name) fm_names_put(&initializers, graph->initializer[i]->name, graph);
    for (size_t i = 0; i < graph->n_input; i++) {
        const char *name = graph->input[i]->name;
        if (!name || !fm_names_local(&initializers, name)) FM_TRY(import_input(m, graph->input[i], err));
    }
    return FLASHMEM_OK;
}

static flashmem_status import_outputs(fm_onnx_model *m, flashmem_error *err) {
    fm_graph      *g = m->g;
    FmOnnx__Graph *graph = m->proto->graph;
    for (size_t i = 0; i < graph->n_output; i++) {
        const char *name = graph->output[i]->name ? graph->output[i]->name : "";
        fm_tensor  *t = fm_names_local(&m->scope, name);
        if (!t)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: output '%s' is made by no node, input or initializer", g->path,
                           name);
        if (t->is_output) return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: output '%s' is declared twice", g->path, name);
        t->is_output = true;
        FM_PUSH(g->arena, g->outputs, g->output_count, g->output_capacity) = t;
    }
    if (!g->output_count) return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: the graph has no outputs", g->path);
    return FLASHMEM_OK;
}

static void warn_of_newer(const fm_onnx_model *m) {
    for (size_t i = 0; i < m->proto->n_opset_import; i++) {
        const FmOnnx__OperatorSet *o = m->proto->opset_import[i];
        bool                       standard = !o->domain || !*o->domain || strcmp(o->domain, "ai.onnx") == 0;
        if (standard && o->version > FM_ONNX_NEWEST_OPSET)
            fm_warn(m->g->log, "import",
                    "%s: opset %" PRId64 " is newer than %d, the newest known: operators are read as "
                    "they were then",
                    m->g->path, o->version, FM_ONNX_NEWEST_OPSET);
    }
}

flashmem_status fm_onnx_report_unknown(const fm_onnx_model *m, flashmem_error *err) {
    char   text[720] = "";
    size_t used = 0;
    for (size_t i = 0; i < m->unknown_count; i++) {
        const fm_onnx_unknown *u = &m->unknown[i];
        char                   line[224];
        int put = snprintf(line, sizeof line, "%s%.48s (%.40s, %u node%s, first '%.60s'%s)", i ? "; " : "", u->op_type,
                           *u->domain ? u->domain : "ai.onnx", u->count, u->count == 1 ? "" : "s", u->node, u->why);
        if (put < 0 || used + (size_t)put + 24 > sizeof text) {
            snprintf(text + used, sizeof text - used, "; and %zu more", m->unknown_count - i);
            break;
        }
        memcpy(text + used, line, (size_t)put + 1);
        used += (size_t)put;
    }
    if (!m->unknown_count) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s: %zu operator%s not supported: %s", m->g->path, m->unknown_count,
                   m->unknown_count == 1 ? " is" : "s are", text);
}

flashmem_status fm_onnx_import(fm_onnx_model *m, flashmem_error *err) {
    FmOnnx__Graph *graph = m->proto->graph;
    fm_onnx_body   body = { .m = m, .scope = &m->scope, .opsets = m->proto->opset_import,
                            .opset_count = m->proto->n_opset_import, .prefix = "" };
    warn_of_newer(m);
    FM_TRY(fm_onnx_import_inputs(m, err));
    FM_TRY(fm_onnx_initializers(&body, graph, err));
    FM_TRY(fm_onnx_nodes(&body, graph->node, graph->n_node, NULL, NULL, 0, err));
    FM_TRY(fm_onnx_report_unknown(m, err));
    return import_outputs(m, err);
}

flashmem_status fm_onnx_check_outputs(const fm_onnx_model *m, flashmem_error *err) {
    const FmOnnx__Graph *graph = m->proto->graph;
    for (size_t i = 0; i < graph->n_output && i < m->g->output_count; i++) {
        const FmOnnx__Type *type = graph->output[i]->type;
        const fm_tensor    *t = m->g->outputs[i];
        int32_t             declared = type && type->tensor_type ? type->tensor_type->elem_type : 0;
        if (declared && (flashmem_dtype)declared != t->dtype)
            return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: output '%s' is declared %s, its node makes %s", m->g->path,
                           t->name, fm_onnx_type_name(declared), fm_dtype_name(t->dtype));
    }
    return FLASHMEM_OK;
}

typedef struct file_walk {
    fm_onnx_model  *m;
    fm_names        seen;
    int (*each)(void *user, const char *path);
    void           *user;
    bool            stop;
    flashmem_error *err;
} file_walk;

static flashmem_status walk_tensor(file_walk *w, const FmOnnx__Tensor *t) {
    const char *path;
    if (w->stop || !t || t->data_location != 1) return FLASHMEM_OK;
    FM_TRY(fm_onnx_external_path(w->m->g, t->name ? t->name : "", t, &path, w->err));
    if (fm_names_local(&w->seen, path)) return FLASHMEM_OK;
    fm_names_put(&w->seen, path, w);
    w->stop = w->each(w->user, path) != 0;
    return FLASHMEM_OK;
}

static flashmem_status walk_nodes(file_walk *w, FmOnnx__Node **nodes, size_t count) {
    for (size_t n = 0; n < count; n++)
        for (size_t a = 0; a < nodes[n]->n_attribute; a++) {
            const FmOnnx__Graph *g = nodes[n]->attribute[a]->g;
            FM_TRY(walk_tensor(w, nodes[n]->attribute[a]->t));
            if (!g) continue;
            for (size_t i = 0; i < g->n_initializer; i++) FM_TRY(walk_tensor(w, g->initializer[i]));
            FM_TRY(walk_nodes(w, g->node, g->n_node));
        }
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_each_file(fm_onnx_model *m, int (*each)(void *user, const char *path), void *user,
                                  flashmem_error *err) {
    file_walk      w = { .m = m, .each = each, .user = user, .err = err };
    FmOnnx__Graph *graph = m->proto->graph;
    fm_names_init(&w.seen, m->g->arena, NULL);
    for (size_t i = 0; i < graph->n_initializer; i++) FM_TRY(walk_tensor(&w, graph->initializer[i]));
    FM_TRY(walk_nodes(&w, graph->node, graph->n_node));
    for (size_t f = 0; f < m->proto->n_functions; f++)
        FM_TRY(walk_nodes(&w, m->proto->functions[f]->node, m->proto->functions[f]->n_node));
    return FLASHMEM_OK;
}
