#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `megakernel scan` prints what grep -b -o -H -r prints: literals, on an odd
# tree of our own and on some of /usr/include and /usr/share/doc.
# ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/scan.sh"
cd "$work" || exit 1

# Matches on both sides of every border: of blocks, chunks and lines.
# Long lines lie apart: grep's buffer grows with them, and with it what it takes
# for binary of files that come later.
mkdir some long
grep -rhoE '[A-Za-z_]{5,14}' /usr/include/linux 2>/dev/null | sort -u |
	awk 'NR % 17 == 3' | head -n 1000 > some/words
[ -s some/words ] || echo include > some/words
cp some/words input
printf 'needle' > some/needle
printf 'x needle\nneedle needleneedle\n\nneedl' > some/needles
printf 'needle\0needle\n' > some/binary
printf 'needle\n\0' > some/last-nul
awk 'BEGIN { for (i = 0; i < 60000; i++) print i, "needle" }' > some/lines
awk 'BEGIN { for (i = 0; i < 90000; i++) printf "%d needle,", i }' > long/line
for at in 98295 98304 196600 196604 196608 262080 262138 262144 393214; do
	{
		head -c $at /dev/zero | tr '\0' x
		printf 'needle\nx\n'
	} > "long/x$at"
	{
		awk -v n=$at 'BEGIN { for (i = 0; i < n / 8; i++)
			printf "%07d\n", i }'
		printf 'needle\n%0200dneedle\n' 7
	} > "some/n$at"
	{
		cat "some/n$at"
		printf '\0\nneedle'
		cat "some/n$at"
	} > "some/b$at"
done
odd_tree tree
# Lines that NULs end, and no newline for long: where grep's blocks begin no
# more than where ours do.
mkdir zeros
: > empty
{
	head -c 700000 /dev/zero
	printf 'needle\0a needle\0needle'
	head -c 700000 /dev/zero
	printf 'needle'
} > zeros/many
{
	head -c 98304 /dev/zero | tr '\0' x
	head -c 400000 /dev/zero
	printf 'needle\n'
} > zeros/later

for flags in '' '--isolation none --readers 3 --workers 1'; do
	compare -F needle some
	compare -F -e needle -e e -e 7 -e nee some
	compare -F -i NEEdle some
	compare -F -i NEEdle long
	compare -F -c needle long
	compare -F -e x -e needle -a long
	compare -a -F needle some
	compare -F -c needle some
	compare -F -l needle some
	compare -F -c -a ne some
	compare -F -h needle some/n98304
	compare -F -q needle some
	compare -F -e e -e three -e size tree
	compare -F nothing-has-this some tree
	compare -F -s needle nowhere some/needles
	compare -F needle nowhere some/needles
	compare -F needle - some/needles
	compare -F -f some/words some
	compare -F -f empty some
	compare -E -x -f empty some
	compare -c -f empty some
	compare -f empty -e needle some
	compare -F needle zeros
	compare -F -c -e needle -e '' zeros
	compare -F -x needle zeros
	compare -E -c '^needle$|^$' zeros
done
flags=''
if [ -d /usr/include/linux ]; then
	compare -F -f some/words /usr/include/linux
	compare -F -e size_t /usr/include/linux
	compare -F -c -i -f some/words /usr/include/linux
fi
compare -F -e copyright -e Copyright -e the /usr/share/doc/[a-d]*

# Order: arguments as they are given, below a directory that of the paths.
mk scan -F needle long/x98304 some > got 2> err
[ "$(head -n 1 got)" = long/x98304:98304:needle ] || fail "order of arguments"
cut -d: -f1 got | tail -n +2 | uniq > names
sort -u names | cmp -s - names || fail "order below a directory"

# A reader that leaves is no error, and the output no input.
mk scan -F e some/words some/lines some/words 2> err | head -n 1 > got
none err "a reader that left"
mkdir out
cp some/needles out
mk scan -F needle out > out/self 2> err
has err 'is also the output' "the output below the tree"
# A file that cannot be opened says why, in an object of its own as well.
ln -s loop out/loop
mk scan --json -F needle out/loop out/none > got 2> err
has err 'out/loop: Too many levels of symbolic links' "a loop of links"
has got '"code":"ELOOP"' "the code of a loop of links"
has got '"code":"ENOENT"' "the code of a file that is not there"
rm out/loop

# An answer that is known does not wait for more input.
for flags in '-q' '-l' '--readers 1 -l'; do
	rm -f pipe answered
	mkfifo pipe
	{
		echo needle
		for _ in $(seq 600); do
			[ -e answered ] && break
			sleep 0.05
		done
		[ -e answered ] || : > late
	} > pipe &
	# shellcheck disable=SC2086 # a list of flags
	status 0 "$flags of a pipe" mk scan $flags -F needle < pipe > got
	: > answered
	wait
	[ -e late ] && fail "$flags waits for more of a pipe"
done
flags=''

# JSON has the same matches.
mk scan --json -F needle some/needles some/binary > got
grep -c '"text":"needle"' got > count
echo 4 > want
same want count "matches in JSON"
has got '"offset":2,"length":6,"text":"needle"' "JSON"
has got '{"path":"some/binary","binary":true}' "JSON of a binary file"

mk scan --stats -F needle some > /dev/null 2> err
has err 'files that match' --stats
status 2 "no pattern" mk scan 2> err
has err 'PATTERNS are missing' "no pattern"
status 2 "no pattern file" mk scan -f nowhere some 2> err
has err 'nowhere: No such file' "no pattern file"
finish
