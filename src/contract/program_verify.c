/* The program's verifier.  It trusts nothing: records come from a file, and every index is checked before it is used. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "contract/program.h"

typedef struct verifier {
    const fm_program *program;
    const fm_weight  *weights;
    const fm_object  *objects;
    uint32_t          weight_count, object_count;
    bool              planned; /* steps without a kernel may be there */
    flashmem_error   *err;
} verifier;

#define BAD(...) fm_fail(v->err, FLASHMEM_BAD_PACK, __VA_ARGS__)

enum { LARGEST_UNIT = 1 << 30 };

static bool    string_fits(const verifier *v, uint32_t s) { return s < v->program->string_bytes; }
static bool    string_or_none(const verifier *v, uint32_t s) { return s == FM_NONE || string_fits(v, s); }
static bool    expr_fits(const verifier *v, uint32_t e) { return e < v->program->expr_count; }
static int64_t expr(const verifier *v, uint32_t e) { return v->program->exprs[e].value; }
static bool    expr_at_least(const verifier *v, uint32_t e, int64_t least) {
       return expr_fits(v, e) && expr(v, e) >= least;
}
static const char *step_name(const verifier *v, const fm_step *step) {
    return string_fits(v, step->name) ? v->program->strings + step->name : "";
}

/* --- objects and weights ------------------------------------------------------------------------------------------ */

static flashmem_status verify_object(const verifier *v, uint32_t index) {
    const fm_object *o = &v->objects[index];
    if (o->bytes == 0 || o->bytes % 4096 || o->reserved) return BAD("object %u: %" PRIu64 " bytes", index, o->bytes);
    if (o->unit_bytes == 0 || o->unit_bytes % 4096 || o->unit_bytes > o->bytes || o->unit_bytes > LARGEST_UNIT)
        return BAD("object %u: %" PRIu64 " bytes per checksum of %" PRIu64, index, o->unit_bytes, o->bytes);
    if (o->weight == FM_NONE) {
        if (o->unit_bytes != o->bytes) return BAD("object %u: a bundle has one checksum", index);
        return FLASHMEM_OK;
    }
    if (o->weight >= v->weight_count) return BAD("object %u: weight %u of %u", index, o->weight, v->weight_count);
    const fm_weight *w = &v->weights[o->weight];
    if (w->object != index || w->object_offset != 0)
        return BAD("object %u: its weight %u lies elsewhere", index, o->weight);
    if (w->kind == FM_WEIGHT_PANELS && o->unit_bytes != w->unit_panels * w->panel_bytes)
        return BAD("object %u: %" PRIu64 " bytes per checksum, the cut unit is %u panels of %" PRIu64 " bytes", index,
                   o->unit_bytes, w->unit_panels, w->panel_bytes);
    return FLASHMEM_OK;
}

/* Columns in a panel as k and panel_bytes say: 16 (cpu), 4 (texture), else 0. */
static uint64_t panel_columns(const fm_weight *w) {
    uint64_t element = w->format == FM_WEIGHT_F32 ? 4 : 2;
    if (w->k == 0 || w->k > UINT32_MAX) return 0;
    if (w->panel_bytes == w->k * element * 16) return 16;
    return w->panel_bytes == w->k * element * 4 ? 4 : 0;
}

static flashmem_status verify_panels(const verifier *v, uint32_t index, const fm_weight *w, bool alone) {
    uint64_t columns = w->format <= FM_WEIGHT_F16 ? panel_columns(w) : 0, needed, unit;
    if (columns == 0) return BAD("weight %u: panels of %" PRIu64 " bytes for k %" PRIu64, index, w->panel_bytes, w->k);
    if (w->n == 0 || w->n > UINT32_MAX || w->panels != (w->n + columns - 1) / columns || w->panels > INT32_MAX)
        return BAD("weight %u: %" PRIu64 " panels for n %" PRIu64, index, w->panels, w->n);
    if (__builtin_mul_overflow(w->panels, w->panel_bytes, &needed) || needed > w->bytes)
        return BAD("weight %u: its panels exceed its %" PRIu64 " bytes", index, w->bytes);
    if (w->unit_panels == 0 || __builtin_mul_overflow((uint64_t)w->unit_panels, w->panel_bytes, &unit))
        return BAD("weight %u: a cut unit of %u panels", index, w->unit_panels);
    if (!alone) return FLASHMEM_OK;
    if (unit % 4096) return BAD("weight %u: a cut unit of %" PRIu64 " bytes is no multiple of 4096", index, unit);
    uint64_t units = (w->panels + w->unit_panels - 1) / w->unit_panels, bytes = v->objects[w->object].bytes;
    if (bytes > UINT64_MAX - unit || (bytes + unit - 1) / unit != units)
        return BAD("weight %u: %" PRIu64 " cut units in an object of %" PRIu64 " bytes", index, units, bytes);
    return FLASHMEM_OK;
}

