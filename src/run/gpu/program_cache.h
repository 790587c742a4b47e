/* Built programs on disk: one file per device, holding binaries of all programs of all models that ran there.
 *
 *     header | index: key, binary's place, checksum | binaries, each preceded by the launch shapes it was used with
 *
 * Opening reads header and index; binaries are read when asked for.  Damage of any kind is a miss with a log line.
 * Who may include: run, tests. */
#ifndef FM_RUN_PROGRAM_CACHE_H
#define FM_RUN_PROGRAM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

typedef struct fm_program_cache fm_program_cache;

enum { FM_CACHE_SHAPES = 64, FM_CACHE_PROGRAMS = 1024 };

/* What a program was launched with: hashes of entry, local sizes and grid class, which some drivers compile for.
 * Sorted, distinct. */
typedef struct fm_launch_shapes {
    uint32_t count;
    uint64_t hashes[FM_CACHE_SHAPES];
} fm_launch_shapes;
/* False: it was there, or there is no room. */
bool fm_launch_shapes_add(fm_launch_shapes *shapes, uint64_t hash);
bool fm_launch_shapes_cover(const fm_launch_shapes *have, const fm_launch_shapes *wanted);

/* folder "": a cache that never hits.  device: hash of platform, device, driver and engine version.  NULL only without
 * memory. */
fm_program_cache *fm_program_cache_open(const char *folder, uint64_t device, const fm_log *log);
void              fm_program_cache_close(fm_program_cache *cache);

/* malloc'd binary, or NULL.  shapes gets what it was launched with. */
void *fm_program_cache_find(fm_program_cache *cache, uint64_t key, size_t *bytes, fm_launch_shapes *shapes);
/* A found binary that the driver refused. */
void fm_program_cache_reject(fm_program_cache *cache, uint64_t key, const char *reason);

typedef struct fm_cached_program {
    uint64_t         key;
    const void      *binary;
    size_t           bytes;
    fm_launch_shapes shapes;
} fm_cached_program;
/* Writes the file anew: these programs, and what else it held (up to FM_CACHE_PROGRAMS); a failure is a log line. */
void fm_program_cache_save(fm_program_cache *cache, const fm_cached_program *programs, uint32_t count);

#endif
