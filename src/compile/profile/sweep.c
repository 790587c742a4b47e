#include "compile/profile/sweep.h"

#include <math.h>
#include <string.h>

#include "compile/lower.h"

enum {
    LAUNCHES = 64,         /* of the smallest kernel */
    COPIES = 2,            /* of COPY_BYTES */
    COPY_BYTES = 32 << 20, /* beyond the caches of most */
    LEAST_LOAD = 4096,     /* of a sweep; loads are multiples of it */
    MOST_LOAD = 32 << 20,
    OPERAND_ALIGN = 128
};
/* A program being filled.  All rows read from one input and write to one output. */
typedef struct emitter {
    fm_lower  lower;
    fm_sweep *sweep;
    uint32_t  x, y, indices;                           /* values; FM_NONE while sizes are measured */
    int64_t   cursor;                                  /* bytes of x that the present row has taken */
    int64_t   read, written, index_count, index_limit; /* the most of any row */
} emitter;

/* ---- operands ---- */

static fm_view activation(void *user, const int64_t *dims, uint32_t rank, const uint32_t *axes, bool written) {
    emitter *e = user;
    fm_view  v = { .value = written ? e->y : e->x, .dtype = FLASHMEM_F32, .shape = { .rank = rank } };
    int64_t  count = 1;
    memcpy(v.shape.dims, dims, rank * sizeof *dims);
    for (uint32_t i = rank; i-- > 0;) {
        v.strides[axes[i]] = count;
        count *= dims[axes[i]];
    }
    if (written) {
        if (count * 4 > e->written) e->written = count * 4;
        return v;
    }
    v.offset = e->cursor / 4; /* operands of one row lie apart */
    e->cursor += (count * 4 + OPERAND_ALIGN - 1) / OPERAND_ALIGN * OPERAND_ALIGN;
    if (e->cursor > e->read) e->read = e->cursor;
    return v;
}

static const fm_recipe *filled(emitter *e, const char *name, const fm_shape *shape) {
    fm_arena *a = e->lower.graph->arena;
    return fm_recipe_leaf(a, fm_source_fill(a, name, 0.02, FLASHMEM_F32, (uint64_t)fm_shape_count(shape) * 4),
                          FLASHMEM_F32, shape);
}

static flashmem_status panels(void *user, int64_t k, int64_t n, uint32_t *value, flashmem_error *err) {
    emitter *e = user;
    fm_shape shape = { 2, { k, n } };
    *value = FM_NONE;
    if (e->x == FM_NONE) return FLASHMEM_OK;
    const char *name = fm_arena_printf(e->lower.graph->arena, "w%lldx%lld", (long long)k, (long long)n);
    return fm_lower_panels(&e->lower, name, filled(e, name, &shape), value, err);
}

static flashmem_status dense(void *user, int64_t count, fm_view *out, flashmem_error *err) {
    emitter *e = user;
    fm_shape shape = { 1, { count } };
    fm_view_dense(out, FM_NONE, FLASHMEM_F32, &shape);
    if (e->x == FM_NONE) return FLASHMEM_OK;
    const char *name = fm_arena_printf(e->lower.graph->arena, "v%lld", (long long)count);
    return fm_lower_dense_weight(&e->lower, name, filled(e, name, &shape), FLASHMEM_F32, out, err);
}

static fm_view indices(void *user, int64_t count, int64_t limit) {
    emitter *e = user;
    fm_view  v;
    fm_shape shape = { 1, { count } };
    fm_view_dense(&v, e->indices, FLASHMEM_I64, &shape);
    if (count > e->index_count) e->index_count = count;
    if (!e->index_limit || limit < e->index_limit) e->index_limit = limit;
    return v;
}

/* ---- the program ---- */

static flashmem_status describe(emitter *e, uint32_t shape, fm_shape_desc *desc, flashmem_error *err) {
    fm_shape_maker maker = { e, activation, panels, dense, indices };
    e->cursor = 0;
    return fm_shape_describe(&fm_shape_rows[shape], &maker, desc, err);
}

/* How much the rows of a sweep read and write. */
static flashmem_status measure(emitter *e, const fm_sweep_options *o, flashmem_error *err) {
    fm_shape_desc desc;
    e->x = e->y = e->indices = FM_NONE;
    for (uint32_t s = 0; s < fm_shape_row_count; s++)
        if (o->chosen[s]) FM_TRY(describe(e, s, &desc, err));
    return FLASHMEM_OK;
}

static uint32_t boundary_value(emitter *e, fm_value_kind kind, flashmem_dtype dtype, const char *name, int64_t count) {
    fm_shape shape = { 1, { count } };
    uint32_t value = fm_builder_value(&e->lower.builder, kind, dtype, count * fm_dtype_bytes(dtype), name, &shape);
    if (kind == FM_VALUE_INPUT) fm_builder_input(&e->lower.builder, value);
    else fm_builder_output(&e->lower.builder, value);
    return value;
}