static flashmem_status verify_rows(const verifier *v, uint32_t index, const fm_weight *w) {
    uint64_t row, total;
    uint64_t element = w->format == FM_WEIGHT_F16 ? 2 : w->format == FM_WEIGHT_F32 ? 4 : 1;
    if (w->object != FM_NONE) return BAD("weight %u: read by row and in object %u", index, w->object);
    if (w->k == 0 || w->n == 0 || w->k > INT64_MAX || __builtin_mul_overflow(w->n, element, &row) ||
        w->row_bytes < row || w->row_bytes > LARGEST_UNIT || __builtin_mul_overflow(w->k, w->row_bytes, &total) ||
        total > INT64_MAX || w->bytes < total)
        return BAD("weight %u: %" PRIu64 " rows of %" PRIu64 " elements in %" PRIu64 " bytes each", index, w->k, w->n,
                   w->row_bytes);
    return FLASHMEM_OK;
}

static flashmem_status verify_weight(const verifier *v, uint32_t index) {
    const fm_weight *w = &v->weights[index];
    if (!string_or_none(v, w->name)) return BAD("weight %u: name outside the strings", index);
    if (w->kind > FM_WEIGHT_ROWS || w->format > FM_WEIGHT_RAW || w->flags || w->bytes == 0 || w->bytes > INT64_MAX)
        return BAD("weight %u: kind %u, format %u, %" PRIu64 " bytes", index, w->kind, w->format, w->bytes);
    if (w->kind == FM_WEIGHT_ROWS) return verify_rows(v, index, w);
    if (w->object >= v->object_count) return BAD("weight %u: object %u of %u", index, w->object, v->object_count);
    const fm_object *o = &v->objects[w->object];
    if (w->object_offset > o->bytes || w->bytes > o->bytes - w->object_offset)
        return BAD("weight %u: %" PRIu64 " bytes at %" PRIu64 " exceed object %u of %" PRIu64, index, w->bytes,
                   w->object_offset, w->object, o->bytes);
    if (w->object_offset % FM_WEIGHT_ALIGN)
        return BAD("weight %u: at %" PRIu64 " of its object, no multiple of %u", index, w->object_offset,
                   FM_WEIGHT_ALIGN);
    if (o->weight != FM_NONE && o->weight != index)
        return BAD("weight %u: lies in object %u, which holds weight %u alone", index, w->object, o->weight);
    return w->kind == FM_WEIGHT_PANELS ? verify_panels(v, index, w, o->weight == index) : FLASHMEM_OK;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static flashmem_status verify_shape(const verifier *v, uint32_t index, const fm_value *value) {
    uint64_t bytes = fm_dtype_bytes((flashmem_dtype)value->dtype);
    if (value->shape_rank > FM_MAX_RANK) return BAD("value %u: %u axes", index, value->shape_rank);
    bool boundary = value->kind == FM_VALUE_INPUT || value->kind == FM_VALUE_OUTPUT;
    for (uint32_t i = 0; i < value->shape_rank; i++) {
        if (!expr_at_least(v, value->shape[i], boundary ? 1 : 0)) return BAD("value %u: axis %u has no size", index, i);
        if (__builtin_mul_overflow(bytes, (uint64_t)expr(v, value->shape[i]), &bytes))
            return BAD("value %u: its shape overflows", index);
    }
    if (boundary && bytes != (uint64_t)expr(v, value->bytes))
        return BAD("value %u: %" PRId64 " bytes, its shape needs %" PRIu64, index, expr(v, value->bytes), bytes);
    return FLASHMEM_OK;
}

static flashmem_status verify_alias(const verifier *v, uint32_t index, const fm_value *value) {
    if (value->alias == FM_NONE) return FLASHMEM_OK;
    if (value->kind != FM_VALUE_STATE && value->kind != FM_VALUE_OUTPUT)
        return BAD("value %u: of kind %u and an alias", index, value->kind);
    if (value->alias >= v->program->value_count || value->alias == index)
        return BAD("value %u: alias %u of %u", index, value->alias, v->program->value_count);
    const fm_value *target = &v->program->values[value->alias];
    bool            storage = target->kind == FM_VALUE_ACTIVATION || target->kind == FM_VALUE_INPUT ||
                   target->kind == FM_VALUE_OUTPUT || target->kind == FM_VALUE_STATE;
    if (!storage || target->alias != FM_NONE) return BAD("value %u: alias %u has no storage", index, value->alias);
    if (!expr_fits(v, target->bytes) || expr(v, target->bytes) < expr(v, value->bytes))
        return BAD("value %u: larger than its alias %u", index, value->alias);
    return FLASHMEM_OK;
}

static flashmem_status verify_value(const verifier *v, uint32_t index) {
    const fm_value *value = &v->program->values[index];
    if (value->kind > FM_VALUE_STATE || fm_dtype_bytes((flashmem_dtype)value->dtype) == 0)
        return BAD("value %u: kind %u, type %u", index, value->kind, value->dtype);
    if (!expr_at_least(v, value->bytes, 1)) return BAD("value %u: no size", index);
    if (!string_or_none(v, value->name)) return BAD("value %u: name outside the strings", index);
    if (value->flags & ~FM_VALUE_IS_MASK) return BAD("value %u: flags %u", index, value->flags);
    if (value->kind == FM_VALUE_WEIGHT) {
        if (value->weight >= v->weight_count)
            return BAD("value %u: weight %u of %u", index, value->weight, v->weight_count);
        if ((uint64_t)expr(v, value->bytes) > v->weights[value->weight].bytes)
            return BAD("value %u: larger than its weight %u", index, value->weight);
    } else if (value->weight != FM_NONE) {
        return BAD("value %u: of kind %u with a weight", index, value->kind);
    }
    if (value->kind == FM_VALUE_CONSTANT) {
        uint64_t bytes = (uint64_t)expr(v, value->bytes);
        if (bytes > 64 || value->blob % 64 || value->blob > v->program->blob_bytes ||
            bytes > v->program->blob_bytes - value->blob)
            return BAD("value %u: constant of %" PRIu64 " bytes at %" PRIu64 " of %" PRIu64, index, bytes, value->blob,
                       v->program->blob_bytes);
    }
    FM_TRY(verify_alias(v, index, value));
    return verify_shape(v, index, value);
}

static flashmem_status verify_boundary(const verifier *v, const uint32_t *list, uint32_t count, fm_value_kind kind,
                                       uint8_t *seen) {
    const fm_program *p = v->program;
    const char       *what = kind == FM_VALUE_INPUT ? "input" : "output";
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] >= p->value_count || p->values[list[i]].kind != (uint32_t)kind)
            return BAD("%s %u: value %u is none", what, i, list[i]);
        if (seen[list[i]]++) return BAD("%s %u: value %u is listed twice", what, i, list[i]);
        if (!string_fits(v, p->values[list[i]].name)) return BAD("%s %u: no name", what, i);
    }
    for (uint32_t i = 0; i < p->value_count; i++)
        if (p->values[i].kind == (uint32_t)kind && !seen[i]) return BAD("value %u: an %s that is not listed", i, what);
    return FLASHMEM_OK;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static flashmem_status verify_arg(const verifier *v, uint32_t s, const fm_step *step, uint32_t a) {
    const fm_program *p = v->program;
    const fm_arg     *arg = &p->args[step->first_arg + a];
    const char       *name = step_name(v, step);
    const fm_value   *value = NULL;
    if (arg->kind <= FM_ARG_IMAGE) {
        if (arg->value >= p->value_count)
            return BAD("step %u ('%s'): argument %u is value %u of %u", s, name, a, arg->value, p->value_count);
        value = &p->values[arg->value];
    }
    switch ((fm_arg_kind)arg->kind) {
    case FM_ARG_READ:
        if (value->kind == FM_VALUE_WEIGHT && step->kind != FM_STEP_GATHER_ROWS &&
            v->weights[value->weight].kind == FM_WEIGHT_ROWS)
            return BAD("step %u ('%s'): argument %u is a table read by row", s, name, a);
        return FLASHMEM_OK;
    case FM_ARG_WRITE:
        if (value->kind == FM_VALUE_WEIGHT || value->kind == FM_VALUE_CONSTANT || value->kind == FM_VALUE_INPUT)
            return BAD("step %u ('%s'): argument %u writes value %u of kind %u", s, name, a, arg->value, value->kind);
        return FLASHMEM_OK;
    case FM_ARG_IMAGE:
        if (value->kind != FM_VALUE_WEIGHT || v->weights[value->weight].kind != FM_WEIGHT_PANELS)
            return BAD("step %u ('%s'): argument %u: an image of value %u, which has no panels", s, name, a,
                       arg->value);
        return FLASHMEM_OK;
    case FM_ARG_INT:
        if (!expr_fits(v, arg->value) || expr(v, arg->value) < INT32_MIN || expr(v, arg->value) > INT32_MAX)
            return BAD("step %u ('%s'): argument %u is no 32-bit integer", s, name, a);
        return FLASHMEM_OK;
    case FM_ARG_FLOAT: return FLASHMEM_OK;
    case FM_ARG_FIRST_PANEL:
    case FM_ARG_PANELS:
        if (step->split_value == FM_NONE) return BAD("step %u ('%s'): panels and no split weight", s, name);
        return FLASHMEM_OK;
    }
    return BAD("step %u ('%s'): argument %u of kind %u", s, name, a, arg->kind);
}

