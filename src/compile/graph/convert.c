/* Conversion in two moves over short blocks: load to the widest type of the class (double, int64, uint64), then store
 * from it.  Pairs that weights use (float32 and float16) have straight loops. */
#include "compile/graph/convert.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/half.h"

enum { BLOCK = 256 };

typedef enum wide_class { WIDE_DOUBLE, WIDE_SIGNED, WIDE_UNSIGNED } wide_class;
typedef union wide_block {
    double   d[BLOCK];
    int64_t  i[BLOCK];
    uint64_t u[BLOCK];
} wide_block;

/* Rounds to odd: what is inexact gets its last bit set, so that a second rounding to fewer bits is as if it were the
 * only one (float has more than two bits beyond half's and bfloat16's). */
static float float_to_odd(double x) {
    float f = (float)x;
    if ((double)f == x || isnan(x)) return f;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (fabs((double)f) > fabs(x)) bits--;
    bits |= 1u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t half_from_double(double x) { return fm_half_from_float(float_to_odd(x)); }

static uint16_t bf16_from_double(double x) {
    float    f = float_to_odd(x);
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f)) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static double clamp_whole(double x, double low, double high) {
    if (isnan(x)) return 0;
    x = trunc(x);
    return x < low ? low : x > high ? high : x;
}

/* 2^63 and 2^64 are doubles, their predecessors are not: saturate by comparison. */
static int64_t int64_from_double(double x) {
    if (isnan(x)) return 0;
    if (x >= 0x1p63) return INT64_MAX;
    return x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

static uint64_t uint64_from_double(double x) {
    if (isnan(x) || x <= 0) return 0;
    return x >= 0x1p64 ? UINT64_MAX : (uint64_t)x;
}

static wide_class load(wide_block *w, const void *from, flashmem_dtype t, size_t n) {
#define LOAD(type, member, expression)                 \
    for (size_t k = 0; k < n; k++) {                   \
        type v;                                        \
        memcpy(&v, (const type *)from + k, sizeof v);  \
        w->member[k] = (expression);                   \
    }                                                  \
    break
    switch (t) {
    case FLASHMEM_F32: LOAD(float, d, v);
    case FLASHMEM_F64: LOAD(double, d, v);
    case FLASHMEM_F16: LOAD(uint16_t, d, fm_float_from_half(v));
    case FLASHMEM_BF16: LOAD(uint16_t, d, fm_float_from_bf16(v));
    case FLASHMEM_U8: LOAD(uint8_t, i, v);
    case FLASHMEM_I8: LOAD(int8_t, i, v);
    case FLASHMEM_U16: LOAD(uint16_t, i, v);
    case FLASHMEM_I16: LOAD(int16_t, i, v);
    case FLASHMEM_I32: LOAD(int32_t, i, v);
    case FLASHMEM_U32: LOAD(uint32_t, i, v);
    case FLASHMEM_I64: LOAD(int64_t, i, v);
    case FLASHMEM_BOOL: LOAD(uint8_t, i, v != 0);
    case FLASHMEM_U64: LOAD(uint64_t, u, v);
    }
#undef LOAD
    return fm_dtype_is_float(t) ? WIDE_DOUBLE : t == FLASHMEM_U64 ? WIDE_UNSIGNED : WIDE_SIGNED;
}

#define STORE(type, expression)                    \
    for (size_t k = 0; k < n; k++) {               \
        type v = (type)(expression);               \
        memcpy((type *)to + k, &v, sizeof v);      \
    }                                              \
    break

static void store_doubles(void *to, flashmem_dtype t, const double *d, size_t n) {
    switch (t) {
    case FLASHMEM_F32: STORE(float, d[k]);
    case FLASHMEM_F64: STORE(double, d[k]);
    case FLASHMEM_F16: STORE(uint16_t, half_from_double(d[k]));
    case FLASHMEM_BF16: STORE(uint16_t, bf16_from_double(d[k]));
    case FLASHMEM_U8: STORE(uint8_t, clamp_whole(d[k], 0, UINT8_MAX));
    case FLASHMEM_I8: STORE(int8_t, clamp_whole(d[k], INT8_MIN, INT8_MAX));
    case FLASHMEM_U16: STORE(uint16_t, clamp_whole(d[k], 0, UINT16_MAX));
    case FLASHMEM_I16: STORE(int16_t, clamp_whole(d[k], INT16_MIN, INT16_MAX));
    case FLASHMEM_I32: STORE(int32_t, clamp_whole(d[k], INT32_MIN, INT32_MAX));
    case FLASHMEM_U32: STORE(uint32_t, clamp_whole(d[k], 0, UINT32_MAX));
    case FLASHMEM_I64: STORE(int64_t, int64_from_double(d[k]));
    case FLASHMEM_U64: STORE(uint64_t, uint64_from_double(d[k]));
    case FLASHMEM_BOOL: STORE(uint8_t, d[k] != 0);
    }
}

/* Integers wrap into narrower integers, as C and numpy do. */
#define STORE_INTEGERS(name, type)                                            \
    static void name(void *to, flashmem_dtype t, const type *x, size_t n) {   \
        switch (t) {                                                          \
        case FLASHMEM_F32: STORE(float, x[k]);                                \
        case FLASHMEM_F64: STORE(double, x[k]);                               \
        case FLASHMEM_F16: STORE(uint16_t, half_from_double((double)x[k]));   \
        case FLASHMEM_BF16: STORE(uint16_t, bf16_from_double((double)x[k]));  \
        case FLASHMEM_U8: STORE(uint8_t, x[k]);                               \
        case FLASHMEM_I8: STORE(int8_t, x[k]);                                \
        case FLASHMEM_U16: STORE(uint16_t, x[k]);                             \
        case FLASHMEM_I16: STORE(int16_t, x[k]);                              \
        case FLASHMEM_I32: STORE(int32_t, x[k]);                              \
        case FLASHMEM_U32: STORE(uint32_t, x[k]);                             \
        case FLASHMEM_I64: STORE(int64_t, x[k]);                              \
        case FLASHMEM_U64: STORE(uint64_t, x[k]);                             \
        case FLASHMEM_BOOL: STORE(uint8_t, x[k] != 0);                        \
        }                                                                     \
    }
STORE_INTEGERS(store_signed, int64_t)
STORE_INTEGERS(store_unsigned, uint64_t)
#undef STORE_INTEGERS
#undef STORE

void fm_convert(void *to, flashmem_dtype to_dtype, const void *from, flashmem_dtype from_dtype, size_t count) {
    uint32_t to_bytes = fm_dtype_bytes(to_dtype), from_bytes = fm_dtype_bytes(from_dtype);
    assert(to_bytes && from_bytes);
    if (to_dtype == from_dtype) {
        if (count && to != from) memmove(to, from, count * to_bytes);
        return;
    }
    if (from_dtype == FLASHMEM_F32 && to_dtype == FLASHMEM_F16) {
        fm_half_from_floats(to, from, count);
        return;
    }
    if (from_dtype == FLASHMEM_F16 && to_dtype == FLASHMEM_F32) {
        fm_floats_from_half(to, from, count);
        return;
    }
    wide_block w;
    for (size_t done = 0; done < count; done += BLOCK) {
        size_t n = count - done < BLOCK ? count - done : BLOCK;
        void  *put = (char *)to + done * to_bytes;
        switch (load(&w, (const char *)from + done * from_bytes, from_dtype, n)) {
        case WIDE_DOUBLE: store_doubles(put, to_dtype, w.d, n); break;
        case WIDE_SIGNED: store_signed(put, to_dtype, w.i, n); break;
        case WIDE_UNSIGNED: store_unsigned(put, to_dtype, w.u, n); break;
        }
    }
}

/* Bits of magnitude that hold exactly, and whether a sign does. */
static uint32_t exact_bits(flashmem_dtype t, bool *is_signed) {
    *is_signed = t != FLASHMEM_U8 && t != FLASHMEM_U16 && t != FLASHMEM_U32 && t != FLASHMEM_U64 && t != FLASHMEM_BOOL;
    switch (t) {
    case FLASHMEM_BOOL: return 1;
    case FLASHMEM_U8: case FLASHMEM_BF16: return 8;
    case FLASHMEM_I8: return 7;
    case FLASHMEM_U16: return 16;
    case FLASHMEM_I16: return 15;
    case FLASHMEM_F16: return 11;
    case FLASHMEM_F32: return 24;
    case FLASHMEM_U32: return 32;
    case FLASHMEM_I32: return 31;
    case FLASHMEM_F64: return 53;
    case FLASHMEM_U64: return 64;
    case FLASHMEM_I64: return 63;
    }
    return 0;
}

bool fm_convert_is_exact(flashmem_dtype from, flashmem_dtype through) {
    if (from == through) return true;
    if (fm_dtype_is_float(from))
        return through == FLASHMEM_F64 || (through == FLASHMEM_F32 && from != FLASHMEM_F64);
    bool     from_signed, through_signed;
    uint32_t from_bits = exact_bits(from, &from_signed), through_bits = exact_bits(through, &through_signed);
    return through != FLASHMEM_BOOL && from_bits <= through_bits && (!from_signed || through_signed);
}
