/* Elementwise expressions: one program per expression and types, run-time shapes.  Also plain and strided copies. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "kernels/view_args.h"

enum { MAX_VIEWS = FM_ELEMENTWISE_INPUTS + 1, LONGEST_EXPRESSION = 1024 };

/* Sorts axes so that the output's strides fall from first to last: what is written becomes contiguous where it can. */
static void order_axes(fm_view *views, uint32_t count) {
    fm_view *out = &views[count - 1];
    uint32_t order[FM_MAX_RANK];
    for (uint32_t i = 0; i < out->shape.rank; i++) {
        int64_t  stride = out->strides[i] < 0 ? -out->strides[i] : out->strides[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            int64_t before = out->strides[order[at - 1]];
            if ((before < 0 ? -before : before) >= stride) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (uint32_t v = 0; v < count; v++) views[v] = fm_view_permute(&views[v], order);
}

/* A work-item goes along the last axis: not worth starting for a few elements, when another axis is long. */
static void lengthen_segments(fm_view *views, uint32_t count) {
    enum { SHORT = 16 };
    const fm_view *out = &views[count - 1];
    uint32_t       rank = out->shape.rank, order[FM_MAX_RANK], chosen;
    if (rank < 2 || out->shape.dims[rank - 1] >= SHORT) return;
    for (chosen = rank - 1; chosen > 0 && out->shape.dims[chosen - 1] < SHORT; chosen--) {
    }
    if (chosen-- == 0) return;
    for (uint32_t i = 0; i < rank; i++) order[i] = i < chosen ? i : i + 1 < rank ? i + 1 : chosen;
    for (uint32_t v = 0; v < count; v++) views[v] = fm_view_permute(&views[v], order);
}

/* A rough count of floating-point operations in an expression: operators are one, calls ten. */
static double expression_flops(const char *text) {
    double flops = 0;
    for (const char *c = text; *c; c++) {
        if (strchr("+-*/<>", *c)) flops++;
        if (*c == '(' && c > text && (isalnum((unsigned char)c[-1]) || c[-1] == '_')) flops += 10;
    }
    return flops;
}

static bool expression_is_valid(const char *text) {
    size_t length = text ? strlen(text) : 0;
    if (length == 0 || length > LONGEST_EXPRESSION) return false;
    for (const char *c = text; *c; c++)
        if (!isgraph((unsigned char)*c) || strchr("\"'\\`$;#", *c)) return false;
    return true;
}

/* Types of stored.clh: fetched as float. */
static const char *stored_type(flashmem_dtype t) {
    return t == FLASHMEM_F16 ? "half" : t == FLASHMEM_BF16 ? "fm_bf16" : t == FLASHMEM_F64 ? "fm_f64" : NULL;
}

static const char *type_name(flashmem_dtype t) {
    const char *stored = stored_type(t);
    return stored ? stored : fm_kernel_type(t);
}

static flashmem_status check(const fm_subject *s, const fm_elementwise_desc *d) {
    if (d->input_count > FM_ELEMENTWISE_INPUTS || d->constant_count > 8)
        return fm_refuse(s, "%u inputs and %u constants, at most 8", d->input_count, d->constant_count);
    if (!expression_is_valid(d->expression))
        return fm_refuse(s, "no expression, or one with blanks or beyond 1024 bytes");
    FM_TRY(fm_check_operand(s, "out", &d->out, FM_DTYPES_ANY, FM_RANK_ANY));
    if (!type_name(d->out.dtype)) return fm_refuse(s, "out is %s", fm_dtype_name(d->out.dtype));
    for (uint32_t i = 0; i < d->input_count; i++) {
        char role[16];
        snprintf(role, sizeof role, "input %u", i);
        FM_TRY(fm_check_like(s, role, &d->inputs[i], FM_DTYPES_ANY, &d->out));
        if (!type_name(d->inputs[i].dtype)) return fm_refuse(s, "%s is %s", role, fm_dtype_name(d->inputs[i].dtype));
    }
    return FLASHMEM_OK;
}

static bool is_lane_type(flashmem_dtype t) { return t == FLASHMEM_F32 || t == FLASHMEM_BOOL; }

static bool takes_lanes(const fm_elementwise_desc *d) {
    bool lanes = d->vector_safe && !d->uses_coordinates && is_lane_type(d->out.dtype);
    for (uint32_t i = 0; i < d->input_count; i++) lanes = lanes && is_lane_type(d->inputs[i].dtype);
    return lanes;
}

/* Options of the program; coordinates become macros over the kernel's right-aligned q0..q7 and j. */
static const char *options_of(const fm_emit *e, const fm_elementwise_desc *d, uint32_t rank, bool lanes) {
    char   text[LONGEST_EXPRESSION + 1024];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "-DEXPR=%s -DINPUTS=%u -DCONSTANTS=%u -DRANK=%u -DVECTOR=%d -DTO=%s%s",
                                   d->expression, d->input_count, d->constant_count, rank, lanes,
                                   type_name(d->out.dtype), d->out.dtype == FLASHMEM_BOOL ? " -DTRUTH_OUT" : "");
    for (uint32_t i = 0; i < d->input_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " -DT%u=%s", i, type_name(d->inputs[i].dtype));
    bool converts = false;
    for (uint32_t i = 0; i < d->input_count; i++) converts = converts || stored_type(d->inputs[i].dtype);
    for (uint32_t i = 0; i < d->input_count && converts; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " -DV%u=%s", i,
                                 stored_type(d->inputs[i].dtype) ? "float" : type_name(d->inputs[i].dtype));
    if (stored_type(d->out.dtype)) used += (size_t)snprintf(text + used, sizeof text - used, " -DPUTS");
    for (uint32_t i = 0; d->uses_coordinates && i < d->out.shape.rank; i++) {
        uint32_t axis = 8 - d->out.shape.rank + i;
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 axis == 7 ? " -Di%u=((long)(q%u+j))" : " -Di%u=((long)q%u)", i, axis);
    }
    return fm_arena_strdup(e->builder->arena, text);
}

