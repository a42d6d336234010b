# SPDX-License-Identifier: Apache-2.0
# Read by the tests of scan, after lib.sh.

# compare ARG...: status, lines and binary files of grep, which has its own
# order. $flags are ours alone.
compare() {
	grep -r -b -o -H "$@" > want.raw 2> want.err < input
	want_status=$?
	# shellcheck disable=SC2086 # a list of flags
	mk scan $flags "$@" > got.raw 2> got.err < input
	status=$?
	[ $status -eq $want_status ] ||
		fail "$*: exit status $status, not $want_status"
	sort want.raw > want
	sort got.raw > got
	same want got "$flags $*"
	sed -n 's/^grep: \(.*\): binary file matches$/\1/p' want.err |
		sort > want
	sed -n 's/^megakernel: scan: \(.*\): binary file matches$/\1/p' \
		got.err | sort > got
	same want got "$flags $*: binary files"
}
flags=''
