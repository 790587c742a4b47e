/* Lowering: graph to program.  Each operator's `lower` sees its inputs as strided views of values and emits steps with
 * the kernel families, or makes its outputs views of its inputs, which costs nothing.  Who may include: compile. */
#ifndef FM_COMPILE_LOWER_H
#define FM_COMPILE_LOWER_H

#include "compile/graph/graph.h"
#include "compile/ops/op.h"
#include "flashmem/compile.h"
#include "kernels/launch.h"

/* A weight to be packed: which recipe in which arrangement. */
typedef struct fm_lower_weight {
    fm_weight        record;     /* kind, format, k, n, panels, panel_bytes, unit_panels, bytes */
    const fm_recipe *recipe;     /* PANELS: [k, n]; DENSE, ROWS: as stored */
    flashmem_dtype   dtype;      /* DENSE: stored type */
    uint32_t         first_step; /* first use, for order and bundling */
    uint32_t         value;      /* the program's value of the weight */
    const char      *name;
} fm_lower_weight;

typedef struct fm_lower {
    fm_graph          *graph;
    fm_program_builder builder;
    fm_emit            emit;
    fm_lower_weight   *weights;
    size_t             weight_count, weight_capacity;
    fm_weight         *records; /* the records of weights, kept equal: what emit.weights points to */
    uint32_t          *weight_slots; /* hash table by recipe: index + 1, 0 free (lower_weights.c) */
    size_t             weight_slot_count, weight_entries;
    flashmem_weights   format;  /* of large weights */
    flashmem_layout    layout;
    uint32_t           image_limit; /* layout texture: longest K of one PANELS weight */
    bool               keep_all;
    bool               planning; /* as the graph says: what no kernel runs becomes planned steps */
    uint32_t          *kept;
    size_t             kept_count, kept_capacity; /* keep_all: output values beyond the model's own */
} fm_lower;

/* Prepares l for graph g: builder and emit target of the layout.  device: FM_DEVICE_* bits of the target. */
void fm_lower_init(fm_lower *l, fm_graph *g, const flashmem_compile_options *options, uint32_t device);

/* The view of a tensor: where its producer put it, or a constant placed as weight (above 64 bytes) or constant. */
flashmem_status fm_lower_view(fm_lower *l, fm_tensor *t, fm_view *out, flashmem_error *err);
/* Storage for an output.  order: memory order of its axes, outermost first (NULL: row-major; {0,2,3,1} makes NCHW
 * channels-last).  Honours a destination chosen earlier (concat in place, model output). */
fm_view fm_lower_output(fm_lower *l, fm_tensor *t, const uint32_t *order);
/* The same with the memory order of an existing view of t's rank: what elementwise operators want for their output.
 * Broadcast and reversed axes of like are ignored. */
fm_view fm_lower_output_like(fm_lower *l, fm_tensor *t, const fm_view *like);
/* The element type of t on the device: float32 for every floating-point type. */
flashmem_dtype fm_lower_dtype(const fm_tensor *t);
/* Emits out = view, converting between types: an elementwise copy step. */
flashmem_status fm_lower_copy(fm_lower *l, const char *name, const fm_view *view, const fm_view *out,
                              flashmem_error *err);
/* Makes t a view of something that exists already. */
void fm_lower_alias(fm_lower *l, fm_tensor *t, const fm_view *view);
/* A dense copy of view when strides do not serve: emits an elementwise copy step. */
flashmem_status fm_lower_dense(fm_lower *l, const char *name, const fm_view *view, fm_view *out, flashmem_error *err);
fm_view         fm_lower_scratch(fm_lower *l, flashmem_dtype dtype, const fm_shape *shape);
/* A constant [k, n] recipe as a PANELS weight of the pack's format; the same recipe twice gives the same weight. */
flashmem_status fm_lower_panels(fm_lower *l, const char *name, const fm_recipe *kn, uint32_t *value,
                                flashmem_error *err);
/* A constant as dense array of dtype. */
flashmem_status fm_lower_dense_weight(fm_lower *l, const char *name, const fm_recipe *r, flashmem_dtype dtype,
                                      fm_view *out, flashmem_error *err);
/* An embedding table [rows, width] read by row. */
flashmem_status fm_lower_rows(fm_lower *l, const char *name, const fm_recipe *r, uint32_t *value, flashmem_error *err);

/* Runs every node's lower in order, then places outputs. */
flashmem_status fm_lower_graph(fm_lower *l, flashmem_error *err);

/* Bytes of float weights as stored, without padding. */
uint64_t fm_lower_float_bytes(const fm_lower *l);
/* Packs what lowering left: bundles, order of first use, checksums, slab by slab (compile/pack.c). */
flashmem_status fm_pack_lowered(fm_lower *l, const char *pack_path, const flashmem_compile_options *options,
                                flashmem_compile_report *report, flashmem_error *err);

#endif
