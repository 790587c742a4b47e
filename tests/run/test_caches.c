/* The program cache's and the device profile's files: round trips, merging, and every kind of damage. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "run/gpu/program_cache.h"
#include "run/profile.h"
#include "tests/base/cmocka_setup.h"

static char folder[64], lines[8192];

static void log_line(void *user, flashmem_log_level level, const char *category, const char *message) {
    (void)user;
    size_t used = strlen(lines);
    if (level <= FLASHMEM_LOG_WARN) snprintf(lines + used, sizeof lines - used, "%s: %s\n", category, message);
}
static const fm_log warnings = { log_line, NULL };

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fm-cache-XXXXXX");
    lines[0] = '\0';
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void only_file(char *path, size_t bytes) {
    DIR           *d = opendir(folder);
    struct dirent *entry;
    path[0] = '\0';
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.') {
            assert_string_equal(path, ""); /* no temporary left */
            snprintf(path, bytes, "%s/%s", folder, entry->d_name);
        }
    closedir(d);
    assert_string_not_equal(path, "");
}

static fm_cached_program program_of(uint64_t key, const char *text, uint64_t shape) {
    fm_cached_program p = { .key = key, .binary = text, .bytes = strlen(text) };
    fm_launch_shapes_add(&p.shapes, shape);
    return p;
}

static void save(uint64_t device, const fm_cached_program *programs, uint32_t count) {
    fm_program_cache *cache = fm_program_cache_open(folder, device, &warnings);
    fm_program_cache_save(cache, programs, count);
    fm_program_cache_close(cache);
}

static bool has(uint64_t device, uint64_t key, const char *text) {
    fm_program_cache *cache = fm_program_cache_open(folder, device, &warnings);
    fm_launch_shapes  shapes;
    size_t            bytes = 0;
    void             *binary = fm_program_cache_find(cache, key, &bytes, &shapes);
    bool              same = binary && bytes == strlen(text) && memcmp(binary, text, bytes) == 0;
    free(binary);
    fm_program_cache_close(cache);
    return same;
}

static void test_programs__come_back_and_merge(void **state) {
    (void)state;
    fm_cached_program first[] = { program_of(1, "one", 10), program_of(2, "two", 20) };
    fm_cached_program second[] = { program_of(2, "two again", 21), program_of(3, "three", 30) };
    assert_false(has(7, 1, "one"));
    save(7, first, 2);
    assert_true(has(7, 1, "one") && has(7, 2, "two") && !has(7, 3, "three"));
    save(7, second, 2);
    assert_true(has(7, 1, "one") && has(7, 2, "two again") && has(7, 3, "three"));
    assert_false(has(8, 1, "one")); /* another device, another file */
    assert_string_equal(lines, "");
}

static void test_programs__no_folder_no_cache(void **state) {
    (void)state;
    fm_program_cache *cache = fm_program_cache_open("", 1, &warnings);
    fm_cached_program one = program_of(1, "one", 10);
    size_t            bytes;
    fm_launch_shapes  shapes;
    fm_program_cache_save(cache, &one, 1);
    assert_null(fm_program_cache_find(cache, 1, &bytes, &shapes));
    fm_program_cache_close(cache);
}

static void test_programs__rejected_is_a_miss(void **state) {
    (void)state;
    fm_cached_program one = program_of(1, "one", 10);
    size_t            bytes;
    fm_launch_shapes  shapes;
    save(7, &one, 1);
    fm_program_cache *cache = fm_program_cache_open(folder, 7, &warnings);
    fm_program_cache_reject(cache, 1, "the driver refuses it");
    assert_null(fm_program_cache_find(cache, 1, &bytes, &shapes));
    fm_program_cache_close(cache);
    assert_non_null(strstr(lines, "the driver refuses it: rebuilt"));
}

