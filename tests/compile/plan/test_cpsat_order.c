/* Orders by CP-SAT: as good as the best of all topological orders; networks of hundreds of steps close. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "compile/plan/cpsat/cpsat_order.h"
#include "tests/base/cmocka_setup.h"

enum { FEW = 12, MOST_THINGS = 16, MOST_USERS = 4 };

static const fm_cpsat_limits plain = { .seconds = 20, .threads = 1 };

static int below(int n) { return rand() % n; }

typedef struct small {
    fm_order_problem p;
    double           seconds[FEW];
    fm_order_value   values[MOST_THINGS];
    fm_order_object  objects[MOST_THINGS];
    fm_order_edge    edges[MOST_THINGS];
    uint32_t         readers[2 * MOST_THINGS][MOST_USERS];
} small;

/* Distinct steps from..count-1. */
static uint32_t some_steps(uint32_t *out, int from, int count, int most) {
    uint32_t found = 0;
    for (int k = from; k < count && found < (uint32_t)most; k++)
        if (below(count - from) < most) out[found++] = (uint32_t)k;
    return found;
}

static void make_small(small *s) {
    int steps = 1 + below(7), values = below(12), objects = below(5), edges = below(4);
    memset(s, 0, sizeof *s);
    for (int k = 0; k < steps; k++) s->seconds[k] = (double)below(9) * 1e-3;
    for (int v = 0; v < values; v++) {
        fm_order_value *value = &s->values[v];
        bool            input = below(6) == 0;
        value->producer = input ? FM_ORDER_INPUT : (uint32_t)below(steps);
        value->bytes = (uint64_t)below(20);
        value->output = below(8) == 0;
        value->consumers = s->readers[v];
        value->consumer_count = some_steps(s->readers[v], input ? 0 : (int)value->producer + 1, steps, 1 + below(2));
    }
    for (int o = 0; o < objects; o++) {
        uint32_t *users = s->readers[MOST_THINGS + o];
        s->objects[o].bytes = 1 + (uint64_t)below(20);
        s->objects[o].user_count = some_steps(users, 0, steps, below(3) ? 1 : 3);
        if (!s->objects[o].user_count) users[s->objects[o].user_count++] = (uint32_t)below(steps);
        s->objects[o].users = users;
    }
    for (int e = 0; e < edges && steps > 1; e++) {
        uint32_t before = (uint32_t)below(steps - 1);
        s->edges[e] = (fm_order_edge){ before, before + 1 + (uint32_t)below(steps - 1 - (int)before) };
    }
    s->p = (fm_order_problem){ .seconds = s->seconds,
                               .step_count = (uint32_t)steps,
                               .values = s->values,
                               .value_count = (uint32_t)values,
                               .objects = s->objects,
                               .object_count = (uint32_t)objects,
                               .edges = s->edges,
                               .edge_count = steps > 1 ? (uint32_t)edges : 0,
                               .disk_rate = 2000 };
}

/* --- every order -------------------------------------------------------------------------------------------------- */

typedef struct judged {
    const fm_order_problem *p;
    uint32_t                order[FEW], place[FEW];
    uint64_t                peak;    /* least so far */
    double                  latency; /* likewise; INFINITY: none fits */
    uint32_t                count;   /* orders */
} judged;

static bool is_valid(const judged *j) {
    for (uint32_t v = 0; v < j->p->value_count; v++)
        for (uint32_t c = 0; c < j->p->values[v].consumer_count; c++)
            if (j->p->values[v].producer != FM_ORDER_INPUT &&
                j->place[j->p->values[v].producer] > j->place[j->p->values[v].consumers[c]])
                return false;
    for (uint32_t e = 0; e < j->p->edge_count; e++)
        if (j->place[j->p->edges[e].before] > j->place[j->p->edges[e].after]) return false;
    return true;
}

static uint64_t alive(const judged *j, uint32_t place) {
    uint64_t bytes = 0;
    for (uint32_t v = 0; v < j->p->value_count; v++) {
        const fm_order_value *value = &j->p->values[v];
        uint32_t              from = value->producer == FM_ORDER_INPUT ? 0 : j->place[value->producer], to = from;
        if (value->producer == FM_ORDER_INPUT && !value->consumer_count && !value->output) continue;
        for (uint32_t c = 0; c < value->consumer_count; c++)
            if (j->place[value->consumers[c]] > to) to = j->place[value->consumers[c]];
        if (value->output) to = j->p->step_count - 1;
        if (from <= place && place <= to) bytes += value->bytes;
    }
    return bytes;
}

