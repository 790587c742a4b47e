fm_add_test(NAME test_reader SOURCES tests/run/test_reader.c tests/run/faulty_reads.c LABELS run streaming)
