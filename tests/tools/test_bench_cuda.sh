#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The baselines of `bench --engine cuda`, against a driver that only pretends:
# every call is made, checked and undone. ctest-timeout: 300
# ctest-once
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
command -v jq > /dev/null || { echo "no jq" >&2; exit 77; }

# without a driver: said so, and told by the exit status
if ! mk info --json | jq -e '[.engines[] | select(.name == "cuda" and
	.available)] | length > 0' > /dev/null; then
	status 2 "no driver" mk bench --engine cuda > got 2> err
	none got "no driver"
	has err "the engine cuda is not available: there is no CUDA driver" \
		"no driver"
	[ "$(wc -l < err)" -eq 1 ] || fail "no driver: $(cat err)"
fi

mkdir fake
${CC:-cc} -O1 -fPIC -shared -o fake/libcuda.so.1 "$here/fake_libcuda.c" || {
	echo "no compiler for the fake driver" >&2
	exit 77
}
cp fake/libcuda.so.1 fake/libnvrtc.so.13
cp fake/libcuda.so.1 fake/libnvrtc.so.14
# NVML would speak of another device
printf 'int nothing;\n' > nothing.c
${CC:-cc} -fPIC -shared -o fake/libnvidia-ml.so.1 nothing.c

fake() {
	LD_LIBRARY_PATH=$work/fake FAKE_BOOKS=$work/books.$$ \
		timeout 100 "$MEGAKERNEL" bench --engine cuda --quick "$@"
}
balanced() {
	[ "$(cut -d ' ' -f 1-2 books.$$)" = "held 0" ] ||
		fail "$1: $(cat books.$$)"
}

status 0 "baselines" fake --only launch,graph,copy --json --svg a.svg \
	> got 2> err
none err "baselines"
balanced "baselines"
jq -e '.device.name == "Fake GPU" and .device.cuda == "13.0" and
	.device.nvrtc == "13.0" and .device.multiprocessors == 4 and
	.device.compute_capability == "9.0" and .failed_sections == 0' < got \
	> /dev/null || fail "device: $(cat got)"
jq -e '(["launch.sync", "launch.spin", "launch.host", "launch.rate",
	"graph.1", "graph.16", "graph.256", "graph.4096", "graph.wide.1024",
	"copy.pinned", "copy.alloc"] - (.rows | map(select(.known).key))) ==
	[]' < got > /dev/null || fail "rows: $(cat got)"
# nothing of ours was measured, so nothing of ours was judged
jq -e '[.targets[].met] | length > 10 and all(. == null)' < got \
	> /dev/null || fail "targets"
[ "$(grep -c '<polyline' a.svg)" -eq 2 ] || fail "launch and graph are drawn"

status 0 "table" fake --only launch > got 2> err
has got "Fake GPU, 4 multiprocessors" "table"
has got "null kernel, synchronise the stream" "table"
has got "20 not measured" "table"

# "no cache" is none of NVRTC's either, which looks when it first compiles:
# that is before the first section
FAKE_CACHE=$work/cache
export FAKE_CACHE
unset CUDA_CACHE_DISABLE
status 0 "caches" fake --only launch > got 2> err
has cache "disable 1" "caches"
unset FAKE_CACHE

# the launches compute what they should; ours then find no engine
status 1 "saxpy" fake --only saxpy --json > got 2> err
balanced "saxpy"
jq -e '.failed_sections == 1 and ([.rows[] | select(.known).key] ==
	["saxpy.4k.launch", "saxpy.4k.graph", "saxpy.1m.launch",
	"saxpy.1m.graph"])' < got > /dev/null || fail "saxpy: $(cat got)"
jq -e '.rows[] | select(.key == "saxpy.failed") | .known == false and
	(.note | length > 10)' < got > /dev/null || fail "why saxpy failed"

# whatever fails is named, and what was held is given back
for symbol in cuMemHostAlloc cuLaunchKernel cuGraphCreate cuGraphLaunch \
	cuGraphAddKernelNode cuGraphInstantiateWithFlags cuMemAlloc_v2 \
	cuMemcpyDtoHAsync_v2; do
	FAKE_FAIL=$symbol
	export FAKE_FAIL
	status 1 "$symbol" fake --only launch,graph,copy --json > got 2> err
	has err "CUDA_ERROR_UNKNOWN" "$symbol"
	balanced "$symbol"
	jq -e '.failed_sections > 0 and ([.rows[] | select(.known | not)] |
		length) == .failed_sections' < got > /dev/null ||
		fail "$symbol: $(cat got)"
done
for symbol in cuInit cuDevicePrimaryCtxRetain cuStreamCreate \
	nvrtcCompileProgram cuModuleLoadData cuModuleGetFunction; do
	FAKE_FAIL=$symbol
	export FAKE_FAIL
	status 2 "$symbol" fake --only launch > got 2> err
	none got "$symbol"
	has err "the engine cuda is not available" "$symbol"
	balanced "$symbol"
done
unset FAKE_FAIL
finish
