/* Whole programs on the null device: whatever the budget, the order of reads or the number of runs, the outputs are the
 * same, and no launch ever finds its weights missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/model.h"
#include "schedule/policy.h"
#include "tests/base/cmocka_setup.h"
#include "tests/null/synthetic.h"
#include "tests/run/faulty_reads.h"

static char folder[64], path[128];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/var/tmp/fm-null-XXXXXX"); /* on a disk: direct reads */
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.flm", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void log_line(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)user;
    if (getenv("FM_TEST_LOG") || level == FLASHMEM_LOG_ERROR) fprintf(stderr, "%d %s: %s\n", level, category, message);
}

static flashmem_run_options options_for(flashmem_budget_kind kind, double value) {
    flashmem_run_options o;
    flashmem_run_options_init(&o);
    o.device = "null";
    o.cache_dir = "";
    o.budget_kind = kind;
    o.budget_value = value;
    o.log = log_line;
    return o;
}

static uint64_t run_and_close(flashmem_model *model, int runs, flashmem_stats *stats) {
    flashmem_error      err = { 0 };
    fm_synthetic_inputs inputs = { 0 };
    uint64_t            first = 0;
    fm_synthetic_bind(model, &inputs, 9);
    for (int i = 0; i < runs; i++) {
        if (flashmem_model_run(model, &err) != FLASHMEM_OK) fail_msg("run %d: %s", i, err.message);
        uint64_t hash = fm_synthetic_outputs(model);
        if (i == 0) first = hash;
        assert_true(hash == first);
    }
    if (stats) flashmem_model_stats(model, stats);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
    return first;
}

/* Runs `runs` times; every run must give the same outputs, whose hash is returned. */
static uint64_t outputs_of(const flashmem_run_options *o, const fm_open_hooks *hooks, int runs, flashmem_stats *stats) {
    flashmem_error  err = { 0 };
    flashmem_model *model;
    if (fm_model_open(path, o, hooks, &model, &err) != FLASHMEM_OK) fail_msg("open: %s", err.message);
    if (flashmem_model_verify_plan(model, &err) != FLASHMEM_OK) fail_msg("verify: %s", err.message);
    return run_and_close(model, runs, stats);
}

/* Odd seeds through threads, whose reads ThreadSanitizer sees. */
static void check_all_budgets(const fm_synthetic *what) {
    fm_open_hooks       hooks = { .read_ops = what->seed % 2 ? &fm_read_threads : NULL };
    static const double percents[] = { 75, 50, 25, 12.5, 5 };
    fm_synthetic_write(what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    flashmem_stats       stats;
    uint64_t             expected = outputs_of(&o, &hooks, 3, &stats);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        o = options_for(FLASHMEM_BUDGET_PERCENT, percents[i]);
        assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
        assert_true(stats.planned_peak_bytes <= stats.budget_bytes || stats.budget_bytes < stats.minimum_budget_bytes);
    }
    o = options_for(FLASHMEM_BUDGET_MINIMUM, 0);
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
    o = options_for(FLASHMEM_BUDGET_BYTES, (double)stats.minimum_budget_bytes);
    assert_true(outputs_of(&o, &hooks, 2, &stats) == expected);
    o = options_for(FLASHMEM_BUDGET_AUTO, 0);
    assert_true(outputs_of(&o, &hooks, 2, &stats) == expected);
    o = options_for(FLASHMEM_BUDGET_PERCENT, 25);
    o.serial = 1;
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
    assert_true(stats.serial_read > 0 && stats.serial_compute > 0);
    o = options_for(FLASHMEM_BUDGET_OFF, 0);
    o.serial = 1;
    assert_true(outputs_of(&o, &hooks, 3, &stats) == expected);
}

static void test_run__same_outputs_at_every_budget(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        fm_synthetic what = { .seed = seed,
                              .steps = 5 + (uint32_t)seed % 3,
                              .weight_bytes = 3u << 19,
                              .rows = seed % 2 ? 40 : 0,
                              .computed_rows = seed % 3 ? 0 : 17,
                              .tied = seed % 2 == 0,
                              .half = seed > 3 };
        check_all_budgets(&what);
    }
}

