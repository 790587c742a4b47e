/* What is learnt of a device whose law is known. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "compile/profile/sweep.h"
#include "compile/profile/xgboost.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/profile/fake_device.h"

static char              folder[64];
static flashmem_profile *plain; /* of fake_plain */

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fm-profile-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    plain = fake_profile(&fake_plain, NULL, folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    flashmem_profile_close(plain);
    return rmdir(folder);
}

static void assert_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * want)) fail_msg("%g, %g is expected within %g", got, want, relative);
}

static void test_profiler__finds_launch_gap_and_hops(void **state) {
    flashmem_profile_info i;
    (void)state;
    flashmem_profile_describe(plain, &i);
    assert_near(i.device.launch_seconds, fake_plain.launch + 16 / fake_plain.copy_rate + fake_plain.gap, 0.01);
    assert_near(i.gap_seconds, fake_plain.gap, 0.01);
    assert_near(i.device.load_bytes_per_second, fake_plain.copy_rate, 0.01);
    assert_near(i.device.disk_bytes_per_second, fake_plain.disk_rate, 1e-9);
    assert_near(i.device.check_bytes_per_second, (1 << 20) / 1e-4, 1e-9);
    assert_near(i.device.startup_seconds, 0.03, 1e-9);
    assert_true(i.device.convert_bytes_per_second == 0); /* nothing became an image */
    assert_int_equal(i.device.image_limit, 4096);
    assert_string_equal(i.device.name, "fake");
    assert_string_equal(i.driver, "2");
    assert_string_equal(i.load_path, "separate");
    assert_true(i.learnt && i.current && !i.full && i.threads == 0);
    assert_int_equal(flashmem_device_check(&i.device, NULL), FLASHMEM_OK);
}

static void test_profiler__finds_the_rates_of_classes(void **state) {
    flashmem_profile_info i;
    (void)state;
    flashmem_profile_describe(plain, &i);
    assert_near(i.device.flops_per_second[FLASHMEM_COST_MATMUL], 100e9, 0.1);
    assert_near(i.device.flops_per_second[FLASHMEM_COST_CONV], 80e9, 0.1);
    assert_near(i.device.flops_per_second[FLASHMEM_COST_BATCH_MATMUL], 50e9, 0.1);
    assert_near(i.device.flops_per_second[FLASHMEM_COST_ATTENTION], 40e9, 0.1);
    assert_near(i.device.bytes_per_second, 20e9, 0.2);
}

/* Shapes that were held out were predicted, and the trees that are kept are at least as good. */
static void test_profiler__errors_are_small_and_of_every_sample(void **state) {
    flashmem_profile_info i;
    (void)state;
    flashmem_profile_describe(plain, &i);
    assert_int_equal(i.time_error.samples, plain->samples.row_count);
    assert_int_equal(i.growth_error.samples, plain->samples.load_count);
    assert_true(plain->samples.row_count > 60 && plain->samples.load_count > 150);
    assert_true(i.time_error.mean < 0.12 && i.time_error.mean > 0 && i.time_error.most >= i.time_error.mean);
    assert_true(i.growth_error.mean < 0.05 && i.growth_error.mean > 0);
    double seen = 0;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_row_sample *row = &plain->samples.rows[k];
        assert_true(row->held_out > 0);
        assert_near(row->seconds, fake_seconds(&fake_plain, &row->features), 1e-6);
        seen += fabs(fm_device_profile_kernel_seconds(&plain->device, &row->features) / row->seconds - 1);
    }
    assert_true(seen / (double)plain->samples.row_count < i.time_error.mean);
}

/* Only its features tell a strided copy from a plain one: rates alone are wrong by a factor of three. */
static void test_profiler__trees_know_what_rates_do_not(void **state) {
    uint32_t strided = 0;
    (void)state;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_row_sample *row = &plain->samples.rows[k];
        if (row->features.stride <= 1) continue;
        strided++;
        assert_true(fm_work_seconds(&plain->device.device, &row->features.work) < row->seconds / 2);
        assert_near(fm_device_profile_kernel_seconds(&plain->device, &row->features), row->seconds, 0.15);
    }
    assert_true(strided >= 3);
}

