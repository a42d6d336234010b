#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model
# ctest-timeout: 300
# ctest-once
. "$(dirname "$0")/lib.sh"

for how in -DFUTEX -DEVENT_FD; do
	holds waiter $how
	holds waiter $how -DSLOTS=4
	breaks waiter $how -DBROKEN_ORDER
	breaks waiter $how -DBROKEN_NO_LOOK
	breaks waiter $how -DBROKEN_PART_LOOK
	breaks waiter $how -DBROKEN_COUNT_LATE
done
breaks waiter -DBROKEN_EVENT_LATE
breaks waiter -DBROKEN_NO_EVENT
finish
