/* One description under test: typed strided operands over random arrays, and a run of every kernel row that takes it.
 * Kernel tests may include this. */
#ifndef FM_TESTS_KERNELS_ROWS_CASE_H
#define FM_TESTS_KERNELS_ROWS_CASE_H

#include "kernels/rows.h"
#include "tests/kernels/harness.h"

enum { FM_ROWS_VALUES = 16 };

typedef enum fm_rows_layout {
    FM_DENSE,
    FM_GAPPED,     /* unused elements before the first and after every innermost run */
    FM_TRANSPOSED, /* memory order of the axes reversed */
    FM_REVERSED,   /* first and last axis run backwards */
    FM_ROWS_LAYOUTS
} fm_rows_layout;

typedef struct fm_rows_value {
    flashmem_dtype dtype;
    int64_t        count;
    void          *data;
} fm_rows_value;

typedef struct fm_rows_case {
    fm_harness   *harness;
    char          label[160];
    fm_rows_value values[FM_ROWS_VALUES];
    uint32_t      value_count, seed;
} fm_rows_case;

/* cmocka group fixtures: open and close the one harness below. */
int fm_rows_setup(void **state);
int fm_rows_teardown(void **state);
/* FLASHMEM_TEST_SMALL is set: run only cases of little work (for kernel checkers). */
bool fm_rows_small(void);

__attribute__((format(printf, 2, 3))) void fm_rows_open(fm_rows_case *c, const char *label, ...);
void                                       fm_rows_close(fm_rows_case *c);
/* A view over a new value: floats in [-1, 1), integers in -100..99 (unsigned: 0..99), bools 0 or 1.  Axes in the bit
 * mask `broadcast` are repeated (stride 0). */
fm_view fm_rows_view(fm_rows_case *c, flashmem_dtype dtype, uint32_t rank, const int64_t *dims, fm_rows_layout layout,
                     uint32_t broadcast);
fm_view fm_rows_absent(void);
double  fm_rows_at(const fm_rows_case *c, const fm_view *view, const int64_t *index);
void    fm_rows_set(fm_rows_case *c, const fm_view *view, const int64_t *index, double value);
/* Integers low..high - 1 at random. */
void fm_rows_fill(fm_rows_case *c, const fm_view *view, int64_t low, int64_t high);
/* The next index in row-major order; false after the last. Start from zeros. */
bool fm_rows_next(const fm_shape *shape, int64_t *index);

/* Emits desc with every row that takes it, then by the public function, runs each on a copy of the values, and compares
 * the elements of out with want (dense, row-major): |got - want| <= tolerance * max(1, |want|), equal when tolerance is
 * 0.  Elements beside the view must keep their bytes. */
void fm_rows_check(fm_rows_case *c, fm_family family, const void *desc, const fm_view *out, const double *want,
                   double tolerance);
/* The same for two outputs. */
void fm_rows_check_two(fm_rows_case *c, fm_family family, const void *desc, const fm_view *outs,
                       const double *const *wants, uint32_t count, double tolerance);
/* The public function must refuse desc as UNSUPPORTED, with a message that contains reason. */
void fm_rows_refuses(fm_rows_case *c, fm_family family, const void *desc, const char *reason);

#endif
