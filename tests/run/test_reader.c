/* The reader alone: order, gates, faults, rows; every backend. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "run/stream/reader.h"
#include "schedule/replay.h"
#include "tests/base/cmocka_setup.h"
#include "tests/run/faulty_reads.h"

enum { OBJECTS = 6, UNIT = 64 << 10, OBJECT = 5 * UNIT + 4096, STEPS = 10, ROWS = 300, ROW = 1000 };

static char           folder[64], path[128];
static int            fd;
static char          *file_bytes, *memory, *slots;
static uint64_t       file_size, checksums[OBJECTS][6], row_checksums[ROWS];
static fm_read_object objects[OBJECTS];
static fm_progress    progress;
static const uint64_t TABLE = (uint64_t)OBJECTS * OBJECT;

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/var/tmp/fm-reader-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a", folder);
    file_size = TABLE + ROWS * ROW; /* not a multiple of 4096 */
    file_bytes = malloc(file_size);
    for (uint64_t i = 0; i < file_size; i++) file_bytes[i] = (char)(i * 2654435761u >> 13);
    FILE *f = fopen(path, "wb");
    fwrite(file_bytes, 1, file_size, f);
    fclose(f);
    for (int o = 0; o < OBJECTS; o++)
        for (int u = 0; u < 6; u++) checksums[o][u] = fm_hash(file_bytes + o * OBJECT + u * UNIT, u < 5 ? UNIT : 4096);
    for (int r = 0; r < ROWS; r++) row_checksums[r] = fm_hash(file_bytes + TABLE + r * ROW, ROW);
    memory = aligned_alloc(4096, OBJECTS * OBJECT);
    slots = aligned_alloc(4096, FM_ROW_SLOTS * fm_replay_row_slot_bytes(ROW));
    return memory && slots ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    free(file_bytes);
    free(memory);
    free(slots);
    unlink(path);
    return rmdir(folder);
}

/* Objects one after the other, all free from the start. */
static fm_reader_config prepare(const fm_read_ops *ops) {
    fd = open(path, O_RDONLY);
    fm_progress_init(&progress);
    memset(memory, 0, OBJECTS * OBJECT);
    for (int o = 0; o < OBJECTS; o++)
        objects[o] = (fm_read_object){ .file_offset = (uint64_t)o * OBJECT,
                                       .bytes = OBJECT,
                                       .to = memory + o * OBJECT,
                                       .checksums = checksums[o],
                                       .unit_bytes = UNIT,
                                       .after = -1,
                                       .name = "weight 'w'" };
    return (fm_reader_config){ .path = path,
                               .fd = fd,
                               .objects = objects,
                               .count = OBJECTS,
                               .steps = STEPS,
                               .depth = 3,
                               .bytes = 128 << 10,
                               .ops = ops,
                               .slots = slots,
                               .slot_bytes = fm_replay_row_slot_bytes(ROW),
                               .progress = &progress };
}

static void finish(fm_reader *reader) {
    fm_reader_close(reader);
    fm_progress_deinit(&progress);
    close(fd);
}

typedef struct arrival {
    fm_reader *reader;
    uint32_t   object;
    uint64_t   bytes, run;
} arrival;
static bool arrived(void *user) {
    arrival *a = user;
    return fm_reader_has(a->reader, a->object, a->bytes, a->run);
}

static flashmem_status wait_for_part(fm_reader *reader, uint32_t object, uint64_t bytes, uint64_t run,
                                     flashmem_error *err) {
    arrival a = { reader, object, bytes, run };
    return fm_progress_wait(&progress, FM_WAKE_ARRIVALS, arrived, &a, err);
}

static flashmem_status wait_for(fm_reader *reader, uint32_t object, uint64_t run, flashmem_error *err) {
    return wait_for_part(reader, object, OBJECT, run, err);
}

static bool has(const fm_reader *reader, uint32_t object, uint64_t run) {
    return fm_reader_has(reader, object, OBJECT, run);
}

static void expect_bytes(uint32_t object) {
    assert_memory_equal(memory + object * OBJECT, file_bytes + object * OBJECT, OBJECT);
}

