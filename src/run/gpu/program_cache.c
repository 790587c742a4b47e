/* The program cache's file. */
#include "run/gpu/program_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

typedef struct cache_header {
    char     magic[8];
    uint32_t version, count;
    uint64_t device, index_checksum, checksum; /* of this header with checksum 0 */
} cache_header;

typedef struct cache_entry {
    uint64_t key, offset, bytes, checksum; /* shapes and binary */
    uint32_t shape_count, rejected;
} cache_entry;

struct fm_program_cache {
    char          path[4096]; /* empty: no cache */
    char          folder[4096];
    const fm_log *log;
    uint64_t      device;
    int           fd;
    uint64_t      size;
    cache_entry  *entries;
    uint32_t      count;
};

static const char MAGIC[8] = "FMPROGS";
enum { CACHE_VERSION = 1 };

bool fm_launch_shapes_add(fm_launch_shapes *shapes, uint64_t hash) {
    uint32_t at = 0;
    while (at < shapes->count && shapes->hashes[at] < hash) at++;
    if (shapes->count == FM_CACHE_SHAPES || (at < shapes->count && shapes->hashes[at] == hash)) return false;
    memmove(shapes->hashes + at + 1, shapes->hashes + at, (shapes->count - at) * sizeof *shapes->hashes);
    shapes->hashes[at] = hash;
    shapes->count++;
    return true;
}

bool fm_launch_shapes_cover(const fm_launch_shapes *have, const fm_launch_shapes *wanted) {
    for (uint32_t i = 0, at = 0; i < wanted->count; i++) {
        while (at < have->count && have->hashes[at] < wanted->hashes[i]) at++;
        if (at == have->count || have->hashes[at] != wanted->hashes[i]) return false;
    }
    return true;
}

static void damaged(fm_program_cache *cache, const char *reason) {
    fm_warn(cache->log, "cache", "%s: %s: rebuilt", cache->path, reason);
    free(cache->entries);
    cache->entries = NULL;
    cache->count = 0;
}

static bool entry_fits(const fm_program_cache *cache, const cache_entry *e) {
    uint64_t shapes = (uint64_t)e->shape_count * sizeof(uint64_t);
    return e->shape_count <= FM_CACHE_SHAPES && e->bytes > shapes && e->offset <= cache->size &&
           e->bytes <= cache->size - e->offset;
}

static void load_index(fm_program_cache *cache) {
    cache_header header;
    if (cache->size < sizeof header ||
        fm_file_read(cache->fd, cache->path, 0, &header, sizeof header, NULL) != FLASHMEM_OK) {
        damaged(cache, "too short");
        return;
    }
    uint64_t checksum = header.checksum;
    header.checksum = 0;
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) != 0 || checksum != fm_hash(&header, sizeof header)) {
        damaged(cache, "not a program cache");
        return;
    }
    if (header.version != CACHE_VERSION || header.device != cache->device || header.count > FM_CACHE_PROGRAMS) {
        damaged(cache, "of another version or device");
        return;
    }
    size_t bytes = header.count * sizeof *cache->entries;
    cache->entries = malloc(bytes ? bytes : 1);
    cache->count = cache->entries ? header.count : 0;
    if (!cache->entries) return;
    if (fm_file_read(cache->fd, cache->path, sizeof header, cache->entries, bytes, NULL) != FLASHMEM_OK ||
        fm_hash(cache->entries, bytes) != header.index_checksum) {
        damaged(cache, "its index does not match its checksum");
        return;
    }
    for (uint32_t i = 0; i < cache->count; i++)
        if (!entry_fits(cache, &cache->entries[i])) {
            damaged(cache, "its index points outside the file");
            return;
        }
}

fm_program_cache *fm_program_cache_open(const char *folder, uint64_t device, const fm_log *log) {
    fm_program_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return NULL;
    cache->log = log;
    cache->device = device;
    cache->fd = -1;
    if (!folder[0]) return cache;
    if (snprintf(cache->folder, sizeof cache->folder, "%s", folder) >= (int)sizeof cache->folder ||
        snprintf(cache->path, sizeof cache->path, "%s/programs-%016" PRIx64 ".bin", folder, device) >=
            (int)sizeof cache->path) {
        cache->path[0] = '\0';
        fm_warn(log, "cache", "%s: the path is too long: programs are not cached", folder);
        return cache;
    }
    if (fm_file_open(cache->path, &cache->fd, &cache->size, NULL) == FLASHMEM_OK) load_index(cache);
    return cache;
}

void fm_program_cache_close(fm_program_cache *cache) {
    if (!cache) return;
    if (cache->fd >= 0) close(cache->fd);
    free(cache->entries);
    free(cache);
}

static cache_entry *find(fm_program_cache *cache, uint64_t key) {
    for (uint32_t i = 0; i < cache->count; i++)
        if (cache->entries[i].key == key && !cache->entries[i].rejected) return &cache->entries[i];
    return NULL;
}

/* Shapes and binary as they lie in the file; NULL and rejected when damaged. */
static char *load_entry(fm_program_cache *cache, cache_entry *entry) {
    char *data = malloc(entry->bytes);
    if (!data) return NULL;
    if (fm_file_read(cache->fd, cache->path, entry->offset, data, entry->bytes, NULL) == FLASHMEM_OK &&
        fm_hash(data, entry->bytes) == entry->checksum)
        return data;
    fm_program_cache_reject(cache, entry->key, "its checksum does not match");
    free(data);
    return NULL;
}

