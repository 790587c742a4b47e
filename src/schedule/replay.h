/* From a pack's unsplit program to the program that is replayed: slab cut, timed plan, residents, placement.
 * Derived at open for the budget and bandwidth at hand and verified like the program itself.  Or, where the request has an
 * overlap plan of the pack, that plan as it is: docs/planning.md says what is replayed of it.
 * Who may include: compile, run, tests. */
#ifndef FM_SCHEDULE_REPLAY_H
#define FM_SCHEDULE_REPLAY_H

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "contract/overlap.h"
#include "schedule/place.h"
#include "schedule/policy.h"
#include "schedule/timed.h"
#include "flashmem/device.h"

/* Rows of GATHER_ROWS steps are read in 4 KiB-aligned spans into FM_ROW_SLOTS staging slots that are reused within a
 * step and between steps.  A program with such steps stages FM_ROW_SLOTS * (largest slot) bytes: part of staging_bytes
 * and of the budget, whatever the number of rows. */
#define FM_ROW_SLOTS 32u
static inline uint64_t fm_replay_row_slot_bytes(uint64_t row_bytes) {
    uint64_t span = ((row_bytes + 4094) / 4096 + 1) * 4096;
    return span < 16384 ? 16384 : span;
}

/* What planning is asked for. */
typedef struct fm_replay_request {
    flashmem_device device;  /* value_align 0: 128 */
    const double   *step_seconds; /* [program steps] whole kernel steps, instead of the device's rates; NULL */
    uint64_t budget;         /* bytes; UINT64_MAX = off */
    bool     automatic;      /* least memory for the best latency, at most budget */
    bool     once;           /* one run is expected: nothing is kept for later ones */
    bool     minimum;        /* the promised minimum; budget ignored */
    uint64_t slab_bytes;     /* largest slab (none is cut below 1 MiB), 0 = choose */
    uint32_t read_depth, read_bytes; /* 0 = choose */
    const uint8_t *external; /* per value: 1 = bound to caller memory, not placed (may be NULL) */
    const char    *policy;   /* fm_policy_name: that baseline policy's plan instead of the timed one; or NULL */
    const fm_policy_overlap *overlap; /* of the policy "published": over the parts and launches of fm_program_cut_make
                                         for this request; slab_bytes 0 cuts nothing.  Else NULL */
    const fm_stored_overlap *stored; /* this overlap plan, as it is and in the slabs it was made for; NULL: our own plan */
} fm_replay_request;

/* A placed object of the replayed program: a slab of a large weight, or a bundle. */
typedef struct fm_replay_object {
    uint32_t object;       /* of the pack */
    uint64_t offset, bytes;/* file range inside the pack object; multiples of 4096 */
    uint64_t first_unit, units; /* checksum units, relative to the pack object's first */
    uint32_t weight, first_panel, panels; /* slab: of this weight; bundle: FM_NONE */
    uint32_t first, last;  /* steps (replayed) */
    uint32_t need;         /* first step that waits for it: first, or an earlier conversion or arrival */
    uint32_t freed;        /* once this step has ended its memory is free: last, or where it is staged its last conversion */
    int32_t  after;        /* FM_AFTER_START or a step: may be read once it has ended */
    uint8_t  wrap;         /* ... in the previous run */
    uint8_t  staged;       /* only images are made of it: no launch reads it where it lies */
    uint8_t  preload;      /* launch 0 waits for it, whoever uses it first */
    uint8_t  resident;     /* its bytes stay where they lie; TEXTURE_COPY makes images of them in every run */
    uint8_t  stays;        /* read and made images of in the first run only: resident, or staged and its images stay */
    uint32_t region; uint64_t place; /* IN_PLACE: where it lies.  TEXTURE_COPY: where it is staged (bundles: lies) */
    uint32_t first_image, images;    /* TEXTURE_COPY: rows of fm_replay.images converted from it */
    double   request, arrival;       /* predicted, seconds */
} fm_replay_object;

