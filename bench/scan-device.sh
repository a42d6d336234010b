#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# scan-device.sh [PROGRAM [TREE [COPIES]]]: `megakernel scan` of large files on
# the engines `cuda` and `cpu`: a literal that is nowhere, 10 and 1,000
# literals, and a regular expression. The files are copies of all that is in
# TREE (/usr/include), one after the other, in /dev/shm, of some 200 MB; 8 if
# nothing else is asked for. Each row has the time and rate without the start,
# of the better of two runs, lines, and a checksum of what was printed, which
# has to be that of the other engine. Exit status 1: it is not.
set -u
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../build/bin/megakernel}
tree=${2:-/usr/include}
copies=${3:-8}
work=$(mktemp -d)
files=$(mktemp -d /dev/shm/scan.XXXXXX) || exit 1
trap 'rm -rf "$work" "$files"' EXIT
mkdir "$files/in"

find "$tree" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat >"$files/in/1"
for ((i = 2; i <= copies; i++)); do cp "$files/in/1" "$files/in/$i"; done
grep -ohaE '[A-Za-z_]{5,14}' "$files/in/1" | LC_ALL=C sort -u >"$work/all"
every=$(($(wc -l <"$work/all") / 1000))
awk -v n="$every" 'NR % n == 7 % n' "$work/all" | head -n 1000 >"$work/words"
awk 'NR % 100 == 3' "$work/words" >"$work/ten"
echo zqj_nowhere_xk >"$work/none"
echo "$copies files of $(wc -c <"$files/in/1") bytes"

# once ENGINE PATTERNS: "seconds MB/s lines checksum"
once()
{
	local patterns=(-F -f "$work/$2")

	[ "$2" != regex ] || patterns=(-E -e '[a-z_]+_t [a-z]+\(void\)')
	timeout -s KILL 60 "$program" scan --stats --engine "$1" \
		"${patterns[@]}" "$files/in" >"$files/out" 2>"$work/err" \
		</dev/null
	[ $? -le 1 ] || { head -n 1 "$work/err" >&2; return 1; }
	sed -n 's/^scan:.* \([0-9.]*\) s, \([0-9]*\) MB\/s.*/\1 \2/p' \
		"$work/err" | tr '\n' ' '
	wc -l <"$files/out" | tr '\n' ' '
	sed "s|^$files/in/||" "$files/out" | cksum | cut -d ' ' -f 1
}

wrong=0
printf '%-6s %-6s %9s %8s %9s %12s\n' engine what s MB/s lines checksum
for what in none ten words regex; do
	sums=
	for engine in cuda cpu; do
		best=$({ once $engine $what && once $engine $what; } |
			sort -n | head -n 1)
		[ -n "$best" ] || { wrong=1; continue; }
		# shellcheck disable=SC2086 # a row of words
		printf '%-6s %-6s %9s %8s %9s %12s\n' $engine $what $best
		sums="$sums ${best##* }"
	done
	# shellcheck disable=SC2086
	[ "$(printf '%s\n' $sums | sort -u | wc -l)" = 1 ] || {
		echo "$what: the engines differ"
		wrong=1
	}
done
exit $wrong