static fm_reader *open_reader(fm_reader_config *config) {
    fm_reader     *reader;
    flashmem_error err = { 0 };
    if (fm_reader_open(&reader, config, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
    progress.on_completed = fm_reader_completed;
    progress.user = reader;
    return reader;
}

static void test_reader__delivers_whole_objects_in_order(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        fm_reader_config config = prepare(*ops);
        fm_reader       *reader = open_reader(&config);
        flashmem_error   err = { 0 };
        for (uint32_t o = OBJECTS; o-- > 0;) {
            assert_int_equal(wait_for(reader, o, 0, &err), FLASHMEM_OK);
            expect_bytes(o);
        }
        const fm_read_record *record = fm_reader_record(reader, 0);
        for (uint32_t o = 1; o < OBJECTS; o++) assert_true(record->requested[o] >= record->requested[o - 1]);
        for (uint32_t o = 1; o < OBJECTS; o++) assert_true(record->arrived[o] >= record->arrived[o - 1]);
        finish(reader);
    }
}

/* An object may not be read before its launches have ended, nor one of the next run before that has begun. */
static void test_reader__waits_for_launches_and_runs(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        fm_reader_config config = prepare(*ops);
        objects[1].resident = 1;
        objects[3].after = 4;
        objects[4].after = 5;
        for (int o = 0; o < 3; o++) objects[o].after = 7 + o, objects[o].wrap = 1;
        fm_reader     *reader = open_reader(&config);
        flashmem_error err = { 0 };
        fm_reader_begin_run(reader, 0);
        assert_int_equal(wait_for(reader, 2, 0, &err), FLASHMEM_OK);
        usleep(30000);
        assert_false(has(reader, 3, 0));
        fm_progress_completed(&progress, 4);
        usleep(30000);
        assert_false(has(reader, 3, 0));
        fm_progress_completed(&progress, 5);
        assert_int_equal(wait_for(reader, 3, 0, &err), FLASHMEM_OK);
        usleep(30000);
        assert_false(has(reader, 4, 0));
        fm_progress_completed(&progress, 6);
        assert_int_equal(wait_for(reader, 5, 0, &err), FLASHMEM_OK);
        fm_progress_completed(&progress, 8); /* step 7 has ended: object 0 may be read for run 1 */
        assert_int_equal(wait_for(reader, 0, 1, &err), FLASHMEM_OK);
        assert_true(has(reader, 1, 1)); /* resident */
        assert_false(has(reader, 2, 1));
        fm_progress_completed(&progress, 10);
        assert_int_equal(wait_for(reader, 2, 1, &err), FLASHMEM_OK);
        fm_progress_completed(&progress, 10);
        usleep(30000);
        assert_false(has(reader, 5, 1)); /* run 1 has not begun */
        fm_reader_begin_run(reader, 1);
        fm_progress_completed(&progress, 16);
        assert_int_equal(wait_for(reader, 5, 1, &err), FLASHMEM_OK);
        assert_int_equal(fm_reader_record(reader, 1)->requested[1], 0);
        finish(reader);
    }
}

/* Who waits for the first bytes of an object is told as soon as they have come, while its last are still being read. */
static void test_reader__tells_of_marks_before_the_object_is_whole(void **state) {
    (void)state;
    static const uint64_t marks[] = { UNIT, 3 * UNIT };
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        faulty_reset(*ops);
        faulty.hold_at = 7; /* reads of 128 KiB, three an object: object 2, units 2 and 3 */
        fm_reader_config config = prepare(&faulty_ops);
        objects[2].marks = marks;
        objects[2].mark_count = 2;
        fm_reader     *reader = open_reader(&config);
        flashmem_error err = { 0 };
        for (int i = 0; i < 1000 && !fm_reader_has(reader, 2, UNIT, 0); i++) usleep(5000);
        assert_true(fm_reader_has(reader, 2, UNIT, 0));
        assert_memory_equal(memory + 2 * OBJECT, file_bytes + 2 * OBJECT, UNIT);
        assert_true(has(reader, 1, 0));
        usleep(20000);
        assert_false(fm_reader_has(reader, 2, 3 * UNIT, 0) || has(reader, 2, 0) || has(reader, 3, 0));
        assert_false(fm_reader_has(reader, 2, UNIT, 1));
        atomic_store(&faulty.released, 1);
        fm_reader_begin_run(reader, 0); /* looks again */
        assert_int_equal(wait_for_part(reader, 2, 3 * UNIT, 0, &err), FLASHMEM_OK);
        assert_int_equal(wait_for(reader, 5, 0, &err), FLASHMEM_OK);
        expect_bytes(2);
        const fm_read_record *record = fm_reader_record(reader, 0);
        uint64_t              first = fm_read_record_arrival(record, 2, UNIT);
        assert_true(first > 0 && fm_read_record_arrival(record, 2, 3 * UNIT) >= first + 20000000);
        assert_true(fm_read_record_arrival(record, 2, OBJECT) <= record->arrived[2]);
        assert_true(fm_read_record_arrival(record, 2, 2 * UNIT) == first);
        fm_progress_completed(&progress, STEPS); /* and so in the next run */
        fm_reader_begin_run(reader, 1);
        assert_int_equal(wait_for(reader, 5, 1, &err), FLASHMEM_OK);
        assert_true(fm_reader_has(reader, 2, UNIT, 1) && !fm_reader_has(reader, 2, UNIT, 2));
        finish(reader);
    }
}

