/* Embedded kernels are the files of src/kernels, and FLASHMEM_KERNEL_DIR replaces them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "kernels/embedded.h"
#include "tests/base/cmocka_setup.h"

static void test_embedded__equals_the_source_files(void **state) {
    (void)state;
    unsetenv("FLASHMEM_KERNEL_DIR");
    for (size_t i = 0; i < fm_embedded_file_count; i++) {
        const fm_embedded_file *file = &fm_embedded_files[i];
        char                    path[1024];
        void                   *data;
        size_t                  bytes;
        snprintf(path, sizeof path, "%s/src/kernels/%s", FM_SOURCE_DIR, file->name);
        assert_int_equal(fm_file_load(path, 1 << 20, &data, &bytes, NULL), FLASHMEM_OK);
        assert_int_equal(file->bytes, bytes);
        assert_memory_equal(file->data, data, bytes + 1); /* the final NUL too */
        assert_true(file->hash == fm_hash(data, bytes));
        assert_ptr_equal(fm_embedded_find(file->name), file);
        free(data);
    }
    assert_null(fm_embedded_files[fm_embedded_file_count].name);
    assert_null(fm_embedded_find("no_such_kernel.cl"));
}

static void test_find__reads_the_kernel_folder_each_time(void **state) {
    (void)state;
    char folder[] = "/tmp/fm-test-embedded-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/k.cl", folder);
    setenv("FLASHMEM_KERNEL_DIR", folder, 1);
    assert_null(fm_embedded_find("k.cl"));
    assert_int_equal(fm_file_save(path, "one", 3, NULL), FLASHMEM_OK);
    const fm_embedded_file *one = fm_embedded_find("k.cl");
    assert_non_null(one);
    assert_string_equal(one->data, "one");
    assert_ptr_equal(fm_embedded_find("k.cl"), one);
    assert_int_equal(fm_file_save(path, "two!", 4, NULL), FLASHMEM_OK);
    const fm_embedded_file *two = fm_embedded_find("k.cl");
    assert_string_equal(two->data, "two!");
    assert_int_equal(two->bytes, 4);
    assert_true(two->hash == fm_hash("two!", 4));
    assert_string_equal(one->data, "one"); /* still lent */
    assert_null(fm_embedded_find("../k.cl"));
    unlink(path);
    assert_null(fm_embedded_find("k.cl"));
    rmdir(folder);
    unsetenv("FLASHMEM_KERNEL_DIR");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded__equals_the_source_files),
        cmocka_unit_test(test_find__reads_the_kernel_folder_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
