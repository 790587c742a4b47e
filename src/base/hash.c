/* XXH3-64, compiled into this unit so that the library needs no libxxhash at run time. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
enum { LONG_INPUT = 1024 };
uint64_t fm_hash_avx2(const void *data, size_t bytes);   /* hash_avx2.c */
uint64_t fm_hash_avx512(const void *data, size_t bytes); /* hash_avx512.c */

uint64_t fm_hash(const void *data, size_t bytes) {
    if (bytes >= LONG_INPUT && __builtin_cpu_supports("avx512f")) return fm_hash_avx512(data, bytes);
    if (bytes >= LONG_INPUT && __builtin_cpu_supports("avx2")) return fm_hash_avx2(data, bytes);
    return XXH3_64bits(data, bytes);
}
#else
uint64_t fm_hash(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }
#endif

uint64_t fm_hash_seeded(const void *data, size_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(data, bytes, seed);
}
