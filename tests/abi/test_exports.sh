#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-once
#
# What leaves the shared library is what the public headers declare with
# MK_API, all of it and nothing else; and nothing of the static library could
# collide with a name of the program's own.
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

# The name before the first parenthesis after MK_API.
cat "$source"/include/megakernel.h "$source"/include/megakernel/*.h |
	tr '\n' ' ' | grep -o 'MK_API [^;(]*(' |
	sed 's/ *($//; s/.*[ *]//' | grep '^mk_' | sort -u >"$work/declared"
nm -D --defined-only "$build/lib/libmegakernel.so" |
	awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
	sort -u >"$work/shared"
nm --defined-only --extern-only "$build/lib/libmegakernel.a" |
	awk 'NF == 3 { print $3 }' | sort -u >"$work/static"

[ "$(wc -l <"$work/declared")" -gt 40 ] ||
	{ echo "only $(wc -l <"$work/declared") declarations found"; exit 1; }
status=0
for library in shared static; do
	if ! diff "$work/declared" "$work/$library" >"$work/diff"; then
		echo "$library library (< declared with MK_API, > exported):"
		cat "$work/diff"
		status=1
	fi
done
[ "$status" -eq 0 ] &&
	echo "$(($(wc -l <"$work/declared"))) names, in both libraries"
exit "$status"
