#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/bench-table.sh: what it prints is what the result says, and the table
# in the document is the one of the result that the document names.
# ctest-once
. "$(dirname "$0")/lib.sh"
script=$here/../../scripts/bench-table.sh
command -v jq > /dev/null || { echo "no jq" >&2; exit 77; }
cd "$work" || exit 1

cat > result.json << 'EOT'
{"command": "megakernel bench --engine cuda", "date": "2026-01-02T03:04:05Z",
"machine": {"processor": "Some CPU", "cores": 16, "kernel": "Linux"},
"device": {"name": "Some GPU", "driver": "1.2", "cuda": "13.0",
"nvrtc": "13.0"}, "quick": false, "targets": [
{"key": "trip.1.gaps", "bound": "p50 <= 2 us", "figure": 1980, "met": true},
{"key": "trip.1.gaps", "bound": "p99 <= 3 us", "figure": 3100, "met": false},
{"key": "wake", "met": null}], "rows": [
{"section": "Trips", "key": "trip.1.gaps", "label": "one", "kind": "latency",
"known": true, "n": 5000, "min_ns": 1500, "p50_ns": 1980, "p99_ns": 3100,
"p999_ns": 9120, "max_ns": 20000},
{"section": "Trips", "key": "rate.64", "label": "64", "kind": "rate",
"known": true, "n": 1, "rounds": 5, "per_second": 25100000.0,
"lowest": 24000000.0, "highest": 26000000.0},
{"section": "Ratios", "key": "ratio.graph", "label": "graph", "kind": "value",
"known": true, "n": 1, "value": 3.456, "unit": "times"},
{"section": "Power", "key": "power.parked.watts", "label": "parked",
"kind": "value", "known": false, "note": "NVML does not tell"}]}
EOT
status 0 "print" sh "$script" result.json > got 2> err
none err "print"
has got '| Trips: one | 2.0 us | 1.98 us (p99 3.1 us, p99.9 9.12 us) | p50 <= 2 us met; p99 <= 3 us **not met** |' "latency"
has got '| Trips: 64 | 25 M/s | 25.1 M/s (24 to 26) |' "rate"
has got '| Ratios: graph | 3.4 times | 3.46 times |' "value"
has got '| unknown: NVML does not tell |' "unknown"
has got 'Not measured: wake.' "not measured"
has got 'Some GPU, driver 1.2' "device"

# every figure that the program measures on a device was predicted
for key in $(grep -v '^#' "$here/../../bench/predictions.tsv" | cut -f 1); do
	[ -n "$key" ] || fail "an empty key"
done
grep -v '^#' "$here/../../bench/predictions.tsv" | awk -F '\t' '
	NF != 3 { print "line " NR " has " NF " columns"; bad = 1 }
	seen[$1]++ { print $1 " is predicted twice"; bad = 1 }
	END { exit bad }' > got || fail "$(cat got)"

# the document: written, found right, changed, found wrong
printf 'Before\n<!-- cuda table: none -->\nold\n<!-- cuda table ends -->\nAfter\n' \
	> document.md
MEGAKERNEL_BENCH_DOCUMENT=$work/document.md
export MEGAKERNEL_BENCH_DOCUMENT
status 2 "outside" sh "$script" --write result.json 2> err
has err "not in this tree" "outside"
unset MEGAKERNEL_BENCH_DOCUMENT
status 0 "the document's table" sh "$script" --check 2> err
none err "the document's table"
sed 's/^| Graphs.*1 node |/& 0 us |/' "$here/../../docs/benchmarks.md" \
	> document.md
MEGAKERNEL_BENCH_DOCUMENT=$work/document.md
export MEGAKERNEL_BENCH_DOCUMENT
status 1 "a typed figure" sh "$script" --check 2> err
has err "the table is not that of" "a typed figure"
finish