/* most_load: of one load; source: bytes that loads are taken from. */
static flashmem_status begin(emitter *e, const fm_sweep_options *o, fm_arena *arena, int64_t most_load, int64_t source,
                             fm_sweep *sweep, flashmem_error *err) {
    flashmem_compile_options compile;
    fm_graph                *graph = fm_arena_alloc(arena, sizeof *graph);
    *e = (emitter){ .sweep = sweep };
    *sweep = (fm_sweep){ .mark_count = 0 };
    FM_TRY(measure(e, o, err));
    flashmem_compile_options_init(&compile);
    compile.layout = o->layout;
    compile.weights = o->weights;
    fm_graph_init(graph, arena, "profile", o->log);
    fm_lower_init(&e->lower, graph, &compile, o->layout == FLASHMEM_LAYOUT_TEXTURE ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
    int64_t read = e->read > source ? e->read : source, written = e->written > most_load ? e->written : most_load;
    e->x = boundary_value(e, FM_VALUE_INPUT, FLASHMEM_F32, "x", read / 4);
    e->y = boundary_value(e, FM_VALUE_OUTPUT, FLASHMEM_F32, "y", written / 4);
    if (e->index_count) {
        e->indices = boundary_value(e, FM_VALUE_INPUT, FLASHMEM_I64, "indices", e->index_count);
        e->lower.builder.values[e->indices].limit = (uint64_t)e->index_limit;
    }
    return FLASHMEM_OK;
}

static void mark(emitter *e, fm_sweep_kind kind, uint32_t shape, size_t first_step, uint64_t load_bytes) {
    fm_sweep *s = e->sweep;
    FM_PUSH(e->lower.graph->arena, s->marks, s->mark_count,
            s->mark_capacity) = (fm_sweep_mark){ .kind = kind,
                                                 .shape = shape,
                                                 .first_step = (uint32_t)first_step,
                                                 .steps = (uint32_t)(e->lower.builder.step_count - first_step),
                                                 .load_bytes = load_bytes };
}

static flashmem_status emit_row(emitter *e, uint32_t shape, flashmem_error *err) {
    const fm_shape_row *row = &fm_shape_rows[shape];
    fm_shape_desc       desc;
    FM_TRY(describe(e, shape, &desc, err));
    return fm_row_emit(&e->lower.emit, row->family, row->name, &desc, err);
}

static flashmem_status emit_load(emitter *e, int64_t offset, uint64_t bytes, flashmem_error *err) {
    fm_load_desc load = { .name = "load", .from = e->x, .to = e->y, .offset = offset, .bytes = (int64_t)bytes };
    return fm_emit_load(&e->lower.emit, &load, err);
}

static flashmem_status finish(emitter *e, const fm_sweep_options *o, const char *pack_path, flashmem_error *err) {
    flashmem_compile_options compile;
    flashmem_compile_options_init(&compile);
    compile.layout = o->layout;
    compile.weights = o->weights;
    FM_TRY(fm_pack_lowered(&e->lower, pack_path, &compile, NULL, err));
    e->sweep->program = fm_builder_program(&e->lower.builder);
    e->sweep->packed = (fm_packed){ .weights = e->lower.records, .weight_count = (uint32_t)e->lower.weight_count };
    return FLASHMEM_OK;
}

/* ---- the sweeps ---- */

flashmem_status fm_sweep_estimate(const fm_sweep_options *o, const flashmem_device *device, fm_arena *arena,
                                  double *shape_seconds, flashmem_error *err) {
    emitter  e;
    fm_sweep sweep;
    FM_TRY(begin(&e, o, arena, 0, 0, &sweep, err));
    for (uint32_t s = 0; s < fm_shape_row_count; s++) {
        size_t first = e.lower.builder.step_count;
        shape_seconds[s] = 0;
        if (!o->chosen[s]) continue;
        FM_TRY(emit_row(&e, s, err));
        fm_program program = fm_builder_program(&e.lower.builder);
        fm_packed  packed = { .weights = e.lower.records, .weight_count = (uint32_t)e.lower.weight_count };
        for (uint32_t step = (uint32_t)first; step < program.step_count; step++) {
            fm_work work = fm_step_work(&packed, &program, step, 0);
            shape_seconds[s] += fm_work_seconds(device, &work);
        }
    }
    return FLASHMEM_OK;
}

flashmem_status fm_sweep_rows(const fm_sweep_options *o, const char *pack_path, fm_arena *arena, fm_sweep *out,
                              flashmem_error *err) {
    emitter e;
    FM_TRY(begin(&e, o, arena, COPY_BYTES, COPY_BYTES, out, err));
    for (int i = 0; i < LAUNCHES; i++) FM_TRY(emit_load(&e, 0, 16, err));
    mark(&e, FM_SWEEP_LAUNCH, FM_NONE, 0, 16);
    for (int i = 0; i < COPIES; i++) {
        FM_TRY(emit_load(&e, 0, COPY_BYTES, err));
        mark(&e, FM_SWEEP_COPY, FM_NONE, e.lower.builder.step_count - 1, COPY_BYTES);
    }
    for (uint32_t s = 0; s < fm_shape_row_count; s++) {
        size_t first = e.lower.builder.step_count;
        if (!o->chosen[s]) continue;
        FM_TRY(emit_row(&e, s, err));
        mark(&e, FM_SWEEP_ROW, s, first, 0);
    }
    return finish(&e, o, pack_path, err);
}

/* Loads around what a class allows, as shares of the row's own time; 0 ends. */
static const double *shares_of(flashmem_capacity_class capacity, bool full) {
    static const double brief[FLASHMEM_CAPACITY_CLASSES][16] = {
        [FLASHMEM_CAPACITY_ELEMENTWISE] = { 0.1, 0.5, 1.2, 2, 2.7, 3.5 },
        [FLASHMEM_CAPACITY_REUSABLE] = { 0.03, 0.08, 0.13, 0.2, 0.3, 0.8 },
        [FLASHMEM_CAPACITY_HIERARCHICAL] = { 0.03, 0.1, 0.2, 0.4, 1 },
    };
    static const double all[FLASHMEM_CAPACITY_CLASSES][16] = {
        [FLASHMEM_CAPACITY_ELEMENTWISE] = { 0.05, 0.1, 0.25, 0.5, 0.8, 1.2, 1.6, 2, 2.4, 2.8, 3.2, 4, 6 },
        [FLASHMEM_CAPACITY_REUSABLE] = { 0.01, 0.03, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.25, 0.35, 0.5, 1, 2 },
        [FLASHMEM_CAPACITY_HIERARCHICAL] = { 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2 },
    };
    return (full ? all : brief)[capacity];
}

double fm_sweep_loads_cost(flashmem_capacity_class capacity_class, bool full) {
    const double *shares = shares_of(capacity_class, full);
    double        cost = 4; /* rows that stand alone */
    for (int i = 0; i < 16 && shares[i] > 0; i++) cost += 1 + shares[i];
    return cost;
}

/* Shapes differ a little in their shares, so that together they cover the range: 0.85 to 1.15. */
static double spread(uint32_t shape) { return 0.85 + 0.3 * (double)(shape * 7 % 16) / 15; }

static flashmem_status emit_loads(emitter *e, const fm_sweep_options *o, uint32_t shape, double seconds,
                                  double copy_rate, flashmem_error *err) {
    fm_program_builder *b = &e->lower.builder;
    size_t              first = b->step_count;
    FM_TRY(emit_row(e, shape, err)); /* what came before is not part of it */
    if (b->step_count != first + 1)
        return fm_fail(err, FLASHMEM_INTERNAL, "'%s' has two steps", fm_shape_rows[shape].name);
    flashmem_capacity_class capacity = fm_capacity_class_of((flashmem_cost_class)b->steps[first].cost_class);
    const double           *shares = shares_of(capacity, o->full);
    FM_TRY(emit_row(e, shape, err));
    mark(e, FM_SWEEP_ALONE, shape, first + 1, 0);
    uint64_t last = 0;
    for (int i = 0; i < 16 && shares[i] > 0; i++) {
        double   wanted = shares[i] * spread(shape) * seconds * copy_rate;
        uint64_t bytes = (uint64_t)ceil(wanted / LEAST_LOAD) * LEAST_LOAD;
        if (bytes <= last || bytes > MOST_LOAD) continue;
        last = bytes;
        first = b->step_count;
        FM_TRY(emit_row(e, shape, err));
        /* From changing places: what is loaded was not just read. */
        FM_TRY(emit_load(e, (int64_t)((first * 2654435761u) % (2 * MOST_LOAD - bytes + 1) / 128 * 128), bytes, err));
        mark(e, FM_SWEEP_PAIR, shape, first, bytes);
    }
    first = b->step_count;
    FM_TRY(emit_row(e, shape, err));
    FM_TRY(emit_row(e, shape, err));
    mark(e, FM_SWEEP_ALONE, shape, first + 1, 0);
    return FLASHMEM_OK;
}

flashmem_status fm_sweep_loads(const fm_sweep_options *o, const char *pack_path, const double *shape_seconds,
                               double copy_rate, fm_arena *arena, fm_sweep *out, flashmem_error *err) {
    emitter e;
    FM_TRY(begin(&e, o, arena, MOST_LOAD, 2 * MOST_LOAD, out, err));
    for (uint32_t s = 0; s < fm_shape_row_count; s++)
        if (o->chosen[s]) FM_TRY(emit_loads(&e, o, s, shape_seconds[s], copy_rate, err));
    return finish(&e, o, pack_path, err);
}
