/* Packs of random programs, made through the builder and the pack writer: chains of splittable and plain steps,
 * bundles, tied weights, tables read by row, residuals.  Any test of run may include this. */
#ifndef FM_TESTS_SYNTHETIC_H
#define FM_TESTS_SYNTHETIC_H

#include <stdint.h>

#include "flashmem/run.h"

typedef struct fm_synthetic {
    uint64_t    seed;
    uint32_t    steps;         /* splittable steps; plain ones come between */
    uint32_t    weight_bytes;  /* of a large weight, about */
    uint32_t    rows;          /* rows gathered first from a table, 0 = none */
    uint32_t    computed_rows; /* rows gathered in the middle by computed indices, 0 = none */
    int         tied;          /* the last step uses the first large weight again */
    int         half;          /* fp16 weights and table */
    int         texture;       /* texture layout, weights through images */
    const char *source;        /* kernel source that steps name; NULL: "none.cl" */
} fm_synthetic;

/* Writes the pack; aborts the test on failure. */
void fm_synthetic_write(const fm_synthetic *what, const char *path);

/* What to run a synthetic model with: inputs bound by fm_synthetic_bind. */
enum { FM_SYNTHETIC_TABLE_ROWS = 500 };
typedef struct fm_synthetic_inputs {
    void *data[4]; /* 64-byte aligned, malloc'd */
} fm_synthetic_inputs;
void fm_synthetic_bind(flashmem_model *model, fm_synthetic_inputs *inputs, uint64_t seed);
void fm_synthetic_free(fm_synthetic_inputs *inputs);
/* One hash over all outputs. */
uint64_t fm_synthetic_outputs(const flashmem_model *model);

#endif
