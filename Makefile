# make            build build/release
# make demo       set up, build, run the semantic search example
# make test       set up, build, and run every test
# make install    install to PREFIX (/usr/local), below DESTDIR
# make models     complete the models that tests run, in build/models; unpack all of the zoo's in build/skeletons
# make clean      remove build outputs; build/venv, build/models and build/skeletons stay
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
PYTHON = build/venv/bin/python
# ON: a file or test that is listed and missing stops the build (make test).
STRICT ?= OFF
MODELS = $(patsubst %,tests/zoo/%.onnx.xz,gptn-s minilm-l6 minilm-l6-dynamic resnet50 vit-b16)
SKELETONS = $(sort $(wildcard tests/zoo/*.onnx.xz))

.NOTPARALLEL:
.PHONY: all setup models demo test test-release test-asan test-tsan pytest install clean \
    build-release build-asan build-tsan

all: build-release

build-release build-asan build-tsan: build-%:
	cmake --preset $* -DFM_STRICT=$(STRICT) >/dev/null
	cmake --build --preset $* -j $(JOBS)

setup:
	tools/setup.sh

models: setup
	$(PYTHON) tools/zoo.py build/models $(MODELS)
	$(PYTHON) tools/zoo.py --skeleton build/skeletons $(SKELETONS)

demo: models
	$(MAKE) build-release
	examples/semantic_search/demo.sh

test: setup models
	$(MAKE) STRICT=ON test-release test-asan test-tsan
	$(MAKE) pytest

test-release: build-release
	ctest --test-dir build/release --output-on-failure --no-tests=error

# What OpenCL drivers leak or race is not ours: suppressions name their libraries, and threads are checked without them.
test-asan: build-asan
	LSAN_OPTIONS=suppressions=$(CURDIR)/tools/lsan.supp ctest --test-dir build/asan --output-on-failure --no-tests=error

test-tsan: build-tsan
	TSAN_OPTIONS="suppressions=$(CURDIR)/tools/tsan.supp halt_on_error=1" \
	ctest --test-dir build/tsan --output-on-failure --no-tests=error -L 'run|null' -LE opencl

pytest:
	$(PYTHON) -m pytest -q tests

install: build-release
	DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

clean:
	rm -rf build/release build/debug build/asan build/ubsan build/tsan build/aarch64
