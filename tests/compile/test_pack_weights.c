/* The packer: what lies in the pack, read by the layout's definition alone, is the model's weights; objects come in the
 * order of use, small ones together. */
#include <math.h>

#include "base/half.h"
#include "compile/pack.h"
#include "flashmem/compile.h"
#include "tests/compile/imported.h"

static float weight_at(uint32_t which, uint64_t k, uint64_t n) {
    uint64_t h = (which * 1000003u + k) * 0x9e3779b97f4a7c15u + n * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    return (float)((double)(int64_t)(h % 200001) / 100000.0 - 1.0);
}

/* ---- panels of a recipe, against the definition ---- */

static void check_panels(const fm_lower_weight *lw, const char *panels, uint64_t first, uint64_t count, uint32_t width,
                         float (*expected)(uint64_t k, uint64_t n)) {
    const fm_weight *w = &lw->record;
    for (uint64_t p = 0; p < count; p++)
        for (uint64_t k = 0; k < w->k; k++)
            for (uint32_t c = 0; c < width; c++) {
                uint64_t    n = (first + p) * width + c;
                float       want = n < w->n ? expected(k, n) : 0, got;
                const char *at = panels + p * w->panel_bytes + (k * width + c) * (w->format == FM_WEIGHT_F16 ? 2 : 4);
                if (w->format == FM_WEIGHT_F16) {
                    uint16_t half;
                    memcpy(&half, at, 2);
                    got = fm_float_from_half(half);
                    want = fm_float_from_half(fm_half_from_float(want));
                } else {
                    memcpy(&got, at, 4);
                }
                if (got != want)
                    fail_msg("k %llu n %llu: %g, expected %g", (unsigned long long)k, (unsigned long long)n, got, want);
            }
}

static float direct(uint64_t k, uint64_t n) { return weight_at(1, k, n); }

static fm_lower_weight panel_weight(const fm_recipe *kn, uint32_t width, fm_weight_format format) {
    fm_lower_weight w = { .recipe = kn };
    w.record.kind = FM_WEIGHT_PANELS;
    w.record.format = format;
    w.record.k = (uint64_t)kn->shape.dims[0];
    w.record.n = (uint64_t)kn->shape.dims[1];
    w.record.panels = (w.record.n + width - 1) / width;
    w.record.panel_bytes = w.record.k * width * (format == FM_WEIGHT_F16 ? 2 : 4);
    return w;
}

static void test_panels__follow_the_layout(void **state) {
    (void)state;
    static const int64_t sizes[][2] = { { 1, 1 }, { 7, 5 }, { 64, 16 }, { 65, 33 }, { 130, 100 }, { 3, 250 } };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int variant = 0; variant < 8; variant++) {
            fm_arena *a = fm_arena_create();
            bool      transposed = variant & 1;
            uint32_t  width = variant & 2 ? 4 : 16, swap[2] = { 1, 0 };
            int64_t   k = sizes[s][0], n = sizes[s][1];
            float    *data = malloc((size_t)(k * n) * sizeof *data);
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < n; j++)
                    data[transposed ? j * k + i : i * n + j] = direct((uint64_t)i, (uint64_t)j);
            fm_shape         shape = { 2, { transposed ? n : k, transposed ? k : n } };
            const fm_recipe *r = fm_recipe_memory(a, FLASHMEM_F32, &shape, data);
            if (transposed) r = fm_recipe_transpose(a, r, swap);
            fm_lower_weight w = panel_weight(r, width, variant & 4 ? FM_WEIGHT_F16 : FM_WEIGHT_F32);
            char  *out = malloc(w.record.panels * w.record.panel_bytes);
            float *work = malloc(w.record.panels * w.record.k * width * sizeof *work);
            assert_int_equal(fm_pack_panels(&w, 0, w.record.panels, out, work, NULL), FLASHMEM_OK);
            check_panels(&w, out, 0, w.record.panels, width, direct);
            uint64_t last = w.record.panels - 1; /* a slab in the middle of the matrix, to its end */
            assert_int_equal(fm_pack_panels(&w, last, 1, out, work, NULL), FLASHMEM_OK);
            check_panels(&w, out, last, 1, width, direct);
            free(out);
            free(work);
            free(data);
            fm_arena_destroy(a);
        }
}

