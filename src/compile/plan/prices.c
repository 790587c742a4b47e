/* Prices of capacity by subgradient steps; tables of what remainders pay under the best ones. */
#include "compile/plan/prices.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CELLS = 6 << 20 }; /* of f over all slots: 72 MiB */
enum { MOST_WORK = 64 << 20 }; /* cells computed while prices change: a quarter of a second */
enum { OFFER_WORK = 12 };      /* cells that take as long as one slot's offer */
enum { MOST_ROUNDS = 400, PATIENCE = 10 };

typedef struct offer { /* of a slot's capacity to one weight */
    uint32_t slot, chunks;
} offer;

typedef struct pricing {
    const fm_segment *segment;
    uint32_t          size;   /* the table has f for r < size; larger weights are priced alone while prices change */
    int64_t          *f;      /* [slots + 1][size] */
    uint32_t         *served; /* [slots + 1][size] the x that f(l, r) serves in slot l-1 */
    int64_t          *price, *best; /* [slots] */
    double           *exact;        /* [slots] prices before rounding */
    double           *way;          /* [slots] direction of the step */
    uint32_t         *used;         /* [slots] */
    uint32_t         *queue;        /* [size] */
    offer            *offers;       /* [slots] heap, the dearest first */
    uint32_t          offer_count;
    double            dearest; /* price at which no sum leaves 64 bits */
    int64_t           least;   /* under `best` */
} pricing;

/* ---- one weight alone: the cheapest chunks of the slots it waits for ---- */

static bool dearer(const pricing *p, const offer *a, const offer *b) {
    return p->price[a->slot] > p->price[b->slot] || (p->price[a->slot] == p->price[b->slot] && a->slot > b->slot);
}

static void push_offer(pricing *p, offer item) {
    uint32_t at = p->offer_count++;
    for (; at && dearer(p, &item, &p->offers[(at - 1) / 2]); at = (at - 1) / 2) p->offers[at] = p->offers[(at - 1) / 2];
    p->offers[at] = item;
}

static void pop_offer(pricing *p) {
    offer    item = p->offers[--p->offer_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= p->offer_count) break;
        if (child + 1 < p->offer_count && dearer(p, &p->offers[child + 1], &p->offers[child])) child++;
        if (!dearer(p, &p->offers[child], &item)) break;
        p->offers[at] = p->offers[child];
        at = child;
    }
    p->offers[at] = item;
}

/* Offers of slots due-1 down to `last` of which the cheapest that hold the weight stay; its least cost, and the slot at
 * which it is done then. */
static int64_t gather_offers(pricing *p, const fm_segment_weight *w, uint32_t last, uint32_t *done) {
    const fm_segment *s = p->segment;
    uint64_t          chunks = 0;
    int64_t           sum = 0, least = w->cost;
    p->offer_count = 0;
    *done = 0;
    for (uint32_t l = w->due; l-- > last;) {
        int64_t distance = s->step_cost * (int64_t)(w->due - l);
        if (distance >= least) break;
        if (!s->capacity[l] || (chunks == w->chunks && p->price[l] >= p->price[p->offers[0].slot])) continue;
        offer next = { l, s->capacity[l] < w->chunks ? s->capacity[l] : w->chunks };
        chunks += next.chunks;
        sum += p->price[l] * next.chunks;
        push_offer(p, next);
        while (chunks > w->chunks) {
            offer   *dearest = &p->offers[0];
            uint32_t less = chunks - w->chunks < dearest->chunks ? (uint32_t)(chunks - w->chunks) : dearest->chunks;
            chunks -= less;
            sum -= p->price[dearest->slot] * less;
            dearest->chunks -= less;
            if (!dearest->chunks) pop_offer(p);
        }
        if (chunks == w->chunks && distance + sum < least) {
            least = distance + sum;
            *done = l;
        }
    }
    return least;
}

static int64_t price_alone(pricing *p, const fm_segment_weight *w, uint32_t equal) {
    uint32_t done;
    int64_t  least = gather_offers(p, w, 0, &done);
    if (least >= w->cost) return w->cost;
    gather_offers(p, w, done, &done);
    for (uint32_t i = 0; i < p->offer_count; i++) p->used[p->offers[i].slot] += equal * p->offers[i].chunks;
    return least;
}

/* ---- all weights together: f ---- */

/* One row of f from the row below: the least over the last m+1 remainders of below[y] - price * y, in a window that
 * slides with r (a queue of candidates whose values rise). */
