#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run the device programs on a machine with a GPU:
#
#	scripts/cuda-run.sh DIR LOGS [PART ...]
#
# DIR is what scripts/cuda-pack.sh made. LOGS gets a text for every program,
# with command, date, device and driver on top; results.json with the same and
# every exit status; bench.json, bench.svg and soak-*.json.
#
# Parts, and how long they take on an H200 (limits are two to three times
# that): smoke (45 s), conformance (180), soak (60), memcheck (40), racecheck
# (40), neighbour (100), map (5), chaos (190), bench (110); default: all of
# these, about thirteen minutes, of which the kernel's compilations are five
# (chaos has a cache of its own). And, when asked for: stream and scan (files
# through a stream, and searched, 15 each), beside (the caller's own memory and
# context, 15), tuning, quick (a short bench, 30), sanitize (memcheck and
# racecheck of every operation, 150).
#
# $MEGAKERNEL_RUN_SECONDS is another limit for every program;
# $MEGAKERNEL_RUN_TESTS are the programs of conformance, if not all shall run.
#
# Nothing here can hang: every program has a time limit and is killed at its
# end, with all that it started. Exit status 1: something failed; a program
# that is not there or says that it cannot run here is told as skipped.
set -u

dir=$(cd "${1:?usage: cuda-run.sh DIR LOGS [part ...]}" && pwd)
logs=${2:?usage: cuda-run.sh DIR LOGS [part ...]}
shift 2
[ $# -gt 0 ] || set -- smoke conformance soak memcheck racecheck neighbour \
	map chaos bench
mkdir -p "$logs"
logs=$(cd "$logs" && pwd)

export LD_LIBRARY_PATH="$dir/lib:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}"
export MEGAKERNEL_WORKER="$dir/bin/megakernel-worker"
export XDG_CACHE_HOME="$logs/cache"
[ ! -d "$dir/include" ] || export MEGAKERNEL_INCLUDE="$dir/include"
failed=
date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null |
	head -n 1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader \
	2>/dev/null | head -n 1)
revision=$(cat "$dir/revision" 2>/dev/null || echo unknown)
: >"$logs/results.parts"

# one NAME SECONDS PROGRAM [ARGUMENT ...]
one()
{
	name=$1 seconds=${MEGAKERNEL_RUN_SECONDS:-$2}
	shift 2
	begin=$(date +%s)
	# the paths of this machine say nothing to a reader
	shown=$(echo "$*" | sed "s|$dir/||g; s|$logs/||g; s|^/[^ ]*/||")
	{
		echo "# SPDX-License-Identifier: Apache-2.0"
		echo "# $shown"
		echo "# $(date -u +%Y-%m-%dT%H:%M:%SZ), ${device:-no device}," \
			"driver ${driver:-unknown}, revision $revision"
	} >"$logs/$name.log"
	# there, so that names of files in commands mean the same anywhere
	(cd "$logs" && exec setsid timeout -s KILL "$seconds" "$@") \
		>>"$logs/$name.log" 2>&1 </dev/null
	status=$?
	took=$(($(date +%s) - begin))
	verdict=failed
	case $status in
	0) verdict=passed ;;
	77) verdict=skipped ;;
	137) verdict="failed, not done in $seconds s" ;;
	esac
	echo "== $name: $verdict (status $status, $took s)"
	printf '{"name": "%s", "command": "%s", "status": %d, ' "$name" \
		"$shown" "$status" >>"$logs/results.parts"
	printf '"seconds": %d, "limit": %d, "verdict": "%s"}\n' "$took" \
		"$seconds" "$verdict" >>"$logs/results.parts"
	[ $status -eq 0 ] || [ $status -eq 77 ] || failed="$failed $name"
}

smoke()
{
	one smoke-none 60 "$dir/tests/smoke" cuda none
	cat "$logs/smoke-none.log"
	one smoke-process 25 "$dir/tests/smoke" cuda process
	grep -Ev '^(ok|     )' "$logs/smoke-process.log"
}

