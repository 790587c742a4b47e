/* A small network on the OpenCL device at hand, with kernels of its own: both memory paths, threads, the program cache
 * on a real driver, and errors.  Skipped, with the reason, where there is no OpenCL. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contract/pack.h"
#include "contract/program_builder.h"
#include "run/model.h"
#include "tests/base/cmocka_setup.h"
#include "tests/run/overlap_pack.h"

enum { LAYERS = 6, K = 512, PANELS_OF_16 = K / 16, ROWS = 5, TABLE = 90 };

static const char *source =
    "#include \"shared.clh\"\n"
    "__kernel void dense(__global const float *x, __global const float *w, __global const float *bias,\n"
    "                    __global float *out, int first, int panels, int k) {\n"
    "    int p = get_global_id(0);\n"
    "    if (p >= panels) return;\n"
    "    for (int j = 0; j < 16; j++) {\n"
    "        float sum = bias[(first + p) * 16 + j];\n"
    "        for (int i = 0; i < k; i++) sum += x[i] * w[(p * k + i) * 16 + j];\n"
    "        out[(first + p) * 16 + j] = SCALE * sum;\n"
    "    }\n"
    "}\n"
    "__kernel void dense_image(__global const float *x, __read_only image2d_t w, __global const float *bias,\n"
    "                          __global float *out, int first, int panels, int k) {\n"
    "    const sampler_t sampler = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_NONE | CLK_FILTER_NEAREST;\n"
    "    int p = get_global_id(0);\n"
    "    if (p >= panels) return;\n"
    "    float4 sum = vload4(first + p, bias);\n"
    "    for (int i = 0; i < k; i++) sum += x[i] * read_imagef(w, sampler, (int2)(i, p));\n"
    "    vstore4(SCALE * sum, first + p, out);\n"
    "}\n"
    "__kernel void sum_rows(__global const float *rows, __global const float *x, __global float *out, int count) {\n"
    "    int i = get_global_id(0);\n"
    "    float sum = x[i];\n"
    "    for (int r = 0; r < count; r++) sum += rows[r * get_global_size(0) + i];\n"
    "    out[i] = sum;\n"
    "}\n";

static char    folder[64], pack_path[128], cache[128], lines[65536];
static float   weights[LAYERS][K][K], biases[LAYERS][K], table[TABLE][K], x[K] __attribute__((aligned(64)));
static int64_t ids[ROWS] __attribute__((aligned(64))) = { 3, 89, 3, 0, -1 };
static float   expected[K];
static bool    have_opencl;
static char    why_not[1024];

static void log_line(void *user, flashmem_log_level level, const char *category, const char *message) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* any thread of the library logs */
    (void)user, (void)level;
    pthread_mutex_lock(&mutex);
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof lines - used, "%s: %s\n", category, message);
    pthread_mutex_unlock(&mutex);
    if (getenv("FM_TEST_LOG")) fprintf(stderr, "%s: %s\n", category, message);
}

static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1 << 24) - 0.5f;
}

static void compute_expected(void) {
    double now[K], next[K];
    for (int i = 0; i < K; i++) {
        now[i] = x[i];
        for (int r = 0; r < ROWS; r++) now[i] += table[ids[r] < 0 ? ids[r] + TABLE : ids[r]][i];
    }
    for (int l = 0; l < LAYERS; l++) {
        for (int n = 0; n < K; n++) {
            double sum = biases[l][n];
            for (int k = 0; k < K; k++) sum += now[k] * weights[l][k][n];
            next[n] = 0.5 * sum;
        }
        memcpy(now, next, sizeof now);
    }
    for (int i = 0; i < K; i++) expected[i] = (float)now[i];
}

static void save_text(const char *name, const char *text) {
    char           path[192];
    flashmem_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(fm_file_save(path, text, strlen(text), &err), FLASHMEM_OK);
}

static int found_one(void *user, const flashmem_device_info *info) {
    (void)user, (void)info;
    return 1;
}