static void test_growth__never_falls_as_the_load_rises(void **state) {
    (void)state;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_step_features *f = &plain->samples.rows[k].features;
        double                  before = 1;
        assert_true(fm_device_profile_growth(&plain->device, f, 0) == 1);
        for (double load = 1; load < 1e9; load *= 1.07) {
            double growth = fm_device_profile_growth(&plain->device, f, load);
            if (!(growth >= before)) fail_msg("row %zu: growth %g at %g bytes after %g", k, growth, load, before);
            before = growth;
        }
        assert_true(before > 1.5 && isfinite(before)); /* a gigabyte costs something */
    }
}

static void test_growth__is_what_the_law_says(void **state) {
    double off = 0;
    (void)state;
    for (size_t k = 0; k < plain->samples.load_count; k++) {
        const fm_load_sample *s = &plain->samples.loads[k];
        double law = 1 + (fake_plain.gap + fake_plain.launch + s->load_bytes / fake_plain.copy_rate) / s->alone;
        assert_near(s->growth, law, 1e-3);
        off += fabs(fm_device_profile_growth_at(&plain->device, &s->features, s->alone, s->load_bytes) / law - 1);
    }
    assert_true(off / (double)plain->samples.load_count < 0.03);
}

/* A load below the least that was measured costs what that one did; beyond the largest every byte costs its own time. */
static void test_growth__outside_what_was_measured(void **state) {
    const fm_device_profile *p = &plain->device;
    (void)state;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_step_features *f = &plain->samples.rows[k].features;
        double                  unit = fm_device_profile_kernel_seconds(p, f) * fake_plain.copy_rate;
        double least = fm_device_profile_growth(p, f, p->least_share * unit * 1.000001), most = p->most_share * unit;
        assert_true(least > 1);
        assert_near(fm_device_profile_growth(p, f, 1), least, 1e-9);
        assert_near(fm_device_profile_growth(p, f, 3 * most),
                    fm_device_profile_growth(p, f, most) + 2 * p->most_share, 1e-2);
    }
}

static void test_seconds__are_kernel_growth_and_gap(void **state) {
    const fm_step_features *f = &plain->samples.rows[0].features;
    (void)state;
    double kernel = fm_device_profile_kernel_seconds(&plain->device, f);
    assert_near(fm_device_profile_seconds(&plain->device, f, 0), kernel + fake_plain.gap, 1e-6);
    assert_near(fm_device_profile_seconds(&plain->device, f, 1e6),
                kernel * fm_device_profile_growth(&plain->device, f, 1e6) + fake_plain.gap, 1e-6);
}

static void test_capacity__grows_with_what_is_allowed(void **state) {
    static const double allowed[] = { 0, 0.02, 0.1, 0.2, 0.5, 1, 3, 10 };
    flashmem_device    *device = &plain->device.device;
    double              kept = device->growth[FLASHMEM_CAPACITY_REUSABLE];
    (void)state;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_step_features *f = &plain->samples.rows[k].features;
        double                  seconds = fm_device_profile_kernel_seconds(&plain->device, f);
        uint64_t                before = 0;
        for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
            device->growth[FLASHMEM_CAPACITY_REUSABLE] = allowed[i];
            uint64_t bytes = fm_device_profile_capacity(&plain->device, f, FLASHMEM_CAPACITY_REUSABLE);
            assert_true(bytes >= before && bytes % 4096 == 0);
            if (bytes) assert_true(fm_device_profile_growth(&plain->device, f, (double)bytes) <= 1 + allowed[i]);
            /* nothing beyond what was measured */
            assert_true((double)bytes <= plain->device.most_share * seconds * fake_plain.copy_rate * 1.02);
            before = bytes;
        }
    }
    device->growth[FLASHMEM_CAPACITY_REUSABLE] = kept;
}

/* Half as much growth as the load's own time would be is never promised, nor more than that time. */
static void test_capacity__is_near_what_the_law_allows(void **state) {
    double ratio = 0;
    int    count = 0;
    (void)state;
    for (size_t k = 0; k < plain->samples.row_count; k++) {
        const fm_row_sample *row = &plain->samples.rows[k];
        flashmem_capacity_class class = fm_capacity_class_of(row->features.work.cost_class);
        double allowed = plain->device.device.growth[class], overhead = fake_plain.gap + fake_plain.launch;
        double law = (allowed * row->seconds - overhead) * fake_plain.copy_rate;
        double got = (double)fm_device_profile_capacity(&plain->device, &row->features, class);
        if (class == FLASHMEM_CAPACITY_HIERARCHICAL) assert_true(got == 0);
        if (row->seconds < 20e-6 || law < 65536) continue; /* shorter than any that loads were measured with */
        ratio += got / law;
        count++;
    }
    assert_true(count > 20);
    assert_near(ratio / count, 1, 0.15);
}

