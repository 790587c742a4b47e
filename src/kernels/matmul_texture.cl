/* Texture row of matmul and convolution (group 1): W is an image whose texel (k, panel) holds 4 columns of row k.
 *
 * A work-item computes 8 output rows by 4 columns, the arguments' meaning and the sums' order as in
 * matmul_reference.cl.  Rows beyond the last repeat it and are not stored.
 * Option: ACTIVATION.  Global size: panels, ceil(rows / 8). */
#include "epilogue.clh"

#define ROWS 8
#define UNROLL _Pragma("unroll")
__constant sampler_t texel = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;

/* Columns c to c + 3 of row (n, h, w). */
static void finish(const float4 sum, __global float *out, const int to, const int out_c, const int size_c, const int n,
                   const int h, const int w, const int c, FM_EPILOGUE_PARAMS) {
    if (c < size_c) out[to + c * out_c] = FM_EPILOGUE(sum.x, n, h, w, c);
    if (c + 1 < size_c) out[to + (c + 1) * out_c] = FM_EPILOGUE(sum.y, n, h, w, c + 1);
    if (c + 2 < size_c) out[to + (c + 2) * out_c] = FM_EPILOGUE(sum.z, n, h, w, c + 2);
    if (c + 3 < size_c) out[to + (c + 3) * out_c] = FM_EPILOGUE(sum.w, n, h, w, c + 3);
}

__kernel void matmul_texture(__global const float *x, __read_only image2d_t weight, __global float *out,
                             const int x_offset, const int x_n, const int x_h, const int x_w, const int x_c,
                             const int in_h, const int in_w, const int in_c, const int out_offset, const int out_n,
                             const int out_h, const int out_w, const int out_c, const int size_h, const int size_w,
                             const int size_c, const int kernel_h, const int kernel_w, const int stride_h,
                             const int stride_w, const int dilation_h, const int dilation_w, const int pad_top,
                             const int pad_left, FM_EPILOGUE_PARAMS, const int rows, const int first_panel,
                             const int panels) {
    const int panel = (int)get_global_id(0), row0 = (int)get_global_id(1) * ROWS;
    int       n[ROWS], h[ROWS], w[ROWS];
    float4    sum[ROWS];
    if (panel >= panels) return;
    UNROLL for (int r = 0; r < ROWS; r++) {
        const int row = min(row0 + r, rows - 1);
        w[r] = row % size_w;
        h[r] = row / size_w % size_h;
        n[r] = row / size_w / size_h;
        sum[r] = (float4)(0.0f);
    }
    for (int kh = 0; kh < kernel_h; kh++)
        for (int kw = 0; kw < kernel_w; kw++) {
            const int first_k = (kh * kernel_w + kw) * in_c;
            int       from[ROWS], inside[ROWS];
            UNROLL for (int r = 0; r < ROWS; r++) {
                const int ih = h[r] * stride_h - pad_top + kh * dilation_h;
                const int iw = w[r] * stride_w - pad_left + kw * dilation_w;
                inside[r] = ih >= 0 && ih < in_h && iw >= 0 && iw < in_w;
                from[r] = x_offset + (inside[r] ? n[r] * x_n + ih * x_h + iw * x_w : 0);
            }
            for (int c = 0; c < in_c; c++) {
                const float4 t = read_imagef(weight, texel, (int2)(first_k + c, panel));
                UNROLL for (int r = 0; r < ROWS; r++) sum[r] += (inside[r] ? x[from[r] + c * x_c] : 0.0f) * t;
            }
        }
    UNROLL for (int r = 0; r < ROWS; r++)
        if (row0 + r < rows)
            finish(sum[r], out, out_offset + n[r] * out_n + h[r] * out_h + w[r] * out_w, out_c, size_c, n[r], h[r],
                   w[r], (first_panel + panel) * 4, FM_EPILOGUE_ARGS);
}
