#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --json: valid, one object a line, errors included.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
command -v jq > /dev/null || { echo "no jq" >&2; exit 77; }

odd_tree tree
n=$(files_of tree | tr -dc '\0' | wc -c)
status 1 "sha256" mk map --json sha256 tree tree/missing > got 2> err
[ "$(wc -l < got)" -eq $((n + 1)) ] || fail "not a line a file"
jq -e . < got > /dev/null || fail "not JSON"
files_of tree | xargs -0 sha256sum | sed 's/^\\//' | cut -c 1-64 > want
jq -r 'select(.result) | .result' < got > sums
same want sums "sha256 results"
jq -r 'select(.error) | "\(.path) \(.code) \(.error)"' < got > sums
echo "tree/missing ENOENT No such file or directory" > want
same want sums "the error"
jq -r 'select(.path == "tree/new\nline").handler' < got > sums
echo sha256 > want
same want sums "a name with a newline"
jq -r 'select(.path_hex).path_hex' < got > sums
printf 'tree/not utf-8 \377\200' | od -An -v -tx1 | tr -d ' \n' > want
echo >> want
same want sums "a name that is not UTF-8"

mk map --json count tree/a0 "tree/with space" > got
jq -c '.result' < got > sums
cat > want <<'END'
{"lines":1,"words":1,"bytes":2}
{"lines":4,"words":6,"bytes":16}
END
same want sums "count"
jq -c '.bytes' < got > sums
printf '2\n16\n' > want
same want sums "bytes"

mk info --json > got || fail "info --json"
jq -e '.engines[] | select(.name == "cpu" and .available) |
	.workers >= 1' < got > /dev/null || fail "info: the cpu engine"
jq -e '.abi >= 1 and (.fingerprint | length) == 8 and
	.limits.slot_bytes == 64' < got > /dev/null || fail "info: limits"
finish
