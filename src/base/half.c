/* binary16 conversion by integer arithmetic, and array forms that use F16C where the CPU has it. */
#include "base/half.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_F16C_PATH 1
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdbool.h>
#endif

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* value >> shift, to nearest, ties to even; 0 < shift < 32. */
static uint32_t shift_to_nearest_even(uint32_t value, uint32_t shift) {
    uint32_t kept = value >> shift, rest = value & ((1u << shift) - 1u), tie = 1u << (shift - 1u);
    return kept + (rest > tie || (rest == tie && (kept & 1u)));
}

uint16_t fm_half_from_float(float x) {
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t exponent = magnitude >> 23, fraction = magnitude & 0x7fffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | fraction >> 13); /* NaN, quiet, top bits kept */
    if (exponent >= 143) return (uint16_t)(sign | 0x7c00u);                          /* 2^16 and above, infinity */
    if (exponent >= 113) /* normal half; a carry moves into the exponent, at the top into infinity */
        return (uint16_t)(sign | shift_to_nearest_even(magnitude - (112u << 23), 13));
    if (exponent < 102) return (uint16_t)sign; /* below half of the smallest subnormal */
    return (uint16_t)(sign | shift_to_nearest_even(fraction | 0x800000u, 126u - exponent));
}

float fm_float_from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31)
        return float_of(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0u)); /* NaN made quiet */
    if (exponent) return float_of(sign | (exponent + 112u) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* exact */
    return float_of(sign | bits_of(magnitude));
}

#ifdef HAVE_F16C_PATH
__attribute__((target("f16c,avx"))) static size_t half_from_floats_f16c(uint16_t *to, const float *from, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)(to + i), halves);
    }
    return i;
}

__attribute__((target("f16c,avx"))) static size_t floats_from_half_f16c(float *to, const uint16_t *from, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
    }
    return i;
}

/* By cpuid, as clang 14 knows no "f16c"; asked once, as cpuid takes microseconds in a virtual machine. */
static bool have_f16c(void) {
    enum { UNKNOWN, ABSENT, PRESENT };
    static atomic_int known;
    int               answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == UNKNOWN) {
        unsigned eax, ebx, ecx, edx;
        bool     has = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) && __builtin_cpu_supports("avx");
        answer = has ? PRESENT : ABSENT;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == PRESENT;
}
#endif

void fm_half_from_floats(uint16_t *to, const float *from, size_t count) {
    size_t i = 0;
#ifdef HAVE_F16C_PATH
    if (have_f16c()) i = half_from_floats_f16c(to, from, count);
#endif
    for (; i < count; i++) to[i] = fm_half_from_float(from[i]);
}

void fm_floats_from_half(float *to, const uint16_t *from, size_t count) {
    size_t i = 0;
#ifdef HAVE_F16C_PATH
    if (have_f16c()) i = floats_from_half_f16c(to, from, count);
#endif
    for (; i < count; i++) to[i] = fm_float_from_half(from[i]);
}
