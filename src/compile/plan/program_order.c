#include "compile/plan/program_order.h"

#include <string.h>

#include "compile/plan/cpsat/cpsat_order.h"

/* Who touches what: of a value (by the root of its aliases), of a placed object. */
typedef struct touches {
    uint32_t *steps;
    size_t    count, capacity;
    uint32_t  writer; /* the latest, FM_NONE: none yet */
    size_t    since;  /* touches from here on are reads after that write */
} touches;

typedef struct reorder {
    const fm_packed  *packed;
    const fm_program *program;
    fm_arena         *arena;
    touches          *values, *objects;
    fm_order_edge    *edges;
    size_t            edge_count, edge_capacity;
} reorder;

static uint32_t root_of(const fm_program *p, uint32_t v) {
    return p->values[v].alias == FM_NONE ? v : p->values[v].alias;
}

static void add_touch(reorder *r, touches *t, uint32_t step) {
    if (t->count && t->steps[t->count - 1] == step) return;
    FM_PUSH(r->arena, t->steps, t->count, t->capacity) = step;
}

static void add_edge(reorder *r, uint32_t before, uint32_t after) {
    if (before != after)
        FM_PUSH(r->arena, r->edges, r->edge_count, r->edge_capacity) = (fm_order_edge){ before, after };
}

/* A read comes after the latest write; a write after that and after every read since. */
static void touch_value(reorder *r, uint32_t step, uint32_t value, bool writes) {
    touches *t = &r->values[root_of(r->program, value)];
    if (t->writer != FM_NONE) add_edge(r, t->writer, step);
    if (writes) {
        for (size_t i = t->since; i < t->count; i++) add_edge(r, t->steps[i], step);
        t->writer = step;
    }
    add_touch(r, t, step);
    if (writes) t->since = t->count;
}

static void scan(reorder *r) {
    const fm_program *p = r->program;
    r->values = fm_arena_array(r->arena, p->value_count, sizeof *r->values);
    r->objects = fm_arena_array(r->arena, r->packed->object_count, sizeof *r->objects);
    for (uint32_t v = 0; v < p->value_count; v++) r->values[v].writer = FM_NONE;
    for (uint32_t s = 0; s < p->step_count; s++)
        for (uint32_t a = p->steps[s].first_arg; a < p->steps[s].first_arg + p->steps[s].arg_count; a++) {
            const fm_arg *arg = &p->args[a];
            if (arg->kind > FM_ARG_IMAGE) continue;
            const fm_value *value = &p->values[arg->value];
            if (value->kind != FM_VALUE_WEIGHT) {
                touch_value(r, s, arg->value, arg->kind == FM_ARG_WRITE);
                continue;
            }
            uint32_t object = r->packed->weights[value->weight].object;
            if (object != FM_NONE) add_touch(r, &r->objects[object], s);
        }
}

/* Scratch and activations; what lives always, and what the caller binds, is the same in every order. */
static fm_order_value *list_values(const reorder *r, uint32_t *count) {
    const fm_program *p = r->program;
    fm_order_value   *values = fm_arena_array(r->arena, p->value_count, sizeof *values);
    for (uint32_t v = 0; v < p->value_count; v++) {
        const touches *t = &r->values[v];
        bool           output = p->values[v].kind == FM_VALUE_OUTPUT;
        if (!t->count || p->values[v].alias != FM_NONE) continue;
        if (p->values[v].kind != FM_VALUE_ACTIVATION && p->values[v].kind != FM_VALUE_SCRATCH && !output) continue;
        values[(*count)++] = (fm_order_value){ .bytes = (uint64_t)fm_program_expr(p, p->values[v].bytes),
                                               .producer = t->steps[0],
                                               .consumers = t->steps + 1,
                                               .consumer_count = (uint32_t)t->count - 1,
                                               .output = output };
    }
    return values;
}

static fm_order_object *list_objects(const reorder *r, uint32_t *count) {
    fm_order_object *objects = fm_arena_array(r->arena, r->packed->object_count, sizeof *objects);
    for (uint32_t o = 0; o < r->packed->object_count; o++)
        if (r->objects[o].count)
            objects[(*count)++] = (fm_order_object){ .bytes = r->packed->objects[o].bytes,
                                                     .users = r->objects[o].steps,
                                                     .user_count = (uint32_t)r->objects[o].count };
    return objects;
}

/* The least cap for the given order: values and objects from first to last use. */
static uint64_t peak_of(const fm_order_problem *of, fm_arena *arena) {
    int64_t *change = fm_arena_array(arena, of->step_count + 1u, sizeof *change), now = 0, most = 0;
    for (uint32_t v = 0; v < of->value_count; v++) {
        const fm_order_value *value = &of->values[v];
        uint32_t last = value->consumer_count ? value->consumers[value->consumer_count - 1] : value->producer;
        change[value->producer] += (int64_t)value->bytes;
        if (!value->output) change[last + 1] -= (int64_t)value->bytes;
    }
    for (uint32_t o = 0; o < of->object_count; o++) {
        change[of->objects[o].users[0]] += (int64_t)of->objects[o].bytes;
        change[of->objects[o].users[of->objects[o].user_count - 1] + 1] -= (int64_t)of->objects[o].bytes;
    }
    for (uint32_t s = 0; s < of->step_count; s++) {
        now += change[s];
        if (now > most) most = now;
    }
    return (uint64_t)most;
}

flashmem_status fm_program_reorder(const fm_packed *packed, fm_program *program, const fm_cpsat_limits *limits,
                                   fm_arena *arena, fm_program_order *out, flashmem_error *err) {
    reorder          r = { .packed = packed, .program = program, .arena = arena };
    fm_order_problem problem = { .step_count = program->step_count };
    fm_order_plan    plan;
    scan(&r);
    problem.values = list_values(&r, &problem.value_count);
    problem.objects = list_objects(&r, &problem.object_count);
    problem.edges = r.edges;
    problem.edge_count = (uint32_t)r.edge_count;
    problem.seconds = fm_arena_array(arena, program->step_count, sizeof *problem.seconds);
    *out = (fm_program_order){ .before = peak_of(&problem, arena) };
    FM_TRY(fm_cpsat_order_peak(&problem, limits, arena, &plan, err));
    out->peak = plan.peak;
    out->bound = plan.bound;
    if (plan.peak >= out->before) {
        out->peak = out->before;
        return FLASHMEM_OK; /* as it was */
    }
    fm_step *steps = fm_arena_array(arena, program->step_count, sizeof *steps);
    for (uint32_t i = 0; i < program->step_count; i++) {
        steps[i] = program->steps[plan.order[i]];
        out->moved += plan.order[i] != i;
    }
    program->steps = steps;
    return FLASHMEM_OK;
}
