fm_add_test(NAME test_tensor SOURCES tests/contract/test_tensor.c LABELS contract)
fm_add_test(NAME test_program SOURCES tests/contract/test_program.c LABELS contract)
fm_add_test(NAME test_pack SOURCES tests/contract/test_pack.c LABELS contract
    LINK_OPTIONS -Wl,--wrap=fallocate -Wl,--wrap=pwrite)
fm_add_test(NAME test_overlap SOURCES tests/contract/test_overlap.c LABELS contract LINK_OPTIONS -Wl,--wrap=pwrite)
