/* Includes are expanded here rather than handed to the driver: one text, one hash, no include path. */
#include "kernels/source.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kernels/embedded.h"

enum { MOST_FILES = 64, DEEPEST = 16 };

typedef struct expansion {
    FILE           *to;
    const char     *seen[MOST_FILES];
    uint32_t        seen_count;
    flashmem_error *err;
} expansion;

static bool seen_before(expansion *e, const char *name) {
    for (uint32_t i = 0; i < e->seen_count; i++)
        if (strcmp(e->seen[i], name) == 0) return true;
    return false;
}

/* The name in `#include "name"`, or false. */
static bool include_name(const char *line, const char *end, char *name, size_t bytes) {
    const char *at = line;
    while (at < end && isblank((unsigned char)*at)) at++;
    if (at == end || *at++ != '#') return false;
    while (at < end && isblank((unsigned char)*at)) at++;
    if ((size_t)(end - at) < 7 || memcmp(at, "include", 7) != 0) return false;
    at += 7;
    while (at < end && isblank((unsigned char)*at)) at++;
    if (at == end || *at++ != '"') return false;
    const char *close = memchr(at, '"', (size_t)(end - at));
    if (!close || (size_t)(close - at) >= bytes) return false;
    memcpy(name, at, (size_t)(close - at));
    name[close - at] = '\0';
    return true;
}

static flashmem_status expand(expansion *e, const char *name, int depth) {
    const fm_embedded_file *file = fm_embedded_find(name);
    if (!file)
        return fm_fail(e->err, FLASHMEM_DEVICE, "kernel source '%s' is not part of this build (FLASHMEM_KERNEL_DIR?)",
                       name);
    if (depth > DEEPEST || e->seen_count == MOST_FILES)
        return fm_fail(e->err, FLASHMEM_DEVICE, "kernel source '%s': too many includes", name);
    e->seen[e->seen_count++] = file->name;
    const char *at = (const char *)file->data, *end = at + file->bytes;
    for (unsigned line = 1; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        char        included[256];
        if (!include_name(at, stop, included, sizeof included)) {
            fwrite(at, 1, (size_t)(stop - at), e->to);
            fputc('\n', e->to);
        } else if (!seen_before(e, included)) {
            FM_TRY(expand(e, included, depth + 1));
            fprintf(e->to, "#line %u\n", line + 1);
        } else {
            fputc('\n', e->to);
        }
        at = newline ? newline + 1 : end;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_program_source(const char *name, char **text, size_t *bytes, flashmem_error *err) {
    expansion e = { .err = err };
    *text = NULL;
    e.to = open_memstream(text, bytes);
    if (!e.to) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for kernel source '%s'", name);
    flashmem_status status = expand(&e, name, 0);
    if (fclose(e.to) != 0 && status == FLASHMEM_OK)
        status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "no memory for kernel source '%s'", name);
    if (status == FLASHMEM_OK) return status;
    free(*text);
    *text = NULL;
    return status;
}

flashmem_status fm_program_source_hash(const char *name, uint64_t *hash, flashmem_error *err) {
    char  *text;
    size_t bytes;
    FM_TRY(fm_program_source(name, &text, &bytes, err));
    *hash = fm_hash(text, bytes);
    free(text);
    return FLASHMEM_OK;
}