static void test_run__same_outputs_through_images(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fm_synthetic what = {
            .seed = seed, .steps = 5, .weight_bytes = 3u << 19, .rows = 20, .half = seed == 2, .texture = 1
        };
        check_all_budgets(&what);
    }
}

/* Reads in other orders and at other times: the same outputs, in later runs too. */
static void test_run__same_outputs_with_every_policy(void **state) {
    (void)state;
    int ran = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        fm_synthetic what = { .seed = seed,
                              .steps = 6,
                              .weight_bytes = 3u << 19,
                              .rows = 20,
                              .computed_rows = seed % 2 ? 17 : 0,
                              .tied = seed == 3,
                              .half = seed == 2,
                              .texture = seed % 2 == 0 };
        fm_synthetic_write(&what, path);
        flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
        uint64_t             expected = outputs_of(&o, NULL, 2, NULL);
        for (uint32_t i = 0; i < FM_POLICY_PUBLISHED; i++) {
            o = options_for(i == FM_POLICY_PRELOAD_ALL ? FLASHMEM_BUDGET_OFF : FLASHMEM_BUDGET_PERCENT, 90);
            o.policy = fm_policy_name(i);
            assert_true(outputs_of(&o, NULL, 3, NULL) == expected);
            ran++;
        }
    }
    assert_int_equal(ran, 20);
}

/* Every image gets an object of its own and is copied in three parts, the first two before earlier steps. */
static void convert_in_parts(fm_replay *r) {
    static fm_replay_convert    converts[256];
    static fm_replay_pool_image pool[64];
    uint32_t                    count = 0;
    for (uint32_t i = 0; i < r->image_count; i++) {
        fm_replay_image *image = &r->images[i];
        uint32_t         use = r->converts[image->first_convert].before_step, done = 0;
        pool[i] = r->pool[image->image];
        image->image = i;
        image->first_convert = count;
        image->converts = 3;
        for (uint32_t part = 0; part < 3; part++) {
            uint32_t panels = part < 2 ? image->panels / 3 : image->panels - done;
            converts[count++] = (fm_replay_convert){ i, done, panels, use + part < 2 ? 0 : use + part - 2 };
            done += panels;
        }
    }
    r->converts = converts;
    r->convert_count = count;
    r->pool = pool;
    r->pool_count = r->image_count;
}

static void test_run__images_in_parts_are_the_same_images(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        fm_synthetic  what = { .seed = seed, .steps = 6, .weight_bytes = 3u << 19, .half = seed == 2, .texture = 1 };
        fm_open_hooks hooks = { .read_ops = &faulty_ops, .edit_plan = convert_in_parts };
        fm_synthetic_write(&what, path);
        flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
        uint64_t             expected = outputs_of(&o, NULL, 1, NULL);
        flashmem_model      *model;
        flashmem_error       err = { 0 };
        faulty_reset(seed % 2 ? &fm_read_threads : fm_read_backends()[0]);
        faulty.delay = 300; /* conversions overtake reads that they do not wait for */
        o.read_depth = 1;
        o.read_bytes = 64 << 10;
        if (fm_model_open(path, &o, &hooks, &model, &err) != FLASHMEM_OK) fail_msg("open: %s", err.message);
        assert_true(run_and_close(model, 3, NULL) == expected);
    }
}

