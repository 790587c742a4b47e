/* The stages from a file to a lowered program, for whoever goes on from there: the packer or the planner.
 * Who may include: compile/compile.c, compile/planner.c, tests. */
#ifndef FM_COMPILE_PIPELINE_H
#define FM_COMPILE_PIPELINE_H

#include "base/log.h"
#include "compile/lower.h"
#include "compile/onnx/import.h"

typedef struct fm_compilation {
    fm_arena                       *arena; /* everything below lives in it */
    fm_graph                        graph;
    fm_onnx_model                  *model;
    fm_log                          log;
    const flashmem_compile_options *options; /* checked */
    flashmem_compile_report         report;
} fm_compilation;

/* Copies what the caller's struct has (it may be of an older, shorter version) over the defaults; checks it. */
flashmem_status fm_compile_options_check(const flashmem_compile_options *given, flashmem_compile_options *out,
                                         flashmem_error *err);
/* Loads, imports, fixes shapes and folds: the graph as the file orders it. */
flashmem_status fm_compile_import(fm_compilation *c, flashmem_error *err);
/* The remaining passes: layout operators away, fused. */
flashmem_status fm_compile_simplify(fm_compilation *c, flashmem_error *err);
/* Graph to program and weights. */
flashmem_status fm_compile_lower(fm_compilation *c, fm_lower *out, flashmem_error *err);
flashmem_status fm_compile_progress(const fm_compilation *c, const char *stage, uint64_t done, uint64_t total,
                                    flashmem_error *err);

#endif
