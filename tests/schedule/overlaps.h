/* Overlap plans made by hand and by chance, for cuts of any program.  Any test may include this. */
#ifndef TESTS_SCHEDULE_OVERLAPS_H
#define TESTS_SCHEDULE_OVERLAPS_H

#include <stdlib.h>
#include <string.h>

#include "contract/overlap.h"
#include "schedule/cut.h"

typedef struct made_overlap {
    fm_stored_plan     plan;
    fm_stored_preload *preloads;
    fm_stored_load    *loads;
    fm_stored_overlap  stored; /* of the three */
} made_overlap;

typedef struct overlap_taste {
    uint64_t chunk_bytes;
    uint32_t preload; /* of 100 objects */
    uint32_t window;  /* launches before its first use in which an object may be loaded */
    uint32_t loads;   /* at most so many of an object */
    uint64_t seed;
} overlap_taste;

static inline uint64_t overlap_below(uint64_t *seed, uint64_t n) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % n;
}

static inline int overlap_by_part(const void *a, const void *b) {
    const fm_cut_part *x = *(const fm_cut_part *const *)a, *y = *(const fm_cut_part *const *)b;
    if (x->object != y->object) return x->object < y->object ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

/* Loads of one part: chunks spread over up to taste->loads launches of the window, rising. */
static inline void overlap_load(made_overlap *m, const fm_program_cut *cut, const fm_cut_part *part,
                                const overlap_taste *taste, uint64_t *seed) {
    uint64_t left = fm_chunks(part->bytes, taste->chunk_bytes);
    uint32_t window = part->first < taste->window ? part->first : taste->window;
    uint32_t times = 1 + (uint32_t)overlap_below(seed, taste->loads), at = part->first - window;
    for (uint32_t i = 0; i < times && left; i++) {
        uint32_t step = at + (uint32_t)overlap_below(seed, part->first - at);
        bool     last = i + 1 == times || step + 1 == part->first;
        uint64_t chunks = last ? left : 1 + overlap_below(seed, left);
        m->loads[m->plan.load_count++] = (fm_stored_load){ part->object, part->part, cut->launches[step].step,
                                                           cut->launches[step].part, (uint32_t)chunks };
        left -= chunks;
        at = step + 1;
    }
}

/* The least M_peak that the plan keeps. */
static inline uint64_t overlap_peak(const made_overlap *m, const fm_program_cut *cut) {
    int64_t *change = calloc(cut->launch_count + 1u, sizeof *change), live = 0, peak = 0;
    for (uint32_t l = 0; l < m->plan.load_count; l++)
        for (uint32_t i = 0; i < cut->part_count; i++) {
            const fm_cut_part *p = &cut->parts[i];
            if (p->object != m->loads[l].object || p->part != m->loads[l].part) continue;
            for (uint32_t k = 0; k < p->first; k++)
                if (cut->launches[k].step == m->loads[l].step && cut->launches[k].part == m->loads[l].step_part)
                    change[k] += m->loads[l].chunks;
            change[p->first + 1] -= m->loads[l].chunks;
        }
    for (uint32_t k = 0; k < cut->launch_count; k++) {
        live += change[k];
        if (live > peak) peak = live;
    }
    free(change);
    return (uint64_t)peak * m->plan.chunk_bytes;
}

/* To be freed.  slab_bytes and image_limit: of the request that the cut was made with. */
static inline void overlap_make(made_overlap *m, const fm_program_cut *cut, const fm_replay_request *request,
                                const overlap_taste *taste) {
    const fm_cut_part **parts = calloc(cut->part_count + 1u, sizeof(fm_cut_part *));
    uint64_t            seed = taste->seed * 977 + 13;
    memset(m, 0, sizeof *m);
    m->preloads = calloc(cut->part_count + 1u, sizeof *m->preloads);
    m->loads = calloc((size_t)cut->part_count * taste->loads + 1, sizeof *m->loads);
    m->plan = (fm_stored_plan){ .memory_path = (uint32_t)request->device.memory_path,
                                .status = FM_STORED_FEASIBLE,
                                .image_limit = request->device.image_limit,
                                .slab_bytes = request->slab_bytes,
                                .cut_key = cut->key,
                                .chunk_bytes = taste->chunk_bytes,
                                .unit = 1,
                                .lambda = 0.9,
                                .solver = "by chance",
                                .device = "a test's" };
    for (uint32_t i = 0; i < cut->part_count; i++) parts[i] = &cut->parts[i];
    qsort(parts, cut->part_count, sizeof *parts, overlap_by_part);
    for (uint32_t i = 0; i < cut->part_count; i++) {
        if (parts[i]->first == 0 || overlap_below(&seed, 100) < taste->preload)
            m->preloads[m->plan.preload_count++] = (fm_stored_preload){ parts[i]->object, parts[i]->part };
        else overlap_load(m, cut, parts[i], taste, &seed);
    }
    m->plan.m_peak_bytes = overlap_peak(m, cut);
    m->stored = (fm_stored_overlap){ &m->plan, m->preloads, m->loads };
    free(parts);
}

static inline void overlap_free(made_overlap *m) {
    free(m->preloads);
    free(m->loads);
}

#endif
