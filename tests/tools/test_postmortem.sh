#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Records of evidence: read, shown, and refused when they are none.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
record=$here/evidence.json

status 0 "a record" mk postmortem "$record" > out 2> err
none err "stderr"
has out 'hang: worker 1 made no progress' "the reason"
has out 'MK_EHUNG' "the code"
has out '> worker 1: running' "who is most likely meant"
has out 'handler spin (opcode 32), ticket 7 of queue 0, for 1.234 s' "slot"
has out 'user_data 0xfeedfacecafebeef' "64 bits, whole"
has out '0000002a 00000000 ffffffff' "arguments"
has out 'claimed to 8, submitted to 18446744073709551615' "counters"
has out 'log: ticket 6' "log records"
has out 'and 2 more' "queues that are not described"
status 0 "standard input" mk postmortem - < "$record" > out2
same out out2 "from standard input"
status 0 "JSON" mk postmortem --json "$record" > out3
status 0 "JSON again" mk postmortem out3 > out4
same out out4 "through JSON"

# what may not reach a terminal
printf '\033' > escape
sed 's/made no progress/\\u001b[31mred\\u0007/' "$record" > evil.json
status 0 "control characters" mk postmortem evil.json > out
grep -q "$(cat escape)" out && fail "an escape sequence comes through"
has out '?[31mred?' "what stands for it"

# refused NAME TEXT: the file NAME is no record; the message says TEXT
refused() {
	status 1 "$1" mk postmortem "$1" > out 2> err
	none out "output of $1"
	has err "$2" "message of $1"
}
: > empty
refused empty 'no JSON'
head -c 700 "$record" > cut
refused cut 'no JSON'
echo '[]' > array
refused array 'not a record of evidence'
sed 's/"version": *1/"version": 2/' "$record" > newer
refused newer 'version 2'
sed 's/"version": *1/"version": "1"/' "$record" > typed
refused typed 'no number'
sed 's/"engine": *"cpu",//' "$record" > lacks
refused lacks 'engine of the context is missing'
sed 's/"opcode": *32/"opcode": -1/' "$record" > negative
refused negative "opcode of a worker's slot is of another type"
sed 's/"ticket": *"7"/"ticket": "7x"/' "$record" > trailing
refused trailing "ticket of a worker's slot"
sed 's/"args": *\[42/"args": [[]/' "$record" > nested
refused nested 'args'
head -c 100000 /dev/zero | tr '\0' '[' > deep
refused deep 'no JSON'
head -c 5000 /dev/urandom > random
refused random ''
refused missing 'No such file'
refused . 'directory'
status 2 "no file" mk postmortem 2> err
status 2 "two files" mk postmortem a b 2> err
finish
