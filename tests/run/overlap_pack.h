/* Overlap plans by chance, added to packs.  Tests of run include it. */
#ifndef FM_TESTS_OVERLAP_PACK_H
#define FM_TESTS_OVERLAP_PACK_H

#include "flashmem/run.h"
#include "tests/schedule/overlaps.h"

/* A plan for the program, device and memory path that options choose, in slabs of at most slab_bytes (0: whole). */
flashmem_status fm_overlap_add(const char *pack_path, const flashmem_run_options *options, const overlap_taste *taste,
                               uint64_t slab_bytes, flashmem_error *err);

#endif
