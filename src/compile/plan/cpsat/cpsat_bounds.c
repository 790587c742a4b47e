/* What is known of a segment without CP-SAT: the best schedule of a given choice, and bounds from the backlog alone.
 *
 * Going backwards in time, position after position: what is due joins the backlog, the position serves its capacity,
 * the rest is carried on.  For a given choice, serving the least remainder first makes the sum of distances least
 * (Schrage; docs/planning.md).  Forgetting which weights the backlog R is made of leaves a table over R; what it costs
 * to carry R is bounded by the fewest weights that can hold it. */
#include "compile/plan/cpsat/cpsat_segment.h"

#include <stdlib.h>
#include <string.h>

#define IMPOSSIBLE (INT64_MAX / 4)
#define MOST_TABLE ((uint64_t)128 << 20)

/* --- one choice --------------------------------------------------------------------------------------------------- */

typedef struct serving {      /* of a schedule: weights in the system */
    uint32_t *waiting, *left; /* indexes; chunks by weight */
    uint32_t  count;
    uint64_t  backlog;
} serving;

/* The least remainder; of equal ones the last weight. */
static bool goes_first(const serving *v, uint32_t a, uint32_t b) {
    return v->left[a] != v->left[b] ? v->left[a] < v->left[b] : a > b;
}

static void serve(const fm_cpsat_segment *s, serving *v, uint32_t u, uint32_t *starts, int64_t *cost) {
    uint32_t capacity = s->capacity[u];
    while (capacity && v->count) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < v->count; i++)
            if (goes_first(v, v->waiting[i], v->waiting[best])) best = i;
        uint32_t w = v->waiting[best], take = v->left[w] < capacity ? v->left[w] : capacity;
        int64_t  distance = s->weights[w].due - s->slots[u];
        capacity -= take;
        v->left[w] -= take;
        v->backlog -= take;
        if (s->distance == FM_DISTANCE_BYTES) *cost += s->step_cost * distance * take;
        if (v->left[w]) continue;
        if (s->distance == FM_DISTANCE_WEIGHTS) *cost += s->step_cost * distance;
        starts[w] = u;
        v->waiting[best] = v->waiting[--v->count];
    }
}

static uint64_t held_chunks(const fm_cpsat_segment *s, uint32_t from, uint32_t u, const uint8_t *preload) {
    uint64_t sum = 0;
    for (uint32_t i = from; i < s->count && s->weights[i].end == u && s->weights[i].held; i++)
        if (!preload[i]) sum += s->weights[i].chunks;
    return sum;
}

bool fm_cpsat_schedule(const fm_cpsat_segment *s, const uint8_t *preload, fm_arena *scratch, uint32_t *starts,
                       int64_t *cost) {
    serving  v = { .waiting = fm_arena_array(scratch, s->count, sizeof *v.waiting),
                   .left = fm_arena_array(scratch, s->count, sizeof *v.left) };
    uint32_t next = 0;
    *cost = 0;
    for (uint32_t u = s->positions; u-- > 0;) {
        for (; next < s->count && s->weights[next].end == u + 1; next++) {
            starts[next] = FM_NO_LOAD;
            if (preload[next]) {
                *cost += s->weights[next].preload;
                continue;
            }
            v.waiting[v.count++] = next;
            v.left[next] = s->weights[next].chunks;
            v.backlog += s->weights[next].chunks;
        }
        if (v.backlog + held_chunks(s, next, u, preload) > s->m_peak) return false;
        serve(s, &v, u, starts, cost);
    }
    return v.count == 0;
}

/* --- tables over the backlog -------------------------------------------------------------------------------------- */

/* What moves one backlog to the next: serving a position (none: NO_POSITION), then weights joining, each if it is
 * streamed.  Weights that are held at the position must fit beside all that is there before it serves. */
#define NO_POSITION UINT32_MAX
enum { MOST_HELD = 8 }; /* more are joined one by one, as if they were not held: the bound stays one */

