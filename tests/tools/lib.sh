# SPDX-License-Identifier: Apache-2.0
# Read by the scripts beside it. Each makes its files in $work, notes what is
# wrong with fail, and ends with finish.

export LC_ALL=C
[ -x "${MEGAKERNEL:-}" ] || {
	echo "MEGAKERNEL has to be the program, but is '${MEGAKERNEL:-}'" >&2
	exit 1
}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/mk-tools.XXXXXX") || exit 1
trap 'chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
XDG_CACHE_HOME=${XDG_CACHE_HOME:-$work/cache}
export XDG_CACHE_HOME
fails=0

fail() {
	echo "FAIL: $*" >&2
	fails=$((fails + 1))
}

# The program, bounded in time: a hang is status 124.
mk() {
	timeout 100 "$MEGAKERNEL" "$@"
}

# status WANT WHAT COMMAND...: run it, compare its exit status.
status() {
	want=$1 what=$2
	shift 2
	"$@"
	got=$?
	[ $got -eq "$want" ] || fail "$what: exit status $got, not $want"
}

# same WANT GOT WHAT: two files have the same bytes.
same() {
	cmp -s "$1" "$2" && return
	fail "$3: not the same"
	diff -a "$1" "$2" | head -n 6 >&2
}

# has FILE TEXT WHAT: the file has a line with this text in it.
has() {
	grep -aqF -e "$2" "$1" && return
	fail "$3: no '$2' in:"
	head -n 10 "$1" >&2
}

# none FILE WHAT: the file is empty.
none() {
	[ -s "$1" ] || return 0
	fail "$2: not empty:"
	head -n 5 "$1" >&2
}

# The files below some directories, as `find` and `sort` name them.
files_of() {
	for d in "$@"; do
		find "$d" -type f -print0 | sort -z
	done
}

finish() {
	[ $fails -eq 0 ] && exit 0
	echo "$fails failed" >&2
	exit 1
}

# A tree with odd names and odd sizes. Chunks of the program are 262144 bytes
# and a file of less than 16384 may share one.
odd_tree() {
	mkdir -p "$1/a" "$1/a.b" "$1/a-b" "$1/deep/er/est" "$1/empty" \
		"$1/loop"
	: > "$1/a/empty"
	echo one > "$1/a/one"
	echo two > "$1/a.b/two"
	echo three > "$1/a-b/three"
	echo deep > "$1/deep/er/est/file"
	echo x > "$1/a0"
	printf 'no newline at the end' > "$1/-dash"
	printf 'a b\tc\nd\n\n  e\f\vf\n' > "$1/with space"
	echo 1 > "$1/$(printf 'new\nline')"
	echo 2 > "$1/$(printf "quote'new\nline's \\\\ \001\177.")"
	echo 3 > "$1/back\\slash"
	echo 4 > "$1/$(printf 'return\rhere')"
	# which sha256sum escapes since coreutils 9.0
	case $(sha256sum "$1/$(printf 'return\rhere')") in
	\\*) ;;
	*) rm -f "$1/$(printf 'return\rhere')" ;;
	esac
	echo 5 > "$1/$(printf 'not utf-8 \377\200')"
	echo 6 > "$1/$(printf 'utf-8 \303\251')"
	for size in 1 63 64 65 4095 4096 4097 16383 16384 16385 245760 245761 \
		262143 262144 262145 524287 524288 524289 3000000; do
		head -c $size /dev/urandom > "$1/size$size"
	done
	ln -s one "$1/a/link"
	ln -s .. "$1/loop/up"
	ln -s . "$1/self"
	ln -s nowhere "$1/dangling"
	mkfifo "$1/fifo"
}
