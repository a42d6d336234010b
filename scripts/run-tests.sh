#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-tests.sh PRESET [ctest arguments]: ctest of one preset, and then which
# cases were skipped inside programs that passed: ctest does not show them.
#
# ThreadSanitizer wants the address space as kernels used to lay it out; where
# a newer one spreads it wider, its programs stop at once. Then the tests run
# with that randomisation off.
set -u

preset=$1
shift
build=build-$preset
[ "$preset" = dev ] && build=build
machine=$(uname -m)
if [ "$preset" = tsan ] && setarch "$machine" -R true 2>/dev/null; then
	setarch "$machine" -R ctest --preset "$preset" "$@"
else
	ctest --preset "$preset" "$@"
fi
status=$?
if [ -r "$build/Testing/Temporary/LastTest.log" ]; then
	awk '
		$2 == "Testing:" { test = $3 }
		/^\[  SKIPPED \] [a-z]/ && !/listed below/ &&
		    !seen[test, $0]++ {
			if (!any++)
				print "\nskipped cases of tests that ran:"
			printf "\t%s: %s\n", test, substr($0, 14)
		}
	' "$build/Testing/Temporary/LastTest.log"
fi
exit "$status"