static void test_reader__serial_reads_in_phases(void **state) {
    (void)state;
    fm_reader_config config = prepare(NULL);
    config.serial = true;
    objects[2].after = 3;
    fm_reader     *reader = open_reader(&config);
    flashmem_error err = { 0 };
    fm_reader_begin_run(reader, 0);
    usleep(20000);
    assert_false(has(reader, 0, 0));
    assert_int_equal(fm_reader_phase(reader, &err), FLASHMEM_OK);
    assert_true(has(reader, 1, 0) && !has(reader, 2, 0));
    fm_progress_completed(&progress, 4);
    usleep(20000);
    assert_false(has(reader, 2, 0));
    assert_int_equal(fm_reader_phase(reader, &err), FLASHMEM_OK);
    assert_true(has(reader, 5, 0));
    assert_int_equal(fm_reader_phase(reader, &err), FLASHMEM_OK); /* nothing left: returns */
    finish(reader);
}

static void test_reader__continues_short_reads(void **state) {
    (void)state;
    static const int32_t shorts[] = { 0, 1, 511, 4096, 100000 };
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (size_t i = 0; i < sizeof shorts / sizeof *shorts; i++) {
            faulty_reset(*ops);
            faulty.short_at = 4;
            faulty.short_bytes = shorts[i];
            fm_reader_config config = prepare(&faulty_ops);
            fm_reader       *reader = open_reader(&config);
            flashmem_error   err = { 0 };
            assert_int_equal(wait_for(reader, OBJECTS - 1, 0, &err), FLASHMEM_OK);
            for (uint32_t o = 0; o < OBJECTS; o++) expect_bytes(o);
            finish(reader);
        }
}

static void expect_failure(const fm_read_ops *ops, flashmem_status status, const char *part) {
    faulty.under = ops;
    fm_reader_config config = prepare(&faulty_ops);
    fm_reader       *reader = open_reader(&config);
    flashmem_error   err = { 0 };
    assert_int_equal(wait_for(reader, OBJECTS - 1, 0, &err), status);
    if (!strstr(err.message, part) || !strstr(err.message, path)) fail_msg("'%s' lacks '%s'", err.message, part);
    finish(reader);
}

static void test_reader__reports_errors_in_mid_stream(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        faulty_reset(*ops);
        faulty.fail_at = 7;
        faulty.error = EIO;
        expect_failure(*ops, FLASHMEM_IO, "offset 794624 for weight 'w': Input/output error");
        faulty_reset(*ops);
        faulty.flip_at = 5;
        expect_failure(*ops, FLASHMEM_CORRUPT, "was packed");
    }
}

static void test_reader__reports_a_file_that_became_shorter(void **state) {
    (void)state;
    char saved[128];
    snprintf(saved, sizeof saved, "%s", path);
    snprintf(path, sizeof path, "%s/short", folder);
    FILE *f = fopen(path, "wb");
    fwrite(file_bytes, 1, 2 * OBJECT + 5000, f);
    fclose(f);
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        faulty_reset(*ops);
        expect_failure(*ops, FLASHMEM_IO, "");
    }
    unlink(path);
    snprintf(path, sizeof path, "%s", saved);
}

static void test_reader__falls_back_to_buffered_reads(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++) {
        faulty_reset(*ops);
        fm_reader_config config = prepare(&faulty_ops);
        faulty.refuse_direct = fd;
        fm_reader     *reader = open_reader(&config);
        flashmem_error err = { 0 };
        assert_int_equal(wait_for(reader, OBJECTS - 1, 0, &err), FLASHMEM_OK);
        for (uint32_t o = 0; o < OBJECTS; o++) expect_bytes(o);
        assert_false(fm_reader_is_direct(reader));
        finish(reader);
    }
}

static void test_reader__backend_that_does_not_open(void **state) {
    (void)state;
    faulty_reset(fm_read_backends()[0]);
    faulty.refuse_open = ENOSYS;
    expect_failure(faulty.under, FLASHMEM_IO, "asynchronously");
}

static void test_reader__closes_while_reads_are_in_flight(void **state) {
    (void)state;
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (int i = 0; i < 20; i++) {
            fm_reader_config config = prepare(*ops);
            fm_reader       *reader = open_reader(&config);
            if (i % 2) usleep((useconds_t)i * 20);
            finish(reader);
        }
}

