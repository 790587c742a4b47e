/* Packs: what is written is what is read; any damage is an error and never a crash; writing is all or nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "tests/base/cmocka_setup.h"
#include "tests/contract/sample_pack.h"

static char folder[64], pack_path[96], bad_path[96];

static void fill(uint32_t what, uint64_t at, uint8_t *data, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) data[i] = sample_byte(what, at + i);
}

/* Objects backwards, in unequal runs of units. */
static flashmem_status write_weights(fm_pack_writer *w, sample *s, flashmem_error *err) {
    static uint8_t data[SAMPLE_K * SAMPLE_N * 4];
    for (uint32_t o = 2; o-- > 0;) {
        fill(o, 0, data, s->objects[o].bytes);
        uint64_t first = s->objects[o].unit_bytes * (o == 0 ? 5 : 1);
        FM_TRY(fm_pack_writer_object(w, o, 0, data, first, err));
        if (first < s->objects[o].bytes)
            FM_TRY(fm_pack_writer_object(w, o, first, data + first, s->objects[o].bytes - first, err));
    }
    fill(2, 0, data, s->weights[0].bytes);
    FM_TRY(fm_pack_writer_rows(w, 0, 7, data + 7 * s->weights[0].row_bytes, SAMPLE_ROWS - 7, err));
    return fm_pack_writer_rows(w, 0, 0, data, 7, err);
}

static flashmem_status write_sample(const char *path, flashmem_error *err) {
    fm_arena       *arena = fm_arena_create();
    sample          s;
    fm_pack_writer *w = NULL;
    uint64_t        bytes = 0;
    sample_init(&s, arena);
    fm_pack_contents contents = sample_contents(&s);
    flashmem_status  status = fm_pack_writer_open(&w, path, &contents, err);
    if (status == FLASHMEM_OK) {
        status = write_weights(w, &s, err);
        if (status == FLASHMEM_OK) status = fm_pack_writer_commit(w, &bytes, err);
        else fm_pack_writer_abort(w);
    }
    if (status == FLASHMEM_OK) {
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_size, bytes);
        assert_int_equal(bytes % 4096, 0);
    }
    fm_arena_destroy(arena);
    return status;
}

static uint8_t *load(const char *path, size_t *bytes) {
    void          *data;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_load(path, 1 << 28, &data, bytes, &err), FLASHMEM_OK);
    return data;
}