# On the device; what the CPU engine says to each case is the measure.
conformance()
{
	MK_CONFORM_ONLY=${MK_CONFORM_ONLY:-cuda/*}
	export MK_CONFORM_ONLY
	for test in ${MEGAKERNEL_RUN_TESTS:-conformance_ops conformance_flow \
		conformance_refusals conformance_modules conformance_work_flow \
		conformance_made conformance_scans io_requests io_stream \
		conformance_work_graphs}; do
		one "$test" 120 "$dir/tests/test_$test"
		# no case at all is no failure to the program
		grep -q 'OK \] cuda/' "$logs/$test.log" || {
			echo "   no case ran on the device"
			failed="$failed $test-empty"
		}
		grep -E 'FAILED|PASSED|ERROR|LINE|skipped|cuda device' \
			"$logs/$test.log" | head -n 20
	done
}

# A billion slots, most of them with the engine in this process.
soak()
{
	one soak-none 40 "$dir/tests/soak" --isolation none --slots 800000000 \
		--seconds 32 --queues 64 --groups 7 --producers 2 --json
	one soak-process 30 "$dir/tests/soak" --isolation process \
		--slots 400000000 --seconds 22 --queues 64 --groups 7 \
		--producers 2 --json
	for mode in none process; do
		grep '^{' "$logs/soak-$mode.log" >"$logs/soak-$mode.json"
		grep -v '^#' "$logs/soak-$mode.log" | tail -n 12
	done
}

sanitizer()
{
	for at in "$(command -v compute-sanitizer)" \
		/usr/local/cuda/bin/compute-sanitizer \
		/usr/local/cuda/compute-sanitizer/compute-sanitizer \
		/opt/nvidia/compute-sanitizer/compute-sanitizer; do
		if [ -n "$at" ] && [ -x "$at" ]; then
			echo "$at"
			return 0
		fi
	done
	return 1
}

# checked TOOL SECONDS SLOTS: a bounded run of the soak under one tool.
checked()
{
	if ! at=$(sanitizer); then
		echo "== $1: skipped, there is no compute-sanitizer here"
		return
	fi
	one "$1" "$2" "$at" --tool "$1" --error-exitcode 9 \
		--print-limit 40 "$dir/tests/soak" --isolation none \
		--slots "$3" --seconds $(($2 - 20)) --queues 4 --groups 1 \
		--producers 2
	grep -E '=====|WRONG|right|slots' "$logs/$1.log" | head -n 40
}

# planted TOOL WHAT: the tool has to find a mistake that a handler makes.
planted()
{
	at=$(sanitizer) || return
	one "$1-planted" 60 "$at" --tool "$1" --error-exitcode 9 \
		--print-limit 4 "$dir/tests/soak" --isolation none \
		--slots 1000 --seconds 5 --plant "$2"
	failed=${failed% "$1"-planted} # whatever its status was
	# the handler's name, so that nothing else is taken for it
	if grep -q "=====.*mk_run_plant_$2" "$logs/$1-planted.log"; then
		echo "   the planted mistake was found"
	else
		echo "   the planted mistake was NOT found: $1 proves nothing"
		failed="$failed $1-planted"
	fi
}

memcheck()
{
	checked memcheck 30 200000
	planted memcheck memory
}

racecheck()
{
	checked racecheck 30 50000
	planted racecheck race
}

# With more time: every built-in operation too.
sanitize()
{
	at=$(sanitizer) || {
		echo "== sanitize: skipped, there is no compute-sanitizer"
		return
	}
	for tool in memcheck racecheck; do
		one "$tool-ops" 150 "$at" --tool "$tool" --error-exitcode 9 \
			--print-limit 40 "$dir/tests/test_conformance_ops"
		grep -E '=====|FAILED|PASSED' "$logs/$tool-ops.log" |
			head -n 40
	done
}

neighbour()
{
	if "$dir/bin/megakernel" neighbour --help >/dev/null 2>&1; then
		one neighbour 160 "$dir/bin/megakernel" neighbour
		cat "$logs/neighbour.log"
	else
		echo "== neighbour: skipped, this program has no such command"
	fi
}

# The settings that only speed depends on, one at a time.
tuning()
{
	for t in window=64 window=512 batch=4 batch=1 streak=0 scouts=32 \
		 floor=16 nap_ns=128 nap_ns=2048; do
		MEGAKERNEL_CUDA_TUNING=$t
		export MEGAKERNEL_CUDA_TUNING
		one "tuning-$(echo "$t" | tr = -)" 60 "$dir/tests/smoke" cuda \
			none 0 quick
		echo "-- $t"
		grep -E 'one slot|in flight|producers|slots, submit|queues' \
			"$logs/tuning-$(echo "$t" | tr = -).log"
	done
	unset MEGAKERNEL_CUDA_TUNING
}

# The caller's own memory, context and stream.
beside()
{
	one beside 30 "$dir/tests/beside"
	cat "$logs/beside.log"
}

bench()
{
	one bench 300 "$dir/bin/megakernel" bench --engine cuda \
		--save bench.json --svg bench.svg
	cat "$logs/bench.log"
}

# 20,000 files of up to 40,000 bytes: the same lines as sha256sum.
map()
{
	mkdir -p "$logs/tree"
	awk -v dir="$logs/tree" 'BEGIN {
		srand(11)
		for (i = 0; i < 20000; i++) {
			file = sprintf("%s/%05d", dir, i)
			n = int(rand() * rand() * 20)
			printf "%d", i > file
			for (k = 0; k < n; k++)
				printf "%2000d\n", i * k > file
			close(file)
		}
	}'
	(cd "$logs" && sha256sum tree/* >map-want)
	for mode in none process; do
		one "map-$mode" 60 "$dir/bin/megakernel" map sha256 \
			--engine cuda --isolation "$mode" tree
		# the order of answers is not that of the files
		grep -v '^#' "$logs/map-$mode.log" | sort -k 2 |
			cmp -s - "$logs/map-want" &&
			echo "   20,000 lines as sha256sum's" || {
			echo "   not the lines of sha256sum"
			failed="$failed map-$mode-differs"
		}
		rm -f "$logs/map-$mode.log"
	done
	rm -rf "$logs/tree" "$logs/map-want"
}

chaos()
{
	mkdir -p "$logs/evidence"
	one chaos 330 "$dir/bin/megakernel" chaos --engine cuda --seed 11 \
		--faults 210 --seconds 150 --hang-ms 400 --evidence evidence \
		--kinds trap,illegal,hang,sigkill,restart,descriptors,socket
	cat "$logs/chaos.log"
	# what the endless loop left behind
	echo "   $(cat "$logs"/evidence/*.txt | grep -c '^hang: ') hangs in" \
		"$(find "$logs/evidence" -name '*.txt' | wc -l) records"
	record=$(grep -l '^hang: handler chaos_hang' "$logs"/evidence/*.txt |
		head -n 1)
	if [ -n "$record" ]; then
		record=${record##*/}
		one hang 10 "$dir/bin/megakernel" postmortem \
			"evidence/${record%.txt}.json"
		cat "$logs/hang.log"
	else
		echo "   no record of evidence names a hang"
		failed="$failed chaos-evidence"
	fi
}

