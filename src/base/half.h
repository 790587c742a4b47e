/* IEEE binary16 and bfloat16 conversion, round to nearest even; infinities and NaN kept.  Anyone may include. */
#ifndef FM_BASE_HALF_H
#define FM_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

uint16_t fm_half_from_float(float x);
float    fm_float_from_half(uint16_t h);
static inline float fm_float_from_bf16(uint16_t b) {
    union { uint32_t u; float f; } v = { (uint32_t)b << 16 };
    return v.f;
}
/* Arrays; uses F16C when the build machine's compiler and the CPU have it. */
void fm_half_from_floats(uint16_t *to, const float *from, size_t count);
void fm_floats_from_half(float *to, const uint16_t *from, size_t count);

#endif
