#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The soak on the CPU engine: right where all is right, and not right where a
# word of a slot goes unread. ctest-timeout: 300
# ctest-serial
# ctest-once
set -u

build=${MEGAKERNEL_BUILD:?}
source=${MEGAKERNEL_SOURCE:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
fails=0

fail()
{
	echo "FAIL: $*"
	fails=$((fails + 1))
}

compile()
{
	${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I"$source/include" "$1" \
		"$build/lib/libmegakernel.a" -o "$2" -lpthread -ldl -lm
}

[ -f "$build/lib/libmegakernel.a" ] || {
	echo "skipped: no static library was built"
	exit 77
}
compile "$source/tests/cuda/soak.c" "$work/soak" || exit 1
for mode in none process; do
	timeout 100 "$work/soak" --engine cpu --isolation $mode \
		--slots 60000 --seconds 30 --queues 5 --groups 2 \
		--producers 3 >"$work/out" || fail "$mode: $(cat "$work/out")"
	grep -q '^all right' "$work/out" || fail "$mode says nothing"
	# the counters started before wraps, and went past them: each queue
	# has its 10,000 or 15,000 slots
	grep -q ' 3 of lap marks, 2 of counters' "$work/out" ||
		fail "$mode: no wraps: $(cat "$work/out")"
	timeout 100 "$work/soak" --engine cpu --isolation $mode --json \
		--slots 5000 --seconds 30 >"$work/out" || fail "$mode, JSON"
	grep -q '"right": true, "submitted": 5000, "answered": 5000' \
		"$work/out" || fail "$mode, JSON: $(cat "$work/out")"
done

# a handler that does not read the twelfth word is found out
sed 's/i < 12; i++/i < 11; i++/' "$source/tests/cuda/soak.c" >"$work/bad.c"
cmp -s "$source/tests/cuda/soak.c" "$work/bad.c" && fail "nothing was changed"
compile "$work/bad.c" "$work/bad" || exit 1
timeout 100 "$work/bad" --engine cpu --slots 2000 --seconds 20 >"$work/out"
[ $? -eq 1 ] || fail "a word that goes unread is not noticed"
grep -q 'mistakes *2000 checksum wrong' "$work/out" || fail "$(cat "$work/out")"

# a tenant that the engine counts elsewhere, too
sed 's/p->tally.tenant\[s->tenant\]++/p->tally.tenant[0]++/' \
	"$source/tests/cuda/soak.c" >"$work/bad.c"
cmp -s "$source/tests/cuda/soak.c" "$work/bad.c" && fail "nothing was changed"
compile "$work/bad.c" "$work/bad" || exit 1
timeout 100 "$work/bad" --engine cpu --slots 2000 --seconds 20 >"$work/out"
[ $? -eq 1 ] || fail "counts of tenants that differ are not noticed"

timeout 20 "$work/soak" --queues 2 --groups 3 2>"$work/err"
[ $? -eq 2 ] || fail "more groups than queues"
[ $fails -eq 0 ]
