/* Operand checks and int arguments of views. */
#include "kernels/view_args.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { MOST_ITEMS = 64, ITEM_NANOSECONDS = 4000, MOST_ELEMENTS = 1 << 30 };

flashmem_status fm_refuse(const fm_subject *s, const char *format, ...) {
    char    reason[400];
    va_list list;
    va_start(list, format);
    vsnprintf(reason, sizeof reason, format, list);
    va_end(list);
    return fm_fail(s->err, FLASHMEM_UNSUPPORTED, "%s '%s': %s", fm_family_name(s->family), s->name ? s->name : "",
                   reason);
}

/* Positions of the first and last element the view reaches; false on overflow. */
static bool view_reach(const fm_view *view, int64_t *low, int64_t *high) {
    *low = *high = view->offset;
    for (uint32_t i = 0; i < view->shape.rank; i++) {
        int64_t span;
        if (__builtin_mul_overflow(view->shape.dims[i] - 1, view->strides[i], &span)) return false;
        int64_t *end = span < 0 ? low : high;
        if (__builtin_add_overflow(*end, span, end)) return false;
    }
    return true;
}

static flashmem_status check_place(const fm_subject *s, const char *role, const fm_view *view) {
    const fm_program_builder *b = s->emit->builder;
    int64_t                   low, high;
    if (view->value >= b->value_count)
        return fm_fail(s->err, FLASHMEM_INTERNAL, "%s '%s': %s names value %u of %zu", fm_family_name(s->family),
                       s->name ? s->name : "", role, view->value, b->value_count);
    if (!view_reach(view, &low, &high) || low < INT32_MIN || high > INT32_MAX)
        return fm_refuse(s, "%s reaches beyond 2^31 elements", role);
    int64_t elements = b->exprs[b->values[view->value].bytes].value / fm_dtype_bytes(view->dtype);
    if (low < 0 || high >= elements)
        return fm_fail(s->err, FLASHMEM_INTERNAL,
                       "%s '%s': %s reaches elements %" PRId64 "..%" PRId64 ", its value holds %" PRId64,
                       fm_family_name(s->family), s->name ? s->name : "", role, low, high, elements);
    return FLASHMEM_OK;
}

flashmem_status fm_check_operand(const fm_subject *s, const char *role, const fm_view *view, uint32_t dtypes,
                                 uint32_t rank) {
    if ((unsigned)view->dtype >= 32 || fm_dtype_bytes(view->dtype) == 0 || !(dtypes & FM_DTYPE_BIT(view->dtype)))
        return fm_refuse(s, "%s is %s, which it does not take", role, fm_dtype_name(view->dtype));
    if (view->shape.rank > FM_MAX_RANK) return fm_refuse(s, "%s has %u axes", role, view->shape.rank);
    if (rank != FM_RANK_ANY && view->shape.rank != rank)
        return fm_refuse(s, "%s has %u axes, wanted %u", role, view->shape.rank, rank);
    int64_t count = fm_shape_count(&view->shape);
    if (count == 0) return fm_refuse(s, "%s is empty", role);
    if (count < 0 || count > MOST_ELEMENTS) return fm_refuse(s, "%s has more than 2^30 elements", role);
    return check_place(s, role, view);
}

flashmem_status fm_check_like(const fm_subject *s, const char *role, const fm_view *view, uint32_t dtypes,
                              const fm_view *like) {
    FM_TRY(fm_check_operand(s, role, view, dtypes, like->shape.rank));
    if (!fm_shape_equal(&view->shape, &like->shape)) {
        char found[128], wanted[128];
        return fm_refuse(s, "%s is %s, wanted %s", role, fm_shape_print(&view->shape, found, sizeof found),
                         fm_shape_print(&like->shape, wanted, sizeof wanted));
    }
    return FLASHMEM_OK;
}

void fm_args_view(fm_program_builder *b, const fm_view *view, uint32_t rank) {
    fm_builder_arg_int(b, view->offset);
    for (uint32_t i = view->shape.rank; i < rank; i++) fm_builder_arg_int(b, 0);
    for (uint32_t i = 0; i < view->shape.rank; i++)
        fm_builder_arg_int(b, view->shape.dims[i] == 1 ? 0 : view->strides[i]);
}

