/* A cut program as an overlap problem: its launches are the steps, its placed objects (slabs, bundles) the weights; what
 * is read by row is none.  Who may include: compile, tests. */
#ifndef FM_COMPILE_PLAN_PROBLEM_PROGRAM_H
#define FM_COMPILE_PLAN_PROBLEM_PROGRAM_H

#include "compile/plan/problem.h"
#include "schedule/cut.h"

/* What launch k of the cut may load beside it, in bytes; NULL: the class table, growth of its class * seconds *
 * load_bytes_per_second. */
typedef uint64_t fm_capacity_fn(void *user, uint32_t launch);

typedef struct fm_program_problem {
    const fm_packed       *packed;
    const fm_program      *program;
    const fm_program_cut  *cut;
    const flashmem_device *device; /* growth, load_bytes_per_second */
    fm_capacity_fn        *capacity;
    void                  *user;
    uint64_t               chunk_bytes, m_peak_bytes;
    double                 lambda;
} fm_program_problem;

/* A step's source is its launch, a weight's source and part are the cut's part.  Names: of the weight, "NAME#k" for part k
 * of several, "bundle#k" for object k of the pack. */
flashmem_status fm_overlap_problem_of_program(const fm_program_problem *of, fm_arena *arena, fm_overlap_problem *out,
                                              flashmem_error *err);

#endif
