/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of submit on the code for machines that have no SSE2. */
#undef __SSE2__

#include "queue/submit.c"

#include "test_submit.c"
