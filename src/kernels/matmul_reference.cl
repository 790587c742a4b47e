/* Reference row of matmul and convolution (group 1): one output per work-item, any strides.
 *
 *   out[n, oh, ow, o] = epilogue(sum over kh, kw, c of x[n, ih, iw, c] * W[(kh * kernel_w + kw) * C + c, o])
 *   ih = oh * stride_h - pad_top + kh * dilation_h, iw alike; taps outside the input count nothing.
 *
 * A matmul [B, M, K] is n = 1, h = B, w = M, c = K with a 1x1 kernel.
 * Options: TEXTURE (W is an image: texel (k, panel) = 4 columns) or 16-column panels, WEIGHT_HALF, ACTIVATION.
 * Global size: panels * columns of a panel, N * OH * OW. */
#include "epilogue.clh"

#ifdef TEXTURE
#define COLUMNS 4
#define WEIGHT_PARAM __read_only image2d_t weight
__constant sampler_t texel = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
static float weight_at(__read_only image2d_t weight, int panel_stride, int panel, int k, int lane) {
    const float4 t = read_imagef(weight, texel, (int2)(k, panel));
    return lane == 0 ? t.x : lane == 1 ? t.y : lane == 2 ? t.z : t.w;
}
#else
#define COLUMNS 16
#ifdef WEIGHT_HALF
#define WEIGHT_PARAM __global const half *weight
#define WEIGHT_AT(i) vload_half((i), weight)
#else
#define WEIGHT_PARAM __global const float *weight
#define WEIGHT_AT(i) weight[i]
#endif
static float weight_at(WEIGHT_PARAM, int panel_stride, int panel, int k, int lane) {
    return WEIGHT_AT((size_t)panel * panel_stride + k * COLUMNS + lane);
}
#endif

__kernel void matmul_reference(__global const float *x, WEIGHT_PARAM, __global float *out,
                               const int x_offset, const int x_n, const int x_h, const int x_w, const int x_c,
                               const int in_h, const int in_w, const int in_c, const int out_offset, const int out_n,
                               const int out_h, const int out_w, const int out_c, const int size_h, const int size_w,
                               const int size_c, const int kernel_h, const int kernel_w, const int stride_h,
                               const int stride_w, const int dilation_h, const int dilation_w, const int pad_top,
                               const int pad_left, const int panel_stride, FM_EPILOGUE_PARAMS, const int first_panel,
                               const int panels) {
    const int panel = (int)get_global_id(0) / COLUMNS, lane = (int)get_global_id(0) % COLUMNS;
    const int o = (first_panel + panel) * COLUMNS + lane, row = (int)get_global_id(1);
    const int ow = row % size_w, oh = row / size_w % size_h, n = row / size_w / size_h;
    float     sum = 0.0f;
    if (panel >= panels || o >= size_c) return;
    for (int kh = 0; kh < kernel_h; kh++) {
        const int ih = oh * stride_h - pad_top + kh * dilation_h;
        for (int kw = 0; kw < kernel_w; kw++) {
            const int iw = ow * stride_w - pad_left + kw * dilation_w;
            if (ih < 0 || ih >= in_h || iw < 0 || iw >= in_w) continue;
            for (int c = 0; c < in_c; c++)
                sum += x[x_offset + n * x_n + ih * x_h + iw * x_w + c * x_c] *
                       weight_at(weight, panel_stride, panel, (kh * kernel_w + kw) * in_c + c, lane);
        }
    }
    out[out_offset + n * out_n + oh * out_h + ow * out_w + o * out_c] = FM_EPILOGUE(sum, n, oh, ow, o);
}
