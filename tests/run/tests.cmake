fm_add_test(NAME test_reader SOURCES tests/run/test_reader.c tests/run/faulty_reads.c LABELS run streaming)
fm_add_test(NAME test_caches SOURCES tests/run/test_caches.c LABELS run)
fm_add_test(NAME test_opencl SOURCES tests/run/test_opencl.c tests/run/overlap_pack.c LABELS run opencl)
fm_add_program(NAME make_overlap FOLDER tests SOURCES tests/run/make_overlap.c tests/run/overlap_pack.c)

# The same on a device that does not see host memory by itself and checks every access: oclgrind.
find_file(FM_OCLGRIND_LIBRARY liboclgrind-rt.so PATHS /usr/lib/oclgrind /usr/local/lib/oclgrind)
if(TARGET test_opencl AND FM_OCLGRIND_LIBRARY AND NOT FM_SANITIZE)
    add_test(NAME test_opencl_oclgrind COMMAND test_opencl)
    set_tests_properties(test_opencl_oclgrind PROPERTIES LABELS "run;opencl" TIMEOUT 1200
        ENVIRONMENT "FLASHMEM_OPENCL=${FM_OCLGRIND_LIBRARY}")
endif()