static flashmem_status verify_gather_rows(const verifier *v, uint32_t s, const fm_step *step) {
    const fm_program *p = v->program;
    const fm_arg     *a = p->args + step->first_arg;
    const char       *name = step_name(v, step);
    if (step->kernel != FM_NONE || step->split_value != FM_NONE || step->arg_count != 4 || a[0].kind != FM_ARG_READ ||
        a[1].kind != FM_ARG_READ || a[2].kind != FM_ARG_WRITE || a[3].kind != FM_ARG_INT)
        return BAD("step %u ('%s'): gather rows takes indices, table, output, rows", s, name);
    const fm_value *indices = &p->values[a[0].value], *table = &p->values[a[1].value], *out = &p->values[a[2].value];
    if (table->kind != FM_VALUE_WEIGHT || v->weights[table->weight].kind != FM_WEIGHT_ROWS)
        return BAD("step %u ('%s'): value %u is no table read by row", s, name, a[1].value);
    if (indices->dtype != FLASHMEM_I32 && indices->dtype != FLASHMEM_I64)
        return BAD("step %u ('%s'): indices of type %u", s, name, indices->dtype);
    int64_t  rows = expr(v, a[3].value);
    uint64_t elements = v->weights[table->weight].n, index_bytes, out_bytes;
    if (rows < 1 || out->dtype != FLASHMEM_F32 || v->weights[table->weight].format == FM_WEIGHT_RAW)
        return BAD("step %u ('%s'): %" PRId64 " rows of float32", s, name, rows);
    if (__builtin_mul_overflow((uint64_t)rows, fm_dtype_bytes((flashmem_dtype)indices->dtype), &index_bytes) ||
        index_bytes > (uint64_t)expr(v, indices->bytes) ||
        __builtin_mul_overflow((uint64_t)rows * 4, elements, &out_bytes) || out_bytes > (uint64_t)expr(v, out->bytes))
        return BAD("step %u ('%s'): %" PRId64 " rows exceed indices or output", s, name, rows);
    return FLASHMEM_OK;
}

