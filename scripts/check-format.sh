#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-format.sh [FILE...]: the rules of style that a machine can hold
# without an opinion. Default: every file that git knows or would add.
#
#   all      licence on the first lines, no blank at the end of a line, a line
#            feed at the end of the file, at most 800 lines
#   C        indented by tabs, 80 columns, no typedef of a struct, braces of
#            functions on a line of their own
#   shell    sh -n finds nothing wrong
set -u

cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

if [ $# -gt 0 ]; then
	printf '%s\n' "$@" >"$work/files"
elif git rev-parse --git-dir >/dev/null 2>&1; then
	git ls-files --cached --others --exclude-standard >"$work/files"
else
	find . -name build -prune -o -name 'build-*' -prune -o -type f \
		-print | sed 's|^\./||' >"$work/files"
fi

while read -r file; do
	[ -f "$file" ] || continue
	case $file in
	fuzz/corpus/* | LICENSE | *.json | .gitignore | *.md | *.pc.in) continue ;;
	*.c | *.h | *.cpp | *.cc | *.cu | *.cuh) kind=c ;;
	*.sh | .ci/run) kind=shell ;;
	*) kind=other ;;
	esac
	head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
		[ "$file" = .editorconfig ] || [ "${file%.map}" != "$file" ] ||
		echo "$file:1: no licence line"
	[ -z "$(tail -c 1 "$file")" ] || echo "$file: no line feed at the end"
	awk -v file="$file" -v kind="$kind" '
	# columns of a line, tabs of 8; a character is a column
	function columns(s,   n, i, c) {
		n = 0
		for (i = 1; i <= length(s); i++) {
			c = substr(s, i, 1)
			n = c == "\t" ? n + 8 - n % 8 : n + 1
		}
		return n
	}
	function bad(what) { printf "%s:%d: %s\n", file, NR, what }
	/[ \t]$/ { bad("blank at the end of the line") }
	kind == "c" {
		# a string is not broken to fit, nor a note to ctest
		if (length($0) > 40 && columns($0) > 80 && $0 !~ /^\t+"/ &&
		    $0 !~ /ctest-link:/)
			bad(columns($0) " columns, 80 are allowed")
		if ($0 ~ /^        / && $0 !~ /^ \*/)
			bad("indented by spaces")
		# what a driver calls its own
		if ($0 ~ /^typedef (struct|union)/ && $0 !~ /\*(CU|nvrtc)[A-Za-z]+;$/)
			bad("typedef of a struct")
		if ($0 ~ /^[a-z].*\)[ ]*\{$/ &&
		    $0 !~ /^(static )?(const )?(struct|enum|union) [a-z_]+ \{/)
			bad("a function opens its brace on its own line")
	}
	END { if (NR > 800) bad("more than 800 lines") }
	' "$file"
	if [ "$kind" = shell ]; then
		case $(head -n 1 "$file") in
		*bash*) bash -n "$file" ;;
		*) sh -n "$file" ;;
		esac || echo "$file: the shell does not understand it"
	fi
done <"$work/files" >"$work/wrong"

if [ -s "$work/wrong" ]; then
	cat "$work/wrong"
	echo "$(wc -l <"$work/wrong") places"
	exit 1
fi
echo "$(wc -l <"$work/files") files"
