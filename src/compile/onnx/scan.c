/* One walk over the nested messages.  What is kept is copied to a growing buffer; a nested message's length is written
 * as a padded varint of five bytes when its end is reached, since it is not known before. */
#include "compile/onnx/scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum {
    BUFFER = 64 << 10,
    DEPTH = 48,              /* nested messages: graphs in attributes take three each */
    LENGTH_BYTES = 5,        /* padded varint */
    LARGEST_REDUCED = 512 << 20
};

typedef enum message_kind {
    NO_MESSAGE, MODEL, OPERATOR_SET, ENTRY, GRAPH, FUNCTION, NODE, ATTRIBUTE, VALUE_INFO, TYPE, TENSOR_TYPE, SHAPE,
    DIMENSION, SPARSE, SEGMENT, TENSOR
} message_kind;

typedef enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 } wire_type;

#define WIRE_BIT(w) (1u << (w))
#define VARINT WIRE_BIT(WIRE_VARINT)
#define FIXED32 WIRE_BIT(WIRE_FIXED32)
#define FIXED64 WIRE_BIT(WIRE_FIXED64)
#define BYTES WIRE_BIT(WIRE_BYTES)

/* One row per field kept. */
typedef struct field_row {
    message_kind message;
    uint32_t     number, wires;
    message_kind nested;
    bool         once;  /* a second one is an error */
    bool         hoist; /* a payload that may stay in the file */
} field_row;

