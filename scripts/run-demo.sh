#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-demo.sh PROGRAM [DIRECTORY]: the main jobs on real input, through the
# resident CPU engine: hash every file below /usr/include and compare with
# sha256sum; then find words and expressions in them, compare with grep, and
# show matches, throughput and statistics.
set -eu

program=$1
directory=${2:-/usr/include}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
LC_ALL=C
export LC_ALL

# ran NAME STATUS: the program ended well, or show what it said.
ran() {
	[ "$2" -eq 0 ] && return
	cat "$work/stats" >&2
	echo "run-demo: $1: exit status $2" >&2
	exit 1
}

# ---- map -------------------------------------------------------------------
echo "\$ $program map sha256 $directory"
status=0
"$program" map sha256 --stats "$directory" \
	>"$work/ours" 2>"$work/stats" || status=$?
ran map "$status"
lines=$(wc -l <"$work/ours")
tail -n 2 "$work/ours"
find "$directory" -type f -print0 | sort -z |
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
echo

# ---- scan ------------------------------------------------------------------

# search NAME FLAGS...: once with statistics, once with grep; a row of the
# table.
search() {
	name=$1
	shift
	status=0
	"$program" scan --stats "$@" "$directory" \
		>"$work/ours" 2>"$work/stats" || status=$?
	[ "$status" -eq 1 ] && status=0 # nothing matches
	ran scan "$status"
	grep -rboH "$@" "$directory" 2>/dev/null | sort >"$work/theirs" || :
	if ! sort "$work/ours" | cmp -s - "$work/theirs"; then
		echo "run-demo: scan $*: differs from grep -rboH (<):" >&2
		sort "$work/ours" | diff - "$work/theirs" | head -n 20 >&2
		exit 1
	fi
	awk -v name="$name" '
		/^scan:/ { seconds = $8; rate = $10 }
		/files that match/ { files = $4 }
		/^  matches / { matches = $2 }
		/^  slots / && !slots { slots = $2 }
		END {
			printf "%-28s %9d %7d %7d %8.3f %9d\n", name, matches,
				files, slots, seconds, rate
		}' "$work/stats" >>"$work/table"
}

echo "\$ $program scan --stats PATTERNS $directory"
grep -rhoE '[A-Za-z_]{6,14}' "$directory" 2>/dev/null | sort -u |
	awk 'NR % 97 == 5' | head -n 1000 >"$work/words"
: >"$work/table"
search 'EINTR' -F EINTR
search "$(wc -l <"$work/words" | tr -d ' ') words" -F -f "$work/words"
search 'v[0-9]+(\.[0-9]+)+' -E 'v[0-9]+(\.[0-9]+)+'
search '^#define +[A-Z]+_MAX' -E '^#define +[A-Z]+_MAX'
tail -n 3 "$work/ours"
echo
printf '%-28s %9s %7s %7s %8s %9s\n' patterns matches files slots seconds MB/s
cat "$work/table"
echo
cat "$work/stats"
echo "all matches equal those of grep -rboH"