typedef struct stage {
    uint32_t served;       /* position above the one that is carried to */
    uint32_t first, count; /* weights that join */
} stage;

typedef struct tables {
    const fm_cpsat_segment *s;
    stage                  *stages;
    uint32_t                stage_count;
    uint32_t                width;   /* backlogs 0..width-1 */
    int64_t                *costs;   /* [stage_count + 1][width] least cost to come there */
    int64_t                *carried; /* [positions][width] cost of carrying R to that position */
} tables;

static int by_falling_chunks(const void *a, const void *b) {
    uint32_t x = (*(const fm_cpsat_weight *const *)a)->chunks, y = (*(const fm_cpsat_weight *const *)b)->chunks;
    return (x < y) - (x > y);
}

/* Carrying R from position u + 1 to u: its chunks, or at least as many weights as are needed to hold it, wait. */
static void set_carried(const tables *t, uint32_t u, fm_cpsat_weight *const *by_chunks) {
    const fm_cpsat_segment *s = t->s;
    int64_t                *cost = t->carried + (size_t)u * t->width;
    int64_t                 wait = s->step_cost * (int64_t)(s->slots[u + 1] - s->slots[u]);
    uint64_t                held = 0;
    uint32_t                weights = 0, next = 0;
    for (uint32_t r = 0; r < t->width; r++) {
        for (; held < r && next < s->count; next++)
            if (by_chunks[next]->end > u + 1 && by_chunks[next]->earliest <= u)
                held += by_chunks[next]->chunks, weights++;
        bool whole = s->distance == FM_DISTANCE_BYTES;
        cost[r] = held < r ? IMPOSSIBLE : wait * (int64_t)(whole ? r : weights);
    }
}

static int64_t joining_cost(const tables *t, const fm_cpsat_weight *w) {
    int64_t wait = t->s->step_cost * (int64_t)(w->due - t->s->slots[w->end - 1]);
    return t->s->distance == FM_DISTANCE_BYTES ? wait * (int64_t)w->chunks : wait;
}

/* From one backlog to another at a cost; bit i of streams: weight first + i joins. */
typedef void (*move_fn)(void *user, uint32_t from, uint32_t to, int64_t cost, uint32_t streams);

/* Every move of one stage in which just the weights of `streams` join. */
static void moves_of(const tables *t, const stage *st, uint32_t streams, move_fn visit, void *user) {
    const fm_cpsat_segment *s = t->s;
    bool                    serves = st->served != NO_POSITION;
    const int64_t          *carried = serves ? t->carried + (size_t)(st->served - 1) * t->width : NULL;
    uint32_t                capacity = serves ? s->capacity[st->served] : 0;
    uint64_t                joining = 0;
    int64_t                 cost = 0;
    for (uint32_t i = 0; i < st->count; i++) {
        const fm_cpsat_weight *w = &s->weights[st->first + i];
        bool                   joins = streams >> i & 1;
        joining += joins ? w->chunks : 0;
        cost += joins ? joining_cost(t, w) : w->preload;
    }
    for (uint64_t r = 0; r < t->width && r + joining <= s->m_peak; r++) {
        uint64_t rest = r > capacity ? r - capacity : 0;
        if (rest + joining >= t->width) break;
        visit(user, (uint32_t)r, (uint32_t)(rest + joining), cost + (serves ? carried[rest] : 0), streams);
    }
}

static void all_moves(const tables *t, uint32_t k, move_fn visit, void *user) {
    const stage *st = &t->stages[k];
    for (uint32_t streams = 0; streams >> st->count == 0; streams++) moves_of(t, st, streams, visit, user);
}

