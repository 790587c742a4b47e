fm_add_test(NAME test_null_runs SOURCES tests/null/test_null_runs.c tests/null/synthetic.c LABELS null streaming)
