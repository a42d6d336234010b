#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `megakernel map sha256` over many small files, beside
# `find | xargs -P"$(nproc)" -n 64 sha256sum`: warm cache, in turn, medians.
#
# Usage: map-vs-xargs.sh [FILES [ROUNDS [LEAST]]]
#   FILES   files to make, 100000; sizes from 100 to 4060 bytes
#   ROUNDS  of each, 5
#   LEAST   exit 1 if the ratio of the medians is below it; 0: never
# Environment: MEGAKERNEL, the program; TMPDIR, where the files are made.
set -eu

files=${1:-100000}
rounds=${2:-5}
least=${3:-0}
here=$(cd "$(dirname "$0")" && pwd)
program=${MEGAKERNEL:-$here/../build/bin/megakernel}
cores=$(nproc)

[ -x "$program" ] || { echo "no $program: set MEGAKERNEL" >&2; exit 2; }
tree=$(mktemp -d "${TMPDIR:-/tmp}/map-vs-xargs.XXXXXX")
trap 'rm -rf "$tree"' EXIT
trap 'exit 2' INT TERM

# 100 directories, the files of one all of a size
make_tree() {
	each=$((files / 100))
	i=0
	while [ $i -lt 100 ]; do
		size=$((100 + i * 40))
		mkdir "$tree/$i"
		head -c $((size * each)) /dev/urandom |
			split -b $size -a 5 -d - "$tree/$i/f"
		i=$((i + 1))
	done
}

ours() {
	"$program" map sha256 "$tree"
}

theirs() {
	find "$tree" -type f -print0 |
		xargs -0 -P"$cores" -n 64 sha256sum
}

# Nanoseconds that a function takes.
time_of() {
	begin=$(date +%s%N)
	"$1" > /dev/null
	end=$(date +%s%N)
	echo $((end - begin))
}

median() {
	sort -n | awk '{ v[NR] = $1 }
		END { print v[int((NR + 1) / 2)], v[1], v[NR] }'
}

make_tree
# warm the cache, and see that both say the same
ours | LC_ALL=C sort > "$tree.ours"
theirs | LC_ALL=C sort > "$tree.theirs"
trap 'rm -rf "$tree" "$tree".*' EXIT
cmp "$tree.ours" "$tree.theirs" || { echo "the sums differ" >&2; exit 2; }

i=0
while [ $i -lt "$rounds" ]; do
	time_of theirs >> "$tree.xargs"
	time_of ours >> "$tree.map"
	i=$((i + 1))
done
xargs_ns=$(median < "$tree.xargs")
map_ns=$(median < "$tree.map")
echo "$xargs_ns $map_ns" | awk -v files="$files" -v cores="$cores" \
	-v rounds="$rounds" -v least="$least" '{
	printf "%d files, %d cores, %d rounds, warm cache; ms\n", \
		files, cores, rounds
	printf "                     median   lowest  highest\n"
	printf "  find | xargs     %8.0f %8.0f %8.0f\n", \
		$1 / 1e6, $2 / 1e6, $3 / 1e6
	printf "  megakernel map   %8.0f %8.0f %8.0f\n", \
		$4 / 1e6, $5 / 1e6, $6 / 1e6
	printf "  ratio            %8.2f\n", $1 / $4
	exit ($1 / $4 < least)
}'
