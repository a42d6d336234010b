#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-fuzz.sh BUILD [NAME...]: run each fuzz target, or those named, for
# FUZZ_SECONDS (60). What it finds new stays in BUILD/corpus/; an input that
# fails stays in BUILD and ends the run with status 1.
set -eu

build=$(cd "$1" && pwd)
shift
source=$(cd "$(dirname "$0")/.." && pwd)
seconds=${FUZZ_SECONDS:-60}
ran=0

for target in "$build"/fuzz/fuzz_*; do
	[ -x "$target" ] || continue
	name=${target##*/fuzz_}
	if [ $# -gt 0 ]; then
		case " $* " in *" $name "*) ;; *) continue ;; esac
	fi
	echo "== $name, $seconds s"
	mkdir -p "$build/corpus/$name"
	(cd "$build" && "$target" -max_total_time="$seconds" \
		-timeout=25 -rss_limit_mb=4096 -print_final_stats=1 \
		"corpus/$name" "$source/fuzz/corpus/$name")
	ran=$((ran + 1))
done
if [ "$ran" -eq 0 ]; then
	echo "run-fuzz: no target in $build/fuzz" >&2
	exit 1
fi
echo "$ran targets ran $seconds s each without a finding"
