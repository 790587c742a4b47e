/* Adds an overlap plan, made by chance, to a pack: what tests of the command line replay.
 *     make_overlap PACK in-place|texture-copy SEED PRELOADED-PERCENT CHUNK-BYTES SLAB-BYTES */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/run/overlap_pack.h"

int main(int argc, char **argv) {
    flashmem_run_options options;
    flashmem_error       err = { 0 };
    if (argc != 7) return fprintf(stderr, "usage: make_overlap PACK PATH SEED PRELOADED CHUNK SLAB\n"), 2;
    flashmem_run_options_init(&options);
    if (!strcmp(argv[2], "texture-copy")) options.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    overlap_taste taste = { .seed = strtoull(argv[3], NULL, 10),
                            .preload = (uint32_t)strtoul(argv[4], NULL, 10),
                            .chunk_bytes = strtoull(argv[5], NULL, 10),
                            .window = 12,
                            .loads = 4 };
    if (fm_overlap_add(argv[1], &options, &taste, strtoull(argv[6], NULL, 10), &err) == FLASHMEM_OK) return 0;
    return fprintf(stderr, "%s\n", err.message), 1;
}
