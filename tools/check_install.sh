#!/bin/sh
# Installs a build into a temporary folder and uses it from outside, through pkg-config (shared and static) and
# find_package: check_install.sh BUILD_DIR CC HALF...      (HALF: run, compile)
set -eu
build=$1
cc=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >/dev/null
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
for half in "$@"; do
    cat >"$work/main.c" <<END
#include <flashmem/$half.h>
#include <string.h>
int main(void) { return strcmp(flashmem_status_name(FLASHMEM_BAD_PACK), "BAD_PACK"); }
END
    package=flashmem-$half
    # shellcheck disable=SC2046 # flags are words
    "$cc" "$work/main.c" $(pkg-config --cflags --libs "$package") -o "$work/shared"
    LD_LIBRARY_PATH="$prefix/lib" "$work/shared"
    # shellcheck disable=SC2046
    "$cc" "$work/main.c" $(pkg-config --cflags "$package") "$prefix/lib/libflashmem_$half.a" \
        $(pkg-config --libs --static "$package" | sed "s/-lflashmem_$half//") -o "$work/static"
    "$work/static"
    cat >"$work/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(use C)
find_package($package 0.1 REQUIRED)
add_executable(use_static main.c)
target_link_libraries(use_static flashmem::flashmem_$half)
add_executable(use_shared main.c)
target_link_libraries(use_shared flashmem::flashmem_${half}_shared)
END
    rm -rf "$work/build"
    cmake -S "$work" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
    cmake --build "$work/build" >/dev/null
    "$work/build/use_static"
    "$work/build/use_shared"
    echo "$package: pkg-config and find_package, static and shared"
done
