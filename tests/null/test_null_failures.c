/* What can go wrong around a run, on the null device: every failure is reported with its facts, nothing hangs, and the
 * null device notices plans that are wrong. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "run/model.h"
#include "tests/base/cmocka_setup.h"
#include "tests/null/synthetic.h"
#include "tests/run/faulty_reads.h"

static char               folder[64], path[128];
static const fm_synthetic what = { .seed = 3, .steps = 6, .weight_bytes = 3u << 19, .rows = 24, .tied = 1 };

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/var/tmp/fm-fail-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.flm", folder);
    fm_synthetic_write(&what, path);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static flashmem_run_options options_for(double percent) {
    flashmem_run_options o;
    flashmem_run_options_init(&o);
    o.device = "null";
    o.cache_dir = "";
    o.budget_kind = FLASHMEM_BUDGET_PERCENT;
    o.budget_value = percent;
    return o;
}

static flashmem_model *open_model(const flashmem_run_options *o, const fm_open_hooks *hooks) {
    flashmem_error  err = { 0 };
    flashmem_model *model;
    if (fm_model_open(path, o, hooks, &model, &err) != FLASHMEM_OK) fail_msg("open: %s", err.message);
    return model;
}

static void expect(flashmem_status found, flashmem_status wanted, const flashmem_error *err, const char *part) {
    if (found != wanted || !strstr(err->message, part))
        fail_msg("%s '%s', wanted %s '...%s...'", flashmem_status_name(found), err->message,
                 flashmem_status_name(wanted), part);
}

static void expect_open(const flashmem_run_options *o, flashmem_status wanted, const char *part) {
    flashmem_error  err = { 0 };
    flashmem_model *model = (void *)1;
    expect(flashmem_model_open(path, o, &model, &err), wanted, &err, part);
    assert_null(model);
}

static void test_open__refuses_what_cannot_take_effect(void **state) {
    (void)state;
    flashmem_run_options o = options_for(25);
    o.memory_path = FLASHMEM_PATH_DMA;
    expect_open(&o, FLASHMEM_UNSUPPORTED, "'dma' is not built in this version");
    o.memory_path = FLASHMEM_PATH_TEXTURE_EMBEDDED;
    expect_open(&o, FLASHMEM_UNSUPPORTED, "texture-embedded");
    o.memory_path = FLASHMEM_PATH_TEXTURE_COPY;
    expect_open(&o, FLASHMEM_WRONG_LAYOUT, "'cpu' layout cannot be run by memory path 'texture-copy'");
    o = options_for(25);
    o.program = 7;
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "program 7 of 1");
    o = options_for(-1);
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "budget of -1");
    o = options_for(25);
    o.read_bytes = 1000;
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "1000 bytes per read");
    o = options_for(25);
    o.host_budget = 1;
    expect_open(&o, FLASHMEM_UNSUPPORTED, "host budget");
    o = options_for(25);
    o.size = 8;
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "run options of 8 bytes");
    struct {
        flashmem_run_options ours;
        uint64_t             later; /* an option of a version to come */
    } longer = { options_for(25), 0 };
    longer.ours.size = sizeof longer;
    flashmem_model_close(open_model(&longer.ours, NULL));
    longer.later = 1;
    expect_open(&longer.ours, FLASHMEM_INVALID_ARGUMENT, "set what this version");
    o = options_for(25);
    o.objective = 2;
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "objective 2");
    o.size = offsetof(flashmem_run_options, objective); /* of a version before it */
    flashmem_model_close(open_model(&o, NULL));
    o = options_for(25);
    o.policy = "published";
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "there is none here");
    o.policy = "sometimes";
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "no policy is called 'sometimes'");
    o.objective = FLASHMEM_OBJECTIVE_OPG;
    expect_open(&o, FLASHMEM_INVALID_ARGUMENT, "leaves nothing to a policy");
    o.objective = FLASHMEM_OBJECTIVE_TIMED;
    o.size = offsetof(flashmem_run_options, policy); /* of a version before it */
    flashmem_model_close(open_model(&o, NULL));
}

static void test_open__budget_below_the_minimum_states_it(void **state) {
    (void)state;
    flashmem_run_options o = options_for(0);
    flashmem_stats       stats;
    char                 minimum[32];
    flashmem_model      *model = open_model(&o, NULL); /* percent: raised */
    flashmem_model_stats(model, &stats);
    flashmem_model_close(model);
    snprintf(minimum, sizeof minimum, "%llu", (unsigned long long)stats.minimum_budget_bytes);
    o.budget_kind = FLASHMEM_BUDGET_BYTES;
    o.budget_value = (double)stats.minimum_budget_bytes - 1;
    expect_open(&o, FLASHMEM_BUDGET, minimum);
    o.budget_value = (double)stats.minimum_budget_bytes;
    flashmem_model_close(open_model(&o, NULL));
}

