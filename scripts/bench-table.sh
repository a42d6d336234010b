#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The table of docs/benchmarks.md that puts predictions beside measurements:
# printed from a result, never typed.
#
#	scripts/bench-table.sh RESULT.json   print it
#	scripts/bench-table.sh --write RESULT.json
#	                                     put it into the document, where the
#	                                     marks are, and name the result there
#	scripts/bench-table.sh --check       is the document's table the one of
#	                                     the result that it names?
#
# RESULT.json is what `megakernel bench --engine cuda --save` wrote;
# predictions are bench/predictions.tsv. With --write and --check the result
# has to lie in this tree: its name is written down relative to it.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
document=${MEGAKERNEL_BENCH_DOCUMENT:-$tree/docs/benchmarks.md}
predictions=$tree/bench/predictions.tsv
begin='<!-- cuda table: '
end='<!-- cuda table ends -->'

command -v jq >/dev/null || { echo "bench-table: no jq" >&2; exit 77; }

table()
{
	jq -r --rawfile predicted "$predictions" '
	def places: if . >= 100 then round elif . >= 10 then (. * 10 | round) /
		10 else (. * 100 | round) / 100 end | tostring;
	def us: . / 1000 | places;
	def time: if . >= 1e6 then "\(. / 1e6 | places) ms" else "\(us) us" end;
	def measured:
		if .known | not then "unknown: \(.note)"
		elif .kind == "latency" then (.p50_ns | time) +
			(if .p99_ns then " (p99 \(.p99_ns | time)" +
			(if .p999_ns then ", p99.9 \(.p999_ns | time)" else ""
			end) + ")" else "" end)
		elif .kind == "rate" then "\(.per_second / 1e6 | places) M/s " +
			"(\(.lowest / 1e6 | places) to " +
			"\(.highest / 1e6 | places))"
		else "\(.value | places) \(.unit)" end;
	($predicted | split("\n") | map(select(length > 0 and
		(startswith("#") | not)) | split("\t") |
		{key: .[0], value: {figure: .[1], why: .[2]}}) |
		from_entries) as $p |
	([(.targets // [])[] | select(.met != null)] | group_by(.key) |
		map({key: .[0].key, value: (map("\(.bound) " +
		if .met then "met" else "**not met**" end) | join("; "))}) |
		from_entries) as $t |
	"`\(.command)`, \(.date), \(.device.name // "no device"), driver " +
	"\(.device.driver // "unknown"), CUDA \(.device.cuda // "unknown"), " +
	"NVRTC \(.device.nvrtc // "unknown"), \(.machine.cores) x " +
	"\(.machine.processor)\(if .quick then "; a quick run" else "" end). " +
	"Latencies are medians.\n\n" +
	"| measure | predicted | measured | to reach | why so predicted |\n" +
	"|---|---|---|---|---|",
	(.rows[] | "| \(.section): \(.label) | " +
		"\($p[.key].figure // "") | \(measured) | " +
		"\($t[.key] // "") | \($p[.key].why // "") |"),
	([.targets[]? | select(.met == null).key] | unique | if length > 0
		then "\nNot measured: \(join(", "))." else empty end)
	' "$1"
}

# The document with the text of a file between its marks.
with_table()
{
	awk -v begin="$begin" -v end="$end" -v name="$2" -v text="$1" '
	index($0, begin) == 1 {
		print begin name " -->"
		while ((getline line < text) > 0)
			print line
		inside = 1
	}
	index($0, end) == 1 { inside = 0 }
	!inside
	' "$document"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case ${1:-} in
--write)
	result=$(cd "$(dirname "${2:?a result is missing}")" && pwd)
	result=$result/$(basename "$2")
	case $result in
	"$tree"/*) ;;
	*) echo "bench-table: $2 is not in this tree" >&2; exit 2 ;;
	esac
	table "$result" >"$work/table"
	with_table "$work/table" "${result#"$tree"/}" >"$work/document"
	grep -qF "$end" "$work/document" || {
		echo "bench-table: $document has no marks" >&2
		exit 2
	}
	cat "$work/document" >"$document"
	;;
--check)
	name=$(sed -n "s/^$begin\(.*\) -->\$/\1/p" "$document")
	[ -n "$name" ] || {
		echo "bench-table: $document has no marks" >&2
		exit 1
	}
	table "$tree/$name" >"$work/table"
	with_table "$work/table" "$name" >"$work/document"
	if ! cmp -s "$work/document" "$document"; then
		echo "bench-table: the table is not that of $name; run" \
			"scripts/bench-table.sh --write $name" >&2
		diff "$document" "$work/document" | head -n 10 >&2
		exit 1
	fi
	;;
-*|'') echo "usage: bench-table.sh [--write] RESULT.json | --check" >&2
	exit 2 ;;
*) table "$1" ;;
esac
