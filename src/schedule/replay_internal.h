/* Stages of fm_replay_make, in order: facts (once), then for a slab size: cut, images, timed plan, placement.
 * Who may include: schedule/replay*.c, schedule/cut.c. */
#ifndef FM_SCHEDULE_REPLAY_INTERNAL_H
#define FM_SCHEDULE_REPLAY_INTERNAL_H

#include "schedule/cut.h"

/* How a program uses a weight. */
typedef struct fm_weight_use {
    uint32_t first, last;   /* program steps; first FM_NONE: unused */
    bool     cuttable;      /* alone in its object, and every use of it is splittable */
    bool     image, buffer; /* read as an image (and path copies to images), as a buffer */
} fm_weight_use;

/* The storage of values that alias each other, by root. */
typedef struct fm_value_use {
    uint32_t first, last; /* program steps; first FM_NONE: never touched */
    uint64_t bytes;       /* rounded up to value_align */
    bool     placed, always, to_end, from_begin;
} fm_value_use;

/* What does not depend on the slab size. */
typedef struct fm_replay_facts {
    const fm_packed         *pack;
    const fm_program        *program;
    fm_replay_request        checked;
    const fm_replay_request *request; /* = &checked */
    fm_arena                *arena;
    fm_weight_use           *weights; /* [pack weights] */
    fm_value_use            *values;  /* [program values], by root */
    uint32_t                *order;   /* used pack objects by first use, then file order */
    uint32_t                 order_count;
    uint32_t                *object_first, *object_last; /* [pack objects] program steps */
    uint64_t                 staging;                    /* row slots */
} fm_replay_facts;

/* The program cut for one slab size, and what the timed problem needs of it. */
typedef struct fm_cut {
    uint64_t              slab_limit, largest;
    fm_replay_step       *steps;
    uint32_t              step_count;
    fm_replay_object     *objects;
    uint32_t              object_count;
    uint32_t             *uses;
    uint32_t              use_count;
    uint32_t             *first_part; /* [program steps + 1] first replayed step of each */
    fm_replay_value      *values;     /* [program values] bytes and life; not placed yet */
    fm_replay_image      *images;
    uint32_t              image_count;
    fm_replay_convert    *converts;
    uint32_t              convert_count;
    fm_replay_arrival    *arrivals;
    uint32_t              arrival_count;
    fm_replay_pool_image *pool;
    uint32_t              pool_count;
    uint64_t              image_bytes, object_bytes, activation_peak;
    fm_timed_step        *timed_steps;
    fm_timed_object      *timed_objects; /* last: of the memory, not of the image made from it */
    uint64_t              fixed;         /* image_bytes and staging: what the regions do not get of the budget */
    /* Plans of policies. */
    const uint32_t       *read_order;    /* [objects]; NULL: as numbered */
    bool                  one_run;       /* nothing is read ahead across runs */
} fm_cut;

/* A placed plan for a cut. */
typedef struct fm_placed {
    fm_timed_plan plan; /* after, wrap: as placed; times of the first run */
    uint32_t     *object_region;
    uint64_t     *object_place; /* [objects] */
    uint32_t     *value_region;
    uint64_t     *value_place; /* [program values] */
    uint64_t      region_bytes[FM_PLACE_REGIONS], total;
    uint32_t      regions;
} fm_placed;

/* INVALID_ARGUMENT, UNSUPPORTED: the request is not one that can be planned for.  facts stays where it is. */
flashmem_status  fm_replay_analyse(fm_replay_facts *facts, const fm_packed *pack, const fm_program *program,
                                   const fm_replay_request *request, fm_arena *arena, flashmem_error *err);
