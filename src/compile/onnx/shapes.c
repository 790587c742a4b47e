/* Fixing the inputs' sizes: by input name, by symbolic dimension, and by what one input's sizes say about another's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "compile/onnx/import.h"
#include "compile/onnx/names.h"

typedef struct symbol {
    int64_t     size;
    const char *by; /* who fixed it, for messages */
} symbol;

static flashmem_status bind_symbol(fm_graph *g, fm_names *symbols, const char *name, int64_t size, const char *by,
                                   flashmem_error *err) {
    symbol *s = fm_names_local(symbols, name);
    if (s && s->size != size)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: dimension '%s' is %" PRId64 " by %s and %" PRId64 " by %s",
                       g->path, name, s->size, s->by, size, by);
    if (s) return FLASHMEM_OK;
    s = fm_arena_alloc(g->arena, sizeof *s);
    *s = (symbol){ size, by };
    fm_names_put(symbols, name, s);
    return FLASHMEM_OK;
}

static fm_tensor *find_input(const fm_graph *g, const char *name) {
    for (size_t i = 0; i < g->input_count; i++)
        if (strcmp(g->inputs[i]->name, name) == 0) return g->inputs[i];
    return NULL;
}

static bool is_symbol(const fm_graph *g, const char *name) {
    for (size_t i = 0; i < g->input_count; i++)
        for (uint32_t a = 0; g->inputs[i]->shape.rank <= FM_MAX_RANK && a < g->inputs[i]->shape.rank; a++)
            if (g->inputs[i]->dim_names[a] && strcmp(g->inputs[i]->dim_names[a], name) == 0) return true;
    return false;
}

/* "input_ids [batch, sequence], mask [batch, ?]" of inputs, all or those not fixed. */
static void list_inputs(const fm_graph *g, bool all, char *text, size_t room) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < g->input_count; i++) {
        const fm_tensor *t = g->inputs[i];
        char             dims[320] = "any rank";
        if (t->shaped && !all) continue;
        for (uint32_t a = 0, at = 0; t->shape.rank <= FM_MAX_RANK && a <= t->shape.rank && at < sizeof dims - 40; a++) {
            const char *sep = a ? ", " : "";
            int put;
            if (a == t->shape.rank) put = snprintf(dims + at, sizeof dims - at, "%s", "");
            else if (t->shape.dims[a] >= 0)
                put = snprintf(dims + at, sizeof dims - at, "%s%" PRId64, sep, t->shape.dims[a]);
            else put = snprintf(dims + at, sizeof dims - at, "%s%.24s", sep, t->dim_names[a] ? t->dim_names[a] : "?");
            at += (uint32_t)put;
        }
        int put = snprintf(text + used, room - used, "%s%.80s [%s]", used ? ", " : "", t->name, dims);
        if (put < 0 || (size_t)put >= room - used) {
            snprintf(text + used, room - used, "%s", "");
            return;
        }
        used += (size_t)put;
    }
}

static flashmem_status fix_input(fm_graph *g, fm_names *symbols, fm_tensor *t, const flashmem_shape *s,
                                 flashmem_error *err) {
    const char *by = fm_arena_printf(g->arena, "the shape of input '%s'", t->name);
    bool        open = t->shape.rank == FM_RANK_UNKNOWN;
    if (s->rank > FM_MAX_RANK)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "shape of input '%s': rank %u, at most %d", t->name, s->rank,
                       FM_MAX_RANK);
    if (!open && t->shape.rank != s->rank)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: input '%s' has %u dims, the given shape has %u", g->path,
                       t->name, t->shape.rank, s->rank);
    for (uint32_t a = 0; a < s->rank; a++) {
        if (s->dims[a] < 1)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "shape of input '%s': dimension %" PRId64 " at axis %u",
                           t->name, s->dims[a], a);
        if (!open && t->shape.dims[a] >= 0 && t->shape.dims[a] != s->dims[a])
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "%s: input '%s' has dimension %" PRId64 " at axis %u, the given shape has %" PRId64, g->path,
                           t->name, t->shape.dims[a], a, s->dims[a]);
        if (!open && t->dim_names[a]) FM_TRY(bind_symbol(g, symbols, t->dim_names[a], s->dims[a], by, err));
    }
    t->shape.rank = s->rank;
    for (uint32_t a = 0; a < s->rank; a++) t->shape.dims[a] = s->dims[a];
    return FLASHMEM_OK;
}

/* A name may be an input's and a symbol's: a list of sizes is for the input, one number for the symbol. */
static flashmem_status apply_shape(fm_graph *g, fm_names *symbols, const flashmem_shape *s, flashmem_error *err) {
    fm_tensor *t = s->name ? find_input(g, s->name) : NULL;
    char       known[640];
    if (t && s->rank > 0) return fix_input(g, symbols, t, s, err);
    if (s->name && s->rank == 0 && is_symbol(g, s->name)) {
        if (s->dims[0] < 1)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "dimension '%s' is %" PRId64 ", expected at least 1",
                           s->name, s->dims[0]);
        return bind_symbol(g, symbols, s->name, s->dims[0], "its --shape", err);
    }
    if (t) { /* one number for an input of one axis */
        flashmem_shape one = *s;
        one.rank = 1;
        return fix_input(g, symbols, t, &one, err);
    }
    list_inputs(g, true, known, sizeof known);
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: a shape is given for '%s', which is no input and no symbolic "
                   "dimension; inputs: %s", g->path, s->name ? s->name : "", known);
}

static flashmem_status report_open(fm_graph *g, uint32_t open, flashmem_error *err) {
    char             text[560], example[160] = "";
    const fm_tensor *first = NULL;
    size_t           used = 0;
    list_inputs(g, false, text, sizeof text);
    for (size_t i = 0; i < g->input_count && !first; i++)
        if (!g->inputs[i]->shaped) first = g->inputs[i];
    for (uint32_t a = 0; first->shape.rank <= FM_MAX_RANK && a < first->shape.rank && used < sizeof example - 24; a++) {
        int64_t d = first->shape.dims[a] >= 0 ? first->shape.dims[a] : a ? 128 : 1;
        used += (size_t)snprintf(example + used, sizeof example - used, "%s%" PRId64, a ? "x" : "", d);
    }
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                   "%s: %u input%s sizes that are not fixed: %s; give each, for example --shape %.60s=%s", g->path,
                   open, open == 1 ? " has" : "s have", text, first->name, used ? example : "1x128");
}

flashmem_status fm_onnx_fix_shapes(fm_graph *g, const flashmem_shape *shapes, uint32_t count, flashmem_error *err) {
    fm_names symbols;
    uint32_t open = 0;
    fm_names_init(&symbols, g->arena, NULL);
    for (uint32_t i = 0; i < count; i++) FM_TRY(apply_shape(g, &symbols, &shapes[i], err));
    for (size_t i = 0; i < g->input_count; i++) {
        fm_tensor *t = g->inputs[i];
        t->shaped = t->shape.rank <= FM_MAX_RANK;
        for (uint32_t a = 0; t->shape.rank <= FM_MAX_RANK && a < t->shape.rank; a++) {
            const symbol *s = t->dim_names[a] ? fm_names_local(&symbols, t->dim_names[a]) : NULL;
            if (s && t->shape.dims[a] < 0) t->shape.dims[a] = s->size;
            if (t->shape.dims[a] < 0) t->shaped = false;
        }
        open += !t->shaped;
        if (t->shaped && fm_shape_count(&t->shape) < 0)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "%s: input '%s' has more elements than any memory holds",
                           g->path, t->name);
    }
    return open ? report_open(g, open, err) : FLASHMEM_OK;
}
