/* Element types, shapes and strided views: the vocabulary of graph, program and kernels.  Anyone above base. */
#ifndef FM_CONTRACT_TENSOR_H
#define FM_CONTRACT_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flashmem/status.h"

#define FM_MAX_RANK FLASHMEM_MAX_RANK

/* Bytes of one element, 0 for an unknown type. */
static inline uint32_t fm_dtype_bytes(flashmem_dtype t) {
    switch (t) {
    case FLASHMEM_U8: case FLASHMEM_I8: case FLASHMEM_BOOL: return 1;
    case FLASHMEM_U16: case FLASHMEM_I16: case FLASHMEM_F16: case FLASHMEM_BF16: return 2;
    case FLASHMEM_F32: case FLASHMEM_I32: case FLASHMEM_U32: return 4;
    case FLASHMEM_I64: case FLASHMEM_U64: case FLASHMEM_F64: return 8;
    }
    return 0;
}
static inline bool fm_dtype_is_float(flashmem_dtype t) {
    return t == FLASHMEM_F32 || t == FLASHMEM_F16 || t == FLASHMEM_F64 || t == FLASHMEM_BF16;
}
const char *fm_dtype_name(flashmem_dtype t); /* "float32", "int64", ... */

typedef struct fm_shape {
    uint32_t rank;              /* 0: scalar */
    int64_t  dims[FM_MAX_RANK]; /* >= 0 */
} fm_shape;

/* Product of the dims; 1 for a scalar; -1 on overflow of int64. */
int64_t fm_shape_count(const fm_shape *shape);
bool    fm_shape_equal(const fm_shape *a, const fm_shape *b);
/* "2x3x4", "scalar"; returns buffer. */
const char *fm_shape_print(const fm_shape *shape, char *buffer, size_t bytes);
/* Numpy broadcasting; false if the shapes do not fit each other. */
bool fm_shape_broadcast(const fm_shape *a, const fm_shape *b, fm_shape *out);

/* A strided window into a value.  Element (i0, i1, ...) lies at offset + sum(i * stride), in elements.  Strides may be
 * 0 (broadcast) or negative (reversed). */
typedef struct fm_view {
    uint32_t       value; /* index into the program's value table */
    flashmem_dtype dtype;
    fm_shape       shape;
    int64_t        strides[FM_MAX_RANK]; /* elements */
    int64_t        offset;               /* elements from the value's first */
} fm_view;

/* Row-major dense strides of shape. */
void    fm_view_dense(fm_view *view, uint32_t value, flashmem_dtype dtype, const fm_shape *shape);
bool    fm_view_is_dense(const fm_view *view); /* row-major, dims of 1 ignored */
/* Transpose, broadcast (numpy rules), slice (start, step, count per axis), insert/remove unit axes: never fail on
 * arguments that shape inference accepted. */
fm_view fm_view_permute(const fm_view *view, const uint32_t *permutation);
fm_view fm_view_broadcast(const fm_view *view, const fm_shape *shape);
fm_view fm_view_slice(const fm_view *view, uint32_t axis, int64_t start, int64_t step, int64_t count);
/* Same elements in row-major order under another shape, when strides can express it; false otherwise. */
bool    fm_view_reshape(const fm_view *view, const fm_shape *shape, fm_view *out);
/* Merges neighbouring axes of count views of the same shape wherever all of them allow, drops unit axes; rank >= 1
 * results.  What kernels with a fixed number of loop axes need. */
void    fm_views_collapse(fm_view *views, uint32_t count);

#endif
