#!/bin/sh
# Fails when a shared library exports a symbol that does not begin with flashmem_, or none at all:
# check_exports.sh NM LIBRARY...
set -eu
nm=$1
shift
for library in "$@"; do
    names=$("$nm" -D --defined-only "$library" | awk '{ print $NF }')
    if ! echo "$names" | grep -q '^flashmem_'; then
        echo "$library: exports nothing that begins with flashmem_"
        exit 1
    fi
    if echo "$names" | grep -v '^flashmem_'; then
        echo "$library: the names above must not be exported"
        exit 1
    fi
done
