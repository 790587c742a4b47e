/* Without XGBoost a device is measured all the same, and the class table serves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compile/profile/xgboost.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/profile/fake_device.h"

static char folder[64], warning[2048];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fm-profile-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(folder);
}

static void keep_warning(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)user;
    (void)category;
    if (level == FLASHMEM_LOG_WARN) snprintf(warning, sizeof warning, "%s", message);
}

static void test_library__absence_says_what_to_do(void **state) {
    const fm_xgboost *library;
    (void)state;
    for (int i = 0; i < 2; i++) { /* looked for once, told every time */
        flashmem_error err = { 0 };
        assert_int_equal(fm_xgboost_load(&library, &err), FLASHMEM_UNSUPPORTED);
        assert_non_null(strstr(err.message, "/nonexistent/libxgboost.so: no such file"));
        assert_non_null(strstr(err.message, "pip install"));
        assert_non_null(strstr(err.message, "FLASHMEM_XGBOOST"));
    }
}

static void test_profiler__has_rates_without_trees(void **state) {
    flashmem_profile_options o;
    flashmem_profile_info    i;
    (void)state;
    flashmem_profile_options_init(&o);
    o.log = keep_warning;
    flashmem_profile *p = fake_profile(&fake_plain, &o, folder);
    assert_non_null(strstr(warning, "no XGBoost"));
    assert_non_null(strstr(warning, "class table"));
    flashmem_profile_describe(p, &i);
    assert_true(!i.learnt && i.time_error.samples == 0);
    assert_true(fabs(i.device.flops_per_second[FLASHMEM_COST_MATMUL] / 100e9 - 1) < 0.1);
    for (size_t k = 0; k < p->samples.row_count; k++) {
        const fm_step_features *f = &p->samples.rows[k].features;
        flashmem_capacity_class class = fm_capacity_class_of(f->work.cost_class);
        double seconds = fm_work_seconds(&i.device, &f->work);
        double table = i.device.growth[class] * seconds * i.device.load_bytes_per_second;
        double got = (double)fm_device_profile_capacity(&p->device, f, class);
        assert_true(fm_device_profile_kernel_seconds(&p->device, f) == seconds);
        assert_true(got <= table * (1 + 1e-9) && got > table - 4096 * 1.001);
        assert_true(p->samples.rows[k].held_out == 0);
    }
    flashmem_profile_close(p);
}

static void test_file__without_trees_comes_back(void **state) {
    char              path[128];
    flashmem_profile *read, *p = fake_profile(&fake_plain, NULL, folder);
    flashmem_error    err = { 0 };
    (void)state;
    snprintf(path, sizeof path, "%s/p.json", folder);
    if (flashmem_profile_save(p, path, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    if (flashmem_profile_load(path, &read, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    assert_false(read->device.learnt);
    for (size_t k = 0; k < p->samples.row_count; k++) {
        const fm_step_features *f = &p->samples.rows[k].features;
        double                  was = fm_device_profile_seconds(&p->device, f, 12345);
        assert_true(fabs(fm_device_profile_seconds(&read->device, f, 12345) / was - 1) < 1e-9);
    }
    flashmem_profile_close(read);
    flashmem_profile_close(p);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library__absence_says_what_to_do),
        cmocka_unit_test(test_profiler__has_rates_without_trees),
        cmocka_unit_test(test_file__without_trees_comes_back),
    };
    setenv("FLASHMEM_XGBOOST", "/nonexistent/libxgboost.so", 1);
    return cmocka_run_group_tests(tests, setup, teardown);
}
