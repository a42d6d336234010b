#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-once
#
# The man pages are valid mdoc; every public call is described by exactly one;
# they name no call, code or page that does not exist.
set -u

source=${MEGAKERNEL_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
mandoc=${MANDOC:-mandoc}
if ! command -v "$mandoc" >/dev/null 2>&1; then
	echo "skipped: mandoc is not installed"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$source/man" || exit 1
status=0

bad()
{
	echo "check-man: $*"
	status=1
}

for page in *.[1-9]; do
	# its notes of pages that are not installed here are no findings: what
	# is referred to is looked for below
	"$mandoc" -T lint "$page" 2>&1 |
		grep -vE 'outdated mandoc.db|referenced manual not found' \
			>"$work/lint"
	# groff sets lines that mandoc does not
	if command -v groff >/dev/null 2>&1; then
		LC_ALL=C.UTF-8 groff -mdoc -Tutf8 -Kutf8 -rLL=78n -ww -z \
			"$page" 2>>"$work/lint"
	fi
	if [ -s "$work/lint" ]; then
		cat "$work/lint"
		status=1
	fi
	head -n 1 "$page" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
		bad "$page: no licence line"
done

# Calls of the headers: MK_API, MK_IO_API and inline ones.
cat ../include/megakernel.h ../include/megakernel/dispatch.h \
	../include/megakernel/cuda.h ../include/megakernel/recovery.h \
	../include/megakernel/stats.h ../include/megakernel/requests.h \
	../include/megakernel/batch.h ../include/megakernel/io.h \
	../include/megakernel/stream.h |
	tr '\n\t' '  ' >"$work/headers"
grep -oE '(MK_API|MK_IO_API|static inline) [^;({]*\(' "$work/headers" |
	sed 's/ *($//; s/.*[ *]//' | grep '^mk_' | sort -u >"$work/calls"
sed -n 's/^\.Nm \([^ ]*\).*/\1/p' ./*.3 | sort >"$work/described"
uniq -d "$work/described" >"$work/twice"
while read -r name; do
	bad "$name is described by two pages"
done <"$work/twice"
sort -u "$work/described" | comm -23 "$work/calls" - >"$work/missing"
while read -r name; do
	bad "$name is described by no page"
done <"$work/missing"

# What the pages speak of; the calls of handlers are MK_FN.
cat ../include/megakernel/handler.h ../include/megakernel/flow.h \
	../include/megakernel/map.h ../include/megakernel/chunk.h |
	grep -oE '^MK_FN [^(]*\(' | sed 's/ *($//; s/.*[ *]//' |
	sort -u - "$work/calls" >"$work/known"
sed -n 's/^\.F[no] "*\(mk_[a-z0-9_]*[a-z0-9]\).*/\1/p; s/^\.Pq Fn \(mk_[a-z0-9_]*\).*/\1/p' \
	./*.[1-9] | sort -u | comm -13 "$work/known" - >"$work/unknown"
while read -r name; do
	bad "$name is no call of the headers"
done <"$work/unknown"
cat ../include/megakernel.h ../include/megakernel/*.h >"$work/all"
grep -hv '^\.Dt' ./*.[1-9] | grep -ohE '\bMK_[A-Z][A-Z0-9_]*' | sort -u | while read -r name; do
	grep -qw "$name" "$work/all" || echo "$name"
done >"$work/unknown"
while read -r name; do
	bad "$name is in no header"
done <"$work/unknown"
sed -n 's/^\.Xr \(m[a-z_]*\) \([1-9]\).*/\1.\2/p' ./*.[1-9] | sort -u |
while read -r page; do
	[ -f "$page" ] || echo "$page"
done >"$work/unknown"
while read -r page; do
	bad "$page is referred to and not there"
done <"$work/unknown"

[ "$status" -eq 0 ] &&
	echo "$(ls ./*.[1-9] | wc -l) pages, $(($(wc -l <"$work/calls"))) calls"
exit "$status"
