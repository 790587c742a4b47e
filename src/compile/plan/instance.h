/* The instances of docs/planning.md: overlap problems from a graph and a table alone, with no device and no profile, so
 * that figures compare.  Who may include: compile, tests. */
#ifndef FM_COMPILE_PLAN_INSTANCE_H
#define FM_COMPILE_PLAN_INSTANCE_H

#include "compile/graph/graph.h"
#include "compile/plan/fusion.h"
#include "compile/plan/problem.h"

typedef struct fm_instance_options {
    bool     fused;        /* f: elementwise steps join the steps that make what they read; u: every node is a step */
    char     speed;        /* 'A', 'B', 'C': 1.0, 0.35, 1.25 TMAC/s */
    uint64_t chunk_bytes;
    uint64_t slab_bytes;   /* largest weight of a reusable step; 0: whole */
    uint64_t m_peak_bytes;
    double   lambda;
    const uint8_t *split;  /* f: [nodes] 1 where an elementwise node begins a step of its own; NULL: nowhere */
} fm_instance_options;

/* u:A, chunks of 1 MiB, whole, 500 MB, 0.9. */
void fm_instance_options_init(fm_instance_options *options);
/* "u:A" to "f:C" into fused and speed.  INVALID_ARGUMENT otherwise. */
flashmem_status fm_instance_parse(const char *text, fm_instance_options *options, flashmem_error *err);

/* g: after import and folding, before any other pass.  Steps are in the graph's order; a step's source is its (first)
 * node's place in it, a weight's source its tensor's in g->tensors.  Weights have the names of their tensors; "NAME#rows"
 * is what Gather reads of a table that is also used whole, "NAME#0", "NAME#1"... are slabs.  Everything is in arena. */
flashmem_status fm_instance_build(const fm_graph *g, const fm_instance_options *options, fm_arena *arena,
                                  fm_overlap_problem *out, flashmem_error *err);
/* f: the elementwise nodes that joined a step which multiplies matrices; hierarchical steps stay whole.  A candidate's
 * source is its node's place in the graph. */
flashmem_status fm_instance_candidates(const fm_graph *g, const fm_instance_options *options, fm_arena *arena,
                                       fm_fusion_candidate **out, uint32_t *count, flashmem_error *err);

#endif
