/* Resize: axis by axis, each output element a weighted sum of one, two or four input elements (nearest, linear, cubic).
 * The places and weights are worked out here; the device gathers and adds.  Nearest by whole factors is one copy. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compile/ops/elementwise.h"
#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

enum { MOST_TAPS = 4, LONGEST_AXIS = 1 << 24 };
enum { INPUT_SCALES = 2, INPUT_SIZES = 3 };

typedef struct resizing {
    fm_shape out;
    double   scale[FM_MAX_RANK];
    bool     resized[FM_MAX_RANK]; /* axes that are named and not left at scale 1 */
} resizing;

/* --- sizes -------------------------------------------------------------------------------------------------------- */

static flashmem_status read_scales(const fm_node *node, const fm_tensor *t, const uint32_t *axes, uint32_t count,
                                   resizing *r, flashmem_error *err) {
    float   values[FM_MAX_RANK];
    int64_t start = 0, length = count;
    if (!t->constant)
        return fm_node_unsupported(err, node, "tensor '%s' decides a shape and is known only at run time", t->name);
    if (t->shape.rank != 1 || t->shape.dims[0] != count || !fm_dtype_is_float(t->dtype))
        return fm_node_fail(err, node, "tensor '%s' holds no %u scales", t->name, count);
    FM_TRY(fm_recipe_read(t->constant, &start, &length, FLASHMEM_F32, values, err));
    for (uint32_t i = 0; i < count; i++) {
        double size = floor((double)r->out.dims[axes[i]] * values[i]);
        if (!(values[i] > 0) || !(size <= (double)FM_LARGEST_DIM))
            return fm_node_fail(err, node, "scale %u is %g", i, values[i]);
        r->scale[axes[i]] = values[i];
        r->out.dims[axes[i]] = (int64_t)size;
    }
    return FLASHMEM_OK;
}

static flashmem_status read_sizes(const fm_node *node, const uint32_t *axes, uint32_t count, resizing *r,
                                  flashmem_error *err) {
    const char *policy = fm_node_string(node, "keep_aspect_ratio_policy", "stretch");
    int64_t     values[FM_MAX_RANK];
    uint32_t    given = 0;
    double      common = 0;
    FM_TRY(fm_infer_values(node, INPUT_SIZES, values, FM_MAX_RANK, &given, err));
    if (given != count) return fm_node_fail(err, node, "%u sizes, expected %u", given, count);
    bool larger = strcmp(policy, "not_smaller") == 0, smaller = strcmp(policy, "not_larger") == 0;
    if (!larger && !smaller && strcmp(policy, "stretch") != 0)
        return fm_node_fail(err, node, "keep_aspect_ratio_policy is '%s'", policy);
    for (uint32_t i = 0; i < count; i++) {
        int64_t dim = r->out.dims[axes[i]];
        if (values[i] < 1 || values[i] > FM_LARGEST_DIM || dim < 1)
            return fm_node_fail(err, node, "size %" PRId64 " of axis %u, from %" PRId64, values[i], axes[i], dim);
        double scale = (double)values[i] / (double)dim;
        if (i == 0 || (larger ? scale > common : scale < common)) common = scale;
    }
    for (uint32_t i = 0; i < count; i++) {
        int64_t *dim = &r->out.dims[axes[i]];
        r->scale[axes[i]] = larger || smaller ? common : (double)values[i] / (double)*dim;
        double size = floor((double)*dim * common + 0.5);
        if (!(size <= (double)FM_LARGEST_DIM)) return fm_node_fail(err, node, "axis %u would be too long", axes[i]);
        *dim = larger || smaller ? (int64_t)size : values[i];
    }
    return FLASHMEM_OK;
}