static void list_stages(tables *t, fm_arena *scratch) {
    const fm_cpsat_segment *s = t->s;
    uint32_t                next = 0;
    t->stages = fm_arena_array(scratch, (size_t)s->positions + s->count, sizeof *t->stages);
    for (uint32_t u = s->positions; u-- > 0;) {
        if (u + 1 < s->positions) {
            stage *st = &t->stages[t->stage_count++];
            *st = (stage){ u + 1, next, 0 };
            for (; next < s->count && s->weights[next].end == u + 1 && s->weights[next].held && st->count < MOST_HELD;
                 next++)
                st->count++;
        }
        for (; next < s->count && s->weights[next].end == u + 1; next++)
            t->stages[t->stage_count++] = (stage){ NO_POSITION, next, 1 };
    }
}

static void clear(int64_t *costs, uint32_t width) {
    for (uint32_t i = 0; i < width; i++) costs[i] = IMPOSSIBLE;
}

static void lower(int64_t *to, int64_t cost) {
    if (cost < *to) *to = cost;
}

typedef struct pass {              /* of a visitor over the moves of one stage */
    const int64_t *before, *after; /* least cost to come to a backlog before the stage; from one after it to the end */
    int64_t       *to;
    int64_t        streamed[MOST_HELD], preloaded[MOST_HELD]; /* backwards: least cost of all, by what a weight does */
    uint32_t       count;
    uint32_t       wanted, from, streams; /* walking back: the backlog that was reached, from where and how */
    int64_t        cost;
} pass;

static void visit_forwards(void *user, uint32_t from, uint32_t to, int64_t cost, uint32_t streams) {
    pass *p = user;
    (void)streams;
    lower(&p->to[to], p->before[from] + cost);
}

static void visit_backwards(void *user, uint32_t from, uint32_t to, int64_t cost, uint32_t streams) {
    pass   *p = user;
    int64_t whole = p->before[from] + cost + p->after[to];
    lower(&p->to[from], p->after[to] + cost);
    for (uint32_t i = 0; i < p->count; i++) lower(streams >> i & 1 ? &p->streamed[i] : &p->preloaded[i], whole);
}

static void visit_path(void *user, uint32_t from, uint32_t to, int64_t cost, uint32_t streams) {
    pass *p = user;
    if (to != p->wanted || p->before[from] + cost >= p->cost) return;
    p->cost = p->before[from] + cost;
    p->from = from;
    p->streams = streams;
}

static int64_t *stage_costs(const tables *t, uint32_t k) { return t->costs + (size_t)k * t->width; }

static void fill_forwards(const tables *t) {
    for (uint32_t k = 0; k <= t->stage_count; k++) clear(stage_costs(t, k), t->width);
    stage_costs(t, 0)[0] = 0;
    for (uint32_t k = 0; k < t->stage_count; k++) {
        pass p = { .before = stage_costs(t, k), .to = stage_costs(t, k + 1) };
        all_moves(t, k, visit_forwards, &p);
    }
}

/* The cheapest backlog after all stages that the first position can serve, and the choice on the way there. */
static int64_t walk_back(const tables *t, uint8_t *preload) {
    const int64_t *last = stage_costs(t, t->stage_count);
    uint32_t       backlog = 0;
    for (uint32_t r = 0; r < t->width && r <= t->s->capacity[0]; r++)
        if (last[r] < last[backlog]) backlog = r;
    int64_t bound = last[backlog];
    for (uint32_t k = t->stage_count; k-- > 0;) {
        const stage *st = &t->stages[k];
        pass         p = { .before = stage_costs(t, k), .wanted = backlog, .cost = INT64_MAX };
        all_moves(t, k, visit_path, &p);
        for (uint32_t i = 0; i < st->count; i++) preload[st->first + i] = !(p.streams >> i & 1);
        backlog = p.from;
    }
    return bound;
}

