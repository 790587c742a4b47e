/* The part of an ordering model that both goals share: which slots are taken by when, and what is alive. */
#include <inttypes.h>

#include "compile/plan/cpsat/cpsat_order_slots.h"

static int32_t negated(int32_t literal) {
    if (literal == FM_ORDER_NEVER) return FM_ORDER_ALWAYS;
    return literal == FM_ORDER_ALWAYS ? FM_ORDER_NEVER : FM_CPSAT_NOT(literal);
}

/* A clause of at most three literals, some of them known. */
static void add_clause(fm_order_model *b, const int32_t *literals, uint32_t count) {
    int32_t  open[3];
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (literals[i] == FM_ORDER_ALWAYS) return;
        if (literals[i] != FM_ORDER_NEVER) open[left++] = literals[i];
    }
    fm_cpsat_or(b->m, open, left);
}

static bool inside(const fm_order_model *b, uint32_t step) {
    return b->slots->earliest[step] >= b->from && b->slots->latest[step] <= b->to;
}

int32_t fm_order_done(const fm_order_model *b, uint32_t step, int64_t slot) {
    const fm_order_slots *s = b->slots;
    if (slot < (int64_t)s->earliest[step]) return FM_ORDER_NEVER;
    if (slot >= (int64_t)s->latest[step]) return FM_ORDER_ALWAYS;
    return b->done[step][slot - s->earliest[step]];
}

void fm_order_term(fm_order_model *b, int32_t literal, int64_t coefficient, int64_t *constant) {
    if (literal == FM_ORDER_ALWAYS) *constant += coefficient;
    else if (literal != FM_ORDER_NEVER) fm_cpsat_literal_term(b->m, literal, coefficient, constant);
}

/* --- slots -------------------------------------------------------------------------------------------------------- */

/* Of all slots of steps, as many lie at or below a slot as there are. */
static void add_slot(fm_order_model *b, uint32_t slot) {
    const fm_order_slots *s = b->slots;
    int64_t               constant = 0;
    uint32_t              open = 0;
    for (uint32_t k = 0; k < s->problem->step_count; k++) {
        if (!inside(b, k)) continue;
        for (uint32_t later = 0; later < s->length[k]; later++) {
            int32_t literal = fm_order_done(b, k, (int64_t)slot + later);
            open += literal != FM_ORDER_NEVER && literal != FM_ORDER_ALWAYS;
            fm_order_term(b, literal, 1, &constant);
        }
    }
    int64_t wanted = (int64_t)slot - b->from + 1 - constant;
    if (open) fm_cpsat_linear(b->m, wanted, wanted, FM_CPSAT_ALWAYS);
}

static void add_precedence(fm_order_model *b, const fm_order_edge *edge) {
    const fm_order_slots *s = b->slots;
    uint32_t              length = s->length[edge->after];
    if (!inside(b, edge->before) || !inside(b, edge->after)) return;
    for (uint32_t slot = s->earliest[edge->after]; slot < s->latest[edge->after]; slot++)
        add_clause(b,
                   (int32_t[]){ negated(fm_order_done(b, edge->after, slot)),
                                fm_order_done(b, edge->before, (int64_t)slot - length) },
                   2);
}

void fm_order_model_init(fm_order_model *b, const fm_order_slots *s, uint32_t from, uint32_t to, fm_arena *arena) {
    *b = (fm_order_model){ .slots = s, .m = fm_cpsat_create(arena), .arena = arena, .from = from, .to = to };
    b->done = fm_arena_array(arena, s->problem->step_count, sizeof *b->done);
    for (uint32_t k = 0; k < s->problem->step_count; k++) {
        uint32_t open = s->latest[k] - s->earliest[k];
        if (!inside(b, k) || !open) continue;
        b->done[k] = fm_arena_array(arena, open, sizeof **b->done);
        for (uint32_t i = 0; i < open; i++) b->done[k][i] = fm_cpsat_boolean(b->m);
        for (uint32_t i = 1; i < open; i++)
            fm_cpsat_or(b->m, (int32_t[]){ FM_CPSAT_NOT(b->done[k][i - 1]), b->done[k][i] }, 2);
    }
    for (uint32_t slot = from; slot < to; slot++) add_slot(b, slot);
    for (size_t e = 0; e < s->edge_count; e++) add_precedence(b, &s->edges[e]);
}

flashmem_status fm_order_check_size(const fm_order_slots *s, uint32_t from, uint32_t to, flashmem_error *err) {
    uint64_t booleans = 0;
    uint32_t steps = 0;
    for (uint32_t k = 0; k < s->problem->step_count; k++)
        if (s->earliest[k] >= from && s->latest[k] <= to) booleans += s->latest[k] - s->earliest[k], steps++;
    if (booleans <= FM_CPSAT_MOST_BOOLEANS) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_UNSUPPORTED,
                   "CP-SAT: the order of %" PRIu32 " steps leaves %" PRIu64 " booleans open, at most %u are tried",
                   steps, booleans, FM_CPSAT_MOST_BOOLEANS);
}

