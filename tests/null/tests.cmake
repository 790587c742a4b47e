fm_add_test(NAME test_null_runs SOURCES tests/null/test_null_runs.c tests/null/synthetic.c
    tests/run/faulty_reads.c LABELS null streaming)
fm_add_test(NAME test_null_failures SOURCES tests/null/test_null_failures.c tests/null/synthetic.c
    tests/run/faulty_reads.c LABELS null streaming)
fm_add_test(NAME test_null_memory SOURCES tests/null/test_null_memory.c tests/null/synthetic.c
    tests/run/overlap_pack.c LABELS null
    LINK_OPTIONS -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=posix_memalign)
fm_add_test(NAME test_null_overlap SOURCES tests/null/test_null_overlap.c tests/null/synthetic.c tests/run/overlap_pack.c
    tests/run/faulty_reads.c LABELS null streaming)