static int setup(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    uint32_t       seed = 1;
    strcpy(folder, "/var/tmp/fm-opencl-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(pack_path, sizeof pack_path, "%s/a.flm", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    save_text("test.cl", source);
    save_text("shared.clh", "#define SCALE 0.5f\n");
    setenv("FLASHMEM_KERNEL_DIR", folder, 1);
    for (float *w = &weights[0][0][0]; w < &weights[0][0][0] + LAYERS * K * K; w++) *w = noise(&seed) * 0.2f;
    for (float *b = &biases[0][0]; b < &biases[0][0] + LAYERS * K; b++) *b = noise(&seed);
    for (float *t = &table[0][0]; t < &table[0][0] + TABLE * K; t++) *t = noise(&seed);
    for (int i = 0; i < K; i++) x[i] = noise(&seed);
    compute_expected();
    have_opencl = flashmem_devices(found_one, NULL, &err) == FLASHMEM_OK;
    snprintf(why_not, sizeof why_not, "%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void need_opencl(void) {
    if (have_opencl) return;
    print_message("skipped: %s\n", why_not);
    skip();
}

/* --- the pack ----------------------------------------------------------------------------------------------------- */

static void build(fm_program_builder *b, bool texture, const char *options) {
    fm_shape shape = { 2, { 1, K } }, id_shape = { 1, { ROWS } };
    int64_t  panels = texture ? K / 4 : K / 16;
    uint32_t kernel = fm_builder_kernel(b, "test.cl", options, texture ? "dense_image" : "dense",
                                        texture ? FM_DEVICE_IMAGE : 0);
    uint32_t in = fm_builder_value(b, FM_VALUE_INPUT, FLASHMEM_F32, K * 4, "x", &shape);
    uint32_t id = fm_builder_value(b, FM_VALUE_INPUT, FLASHMEM_I64, ROWS * 8, "ids", &id_shape);
    b->values[id].limit = TABLE;
    fm_builder_input(b, in);
    fm_builder_input(b, id);
    uint32_t rows = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, ROWS * K * 4, NULL, NULL);
    fm_builder_gather_rows(b, "rows", id, fm_builder_weight(b, 2 * LAYERS, FLASHMEM_F32, TABLE * K * 4, NULL), rows,
                           ROWS);
    uint32_t now = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, K * 4, NULL, NULL);
    fm_builder_begin(b, "sum", fm_builder_kernel(b, "test.cl", options, "sum_rows", 0), FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(b, rows);
    fm_builder_read(b, in);
    fm_builder_write(b, now);
    fm_builder_arg_int(b, ROWS);
    fm_builder_global(b, K, 1, 1);
    fm_builder_work(b, K * ROWS, K * ROWS * 4);
    fm_builder_end(b);
    for (uint32_t l = 0; l < LAYERS; l++) {
        uint32_t out = l + 1 < LAYERS ? fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, K * 4, NULL, NULL)
                                      : fm_builder_value(b, FM_VALUE_OUTPUT, FLASHMEM_F32, K * 4, "y", &shape);
        uint32_t weight = fm_builder_weight(b, 2 * l, FLASHMEM_F32, K * K * 4, NULL);
        fm_builder_begin(b, "dense", kernel, FLASHMEM_COST_MATMUL);
        fm_builder_read(b, now);
        if (texture) fm_builder_image(b, weight);
        else fm_builder_read(b, weight);
        fm_builder_read(b, fm_builder_weight(b, 2 * l + 1, FLASHMEM_F32, K * 4, NULL));
        fm_builder_write(b, out);
        fm_builder_arg_panels(b);
        fm_builder_arg_int(b, K);
        fm_builder_global(b, panels, 1, 1);
        fm_builder_local(b, 1, 1, 1);
        fm_builder_work(b, 2.0 * K * K, K * 8);
        fm_builder_split(b, weight, 0, 1, 1);
        fm_builder_end(b);
        now = out;
        if (l + 1 == LAYERS) fm_builder_output(b, out);
    }
}

