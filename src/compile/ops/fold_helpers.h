/* Host evaluation of small typed arrays, for the operators' fold functions.  Elements are handled as double or int64
 * and stored with the rounding or wrapping of the array's own type.  Memory is the graph's arena.
 * Who may include: compile. */
#ifndef FM_COMPILE_OPS_FOLD_HELPERS_H
#define FM_COMPILE_OPS_FOLD_HELPERS_H

#include "compile/graph/graph.h"

/* Dense, row-major. */
typedef struct fm_array {
    flashmem_dtype dtype;
    fm_shape       shape;
    int64_t        count;
    void          *data;
} fm_array;

/* Is an array of this size one that folding may materialise (FM_FOLD_LIMIT)? */
bool fm_fold_fits(flashmem_dtype dtype, const fm_shape *shape);
bool fm_fold_tensor_fits(const fm_tensor *t);

/* The elements of a constant that fits; NULL (absent) gives count 0. */
flashmem_status fm_fold_load(fm_graph *g, const fm_tensor *t, fm_array *out, flashmem_error *err);
/* Zeroed. */
fm_array fm_fold_new(fm_graph *g, flashmem_dtype dtype, const fm_shape *shape);
/* Makes t the constant `a`; type and shape must be t's. */
void fm_fold_store(fm_graph *g, fm_tensor *t, const fm_array *a);
/* Makes t the constant r: tiny ones are evaluated at once, larger ones stay recipes. */
flashmem_status fm_fold_recipe(fm_graph *g, fm_tensor *t, const fm_recipe *r, flashmem_error *err);

double  fm_array_double(const fm_array *a, int64_t i);
int64_t fm_array_int(const fm_array *a, int64_t i); /* uint64 wraps; floats truncate */
void    fm_array_set_double(const fm_array *a, int64_t i, double value);
void    fm_array_set_int(const fm_array *a, int64_t i, int64_t value); /* bool: != 0 */
void    fm_array_copy(const fm_array *to, int64_t i, const fm_array *from, int64_t j); /* equal types */

/* Walks the elements of a shape in row-major order, with the offset of each of several broadcast or permuted arrays:
 *     fm_walk_init(&w, &shape), fm_walk_add(&w, &a.shape);
 *     for (; !w.done; fm_walk_next(&w)) use(w.offsets[0]); */
#define FM_WALK_ARRAYS 4
typedef struct fm_walk {
    fm_shape shape;
    uint32_t arrays;
    int64_t  strides[FM_WALK_ARRAYS][FM_MAX_RANK];
    int64_t  index[FM_MAX_RANK], offsets[FM_WALK_ARRAYS];
    bool     done;
} fm_walk;
void fm_walk_init(fm_walk *w, const fm_shape *shape);
void fm_walk_add(fm_walk *w, const fm_shape *shape);       /* a dense array that broadcasts to the walk's shape */
void fm_walk_add_strides(fm_walk *w, const int64_t *strides); /* any strides, one per axis of the walk */
void fm_walk_next(fm_walk *w);

/* Row-major dense strides. */
void fm_dense_strides(const fm_shape *shape, int64_t *strides);

#endif
