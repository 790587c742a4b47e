/* Building CP-SAT models as protobuf messages in an arena, and solving them. */
#include "compile/plan/cpsat/cpsat.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat_library.h"
#include "cp_model.pb-c.h"

enum { STOP_POLL_NS = 20000000 };

typedef struct range {
    int64_t domain[2]; /* least, most */
} range;

struct fm_cpsat_model {
    fm_arena          *arena;
    range             *variables;
    size_t             variable_count, variable_capacity;
    FmCp__Constraint **constraints;
    size_t             constraint_count, constraint_capacity;
    int32_t           *term_vars;
    size_t             term_count, term_capacity;
    int64_t           *term_coeffs;
    size_t             coeff_count, coeff_capacity;
    int32_t           *hint_vars;
    size_t             hint_count, hint_capacity;
    int64_t           *hint_values;
    size_t             value_count, value_capacity;
    FmCp__Objective   *objective;
    uint32_t           booleans;
};

fm_cpsat_model *fm_cpsat_create(fm_arena *arena) {
    fm_cpsat_model *m = fm_arena_alloc(arena, sizeof *m);
    m->arena = arena;
    return m;
}

int32_t fm_cpsat_integer(fm_cpsat_model *m, int64_t low, int64_t high) {
    FM_PUSH(m->arena, m->variables, m->variable_count, m->variable_capacity) = (range){ { low, high } };
    return (int32_t)m->variable_count - 1;
}

int32_t fm_cpsat_boolean(fm_cpsat_model *m) {
    m->booleans++;
    return fm_cpsat_integer(m, 0, 1);
}

uint32_t fm_cpsat_booleans(const fm_cpsat_model *m) { return m->booleans; }

/* --- constraints -------------------------------------------------------------------------------------------------- */

static void *copied(fm_arena *arena, const void *items, size_t count, size_t each) {
    void *copy = fm_arena_array(arena, count, each);
    if (count) memcpy(copy, items, count * each);
    return copy;
}

static FmCp__Constraint *add_constraint(fm_cpsat_model *m) {
    FmCp__Constraint *c = fm_arena_alloc(m->arena, sizeof *c);
    fm_cp__constraint__init(c);
    FM_PUSH(m->arena, m->constraints, m->constraint_count, m->constraint_capacity) = c;
    return c;
}

void fm_cpsat_term(fm_cpsat_model *m, int32_t variable, int64_t coefficient) {
    FM_PUSH(m->arena, m->term_vars, m->term_count, m->term_capacity) = variable;
    FM_PUSH(m->arena, m->term_coeffs, m->coeff_count, m->coeff_capacity) = coefficient;
}

void fm_cpsat_literal_term(fm_cpsat_model *m, int32_t literal, int64_t coefficient, int64_t *constant) {
    if (literal >= 0) {
        fm_cpsat_term(m, literal, coefficient);
    } else {
        fm_cpsat_term(m, FM_CPSAT_NOT(literal), -coefficient);
        *constant += coefficient;
    }
}

void fm_cpsat_linear(fm_cpsat_model *m, int64_t low, int64_t high, int32_t literal) {
    FmCp__Constraint *c = add_constraint(m);
    FmCp__Linear     *linear = fm_arena_alloc(m->arena, sizeof *linear);
    fm_cp__linear__init(linear);
    linear->vars = copied(m->arena, m->term_vars, linear->n_vars = m->term_count, sizeof *linear->vars);
    linear->coeffs = copied(m->arena, m->term_coeffs, linear->n_coeffs = m->term_count, sizeof *linear->coeffs);
    linear->domain = copied(m->arena, (int64_t[]){ low, high }, linear->n_domain = 2, sizeof *linear->domain);
    c->linear = linear;
    if (literal != FM_CPSAT_ALWAYS)
        c->enforcement_literal = copied(m->arena, &literal, c->n_enforcement_literal = 1, sizeof literal);
    m->term_count = m->coeff_count = 0;
}

void fm_cpsat_minimize(fm_cpsat_model *m, int64_t least) {
    FmCp__Objective *o = fm_arena_alloc(m->arena, sizeof *o);
    fm_cp__objective__init(o);
    o->vars = copied(m->arena, m->term_vars, o->n_vars = m->term_count, sizeof *o->vars);
    o->coeffs = copied(m->arena, m->term_coeffs, o->n_coeffs = m->term_count, sizeof *o->coeffs);
    if (least > FM_CPSAT_LOW)
        o->domain = copied(m->arena, (int64_t[]){ least, FM_CPSAT_HIGH }, o->n_domain = 2, sizeof *o->domain);
    m->objective = o;
    m->term_count = m->coeff_count = 0;
}