static flashmem_status verify_sizes(const verifier *v, uint32_t s, const fm_step *step) {
    const char *name = step_name(v, step);
    uint64_t    items = 1;
    uint32_t    locals = 0;
    for (uint32_t d = 0; d < 3; d++) {
        if (!expr_at_least(v, step->global[d], 1) ||
            __builtin_mul_overflow(items, (uint64_t)expr(v, step->global[d]), &items))
            return BAD("step %u ('%s'): global size %u", s, name, d);
        locals += step->local[d] != FM_NONE;
    }
    for (uint32_t d = 0; d < 3 && locals; d++)
        if (locals != 3 || !expr_at_least(v, step->local[d], 1) || expr(v, step->global[d]) % expr(v, step->local[d]))
            return BAD("step %u ('%s'): local size %u does not divide the global size", s, name, d);
    if (step->cost_class >= FLASHMEM_COST_CLASSES || !expr_at_least(v, step->flops, 0) || !expr_at_least(v, step->bytes, 0))
        return BAD("step %u ('%s'): cost class %u", s, name, step->cost_class);
    return FLASHMEM_OK;
}

static flashmem_status verify_planned(const verifier *v, uint32_t s, const fm_step *step) {
    const char *name = step_name(v, step);
    uint32_t    writes = 0;
    if (!string_fits(v, step->kernel)) return BAD("step %u ('%s'): planned, and no operator", s, name);
    for (uint32_t a = 0; a < step->arg_count; a++) {
        uint32_t kind = v->program->args[step->first_arg + a].kind;
        if (kind == FM_ARG_INT || kind == FM_ARG_FLOAT)
            return BAD("step %u ('%s'): planned, and argument %u is a number", s, name, a);
        writes += kind == FM_ARG_WRITE;
    }
    return writes ? FLASHMEM_OK : BAD("step %u ('%s'): planned, and writes nothing", s, name);
}

