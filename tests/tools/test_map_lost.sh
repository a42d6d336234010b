#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The worker process dies while `map` runs: a message, status 2, and no line
# that could pass for an answer.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
[ -r /proc/self/task/$$/children ] || { echo "no children in /proc" >&2;
	exit 77; }

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

{
	sh -c 'echo $$ > pid; exec "$MEGAKERNEL" map stuck.mkm a b c' \
		> got 2> err
	echo $? > code
} &
pid=
worker=
tries=0
while [ -z "$worker" ] && [ $tries -lt 3000 ] && [ ! -s code ]; do
	[ -s pid ] && read -r pid < pid
	worker=$(cat "/proc/$pid/task/"*/children 2> /dev/null)
	tries=$((tries + 1))
	sleep 0.01
done
[ -n "$worker" ] || fail "no worker process"
# it may not have been given the stuck slot yet, or not even have started; that
# must not matter
sleep 0.3
# shellcheck disable=SC2086
kill -9 $worker
tries=0
while [ ! -s code ] && [ $tries -lt 6000 ]; do
	tries=$((tries + 1))
	sleep 0.01
done
[ -s code ] || { kill -9 "$pid"; fail "the program hangs"; }
wait
[ "$(cat code)" = 2 ] || fail "exit status $(cat code), not 2"
grep -q -e "was lost" -e "did not start.*killed by signal 9" err ||
	fail "message: $(cat err)"
printf '2  a\n' > want
: > nothing
cmp -s want got || cmp -s nothing got || fail "lines: $(cat got)"
finish