static void fill_row(pricing *p, uint32_t l) {
    const fm_segment *s = p->segment;
    const int64_t    *below = p->f + (size_t)(l - 1) * p->size;
    int64_t          *row = p->f + (size_t)l * p->size, price = p->price[l - 1];
    uint32_t         *served = p->served + (size_t)l * p->size, capacity = s->capacity[l - 1], head = 0, tail = 0;
    if (!capacity) {
        for (uint32_t r = 0; r < p->size; r++)
            row[r] = r && below[r] < FM_COST_INFINITE ? below[r] + s->step_cost : below[r];
        memset(served, 0, p->size * sizeof *served);
        return;
    }
    for (uint32_t r = 0; r < p->size; r++) {
        if (below[r] < FM_COST_INFINITE) {
            int64_t value = below[r] - price * r;
            while (tail > head && below[p->queue[tail - 1]] - price * p->queue[tail - 1] >= value) tail--;
            p->queue[tail++] = r;
        }
        while (head < tail && r - p->queue[head] > capacity) head++;
        if (head == tail) {
            row[r] = FM_COST_INFINITE;
            continue;
        }
        uint32_t left = p->queue[head];
        served[r] = r - left;
        row[r] = r ? s->step_cost + price * (r - left) + below[left] : 0;
    }
}

static void fill(pricing *p) {
    for (uint32_t r = 0; r < p->size; r++) p->f[r] = r ? FM_COST_INFINITE : 0;
    for (uint32_t l = 1; l <= p->segment->slots; l++) fill_row(p, l);
}

static int64_t price_by_table(pricing *p, const fm_segment_weight *w, uint32_t equal) {
    int64_t streamed = p->f[(size_t)w->due * p->size + w->chunks];
    if (streamed >= w->cost) return w->cost;
    for (uint32_t l = w->due, r = w->chunks; r; l--) {
        uint32_t chunks = p->served[(size_t)l * p->size + r];
        p->used[l - 1] += equal * chunks;
        r -= chunks;
    }
    return streamed;
}

/* What `equal` weights like w pay each, and use. */
static int64_t price_weight(pricing *p, const fm_segment_weight *w, uint32_t equal) {
    return w->chunks < p->size ? price_by_table(p, w, equal) : price_alone(p, w, equal);
}

/* The bound under the present prices, and what it uses of each slot. */
static int64_t evaluate(pricing *p) {
    const fm_segment *s = p->segment;
    int64_t           sum = 0;
    fill(p);
    memset(p->used, 0, s->slots * sizeof *p->used);
    for (uint32_t l = 0; l < s->slots; l++) sum -= p->price[l] * (int64_t)s->capacity[l];
    for (uint32_t k = 0, equal; k < s->weight_count; k += equal) {
        const fm_segment_weight *w = &s->weights[k];
        for (equal = 1; k + equal < s->weight_count; equal++)
            if (w[equal].due != w->due || w[equal].chunks != w->chunks || w[equal].cost != w->cost) break;
        sum += price_weight(p, w, equal) * equal;
    }
    return sum;
}

/* Along what is used beyond capacity, half of the last step's way added; false when nothing is. */
static bool step(pricing *p, double length) {
    double squares = 0;
    for (uint32_t l = 0; l < p->segment->slots; l++) {
        double beyond = (double)p->used[l] - (double)p->segment->capacity[l];
        if (!p->segment->capacity[l] || (p->price[l] == 0 && beyond < 0)) beyond = 0;
        p->way[l] = beyond + 0.5 * p->way[l];
        squares += p->way[l] * p->way[l];
    }
    if (squares <= 0) return false;
    for (uint32_t l = 0; l < p->segment->slots; l++) {
        p->exact[l] += length / squares * p->way[l];
        if (p->exact[l] < 0) p->exact[l] = 0;
        if (p->exact[l] > p->dearest) p->exact[l] = p->dearest;
        p->price[l] = (int64_t)(p->exact[l] + 0.5);
    }
    return true;
}

/* Work of a round with sizes below `size` in the table; a weight waits no longer than preloading it would cost. */
static uint64_t round_work(const fm_segment *s, uint32_t size) {
    uint64_t work = ((uint64_t)s->slots + 1) * size;
    for (uint32_t k = 0; k < s->weight_count; k++) {
        const fm_segment_weight *w = &s->weights[k];
        uint64_t                 longest = s->step_cost ? (uint64_t)(w->cost / s->step_cost) : w->due;
        if (w->chunks >= size) work += OFFER_WORK * (longest < w->due ? longest : w->due);
    }
    return work;
}

/* The table as large as makes a round cheapest; a few large weights would only make it wide. */
static uint64_t choose_size(pricing *p) {
    uint64_t least = UINT64_MAX;
    uint32_t most = p->size, below = UINT32_MAX;
    for (uint32_t tries = 0; tries < 64; tries++) {
        uint32_t chunks = 0; /* the largest size below the last one */
        for (uint32_t k = 0; k < p->segment->weight_count; k++)
            if (p->segment->weights[k].chunks < below && p->segment->weights[k].chunks > chunks)
                chunks = p->segment->weights[k].chunks;
        uint64_t work = round_work(p->segment, chunks + 1);
        if (chunks < most && work < least) {
            least = work;
            p->size = chunks + 1;
        }
        if (!chunks) break;
        below = chunks;
    }
    return least < UINT64_MAX ? least : round_work(p->segment, p->size);
}