/* Interruptions in a third of the runs, twice as slow: the profile hardly moves. */
static void test_profiler__stands_interruptions(void **state) {
    fake_device           device = fake_plain;
    flashmem_profile_info i;
    (void)state;
    device.slow_run = 2;
    flashmem_profile *profile = fake_profile(&device, NULL, folder);
    flashmem_profile_describe(profile, &i);
    assert_near(i.device.flops_per_second[FLASHMEM_COST_MATMUL], 100e9, 0.1);
    assert_near(i.device.load_bytes_per_second, fake_plain.copy_rate, 0.01);
    assert_near(i.gap_seconds, fake_plain.gap, 0.01);
    flashmem_profile_close(profile);
}

/* A thousand times slower: fewer shapes, in seconds all the same; too few for trees is no failure. */
static void test_profiler__slow_devices_get_fewer_shapes(void **state) {
    fake_device           device = fake_plain;
    flashmem_profile_info i;
    (void)state;
    for (int c = 0; c < FLASHMEM_COST_CLASSES; c++) device.flops_rate[c] /= 1000;
    device.bytes_rate /= 1000;
    flashmem_profile *profile = fake_profile(&device, NULL, folder);
    flashmem_profile_describe(profile, &i);
    double seconds = 0;
    for (size_t k = 0; k < profile->samples.row_count; k++) seconds += profile->samples.rows[k].seconds;
    assert_true(profile->samples.row_count > 0 && profile->samples.row_count < plain->samples.row_count / 2);
    assert_true(seconds < 0.6);
    assert_near(i.device.bytes_per_second, device.bytes_rate, 0.3);
    flashmem_profile_close(profile);
}

static void test_profiler__growth_is_settable(void **state) {
    flashmem_profile_options o;
    (void)state;
    flashmem_profile_options_init(&o);
    assert_true(o.growth[FLASHMEM_CAPACITY_ELEMENTWISE] == 3 && o.growth[FLASHMEM_CAPACITY_REUSABLE] == 0.2 &&
                o.growth[FLASHMEM_CAPACITY_HIERARCHICAL] == 0);
    o.growth[FLASHMEM_CAPACITY_HIERARCHICAL] = 0.5;
    o.weights = FLASHMEM_WEIGHTS_FP16;
    flashmem_profile *profile = fake_profile(&fake_plain, &o, folder);
    uint32_t          with = 0;
    for (size_t k = 0; k < profile->samples.row_count; k++) {
        const fm_row_sample *row = &profile->samples.rows[k];
        if (row->features.work.cost_class == FLASHMEM_COST_ATTENTION)
            with += fm_device_profile_capacity(&profile->device, &row->features, FLASHMEM_CAPACITY_HIERARCHICAL) > 0;
    }
    assert_true(with > 0);
    flashmem_profile_close(profile);
}

/* ---- what callers get wrong ---- */

static void expect(flashmem_status status, flashmem_status wanted, const flashmem_error *err, const char *says) {
    if (status != wanted || !strstr(err->message, says)) fail_msg("%d: '%s'; '%s'", status, err->message, says);
}

static void test_profiler__refuses_bad_options(void **state) {
    flashmem_profile_options o;
    flashmem_profiler       *p;
    flashmem_error           err = { 0 };
    (void)state;
    flashmem_profile_options_init(&o);
    o.size--;
    expect(flashmem_profiler_open(&o, &p, &err), FLASHMEM_INVALID_ARGUMENT, &err, "flashmem_profile_options_init");
    flashmem_profile_options_init(&o);
    o.layout = FLASHMEM_LAYOUT_GPU;
    expect(flashmem_profiler_open(&o, &p, &err), FLASHMEM_UNSUPPORTED, &err, "layout gpu");
    flashmem_profile_options_init(&o);
    o.growth[1] = NAN;
    expect(flashmem_profiler_open(&o, &p, &err), FLASHMEM_INVALID_ARGUMENT, &err, "a growth of");
    o.growth[1] = -1;
    expect(flashmem_profiler_open(&o, &p, &err), FLASHMEM_INVALID_ARGUMENT, &err, "a growth of -1");
    assert_null(p);
}

