fm_add_test(NAME test_reader SOURCES tests/run/test_reader.c tests/run/faulty_reads.c LABELS run streaming)
fm_add_test(NAME test_caches SOURCES tests/run/test_caches.c LABELS run)
fm_add_test(NAME test_opencl SOURCES tests/run/test_opencl.c LABELS run opencl)
