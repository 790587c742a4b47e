/* Reductions: Reduce*, ArgMax, ArgMin. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "compile/ops/fold_helpers.h"
#include "compile/ops/infer_helpers.h"
#include "compile/ops/view.h"

typedef struct reduce_row {
    const char  *name;
    fm_reduce_op op;
    uint32_t     types;
    uint32_t     axes_input_since; /* opset from which the axes are an input */
} reduce_row;

#define WIDE (FM_TYPES_FLOAT | FM_TYPES_INDEX | FM_TYPE(U32) | FM_TYPE(U64))
static const reduce_row rows[] = {
    { "ReduceSum", FM_REDUCE_SUM, WIDE, 13 },
    { "ReduceMean", FM_REDUCE_MEAN, WIDE, 18 },
    { "ReduceMax", FM_REDUCE_MAX, FM_TYPES_ANY, 18 },
    { "ReduceMin", FM_REDUCE_MIN, FM_TYPES_ANY, 18 },
    { "ReduceProd", FM_REDUCE_PROD, WIDE, 18 },
    { "ReduceSumSquare", FM_REDUCE_SUM_SQUARE, WIDE, 18 },
    { "ReduceL1", FM_REDUCE_L1, WIDE, 18 },
    { "ReduceL2", FM_REDUCE_L2, WIDE, 18 },
    { "ReduceLogSum", FM_REDUCE_LOG_SUM, WIDE, 18 },
    { "ReduceLogSumExp", FM_REDUCE_LOG_SUM_EXP, WIDE, 18 },
    { "ArgMax", FM_REDUCE_ARG_MAX, FM_TYPES_NUMBER, UINT32_MAX },
    { "ArgMin", FM_REDUCE_ARG_MIN, FM_TYPES_NUMBER, UINT32_MAX },
};

static const reduce_row *row_of(const fm_node *node) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, node->op->name) == 0) return &rows[i];
    return NULL;
}

static bool is_arg(const reduce_row *row) { return row->op == FM_REDUCE_ARG_MAX || row->op == FM_REDUCE_ARG_MIN; }

/* The reduced axes as bits; 0: nothing is reduced (noop_with_empty_axes). */
static flashmem_status reduced_axes(const fm_node *node, uint32_t *mask, flashmem_error *err) {
    const reduce_row *row = row_of(node);
    uint32_t          rank = node->inputs[0]->shape.rank, axis;
    bool              given;
    if (is_arg(row)) {
        FM_TRY(fm_infer_axis(node, fm_node_int(node, "axis", 0), rank, &axis, err));
        *mask = 1u << axis;
        return FLASHMEM_OK;
    }
    FM_TRY(fm_infer_axes(node, node->opset >= row->axes_input_since ? 1 : FM_NO_INPUT, rank, mask, NULL, NULL, &given,
                         err));
    if (!given && !fm_node_int(node, "noop_with_empty_axes", 0)) *mask = (1u << rank) - 1;
    return FLASHMEM_OK;
}

/* The result with an axis of 1 in place of every reduced one. */
static fm_shape kept_shape(const fm_shape *from, uint32_t mask) {
    fm_shape shape = *from;
    for (uint32_t i = 0; i < shape.rank; i++)
        if (mask >> i & 1) shape.dims[i] = 1;
    return shape;
}

static flashmem_status infer(fm_graph *g, fm_node *node, flashmem_error *err) {
    (void)g;
    const reduce_row *row = row_of(node);
    const fm_tensor  *x = node->inputs[0];
    uint32_t          mask;
    FM_TRY(fm_infer_type(node, 0, row->types, err));
    FM_TRY(reduced_axes(node, &mask, err));
    fm_shape shape = { 0 };
    bool     keep = fm_node_int(node, "keepdims", 1) == 1;
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool reduced = mask >> i & 1;
        if (reduced && is_arg(row) && x->shape.dims[i] == 0)
            return fm_node_fail(err, node, "axis %u of tensor '%s' is empty: it has no extreme", i, x->name);
        if (!reduced || keep) shape.dims[shape.rank++] = reduced ? 1 : x->shape.dims[i];
    }
    fm_infer_output(node, 0, is_arg(row) ? FLASHMEM_I64 : x->dtype, &shape);
    return FLASHMEM_OK;
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

static double first_double(fm_reduce_op op) {
    return op == FM_REDUCE_MAX ? -INFINITY : op == FM_REDUCE_MIN ? INFINITY : op == FM_REDUCE_PROD ? 1 : 0;
}

