/* Overlap plans of a pack: what is added is what is read, other plans stay, an interrupted or failing writer leaves the old
 * ones, and any damage is an error and never a crash. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "contract/overlap.h"
#include "tests/base/cmocka_setup.h"
#include "tests/contract/sample_pack.h"

static char folder[64], path[96], bad_path[96];

static void write_sample(const char *to) {
    static uint8_t   data[SAMPLE_K * SAMPLE_N * 4];
    flashmem_error   err = { 0 };
    fm_arena        *arena = fm_arena_create();
    sample           s;
    fm_pack_writer  *w = NULL;
    fm_pack_contents contents;
    uint64_t         bytes;
    sample_init(&s, arena);
    s.memory_paths = 1u << FLASHMEM_PATH_IN_PLACE | 1u << FLASHMEM_PATH_TEXTURE_COPY;
    contents = sample_contents(&s);
    assert_int_equal(fm_pack_writer_open(&w, to, &contents, &err), FLASHMEM_OK);
    for (uint32_t o = 0; o < 2; o++)
        assert_int_equal(fm_pack_writer_object(w, o, 0, data, s.objects[o].bytes, &err), FLASHMEM_OK);
    assert_int_equal(fm_pack_writer_rows(w, 0, 0, data, SAMPLE_ROWS, &err), FLASHMEM_OK);
    assert_int_equal(fm_pack_writer_commit(w, &bytes, &err), FLASHMEM_OK);
    fm_arena_destroy(arena);
}

/* A plan whose figures follow from `tag`: parts of the large object are loaded, the bundle is preloaded. */
typedef struct made {
    fm_stored_plan    plan;
    fm_stored_preload preloads[1];
    fm_stored_load    loads[64];
} made;

static made make(flashmem_memory_path memory_path, uint32_t loads, int64_t tag) {
    made m = { .plan = { .memory_path = (uint32_t)memory_path,
                         .status = FM_STORED_OPTIMAL,
                         .slab_bytes = 1 << 20,
                         .cut_key = (uint64_t)tag * 31,
                         .chunk_bytes = 1 << 16,
                         .m_peak_bytes = 500000000,
                         .objective = tag,
                         .bound = tag,
                         .unit = 10240,
                         .lambda = 0.9,
                         .preload_count = 1,
                         .load_count = loads,
                         .solver = "labels",
                         .device = "a device" },
               .preloads = { { 1, 0 } } };
    for (uint32_t i = 0; i < loads; i++) m.loads[i] = (fm_stored_load){ 0, i / 2, i % 2, 0, 1 };
    return m;
}

static flashmem_status append(const char *to, const made *m, flashmem_error *err) {
    fm_error_clear(err);
    return fm_pack_append_overlap(to, &(fm_stored_overlap){ &m->plan, m->preloads, m->loads }, err);
}

/* The plans of the pack at `from`; the arena holds them. */
static flashmem_status read_plans(const char *from, fm_arena *arena, fm_stored_overlaps *out, flashmem_error *err) {
    fm_pack pack;
    fm_error_clear(err);
    FM_TRY(fm_pack_open(&pack, from, err));
    flashmem_status status = fm_pack_read_overlaps(&pack, arena, out, err);
    fm_pack_close(&pack);
    return status;
}

