#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-instructions.sh BUILD: count what one slot costs the caller. Get, fill
# and publish may take 40 instructions a slot and reap 30, in batches of 32;
# the figures for single slots are printed beside them. A slot of a recorded
# batch may take 40, and 60 if it waits for another and is waited for.
set -eu

build=$(cd "${1:-build}" && pwd)
slots=32000
publish_most=40
reap_most=30
batch_most=40
chain_most=60
failed=0

if ! command -v valgrind >/dev/null; then
	echo "check-instructions: valgrind is not there: skipped"
	exit 77
fi
if [ "$(uname -m)" != x86_64 ]; then
	echo "check-instructions: the limits are those of x86-64: skipped"
	exit 77
fi
cmake --build "$build" --target gate_instructions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# count FUNCTION MODE BATCH: instructions a slot, in tenths
count()
{
	valgrind --tool=callgrind --callgrind-out-file="$work/out" \
		--toggle-collect="$1" --quiet \
		"$build/tests/gate_instructions" "$2" "$3" "$slots" \
		>"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
	awk -v n="$slots" '/^(summary|totals):/ { sum = $2 }
		END { if (!sum) exit 1; printf "%d\n", sum * 10 / n }' \
		"$work/out"
}

# gate NAME FUNCTION MODE MOST
gate()
{
	batch=$(count "$2" "$3" 32)
	single=$(count "$2" "$3" 1)
	printf '%-22s %3d.%d in batches of 32 (at most %d), %3d.%d alone\n' \
		"$1" $((batch / 10)) $((batch % 10)) "$4" \
		$((single / 10)) $((single % 10))
	if [ "$batch" -gt $(($4 * 10)) ]; then
		failed=1
	fi
}

echo "instructions a slot:"
gate 'get, fill and publish' gate_publish publish "$publish_most"
gate 'reap' gate_reap reap "$reap_most"
gate 'recorded batch' gate_batch batch "$batch_most"
gate 'recorded chain' gate_batch chain "$chain_most"
if [ "$failed" -ne 0 ]; then
	echo "check-instructions: over the limit" >&2
fi
exit "$failed"
