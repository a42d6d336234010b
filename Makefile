# SPDX-License-Identifier: Apache-2.0
# `make help` says what there is. CMake does the work; see CMakePresets.json.

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
WERROR ?= OFF
PREFIX ?= /usr/local
CTEST_ARGS ?=

DEPS = sh scripts/install-deps.sh
# Configure and build a preset: $(call build,PRESET,CMAKE ARGUMENTS)
build = cmake --preset $(1) -DMK_WERROR=$(WERROR) $(2) && \
	cmake --build --preset $(1) -j $(JOBS)

MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := all
.PHONY: all run check asan tsan coverage fuzz bench install clean help

all:
	$(DEPS) run
	$(call build,dev)

# the program alone: whoever wants to see it does not wait for the tests
run:
	$(DEPS) run
	$(call build,dev) --target megakernel megakernel-worker
	sh scripts/run-demo.sh build/bin/megakernel

check:
	$(DEPS) check
	$(call build,dev)
	sh scripts/run-demo.sh build/bin/megakernel
	sh scripts/run-tests.sh dev -j $(JOBS) $(CTEST_ARGS)

asan tsan:
	$(DEPS) check
	$(call build,$@)
	sh scripts/run-tests.sh $@ -j $(JOBS) $(CTEST_ARGS)

coverage:
	$(DEPS) check
	$(call build,$@)
	sh scripts/run-tests.sh $@ -LE model -j $(JOBS) $(CTEST_ARGS)
	sh scripts/coverage.sh build-coverage

fuzz:
	$(DEPS) fuzz
	$(call build,$@)
	sh scripts/run-fuzz.sh build-fuzz

bench:
	$(DEPS) bench
	$(call build,dev)
	sh scripts/run-bench.sh build

install:
	$(DEPS) run
	$(call build,release,"-DCMAKE_INSTALL_PREFIX=$(PREFIX)")
	cmake --install build-release

clean:
	rm -rf build build-*

help:
	@echo 'make            build into build/'
	@echo 'make run        build, hash and search /usr/include, check the results'
	@echo 'make check      the same, then every test'
	@echo 'make asan       the tests under AddressSanitizer and UBSan'
	@echo 'make tsan       the tests under ThreadSanitizer'
	@echo 'make coverage   the tests, and the lines that they reach'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS (60), with clang'
	@echo 'make bench      the benchmark table'
	@echo 'make install    into PREFIX (/usr/local), below DESTDIR'
	@echo 'make clean      remove every build directory'
	@echo
	@echo 'JOBS=n  CTEST_ARGS="-R queue"  WERROR=ON'