void fm_args_dims(fm_program_builder *b, const fm_shape *shape, uint32_t rank) {
    for (uint32_t i = shape->rank; i < rank; i++) fm_builder_arg_int(b, 1);
    for (uint32_t i = 0; i < shape->rank; i++) fm_builder_arg_int(b, shape->dims[i]);
}

void fm_args_read(fm_program_builder *b, const fm_view *view, uint32_t rank) {
    fm_builder_read(b, view->value);
    fm_args_view(b, view, rank);
}

void fm_args_write(fm_program_builder *b, const fm_view *view, uint32_t rank) {
    fm_builder_write(b, view->value);
    fm_args_view(b, view, rank);
}

static fm_view left_aligned(const fm_view *view) {
    fm_view result = *view;
    for (uint32_t i = view->shape.rank; i < FM_MAX_RANK; i++) result.shape.dims[i] = 1;
    result.shape.rank = FM_MAX_RANK;
    return result;
}

void fm_args_read_left(fm_program_builder *b, const fm_view *view) {
    fm_view left = left_aligned(view);
    fm_args_read(b, &left, FM_MAX_RANK);
}

void fm_args_write_left(fm_program_builder *b, const fm_view *view) {
    fm_view left = left_aligned(view);
    fm_args_write(b, &left, FM_MAX_RANK);
}

void fm_args_dims_left(fm_program_builder *b, const fm_shape *shape) {
    fm_view left = left_aligned(&(fm_view){ .shape = *shape });
    fm_args_dims(b, &left.shape, FM_MAX_RANK);
}

void fm_args_read_optional(fm_program_builder *b, const fm_view *view, const fm_view *stand_in, uint32_t rank) {
    fm_view none = { .value = stand_in->value };
    fm_args_read(b, fm_view_present(view) ? view : &none, rank);
}

void fm_args_write_optional(fm_program_builder *b, const fm_view *view, const fm_view *stand_in, uint32_t rank) {
    fm_view none = { .value = stand_in->value };
    fm_args_write(b, fm_view_present(view) ? view : &none, rank);
}

int64_t fm_view_count(const fm_view *view) { return fm_shape_count(&view->shape); }

double fm_view_bytes(const fm_view *view) {
    if (!fm_view_present(view)) return 0;
    double bytes = fm_dtype_bytes(view->dtype);
    for (uint32_t i = 0; i < view->shape.rank; i++)
        if (view->strides[i] != 0) bytes *= (double)view->shape.dims[i];
    return bytes;
}

const char *fm_kernel_type(flashmem_dtype dtype) {
    switch (dtype) {
    case FLASHMEM_F32: return "float";
    case FLASHMEM_U8:
    case FLASHMEM_BOOL: return "uchar";
    case FLASHMEM_I8: return "char";
    case FLASHMEM_U16: return "ushort";
    case FLASHMEM_I16: return "short";
    case FLASHMEM_I32: return "int";
    case FLASHMEM_U32: return "uint";
    case FLASHMEM_I64: return "long";
    case FLASHMEM_U64: return "ulong";
    default: return NULL;
    }
}

const char *fm_move_type(flashmem_dtype dtype) {
    switch (fm_dtype_bytes(dtype)) {
    case 1: return "uchar";
    case 2: return "ushort";
    case 4: return "uint";
    default: return "ulong";
    }
}

int64_t fm_cpu_items(int64_t count, double each) {
    double  items = (double)count * each / ITEM_NANOSECONDS;
    int64_t wanted = items >= MOST_ITEMS ? MOST_ITEMS : (int64_t)items;
    if (wanted < 1) wanted = 1;
    return wanted < count ? wanted : count;
}

void fm_args_items(fm_emit *e, int64_t x, int64_t y, int64_t z) {
    fm_builder_global(e->builder, x, y, z);
    if (e->target.device & FM_DEVICE_CPU) fm_builder_local(e->builder, 1, 1, 1);
}

int64_t fm_item_run(const fm_emit *e, int64_t count, double each) {
    if (!(e->target.device & FM_DEVICE_CPU) || e->target.reference) return 1;
    int64_t items = fm_cpu_items(count, each);
    return (count + items - 1) / items;
}
