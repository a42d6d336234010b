#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model
# ctest-timeout: 600
# ctest-once
. "$(dirname "$0")/lib.sh"

holds loss -DSLOTS=1
holds loss -DSLOTS=2 -DBUDGET=1

breaks loss -DSLOTS=2 -DBUDGET=1 -DBROKEN_EARLY
breaks loss -DSLOTS=2 -DBUDGET=1 -DBROKEN_ANSWER_LATE
breaks loss -DSLOTS=2 -DBUDGET=1 -DBROKEN_CLAIM
breaks loss -DSLOTS=1 -DBROKEN_NAME_LATE
breaks loss -DSLOTS=1 -DBROKEN_FORGET
breaks loss -DSLOTS=1 -DBROKEN_FORGET_RUN
breaks loss -DSLOTS=1 -DBROKEN_BLIND
breaks loss -DSLOTS=1 -DBROKEN_NO_STRIKE
breaks loss -DSLOTS=1 -DBROKEN_NO_WAKE
breaks loss -DSLOTS=1 -DBROKEN_LOST_ASLEEP
finish