/* A texture use: panels of a weight in a pooled image object. */
typedef struct fm_replay_image {
    uint32_t weight, first_panel, panels;
    uint32_t object;       /* that it is made of */
    uint32_t image;        /* index into the pool */
    uint64_t source;       /* byte offset of its first panel inside the object */
    uint32_t first_convert, converts; /* rows of fm_replay.converts that fill it, in the order of its panels and of steps */
} fm_replay_image;
/* A run of an image's panels (rows of texels), copied right before a step. */
typedef struct fm_replay_convert {
    uint32_t image;               /* row of images */
    uint32_t first_panel, panels; /* counted from the image's first */
    uint32_t before_step;
} fm_replay_convert;
typedef struct fm_replay_pool_image { uint32_t width, height, half; uint64_t bytes; } fm_replay_pool_image;

/* The first bytes of an object that have arrived before a step, used by it or not. */
typedef struct fm_replay_arrival {
    uint32_t object;
    uint32_t before_step;
    uint64_t bytes;
} fm_replay_arrival;

/* A launch: a step or a part of one. */
typedef struct fm_replay_step {
    uint32_t step;          /* of the program */
    uint32_t first_panel, panels; /* split part, else 0, 0 */
    uint32_t first_object, object_count; /* rows of fm_replay.uses: replay objects it needs */
    uint32_t image;         /* TEXTURE_COPY: row of images its split/image weight uses first, or FM_NONE */
    double   seconds, start, end; /* predicted */
} fm_replay_step;

typedef struct fm_replay_value { uint32_t region; uint64_t offset; uint64_t bytes; int32_t from, to; bool placed; } fm_replay_value;

typedef struct fm_replay {
    fm_replay_step   *steps;   uint32_t step_count;
    fm_replay_object *objects; uint32_t object_count; /* in read order */
    uint32_t         *uses;    uint32_t use_count;
    fm_replay_value  *values;  /* per program value; weights inside objects: placed = false */
    fm_replay_image  *images;  uint32_t image_count;
    fm_replay_convert *converts; uint32_t convert_count;
    fm_replay_arrival *arrivals; uint32_t arrival_count; /* stored overlap plans: by object, then step */
    fm_replay_pool_image *pool; uint32_t pool_count;
    uint64_t region_bytes[64]; uint32_t region_count;
    uint32_t read_depth, read_bytes; /* chosen */
    uint64_t slab_bytes; /* largest object of a weight */
    uint64_t staging_bytes, resident_bytes, activation_peak, image_bytes;
    uint64_t peak;           /* regions + images + staging: what the budget caps, to the byte */
    uint64_t minimum, minimum_bound; /* bytes promised; lower bound */
    double   latency, stall, average_bytes; /* predicted, first run */
    const char *policy;      /* NULL: the timed plan */
    const char *rule;        /* timed plan that is the plan of this policy, whose placement came out faster; or NULL */
} fm_replay;

/* Solves.  BUDGET: below the minimum, or below what the policy needs (out->minimum is set then); the message
 * states it.  INVALID_ARGUMENT: no such
 * policy, or not the arrays it wants.  UNSUPPORTED: the stored plan was made for another cut; BAD_PACK: it
 * does not say what becomes of each object, or breaks its own memory cap.  All arrays come from arena. */
flashmem_status fm_replay_make(const fm_packed *pack, const fm_program *program, const fm_replay_request *request,
                               const fm_log *log, fm_arena *arena, fm_replay *out, flashmem_error *err);
/* Independent of make: every panel of every splittable step computed once and in its slab; every launch's objects
 * arrive before it and live through it; no two live byte ranges overlap (first, steady and last run); sum at every step
 * under the budget; each read's memory free when it may start; no read waits for a step that waits for a read behind it;
 * our own timed plans read in file order, and a stored plan's preloads and loads are all there. */
flashmem_status fm_replay_verify(const fm_packed *pack, const fm_program *program, const fm_replay_request *request,
                                 const fm_replay *replay, flashmem_error *err);

#endif