static double join_double(fm_reduce_op op, double so_far, double x, double largest) {
    switch (op) {
    case FM_REDUCE_MAX: return isnan(x) || x > so_far ? x : so_far;
    case FM_REDUCE_MIN: return isnan(x) || x < so_far ? x : so_far;
    case FM_REDUCE_PROD: return so_far * x;
    case FM_REDUCE_SUM_SQUARE:
    case FM_REDUCE_L2: return so_far + x * x;
    case FM_REDUCE_L1: return so_far + fabs(x);
    case FM_REDUCE_LOG_SUM_EXP: return so_far + exp(x - largest);
    default: return so_far + x;
    }
}

static double last_double(fm_reduce_op op, double so_far, int64_t count, double largest) {
    switch (op) {
    case FM_REDUCE_MEAN: return so_far / (double)count;
    case FM_REDUCE_L2: return sqrt(so_far);
    case FM_REDUCE_LOG_SUM: return log(so_far);
    case FM_REDUCE_LOG_SUM_EXP: return log(so_far) + largest;
    default: return so_far;
    }
}

/* Integers are exact: sums, products and extremes wrap as the type does. */
static int64_t join_int(fm_reduce_op op, int64_t so_far, int64_t x) {
    uint64_t a = (uint64_t)so_far, b = (uint64_t)x;
    switch (op) {
    case FM_REDUCE_MAX: return x > so_far ? x : so_far;
    case FM_REDUCE_MIN: return x < so_far ? x : so_far;
    case FM_REDUCE_PROD: return (int64_t)(a * b);
    case FM_REDUCE_SUM_SQUARE: return (int64_t)(a + b * b);
    case FM_REDUCE_L1: return (int64_t)(a + (x < 0 ? 0 - b : b));
    default: return (int64_t)(a + b);
    }
}

static bool is_exact(fm_reduce_op op) {
    return op != FM_REDUCE_L2 && op != FM_REDUCE_LOG_SUM && op != FM_REDUCE_LOG_SUM_EXP;
}

typedef struct run {
    const fm_array *x;
    const int64_t  *at; /* elements that are reduced to one */
    int64_t         count;
} run;

static int64_t arg_extreme(const run *r, bool largest, bool last) {
    int64_t best = 0;
    for (int64_t i = 1; i < r->count; i++) {
        bool is_float = fm_dtype_is_float(r->x->dtype), better, equal;
        if (is_float) {
            double a = fm_array_double(r->x, r->at[i]), b = fm_array_double(r->x, r->at[best]);
            better = largest ? a > b : a < b;
            equal = a == b;
        } else {
            int64_t a = fm_array_int(r->x, r->at[i]), b = fm_array_int(r->x, r->at[best]);
            better = largest ? a > b : a < b;
            equal = a == b;
        }
        if (better || (equal && last)) best = i;
    }
    return best;
}

static void reduce_run(const run *r, fm_reduce_op op, bool last, const fm_array *y, int64_t to) {
    if (op == FM_REDUCE_ARG_MAX || op == FM_REDUCE_ARG_MIN) {
        fm_array_set_int(y, to, arg_extreme(r, op == FM_REDUCE_ARG_MAX, last));
    } else if (fm_dtype_is_float(r->x->dtype) || !is_exact(op)) {
        double largest = 0, sum = first_double(op);
        for (int64_t i = 0; op == FM_REDUCE_LOG_SUM_EXP && i < r->count; i++) {
            double x = fm_array_double(r->x, r->at[i]);
            if (i == 0 || x > largest) largest = x;
        }
        if (!isfinite(largest)) largest = 0;
        for (int64_t i = 0; i < r->count; i++) sum = join_double(op, sum, fm_array_double(r->x, r->at[i]), largest);
        fm_array_set_double(y, to, last_double(op, sum, r->count, largest));
    } else {
        bool    extreme = op == FM_REDUCE_MAX || op == FM_REDUCE_MIN;
        int64_t sum = extreme && r->count ? fm_array_int(r->x, r->at[0]) : op == FM_REDUCE_PROD ? 1 : 0;
        for (int64_t i = extreme; i < r->count; i++) sum = join_int(op, sum, fm_array_int(r->x, r->at[i]));
        fm_array_set_int(y, to, op == FM_REDUCE_MEAN && r->count ? sum / r->count : sum);
    }
}

