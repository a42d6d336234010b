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

/* A context of the device; a test may change it before it makes one. */
static inline struct mk_ctx_params emulated_params(uint32_t workers,
						   uint64_t idle_ns)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = workers,
		.buffers_max = 64,
		.shared_bytes = 16u << 20,
		.heap_bytes = 1u << 20,
		.idle_ns = idle_ns,
	};

	return p;
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
