#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model slow
# ctest-timeout: 600
# ctest-once
. "$(dirname "$0")/lib.sh"

holds ring
holds ring -DEACH=2 -DSTOP
holds ring -DEACH=2 -DFETCH_ADD
holds ring -DEACH=2 -DFETCH_ADD -DSTOP

breaks ring -DEACH=2 -DBROKEN_ONE_MARK
breaks ring -DEACH=2 -DBROKEN_NO_LAP
breaks ring -DEACH=2 -DBROKEN_CLAIM
breaks ring -DEACH=2 -DBROKEN_VALUE_LATE
breaks ring -DEACH=2 -DBROKEN_FREE_EARLY
breaks ring -DEACH=2 -DBROKEN_NO_ROOM
breaks ring -DEACH=2 -DBROKEN_FRESH
breaks ring -DEACH=2 -DFETCH_ADD -DMARKS=2
finish
