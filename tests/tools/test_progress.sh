#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A bar while it runs, on a terminal that has not the lines too; none in files,
# none among the lines, and none left behind.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
command -v script > /dev/null || {
	echo "there is no script(1): skipped"
	exit 0
}

# feed: a line now, and one when the terminal shows a bar. Bounded.
feed() {
	echo 'a needle'
	for _ in $(seq 600); do
		grep -aq "$1" tty 2> /dev/null && break
		sleep 0.05
	done
	echo 'a second needle'
}

# on_terminal WANT COMMAND: COMMAND with stderr (and stdin) of a terminal, of
# which a copy goes to the file tty. $in is a pipe that feed WANT fills.
on_terminal() {
	rm -f tty in
	mkfifo in
	feed "$1" > in &
	script -qefc "$2" tty > /dev/null 2>&1 < /dev/null
	status=$?
	wait
	[ $status -eq 0 ] || fail "$2: exit status $status"
}

on_terminal '0/1 files' "'$MEGAKERNEL' scan -F needle - < in > lines"
printf '(standard input):2:needle\n(standard input):18:needle\n' > want
same want lines 'scan, lines in a file'
has tty '0/1 files' 'scan, stderr is a terminal'
has tty "$(printf '\r\033[K')" 'the bar is wiped away'

# the numbers first, then as much of a bar as there is room for
on_terminal 'MB/s' "stty -F /dev/tty cols 40;
	'$MEGAKERNEL' scan -F needle - < in > lines"
grep -aq '\[ \{8,14\}\] 0/1 files  0 MB  0 MB/s' tty ||
	fail "a bar on 40 columns: $(tr '\r' '\n' < tty | head -n 3)"

on_terminal 'files' "'$MEGAKERNEL' scan -F needle - nowhere < in > lines;
	[ \$? -eq 2 ]"
has tty "$(printf '\r\033[Kmegakernel: scan: nowhere: No such')" \
	'a message wipes the bar first'

on_terminal '0/1 files' "'$MEGAKERNEL' map crc32c - < in > lines"
has tty '0/1 files' 'map, stderr is a terminal'

on_terminal needle "'$MEGAKERNEL' scan -F needle - < in"
has tty ':2:needle' 'lines on the terminal at once'
grep -aq files tty && fail 'a bar among the lines'

{
	echo 'a needle'
	sleep 0.3
} | mk scan -F needle - > lines 2> err
none err 'stderr is a file'
finish
