/* The program: values, kernel steps and their arguments, as compile emits and run replays.
 *
 * Everything here is a flat little-endian record that lies in the pack exactly as declared (checked by static
 * asserts), refers to other records by index, and needs no allocation to be read.  Steps refer to values; where a value
 * lives is decided at open (schedule/), in a table apart, so that placing again touches no step.
 *
 * The steps stored are unsplit.  At open the slab cut expands splittable ones. */
#ifndef FM_CONTRACT_PROGRAM_H
#define FM_CONTRACT_PROGRAM_H

#include <assert.h>
#include <stdint.h>

#include "contract/tensor.h"
#include "flashmem/device.h"

#define FM_NONE UINT32_MAX

/* Integer expressions: every size, stride, offset and count of a program is an index into this table.  Constants
 * today; symbols and arithmetic over earlier rows later. */
typedef enum fm_expr_kind { FM_EXPR_CONST } fm_expr_kind;
typedef struct fm_expr {
    uint32_t kind; /* fm_expr_kind */
    uint32_t a, b; /* operands: indexes of earlier expressions; 0 when unused */
    uint32_t reserved;
    int64_t  value; /* FM_EXPR_CONST */
} fm_expr;
static_assert(sizeof(fm_expr) == 24, "pack record");

typedef enum fm_value_kind {
    FM_VALUE_ACTIVATION,
    FM_VALUE_SCRATCH, /* written and read by one step */
    FM_VALUE_WEIGHT,  /* a range of a weight of the pack */
    FM_VALUE_CONSTANT,/* up to 64 bytes, in the program's blob; placed once, stays */
    FM_VALUE_INPUT,
    FM_VALUE_OUTPUT,
    FM_VALUE_STATE    /* kept between runs */
} fm_value_kind;

typedef struct fm_value {
    uint32_t kind;  /* fm_value_kind */
    uint32_t dtype; /* flashmem_dtype as kernels see it */
    uint32_t bytes; /* expression */
    uint32_t name;  /* string of the graph tensor, or FM_NONE */
    uint32_t weight;/* FM_VALUE_WEIGHT: index into the pack's weights; else FM_NONE */
    uint32_t alias; /* FM_VALUE_STATE, FM_VALUE_OUTPUT: value whose storage it shares, or FM_NONE */
    uint64_t blob;  /* FM_VALUE_CONSTANT: byte offset in the program's blob */
    uint32_t shape_rank;
    uint32_t shape[FM_MAX_RANK]; /* expressions: dense logical shape; inputs, outputs and kept tensors */
    uint32_t flags; /* FM_VALUE_* below */
    uint64_t limit; /* integer inputs used as an index: exclusive upper bound, else 0 */
} fm_value;
static_assert(sizeof(fm_value) == 80, "pack record");
#define FM_VALUE_IS_MASK 1u /* input used as a 0/1 mask */

/* A device program: an embedded source with options, one entry point. */
typedef struct fm_kernel {
    uint32_t source;  /* string: file name, "matmul.cl" */
    uint32_t options; /* string: "-DWEIGHT_HALF=1 -DACTIVATION=2" */
    uint32_t entry;   /* string: kernel function */
    uint32_t needs;   /* FM_DEVICE_* bits */
    uint64_t source_hash; /* XXH3-64 of the source it was chosen from, includes expanded; 0: any */
} fm_kernel;
static_assert(sizeof(fm_kernel) == 24, "pack record");
#define FM_DEVICE_CPU (1u << 0)    /* kernels written for CPU devices: big work-items, local size 1 */
#define FM_DEVICE_IMAGE (1u << 1)  /* image2d reads */
#define FM_DEVICE_HALF (1u << 2)   /* half arithmetic (cl_khr_fp16) */
#define FM_DEVICE_NVIDIA (1u << 3) /* inline PTX */

