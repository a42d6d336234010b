#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `bench` measures both isolations and prints what it claims to. No number is
# judged here. ctest-timeout: 300
# ctest-serial
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
command -v jq > /dev/null || { echo "no jq" >&2; exit 77; }

status 0 "bench" mk bench --quick --no-peers --json > got 2> err
none err "bench"
jq -e '(.own | length) == 2 and (.peers | length) == 0 and .quick and
	(.own | map(.name) | unique | length) == 2' < got > /dev/null ||
	fail "both isolations: $(cat got)"
jq -e '[.own[].round_trip[] | .n > 0 and .p50_ns > 0 and
	.p50_ns <= .p99_ns and .p99_ns <= .p999_ns and .p999_ns <= .max_ns] |
	length == 6 and all' < got > /dev/null || fail "round trips"
jq -e '[.own[].round_trip[].depth] == [1, 8, 64, 1, 8, 64]' < got \
	> /dev/null || fail "depths"
jq -e '[.own[].streaming | .lowest > 0 and .lowest <= .per_second and
	.per_second <= .highest and .helped == 0] | all' < got > /dev/null ||
	fail "streaming"
jq -e '.memory.caller_bytes > 0 and .memory.worker_bytes > 0' < got \
	> /dev/null || fail "memory"

status 0 "one isolation" mk bench --quick --no-peers --isolation none > got
has got "megakernel, none" "one isolation"
grep -q "megakernel, process" got && fail "--isolation none ran process"

# peers that are not there, or print nonsense, are said so
MEGAKERNEL_BENCH_PEERS=$work/absent
export MEGAKERNEL_BENCH_PEERS
status 0 "no peers" mk bench --quick --isolation none > got 2> err
has err "without peers" "no peers"
printf '#!/bin/sh\necho "[{}]"\n' > fake
chmod +x fake
MEGAKERNEL_BENCH_PEERS=$work/fake
status 0 "bad peers" mk bench --quick --isolation none > got 2> err
has err "did not print what it measured" "bad peers"
unset MEGAKERNEL_BENCH_PEERS

peers=${MEGAKERNEL%/*}/megakernel-bench-peers
if [ -x "$peers" ] && [ -z "${MEGAKERNEL_SANITIZE:-}" ]; then
	timeout 100 "$peers" --quick > got || fail "peers"
	jq -e 'length >= 2 and (map(.name) | index("mutex and condition") !=
		null) and ([.[].streaming.per_second > 0] | all)' < got \
		> /dev/null || fail "peers: $(cat got)"
fi
finish
