#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-once
#
# What leaves the shared library is what the public headers declare with
# MK_API, all of it and nothing else; and nothing of the static library could
# collide with a name of the program's own. The same of libmegakernel-io, whose
# calls are declared with MK_IO_API.
set -u

source=${MEGAKERNEL_SOURCE:?is set by ctest}
build=${MEGAKERNEL_BUILD:?is set by ctest}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

if ! command -v nm >/dev/null 2>&1; then
	echo "skipped: nm is not installed"
	exit 77
fi

status=0

# compare MACRO LIBRARY LEAST
compare()
{
	# The name before the first parenthesis after the macro.
	cat "$source"/include/megakernel.h "$source"/include/megakernel/*.h |
		tr '\n' ' ' | grep -o "\b$1 [^;(]*(" |
		sed 's/ *($//; s/.*[ *]//' | grep '^mk_' |
		sort -u >"$work/declared"
	nm -D --defined-only "$build/lib/$2.so" |
		awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
		sort -u >"$work/shared"
	nm --defined-only --extern-only "$build/lib/$2.a" |
		awk 'NF == 3 { print $3 }' | sort -u >"$work/static"
	[ "$(wc -l <"$work/declared")" -gt "$3" ] || {
		echo "only $(wc -l <"$work/declared") declarations found"
		exit 1
	}
	for library in shared static; do
		diff "$work/declared" "$work/$library" >"$work/diff" &&
			continue
		echo "$2, $library (< declared with $1, > exported):"
		cat "$work/diff"
		status=1
	done
	echo "$2: $(($(wc -l <"$work/declared"))) names"
}

compare MK_API libmegakernel 40
compare MK_IO_API libmegakernel-io 10
exit "$status"
