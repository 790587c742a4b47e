/* Constant masks are read and classified: nothing hidden, causal, causal within a window, or general.  A position counts
 * as hidden only where its row has a visible one, so that softmax gives it exactly zero; masks known only at run time
 * are added as the graph adds them. */
#include "compile/passes/attention_mask.h"

#include <math.h>
#include <string.h>

#include "compile/passes/passes.h"

/* Added to a score, this or less leaves nothing of it beside any visible score that a network produces. */
#define HIDDEN_AT (-9000.0)
#define HUGE_AT   (-1e30)

/* --- constant masks ----------------------------------------------------------------------------------------------- */

/* Row (b, h, s) of the sum of the constant masks, [T]. */
static flashmem_status mask_row(const fm_mask *masks, uint32_t count, const fm_shape *scores, const int64_t *at,
                                float *row, float *buffer, flashmem_error *err) {
    int64_t width = scores->dims[scores->rank - 1];
    memset(row, 0, (size_t)width * sizeof *row);
    for (uint32_t m = 0; m < count; m++) {
        const fm_tensor *t = masks[m].tensor;
        int64_t          start[FM_MAX_RANK] = { 0 }, box[FM_MAX_RANK];
        uint32_t         rank = t->shape.rank;
        for (uint32_t i = 0; i < rank; i++) { /* axes counted from the last */
            uint32_t axis = scores->rank - rank + i;
            box[i] = i + 1 == rank ? t->shape.dims[i] : 1;
            start[i] = i + 1 == rank || t->shape.dims[i] == 1 ? 0 : at[axis];
        }
        FM_TRY(fm_recipe_read(t->constant, start, box, FLASHMEM_F32, buffer, err));
        int64_t have = rank ? t->shape.dims[rank - 1] : 1;
        for (int64_t i = 0; i < width; i++) {
            float value = buffer[have == 1 ? 0 : i];
            if (masks[m].boolean) value = (value != 0) == masks[m].visible_when ? 0 : (float)masks[m].hidden;
            row[i] += value;
        }
    }
    return FLASHMEM_OK;
}

typedef enum mask_class { MASK_NONE, MASK_CAUSAL, MASK_BOOL, MASK_FLOAT } mask_class;

/* What all rows so far have in common. */
typedef struct summary {
    bool    only_hides; /* every element is 0 or hidden, and every row has a visible one */
    bool    bands;      /* visible positions of every row are one run ... */
    bool    all;        /* ... of everything */
    bool    offset_known, window_known;
    int64_t offset, window; /* run of row s: (s + offset - window, s + offset] */
} summary;

static void summarise_row(const float *row, int64_t width, int64_t s, summary *sum) {
    int64_t first = -1, last = -1, visible = 0;
    for (int64_t i = 0; i < width; i++) {
        if (row[i] == 0) {
            if (first < 0) first = i;
            last = i;
            visible++;
        } else if (!(row[i] <= HIDDEN_AT)) {
            sum->only_hides = false;
        }
    }
    if (visible == 0) sum->only_hides = false;
    if (visible != width) sum->all = false;
    if (visible == 0 || visible != last - first + 1) {
        sum->bands = false;
        return;
    }
    if (last < width - 1) { /* the run ends at the diagonal */
        if (sum->offset_known && sum->offset != last - s) sum->bands = false;
        sum->offset = last - s;
        sum->offset_known = true;
    }
    if (first > 0) { /* and begins a window before it */
        int64_t window = s + (sum->offset_known ? sum->offset : last - s) - first + 1;
        if (sum->window_known && sum->window != window) sum->bands = false;
        sum->window = window;
        sum->window_known = true;
    }
}

/* A row whose run reaches the end, or begins at 0, must agree with what the others say. */
static bool row_agrees(const float *row, int64_t width, int64_t s, const summary *sum) {
    for (int64_t t = 0; t < width; t++) {
        bool visible = t <= s + sum->offset && (!sum->window_known || t > s + sum->offset - sum->window);
        if (visible != (row[t] == 0)) return false;
    }
    return true;
}

