/* Reductions: axes are sorted into kept and reduced, and each group collapsed. */
#include "kernels/view_args.h"

static const char *const op_names[] = { "SUM", "MEAN", "MAX",     "MIN",         "PROD",    "SUM_SQUARE",
                                        "L1",  "L2",   "LOG_SUM", "LOG_SUM_EXP", "ARG_MAX", "ARG_MIN" };

static bool is_arg(fm_reduce_op op) { return op == FM_REDUCE_ARG_MAX || op == FM_REDUCE_ARG_MIN; }
static bool wants_real(fm_reduce_op op) {
    return op == FM_REDUCE_L2 || op == FM_REDUCE_LOG_SUM || op == FM_REDUCE_LOG_SUM_EXP;
}

static flashmem_status check(const fm_subject *s, const fm_reduce_desc *d) {
    fm_view like = d->x;
    if ((unsigned)d->op > FM_REDUCE_ARG_MIN) return fm_refuse(s, "operation %d", (int)d->op);
    FM_TRY(fm_check_operand(s, "x", &d->x, wants_real(d->op) ? FM_DTYPES_REAL : FM_DTYPES_NUMBER, FM_RANK_ANY));
    if (d->reduced >> d->x.shape.rank) return fm_refuse(s, "reduces axes that x does not have");
    if (is_arg(d->op) && __builtin_popcount(d->reduced) != 1) return fm_refuse(s, "wants one axis");
    for (uint32_t i = 0; i < d->x.shape.rank; i++)
        if (d->reduced >> i & 1) like.shape.dims[i] = 1;
    return fm_check_like(s, "out", &d->out, is_arg(d->op) ? FM_DTYPE_BIT(FLASHMEM_I64) : FM_DTYPE_BIT(d->x.dtype),
                         &like);
}

/* x and out over the kept axes, x over the reduced ones (offset 0); each at least one axis, neighbours merged. */
typedef struct split_axes {
    fm_view kept[2], reduced;
} split_axes;

static split_axes split(const fm_reduce_desc *d) {
    split_axes a = { .kept = { d->x, d->out }, .reduced = d->x };
    uint32_t   kept = 0, reduced = 0;
    for (uint32_t i = 0; i < d->x.shape.rank; i++) {
        if (d->reduced >> i & 1) {
            a.reduced.shape.dims[reduced] = d->x.shape.dims[i];
            a.reduced.strides[reduced++] = d->x.strides[i];
            continue;
        }
        a.kept[0].shape.dims[kept] = a.kept[1].shape.dims[kept] = d->x.shape.dims[i];
        a.kept[0].strides[kept] = d->x.strides[i];
        a.kept[1].strides[kept++] = d->out.strides[i];
    }
    a.kept[0].shape.rank = a.kept[1].shape.rank = kept;
    a.reduced.shape.rank = reduced;
    a.reduced.offset = 0;
    fm_views_collapse(a.kept, 2);
    fm_views_collapse(&a.reduced, 1);
    return a;
}

static flashmem_status emit(fm_emit *e, const fm_reduce_desc *d, const char *entry, double each) {
    fm_program_builder *b = e->builder;
    split_axes          a = split(d);
    int64_t             count = fm_view_count(&d->out), n = fm_view_count(&a.reduced);
    int64_t             run = fm_item_run(e, count, 10 + each * (double)n);
    const char         *options = fm_arena_printf(b->arena, "-DT=%s%s -DOP_%s", fm_kernel_type(d->x.dtype),
                                          d->x.dtype == FLASHMEM_F32 ? " -DREAL" : "", op_names[d->op]);
    if (run > 16) run = (run + 15) / 16 * 16;
    fm_builder_begin(b, d->name, fm_builder_kernel(b, "reduce.cl", options, entry, 0), FLASHMEM_COST_NORM);
    fm_args_read(b, &a.kept[0], 8);
    fm_args_write(b, &a.kept[1], 8);
    fm_args_dims(b, &a.kept[0].shape, 8);
    fm_args_view(b, &a.reduced, 8);
    fm_args_dims(b, &a.reduced.shape, 8);
    fm_builder_arg_int(b, count);
    fm_builder_arg_int(b, n);
    fm_builder_arg_int(b, d->select_last);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, 2 * (double)fm_view_count(&d->x), fm_view_bytes(&d->x) + fm_view_bytes(&d->out));
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "reduce", 2);
}

static bool takes_lanes(const fm_reduce_desc *d) {
    return d->x.dtype == FLASHMEM_F32 && d->op != FM_REDUCE_LOG_SUM_EXP && !is_arg(d->op);
}
static bool takes_along(const fm_emit *e, const void *desc) {
    split_axes a = split(desc);
    (void)e;
    return takes_lanes(desc) && a.reduced.strides[a.reduced.shape.rank - 1] == 1;
}
static flashmem_status emit_along(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "reduce_along", 0.3);
}
static bool takes_across(const fm_emit *e, const void *desc) {
    split_axes a = split(desc);
    uint32_t   last = a.kept[0].shape.rank - 1;
    (void)e;
    return takes_lanes(desc) && a.kept[0].shape.dims[last] >= 16 && a.kept[0].strides[last] == 1 &&
           a.kept[1].strides[last] == 1;
}
static flashmem_status emit_across(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, "reduce_across", 0.3);
}

const fm_row fm_row_reduce_reference = { "reduce_reference", FM_FAMILY_REDUCE, true, FM_ANY_LAYOUT, 0, NULL,
                                         emit_reference };
const fm_row fm_row_reduce_cpu_along = { "reduce_cpu_along", FM_FAMILY_REDUCE, false,     FM_ANY_LAYOUT,
                                         FM_DEVICE_CPU,      takes_along,      emit_along };
const fm_row fm_row_reduce_cpu_across = { "reduce_cpu_across", FM_FAMILY_REDUCE, false,      FM_ANY_LAYOUT,
                                          FM_DEVICE_CPU,       takes_across,     emit_across };

flashmem_status fm_emit_reduce(fm_emit *e, const fm_reduce_desc *d, flashmem_error *err) {
    fm_subject s = { e, FM_FAMILY_REDUCE, d->name, err };
    if (fm_shape_count(&d->out.shape) == 0) return FLASHMEM_OK;
    FM_TRY(check(&s, d));
    return fm_row_emit(e, FM_FAMILY_REDUCE, d->name, d, err);
}