static void test_reader__cancel_wakes_the_caller(void **state) {
    (void)state;
    fm_reader_config config = prepare(NULL);
    objects[2].after = 3;
    fm_reader     *reader = open_reader(&config);
    flashmem_error err = { 0 };
    fm_progress_cancel(&progress);
    assert_int_equal(wait_for(reader, 5, 0, &err), FLASHMEM_CANCELLED);
    finish(reader);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static fm_row_batch rows_batch(uint64_t *order, uint32_t count, float *out) {
    for (uint32_t i = 0; i < count; i++) order[i] = (uint64_t)(i * 7919u % ROWS) << 32 | i;
    order[0] = (uint64_t)(ROWS - 1) << 32; /* the last: its page is cut by the end of the file */
    qsort(order, count, sizeof *order, by_value);
    return (fm_row_batch){ .name = "table",
                           .file_offset = TABLE,
                           .row_bytes = ROW,
                           .elements = ROW / 4,
                           .checksums = row_checksums,
                           .order = order,
                           .count = count,
                           .out = (char *)out,
                           .out_bytes = ROW };
}

static void expect_rows(const uint64_t *order, uint32_t count, const float *out) {
    for (uint32_t i = 0; i < count; i++)
        assert_memory_equal((const char *)out + (order[i] & UINT32_MAX) * ROW,
                            file_bytes + TABLE + (order[i] >> 32) * ROW, ROW);
}

static void test_reader__rows_in_any_order_with_duplicates(void **state) {
    (void)state;
    enum { COUNT = 700 };
    static uint64_t order[COUNT];
    static float    out[COUNT * ROW / 4];
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (int buffered = 0; buffered < 2; buffered++) {
            fm_reader_config config = prepare(*ops);
            config.buffered = buffered;
            fm_reader     *reader = open_reader(&config);
            flashmem_error err = { 0 };
            memset(out, 0, sizeof out);
            fm_row_batch batch = rows_batch(order, COUNT, out);
            if (fm_reader_rows(reader, &batch, &err) != FLASHMEM_OK) fail_msg("%s", err.message);
            expect_rows(order, COUNT, out);
            assert_true(batch.bytes_read <= file_size); /* duplicates and neighbours are merged */
            finish(reader);
        }
}

static void test_reader__rows_survive_short_reads_and_report_damage(void **state) {
    (void)state;
    static uint64_t order[50];
    static float    out[50 * ROW / 4];
    for (const fm_read_ops *const *ops = fm_read_backends(); *ops; ops++)
        for (int damage = 0; damage < 3; damage++) {
            faulty_reset(*ops);
            fm_reader_config config = prepare(&faulty_ops);
            config.count = 0;
            if (damage == 0) faulty.short_at = 3, faulty.short_bytes = 512;
            if (damage == 1) faulty.fail_at = 5, faulty.error = EIO;
            fm_reader     *reader = open_reader(&config);
            flashmem_error err = { 0 };
            fm_row_batch   batch = rows_batch(order, 50, out);
            if (damage == 2) row_checksums[order[7] >> 32]++;
            flashmem_status status = fm_reader_rows(reader, &batch, &err);
            assert_int_equal(status, damage == 0 ? FLASHMEM_OK : damage == 1 ? FLASHMEM_IO : FLASHMEM_CORRUPT);
            if (damage == 0) expect_rows(order, 50, out);
            if (damage == 2) assert_non_null(strstr(err.message, "of table table"));
            if (damage == 2) row_checksums[order[7] >> 32]--;
            finish(reader);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader__delivers_whole_objects_in_order),
        cmocka_unit_test(test_reader__waits_for_launches_and_runs),
        cmocka_unit_test(test_reader__tells_of_marks_before_the_object_is_whole),
        cmocka_unit_test(test_reader__serial_reads_in_phases),
        cmocka_unit_test(test_reader__continues_short_reads),
        cmocka_unit_test(test_reader__reports_errors_in_mid_stream),
        cmocka_unit_test(test_reader__reports_a_file_that_became_shorter),
        cmocka_unit_test(test_reader__falls_back_to_buffered_reads),
        cmocka_unit_test(test_reader__backend_that_does_not_open),
        cmocka_unit_test(test_reader__closes_while_reads_are_in_flight),
        cmocka_unit_test(test_reader__cancel_wakes_the_caller),
        cmocka_unit_test(test_reader__rows_in_any_order_with_duplicates),
        cmocka_unit_test(test_reader__rows_survive_short_reads_and_report_damage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