/* --- what is alive ------------------------------------------------------------------------------------------------ */

int32_t fm_order_begun(fm_order_model *b, const fm_order_thing *t, uint32_t slot) {
    int32_t *open = fm_arena_array(b->arena, t->birth_count + (size_t)1, sizeof *open);
    uint32_t count = 0;
    if (t->from_start) return FM_ORDER_ALWAYS;
    for (uint32_t i = 0; i < t->birth_count; i++) {
        int32_t literal = fm_order_done(b, t->births[i].step, (int64_t)slot + t->births[i].later);
        if (literal == FM_ORDER_ALWAYS) return literal;
        if (literal != FM_ORDER_NEVER) open[count++] = literal;
    }
    if (count < 2) return count ? open[0] : FM_ORDER_NEVER;
    int32_t any = fm_cpsat_boolean(b->m);
    for (uint32_t i = 0; i < count; i++) fm_cpsat_or(b->m, (int32_t[]){ FM_CPSAT_NOT(open[i]), any }, 2);
    open[count++] = FM_CPSAT_NOT(any);
    fm_cpsat_or(b->m, open, count);
    return any;
}

/* Literals of users that may not be done before the slot; *never: one of them surely is not. */
static int32_t *unsure_users(const fm_order_model *b, const fm_order_thing *t, uint32_t slot, uint32_t *count,
                             bool *never) {
    int32_t *open = fm_arena_array(b->arena, t->death_count, sizeof *open);
    *count = 0;
    *never = t->to_end;
    for (uint32_t i = 0; i < t->death_count; i++) {
        int32_t literal = fm_order_done(b, t->deaths[i], (int64_t)slot - 1);
        *never |= literal == FM_ORDER_NEVER;
        if (literal != FM_ORDER_NEVER && literal != FM_ORDER_ALWAYS) open[(*count)++] = literal;
    }
    return open;
}

int32_t fm_order_over(fm_order_model *b, const fm_order_thing *t, uint32_t slot) {
    uint32_t count;
    bool     never;
    int32_t *open = unsure_users(b, t, slot, &count, &never);
    if (never) return FM_ORDER_NEVER;
    if (count < 2) return count ? open[0] : FM_ORDER_ALWAYS;
    int32_t all = fm_cpsat_boolean(b->m);
    for (uint32_t i = 0; i < count; i++) fm_cpsat_or(b->m, (int32_t[]){ FM_CPSAT_NOT(all), open[i] }, 2);
    return all;
}

int32_t fm_order_alive(fm_order_model *b, const fm_order_thing *t, uint32_t slot) {
    uint32_t count;
    bool     never;
    int32_t *open = unsure_users(b, t, slot, &count, &never);
    if (!never && !count) return FM_ORDER_NEVER;
    int32_t begun = fm_order_begun(b, t, slot);
    if (begun == FM_ORDER_NEVER || never) return begun;
    if (count == 1 && begun == FM_ORDER_ALWAYS) return FM_CPSAT_NOT(open[0]);
    int32_t alive = fm_cpsat_boolean(b->m);
    for (uint32_t i = 0; i < count; i++) add_clause(b, (int32_t[]){ negated(begun), open[i], alive }, 3);
    return alive;
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

void fm_order_hint(fm_order_model *b, const uint32_t *order) {
    const fm_order_slots *s = b->slots;
    uint32_t              end = 0; /* slots up to here are taken */
    for (uint32_t i = 0; i < s->problem->step_count; i++) {
        uint32_t step = order[i], open = s->latest[step] - s->earliest[step];
        end += s->length[step];
        for (uint32_t k = 0; b->done[step] && k < open; k++)
            fm_cpsat_hint(b->m, b->done[step][k], end - 1 <= s->earliest[step] + k);
    }
}

void fm_order_take(const fm_order_model *b, const int64_t *values, uint32_t *order) {
    const fm_order_slots *s = b->slots;
    uint32_t             *ending = fm_arena_array(b->arena, s->count, sizeof *ending), place = 0;
    for (uint32_t k = 0; k < s->problem->step_count; k++) {
        uint32_t end = s->earliest[k];
        place += s->latest[k] < b->from;
        if (!inside(b, k)) continue;
        while (end < s->latest[k] && !values[b->done[k][end - s->earliest[k]]]) end++;
        ending[end] = k + 1;
    }
    for (uint32_t slot = b->from; slot <= b->to; slot++)
        if (ending[slot]) order[place++] = ending[slot] - 1;
}
