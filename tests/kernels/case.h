/* One matmul or convolution under test: operands as views over random arrays, a double-precision reference on the host,
 * and a check of every row that takes the case.  Kernel tests may include this. */
#ifndef FM_TESTS_KERNELS_CASE_H
#define FM_TESTS_KERNELS_CASE_H

#include "kernels/rows.h"
#include "tests/kernels/harness.h"

enum { FM_CASE_VALUES = 64 };

/* A program being built, with the host array of each value. */
typedef struct fm_case {
    fm_arena          *arena;
    fm_program_builder builder;
    fm_weight          weights[4];
    uint32_t           weight_count;
    void              *data[FM_CASE_VALUES];
    uint32_t           seed;
} fm_case;

/* Whether tests look at the row: all, or those whose name contains FLASHMEM_TEST_ROW (slow checkers want one). */
bool fm_case_wants(const fm_row *row);
void fm_case_open(fm_case *c, uint32_t seed);
void fm_case_close(fm_case *c);
/* A view of shape whose axes lie in memory in the order `order` (outermost first; NULL: row-major), with `gap` unused
 * elements after every run of the innermost axis, over a new float32 value filled at random. */
fm_view fm_case_view(fm_case *c, const int64_t *dims, uint32_t rank, const uint32_t *order, int64_t gap);
/* The same with axes of bit mask `broadcast` repeated (stride 0), and those of `reversed` running backwards. */
fm_view fm_case_bent(fm_case *c, const int64_t *dims, uint32_t rank, uint32_t broadcast, uint32_t reversed);
fm_view fm_case_absent(void);
/* A packed weight of random matrix [k][n]; *matrix (arena) gets what the device sees (rounded when fp16). */
uint32_t fm_case_weight(fm_case *c, flashmem_layout layout, fm_weight_format format, uint64_t k, uint64_t n,
                        uint64_t padding, float **matrix);
/* A dense float32 weight. */
uint32_t fm_case_dense(fm_case *c, uint64_t count, float **data);
/* Element of a view, 0 when absent; of the values' host arrays. */
float  fm_case_at(const fm_case *c, const fm_view *view, const int64_t *index);
double fm_case_activate(fm_activation activation, double x, double p0, double p1);
/* act(alpha * sum + bias + pre) + post at an index of the output, whose axis `channel` the bias runs along. */
double fm_case_finish(const fm_case *c, const fm_epilogue *ep, const int64_t *index, uint32_t channel, double sum);
/* What rows emit the case's program with, after its weights.  device: FM_DEVICE_* bits. */
fm_emit fm_case_emit(fm_case *c, flashmem_layout layout, uint32_t device);

/* Runs the program whole and, where part_panels > 0, in parts; output elements are compared with want (dense, out's
 * shape) to tolerance, parts with the whole for equality, and elements outside the view must be as before. */
void fm_case_check(fm_case *c, fm_harness *h, const fm_view *out, const double *want, double tolerance,
                   uint32_t part_panels, const char *label);

#endif
