/* External data: files beside the model, opened when read and at most OPEN_FILES at a time, since some exporters write
 * one file per tensor. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "compile/onnx/importer.h"

enum { OPEN_FILES = 48 };

typedef struct external_file {
    const char *path;
    uint64_t    bytes;
    bool        exists;
    uint32_t    slot; /* in slots, or OPEN_FILES: closed */
    int         id;   /* below 0 and unlike any other: the fd of its sources, by which equal ones are known */
} external_file;

struct fm_onnx_files {
    fm_graph      *g;
    fm_names       by_path;
    external_file *slots[OPEN_FILES];
    size_t         fd_index[OPEN_FILES]; /* in g->fds, which closes them */
    uint32_t       open, next;           /* slots in use; the next to give up */
};

/* Data that is not there, of a graph that is only planned. */
typedef struct missing_source {
    fm_source   source;
    const char *message;
} missing_source;

typedef struct external_source {
    fm_source             source; /* first: what readers see */
    struct fm_onnx_files *files;
    external_file        *file;
} external_source;

struct fm_onnx_files *fm_onnx_files_create(fm_graph *g) {
    struct fm_onnx_files *files = fm_arena_alloc(g->arena, sizeof *files);
    files->g = g;
    fm_names_init(&files->by_path, g->arena, NULL);
    return files;
}

static flashmem_status open_file(struct fm_onnx_files *files, external_file *file, int *fd, flashmem_error *err) {
    fm_graph *g = files->g;
    if (file->slot < OPEN_FILES) {
        *fd = g->fds[files->fd_index[file->slot]];
        return FLASHMEM_OK;
    }
    FM_TRY(fm_file_open(file->path, fd, NULL, err));
    uint32_t slot;
    if (files->open < OPEN_FILES) {
        slot = files->open++;
        files->fd_index[slot] = g->fd_count;
        FM_PUSH(g->arena, g->fds, g->fd_count, g->fd_capacity) = *fd;
    } else { /* in turn: weights are read file after file */
        slot = files->next;
        files->next = (files->next + 1) % OPEN_FILES;
        close(g->fds[files->fd_index[slot]]);
        files->slots[slot]->slot = OPEN_FILES;
        g->fds[files->fd_index[slot]] = *fd;
    }
    files->slots[slot] = file;
    file->slot = slot;
    return FLASHMEM_OK;
}

static flashmem_status read_external(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    const external_source *e = (const external_source *)(const void *)s;
    int                    fd;
    if (offset > s->bytes || bytes > s->bytes - offset)
        return fm_fail(err, FLASHMEM_INTERNAL, "%s: %zu bytes at %" PRIu64 " of a constant of %" PRIu64, s->path, bytes,
                       offset, s->bytes);
    FM_TRY(open_file(e->files, e->file, &fd, err));
    return fm_file_read(fd, s->path, s->file_offset + offset, to, bytes, err);
}

static external_file *find_file(struct fm_onnx_files *files, const char *path) {
    external_file *file = fm_names_local(&files->by_path, path);
    if (file) return file;
    struct stat info;
    file = fm_arena_alloc(files->g->arena, sizeof *file);
    file->path = path;
    file->slot = OPEN_FILES;
    file->id = -2 - (int)files->by_path.count;
    file->exists = stat(path, &info) == 0;
    if (file->exists) file->bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    fm_names_put(&files->by_path, path, file);
    return file;
}

static flashmem_status read_missing(const fm_source *s, uint64_t offset, void *to, size_t bytes, flashmem_error *err) {
    (void)offset, (void)to, (void)bytes;
    return fm_fail(err, FLASHMEM_IO, "%s", ((const missing_source *)(const void *)s)->message);
}

/* Only a plan does without the data.  key: tells apart what lies at one place of one file. */
static flashmem_status missing(const fm_graph *g, const external_file *file, uint64_t offset, uint64_t bytes,
                               const char *key, const char *message, const fm_source **out, flashmem_error *err) {
    if (!g->planning) return fm_fail(err, FLASHMEM_IO, "%s", message);
    missing_source *s = fm_arena_alloc(g->arena, sizeof *s);
    *s = (missing_source){ .source = { .read = read_missing,
                                       .bytes = bytes,
                                       .path = file->path,
                                       .fd = file->id,
                                       .file_offset = offset,
                                       .seed = fm_hash(key, strlen(key)) },
                           .message = message };
    *out = &s->source;
    return FLASHMEM_OK;
}

static const char *entry(const FmOnnx__Tensor *t, const char *key) {
    for (size_t i = 0; i < t->n_external_data; i++)
        if (t->external_data[i]->key && strcmp(t->external_data[i]->key, key) == 0) return t->external_data[i]->value;
    return NULL;
}

