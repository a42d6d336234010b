#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/cuda-run.sh with programs that only pretend: what passed, what was
# skipped, failed or hung is told apart, and the results are JSON.
# ctest-once
. "$(dirname "$0")/lib.sh"
command -v jq > /dev/null || { echo "no jq" >&2; exit 77; }
run=$here/../../scripts/cuda-run.sh
cd "$work" || exit 1
mkdir -p dir/bin dir/tests dir/lib tools
echo some-revision > dir/revision

# program PATH BODY
program() {
	printf '#!/bin/sh\n%s\n' "$2" > "$1"
	chmod +x "$1"
}
program dir/tests/smoke 'echo all answers right'
program dir/tests/soak 'echo "{\"right\": true}"'
for test in conformance_ops conformance_flow conformance_refusals \
	conformance_modules conformance_work_flow conformance_work_graphs \
	conformance_made conformance_scans io_requests io_stream; do
	program dir/tests/test_$test \
		'echo "[       OK ] cuda/none: $MK_CONFORM_ONLY"'
done
program dir/bin/megakernel 'echo "$*"; [ "$1" = neighbour ] && exit 2
while [ $# -gt 1 ]; do [ "$1" = --save ] && echo "{}" > "$2"; shift; done; exit 0'
# finds what is planted, in memory alone
program tools/compute-sanitizer 'case "$*" in
*plant\ memory*) echo "========= at mk_run_plant_memory"; exit 9 ;;
*) echo "========= ERROR SUMMARY: 0 errors" ;; esac'
program tools/nvidia-smi 'case "$*" in
*name*) echo "Some GPU" ;; *driver*) echo 1.2.3 ;; esac'
PATH=$work/tools:$PATH

status 0 "all well" sh "$run" dir logs smoke conformance soak memcheck bench \
	> got 2> err
none err "all well"
has got "the planted mistake was found" "memcheck"
jq -e '.device == "Some GPU" and .driver == "1.2.3" and
	.revision == "some-revision" and (.date | length == 20) and
	(.runs | length) == 17' < logs/results.json > /dev/null ||
	fail "results: $(cat logs/results.json)"
jq -e '[.runs[] | select(.name != "memcheck-planted") | .status == 0 and
	.verdict == "passed"] | all' < logs/results.json > /dev/null ||
	fail "passed: $(cat logs/results.json)"
jq -e '.right' < logs/soak-none.json > /dev/null || fail "soak-none.json"
[ -f logs/bench.json ] || fail "bench.json is not among the logs"
grep -n "$work" logs/*.log > got && fail "a path of this machine: $(cat got)"
[ -z "$(find logs -name '*[!A-Za-z0-9_.-]*')" ] || fail "odd file names"
for log in logs/*.log; do
	has "$log" "Some GPU, driver 1.2.3, revision some-revision" "$log"
	has "$log" "SPDX-License-Identifier" "$log"
done

# a suite of which nothing ran on the device has shown nothing
has logs/conformance_ops.log "cuda/none: cuda/*" "on the device alone"
program dir/tests/test_conformance_flow 'echo "[  PASSED  ] 0 test(s)."'
status 1 "no case" sh "$run" dir logs conformance > got 2> err
has got "no case ran on the device" "no case"
has got "failed: conformance_flow-empty" "no case"

# a checker that does not find what is planted proves nothing
status 1 "racecheck" sh "$run" dir logs racecheck > got 2> err
has got "the planted mistake was NOT found" "racecheck"
has got "failed: racecheck-planted" "racecheck"

# no such command is a skip, one that fails is a failure
program dir/bin/megakernel 'exit 2'
status 0 "no neighbour" sh "$run" dir logs neighbour > got 2> err
has got "neighbour: skipped" "no neighbour"
program dir/tests/smoke 'exit 77'
status 0 "skipped" sh "$run" dir logs smoke > got 2> err
has got "smoke-none: skipped (status 77" "skipped"
status 1 "failed" sh "$run" dir logs bench > got 2> err
has got "bench: failed (status 2" "failed"

# what hangs is killed, with what it started
program dir/tests/smoke 'sleep 300 & wait'
MEGAKERNEL_RUN_SECONDS=1
export MEGAKERNEL_RUN_SECONDS
status 1 "hangs" sh "$run" dir logs smoke > got 2> err
has got "smoke-none: failed, not done in 1 s" "hangs"
jq -e '.runs | length == 2 and all(.status == 137)' < logs/results.json \
	> /dev/null || fail "hangs: $(cat logs/results.json)"
status 2 "no part" sh "$run" dir logs frob > got 2> err
has err "no part is called frob" "no part"
finish
