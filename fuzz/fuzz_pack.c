/* Any bytes as a pack: opening, checking and planning end well or in an error with a message.  Checksums would hide
 * everything behind them from the fuzzer, so each input is tried as it is and with its checksums made right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "contract/overlap.h"
#include "flashmem/run.h"
#include "fuzz/fuzz_input.h"

static void check(flashmem_status status, const flashmem_error *error) {
    if (status != FLASHMEM_INTERNAL && (status == FLASHMEM_OK || error->message[0])) return;
    fprintf(stderr, "%s: %s\n", flashmem_status_name(status), error->message);
    abort();
}

static void plan(const char *path, flashmem_objective objective) {
    flashmem_run_options options;
    flashmem_model      *model = NULL;
    flashmem_error       error = { 0 };
    flashmem_run_options_init(&options);
    options.device = "null";
    options.plan_only = 1;
    options.cache_dir = "";
    options.budget_kind = FLASHMEM_BUDGET_MINIMUM;
    options.objective = objective;
    flashmem_status status = flashmem_model_open(path, &options, &model, &error);
    check(status, &error);
    if (status != FLASHMEM_OK) return;
    const flashmem_plan *plan;
    check(flashmem_model_plan(model, &plan, &error), &error);
    flashmem_model_close(model);
}

static void read_overlaps(const fm_pack *pack) {
    fm_stored_overlaps overlaps;
    flashmem_error     error = { 0 };
    fm_arena          *arena = fm_arena_create();
    if (arena && !fm_arena_trap(arena)) check(fm_pack_read_overlaps(pack, arena, &overlaps, &error), &error);
    fm_arena_destroy(arena);
}

static void try_pack(const uint8_t *data, size_t bytes) {
    fuzz_file      file;
    fm_pack        pack;
    flashmem_error error = { 0 };
    fuzz_file_open(&file, data, bytes);
    flashmem_status status = fm_pack_open(&pack, file.path, &error);
    check(status, &error);
    if (status == FLASHMEM_OK) {
        check(fm_pack_verify_weights(&pack, &error), &error);
        read_overlaps(&pack);
        fm_pack_close(&pack);
        plan(file.path, FLASHMEM_OBJECTIVE_TIMED);
        plan(file.path, FLASHMEM_OBJECTIVE_OPG);
    }
    fuzz_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fm_pack_header header;
    try_pack(data, bytes);
    if (bytes < FM_PACK_ALIGN) return 0;
    uint8_t *copy = malloc(bytes);
    if (!copy) return 0;
    memcpy(copy, data, bytes);
    memcpy(&header, copy, sizeof header);
    if (header.tables.offset <= bytes && header.tables.bytes <= bytes - header.tables.offset)
        header.tables_checksum = fm_hash(copy + header.tables.offset, header.tables.bytes);
    if (header.overlaps.offset <= bytes && header.overlaps.bytes <= bytes - header.overlaps.offset)
        header.overlaps_checksum = fm_hash(copy + header.overlaps.offset, header.overlaps.bytes);
    header.header_checksum = 0;
    header.header_checksum = fm_hash(&header, sizeof header);
    memcpy(copy, &header, sizeof header);
    try_pack(copy, bytes);
    free(copy);
    return 0;
}
