#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `megakernel scan` with large files, which its readers share part by part
# (786,432 bytes each): what it prints is what one reader prints, and grep.
# ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/scan.sh"
cd "$work" || exit 1

part=786432
: > input
mkdir text long zeros mixed
# Matches on both sides of where parts and what is read at once begin.
for at in 0 1 5 6 7 196608 300000; do
	awk -v n=$((part + at)) 'BEGIN {
		for (i = 0; i < n / 16; i++)
			printf "%08d need%s\n", i, i % 9 ? "--" : "le"
		for (i = 0; i < 250000; i++)
			printf "%d need%s%s", i, i % 9 ? "--" : "le",
				i % 5 ? " " : "\n"
		printf "needle"
	}' | tail -c +$((at % 16 + 1)) > text/n$at
done
{ cat text/n0; printf 'needle\n'; } > text/newline
head -c $((2 * part)) text/n1 > text/two
head -c $((3 * part)) text/n1 > text/three
head -c $((3 * part - 1)) text/n1 > text/almost
head -c $((3 * part + 1)) text/n1 > text/more
# NUL late in the file; binary from the block of it on
{ cat text/n5; printf '\0'; cat text/n6; } > text/binary
{ head -c $((2 * part)) text/n5; printf 'needle\0needle\n'; } > text/border
{ head -c $((2 * part - 7)) text/n5; printf 'needle\0needle\n'; } > text/before
# Lines longer than a part: some, one at the end, nothing else
awk 'BEGIN {
	for (i = 0; i < 9; i++) {
		for (j = 0; j < 20000 + 40000 * (i % 4); j++)
			printf "%d need%s,", j, j % 9 ? "--" : "le"
		printf "\nneedle\n\n"
	}
	for (j = 0; j < 120000; j++)
		printf "%d,", j
	printf "needle"
}' > long/lines
tr -d '\n' < long/lines > long/one
{ cat long/one; echo; cat long/lines; } > long/begin
# NULs for newlines, few and many, and nothing but these
tr '\n' '\000' < text/n7 > zeros/lines
tr '\n' '\000' < long/lines > zeros/long
head -c 3000000 /dev/zero > zeros/zeros
{ cat zeros/long zeros/zeros long/lines zeros/lines; } > zeros/all
{ cat zeros/zeros; printf 'needle'; } > zeros/end
# Where newlines and NULs stand by themselves
for seed in 1 2 3; do
	awk -v seed=$seed 'BEGIN {
		srand(seed)
		ORS = ""
		for (x = "x"; length(x) < 800000;)
			x = x x
		while (n < 4000000) {
			gap = int(exp(rand() * 13.5))
			n += gap + 7
			print substr(x, 1, gap) "needle" \
				(rand() < 0.5 ? "\n" : "@")
		}
	}' | tr '@' '\000' > mixed/$seed
done

for file in long/lines zeros/all mixed/1 mixed/2 mixed/3; do
	[ "$(wc -c < $file)" -gt $((4 * part)) ] || fail "$file is too small"
done

compare -F needle text
compare -F -c needle text
compare -F -l needle text
compare -F -q needle text
compare -a -F -e needle -e '1 needle' text
compare -F nothing-has-this text long zeros mixed
compare -F -a needle long
compare -F -c needle long
compare -E -a '[0-9]+ needle$' text

mk scan --stats --readers 3 -F needle text > /dev/null 2> err
[ "$(awk '/with many readers/ { print $5 }' err)" -eq "$(find text -type f \
	-size +1535k | wc -l)" ] || fail "files with many readers"
mk scan --stats --readers 1 -F needle text > /dev/null 2> err
[ "$(awk '/with many readers/ { print $5 }' err)" -eq 0 ] ||
	fail "one reader alone"

# What is no text for grep begins where its buffer ends; one reader alone has
# our own borders.
# Threads that are looked at take ten times as long.
few=
case ${MEGAKERNEL_SANITIZE:-} in *thread*) few=yes ;; esac
for args in '-F needle' '-c -a -F needle' '-a -F needle' '-c -F needle' \
	'-I -F needle' '-a -E ^x*needle'; do
	for tree in mixed text long zeros; do
		[ -z "$few" ] || [ $tree = mixed ] || continue
		# shellcheck disable=SC2086 # a list of options
		mk scan --readers 1 $args $tree > want 2> want.err
		for readers in 2 5; do
			# shellcheck disable=SC2086
			mk scan --readers $readers $args $tree > got 2> got.err
			same want got "$args of $tree, $readers readers"
			same want.err got.err "$args of $tree: messages"
		done
	done
done

# A file that ends with a newline leaves nothing in the last chunk: as an
# argument, it takes none.
head -c $part text/n0 > ended
set --
while [ $# -lt 70 ]; do
	set -- "$@" ended
done
for readers in 1 2; do
	status 0 "many arguments" mk scan --readers $readers -c -F needle \
		"$@" > got
	[ "$(wc -l < got)" -eq 70 ] || fail "many arguments: lines"
done
finish
