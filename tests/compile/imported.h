/* A model file in a fresh folder, and its import.  Tests only. */
#ifndef FM_TESTS_IMPORTED_H
#define FM_TESTS_IMPORTED_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "compile/onnx/import.h"
#include "compile/onnx/scan.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/onnx_writer.h"

static char test_folder[64], model_path[96];

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info, (void)flag, (void)ftw;
    return remove(path);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(test_folder, sizeof test_folder, "/tmp/flashmem-test-XXXXXX");
    if (!mkdtemp(test_folder)) return -1;
    snprintf(model_path, sizeof model_path, "%s/model.onnx", test_folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return nftw(test_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

typedef struct imported {
    fm_arena       *arena;
    fm_graph        graph;
    fm_onnx_model  *model;
    flashmem_status status;
    flashmem_error  error;
} imported;

static inline void import_graph(imported *i, uint64_t hoist_above, const flashmem_shape *shapes, uint32_t shape_count,
                                bool planning) {
    memset(i, 0, sizeof *i);
    i->arena = fm_arena_create();
    fm_graph_init(&i->graph, i->arena, model_path, NULL);
    i->graph.planning = planning;
    i->status = fm_onnx_load(&i->graph, hoist_above, &i->model, &i->error);
    if (i->status == FLASHMEM_OK) i->status = fm_onnx_import(i->model, &i->error);
    if (i->status == FLASHMEM_OK) i->status = fm_onnx_fix_shapes(&i->graph, shapes, shape_count, &i->error);
    if (i->status == FLASHMEM_OK) i->status = fm_pass_fold(&i->graph, &i->error);
    if (i->status == FLASHMEM_OK) i->status = fm_onnx_check_outputs(i->model, &i->error);
    if (i->status == FLASHMEM_OK) i->status = fm_graph_verify(&i->graph, &i->error);
}

/* Everything up to and with folding. */
static inline void import_with(imported *i, uint64_t hoist_above, const flashmem_shape *shapes, uint32_t shape_count) {
    import_graph(i, hoist_above, shapes, shape_count, false);
}

/* Saves the model (freed) first.  planning: no weight will be read. */
static inline void import_for(imported *i, wire model, bool planning) {
    wire_save(&model, model_path);
    wire_free(&model);
    import_graph(i, FM_ONNX_HOIST_ABOVE, NULL, 0, planning);
}

static inline void import_model(imported *i, wire model) { import_for(i, model, false); }

static inline void drop(imported *i) {
    fm_graph_close(&i->graph);
    fm_arena_destroy(i->arena);
}

static inline fm_tensor *find_tensor(const imported *i, const char *name) {
    for (size_t k = i->graph.tensor_count; k-- > 0;)
        if (strcmp(i->graph.tensors[k]->name, name) == 0) return i->graph.tensors[k];
    return NULL;
}

/* The import fails with this status, and the message has every part, '|' between them. */
static inline void expect_failure(wire model, flashmem_status status, const char *parts) {
    imported i;
    char     copy[512];
    import_model(&i, model);
    if (i.status != status) fail_msg("%s: '%s', expected %s", flashmem_status_name(i.status), i.error.message,
                                     flashmem_status_name(status));
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(i.error.message, part)) fail_msg("'%s' lacks '%s'", i.error.message, part);
    drop(&i);
}

static inline void expect_ok(const imported *i) {
    if (i->status != FLASHMEM_OK) fail_msg("%s: %s", flashmem_status_name(i->status), i->error.message);
}

#endif
