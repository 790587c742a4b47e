/* Einsum of one or two operands: permutations and one matrix product.  Each label is a batch axis (both operands and
 * the output), a row (first and output), a column (second and output) or summed (both, not the output).  The axes of an
 * ellipsis are labels of their own, digits: the last of them is '7'. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "compile/lower_internal.h"
#include "compile/ops/infer_helpers.h"

typedef struct terms {
    char     labels[3][FM_MAX_RANK + 1]; /* operands, then output ("" for a scalar) */
    uint32_t count[3], operands;
    int64_t  size[128]; /* by label */
} terms;

static bool ends_term(const char *at) { return !*at || *at == ',' || strncmp(at, "->", 2) == 0; }

/* Axes that an ellipsis stands for in a term of that rank. */
static uint32_t ellipsis_axes(const char *at, uint32_t rank) {
    uint32_t letters = 0;
    for (; !ends_term(at); at++) letters += isalpha((unsigned char)*at) != 0;
    return rank > letters ? rank - letters : 0;
}

/* Labels up to a comma, an arrow or the end, blanks dropped.  wide: axes of an ellipsis. */
static flashmem_status read_term(const fm_node *node, const char **at, uint32_t wide, char *labels, uint32_t *count,
                                 flashmem_error *err) {
    *count = 0;
    for (; !ends_term(*at); ++*at) {
        unsigned char c = (unsigned char)**at;
        if (isspace(c)) continue;
        if (strncmp(*at, "...", 3) == 0) {
            if (*count + wide > FM_MAX_RANK || strpbrk(labels, "01234567"))
                return fm_node_fail(err, node, "its equation has an ellipsis that stands for no axes: '%s'", *at);
            for (uint32_t i = FM_MAX_RANK - wide; i < FM_MAX_RANK; i++) labels[(*count)++] = (char)('0' + i);
            labels[*count] = '\0';
            *at += 2;
            continue;
        }
        if (!isalpha(c)) return fm_node_unsupported(err, node, "'%c' in its equation is not handled", c);
        if (*count == FM_MAX_RANK) return fm_node_unsupported(err, node, "more than %d labels in a term", FM_MAX_RANK);
        if (strchr(labels, c)) return fm_node_unsupported(err, node, "label '%c' twice in a term is not handled", c);
        labels[(*count)++] = (char)c;
        labels[*count] = '\0';
    }
    return FLASHMEM_OK;
}

/* Without an arrow the output has the ellipsis, then the labels that appear once, in alphabetical order. */
static void implicit_output(terms *t) {
    for (int c = 0; c < 128; c++) {
        if (!isalnum(c)) continue;
        uint32_t uses = 0;
        for (uint32_t i = 0; i < t->operands; i++) uses += strchr(t->labels[i], c) != NULL;
        if ((uses == 1 || (uses > 1 && isdigit(c))) && t->count[2] < FM_MAX_RANK) t->labels[2][t->count[2]++] = (char)c;
    }
    t->labels[2][t->count[2]] = '\0';
}

static flashmem_status parse(const fm_node *node, terms *t, flashmem_error *err) {
    const char *at = fm_node_string(node, "equation", "");
    uint32_t    widest = 0;
    memset(t, 0, sizeof *t);
    t->operands = node->input_count;
    for (uint32_t i = 0; i < t->operands; i++) {
        if (!node->inputs[i]) return fm_node_fail(err, node, "input %u is missing", i);
        uint32_t wide = ellipsis_axes(at, node->inputs[i]->shape.rank);
        FM_TRY(read_term(node, &at, wide, t->labels[i], &t->count[i], err));
        if (strpbrk(t->labels[i], "01234567") && wide > widest) widest = wide;
        if (i + 1 < t->operands && *at++ != ',') return fm_node_fail(err, node, "its equation has too few terms");
        const fm_tensor *x = node->inputs[i];
        if (x->shape.rank != t->count[i])
            return fm_node_fail(err, node, "tensor '%s' has %u dims, its term '%s'", x->name, x->shape.rank,
                                t->labels[i]);
        for (uint32_t a = 0; a < t->count[i]; a++) {
            int64_t *size = &t->size[(unsigned char)t->labels[i][a]];
            if (*size && *size != x->shape.dims[a])
                return fm_node_unsupported(err, node, "label '%c' has two sizes", t->labels[i][a]);
            *size = x->shape.dims[a];
        }
    }
    if (strncmp(at, "->", 2) == 0) {
        at += 2;
        FM_TRY(read_term(node, &at, widest, t->labels[2], &t->count[2], err));
    } else if (*at == '\0') {
        implicit_output(t);
    }
    if (*at) return fm_node_fail(err, node, "its equation does not end where expected: '%s'", at);
    for (uint32_t a = 0; a < t->count[2]; a++)
        if (!strchr(t->labels[0], t->labels[2][a]) && !(t->operands > 1 && strchr(t->labels[1], t->labels[2][a])))
            return fm_node_fail(err, node, "label '%c' is in no operand", t->labels[2][a]);
    return FLASHMEM_OK;
}

