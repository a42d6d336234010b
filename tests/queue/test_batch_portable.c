/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of batches on the code for machines that have no SSE2. */
#undef __SSE2__

#include "queue/batch_submit.c"

#undef FLOW
#include "test_batch.c"