/* ---- whole models ---- */

enum { K1 = 300, N1 = 1000, K2 = 1000, N2 = 1100, ROWS = 5000, WIDTH = 300 };

static wire matrix(const char *name, uint32_t which, int64_t rows, int64_t columns, bool transposed) {
    char   dims[48];
    float *data = malloc((size_t)(rows * columns) * sizeof *data);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            data[i * columns + j] = transposed ? weight_at(which, (uint64_t)j, (uint64_t)i)
                                               : weight_at(which, (uint64_t)i, (uint64_t)j);
    snprintf(dims, sizeof dims, "%lldx%lld", (long long)rows, (long long)columns);
    wire t = tensor_raw(name, FLASHMEM_F32, dims, data, (size_t)(rows * columns) * sizeof *data);
    free(data);
    return t;
}

/* y = Gemm(MatMul(Gather(table, ids), w1), w2 transposed) + small, small2 applied on the way. */
static wire weights_model(void) {
    wire graph = { 0 }, attrs = { 0 };
    value_info(&graph, GRAPH_INPUT, "ids", FLASHMEM_I64, "4");
    value_info(&graph, GRAPH_OUTPUT, "y", FLASHMEM_F32, NULL);
    wire_message(&graph, GRAPH_INITIALIZER, matrix("table", 3, ROWS, WIDTH, false));
    wire_message(&graph, GRAPH_INITIALIZER, matrix("w1", 1, K1, N1, false));
    wire_message(&graph, GRAPH_INITIALIZER, matrix("w2", 2, N2, K2, true));
    wire_message(&graph, GRAPH_INITIALIZER, matrix("small", 4, N2, 20, false));
    wire_message(&graph, GRAPH_INITIALIZER, matrix("shift", 5, 1, K2, false));
    node(&graph, "Gather", "table,ids", "rows", NULL);
    node(&graph, "MatMul", "rows,w1", "m1", NULL);
    node(&graph, "Add", "m1,shift", "s1", NULL);
    attr_int(&attrs, "transB", 1);
    node(&graph, "Gemm", "s1,w2", "m2", &attrs);
    node(&graph, "MatMul", "m2,small", "y", NULL);
    return model_of(graph, 17);
}

static void compile_to(fm_pack *pack, wire model, flashmem_weights weights, flashmem_layout layout) {
    flashmem_compile_options options;
    flashmem_compile_report  report;
    flashmem_error           error;
    char                     path[128];
    wire_save(&model, model_path);
    wire_free(&model);
    flashmem_compile_options_init(&options);
    options.weights = weights;
    options.layout = layout;
    snprintf(path, sizeof path, "%s/model.flm", test_folder);
    if (flashmem_compile(model_path, path, &options, &report, &error) != FLASHMEM_OK) fail_msg("%s", error.message);
    memset(&error, 0, sizeof error);
    if (fm_pack_open(pack, path, &error) != FLASHMEM_OK) fail_msg("%s", error.message);
    if (fm_pack_verify_weights(pack, &error) != FLASHMEM_OK) fail_msg("%s", error.message);
    assert_int_equal(report.pack_bytes, pack->header.file_bytes);
    assert_int_equal(report.weight_bytes, pack->header.float_weight_bytes);
}

static const fm_weight *find_weight(const fm_pack *pack, uint64_t k, uint64_t n) {
    for (uint32_t i = 0; i < pack->packed.weight_count; i++)
        if (pack->packed.weights[i].k == k && pack->packed.weights[i].n == n) return &pack->packed.weights[i];
    fail_msg("no weight %llu x %llu", (unsigned long long)k, (unsigned long long)n);
    return NULL;
}

static float stored(const fm_pack *pack, uint64_t offset, uint32_t format) {
    float    x;
    uint16_t half;
    if (format == FM_WEIGHT_F16) {
        assert_int_equal(pread(pack->fd, &half, 2, (off_t)offset), 2);
        return fm_float_from_half(half);
    }
    assert_int_equal(pread(pack->fd, &x, 4, (off_t)offset), 4);
    return x;
}