static uint32_t first_use(const judged *j, uint32_t o) {
    uint32_t first = UINT32_MAX;
    for (uint32_t u = 0; u < j->p->objects[o].user_count; u++)
        if (j->place[j->p->objects[o].users[u]] < first) first = j->place[j->p->objects[o].users[u]];
    return first;
}

static uint32_t last_use(const judged *j, uint32_t o) {
    uint32_t last = 0;
    for (uint32_t u = 0; u < j->p->objects[o].user_count; u++)
        if (j->place[j->p->objects[o].users[u]] > last) last = j->place[j->p->objects[o].users[u]];
    return last;
}

static uint64_t peak_of(const judged *j) {
    uint64_t peak = 0;
    for (uint32_t k = 0; k < j->p->step_count; k++) {
        uint64_t bytes = alive(j, k);
        for (uint32_t o = 0; o < j->p->object_count; o++)
            if (first_use(j, o) <= k && k <= last_use(j, o)) bytes += j->p->objects[o].bytes;
        if (bytes > peak) peak = bytes;
    }
    return peak;
}

/* Objects one after the other; each as soon as, at every step that has not ended, there is room for all that have been
 * read or are being read and not used for the last time. */
static double latency_of(const judged *j) {
    const fm_order_problem *p = j->p;
    double                  end[FEW], disk = 0, now = 0;
    uint64_t                begun = 0;
    if (peak_of(j) > p->cap) return INFINITY;
    for (uint32_t k = 0; k < p->step_count; k++) {
        for (uint32_t o = 0; o < p->object_count; o++) {
            if (first_use(j, o) != k) continue;
            begun += p->objects[o].bytes;
            double request = disk;
            for (uint32_t i = 0; i <= k; i++) {
                uint64_t over = 0;
                for (uint32_t other = 0; other < p->object_count; other++)
                    if (last_use(j, other) < i) over += p->objects[other].bytes;
                bool room = begun + alive(j, i) <= p->cap + over;
                if (!room && i == k) return INFINITY;
                if (!room && end[i] > request) request = end[i];
            }
            disk = request + (double)p->objects[o].bytes / p->disk_rate;
            if (disk > now) now = disk;
        }
        end[k] = now += p->seconds[j->order[k]];
    }
    return now;
}

static void try_orders(judged *j, uint32_t placed) {
    for (uint32_t step = 0; step < j->p->step_count; step++) {
        if (j->place[step] != UINT32_MAX) continue;
        j->place[step] = placed;
        j->order[placed] = step;
        if (is_valid(j)) try_orders(j, placed + 1); /* nothing that comes before it is left */
        j->place[step] = UINT32_MAX;
    }
    if (placed < j->p->step_count) return;
    j->count++;
    uint64_t peak = peak_of(j);
    double   latency = latency_of(j);
    if (peak < j->peak) j->peak = peak;
    if (latency < j->latency) j->latency = latency;
}

static judged try_all(const fm_order_problem *p) {
    judged j = { .p = p, .peak = UINT64_MAX, .latency = INFINITY };
    memset(j.place, 0xff, sizeof j.place);
    try_orders(&j, 0);
    return j;
}

static judged judge_plan(const fm_order_problem *p, const fm_order_plan *plan) {
    judged j = { .p = p };
    for (uint32_t k = 0; k < p->step_count; k++) j.place[j.order[k] = plan->order[k]] = k;
    assert_true(is_valid(&j));
    j.peak = peak_of(&j);
    j.latency = latency_of(&j);
    return j;
}

