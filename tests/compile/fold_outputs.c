/* Imports and folds models, for tests in Python (test_backend_ops.py): one model path per line of standard input.  For
 * each it prints
 *     model PATH
 *     fail STATUS MESSAGE                             or, for every output in order,
 *     output INDEX DTYPE (constant|runtime) DIMS...
 * and writes the values of constant outputs to PATH.INDEX.bin. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/onnx/import.h"
#include "compile/passes/passes.h"

enum { HOIST_ABOVE = 1 << 12 };

static flashmem_status write_values(const char *path, size_t index, const fm_tensor *t, flashmem_error *err) {
    char   name[4200];
    size_t bytes = (size_t)fm_shape_count(&t->shape) * fm_dtype_bytes(t->dtype);
    void  *data = malloc(bytes ? bytes : 1);
    if (!data) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%zu bytes", bytes);
    flashmem_status status = fm_recipe_read_all(t->constant, t->dtype, data, err);
    snprintf(name, sizeof name, "%s.%zu.bin", path, index);
    FILE *file = status == FLASHMEM_OK ? fopen(name, "wb") : NULL;
    if (file && fwrite(data, 1, bytes, file) != bytes) status = fm_fail(err, FLASHMEM_IO, "%s", name);
    if (file) fclose(file);
    free(data);
    return status;
}

static flashmem_status fold_model(fm_graph *g, const char *path, flashmem_error *err) {
    fm_onnx_model *model;
    FM_TRY(fm_onnx_load(g, HOIST_ABOVE, &model, err));
    FM_TRY(fm_onnx_import(model, err));
    FM_TRY(fm_onnx_fix_shapes(g, NULL, 0, err));
    FM_TRY(fm_pass_fold(g, err));
    FM_TRY(fm_onnx_check_outputs(model, err));
    FM_TRY(fm_graph_verify(g, err));
    for (size_t i = 0; i < g->output_count; i++) {
        const fm_tensor *t = g->outputs[i];
        printf("output %zu %d %s", i, (int)t->dtype, t->constant ? "constant" : "runtime");
        for (uint32_t d = 0; d < t->shape.rank; d++) printf(" %" PRId64, t->shape.dims[d]);
        printf("\n");
        if (t->constant) FM_TRY(write_values(path, i, t, err));
    }
    return FLASHMEM_OK;
}

int main(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = '\0';
        printf("model %s\n", path);
        fm_arena      *arena = fm_arena_create();
        fm_graph       graph;
        fm_log         log = { 0 };
        flashmem_error err = { 0 };
        if (!arena) return 1;
        fm_graph_init(&graph, arena, path, &log);
        flashmem_status status = fold_model(&graph, path, &err);
        if (status != FLASHMEM_OK) printf("fail %s %s\n", flashmem_status_name(status), err.message);
        fm_graph_close(&graph);
        fm_arena_destroy(arena);
    }
    return 0;
}
