/* Where constants' bytes come from: memory, a range of a file, or the zoo's generator. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "compile/graph/convert.h"
#include "compile/graph/recipe.h"

static flashmem_status check_range(const fm_source *s, uint64_t offset, size_t bytes, flashmem_error *err) {
    if (offset <= s->bytes && bytes <= s->bytes - offset) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INTERNAL, "%s: %zu bytes at %" PRIu64 " of a constant of %" PRIu64,
                   s->path ? s->path : "memory", bytes, offset, s->bytes);
}

static flashmem_status read_memory(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    FM_TRY(check_range(s, offset, bytes, err));
    if (bytes) memcpy(to, (const char *)s->memory + offset, bytes);
    return FLASHMEM_OK;
}

fm_source *fm_source_memory(fm_arena *arena, const void *data, uint64_t bytes) {
    fm_source *s = fm_arena_alloc(arena, sizeof *s);
    *s = (fm_source){ .read = read_memory, .bytes = bytes, .memory = data ? data : "" };
    return s;
}

static flashmem_status read_file(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    FM_TRY(check_range(s, offset, bytes, err));
    return fm_file_read(s->fd, s->path, s->file_offset + offset, to, bytes, err);
}

fm_source *fm_source_file(fm_arena *arena, const char *path, int fd, uint64_t offset, uint64_t bytes) {
    fm_source *s = fm_arena_alloc(arena, sizeof *s);
    *s = (fm_source){ .read = read_file, .bytes = bytes, .path = path, .fd = fd, .file_offset = offset };
    return s;
}

static uint64_t splitmix64(uint64_t state) {
    uint64_t z = state + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t fnv1a64(const char *text) {
    uint64_t h = 0xcbf29ce484222325u;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) h = (h ^ *c) * 0x100000001b3u;
    return h;
}

/* The product with sqrt(12) * deviation is one double factor; the element is rounded once to its type. */
static void fill_doubles(const fm_source *s, uint64_t first, double *to, size_t count) {
    double width = sqrt(12.0) * s->deviation;
    for (size_t i = 0; i < count; i++)
        to[i] = ((double)(int64_t)(splitmix64(s->seed + first + i) >> 40) * 0x1p-24 - 0.5) * width;
}

static flashmem_status read_fill(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    uint32_t each = fm_dtype_bytes(s->dtype);
    FM_TRY(check_range(s, offset, bytes, err));
    assert(offset % each == 0 && bytes % each == 0);
    double   block[512];
    uint64_t first = offset / each, count = bytes / each;
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < 512 ? (size_t)(count - done) : 512;
        char  *put = (char *)to + done * each;
        fill_doubles(s, first + done, block, n);
        if (s->dtype == FLASHMEM_F32)
            for (size_t i = 0; i < n; i++) ((float *)(void *)put)[i] = (float)block[i];
        else
            fm_convert(put, s->dtype, block, FLASHMEM_F64, n);
        done += n;
    }
    return FLASHMEM_OK;
}

fm_source *fm_source_fill(fm_arena *arena, const char *tensor_name, double deviation, flashmem_dtype dtype,
                          uint64_t bytes) {
    fm_source *s = fm_arena_alloc(arena, sizeof *s);
    *s = (fm_source){ .read = read_fill, .bytes = bytes, .path = tensor_name, .seed = fnv1a64(tensor_name),
                      .deviation = deviation, .dtype = dtype };
    return s;
}
