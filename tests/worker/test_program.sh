#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The worker program, started by somebody who is not the library.
set -u
: "${MEGAKERNEL_WORKER:?}"
[ -x "$MEGAKERNEL_WORKER" ] || { echo "no $MEGAKERNEL_WORKER"; exit 1; }
failed=0

fail()
{
	echo "FAILED: $*"
	failed=1
}

out=$("$MEGAKERNEL_WORKER" --version) || fail "--version: status $?"
case $out in
"megakernel-worker "[0-9]*"ABI version "*) ;;
*) fail "--version prints: $out" ;;
esac

# $1: what is said, the rest: the command
refuses()
{
	what=$1
	shift
	err=$("$@" 2>&1 </dev/null)
	status=$?
	[ $status -eq 2 ] || fail "$what: status $status"
	[ "$err" = "megakernel-worker is started by libmegakernel" ] ||
		fail "$what: says: $err"
}

refuses "no descriptor 3" sh -c 'exec "$MEGAKERNEL_WORKER" 3<&-'
refuses "a file as 3" sh -c 'exec "$MEGAKERNEL_WORKER" 3</dev/null'
refuses "arguments" sh -c 'exec "$MEGAKERNEL_WORKER" a b c 3<&-'

# with its standard descriptors closed it neither hangs nor crashes
(exec "$MEGAKERNEL_WORKER" 0<&- 1>&- 2>&- 3<&-)
status=$?
[ $status -eq 2 ] || fail "closed descriptors: status $status"

[ $failed -eq 0 ] && echo "all as it should be"
exit $failed
