# SPDX-License-Identifier: Apache-2.0
# Read by scripts behind lib.sh, whose engine `cuda` is to run without a GPU:
# the kernel's text, compiled for the CPU, behind a driver that is not there.

# Builds it in $work/lib, where programs find it from then on. Without the
# tools for that the script ends here, as skipped.
fake_driver() {
	tree=$here/../..
	cc=${CC:-cc}
	objcopy=$(command -v objcopy) && [ -n "${CXX:-}" ] ||
		{ [ $fails -eq 0 ] && exit 77; finish; }
	# The fake's functions are its file's own: make those of the driver
	# public.
	"$cc" -c -fPIC -D_GNU_SOURCE -O1 -g -fvisibility=hidden \
		-I"$tree/tests" -I"$tree/src" -I"$tree/include" \
		-o "$work/fake.o" "$tree/tests/cuda/fake_library.c" ||
		fail "compiling the driver"
	nm "$work/fake.o" |
		sed -n 's/.* [tT] \(\(cu[A-Z]\|nvrtc\)[A-Za-z0-9_]*\)$/\1/p' \
		> "$work/symbols"
	"$objcopy" --globalize-symbols="$work/symbols" "$work/fake.o" ||
		fail "objcopy"
	mkdir "$work/lib"
	"$cc" -shared -o "$work/lib/libcuda.so.1" "$work/fake.o" -lpthread \
		-ldl || fail "linking the driver"
	for name in libnvrtc.so libnvrtc.so.14 libnvrtc.so.13 libnvrtc.so.12 \
		libnvrtc.so.11.2; do
		ln -s libcuda.so.1 "$work/lib/$name"
	done
	LD_LIBRARY_PATH=$work/lib MEGAKERNEL_SOURCE=$tree
	export LD_LIBRARY_PATH MEGAKERNEL_SOURCE
	[ $fails -eq 0 ] || finish
}
