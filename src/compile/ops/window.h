/* Sliding windows: the attributes that convolutions and pools share.  Who may include: compile/ops. */
#ifndef FM_COMPILE_OPS_WINDOW_H
#define FM_COMPILE_OPS_WINDOW_H

#include "compile/ops/op.h"
#include "contract/tensor.h"

enum { FM_WINDOW_AXES = 3 };

typedef struct fm_window {
    uint32_t axes; /* spatial axes: 1..3 */
    int64_t  kernel[FM_WINDOW_AXES], stride[FM_WINDOW_AXES], dilation[FM_WINDOW_AXES];
    int64_t  begin[FM_WINDOW_AXES], end[FM_WINDOW_AXES]; /* padding */
    bool     ceil;
} fm_window;

/* Reads kernel_shape (or `kernel`, the weight's spatial dims, when given), strides, dilations, pads, auto_pad and
 * ceil_mode; x is the input's shape [N, C, spatial...]. */
flashmem_status fm_window_read(const fm_node *node, const fm_shape *x, const int64_t *kernel, fm_window *out,
                               flashmem_error *err);
/* Output size along one axis. */
int64_t fm_window_output(const fm_window *w, uint32_t axis, int64_t size);
/* As two axes, one spatial axis becoming W of height 1: kernel, stride, dilation, pad (top, left, bottom, right). */
flashmem_status fm_window_2d(const fm_node *node, const fm_window *w, uint32_t kernel[2], uint32_t stride[2],
                             uint32_t dilation[2], int32_t pad[4], flashmem_error *err);
/* A view [N, C, W] as [N, C, 1, W]; rank 4 as it is. */
fm_view fm_window_view(const fm_view *view);

#endif