# Files from the page cache, and large ones searched by both engines.
stream()
{
	one stream 60 "$dir/bin/megakernel-bench-stream" -e cuda -m 2048 -r 3
	cat "$logs/stream.log"
}

scan()
{
	one scan 60 bash "$dir/scan-device.sh" "$dir/bin/megakernel"
	cat "$logs/scan.log"
}

quick()
{
	one bench-quick 60 "$dir/bin/megakernel" bench --engine cuda --quick \
		--save bench-quick.json
	cat "$logs/bench-quick.log"
}

write_results()
{
	echo '{'
	printf '  "date": "%s",\n  "device": "%s",\n' "$date" "$device"
	printf '  "driver": "%s",\n  "revision": "%s",\n' "$driver" \
		"$revision"
	echo '  "runs": ['
	sed 's/^/    /; $!s/$/,/' "$logs/results.parts"
	echo '  ]'
	echo '}'
}

for part; do
	case $part in
	smoke | conformance | soak | memcheck | racecheck | sanitize | \
		neighbour | map | chaos | beside | tuning | bench | quick | \
		stream | scan)
		$part ;;
	*) echo "cuda-run.sh: no part is called $part" >&2; exit 2 ;;
	esac
done
write_results >"$logs/results.json"
rm -rf "$logs/cache" "$logs/results.parts"
if [ -n "$failed" ]; then
	echo "failed:$failed"
	exit 1
fi