static judged judge_numbered(const fm_order_problem *p) {
    uint32_t      order[FEW];
    fm_order_plan plan = { .order = order };
    for (uint32_t k = 0; k < p->step_count; k++) order[k] = k;
    return judge_plan(p, &plan);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_cpsat_order__has_the_least_peak(void **state) {
    (void)state;
    int lowered = 0;
    srand(3);
    for (int i = 0; i < 400; i++) {
        fm_arena      *arena = fm_arena_create();
        flashmem_error err = { 0 };
        small          s;
        fm_order_plan  plan;
        make_small(&s);
        judged best = try_all(&s.p);
        if (fm_cpsat_order_peak(&s.p, &plain, arena, &plan, &err) != FLASHMEM_OK) fail_msg("%d: %s", i, err.message);
        if (plan.peak != best.peak || plan.bound != best.peak || !plan.optimal)
            fail_msg("%d: peak %u, bound %u, least %u", i, (unsigned)plan.peak, (unsigned)plan.bound,
                     (unsigned)best.peak);
        assert_int_equal(judge_plan(&s.p, &plan).peak, best.peak);
        lowered += judge_numbered(&s.p).peak > best.peak;
        fm_arena_destroy(arena);
    }
    printf("%d lowered\n", lowered);
    assert_true(lowered >= 20);
}

/* Returns whether the steps as they are numbered would take longer; *fits whether any order runs. */
static bool check_latency(const fm_order_problem *p, int number, bool *fits) {
    fm_arena       *arena = fm_arena_create();
    flashmem_error  err = { 0 };
    fm_order_plan   plan;
    judged          best = try_all(p);
    flashmem_status status = fm_cpsat_order_latency(p, &plain, arena, &plan, &err);
    *fits = isfinite(best.latency);
    bool lowered = false;
    if (*fits) {
        if (status != FLASHMEM_OK) fail_msg("%d: %s", number, err.message);
        if (fabs(plan.seconds - best.latency) > 1e-9 || !plan.optimal ||
            fabs((double)plan.bound * 1e-9 - best.latency) > 1e-9)
            fail_msg("%d: %.9f s, bound %.9f, least %.9f", number, plan.seconds, (double)plan.bound * 1e-9,
                     best.latency);
        judged found = judge_plan(p, &plan);
        assert_true(fabs(found.latency - best.latency) < 1e-9);
        assert_true(found.peak <= p->cap && found.peak == plan.peak);
        lowered = judge_numbered(p).latency > best.latency;
    } else {
        assert_int_equal(status, FLASHMEM_BUDGET);
        assert_non_null(strstr(err.message, "no order of the steps runs"));
    }
    fm_arena_destroy(arena);
    return lowered;
}

static void test_cpsat_order__has_the_least_latency(void **state) {
    (void)state;
    int lowered = 0, none = 0;
    srand(4);
    for (int i = 0; i < 400; i++) {
        small s;
        bool  fits;
        make_small(&s);
        s.p.cap = try_all(&s.p).peak + (uint64_t)below(25);
        if (below(8) == 0) s.p.cap = try_all(&s.p).peak / 2;
        lowered += check_latency(&s.p, i, &fits);
        none += !fits;
    }
    printf("%d lowered, %d do not fit\n", lowered, none);
    assert_true(lowered >= 20 && none >= 10);
}

/* Chains of splits and joins: windows between the joins add up to what is proven of the whole. */
static void make_blocks(small *s) {
    int at = 0, blocks = 2 + below(2);
    memset(s, 0, sizeof *s);
    for (int b = 0; b < blocks && at + 4 <= FEW - 1; b++) {
        int branches = 2 + (b == 0 && below(2));
        for (int k = 1; k <= branches; k++) {
            s->edges[s->p.edge_count++] = (fm_order_edge){ (uint32_t)at, (uint32_t)(at + k) };
            s->edges[s->p.edge_count++] = (fm_order_edge){ (uint32_t)(at + k), (uint32_t)(at + branches + 1) };
        }
        at += branches + 1;
    }
    s->p.step_count = (uint32_t)at + 1;
    for (int k = 0; k <= at; k++) {
        s->seconds[k] = (double)below(9) * 1e-3;
        s->values[k] = (fm_order_value){ .bytes = (uint64_t)below(20),
                                         .producer = (uint32_t)k,
                                         .consumers = s->readers[k] };
        for (uint32_t e = 0; e < s->p.edge_count; e++)
            if (s->edges[e].before == (uint32_t)k) s->readers[k][s->values[k].consumer_count++] = s->edges[e].after;
        s->readers[MOST_THINGS + k][0] = (uint32_t)k;
        s->objects[k] = (fm_order_object){ .bytes = 1 + (uint64_t)below(20),
                                           .users = s->readers[MOST_THINGS + k],
                                           .user_count = 1 };
    }
    s->p.seconds = s->seconds, s->p.values = s->values, s->p.value_count = s->p.step_count;
    s->p.objects = s->objects, s->p.object_count = s->p.step_count, s->p.edges = s->edges, s->p.disk_rate = 2500;
}

static void test_cpsat_order__has_the_least_latency_of_chains_of_blocks(void **state) {
    (void)state;
    int lowered = 0;
    srand(6);
    for (int i = 0; i < 40; i++) {
        small s;
        bool  fits;
        make_blocks(&s);
        s.p.cap = try_all(&s.p).peak + (uint64_t)below(30);
        lowered += check_latency(&s.p, i, &fits);
        assert_true(fits);
    }
    printf("%d lowered\n", lowered);
    assert_true(lowered >= 10);
}

/* Blocks of three branches of three steps between a split and a join; one in four branches of the block has weights. */
enum { BLOCKS = 30, BRANCHES = 3, DEEP = 3, BLOCK = BRANCHES * DEEP + 1, STEPS = BLOCKS * BLOCK + 1 };

typedef struct network {
    fm_order_problem p;
    double           seconds[STEPS];
    fm_order_value   values[STEPS];
    fm_order_object  objects[STEPS];
    uint32_t         readers[STEPS][BRANCHES], users[STEPS];
} network;

static void make_network(network *n) {
    memset(n, 0, sizeof *n);
    for (uint32_t k = 0; k < STEPS; k++) {
        uint32_t at = k ? (k - 1) % BLOCK : BLOCK - 1, readers = 1; /* at BLOCK - 1: joins, and splits for the next */
        n->seconds[k] = (1 + (k * 7) % 5) * 1e-3;
        if (at == BLOCK - 1) {
            readers = k + 1 < STEPS ? BRANCHES : 0;
            for (uint32_t b = 0; b < readers; b++) n->readers[k][b] = k + 1 + b * DEEP;
        } else {
            n->readers[k][0] = at % DEEP == DEEP - 1 ? k - at + BLOCK - 1 : k + 1;
        }
        n->values[k] = (fm_order_value){ .bytes = 1000 * (1 + (k * 5) % 13),
                                         .producer = k,
                                         .output = !readers,
                                         .consumers = n->readers[k],
                                         .consumer_count = readers };
        n->users[k] = k;
        n->objects[k] = (fm_order_object){ .bytes = at % 4 == 0 ? 9000 : 500, .users = &n->users[k], .user_count = 1 };
    }
    n->p = (fm_order_problem){ .seconds = n->seconds,
                               .step_count = STEPS,
                               .values = n->values,
                               .value_count = STEPS,
                               .objects = n->objects,
                               .object_count = STEPS,
                               .disk_rate = 1.1e6 };
}

static void test_cpsat_order__closes_a_network_of_hundreds_of_steps(void **state) {
    (void)state;
    fm_arena       *arena = fm_arena_create();
    flashmem_error  err = { 0 };
    network        *n = fm_arena_alloc(arena, sizeof *n);
    fm_order_plan   peak, latency;
    fm_cpsat_limits limits = { .seconds = 20, .threads = 2 };
    make_network(n);
    double start = fm_clock_seconds();
    if (fm_cpsat_order_peak(&n->p, &limits, arena, &peak, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    double middle = fm_clock_seconds();
    assert_true(peak.optimal);
    n->p.cap = peak.peak * 8 / 5;
    limits.seconds = 4;
    if (fm_cpsat_order_latency(&n->p, &limits, arena, &latency, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    printf("%d steps: peak %u in %.2f s; latency %.6f s, bound %.6f s, in %.2f s\n", STEPS, (unsigned)peak.peak,
           middle - start, latency.seconds, (double)latency.bound * 1e-9, fm_clock_seconds() - middle);
    assert_true((double)latency.bound * 1e-9 > 0.9 && latency.seconds < 1.1);
    assert_true(latency.peak <= n->p.cap);
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpsat_order__has_the_least_peak),
        cmocka_unit_test(test_cpsat_order__has_the_least_latency),
        cmocka_unit_test(test_cpsat_order__has_the_least_latency_of_chains_of_blocks),
        cmocka_unit_test(test_cpsat_order__closes_a_network_of_hundreds_of_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
