set(FM_KERNELS_CL
    src/kernels/math.clh)
set(FM_KERNELS_SOURCES
    src/kernels/embedded.c)
