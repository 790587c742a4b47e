/* BatchNormalization as a factor and a term per channel.  Who may include: compile. */
#ifndef FM_COMPILE_OPS_CHANNEL_NORM_H
#define FM_COMPILE_OPS_CHANNEL_NORM_H

#include "compile/ops/op.h"

/* y = x * scale[c] + shift[c]; false when a parameter is known only at run time, or cannot be read (err is set). */
bool fm_batch_norm_factors(fm_arena *a, const fm_node *node, float **scale, float **shift, flashmem_error *err);

#endif