static flashmem_status fold(fm_graph *g, fm_node *node, flashmem_error *err) {
    const reduce_row *row = row_of(node);
    fm_tensor        *out = node->outputs[0];
    fm_array          x;
    uint32_t          mask;
    int64_t           strides[FM_MAX_RANK], i = 0;
    if (!fm_fold_tensor_fits(node->inputs[0]) || !fm_fold_tensor_fits(out)) return FLASHMEM_OK;
    FM_TRY(reduced_axes(node, &mask, err));
    FM_TRY(fm_fold_load(g, node->inputs[0], &x, err));
    fm_array y = fm_fold_new(g, out->dtype, &out->shape);
    fm_shape kept = kept_shape(&x.shape, mask), inner = x.shape;
    for (uint32_t k = 0; k < inner.rank; k++)
        if (!(mask >> k & 1)) inner.dims[k] = 1;
    int64_t  count = fm_shape_count(&inner), n = 0;
    int64_t *steps = fm_arena_array(g->arena, (size_t)count, sizeof *steps),
            *at = fm_arena_array(g->arena, (size_t)count, sizeof *at);
    fm_walk w;
    fm_dense_strides(&x.shape, strides);
    fm_walk_init(&w, &inner);
    for (fm_walk_add_strides(&w, strides); !w.done; fm_walk_next(&w)) steps[n++] = w.offsets[0];
    fm_walk_init(&w, &kept);
    for (fm_walk_add_strides(&w, strides); !w.done; fm_walk_next(&w)) {
        for (int64_t k = 0; k < count; k++) at[k] = w.offsets[0] + steps[k];
        run r = { &x, at, count };
        reduce_run(&r, row->op, fm_node_int(node, "select_last_index", 0) != 0, &y, i++);
    }
    fm_fold_store(g, out, &y);
    return FLASHMEM_OK;
}

/* --- lowering ----------------------------------------------------------------------------------------------------- */

/* The kernels reduce float32, int64 and int32. */
static flashmem_dtype kernel_dtype(flashmem_dtype t) {
    if (t == FLASHMEM_F32 || t == FLASHMEM_I64 || t == FLASHMEM_I32) return t;
    return t == FLASHMEM_U32 || t == FLASHMEM_U64 ? FLASHMEM_I64 : FLASHMEM_I32;
}

static flashmem_status lower(fm_lower *l, fm_node *node, flashmem_error *err) {
    const reduce_row *row = row_of(node);
    fm_tensor        *x = node->inputs[0], *out = node->outputs[0];
    fm_reduce_desc    d = { .name = node->name,
                            .op = row->op,
                            .select_last = fm_node_int(node, "select_last_index", 0) != 0 };
    FM_TRY(reduced_axes(node, &d.reduced, err));
    FM_TRY(fm_lower_view(l, x, &d.x, err));
    if (d.reduced == 0) {
        if (row->op > FM_REDUCE_PROD) return fm_node_unsupported(err, node, "no axes to reduce");
        fm_lower_alias(l, out, &d.x);
        return FLASHMEM_OK;
    }
    if (fm_shape_count(&x->shape) == 0) return fm_node_unsupported(err, node, "tensor '%s' is empty", x->name);
    flashmem_dtype dtype = kernel_dtype(d.x.dtype);
    if (dtype != d.x.dtype) { /* other integers and truths go through a wider type */
        fm_view wide = fm_lower_temporary(l, dtype, &x->shape);
        FM_TRY(fm_lower_copy(l, node->name, &d.x, &wide, err));
        d.x = wide;
    }
    fm_shape       kept = kept_shape(&x->shape, d.reduced);
    fm_view_target target = fm_view_lower_target(l, out, &kept);
    d.out = target.view;
    if (!is_arg(row) && dtype != d.out.dtype) d.out = fm_lower_temporary(l, dtype, &kept);
    FM_TRY(fm_emit_reduce(&l->emit, &d, err));
    if (d.out.value != target.view.value) FM_TRY(fm_lower_copy(l, node->name, &d.out, &target.view, err));
    return fm_view_lower_done(l, node->name, out, &target, err);
}

#define REDUCE(id, least, most) \
    const fm_op fm_op_##id = { #id, "", 1, least, most, 1, 1, FM_OP_HIERARCHICAL, infer, fold, false, lower, NULL };
REDUCE(ReduceSum, 1, 2)
REDUCE(ReduceMean, 1, 2)
REDUCE(ReduceMax, 1, 2)
REDUCE(ReduceMin, 1, 2)
REDUCE(ReduceProd, 1, 2)
REDUCE(ReduceSumSquare, 1, 2)
REDUCE(ReduceL1, 1, 2)
REDUCE(ReduceL2, 1, 2)
REDUCE(ReduceLogSum, 1, 2)
REDUCE(ReduceLogSumExp, 1, 2)
REDUCE(ArgMax, 1, 1)
REDUCE(ArgMin, 1, 1)