static bool leaves_folder(const char *location) {
    if (location[0] == '/') return true;
    for (const char *part = location; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        if (part[0] == '.' && part[1] == '.' && (part[2] == '\0' || part[2] == '/')) return true;
    }
    return false;
}

flashmem_status fm_onnx_external_path(const fm_graph *g, const char *tensor, const FmOnnx__Tensor *t, const char **path,
                                      flashmem_error *err) {
    const char *location = entry(t, "location");
    if (!location || !*location)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has external data without a location", g->path,
                       tensor);
    if (leaves_folder(location))
        return fm_fail(
            err, FLASHMEM_BAD_MODEL,
            "%s: tensor '%s' has external data at '%s': a location must lie in the model's folder, without '..'",
            g->path, tensor, location);
    const char *slash = strrchr(g->path, '/');
    *path = slash ? fm_arena_printf(g->arena, "%.*s/%s", (int)(slash - g->path), g->path, location)
                  : fm_arena_strdup(g->arena, location);
    return FLASHMEM_OK;
}

static flashmem_status number(const fm_graph *g, const char *tensor, const FmOnnx__Tensor *t, const char *key,
                              uint64_t *value, flashmem_error *err) {
    const char *text = entry(t, key);
    if (!text) return FLASHMEM_OK; /* the default that the caller put in */
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > INT64_MAX)
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has external data with %s '%.40s', expected bytes",
                       g->path, tensor, key, text);
    *value = v;
    return FLASHMEM_OK;
}

/* A skeleton of the zoo names a generator instead of storing weights. */
static flashmem_status fill_source(fm_onnx_model *m, const char *tensor, const char *fill, const external_file *file,
                                   uint64_t offset, flashmem_dtype dtype, uint64_t bytes, const fm_source **out,
                                   flashmem_error *err) {
    const char *of = m->g->path;
    if (strncmp(fill, "safetensors:", 12) == 0)
        return missing(m->g, file, offset, bytes, fill,
                       fm_arena_printf(m->g->arena,
                                       "%s: tensor '%s' is tensor '%s' of a safetensors file, which is read by "
                                       "tools/zoo.py: make the complete model with it first ('%s' does not exist)",
                                       of, tensor, fill + 12, file->path),
                       out, err);
    char  *end = NULL;
    double deviation = strncmp(fill, "normal:", 7) == 0 ? strtod(fill + 7, &end) : 0;
    if (!end || end == fill + 7 || *end || !(deviation >= 0 && deviation < 1e30))
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has fill '%.60s', expected normal:<deviation>", of,
                       tensor, fill);
    if (!fm_dtype_is_float(dtype))
        return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: tensor '%s' has fill '%.60s' and type %s, expected a float type",
                       of, tensor, fill, fm_dtype_name(dtype));
    *out = fm_source_fill(m->g->arena, tensor, deviation, dtype, bytes);
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_external(fm_onnx_model *m, const char *tensor, const FmOnnx__Tensor *t, flashmem_dtype dtype,
                                 uint64_t bytes, const fm_source **out, flashmem_error *err) {
    fm_graph   *g = m->g;
    const char *path;
    uint64_t    offset = 0, length = bytes;
    FM_TRY(fm_onnx_external_path(g, tensor, t, &path, err));
    FM_TRY(number(g, tensor, t, "offset", &offset, err));
    FM_TRY(number(g, tensor, t, "length", &length, err));
    if (length != bytes)
        return fm_fail(err, FLASHMEM_BAD_MODEL,
                       "%s: tensor '%s' has %" PRIu64 " bytes of external data, its type and shape need %" PRIu64,
                       g->path, tensor, length, bytes);
    external_file *file = find_file(m->files, path);
    const char    *fill = fm_names_local(&m->fills, tensor);
    if (!file->exists && fill) return fill_source(m, tensor, fill, file, offset, dtype, bytes, out, err);
    if (!file->exists)
        return missing(g, file, offset, bytes, "",
                       fm_arena_printf(g->arena,
                                       "%s: tensor '%s' needs %" PRIu64 " bytes at offset %" PRIu64
                                       " of '%s', which does not exist: put the file beside the model",
                                       g->path, tensor, bytes, offset, path),
                       out, err);
    if (offset > file->bytes || bytes > file->bytes - offset)
        return fm_fail(err, FLASHMEM_IO,
                       "%s: tensor '%s' needs %" PRIu64 " bytes at offset %" PRIu64 " of '%s', which has %" PRIu64
                       " bytes: the file is cut short or is not this model's",
                       g->path, tensor, bytes, offset, path, file->bytes);
    external_source *s = fm_arena_alloc(g->arena, sizeof *s);
    *s = (external_source){
        .source = { .read = read_external, .bytes = bytes, .path = path, .fd = file->id, .file_offset = offset },
        .files = m->files,
        .file = file
    };
    *out = &s->source;
    return FLASHMEM_OK;
}