static void test_open__missing_or_damaged_packs(void **state) {
    (void)state;
    flashmem_run_options o = options_for(25);
    flashmem_error       err = { 0 };
    flashmem_model      *model;
    expect(flashmem_model_open("/nowhere/x.flm", &o, &model, &err), FLASHMEM_IO, &err, "/nowhere/x.flm");
    flashmem_error again = { 0 };
    expect(flashmem_model_open("/dev/null", &o, &model, &again), FLASHMEM_IO, &again, "/dev/null");
}

static void test_run__plan_only_cannot_run(void **state) {
    (void)state;
    flashmem_run_options o = options_for(25);
    flashmem_error       err = { 0 };
    const flashmem_plan *plan;
    o.plan_only = 1;
    flashmem_model *model = open_model(&o, NULL);
    assert_int_equal(flashmem_model_verify_plan(model, &err), FLASHMEM_OK);
    assert_int_equal(flashmem_model_plan(model, &plan, &err), FLASHMEM_OK);
    assert_true(plan->step_count > 0 && plan->object_count > 0 && plan->peak_bytes <= plan->budget_bytes);
    assert_true(plan->live_bound_bytes <= plan->peak_bytes && plan->bound > 0 && plan->bound <= plan->objective);
    expect(flashmem_model_run(model, &err), FLASHMEM_INVALID_ARGUMENT, &err, "plan_only");
    flashmem_model_close(model);
}

