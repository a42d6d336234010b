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
errors=$(mktemp) || exit 1
trap 'rm -f "$errors"' EXIT
trap 'exit 1' INT TERM
# What clang does not know of gcc's flags is no finding. One file a turn: a
# few take as long as all others.
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 "$tidy" -p "$build" --quiet \
	--extra-arg=-Wno-unknown-warning-option 2>"$errors"
rc=$?
if [ "$rc" -ne 0 ]; then
	grep -vE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated' "$errors"
	exit 1
fi
echo "$# files"
