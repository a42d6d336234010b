#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `map` says when something is wrong, and that all else is answered.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

odd_tree tree
ln -s turn tree/turn
cat > want.err <<'END'
megakernel: map: tree/missing: No such file or directory
megakernel: map: tree/turn: Too many levels of symbolic links
megakernel: map: tree/a0/x: Not a directory
END
sha256sum tree/a0 tree/size262145 tree/a/one > want
for isolation in process none; do
	status 1 "unreadable, $isolation" mk map --isolation $isolation \
		sha256 tree/missing tree/a0 tree/turn tree/size262145 \
		tree/a0/x tree/a/one > got 2> err
	same want got "unreadable, $isolation"
	same want.err err "unreadable, $isolation, messages"
done
status 1 "empty name" mk map sha256 "" tree/a0 > got 2> err
has got "  tree/a0" "empty name"
has err "map: '': No such file or directory" "empty name"
status 1 "odd name" mk map sha256 "$(printf 'no\nsuch')" 2> err
has err "'no'\$'\\n''such': No such file" "odd name"

# as anyone but root: a file and a directory without permission
if [ "$(id -u)" -ne 0 ]; then
	mkdir closed closed/in
	echo 1 > closed/a
	echo 2 > closed/b
	echo 3 > closed/in/c
	echo 4 > closed/z
	sha256sum closed/a closed/z > want
	chmod 0 closed/b closed/in
	status 1 "no permission" mk map sha256 closed > got 2> err
	same want got "no permission"
	has err "closed/b: Permission denied" "a file without permission"
	has err "closed/in: Permission denied" "a directory without permission"
	[ "$(wc -l < err)" -eq 2 ] || fail "no permission: messages"
	chmod 700 closed/in
fi

# output that cannot be written
if [ -w /dev/full ]; then
	status 1 "/dev/full" mk map sha256 tree > /dev/full 2> err
	has err "standard output: No space left on device" "/dev/full"
	status 1 "/dev/full, count" mk map count tree/a0 > /dev/full 2> err
	has err "standard output: No space left on device" "/dev/full, count"
fi
# a reader that leaves: no message, no hang
{ mk map sha256 tree tree tree 2> err; echo $? > code; } | :
none err "closed pipe"
case $(cat code) in
0 | 1) ;; # 0: all was written before the reader left
*) fail "closed pipe: exit status $(cat code)" ;;
esac

# standard streams that were closed: nothing else is read or written for them
sha256sum tree/a0 > want
for isolation in process none; do
	set -- --isolation $isolation sha256 -
	status 1 "no stdin, $isolation" mk map "$@" tree/a0 > got 2> err <&-
	same want got "no stdin, $isolation"
	has err "map: -: Bad file descriptor" "no stdin, $isolation"
	status 1 "no stdout, $isolation" mk map "$@" < tree/a0 2> err >&-
	has err "standard output: Bad file descriptor" "no stdout, $isolation"
	status 1 "no stderr, $isolation" mk map "$@" tree/missing tree/a0 \
		> got < /dev/null 2>&-
	has got "  tree/a0" "no stderr, $isolation"
done

# usage: status 2, a hint, nothing on stdout
usage() {
	text=$1
	shift
	status 2 "$*" mk "$@" > got 2> err
	none got "$*"
	has err "$text" "$*"
}
usage "HANDLER and PATH are missing" map
usage "PATH is missing" map sha256
usage "no handler 'sha257'" map sha257 tree
usage "'nop' takes 8 bytes" map nop tree
usage "nowhere.c" map nowhere.c tree
usage "--workers is 'x'" map --workers x sha256 tree
usage "--workers is '0'" map --workers 0 sha256 tree
usage "--workers is '-1'" map --workers -1 sha256 tree
usage "--readers is '99999999999999999999'" \
	map --readers 99999999999999999999 sha256 tree
usage "--isolation is 'some'" map --isolation some sha256 tree
usage "'nope'" map --engine nope sha256 tree
usage "Try 'megakernel map --help'" map --frobnicate sha256 tree

# the table of --stats comes on stderr, and counts
mk map --stats sha256 tree/a0 tree/size524289 tree/missing > got 2> err
sha256sum tree/a0 tree/size524289 > want
same want got "--stats"
has err "map: 3 files, 1 failed" "--stats"
for row in 'input_bytes *524291 B' 'submitted *4 slots' 'ok *4 slots' \
	'failed *0 slots' 'kernel_launches *1$' 'output_buffers *2 results' \
	'output_bytes *512 B' 'readback_bytes *576 B' \
	'resident_resource_rows *4 slots' 'resident_resource_handles *8$' \
	'device_allocation_events *2$' 'recovered_after_device_loss *0$' \
	'sync_points *[0-9]+$' 'device allocation rate *[1-9][0-9]* B/s'; do
	grep -Eq "^  $row" err || fail "--stats: no '$row' in: $(cat err)"
done
finish
