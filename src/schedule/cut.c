#include "schedule/cut.h"

#include "base/hash.h"
#include "schedule/replay_internal.h"

/* Launches and parts in their order; no times: those change from device to device. */
static uint64_t hash_cut(const fm_program_cut *cut) {
    uint64_t key = fm_hash(&cut->launch_count, sizeof cut->launch_count);
    for (uint32_t k = 0; k < cut->launch_count; k++) {
        const fm_cut_launch *l = &cut->launches[k];
        uint32_t             words[] = { l->step, l->part, l->first_panel, l->panels };
        key = fm_hash_seeded(words, sizeof words, key);
    }
    for (uint32_t i = 0; i < cut->part_count; i++) {
        const fm_cut_part *p = &cut->parts[i];
        uint64_t words[] = { p->object, p->part, p->weight, p->first_panel, p->panels, p->first, p->last, p->bytes };
        key = fm_hash_seeded(words, sizeof words, key);
    }
    return key;
}

void fm_cut_view(const fm_replay_facts *f, const fm_cut *cut, fm_program_cut *out) {
    fm_cut_launch *launches = fm_arena_array(f->arena, cut->step_count, sizeof *launches);
    fm_cut_part   *parts = fm_arena_array(f->arena, cut->object_count, sizeof *parts);
    uint32_t      *next = fm_arena_array(f->arena, f->pack->object_count, sizeof *next); /* part of each object */
    for (uint32_t k = 0; k < cut->step_count; k++) {
        const fm_replay_step *step = &cut->steps[k];
        launches[k] = (fm_cut_launch){ .step = step->step,
                                       .part = k - cut->first_part[step->step],
                                       .first_panel = step->first_panel,
                                       .panels = step->panels,
                                       .seconds = step->seconds };
    }
    for (uint32_t i = 0; i < cut->object_count;
         i++) { /* parts of an object come in order: each is used by a later launch */
        const fm_replay_object *object = &cut->objects[i];
        parts[i] = (fm_cut_part){ .object = object->object,
                                  .part = next[object->object]++,
                                  .weight = object->weight,
                                  .first_panel = object->first_panel,
                                  .panels = object->panels,
                                  .first = object->first,
                                  .last = object->last,
                                  .bytes = object->bytes };
    }
    *out = (fm_program_cut){
        .launches = launches, .launch_count = cut->step_count, .parts = parts, .part_count = cut->object_count
    };
    out->key = hash_cut(out);
}

flashmem_status fm_program_cut_make(const fm_packed *pack, const fm_program *program, const fm_replay_request *request,
                                    fm_arena *arena, fm_program_cut *out, flashmem_error *err) {
    fm_replay_facts facts;
    fm_cut          cut;
    FM_TRY(fm_replay_analyse(&facts, pack, program, request, arena, err));
    fm_replay_cut(&facts, fm_slab_limit(request), &cut);
    fm_cut_view(&facts, &cut, out);
    return FLASHMEM_OK;
}