/* Rows over which the masks differ: leading axes where some mask has more than one element. */
static fm_shape row_space(const fm_mask *masks, uint32_t count, const fm_shape *scores) {
    fm_shape space = *scores;
    for (uint32_t axis = 0; axis < scores->rank; axis++) {
        bool varies = axis + 2 >= scores->rank;
        for (uint32_t m = 0; m < count && !varies; m++) {
            const fm_shape *s = &masks[m].tensor->shape;
            uint32_t        from_end = scores->rank - axis;
            varies = s->rank >= from_end && s->dims[s->rank - from_end] != 1;
        }
        if (!varies) space.dims[axis] = 1;
    }
    return space;
}

static bool next_row(const fm_shape *space, int64_t *at) {
    for (uint32_t axis = space->rank - 1; axis-- > 0;) {
        if (++at[axis] < space->dims[axis]) return true;
        at[axis] = 0;
    }
    return false;
}

static flashmem_status classify(fm_graph *g, const fm_mask *masks, uint32_t count, const fm_shape *scores,
                                mask_class *class, summary *sum, flashmem_error *err) {
    fm_shape space = row_space(masks, count, scores);
    int64_t  width = scores->dims[scores->rank - 1], at[FM_MAX_RANK] = { 0 };
    float   *row = fm_arena_array(g->arena, (size_t)width * 2, sizeof *row);
    *sum = (summary){ .only_hides = true, .bands = true, .all = true };
    do {
        FM_TRY(mask_row(masks, count, scores, at, row, row + width, err));
        summarise_row(row, width, at[space.rank - 2], sum);
    } while (next_row(&space, at));
    *class = !sum->only_hides ? MASK_FLOAT : sum->all ? MASK_NONE : MASK_BOOL;
    if (*class != MASK_BOOL || !sum->bands || !sum->offset_known) return FLASHMEM_OK;
    memset(at, 0, sizeof at);
    do {
        FM_TRY(mask_row(masks, count, scores, at, row, row + width, err));
        if (!row_agrees(row, width, at[space.rank - 2], sum)) return FLASHMEM_OK;
    } while (next_row(&space, at));
    *class = MASK_CAUSAL;
    return FLASHMEM_OK;
}

/* The masks' sum as one constant, [.., S, T] with unit axes where they do not differ. */
static flashmem_status materialise(fm_graph *g, const fm_mask *masks, uint32_t count, const fm_shape *scores,
                                   flashmem_dtype dtype, fm_tensor **out, flashmem_error *err) {
    enum { MOST = 64 << 20 };
    fm_shape space = row_space(masks, count, scores);
    int64_t  width = scores->dims[scores->rank - 1], at[FM_MAX_RANK] = { 0 }, elements = fm_shape_count(&space);
    *out = NULL;
    if (count == 1 && !masks[0].boolean && dtype == FLASHMEM_F32) {
        *out = masks[0].tensor;
        return FLASHMEM_OK;
    }
    if (elements < 0 || elements * fm_dtype_bytes(dtype) > MOST) return FLASHMEM_OK;
    float   *row = fm_arena_array(g->arena, (size_t)width * 2, sizeof *row);
    uint8_t *data = fm_arena_array(g->arena, (size_t)elements, fm_dtype_bytes(dtype)), *to = data;
    do {
        FM_TRY(mask_row(masks, count, scores, at, row, row + width, err));
        for (int64_t i = 0; i < width; i++, to += fm_dtype_bytes(dtype)) {
            float value = row[i] < -3.4028234e38f ? -3.4028234e38f : row[i];
            if (dtype == FLASHMEM_BOOL) *to = row[i] == 0;
            else memcpy(to, &value, sizeof value);
        }
    } while (next_row(&space, at));
    fm_source *source = fm_source_memory(g->arena, data, (uint64_t)(to - data));
    *out = fm_graph_constant(g, NULL, fm_recipe_leaf(g->arena, source, dtype, &space));
    return FLASHMEM_OK;
}

/* --- masks of the run --------------------------------------------------------------------------------------------- */

static bool comes_before(const fm_node *n, const fm_node *before) {
    while (before && before != n) before = before->prev;
    return before != NULL;
}

static fm_tensor *scalar_of(fm_graph *g, float value, flashmem_dtype type) {
    fm_shape         scalar = { 0 };
    const fm_recipe *r = fm_recipe_memory(g->arena, FLASHMEM_F32, &scalar, &value);
    return fm_graph_constant(g, NULL, type == FLASHMEM_F32 ? r : fm_recipe_cast(g->arena, r, type));
}

