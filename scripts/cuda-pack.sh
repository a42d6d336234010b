#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Collect what a machine with a GPU needs to run this tree's device programs,
# where it has none of the libraries that the build wants:
#
#	scripts/cuda-pack.sh DIR [BUILD]
#
# Builds in BUILD (default: DIR.build) and puts programs and the shared
# libraries that they need, but for the C library's own, into DIR.
# scripts/cuda-run.sh DIR runs them there.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:?usage: cuda-pack.sh DIR [BUILD]}
build=${2:-$dir.build}
jobs=${JOBS:-2}
tests="conformance_ops conformance_flow conformance_refusals
	conformance_modules conformance_work_flow conformance_work_graphs
	conformance_made conformance_scans io_requests io_stream"

cmake -S "$tree" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMK_WERROR=OFF \
	>/dev/null
targets="megakernel megakernel-worker megakernel-bench-stream"
for test in $tests; do
	targets="$targets test_$test"
done
# shellcheck disable=SC2086 # a list of words
cmake --build "$build" -j "$jobs" --target $targets >/dev/null

rm -rf "$dir"
mkdir -p "$dir/bin" "$dir/lib" "$dir/tests"
for program in megakernel megakernel-worker megakernel-bench-stream; do
	cp "$build/bin/$program" "$dir/bin/"
done
for test in $tests; do
	cp "$build/tests/test_$test" "$dir/tests/"
done
for program in smoke beside soak; do
	${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I"$tree/include" \
		"$tree/tests/cuda/$program.c" "$build/lib/libmegakernel.a" \
		-o "$dir/tests/$program" -lpthread -ldl -lm
done
cp "$tree/scripts/cuda-run.sh" "$tree/bench/scan-device.sh" "$dir/"
cp -R "$tree/include" "$dir/"
# what was packed, for the results
git -C "$tree" describe --always --dirty >"$dir/revision" 2>/dev/null ||
	echo unknown >"$dir/revision"

for program in "$dir"/bin/* "$dir"/tests/*; do
	ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'
done | sort -u | while read -r library; do
	case $(basename "$library") in
	libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|ld-linux*) ;;
	*) cp -L "$library" "$dir/lib/" ;;
	esac
done
strip "$dir"/bin/* "$dir"/tests/* 2>/dev/null || true
du -sh "$dir"
