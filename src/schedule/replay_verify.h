/* Parts of fm_replay_verify.  Who may include: schedule/replay_verify*.c. */
#ifndef FM_SCHEDULE_REPLAY_VERIFY_H
#define FM_SCHEDULE_REPLAY_VERIFY_H

#include "schedule/replay.h"

typedef struct fm_replay_verifier {
    const fm_packed         *pack;
    const fm_program        *program;
    const fm_replay_request *request;
    const fm_replay         *replay;
    uint8_t                 *buffer_read; /* per weight: some launch reads it where it lies */
    uint32_t                *need, *freed; /* per object: as its uses, conversions and arrivals say */
    flashmem_error          *err;
} fm_replay_verifier;

typedef struct fm_image_life {
    uint32_t pool, from, to, row;
} fm_image_life;

/* Images, conversions and the pool; fills need and freed by uses and conversions. */
flashmem_status fm_verify_images(const fm_replay_verifier *v);
/* last: per image, its last use.  lives: scratch, one per image. */
flashmem_status fm_verify_image_sharing(const fm_replay_verifier *v, const uint32_t *last, fm_image_life *lives);
uint32_t        fm_verify_last_convert(const fm_replay *replay, uint32_t image); /* step of its last conversion */
/* The replay, sound as it is, does what the overlap plan of the request says and nothing else: what is preloaded stays,
 * every load has its arrival, and conversions copy the panels that their load completes. */
flashmem_status fm_verify_overlap(const fm_replay_verifier *v);

#endif