static flashmem_status verify_split(const verifier *v, uint32_t s, const fm_step *step) {
    const fm_program *p = v->program;
    const char       *name = step_name(v, step);
    uint32_t          uses = 0, firsts = 0, counts = 0;
    if (step->split_value >= p->value_count || p->values[step->split_value].kind != FM_VALUE_WEIGHT)
        return BAD("step %u ('%s'): splits value %u, which is no weight", s, name, step->split_value);
    const fm_weight *w = &v->weights[p->values[step->split_value].weight];
    if (w->kind != FM_WEIGHT_PANELS) return BAD("step %u ('%s'): its split weight has no panels", s, name);
    for (uint32_t a = 0; a < step->arg_count; a++) {
        const fm_arg *arg = &p->args[step->first_arg + a];
        uses += (arg->kind == FM_ARG_READ || arg->kind == FM_ARG_IMAGE) && arg->value == step->split_value;
        firsts += arg->kind == FM_ARG_FIRST_PANEL;
        counts += arg->kind == FM_ARG_PANELS;
        for (uint32_t b = 0; b < step->arg_count && arg->kind == FM_ARG_WRITE; b++)
            if (p->args[step->first_arg + b].kind == FM_ARG_READ && p->args[step->first_arg + b].value == arg->value)
                return BAD("step %u ('%s'): splittable and writes value %u, which it reads", s, name, arg->value);
    }
    if (uses != 1 || firsts != 1 || counts != 1)
        return BAD("step %u ('%s'): splittable with %u weight, %u first-panel and %u panels arguments", s, name, uses,
                   firsts, counts);
    if (step->split_dim > 2 || step->split_panels == 0 || step->split_scale == 0)
        return BAD("step %u ('%s'): split dimension %u, %u panels, scale %u", s, name, step->split_dim,
                   step->split_panels, step->split_scale);
    uint64_t groups = (w->panels + step->split_panels - 1) / step->split_panels;
    if ((uint64_t)expr(v, step->global[step->split_dim]) != groups * step->split_scale)
        return BAD("step %u ('%s'): global size %" PRId64 " for %" PRIu64 " panels", s, name,
                   expr(v, step->global[step->split_dim]), w->panels);
    if (step->local[0] != FM_NONE && step->split_scale % expr(v, step->local[step->split_dim]))
        return BAD("step %u ('%s'): its local size does not divide the split scale", s, name);
    return FLASHMEM_OK;
}

