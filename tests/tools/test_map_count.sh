#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `map count` is wc in the C locale and in one of UTF-8, widths, totals and
# names included.
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

# ---- UTF-8 ----

# words WANT TEXT [NAME=VALUE]: of a text for printf
words() {
	printf "$2" > text
	got=$(env LC_ALL=$utf8 $3 timeout 100 "$MEGAKERNEL" map count text |
		awk '{ print $2 }')
	[ "$got" = "$1" ] || fail "'$2' $3 has $1 words, not $got"
}

# compare_text FILE...: with wc, in the locale $utf8
compare_text() {
	LC_ALL=$utf8 wc "$@" > want
	LC_ALL=$utf8 mk map count "$@" > got 2> err
	same want got "$*, $utf8"
	none err "$*, $utf8, stderr"
}

utf8=
for name in C.UTF-8 en_US.UTF-8; do
	[ "$(LC_ALL=$name locale charmap 2> /dev/null)" = UTF-8 ] && utf8=$name
done
if [ -z "$utf8" ]; then
	echo "there is no UTF-8 locale: not compared"
	finish
fi

words 2 'a\302\240b'
words 1 'a\302\240b' POSIXLY_CORRECT=1
words 2 'a\343\200\200b' POSIXLY_CORRECT=1
words 1 'a\342\200\250b'
words 3 '\303\251 \344\270\255 \360\237\230\200'
words 0 '\377 \303 \342\202 \355\240\200'
# the locale of LC_ALL is the one that counts; one that is not there is C
words 0 '\303\251' LC_ALL=C
words 0 '\303\251' LC_ALL=no_SUCH.UTF-8

# letters, spaces of all kinds, over the seams of chunks at every offset
i=0
while [ $i -lt 9 ]; do
	head -c $((262135 + i)) /dev/zero | tr '\0' a
	printf '\303\251\302\240\344\270\255\343\200\200\360\237\230\200'
	printf '\342\200\203x\342\200\257y\342\201\240z\n'
	head -c $((262144 - 30 - i)) /dev/zero | tr '\0' b
	i=$((i + 1))
done > letters
compare_text letters

if [ "$newer" -eq 0 ]; then
	LC_ALL=C awk 'BEGIN {
		# every lead and first continuation byte, whole and cut off
		for (i = 128; i < 256; i++)
			for (j = 127; j < 194; j++) {
				printf "%c%c \302\240", i, j
				printf "%c%c\200a%c%c\200\240 ", i, j, i, j
				printf "a%c%c\277\200b\n", i, j
			}
	}' > pieces
	compare_text pieces tree/size4097
	i=0
	while [ $i -lt 6 ]; do # and what is cut off at the end
		for tail in '\303' '\343\200' '\360\237\230' ' \302' '\240'; do
			head -c $((262140 + i)) /dev/zero | tr '\0' ' ' > cut
			printf "$tail" >> cut
			cat cut bytes > cut.on
			cat cut letters > cut.in
			compare_text cut cut.on cut.in
		done
		i=$((i + 1))
	done
	for isolation in process none; do
		files_of tree > list
		LC_ALL=$utf8 wc --files0-from=list > want
		LC_ALL=$utf8 mk map --isolation $isolation count tree > got
		same want got "odd tree, $isolation, $utf8"
	done
	if [ -d /usr/include ]; then
		files_of /usr/include > list
		LC_ALL=$utf8 wc --files0-from=list > want
		LC_ALL=$utf8 mk map count /usr/include > got
		same want got "/usr/include, $utf8"
	fi
fi
finish
