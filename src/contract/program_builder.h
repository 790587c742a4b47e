/* Grows a program step by step.  Used by compile's lowering, kernel tests and micro-benchmarks.  All memory comes from
 * the arena given to init. */
#ifndef FM_CONTRACT_PROGRAM_BUILDER_H
#define FM_CONTRACT_PROGRAM_BUILDER_H

#include "base/arena.h"
#include "contract/program.h"

typedef struct fm_program_builder {
    fm_arena *arena;
    char      *strings;  size_t string_bytes, string_capacity;
    fm_expr   *exprs;    size_t expr_count, expr_capacity;
    fm_value  *values;   size_t value_count, value_capacity;
    fm_kernel *kernels;  size_t kernel_count, kernel_capacity;
    fm_arg    *args;     size_t arg_count, arg_capacity;
    fm_step   *steps;    size_t step_count, step_capacity;
    uint32_t  *inputs;   size_t input_count, input_capacity;
    uint32_t  *outputs;  size_t output_count, output_capacity;
    uint8_t   *blob;     size_t blob_bytes, blob_capacity;
    bool       open; /* between begin_step and end_step */
    uint32_t  *string_slots, *int_slots; /* hash tables: index + 1, 0 free; owned by the implementation */
    size_t     string_slot_count, int_slot_count, string_entries;
} fm_program_builder;

void     fm_builder_init(fm_program_builder *b, fm_arena *arena);
uint32_t fm_builder_string(fm_program_builder *b, const char *text); /* deduplicated; NULL gives FM_NONE */
uint32_t fm_builder_int(fm_program_builder *b, int64_t value);       /* constant expression, deduplicated */
uint32_t fm_builder_kernel(fm_program_builder *b, const char *source, const char *options, const char *entry,
                           uint32_t needs); /* deduplicated */

/* A value of bytes; name may be NULL.  shape may be NULL. */
uint32_t fm_builder_value(fm_program_builder *b, fm_value_kind kind, flashmem_dtype dtype, int64_t bytes,
                          const char *name, const fm_shape *shape);
uint32_t fm_builder_weight(fm_program_builder *b, uint32_t weight, flashmem_dtype dtype, int64_t bytes, const char *name);
/* Up to 64 bytes, copied. */
uint32_t fm_builder_constant(fm_program_builder *b, flashmem_dtype dtype, const void *data, uint32_t bytes);
void     fm_builder_input(fm_program_builder *b, uint32_t value);  /* appends to the model's inputs */
void     fm_builder_output(fm_program_builder *b, uint32_t value);

/* One step: begin, arguments in the entry point's order, sizes, end. */
void     fm_builder_begin(fm_program_builder *b, const char *name, uint32_t kernel, flashmem_cost_class cost_class);
void     fm_builder_read(fm_program_builder *b, uint32_t value);
void     fm_builder_write(fm_program_builder *b, uint32_t value);
void     fm_builder_image(fm_program_builder *b, uint32_t value);
void     fm_builder_arg_int(fm_program_builder *b, int64_t value);
void     fm_builder_arg_float(fm_program_builder *b, float value);
void     fm_builder_arg_panels(fm_program_builder *b); /* FIRST_PANEL, then PANELS */
void     fm_builder_global(fm_program_builder *b, int64_t x, int64_t y, int64_t z);
void     fm_builder_local(fm_program_builder *b, int64_t x, int64_t y, int64_t z);
void     fm_builder_work(fm_program_builder *b, double flops, double bytes);
void     fm_builder_split(fm_program_builder *b, uint32_t weight_value, uint32_t dim, uint32_t panels, uint32_t scale);
uint32_t fm_builder_end(fm_program_builder *b); /* the step's index */
/* A GATHER_ROWS step. */
uint32_t fm_builder_gather_rows(fm_program_builder *b, const char *name, uint32_t indices, uint32_t table, uint32_t out,
                                int64_t rows);

/* A PLANNED step: begin, READ, IMAGE and WRITE arguments, work, split, end. */
void fm_builder_planned(fm_program_builder *b, const char *name, const char *op, flashmem_cost_class cost_class);

/* Takes back what was added since a mark: steps (an open one too), arguments, values, kernels, inputs, outputs, constants.
 * Strings and integers stay: nothing refers to those that are left over. */
typedef struct fm_builder_marked {
    size_t values, kernels, args, steps, inputs, outputs, blob_bytes;
} fm_builder_marked;
fm_builder_marked fm_builder_mark(const fm_program_builder *b);
void              fm_builder_rewind(fm_program_builder *b, const fm_builder_marked *mark);

/* Borrowed from the builder until its next change. */
fm_program fm_builder_program(const fm_program_builder *b);

#endif