static const field_row fields[] = {
    { MODEL, 1, VARINT, NO_MESSAGE, false, false },     { MODEL, 2, BYTES, NO_MESSAGE, false, false },
    { MODEL, 3, BYTES, NO_MESSAGE, false, false },      { MODEL, 7, BYTES, GRAPH, true, false },
    { MODEL, 8, BYTES, OPERATOR_SET, false, false },    { MODEL, 14, BYTES, ENTRY, false, false },
    { MODEL, 25, BYTES, FUNCTION, false, false },
    { OPERATOR_SET, 1, BYTES, NO_MESSAGE, false, false }, { OPERATOR_SET, 2, VARINT, NO_MESSAGE, false, false },
    { ENTRY, 1, BYTES, NO_MESSAGE, false, false },      { ENTRY, 2, BYTES, NO_MESSAGE, false, false },
    { GRAPH, 1, BYTES, NODE, false, false },            { GRAPH, 2, BYTES, NO_MESSAGE, false, false },
    { GRAPH, 5, BYTES, TENSOR, false, false },          { GRAPH, 11, BYTES, VALUE_INFO, false, false },
    { GRAPH, 12, BYTES, VALUE_INFO, false, false },     { GRAPH, 15, BYTES, SPARSE, false, false },
    { FUNCTION, 1, BYTES, NO_MESSAGE, false, false },   { FUNCTION, 4, BYTES, NO_MESSAGE, false, false },
    { FUNCTION, 5, BYTES, NO_MESSAGE, false, false },   { FUNCTION, 6, BYTES, NO_MESSAGE, false, false },
    { FUNCTION, 7, BYTES, NODE, false, false },         { FUNCTION, 9, BYTES, OPERATOR_SET, false, false },
    { FUNCTION, 10, BYTES, NO_MESSAGE, false, false },  { FUNCTION, 11, BYTES, ATTRIBUTE, false, false },
    { FUNCTION, 13, BYTES, NO_MESSAGE, false, false },
    { NODE, 1, BYTES, NO_MESSAGE, false, false },       { NODE, 2, BYTES, NO_MESSAGE, false, false },
    { NODE, 3, BYTES, NO_MESSAGE, false, false },       { NODE, 4, BYTES, NO_MESSAGE, false, false },
    { NODE, 5, BYTES, ATTRIBUTE, false, false },        { NODE, 7, BYTES, NO_MESSAGE, false, false },
    { NODE, 8, BYTES, NO_MESSAGE, false, false },
    { ATTRIBUTE, 1, BYTES, NO_MESSAGE, false, false },  { ATTRIBUTE, 2, FIXED32, NO_MESSAGE, false, false },
    { ATTRIBUTE, 3, VARINT, NO_MESSAGE, false, false }, { ATTRIBUTE, 4, BYTES, NO_MESSAGE, false, false },
    { ATTRIBUTE, 5, BYTES, TENSOR, true, false },       { ATTRIBUTE, 6, BYTES, GRAPH, true, false },
    { ATTRIBUTE, 7, FIXED32 | BYTES, NO_MESSAGE, false, false },
    { ATTRIBUTE, 8, VARINT | BYTES, NO_MESSAGE, false, false },
    { ATTRIBUTE, 9, BYTES, NO_MESSAGE, false, false },  { ATTRIBUTE, 20, VARINT, NO_MESSAGE, false, false },
    { ATTRIBUTE, 21, BYTES, NO_MESSAGE, false, false }, { ATTRIBUTE, 22, BYTES, SPARSE, true, false },
    { VALUE_INFO, 1, BYTES, NO_MESSAGE, false, false }, { VALUE_INFO, 2, BYTES, TYPE, true, false },
    { TYPE, 1, BYTES, TENSOR_TYPE, true, false },
    { TENSOR_TYPE, 1, VARINT, NO_MESSAGE, false, false }, { TENSOR_TYPE, 2, BYTES, SHAPE, true, false },
    { SHAPE, 1, BYTES, DIMENSION, false, false },
    { DIMENSION, 1, VARINT, NO_MESSAGE, false, false }, { DIMENSION, 2, BYTES, NO_MESSAGE, false, false },
    { SPARSE, 1, BYTES, TENSOR, true, false },
    { SEGMENT, 1, VARINT, NO_MESSAGE, false, false },   { SEGMENT, 2, VARINT, NO_MESSAGE, false, false },
    { TENSOR, 1, VARINT | BYTES, NO_MESSAGE, false, false },
    { TENSOR, 2, VARINT, NO_MESSAGE, false, false },    { TENSOR, 3, BYTES, SEGMENT, true, false },
    { TENSOR, 4, FIXED32 | BYTES, NO_MESSAGE, false, true },
    { TENSOR, 5, VARINT | BYTES, NO_MESSAGE, false, false },
    { TENSOR, 7, VARINT | BYTES, NO_MESSAGE, false, false },
    { TENSOR, 8, BYTES, NO_MESSAGE, false, false },     { TENSOR, 9, BYTES, NO_MESSAGE, true, true },
    { TENSOR, 10, FIXED64 | BYTES, NO_MESSAGE, false, true },
    { TENSOR, 11, VARINT | BYTES, NO_MESSAGE, false, false },
    { TENSOR, 13, BYTES, ENTRY, false, false },         { TENSOR, 14, VARINT, NO_MESSAGE, false, false },
};

enum { HOISTED_FIELD = 1001, HOISTED_OFFSET = 1002, HOISTED_BYTES = 1003 };

typedef struct scanner {
    fm_arena       *arena;
    int             fd;
    const char     *path;
    uint64_t        file_bytes, position; /* of the next byte */
    uint64_t        hoist_above;
    uint8_t         buffer[BUFFER];
    uint64_t        buffer_start, buffer_bytes; /* file range in the buffer */
    uint8_t        *out;
    size_t          out_bytes, out_capacity;
    flashmem_error *err;
} scanner;

__attribute__((format(printf, 2, 3))) static flashmem_status bad(scanner *s, const char *format, ...) {
    char    message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fm_fail(s->err, FLASHMEM_BAD_MODEL, "%s: not a valid ONNX file: %s at byte %" PRIu64, s->path, message,
                   s->position);
}

