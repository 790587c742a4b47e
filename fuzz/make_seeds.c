/* Writes the fuzzers' seed corpora: small models of many kinds, and packs compiled from some of them.
 *     fuzz_seeds FOLDER        makes FOLDER/onnx and FOLDER/pack */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "contract/overlap.h"
#include "flashmem/compile.h"
#include "schedule/cut.h"
#include "tests/compile/onnx_writer.h"

static float weights[4096];

static void input(wire *g, const char *name, flashmem_dtype t, const char *dims) {
    value_info(g, GRAPH_INPUT, name, t, dims);
}
static void output(wire *g, const char *name) { value_info(g, GRAPH_OUTPUT, name, (flashmem_dtype)0, NULL); }
static void weight(wire *g, const char *name, const char *dims, size_t count) {
    wire_message(g, GRAPH_INITIALIZER, tensor_raw(name, FLASHMEM_F32, dims, weights, count * sizeof *weights));
}
static void ints(wire *g, const char *name, const char *dims, const int64_t *values, size_t count) {
    wire t = tensor(name, FLASHMEM_I64, dims);
    wire_ints(&t, 7, values, count);
    wire_message(g, GRAPH_INITIALIZER, t);
}

static wire dense(void) { /* embedding, matmul with bias and activation, layer norm, softmax */
    wire g = { 0 }, a = { 0 };
    input(&g, "ids", FLASHMEM_I64, "2x3");
    weight(&g, "table", "40x32", 1280);
    weight(&g, "w", "32x24", 768);
    weight(&g, "b", "24", 24);
    weight(&g, "s", "24", 24);
    node(&g, "Gather", "table,ids", "e", NULL);
    node(&g, "MatMul", "e,w", "m", NULL);
    node(&g, "Add", "m,b", "n", NULL);
    node(&g, "Relu", "n", "r", NULL);
    attr_float(&a, "epsilon", 1e-5f);
    node(&g, "LayerNormalization", "r,s,b", "l", &a);
    attr_int(&a, "axis", -1);
    node(&g, "Softmax", "l", "y", &a);
    output(&g, "y");
    return model_of(g, 17);
}

static wire convolution(void) { /* convolution, batch norm, residual, pooling, flatten */
    wire g = { 0 }, a = { 0 };
    input(&g, "x", FLASHMEM_F32, "1x3x8x8");
    weight(&g, "w", "4x3x3x3", 108);
    weight(&g, "v", "4x4x1x1", 16);
    weight(&g, "c", "4", 4);
    attr_ints(&a, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4);
    attr_ints(&a, "kernel_shape", (int64_t[]){ 3, 3 }, 2);
    node(&g, "Conv", "x,w", "h", &a);
    node(&g, "BatchNormalization", "h,c,c,c,c", "n", NULL);
    node(&g, "Relu", "n", "r", NULL);
    attr_ints(&a, "kernel_shape", (int64_t[]){ 1, 1 }, 2);
    node(&g, "Conv", "r,v,c", "k", &a);
    node(&g, "Add", "k,r", "s", NULL);
    attr_ints(&a, "kernel_shape", (int64_t[]){ 2, 2 }, 2);
    attr_ints(&a, "strides", (int64_t[]){ 2, 2 }, 2);
    node(&g, "MaxPool", "s", "p", &a);
    node(&g, "GlobalAveragePool", "p", "q", NULL);
    node(&g, "Flatten", "q", "y", NULL);
    output(&g, "y");
    return model_of(g, 13);
}