static void check_stored(const fm_pack *pack, uint64_t offset, uint32_t format, float want) {
    if (format == FM_WEIGHT_F16) want = fm_float_from_half(fm_half_from_float(want));
    float got = stored(pack, offset, format);
    if (got != want) fail_msg("at %llu: %g, expected %g", (unsigned long long)offset, got, want);
}

/* Probes a matrix at scattered places, and the padding of its last panel. */
static void probe_matrix(const fm_pack *pack, uint32_t which, uint64_t k, uint64_t n, uint32_t width) {
    const fm_weight *w = find_weight(pack, k, n);
    uint64_t         base = pack->packed.objects[w->object].file_offset + w->object_offset;
    uint64_t         element = w->format == FM_WEIGHT_F16 ? 2 : 4;
    assert_int_equal(w->kind, FM_WEIGHT_PANELS);
    for (uint64_t i = 0; i < 4000; i++) {
        uint64_t kk = i * 7919 % k, nn = i * 104729 % n;
        check_stored(pack, base + nn / width * w->panel_bytes + (kk * width + nn % width) * element, w->format,
                     weight_at(which, kk, nn));
    }
    for (uint64_t c = n; c < w->panels * width; c++)
        check_stored(pack, base + (w->panels - 1) * w->panel_bytes + ((k - 1) * width + c % width) * element, w->format,
                     0);
}

static void check_model(flashmem_weights weights, flashmem_layout layout) {
    fm_pack  pack;
    uint32_t width = layout == FLASHMEM_LAYOUT_TEXTURE ? 4 : 16;
    compile_to(&pack, weights_model(), weights, layout);
    probe_matrix(&pack, 1, K1, N1, width);
    probe_matrix(&pack, 2, K2, N2, width);
    probe_matrix(&pack, 4, N2, 20, width);
    const fm_weight *table = find_weight(&pack, ROWS, WIDTH);
    assert_int_equal(table->kind, FM_WEIGHT_ROWS);
    assert_int_equal(table->file_offset % 4096, 0);
    uint64_t element = weights == FLASHMEM_WEIGHTS_FP16 ? 2 : 4;
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t row = i * 7919 % ROWS, n = i * 131 % WIDTH;
        check_stored(&pack, table->file_offset + row * table->row_bytes + n * element, table->format,
                     weight_at(3, row, n));
    }
    uint64_t float_bytes = ((uint64_t)K1 * N1 + (uint64_t)K2 * N2 + N2 * 20 + (uint64_t)ROWS * WIDTH) * element;
    assert_int_equal(pack.header.float_weight_bytes, float_bytes + K2 * 4); /* the vector stays float32 */
    fm_pack_close(&pack);
}

static void test_pack__holds_the_weights_cpu(void **state) {
    (void)state;
    check_model(FLASHMEM_WEIGHTS_FP32, FLASHMEM_LAYOUT_CPU);
    check_model(FLASHMEM_WEIGHTS_FP16, FLASHMEM_LAYOUT_CPU);
}

static void test_pack__holds_the_weights_texture(void **state) {
    (void)state;
    check_model(FLASHMEM_WEIGHTS_FP32, FLASHMEM_LAYOUT_TEXTURE);
    check_model(FLASHMEM_WEIGHTS_FP16, FLASHMEM_LAYOUT_TEXTURE);
}

