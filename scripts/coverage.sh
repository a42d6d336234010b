#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh BUILD: lines of src/, handlers/ and include/ that the tests of a
# coverage build reached, file by file, from gcov alone. A line counts if it
# was reached in any program: in a test, which links mk_internal, or in the
# program and the worker process, which link mk_core. What a process did that
# was killed is not known.
set -eu

build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)

find "$build/CMakeFiles" -name '*.gcda' | sort | while read -r data; do
	case $data in
	*/mk_internal.dir/* | */mk_handlers.dir/* | */mk_core.dir/*)
		(cd "$(dirname "$data")" && gcov -t "$data" 2>/dev/null) ;;
	esac
done | awk -F: -v root="$source/" '
	$2 + 0 == 0 {
		if ($3 == "Source") {
			file = $4
			ours = index(file, root) == 1
			sub(root, "", file)
		}
		next
	}
	ours && $1 !~ /^ *-$/ {
		line = file ":" $2 + 0
		if (!(line in hit)) {
			total[file]++
			hit[line] = 0
		}
		if (!hit[line] && $1 ~ /[0-9]/) {
			hit[line] = 1
			reached[file]++
		}
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