static void save(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Overwrites a range of the file at bad_path. */
static void poke(uint64_t offset, const void *data, size_t bytes) {
    int fd = open(bad_path, O_WRONLY);
    assert_int_equal(pwrite(fd, data, bytes, (off_t)offset), bytes);
    close(fd);
}

static flashmem_status try_open(const char *path, flashmem_error *err) {
    fm_pack pack;
    fm_error_clear(err);
    flashmem_status status = fm_pack_open(&pack, path, err);
    if (status == FLASHMEM_OK) fm_pack_close(&pack);
    assert_null(pack.path); /* closed or never opened: nothing is left */
    if (status != FLASHMEM_OK) assert_non_null(strstr(err->message, path));
    return status;
}

static int setup(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    snprintf(folder, sizeof folder, "/tmp/fm-test-pack-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(pack_path, sizeof pack_path, "%s/a.flm", folder);
    snprintf(bad_path, sizeof bad_path, "%s/bad.flm", folder);
    if (write_sample(pack_path, &err) != FLASHMEM_OK) print_error("%s\n", err.message);
    return err.status != FLASHMEM_OK;
}

static int files_in_folder(void) {
    int  count = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static int teardown(void **state) {
    (void)state;
    unlink(pack_path);
    unlink(bad_path);
    return rmdir(folder);
}

static void test_pack__round_trip(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    flashmem_error err = { 0 };
    fm_pack        pack;
    sample         s;
    sample_init(&s, arena);
    assert_int_equal(fm_pack_open(&pack, pack_path, &err), FLASHMEM_OK);
    assert_int_equal(pack.program_count, 1);
    const fm_program *p = &pack.programs[0];
    assert_int_equal(p->step_count, s.program.step_count);
    assert_memory_equal(p->steps, s.program.steps, sizeof(fm_step) * p->step_count);
    assert_memory_equal(p->values, s.program.values, sizeof(fm_value) * p->value_count);
    assert_memory_equal(p->args, s.program.args, sizeof(fm_arg) * p->arg_count);
    assert_memory_equal(p->exprs, s.program.exprs, sizeof(fm_expr) * p->expr_count);
    assert_memory_equal(p->kernels, s.program.kernels, sizeof(fm_kernel) * p->kernel_count);
    assert_memory_equal(p->blob, s.program.blob, p->blob_bytes);
    assert_int_equal(p->inputs[0], s.ids);
    assert_int_equal(p->outputs[0], s.out);
    assert_int_equal(pack.header.float_weight_bytes, s.weights[0].bytes + s.weights[1].bytes);
    assert_int_equal(pack.program_records[0].shape_key, 77);
    assert_int_equal(pack.checksum_count, SAMPLE_N / 16 + 1 + SAMPLE_ROWS);
    for (uint32_t i = 0; i < 3; i++) { /* every weight byte lies where the tables say */
        uint64_t at = i < 2 ? pack.packed.objects[i].file_offset : pack.packed.weights[0].file_offset;
        uint64_t bytes = i < 2 ? pack.packed.objects[i].bytes : pack.packed.weights[0].bytes;
        uint8_t *data = malloc(bytes);
        assert_int_equal(at % 4096, 0);
        assert_int_equal(fm_file_read(pack.fd, pack.path, at, data, bytes, &err), FLASHMEM_OK);
        for (uint64_t b = 0; b < bytes; b++) assert_int_equal(data[b], sample_byte(i, b));
        free(data);
    }
    assert_int_equal(fm_pack_verify_weights(&pack, &err), FLASHMEM_OK);
    fm_pack_close(&pack);
    fm_pack_close(&pack); /* twice is allowed */
    fm_arena_destroy(arena);
}

static void test_pack__every_header_bit_is_checked(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    save(bad_path, data, bytes);
    for (uint32_t bit = 0; bit < 4096 * 8; bit++) {
        if (bit >= 8 * sizeof(fm_pack_header) && bit % 61) continue; /* padding: a sample of its bits */
        uint8_t flipped = (uint8_t)(data[bit / 8] ^ 1u << bit % 8);
        poke(bit / 8, &flipped, 1);
        flashmem_status status = try_open(bad_path, &err);
        if (status != FLASHMEM_BAD_PACK) fail_msg("bit %u of the header: status %d '%s'", bit, status, err.message);
        poke(bit / 8, &data[bit / 8], 1);
    }
    assert_int_equal(try_open(bad_path, &err), FLASHMEM_OK);
    free(data);
}

static void test_pack__table_bits_are_checked(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    fm_pack_header header;
    memcpy(&header, data, sizeof header);
    save(bad_path, data, bytes);
    srand(7);
    for (int i = 0; i < 3000; i++) {
        uint64_t at = header.tables.offset + (uint64_t)rand() % header.tables.bytes;
        uint8_t  flipped = (uint8_t)(data[at] ^ 1u << rand() % 8);
        poke(at, &flipped, 1);
        assert_int_equal(try_open(bad_path, &err), FLASHMEM_BAD_PACK);
        assert_non_null(strstr(err.message, "tables do not match"));
        poke(at, &data[at], 1);
    }
    free(data);
}

static void test_pack__truncated_anywhere(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    const size_t   lengths[] = { 0,    1,    8,         sizeof(fm_pack_header), 4095,     4096,
                                 4097, 8192, bytes / 2, bytes - 4096,           bytes - 1 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        save(bad_path, data, lengths[i]);
        assert_int_equal(try_open(bad_path, &err), FLASHMEM_BAD_PACK);
    }
    uint8_t *longer = calloc(1, bytes + 5000);
    memcpy(longer, data, bytes);
    save(bad_path, longer, bytes + 5000);
    assert_int_equal(try_open(bad_path, &err), FLASHMEM_OK); /* what an interrupted writer of plans leaves behind */
    free(longer);
    free(data);
}

/* Writes a damaged file whose checksums are right again: what a malicious writer would do. */
static void save_resummed(uint8_t *data, size_t bytes) {
    fm_pack_header h;
    memcpy(&h, data, sizeof h);
    if (h.tables.offset <= bytes && h.tables.bytes <= bytes - h.tables.offset)
        h.tables_checksum = fm_hash(data + h.tables.offset, h.tables.bytes);
    h.header_checksum = 0;
    h.header_checksum = fm_hash(&h, sizeof h);
    memcpy(data, &h, sizeof h);
    save(bad_path, data, bytes);
}

typedef struct section_damage {
    const char *name;
    uint64_t    field, add; /* offset of a uint64 in the header, what is added to it */
} section_damage;

static void test_pack__hostile_sections(void **state) {
    (void)state;
#define H(field) offsetof(fm_pack_header, field)
    const section_damage rows[] = {
        { "strings overlap weights", H(strings.bytes), 4096 },
        { "strings offset wraps", H(strings.offset), UINT64_MAX - 4095 },
        { "strings before the tables", H(strings.offset), (uint64_t)-64 },
        { "weights misaligned", H(weight_table.offset), 8 },
        { "weights no whole records", H(weight_table.bytes), 8 },
        { "weights absurd", H(weight_table.bytes), UINT64_C(1) << 60 },
        { "objects on the weights", H(object_table.offset), (uint64_t)-64 },
        { "checksums too many", H(checksum_table.bytes), 8 },
        { "checksums too few", H(checksum_table.bytes), (uint64_t)-8 },
        { "programs none", H(program_table.bytes), (uint64_t) - (int64_t)sizeof(fm_pack_program) },
        { "programs two", H(program_table.bytes), sizeof(fm_pack_program) },
        { "tables absurd", H(tables.bytes), UINT64_C(1) << 62 },
        { "tables short", H(tables.bytes), (uint64_t)-64 },
        { "tables elsewhere", H(tables.offset), 4096 },
        { "file longer", H(file_bytes), 4096 },
        { "float weights absurd", H(float_weight_bytes), UINT64_C(1) << 40 },
    };
#undef H
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *copy = malloc(bytes);
        uint64_t x;
        memcpy(copy, data, bytes);
        memcpy(&x, copy + rows[i].field, 8);
        x += rows[i].add;
        memcpy(copy + rows[i].field, &x, 8);
        save_resummed(copy, bytes);
        flashmem_status status = try_open(bad_path, &err);
        if (status != FLASHMEM_BAD_PACK) fail_msg("%s: status %d '%s'", rows[i].name, status, err.message);
        free(copy);
    }
    free(data);
}

static void test_pack__hostile_objects(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    fm_pack_header h;
    memcpy(&h, data, sizeof h);
    for (int i = 0; i < 7; i++) {
        uint8_t *copy = malloc(bytes);
        memcpy(copy, data, bytes);
        fm_object *objects = (fm_object *)(copy + h.object_table.offset);
        fm_weight *weights = (fm_weight *)(copy + h.weight_table.offset);
        switch (i) {
        case 0: objects[1].file_offset = objects[0].file_offset; break;
        case 1: objects[1].file_offset += 512; break;
        case 2: objects[1].file_offset = UINT64_MAX - 4095; break;
        case 3: objects[0].file_offset = 0; break;
        case 4: objects[1].first_checksum++; break;
        case 5: weights[0].file_offset = objects[1].file_offset; break;
        case 6: weights[0].first_checksum = UINT64_MAX; break;
        }
        save_resummed(copy, bytes);
        flashmem_status status = try_open(bad_path, &err);
        if (status != FLASHMEM_BAD_PACK) fail_msg("object damage %d: status %d '%s'", i, status, err.message);
        free(copy);
    }
    free(data);
}

/* Random damage behind right checksums: BAD_PACK or a pack whose every index is still sound, never a crash. */
static void test_pack__fuzzed_tables_never_crash(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes), *copy = malloc(bytes);
    flashmem_error err;
    fm_pack_header h;
    int            rejected = 0, rounds = 4000;
    memcpy(&h, data, sizeof h);
    srand(11);
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, data, bytes);
        int changes = 1 + rand() % 4;
        for (int c = 0; c < changes; c++) {
            bool     in_header = rand() % 4 == 0;
            uint64_t at = in_header ? 40 + (uint64_t)rand() % 14 * 8
                                    : h.tables.offset + (uint64_t)rand() % (h.tables.bytes / 4) * 4;
            uint32_t words[] = { 0, 1, UINT32_MAX, INT32_MAX, (uint32_t)rand(), (uint32_t)rand() % 64 },
                     word = words[rand() % 6];
            memcpy(copy + at, &word, 4);
        }
        save_resummed(copy, bytes);
        flashmem_status status = try_open(bad_path, &err);
        if (status != FLASHMEM_OK && status != FLASHMEM_BAD_PACK)
            fail_msg("round %d: status %d '%s'", i, status, err.message);
        rejected += status == FLASHMEM_BAD_PACK;
    }
    assert_true(rejected > rounds / 4);
    free(copy);
    free(data);
}

