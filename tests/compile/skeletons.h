/* The zoo's models without weights, imported to be planned: everything up to and with folding.  Tests only; `make models`
 * unpacks them. */
#ifndef FM_TESTS_SKELETONS_H
#define FM_TESTS_SKELETONS_H

#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "compile/onnx/import.h"
#include "compile/onnx/scan.h"
#include "compile/passes/passes.h"
#include "tests/base/cmocka_setup.h"

static const char *const skeleton_names[] = {
    "deepvit",    "depth-l",    "depth-s",           "gptn-1.3b", "gptn-2.7b",     "gptn-s",
    "llama2-13b", "llama2-70b", "minilm-l6-dynamic", "minilm-l6", "resnet50",      "sam2-hiera-l",
    "sd-unet",    "vit-8b",     "vit-b16",           "vit",       "whisper-m-dec", "whisper-m-enc",
};
enum { SKELETONS = sizeof skeleton_names / sizeof *skeleton_names };

typedef struct skeleton {
    fm_arena      *arena;
    fm_graph       graph;
    flashmem_error error;
} skeleton;

/* False: not unpacked, and says so. */
static inline bool skeleton_exists(const char *name, char path[256]) {
    snprintf(path, 256, "%s/%s.onnx", FM_SKELETONS_DIR, name);
    if (access(path, R_OK) == 0) return true;
    print_message("%s is not there: 'make models' unpacks it\n", path);
    return false;
}

static inline void skeleton_try(skeleton *s, flashmem_status status, const char *name) {
    if (status != FLASHMEM_OK) fail_msg("%s: %s", name, s->error.message);
}

/* path as from skeleton_exists. */
static inline void skeleton_import(skeleton *s, const char *name, const char *path) {
    static const flashmem_shape sizes[] = { { .name = "batch", .rank = 0, .dims = { 1 } },
                                            { .name = "sequence", .rank = 0, .dims = { 128 } } };
    fm_onnx_model              *model;
    *s = (skeleton){ .arena = fm_arena_create() };
    assert_non_null(s->arena);
    fm_graph_init(&s->graph, s->arena, path, NULL);
    s->graph.planning = true;
    skeleton_try(s, fm_onnx_load(&s->graph, FM_ONNX_HOIST_ABOVE, &model, &s->error), name);
    skeleton_try(s, fm_onnx_import(model, &s->error), name);
    uint32_t given = strstr(name, "dynamic") ? 2 : 0;
    skeleton_try(s, fm_onnx_fix_shapes(&s->graph, sizes, given, &s->error), name);
    skeleton_try(s, fm_pass_fold(&s->graph, &s->error), name);
    skeleton_try(s, fm_onnx_check_outputs(model, &s->error), name);
}

/* The passes after folding, in the compiler's order. */
static inline void skeleton_optimise(skeleton *s, const char *name) {
    flashmem_status (*const passes[])(fm_graph * g, flashmem_error * err) = {
        fm_pass_simplify,  fm_pass_recognise, fm_pass_fold_norms,
        fm_pass_attention, fm_pass_epilogue,  fm_pass_elementwise,
    };
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) skeleton_try(s, passes[i](&s->graph, &s->error), name);
}

static inline void skeleton_drop(skeleton *s) {
    fm_graph_close(&s->graph);
    fm_arena_destroy(s->arena);
}

#endif
