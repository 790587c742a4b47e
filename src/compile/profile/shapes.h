/* Shapes of the zoo's models, one operation each: what device profiles are measured on and kernels are tuned with.
 * Who may include: compile, bench, tests. */
#ifndef FM_COMPILE_PROFILE_SHAPES_H
#define FM_COMPILE_PROFILE_SHAPES_H

#include "kernels/rows.h"

/* size, by family:
 *   matmul        M, K, N                    batch_matmul  B, M, K, N, b transposed
 *   conv          C, H, O, kernel, stride, pad, x channels-first, group
 *   attention     heads, S, T, D             norm          rows, C, RMS
 *   group_norm    groups, C, pixels          softmax       rows, C
 *   reduce        rows, C, over the first    pool          C, H, kernel, stride
 *   elementwise   rows, C, expression        gather        table rows, C, indices */
typedef enum fm_shape_level { /* each is part of those before it */
    FM_SHAPES_FULL,
    FM_SHAPES_BRIEF, /* of a short profile */
    FM_SHAPES_PROBE  /* one or two of a family: how fast is this device? */
} fm_shape_level;

typedef struct fm_shape_row {
    const char    *model, *name; /* name: unique */
    fm_family      family;
    int64_t        size[8];
    fm_shape_level level;
} fm_shape_row;

extern const fm_shape_row fm_shape_rows[];
extern const uint32_t     fm_shape_row_count;

typedef union fm_shape_desc {
    fm_matmul_desc       matmul;
    fm_conv_desc         conv;
    fm_batch_matmul_desc batch;
    fm_attention_desc    attention;
    fm_norm_desc         norm;
    fm_group_norm_desc   group_norm;
    fm_softmax_desc      softmax;
    fm_reduce_desc       reduce;
    fm_pool_desc         pool;
    fm_elementwise_desc  elementwise;
    fm_gather_desc       gather;
} fm_shape_desc;

/* Who describes a shape says where its operands are. */
typedef struct fm_shape_maker {
    void *user;
    /* A float32 activation; axes: memory order, outermost first. */
    fm_view (*activation)(void *user, const int64_t *dims, uint32_t rank, const uint32_t *axes, bool written);
    /* A PANELS weight [k, n]. */
    flashmem_status (*panels)(void *user, int64_t k, int64_t n, uint32_t *value, flashmem_error *err);
    /* A dense float32 weight of count elements. */
    flashmem_status (*dense)(void *user, int64_t count, fm_view *out, flashmem_error *err);
    /* count int64 values below limit. */
    fm_view (*indices)(void *user, int64_t count, int64_t limit);
} fm_shape_maker;

/* The shape as its family's description. */
flashmem_status fm_shape_describe(const fm_shape_row *shape, const fm_shape_maker *maker, fm_shape_desc *out,
                                  flashmem_error *err);
/* Of the shapes of at least this level that cost more than 0 and at most `each`, family by family in turn and the
 * cheapest first, as many as `total` allows.  cost, chosen: per shape. */
void fm_shapes_choose(const double *cost, fm_shape_level level, double each, double total, bool *chosen);
/* Floating-point operations of a matmul, conv or batch_matmul shape; 0 of others. */
double fm_shape_flops(const fm_shape_row *shape);

#endif