static flashmem_status fill(scanner *s) {
    uint64_t left = s->file_bytes - s->position;
    s->buffer_start = s->position;
    s->buffer_bytes = left < BUFFER ? left : BUFFER;
    return fm_file_read(s->fd, s->path, s->buffer_start, s->buffer, (size_t)s->buffer_bytes, s->err);
}

static bool in_buffer(const scanner *s) {
    return s->position >= s->buffer_start && s->position - s->buffer_start < s->buffer_bytes;
}

static flashmem_status read_varint(scanner *s, uint64_t end, uint64_t *value) {
    uint64_t v = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
        if (s->position >= end) return bad(s, "a number runs past the end of its message");
        if (!in_buffer(s)) FM_TRY(fill(s));
        uint8_t byte = s->buffer[s->position++ - s->buffer_start];
        if (shift < 64) v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = v;
            return FLASHMEM_OK;
        }
    }
    return bad(s, "a number has more than ten bytes");
}

static flashmem_status reserve(scanner *s, size_t more) {
    if (more > LARGEST_REDUCED || s->out_bytes > LARGEST_REDUCED - more)
        return fm_fail(
            s->err, FLASHMEM_UNSUPPORTED,
            "%s: more than %d MiB of graph and constants that are not raw data: store large tensors as raw_data "
            "or as external data",
            s->path, LARGEST_REDUCED >> 20);
    if (s->out_capacity - s->out_bytes >= more) return FLASHMEM_OK;
    size_t capacity = s->out_capacity * 2 > s->out_bytes + more ? s->out_capacity * 2 : s->out_bytes + more + 4096;
    uint8_t *larger = fm_arena_alloc(s->arena, capacity);
    if (s->out_bytes) memcpy(larger, s->out, s->out_bytes);
    s->out = larger;
    s->out_capacity = capacity;
    return FLASHMEM_OK;
}

/* The caller has reserved. */
static void put_varint(scanner *s, uint64_t value) {
    for (; value >= 0x80; value >>= 7) s->out[s->out_bytes++] = (uint8_t)(value | 0x80);
    s->out[s->out_bytes++] = (uint8_t)value;
}

static void put_key(scanner *s, uint32_t number, wire_type wire) { put_varint(s, (uint64_t)number << 3 | wire); }

static flashmem_status copy_bytes(scanner *s, uint64_t bytes) {
    if (bytes > LARGEST_REDUCED) return reserve(s, (size_t)LARGEST_REDUCED + 1);
    FM_TRY(reserve(s, (size_t)bytes));
    while (bytes) {
        if (!in_buffer(s)) FM_TRY(fill(s));
        uint64_t at = s->position - s->buffer_start, here = s->buffer_bytes - at;
        if (here > bytes) here = bytes;
        memcpy(s->out + s->out_bytes, s->buffer + at, (size_t)here);
        s->out_bytes += (size_t)here;
        s->position += here;
        bytes -= here;
    }
    return FLASHMEM_OK;
}

static const field_row *find_row(message_kind message, uint32_t number) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].message == message && fields[i].number == number) return &fields[i];
    return NULL;
}

static flashmem_status scan_message(scanner *s, message_kind message, uint64_t end, uint32_t depth);

