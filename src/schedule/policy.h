/* Baseline policies: what simpler rules than the timed recursion would read, and when.  Each turns a timed problem into
 * a read order and, per object, the step whose end its read waits for; fm_timed_hold then raises those waits to what the
 * cap allows.  Pure C.  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_POLICY_H
#define FM_SCHEDULE_POLICY_H

#include "schedule/timed.h"

/* name, text, what it does.  A weighted step is one that some object is first used by. */
#define FM_POLICY_LIST(X)                                                                                            \
    X(PRELOAD_ALL, "preload-all", "every weight is read before the first launch, and stays")                         \
    X(LOAD_BEFORE_USE, "load-before-use", "a weight is read when its step is next; nothing overlaps")                \
    X(ALWAYS_NEXT, "always-next", "while a step runs, the weights of the next weighted step are read")               \
    X(SAME_TYPE, "same-type", "while a step runs, the weights of the next step of its operator type are read")       \
    X(LAYER_BUFFERS, "layer-buffers", "while a layer runs, the weights of the next layer are read")                  \
    X(PUBLISHED, "published", "an overlap plan: the preload set, then each weight from its step on")
typedef enum fm_policy {
#define FM_POLICY_ENUM(name, text, help) FM_POLICY_##name,
    FM_POLICY_LIST(FM_POLICY_ENUM)
#undef FM_POLICY_ENUM
    FM_POLICIES
} fm_policy;

const char *fm_policy_name(uint32_t policy); /* NULL beyond the last */
const char *fm_policy_help(uint32_t policy);
fm_policy   fm_policy_find(const char *name); /* FM_POLICIES: no such */

/* What policies know of a step. */
typedef struct fm_policy_step {
    uint32_t type;         /* of operator: its cost class */
    uint32_t layer;        /* fm_policy_layers */
    double   flops;
    uint64_t weight_bytes;
} fm_policy_step;

/* Chunks of object o that an overlap plan wants there, and converted, while `step` runs. */
typedef struct fm_policy_load { uint32_t object, step; uint64_t bytes; } fm_policy_load;
/* An overlap plan as plain arrays: p, z and x of docs/planning.md over the objects and steps of the problem.  loads are
 * sorted by object, then step; an object that is not preloaded has at least one, and they sum to its bytes. */
typedef struct fm_policy_overlap {
    const uint8_t        *preload;    /* [objects] p */
    const uint32_t       *first_load; /* [objects] z; preloaded: not read */
    const fm_policy_load *loads;      uint32_t load_count;
} fm_policy_overlap;

/* Layers are found in the steps themselves: names differ from exporter to exporter.  A layer is one period of the
 * longest run of equal periods (type, operations and weight bytes of every step alike) that begins at its step; between
 * such runs, the steps up to the weight bytes of the largest period.  Fills steps[].layer, from 0, never falling. */
void fm_policy_layers(fm_policy_step *steps, uint32_t count, fm_arena *scratch);

/* Which objects must be there before the first step: preload[objects]. */
void fm_policy_preload(fm_policy policy, const fm_timed_problem *problem, const fm_policy_overlap *overlap,
                       uint8_t *preload);
/* Fills read_order[objects] and after[objects].  steps: one per step of the problem; overlap: PUBLISHED only. */
void fm_policy_wish(fm_policy policy, const fm_timed_problem *problem, const fm_policy_step *steps,
                    const fm_policy_overlap *overlap, uint32_t *read_order, int32_t *after, fm_arena *scratch);

#endif