static void write_pack(bool texture, const char *options) {
    static float       panels[K * K];
    static float       bias_bundle[LAYERS][1024];
    fm_arena          *arena = fm_arena_create();
    fm_program_builder b;
    fm_weight          w[2 * LAYERS + 1] = { 0 };
    fm_object          o[2 * LAYERS] = { 0 };
    flashmem_error     err = { 0 };
    uint64_t           key = 1, bytes, columns = texture ? 4 : 16, panel = K * columns * 4;
    uint32_t           paths = 1u << (texture ? FLASHMEM_PATH_TEXTURE_COPY : FLASHMEM_PATH_IN_PLACE);
    fm_pack_writer    *writer;
    fm_builder_init(&b, arena);
    build(&b, texture, options);
    for (uint32_t l = 0; l < LAYERS; l++) {
        w[2 * l] = (fm_weight){ .name = FM_NONE,
                                .kind = FM_WEIGHT_PANELS,
                                .object = 2 * l,
                                .bytes = K * K * 4,
                                .k = K,
                                .n = K,
                                .panels = K / columns,
                                .panel_bytes = panel,
                                .unit_panels = 1 };
        w[2 * l + 1] = (fm_weight){ .name = FM_NONE, .kind = FM_WEIGHT_DENSE, .object = 2 * l + 1, .bytes = K * 4 };
        o[2 * l] = (fm_object){ .bytes = K * K * 4, .weight = 2 * l, .unit_bytes = panel };
        o[2 * l + 1] = (fm_object){ .bytes = 4096, .weight = FM_NONE, .unit_bytes = 4096 };
    }
    w[2 * LAYERS] = (fm_weight){ .name = FM_NONE,
                                 .kind = FM_WEIGHT_ROWS,
                                 .object = FM_NONE,
                                 .bytes = TABLE * K * 4,
                                 .k = TABLE,
                                 .n = K,
                                 .row_bytes = K * 4 };
    fm_program       program = fm_builder_program(&b);
    fm_pack_contents contents = {
        .layout = texture ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU,
        .float_weight_bytes = LAYERS * K * (K + 1) * 4,
        .strings = program.strings,
        .string_bytes = program.string_bytes,
        .weight_table = w,
        .weight_count = 2 * LAYERS + 1,
        .object_table = o,
        .object_count = 2 * LAYERS,
        .programs = &program,
        .memory_paths = &paths,
        .shape_keys = &key,
        .program_count = 1,
    };
    if (fm_pack_writer_open(&writer, pack_path, &contents, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (uint64_t n = 0; n < K; n++)
            for (uint64_t k = 0; k < K; k++) panels[(n / columns * K + k) * columns + n % columns] = weights[l][k][n];
        memcpy(bias_bundle[l], biases[l], sizeof biases[l]);
        assert_int_equal(fm_pack_writer_object(writer, 2 * l, 0, panels, sizeof panels, &err), FLASHMEM_OK);
        assert_int_equal(fm_pack_writer_object(writer, 2 * l + 1, 0, bias_bundle[l], 4096, &err), FLASHMEM_OK);
    }
    assert_int_equal(fm_pack_writer_rows(writer, 2 * LAYERS, 0, table, TABLE, &err), FLASHMEM_OK);
    if (fm_pack_writer_commit(writer, &bytes, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_arena_destroy(arena);
}

/* --- runs --------------------------------------------------------------------------------------------------------- */

static flashmem_run_options options_for(flashmem_budget_kind kind, double value) {
    flashmem_run_options o;
    flashmem_run_options_init(&o);
    o.budget_kind = kind;
    o.budget_value = value;
    o.cache_dir = cache;
    o.log = log_line;
    lines[0] = '\0';
    return o;
}

static void run_and_compare(const flashmem_run_options *o, int runs, flashmem_stats *stats) {
    flashmem_error  err = { 0 };
    flashmem_model *model;
    if (flashmem_model_open(pack_path, o, &model, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    assert_int_equal(flashmem_model_bind_input(model, 0, x, sizeof x, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_bind_input(model, 1, ids, sizeof ids, &err), FLASHMEM_OK);
    for (int r = 0; r < runs; r++) {
        if (flashmem_model_run(model, &err) != FLASHMEM_OK) fail_msg("run %d: %s", r, err.message);
        const float *y = flashmem_model_output(model, 0);
        float        worst = 0, largest = 0;
        for (int i = 0; i < K; i++) {
            worst = fmaxf(worst, fabsf(y[i] - expected[i]));
            largest = fmaxf(largest, fabsf(expected[i]));
        }
        if (!(worst <= 1e-4f * largest)) fail_msg("run %d: off by %g of %g", r, (double)worst, (double)largest);
    }
    flashmem_model_stats(model, stats);
    flashmem_model_close(model);
}

static void check_budgets(bool texture) {
    flashmem_stats       stats;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    write_pack(texture, "");
    if (texture) o.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    run_and_compare(&o, 3, &stats);
    assert_string_equal(stats.memory_path, texture ? "texture-copy" : "in-place");
    for (double percent = 60; percent >= 15; percent /= 2) {
        o.budget_kind = FLASHMEM_BUDGET_PERCENT;
        o.budget_value = percent;
        run_and_compare(&o, 3, &stats);
    }
    o.budget_kind = FLASHMEM_BUDGET_MINIMUM;
    run_and_compare(&o, 3, &stats);
    o.serial = 1;
    run_and_compare(&o, 2, &stats);
    assert_true(stats.compute_seconds > 0 && stats.device_ready > 0);
    assert_true(stats.first_launch > 0 && stats.first_launch <= stats.run_end);
}

static void test_opencl__in_place(void **state) {
    (void)state;
    need_opencl();
    check_budgets(false);
}

static void test_opencl__texture_copy(void **state) {
    (void)state;
    need_opencl();
    check_budgets(true);
}

/* Plans by chance, replayed as they are: preloaded images stay from run to run, others come panel by panel. */
static void check_overlaps(bool texture, bool separate) {
    if (separate) setenv("FLASHMEM_SEPARATE_MEMORY", "1", 1);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        overlap_taste        taste = { .chunk_bytes = 65536, .preload = 30, .window = 3, .loads = 4, .seed = seed };
        flashmem_error       err = { 0 };
        flashmem_stats       stats;
        flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
        write_pack(texture, "");
        if (texture) o.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
        if (fm_overlap_add(pack_path, &o, &taste, 0, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        o.objective = FLASHMEM_OBJECTIVE_OPG;
        run_and_compare(&o, 2, &stats);
        assert_string_equal(stats.objective, "opg");
        o.budget_kind = FLASHMEM_BUDGET_MINIMUM;
        run_and_compare(&o, 2, &stats);
    }
    unsetenv("FLASHMEM_SEPARATE_MEMORY");
}

static void test_opencl__overlap_plans(void **state) {
    (void)state;
    need_opencl();
    check_overlaps(false, false);
    check_overlaps(true, false);
}

static void test_opencl__overlap_plans_on_memory_of_its_own(void **state) {
    (void)state;
    need_opencl();
    check_overlaps(false, true);
    check_overlaps(true, true);
}

static void test_opencl__one_thread(void **state) {
    (void)state;
    flashmem_stats       stats;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 30);
    need_opencl();
    write_pack(false, "");
    o.threads = 1;
    run_and_compare(&o, 2, &stats);
    flashmem_error  err = { 0 };
    flashmem_model *model;
    o.threads = 1000;
    assert_int_equal(flashmem_model_open(pack_path, &o, &model, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "1000 threads, device '"));
}

static void damage_file(const char *pattern) {
    char command[512];
    snprintf(command, sizeof command,
             "for f in %s/%s; do printf XXXX | dd of=$f bs=1 seek=30 conv=notrunc 2>/dev/null; done", cache, pattern);
    assert_int_equal(system(command), 0);
}

static void test_opencl__programs_are_cached_and_rebuilt(void **state) {
    (void)state;
    flashmem_stats       stats;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 50);
    need_opencl();
    write_pack(false, "-DTHIS_TEST=1");
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 0);
    assert_non_null(strstr(lines, "MISS"));
    for (int i = 0; i < 2; i++) {
        run_and_compare(&o, 1, &stats);
        assert_int_equal(stats.program_cache_hit, 1);
    }
    write_pack(false, "-DTHIS_TEST=2"); /* other options, other program; the first stays */
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 0);
    write_pack(false, "-DTHIS_TEST=1");
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 1);
    damage_file("programs-*.bin");
    lines[0] = '\0';
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 0);
    assert_non_null(strstr(lines, "rebuilt"));
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 1);
    damage_file("device-*.profile");
    lines[0] = '\0';
    run_and_compare(&o, 1, &stats);
    assert_non_null(strstr(lines, "rebuilt"));
    save_text("shared.clh", "#define SCALE 0.25f\n#define OTHER\n"); /* an edited include is another program */
    save_text("shared.clh", "#define SCALE 0.5f \n");
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 0);
    save_text("shared.clh", "#define SCALE 0.5f\n");
    o.cache_dir = ""; /* no cache at all */
    run_and_compare(&o, 1, &stats);
    assert_int_equal(stats.program_cache_hit, 0);
}

