#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh BUILD: lines of src/ and handlers/ that the tests of a coverage
# build reached, file by file, from gcov alone.
set -eu

build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
# The objects of mk_internal are the ones that the tests link.
find "$build/CMakeFiles/mk_internal.dir" "$build/CMakeFiles/mk_handlers.dir" \
	-name '*.gcda' 2>/dev/null | while read -r data; do
	gcov -n "$data" 2>/dev/null
done | awk -v root="$source/" '
	/^File/ {
		file = $0
		sub(/^File ./, "", file)
		sub(/.$/, "", file)
		ours = index(file, root) == 1
		sub(root, "", file)
	}
	/^Lines executed/ && ours {
		split($0, part, /[:% ]+/)
		lines = part[5]
		hit = part[3] * lines / 100
		if (!(file in total) || hit > reached[file]) {
			total[file] = lines
			reached[file] = hit
		}
		ours = 0 # what follows is the sum of the object
	}
	END {
		for (file in total) {
			printf "%6.1f%% %6d  %s\n",
				100 * reached[file] / total[file],
				total[file], file | "sort -n"
			all += total[file]
			got += reached[file]
		}
		close("sort -n")
		if (!all) {
			print "coverage: no data; run the tests first"
			exit 1
		}
		printf "%6.1f%% %6d  in all\n", 100 * got / all, all
	}'