typedef enum fm_arg_kind {
    FM_ARG_READ,        /* buffer of a value, read */
    FM_ARG_WRITE,       /* buffer of a value, written (or read and written) */
    FM_ARG_IMAGE,       /* image of a weight value, read */
    FM_ARG_INT,         /* int: expression */
    FM_ARG_FLOAT,       /* float: bits */
    FM_ARG_FIRST_PANEL, /* int: first panel of this launch; panels count within the slab's buffer from 0, but columns
                           of bias, residual and output count from FIRST_PANEL: see fm_split */
    FM_ARG_PANELS       /* int: panels of this launch */
} fm_arg_kind;
typedef struct fm_arg {
    uint32_t kind;  /* fm_arg_kind */
    uint32_t value; /* READ, WRITE, IMAGE: value; INT: expression; FLOAT: bits; else 0 */
} fm_arg;
static_assert(sizeof(fm_arg) == 8, "pack record");

typedef enum fm_step_kind {
    FM_STEP_KERNEL,
    FM_STEP_GATHER_ROWS, /* rows of a FM_WEIGHT_ROWS weight by run-time indices, read from the pack */
    FM_STEP_PLANNED      /* an operator that no kernel runs: what it reads, writes and costs.  Never in a pack */
} fm_step_kind;

/* One unsplit step.  KERNEL: kernel, arguments in the order of the entry point's parameters, sizes.
 * GATHER_ROWS: arguments READ indices (int32 or int64, `rows` of them), READ weight value (FM_WEIGHT_ROWS),
 * WRITE output (dense float32 [rows, row elements]), INT rows.
 * PLANNED: READ, IMAGE and WRITE arguments; panels where it is splittable. */
typedef struct fm_step {
    uint32_t kind; /* fm_step_kind */
    uint32_t name; /* string: node name for people, or FM_NONE */
    uint32_t kernel; /* FM_NONE: GATHER_ROWS; a string, the operator: PLANNED */
    uint32_t first_arg, arg_count;
    uint32_t global[3], local[3]; /* expressions; local FM_NONE: the implementation chooses */
    uint32_t cost_class;          /* flashmem_cost_class */
    uint32_t flops, bytes;        /* expressions: floating-point operations; activation bytes read and written */
    /* A splittable step computes runs of output panels of one packed weight (fm_weight.panels of them).  A part with
     * P panels from panel F: the weight argument is the slab's own buffer (its panel 0 is panel F), FIRST_PANEL = F,
     * PANELS = P, and global[split_dim] = ceil(P / split_panels) * split_scale.  Other arguments stay. */
    uint32_t split_value;  /* the weight value, or FM_NONE: not splittable */
    uint32_t split_dim;    /* 0..2 */
    uint32_t split_panels; /* panels covered by split_scale work-items of that dimension */
    uint32_t split_scale;
} fm_step;
static_assert(sizeof(fm_step) == 72, "pack record");

/* Weight formats: element type and block of packed weights.  A row here, a loader macro in the kernels. */
typedef enum fm_weight_format { FM_WEIGHT_F32, FM_WEIGHT_F16, FM_WEIGHT_RAW /* any dtype, dense, as the value says */ } fm_weight_format;

typedef enum fm_weight_kind {
    FM_WEIGHT_PANELS, /* [N/16][K][16] (cpu) or texel rows (texture): columns cut into panels */
    FM_WEIGHT_DENSE,  /* row-major array: vectors, small tables, constants */
    FM_WEIGHT_ROWS    /* embedding table [rows][row_bytes], read by row; never planned as an object */
} fm_weight_kind;

/* A weight in the pack.  It lies inside exactly one object at object_offset (or is FM_WEIGHT_ROWS, at file_offset).
 *
 * Panels, layout cpu:      panel p = columns 16p..16p+15, [K][16] elements, zero-padded in N; panel_bytes apart.
 * Panels, layout texture:  panel p = RGBA rows: texel (x = k, y = p) holds columns 4p..4p+3 of row k; panel_bytes =
 *                          K texels; an image of width K and height `panels`, banded where the device needs. */