/* Launches that take time let reads run into whatever the plan wrongly thinks is free. */
static void test_run__slow_launches_and_fast_reads(void **state) {
    (void)state;
    fm_synthetic  what = { .seed = 11, .steps = 8, .weight_bytes = 3u << 19, .rows = 10, .tied = 1 };
    fm_open_hooks hooks = { .null_time_scale = 3 };
    fm_synthetic_write(&what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    uint64_t             expected = outputs_of(&o, NULL, 1, NULL);
    for (int i = 0; i < 3; i++) {
        o = options_for(i ? FLASHMEM_BUDGET_PERCENT : FLASHMEM_BUDGET_MINIMUM, 30 * i);
        assert_true(outputs_of(&o, &hooks, 4, NULL) == expected);
    }
}

static void test_run__every_backend_reads_the_same(void **state) {
    (void)state;
    fm_synthetic what = { .seed = 21, .steps = 5, .weight_bytes = 2u << 20, .rows = 100 };
    fm_synthetic_write(&what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 30);
    uint64_t             expected = outputs_of(&o, NULL, 1, NULL);
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (int buffered = 0; buffered < 2; buffered++) {
            fm_open_hooks  hooks = { .read_ops = *ops, .buffered = buffered };
            flashmem_stats stats;
            assert_true(outputs_of(&o, &hooks, 2, &stats) == expected);
            assert_string_equal(stats.reader, (*ops)->name);
            if (buffered) assert_int_equal(stats.direct, 0);
        }
}

static void test_run__other_inputs_other_outputs(void **state) {
    (void)state;
    fm_synthetic what = { .seed = 31, .steps = 4, .weight_bytes = 1u << 20, .rows = 12 };
    fm_synthetic_write(&what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 40);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    fm_synthetic_inputs  inputs = { 0 };
    uint64_t             hashes[3];
    assert_int_equal(fm_model_open(path, &o, NULL, &model, &err), FLASHMEM_OK);
    assert_null(flashmem_model_output(model, 0));
    for (uint64_t i = 0; i < 3; i++) {
        fm_synthetic_bind(model, &inputs, i % 2);
        assert_int_equal(flashmem_model_run(model, &err), FLASHMEM_OK);
        hashes[i] = fm_synthetic_outputs(model);
    }
    assert_true(hashes[0] == hashes[2]);
    assert_true(hashes[0] != hashes[1]);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void test_run__inputs_and_outputs_of_any_alignment(void **state) {
    (void)state;
    fm_synthetic what = { .seed = 41, .steps = 3, .weight_bytes = 1u << 20 };
    fm_synthetic_write(&what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_OFF, 0);
    uint64_t             expected = outputs_of(&o, NULL, 1, NULL);
    for (uint32_t promised = 0; promised < 2; promised++)
        for (size_t shift = 0; shift < 8; shift += 4) {
            flashmem_error       err = { 0 };
            flashmem_model      *model;
            fm_synthetic_inputs  inputs = { 0 };
            flashmem_tensor_info info;
            void                *block = NULL, *outputs[3] = { NULL };
            o.bind_outputs = promised;
            assert_int_equal(fm_model_open(path, &o, NULL, &model, &err), FLASHMEM_OK);
            fm_synthetic_bind(model, &inputs, 9);
            flashmem_model_input_info(model, 0, &info);
            assert_int_equal(posix_memalign(&block, 64, info.bytes + 64), 0);
            memcpy((char *)block + shift, inputs.data[0], info.bytes);
            assert_int_equal(flashmem_model_bind_input(model, 0, (char *)block + shift, info.bytes, &err), FLASHMEM_OK);
            for (uint32_t i = 0; i < 3; i++) {
                flashmem_model_output_info(model, i, &info);
                assert_int_equal(posix_memalign(&outputs[i], 64, info.bytes + 64), 0);
                assert_int_equal(flashmem_model_bind_output(model, i, (char *)outputs[i] + shift, info.bytes, &err),
                                 FLASHMEM_OK);
            }
            if (flashmem_model_run(model, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
            assert_ptr_equal(flashmem_model_output(model, 0), (char *)outputs[0] + shift);
            assert_true(fm_synthetic_outputs(model) == expected);
            assert_memory_equal(flashmem_model_output(model, 2), inputs.data[0], info.bytes);
            flashmem_model_close(model);
            fm_synthetic_free(&inputs);
            free(block);
            free(outputs[0]);
            free(outputs[1]);
            free(outputs[2]);
        }
}

static void test_run__two_models_at_once(void **state) {
    (void)state;
    fm_synthetic what = { .seed = 51, .steps = 5, .weight_bytes = 1u << 20 };
    fm_synthetic_write(&what, path);
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_PERCENT, 30);
    flashmem_error       err = { 0 };
    flashmem_model      *models[2];
    fm_synthetic_inputs  inputs = { 0 };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fm_model_open(path, &o, NULL, &models[i], &err), FLASHMEM_OK);
        fm_synthetic_bind(models[i], &inputs, 9);
    }
    for (int run = 0; run < 2; run++)
        for (int i = 0; i < 2; i++) assert_int_equal(flashmem_model_run(models[i], &err), FLASHMEM_OK);
    assert_true(fm_synthetic_outputs(models[0]) == fm_synthetic_outputs(models[1]));
    for (int i = 0; i < 2; i++) flashmem_model_close(models[i]);
    fm_synthetic_free(&inputs);
}

/* --- step times --------------------------------------------------------------------------------------------------- */

static void check_order(const flashmem_step_time *times, uint32_t launches, double before, double after) {
    for (uint32_t i = 0; i < launches; i++) {
        assert_true(times[i].kind != FLASHMEM_STEP_CONVERSION && times[i].bytes == 0);
        assert_true(times[i].begin >= before && times[i].end >= times[i].begin && times[i].end <= after);
        if (i > 0) assert_true(times[i].step >= times[i - 1].step && times[i].begin >= times[i - 1].end);
        if (i > 0 && times[i].step == times[i - 1].step && times[i].kind == FLASHMEM_STEP_KERNEL)
            assert_int_equal(times[i].first_panel, times[i - 1].first_panel + times[i - 1].panels);
    }
}

/* Bytes that the conversions of a run copy: every weight's panels once. */
static uint64_t check_conversions(const flashmem_step_time *times, uint32_t first, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = first; i < count; i++) {
        assert_int_equal(times[i].kind, FLASHMEM_STEP_CONVERSION);
        assert_true(times[i].panels > 0 && times[i].bytes > 0 && times[i].name[0]);
        assert_true(times[i].end >= times[i].begin);
        bytes += times[i].bytes;
    }
    return bytes;
}