static void test_run__checks_inputs(void **state) {
    (void)state;
    flashmem_run_options o = options_for(25);
    flashmem_model      *model = open_model(&o, NULL);
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_error       unbound = { 0 }, size = { 0 }, index = { 0 }, low = { 0 }, none = { 0 };
    expect(flashmem_model_run(model, &unbound), FLASHMEM_BAD_INPUT, &unbound, "'x' is not bound");
    fm_synthetic_bind(model, &inputs, 4);
    expect(flashmem_model_bind_input(model, 0, inputs.data[0], 8, &size), FLASHMEM_BAD_INPUT, &size,
           "8 bytes given, the compiled shape needs 12000");
    assert_int_equal(flashmem_model_bind_input(model, 9, inputs.data[0], 8, NULL), FLASHMEM_INVALID_ARGUMENT);
    int64_t *ids = inputs.data[1], kept = ids[5];
    ids[5] = FM_SYNTHETIC_TABLE_ROWS;
    expect(flashmem_model_run(model, &index), FLASHMEM_BAD_INPUT, &index,
           "input 'ids': value 500 at position 5 is used as an index, which must lie below 500");
    ids[5] = INT64_MIN;
    expect(flashmem_model_run(model, &low), FLASHMEM_BAD_INPUT, &low, "-9223372036854775808");
    ids[5] = kept; /* the model is still good */
    if (flashmem_model_run(model, &none) != FLASHMEM_OK) fail_msg("%s", none.message);
    uint64_t plain = fm_synthetic_outputs(model);
    ids[5] = kept - FM_SYNTHETIC_TABLE_ROWS; /* from the end: the same row, but other input bytes only for the gather */
    if (flashmem_model_run(model, &none) != FLASHMEM_OK) fail_msg("%s", none.message);
    assert_true(fm_synthetic_outputs(model) == plain);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void run_with_fault(flashmem_status wanted, const char *part) {
    flashmem_run_options o = options_for(30);
    fm_open_hooks        hooks = { .read_ops = &faulty_ops };
    flashmem_model      *model = open_model(&o, &hooks);
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_error       err = { 0 }, later = { 0 };
    fm_synthetic_bind(model, &inputs, 4);
    expect(flashmem_model_run(model, &err), wanted, &err, part);
    assert_true(flashmem_model_run(model, &later) != FLASHMEM_OK);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void test_run__read_faults_in_mid_stream(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (int64_t at = 0; at < 12; at += 3) {
            faulty_reset(*ops);
            faulty.fail_at = at;
            faulty.error = EIO;
            run_with_fault(FLASHMEM_IO, "Input/output error");
            faulty_reset(*ops);
            faulty.flip_at = at;
            run_with_fault(FLASHMEM_CORRUPT, "compile the model again");
        }
}

static void test_run__short_reads_change_nothing(void **state) {
    (void)state;
    flashmem_run_options o = options_for(30);
    flashmem_error       err = { 0 };
    uint64_t             expected = 0;
    for (int64_t at = -1; at < 12; at++) {
        fm_synthetic_inputs inputs = { 0 };
        fm_open_hooks       hooks = { .read_ops = &faulty_ops };
        faulty_reset(fm_read_backends()[0]);
        faulty.short_at = at;
        faulty.short_bytes = 4096 + 100;
        flashmem_model *model = open_model(&o, &hooks);
        fm_synthetic_bind(model, &inputs, 4);
        if (flashmem_model_run(model, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        if (at < 0) expected = fm_synthetic_outputs(model);
        assert_true(fm_synthetic_outputs(model) == expected);
        flashmem_model_close(model);
        fm_synthetic_free(&inputs);
    }
}

/* --- cancel ------------------------------------------------------------------------------------------------------- */

static void *cancel_soon(void *model) {
    usleep(3000);
    flashmem_model_cancel(model);
    return NULL;
}

static void test_cancel__from_another_thread(void **state) {
    (void)state;
    flashmem_run_options o = options_for(30);
    fm_open_hooks        hooks = { .null_time_scale = 20 };
    for (int i = 0; i < 4; i++) {
        flashmem_model     *model = open_model(&o, &hooks);
        fm_synthetic_inputs inputs = { 0 };
        flashmem_error      err = { 0 }, later = { 0 };
        pthread_t           thread;
        fm_synthetic_bind(model, &inputs, 4);
        if (i < 2) assert_int_equal(pthread_create(&thread, NULL, cancel_soon, model), 0);
        else flashmem_model_cancel(model); /* before the run */
        expect(flashmem_model_run(model, &err), FLASHMEM_CANCELLED, &err, "cancelled");
        if (i < 2) pthread_join(thread, NULL);
        expect(flashmem_model_run(model, &later), FLASHMEM_CANCELLED, &later, "cancelled");
        flashmem_model_close(model);
        fm_synthetic_free(&inputs);
    }
}

static flashmem_model *signalled;
static void            on_alarm(int number) {
               (void)number;
               flashmem_model_cancel(signalled);
}

static void test_cancel__from_a_signal_handler(void **state) {
    (void)state;
    flashmem_run_options o = options_for(30);
    fm_open_hooks        hooks = { .null_time_scale = 20 };
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_error       err = { 0 };
    struct sigaction     action = { .sa_handler = on_alarm }, before;
    struct itimerval     soon = { .it_value = { 0, 4000 } };
    signalled = open_model(&o, &hooks);
    fm_synthetic_bind(signalled, &inputs, 4);
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &soon, NULL);
    expect(flashmem_model_run(signalled, &err), FLASHMEM_CANCELLED, &err, "cancelled");
    sigaction(SIGALRM, &before, NULL);
    flashmem_model_close(signalled);
    fm_synthetic_free(&inputs);
}

static int stop_at_half(void *user, const char *stage, uint64_t done, uint64_t total) {
    uint64_t *last = user;
    assert_string_equal(stage, "load");
    assert_true(done >= *last && done <= total);
    *last = done;
    return done * 2 > total;
}

static void test_cancel__from_the_progress_callback(void **state) {
    (void)state;
    flashmem_run_options o = options_for(30);
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_error       err = { 0 };
    uint64_t             last = 0;
    o.progress = stop_at_half;
    o.user = &last;
    flashmem_model *model = open_model(&o, NULL);
    fm_synthetic_bind(model, &inputs, 4);
    expect(flashmem_model_run(model, &err), FLASHMEM_CANCELLED, &err, "cancelled");
    assert_true(last > 0);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void test_close__at_any_time(void **state) {
    (void)state;
    flashmem_model_close(NULL);
    for (int i = 0; i < 12; i++) {
        flashmem_run_options o = options_for(i % 2 ? 30 : 100);
        flashmem_model      *model = open_model(&o, NULL);
        fm_synthetic_inputs  inputs = { 0 };
        if (i % 3) usleep((useconds_t)i * 100);
        if (i % 4 == 0) {
            fm_synthetic_bind(model, &inputs, 4);
            assert_int_equal(flashmem_model_run(model, NULL), FLASHMEM_OK); /* reads ahead are in flight now */
        }
        flashmem_model_close(model);
        fm_synthetic_free(&inputs);
    }
}

/* --- the null device notices -------------------------------------------------------------------------------------- */

static void read_at_once(fm_replay *r) {
    for (uint32_t o = 0; o < r->object_count; o++) r->objects[o].after = -1, r->objects[o].wrap = 0;
}
static void swap_places(fm_replay *r) {
    for (uint32_t o = 1; o < r->object_count; o++)
        if (r->objects[o].place != r->objects[0].place) r->objects[o].place = r->objects[0].place;
}
static void forget_uses(fm_replay *r) {
    for (uint32_t k = 0; k < r->step_count; k++)
        if (r->steps[k].object_count) r->steps[k].object_count--;
}
static void activations_on_top(fm_replay *r) {
    for (uint32_t o = 0; o < r->object_count; o++) r->objects[o].place = o ? r->objects[o].place : 0;
    for (uint32_t k = 0; k < r->step_count; k++) /* there are more values than steps */
        if (r->values[k].placed && r->values[k].bytes < r->region_bytes[0] / 2) r->values[k].offset = 0;
}

static void expect_noticed(void (*edit)(fm_replay *), const char *name) {
    flashmem_run_options o = options_for(25);
    fm_open_hooks        good = { 0 }, bad = { .edit_plan = edit, .null_time_scale = 2 };
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_error       err = { 0 };
    uint64_t             hashes[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        flashmem_model *model = NULL;
        flashmem_status status = fm_model_open(path, &o, i ? &bad : &good, &model, &err);
        if (i == 0) assert_int_equal(status, FLASHMEM_OK);
        for (int run = 0; run < 2 && status == FLASHMEM_OK; run++) {
            if (run == 0) fm_synthetic_bind(model, &inputs, 4);
            status = flashmem_model_run(model, &err);
            if (status == FLASHMEM_OK) hashes[i] = fm_synthetic_outputs(model);
        }
        flashmem_model_close(model);
        if (i == 1 && status == FLASHMEM_OK && hashes[0] == hashes[1]) fail_msg("%s was not noticed", name);
    }
    fm_synthetic_free(&inputs);
}

static void test_null__notices_wrong_plans(void **state) {
    (void)state;
    expect_noticed(read_at_once, "reading without waiting for free memory");
    expect_noticed(swap_places, "objects on top of each other");
    expect_noticed(forget_uses, "a launch that does not wait for its objects");
    expect_noticed(activations_on_top, "values on top of each other");
}

/* --- trace -------------------------------------------------------------------------------------------------------- */

static void test_trace__holds_every_track(void **state) {
    (void)state;
    static const char *const wanted[] = { "\"disk 0\"",   "\"conversion\"", "\"kernels\"", "\"stalls\"",
                                          "\"ph\":\"C\"", "rows: gather",   "split " };
    flashmem_run_options     o = options_for(30);
    flashmem_model          *model = open_model(&o, NULL);
    fm_synthetic_inputs      inputs = { 0 };
    flashmem_error           err = { 0 };
    char                     file[160];
    void                    *text;
    snprintf(file, sizeof file, "%s/t.json", folder);
    assert_int_equal(flashmem_model_trace_write(model, file, NULL), FLASHMEM_INVALID_ARGUMENT);
    assert_int_equal(flashmem_model_trace_begin(model, &err), FLASHMEM_OK);
    fm_synthetic_bind(model, &inputs, 4);
    for (int i = 0; i < 2; i++) assert_int_equal(flashmem_model_run(model, &err), FLASHMEM_OK);
    if (flashmem_model_trace_write(model, file, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    assert_int_equal(fm_file_load(file, 64 << 20, &text, NULL, &err), FLASHMEM_OK);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(text, wanted[i])) fail_msg("the trace lacks %s", wanted[i]);
    free(text);
    unlink(file);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

static void test_stats__add_up(void **state) {
    (void)state;
    flashmem_run_options o = options_for(30);
    flashmem_model      *model = open_model(&o, NULL);
    fm_synthetic_inputs  inputs = { 0 };
    flashmem_stats       s;
    fm_synthetic_bind(model, &inputs, 4);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(flashmem_model_run(model, NULL), FLASHMEM_OK);
        flashmem_model_stats(model, &s);
        assert_true(s.bytes_read > 0 && s.read_seconds > 0 && s.disk_rate > 0 && s.verify_seconds > 0);
        assert_true(s.run_begin < s.run_end && s.first_launch >= s.run_begin - 1e-3 && s.first_launch <= s.run_end);
        assert_true(s.average_bytes > 0 && s.average_bytes <= (double)s.planned_peak_bytes);
        assert_true(s.planned_peak_bytes <= s.budget_bytes && s.minimum_bound_bytes <= s.minimum_budget_bytes);
        assert_int_equal(s.runs, run + 1);
    }
    assert_true(s.bytes_read + s.resident_bytes <= 20u << 20);
    flashmem_model_close(model);
    fm_synthetic_free(&inputs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open__refuses_what_cannot_take_effect),
        cmocka_unit_test(test_open__budget_below_the_minimum_states_it),
        cmocka_unit_test(test_open__missing_or_damaged_packs),
        cmocka_unit_test(test_run__plan_only_cannot_run),
        cmocka_unit_test(test_run__checks_inputs),
        cmocka_unit_test(test_run__read_faults_in_mid_stream),
        cmocka_unit_test(test_run__short_reads_change_nothing),
        cmocka_unit_test(test_cancel__from_another_thread),
        cmocka_unit_test(test_cancel__from_a_signal_handler),
        cmocka_unit_test(test_cancel__from_the_progress_callback),
        cmocka_unit_test(test_close__at_any_time),
        cmocka_unit_test(test_null__notices_wrong_plans),
        cmocka_unit_test(test_trace__holds_every_track),
        cmocka_unit_test(test_stats__add_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