typedef struct fm_weight {
    uint32_t name;   /* string */
    uint32_t kind;   /* fm_weight_kind */
    uint32_t format; /* fm_weight_format */
    uint32_t object; /* object that holds it; FM_NONE for FM_WEIGHT_ROWS */
    uint64_t object_offset; /* bytes */
    uint64_t bytes;         /* stored, padding of the last unit included */
    uint64_t k, n;          /* logical rows (reduction) and columns (outputs); ROWS: n elements per row, k rows */
    uint64_t panels, panel_bytes;
    uint32_t unit_panels;   /* panels of a cut unit: unit_panels * panel_bytes is a multiple of 4096 */
    uint32_t flags;         /* 0 */
    uint64_t file_offset, row_bytes; /* FM_WEIGHT_ROWS: absolute offset of row 0; bytes from row to row */
    uint64_t first_checksum;         /* FM_WEIGHT_ROWS: index of row 0's checksum */
} fm_weight;
static_assert(sizeof(fm_weight) == 96, "pack record");

/* Weights of a bundle start at multiples of this, so that devices can make sub-buffers of them. */
#define FM_WEIGHT_ALIGN 512u

/* What is read as one: a large weight alone (cut in slabs at open) or a bundle of small ones.  File ranges are 4 KiB
 * aligned and padded, in order of first use. */
typedef struct fm_object {
    uint64_t file_offset, bytes; /* multiples of 4096 */
    uint32_t weight;             /* the weight it holds alone, or FM_NONE: a bundle */
    uint32_t reserved;
    uint64_t unit_bytes;     /* bytes per checksum: a cut unit, or the whole bundle */
    uint64_t first_checksum; /* index of its first checksum; ceil(bytes / unit_bytes) of them */
} fm_object;
static_assert(sizeof(fm_object) == 40, "pack record");

/* A program's tables, as pointers into a mapped pack or a builder. */
typedef struct fm_program {
    const char      *strings; /* NUL-terminated texts; an index is a byte offset */
    uint64_t         string_bytes;
    const fm_expr   *exprs;   uint32_t expr_count;
    const fm_value  *values;  uint32_t value_count;
    const fm_kernel *kernels; uint32_t kernel_count;
    const fm_arg    *args;    uint32_t arg_count;
    const fm_step   *steps;   uint32_t step_count;
    const uint32_t  *inputs;  uint32_t input_count;  /* values, in the model's order */
    const uint32_t  *outputs; uint32_t output_count;
    const uint8_t   *blob;    uint64_t blob_bytes;   /* constants, each 64-byte aligned within the blob */
} fm_program;

static inline int64_t fm_program_expr(const fm_program *p, uint32_t e) { return p->exprs[e].value; }
static inline const char *fm_program_string(const fm_program *p, uint32_t s) { return s == FM_NONE ? "" : p->strings + s; }

struct fm_pack;
/* Recomputes every rule above from scratch: indexes in range, kinds fit, sizes positive, split rules, argument order of
 * GATHER_ROWS, weights inside their objects.  Status BAD_PACK.  Order of accesses: an activation or output is written
 * before it is read, and by no step after another step has read it (several steps may write parts of it before);
 * scratch belongs to one step; inputs, weights and constants are never written; a splittable step writes no value that
 * it reads.  PLANNED steps are refused; the message names their operators. */
flashmem_status fm_program_verify(const fm_program *program, const fm_weight *weights, uint32_t weight_count,
                                  const fm_object *objects, uint32_t object_count, flashmem_error *err);

/* The same for a program that is only planned: PLANNED steps may be there. */
flashmem_status fm_program_verify_planned(const fm_program *program, const fm_weight *weights, uint32_t weight_count,
                                          const fm_object *objects, uint32_t object_count, flashmem_error *err);
/* UNSUPPORTED when the program has PLANNED steps: "planned only: no kernel runs ...", with operators and names. */
flashmem_status fm_program_check_runnable(const fm_program *program, flashmem_error *err);

#endif