static void check_step_times(const fm_synthetic *what) {
    fm_open_hooks        hooks = { .null_time_scale = 0.01 };
    flashmem_run_options o = options_for(FLASHMEM_BUDGET_MINIMUM, 0);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_stats       stats;
    uint64_t             converted = 0;
    fm_synthetic_write(what, path);
    if (what->texture) o.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    if (fm_model_open(path, &o, &hooks, &model, &err) != FLASHMEM_OK) fail_msg("open: %s", err.message);
    assert_int_equal(flashmem_model_step_times(model, NULL, 0), 0); /* nothing has run */
    fm_synthetic_bind(model, &inputs, 9);
    for (int run = 0; run < 2; run++) {
        if (flashmem_model_run(model, &err) != FLASHMEM_OK) fail_msg("run: %s", err.message);
        flashmem_model_stats(model, &stats);
        uint32_t            count = flashmem_model_step_times(model, NULL, 0);
        flashmem_step_time *times = calloc(count + 1, sizeof *times);
        times[count - 1].step = 12345;
        assert_int_equal(flashmem_model_step_times(model, times, count - 1), count);
        assert_int_equal(times[count - 1].step, 12345); /* beyond the limit nothing is written */
        assert_int_equal(flashmem_model_step_times(model, times, count + 1), count);
        check_order(times, stats.steps, stats.run_begin, stats.run_end);
        uint64_t bytes = check_conversions(times, stats.steps, count);
        assert_true((count > stats.steps) == (what->texture != 0));
        if (run > 0) assert_true(bytes == converted);
        converted = bytes;
        free(times);
    }
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void test_step_times__of_every_launch(void **state) {
    (void)state;
    check_step_times(&(fm_synthetic){ .seed = 3, .steps = 5, .weight_bytes = 3 << 20, .rows = 20 });
}

static void test_step_times__of_conversions(void **state) {
    (void)state;
    check_step_times(&(fm_synthetic){ .seed = 4, .steps = 4, .weight_bytes = 3 << 20, .texture = 1 });
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_times__of_every_launch),
        cmocka_unit_test(test_step_times__of_conversions),
        cmocka_unit_test(test_run__same_outputs_at_every_budget),
        cmocka_unit_test(test_run__same_outputs_through_images),
        cmocka_unit_test(test_run__same_outputs_with_every_policy),
        cmocka_unit_test(test_run__images_in_parts_are_the_same_images),
        cmocka_unit_test(test_run__slow_launches_and_fast_reads),
        cmocka_unit_test(test_run__every_backend_reads_the_same),
        cmocka_unit_test(test_run__other_inputs_other_outputs),
        cmocka_unit_test(test_run__inputs_and_outputs_of_any_alignment),
        cmocka_unit_test(test_run__two_models_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
