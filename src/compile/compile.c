/* Model to pack, as a pipeline.  flashmem_compile owns the arena; everything below lives in it. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "compile/lower.h"
#include "compile/onnx/import.h"
#include "compile/onnx/scan.h"
#include "compile/passes/passes.h"

typedef struct compilation {
    fm_arena                       *arena;
    fm_graph                        graph;
    fm_log                          log;
    const char                     *pack_path;
    const flashmem_compile_options *options;
    flashmem_compile_report         report;
} compilation;

void flashmem_compile_options_init(flashmem_compile_options *options) {
    *options = (flashmem_compile_options){ .size = sizeof *options };
}

/* Callers built against an older header have a shorter struct: what they lack has its default. */
static flashmem_status check_options(const flashmem_compile_options *given, flashmem_compile_options *out,
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

static flashmem_status progress(const compilation *c, const char *stage, uint64_t done, uint64_t total,
                                flashmem_error *err) {
    if (c->options->progress && c->options->progress(c->options->user, stage, done, total))
        return fm_fail(err, FLASHMEM_CANCELLED, "cancelled at stage %s", stage);
    return FLASHMEM_OK;
}

static flashmem_status run_pass(compilation *c, const pass_row *pass, flashmem_error *err) {
    double   begin = fm_clock_seconds();
    uint32_t nodes = c->graph.node_count;
    FM_TRY(progress(c, pass->name, (uint64_t)(pass - passes), PASSES, err));
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

typedef struct output_check {
    struct stat pack;
    const char *same; /* the file of the model that the pack would replace */
} output_check;

static int compare_with_pack(void *user, const char *path) {
    output_check *check = user;
    struct stat   info;
    if (stat(path, &info) != 0 || info.st_dev != check->pack.st_dev || info.st_ino != check->pack.st_ino) return 0;
    check->same = path;
    return 1;
}

/* A pack that took the place of its own model would leave the user without one. */
static flashmem_status check_pack_path(const compilation *c, fm_onnx_model *model, flashmem_error *err) {
    output_check check = { .same = NULL };
    if (stat(c->pack_path, &check.pack) != 0) return FLASHMEM_OK;
    if (!compare_with_pack(&check, c->graph.path)) FM_TRY(fm_onnx_each_file(model, compare_with_pack, &check, err));
    if (!check.same) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                   "%s: the pack would replace '%s', which the model consists of: "
                   "give another name",
                   c->pack_path, check.same);
}

static flashmem_status import_model(compilation *c, flashmem_error *err) {
    fm_onnx_model *model;
    FM_TRY(progress(c, "import", 0, 1, err));
    FM_TRY(fm_onnx_load(&c->graph, FM_ONNX_HOIST_ABOVE, &model, err));
    FM_TRY(check_pack_path(c, model, err));
    FM_TRY(fm_onnx_import(model, err));
    FM_TRY(fm_onnx_fix_shapes(&c->graph, c->options->shapes, c->options->shape_count, err));
    c->report.graph_nodes = c->graph.node_count;
    FM_TRY(run_pass(c, &passes[0], err));
    return fm_onnx_check_outputs(model, err);
}

static flashmem_status run_pipeline(compilation *c, flashmem_error *err) {
    double begin = fm_clock_seconds();
    FM_TRY(import_model(c, err));
    for (uint32_t i = 1; i < PASSES; i++) FM_TRY(run_pass(c, &passes[i], err));
    fm_lower lower;
    FM_TRY(progress(c, "lower", 0, 1, err));
    fm_lower_init(&lower, &c->graph, c->options,
                  c->options->layout == FLASHMEM_LAYOUT_TEXTURE ? FM_DEVICE_IMAGE : FM_DEVICE_CPU);
    FM_TRY(fm_lower_graph(&lower, err));
    FM_TRY(fm_pack_lowered(&lower, c->pack_path, c->options, &c->report, err));
    c->report.seconds = fm_clock_seconds() - begin;
    fm_info(&c->log, "compile", "%s: %u nodes to %u steps, %u kernel programs, %.1f MB of weights, %.2f s",
            c->graph.path, c->report.graph_nodes, c->report.steps, c->report.kernel_programs,
            (double)c->report.weight_bytes * 1e-6, c->report.seconds);
    return FLASHMEM_OK;
}

/* ---- entry points ---- */

/* Runs work with an arena whose exhaustion comes back here.  c is the caller's: it survives the jump. */
static flashmem_status with_arena(compilation *c, const char *model_path,
                                  flashmem_status (*work)(compilation *c, void *user, flashmem_error *err), void *user,
                                  flashmem_error *err) {
    if (!model_path || !*model_path) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no model path");
    c->arena = fm_arena_create();
    if (!c->arena) return fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory to begin", model_path);
    flashmem_status status;
    if (fm_arena_trap(c->arena)) {
        status = fm_fail(err, FLASHMEM_OUT_OF_MEMORY, "%s: no memory, %zu bytes were in use", model_path,
                         fm_arena_bytes(c->arena));
    } else {
        fm_graph_init(&c->graph, c->arena, model_path, &c->log);
        status = work(c, user, err);
    }
    fm_graph_close(&c->graph);
    fm_arena_destroy(c->arena);
    return status;
}

static flashmem_status compile_work(compilation *c, void *user, flashmem_error *err) {
    (void)user;
    return run_pipeline(c, err);
}

flashmem_status flashmem_compile(const char *model_path, const char *pack_path, const flashmem_compile_options *options,
                                 flashmem_compile_report *report, flashmem_error *err) {
    flashmem_compile_options checked;
    fm_error_clear(err);
    FM_TRY(check_options(options, &checked, err));
    if (!pack_path || !*pack_path) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no pack path");
    compilation c = { .pack_path = pack_path, .options = &checked, .log = { checked.log, checked.user } };
    FM_TRY(with_arena(&c, model_path, compile_work, NULL, err));
    if (report) *report = c.report;
    return FLASHMEM_OK;
}

typedef struct file_request {
    int (*each)(void *user, const char *path);
    void *user;
} file_request;

static flashmem_status files_work(compilation *c, void *user, flashmem_error *err) {
    file_request  *r = user;
    fm_onnx_model *model;
    FM_TRY(fm_onnx_load(&c->graph, FM_ONNX_HOIST_ABOVE, &model, err));
    if (r->each(r->user, c->graph.path)) return FLASHMEM_OK;
    return fm_onnx_each_file(model, r->each, r->user, err);
}

flashmem_status flashmem_model_files(const char *model_path, int (*each)(void *user, const char *path), void *user,
                                     flashmem_error *err) {
    compilation  c = { 0 };
    file_request r = { each, user };
    fm_error_clear(err);
    return with_arena(&c, model_path, files_work, &r, err);
}

typedef struct input_request {
    int (*each)(void *user, const flashmem_model_input *input);
    void *user;
} input_request;

static void describe_input(const fm_tensor *t, flashmem_model_input *out) {
    int64_t count = t->shaped ? fm_shape_count(&t->shape) : 0;
    *out = (flashmem_model_input){ .info = { .name = t->name, .dtype = t->dtype } };
    if (t->shape.rank <= FM_MAX_RANK) out->info.rank = t->shape.rank;
    for (uint32_t a = 0; a < out->info.rank; a++) {
        out->info.dims[a] = t->shape.dims[a];
        out->dim_names[a] = t->dim_names[a];
    }
    if (count > 0) out->info.bytes = (uint64_t)count * fm_dtype_bytes(t->dtype);
}

static flashmem_status inputs_work(compilation *c, void *user, flashmem_error *err) {
    input_request *r = user;
    fm_onnx_model *model;
    FM_TRY(fm_onnx_load(&c->graph, FM_ONNX_HOIST_ABOVE, &model, err));
    FM_TRY(fm_onnx_import_inputs(model, err));
    for (size_t i = 0; i < c->graph.input_count; i++) {
        flashmem_model_input input;
        describe_input(c->graph.inputs[i], &input);
        if (r->each(r->user, &input)) break;
    }
    return FLASHMEM_OK;
}

flashmem_status flashmem_model_inputs(const char *model_path,
                                      int (*each)(void *user, const flashmem_model_input *input), void *user,
                                      flashmem_error *err) {
    compilation   c = { 0 };
    input_request r = { each, user };
    fm_error_clear(err);
    return with_arena(&c, model_path, inputs_work, &r, err);
}
