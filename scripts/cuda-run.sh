#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run the device programs on a machine with a GPU:
#
#	scripts/cuda-run.sh DIR LOGS [smoke] [conformance] [tuning] [bench]
#
# DIR is what scripts/cuda-pack.sh made; logs go to LOGS. Nothing here can
# hang: every program has a time limit and is killed at its end, with all that
# it started. Without names: smoke and conformance.
set -u

dir=$(cd "${1:?usage: cuda-run.sh DIR LOGS [part ...]}" && pwd)
logs=${2:?usage: cuda-run.sh DIR LOGS [part ...]}
shift 2
[ $# -gt 0 ] || set -- smoke conformance
mkdir -p "$logs"
logs=$(cd "$logs" && pwd)

export LD_LIBRARY_PATH="$dir/lib:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}"
export MEGAKERNEL_WORKER="$dir/bin/megakernel-worker"
export XDG_CACHE_HOME="$logs/cache"
failed=

# one NAME SECONDS PROGRAM [ARGUMENT ...]
one()
{
	name=$1 seconds=$2
	shift 2
	begin=$(date +%s)
	setsid timeout -s KILL "$seconds" "$@" >"$logs/$name.log" 2>&1 \
		</dev/null
	status=$?
	echo "== $name: status $status, $(($(date +%s) - begin)) s"
	[ $status -eq 0 ] || [ $status -eq 77 ] || failed="$failed $name"
}

smoke()
{
	nvidia-smi -L 2>/dev/null
	one smoke-none 100 "$dir/tests/smoke" cuda none
	cat "$logs/smoke-none.log"
	one smoke-process 100 "$dir/tests/smoke" cuda process
	cat "$logs/smoke-process.log"
	one smoke-132 60 "$dir/tests/smoke" cuda none 132 quick
	grep -v '^ok' "$logs/smoke-132.log"
}

conformance()
{
	for test in ops flow refusals; do
		one "conformance-$test" 120 \
			"$dir/tests/test_conformance_$test"
		grep -E 'FAILED|PASSED|ERROR|LINE|skipped|cuda device' \
			"$logs/conformance-$test.log" | head -40
	done
}

# The settings that only speed depends on, one at a time.
tuning()
{
	for t in window=256 window=4096 batch=4 batch=1 peek=1 peek=4 \
		 floor=16 nap_ns=128 nap_ns=2048; do
		MEGAKERNEL_CUDA_TUNING=$t
		export MEGAKERNEL_CUDA_TUNING
		one "tuning-$t" 60 "$dir/tests/smoke" cuda none 0 quick
		echo "-- $t"
		grep -E 'one slot|in flight|producers|slots, submit|queues' \
			"$logs/tuning-$t.log"
	done
	unset MEGAKERNEL_CUDA_TUNING
}

bench()
{
	one bench 300 "$dir/bin/megakernel" bench --engine cuda
	cat "$logs/bench.log"
}

for part; do
	case $part in
	smoke|conformance|tuning|bench) $part ;;
	*) echo "cuda-run.sh: no part is called $part" >&2; exit 2 ;;
	esac
done
rm -rf "$logs/cache"
if [ -n "$failed" ]; then
	echo "failed:$failed"
	exit 1
fi
