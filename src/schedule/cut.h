/* A program cut into launches and placed objects, for those who plan over them (overlap problems) and for plans that are
 * kept: the key says whether another cut is the same.  Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_CUT_H
#define FM_SCHEDULE_CUT_H

#include "schedule/replay.h"

typedef struct fm_cut_launch {
    uint32_t step, part;          /* of the program; part of it */
    uint32_t first_panel, panels; /* of its split weight; 0, 0: the whole step */
    double   seconds;             /* predicted */
} fm_cut_launch;

typedef struct fm_cut_part { /* a placed object: a slab of a large weight, or a bundle */
    uint32_t object, part;   /* of the pack; part of it */
    uint32_t weight, first_panel, panels; /* slab: of this weight; bundle: FM_NONE */
    uint32_t first, last;    /* launches that use it */
    uint64_t bytes;
} fm_cut_part;

typedef struct fm_program_cut {
    const fm_cut_launch *launches; uint32_t launch_count;
    const fm_cut_part   *parts;    uint32_t part_count; /* by first, then in the order of the file */
    uint64_t             key;
} fm_program_cut;

/* Cuts as request's device and slab_bytes say (0: weights are whole, but for images that a device cannot have).  Nothing
 * else of the request but step_seconds counts.  Arrays come from arena.  INVALID_ARGUMENT, UNSUPPORTED. */
flashmem_status fm_program_cut_make(const fm_packed *pack, const fm_program *program,
                                    const fm_replay_request *request, fm_arena *arena, fm_program_cut *out,
                                    flashmem_error *err);

#endif
