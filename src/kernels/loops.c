/* One line per __kernel of *.cl; a test compares this table with the sources. */
#include "kernels/loops.h"

#include <stddef.h>
#include <string.h>

const fm_loops fm_loops_table[] = {
    { "matmul_reference", FM_LOOPS_REDUCE, 1, 1 },
    { "matmul_texture", FM_LOOPS_REDUCE, 8, 4 },
    { "matmul_cpu", FM_LOOPS_BLOCKED, 24, 256 },
    { "batch_matmul", FM_LOOPS_REDUCE, 1, 1 },
    { "batch_matmul_cpu", FM_LOOPS_BLOCKED, 24, 64 },
    { "conv_channels", FM_LOOPS_RUN, 1, 16 },
    { "conv_depthwise", FM_LOOPS_REDUCE, 1, 16 },
    { "conv_group", FM_LOOPS_REDUCE, 1, 1 },
    { "conv_transpose", FM_LOOPS_REDUCE, 1, 1 },
    { "attention", FM_LOOPS_STREAM, 1, 1 },
    { "attention_cpu", FM_LOOPS_STREAM, 32, 8 },
    { "elementwise", FM_LOOPS_RUN, 1, 16 },
    { "norm", FM_LOOPS_PASSES, 1, 1 },
    { "norm_dense", FM_LOOPS_PASSES, 1, 16 },
    { "group_norm", FM_LOOPS_PASSES, 1, 1 },
    { "group_norm_dense", FM_LOOPS_PASSES, 1, 16 },
    { "group_norm_channels", FM_LOOPS_PASSES, 1, 16 },
    { "softmax", FM_LOOPS_PASSES, 1, 1 },
    { "softmax_dense", FM_LOOPS_PASSES, 1, 16 },
    { "reduce", FM_LOOPS_REDUCE, 1, 1 },
    { "reduce_along", FM_LOOPS_REDUCE, 1, 16 },
    { "reduce_across", FM_LOOPS_REDUCE, 1, 16 },
    { "pool", FM_LOOPS_REDUCE, 1, 1 },
    { "pool_channels", FM_LOOPS_REDUCE, 1, 16 },
    { "pool_lines", FM_LOOPS_REDUCE, 1, 16 },
    { "gather", FM_LOOPS_RUN, 1, 1 },
    { "gather_elements", FM_LOOPS_RUN, 1, 1 },
    { "gather_nd", FM_LOOPS_RUN, 1, 1 },
    { "scatter_nd", FM_LOOPS_SCAN, 1, 1 },
    { "scatter_elements", FM_LOOPS_SCAN, 1, 1 },
    { "pad", FM_LOOPS_RUN, 1, 1 },
    { "cumsum", FM_LOOPS_SCAN, 1, 1 },
    { "top_k", FM_LOOPS_SCAN, 1, 1 },
    { "load", FM_LOOPS_RUN, 1, 1 },
    { "load_strided", FM_LOOPS_RUN, 1, 4 },
    { "load_run", FM_LOOPS_RUN, 1, 4 },
};
const uint32_t fm_loops_count = sizeof fm_loops_table / sizeof *fm_loops_table;

const fm_loops *fm_loops_of(const char *entry) {
    for (uint32_t i = 0; i < fm_loops_count; i++)
        if (strcmp(fm_loops_table[i].entry, entry) == 0) return &fm_loops_table[i];
    return NULL;
}