static flashmem_status emit(fm_emit *e, const fm_elementwise_desc *d, bool lanes) {
    fm_program_builder *b = e->builder;
    fm_view             views[MAX_VIEWS];
    uint32_t            view_count = d->input_count + 1;
    int64_t             count = fm_view_count(&d->out);
    double              flops = expression_flops(d->expression), bytes = 0;
    memcpy(views, d->inputs, d->input_count * sizeof *views);
    views[d->input_count] = d->out;
    if (!d->uses_coordinates) {
        order_axes(views, view_count);
        fm_views_collapse(views, view_count);
        if (!e->target.reference) lengthen_segments(views, view_count);
    }
    uint32_t rank = !d->uses_coordinates && views[0].shape.rank <= 4 ? 4 : 8;
    int64_t  run = fm_item_run(e, count, lanes ? 0.2 + 0.02 * flops : 1 + 0.5 * flops);
    if (run > 1) run = (run + 63) / 64 * 64;
    fm_builder_begin(b, d->name,
                     fm_builder_kernel(b, "elementwise.cl", options_of(e, d, rank, lanes), "elementwise", 0),
                     FLASHMEM_COST_ELEMENTWISE);
    for (uint32_t i = 0; i < view_count; i++) {
        bool out = i == d->input_count;
        if (out)
            for (uint32_t c = 0; c < d->constant_count; c++) fm_builder_arg_float(b, d->constants[c]);
        if (out) fm_builder_write(b, views[i].value);
        else fm_builder_read(b, views[i].value);
        fm_args_view(b, &views[i], rank);
        bytes += fm_view_bytes(&views[i]);
    }
    fm_args_dims(b, &views[0].shape, rank);
    fm_builder_arg_int(b, count);
    fm_builder_arg_int(b, run);
    fm_args_items(e, (count + run - 1) / run, 1, 1);
    fm_builder_work(b, flops * (double)count, bytes);
    fm_builder_end(b);
    return FLASHMEM_OK;
}

static bool takes_typed(const fm_emit *e, const void *desc) {
    const fm_elementwise_desc *d = desc;
    bool                       typed = type_name(d->out.dtype) != NULL;
    (void)e;
    for (uint32_t i = 0; i < d->input_count; i++) typed = typed && type_name(d->inputs[i].dtype);
    return typed;
}
static flashmem_status emit_reference(fm_emit *e, const void *desc, flashmem_error *err) {
    fm_emit plain = *e;
    (void)err;
    plain.target.reference = true; /* one element per work-item */
    return emit(&plain, desc, false);
}
static flashmem_status emit_scalar_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, false);
}
static bool takes_vector(const fm_emit *e, const void *desc) {
    (void)e;
    return takes_lanes(desc);
}
static flashmem_status emit_vector_cpu(fm_emit *e, const void *desc, flashmem_error *err) {
    (void)err;
    return emit(e, desc, true);
}

const fm_row fm_row_elementwise_reference = {
    "elementwise_reference", FM_FAMILY_ELEMENTWISE, true, FM_ANY_LAYOUT, 0, takes_typed, emit_reference
};
const fm_row fm_row_elementwise_cpu = { "elementwise_cpu", FM_FAMILY_ELEMENTWISE, false,          FM_ANY_LAYOUT,
                                        FM_DEVICE_CPU,     takes_typed,           emit_scalar_cpu };
const fm_row fm_row_elementwise_cpu_lanes = { "elementwise_cpu_lanes", FM_FAMILY_ELEMENTWISE, false,
                                              FM_ANY_LAYOUT,           FM_DEVICE_CPU,         takes_vector,
                                              emit_vector_cpu };

/* A copy moves bits: its type matters by size only, so that few programs serve all types. */
static void plain_copy(fm_elementwise_desc *d) {
    static const flashmem_dtype moved[9] = {
        [1] = FLASHMEM_U8, [2] = FLASHMEM_U16, [4] = FLASHMEM_F32, [8] = FLASHMEM_U64
    };
    if (d->input_count != 1 || d->inputs[0].dtype != d->out.dtype || !d->expression || strcmp(d->expression, "a0") != 0)
        return;
    d->inputs[0].dtype = d->out.dtype = moved[fm_dtype_bytes(d->out.dtype)];
    d->vector_safe = true;
    d->uses_coordinates = false;
    d->constant_count = 0;
}

flashmem_status fm_emit_elementwise(fm_emit *e, const fm_elementwise_desc *desc, flashmem_error *err) {
    fm_elementwise_desc d = *desc;
    fm_subject          s = { e, FM_FAMILY_ELEMENTWISE, d.name, err };
    if (fm_shape_count(&d.out.shape) == 0) return FLASHMEM_OK;
    plain_copy(&d);
    FM_TRY(check(&s, &d));
    return fm_row_emit(e, FM_FAMILY_ELEMENTWISE, d.name, &d, err);
}