static flashmem_status verify_step(const verifier *v, uint32_t s) {
    const fm_program *p = v->program;
    const fm_step    *step = &p->steps[s];
    if (!string_or_none(v, step->name)) return BAD("step %u: name outside the strings", s);
    const char *name = step_name(v, step);
    if (step->kind > FM_STEP_PLANNED) return BAD("step %u ('%s'): kind %u", s, name, step->kind);
    if (step->kind == FM_STEP_KERNEL && step->kernel >= p->kernel_count)
        return BAD("step %u ('%s'): kernel %u of %u", s, name, step->kernel, p->kernel_count);
    if (step->first_arg > p->arg_count || step->arg_count > p->arg_count - step->first_arg || step->arg_count > 256)
        return BAD("step %u ('%s'): arguments %u+%u of %u", s, name, step->first_arg, step->arg_count, p->arg_count);
    for (uint32_t a = 0; a < step->arg_count; a++) FM_TRY(verify_arg(v, s, step, a));
    FM_TRY(verify_sizes(v, s, step));
    if (step->kind == FM_STEP_GATHER_ROWS) return verify_gather_rows(v, s, step);
    if (step->kind == FM_STEP_PLANNED) FM_TRY(verify_planned(v, s, step));
    return step->split_value == FM_NONE ? FLASHMEM_OK : verify_split(v, s, step);
}

/* --- order of reads and writes ------------------------------------------------------------------------------------ */

typedef struct access {
    uint32_t first_write, first_read;
} access; /* steps + 1; 0 never */

static uint32_t storage_of(const fm_program *p, uint32_t value) {
    return p->values[value].alias == FM_NONE ? value : p->values[value].alias;
}

static flashmem_status verify_write(const verifier *v, uint32_t s, uint32_t value, access *seen) {
    const fm_program *p = v->program;
    const fm_value   *record = &p->values[value];
    const char       *name = step_name(v, &p->steps[s]);
    if (record->kind != FM_VALUE_STATE && p->values[storage_of(p, value)].kind != FM_VALUE_STATE &&
        seen[value].first_read && seen[value].first_read <= s)
        return BAD("step %u ('%s'): writes value %u, which step %u has read", s, name, value,
                   seen[value].first_read - 1);
    if (!seen[value].first_write) seen[value].first_write = s + 1;
    else if (record->kind == FM_VALUE_SCRATCH && seen[value].first_write != s + 1)
        return BAD("step %u ('%s'): scratch %u belongs to step %u", s, name, value, seen[value].first_write - 1);
    return FLASHMEM_OK;
}

static flashmem_status verify_read(const verifier *v, uint32_t s, uint32_t value, access *seen) {
    const fm_program *p = v->program;
    uint32_t          kind = p->values[value].kind;
    const char       *name = step_name(v, &p->steps[s]);
    if (kind == FM_VALUE_SCRATCH && seen[value].first_write != s + 1)
        return BAD("step %u ('%s'): reads scratch %u of another step", s, name, value);
    if ((kind == FM_VALUE_ACTIVATION || kind == FM_VALUE_OUTPUT) && p->values[value].alias == FM_NONE &&
        seen[value].first_write == 0)
        return BAD("step %u ('%s'): reads value %u, which no step has written", s, name, value);
    if (!seen[value].first_read) seen[value].first_read = s + 1;
    return FLASHMEM_OK;
}

/* A step's reads come before its writes, except that scratch is filled and used inside the step. */
static flashmem_status verify_order(const verifier *v, access *seen) {
    const fm_program *p = v->program;
    for (uint32_t s = 0; s < p->step_count; s++) {
        const fm_arg *args = p->args + p->steps[s].first_arg;
        for (uint32_t pass = 0; pass < 3; pass++)
            for (uint32_t a = 0; a < p->steps[s].arg_count; a++) {
                if (args[a].kind != (uint32_t)(pass == 1 ? FM_ARG_WRITE : FM_ARG_READ)) continue;
                bool scratch = p->values[args[a].value].kind == FM_VALUE_SCRATCH;
                if (pass == 1) FM_TRY(verify_write(v, s, args[a].value, seen));
                else if (scratch == (pass == 2)) FM_TRY(verify_read(v, s, args[a].value, seen));
            }
    }
    for (uint32_t i = 0; i < p->output_count; i++) {
        uint32_t storage = storage_of(p, p->outputs[i]);
        uint32_t kind = p->values[storage].kind;
        bool     filled = seen[storage].first_write || seen[p->outputs[i]].first_write || kind == FM_VALUE_INPUT ||
                      kind == FM_VALUE_STATE;
        if (!filled) return BAD("output %u: value %u is never written", i, p->outputs[i]);
    }
    return FLASHMEM_OK;
}

