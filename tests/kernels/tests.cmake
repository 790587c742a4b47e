# Kernel tests link the system's OpenCL loader; they are left out where it is not there.
find_library(FM_OPENCL_LIBRARY OpenCL)
find_program(FM_OCLGRIND oclgrind)
if(FM_OPENCL_LIBRARY)
    set(kernel_test tests/kernels/harness.c tests/kernels/case.c)
    fm_add_test(NAME test_matmul SOURCES tests/kernels/test_matmul.c ${kernel_test} LIBS flashmem_run ${FM_OPENCL_LIBRARY}
        LABELS kernels)
    fm_add_test(NAME test_conv SOURCES tests/kernels/test_conv.c ${kernel_test} LIBS flashmem_run ${FM_OPENCL_LIBRARY}
        LABELS kernels)
    set(rows_test tests/kernels/harness.c tests/kernels/rows_case.c)
    foreach(family elementwise norm softmax attention reduce pool gather load)
        fm_add_test(NAME test_${family} SOURCES tests/kernels/test_${family}.c ${rows_test}
            LIBS flashmem_run ${FM_OPENCL_LIBRARY} LABELS kernels)
        # Small cases again where every access is checked and work-items are compared for races.
        if(FM_OCLGRIND AND TARGET test_${family} AND NOT FM_SANITIZE)
            add_test(NAME test_${family}_oclgrind COMMAND ${FM_OCLGRIND} --data-races $<TARGET_FILE:test_${family}>)
            set_tests_properties(test_${family}_oclgrind PROPERTIES LABELS "kernels;oclgrind" TIMEOUT 1200
                ENVIRONMENT "FLASHMEM_TEST_SMALL=1;FLASHMEM_TEST_DEVICE=Oclgrind"
                FAIL_REGULAR_EXPRESSION "Invalid (read|write);data race;OCLGRIND FATAL")
        endif()
    endforeach()
endif()

fm_add_test(NAME test_loops SOURCES tests/kernels/test_loops.c LIBS flashmem_run LABELS kernels)