/* What is added for a boolean: where(t, 0, hidden).  All layers share one. */
static fm_tensor *as_addend(fm_graph *g, fm_node *before, const fm_mask *m, flashmem_dtype type) {
    if (!m->boolean) return m->tensor;
    double values[2] = { m->visible_when ? 0 : m->hidden, m->visible_when ? m->hidden : 0 }, a, b;
    for (size_t i = 0; i < m->tensor->use_count; i++) {
        fm_node *use = m->tensor->uses[i];
        if (fm_is(use, "Where") && use->inputs[0] == m->tensor && fm_is_scalar(use->inputs[1], &a) &&
            fm_is_scalar(use->inputs[2], &b) && a == values[0] && b == values[1] && use->outputs[0]->dtype == type &&
            comes_before(use, before))
            return use->outputs[0];
    }
    fm_tensor *inputs[3] = { m->tensor, scalar_of(g, (float)values[0], type), scalar_of(g, (float)values[1], type) };
    fm_tensor *out = fm_graph_tensor(g, NULL);
    fm_node   *after = m->tensor->producer;
    fm_infer_set(out, type, &m->tensor->shape);
    fm_graph_insert(g, after ? after->next : g->first, fm_op_find("Where", ""), out->name, inputs, 3, &out, 1);
    return out;
}

static fm_tensor *sum_of(fm_graph *g, fm_node *before, fm_tensor *a, fm_tensor *b) {
    for (size_t i = 0; i < a->use_count; i++)
        if (fm_is(a->uses[i], "Add") && (a->uses[i]->inputs[0] == b || a->uses[i]->inputs[1] == b) &&
            comes_before(a->uses[i], before))
            return a->uses[i]->outputs[0];
    fm_tensor *inputs[2] = { a, b }, *out = fm_graph_tensor(g, NULL);
    fm_shape   shape;
    if (!fm_shape_broadcast(&a->shape, &b->shape, &shape)) return NULL;
    fm_infer_set(out, a->dtype, &shape);
    fm_graph_insert(g, before, fm_op_find("Add", ""), out->name, inputs, 2, &out, 1);
    return out;
}

static void resolve_run_time(fm_graph *g, fm_node *before, const fm_mask *masks, uint32_t count, fm_tensor *constant,
                             flashmem_dtype type, fm_tensor **mask, bool *done) {
    fm_tensor *sum = NULL;
    for (uint32_t m = 0; m < count; m++) {
        if (masks[m].boolean && masks[m].hidden > HUGE_AT) {
            *done = false; /* a score replaced by this is not the score plus this */
            return;
        }
        fm_tensor *t = as_addend(g, before, &masks[m], type);
        sum = sum ? sum_of(g, before, sum, t) : t;
    }
    if (sum && constant && constant->dtype != type)
        constant = fm_graph_constant(g, NULL, fm_recipe_cast(g->arena, constant->constant, type));
    if (sum && constant) sum = sum_of(g, before, sum, constant);
    *mask = sum;
    *done = sum != NULL;
}

flashmem_status fm_masks_resolve(fm_graph *g, fm_node *before, const fm_mask *masks, uint32_t count,
                                 const fm_shape *scores, flashmem_dtype type, fm_tensor **mask, fm_attention_params *p,
                                 bool *done, flashmem_error *err) {
    fm_mask    constants[FM_MASKS], others[FM_MASKS];
    uint32_t   constant_count = 0, other_count = 0;
    fm_tensor *constant = NULL;
    *mask = NULL;
    *done = true;
    for (uint32_t i = 0; i < count; i++)
        if (masks[i].tensor->constant) constants[constant_count++] = masks[i];
        else others[other_count++] = masks[i];
    if (constant_count) {
        mask_class class;
        summary sum;
        FM_TRY(classify(g, constants, constant_count, scores, &class, &sum, err));
        if (class == MASK_CAUSAL && !other_count) {
            p->causal = true;
            p->causal_offset = sum.offset;
            p->window = sum.window_known ? sum.window : 0;
        } else if (class != MASK_NONE) {
            bool boolean = class == MASK_BOOL && !other_count;
            FM_TRY(materialise(g, constants, constant_count, scores, boolean ? FLASHMEM_BOOL : FLASHMEM_F32, &constant,
                               err));
            *done = constant != NULL;
        }
    }
    if (!*done || !other_count) {
        *mask = constant;
        return FLASHMEM_OK;
    }
    resolve_run_time(g, before, others, other_count, constant, type, mask, done);
    return FLASHMEM_OK;
}
