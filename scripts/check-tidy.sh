#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-tidy.sh BUILD [FILE...]: clang-tidy over the library, the handlers and
# the tools, with the checks of .clang-tidy. Default: all their files.
#
# A file that was clean is not looked at again until its text, with all that
# it includes, or the checks change: its sum is kept in BUILD/tidy. The first
# run takes some minutes, one after a change the time of what it touches.
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
mkdir -p "$build/tidy" || exit 1
checks=$({ "$tidy" --version; cat .clang-tidy "$0"; } | sha256sum)

# One file a turn: a few take as long as all others. $0: the sum of the checks.
# What clang does not know of gcc's flags is no finding. A file whose command
# is not known (an option is off) has no sum, and is looked at each time.
# shellcheck disable=SC2016
one='
build=$1 tidy=$2 file=$3
mark=$build/tidy/$(printf %s "$file" | tr / _)
command=$(sed -n "s|^ *\"command\": \"\(.*\) -o [^ ]* -c $PWD/$file\",*$|\1|p" \
	"$build/compile_commands.json" | sed "s|\\\\\\\\\"|\"|g;q")
sum=
if [ -n "$command" ]; then
	text=$(cd "$build" && eval "$command -E -C $OLDPWD/$file" | sha256sum) &&
		sum="$0 $command $text"
fi
if [ -n "$sum" ] && [ "$sum" = "$(cat "$mark" 2>/dev/null)" ]; then
	exit 0
fi
echo looked >>"$build/tidy/looked"
rm -f "$mark"
found=$("$tidy" -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option \
	"$file" 2>&1)
if [ $? -ne 0 ]; then
	printf "%s\n" "$found" |
		grep -vE "^[0-9]+ warnings?( and [0-9]+ errors?)? generated"
	exit 1
fi
printf "%s" "$sum" >"$mark"
'
: >"$build/tidy/looked"
printf '%s\n' "$@" |
	xargs -P "${JOBS:-2}" -n 1 sh -c "$one" "$checks" "$build" "$tidy" ||
	exit 1
echo "$# files, $(wc -l <"$build/tidy/looked") of them looked at"
