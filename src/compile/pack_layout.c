/* Weights to objects, in order of first use.  A large weight is an object; small ones of neighbouring steps share a
 * bundle.  Small weights that many steps use wait in a bundle of their own, so that they keep nothing else alive. */
#include <inttypes.h>
#include <stdlib.h>

#include "compile/pack.h"

enum { PAGE = 4096 };

static uint64_t align_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

typedef struct weight_use {
    uint32_t weight, first, last; /* steps */
} weight_use;

/* Uses as the program has them; a weight that no step reads is used at 0. */
static weight_use *find_uses(const fm_lower *l, const fm_program *p, size_t *count) {
    weight_use *uses = fm_arena_array(l->graph->arena, l->weight_count, sizeof *uses);
    for (size_t i = 0; i < l->weight_count; i++) uses[i] = (weight_use){ (uint32_t)i, UINT32_MAX, 0 };
    for (uint32_t s = 0; s < p->step_count; s++)
        for (uint32_t a = 0; a < p->steps[s].arg_count; a++) {
            const fm_arg *arg = &p->args[p->steps[s].first_arg + a];
            if (arg->kind != FM_ARG_READ && arg->kind != FM_ARG_IMAGE) continue;
            if (p->values[arg->value].kind != FM_VALUE_WEIGHT) continue;
            weight_use *u = &uses[p->values[arg->value].weight];
            if (u->first == UINT32_MAX) u->first = s;
            u->last = s;
        }
    size_t kept = 0;
    for (size_t i = 0; i < l->weight_count; i++) {
        if (uses[i].first == UINT32_MAX) uses[i].first = 0;
        if (l->records[i].kind != FM_WEIGHT_ROWS) uses[kept++] = uses[i];
    }
    *count = kept;
    return uses;
}

static int by_first_use(const void *a, const void *b) {
    const weight_use *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->weight < y->weight ? -1 : x->weight > y->weight;
}

/* A bundle being filled. */
typedef struct open_bundle {
    uint32_t object; /* FM_NONE: none is open */
    uint64_t bytes;
    uint32_t last_first; /* first use of its latest member */
} open_bundle;

static uint32_t add_object(fm_pack_layout *out, uint64_t bytes, uint64_t unit, uint32_t weight) {
    out->objects[out->object_count] = (fm_object){ .bytes = bytes, .weight = weight, .unit_bytes = unit };
    return out->object_count++;
}

static void place(fm_lower *l, uint32_t weight, uint32_t object, uint64_t offset) {
    l->records[weight].object = object;
    l->records[weight].object_offset = offset;
    l->weights[weight].record.object = object;
    l->weights[weight].record.object_offset = offset;
}

/* Cut units are checksum units; a dense array has one per MiB. */
static void place_alone(fm_lower *l, fm_pack_layout *out, uint32_t weight) {
    const fm_weight *w = &l->records[weight];
    uint64_t         bytes = align_up(w->bytes, PAGE), unit = bytes < FM_PACK_LARGE ? bytes : FM_PACK_LARGE;
    uint32_t         holds = weight;
    if (w->kind == FM_WEIGHT_PANELS) {
        unit = w->unit_panels * w->panel_bytes;
        if (unit > bytes) { /* a cut unit larger than the weight: read whole */
            unit = bytes;
            holds = FM_NONE;
        }
    }
    place(l, weight, add_object(out, bytes, unit, holds), 0);
}

static void place_in_bundle(fm_lower *l, fm_pack_layout *out, open_bundle *b, const weight_use *u) {
    const fm_weight *w = &l->records[u->weight];
    uint64_t         offset = align_up(b->bytes, FM_WEIGHT_ALIGN);
    bool fits = b->object != FM_NONE && offset + w->bytes <= FM_PACK_BUNDLE && u->first - b->last_first <= FM_PACK_GAP;
    if (!fits) {
        b->object = add_object(out, 0, 0, FM_NONE);
        offset = 0;
    }
    place(l, u->weight, b->object, offset);
    b->bytes = offset + w->bytes;
    b->last_first = u->first;
    out->objects[b->object].bytes = out->objects[b->object].unit_bytes = align_up(b->bytes, PAGE);
}

static void list_members(fm_lower *l, const weight_use *uses, size_t count, fm_pack_layout *out) {
    fm_arena *a = l->graph->arena;
    out->first_member = fm_arena_array(a, (size_t)out->object_count + 1, sizeof *out->first_member);
    out->members = fm_arena_array(a, count, sizeof *out->members);
    for (size_t i = 0; i < count; i++) out->first_member[l->records[uses[i].weight].object + 1]++;
    for (uint32_t o = 0; o < out->object_count; o++) out->first_member[o + 1] += out->first_member[o];
    uint32_t *next = fm_arena_array(a, (size_t)out->object_count + 1, sizeof *next);
    for (uint32_t o = 0; o < out->object_count; o++) next[o] = out->first_member[o];
    for (size_t i = 0; i < count; i++) out->members[next[l->records[uses[i].weight].object]++] = uses[i].weight;
}

flashmem_status fm_pack_lay_out(fm_lower *l, const fm_program *program, fm_pack_layout *out, flashmem_error *err) {
    size_t      count;
    open_bundle brief = { .object = FM_NONE }, lasting = { .object = FM_NONE };
    uint64_t    total = 0;
    weight_use *uses = find_uses(l, program, &count);
    *out = (fm_pack_layout){ .objects = fm_arena_array(l->graph->arena, count, sizeof *out->objects) };
    qsort(uses, count, sizeof *uses, by_first_use);
    for (size_t i = 0; i < count; i++) {
        const fm_weight *w = &l->records[uses[i].weight];
        if (w->bytes > (uint64_t)INT64_MAX / 2 || __builtin_add_overflow(total, align_up(w->bytes, PAGE), &total))
            return fm_fail(err, FLASHMEM_UNSUPPORTED, "weight '%s': %" PRIu64 " bytes", l->weights[uses[i].weight].name,
                           w->bytes);
        bool lasts = uses[i].last > uses[i].first && uses[i].last - uses[i].first > FM_PACK_GAP;
        if (w->bytes >= FM_PACK_LARGE) place_alone(l, out, uses[i].weight);
        else place_in_bundle(l, out, lasts ? &lasting : &brief, &uses[i]);
    }
    list_members(l, uses, count, out);
    return FLASHMEM_OK;
}
