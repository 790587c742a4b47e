/* Slice and Split: strided windows, views of their input. */
#include <inttypes.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

/* --- Slice -------------------------------------------------------------------------------------------------------- */

typedef struct window {
    int64_t  start[FM_MAX_RANK], step[FM_MAX_RANK];
    fm_shape shape;
} window;

typedef struct bounds {
    int64_t  starts[FM_MAX_RANK], ends[FM_MAX_RANK], axes[FM_MAX_RANK], steps[FM_MAX_RANK];
    uint32_t count;
} bounds;

static flashmem_status copy_attribute(const fm_node *node, const char *name, int64_t *to, uint32_t *count,
                                      flashmem_error *err) {
    const int64_t *values = fm_node_ints(node, name, count);
    if (!values) return fm_node_fail(err, node, "attribute '%s' is missing", name);
    if (*count > FM_MAX_RANK) return fm_node_fail(err, node, "attribute '%s' has %u entries", name, *count);
    memcpy(to, values, *count * sizeof *to);
    return FLASHMEM_OK;
}

/* Attributes before opset 10, inputs from then on. */
static flashmem_status read_bounds(const fm_node *node, bounds *b, flashmem_error *err) {
    uint32_t ends = 0, axes = 0, steps = 0;
    bool     has_axes = false, has_steps = false;
    if (node->input_count == 1) {
        FM_TRY(copy_attribute(node, "starts", b->starts, &b->count, err));
        FM_TRY(copy_attribute(node, "ends", b->ends, &ends, err));
        has_axes = fm_node_attr(node, "axes") != NULL;
        if (has_axes) FM_TRY(copy_attribute(node, "axes", b->axes, &axes, err));
    } else {
        FM_TRY(fm_infer_values(node, 1, b->starts, FM_MAX_RANK, &b->count, err));
        FM_TRY(fm_infer_values(node, 2, b->ends, FM_MAX_RANK, &ends, err));
        has_axes = fm_node_input(node, 3) != NULL;
        has_steps = fm_node_input(node, 4) != NULL;
        if (has_axes) FM_TRY(fm_infer_values(node, 3, b->axes, FM_MAX_RANK, &axes, err));
        if (has_steps) FM_TRY(fm_infer_values(node, 4, b->steps, FM_MAX_RANK, &steps, err));
    }
    if (ends != b->count || (has_axes && axes != b->count) || (has_steps && steps != b->count))
        return fm_node_fail(err, node, "%u starts, %u ends, %u axes and %u steps do not match", b->count, ends, axes,
                            steps);
    for (uint32_t i = 0; i < b->count; i++) {
        if (!has_axes) b->axes[i] = i;
        if (!has_steps) b->steps[i] = 1;
    }
    return FLASHMEM_OK;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* Counts from the end when negative, then clamps as the standard says: for negative steps one before the first
 * element is a possible end. */
static void slice_axis(window *w, uint32_t axis, int64_t dim, int64_t start, int64_t end, int64_t step) {
    if (start < 0 && start >= -dim) start += dim;
    else if (start < 0) start = -1 - dim; /* far below; clamped next */
    if (end < 0 && end >= -dim) end += dim;
    else if (end < 0) end = step < 0 ? -1 : 0;
    start = step > 0 ? clamp(start, 0, dim) : clamp(start, 0, dim - 1);
    end = step > 0 ? clamp(end, 0, dim) : clamp(end, -1, dim - 1);
    int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
    if (dim == 0) span = 0;
    w->start[axis] = span > 0 ? start : 0;
    w->step[axis] = step;
    w->shape.dims[axis] = span > 0 ? (span - 1) / stride + 1 : 0;
    if (w->shape.dims[axis] <= 1) w->step[axis] = 1;
}

static flashmem_status window_of(const fm_node *node, window *w, flashmem_error *err) {
    bounds          b = { .count = 0 };
    const fm_shape *shape = &node->inputs[0]->shape;
    uint32_t        seen = 0;
    FM_TRY(read_bounds(node, &b, err));
    w->shape = *shape;
    for (uint32_t i = 0; i < FM_MAX_RANK; i++) w->start[i] = 0, w->step[i] = 1;
    for (uint32_t i = 0; i < b.count; i++) {
        uint32_t axis;
        FM_TRY(fm_infer_axis(node, b.axes[i], shape->rank, &axis, err));
        if (seen >> axis & 1) return fm_node_fail(err, node, "axis %u is given twice", axis);
        seen |= 1u << axis;
        if (b.steps[i] == 0) return fm_node_fail(err, node, "the step of axis %u is 0", axis);
        if (b.steps[i] < -FM_LARGEST_DIM) b.steps[i] = -FM_LARGEST_DIM; /* as far as one step goes */
        if (b.steps[i] > FM_LARGEST_DIM) b.steps[i] = FM_LARGEST_DIM;
        slice_axis(w, axis, shape->dims[axis], b.starts[i], b.ends[i], b.steps[i]);
    }
    return FLASHMEM_OK;
}

static flashmem_status infer_slice(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    window w;
    FM_TRY(window_of(node, &w, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &w.shape);
    return FLASHMEM_OK;
}

static flashmem_status fold_slice(fm_graph *g, fm_node *node, flashmem_error *err) {
    window w;
    FM_TRY(window_of(node, &w, err));
    return fm_fold_recipe(g, node->outputs[0],
                          fm_recipe_slice(g->arena, node->inputs[0]->constant, w.start, w.step, &w.shape), err);
}

static flashmem_status lower_slice(fm_lower *l, fm_node *node, flashmem_error *err) {
    window  w;
    fm_view view;
    FM_TRY(window_of(node, &w, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    for (uint32_t i = 0; i < w.shape.rank; i++) view = fm_view_slice(&view, i, w.start[i], w.step[i], w.shape.dims[i]);
    fm_lower_alias(l, node->outputs[0], &view);
    return FLASHMEM_OK;
}

/* --- Split -------------------------------------------------------------------------------------------------------- */

enum { MOST_PARTS = 4096 };

/* Sizes from attribute (before opset 13) or input; else equal parts, the last one smaller (from opset 18). */
static flashmem_status split_sizes(fm_graph *g, const fm_node *node, uint32_t *axis, int64_t **sizes,
                                   flashmem_error *err) {
    const fm_tensor *x = node->inputs[0];
    uint32_t         parts = node->output_count, count = 0;
    if (parts > MOST_PARTS)
        return fm_node_unsupported(err, node, "%u outputs, at most %d are handled", parts, MOST_PARTS);
    FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), x->shape.rank, axis, err));
    int64_t        dim = x->shape.dims[*axis], sum = 0;
    const int64_t *given = fm_node_ints(node, "split", &count);
    *sizes = fm_arena_array(g->arena, parts, sizeof **sizes);
    if (fm_node_input(node, 1)) {
        FM_TRY(fm_infer_values(node, 1, *sizes, parts, &count, err));
        given = *sizes;
    }
    if (given) {
        if (count != parts) return fm_node_fail(err, node, "%u sizes for %u outputs", count, parts);
        if (given != *sizes) memcpy(*sizes, given, parts * sizeof **sizes);
    } else {
        int64_t wanted = fm_node_int(node, "num_outputs", parts);
        if (wanted != parts)
            return fm_node_fail(err, node, "num_outputs is %" PRId64 ", with %u outputs", wanted, parts);
        int64_t each = (dim + parts - 1) / parts;
        if (node->opset < 18 && dim % parts != 0)
            return fm_node_fail(err, node, "axis %u of tensor '%s' has %" PRId64 " elements, not a multiple of %u",
                                *axis, x->name, dim, parts);
        for (uint32_t i = 0; i < parts; i++) (*sizes)[i] = i + 1 < parts ? each : dim - each * (parts - 1);
    }
    for (uint32_t i = 0; i < parts; i++) {
        if ((*sizes)[i] < 0 || (*sizes)[i] > dim - sum)
            return fm_node_fail(err, node, "part %u has %" PRId64 " elements; axis %u of tensor '%s' has %" PRId64, i,
                                (*sizes)[i], *axis, x->name, dim);
        sum += (*sizes)[i];
    }
    if (sum == dim) return FLASHMEM_OK;
    return fm_node_fail(err, node, "the parts have %" PRId64 " elements in all, axis %u of tensor '%s' has %" PRId64,
                        sum, *axis, x->name, dim);
}

static flashmem_status infer_split(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    int64_t *sizes;
    FM_TRY(split_sizes(g, node, &axis, &sizes, err));
    fm_shape shape = node->inputs[0]->shape;
    for (uint32_t i = 0; i < node->output_count; i++) {
        shape.dims[axis] = sizes[i];
        fm_infer_output(node, i, node->inputs[0]->dtype, &shape);
    }
    return FLASHMEM_OK;
}

static flashmem_status fold_split(fm_graph *g, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    int64_t *sizes, start[FM_MAX_RANK] = { 0 }, step[FM_MAX_RANK];
    FM_TRY(split_sizes(g, node, &axis, &sizes, err));
    for (uint32_t i = 0; i < FM_MAX_RANK; i++) step[i] = 1;
    for (uint32_t i = 0; i < node->output_count; i++) {
        fm_tensor *out = node->outputs[i];
        if (out)
            FM_TRY(fm_fold_recipe(g, out,
                                  fm_recipe_slice(g->arena, node->inputs[0]->constant, start, step, &out->shape), err));
        start[axis] += sizes[i];
    }
    return FLASHMEM_OK;
}

static flashmem_status lower_split(fm_lower *l, fm_node *node, flashmem_error *err) {
    uint32_t axis;
    int64_t *sizes, start = 0;
    fm_view  view;
    FM_TRY(split_sizes(l->graph, node, &axis, &sizes, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    for (uint32_t i = 0; i < node->output_count; i++) {
        fm_view part = fm_view_slice(&view, axis, start, 1, sizes[i]);
        if (node->outputs[i]) fm_lower_alias(l, node->outputs[i], &part);
        start += sizes[i];
    }
    return FLASHMEM_OK;
}

const fm_op fm_op_Slice = { "Slice", "", 1, 1, 5, 1, 1, FM_OP_VIEW, infer_slice, fold_slice, false, lower_slice, NULL };
const fm_op fm_op_Split = { "Split",    "",          2,          1,     2,           1,   UINT32_MAX,
                            FM_OP_VIEW, infer_split, fold_split, false, lower_split, NULL };
