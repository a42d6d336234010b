#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest-labels: model slow
# ctest-timeout: 600
# ctest-once
. "$(dirname "$0")/lib.sh"

holds park
holds park -DSPURIOUS -DQUEUES=1
holds park -DPRODUCERS=1 -DEACH=3
holds park -DHELP -DQUEUES=1
holds park -DWORKERS=3 -DQUEUES=1 -DPRODUCERS=1 -DEACH=2

breaks park -DBROKEN_STAMP_ORDER
breaks park -DBROKEN_NO_LOOK
breaks park -DBROKEN_ANNOUNCE_LATE
breaks park -DBROKEN_BELL_LATE
breaks park -DBROKEN_NO_BELL
breaks park -DBROKEN_BLIND_HAND
breaks park -DBROKEN_NOT_TAKEN
breaks park -DBROKEN_NO_HANDOVER
breaks park -DBROKEN_EARLY_HANDOVER
finish
