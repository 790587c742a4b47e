/* Files: short reads, exact errors, and writers that leave a whole file or none.
 * Linked with --wrap=pread and --wrap=pwrite, through which a test makes calls short, interrupted or full. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/base/cmocka_setup.h"

ssize_t __real_pread(int fd, void *to, size_t bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void *from, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset);

static size_t longest_call = SIZE_MAX; /* bytes one call moves at most */
static int    interrupt_every, calls;  /* every nth call: EINTR */
static off_t  full_above = INT64_MAX;  /* writes from this offset: ENOSPC */

static int interrupted(void) {
    if (!interrupt_every || ++calls % interrupt_every) return 0;
    errno = EINTR;
    return 1;
}

ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t offset) {
    if (interrupted()) return -1;
    return __real_pread(fd, to, bytes < longest_call ? bytes : longest_call, offset);
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset) {
    if (interrupted()) return -1;
    if (offset >= full_above) {
        errno = ENOSPC;
        return -1;
    }
    return __real_pwrite(fd, from, bytes < longest_call ? bytes : longest_call, offset);
}

static char folder[64], path[128];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fm-test-file-XXXXXX");
    longest_call = SIZE_MAX;
    interrupt_every = calls = 0;
    full_above = INT64_MAX;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.flm", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int files_in_folder(void) {
    int  count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void assert_content(const char *expected) {
    void  *data;
    size_t bytes;
    assert_int_equal(fm_file_load(path, 1 << 20, &data, &bytes, NULL), FLASHMEM_OK);
    assert_int_equal(bytes, strlen(expected));
    assert_string_equal(data, expected);
    free(data);
}

static void test_save_and_load__round_trip(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_save(path, "hello", 5, &err), FLASHMEM_OK);
    assert_content("hello");
    assert_int_equal(fm_file_save(path, "", 0, &err), FLASHMEM_OK);
    assert_content("");
    assert_int_equal(files_in_folder(), 1);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(info.st_mode & 0777, 0666 & ~mask);
}

static void test_read__continues_short_and_interrupted_calls(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    char           data[1000], back[1000] = { 0 };
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 31);
    longest_call = 7;
    interrupt_every = 3;
    assert_int_equal(fm_file_save(path, data, sizeof data, &err), FLASHMEM_OK);
    int      fd;
    uint64_t size;
    assert_int_equal(fm_file_open(path, &fd, &size, &err), FLASHMEM_OK);
    assert_int_equal(size, sizeof data);
    assert_int_equal(fm_file_read(fd, path, 100, back, 900, &err), FLASHMEM_OK);
    assert_memory_equal(back, data + 100, 900);
    assert_true(calls > 2 * 1000 / 7);
    close(fd);
}

