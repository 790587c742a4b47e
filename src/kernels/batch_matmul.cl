/* Reference row of the product of two activations: one output per work-item, any strides.
 *
 *   out[n, h, w, c] = epilogue(sum over k of a[n, h, w, k] * b[n, h, k, c])
 *
 * Option: ACTIVATION.  Global size: size_c, size_w, N * size_h. */
#include "epilogue.clh"

__kernel void batch_matmul(__global const float *a, __global const float *b, __global float *out, const int a_offset,
                           const int a_n, const int a_h, const int a_w, const int a_k, const int b_offset,
                           const int b_n, const int b_h, const int b_k, const int b_c, const int out_offset,
                           const int out_n, const int out_h, const int out_w, const int out_c, const int size_h,
                           const int size_w, const int size_c, const int size_k, FM_EPILOGUE_PARAMS) {
    const int c = (int)get_global_id(0), w = (int)get_global_id(1);
    const int h = (int)get_global_id(2) % size_h, n = (int)get_global_id(2) / size_h;
    float     sum = 0.0f;
    for (int k = 0; k < size_k; k++)
        sum += a[a_offset + n * a_n + h * a_h + w * a_w + k * a_k] *
               b[b_offset + n * b_n + h * b_h + k * b_k + c * b_c];
    out[out_offset + n * out_n + h * out_h + w * out_w + c * out_c] = FM_EPILOGUE(sum, n, h, w, c);
}