static void fix_backwards(const tables *t, fm_arena *scratch, fm_cpsat_probe *probe) {
    int64_t *after = fm_arena_array(scratch, t->width, sizeof *after);
    int64_t *here = fm_arena_array(scratch, t->width, sizeof *here);
    clear(after, t->width);
    for (uint32_t r = 0; r < t->width && r <= t->s->capacity[0]; r++) after[r] = 0;
    for (uint32_t k = t->stage_count; k-- > 0;) {
        const stage *st = &t->stages[k];
        pass         p = { .before = stage_costs(t, k), .after = after, .to = here, .count = st->count };
        clear(p.streamed, MOST_HELD);
        clear(p.preloaded, MOST_HELD);
        clear(here, t->width);
        all_moves(t, k, visit_backwards, &p);
        for (uint32_t i = 0; i < st->count; i++) {
            if (p.preloaded[i] > probe->cost) probe->fixed[st->first + i] = FM_CPSAT_STREAMED;
            if (p.streamed[i] > probe->cost) probe->fixed[st->first + i] = FM_CPSAT_PRELOADED;
        }
        int64_t *swapped = after;
        after = here;
        here = swapped;
    }
}

static bool make_tables(tables *t, fm_arena *scratch) {
    const fm_cpsat_segment *s = t->s;
    uint64_t                width = (s->chunks < s->m_peak ? s->chunks : s->m_peak) + 1;
    uint64_t                rows = 2 * (uint64_t)s->positions + s->count + 3;
    if (width > MOST_TABLE / 8 / rows) return false;
    t->width = (uint32_t)width;
    list_stages(t, scratch);
    t->costs = fm_arena_array(scratch, (t->stage_count + (size_t)1) * t->width, sizeof *t->costs);
    t->carried = fm_arena_array(scratch, (size_t)s->positions * t->width, sizeof *t->carried);
    fm_cpsat_weight **by_chunks = fm_arena_array(scratch, s->count, sizeof(void *));
    for (uint32_t i = 0; i < s->count; i++) by_chunks[i] = &s->weights[i];
    qsort(by_chunks, s->count, sizeof(void *), by_falling_chunks);
    for (uint32_t u = 0; u + 1 < s->positions; u++) set_carried(t, u, by_chunks);
    return true;
}

/* Of equal weights the last are preloaded. */
static void sort_equals(const fm_cpsat_segment *s, uint8_t *preload) {
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t j = i;
        while (preload[i] && (j = fm_cpsat_next_equal(s, j)) < s->count)
            if (!preload[j]) preload[i] = 0, preload[j] = 1;
    }
}

/* Schedules the choice; a weight that waits so long that preloading it costs no more is preloaded instead. */
static bool improve(const fm_cpsat_segment *s, fm_arena *scratch, fm_cpsat_probe *probe) {
    uint32_t *starts = fm_arena_array(scratch, s->count, sizeof *starts);
    for (bool better = true; better;) {
        uint32_t longest = s->count;
        sort_equals(s, probe->preload);
        if (!fm_cpsat_schedule(s, probe->preload, scratch, starts, &probe->cost)) return false;
        for (uint32_t i = 0; i < s->count; i++)
            if (starts[i] < s->weights[i].earliest &&
                (longest == s->count ||
                 s->weights[i].earliest - starts[i] > s->weights[longest].earliest - starts[longest]))
                longest = i;
        better = longest < s->count;
        if (better) probe->preload[longest] = 1;
    }
    return true;
}

static void preload_all(const fm_cpsat_segment *s, fm_cpsat_probe *probe) {
    probe->cost = 0;
    memset(probe->preload, 1, s->count);
    for (uint32_t i = 0; i < s->count; i++) probe->cost += s->weights[i].preload;
}

void fm_cpsat_probe_segment(const fm_cpsat_segment *s, fm_arena *scratch, fm_cpsat_probe *probe) {
    tables t = { .s = s };
    probe->preload = fm_arena_array(scratch, s->count, 1);
    probe->fixed = fm_arena_array(scratch, s->count, 1);
    probe->bound = 0;
    if (!make_tables(&t, scratch)) {
        preload_all(s, probe);
        return;
    }
    fill_forwards(&t);
    probe->bound = walk_back(&t, probe->preload);
    if (!improve(s, scratch, probe)) preload_all(s, probe);
    fix_backwards(&t, scratch, probe);
}