static void test_read__end_of_file_names_what_was_found(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    char           back[64];
    int            fd;
    assert_int_equal(fm_file_save(path, "0123456789", 10, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_open(path, &fd, NULL, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_read(fd, path, 4, back, 20, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "ends at 10"));
    assert_non_null(strstr(err.message, "20 bytes at offset 4"));
    fm_error_clear(&err);
    assert_int_equal(fm_file_read(fd, path, UINT64_MAX - 2, back, 20, &err), FLASHMEM_IO);
    assert_int_equal(fm_file_read(fd, path, 10, back, 0, NULL), FLASHMEM_OK);
    close(fd);
    fm_error_clear(&err);
    assert_int_equal(fm_file_read(-1, path, 0, back, 1, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, strerror(EBADF)));
}

static void test_open__refuses_what_is_no_regular_file(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    int            fd;
    uint64_t       size;
    assert_int_equal(fm_file_open(folder, &fd, &size, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, "folder"));
    assert_int_equal(fd, -1);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fm_file_open(path, &fd, &size, NULL), FLASHMEM_IO); /* and does not wait for a writer */
    unlink(path);
    fm_error_clear(&err);
    assert_int_equal(fm_file_open(path, &fd, &size, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, strerror(ENOENT)));
}

static void test_load__refuses_above_its_limit(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    void          *data = path;
    assert_int_equal(fm_file_save(path, "12345", 5, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_load(path, 4, &data, NULL, &err), FLASHMEM_IO);
    assert_null(data);
    assert_int_equal(fm_file_load(path, 5, &data, NULL, NULL), FLASHMEM_OK);
    free(data);
}

static void test_writer__shows_nothing_before_commit(void **state) {
    (void)state;
    fm_file_writer writer;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_save(path, "old", 3, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_writer_open(&writer, path, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_writer_write(&writer, 5, "world", 5, &err), FLASHMEM_OK);
    assert_int_equal(writer.size, 10);
    assert_int_equal(fm_file_writer_write(&writer, 0, "brave", 5, &err), FLASHMEM_OK);
    assert_int_equal(writer.size, 10);
    assert_content("old");
    assert_int_equal(fm_file_writer_commit(&writer, true, &err), FLASHMEM_OK);
    assert_content("braveworld");
    assert_int_equal(files_in_folder(), 1);
    fm_file_writer_abort(&writer); /* after commit: nothing to do */
    assert_content("braveworld");
}

static void test_writer__abort_leaves_the_old_file(void **state) {
    (void)state;
    fm_file_writer writer, zeroed = { 0 };
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_save(path, "old", 3, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_writer_open(&writer, path, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_writer_write(&writer, 0, "new", 3, &err), FLASHMEM_OK);
    assert_int_equal(files_in_folder(), 2);
    fm_file_writer_abort(&writer);
    fm_file_writer_abort(&writer);
    fm_file_writer_abort(&zeroed);
    assert_int_equal(files_in_folder(), 1);
    assert_content("old");
}

static void test_save__full_disk_is_reported_and_cleaned_up(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_save(path, "old", 3, &err), FLASHMEM_OK);
    longest_call = 4;
    full_above = 8;
    assert_int_equal(fm_file_save(path, "0123456789abcdef", 16, &err), FLASHMEM_DISK_FULL);
    assert_int_equal(err.status, FLASHMEM_DISK_FULL);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(files_in_folder(), 1);
    assert_content("old");
}

static void test_writer__full_device_is_disk_full(void **state) {
    (void)state;
    fm_file_writer writer;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_writer_open(&writer, path, &err), FLASHMEM_OK);
    close(writer.fd);
    writer.fd = open("/dev/full", O_WRONLY);
    assert_true(writer.fd >= 0);
    assert_int_equal(fm_file_writer_write(&writer, 0, "x", 1, &err), FLASHMEM_DISK_FULL);
    fm_file_writer_abort(&writer);
    assert_int_equal(files_in_folder(), 0);
}

static void test_writer__failed_commit_leaves_nothing(void **state) {
    (void)state;
    fm_file_writer writer;
    flashmem_error err = { 0 };
    assert_int_equal(fm_file_writer_open(&writer, path, &err), FLASHMEM_OK);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder in the way of the rename */
    assert_int_equal(fm_file_writer_commit(&writer, false, &err), FLASHMEM_IO);
    assert_int_equal(files_in_folder(), 1);
    fm_error_clear(&err);
    assert_int_equal(fm_file_save("/nonexistent/folder/a", "x", 1, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, "/nonexistent/folder/a"));
}

static void test_writer__replaces_only_regular_files(void **state) {
    (void)state;
    fm_file_writer writer;
    flashmem_error err = { 0 };
    struct stat    info;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fm_file_writer_open(&writer, path, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "a device, pipe or socket"));
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(files_in_folder(), 1);
    fm_error_clear(&err);
    assert_int_equal(fm_file_writer_open(&writer, folder, &err), FLASHMEM_IO);
    assert_non_null(strstr(err.message, "a folder"));
}

static void test_writer__writes_through_links(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    struct stat    info;
    char           link[160];
    snprintf(link, sizeof link, "%s.link", path);
    assert_int_equal(fm_file_save(path, "old", 3, &err), FLASHMEM_OK);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(fm_file_save(link, "new", 3, &err), FLASHMEM_OK);
    assert_content("new");
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(files_in_folder(), 2);
}

static void test_make_folders__makes_parents(void **state) {
    (void)state;
    flashmem_error err = { 0 };
    char           deep[256];
    struct stat    info;
    snprintf(deep, sizeof deep, "%s/b//c/d/", folder);
    assert_int_equal(fm_file_make_folders(deep, &err), FLASHMEM_OK);
    assert_int_equal(fm_file_make_folders(deep, &err), FLASHMEM_OK);
    assert_int_equal(stat(deep, &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(fm_file_save(path, "x", 1, &err), FLASHMEM_OK);
    snprintf(deep, sizeof deep, "%s/below", path);
    assert_int_equal(fm_file_make_folders(deep, &err), FLASHMEM_IO);
}

static void assert_cache_folder(const char *own, const char *xdg, const char *home, const char *expected) {
    setenv("FLASHMEM_CACHE_DIR", own, 1);
    setenv("XDG_CACHE_HOME", xdg, 1);
    setenv("HOME", home, 1);
    char *cache = fm_file_cache_folder();
    assert_string_equal(cache, expected);
    free(cache);
}

static void test_cache_folder__follows_the_environment(void **state) {
    (void)state;
    char per_user[64];
    snprintf(per_user, sizeof per_user, "/tmp/flashmem-%lu", (unsigned long)getuid());
    assert_cache_folder("/own", "/xdg", "/home/u", "/own");
    assert_cache_folder("", "/xdg", "/home/u", "/xdg/flashmem");
    assert_cache_folder("", "relative", "/home/u", "/home/u/.cache/flashmem");
    assert_cache_folder("", "", "/home/u", "/home/u/.cache/flashmem");
    assert_cache_folder("", "", "", per_user);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_save_and_load__round_trip),
        FILE_TEST(test_read__continues_short_and_interrupted_calls),
        FILE_TEST(test_read__end_of_file_names_what_was_found),
        FILE_TEST(test_open__refuses_what_is_no_regular_file),
        FILE_TEST(test_load__refuses_above_its_limit),
        FILE_TEST(test_writer__shows_nothing_before_commit),
        FILE_TEST(test_writer__abort_leaves_the_old_file),
        FILE_TEST(test_save__full_disk_is_reported_and_cleaned_up),
        FILE_TEST(test_writer__full_device_is_disk_full),
        FILE_TEST(test_writer__failed_commit_leaves_nothing),
        FILE_TEST(test_writer__replaces_only_regular_files),
        FILE_TEST(test_writer__writes_through_links),
        FILE_TEST(test_make_folders__makes_parents),
        FILE_TEST(test_cache_folder__follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
