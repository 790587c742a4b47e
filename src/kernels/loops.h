/* Loops of every kernel entry point: tiling and order, as features of load capacity and kernel time.  They are facts of
 * the sources, not of a pack: looked up by the entry's name.  Who may include: compile, tests. */
#ifndef FM_KERNELS_LOOPS_H
#define FM_KERNELS_LOOPS_H

#include <stdint.h>

/* From the outermost loop of a work-item inwards. */
typedef enum fm_loop_order {
    FM_LOOPS_RUN,     /* elements, each on its own */
    FM_LOOPS_REDUCE,  /* outputs, then what each is a sum of */
    FM_LOOPS_BLOCKED, /* chunks of the reduction, tiles of outputs, the chunk: operands are copied once */
    FM_LOOPS_PASSES,  /* rows, each read more than once: statistics first, then results */
    FM_LOOPS_STREAM,  /* blocks of queries, keys and values streamed past them */
    FM_LOOPS_SCAN,    /* lines, each element depending on those before it */
    FM_LOOP_ORDERS
} fm_loop_order;

typedef struct fm_loops {
    const char   *entry;
    fm_loop_order order;
    uint32_t      rows, columns; /* outputs that a work-item keeps at hand while its innermost loop runs */
} fm_loops;

/* NULL: no such entry. */
const fm_loops *fm_loops_of(const char *entry);
/* The table, in no particular order. */
extern const fm_loops fm_loops_table[];
extern const uint32_t fm_loops_count;

#endif
