/* Reading and writing NumPy files.  The header is a Python literal: only the three keys NumPy writes are accepted. */
#include "arrays.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <minizip/unzip.h>

#include "output.h"

static const struct {
    flashmem_dtype dtype;
    char           kind;
    int            bytes;
    const char    *name;
} dtypes[] = {
    { FLASHMEM_F32, 'f', 4, "float32" },   { FLASHMEM_F64, 'f', 8, "float64" }, { FLASHMEM_F16, 'f', 2, "float16" },
    { FLASHMEM_I8, 'i', 1, "int8" },       { FLASHMEM_I16, 'i', 2, "int16" },   { FLASHMEM_I32, 'i', 4, "int32" },
    { FLASHMEM_I64, 'i', 8, "int64" },     { FLASHMEM_U8, 'u', 1, "uint8" },    { FLASHMEM_U16, 'u', 2, "uint16" },
    { FLASHMEM_U32, 'u', 4, "uint32" },    { FLASHMEM_U64, 'u', 8, "uint64" },  { FLASHMEM_BOOL, 'b', 1, "bool" },
    { FLASHMEM_BF16, 'u', 2, "bfloat16" },
};
#define DTYPE_COUNT (sizeof dtypes / sizeof *dtypes)

bool cli_error(flashmem_error *error, flashmem_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (error && error->status == FLASHMEM_OK) {
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, args);
    }
    va_end(args);
    return false;
}

const char *cli_dtype_name(flashmem_dtype dtype) {
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    return "unknown";
}

const char *cli_shape_print(uint32_t rank, const int64_t *dims, char *buffer, size_t bytes) {
    size_t at = 0;
    if (!rank) snprintf(buffer, bytes, "scalar");
    for (uint32_t i = 0; i < rank && at < bytes; i++)
        at += (size_t)snprintf(buffer + at, bytes - at, "%s%lld", i ? "x" : "", (long long)dims[i]);
    return buffer;
}

void cli_arrays_free(cli_arrays *arrays) {
    for (int i = 0; i < arrays->count; i++) {
        free(arrays->items[i].name);
        free(arrays->items[i].data);
    }
    free(arrays->items);
    *arrays = (cli_arrays){ 0 };
}

cli_array *cli_arrays_find(const cli_arrays *arrays, const char *name) {
    for (int i = 0; i < arrays->count; i++)
        if (!strcmp(arrays->items[i].name, name)) return &arrays->items[i];
    return NULL;
}

static cli_array *append(cli_arrays *arrays, const char *name, size_t name_bytes) {
    cli_array *items = realloc(arrays->items, (size_t)(arrays->count + 1) * sizeof *items);
    if (!items) return NULL;
    arrays->items = items;
    cli_array *array = &items[arrays->count];
    *array = (cli_array){ .name = strndup(name, name_bytes) };
    if (!array->name) return NULL;
    arrays->count++;
    return array;
}

static bool allocate(cli_array *array) {
    return posix_memalign(&array->data, 64, array->bytes ? (size_t)array->bytes : 1) == 0;
}

cli_array *cli_arrays_add(cli_arrays *arrays, const char *name, const flashmem_tensor_info *info) {
    cli_array *array = append(arrays, name, strlen(name));
    if (!array) return NULL;
    array->dtype = info->dtype;
    array->rank = info->rank;
    memcpy(array->dims, info->dims, sizeof array->dims);
    array->bytes = info->bytes;
    return allocate(array) ? array : NULL;
}

/* A stream of bytes: a file, or a member of an archive. */
typedef struct stream {
    FILE       *file;
    unzFile     archive; /* positioned in an open member */
    const char *label;
} stream;

