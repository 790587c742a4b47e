/* binary16 conversion against a reference in double arithmetic, over every half and every rounding boundary. */
#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "tests/base/cmocka_setup.h"

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

/* Definition of binary16, for finite ones. */
static double reference_value(uint16_t h) {
    int    exponent = h >> 10 & 31, fraction = h & 1023;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* Rounds |x| to a multiple of the half spacing at its size with rint, in double, where every step is exact. */
static uint16_t reference_half(float x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return (uint16_t)(sign | 0x7e00 | (bits_of(x) >> 13 & 0x1ff));
    double magnitude = fabs((double)x);
    if (magnitude >= 65520.0) return sign | 0x7c00;
    int exponent;
    frexp(magnitude, &exponent);
    exponent = magnitude == 0.0 || exponent - 1 < -14 ? -14 : exponent - 1;
    long multiple = (long)rint(ldexp(magnitude, 10 - exponent)); /* 0 .. 2048 */
    return (uint16_t)(sign | (((exponent + 14) << 10) + multiple));
}

static void check(float x) {
    uint16_t got = fm_half_from_float(x), expected = reference_half(x);
    if (got != expected) fail_msg("%a (0x%08x): half 0x%04x, reference 0x%04x", (double)x, bits_of(x), got, expected);
}

static void test_float_from_half__all_65536(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float got = fm_float_from_half((uint16_t)h);
        assert_int_equal(signbit(got) != 0, h >> 15);
        if ((h & 0x7fff) > 0x7c00) assert_true(isnan(got));
        else if ((h & 0x7fff) == 0x7c00) assert_true(isinf(got));
        else assert_true((double)got == reference_value((uint16_t)h));
    }
}

static void test_half_from_float__inverts_all_65536(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t quiet = (h & 0x7fff) > 0x7c00 ? h | 0x200 : h;
        assert_int_equal(fm_half_from_float(fm_float_from_half((uint16_t)h)), quiet);
    }
}

/* Around every tie between neighbouring halves, to infinity included: the tie, and the floats beside it. */
static void test_half_from_float__every_tie(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double below = reference_value((uint16_t)h), above = h == 0x7bff ? 65536.0 : reference_value((uint16_t)(h + 1));
        float  tie = (float)((below + above) / 2);
        for (int sign = -1; sign <= 1; sign += 2) {
            check((float)sign * tie);
            check((float)sign * nextafterf(tie, 0.0f));
            check((float)sign * nextafterf(tie, INFINITY));
            check((float)sign * nextafterf((float)below, INFINITY));
        }
    }
}

static void test_half_from_float__spread_over_all_floats(void **state) {
    (void)state;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 509) check(float_of((uint32_t)bits));
    const float named[] = { 0.0f,     -0.0f,        INFINITY, -INFINITY,  65504.0f,        65519.996f,
                            65520.0f, 0x1p-24f,     0x1p-25f, 0x1.8p-24f, 0x1.000002p-25f, 1e-45f,
                            3.4e38f,  0x1.ffcp-15f, 1.0f,     0x1.002p0f, 0x1.006p0f,      -0x1.002002p0f };
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) check(named[i]);
}

/* The vector path and its scalar tail give the scalar's bits, at every length and misalignment. */
static void test_arrays__equal_scalars(void **state) {
    (void)state;
    enum { COUNT = 1 << 16 };
    float    *floats = malloc((COUNT + 1) * sizeof *floats), *back = malloc((COUNT + 1) * sizeof *back);
    uint16_t *halves = malloc((COUNT + 1) * sizeof *halves);
    uint32_t  random = 1;
    for (size_t i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        floats[i] = float_of(i % 3 ? random : (random & 0x8fffffffu) | 0x30000000u);
        halves[i] = (uint16_t)i;
    }
    fm_floats_from_half(back + 1, halves, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(bits_of(back[i + 1]), bits_of(fm_float_from_half((uint16_t)i)));
    fm_half_from_floats(halves + 1, floats, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(halves[i + 1], fm_half_from_float(floats[i]));
    for (size_t length = 0; length < 40; length++) {
        memset(halves, 0xee, 48 * sizeof *halves);
        fm_half_from_floats(halves + 1, floats + 3, length);
        assert_int_equal(halves[length + 1], 0xeeee);
        for (size_t i = 0; i < length; i++) assert_int_equal(halves[i + 1], fm_half_from_float(floats[i + 3]));
    }
    free(floats);
    free(back);
    free(halves);
}

static void test_bf16__is_the_upper_half_of_a_float(void **state) {
    (void)state;
    assert_true(fm_float_from_bf16(0x3f80) == 1.0f);
    assert_true(fm_float_from_bf16(0xc040) == -3.0f);
    assert_true(isinf(fm_float_from_bf16(0x7f80)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_from_half__all_65536),
        cmocka_unit_test(test_half_from_float__inverts_all_65536),
        cmocka_unit_test(test_half_from_float__every_tie),
        cmocka_unit_test(test_half_from_float__spread_over_all_floats),
        cmocka_unit_test(test_arrays__equal_scalars),
        cmocka_unit_test(test_bf16__is_the_upper_half_of_a_float),
    };
    return fesetround(FE_TONEAREST) || cmocka_run_group_tests(tests, NULL, NULL);
}
