/* Overlap plans as a pack keeps them: which placed objects of a program are preloaded, and before which launches how many
 * chunks of every other one are loaded.  They lie in a section of their own behind the weights, so that one can be added
 * to a finished pack.
 *
 * Launches and objects are named by what they are parts of: part p of kernel step s, part p of pack object o, as the slab
 * cut with these limits makes them.  cut_key says whether a cut is that one; run cuts again, compares, and replays the
 * plan as it is or refuses.  Anyone above base. */
#ifndef FM_CONTRACT_OVERLAP_H
#define FM_CONTRACT_OVERLAP_H

#include "contract/pack.h"

typedef enum fm_stored_status { FM_STORED_FEASIBLE = 1, FM_STORED_OPTIMAL = 2 } fm_stored_status;

typedef struct fm_stored_plan {
    uint32_t program;     /* of the pack; one plan for each and memory path */
    uint32_t memory_path; /* flashmem_memory_path */
    uint32_t status;      /* fm_stored_status */
    uint32_t image_limit; /* of the cut: largest image side in texels, 0: none */
    uint64_t slab_bytes;  /* of the cut: largest slab, 0: weights are whole */
    uint64_t cut_key;     /* fm_program_cut.key */
    uint64_t device_key;  /* of the device and profile that times and capacities came from, 0: the class table */
    uint64_t chunk_bytes; /* S */
    uint64_t m_peak_bytes;
    int64_t  objective, bound, unit; /* divided by unit: in the units of the formula */
    double   lambda;
    uint32_t first_preload, preload_count; /* rows of the section's tables */
    uint32_t first_load, load_count;
    char     solver[32]; /* texts end with NUL and are filled with it */
    char     device[96];
} fm_stored_plan;
static_assert(sizeof(fm_stored_plan) == 232, "pack record");

/* Plans are sorted by program and memory path, their rows by object, part (and step, step part), each once. */
typedef struct fm_stored_preload {
    uint32_t object, part;
} fm_stored_preload;
static_assert(sizeof(fm_stored_preload) == 8, "pack record");

typedef struct fm_stored_load {
    uint32_t object, part, step, step_part;
    uint32_t chunks;
} fm_stored_load;
static_assert(sizeof(fm_stored_load) == 20, "pack record");

/* The section: this, then the tables. */
typedef struct fm_overlap_head {
    uint32_t plan_count, preload_count, load_count, reserved;
} fm_overlap_head;
static_assert(sizeof(fm_overlap_head) == 16, "pack record");

/* All plans of a pack. */
typedef struct fm_stored_overlaps {
    const fm_stored_plan    *plans;    uint32_t plan_count;
    const fm_stored_preload *preloads; uint32_t preload_count;
    const fm_stored_load    *loads;    uint32_t load_count;
} fm_stored_overlaps;

/* One plan and its own rows. */
typedef struct fm_stored_overlap {
    const fm_stored_plan    *plan;
    const fm_stored_preload *preloads; /* plan->preload_count */
    const fm_stored_load    *loads;    /* plan->load_count */
} fm_stored_overlap;

static inline uint64_t fm_chunks(uint64_t bytes, uint64_t chunk_bytes) { return bytes / chunk_bytes + (bytes % chunk_bytes != 0); }

/* Recomputes what does not need a cut: tables used up in order, indexes in range, order of rows, at least one chunk a
 * load and no more than the pack object has, no object both preloaded and loaded, figures that can be.  BAD_PACK names
 * plan and row. */
flashmem_status fm_stored_overlaps_verify(const fm_stored_overlaps *overlaps, const fm_pack *pack, flashmem_error *err);

/* Reads and verifies the section; all counts are 0 where a pack has none.  Arrays come from arena. */
flashmem_status fm_pack_read_overlaps(const fm_pack *pack, fm_arena *arena, fm_stored_overlaps *out,
                                      flashmem_error *err);
/* The plan for a program and memory path; false: there is none. */
bool fm_stored_overlaps_find(const fm_stored_overlaps *overlaps, uint32_t program, flashmem_memory_path path,
                             fm_stored_overlap *out);
/* Adds a plan to the pack file at path, in the place of the one for its program and memory path; the numbers of its first
 * rows are assigned.  The new section is written where the old one is not, then the header, in one sector: after
 * a crash the pack has the old plans or the new.  A damaged section is replaced whole.  BAD_PACK; IO, DISK_FULL: the pack
 * stays as it was; INVALID_ARGUMENT: the plan does not hold. */
flashmem_status fm_pack_append_overlap(const char *path, const fm_stored_overlap *overlap, flashmem_error *err);

#endif
