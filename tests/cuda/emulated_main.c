/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of a test that runs conformance cases on the emulated CUDA
 * kernel: included behind the cases, whose main() is conform_cases(). The
 * same program is also the worker process, since that needs the fake too.
 */
#include "cuda/fake_cuda.c"

#include "worker/serve.h"
#include "worker/spawn.h"

#ifndef EMULATED_SKIP
/* 131,072 slots, one after the other: for a real device */
#define EMULATED_SKIP "*cancel is once*"
#endif

#define WORKER_MARK "MK_TEST_FAKE_WORKER"

static void emulated_machine(void)
{
	fake_reset();
	fake.kernel = FAKE_EMULATED;
}

int main(void)
{
	if (SUPPORT_TSAN || !fake_compiler()) {
		puts("skipped: no C++ compiler to emulate a device with, or a "
		     "sanitizer that knows no fibers");
		return 77;
	}
	emulated_machine();
	if (getenv(WORKER_MARK))
		return mk_serve_run(MK_WORKER_FD, mk_engine_find);
	fake_cache();
	setenv(WORKER_MARK, "1", 1);
	setenv("MEGAKERNEL_WORKER", "/proc/self/exe", 1);
	cmocka_set_test_filter("cuda/*");
	cmocka_set_skip_filter(EMULATED_SKIP);
	return conform_cases();
}