/* Whatever byte is changed, a found program is the saved one, or nothing is found and a line says so. */
static void test_programs__damage_is_a_miss(void **state) {
    (void)state;
    char              path[512];
    void             *whole;
    size_t            bytes;
    flashmem_error    err = { 0 };
    fm_cached_program two[] = { program_of(1, "a binary of some length", 10), program_of(2, "another", 20) };
    save(7, two, 2);
    only_file(path, sizeof path);
    assert_int_equal(fm_file_load(path, 1 << 20, &whole, &bytes, &err), FLASHMEM_OK);
    uint32_t noticed = 0, tried = 0;
    for (size_t at = 0; at < bytes; at = at < 200 || at >= bytes - 80 ? at + 1 : bytes - 80) {
        char *damaged = malloc(bytes);
        memcpy(damaged, whole, bytes);
        damaged[at] ^= 0x11;
        lines[0] = '\0';
        assert_int_equal(fm_file_save(path, damaged, bytes, &err), FLASHMEM_OK);
        bool first = has(7, 1, "a binary of some length"), second = has(7, 2, "another");
        if (!first || !second) {
            assert_non_null(strstr(lines, "rebuilt"));
            noticed++;
        }
        tried++;
        free(damaged);
    }
    assert_true(noticed >= 160 && noticed < tried); /* header, index and binaries; bytes between them do not matter */
    for (size_t cut = 0; cut < bytes; cut += 41) {
        assert_int_equal(fm_file_save(path, whole, cut, &err), FLASHMEM_OK);
        assert_false(has(7, 2, "another"));
    }
    save(7, two, 1); /* and it is rebuilt */
    assert_true(has(7, 1, "a binary of some length"));
    free(whole);
}

static void test_programs__unwritable_folder_is_a_line(void **state) {
    (void)state;
    fm_cached_program one = program_of(1, "one", 10);
    fm_program_cache *cache = fm_program_cache_open("/proc/nowhere", 7, &warnings);
    fm_program_cache_save(cache, &one, 1);
    fm_program_cache_close(cache);
    assert_non_null(strstr(lines, "programs not saved"));
}

static void test_shapes__are_sets(void **state) {
    (void)state;
    fm_launch_shapes a = { 0 }, b = { 0 };
    for (uint64_t i = 0; i < FM_CACHE_SHAPES + 5; i++) fm_launch_shapes_add(&a, i * 7919 % 101);
    assert_int_equal(a.count, FM_CACHE_SHAPES);
    for (uint32_t i = 1; i < a.count; i++) assert_true(a.hashes[i - 1] < a.hashes[i]);
    assert_true(fm_launch_shapes_cover(&a, &b) && !fm_launch_shapes_cover(&b, &a));
    fm_launch_shapes_add(&b, a.hashes[9]);
    assert_true(fm_launch_shapes_cover(&a, &b));
    fm_launch_shapes_add(&b, 100000);
    assert_false(fm_launch_shapes_cover(&a, &b));
}

/* --- profile ------------------------------------------------------------------------------------------------------ */

static fm_profile seen_profile(void) {
    fm_profile   profile;
    fm_gpu_facts facts;
    fm_gpu_null_facts(&facts);
    facts.base_align = 256;
    fm_profile_default(&profile, &facts);
    assert_true(fm_profile_meet(&profile, &facts) == false);
    profile.times[0].launch_seconds = 3e-6;
    fm_profile_learn_disk(&profile, 2e9);
    fm_profile_learn_disk(&profile, 3e9);
    fm_profile_learn_disk(&profile, 2.5e9);
    return profile;
}

static void test_profile__comes_back(void **state) {
    (void)state;
    fm_profile saved = seen_profile(), loaded;
    fm_profile_load(&loaded, folder, "", 0, &warnings);
    assert_int_equal(loaded.seen, 0);
    assert_true(fm_profile_disk_rate(&loaded) == 1e9);
    fm_profile_save(&saved, folder, "", 0, &warnings);
    fm_profile_load(&loaded, folder, "", 0, &warnings);
    assert_int_equal(loaded.seen, 1);
    assert_int_equal(loaded.facts.base_align, 256);
    assert_true(loaded.times[0].launch_seconds == 3e-6 && fm_profile_disk_rate(&loaded) == 2.5e9);
    fm_profile_load(&loaded, folder, "", 1, &warnings); /* one thread: another profile */
    assert_int_equal(loaded.seen, 0);
    fm_profile_load(&loaded, folder, "other", 0, &warnings);
    assert_int_equal(loaded.seen, 0);
    assert_string_equal(lines, "");
}