static FmCp__Literals *make_literals(fm_cpsat_model *m, const int32_t *literals, uint32_t count) {
    FmCp__Literals *list = fm_arena_alloc(m->arena, sizeof *list);
    fm_cp__literals__init(list);
    list->literals = copied(m->arena, literals, list->n_literals = count, sizeof *literals);
    return list;
}

void fm_cpsat_or(fm_cpsat_model *m, const int32_t *literals, uint32_t count) {
    add_constraint(m)->bool_or = make_literals(m, literals, count);
}

void fm_cpsat_exactly_one(fm_cpsat_model *m, const int32_t *literals, uint32_t count) {
    add_constraint(m)->exactly_one = make_literals(m, literals, count);
}

void fm_cpsat_hint(fm_cpsat_model *m, int32_t variable, int64_t value) {
    FM_PUSH(m->arena, m->hint_vars, m->hint_count, m->hint_capacity) = variable;
    FM_PUSH(m->arena, m->hint_values, m->value_count, m->value_capacity) = value;
}

static FmCp__Expression *make_expression(fm_cpsat_model *m, fm_cpsat_expression from, int64_t more) {
    FmCp__Expression *e = fm_arena_alloc(m->arena, sizeof *e);
    fm_cp__expression__init(e);
    if (from.variable >= 0) {
        e->vars = copied(m->arena, &from.variable, e->n_vars = 1, sizeof *e->vars);
        e->coeffs = copied(m->arena, &from.coefficient, e->n_coeffs = 1, sizeof *e->coeffs);
    }
    e->has_offset = 1;
    e->offset = from.offset + more;
    return e;
}

int32_t fm_cpsat_interval(fm_cpsat_model *m, fm_cpsat_expression start, int64_t size) {
    FmCp__Interval *interval = fm_arena_alloc(m->arena, sizeof *interval);
    fm_cp__interval__init(interval);
    interval->start = make_expression(m, start, 0);
    interval->end = make_expression(m, start, size);
    interval->size = make_expression(m, (fm_cpsat_expression){ -1, 0, 0 }, size);
    add_constraint(m)->interval = interval;
    return (int32_t)m->constraint_count - 1;
}

void fm_cpsat_no_overlap_2d(fm_cpsat_model *m, const int32_t *x, const int32_t *y, uint32_t count) {
    FmCp__NoOverlap2d *c = fm_arena_alloc(m->arena, sizeof *c);
    fm_cp__no_overlap2d__init(c);
    c->x_intervals = copied(m->arena, x, c->n_x_intervals = count, sizeof *x);
    c->y_intervals = copied(m->arena, y, c->n_y_intervals = count, sizeof *y);
    add_constraint(m)->no_overlap_2d = c;
}

void fm_cpsat_cumulative(fm_cpsat_model *m, const int32_t *intervals, const int64_t *demands, uint32_t count,
                         fm_cpsat_expression capacity) {
    FmCp__Cumulative *c = fm_arena_alloc(m->arena, sizeof *c);
    fm_cp__cumulative__init(c);
    c->capacity = make_expression(m, capacity, 0);
    c->intervals = copied(m->arena, intervals, c->n_intervals = count, sizeof *intervals);
    c->demands = fm_arena_array(m->arena, count, sizeof(void *));
    c->n_demands = count;
    for (uint32_t i = 0; i < count; i++)
        c->demands[i] = make_expression(m, (fm_cpsat_expression){ -1, 0, demands[i] }, 0);
    add_constraint(m)->cumulative = c;
}

/* --- checking an answer ------------------------------------------------------------------------------------------- */

static bool holds(int32_t literal, const int64_t *values) {
    return literal >= 0 ? values[literal] == 1 : values[FM_CPSAT_NOT(literal)] == 0;
}

/* False when it leaves 64 bits. */
static bool weigh(const int32_t *vars, const int64_t *coeffs, size_t count, const int64_t *values, int64_t *sum) {
    *sum = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t product;
        if (__builtin_mul_overflow(coeffs[i], values[vars[i]], &product) || __builtin_add_overflow(*sum, product, sum))
            return false;
    }
    return true;
}

