set(FM_KERNELS_CL)
set(FM_KERNELS_SOURCES
    src/kernels/embedded.c)
