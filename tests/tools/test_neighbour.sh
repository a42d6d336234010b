#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `neighbour` without a GPU says so; beside a driver that is not there, whose
# calls do wait for the kernel, it comes to its end and says what is true.
# ctest-once
# ctest-timeout: 400
. "$(dirname "$0")/lib.sh"

status 2 "no such mode" mk neighbour --mode nowhere > "$work/got" 2> "$work/err"
has "$work/err" "resident, quiesce, park, process or all" "no such mode"
for option in "--bound-ms 0" "--device x" "--sm-count 0" "x"; do
	# shellcheck disable=SC2086
	status 2 "$option" mk neighbour $option > "$work/got" 2> "$work/err"
	has "$work/err" "Try 'megakernel" "$option"
done

. "$here/fake_driver.sh"
command -v jq > /dev/null || { [ $fails -eq 0 ] && exit 77; finish; }
fake_driver

[ $fails -eq 0 ] || finish
status 0 "neighbour" timeout 300 "$MEGAKERNEL" neighbour --no-share \
	--watch-ms 200 --bound-ms 10000 --json > "$work/json" 2> "$work/err"
none "$work/err" "neighbour"

# what N calls of a mode came to
count() {
	n=$(jq "[.calls[] | select($2)] | length" < "$work/json")
	[ "$n" = "$1" ] || fail "$n calls, not $1, are $2"
}
count 75 .within_bound
count 15 '.mode == "alone" and .end == "returned"'
count 4 '.mode == "resident" and .end == "blocked until quiesced"'
count 11 '.mode == "resident" and .end == "returned"'
count 15 '.mode == "quiesce" and .end == "returned" and .quiesce_ns > 0'
count 15 '.mode == "park" and .end == "returned"'
count 15 '.mode == "process" and .end == "returned"'
count 60 '.slot_ns > 0'
jq -r '.calls[] | select(.mode == "resident" and .end != "returned") |
	.call' < "$work/json" | sort > "$work/got"
printf '%s\n' cuCtxSynchronize cuMemFree cuMemFreeHost cuModuleLoadData \
	> "$work/want"
same "$work/want" "$work/got" "the calls that wait"
[ $fails -eq 0 ] || head -c 3000 "$work/json" >&2
finish
