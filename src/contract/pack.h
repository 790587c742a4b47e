/* The .flm file: one weight section in one layout class and format, and programs over it.
 *
 *     offset 0      fm_pack_header (4096 bytes, zero-padded)
 *     ...           tables: strings, weights, objects, checksums, and per program its records (64-byte aligned)
 *     ...           weight section: objects and row tables, each 4 KiB-aligned, in order of first use
 *     file_bytes    overlap plans (contract/overlap.h), 4 KiB-aligned, wherever the header says; or nothing
 *
 * Little-endian, fixed records, mappable.  The header carries its own checksum, one over all tables and one over the
 * overlap plans; every cut unit, bundle and table row carries an XXH3-64, checked on arrival.  Written to a temporary name
 * and renamed; overlap plans may be added later. */
#ifndef FM_CONTRACT_PACK_H
#define FM_CONTRACT_PACK_H

#include "base/arena.h"
#include "base/file.h"
#include "contract/program.h"

#define FM_PACK_MAGIC "FLASHMEM"
#define FM_PACK_VERSION 2u
#define FM_PACK_ALIGN 4096u
#define FM_PACK_TABLE_ALIGN 64u
#define FM_PACK_LARGEST_TABLES (1u << 30) /* more is taken for damage */

typedef struct fm_section {
    uint64_t offset, bytes; /* file range */
} fm_section;

typedef struct fm_pack_program {
    uint32_t   memory_paths; /* bit per flashmem_memory_path that may run it */
    uint32_t   reserved;
    uint64_t   shape_key;    /* hash of the input shapes it was made for */
    fm_section exprs, values, kernels, args, steps, inputs, outputs, blob;
} fm_pack_program;
static_assert(sizeof(fm_pack_program) == 144, "pack record");

typedef struct fm_pack_header {
    char       magic[8];
    uint32_t   version;
    uint32_t   header_bytes;    /* sizeof(fm_pack_header) */
    uint32_t   layout, weights; /* flashmem_layout, flashmem_weights */
    uint64_t   file_bytes;      /* up to the end of the weights; overlap plans lie behind */
    uint64_t   float_weight_bytes; /* float weights at their pack type, embeddings included: what N % is of */
    fm_section strings, weight_table, object_table, checksum_table, program_table;
    fm_section tables;          /* the range that tables_checksum covers: all of the above and the programs */
    uint64_t   tables_checksum;
    fm_section overlaps;        /* 0, 0: none */
    uint64_t   overlaps_checksum;
    uint64_t   header_checksum; /* XXH3-64 of the header with this field 0 */
} fm_pack_header;
static_assert(sizeof(fm_pack_header) == 176, "pack record"); /* within the first sector */

/* What steps refer to outside their program: all that planning needs of a pack, written or not. */
typedef struct fm_packed {
    const fm_weight *weights; uint32_t weight_count;
    const fm_object *objects; uint32_t object_count;
} fm_packed;

/* An open, verified pack.  Tables are loaded to memory; weights are read by whoever needs them. */
typedef struct fm_pack {
    char             *path;
    int               fd;
    fm_pack_header    header;
    void             *tables; /* the whole tables range, 64-byte aligned */
    const char       *strings; uint64_t string_bytes;
    fm_packed         packed;
    const uint64_t   *checksums; uint64_t checksum_count;
    const fm_pack_program *program_records;
    fm_program       *programs; uint32_t program_count; /* pointers into tables */
} fm_pack;

/* Opens and verifies header, checksums of the tables, every bound, and every program (fm_program_verify). */
flashmem_status fm_pack_open(fm_pack *pack, const char *path, flashmem_error *err);
void            fm_pack_close(fm_pack *pack);
/* Reads the weight section and checks every checksum.  CORRUPT names the weight and range. */
flashmem_status fm_pack_verify_weights(const fm_pack *pack, flashmem_error *err);

/* Tables of a program in the order in which they lie: X(field, record type, count field). */
#define FM_PACK_PROGRAM_SECTIONS(X)                                                            \
    X(exprs, fm_expr, expr_count) X(values, fm_value, value_count) X(kernels, fm_kernel, kernel_count) \
    X(args, fm_arg, arg_count) X(steps, fm_step, step_count) X(inputs, uint32_t, input_count)         \
    X(outputs, uint32_t, output_count) X(blob, uint8_t, blob_bytes)

/* Writing: tables are known before weights are; checksums follow the weights.
 *     open(sizes and tables) -> weight bytes in any order at the offsets laid out -> commit */
typedef struct fm_pack_writer fm_pack_writer;
typedef struct fm_pack_contents {
    flashmem_layout  layout;
    flashmem_weights weights;
    uint64_t         float_weight_bytes;
    const char      *strings; uint64_t string_bytes; /* shared by weights and all programs */
    fm_weight       *weight_table; uint32_t weight_count; /* file_offset (ROWS) and checksum indexes are assigned */
    fm_object       *object_table; uint32_t object_count; /* bytes and unit_bytes given; offsets, checksum indexes assigned */
    const fm_program *programs; const uint32_t *memory_paths; const uint64_t *shape_keys; uint32_t program_count;
} fm_pack_contents;
flashmem_status fm_pack_writer_open(fm_pack_writer **out, const char *path, fm_pack_contents *contents, flashmem_error *err);
/* Whole checksum units of an object: offset is a multiple of unit_bytes, bytes ends at a unit's end or the object's. */
flashmem_status fm_pack_writer_object(fm_pack_writer *writer, uint32_t object, uint64_t offset, const void *data,
                                      uint64_t bytes, flashmem_error *err);
/* Whole rows of a FM_WEIGHT_ROWS weight. */
flashmem_status fm_pack_writer_rows(fm_pack_writer *writer, uint32_t weight, uint64_t first_row, const void *data,
                                    uint64_t rows, flashmem_error *err);
/* Every unit must have been written.  *bytes gets the file's size. */
flashmem_status fm_pack_writer_commit(fm_pack_writer *writer, uint64_t *bytes, flashmem_error *err);
void            fm_pack_writer_abort(fm_pack_writer *writer); /* NULL and committed allowed; frees */

#endif
