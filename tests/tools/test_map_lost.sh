#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The worker process dies while `map` or `scan` runs: the work is done again,
# and every line is right. If it dies too often: a message, status 2, and no
# line that could pass for an answer.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
[ -r /proc/self/task/$$/children ] || { echo "no children in /proc" >&2;
	exit 77; }

# start NAME COMMAND...: in the background; pid, got, err, code
start()
{
	rm -f pid code
	{
		sh -c 'echo $$ > pid; exec "$MEGAKERNEL" "$@"' sh "$@" \
			> got 2> err
		echo $? > code
	} &
	until [ -s pid ]; do sleep 0.01; done
	read -r pid < pid
}

# kill the worker process that is there, once there is one
kill_worker()
{
	worker=
	tries=0
	while [ -z "$worker" ] && [ $tries -lt 3000 ] && [ ! -s code ]; do
		worker=$(cat "/proc/$pid/task/"*/children 2> /dev/null)
		tries=$((tries + 1))
		[ -n "$worker" ] || sleep 0.01
	done
	# shellcheck disable=SC2086
	[ -z "$worker" ] || kill -9 $worker 2> /dev/null
}

# wait for the end
finished()
{
	tries=0
	while [ ! -s code ] && [ $tries -lt 9000 ]; do
		tries=$((tries + 1))
		sleep 0.01
	done
	[ -s code ] || { kill -9 "$pid"; fail "the program hangs"; }
	wait
}

# a pipe that brings more than a chunk between two deaths
awk 'BEGIN { for (i = 0; i < 120000; i++) printf "%d needle\n", i }' > text
sha256sum < text > want
mkfifo pipe
feed()
{
	exec 3> pipe
	split -n 3 text part.
	for part in part.*; do
		cat $part >&3
		kill_worker
		sleep 0.1
	done
	exec 3>&-
}
start map sha256 pipe
feed
finished
[ "$(cat code)" = 0 ] || fail "map of a pipe: $(cat code), $(cat err)"
[ "$(cut -c1-64 got)" = "$(cut -c1-64 want)" ] || fail "sum: $(cat got)"
has err "was lost and replaced" "map says so"

start scan -F -c needle pipe
feed
finished
[ "$(cat code)" = 0 ] || fail "scan of a pipe: $(cat code), $(cat err)"
echo "pipe:120000" > want
cmp -s want got || fail "lines counted: $(cat got)"

# in the middle of a part, whichever of a file it is
cat > slow.c <<'END'
#include <megakernel/handler.h>
#include <megakernel/map.h>
#include <unistd.h>

MK_HANDLER(slow, struct mk_map_args)
{
	uint64_t *seen = mk_map_state(task, args, 8);

	if (!seen)
		return mk_fail(task);
	*seen += args->bytes;
	usleep(50000);
	*seen += args->bytes;
	if (mk_map_last(args))
		mk_map_number(task, args, *seen);
	return MK_OK;
}
END
mk compile slow.c > /dev/null || fail "compile"
echo small > small
start map slow.mkm pipe text small text
echo > pipe # opened: the engine is there
for i in 1 2 3 4 5; do
	kill_worker
	sleep 0.07
done
finished
[ "$(cat code)" = 0 ] || fail "in a part: $(cat code), $(cat err)"
bytes=$(($(wc -c < text) * 2))
printf '2  pipe\n%d  text\n12  small\n%d  text\n' $bytes $bytes > want
cmp -s want got || fail "parts: $(cat got)"

# too often
cat > stuck.c <<'END'
#include <megakernel/handler.h>
#include <megakernel/map.h>

MK_HANDLER(stuck, struct mk_map_args)
{
	while (args->bytes == 6 && !mk_cancelled(task))
		;
	mk_map_number(task, args, args->bytes);
	return MK_OK;
}
END
mk compile stuck.c > /dev/null || fail "compile"
echo 1 > a
echo stuck > b
echo 3 > c
start map stuck.mkm a b c
while [ ! -s code ]; do
	kill_worker
	sleep 0.05
done
finished
[ "$(cat code)" = 2 ] || fail "status $(cat code)"
grep -q -e "was lost" -e "did not start.*killed by signal 9" err ||
	fail "message: $(cat err)"
printf '2  a\n' > want
: > nothing
cmp -s want got || cmp -s nothing got || fail "lines: $(cat got)"

# a handler that crashes ends its own file
cat > crash.c <<'END'
#include <megakernel/handler.h>
#include <megakernel/map.h>

MK_HANDLER(crash, struct mk_map_args)
{
	if (args->bytes == 6)
		__builtin_trap();
	if (mk_map_last(args))
		mk_map_number(task, args, args->bytes);
	return MK_OK;
}
END
mk compile crash.c > /dev/null || fail "compile"
status 1 "a crash" mk map crash.mkm a b c text b > got 2> err
[ "$(grep -c "b: the handler 'crash' ended with MK_EFAULT" err)" = 2 ] ||
	fail "two crashes: $(cat err)"
has err "replaced 2 times" "two deaths"
[ "$(grep -c . got)" = 3 ] || fail "three lines: $(cat got)"
finish
