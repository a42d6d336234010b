# SPDX-License-Identifier: Apache-2.0
# Model checks with spin: sourced by the tests of this folder.
#
#   holds MODEL [-D...]   every state is looked at, and nothing is wrong
#   breaks MODEL [-D...]  an assertion is violated: the check can fail

set -u
spin=${SPIN:-spin}
cc=${CC:-cc}
source=${MEGAKERNEL_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
if ! command -v "$spin" >/dev/null 2>&1; then
	echo "skipped: spin is not installed"
	exit 77
fi
if ! command -v "$cc" >/dev/null 2>&1; then
	echo "skipped: there is no C compiler"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
wrong=0

# Search all states of a model; its report is in $work/report.
search()
{
	model=$1
	shift
	rm -f pan*
	if ! "$spin" -a "$@" "$source/model/$model.pml" >report 2>&1 ||
	   ! "$cc" "$optimise" -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c \
		>>report 2>&1 ||
	   ! ./pan -n -m100000 >report 2>&1; then
		return 1
	fi
	! grep -Eq 'search depth too small|memory limit|out of memory|error:' \
		report
}

bad()
{
	echo "WRONG: $*"
	cat report
	wrong=$((wrong + 1))
}

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' report; }

holds()
{
	optimise=-O2
	if ! search "$@" || ! grep -q 'errors: 0$' report; then
		bad "$* does not hold"
	else
		echo "holds:  $* ($(states) states)"
	fi
}

breaks()
{
	optimise=-O0 # it ends soon
	if ! search "$@" || ! grep -q 'errors: 1$' report ||
	   ! grep -q 'assertion violated' report; then
		bad "$* was not found out"
	else
		echo "breaks: $*"
	fi
}

finish()
{
	[ "$wrong" -eq 0 ] || exit 1
	exit 0
}
