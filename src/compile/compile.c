/* Model to pack, as a pipeline.  flashmem_compile owns the arena; everything below lives in it. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "compile/onnx/scan.h"
#include "compile/pipeline.h"

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
static flashmem_status check_pack_path(const fm_compilation *c, const char *pack_path, flashmem_error *err) {
    output_check check = { .same = NULL };
    if (stat(pack_path, &check.pack) != 0) return FLASHMEM_OK;
    if (!compare_with_pack(&check, c->graph.path)) FM_TRY(fm_onnx_each_file(c->model, compare_with_pack, &check, err));
    if (!check.same) return FLASHMEM_OK;
    return fm_fail(err, FLASHMEM_INVALID_ARGUMENT,
                   "%s: the pack would replace '%s', which the model consists of: "
                   "give another name",
                   pack_path, check.same);
}

static flashmem_status write_pack(fm_compilation *c, void *user, flashmem_error *err) {
    const char *pack_path = user;
    double      begin = fm_clock_seconds();
    fm_lower    lower;
    FM_TRY(fm_compile_import(c, err));
    FM_TRY(check_pack_path(c, pack_path, err));
    FM_TRY(fm_compile_simplify(c, err));
    FM_TRY(fm_compile_lower(c, &lower, err));
    FM_TRY(fm_pack_lowered(&lower, pack_path, c->options, &c->report, err));
    c->report.seconds = fm_clock_seconds() - begin;
    fm_info(&c->log, "compile", "%s: %u nodes to %u steps, %u kernel programs, %.1f MB of weights, %.2f s",
            c->graph.path, c->report.graph_nodes, c->report.steps, c->report.kernel_programs,
            (double)c->report.weight_bytes * 1e-6, c->report.seconds);
    return FLASHMEM_OK;
}

/* ---- entry points ---- */

/* Runs work with an arena whose exhaustion comes back here.  c is the caller's: it survives the jump. */
static flashmem_status with_arena(fm_compilation *c, const char *model_path,
                                  flashmem_status (*work)(fm_compilation *c, void *user, flashmem_error *err),
                                  void *user, flashmem_error *err) {
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

flashmem_status flashmem_compile(const char *model_path, const char *pack_path, const flashmem_compile_options *options,
                                 flashmem_compile_report *report, flashmem_error *err) {
    flashmem_compile_options checked;
    fm_error_clear(err);
    FM_TRY(fm_compile_options_check(options, &checked, err));
    if (!pack_path || !*pack_path) return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "no pack path");
    fm_compilation c = { .options = &checked, .log = { checked.log, checked.user } };
    FM_TRY(with_arena(&c, model_path, write_pack, (void *)(uintptr_t)pack_path, err));
    if (report) *report = c.report;
    return FLASHMEM_OK;
}

typedef struct file_request {
    int (*each)(void *user, const char *path);
    void *user;
} file_request;

static flashmem_status files_work(fm_compilation *c, void *user, flashmem_error *err) {
    file_request  *r = user;
    fm_onnx_model *model;
    FM_TRY(fm_onnx_load(&c->graph, FM_ONNX_HOIST_ABOVE, &model, err));
    if (r->each(r->user, c->graph.path)) return FLASHMEM_OK;
    return fm_onnx_each_file(model, r->each, r->user, err);
}

flashmem_status flashmem_model_files(const char *model_path, int (*each)(void *user, const char *path), void *user,
                                     flashmem_error *err) {
    fm_compilation c = { 0 };
    file_request   r = { each, user };
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

static flashmem_status inputs_work(fm_compilation *c, void *user, flashmem_error *err) {
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
    fm_compilation c = { 0 };
    input_request  r = { each, user };
    fm_error_clear(err);
    return with_arena(&c, model_path, inputs_work, &r, err);
}
