/* Micro-benchmarks as ordinary packs: a program whose steps are rows over shapes, loads, and both in turn, with marks
 * that say what each run of steps measures.  Deterministic: the same options give the same pack.
 *
 *     rows    load 16 B x n | load 32 MiB x 2 | shape 0 | shape 1 | ...        launch cost, copy rate, kernel times
 *     loads   per shape:  row | row | row load | row load | ... | row row      growth of the row under extra load
 *
 * A shape occurs once in `rows`, as a step in a model: its weights are not in the caches, what it reads is anybody's.
 * Who may include: compile, tests. */
#ifndef FM_COMPILE_PROFILE_SWEEP_H
#define FM_COMPILE_PROFILE_SWEEP_H

#include "compile/profile/features.h"
#include "compile/profile/shapes.h"
#include "base/log.h"
#include "flashmem/compile.h"

/* What is there besides rows.  A way of loading that is part of a row's kernel will have sweeps of its own. */
#define FM_LOAD_SEPARATE "separate" /* by a launch of its own behind the row */

typedef enum fm_sweep_kind {
    FM_SWEEP_LAUNCH, /* smallest launches, one after the other */
    FM_SWEEP_COPY,   /* a load alone, too large for caches */
    FM_SWEEP_ROW,    /* a shape, in the sequence of all shapes */
    FM_SWEEP_ALONE,  /* a shape behind itself */
    FM_SWEEP_PAIR    /* a shape, then a load */
} fm_sweep_kind;

typedef struct fm_sweep_mark {
    fm_sweep_kind kind;
    uint32_t      shape;             /* of fm_shape_rows; FM_NONE: no shape */
    uint32_t      first_step, steps; /* of the program */
    uint64_t      load_bytes;        /* COPY, PAIR */
} fm_sweep_mark;

typedef struct fm_sweep {
    fm_sweep_mark *marks; size_t mark_count, mark_capacity;
    fm_program     program; /* of the pack */
    fm_packed      packed;
} fm_sweep;

typedef struct fm_sweep_options {
    flashmem_layout  layout;
    flashmem_weights weights;
    const bool      *chosen; /* per shape of fm_shape_rows */
    bool             full;   /* more loads */
    const fm_log    *log;
} fm_sweep_options;

/* Seconds that device is expected to take for each chosen shape, 0 for the others; writes nothing. */
flashmem_status fm_sweep_estimate(const fm_sweep_options *options, const flashmem_device *device, fm_arena *arena,
                                  double *shape_seconds, flashmem_error *err);
/* Kernels of the chosen shapes, launch cost and copy rate. */
flashmem_status fm_sweep_rows(const fm_sweep_options *options, const char *pack_path, fm_arena *arena, fm_sweep *out,
                              flashmem_error *err);
/* Extra loads beside the chosen shapes, sized by what `rows` found: seconds per shape (by one launch), bytes per second
 * of a copy. */
flashmem_status fm_sweep_loads(const fm_sweep_options *options, const char *pack_path, const double *shape_seconds,
                               double copy_rate, fm_arena *arena, fm_sweep *out, flashmem_error *err);
/* What the loads of a shape take, in units of its own time. */
double fm_sweep_loads_cost(flashmem_capacity_class capacity_class, bool full);

#endif
