/* What matmul and convolution share: both are a product of gathered rows with packed panels.
 *
 * An output row has coordinates (n, oh, ow), its K inputs are (kh, kw, c) in that order.  A matmul [B, M, K] is n = 1,
 * oh = B, ow = M with a 1x1 kernel.  Every view here is rank 4 with axes [n, h, w, c].
 * Who may include: matmul*.c, conv*.c, batch_matmul.c. */
#ifndef FM_KERNELS_MATMUL_IMPLICIT_H
#define FM_KERNELS_MATMUL_IMPLICIT_H

#include "kernels/rows.h"

typedef struct fm_implicit {
    const char   *name;
    flashmem_cost_class cost_class;
    fm_view       x, out; /* [n, h, w, c] */
    uint32_t      weight; /* value */
    uint32_t      kernel[2], stride[2], dilation[2], group;
    int32_t       pad[2];   /* top, left */
    fm_epilogue   epilogue; /* pre and post [n, h, w, c] */
} fm_implicit;

void fm_implicit_of_matmul(fm_implicit *i, const fm_matmul_desc *d);
void fm_implicit_of_conv(fm_implicit *i, const fm_conv_desc *d);

/* float32 operands whose elements all have int offsets, ranks and shapes that fit each other. */
bool fm_implicit_is_valid(const fm_implicit *i);
/* The packed weight, when it is a PANELS weight of K = kh * kw * c rows and N = out's columns; else NULL. */
const fm_weight *fm_implicit_panels(const fm_emit *e, const fm_implicit *i);

/* Arguments x_offset to pad_left of the kernels, in their order. */
void fm_implicit_args(fm_emit *e, const fm_implicit *i);
/* FM_EPILOGUE_PARAMS; any: a value to pass where an operand is absent. */
void fm_epilogue_args(fm_emit *e, const fm_epilogue *epilogue, uint32_t any);
/* Floating-point operations and activation bytes of the step. */
void fm_implicit_work(fm_emit *e, const fm_implicit *i);
/* Whether all elements of view lie at offsets that fit an int (absent views do). */
bool fm_view_fits_int(const fm_view *view);
/* Gives a view of rank < 4 leading unit axes (absent views stay absent). */
fm_view fm_view_rank4(const fm_view *view);
bool    fm_epilogue_is_valid(const fm_epilogue *epilogue, const fm_view *out);

/* Options "-DACTIVATION=..", then extra ("" for none). */
uint32_t fm_epilogue_kernel(fm_emit *e, const char *source, const char *entry, const fm_epilogue *epilogue,
                            const char *extra, uint32_t needs);

flashmem_status fm_implicit_emit_reference(fm_emit *e, const fm_implicit *i, flashmem_error *err);
/* The texture row: valid wherever the reference is. */
flashmem_status fm_implicit_emit_texture(fm_emit *e, const fm_implicit *i, flashmem_error *err);
/* The CPU row: channels of x contiguous, else a step before copies them so. */
bool            fm_implicit_takes_cpu(const fm_emit *e, const fm_implicit *i);
flashmem_status fm_implicit_emit_cpu(fm_emit *e, const fm_implicit *i, flashmem_error *err);

#endif