static flashmem_status resizing_of(const fm_node *node, resizing *r, flashmem_error *err) {
    const fm_tensor *x = node->inputs[0], *scales = fm_node_input(node, node->input_count == 2 ? 1 : INPUT_SCALES);
    uint32_t         axes[FM_MAX_RANK], count = x->shape.rank, mask;
    bool             given;
    *r = (resizing){ .out = x->shape };
    for (uint32_t i = 0; i < FM_MAX_RANK; i++) axes[i] = i, r->scale[i] = 1;
    if (fm_node_attr(node, "axes")) {
        FM_TRY(fm_infer_axes(node, FM_NO_INPUT, x->shape.rank, &mask, axes, &count, &given, err));
        if (!given) count = x->shape.rank;
    }
    if (scales && scales->shape.rank == 1 && scales->shape.dims[0] == 0) scales = NULL; /* older exporters: empty */
    bool sizes = fm_node_input(node, INPUT_SIZES) != NULL;
    if ((scales != NULL) == sizes) return fm_node_fail(err, node, "it needs either scales or sizes");
    if (scales) FM_TRY(read_scales(node, scales, axes, count, r, err));
    else FM_TRY(read_sizes(node, axes, count, r, err));
    for (uint32_t i = 0; i < x->shape.rank; i++) r->resized[i] = r->scale[i] != 1 || r->out.dims[i] != x->shape.dims[i];
    return FLASHMEM_OK;
}

static flashmem_status infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    resizing    r;
    const char *mode = fm_node_string(node, "mode", "nearest");
    if (strcmp(mode, "nearest") != 0 && strcmp(mode, "linear") != 0 && strcmp(mode, "cubic") != 0)
        return fm_node_fail(err, node, "mode is '%s', expected nearest, linear or cubic", mode);
    FM_TRY(resizing_of(node, &r, err));
    fm_infer_output(node, 0, node->inputs[0]->dtype, &r.out);
    return FLASHMEM_OK;
}

/* --- places and weights ------------------------------------------------------------------------------------------- */

typedef struct taps {
    uint32_t count;
    int64_t *places[MOST_TAPS];  /* per output element */
    float   *weights[MOST_TAPS]; /* NULL for nearest */
} taps;

static flashmem_status source_place(const fm_node *node, double i, double scale, int64_t from, int64_t to, double *x,
                                    flashmem_error *err) {
    const char *mode = fm_node_string(node, "coordinate_transformation_mode", "half_pixel");
    double      length = (double)from * scale;
    if (strcmp(mode, "half_pixel") == 0) *x = (i + 0.5) / scale - 0.5;
    else if (strcmp(mode, "pytorch_half_pixel") == 0) *x = to > 1 ? (i + 0.5) / scale - 0.5 : 0;
    else if (strcmp(mode, "asymmetric") == 0) *x = i / scale;
    else if (strcmp(mode, "align_corners") == 0) *x = to > 1 ? i * (double)(from - 1) / (double)(to - 1) : 0;
    else if (strcmp(mode, "tf_half_pixel_for_nn") == 0) *x = (i + 0.5) / scale;
    else if (strcmp(mode, "half_pixel_symmetric") == 0)
        *x = (double)from / 2 * (1 - (double)to / length) + (i + 0.5) / scale - 0.5;
    else return fm_node_unsupported(err, node, "coordinate_transformation_mode '%s'", mode);
    return FLASHMEM_OK;
}

static flashmem_status nearest_place(const fm_node *node, double x, double *place, flashmem_error *err) {
    const char *mode = fm_node_string(node, "nearest_mode", "round_prefer_floor");
    if (strcmp(mode, "round_prefer_floor") == 0) *place = ceil(x - 0.5);
    else if (strcmp(mode, "round_prefer_ceil") == 0) *place = floor(x + 0.5);
    else if (strcmp(mode, "floor") == 0) *place = floor(x);
    else if (strcmp(mode, "ceil") == 0) *place = ceil(x);
    else return fm_node_fail(err, node, "nearest_mode is '%s'", mode);
    return FLASHMEM_OK;
}

/* The cubic convolution kernel (Keys 1981) at distances 1 + r, r, 1 - r, 2 - r. */
static void cubic_weights(double r, double a, double *w) {
    w[0] = ((a * (r + 1) - 5 * a) * (r + 1) + 8 * a) * (r + 1) - 4 * a;
    w[1] = ((a + 2) * r - (a + 3)) * r * r + 1;
    w[2] = ((a + 2) * (1 - r) - (a + 3)) * (1 - r) * (1 - r) + 1;
    w[3] = ((a * (2 - r) - 5 * a) * (2 - r) + 8 * a) * (2 - r) - 4 * a;
}

