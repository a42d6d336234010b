#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install a release build below a prefix of its own, then build the examples
# against what lies there, with pkg-config, with CMake, and with the headers and
# libraries of that prefix alone, shared and static, and run them. Nothing of
# the source tree may be needed by what was installed, nor that it stays where
# it is.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
prefix="$work/pre fix"

fail()
{
	echo "check-install: $*" >&2
	exit 1
}

cmake -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
	-DBUILD_TESTING=OFF -DMK_BENCH=OFF -DCMAKE_INSTALL_PREFIX="$prefix"
cmake --build "$work/build" -j "${JOBS:-2}"
cmake --install "$work/build"
(cd "$prefix" && find . -type f -o -type l | sort)

# The build tree goes, so that nothing can be found in it.
rm -rf "$work/build"
unset MEGAKERNEL_WORKER MEGAKERNEL_INCLUDE
export XDG_CACHE_HOME="$work/cache"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name megakernel.pc)")
export PKG_CONFIG_PATH
libdir=$(dirname "$PKG_CONFIG_PATH")

for file in megakernel.h megakernel/abi.h megakernel/handler.h \
	megakernel/io.h megakernel/stream.h megakernel/chunk.h; do
	[ -f "$prefix/include/$file" ] || fail "$file is not installed"
done
for file in bin/megakernel libexec/megakernel/megakernel-worker; do
	[ -x "$prefix/$file" ] || fail "$file is not installed"
	if grep -q "$source" "$prefix/$file"; then
		fail "$file has a path of the source tree in it"
	fi
done
[ ! -e "$prefix/include/engine" ] || fail "a private header is installed"
"$prefix/bin/megakernel" info >/dev/null

# what libmegakernel-io was built with
uring=
if pkg-config --print-requires-private megakernel-io | grep -q liburing; then
	uring=$(pkg-config --libs liburing)
fi

built=0
for example in "$source"/examples/*.c; do
	name=$(basename "$example" .c)
	case $name in *_handler) continue ;; esac
	# The flags are several words, and quoted for a shell.
	eval "$cc -std=c11 -O2 -o \"\$work/\$name\" \"\$example\" \
		$(pkg-config --cflags --libs megakernel-io) -pthread"
	(cd "$source/examples" &&
		LD_LIBRARY_PATH="$libdir" "$work/$name" >/dev/null) ||
		fail "example $name, shared: status $?"
	eval "$cc -std=c11 -O2 -o \"\$work/\$name-static\" \"\$example\" \
		$(pkg-config --cflags megakernel) \
		\"\$libdir/libmegakernel-io.a\" \"\$libdir/libmegakernel.a\" \
		$uring -pthread -ldl"
	(cd "$source/examples" && "$work/$name-static" >/dev/null) ||
		fail "example $name, static: status $?"
	built=$((built + 1))
done
[ "$built" -gt 0 ] || fail "there is no example"

# find_package() of CMake.
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(check C)
find_package(megakernel 0.1 REQUIRED)
foreach(library megakernel megakernel_static io io_static)
	add_executable(with_${library} "${SOURCE}/examples/hello.c")
	target_link_libraries(with_${library} megakernel::${library})
endforeach()
END
with_cmake()
{
	cmake -S "$work/project" -B "$work/project/$1" -DSOURCE="$source" \
		-DCMAKE_PREFIX_PATH="$2" >/dev/null || fail "find_package, $1"
	cmake --build "$work/project/$1" >/dev/null || fail "CMake, $1"
	shift 2
	for library; do
		"$work/project"/*/"with_$library" >/dev/null ||
			fail "CMake, $library: status $?"
	done
	rm -rf "$work/project/here"
}
with_cmake here "$prefix" megakernel megakernel_static io io_static

# Moved, it finds its parts beside it. A program with the static library is no
# part of it.
mv "$prefix" "$work/moved"
with_cmake moved "$work/moved" megakernel io
PKG_CONFIG_PATH=$work/moved${PKG_CONFIG_PATH#"$prefix"}
eval "$cc -std=c11 -o \"\$work/moved-hello\" \"\$source/examples/hello.c\" \
	$(pkg-config --cflags --libs megakernel)"
LD_LIBRARY_PATH=$work/moved${libdir#"$prefix"} "$work/moved-hello" >/dev/null ||
	fail "hello against an installation that was moved: status $?"
cp "$source/examples/saxpy_handler.c" "$work/own.c"
(cd "$work" && moved/bin/megakernel compile own.c >/dev/null) ||
	fail "an installation that was moved: status $?"
echo "$built examples built against $prefix and run, shared and static"
