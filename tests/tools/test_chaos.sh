#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-timeout: 300
# ctest-labels: chaos
# Faults by fixed seeds, in both isolation modes: no slot lost, none answered
# twice, no wrong answer. And the records of evidence that they leave.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
TMPDIR=$work
export TMPDIR

# A sanitizer makes all of it some ten times slower.
faults=${CHAOS_FAULTS:-120}
hang=100
case ${MEGAKERNEL_SANITIZE:-} in ?*) faults=40 hang=1000 ;; esac

# run SEED ARGUMENT...: a run that has to be clean
run() {
	seed=$1
	shift
	status 0 "seed $seed" mk chaos --seed "$seed" --hang-ms $hang \
		--seconds 60 "$@" > "seed$seed" 2> err
	has "seed$seed" 'lost 0, answered or run twice 0, wrong 0' "seed $seed"
	grep -q '^FAILED' "seed$seed" && fail "seed $seed: failed, with status 0"
	none err "stderr of seed $seed"
	cat "seed$seed"
}

run 3 --faults 40 --isolation none
# ThreadSanitizer does not see what orders two threads of one process by way
# of another process
case ${MEGAKERNEL_SANITIZE:-} in *thread*) finish ;; esac
run 1 --faults "$faults" --isolation process
run 2 --faults "$faults" --isolation process
has seed3 'needs a worker process' "what isolation none leaves out"
ls -A | grep -v -e '^seed' -e '^err$' -e '^left$' > left
none left "files that are left behind"

# the same plan, whoever asks
mk chaos --list --seed 5 --faults 50 > plan1
mk chaos --list --seed 5 --faults 50 > plan2
mk chaos --list --seed 6 --faults 50 > plan3
same plan1 plan2 "the plan of a seed"
cmp -s plan1 plan3 && fail "two seeds have one plan"
[ "$(wc -l < plan1)" -eq 50 ] || fail "the plan is not 50 lines"

# what is left of a hang, and of a crash
mkdir evidence
status 0 "evidence" mk chaos --kinds hang,crash --faults 4 --seed 3 --json \
	--hang-ms $hang --evidence evidence > json 2> err
has json '"lost": 0' "JSON"
ls evidence/*.json > list 2> nothing || fail "no record of evidence"
while read -r record; do
	status 0 "$record" mk postmortem "$record" >> shown
	status 0 "$record" mk postmortem --json "$record" > again.json
	status 0 "$record again" mk postmortem again.json > again
done < list
has shown 'handler chaos_hang' "the handler that hung"
has shown 'handler chaos_crash' "the handler that crashed"
has shown 'SIGSEGV' "the signal"

# usage
status 2 "a kind that is none" mk chaos --kinds no 2> err
has err "no kind of fault 'no'" "its message"
status 2 "no directory" mk chaos --evidence not/there --faults 1 2> err
has err 'evidence_dir is "not/there": No such file' "its message"
status 2 "an argument" mk chaos 5 2> err
status 2 "an engine that is none" mk chaos --engine no --faults 1 2> err
status 0 "help" mk chaos --help > help
has help 'sigkill' "kinds in the help"
finish