/* A first guess: what preloading costs a chunk, on the average. */
static void first_prices(pricing *p) {
    double cost = 0, chunks = 0, capacity = 0;
    for (uint32_t l = 0; l < p->segment->slots; l++) capacity += p->segment->capacity[l];
    for (uint32_t k = 0; k < p->segment->weight_count; k++) {
        cost += (double)p->segment->weights[k].cost;
        chunks += p->segment->weights[k].chunks;
    }
    p->dearest = 0x1p60 / (capacity + chunks + 1);
    if (cost > p->dearest * chunks) cost = p->dearest * chunks;
    for (uint32_t l = 0; l < p->segment->slots; l++) {
        p->exact[l] = p->segment->capacity[l] ? cost / chunks : 0;
        p->price[l] = (int64_t)(p->exact[l] + 0.5);
    }
}

static flashmem_status search(pricing *p, int64_t known, const fm_overlap_limit *limit) {
    uint64_t rounds = MOST_WORK / choose_size(p);
    double   share = 1;
    uint32_t since_better = 0;
    p->least = -1;
    first_prices(p);
    if (rounds > MOST_ROUNDS) rounds = MOST_ROUNDS;
    for (uint64_t i = 0; i < rounds; i++) {
        int64_t least = evaluate(p);
        if (least > p->least) {
            p->least = least;
            memcpy(p->best, p->price, p->segment->slots * sizeof *p->best);
            since_better = 0;
        } else if (++since_better == PATIENCE) {
            share *= 0.7;
            since_better = 0;
        }
        if (least >= known || !step(p, share * (double)(known - least))) break;
        if (fm_overlap_limit_reached(limit)) return FLASHMEM_CANCELLED;
    }
    return FLASHMEM_OK;
}

/* Tables under the best prices, at the rows of the bounds. */
static bool keep(pricing *p, fm_prices *prices, const fm_bounds *b) {
    const fm_segment *s = p->segment;
    int64_t           base = 0;
    uint32_t          k = 0, l = 0;
    p->size = prices->most + 1;
    prices->rests = malloc((size_t)b->row_count * p->size * sizeof *prices->rests);
    prices->bases = malloc(b->row_count * sizeof *prices->bases);
    if (!prices->rests || !prices->bases) return false;
    memcpy(p->price, p->best, s->slots * sizeof *p->price);
    fill(p);
    for (uint32_t row = 0; row < b->row_count; row++) {
        uint32_t due = b->rows[row].due;
        for (; l < due; l++) base -= p->price[l] * (int64_t)s->capacity[l];
        for (; k < b->rows[row].from; k++) base += price_weight(p, &s->weights[k], 1);
        prices->bases[row] = base;
        memcpy(prices->rests + (size_t)row * p->size, p->f + (size_t)due * p->size, p->size * sizeof *p->f);
    }
    prices->least = p->least;
    return true;
}

static bool allocate(pricing *p) {
    size_t slots = p->segment->slots, cells = (slots + 1) * p->size;
    p->f = malloc(cells * sizeof *p->f);
    p->served = calloc(cells, sizeof *p->served);
    p->price = calloc(slots, sizeof *p->price);
    p->best = calloc(slots, sizeof *p->best);
    p->exact = calloc(slots, sizeof *p->exact);
    p->way = calloc(slots, sizeof *p->way);
    p->used = malloc(slots * sizeof *p->used);
    p->queue = malloc(p->size * sizeof *p->queue);
    p->offers = malloc(slots * sizeof *p->offers);
    return p->f && p->served && p->price && p->best && p->exact && p->way && p->used && p->queue && p->offers;
}

static void release(pricing *p) {
    free(p->f);
    free(p->served);
    free(p->price);
    free(p->best);
    free(p->exact);
    free(p->way);
    free(p->used);
    free(p->queue);
    free(p->offers);
}

flashmem_status fm_prices_make(fm_prices *prices, const fm_bounds *bounds, int64_t known,
                               const fm_overlap_limit *limit) {
    const fm_segment *s = bounds->segment;
    pricing           p = { .segment = s };
    flashmem_status   status = FLASHMEM_OUT_OF_MEMORY;
    uint64_t          fits = MOST_CELLS / ((uint64_t)s->slots + 1);
    *prices = (fm_prices){ 0 };
    for (uint32_t k = 0; k < s->weight_count; k++)
        if (s->weights[k].chunks > prices->most) prices->most = s->weights[k].chunks;
    if (s->by_chunk || fits < 2) return FLASHMEM_OK;
    if (prices->most >= fits) prices->most = (uint32_t)fits - 1;
    p.size = prices->most + 1;
    if (allocate(&p)) status = search(&p, known, limit);
    if (status == FLASHMEM_OK && !keep(&p, prices, bounds)) status = FLASHMEM_OUT_OF_MEMORY;
    release(&p);
    return status;
}

void fm_prices_free(fm_prices *prices) {
    free(prices->rests);
    free(prices->bases);
    *prices = (fm_prices){ 0 };
}
