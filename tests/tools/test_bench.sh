#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `bench` measures both isolations and prints what it claims to; by sections it
# measures what was named. No number is judged here. ctest-timeout: 600
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

jq -e '(.command | startswith("megakernel bench --quick")) and
	(.date | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$")) and
	.machine.cores > 0 and (.machine.kernel | startswith("Linux"))' \
	< got > /dev/null || fail "machine, command and date: $(cat got)"
# the curve is the same sample: it rises, and passes the median
jq -e '[.own[].round_trip[] | (.curve_ns == (.curve_ns | sort)) and
	.curve_ns[0] <= .p50_ns and .p50_ns <= .curve_ns[6] and
	.curve_ns[60] <= .max_ns] | all' < got > /dev/null || fail "curve"

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

# a picture, and the JSON beside the table
status 0 "--svg" mk bench --quick --no-peers --isolation none --svg a.svg \
	--save a.json > got 2> err
none err "--svg"
has got "Streaming" "--save leaves the table"
jq -e '.own | length == 1' < a.json > /dev/null || fail "--save"
[ "$(grep -c '<polyline' a.svg)" -eq 1 ] || fail "a line for each subject"
has a.svg "megakernel, none" "legend"
[ "$(tail -n 1 a.svg)" = "</svg>" ] || fail "the picture is cut off"
status 1 "--svg elsewhere" mk bench --quick --no-peers --isolation none \
	--svg no/such.svg > got 2> err
has err "no/such.svg" "--svg elsewhere"

# by sections, all that need no device
all=cold,saxpy,trip,stream,batch,rows,width,queues,process,wake
status 0 "--only" mk bench --quick --only $all --json --svg b.svg > got 2> err
none err "--only"
jq -e '.failed_sections == 0 and .targets == null and .engine == "cpu"' \
	< got > /dev/null || fail "sections: $(cat got)"
# on a busy machine the workers may not have fallen asleep in time; it says so
jq -e '[.rows[] | select(.known | not) | select((.key == "wake" and
	(.note | test("^woken [0-9]+ times in [0-9]+$"))) | not)] == []' \
	< got > /dev/null ||
	fail "unknown: $(jq -c '.rows[] | select(.known | not)' < got)"
jq -e '[.rows[] | select(.kind == "latency" and .known) | .n > 0 and .min_ns > 0 and
	.min_ns <= .p50_ns and .p50_ns <= .max_ns and
	(.p99_ns == null or (.p50_ns <= .p99_ns and .p99_ns <= .max_ns)) and
	(.p999_ns == null) == (.n < 1000)] | all and length > 20' < got \
	> /dev/null || fail "latencies"
jq -e '[.rows[] | select(.kind == "rate") | .lowest > 0 and
	.lowest <= .per_second and .per_second <= .highest] |
	all and length > 10' < got > /dev/null || fail "rates"
jq -e '(.rows | map(.key)) as $keys | ($keys | unique | length) ==
	($keys | length) and (["trip.1.gaps", "trip.64.back", "rate.64",
	"stream.4.reaper", "batch.256", "rows.64", "width.block",
	"saxpy.1m.slots", "queues.64.one", "process.1.gaps",
	"process.block", "wake",
	"cold.module.cached", "ratio.process"] - $keys) == []' < got \
	> /dev/null || fail "keys"
# one, but for batches whose answers were all there at the first look
jq -e '.rows[] | select(.key == "rows.64.waits") |
	.value > 0 and .value <= 1' < got \
	> /dev/null || fail "waits of a batch"
[ "$(grep -c '<polyline' b.svg)" -eq 2 ] || fail "this and another process"

status 0 "one section" mk bench --quick --only batch > got 2> err
has got "256 no-op slots" "one section"
grep -q "in flight" got && fail "--only batch ran more"

status 2 "no section" mk bench --only trip,frob > got 2> err
none got "no section"
has err "no section 'frob'" "no section"
has err "cold, trip, stream" "the sections that there are"
status 2 "a device's section" mk bench --only graph > got 2> err
has err "no section 'graph' for this engine" "a device's section"
status 2 "empty" mk bench --only "" > got 2> err
has err "no section ''" "empty"

peers=${MEGAKERNEL%/*}/megakernel-bench-peers
if [ -x "$peers" ] && [ -z "${MEGAKERNEL_SANITIZE:-}" ]; then
	timeout 100 "$peers" --quick > got || fail "peers"
	jq -e 'length >= 2 and (map(.name) | index("mutex and condition") !=
		null) and ([.[].streaming.per_second > 0] | all)' < got \
		> /dev/null || fail "peers: $(cat got)"
fi
finish
