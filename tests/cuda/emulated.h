/* SPDX-License-Identifier: Apache-2.0 */
/* What programs share whose device is the kernel's text, compiled for the CPU
 * behind the fake driver. */
#ifndef MK_TESTS_CUDA_EMULATED_H
#define MK_TESTS_CUDA_EMULATED_H

#include <stdbool.h>
#include <stdio.h>

#include "cuda/fake_cuda.h"
#include "support/support.h"

/* Setup of a test: a fresh driver that runs the kernel. */
static inline int begin_emulated(void **state)
{
	(void)state;
	fake_reset();
	fake.kernel = FAKE_EMULATED;
	return 0;
}

/* Can it be done here? Says why not. */
static inline bool can_emulate(void)
{
	if (!SUPPORT_TSAN && fake_compiler())
		return true;
	puts("skipped: no C++ compiler to emulate a device with, or a "
	     "sanitizer that knows no fibers");
	return false;
}

#endif
