#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The kernel and the built-in handlers compile with nvcc, for the oldest
# device that it knows and for a new one; no function calls itself, by however
# many steps, as the stack of such a kernel would be too small, without a word.
# Skipped, and says so, without nvcc.
#
# ctest-timeout: 600
# ctest-once
set -eu

tree=${MEGAKERNEL_SOURCE:?}
nvcc=${NVCC:-$(command -v nvcc || true)}
if [ -z "$nvcc" ]; then
	echo "skipped: there is no nvcc"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# as src/engine/cuda/program.c writes it
{
	echo '#define MKD_THREADS 256'
	for header in megakernel/abi.h stdint.h; do echo "#include <$header>"; done
	echo '#include "device.cuh"'
	for header in handler map; do echo "#include <megakernel/$header.h>"; done
	n=0
	for file in "$tree"/handlers/*.c; do
		printf 'namespace mk_space_%d {\n#include "%s"\n}\n' \
			$n "$(basename "$file")"
		n=$((n + 1))
	done
	echo 'MKD_SLOW int32_t mkd_dispatch(uint32_t handler,'
	echo '	struct mk_task *task, const void *args) { switch (handler) {'
	n=0 handler=0
	for file in "$tree"/handlers/*.c; do
		for name in $(sed -n \
			's/^MK_HANDLER[A-Z_]*(\([a-z0-9_]*\),.*/\1/p' "$file")
		do
			echo "case $handler: return" \
				"mk_space_$n::mk_run_$name(task, args);"
			handler=$((handler + 1))
		done
		n=$((n + 1))
	done
	[ $handler -gt 5 ]
	echo 'default: return -MK_EOPCODE; } }'
	echo '#include "kernel.cu"'
} >"$dir/main.cu"

oldest=$("$nvcc" --list-gpu-code | sed -n 's/^sm_//p' | sort -n | head -1)
for arch in "$oldest" 90; do
	"$nvcc" -arch="sm_$arch" -std=c++17 -cubin -o "$dir/main.cubin" \
		-I"$tree/include" -I"$tree/src/engine/cuda" \
		-I"$tree/handlers" -diag-suppress 177 --fmad=false \
		-Werror all-warnings -Xptxas -v --keep --keep-dir "$dir" \
		"$dir/main.cu" \
		>"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
	grep -E 'Used [0-9]+ registers' "$dir/log" | sed "s/^/sm_$arch: /"
	# who calls whom
	awk '
	/^(\.[a-z]+ )*\.(func|entry)/ { opens = 1 }
	opens && match($0, /[A-Za-z_$][A-Za-z0-9_$]*(\(|$)/) {
		from = substr($0, RSTART)
		sub(/\(.*/, "", from)
		opens = 0
	}
	calls { gsub(/[ \t,;]/, ""); print from, $0; calls = 0 }
	/call.uni/ { calls = 1 }
	' "$dir/main.ptx" | sort -u >"$dir/calls"
	grep -q 'mkd_kernel .*mkd_' "$dir/calls"
	grep -q 'mkd_call_tiles' "$dir/calls"
	tsort "$dir/calls" >"$dir/order" 2>"$dir/loops" || true
	if [ -s "$dir/loops" ]; then
		echo "functions call themselves:"
		cat "$dir/loops"
		exit 1
	fi
	# half of a multiprocessor's 65,536 registers are left to others
	grep -oE 'Used [0-9]+ registers' "$dir/log" | while read -r _ n _; do
		[ "$n" -le 128 ] || { echo "$n registers"; exit 1; }
	done
	# the loop stays in registers: what is spilled is so around calls
	spilled=$(grep -A1 'properties for mkd_kernel' "$dir/log" |
		sed -n 's/.* \([0-9]*\) bytes spill stores.*/\1/p')
	echo "sm_$arch: $spilled bytes spilled"
	[ "$spilled" -le 128 ]
done
