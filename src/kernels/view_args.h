/* What emit functions share: checking the operands of a description, and passing views as int arguments.
 *
 * Kernels declare the same with the macros of views.clh: FM_VIEW4(x) is the parameters `int x_offset, int x_s0 ..
 * x_s3`, FM_DIMS4(d) is `int d0 .. d3`.  Who may include: kernels. */
#ifndef FM_KERNELS_VIEW_ARGS_H
#define FM_KERNELS_VIEW_ARGS_H

#include "kernels/rows.h"

#define FM_DTYPE_BIT(t)  (1u << (t))
#define FM_DTYPES_REAL   FM_DTYPE_BIT(FLASHMEM_F32)
#define FM_DTYPES_INDEX  (FM_DTYPE_BIT(FLASHMEM_I64) | FM_DTYPE_BIT(FLASHMEM_I32))
#define FM_DTYPES_NUMBER (FM_DTYPES_REAL | FM_DTYPES_INDEX)
#define FM_DTYPES_MASK   (FM_DTYPES_REAL | FM_DTYPE_BIT(FLASHMEM_BOOL))
#define FM_DTYPES_ANY    UINT32_MAX
#define FM_RANK_ANY      UINT32_MAX

/* The step that is being emitted, for messages. */
typedef struct fm_subject {
    const fm_emit  *emit;
    fm_family       family;
    const char     *name; /* the step's */
    flashmem_error *err;
} fm_subject;

/* UNSUPPORTED unless view has a dtype of the set, the rank, no axis of size 0, at most 2^30 elements, and element
 * positions that an int holds; INTERNAL when it names no value or leaves the value's bytes. role: "x", "mask". */
flashmem_status fm_check_operand(const fm_subject *s, const char *role, const fm_view *view, uint32_t dtypes,
                                 uint32_t rank);
/* Also the same shape as `like`. */
flashmem_status fm_check_like(const fm_subject *s, const char *role, const fm_view *view, uint32_t dtypes,
                              const fm_view *like);
/* UNSUPPORTED with the step's name and the formatted reason. */
__attribute__((format(printf, 2, 3))) flashmem_status fm_refuse(const fm_subject *s, const char *format, ...);

static inline bool fm_view_present(const fm_view *view) { return view->value != FM_NONE; }

/* Arguments: the view's offset and `rank` strides, or `rank` sizes; axes that the view lacks stand in front as stride
 * 0, size 1. */
void fm_args_view(fm_program_builder *b, const fm_view *view, uint32_t rank);
void fm_args_dims(fm_program_builder *b, const fm_shape *shape, uint32_t rank);
/* A buffer, READ or WRITE, then the view. */
void fm_args_read(fm_program_builder *b, const fm_view *view, uint32_t rank);
void fm_args_write(fm_program_builder *b, const fm_view *view, uint32_t rank);
/* The same over FM_MAX_RANK axes with the missing ones behind instead of in front. */
void fm_args_read_left(fm_program_builder *b, const fm_view *view);
void fm_args_write_left(fm_program_builder *b, const fm_view *view);
void fm_args_dims_left(fm_program_builder *b, const fm_shape *shape);
/* The optional form gives stand_in's buffer and zeros where view is absent (kernels take a flag beside). */
void fm_args_read_optional(fm_program_builder *b, const fm_view *view, const fm_view *stand_in, uint32_t rank);
void fm_args_write_optional(fm_program_builder *b, const fm_view *view, const fm_view *stand_in, uint32_t rank);

int64_t fm_view_count(const fm_view *view);
/* Bytes that reading or writing the view touches: broadcast axes once; 0 when absent. */
double fm_view_bytes(const fm_view *view);
/* The axis is contiguous (or of size 1). */
static inline bool fm_axis_dense(const fm_view *view, uint32_t axis) {
    return view->shape.dims[axis] == 1 || view->strides[axis] == 1;
}
/* OpenCL C type of an element: "float", "uchar"; NULL where kernels have none (float16, float64, bfloat16). */
const char *fm_kernel_type(flashmem_dtype dtype);
/* The same by size only, for moving: "uchar", "ushort", "uint", "ulong". */
const char *fm_move_type(flashmem_dtype dtype);

/* Work-items for count equal pieces of `each` nanoseconds on a CPU device: as few as keep an item above the cost of its
 * start, at most 64. 1 <= result <= count. */
int64_t fm_cpu_items(int64_t count, double each);
/* The step's sizes; on CPU devices every item is a work-group of its own, for which the kernel is compiled once. */
void fm_args_items(fm_emit *e, int64_t x, int64_t y, int64_t z);
/* Elements per work-item so that count of them make fm_cpu_items items on CPU devices, and 1 elsewhere. */
int64_t fm_item_run(const fm_emit *e, int64_t count, double each);

#endif