static flashmem_status taps_of(fm_graph *g, const fm_node *node, uint32_t axis, const resizing *r, taps *t,
                               flashmem_error *err) {
    const char *mode = fm_node_string(node, "mode", "nearest");
    int64_t     from = node->inputs[0]->shape.dims[axis], to = r->out.dims[axis];
    bool        nearest = strcmp(mode, "nearest") == 0, cubic = strcmp(mode, "cubic") == 0;
    bool        exclude = fm_node_int(node, "exclude_outside", 0) != 0;
    *t = (taps){ .count = nearest ? 1 : cubic ? 4 : 2 };
    if (!nearest && fm_node_int(node, "antialias", 0) && r->scale[axis] < 1)
        return fm_node_unsupported(err, node, "antialias when shrinking");
    if (to > LONGEST_AXIS) return fm_node_unsupported(err, node, "axis %u would have %" PRId64 " elements", axis, to);
    for (uint32_t k = 0; k < t->count; k++) {
        t->places[k] = fm_arena_array(g->arena, (size_t)to, sizeof **t->places);
        if (!nearest) t->weights[k] = fm_arena_array(g->arena, (size_t)to, sizeof **t->weights);
    }
    for (int64_t i = 0; i < to; i++) {
        double x = 0, first = 0, w[MOST_TAPS] = { 1 }, sum = 0;
        FM_TRY(source_place(node, (double)i, r->scale[axis], from, to, &x, err));
        if (nearest) FM_TRY(nearest_place(node, x, &first, err));
        else first = floor(x) - cubic;
        if (cubic) cubic_weights(x - floor(x), fm_node_float(node, "cubic_coeff_a", -0.75f), w);
        else if (!nearest) w[0] = 1 - (x - floor(x)), w[1] = x - floor(x);
        for (uint32_t k = 0; k < t->count; k++) {
            double place = first + k;
            if (exclude && (place < 0 || place >= (double)from)) w[k] = 0;
            sum += w[k];
            t->places[k][i] = place < 0 ? 0 : place >= (double)from ? from - 1 : (int64_t)place;
        }
        for (uint32_t k = 0; k < t->count && !nearest; k++)
            t->weights[k][i] = (float)(exclude && sum != 0 ? w[k] / sum : w[k]);
    }
    return FLASHMEM_OK;
}

/* --- lowering ----------------------------------------------------------------------------------------------------- */

/* Repeats every element of an axis a whole number of times? */
static bool repeats_evenly(const taps *t, int64_t from, int64_t to) {
    if (t->count != 1 || from < 1 || to % from != 0) return false;
    for (int64_t i = 0; i < to; i++)
        if (t->places[0][i] != i / (to / from)) return false;
    return true;
}

static flashmem_status gather_axis(fm_lower *l, fm_node *node, const fm_view *x, const int64_t *places,
                                   const fm_view *out, flashmem_error *err) {
    fm_gather_desc d = { .name = node->name, .table = *x, .out = *out };
    fm_shape       line = { .rank = 1, .dims = { out->shape.dims[1] } };
    fm_tensor     *t = fm_graph_constant_ints(l->graph, NULL, &line, places);
    FM_TRY(fm_lower_view(l, t, &d.indices, err));
    return fm_emit_gather(&l->emit, &d, err);
}

/* x, out [O, A, I]: out = sum over taps of gathered planes times their weights. */
static flashmem_status resize_axis(fm_lower *l, fm_node *node, const fm_view *x, const taps *t, const fm_view *out,
                                   flashmem_error *err) {
    static const char *const sums[] = { "(a0*a1+a2*a3)", "(a0*a1+a2*a3+a4*a5+a6*a7)" };
    fm_view                  inputs[2 * MOST_TAPS];
    fm_shape                 column = { .rank = 2, .dims = { out->shape.dims[1], 1 } };
    if (t->count == 1) return gather_axis(l, node, x, t->places[0], out, err);
    for (uint32_t k = 0; k < t->count; k++) {
        inputs[2 * k] = fm_lower_temporary(l, FLASHMEM_F32, &out->shape);
        FM_TRY(gather_axis(l, node, x, t->places[k], &inputs[2 * k], err));
        fm_tensor *w = fm_graph_constant_floats(l->graph, NULL, &column, t->weights[k]);
        FM_TRY(fm_lower_view(l, w, &inputs[2 * k + 1], err));
    }
    return fm_elementwise_emit(l, node->name, sums[t->count == 4], inputs, 2 * t->count, out, false, err);
}

