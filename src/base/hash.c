/* XXH3-64, compiled into this unit so that the library needs no libxxhash at run time. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fm_hash(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }

uint64_t fm_hash_seeded(const void *data, size_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(data, bytes, seed);
}