static flashmem_status verify_all(const verifier *v, uint8_t *flags, access *seen) {
    const fm_program *p = v->program;
    flashmem_error    found = { 0 };
    if (!v->planned && fm_program_check_runnable(p, &found) != FLASHMEM_OK) return BAD("%s", found.message);
    for (uint32_t i = 0; i < p->expr_count; i++)
        if (p->exprs[i].kind != FM_EXPR_CONST || p->exprs[i].a || p->exprs[i].b || p->exprs[i].reserved)
            return BAD("expression %u: kind %u", i, p->exprs[i].kind);
    for (uint32_t i = 0; i < v->weight_count; i++) FM_TRY(verify_weight(v, i));
    for (uint32_t i = 0; i < v->object_count; i++) FM_TRY(verify_object(v, i));
    for (uint32_t i = 0; i < p->value_count; i++) FM_TRY(verify_value(v, i));
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const fm_kernel *k = &p->kernels[i];
        if (!string_fits(v, k->source) || !string_fits(v, k->options) || !string_fits(v, k->entry))
            return BAD("kernel %u: texts outside the strings", i);
        if (k->needs & ~(FM_DEVICE_CPU | FM_DEVICE_IMAGE | FM_DEVICE_HALF | FM_DEVICE_NVIDIA))
            return BAD("kernel %u: needs 0x%x", i, k->needs);
    }
    for (uint32_t i = 0; i < p->step_count; i++) FM_TRY(verify_step(v, i));
    FM_TRY(verify_boundary(v, p->inputs, p->input_count, FM_VALUE_INPUT, flags));
    FM_TRY(verify_boundary(v, p->outputs, p->output_count, FM_VALUE_OUTPUT, flags));
    return verify_order(v, seen);
}

static const char *text_at(const fm_program *p, uint32_t string) {
    return string < p->string_bytes ? p->strings + string : "?";
}

flashmem_status fm_program_check_runnable(const fm_program *p, flashmem_error *err) {
    enum { NAMED = 4 };
    char     text[300] = "";
    size_t   used = 0;
    uint32_t found = 0;
    for (uint32_t s = 0; s < p->step_count; s++) {
        const fm_step *step = &p->steps[s];
        if (step->kind != FM_STEP_PLANNED || found++ >= NAMED) continue;
        int put = snprintf(text + used, sizeof text - used, "%s%.24s ('%.32s')", used ? ", " : "",
                           text_at(p, step->kernel), text_at(p, step->name));
        used += (size_t)put;
    }
    if (!found) return FLASHMEM_OK;
    if (found > NAMED) snprintf(text + used, sizeof text - used, " and %u more", found - NAMED);
    return fm_fail(err, FLASHMEM_UNSUPPORTED, "planned only: no kernel runs %s", text);
}

static flashmem_status verify(verifier *v) {
    const fm_program *program = v->program;
    flashmem_error   *err = v->err;
    if (program->step_count == 0 || program->output_count == 0)
        return BAD("%u steps and %u outputs", program->step_count, program->output_count);
    if (program->string_bytes && program->strings[program->string_bytes - 1]) return BAD("the last string has no end");
    uint8_t        *flags = calloc(program->value_count + 1u, sizeof *flags);
    access         *seen = calloc(program->value_count + 1u, sizeof *seen);
    flashmem_status status = FLASHMEM_OUT_OF_MEMORY;
    if (flags && seen) status = verify_all(v, flags, seen);
    else fm_fail(err, status, "no memory to check %u values", program->value_count);
    free(flags);
    free(seen);
    return status;
}

flashmem_status fm_program_verify(const fm_program *program, const fm_weight *weights, uint32_t weight_count,
                                  const fm_object *objects, uint32_t object_count, flashmem_error *err) {
    verifier v = { program, weights, objects, weight_count, object_count, false, err };
    return verify(&v);
}

flashmem_status fm_program_verify_planned(const fm_program *program, const fm_weight *weights, uint32_t weight_count,
                                          const fm_object *objects, uint32_t object_count, flashmem_error *err) {
    verifier v = { program, weights, objects, weight_count, object_count, true, err };
    return verify(&v);
}
