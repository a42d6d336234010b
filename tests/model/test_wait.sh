#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model
# ctest-timeout: 300
# ctest-once
. "$(dirname "$0")/lib.sh"

holds wait
holds wait -DJOBS=2
holds wait -DJOBS=2 -DFAILS
breaks wait -DBROKEN_NO_LOOK
breaks wait -DJOBS=2 -DBROKEN_NO_RELOOK
breaks wait -DBROKEN_LIST_FIRST
breaks wait -DBROKEN_COUNT_LATE
breaks wait -DJOBS=2 -DFAILS -DBROKEN_NO_SWEEP
breaks wait -DJOBS=2 -DFAILS -DBROKEN_SWEEP_FIRST
finish