static bool constraint_holds(const FmCp__Constraint *c, const int64_t *values) {
    int64_t  sum;
    uint32_t true_count = 0;
    if (c->n_enforcement_literal && !holds(c->enforcement_literal[0], values)) return true;
    if (c->linear)
        return weigh(c->linear->vars, c->linear->coeffs, c->linear->n_vars, values, &sum) &&
               c->linear->domain[0] <= sum && sum <= c->linear->domain[1];
    const FmCp__Literals *list = c->bool_or ? c->bool_or : c->exactly_one;
    for (size_t i = 0; list && i < list->n_literals; i++) true_count += holds(list->literals[i], values);
    return c->bool_or ? true_count >= 1 : !c->exactly_one || true_count == 1;
}

/* Of what the solution must satisfy, all but intervals: what uses those verifies what it makes of them. */
static flashmem_status check_values(const fm_cpsat_model *m, const FmCp__Response *r, int64_t *values,
                                    int64_t *objective, flashmem_error *err) {
    if (r->n_solution != m->variable_count)
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: a solution of %zu values for %zu variables", r->n_solution,
                       m->variable_count);
    for (size_t i = 0; i < m->variable_count; i++) {
        values[i] = r->solution[i];
        const int64_t *domain = m->variables[i].domain;
        if (values[i] < domain[0] || values[i] > domain[1])
            return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: variable %zu is %" PRId64 ", not in %" PRId64 "..%" PRId64,
                           i, values[i], domain[0], domain[1]);
    }
    for (size_t i = 0; i < m->constraint_count; i++)
        if (!constraint_holds(m->constraints[i], values))
            return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: the solution breaks constraint %zu", i);
    *objective = 0;
    if (m->objective && !weigh(m->objective->vars, m->objective->coeffs, m->objective->n_vars, values, objective))
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: the objective of the solution leaves 64 bits");
    if (llabs(*objective) < INT64_C(1) << 52 && !(fabs(r->objective_value - (double)*objective) < 0.5))
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: objective %g stated, %" PRId64 " found", r->objective_value,
                       *objective);
    return FLASHMEM_OK;
}

static flashmem_status read_response(const fm_cpsat_model *m, const FmCp__Response *r, int64_t *values,
                                     fm_cpsat_result *result, flashmem_error *err) {
    double stated = r->best_objective_bound;
    result->bound = isfinite(stated) && fabs(stated) < 0x1p60 ? llround(stated) : FM_CPSAT_LOW;
    switch (r->status) {
    case FM_CP__STATUS__UNKNOWN: result->status = FM_CPSAT_UNKNOWN; return FLASHMEM_OK;
    case FM_CP__STATUS__INFEASIBLE: result->status = FM_CPSAT_INFEASIBLE; return FLASHMEM_OK;
    case FM_CP__STATUS__FEASIBLE: result->status = FM_CPSAT_FEASIBLE; break;
    case FM_CP__STATUS__OPTIMAL: result->status = FM_CPSAT_OPTIMAL; break;
    case FM_CP__STATUS__MODEL_INVALID:
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT refuses the model: %.300s",
                       r->solution_info ? r->solution_info : "it does not say why");
    default: return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: status %d is not known", r->status);
    }
    FM_TRY(check_values(m, r, values, &result->objective, err));
    if (!m->objective) result->bound = 0;
    if (result->bound > result->objective || (result->status == FM_CPSAT_OPTIMAL && result->bound != result->objective))
        return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: bound %" PRId64 ", objective %" PRId64 ", status %d",
                       result->bound, result->objective, r->status);
    result->values = values;
    return FLASHMEM_OK;
}

/* --- solving ------------------------------------------------------------------------------------------------------ */

/* Asks the caller now and then whether to go on, while the solver has its thread. */
typedef struct watch {
    const fm_cpsat_library *library;
    const fm_cpsat_limits  *limits;
    void                   *env;
    pthread_t               thread;
    pthread_mutex_t         mutex;
    pthread_cond_t          wake;
    bool                    done, running;
} watch;

