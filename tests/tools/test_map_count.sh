#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `map count` is wc in the C locale, widths, totals and names included.
# ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

# From coreutils 9.5 on wc makes words of bytes that cannot be printed. Then it
# is asked about bytes that can.
newer=$(printf '\001' | wc -w)
printable() {
	[ "$newer" -eq 0 ] && return
	for file do
		tr '\000-\010\016-\037\177-\377' x < "$file" > printable
		cat printable > "$file"
	done
	rm -f printable
}

odd_tree tree
printable tree/size*
for isolation in process none; do
	files_of tree > list
	wc --files0-from=list > want
	mk map --isolation $isolation count tree > got 2> err
	same want got "odd tree, $isolation"
	none err "odd tree, $isolation, stderr"
done

# compare ARG...: the same arguments, status and lines; ours go on after
# errors as wc does.
compare() {
	wc "$@" > want 2> want.err < tree/size4097
	want_status=$?
	mk map count "$@" > got 2> got.err < tree/size4097
	status=$?
	[ $status -eq $want_status ] ||
		fail "$*: exit status $status, not $want_status"
	same want got "$*"
	[ "$(wc -l < want.err)" = "$(wc -l < got.err)" ] ||
		fail "$*: $(wc -l < got.err) messages, not" \
			"$(wc -l < want.err)"
}

compare tree/a0
compare tree/size3000000
compare tree/a/empty tree/a/empty
compare tree/size3000000 tree/a0 "tree/with space"
compare tree/a0 tree/missing tree/size4096
compare tree/missing tree/a0
compare tree/missing
compare tree/missing tree/missing
compare tree/dangling tree/size3000000
compare -
compare - tree/a0
compare tree/a0 -
compare /dev/null tree/a0
compare /dev/null
[ -r /proc/self/status ] && compare /proc/version tree/a0
compare tree/a/link tree/a/link
compare "tree/$(printf 'new\nline')"

# from a pipe nobody knows the size
seq 10000 | wc - tree/a0 > want
seq 10000 | mk map count - tree/a0 > got
same want got "a pipe and a file"
seq 10000 | wc - > want
seq 10000 | mk map count - > got
same want got "a pipe"

# a read that fails after open: wc counts what it got
if [ -r /proc/self/mem ]; then
	wc tree/a0 /proc/self/mem tree/a0 > want 2> want.err
	mk map count tree/a0 /proc/self/mem tree/a0 > got 2> got.err
	[ $? -eq 1 ] || fail "/proc/self/mem: exit status"
	same want got "/proc/self/mem"
	has got.err "/proc/self/mem" "/proc/self/mem"
fi

# words over the seams of chunks, and every byte
i=0
: > seams
while [ $i -lt 3 ]; do
	head -c 262140 /dev/zero | tr '\0' a >> seams
	printf 'bc d\nef' >> seams
	i=$((i + 1))
done
awk 'BEGIN { for (i = 0; i < 256; i++) printf "%c", i }' > bytes
i=0
while [ $i -lt 256 ]; do
	printf "x\\$(printf %03o $i)y " >> bytes
	i=$((i + 1))
done
printable bytes
compare seams bytes

# whose comments may have other letters
if [ -d /usr/include ] && [ "$newer" -eq 0 ]; then
	files_of /usr/include > list
	wc --files0-from=list > want
	mk map count /usr/include > got
	same want got "/usr/include"
fi
finish
