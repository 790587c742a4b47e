/* Profiles as files: what comes back, and what is refused. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "compile/profile/xgboost.h"
#include "tests/base/cmocka_setup.h"
#include "tests/compile/profile/fake_device.h"

static char              folder[64], path[128];
static flashmem_profile *learnt;

static void beside(char *to, size_t bytes, const char *kind) { snprintf(to, bytes, "%s/p.%s.json", folder, kind); }

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fm-profile-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/p.json", folder);
    learnt = fake_profile(&fake_plain, NULL, folder);
    return flashmem_profile_save(learnt, path, NULL);
}

static int teardown(void **state) {
    char trees[128];
    (void)state;
    flashmem_profile_close(learnt);
    beside(trees, sizeof trees, "time");
    unlink(trees);
    beside(trees, sizeof trees, "growth");
    unlink(trees);
    unlink(path);
    return rmdir(folder);
}

static void test_file__comes_back_as_it_was(void **state) {
    flashmem_profile_info a, b;
    flashmem_profile     *read;
    flashmem_error        err = { 0 };
    (void)state;
    if (flashmem_profile_load(path, &read, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    flashmem_profile_describe(learnt, &a);
    flashmem_profile_describe(read, &b);
    assert_string_equal(a.device.name, b.device.name);
    assert_string_equal(a.driver, b.driver);
    assert_int_equal(a.device.image_limit, b.device.image_limit);
    assert_int_equal(a.device.largest_allocation, b.device.largest_allocation);
    assert_int_equal(a.time_error.samples, b.time_error.samples);
    assert_true(b.learnt && b.current);
    assert_float_equal(a.growth_error.mean, b.growth_error.mean, 1e-9);
    for (size_t k = 0; k < learnt->samples.row_count; k++) {
        const fm_step_features *f = &learnt->samples.rows[k].features;
        for (double load = 0; load < 2e6; load += 333333) {
            double was = fm_device_profile_seconds(&learnt->device, f, load);
            assert_float_equal(fm_device_profile_seconds(&read->device, f, load) / was, 1, 1e-9);
        }
        for (int c = 0; c < FLASHMEM_CAPACITY_CLASSES; c++) {
            double was = (double)fm_device_profile_capacity(&learnt->device, f, (flashmem_capacity_class)c);
            double is = (double)fm_device_profile_capacity(&read->device, f, (flashmem_capacity_class)c);
            assert_true(is >= was - 4096 && is <= was + 4096); /* twelve digits are kept of every number */
        }
    }
    assert_int_equal(flashmem_profile_rows(read, NULL, 0), 0); /* samples are for people */
    flashmem_profile_close(read);
    flashmem_profile_close(NULL);
}

/* The public table says what the samples are. */
static void test_file__tells_its_rows(void **state) {
    uint32_t count = flashmem_profile_rows(learnt, NULL, 0), sweeps = flashmem_profile_sweeps(learnt, NULL, 0);
    (void)state;
    assert_int_equal(count, learnt->samples.row_count);
    assert_int_equal(sweeps, learnt->samples.load_count);
    flashmem_profile_row rows[2] = { { .name = NULL } };
    assert_int_equal(flashmem_profile_rows(learnt, rows, 1), count);
    assert_string_equal(rows[0].name, learnt->samples.rows[0].name);
    assert_null(rows[1].name);
    assert_true(rows[0].seconds > 0 && rows[0].flops > 0 && rows[0].bytes > 0 && rows[0].capacity_bytes > 0);
}

/* ---- hostile files ---- */

static json_t *profile_json(void) {
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    json_object_del(root, "rows"); /* nothing of them is read */
    json_object_del(root, "sweeps");
    return root;
}

static flashmem_status load_text(const char *text, size_t bytes, flashmem_error *err) {
    char              other[128];
    fm_device_profile p;
    snprintf(other, sizeof other, "%s/q.json", folder);
    assert_int_equal(fm_file_save(other, text, bytes, NULL), FLASHMEM_OK);
    flashmem_status status = fm_device_profile_load(other, &p, err);
    fm_device_profile_close(&p);
    unlink(other);
    return status;
}

