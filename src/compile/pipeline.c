/* The stages from a file to a lowered program, in order. */
#include "compile/pipeline.h"

#include <string.h>

#include "base/clock.h"
#include "compile/onnx/scan.h"
#include "compile/passes/passes.h"

void flashmem_compile_options_init(flashmem_compile_options *options) {
    *options = (flashmem_compile_options){ .size = sizeof *options };
}

flashmem_status fm_compile_options_check(const flashmem_compile_options *given, flashmem_compile_options *out,
                                         flashmem_error *err) {
    flashmem_compile_options_init(out);
    if (given) {
        if (given->size < offsetof(flashmem_compile_options, shapes) || given->size > 4096)
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                           "compile options of %zu bytes: call flashmem_compile_options_init", given->size);
        memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    }
    if (out->layout == FLASHMEM_LAYOUT_GPU)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "layout gpu is not built yet: use cpu or texture");
    if ((unsigned)out->layout > FLASHMEM_LAYOUT_GPU || (unsigned)out->weights > FLASHMEM_WEIGHTS_FP16)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "compile options: layout %d, weights %d", (int)out->layout,
                       (int)out->weights);
    if (out->shape_count && !out->shapes)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "compile options: %u shapes at NULL", out->shape_count);
    for (uint32_t i = 0; i < out->apart_count; i++)
        if (!out->apart || !out->apart[i])
            return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "compile options: operator %u of %u to keep apart is NULL", i,
                           out->apart_count);
    if (out->image_limit && out->image_limit < 16)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "compile options: images of %u texels", out->image_limit);
    return FLASHMEM_OK;
}

/* ---- the passes ---- */

typedef struct pass_row {
    const char *name;
    flashmem_status (*run)(fm_graph *g, flashmem_error *err);
} pass_row;

static const pass_row passes[] = {
    { "fold", fm_pass_fold },
    { "simplify", fm_pass_simplify },
    { "recognise", fm_pass_recognise },
    { "fold_norms", fm_pass_fold_norms },
    { "attention", fm_pass_attention },
    { "epilogue", fm_pass_epilogue },
    { "elementwise", fm_pass_elementwise },
};
enum { PASSES = sizeof passes / sizeof *passes };

flashmem_status fm_compile_progress(const fm_compilation *c, const char *stage, uint64_t done, uint64_t total,
                                    flashmem_error *err) {
    if (c->options->progress && c->options->progress(c->options->user, stage, done, total))
        return fm_fail(err, FLASHMEM_CANCELLED, "cancelled at stage %s", stage);
    return FLASHMEM_OK;
}

static flashmem_status run_pass(fm_compilation *c, const pass_row *pass, flashmem_error *err) {
    double   begin = fm_clock_seconds();
    uint32_t nodes = c->graph.node_count;
    FM_TRY(fm_compile_progress(c, pass->name, (uint64_t)(pass - passes), PASSES, err));
    FM_TRY(pass->run(&c->graph, err));
    fm_debug(&c->log, "compile", "%s: %u to %u nodes in %.1f ms", pass->name, nodes, c->graph.node_count,
             (fm_clock_seconds() - begin) * 1e3);
#ifndef NDEBUG
    flashmem_error found = { 0 };
    if (fm_graph_verify(&c->graph, &found) != FLASHMEM_OK)
        return fm_fail(err, FLASHMEM_INTERNAL, "%s: after %s: %s", c->graph.path, pass->name, found.message);
#endif
    return FLASHMEM_OK;
}

flashmem_status fm_compile_import(fm_compilation *c, flashmem_error *err) {
    c->graph.apart = c->options->apart;
    c->graph.apart_count = c->options->apart_count;
    FM_TRY(fm_compile_progress(c, "import", 0, 1, err));
    FM_TRY(fm_onnx_load(&c->graph, FM_ONNX_HOIST_ABOVE, &c->model, err));
    FM_TRY(fm_onnx_import(c->model, err));
    FM_TRY(fm_onnx_fix_shapes(&c->graph, c->options->shapes, c->options->shape_count, err));
    c->report.graph_nodes = c->graph.node_count;
    FM_TRY(run_pass(c, &passes[0], err));
    return fm_onnx_check_outputs(c->model, err);
}

flashmem_status fm_compile_simplify(fm_compilation *c, flashmem_error *err) {
    for (uint32_t i = 1; i < PASSES; i++) FM_TRY(run_pass(c, &passes[i], err));
    return FLASHMEM_OK;
}

flashmem_status fm_compile_lower(fm_compilation *c, fm_lower *out, flashmem_error *err) {
    FM_TRY(fm_compile_progress(c, "lower", 0, 1, err));
    fm_lower_init(out, &c->graph, c->options,
                  c->options->layout == FLASHMEM_LAYOUT_TEXTURE ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
    return fm_lower_graph(out, err);
}
