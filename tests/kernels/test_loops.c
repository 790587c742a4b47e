/* The table of loops and the kernels' sources name the same entry points. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kernels/embedded.h"
#include "kernels/loops.h"
#include "tests/base/cmocka_setup.h"

/* Calls each for every "__kernel void NAME(" of the sources. */
static void each_entry(void (*each)(const char *name, void *user), void *user) {
    static const char mark[] = "__kernel void ";
    for (size_t f = 0; f < fm_embedded_file_count; f++)
        for (const char *at = (const char *)fm_embedded_files[f].data; (at = strstr(at, mark));) {
            char   name[64];
            size_t length = strcspn(at += strlen(mark), "(");
            assert_true(length > 0 && length < sizeof name);
            memcpy(name, at, length);
            name[length] = '\0';
            each(name, user);
        }
}

static void expect_listed(const char *name, void *user) {
    (void)user;
    if (!fm_loops_of(name)) fail_msg("kernel '%s' has no line in loops.c", name);
}

static void compare(const char *name, void *user) {
    const char **wanted = user;
    if (*wanted && strcmp(name, *wanted) == 0) *wanted = NULL;
}

static void test_loops__every_kernel_is_listed(void **state) {
    (void)state;
    each_entry(expect_listed, NULL);
}

static void test_loops__every_line_is_a_kernel(void **state) {
    (void)state;
    for (uint32_t i = 0; i < fm_loops_count; i++) {
        const fm_loops *loops = &fm_loops_table[i];
        const char     *wanted = loops->entry;
        each_entry(compare, &wanted);
        if (wanted) fail_msg("loops.c: no kernel '%s'", wanted);
        assert_ptr_equal(fm_loops_of(loops->entry), loops); /* and none twice */
        assert_true(loops->rows > 0 && loops->columns > 0 && loops->order < FM_LOOP_ORDERS);
    }
    assert_null(fm_loops_of("matmul"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loops__every_kernel_is_listed),
        cmocka_unit_test(test_loops__every_line_is_a_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
