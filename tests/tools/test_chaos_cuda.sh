#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `chaos` over the kernel of the engine `cuda`, emulated: worker processes die
# while a few workers serve many queues. No slot is lost or wrong, and none is
# taken for hung: nothing hangs but what stands still for far too long.
# ctest-once
# ctest-timeout: 400
. "$(dirname "$0")/lib.sh"
. "$here/fake_driver.sh"
fake_driver

# half a minute goes into compiling the kernel, once for each module
status 0 "chaos" timeout 300 "$MEGAKERNEL" chaos --engine cuda --seed 5 \
	--faults 40 --seconds 30 --hang-ms 8000 --kinds sigkill \
	> "$work/got" 2> "$work/err"
none "$work/err" "chaos"
has "$work/got" "lost 0, answered or run twice 0, wrong 0" "the verdict"
has "$work/got" " 0 hangs," "worker processes that hang"
[ $fails -eq 0 ] || cat "$work/got" >&2
finish