static void test_pack__order_and_bundles(void **state) {
    (void)state;
    fm_pack pack;
    compile_to(&pack, weights_model(), FLASHMEM_WEIGHTS_FP32, FLASHMEM_LAYOUT_CPU);
    const fm_weight *w1 = find_weight(&pack, K1, N1), *w2 = find_weight(&pack, K2, N2);
    const fm_weight *small = find_weight(&pack, N2, 20), *shift = find_weight(&pack, 1, K2);
    assert_true(w1->object < w2->object);
    assert_int_equal(pack.packed.objects[w1->object].weight, w1 - pack.packed.weights);
    assert_int_equal(pack.packed.objects[w1->object].unit_bytes, w1->unit_panels * w1->panel_bytes);
    assert_int_equal(small->object, shift->object); /* neighbours share a bundle, which comes with its first use */
    assert_int_equal(pack.packed.objects[small->object].weight, FM_NONE);
    assert_true(small->object < w2->object);
    uint64_t end = 0;
    for (uint32_t o = 0; o < pack.packed.object_count; o++) {
        assert_int_equal(pack.packed.objects[o].file_offset % 4096, 0);
        assert_true(pack.packed.objects[o].file_offset >= end);
        end = pack.packed.objects[o].file_offset + pack.packed.objects[o].bytes;
    }
    const fm_weight *table = find_weight(&pack, ROWS, WIDTH);
    assert_true(table->file_offset >= end);
    fm_pack_close(&pack);
}

/* A chain of products with so many small vectors that they fill several bundles. */
static void test_pack__bundles_stay_small(void **state) {
    (void)state;
    enum { LAYERS = 30, SIDE = 200 };
    wire    graph = { 0 };
    fm_pack pack;
    char    from[16] = "x", name[16], to[16], inputs[40];
    value_info(&graph, GRAPH_INPUT, "x", FLASHMEM_F32, "3x200");
    for (int i = 0; i < LAYERS; i++) {
        snprintf(name, sizeof name, "w%d", i);
        snprintf(to, sizeof to, "h%d", i);
        snprintf(inputs, sizeof inputs, "%s,%s", from, name);
        wire_message(&graph, GRAPH_INITIALIZER, matrix(name, 10 + (uint32_t)i, SIDE, SIDE, false));
        node(&graph, "MatMul", inputs, to, NULL);
        snprintf(from, sizeof from, "%s", to);
    }
    value_info(&graph, GRAPH_OUTPUT, from, FLASHMEM_F32, NULL);
    compile_to(&pack, model_of(graph, 17), FLASHMEM_WEIGHTS_FP32, FLASHMEM_LAYOUT_CPU);
    assert_int_equal(pack.packed.weight_count, LAYERS);
    assert_in_range(pack.packed.object_count, 5, 7); /* 30 x 166 kB in bundles of up to 1 MiB */
    for (uint32_t o = 0; o < pack.packed.object_count; o++) assert_true(pack.packed.objects[o].bytes <= FM_PACK_BUNDLE);
    for (uint32_t w = 1; w < pack.packed.weight_count; w++) assert_true(pack.packed.weights[w].object >= pack.packed.weights[w - 1].object);
    fm_pack_close(&pack);
}

/* ---- all or nothing ---- */

static int cancel_late(void *user, const char *stage, uint64_t done, uint64_t total) {
    uint64_t *calls = user;
    (void)total;
    return strcmp(stage, "pack") == 0 && done > 0 && ++*calls == 2;
}

static void test_pack__a_cancelled_one_leaves_nothing(void **state) {
    (void)state;
    flashmem_compile_options options;
    flashmem_error           error;
    uint64_t                 calls = 0;
    char                     folder[96], path[128];
    wire                     model = weights_model();
    wire_save(&model, model_path);
    wire_free(&model);
    snprintf(folder, sizeof folder, "%s/out", test_folder);
    snprintf(path, sizeof path, "%s/out/model.flm", test_folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    flashmem_compile_options_init(&options);
    options.progress = cancel_late;
    options.user = &calls;
    assert_int_equal(flashmem_compile(model_path, path, &options, NULL, &error), FLASHMEM_CANCELLED);
    assert_non_null(strstr(error.message, "bytes of weights"));
    assert_int_equal(rmdir(folder), 0); /* empty */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_panels__follow_the_layout),
        cmocka_unit_test(test_pack__holds_the_weights_cpu),
        cmocka_unit_test(test_pack__holds_the_weights_texture),
        cmocka_unit_test(test_pack__order_and_bundles),
        cmocka_unit_test(test_pack__bundles_stay_small),
        cmocka_unit_test(test_pack__a_cancelled_one_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