static void *watch_main(void *user) {
    watch *w = user;
    pthread_mutex_lock(&w->mutex);
    while (!w->done) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += STOP_POLL_NS;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        if (pthread_cond_timedwait(&w->wake, &w->mutex, &until) == ETIMEDOUT && !w->done &&
            w->limits->stop(w->limits->user))
            w->library->SolveCpStopSearch(w->env);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void watch_begin(watch *w) {
    pthread_condattr_t attributes;
    if (!w->limits->stop) return;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    w->running = pthread_create(&w->thread, NULL, watch_main, w) == 0;
    if (!w->running) fm_warn(w->limits->log, "plan", "no thread to watch for interruption; the time limit still holds");
}

static void watch_end(watch *w) {
    if (!w->limits->stop) return;
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    if (w->running) pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
}

static flashmem_status call(const fm_cpsat_library *library, const fm_cpsat_limits *limits, const uint8_t *model,
                            size_t model_bytes, const uint8_t *parameters, size_t parameter_bytes,
                            FmCp__Response **response, flashmem_error *err) {
    watch w = { .library = library, .limits = limits, .env = library->SolveCpNewEnv() };
    void *bytes = NULL;
    int   count = 0;
    if (!w.env) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for CP-SAT");
    watch_begin(&w);
    library->SolveCpInterruptible(w.env, model, (int)model_bytes, parameters, (int)parameter_bytes, &bytes, &count);
    watch_end(&w);
    library->SolveCpDestroyEnv(w.env);
    *response = bytes && count >= 0 ? fm_cp__response__unpack(NULL, (size_t)count, bytes) : NULL;
    free(bytes);
    if (*response) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "CP-SAT: its answer of %d bytes cannot be parsed", count);
}

static void pack_model(fm_cpsat_model *m, uint8_t **bytes, size_t *count) {
    FmCp__Model      message = FM_CP__MODEL__INIT;
    FmCp__Variable  *variables = fm_arena_array(m->arena, m->variable_count, sizeof *variables);
    FmCp__Assignment hint = FM_CP__ASSIGNMENT__INIT;
    message.variables = fm_arena_array(m->arena, message.n_variables = m->variable_count, sizeof(void *));
    for (size_t i = 0; i < m->variable_count; i++) {
        fm_cp__variable__init(&variables[i]);
        variables[i].domain = m->variables[i].domain;
        variables[i].n_domain = 2;
        message.variables[i] = &variables[i];
    }
    message.constraints = m->constraints;
    message.n_constraints = m->constraint_count;
    message.objective = m->objective;
    hint.vars = m->hint_vars;
    hint.values = m->hint_values;
    hint.n_vars = hint.n_values = m->hint_count;
    if (m->hint_count) message.solution_hint = &hint;
    *count = fm_cp__model__get_packed_size(&message);
    *bytes = fm_arena_alloc(m->arena, *count);
    fm_cp__model__pack(&message, *bytes);
}

static size_t pack_parameters(const fm_cpsat_limits *limits, uint8_t *bytes, size_t most) {
    FmCp__Parameters p = FM_CP__PARAMETERS__INIT;
    p.has_random_seed = p.has_catch_sigint_signal = p.has_num_workers = 1;
    p.random_seed = (int32_t)(limits->seed & INT32_MAX);
    p.num_workers = limits->threads > 256 ? 256 : (int32_t)limits->threads;
    if (limits->seconds > 0) p.has_max_time_in_seconds = 1, p.max_time_in_seconds = limits->seconds;
    return fm_cp__parameters__get_packed_size(&p) <= most ? fm_cp__parameters__pack(&p, bytes) : 0;
}

flashmem_status fm_cpsat_available(flashmem_error *err) {
    const fm_cpsat_library *library;
    return fm_cpsat_load(&library, err);
}

flashmem_status fm_cpsat_solve(fm_cpsat_model *m, const fm_cpsat_limits *limits, fm_cpsat_result *result,
                               flashmem_error *err) {
    const fm_cpsat_library *library;
    uint8_t                *bytes, parameters[64];
    size_t                  count;
    FmCp__Response         *response;
    if (m->booleans > FM_CPSAT_MOST_BOOLEANS)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "CP-SAT: %u booleans in one model, at most %u are tried", m->booleans,
                       FM_CPSAT_MOST_BOOLEANS);
    FM_TRY(fm_cpsat_load(&library, err));
    *result = (fm_cpsat_result){ .bound = FM_CPSAT_LOW };
    pack_model(m, &bytes, &count);
    int64_t *values = fm_arena_array(m->arena, m->variable_count, sizeof *values);
    if (count > INT_MAX)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "CP-SAT: a model of %zu bytes is more than it takes", count);
    size_t parameter_bytes = pack_parameters(limits, parameters, sizeof parameters);
    double start = fm_clock_seconds();
    FM_TRY(call(library, limits, bytes, count, parameters, parameter_bytes, &response, err));
    result->seconds = fm_clock_seconds() - start;
    flashmem_status status = read_response(m, response, values, result, err);
    fm_cp__response__free_unpacked(response, NULL);
    fm_debug(limits->log, "plan", "CP-SAT: %zu variables, %zu constraints, status %d, %.3f s", m->variable_count,
             m->constraint_count, (int)result->status, result->seconds);
    return status;
}