static size_t stream_read(stream *s, void *to, size_t bytes) {
    if (s->file) return fread(to, 1, bytes, s->file);
    size_t done = 0;
    while (done < bytes) {
        unsigned part = bytes - done < 1u << 30 ? (unsigned)(bytes - done) : 1u << 30;
        int      n = unzReadCurrentFile(s->archive, (char *)to + done, part);
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

static const char *find_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return NULL;
    for (at += strlen(key); *at == ' ' || *at == ':'; at++) {
    }
    return at;
}

static bool parse_dtype(cli_array *array, const char *descr, const char *label, flashmem_error *error) {
    bool quoted = descr && descr[0] == '\'';
    char order = quoted ? descr[1] : 0, kind = order ? descr[2] : 0;
    int  bytes = kind ? atoi(descr + 3) : 0;
    if (order != '<' && order != '|' && order != '=')
        return cli_error(
            error, FLASHMEM_BAD_INPUT,
            "%s: not a little-endian plain array; save it with numpy.save(file, a.astype(a.dtype.newbyteorder('<')))",
            label);
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (dtypes[i].kind == kind && dtypes[i].bytes == bytes)
            return array->dtype = dtypes[i].dtype, array->bytes = (uint64_t)bytes, true;
    return cli_error(error, FLASHMEM_BAD_INPUT, "%s: element type '%.*s' is not a number or bool", label,
                     (int)strcspn(descr + 1, "'"), descr + 1);
}

static bool parse_shape(cli_array *array, const char *shape, const char *label, flashmem_error *error) {
    if (!shape || *shape != '(') return cli_error(error, FLASHMEM_BAD_INPUT, "%s: no shape in the header", label);
    for (shape++; *shape != ')';) {
        if (*shape == ' ' || *shape == ',') {
            shape++;
            continue;
        }
        char *end;
        errno = 0;
        long long dim = strtoll(shape, &end, 10);
        if (errno || end == shape || dim < 0)
            return cli_error(error, FLASHMEM_BAD_INPUT, "%s: malformed shape in the header", label);
        if (array->rank == FLASHMEM_MAX_RANK)
            return cli_error(error, FLASHMEM_BAD_INPUT, "%s: more than %d dimensions", label, FLASHMEM_MAX_RANK);
        array->dims[array->rank++] = dim;
        if (__builtin_mul_overflow(array->bytes, (uint64_t)dim, &array->bytes) || array->bytes > (uint64_t)1 << 46)
            return cli_error(error, FLASHMEM_BAD_INPUT, "%s: the shape in the header is too large", label);
        shape = end;
    }
    return true;
}

static bool read_npy(cli_array *array, stream *s, flashmem_error *error) {
    unsigned char start[12];
    if (stream_read(s, start, 10) != 10 || memcmp(start, "\x93NUMPY", 6))
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: not a .npy file", s->label);
    size_t header_bytes = start[8] | (size_t)start[9] << 8;
    if (start[6] > 3 || !start[6])
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: .npy format version %d is unknown", s->label, start[6]);
    if (start[6] >= 2) {
        if (stream_read(s, start + 10, 2) != 2)
            return cli_error(error, FLASHMEM_BAD_INPUT, "%s: ends inside its header", s->label);
        header_bytes |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (header_bytes > 1 << 20)
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: a header of %zu bytes is not plausible", s->label,
                         header_bytes);
    char *header = calloc(1, header_bytes + 1);
    if (!header) return cli_error(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for the header", s->label);
    bool ok = stream_read(s, header, header_bytes) == header_bytes ||
              cli_error(error, FLASHMEM_BAD_INPUT, "%s: ends inside its header", s->label);
    ok = ok && parse_dtype(array, find_value(header, "'descr'"), s->label, error);
    const char *fortran = ok ? find_value(header, "'fortran_order'") : NULL;
    if (ok && (!fortran || strncmp(fortran, "False", 5)))
        ok = cli_error(error, FLASHMEM_BAD_INPUT, "%s: column-major (fortran_order); save numpy.ascontiguousarray(a)",
                       s->label);
    ok = ok && parse_shape(array, find_value(header, "'shape'"), s->label, error);
    free(header);
    if (!ok) return false;
    if (!allocate(array))
        return cli_error(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory for %llu bytes", s->label,
                         (unsigned long long)array->bytes);
    size_t got = stream_read(s, array->data, (size_t)array->bytes);
    char   extra;
    if (got != array->bytes)
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: holds %zu of the %llu bytes its header promises", s->label,
                         got, (unsigned long long)array->bytes);
    if (stream_read(s, &extra, 1))
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: more bytes than its header promises", s->label);
    return true;
}

static bool read_member(cli_arrays *arrays, unzFile archive, const char *path, flashmem_error *error) {
    char            member[256], label[512];
    unz_file_info64 info;
    if (unzGetCurrentFileInfo64(archive, &info, member, sizeof member, NULL, 0, NULL, 0) != UNZ_OK ||
        info.size_filename >= sizeof member)
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: a member's entry is unreadable", path);
    size_t length = strlen(member);
    if (length < 5 || strcmp(member + length - 4, ".npy")) return true;
    snprintf(label, sizeof label, "%s[%s]", path, member);
    if (unzOpenCurrentFile(archive) != UNZ_OK)
        return cli_error(error, FLASHMEM_BAD_INPUT, "%s: cannot be unpacked", label);
    stream     s = { .archive = archive, .label = label };
    cli_array *array = append(arrays, member, length - 4);
    bool ok = array ? read_npy(array, &s, error) : cli_error(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory", label);
    if (unzCloseCurrentFile(archive) == UNZ_CRCERROR && ok)
        ok = cli_error(error, FLASHMEM_BAD_INPUT, "%s: its bytes do not match their checksum", label);
    return ok;
}

static bool read_npz(cli_arrays *arrays, const char *path, flashmem_error *error) {
    unzFile archive = unzOpen64(path);
    if (!archive) return cli_error(error, FLASHMEM_BAD_INPUT, "%s: not a readable .npz archive", path);
    bool ok = true;
    int  at = unzGoToFirstFile(archive);
    for (; ok && at == UNZ_OK; at = unzGoToNextFile(archive)) ok = read_member(arrays, archive, path, error);
    if (ok && at != UNZ_END_OF_LIST_OF_FILE)
        ok = cli_error(error, FLASHMEM_BAD_INPUT, "%s: its list of members is damaged", path);
    unzClose(archive);
    return ok;
}

/* Where "NAME=FILE" parts: names and files may hold '=' themselves, so at the first one that a file follows. */
static const char *find_parting(const char *spec) {
    if (access(spec, F_OK) == 0) return NULL;
    for (const char *at = strchr(spec, '='); at; at = strchr(at + 1, '='))
        if (access(at + 1, F_OK) == 0) return at;
    return strchr(spec, '=');
}

bool cli_arrays_read(cli_arrays *arrays, const char *spec, flashmem_error *error) {
    size_t      length = strlen(spec);
    const char *equals = find_parting(spec);
    const char *path = equals ? equals + 1 : spec;
    if (!equals && length > 4 && !strcmp(spec + length - 4, ".npz")) return read_npz(arrays, spec, error);
    const char *name = equals ? spec : strrchr(spec, '/') ? strrchr(spec, '/') + 1 : spec;
    size_t      name_bytes = equals ? (size_t)(equals - spec)
                                    : strlen(name) - (strlen(name) > 4 && !strcmp(name + strlen(name) - 4, ".npy") ? 4 : 0);
    stream      s = { .file = fopen(path, "rb"), .label = path };
    if (!s.file) return cli_error(error, FLASHMEM_IO, "%s: %s", path, strerror(errno));
    cli_array *array = append(arrays, name, name_bytes);
    bool ok = array ? read_npy(array, &s, error) : cli_error(error, FLASHMEM_OUT_OF_MEMORY, "%s: no memory", path);
    fclose(s.file);
    return ok;
}

static size_t npy_header(char *buffer, size_t bytes, flashmem_dtype dtype, uint32_t rank, const int64_t *dims) {
    char   shape[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < rank; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%lld,%s", (long long)dims[i], i + 1 < rank ? " " : "");
    char kind = 'u';
    int  size = 2;
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (dtypes[i].dtype == dtype) kind = dtypes[i].kind, size = dtypes[i].bytes;
    int    text = snprintf(buffer + 10, bytes - 10, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (%s), }",
                        size > 1 ? '<' : '|', kind, size, shape);
    size_t total = ((size_t)text + 10 + 1 + 63) / 64 * 64; /* data starts 64-byte aligned */
    memset(buffer + 10 + text, ' ', total - 10 - (size_t)text);
    buffer[total - 1] = '\n';
    memcpy(buffer, "\x93NUMPY\x01\x00", 8);
    buffer[8] = (char)((total - 10) & 255);
    buffer[9] = (char)((total - 10) >> 8);
    return total;
}

bool cli_array_write(const char *path, flashmem_dtype dtype, uint32_t rank, const int64_t *dims, const void *data,
                     uint64_t bytes, flashmem_error *error) {
    char       header[1024];
    cli_output output;
    size_t     header_bytes = npy_header(header, sizeof header, dtype, rank, dims);
    if (!cli_output_begin(&output, path, error)) return false;
    FILE *file = fopen(output.temporary, "wb");
    if (!file) return cli_error(error, FLASHMEM_IO, "%s: %s", output.temporary, strerror(errno));
    bool ok = fwrite(header, 1, header_bytes, file) == header_bytes && fwrite(data, 1, (size_t)bytes, file) == bytes;
    int  why = errno;
    if (fclose(file)) ok = false;
    else errno = why;
    return cli_output_end(&output, path, ok, error);
}