static void take_shapes(const cache_entry *entry, const char *data, fm_launch_shapes *shapes) {
    shapes->count = 0;
    for (uint32_t i = 0; i < entry->shape_count; i++) {
        uint64_t hash;
        memcpy(&hash, data + i * sizeof hash, sizeof hash);
        fm_launch_shapes_add(shapes, hash);
    }
}

void *fm_program_cache_find(fm_program_cache *cache, uint64_t key, size_t *bytes, fm_launch_shapes *shapes) {
    cache_entry *entry = find(cache, key);
    char        *data = entry ? load_entry(cache, entry) : NULL;
    if (!data) return NULL;
    size_t before = entry->shape_count * sizeof(uint64_t);
    take_shapes(entry, data, shapes);
    *bytes = entry->bytes - before;
    memmove(data, data + before, *bytes);
    return data;
}

void fm_program_cache_reject(fm_program_cache *cache, uint64_t key, const char *reason) {
    cache_entry *entry = find(cache, key);
    if (!entry) return;
    entry->rejected = 1;
    fm_warn(cache->log, "cache", "%s: program %016" PRIx64 ": %s: rebuilt", cache->path, key, reason);
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

typedef struct saver {
    fm_file_writer file;
    cache_entry    entries[FM_CACHE_PROGRAMS];
    uint32_t       count;
    uint64_t       end;
} saver;

static flashmem_status add(saver *s, uint64_t key, const fm_launch_shapes *shapes, const void *binary, size_t bytes,
                           flashmem_error *err) {
    cache_entry *entry = &s->entries[s->count];
    size_t       before = shapes->count * sizeof(uint64_t);
    char        *data = malloc(before + bytes);
    if (!data) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for a program of %zu bytes", bytes);
    memcpy(data, shapes->hashes, before);
    memcpy(data + before, binary, bytes);
    *entry = (cache_entry){ .key = key,
                            .offset = s->end,
                            .bytes = before + bytes,
                            .checksum = fm_hash(data, before + bytes),
                            .shape_count = shapes->count };
    flashmem_status status = fm_file_writer_write(&s->file, s->end, data, before + bytes, err);
    free(data);
    s->end += before + bytes;
    s->count++;
    return status;
}

static bool among(const fm_cached_program *programs, uint32_t count, uint64_t key) {
    for (uint32_t i = 0; i < count; i++)
        if (programs[i].key == key) return true;
    return false;
}

static flashmem_status write_all(fm_program_cache *cache, saver *s, const fm_cached_program *programs, uint32_t count,
                                 flashmem_error *err) {
    s->end = sizeof(cache_header) + sizeof s->entries; /* room for a full index */
    for (uint32_t i = 0; i < count && s->count < FM_CACHE_PROGRAMS; i++)
        FM_TRY(add(s, programs[i].key, &programs[i].shapes, programs[i].binary, programs[i].bytes, err));
    for (uint32_t i = 0; i < cache->count && s->count < FM_CACHE_PROGRAMS; i++) {
        fm_launch_shapes shapes;
        size_t           bytes;
        uint64_t         key = cache->entries[i].key;
        if (cache->entries[i].rejected || among(programs, count, key)) continue;
        void *binary = fm_program_cache_find(cache, key, &bytes, &shapes);
        if (!binary) continue;
        flashmem_status status = add(s, key, &shapes, binary, bytes, err);
        free(binary);
        FM_TRY(status);
    }
    cache_header header = { .version = CACHE_VERSION,
                            .count = s->count,
                            .device = cache->device,
                            .index_checksum = fm_hash(s->entries, s->count * sizeof *s->entries) };
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    header.checksum = fm_hash(&header, sizeof header);
    FM_TRY(fm_file_writer_write(&s->file, 0, &header, sizeof header, err));
    FM_TRY(fm_file_writer_write(&s->file, sizeof header, s->entries, s->count * sizeof *s->entries, err));
    return fm_file_writer_commit(&s->file, false, err);
}

/* Another process may have saved since: what it added is kept. */
static void reread(fm_program_cache *cache) {
    if (cache->fd >= 0) close(cache->fd);
    free(cache->entries);
    cache->entries = NULL;
    cache->count = 0;
    if (fm_file_open(cache->path, &cache->fd, &cache->size, NULL) == FLASHMEM_OK) load_index(cache);
}

void fm_program_cache_save(fm_program_cache *cache, const fm_cached_program *programs, uint32_t count) {
    flashmem_error error = { 0 };
    if (!cache->path[0]) return;
    saver *s = calloc(1, sizeof *s);
    if (!s) return;
    reread(cache);
    flashmem_status status = fm_file_make_folders(cache->folder, &error);
    if (status == FLASHMEM_OK) status = fm_file_writer_open(&s->file, cache->path, &error);
    if (status == FLASHMEM_OK) {
        status = write_all(cache, s, programs, count, &error);
        if (status != FLASHMEM_OK) fm_file_writer_abort(&s->file);
    }
    if (status != FLASHMEM_OK) fm_warn(cache->log, "cache", "programs not saved: %s", error.message);
    else fm_debug(cache->log, "cache", "%s: %u programs saved, %u in all", cache->path, count, s->count);
    free(s);
}
