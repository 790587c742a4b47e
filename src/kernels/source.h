/* Kernel source text with its includes in it.  Who may include: compile, run, tests. */
#ifndef FM_KERNELS_SOURCE_H
#define FM_KERNELS_SOURCE_H

#include "base/error.h"

/* malloc'd text of an embedded file in which every #include "x.clh" is replaced by that file, once each; with #line
 * marks.  DEVICE names a missing file. */
flashmem_status fm_program_source(const char *name, char **text, size_t *bytes, flashmem_error *err);

/* What fm_kernel.source_hash holds: XXH3-64 of that text. */
flashmem_status fm_program_source_hash(const char *name, uint64_t *hash, flashmem_error *err);

#endif
