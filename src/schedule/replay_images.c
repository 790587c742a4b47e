/* TEXTURE_COPY: which pooled image object holds each weight that kernels read as an image, and for which steps.
 *
 * Uses are taken from the largest down.  Each gets the free image that it wastes least of; if none is large enough, the
 * cheaper of a new image and of making a free one larger. */
#include <inttypes.h>
#include <stdlib.h>

#include "schedule/replay_internal.h"

typedef struct use {           /* of one row of images */
    uint32_t row, first, last; /* replayed steps */
    uint32_t width, height, half;
} use;

static uint64_t image_bytes(const fm_replay_facts *f, uint32_t width, uint32_t height, uint32_t half) {
    uint64_t pitch = f->request->device.image_pitch ? f->request->device.image_pitch : 1;
    return (width + pitch - 1) / pitch * pitch * height * (half ? 8u : 16u);
}

static int by_bytes(const void *a, const void *b) {
    const use *x = a, *y = b;
    uint64_t   p = (uint64_t)x->width * x->height, q = (uint64_t)y->width * y->height;
    if (p != q) return p > q ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* busy: one bit per step. */
static bool is_free(const uint64_t *busy, const use *wanted) {
    for (uint32_t k = wanted->first; k <= wanted->last; k++)
        if (busy[k / 64] >> k % 64 & 1) return false;
    return true;
}

static void occupy(uint64_t *busy, const use *taken) {
    for (uint32_t k = taken->first; k <= taken->last; k++) busy[k / 64] |= UINT64_C(1) << k % 64;
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Index of the pool image for a use; pool_count: a new one. */
static uint32_t choose(const fm_replay_facts *f, const fm_cut *cut, uint64_t *const *busy, const use *wanted) {
    uint32_t best = cut->pool_count;
    uint64_t best_growth = image_bytes(f, wanted->width, wanted->height, wanted->half), best_size = UINT64_MAX;
    for (uint32_t i = 0; i < cut->pool_count; i++) {
        const fm_replay_pool_image *image = &cut->pool[i];
        if (image->half != wanted->half || !is_free(busy[i], wanted)) continue;
        uint64_t size = image_bytes(f, larger(image->width, wanted->width), larger(image->height, wanted->height),
                                    image->half);
        uint64_t growth = size - image->bytes;
        if (growth > best_growth || (growth == best_growth && size >= best_size)) continue;
        best = i;
        best_growth = growth;
        best_size = size;
    }
    return best;
}

/* Rows of one object: its slab, or every weight of the bundle that is read as an image.  Each is copied whole, right
 * before its first use. */
static void add_rows(const fm_replay_facts *f, fm_cut *cut, fm_replay_object *object) {
    uint32_t first = object->weight == FM_NONE ? 0 : object->weight;
    uint32_t end = object->weight == FM_NONE ? f->pack->weight_count : object->weight + 1;
    object->first_image = cut->image_count;
    for (uint32_t w = first; w < end; w++) {
        const fm_weight     *weight = &f->pack->weights[w];
        const fm_weight_use *used = &f->weights[w];
        if (weight->object != object->object || !used->image) continue;
        bool            slab = object->weight != FM_NONE;
        fm_replay_image row = { .weight = w,
                                .object = (uint32_t)(object - cut->objects),
                                .first_panel = slab ? object->first_panel : 0,
                                .panels = slab ? object->panels : (uint32_t)weight->panels,
                                .source = weight->object_offset,
                                .first_convert = cut->convert_count,
                                .converts = 1 };
        cut->converts[cut->convert_count++] = (fm_replay_convert){ .image = cut->image_count,
                                                                   .panels = row.panels,
                                                                   .before_step = slab ? object->first
                                                                                       : cut->first_part[used->first] };
        cut->images[cut->image_count++] = row;
    }
    object->images = cut->image_count - object->first_image;
}

static void name_first_images(const fm_replay_facts *f, fm_cut *cut) {
    const fm_program *p = f->program;
    for (uint32_t k = 0; k < cut->step_count; k++) {
        fm_replay_step *part = &cut->steps[k];
        const fm_step  *step = &p->steps[part->step];
        for (uint32_t a = step->first_arg; a < step->first_arg + step->arg_count && part->image == FM_NONE; a++) {
            if (p->args[a].kind != FM_ARG_IMAGE) continue;
            uint32_t w = p->values[p->args[a].value].weight;
            for (uint32_t u = part->first_object; u < part->first_object + part->object_count; u++) {
                const fm_replay_object *object = &cut->objects[cut->uses[u]];
                for (uint32_t i = object->first_image; i < object->first_image + object->images; i++)
                    if (cut->images[i].weight == w) part->image = i;
            }
        }
    }
}

/* From the first panel copied to the last use; for ever if it stays. */
static use use_of(const fm_replay_facts *f, const fm_cut *cut, uint32_t row) {
    const fm_replay_image  *image = &cut->images[row];
    const fm_replay_object *object = &cut->objects[image->object];
    const fm_weight        *weight = &f->pack->weights[image->weight];
    bool                    slab = object->weight != FM_NONE;
    uint32_t                last = slab ? object->last : cut->first_part[f->weights[image->weight].last + 1] - 1;
    return (use){ .row = row,
                  .first = object->stays ? 0 : cut->converts[image->first_convert].before_step,
                  .last = object->stays ? cut->step_count - 1 : last,
                  .width = (uint32_t)weight->k,
                  .height = image->panels,
                  .half = weight->format == FM_WEIGHT_F16 };
}

void fm_replay_pool_images(const fm_replay_facts *f, fm_cut *cut) {
    use       *uses = fm_arena_array(f->arena, cut->image_count, sizeof *uses);
    uint64_t **busy = fm_arena_array(f->arena, cut->image_count, sizeof *busy);
    cut->pool = fm_arena_array(f->arena, cut->image_count, sizeof *cut->pool);
    cut->pool_count = 0;
    cut->image_bytes = 0;
    for (uint32_t i = 0; i < cut->image_count; i++) uses[i] = use_of(f, cut, i);
    if (cut->image_count) qsort(uses, cut->image_count, sizeof *uses, by_bytes);
    for (uint32_t i = 0; i < cut->image_count; i++) {
        uint32_t              chosen = choose(f, cut, busy, &uses[i]);
        fm_replay_pool_image *image = &cut->pool[chosen];
        if (chosen == cut->pool_count)
            busy[cut->pool_count++] = fm_arena_array(f->arena, cut->step_count / 64 + 1u, sizeof **busy);
        *image = (fm_replay_pool_image){ .width = larger(image->width, uses[i].width),
                                         .height = larger(image->height, uses[i].height),
                                         .half = uses[i].half };
        image->bytes = image_bytes(f, image->width, image->height, image->half);
        cut->images[uses[i].row].image = chosen;
        occupy(busy[chosen], &uses[i]);
    }
    for (uint32_t i = 0; i < cut->pool_count; i++) cut->image_bytes += cut->pool[i].bytes;
}

void fm_replay_assign_images(const fm_replay_facts *f, fm_cut *cut) {
    uint32_t most = 0;
    for (uint32_t w = 0; w < f->pack->weight_count; w++) most += f->weights[w].image && !f->weights[w].cuttable;
    if (f->request->device.memory_path != FLASHMEM_PATH_TEXTURE_COPY) return;
    most += cut->object_count;
    cut->images = fm_arena_array(f->arena, most, sizeof *cut->images);
    cut->converts = fm_arena_array(f->arena, most, sizeof *cut->converts);
    for (uint32_t o = 0; o < cut->object_count; o++) add_rows(f, cut, &cut->objects[o]);
    fm_replay_pool_images(f, cut);
    name_first_images(f, cut);
}