static wire attention(void) { /* heads by reshape and transpose, scale, mask, softmax */
    wire g = { 0 }, a = { 0 };
    input(&g, "x", FLASHMEM_F32, "batchx4x8");
    ints(&g, "heads", "4", (int64_t[]){ 0, 4, 2, 4 }, 4);
    ints(&g, "back", "3", (int64_t[]){ 0, 4, 8 }, 3);
    weight(&g, "wq", "8x8", 64);
    weight(&g, "scale", "", 1);
    weight(&g, "mask", "1x1x4x4", 16);
    node(&g, "MatMul", "x,wq", "q", NULL);
    node(&g, "Reshape", "q,heads", "qh", NULL);
    attr_ints(&a, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    node(&g, "Transpose", "qh", "qt", &a);
    attr_ints(&a, "perm", (int64_t[]){ 0, 2, 3, 1 }, 4);
    node(&g, "Transpose", "qh", "kt", &a);
    node(&g, "MatMul", "qt,kt", "s", NULL);
    node(&g, "Mul", "s,scale", "t", NULL);
    node(&g, "Add", "t,mask", "u", NULL);
    attr_int(&a, "axis", 3);
    node(&g, "Softmax", "u", "p", &a);
    node(&g, "MatMul", "p,qt", "o", NULL);
    attr_ints(&a, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    node(&g, "Transpose", "o", "z", &a);
    node(&g, "Reshape", "z,back", "y", NULL);
    output(&g, "y");
    return model_of(g, 14);
}

static wire control(void) { /* shape arithmetic, If, a function, constants of many kinds */
    wire g = { 0 }, yes = { 0 }, no = { 0 }, a = { 0 }, f = { 0 }, set = { 0 };
    input(&g, "x", FLASHMEM_F32, "?x6");
    ints(&g, "zero", "", (int64_t[]){ 0 }, 1);
    ints(&g, "one", "1", (int64_t[]){ 1 }, 1);
    node(&g, "Shape", "x", "shape", NULL);
    node(&g, "Gather", "shape,zero", "rows", NULL);
    node(&g, "Greater", "rows,zero", "some", NULL);
    attr_ints(&a, "value_ints", (int64_t[]){ -1, 3 }, 2);
    node(&g, "Constant", "", "target", &a);
    node(&yes, "Reshape", "x,target", "o", NULL);
    output(&yes, "o");
    node(&no, "Identity", "x", "o", NULL);
    output(&no, "o");
    attr_graph(&a, "then_branch", yes);
    attr_graph(&a, "else_branch", no);
    node(&g, "If", "some", "i", &a);
    attr_float(&a, "amount", 2);
    node_of(&g, GRAPH_NODE, "Scale", "local", "call", "i", "j", &a);
    node(&g, "Unsqueeze", "j,one", "k", NULL);
    attr_int(&a, "axis", 1);
    node(&g, "Concat", "k,k", "y", &a);
    output(&g, "y");
    wire model = model_of(g, 18);
    wire_text(&f, 1, "Scale");
    wire_text(&f, 4, "v");
    wire_text(&f, 5, "w");
    wire_text(&f, 6, "amount");
    attr_reference(&a, "value_float", "amount", 1);
    node_of(&f, FUNCTION_NODE, "Constant", "", "c", "", "c", &a);
    node_of(&f, FUNCTION_NODE, "Mul", "", "m", "v,c", "w", NULL);
    wire_int(&set, 2, 18);
    wire_message(&f, 9, set);
    wire_text(&f, 10, "local");
    wire_message(&model, 25, f);
    return model;
}

static wire movement(void) { /* slices, padding, gathers, where, casts, reductions */
    wire g = { 0 }, a = { 0 };
    input(&g, "x", FLASHMEM_F32, "4x6");
    input(&g, "m", FLASHMEM_BOOL, "4x6");
    ints(&g, "starts", "2", (int64_t[]){ 1, -1 }, 2);
    ints(&g, "ends", "2", (int64_t[]){ 4, -100 }, 2);
    ints(&g, "axes", "2", (int64_t[]){ 0, 1 }, 2);
    ints(&g, "steps", "2", (int64_t[]){ 1, -2 }, 2);
    ints(&g, "pads", "4", (int64_t[]){ 0, 1, 2, 0 }, 4);
    ints(&g, "pick", "2x1", (int64_t[]){ 0, -1 }, 2);
    node(&g, "Where", "m,x,x", "w", NULL);
    node(&g, "Slice", "w,starts,ends,axes,steps", "s", NULL);
    node(&g, "Pad", "s,pads", "p", NULL);
    attr_int(&a, "axis", 1);
    node(&g, "Gather", "p,pick", "q", &a);
    attr_int(&a, "to", FLASHMEM_I32);
    node(&g, "Cast", "q", "c", &a);
    attr_int(&a, "keepdims", 0);
    attr_ints(&a, "axes", (int64_t[]){ 1 }, 1);
    node(&g, "ReduceMax", "c", "y", &a);
    attr_int(&a, "axis", 0);
    attr_ints(&a, "split", (int64_t[]){ 1, 3 }, 2);
    node(&g, "Split", "x,axes", "z0,z1", &a);
    node(&g, "Transpose", "z1", "z2", NULL);
    output(&g, "y");
    output(&g, "z2");
    return model_of(g, 13);
}

static wire outside(void) { /* external data, fills, payloads in the file */
    wire g = { 0 }, e = { 0 };
    input(&g, "x", FLASHMEM_F32, "1x64");
    wire_message(&g, GRAPH_INITIALIZER, tensor_external("w", FLASHMEM_F32, "64x16", "absent.bin", "0", "4096"));
    weight(&g, "v", "16x16", 256);
    node(&g, "MatMul", "x,w", "m", NULL);
    node(&g, "MatMul", "m,v", "y", NULL);
    output(&g, "y");
    wire model = model_of(g, 17);
    wire_text(&e, 1, "fill:w");
    wire_text(&e, 2, "normal:0.02");
    wire_message(&model, 14, e);
    return model;
}

static const struct {
    const char *name;
    wire (*make)(void);
    bool packed;
} seeds[] = {
    { "dense", dense, true },     { "convolution", convolution, true }, { "attention", attention, true },
    { "control", control, false }, { "movement", movement, false },     { "outside", outside, false },
};

/* What the first launch uses is preloaded, all else is loaded beside it. */
static void fill_plan(const fm_program_cut *cut, fm_stored_plan *plan, fm_stored_preload *preloads,
                      fm_stored_load *loads) {
    for (uint32_t i = 0; i < cut->part_count; i++) {
        const fm_cut_part *part = &cut->parts[i];
        uint32_t           chunks = (uint32_t)fm_chunks(part->bytes, plan->chunk_bytes);
        if (part->first == 0) preloads[plan->preload_count++] = (fm_stored_preload){ part->object, part->part };
        else loads[plan->load_count++] = (fm_stored_load){ part->object, part->part, 0, 0, chunks };
    }
}

static flashmem_status add_plan(const char *path, fm_arena *arena, flashmem_error *error) {
    fm_pack           pack;
    fm_program_cut    cut;
    fm_replay_request request = { .budget = UINT64_MAX };
    fm_stored_plan    plan = { .memory_path = FLASHMEM_PATH_IN_PLACE,
                               .status = FM_STORED_FEASIBLE,
                               .chunk_bytes = 4096,
                               .m_peak_bytes = 1 << 20,
                               .unit = 1,
                               .solver = "none" };
    flashmem_device_init(&request.device);
    FM_TRY(fm_pack_open(&pack, path, error));
    flashmem_status status = fm_program_cut_make(&pack.packed, &pack.programs[0], &request, arena, &cut, error);
    if (status == FLASHMEM_OK) {
        fm_stored_preload *preloads = fm_arena_array(arena, cut.part_count, sizeof *preloads);
        fm_stored_load    *loads = fm_arena_array(arena, cut.part_count, sizeof *loads);
        plan.cut_key = cut.key;
        fill_plan(&cut, &plan, preloads, loads);
        status = fm_pack_append_overlap(path, &(fm_stored_overlap){ &plan, preloads, loads }, error);
    }
    fm_pack_close(&pack);
    return status;
}

static int pack_model(const char *model, const char *pack) {
    flashmem_compile_options options;
    flashmem_error           error = { 0 };
    flashmem_shape           shape = { "batch", 0, { 1 } };
    fm_arena                *arena = fm_arena_create();
    flashmem_compile_options_init(&options);
    options.shapes = &shape;
    options.shape_count = strstr(model, "attention") != NULL;
    bool made = arena && flashmem_compile(model, pack, &options, NULL, &error) == FLASHMEM_OK &&
                add_plan(pack, arena, &error) == FLASHMEM_OK;
    fm_arena_destroy(arena);
    if (made) return 0;
    fprintf(stderr, "%s: %s\n", model, error.message);
    return 1;
}

int main(int argc, char **argv) {
    char           model[512], pack[512];
    flashmem_error error = { 0 };
    if (argc != 2) return fprintf(stderr, "usage: fuzz_seeds FOLDER\n"), 2;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (float)(int)(i * 7919 % 401) / 200.0f - 1;
    snprintf(model, sizeof model, "%s/onnx", argv[1]);
    snprintf(pack, sizeof pack, "%s/pack", argv[1]);
    if (fm_file_make_folders(model, &error) != FLASHMEM_OK || fm_file_make_folders(pack, &error) != FLASHMEM_OK)
        return fprintf(stderr, "%s\n", error.message), 1;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        wire w = seeds[i].make();
        snprintf(model, sizeof model, "%s/onnx/%s.onnx", argv[1], seeds[i].name);
        snprintf(pack, sizeof pack, "%s/pack/%s.flm", argv[1], seeds[i].name);
        wire_save(&w, model);
        wire_free(&w);
        if (seeds[i].packed && pack_model(model, pack) != 0) return 1;
    }
    return 0;
}
