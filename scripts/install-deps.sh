#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install what is missing to build and test, with apt-get, and nothing that is
# here already. One argument says how much is wanted:
#
#   run    compiler, cmake and the libraries: without these nothing is built
#   check  also what some tests need; they are skipped where it is missing
#   ci     also what the gates of .ci/run need
#   bench  run, and the libraries that the benchmark compares with
#   fuzz   run, and clang
#
# Exit status 1: something of `run` is missing and could not be installed.
set -u

level=${1:-run}
required=''
wanted=''

have_command() { command -v "$1" >/dev/null 2>&1; }

# Can the compiler see this header?
have_header()
{
	have_command cc && printf '#include <%s>\n' "$1" |
		cc -include stddef.h -include stdarg.h -include setjmp.h \
		-include stdint.h -x c -fsyntax-only - >/dev/null 2>&1
}

# need KIND NAME PACKAGE: required; want KIND NAME PACKAGE: better with it.
need() { "have_$1" "$2" || required="$required $3"; }
want() { "have_$1" "$2" || wanted="$wanted $3"; }

need command cc gcc
need command cmake cmake
need command make make
need header stdlib.h libc6-dev
need header linux/futex.h linux-libc-dev
need header jansson.h libjansson-dev
need header xxhash.h libxxhash-dev
need header cmocka.h libcmocka-dev

# without it threads read instead of io_uring
want header liburing.h liburing-dev

case $level in
run)
	;;
check | ci)
	want command c++ g++
	want command spin spin
	want command mandoc mandoc
	want command groff groff-base
	want command jq jq
	want command pkg-config pkg-config
	if [ "$level" = ci ]; then
		want command valgrind valgrind
		want command clang-format clang-format
		want command clang-tidy clang-tidy
	fi
	;;
bench)
	want command c++ g++
	want command pkg-config pkg-config
	want header uv.h libuv1-dev
	[ -e /usr/include/tbb/tbb.h ] || wanted="$wanted libtbb-dev"
	;;
fuzz)
	need command clang clang
	;;
*)
	echo "install-deps: no such level: $level" >&2
	exit 2
	;;
esac

[ -n "$required$wanted" ] || exit 0

as_root=''
if [ "$(id -u)" -ne 0 ]; then
	if have_command sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		as_root=sudo
	else
		as_root=none
	fi
fi

apt()
{
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get \
		-o DPkg::Lock::Timeout=120 -q "$@" >&2
}

install()
{
	if ! have_command apt-get; then
		echo "install-deps: there is no apt-get here" >&2
		return 1
	fi
	if [ "$as_root" = none ]; then
		echo "install-deps: not root, and no sudo" >&2
		return 1
	fi
	echo "install-deps: installing $*" >&2
	apt install -y --no-install-recommends "$@" && return 0
	apt update && apt install -y --no-install-recommends "$@"
}

# The names are words of ours, without spaces: splitting is meant.
# shellcheck disable=SC2086
if [ -n "$required" ] && ! install $required; then
	cat >&2 <<-END
	install-deps: these packages are missing (Debian's names), and could
	not be installed:$required
	Install them, or what your system calls them, and run make again.
	END
	exit 1
fi
# shellcheck disable=SC2086
if [ -n "$wanted" ] && ! install $wanted; then
	cat >&2 <<-END
	install-deps: going on without:$wanted
	Tests that need one of them will be skipped, and say so.
	END
fi
exit 0
