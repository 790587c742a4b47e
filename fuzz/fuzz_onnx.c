/* Any bytes as a model: import, folding, every pass and lowering end in a valid program or an error with a message. */
#include <stdio.h>
#include <stdlib.h>

#include "compile/lower.h"
#include "compile/onnx/import.h"
#include "compile/passes/passes.h"
#include "fuzz/fuzz_input.h"

enum { HOIST_ABOVE = 64, OPEN_SIZE = 3 };

/* Every open size becomes OPEN_SIZE. */
static flashmem_status fix_shapes(fm_graph *g, flashmem_error *err) {
    flashmem_shape *shapes = fm_arena_array(g->arena, g->input_count, sizeof *shapes);
    uint32_t        count = 0;
    for (size_t i = 0; i < g->input_count; i++) {
        const fm_tensor *t = g->inputs[i];
        if (t->shaped) continue;
        flashmem_shape *s = &shapes[count++];
        s->name = t->name;
        s->rank = t->shape.rank == FM_RANK_UNKNOWN ? 2 : t->shape.rank;
        for (uint32_t a = 0; a < s->rank; a++) {
            bool fixed = t->shape.rank != FM_RANK_UNKNOWN && t->shape.dims[a] >= 0;
            s->dims[a] = fixed ? t->shape.dims[a] : OPEN_SIZE;
        }
    }
    return fm_onnx_fix_shapes(g, shapes, count, err);
}

/* Never inlined: the trap's frame must not keep locals that a jump makes stale. */
__attribute__((noinline)) static flashmem_status compile(fm_graph *g, flashmem_error *err) {
    static flashmem_status (*const passes[])(fm_graph *g, flashmem_error *err) = {
        fm_pass_fold,      fm_pass_simplify, fm_pass_recognise,   fm_pass_fold_norms,
        fm_pass_attention, fm_pass_epilogue, fm_pass_elementwise,
    };
    fm_onnx_model *model;
    FM_TRY(fm_onnx_load(g, HOIST_ABOVE, &model, err));
    FM_TRY(fm_onnx_import(model, err));
    FM_TRY(fix_shapes(g, err));
    for (size_t p = 0; p < sizeof passes / sizeof *passes; p++) {
        FM_TRY(passes[p](g, err));
        FM_TRY(fm_graph_verify(g, err)); /* INTERNAL: a defect */
    }
    flashmem_compile_options options = { .size = sizeof options };
    for (int layout = FLASHMEM_LAYOUT_CPU; layout <= FLASHMEM_LAYOUT_TEXTURE; layout++) {
        fm_lower lower;
        options.layout = (flashmem_layout)layout;
        fm_lower_init(&lower, g, &options, layout == FLASHMEM_LAYOUT_CPU ? FM_DEVICE_CPU : FM_DEVICE_IMAGE);
        FM_TRY(fm_lower_graph(&lower, err));
    }
    return FLASHMEM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file      file;
    fm_graph       g;
    flashmem_error error = { 0 };
    fm_arena      *arena = fm_arena_create();
    if (!arena) return 0;
    fuzz_file_open(&file, data, bytes);
    fm_graph_init(&g, arena, file.path, NULL);
    if (!fm_arena_trap(arena)) {
        flashmem_status status = compile(&g, &error);
        if (status == FLASHMEM_INTERNAL || (status != FLASHMEM_OK && !error.message[0])) {
            fprintf(stderr, "%s: %s\n", flashmem_status_name(status), error.message);
            abort();
        }
    }
    fm_graph_close(&g);
    fm_arena_destroy(arena);
    fuzz_file_close(&file);
    return 0;
}
