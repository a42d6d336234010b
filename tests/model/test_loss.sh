#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model
# ctest-timeout: 600
# ctest-once
. "$(dirname "$0")/lib.sh"

holds loss -DSLOTS=1
holds loss -DSLOTS=2 -DBUDGET=1

breaks loss -DBROKEN_EARLY
breaks loss -DBROKEN_NAME_LATE
breaks loss -DBROKEN_ANSWER_LATE
breaks loss -DBROKEN_CLAIM
breaks loss -DBROKEN_NOT_SKIPPED
breaks loss -DBROKEN_FORGET
breaks loss -DBROKEN_FORGET_RUN
breaks loss -DBROKEN_BLIND
breaks loss -DBROKEN_NO_STRIKE
breaks loss -DBROKEN_NO_WAKE
breaks loss -DBROKEN_LOST_ASLEEP
finish