static void expect_open(const flashmem_run_options *o, flashmem_status status, const char *part) {
    flashmem_error  err = { 0 };
    flashmem_model *model;
    flashmem_status found = flashmem_model_open(pack_path, o, &model, &err);
    if (found != status || !strstr(err.message, part)) fail_msg("%s '%s'", flashmem_status_name(found), err.message);
}

static void test_opencl__errors_state_facts(void **state) {
    (void)state;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    need_opencl();
    write_pack(false, "");
    o.device = "no such device";
    expect_open(&o, FLASHMEM_DEVICE, "no OpenCL device 'no such device'; there are: 0 '");
    o.device = "77";
    expect_open(&o, FLASHMEM_DEVICE, "no OpenCL device '77'");
    o.device = NULL;
    write_pack(true, "");
    expect_open(&o, FLASHMEM_WRONG_LAYOUT, "--layout cpu");
}

static void test_opencl__source_that_does_not_build(void **state) {
    (void)state;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    need_opencl();
    write_pack(false, "-DSCALE=nonsense(");
    save_text("shared.clh", "\n");
    assert_int_equal(flashmem_model_open(pack_path, &o, &model, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_bind_input(model, 0, x, sizeof x, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_bind_input(model, 1, ids, sizeof ids, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_run(model, &err), FLASHMEM_DEVICE);
    assert_non_null(strstr(err.message, "'test.cl' with '-DSCALE=nonsense(' does not build"));
    flashmem_model_close(model);
    save_text("shared.clh", "#define SCALE 0.5f\n");
}

/* Kernels that changed since the pack was made are noticed before they are launched. */
static void test_opencl__pack_for_other_kernels(void **state) {
    (void)state;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    char                 changed[4096];
    need_opencl();
    write_pack(false, "");
    snprintf(changed, sizeof changed, "%s", source);
    char *at = strstr(changed, ", int k)") + strlen(", int k");
    memmove(at + strlen(", int l"), at, strlen(at) + 1);
    memcpy(at, ", int l", strlen(", int l"));
    save_text("test.cl", changed);
    assert_int_equal(flashmem_model_open(pack_path, &o, &model, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_bind_input(model, 0, x, sizeof x, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_bind_input(model, 1, ids, sizeof ids, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_run(model, &err), FLASHMEM_BAD_PACK);
    if (!strstr(err.message, "kernel 'dense' of 'test.cl' takes 8 arguments, the pack gives 7"))
        fail_msg("%s", err.message);
    flashmem_model_close(model);
    save_text("test.cl", source);
}

static void test_opencl__two_models_of_one_device(void **state) {
    (void)state;
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 40);
    flashmem_error       err = { 0 };
    flashmem_model      *models[2];
    need_opencl();
    write_pack(false, "");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(flashmem_model_open(pack_path, &o, &models[i], &err), FLASHMEM_OK);
        flashmem_model_bind_input(models[i], 0, x, sizeof x, &err);
        flashmem_model_bind_input(models[i], 1, ids, sizeof ids, &err);
    }
    for (int run = 0; run < 3; run++)
        for (int i = 0; i < 2; i++) {
            if (flashmem_model_run(models[i], &err) != FLASHMEM_OK) fail_msg("%s", err.message);
            const float *y = flashmem_model_output(models[i], 0);
            for (int n = 0; n < K; n++) assert_true(fabsf(y[n] - expected[n]) < 1e-2f);
        }
    for (int i = 0; i < 2; i++) flashmem_model_close(models[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opencl__in_place),
        cmocka_unit_test(test_opencl__texture_copy),
        cmocka_unit_test(test_opencl__overlap_plans),
        cmocka_unit_test(test_opencl__overlap_plans_on_memory_of_its_own),
        cmocka_unit_test(test_opencl__one_thread),
        cmocka_unit_test(test_opencl__programs_are_cached_and_rebuilt),
        cmocka_unit_test(test_opencl__errors_state_facts),
        cmocka_unit_test(test_opencl__source_that_does_not_build),
        cmocka_unit_test(test_opencl__pack_for_other_kernels),
        cmocka_unit_test(test_opencl__two_models_of_one_device),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
