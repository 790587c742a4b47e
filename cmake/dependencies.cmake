# External libraries.  Each is optional at configure time; what needs a missing one is left out with a message.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig)

if(PKG_CONFIG_FOUND)
    pkg_check_modules(JANSSON IMPORTED_TARGET jansson)
    pkg_check_modules(MINIZIP IMPORTED_TARGET minizip)
    pkg_check_modules(PROTOBUF_C IMPORTED_TARGET libprotobuf-c)
    pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
endif()
find_program(FM_PROTOC_C protoc-c)

# liburing only as an archive: the run library must not depend on it at run time.
find_library(FM_LIBURING_ARCHIVE NAMES liburing.a)
find_path(FM_LIBURING_INCLUDE liburing.h)
if(FM_LIBURING_ARCHIVE AND FM_LIBURING_INCLUDE)
    set(FM_HAVE_LIBURING ON)
else()
    set(FM_HAVE_LIBURING OFF)
    message(STATUS "liburing.a not found: reads will use threads")
endif()

find_path(FM_XXHASH_INCLUDE xxhash.h)
if(NOT FM_XXHASH_INCLUDE)
    message(FATAL_ERROR "xxhash.h not found (Debian: libxxhash-dev)")
endif()
find_path(FM_OPENCL_INCLUDE CL/cl.h)
