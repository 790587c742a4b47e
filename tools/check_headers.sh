#!/bin/sh
# Compiles each public header alone, as C99 and as C++11, with warnings as errors: check_headers.sh INCLUDE_DIR CC CXX
# CXX may be empty or absent from the system; exit code 77 says that C++ was skipped.
set -eu
include=$1
cc=$2
cxx=${3:-}
code=0
command -v "$cxx" >/dev/null 2>&1 || code=77
for header in "$include"/flashmem/*.h; do
    name=flashmem/$(basename "$header")
    echo "$name"
    echo "#include \"$name\"
#include \"$name\"
typedef int not_empty;" | "$cc" -std=c99 -Wall -Wextra -pedantic -Wstrict-prototypes -Werror -I"$include" -fsyntax-only -xc -
    [ $code = 77 ] || echo "#include \"$name\"
#include \"$name\"" | "$cxx" -std=c++11 -Wall -Wextra -pedantic -Werror -I"$include" -fsyntax-only -xc++ -
done
[ $code = 0 ] || echo "skipped: no C++ compiler '$cxx'"
exit $code
