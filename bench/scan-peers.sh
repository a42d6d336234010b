#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# scan-peers.sh [PROGRAM [TREE [ROUNDS]]]: `megakernel scan -F` with 1, 10 and
# 1,000 literals beside GNU grep -F, ripgrep and Vectorscan, on the same files,
# warm. Rounds are interleaved; the table has, of each, the least wall time and
# the least time of processors (user and system) of all rounds, and what it
# found. Peers that are not here are left out. Results go to standard output.
#
# grep is one thread; the others have as many as there are cores. Vectorscan
# (bench/scan_vectorscan.c, built here if libhs is there) prints nothing but
# how many, and tells overlapping matches, too.
set -u
export LC_ALL=C TIMEFORMAT='%R %U %S'

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../build/bin/megakernel}
tree=${2:-/usr/include}
rounds=${3:-5}
cores=$(nproc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -rhoE '[A-Za-z_]{5,14}' "$tree" | sort -u >"$work/all"
awk 'NR % 97 == 7' "$work/all" | head -n 1000 >"$work/1000"
awk 'NR % 100 == 3' "$work/1000" >"$work/10"
head -n 1 "$work/10" >"$work/1"
find "$tree" -type f | sort >"$work/list"
tr '\n' '\0' <"$work/list" | xargs -0 cat >/dev/null
peers='scan grep'
command -v rg >/dev/null && peers="$peers rg"
${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -o "$work/hs" \
	"$here/scan_vectorscan.c" -lhs -lpthread 2>/dev/null &&
	peers="$peers vectorscan"

command_of() {
	case $1 in
	scan) "$program" scan -F -f "$work/$2" "$tree" ;;
	grep) grep -r -b -o -H -F -f "$work/$2" "$tree" ;;
	rg) rg -j "$cores" -b -o -H --no-heading -uuu -F -f "$work/$2" \
		"$tree" ;;
	vectorscan) "$work/hs" "$work/$2" "$cores" <"$work/list" ;;
	esac
}

for n in 1 10 1000; do
	for ((round = 0; round < rounds; round++)); do
		for peer in $peers; do
			t=$( { time command_of "$peer" $n >"$work/out" \
				2>/dev/null; } 2>&1)
			found=$(wc -l <"$work/out")
			[ "$peer" = vectorscan ] &&
				found=$(awk '{ print $1 }' "$work/out")
			echo "$n $peer $t $found"
		done
	done
done >"$work/raw"

echo "# SPDX-License-Identifier: Apache-2.0"
echo "# $(uname -sr), $cores cores: $(
	sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
echo "# $tree: $(wc -l <"$work/list") files, $(
	tr '\n' '\0' <"$work/list" | xargs -0 cat | wc -c) bytes; $rounds rounds"
echo "# $(grep --version | head -n 1); $(rg --version 2>/dev/null |
	head -n 1)"
echo
awk '
	{
		key = $1 " " $2
		if (!(key in wall)) {
			order[++keys] = key
			wall[key] = $3
			cpu[key] = $4 + $5
		}
		if ($3 < wall[key]) wall[key] = $3
		if ($4 + $5 < cpu[key]) cpu[key] = $4 + $5
		found[key] = $6
	}
	END {
		printf "%8s  %-12s %9s %9s %10s %10s\n", "literals", "program",
			"wall s", "cpu s", "found", "wall/scan"
		for (i = 1; i <= keys; i++) {
			split(order[i], part, " ")
			printf "%8d  %-12s %9.3f %9.3f %10d %10.2f\n", part[1],
				part[2], wall[order[i]], cpu[order[i]],
				found[order[i]],
				wall[order[i]] / wall[part[1] " scan"]
		}
	}' "$work/raw"
