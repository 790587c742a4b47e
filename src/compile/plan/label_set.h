/* Sets of labels: the states of the exact algorithm (labels.c), their history, equality and dominance.  Who may
 * include: compile/plan.
 *
 * A label is what one choice of p so far, backwards in time, has come to: what it cost, and how many chunks each weight
 * still waits for.  Only the sorted remainders matter to what follows. */
#ifndef FM_COMPILE_PLAN_LABEL_SET_H
#define FM_COMPILE_PLAN_LABEL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_NO_HISTORY UINT32_MAX

typedef struct fm_label {
    int64_t  cost;
    size_t   rests;   /* where its `count` falling remainders stand in the set */
    uint32_t count;
    uint32_t total;   /* sum of the remainders */
    uint32_t flight;  /* C2's F at the present step where that may bind, else 0 */
    uint32_t history; /* the weights it preloads */
    int64_t  priced;  /* what its remainders pay to the end under prices */
} fm_label;

typedef struct fm_label_set {
    fm_label *labels; uint32_t count, room;
    uint32_t *rests;  size_t used, rests_room;
    uint32_t *table;  size_t slots, table_room; /* by hash: label index + 1 */
} fm_label_set;

/* Preloaded weights as a tree that grows towards its leaves, the labels; a node goes when nothing hangs on it. */
typedef struct fm_history_node {
    uint32_t parent, weight, references;
} fm_history_node;

typedef struct fm_history {
    fm_history_node *nodes;
    uint32_t         count, room, free; /* free: list of nodes through parent */
} fm_history;

void fm_label_set_free(fm_label_set *set);
void fm_history_free(fm_history *history);

/* All that return bool: false when the system gives no memory. */
/* Empties the set and makes room to find equal ones among `most` labels. */
bool      fm_label_set_clear(fm_label_set *set, uint32_t most);
/* Room for `most` more remainders at set->rests + set->used. */
bool      fm_label_set_reserve(fm_label_set *set, size_t most);
/* Labels come in order of rising cost, their remainders at rests + used.  Kept unless an equal or a dominating label is
 * there (that is looked for among the latest and the cheapest).  *kept says so. */
bool      fm_label_set_add(fm_label_set *set, const fm_label *label, bool *kept);
/* Orders labels by cost, equal ones by what they are. */
void      fm_label_set_sort(fm_label_set *set);

bool fm_history_push(fm_history *history, uint32_t parent, uint32_t weight, uint32_t *node);
void fm_history_take(fm_history *history, uint32_t node);
void fm_history_drop(fm_history *history, uint32_t node);

#endif