static void test_profiler__refuses_calls_out_of_order(void **state) {
    flashmem_profiler   *p;
    flashmem_profile    *profile;
    flashmem_device_info info = { .name = "fake" };
    flashmem_stats       stats = { .runs = 1 };
    flashmem_error       err = { 0 };
    uint32_t             runs, count;
    char                 path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/order.flm", folder);
    assert_int_equal(flashmem_profiler_open(NULL, &p, &err), FLASHMEM_OK);
    expect(flashmem_profiler_observe(p, &stats, NULL, 0, &err), FLASHMEM_INVALID_ARGUMENT, &err, "every run");
    expect(flashmem_profiler_learn(p, &info, &profile, &err), FLASHMEM_INVALID_ARGUMENT, &err, "0 of 0 runs");
    expect(flashmem_profiler_next(p, "", &runs, &err), FLASHMEM_INVALID_ARGUMENT, &err, "no path");
    assert_int_equal(flashmem_profiler_next(p, path, &runs, &err), FLASHMEM_OK);
    assert_true(runs > 1);
    flashmem_step_time *times = fake_run(&fake_plain, path, 0, &count);
    assert_int_equal(flashmem_profiler_observe(p, &stats, times, count, &err), FLASHMEM_OK);
    expect(flashmem_profiler_next(p, path, &runs, &err), FLASHMEM_INVALID_ARGUMENT, &err, "1 of");
    expect(flashmem_profiler_observe(p, &stats, times, count - 1, &err), FLASHMEM_INVALID_ARGUMENT, &err, "kernels of");
    times[3].step = 99;
    expect(flashmem_profiler_observe(p, &stats, times, count, &err), FLASHMEM_INVALID_ARGUMENT, &err,
           "not of the pack");
    times[3].step = 3;
    times[3].begin = times[3].end = 0;
    expect(flashmem_profiler_observe(p, &stats, times, count, &err), FLASHMEM_DEVICE, &err,
           "does not say when launch 3");
    free(times);
    unlink(path);
    flashmem_profiler_close(p);
    flashmem_profiler_close(NULL);
}

/* ---- packs ---- */

static void read_file(const char *path, void **data, size_t *bytes) {
    assert_int_equal(fm_file_load(path, 1u << 30, data, bytes, NULL), FLASHMEM_OK);
}

