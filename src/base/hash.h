/* XXH3-64 over memory (xxHash, inlined).  Anyone may include. */
#ifndef FM_BASE_HASH_H
#define FM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t fm_hash(const void *data, size_t bytes);
uint64_t fm_hash_seeded(const void *data, size_t bytes, uint64_t seed); /* chain parts of a key */

#endif
