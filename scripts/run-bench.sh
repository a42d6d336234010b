#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-bench.sh BUILD: every number of docs/benchmarks.md that this machine can
# give, with its baselines measured in the same run.
set -eu

build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)

"$build/bin/megakernel" bench
MEGAKERNEL="$build/bin/megakernel" sh "$source/bench/map-vs-xargs.sh"
