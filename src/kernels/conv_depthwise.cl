/* CPU row of depthwise convolution (group = C = O), x's channels contiguous; W dense float32 [kernel_h][kernel_w][C].
 *
 * A work-item computes 16 channels of one output row (n, oh).  Arguments as in conv_group.cl.
 * Option: ACTIVATION.  Global size: blocks of 16 channels, N * OH; local size 1. */
#include "epilogue.clh"

/* Up to 16 channels; zeros beyond count. */
static float16 load_channels(__global const float *from, const int count) {
    float lanes[16];
    if (count == 16) return vload16(0, from);
    FM_PLAIN_LOOP for (int i = 0; i < 16; i++) lanes[i] = i < count ? from[i] : 0.0f;
    return vload16(0, lanes);
}

__kernel void conv_depthwise(__global const float *x, __global const float *weight, __global float *out,
                             const int x_offset, const int x_n, const int x_h, const int x_w, const int x_c,
                             const int in_h, const int in_w, const int in_c, const int out_offset, const int out_n,
                             const int out_h, const int out_w, const int out_c, const int size_h, const int size_w,
                             const int size_c, const int kernel_h, const int kernel_w, const int stride_h,
                             const int stride_w, const int dilation_h, const int dilation_w, const int pad_top,
                             const int pad_left, const int group_in, const int group_out, FM_EPILOGUE_PARAMS) {
    const int c = (int)get_global_id(0) * 16, count = min(16, size_c - c);
    const int oh = (int)get_global_id(1) % size_h, n = (int)get_global_id(1) / size_h;
    for (int ow = 0; ow < size_w; ow++) {
        float16 sum = (float16)(0.0f);
        for (int kh = 0; kh < kernel_h; kh++) {
            const int ih = oh * stride_h - pad_top + kh * dilation_h;
            if (ih < 0 || ih >= in_h) continue;
            for (int kw = 0; kw < kernel_w; kw++) {
                const int iw = ow * stride_w - pad_left + kw * dilation_w;
                if (iw < 0 || iw >= in_w) continue;
                sum += load_channels(x + (x_offset + n * x_n + ih * x_h + iw * x_w + c), count) *
                       load_channels(weight + ((kh * kernel_w + kw) * size_c + c), count);
            }
        }
        fm_epilogue_row(&sum, out, out_offset + n * out_n + oh * out_h + ow * out_w, out_c, n, oh, ow, c, count,
                        FM_EPILOGUE_ARGS);
    }
}
