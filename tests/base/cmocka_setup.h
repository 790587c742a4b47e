/* cmocka with the headers it wants before it.  Any test may include this. */
#ifndef FM_TESTS_CMOCKA_SETUP_H
#define FM_TESTS_CMOCKA_SETUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
