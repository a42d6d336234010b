#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `megakernel scan` with regular expressions: the matches of grep, on files of
# our own and some of /usr/include, and what is refused.
# ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/scan.sh"
case ${MEGAKERNEL_SANITIZE:-} in
*thread*)
	echo "skipped: the threads are those of tools/scan, and ten times slower"
	exit 77
	;;
esac
cd "$work" || exit 1
: > input

mkdir some
cat > some/text <<'TEXT'
abcabc aab ab b
foo_bar foo bar_ 12 x1 _
xx{1}y a{2} {3} a{,} a{x} *star +plus ?ask a|b
tail$ ^head a^b a$b back\slash [x] ]y[ -z a-c
TEXT
printf 'no newline: aaaa' >> some/text
printf '\n\n\n \n' > some/empty-lines
printf 'ab\0ab\nab\n' > some/binary
printf 'caf\351 \303\251t\303\251 \342\202\254 \360\237\230\200 x\n' > some/high
awk 'BEGIN { for (i = 0; i < 40000; i++) printf "%d ab%dc\n", i, i % 7 }' \
	> some/lines
awk 'BEGIN { for (i = 0; i < 60000; i++) printf "ab%dc ", i % 97 }' \
	> some/line

for p in 'ab*c' 'a.c' '^ab' 'b$' '^$' '^' '$' '' 'x*' '\(ab\)*c' 'a\|b' \
	'a\+' 'ab\?' 'a\{2\}' 'a\{2,3\}b' 'a\{,2\}b' '*star' '^*' \
	'a{2}' '\<foo' 'bar\>' '\bfoo\b' '\Boo' '\w\w*' '\W' '\s\s' \
	'[[:digit:]][[:digit:]]*c' '[^[:alpha:]]' '[]x]' '[^]x]' \
	'[a-c-]' 'a^b' 'a$b' '\^h' '\$' '\.' '\\' '\(^a\)' '\(b$\)' \
	'^^a' '\(^^a\)' 'a\|^^\^' '^^*' 'x\{1\}' '[.]' '[[.-.]]z' '[[=x=]]' 'ab[0-3]c' '\(a\|ab\)\(c\|bc\)'
do
	compare -e "$p" some
	compare -c -e "$p" some
done
for p in 'ab*c' 'a|b|foo' '(ab)+' '(ab){2}' 'a{2}' 'a{1,}b' 'a{,1}b' \
	'foo|foo_bar' '(foo|foo_)(bar|_bar)?' '()' 'a||b' '(|a)b' 'x?' \
	'^(a|b)' '(a|b)$' '^$|b' 'a+?' 'a**' '[0-9]+' '\{1\}' 'a\|b' \
	'a.{3}b' '(a|b|c){3,5}' 'x{0}y' '\<(foo|bar)\>' '(^|x)a' \
	'^{' '^{a' '(^)*a' 'a)' '(a))|b)' '[^ ]+$' '(a*)*b' '(a*)+' 'b(^|c)' 'a($|b)' 'star|plus'
do
	compare -E -e "$p" some
	compare -E -l -a -e "$p" some
done
compare -E -i 'ABC|FOO' some
compare -i '[A-B]\+' some
compare -i '[^a-f ]\+' some
compare -a '.' some
compare -a -E '[^a]+' some
compare -x -E 'ab.*|.*b' some
compare -x -F -e '' -e 'ab' some
# of two opposites the last
compare -a -I ab some
# NUL behind the first block: grep has printed by then what it takes for text
awk 'BEGIN { for (i = 0; i < 9000; i++) print "ab" i " b" }' > base
for at in 4000 98303 98304 130000 196607 196608 200000; do
	{ cat base base base | head -c $at; printf '\0ab\n'; cat base; } > later
	for o in -I -a -H; do
		compare $o 'ab*' later
		compare $o -c 'ab*' later
		compare $o -l 'ab*' later
		compare $o -q 'ab*' later
		compare $o 'none' later
		compare $o '^$' later
	done
done
# a NUL that ends a file ends a line, and no other begins there
printf 'ab\nab\0' > some/nul-at-end
printf '\0' > some/nul-alone
compare -c '' some
compare -c '^$' some
compare -a -c '$' some
compare -I -a ab some
compare -E -e 'ab+' -e '[0-9]+' -e '^foo' some
flags='--isolation none --readers 3'
compare -E 'ab+' some
compare -E 'x*' some
compare -E -c '^$' some
flags=''
[ -d /usr/include/linux ] && set -- /usr/include/linux/[a-d]*
[ $# -gt 0 ] || set -- some
for p in 'v[0-9]+(\.[0-9]+)*' '^#define [A-Z_]+' '\<[a-z]*_t\>' \
	'(struct|enum) +[a-z_]+ *\{' '\w+\s*\(' 'a.{20}b' '[^ ]+\.h>$'; do
	compare -E "$p" "$@"
	compare -E -c "$p" "$@"
done

# UTF-8: characters, not bytes.
if locale -a 2>/dev/null | grep -qix 'c\.utf-\{0,1\}8'; then
	LC_ALL=C.UTF-8
	for p in '.' '[^a]' '[[:alpha:]]+' 'é' 'c.*é' '(é|€)+' '^.*$' \
		'[€😀]' '\w+' '\W+'; do
		compare -E "$p" some/text some/high some/lines
		compare -E -a "$p" some/text some/high
	done
	compare -F -e 'é' -e '€' some/high
	status 2 "word edges in UTF-8" mk scan '\bx' some 2> err
	has err 'LC_ALL=C' "word edges in UTF-8"
	status 2 "pattern of no UTF-8" mk scan "$(printf 'a\351')" some 2> err
	has err 'byte 2: is not UTF-8' "pattern of no UTF-8"
	LC_ALL=C
fi

# refuse TEXT FLAGS...: with the pattern and the place.
refuse() {
	text=$1
	shift
	status 2 "$*" mk scan "$@" some > got 2> err
	has err "$text" "$*"
	none got "$*"
}
refuse "pattern 1 ('(a'), byte 1: a group that does not end" -E '(a'
refuse 'byte 2: a ) that no group' 'a\)'
refuse 'byte 2: [ without ]' 'a[b'
refuse 'byte 2: there is no class' '[[:nope:]]'
refuse 'a class is written [[:space:]]' '[:space:]'
refuse 'byte 6: back-references' '\(a\)\1'
refuse "pattern 2 ('b\\'), byte 2: a backslash at the end" -e a -e 'b\'
refuse 'repeated more than 32767' -E 'a{40000}'
refuse 'at least 3 times but at most 2' -E 'a{3,2}'
refuse 'a range that ends before it begins' '[z-a]'
refuse 'byte 2: a range that begins with a class' '[[:alpha:]-z]'
refuse 'byte 2: an anchor or the edge of a word is not repeated' -E '^*a'
refuse 'byte 3: an anchor or the edge of a word' -E 'a$+'
refuse 'byte 3: an anchor or the edge of a word' '\<*x'
refuse 'byte 3: an anchor or the edge of a word' -E '\b{2}x'
refuse 'the pattern needs an automaton of more than 16384 states' -E '(a|b)*a(a|b){20}c'
refuse 'has no meaning' '\d'
finish
