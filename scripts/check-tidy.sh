#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-tidy.sh BUILD [FILE...]: clang-tidy over the library, the handlers and
# the tools, with the checks of .clang-tidy. Default: all their files.
set -u

build=$(cd "$1" && pwd) || exit 1
shift
cd "$(dirname "$0")/.." || exit 1
tidy=${CLANG_TIDY:-clang-tidy}
if ! command -v "$tidy" >/dev/null 2>&1; then
	echo "skipped: clang-tidy is not installed"
	exit 77
fi
if [ ! -f "$build/compile_commands.json" ]; then
	echo "check-tidy: no compile_commands.json in $build" >&2
	exit 1
fi
if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046 # our names have no blanks
	set -- $(find src handlers tools -name '*.c' | sort)
fi
# What clang does not know of gcc's flags is no finding.
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 4 "$tidy" -p "$build" --quiet \
	--extra-arg=-Wno-unknown-warning-option 2>/dev/null
rc=$?
[ "$rc" -eq 0 ] && echo "$# files"
exit "$rc"