static flashmem_status infer_einsum(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    terms t;
    if (node->input_count > 2) return fm_node_unsupported(err, node, "more than two operands");
    FM_TRY(fm_infer_type(node, 0, FM_TYPES_FLOAT, err));
    if (node->input_count > 1) FM_TRY(fm_infer_same_type(node, 0, 1, err));
    FM_TRY(parse(node, &t, err));
    fm_shape out = { .rank = t.count[2] };
    for (uint32_t a = 0; a < t.count[2]; a++) out.dims[a] = t.size[(unsigned char)t.labels[2][a]];
    fm_infer_output(node, 0, node->inputs[0]->dtype, &out);
    return FLASHMEM_OK;
}

/* Of two operands: every element of the output sums over the labels that both have and it has not.  What one operand
 * alone has is summed before. */
static double macs_einsum(const fm_node *node) {
    terms          t;
    flashmem_error ignored = { 0 };
    if (parse(node, &t, &ignored) != FLASHMEM_OK || t.operands < 2) return 0;
    double macs = (double)fm_shape_count(&node->outputs[0]->shape);
    for (const char *c = t.labels[0]; *c; c++)
        if (strchr(t.labels[1], *c) && !strchr(t.labels[2], *c)) macs *= (double)t.size[(unsigned char)*c];
    return macs;
}

/* Axes of a view in the order of `labels`; all of them must be there. */
static fm_view ordered(const fm_view *view, const char *own, const char *labels) {
    uint32_t permutation[FM_MAX_RANK];
    for (uint32_t i = 0; labels[i]; i++) permutation[i] = (uint32_t)(strchr(own, labels[i]) - own);
    return fm_view_permute(view, permutation);
}

/* Sums away the axes of an operand that nothing else names. */
static flashmem_status sum_alone(fm_lower *l, fm_node *node, terms *t, uint32_t operand, fm_view *view,
                                 flashmem_error *err) {
    fm_reduce_desc d = { .name = node->name, .op = FM_REDUCE_SUM, .x = *view };
    fm_shape       kept = view->shape;
    char           labels[FM_MAX_RANK + 1] = "";
    const char    *own = t->labels[operand], *other = t->operands > 1 ? t->labels[1 - operand] : "";
    uint32_t       left = 0;
    fm_shape       squeezed = { .rank = 0 };
    for (uint32_t a = 0; own[a]; a++) {
        if (strchr(other, own[a]) || strchr(t->labels[2], own[a])) {
            labels[left++] = own[a];
            squeezed.dims[squeezed.rank++] = kept.dims[a];
            continue;
        }
        d.reduced |= 1u << a;
        kept.dims[a] = 1;
    }
    if (!d.reduced) return FLASHMEM_OK;
    d.out = fm_lower_temporary(l, FLASHMEM_F32, &kept);
    FM_TRY(fm_emit_reduce(&l->emit, &d, err));
    if (!fm_view_reshape(&d.out, &squeezed, view)) return fm_fail(err, FLASHMEM_INTERNAL, "a dense view reshapes");
    memcpy(t->labels[operand], labels, sizeof labels);
    return FLASHMEM_OK;
}

/* Labels of `from` sorted into what they are to the product. */
static void classify(const terms *t, char *batch, char *rows, char *columns, char *summed) {
    for (const char *c = t->labels[2]; *c; c++) {
        bool   a = strchr(t->labels[0], *c) != NULL, b = strchr(t->labels[1], *c) != NULL;
        char  *to = a && b ? batch : a ? rows : columns;
        size_t n = strlen(to);
        to[n] = *c;
        to[n + 1] = '\0';
    }
    for (const char *c = t->labels[0]; *c; c++)
        if (!strchr(t->labels[2], *c)) {
            size_t n = strlen(summed);
            summed[n] = *c;
            summed[n + 1] = '\0';
        }
}

