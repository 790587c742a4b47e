/* Grouped and transposed convolution, reference rows: one output per work-item, any strides of x and out.
 *
 * conv_group:     W dense float32 [kernel_h][kernel_w][C / group][O].
 * conv_transpose: W dense float32 [C][O / group][kernel_h][kernel_w]; an input pixel (ih, iw) adds to output pixel
 *                 (ih * stride_h - pad_top + kh * dilation_h, iw alike).
 * group_in, group_out: channels of a group.  Option: ACTIVATION.  Global size: O, N * OH * OW. */
#include "epilogue.clh"

#define PARAMS                                                                                                         \
    __global const float *x, __global const float *weight, __global float *out, const int x_offset, const int x_n,     \
        const int x_h, const int x_w, const int x_c, const int in_h, const int in_w, const int in_c,                   \
        const int out_offset, const int out_n, const int out_h, const int out_w, const int out_c, const int size_h,    \
        const int size_w, const int size_c, const int kernel_h, const int kernel_w, const int stride_h,                \
        const int stride_w, const int dilation_h, const int dilation_w, const int pad_top, const int pad_left,         \
        const int group_in, const int group_out, FM_EPILOGUE_PARAMS

__kernel void conv_group(PARAMS) {
    const int o = (int)get_global_id(0), row = (int)get_global_id(1);
    const int ow = row % size_w, oh = row / size_w % size_h, n = row / size_w / size_h;
    const int first_c = o / group_out * group_in;
    float     sum = 0.0f;
    for (int kh = 0; kh < kernel_h; kh++) {
        const int ih = oh * stride_h - pad_top + kh * dilation_h;
        for (int kw = 0; kw < kernel_w; kw++) {
            const int iw = ow * stride_w - pad_left + kw * dilation_w;
            if (ih < 0 || ih >= in_h || iw < 0 || iw >= in_w) continue;
            for (int c = 0; c < group_in; c++)
                sum += x[x_offset + n * x_n + ih * x_h + iw * x_w + (first_c + c) * x_c] *
                       weight[((kh * kernel_w + kw) * group_in + c) * size_c + o];
        }
    }
    out[out_offset + n * out_n + oh * out_h + ow * out_w + o * out_c] = FM_EPILOGUE(sum, n, oh, ow, o);
}

__kernel void conv_transpose(PARAMS) {
    const int o = (int)get_global_id(0), row = (int)get_global_id(1);
    const int ow = row % size_w, oh = row / size_w % size_h, n = row / size_w / size_h;
    const int first_c = o / group_out * group_in, lane = o % group_out;
    float     sum = 0.0f;
    for (int kh = 0; kh < kernel_h; kh++) {
        const int above = oh + pad_top - kh * dilation_h, ih = above / stride_h;
        if (above < 0 || above % stride_h != 0 || ih >= in_h) continue;
        for (int kw = 0; kw < kernel_w; kw++) {
            const int left = ow + pad_left - kw * dilation_w, iw = left / stride_w;
            if (left < 0 || left % stride_w != 0 || iw >= in_w) continue;
            for (int c = first_c; c < first_c + group_in; c++)
                sum += x[x_offset + n * x_n + ih * x_h + iw * x_w + c * x_c] *
                       weight[((c * group_out + lane) * kernel_h + kh) * kernel_w + kw];
        }
    }
    out[out_offset + n * out_n + oh * out_h + ow * out_w + o * out_c] = FM_EPILOGUE(sum, n, oh, ow, o);
}
