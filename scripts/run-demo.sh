#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-demo.sh PROGRAM [DIRECTORY]: the main job on real input. Hash every file
# below /usr/include through the resident CPU engine, show what it cost, and
# compare every line with sha256sum.
set -eu

program=$1
directory=${2:-/usr/include}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

echo "\$ $program map sha256 --stats $directory"
status=0
"$program" map sha256 --stats "$directory" \
	>"$work/ours" 2>"$work/stats" || status=$?
if [ "$status" -ne 0 ]; then
	cat "$work/stats" >&2
	echo "run-demo: exit status $status" >&2
	exit 1
fi
lines=$(wc -l <"$work/ours")
echo "... $((lines)) lines, the last three:"
tail -n 3 "$work/ours"
cat "$work/stats"

find "$directory" -type f -print0 | LC_ALL=C sort -z |
	xargs -0 sha256sum >"$work/theirs"
if [ "$lines" -eq 0 ]; then
	echo "run-demo: no file below $directory" >&2
	exit 1
fi
if ! cmp -s "$work/ours" "$work/theirs"; then
	echo "run-demo: differs from sha256sum (< megakernel):" >&2
	diff "$work/ours" "$work/theirs" | head -n 20 >&2
	exit 1
fi
echo "all $((lines)) lines equal those of sha256sum"