/* Every image can be cut to the request's limit.  UNSUPPORTED. */
flashmem_status  fm_replay_check_images(const fm_replay_facts *facts, flashmem_error *err);
void             fm_replay_cut(const fm_replay_facts *facts, uint64_t slab_bytes, fm_cut *cut);
/* Launches, parts and key of a cut in first-use order; arrays from facts' arena. */
void             fm_cut_view(const fm_replay_facts *facts, const fm_cut *cut, fm_program_cut *out);
/* Of a cut that is asked for as it is: 0 cuts nothing. */
static inline uint64_t fm_slab_limit(const fm_replay_request *request) {
    return request->slab_bytes ? request->slab_bytes : UINT64_MAX;
}
void             fm_replay_assign_images(const fm_replay_facts *facts, fm_cut *cut);
/* Times of conversions, and when staged objects are free: what is not converted at its object's first use takes its time
 * at the step where it is. */
void             fm_replay_time_conversions(const fm_replay_facts *facts, fm_cut *cut);
/* Pool images for the cut's images and conversions as they stand: the second half of fm_replay_assign_images. */
void fm_replay_pool_images(const fm_replay_facts *facts, fm_cut *cut);
fm_timed_problem fm_replay_problem(const fm_replay_facts *facts, const fm_cut *cut, uint64_t cap);

void fm_placed_init(fm_placed *placed, const fm_replay_facts *facts, const fm_cut *cut, fm_arena *arena);
/* Places everything, each object requested as late as it can be; the best of several orders.  The smallest arena we
 * promise.  UNSUPPORTED: the device's largest allocation is too small. */
flashmem_status fm_replay_place_minimum(const fm_replay_facts *facts, const fm_cut *cut, fm_placed *out,
                                        fm_arena *scratch, flashmem_error *err);
typedef enum fm_place_effort {
    FM_PLACE_AS_PLANNED, /* for the lives that the plan gives, in a few orders */
    FM_PLACE_ANYHOW,     /* also with objects later than planned */
    FM_PLACE_SEARCH      /* also with what did not fit placed before the rest, again and again */
} fm_place_effort;
/* Places with the regions' sum at most limit: each object is requested no earlier than out->plan.after[] says (earlier in
 * automatic plans, where its memory is free) and as early as its memory allows, then read ahead across runs where its
 * memory is free.  out->plan gets what was possible and its times.  False: does not fit. */
bool fm_replay_place(const fm_replay_facts *facts, const fm_cut *cut, const fm_timed_problem *problem, uint64_t limit,
                     fm_place_effort effort, fm_placed *out, fm_arena *scratch);
/* replay_explicit.c: the best latency that a simple rule would have within cap, were memory not fragmented; negative: none
 * fits. */
double fm_replay_rule_latency(const fm_replay_facts *facts, const fm_cut *cut, uint64_t cap);
/* Places a plan of one run within cap: in stream_cap if that is no slower than target, else the fastest of several.
 * False: none fits. */
bool fm_replay_place_explicit(const fm_replay_facts *facts, const fm_cut *cut, uint64_t cap, uint64_t stream_cap,
                              double target, fm_placed *out);
/* What policies know of each launch. */
fm_policy_step *fm_replay_describe_steps(const fm_replay_facts *facts, const fm_cut *cut);
/* Turns cut into what the policy plans with and places that; *least is what no placement of it is below.
 * False: does not fit. */
bool fm_replay_place_policy(const fm_replay_facts *facts, fm_cut *cut, fm_policy policy, uint64_t budget,
                            fm_placed *out, uint64_t *least);
/* The fastest plan of a simple rule, if one is faster than out: replaces *cut and *out and returns its name, else NULL. */
const char *fm_replay_place_rule(const fm_replay_facts *facts, uint64_t budget, fm_cut *cut, fm_placed *out);
/* order[i]: the object that becomes number i. */
void fm_replay_renumber(fm_replay *replay, const uint32_t *order, fm_arena *arena);

/* What a placed cut is to those who replay it. */
void fm_replay_fill(const fm_replay_facts *facts, const fm_cut *cut, const fm_placed *placed, uint64_t minimum,
                    uint64_t minimum_bound, fm_replay *out);
/* replay_overlap.c: the plan of request->stored. */
flashmem_status fm_replay_make_overlap(fm_replay_facts *facts, const fm_log *log, fm_replay *out, flashmem_error *err);

#endif