static int64_t product_of(const terms *t, const char *labels) {
    int64_t n = 1;
    for (; *labels; labels++) n *= t->size[(unsigned char)*labels];
    return n;
}

/* view (axes in the order batch, first, second) as [batch..., |first|, |second|]. */
static flashmem_status grouped(fm_lower *l, const fm_node *node, const terms *t, const char *batch, const char *first,
                               const char *second, bool may_copy, fm_view *view, flashmem_error *err) {
    fm_shape s = { .rank = (uint32_t)strlen(batch) };
    for (uint32_t i = 0; i < s.rank; i++) s.dims[i] = t->size[(unsigned char)batch[i]];
    s.dims[s.rank++] = product_of(t, first);
    s.dims[s.rank++] = product_of(t, second);
    if (fm_view_reshape(view, &s, view)) return FLASHMEM_OK;
    if (may_copy) FM_TRY(fm_lower_dense(l, node->name, view, view, err));
    if (fm_view_reshape(view, &s, view)) return FLASHMEM_OK;
    return fm_node_unsupported(err, node, "the order of its output's axes");
}

static flashmem_status lower_pair(fm_lower *l, fm_node *node, terms *t, flashmem_error *err) {
    char                 batch[2 * FM_MAX_RANK] = "", rows[2 * FM_MAX_RANK] = "", columns[2 * FM_MAX_RANK] = "";
    char                 summed[2 * FM_MAX_RANK] = "", order[6 * FM_MAX_RANK];
    fm_lower_matmul_args m = { .name = node->name };
    fm_view              out;
    FM_TRY(fm_lower_view(l, node->inputs[0], &m.a, err));
    FM_TRY(fm_lower_view(l, node->inputs[1], &m.b, err));
    FM_TRY(sum_alone(l, node, t, 0, &m.a, err));
    FM_TRY(sum_alone(l, node, t, 1, &m.b, err));
    classify(t, batch, rows, columns, summed);
    if (strlen(batch) > FM_MAX_RANK - 2)
        return fm_node_unsupported(err, node, "more than %d batch axes", FM_MAX_RANK - 2);
    snprintf(order, sizeof order, "%s%s%s", batch, rows, summed);
    m.a = ordered(&m.a, t->labels[0], order);
    FM_TRY(grouped(l, node, t, batch, rows, summed, true, &m.a, err));
    snprintf(order, sizeof order, "%s%s%s", batch, summed, columns);
    m.b = ordered(&m.b, t->labels[1], order);
    FM_TRY(grouped(l, node, t, batch, summed, columns, true, &m.b, err));
    /* memory in the product's order, so that it is written directly */
    snprintf(order, sizeof order, "%s%s%s", batch, rows, columns);
    uint32_t memory[FM_MAX_RANK];
    for (uint32_t i = 0; order[i]; i++) memory[i] = (uint32_t)(strchr(t->labels[2], order[i]) - t->labels[2]);
    fm_epilogue_init(&m.epilogue);
    out = fm_lower_output(l, node->outputs[0], memory);
    fm_view        arranged = fm_view_permute(&out, memory), direct = arranged;
    flashmem_error ignored = { 0 };
    if (grouped(l, node, t, batch, rows, columns, false, &direct, &ignored) == FLASHMEM_OK) {
        m.out = direct;
        return fm_lower_matmul(l, &m, err);
    }
    fm_view dense = fm_lower_temporary(l, FLASHMEM_F32, &arranged.shape);
    m.out = dense;
    FM_TRY(grouped(l, node, t, batch, rows, columns, false, &m.out, err));
    FM_TRY(fm_lower_matmul(l, &m, err));
    return fm_lower_copy(l, node->name, &dense, &arranged, err);
}

static flashmem_status lower_einsum(fm_lower *l, fm_node *node, flashmem_error *err) {
    terms t;
    FM_TRY(parse(node, &t, err));
    if (t.operands == 2) return lower_pair(l, node, &t, err);
    fm_view view;
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    FM_TRY(sum_alone(l, node, &t, 0, &view, err));
    view = ordered(&view, t.labels[0], t.labels[2]);
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

const fm_op fm_op_Einsum = { .name = "Einsum",
                             .domain = "",
                             .since = 12,
                             .min_inputs = 1,
                             .max_inputs = UINT32_MAX,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .op_class = FM_OP_REUSABLE,
                             .infer = infer_einsum,
                             .lower = lower_einsum,
                             .macs = macs_einsum };