/* "a/b" = value (JSON text), or gone when value is NULL. */
static void change(json_t *root, const char *field, const char *value) {
    char   name[64];
    size_t length;
    for (; (length = strcspn(field, "/")) < strlen(field); field += length + 1) {
        snprintf(name, sizeof name, "%.*s", (int)length, field);
        json_t *inner = json_object_get(root, name);
        root = json_is_array(inner) ? json_array_get(inner, 0) : inner;
        assert_non_null(root);
    }
    assert_non_null(json_object_get(root, field));
    if (value) json_object_set_new(root, field, json_loads(value, JSON_DECODE_ANY, NULL));
    else json_object_del(root, field);
}

static void test_file__refuses_wrong_fields(void **state) {
    static const struct {
        const char *field, *value, *says;
    } cases[] = {
        { "format", NULL, "'format'" },
        { "format", "\"a profile\"", "run 'flashmem profile' again" },
        { "format", "7", "'format'" },
        { "version", "2", "version 2, 'flashmem device profile' version 1 is expected" },
        { "version", "1.5", "no whole number" },
        { "version", "\"1\"", "'version' is missing or no number" },
        { "kernels", "\"12\"", "'kernels' is no hash" },
        { "kernels", "\"zzzzzzzzzzzzzzzz\"", "'kernels' is no hash" },
        { "device", "[]", "no object 'device'" },
        { "device/name", NULL, "'name'" },
        { "device/driver", "{}", "'driver'" },
        { "device/compute_units", "-1", "'compute_units' is -1" },
        { "device/threads", "1e6", "'threads' is 1e+06" },
        { "device/image_limit", "1e300", "'image_limit'" },
        { "device/largest_allocation", "1e17", "'largest_allocation'" },
        { "layout", "\"gpu\"", "'layout' is 'gpu'" },
        { "weights", "\"int8\"", "'weights' is 'int8', 'fp32' or 'fp16' is expected" },
        { "launch_seconds", "-1e-6", "'launch_seconds' is -1e-06" },
        { "launch_seconds", "null", "'launch_seconds' is missing or no number" },
        { "gap_seconds", "2", "'gap_seconds' is 2" },
        { "startup_seconds", "1e9", "'startup_seconds'" },
        { "bytes_per_second", "0", "'bytes_per_second' is 0" },
        { "flops_per_second/matmul", "0", "'matmul' is 0" },
        { "flops_per_second/gather", NULL, "'gather' is missing" },
        { "hops", NULL, "no object 'hops'" },
        { "hops/copy_bytes_per_second", "0", "'copy_bytes_per_second' is 0" },
        { "hops/disk_bytes_per_second", "1e19", "'disk_bytes_per_second' is 1e+19" },
        { "growth/hierarchical", "-0.1", "'hierarchical' is -0.1" },
        { "growth", "\"\"", "no object 'growth'" },
        { "features", "[]", "0 'features'" },
        { "features", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "feature 0 is 'none'" },
        { "loads", "{}", "'loads' is no array of one object" },
        { "loads", "[1]", "'loads' is no array of one object" },
        { "loads/load_path", "\"a path of more than sixteen characters\"", "'load_path'" },
        { "loads/least_share", "0", "'least_share' is 0" },
        { "loads/most_share", "1e-6", "'most_share' is 1e-06" },
        { "loads/error", "1", "no object 'error'" },
        { "loads/hash", "\"0123456789abcdef\"", "is not the file that" },
        { "loads/trees", "\"../p.growth.json\"", "the name of a file beside it" },
        { "loads/trees", "\"..\"", "the name of a file beside it" },
        { "loads/trees", "\"/etc/passwd\"", "the name of a file beside it" },
        { "loads/trees", "\"\"", "the name of a file beside it" },
        { "loads/trees", "\"p.time.json\"", "is not the file that" }, /* the other trees */
        { "time", NULL, "no object 'time'" },                         /* half of the trees */
        { "time/trees", NULL, "'trees'" },
        { "time/error", NULL, "no object 'error'" },
        { "time/hash", "1", "'hash'" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t        *root = profile_json();
        flashmem_error err = { 0 };
        change(root, cases[i].field, cases[i].value);
        char           *text = json_dumps(root, 0);
        flashmem_status status = load_text(text, strlen(text), &err);
        if (status != FLASHMEM_BAD_MODEL || !strstr(err.message, cases[i].says))
            fail_msg("%s = %s: %d, '%s'; '%s' is expected", cases[i].field, cases[i].value ? cases[i].value : "gone",
                     status, err.message, cases[i].says);
        free(text);
        json_decref(root);
    }
}

static void test_file__refuses_features_in_another_order(void **state) {
    json_t        *root = profile_json(), *names = json_object_get(root, "features");
    flashmem_error err = { 0 };
    (void)state;
    json_array_append(names, json_array_get(names, 3));
    json_array_remove(names, 3);
    char *text = json_dumps(root, 0);
    assert_int_equal(load_text(text, strlen(text), &err), FLASHMEM_BAD_MODEL);
    assert_non_null(strstr(err.message, "feature 3 is"));
    free(text);
    json_decref(root);
}

/* Trees of another origin may say that a load makes kernels faster: growth is 1 then, and capacity ends. */
static void test_growth__of_foreign_trees_is_at_least_one(void **state) {
    static const char falling[] =
        "{\"learner\":{\"gradient_booster\":{\"model\":{\"trees\":[{\"left_children\":[1,-1,-1],"
        "\"right_children\":[2,-1,-1],\"split_conditions\":[0.01,1,-1],\"split_indices\":[%d,0,0]}]},"
        "\"name\":\"gbtree\"},\"learner_model_param\":{\"base_score\":\"0\",\"num_feature\":\"%d\"},"
        "\"objective\":{\"name\":\"reg:squarederror\"}}}";
    char              text[512];
    fm_device_profile p;
    (void)state;
    snprintf(text, sizeof text, falling, (int)FM_FEATURE_SHARE, (int)FM_FEATURES);
    assert_int_equal(fm_device_profile_load(path, &p, NULL), FLASHMEM_OK);
    fm_trees_free(&p.growth);
    assert_int_equal(fm_trees_parse(&p.growth, strdup(text), strlen(text), FM_FEATURES, "f", NULL), FLASHMEM_OK);
    const fm_step_features *f = &learnt->samples.rows[0].features;
    assert_true(fm_device_profile_growth(&p, f, 1e5) == 1);
    assert_true(fm_device_profile_capacity(&p, f, FLASHMEM_CAPACITY_HIERARCHICAL) > 0);
    fm_device_profile_close(&p);
}

static void test_file__refuses_what_is_no_profile(void **state) {
    static const char *const texts[] = { "", "7", "[]", "{", "null", "{\"format\":1,\"format\":2}" };
    flashmem_profile        *p;
    flashmem_error           err = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(load_text(texts[i], strlen(texts[i]), NULL), FLASHMEM_BAD_MODEL);
    assert_int_equal(load_text("{}\0{}", 5, NULL), FLASHMEM_BAD_MODEL);
    assert_int_equal(flashmem_profile_load("/nonexistent/p.json", &p, &err), FLASHMEM_IO);
    assert_int_equal(flashmem_profile_load(folder, &p, &err), FLASHMEM_IO);
    assert_int_equal(flashmem_profile_load("", &p, &err), FLASHMEM_INVALID_ARGUMENT);
    assert_null(p);
}

static void test_file__refuses_trees_that_are_gone(void **state) {
    char              trees[128], away[160];
    flashmem_error    err = { 0 };
    fm_device_profile p;
    (void)state;
    beside(trees, sizeof trees, "time");
    snprintf(away, sizeof away, "%s.away", trees);
    assert_int_equal(rename(trees, away), 0);
    assert_int_equal(fm_device_profile_load(path, &p, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, "p.time.json"));
    assert_int_equal(rename(away, trees), 0);
}

/* Whatever a byte becomes or wherever the file ends: an answer, and nothing worse. */
static void test_file__stands_changed_bytes_and_every_end(void **state) {
    json_t  *root = profile_json();
    char    *text = json_dumps(root, JSON_COMPACT);
    size_t   bytes = strlen(text);
    uint32_t seed = 7;
    (void)state;
    for (size_t end = 0; end < bytes; end += 3) assert_int_equal(load_text(text, end, NULL), FLASHMEM_BAD_MODEL);
    for (size_t at = 0; at < bytes; at++) {
        char kept = text[at];
        seed = seed * 1664525u + 1013904223u;
        text[at] = (char)(seed >> 16);
        load_text(text, bytes, NULL);
        text[at] = kept;
    }
    free(text);
    json_decref(root);
}

static void test_file__is_saved_whole_or_not_at_all(void **state) {
    flashmem_error err = { 0 };
    (void)state;
    assert_int_equal(flashmem_profile_save(learnt, "/nonexistent/p.json", &err), FLASHMEM_IO);
    assert_int_equal(flashmem_profile_save(learnt, folder, &err), FLASHMEM_IO);
    assert_int_equal(flashmem_profile_save(learnt, "", &err), FLASHMEM_INVALID_ARGUMENT);
}

static void test_path__is_one_per_device_threads_layout_and_weights(void **state) {
    char           paths[6][256], below[128];
    flashmem_error err = { 0 };
    (void)state;
    snprintf(below, sizeof below, "%s/a/b", folder); /* made on the way */
#define PATH(i, device, threads, layout, weights) \
    assert_int_equal(flashmem_profile_path(below, device, threads, layout, weights, paths[i], 256, &err), FLASHMEM_OK)
    PATH(0, NULL, 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32);
    PATH(1, "1", 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32);
    PATH(2, NULL, 1, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32);
    PATH(3, NULL, 0, FLASHMEM_LAYOUT_TEXTURE, FLASHMEM_WEIGHTS_FP32);
    PATH(4, NULL, 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP16);
    PATH(5, "", 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32); /* the same device as NULL */
#undef PATH
    assert_string_equal(paths[0], paths[5]);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(strncmp(paths[i], below, strlen(below)), 0);
        for (int k = 0; k < i; k++) assert_string_not_equal(paths[i], paths[k]);
    }
    assert_int_equal(
        flashmem_profile_path("", NULL, 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32, paths[0], 256, &err),
        FLASHMEM_INVALID_ARGUMENT);
    assert_int_equal(
        flashmem_profile_path(below, NULL, 0, FLASHMEM_LAYOUT_CPU, FLASHMEM_WEIGHTS_FP32, paths[0], 20, &err),
        FLASHMEM_INVALID_ARGUMENT);
    rmdir(below);
    snprintf(below, sizeof below, "%s/a", folder);
    rmdir(below);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file__comes_back_as_it_was),
        cmocka_unit_test(test_file__tells_its_rows),
        cmocka_unit_test(test_file__refuses_wrong_fields),
        cmocka_unit_test(test_file__refuses_features_in_another_order),
        cmocka_unit_test(test_growth__of_foreign_trees_is_at_least_one),
        cmocka_unit_test(test_file__refuses_what_is_no_profile),
        cmocka_unit_test(test_file__refuses_trees_that_are_gone),
        cmocka_unit_test(test_file__stands_changed_bytes_and_every_end),
        cmocka_unit_test(test_file__is_saved_whole_or_not_at_all),
        cmocka_unit_test(test_path__is_one_per_device_threads_layout_and_weights),
    };
    const fm_xgboost *library;
    flashmem_error    err = { 0 };
    if (fm_xgboost_load(&library, &err) != FLASHMEM_OK) {
        printf("skipped: %s\n", err.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
