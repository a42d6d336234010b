#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-tests.sh PRESET [ctest arguments]: ctest of one preset.
#
# ThreadSanitizer wants the address space as kernels used to lay it out; where
# a newer one spreads it wider, its programs stop at once. Then the tests run
# with that randomisation off.
set -eu

preset=$1
shift
if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
	exec setarch "$(uname -m)" -R ctest --preset "$preset" "$@"
fi
exec ctest --preset "$preset" "$@"
