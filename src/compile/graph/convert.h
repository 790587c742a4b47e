/* Arrays from one element type to another, as ONNX Cast converts.  Who may include: compile. */
#ifndef FM_COMPILE_GRAPH_CONVERT_H
#define FM_COMPILE_GRAPH_CONVERT_H

#include "contract/tensor.h"

/* to and from are dense, count elements each; they may be the same memory only when the types are equal.  Floats to
 * integers truncate and saturate (NaN gives 0), anything to bool is != 0, floats round to nearest even, once. */
void fm_convert(void *to, flashmem_dtype to_dtype, const void *from, flashmem_dtype from_dtype, size_t count);

/* Every value of `from` is a value of `through`: converting through it changes nothing. */
bool fm_convert_is_exact(flashmem_dtype from, flashmem_dtype through);

#endif
