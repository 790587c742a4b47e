/* Storage of labels; which of them are worth keeping. */
#include "compile/plan/label_set.h"

#include <stdlib.h>
#include <string.h>

enum { LATEST = 48, CHEAPEST = 16 }; /* labels that a new one is compared with; more find little more */

void fm_label_set_free(fm_label_set *set) {
    free(set->labels);
    free(set->rests);
    free(set->table);
    *set = (fm_label_set){ 0 };
}

void fm_history_free(fm_history *history) {
    free(history->nodes);
    *history = (fm_history){ 0 };
}

bool fm_label_set_clear(fm_label_set *set, uint32_t most) {
    size_t slots = 64;
    while (slots < 2 * (size_t)most) slots *= 2;
    set->count = 0;
    set->used = 0;
    if (slots > set->table_room) {
        free(set->table);
        set->table_room = 0;
        set->table = malloc(slots * sizeof *set->table);
        if (!set->table) return false;
        set->table_room = slots;
    }
    set->slots = slots;
    memset(set->table, 0, set->slots * sizeof *set->table);
    return true;
}

bool fm_label_set_reserve(fm_label_set *set, size_t most) {
    if (set->rests && set->used + most <= set->rests_room) return true;
    size_t    room = 2 * (set->used + most) + 1024;
    uint32_t *rests = realloc(set->rests, room * sizeof *rests);
    if (!rests) return false;
    set->rests = rests;
    set->rests_room = room;
    return true;
}

static uint64_t hash_of(const uint32_t *rests, const fm_label *label) {
    uint64_t hash = label->count * 0x9e3779b97f4a7c15u + label->flight;
    for (uint32_t i = 0; i < label->count; i++) {
        hash = (hash ^ rests[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool equal(const fm_label_set *set, const fm_label *a, const fm_label *b) {
    return a->count == b->count && a->total == b->total && a->flight == b->flight &&
           !memcmp(set->rests + a->rests, set->rests + b->rests, a->count * sizeof *set->rests);
}

/* a costs no more.  Shortest-first serving keeps each of a's sorted remainders no longer than b's ever after, and what
 * b may still stream, so may a. */
static bool dominates(const fm_label_set *set, const fm_label *a, const fm_label *b) {
    if (a->count > b->count || a->total > b->total || a->flight > b->flight) return false;
    const uint32_t *x = set->rests + a->rests, *y = set->rests + b->rests;
    for (uint32_t i = 0; i < a->count; i++)
        if (x[i] > y[i]) return false;
    return true;
}

static bool dominated(const fm_label_set *set, const fm_label *label) {
    uint32_t latest = set->count < LATEST ? set->count : LATEST, rest = set->count - latest;
    for (uint32_t i = set->count; i-- > rest;)
        if (dominates(set, &set->labels[i], label)) return true;
    for (uint32_t i = 0; i < rest && i < CHEAPEST; i++)
        if (dominates(set, &set->labels[i], label)) return true;
    return false;
}

bool fm_label_set_add(fm_label_set *set, const fm_label *label, bool *kept) {
    fm_label added = *label;
    size_t   at = hash_of(set->rests + set->used, label) & (set->slots - 1);
    added.rests = set->used;
    *kept = false;
    for (; set->table[at]; at = (at + 1) & (set->slots - 1))
        if (equal(set, &set->labels[set->table[at] - 1], &added)) return true;
    if (dominated(set, &added)) return true;
    if (set->count == set->room) {
        uint32_t  room = 2 * set->room + 256;
        fm_label *labels = realloc(set->labels, room * sizeof *labels);
        if (!labels) return false;
        set->labels = labels;
        set->room = room;
    }
    set->labels[set->count++] = added;
    set->table[at] = set->count;
    set->used += label->count;
    *kept = true;
    return true;
}

static int by_cost(const void *a, const void *b) {
    const fm_label *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    if (x->total != y->total) return x->total < y->total ? -1 : 1;
    return (x->rests > y->rests) - (x->rests < y->rests);
}

void fm_label_set_sort(fm_label_set *set) { qsort(set->labels, set->count, sizeof *set->labels, by_cost); }

bool fm_history_push(fm_history *h, uint32_t parent, uint32_t weight, uint32_t *node) {
    if (h->free) {
        *node = h->free - 1;
        h->free = h->nodes[*node].parent;
    } else {
        if (h->count == h->room) {
            uint32_t         room = 2 * h->room + 1024;
            fm_history_node *nodes = realloc(h->nodes, room * sizeof *nodes);
            if (!nodes) return false;
            h->nodes = nodes;
            h->room = room;
        }
        *node = h->count++;
    }
    h->nodes[*node] = (fm_history_node){ parent, weight, 1 };
    fm_history_take(h, parent);
    return true;
}

void fm_history_take(fm_history *h, uint32_t node) {
    if (node != FM_NO_HISTORY) h->nodes[node].references++;
}

void fm_history_drop(fm_history *h, uint32_t node) {
    while (node != FM_NO_HISTORY && --h->nodes[node].references == 0) {
        uint32_t parent = h->nodes[node].parent;
        h->nodes[node].parent = h->free;
        h->free = node + 1;
        node = parent;
    }
}
