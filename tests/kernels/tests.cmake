# Kernel tests link the system's OpenCL loader; they are left out where it is not there.
find_library(FM_OPENCL_LIBRARY OpenCL)
