/* Constants as recipes: a tree over sources that can be evaluated box by box, so that no weight is ever whole in
 * memory.  Who may include: compile.  All nodes live in the compilation's arena and are immutable. */
#ifndef FM_COMPILE_GRAPH_RECIPE_H
#define FM_COMPILE_GRAPH_RECIPE_H

#include "base/arena.h"
#include "base/error.h"
#include "contract/tensor.h"

/* Where bytes come from.  read fills `to` with bytes at offset (within the source), or fails with IO. */
typedef struct fm_source fm_source;
struct fm_source {
    flashmem_status (*read)(const fm_source *source, uint64_t offset, void *to, size_t bytes, flashmem_error *err);
    uint64_t    bytes;
    const void *memory;     /* in-memory source: its data; else NULL */
    const char *path;       /* file source: for messages */
    int         fd;
    uint64_t    file_offset;
    uint64_t    seed;       /* generator: FNV-1a of the tensor's name */
    double      deviation;  /* generator: standard deviation */
    flashmem_dtype dtype;   /* generator: element type produced */
};
fm_source *fm_source_memory(fm_arena *arena, const void *data, uint64_t bytes); /* borrowed */
fm_source *fm_source_file(fm_arena *arena, const char *path, int fd, uint64_t offset, uint64_t bytes);
/* The zoo's synthetic weights: x_i = (splitmix64(seed + i) >> 40) / 2^24 - 0.5) * sqrt(12) * deviation. */
fm_source *fm_source_fill(fm_arena *arena, const char *tensor_name, double deviation, flashmem_dtype dtype,
                          uint64_t bytes);

typedef enum fm_recipe_kind {
    FM_RECIPE_LEAF,      /* dense row-major array in a source */
    FM_RECIPE_TRANSPOSE, /* permutation */
    FM_RECIPE_RESHAPE,   /* same elements, row-major */
    FM_RECIPE_CAST,
    FM_RECIPE_SLICE,     /* start, step per axis */
    FM_RECIPE_CONCAT,    /* inputs along axis */
    FM_RECIPE_BROADCAST, /* numpy rules */
    FM_RECIPE_SCALE,     /* inputs[0] * inputs[1], same shape after broadcasting inputs[1]; float */
    FM_RECIPE_ADD        /* inputs[0] + inputs[1]; float */
} fm_recipe_kind;

typedef struct fm_recipe fm_recipe;
struct fm_recipe {
    fm_recipe_kind    kind;
    flashmem_dtype    dtype;
    fm_shape          shape;
    const fm_source  *source; /* LEAF */
    const fm_recipe **inputs; uint32_t input_count;
    uint32_t          permutation[FM_MAX_RANK];
    int64_t           start[FM_MAX_RANK], step[FM_MAX_RANK];
    uint32_t          axis;
    uint32_t          depth; /* of the tree below; 0 for a leaf */
};
const fm_recipe *fm_recipe_leaf(fm_arena *a, const fm_source *s, flashmem_dtype dtype, const fm_shape *shape);
const fm_recipe *fm_recipe_memory(fm_arena *a, flashmem_dtype dtype, const fm_shape *shape,
                                  const void *data); /* copies */
const fm_recipe *fm_recipe_transpose(fm_arena *a, const fm_recipe *r, const uint32_t *permutation);
const fm_recipe *fm_recipe_reshape(fm_arena *a, const fm_recipe *r, const fm_shape *shape);
const fm_recipe *fm_recipe_cast(fm_arena *a, const fm_recipe *r, flashmem_dtype dtype);
const fm_recipe *fm_recipe_slice(fm_arena *a, const fm_recipe *r, const int64_t *start, const int64_t *step,
                                 const fm_shape *shape);
const fm_recipe *fm_recipe_concat(fm_arena *a, const fm_recipe **inputs, uint32_t count, uint32_t axis);
const fm_recipe *fm_recipe_broadcast(fm_arena *a, const fm_recipe *r, const fm_shape *shape);
const fm_recipe *fm_recipe_scale(fm_arena *a, const fm_recipe *r, const fm_recipe *factor);
const fm_recipe *fm_recipe_add(fm_arena *a, const fm_recipe *r, const fm_recipe *term);

/* Evaluates the box [start, start + count) to a dense row-major array of type dtype (conversion as ONNX Cast).
 * Reads go to the source in long runs where the layout allows; scratch is bounded by a few MiB beyond the box. */
flashmem_status fm_recipe_read(const fm_recipe *r, const int64_t *start, const int64_t *count, flashmem_dtype dtype,
                               void *to, flashmem_error *err);
/* The same to a strided array: element (i0, i1, ...) of the box goes to to[sum(i * strides)]. */
flashmem_status fm_recipe_read_strided(const fm_recipe *r, const int64_t *start, const int64_t *count,
                                       flashmem_dtype dtype, void *to, const int64_t *strides, flashmem_error *err);
/* Axes of r, outermost in its (first) source first: reading boxes that are whole in the last ones makes long runs. */
void fm_recipe_source_order(const fm_recipe *r, uint32_t *order);
/* The whole array; refuses above FM_READ_ALL_LIMIT bytes (INTERNAL: callers check first). */
flashmem_status fm_recipe_read_all(const fm_recipe *r, flashmem_dtype dtype, void *to, flashmem_error *err);
/* Direct pointer when the recipe is a dense array in memory of its own dtype, else NULL. */
const void *fm_recipe_data(const fm_recipe *r);

#define FM_READ_ALL_LIMIT (16u << 20)
#define FM_FOLD_LIMIT (1u << 20) /* bytes: folding never materialises more */

#endif