static void test_profile__damage_gives_defaults(void **state) {
    (void)state;
    fm_profile     saved = seen_profile(), loaded;
    char           path[512];
    void          *whole;
    size_t         bytes;
    flashmem_error err = { 0 };
    fm_profile_save(&saved, folder, "", 0, &warnings);
    only_file(path, sizeof path);
    assert_int_equal(fm_file_load(path, 1 << 20, &whole, &bytes, &err), FLASHMEM_OK);
    for (size_t at = 0; at < bytes; at += 3) {
        ((char *)whole)[at] ^= 1;
        lines[0] = '\0';
        assert_int_equal(fm_file_save(path, whole, bytes, &err), FLASHMEM_OK);
        fm_profile_load(&loaded, folder, "", 0, &warnings);
        assert_int_equal(loaded.seen, 0);
        assert_non_null(strstr(lines, "rebuilt"));
        ((char *)whole)[at] ^= 1;
    }
    for (size_t cut = 0; cut < bytes; cut += 101) {
        assert_int_equal(fm_file_save(path, whole, cut, &err), FLASHMEM_OK);
        fm_profile_load(&loaded, folder, "", 0, &warnings);
        assert_int_equal(loaded.seen, 0);
    }
    free(whole);
}

static void test_profile__another_device_forgets_times(void **state) {
    (void)state;
    fm_profile   profile = seen_profile();
    fm_gpu_facts other = profile.facts;
    strcpy(other.driver, "newer");
    other.base_align = 512;
    assert_true(fm_profile_meet(&profile, &other));
    assert_true(profile.times[0].launch_seconds != 3e-6);
    assert_true(fm_profile_disk_rate(&profile) == 2.5e9); /* the disk is the same */
    assert_int_equal(profile.facts.base_align, 512);
}

static void test_profile__learns_rates(void **state) {
    (void)state;
    fm_profile       profile = seen_profile();
    fm_kernel_times *times = &profile.times[1];
    fm_observed      o = { .shortest = 4e-6 };
    o.seconds[FLASHMEM_COST_MATMUL] = 0.5;
    o.flops[FLASHMEM_COST_MATMUL] = 1e11;
    o.seconds[FLASHMEM_COST_ELEMENTWISE] = 0.1;
    o.bytes[FLASHMEM_COST_ELEMENTWISE] = 1e9;
    double conv = times->flops_per_second[FLASHMEM_COST_CONV], other = profile.times[0].flops_per_second[FLASHMEM_COST_MATMUL];
    fm_profile_learn(times, &o);
    assert_true(times->flops_per_second[FLASHMEM_COST_MATMUL] == 2e11 && times->launch_seconds == 4e-6);
    assert_true(times->bytes_per_second > 0.99e10 && times->bytes_per_second < 1.01e10);
    assert_true(times->flops_per_second[FLASHMEM_COST_CONV] == conv);              /* not seen: kept */
    assert_true(profile.times[0].flops_per_second[FLASHMEM_COST_MATMUL] == other); /* kernels of another layout */
    o.flops[FLASHMEM_COST_MATMUL] = 2e11;
    fm_profile_learn(times, &o);
    assert_true(times->flops_per_second[FLASHMEM_COST_MATMUL] > 2e11 && times->flops_per_second[FLASHMEM_COST_MATMUL] < 4e11);
    o.shortest = 60e-3; /* a program of one long step */
    fm_profile_learn(times, &o);
    assert_true(times->launch_seconds == 4e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_programs__come_back_and_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_programs__no_folder_no_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_programs__rejected_is_a_miss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_programs__damage_is_a_miss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_programs__unwritable_folder_is_a_line, setup, teardown),
        cmocka_unit_test(test_shapes__are_sets),
        cmocka_unit_test_setup_teardown(test_profile__comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_profile__damage_gives_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_profile__another_device_forgets_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_profile__learns_rates, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