static void expect_plan(const char *from, const made *m) {
    fm_arena          *arena = fm_arena_create();
    fm_stored_overlaps all;
    flashmem_error     err;
    if (read_plans(from, arena, &all, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_stored_overlap found;
    assert_true(fm_stored_overlaps_find(&all, 0, (flashmem_memory_path)m->plan.memory_path, &found));
    fm_stored_plan same = *found.plan;
    same.first_preload = same.first_load = 0;
    assert_memory_equal(&same, &m->plan, sizeof same);
    assert_memory_equal(found.preloads, m->preloads, m->plan.preload_count * sizeof *m->preloads);
    assert_memory_equal(found.loads, m->loads, m->plan.load_count * sizeof *m->loads);
    fm_arena_destroy(arena);
}

static uint32_t count_plans(const char *from) {
    fm_arena          *arena = fm_arena_create();
    fm_stored_overlaps all;
    flashmem_error     err;
    if (read_plans(from, arena, &all, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    fm_arena_destroy(arena);
    return all.plan_count;
}

static uint8_t *load(const char *from, size_t *bytes) {
    void          *data;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_load(from, 1 << 28, &data, bytes, &err), FLASHMEM_OK);
    return data;
}

static void save(const char *to, const void *data, size_t bytes) {
    FILE *file = fopen(to, "wb");
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static off_t size_of(const char *file) {
    struct stat info;
    assert_int_equal(stat(file, &info), 0);
    return info.st_size;
}

static int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/fm-test-overlap-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.flm", folder);
    snprintf(bad_path, sizeof bad_path, "%s/bad.flm", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    unlink(bad_path);
    return rmdir(folder);
}

/* --- adding ------------------------------------------------------------------------------------------------------- */

static void test_overlap__round_trip(void **state) {
    (void)state;
    flashmem_error err;
    made           first = make(FLASHMEM_PATH_IN_PLACE, 4, 1), other = make(FLASHMEM_PATH_TEXTURE_COPY, 9, 2);
    write_sample(path);
    assert_int_equal(count_plans(path), 0);
    size_t   bytes, longer;
    uint8_t *before = load(path, &bytes);
    assert_int_equal(append(path, &other, &err), FLASHMEM_OK);
    expect_plan(path, &other);
    assert_int_equal(append(path, &first, &err), FLASHMEM_OK); /* comes before it */
    assert_int_equal(count_plans(path), 2);
    expect_plan(path, &first);
    expect_plan(path, &other);
    uint8_t *after = load(path, &longer); /* weights and tables are where they were */
    assert_true(longer > bytes);
    assert_memory_equal(before + 4096, after + 4096, bytes - 4096);
    free(before);
    free(after);
}

static void test_overlap__replaces_its_own_kind_and_stays_small(void **state) {
    (void)state;
    flashmem_error err;
    made           kept = make(FLASHMEM_PATH_TEXTURE_COPY, 3, 7);
    off_t          most = 0;
    write_sample(path);
    off_t weights = size_of(path);
    assert_int_equal(append(path, &kept, &err), FLASHMEM_OK);
    for (int i = 0; i < 20; i++) {
        made m = make(FLASHMEM_PATH_IN_PLACE, (uint32_t)(1 + i * 7 % 60), i);
        assert_int_equal(append(path, &m, &err), FLASHMEM_OK);
        assert_int_equal(count_plans(path), 2);
        expect_plan(path, &m);
        expect_plan(path, &kept);
        if (size_of(path) > most) most = size_of(path);
    }
    assert_true(most <= weights + 3 * 4096); /* the new section lies before or behind the old, never further */
}

static void test_overlap__refuses_what_does_not_hold(void **state) {
    (void)state;
    flashmem_error err;
    made           good = make(FLASHMEM_PATH_IN_PLACE, 4, 3);
    write_sample(path);
    assert_int_equal(append(path, &good, &err), FLASHMEM_OK);
    off_t size = size_of(path);
#define TRY(text, ...)                                                               \
    do {                                                                             \
        made m = good;                                                               \
        __VA_ARGS__;                                                                 \
        assert_int_equal(append(path, &m, &err), FLASHMEM_INVALID_ARGUMENT);         \
        if (!strstr(err.message, text)) fail_msg("'%s' in '%s'", text, err.message); \
    } while (0)
    TRY("program 5 of 1", m.plan.program = 5);
    TRY("memory path 0", m.plan.memory_path = FLASHMEM_PATH_DEFAULT);
    TRY("memory path 4", m.plan.memory_path = FLASHMEM_PATH_DMA); /* the program does not run by it */
    TRY("status 3", m.plan.status = 3);
    TRY("does not end", memset(m.plan.solver, 'x', sizeof m.plan.solver));
    TRY("does not end", m.plan.device[50] = 'x');
    TRY("chunks of 0 bytes", m.plan.chunk_bytes = 0);
    TRY("bound 4", m.plan.bound = 4);
    TRY("unit 0", m.plan.unit = 0);
    TRY("lambda", m.plan.lambda = NAN);
    TRY("lambda", m.plan.lambda = 1.5);
    TRY("preloads part 0 of object 2", m.preloads[0].object = 2);
    TRY("part 100000 of object 1", m.preloads[0].part = 100000);
    TRY("preloaded and loaded", m.preloads[0].object = 0);
    TRY("of object 2", m.loads[3].object = 2);
    TRY("before step 900", m.loads[1].step = 900);
    TRY("out of order", m.loads[1].step = 0);
    TRY("out of order", m.loads[2].part = 0);
    TRY("load 2: 0 chunks", m.loads[2].chunks = 0);
    TRY("4000000000 chunks", m.loads[2].chunks = 4000000000);
#undef TRY
    assert_int_equal(size_of(path), size);
    expect_plan(path, &good);
}

/* --- writers that do not come to an end --------------------------------------------------------------------------- */

static off_t full_above = INT64_MAX;
static bool  header_fails;
ssize_t      __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset);
ssize_t      __real_pwrite(int fd, const void *from, size_t bytes, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset) {
    bool fails = offset + (off_t)bytes > full_above || (header_fails && offset == 0);
    errno = ENOSPC;
    return fails ? -1 : __real_pwrite(fd, from, bytes, offset);
}

static void test_overlap__interrupted_writers_leave_the_old_plans(void **state) {
    (void)state;
    flashmem_error err;
    made           old = make(FLASHMEM_PATH_IN_PLACE, 50, 4), fresh = make(FLASHMEM_PATH_IN_PLACE, 60, 5);
    write_sample(path);
    off_t weights = size_of(path);
    full_above = weights;
    assert_int_equal(append(path, &old, &err), FLASHMEM_DISK_FULL);
    assert_non_null(strstr(err.message, path));
    full_above = INT64_MAX;
    assert_int_equal(size_of(path), weights);
    assert_int_equal(count_plans(path), 0);
    header_fails = true; /* as if the machine stopped before the header was written */
    assert_int_equal(append(path, &old, &err), FLASHMEM_DISK_FULL);
    header_fails = false;
    assert_true(size_of(path) > weights);
    assert_int_equal(count_plans(path), 0);
    assert_int_equal(append(path, &old, &err), FLASHMEM_OK);
    expect_plan(path, &old);
    header_fails = true;
    assert_int_equal(append(path, &fresh, &err), FLASHMEM_DISK_FULL);
    header_fails = false;
    expect_plan(path, &old);
    assert_int_equal(append(path, &fresh, &err), FLASHMEM_OK);
    expect_plan(path, &fresh);
}

static void test_overlap__files_that_cannot_be_written(void **state) {
    (void)state;
    flashmem_error err;
    made           m = make(FLASHMEM_PATH_IN_PLACE, 4, 6);
    assert_int_equal(append("/nonexistent/a.flm", &m, &err), FLASHMEM_IO);
    assert_int_equal(append(folder, &m, &err), FLASHMEM_IO);
    save(bad_path, "FLASHMEM", 8);
    assert_int_equal(append(bad_path, &m, &err), FLASHMEM_BAD_PACK);
    assert_int_equal(size_of(bad_path), 8);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

/* Damaged, with checksums made right again. */
static void save_resummed(uint8_t *data, size_t bytes) {
    fm_pack_header h;
    memcpy(&h, data, sizeof h);
    if (h.overlaps.offset <= bytes && h.overlaps.bytes <= bytes - h.overlaps.offset)
        h.overlaps_checksum = fm_hash(data + h.overlaps.offset, h.overlaps.bytes);
    h.header_checksum = 0;
    h.header_checksum = fm_hash(&h, sizeof h);
    memcpy(data, &h, sizeof h);
    save(bad_path, data, bytes);
}

static flashmem_status try_read(flashmem_error *err) {
    fm_arena          *arena = fm_arena_create();
    fm_stored_overlaps all;
    flashmem_status    status = read_plans(bad_path, arena, &all, err);
    fm_arena_destroy(arena);
    if (status != FLASHMEM_OK && !strstr(err->message, bad_path)) fail_msg("no path in '%s'", err->message);
    return status;
}

static void test_overlap__every_bit_is_checked(void **state) {
    (void)state;
    flashmem_error err;
    made           m = make(FLASHMEM_PATH_IN_PLACE, 4, 8);
    size_t         bytes;
    fm_pack_header h;
    write_sample(path);
    assert_int_equal(append(path, &m, &err), FLASHMEM_OK);
    uint8_t *data = load(path, &bytes);
    memcpy(&h, data, sizeof h);
    for (uint64_t at = h.overlaps.offset; at < h.overlaps.offset + h.overlaps.bytes; at++) {
        data[at] ^= (uint8_t)(1u << at % 8);
        save(bad_path, data, bytes);
        assert_int_equal(try_read(&err), FLASHMEM_BAD_PACK);
        assert_non_null(strstr(err.message, "overlap plans do not match their checksum"));
        data[at] ^= (uint8_t)(1u << at % 8);
    }
    /* The pack itself is still good, and a new plan takes the damaged one's place. */
    data[h.overlaps.offset + 20] ^= 1;
    save(bad_path, data, bytes);
    assert_int_equal(append(bad_path, &m, &err), FLASHMEM_OK);
    expect_plan(bad_path, &m);
    free(data);
}

static void test_overlap__truncated_or_longer(void **state) {
    (void)state;
    flashmem_error err;
    made           m = make(FLASHMEM_PATH_IN_PLACE, 4, 9);
    size_t         bytes;
    write_sample(path);
    assert_int_equal(append(path, &m, &err), FLASHMEM_OK);
    uint8_t *data = load(path, &bytes), *longer = calloc(1, bytes + 5000);
    for (size_t cut = 1; cut < 600; cut += 37) {
        save(bad_path, data, bytes - cut);
        assert_int_equal(try_read(&err), FLASHMEM_BAD_PACK);
        assert_non_null(strstr(err.message, "truncated or overwritten"));
    }
    memcpy(longer, data, bytes);
    save(bad_path, longer, bytes + 5000);
    expect_plan(bad_path, &m);
    free(data);
    free(longer);
}

static void test_overlap__hostile_sections(void **state) {
    (void)state;
    flashmem_error err;
    made           m = make(FLASHMEM_PATH_IN_PLACE, 20, 10);
    size_t         bytes;
    fm_pack_header h;
    write_sample(path);
    assert_int_equal(append(path, &m, &err), FLASHMEM_OK);
    uint8_t *data = load(path, &bytes), *copy = malloc(bytes);
    memcpy(&h, data, sizeof h);
    const fm_section sections[] = {
        { h.overlaps.offset, 0 },
        { 0, h.overlaps.bytes },
        { h.overlaps.offset - 4096, h.overlaps.bytes },
        { h.overlaps.offset + 8, h.overlaps.bytes - 8 },
        { UINT64_MAX - 4095, h.overlaps.bytes },
        { h.overlaps.offset, UINT64_MAX },
        { h.overlaps.offset, h.overlaps.bytes + 4096 },
        { h.overlaps.offset, 8 },
        { h.overlaps.offset, h.overlaps.bytes - 20 },
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        memcpy(copy, data, bytes);
        memcpy(copy + offsetof(fm_pack_header, overlaps), &sections[i], sizeof sections[i]);
        save_resummed(copy, bytes);
        if (try_read(&err) != FLASHMEM_BAD_PACK) fail_msg("section %zu: '%s'", i, err.message);
    }
    int refused = 0, rounds = 1000;
    srand(5);
    for (int i = 0; i < rounds; i++) { /* any words in any place: an error, or rows that are in range */
        memcpy(copy, data, bytes);
        for (int c = 1 + rand() % 3; c > 0; c--) {
            uint32_t words[] = { 0, 1, UINT32_MAX, INT32_MAX, (uint32_t)rand(), (uint32_t)rand() % 8 };
            memcpy(copy + h.overlaps.offset + (uint64_t)rand() % (h.overlaps.bytes / 4) * 4, &words[rand() % 6], 4);
        }
        save_resummed(copy, bytes);
        flashmem_status status = try_read(&err);
        if (status != FLASHMEM_OK && status != FLASHMEM_BAD_PACK) fail_msg("round %d: '%s'", i, err.message);
        refused += status == FLASHMEM_BAD_PACK;
    }
    assert_true(refused > rounds / 2);
    free(data);
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap__round_trip),
        cmocka_unit_test(test_overlap__replaces_its_own_kind_and_stays_small),
        cmocka_unit_test(test_overlap__refuses_what_does_not_hold),
        cmocka_unit_test(test_overlap__interrupted_writers_leave_the_old_plans),
        cmocka_unit_test(test_overlap__files_that_cannot_be_written),
        cmocka_unit_test(test_overlap__every_bit_is_checked),
        cmocka_unit_test(test_overlap__truncated_or_longer),
        cmocka_unit_test(test_overlap__hostile_sections),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