static void test_pack__wrong_version_and_magic(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    data[8] = 9;
    save(bad_path, data, bytes);
    assert_int_equal(try_open(bad_path, &err), FLASHMEM_BAD_PACK);
    assert_non_null(strstr(err.message, "version 9, this program reads version 2: compile the model again"));
    data[0] = 'X';
    save(bad_path, data, bytes);
    assert_int_equal(try_open(bad_path, &err), FLASHMEM_BAD_PACK);
    assert_non_null(strstr(err.message, "not a pack"));
    assert_int_equal(try_open(folder, &err), FLASHMEM_IO);
    assert_int_equal(try_open("/nonexistent/x.flm", &err), FLASHMEM_IO);
    free(data);
}

static void test_pack__other_layout_is_seen(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err;
    uint32_t       layout = FLASHMEM_LAYOUT_TEXTURE;
    memcpy(data + offsetof(fm_pack_header, layout), &layout, 4);
    save_resummed(data, bytes);
    assert_int_equal(try_open(bad_path, &err), FLASHMEM_BAD_PACK);
    assert_non_null(strstr(err.message, "weight 1 ('large')"));
    free(data);
}

static void test_pack__weight_bytes_are_checked(void **state) {
    (void)state;
    size_t         bytes;
    uint8_t       *data = load(pack_path, &bytes);
    flashmem_error err = { 0 };
    fm_pack        pack;
    assert_int_equal(fm_pack_open(&pack, pack_path, &err), FLASHMEM_OK);
    const uint64_t places[] = { pack.packed.objects[0].file_offset, pack.packed.objects[0].file_offset + pack.packed.objects[0].bytes - 1,
                                pack.packed.objects[1].file_offset + 77, pack.packed.weights[0].file_offset + 3 * 256 + 5 };
    const char    *texts[] = { "'large'", "'large'", "'bundle'", "'wte'" };
    fm_pack_close(&pack);
    for (size_t i = 0; i < 4; i++) {
        data[places[i]] ^= 16;
        save(bad_path, data, bytes);
        assert_int_equal(fm_pack_open(&pack, bad_path, &err), FLASHMEM_OK);
        fm_error_clear(&err);
        assert_int_equal(fm_pack_verify_weights(&pack, &err), FLASHMEM_CORRUPT);
        assert_non_null(strstr(err.message, texts[i]));
        fm_pack_close(&pack);
        fm_error_clear(&err);
        data[places[i]] ^= 16;
    }
    free(data);
}