/* Every resized axis repeated: the input as [.., A, 1, ..] broadcast to [.., A, times, ..]; one copy. */
static flashmem_status lower_repeats(fm_lower *l, fm_node *node, const fm_view *x, const resizing *r, bool *done,
                                     flashmem_error *err) {
    fm_shape unit = { 0 }, repeated = { 0 };
    fm_view  view;
    uint32_t rank = r->out.rank;
    for (uint32_t i = 0; i < r->out.rank; i++) rank += r->resized[i];
    *done = rank <= FM_MAX_RANK;
    for (uint32_t i = 0; i < r->out.rank && *done; i++) {
        int64_t dim = x->shape.dims[i];
        taps    t;
        unit.dims[unit.rank++] = repeated.dims[repeated.rank++] = dim;
        if (!r->resized[i]) continue;
        FM_TRY(taps_of(l->graph, node, i, r, &t, err));
        *done = repeats_evenly(&t, dim, r->out.dims[i]);
        unit.dims[unit.rank++] = 1;
        repeated.dims[repeated.rank++] = dim > 0 ? r->out.dims[i] / dim : 0;
    }
    if (!*done) return FLASHMEM_OK;
    if (!fm_view_reshape(x, &unit, &view))
        return fm_fail(err, FLASHMEM_INTERNAL, "node '%s': unit axes always fit", node->name);
    fm_view_target target = fm_view_lower_target(l, node->outputs[0], &repeated);
    view = fm_view_broadcast(&view, &repeated);
    FM_TRY(fm_lower_copy(l, node->name, &view, &target.view, err));
    return fm_view_lower_done(l, node->name, node->outputs[0], &target, err);
}

static flashmem_status lower(fm_lower *l, fm_node *node, flashmem_error *err) {
    fm_tensor *out = node->outputs[0];
    resizing   r;
    fm_view    view;
    uint32_t   left = 0;
    bool       done;
    FM_TRY(resizing_of(node, &r, err));
    FM_TRY(fm_lower_view(l, node->inputs[0], &view, err));
    for (uint32_t i = 0; i < r.out.rank; i++) left += r.resized[i];
    if (left == 0) {
        fm_lower_alias(l, out, &view);
        return FLASHMEM_OK;
    }
    FM_TRY(lower_repeats(l, node, &view, &r, &done, err));
    if (done) return FLASHMEM_OK;
    for (uint32_t i = 0; i < r.out.rank; i++) {
        taps t;
        if (!r.resized[i]) continue;
        FM_TRY(taps_of(l->graph, node, i, &r, &t, err));
        fm_shape from = { .rank = 3, .dims = { 1, view.shape.dims[i], 1 } }, to = from, whole = view.shape;
        for (uint32_t k = 0; k < i; k++) from.dims[0] *= view.shape.dims[k];
        for (uint32_t k = i + 1; k < r.out.rank; k++) from.dims[2] *= view.shape.dims[k];
        to = from;
        to.dims[1] = whole.dims[i] = r.out.dims[i];
        FM_TRY(fm_view_lower_as(l, node->name, &view, &from, &view, err));
        fm_view_target target = { .copied = false };
        if (--left == 0) target = fm_view_lower_target(l, out, &to);
        else target.view = fm_lower_temporary(l, view.dtype, &to);
        FM_TRY(resize_axis(l, node, &view, &t, &target.view, err));
        if (left == 0) return fm_view_lower_done(l, node->name, out, &target, err);
        FM_TRY(fm_view_lower_as(l, node->name, &target.view, &whole, &view, err));
    }
    return FLASHMEM_OK;
}

const fm_op fm_op_Resize = { "Resize", "", 10, 1, 4, 1, 1, FM_OP_MOVEMENT, infer, NULL, false, lower, NULL };