static void test_packs__are_the_same_every_time(void **state) {
    char     paths[2][128];
    void    *data[2];
    size_t   bytes[2];
    uint32_t runs;
    (void)state;
    for (int i = 0; i < 2; i++) {
        flashmem_profiler *p;
        snprintf(paths[i], sizeof paths[i], "%s/same%d.flm", folder, i);
        assert_int_equal(flashmem_profiler_open(NULL, &p, NULL), FLASHMEM_OK);
        assert_int_equal(flashmem_profiler_next(p, paths[i], &runs, NULL), FLASHMEM_OK);
        read_file(paths[i], &data[i], &bytes[i]);
        unlink(paths[i]);
        flashmem_profiler_close(p);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(data[0], data[1], bytes[0]);
    free(data[0]);
    free(data[1]);
}

/* Both layouts and weight formats lower every shape; fm_pack_open checks what was written. */
static void test_packs__of_every_shape_and_layout(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        fm_arena        *arena = fm_arena_create();
        bool            *chosen = fm_arena_array(arena, fm_shape_row_count, sizeof *chosen);
        fm_log           log = { 0 };
        flashmem_error   err = { 0 };
        fm_sweep         sweep;
        fm_pack          pack;
        char             path[128];
        fm_sweep_options o = { k & 1 ? FLASHMEM_LAYOUT_TEXTURE : FLASHMEM_LAYOUT_CPU,
                               k & 2 ? FLASHMEM_WEIGHTS_FP16 : FLASHMEM_WEIGHTS_FP32, chosen, true, &log };
        snprintf(path, sizeof path, "%s/shapes.flm", folder);
        for (uint32_t s = 0; s < fm_shape_row_count; s++)
            chosen[s] = strcmp(fm_shape_rows[s].name, "gptn-s/128x768x50257");
        if (fm_sweep_rows(&o, path, arena, &sweep, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        if (fm_pack_open(&pack, path, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
        uint32_t end = 0, rows = 0;
        for (size_t m = 0; m < sweep.mark_count; m++) { /* marks follow each other and leave nothing out */
            assert_int_equal(sweep.marks[m].first_step, end);
            end += sweep.marks[m].steps;
            rows += sweep.marks[m].kind == FM_SWEEP_ROW;
        }
        assert_int_equal(end, pack.programs[0].step_count);
        assert_int_equal(rows, fm_shape_row_count - 1);
        fm_pack_close(&pack);
        unlink(path);
        fm_arena_destroy(arena);
    }
}

static void test_shapes__have_names_of_their_own(void **state) {
    (void)state;
    for (uint32_t i = 0; i < fm_shape_row_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(fm_shape_rows[i].name, fm_shape_rows[k].name) == 0)
                fail_msg("two of '%s'", fm_shape_rows[i].name);
}

static void test_shapes__the_cheapest_of_every_family_first(void **state) {
    double *cost = calloc(fm_shape_row_count, sizeof *cost);
    bool   *chosen = calloc(fm_shape_row_count, sizeof *chosen);
    (void)state;
    for (uint32_t s = 0; s < fm_shape_row_count; s++) cost[s] = 1 + s % 7;
    cost[0] = 0; /* not to be had */
    fm_shapes_choose(cost, FM_SHAPES_FULL, 5, 60, chosen);
    double   total = 0;
    uint32_t families = 0;
    for (uint32_t s = 0; s < fm_shape_row_count; s++) {
        if (chosen[s]) total += cost[s], families |= 1u << fm_shape_rows[s].family;
        assert_true(!chosen[s] || (cost[s] > 0 && cost[s] <= 5));
        for (uint32_t k = 0; k < fm_shape_row_count; k++) /* none is taken before a cheaper one of its family */
            if (chosen[s] && !chosen[k] && fm_shape_rows[s].family == fm_shape_rows[k].family && cost[k] > 0)
                assert_true(cost[k] >= cost[s]);
    }
    assert_true(total <= 60 && total > 50);
    assert_int_equal(__builtin_popcount(families), 11);
    fm_shapes_choose(cost, FM_SHAPES_PROBE, 100, 1e9, chosen);
    for (uint32_t s = 0; s < fm_shape_row_count; s++)
        assert_true(chosen[s] == (fm_shape_rows[s].level == FM_SHAPES_PROBE && cost[s] > 0));
    free(cost);
    free(chosen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiler__finds_launch_gap_and_hops),
        cmocka_unit_test(test_profiler__finds_the_rates_of_classes),
        cmocka_unit_test(test_profiler__errors_are_small_and_of_every_sample),
        cmocka_unit_test(test_profiler__trees_know_what_rates_do_not),
        cmocka_unit_test(test_growth__never_falls_as_the_load_rises),
        cmocka_unit_test(test_growth__is_what_the_law_says),
        cmocka_unit_test(test_growth__outside_what_was_measured),
        cmocka_unit_test(test_seconds__are_kernel_growth_and_gap),
        cmocka_unit_test(test_capacity__grows_with_what_is_allowed),
        cmocka_unit_test(test_capacity__is_near_what_the_law_allows),
        cmocka_unit_test(test_profiler__stands_interruptions),
        cmocka_unit_test(test_profiler__slow_devices_get_fewer_shapes),
        cmocka_unit_test(test_profiler__growth_is_settable),
        cmocka_unit_test(test_profiler__refuses_bad_options),
        cmocka_unit_test(test_profiler__refuses_calls_out_of_order),
        cmocka_unit_test(test_packs__are_the_same_every_time),
        cmocka_unit_test(test_packs__of_every_shape_and_layout),
        cmocka_unit_test(test_shapes__have_names_of_their_own),
        cmocka_unit_test(test_shapes__the_cheapest_of_every_family_first),
    };
    const fm_xgboost *library;
    flashmem_error    err = { 0 };
    if (fm_xgboost_load(&library, &err) != FLASHMEM_OK) {
        printf("skipped: %s\n", err.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
