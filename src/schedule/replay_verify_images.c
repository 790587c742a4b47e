/* The images of a replay: every panel copied once while its object lives, from where it lies, into a pool image that holds
 * nothing else from the first copy to the last use. */
#include <inttypes.h>
#include <stdlib.h>

#include "schedule/replay_verify.h"

#define BAD(...) fm_fail(v->err, FLASHMEM_INTERNAL, __VA_ARGS__)

static bool only_images(const fm_replay_verifier *v, const fm_replay_object *o) {
    return o->weight != FM_NONE && o->images && !v->buffer_read[o->weight];
}

uint32_t fm_verify_last_convert(const fm_replay *r, uint32_t i) {
    return r->converts[r->images[i].first_convert + r->images[i].converts - 1].before_step;
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Every panel of an image is copied once, while its object lives; *rows counts the conversions. */
static flashmem_status check_converts(const fm_replay_verifier *v, uint32_t i, const fm_replay_object *o,
                                      uint32_t *rows) {
    const fm_replay       *r = v->replay;
    const fm_replay_image *image = &r->images[i];
    uint64_t               next = 0;
    uint32_t               before = 0, object = (uint32_t)(o - r->objects);
    if (image->first_convert != *rows || image->converts == 0 || image->converts > r->convert_count - *rows)
        return BAD("image %u: conversions %u+%u of %u", i, image->first_convert, image->converts, r->convert_count);
    for (uint32_t c = *rows; c < *rows + image->converts; c++) {
        const fm_replay_convert *row = &r->converts[c];
        if (row->image != i || row->first_panel != next || row->panels == 0)
            return BAD("conversion %u: panels %u+%u of image %u, %" PRIu64 " of image %u is next", c, row->first_panel,
                       row->panels, row->image, next, i);
        if (row->before_step < before || row->before_step > o->last || (o->stays && row->before_step))
            return BAD("conversion %u: before step %u, its object serves %u to %u", c, row->before_step, o->first,
                       o->last);
        before = row->before_step;
        if (before < v->need[object]) v->need[object] = before;
        if (before > v->freed[object]) v->freed[object] = before;
        next += row->panels;
    }
    if (next != image->panels) return BAD("image %u: %" PRIu64 " of %u panels are copied", i, next, image->panels);
    *rows += image->converts;
    return FLASHMEM_OK;
}

static flashmem_status check_image(const fm_replay_verifier *v, uint32_t i, const fm_replay_object *o) {
    const fm_replay       *r = v->replay;
    const fm_replay_image *image = &r->images[i];
    if (image->weight >= v->pack->weight_count || image->image >= r->pool_count ||
        image->object != (uint32_t)(o - r->objects))
        return BAD("image %u: weight %u, pool image %u, object %u", i, image->weight, image->image, image->object);
    const fm_weight *w = &v->pack->weights[image->weight];
    if (w->object != o->object || w->object_offset + image->first_panel * w->panel_bytes != o->offset + image->source ||
        image->source + image->panels * w->panel_bytes > o->bytes)
        return BAD("image %u: its panels do not lie at %" PRIu64 " of its object", i, image->source);
    const fm_replay_pool_image *pool = &r->pool[image->image];
    if (pool->width < w->k || pool->height < image->panels || (pool->half != 0) != (w->format == FM_WEIGHT_F16))
        return BAD("image %u: %" PRIu64 " x %u texels in a pool image of %u x %u", i, w->k, image->panels, pool->width,
                   pool->height);
    return FLASHMEM_OK;
}

flashmem_status fm_verify_images(const fm_replay_verifier *v) {
    const fm_replay *r = v->replay;
    uint64_t         bytes = 0, pitch = larger(v->request->device.image_pitch, 1);
    uint32_t         rows = 0, converts = 0;
    for (uint32_t o = 0; o < r->object_count; o++) {
        v->need[o] = r->objects[o].first;
        v->freed[o] = only_images(v, &r->objects[o]) ? 0 : r->objects[o].last;
        if (r->objects[o].images > r->image_count - rows || (r->objects[o].images && r->objects[o].first_image != rows))
            return BAD("object %u: images %u+%u of %u", o, r->objects[o].first_image, r->objects[o].images,
                       r->image_count);
        if (!r->objects[o].staged != !only_images(v, &r->objects[o]))
            return BAD("object %u: %s", o,
                       r->objects[o].staged ? "staged, but read where it lies" : "not staged, but only read as images");
        for (uint32_t i = 0; i < r->objects[o].images; i++) {
            FM_TRY(check_image(v, rows + i, &r->objects[o]));
            FM_TRY(check_converts(v, rows + i, &r->objects[o], &converts));
        }
        rows += r->objects[o].images;
    }
    if (rows != r->image_count) return BAD("%u images, %u have an object", r->image_count, rows);
    if (converts != r->convert_count) return BAD("%u conversions, %u have an image", r->convert_count, converts);
    for (uint32_t i = 0; i < r->pool_count; i++) {
        const fm_replay_pool_image *pool = &r->pool[i];
        uint32_t limit = v->request->device.image_limit ? v->request->device.image_limit : UINT32_MAX;
        if (pool->width > limit || pool->height > limit || pool->width == 0 || pool->height == 0 ||
            pool->bytes != (pool->width + pitch - 1) / pitch * pitch * pool->height * (pool->half ? 8 : 16))
            return BAD("pool image %u: %u x %u, %" PRIu64 " bytes", i, pool->width, pool->height, pool->bytes);
        bytes += pool->bytes;
    }
    if (bytes != r->image_bytes) return BAD("images of %" PRIu64 " bytes, %" PRIu64 " counted", bytes, r->image_bytes);
    return FLASHMEM_OK;
}

static int by_pool(const void *a, const void *b) {
    const fm_image_life *x = a, *y = b;
    if (x->pool != y->pool) return x->pool < y->pool ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* No pool image holds two weights at once; one of a preloaded weight holds nothing else. */
flashmem_status fm_verify_image_sharing(const fm_replay_verifier *v, const uint32_t *last, fm_image_life *lives) {
    const fm_replay *r = v->replay;
    for (uint32_t i = 0; i < r->image_count; i++) {
        bool stays = r->objects[r->images[i].object].stays;
        lives[i] = (fm_image_life){ r->images[i].image, stays ? 0 : r->converts[r->images[i].first_convert].before_step,
                                    stays ? r->step_count - 1 : larger(last[i], fm_verify_last_convert(r, i)), i };
    }
    qsort(lives, r->image_count, sizeof *lives, by_pool);
    for (uint32_t i = 1; i < r->image_count; i++) /* the first overlap, if any, is between neighbours */
        if (lives[i].pool == lives[i - 1].pool && lives[i].from <= lives[i - 1].to)
            return BAD("images %u and %u share pool image %u at the same time", lives[i - 1].row, lives[i].row,
                       lives[i].pool);
    return FLASHMEM_OK;
}
