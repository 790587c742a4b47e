fm_add_test(NAME test_error SOURCES tests/base/test_error.c LABELS base)
fm_add_test(NAME test_arena SOURCES tests/base/test_arena.c LABELS base LINK_OPTIONS -Wl,--wrap=calloc)
fm_add_test(NAME test_half SOURCES tests/base/test_half.c LABELS base)
fm_add_test(NAME test_hash SOURCES tests/base/test_hash.c LABELS base)
fm_add_test(NAME test_file SOURCES tests/base/test_file.c LABELS base
    LINK_OPTIONS -Wl,--wrap=pread -Wl,--wrap=pwrite)
fm_add_test(NAME test_embedded SOURCES tests/base/test_embedded.c LABELS base)
