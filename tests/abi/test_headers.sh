#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-once
# ctest-timeout: 300
#
# Every installed header compiles alone, as what it is promised to be: C11 and
# C++17, pedantic, with every compiler that is here; the shared layouts and the
# dialect as CUDA too, for the device. A handler compiles in all three.
set -u

source=${MEGAKERNEL_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
include=$source/include
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
tried=0
wrong=0

# try WHAT COMPILER ARGUMENTS...
try()
{
	what=$1
	shift
	tried=$((tried + 1))
	"$@" >"$work/out" 2>&1 && return
	wrong=$((wrong + 1))
	echo "WRONG: $what"
	cat "$work/out"
}

have() { [ -n "$1" ] && command -v "$1" >/dev/null 2>&1; }

headers=$(cd "$include" && find . -name '*.h' | sed 's|^\./||' | sort)
[ -n "$headers" ] || { echo "no header below $include"; exit 1; }

cat >"$work/handler.c" <<'END'
#include <megakernel/handler.h>

struct add_args { struct mk_ref to; uint32_t n; float by; };

MK_HANDLER(add_all, struct add_args)
{
	uint64_t bytes = (uint64_t)args->n * sizeof(float);
	float *to = (float *)mk_write(task, args->to, bytes);

	if (!to)
		return mk_fail(task);
	for (uint32_t i = mk_lane(task); i < args->n; i += mk_lanes(task))
		to[i] += args->by;
	mk_sync(task);
	return MK_OK;
}
END

# linked into a program: to be called by nobody but the library
{
	cat "$work/handler.c"
	echo 'MK_MODULE_DEFINE(linked);'
} >"$work/linked.c"

for cc in "${CC:-cc}" gcc clang; do
	have "$cc" || continue
	for header in $headers; do
		printf '#include <%s>\n' "$header" >"$work/one.c"
		# twice: it has to guard itself
		printf '#include <%s>\n' "$header" >>"$work/one.c"
		printf 'extern int mk_not_empty;\n' >>"$work/one.c"
		try "$header, $cc, C11" "$cc" -std=c11 -Wall -Wextra \
			-Wpedantic -Werror -fsyntax-only -I"$include" \
			"$work/one.c"
	done
	try "a handler, $cc, C11" "$cc" -std=c11 -Wall -Wextra -Werror \
		-fsyntax-only -I"$include" "$work/handler.c"
	try "linked handlers, $cc, C11" "$cc" -std=c11 -Wall -Wextra \
		-Werror -c -o "$work/linked.o" -I"$include" "$work/linked.c"
done

for cxx in "${CXX:-c++}" g++ clang++; do
	have "$cxx" || continue
	for header in $headers; do
		printf '#include <%s>\n' "$header" >"$work/one.cc"
		try "$header, $cxx, C++17" "$cxx" -std=c++17 -Wall -Wextra \
			-Wpedantic -Werror -fsyntax-only -I"$include" \
			"$work/one.cc"
	done
	try "linked handlers, $cxx, C++17" "$cxx" -x c++ -std=c++17 -Wall \
		-Wextra -Werror -c -o "$work/linked.o" -I"$include" \
		"$work/linked.c"
done

nvcc=${NVCC:-nvcc}
if have "$nvcc"; then
	for header in abi handler map; do
		printf '#include <megakernel/%s.h>\n__global__ void k() {}\n' \
			"$header" >"$work/one.cu"
		try "$header.h, nvcc" "$nvcc" -std=c++17 -Werror all-warnings \
			-I"$include" -ptx -o "$work/one.ptx" "$work/one.cu"
	done
	try "a handler, nvcc" "$nvcc" -x cu -std=c++17 -I"$include" -ptx \
		-o "$work/one.ptx" "$work/handler.c"
else
	echo "no nvcc here: CUDA is not tried"
fi

echo "$tried compilations, $wrong wrong"
[ "$tried" -gt 0 ] && [ "$wrong" -eq 0 ]
