# Micro-benchmarks, built beside the tests.
find_library(FM_OPENCL_LIBRARY OpenCL)
if(FM_OPENCL_LIBRARY)
    fm_add_program(NAME kernels FOLDER bench SOURCES bench/kernels.c tests/kernels/harness.c LIBS flashmem_compile ${FM_OPENCL_LIBRARY})
endif()

if(JANSSON_FOUND)
    fm_add_program(NAME policies FOLDER bench SOURCES bench/policies.c cli/device_file.c cli/console.c
        LIBS flashmem_compile PkgConfig::JANSSON)
endif()
fm_add_program(NAME simulator_error FOLDER bench SOURCES bench/simulator_error.c LIBS flashmem_run)