static flashmem_status scan_nested(scanner *s, const field_row *row, uint64_t length, uint32_t depth) {
    if (depth >= DEPTH) return bad(s, "messages nested deeper than %d", DEPTH);
    FM_TRY(reserve(s, 10 + LENGTH_BYTES));
    put_key(s, row->number, WIRE_BYTES);
    size_t length_at = s->out_bytes;
    s->out_bytes += LENGTH_BYTES;
    FM_TRY(scan_message(s, row->nested, s->position + length, depth + 1));
    size_t inner = s->out_bytes - length_at - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++, inner >>= 7)
        s->out[length_at + i] = (uint8_t)((inner & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
    return FLASHMEM_OK;
}

/* The three fields that say where a payload lies. */
static flashmem_status hoist(scanner *s, uint32_t number, uint64_t length, bool *hoisted) {
    if (*hoisted) return bad(s, "a tensor with its data in several pieces");
    *hoisted = true;
    FM_TRY(reserve(s, 6 * 10));
    put_key(s, HOISTED_FIELD, WIRE_VARINT);
    put_varint(s, number);
    put_key(s, HOISTED_OFFSET, WIRE_VARINT);
    put_varint(s, s->position);
    put_key(s, HOISTED_BYTES, WIRE_VARINT);
    put_varint(s, length);
    s->position += length;
    return FLASHMEM_OK;
}

static flashmem_status scan_field(scanner *s, const field_row *row, uint32_t number, wire_type wire, uint64_t end,
                                  uint32_t depth, bool *hoisted) {
    uint64_t value = 0;
    if (row && !(row->wires & WIRE_BIT(wire))) return bad(s, "field %u has wire type %d", number, (int)wire);
    if (wire == WIRE_VARINT) {
        FM_TRY(read_varint(s, end, &value));
        if (!row) return FLASHMEM_OK;
        FM_TRY(reserve(s, 20));
        put_key(s, number, wire);
        put_varint(s, value);
        return FLASHMEM_OK;
    }
    uint64_t length = wire == WIRE_FIXED32 ? 4 : 8;
    if (wire == WIRE_BYTES) FM_TRY(read_varint(s, end, &length));
    if (length > end - s->position)
        return bad(s, "field %u declares %" PRIu64 " bytes, its message has %" PRIu64 " left", number, length,
                   end - s->position);
    if (!row) {
        s->position += length;
        return FLASHMEM_OK;
    }
    if (row->nested) return scan_nested(s, row, length, depth);
    if (row->hoist && wire == WIRE_BYTES && length > s->hoist_above) return hoist(s, number, length, hoisted);
    FM_TRY(reserve(s, 20));
    put_key(s, number, wire);
    if (wire == WIRE_BYTES) put_varint(s, length);
    return copy_bytes(s, length);
}

static flashmem_status scan_message(scanner *s, message_kind message, uint64_t end, uint32_t depth) {
    uint64_t seen = 0; /* fields that may come once */
    bool     hoisted = false;
    while (s->position < end) {
        uint64_t key;
        FM_TRY(read_varint(s, end, &key));
        uint64_t number = key >> 3;
        uint32_t wire = (uint32_t)(key & 7);
        if (number == 0 || number > (1u << 29) - 1) return bad(s, "field number %" PRIu64, number);
        if (wire != WIRE_VARINT && wire != WIRE_FIXED64 && wire != WIRE_BYTES && wire != WIRE_FIXED32)
            return bad(s, "wire type %u", wire);
        const field_row *row = find_row(message, (uint32_t)number);
        if (row && row->once) {
            if (seen >> number & 1) return bad(s, "field %" PRIu64 " comes twice", number);
            seen |= (uint64_t)1 << number;
        }
        FM_TRY(scan_field(s, row, (uint32_t)number, (wire_type)wire, end, depth, &hoisted));
    }
    return FLASHMEM_OK;
}

flashmem_status fm_onnx_scan(fm_arena *arena, int fd, const char *path, uint64_t file_bytes, uint64_t hoist_above,
                             uint8_t **data, size_t *bytes, flashmem_error *err) {
    scanner *s = fm_arena_alloc(arena, sizeof *s);
    s->arena = arena;
    s->fd = fd;
    s->path = path;
    s->file_bytes = file_bytes;
    s->hoist_above = hoist_above;
    s->err = err;
    if (file_bytes == 0) return fm_fail(err, FLASHMEM_BAD_MODEL, "%s: the file is empty", path);
    FM_TRY(scan_message(s, MODEL, file_bytes, 0));
    FM_TRY(reserve(s, 1)); /* never NULL */
    *data = s->out;
    *bytes = s->out_bytes;
    return FLASHMEM_OK;
}
