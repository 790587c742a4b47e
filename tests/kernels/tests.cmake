# Kernel tests link the system's OpenCL loader; they are left out where it is not there.
find_library(FM_OPENCL_LIBRARY OpenCL)
if(FM_OPENCL_LIBRARY)
    set(kernel_test tests/kernels/harness.c tests/kernels/case.c)
    fm_add_test(NAME test_matmul SOURCES tests/kernels/test_matmul.c ${kernel_test} LIBS flashmem_run ${FM_OPENCL_LIBRARY}
        LABELS kernels)
    fm_add_test(NAME test_conv SOURCES tests/kernels/test_conv.c ${kernel_test} LIBS flashmem_run ${FM_OPENCL_LIBRARY}
        LABELS kernels)
    set(rows_test tests/kernels/harness.c tests/kernels/rows_case.c)
    foreach(family elementwise norm softmax attention reduce pool gather)
        fm_add_test(NAME test_${family} SOURCES tests/kernels/test_${family}.c ${rows_test}
            LIBS flashmem_run ${FM_OPENCL_LIBRARY} LABELS kernels)
    endforeach()
endif()
