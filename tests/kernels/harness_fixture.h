/* The device that a group of kernel tests shares, as cmocka group fixtures.  A kernel test's one file that opens it
 * includes this. */
#ifndef FM_TESTS_KERNELS_HARNESS_FIXTURE_H
#define FM_TESTS_KERNELS_HARNESS_FIXTURE_H

#include "tests/base/cmocka_setup.h"
#include "tests/kernels/harness.h"

static fm_harness *harness;

static int open_harness(void **state) {
    flashmem_error err = { 0 };
    (void)state;
    if (fm_harness_open(&harness, &err) != FLASHMEM_OK) return print_error("%s\n", err.message), 1;
    return 0;
}

static int close_harness(void **state) {
    (void)state;
    fm_harness_close(harness);
    return 0;
}

#endif