static void test_writer__leaves_nothing_behind(void **state) {
    (void)state;
    fm_arena       *arena = fm_arena_create();
    flashmem_error  err = { 0 };
    sample          s;
    fm_pack_writer *w;
    uint64_t        bytes;
    save(bad_path, "old", 3);
    int before = files_in_folder();
    sample_init(&s, arena);
    fm_pack_contents contents = sample_contents(&s);
    assert_int_equal(fm_pack_writer_open(&w, bad_path, &contents, &err), FLASHMEM_OK);
    assert_int_equal(files_in_folder(), before + 1);
    fm_pack_writer_abort(w);
    assert_int_equal(files_in_folder(), before);
    fm_pack_writer_abort(NULL);
    assert_int_equal(fm_pack_writer_open(&w, bad_path, &contents, &err), FLASHMEM_OK);
    assert_int_equal(fm_pack_writer_commit(w, &bytes, &err), FLASHMEM_INTERNAL); /* no weights were written */
    assert_non_null(strstr(err.message, "was not written"));
    assert_int_equal(files_in_folder(), before);
    size_t old_bytes;
    free(load(bad_path, &old_bytes));
    assert_int_equal(old_bytes, 3); /* the old file is untouched */
    fm_error_clear(&err);
    s.weights[1].panels++;
    assert_int_equal(fm_pack_writer_open(&w, bad_path, &contents, &err), FLASHMEM_INTERNAL);
    assert_null(w);
    fm_arena_destroy(arena);
}

static bool  disk_is_full;
int          __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int          __real_fallocate(int fd, int mode, off_t offset, off_t length);
ssize_t      __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset);
ssize_t      __real_pwrite(int fd, const void *from, size_t bytes, off_t offset);
static off_t full_above = INT64_MAX;

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!disk_is_full) return __real_fallocate(fd, mode, offset, length);
    errno = ENOSPC;
    return -1;
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset) {
    if (offset + (off_t)bytes <= full_above) return __real_pwrite(fd, from, bytes, offset);
    errno = ENOSPC;
    return -1;
}

static void test_writer__full_disk(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    unlink(bad_path);
    int before = files_in_folder();
    disk_is_full = true;
    assert_int_equal(write_sample(bad_path, &err), FLASHMEM_DISK_FULL);
    assert_non_null(strstr(err.message, bad_path));
    disk_is_full = false;
    full_above = 1 << 20; /* file systems without fallocate fail in mid-file */
    fm_error_clear(&err);
    assert_int_equal(write_sample(bad_path, &err), FLASHMEM_DISK_FULL);
    full_above = INT64_MAX;
    assert_int_equal(files_in_folder(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__round_trip),
        cmocka_unit_test(test_pack__every_header_bit_is_checked),
        cmocka_unit_test(test_pack__table_bits_are_checked),
        cmocka_unit_test(test_pack__truncated_anywhere),
        cmocka_unit_test(test_pack__hostile_sections),
        cmocka_unit_test(test_pack__hostile_objects),
        cmocka_unit_test(test_pack__fuzzed_tables_never_crash),
        cmocka_unit_test(test_pack__wrong_version_and_magic),
        cmocka_unit_test(test_pack__other_layout_is_seen),
        cmocka_unit_test(test_pack__weight_bytes_are_checked),
        cmocka_unit_test(test_writer__leaves_nothing_behind),
        cmocka_unit_test(test_writer__full_disk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
