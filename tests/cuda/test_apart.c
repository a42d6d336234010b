/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver in the worker process, which this program is, too: what the
 * driver said there is heard here, also of a device that was lost.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/cuda.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"

#include "worker/serve.h"
#include "worker/spawn.h"

#define WORKER_FAILS "MK_TEST_WORKER_FAILS" /* function:result */

static int worker(char *fails)
{
	char *colon = strchr(fails, ':');

	fake_reset();
	if (colon) {
		*colon = '\0';
		fake.fail_function = fails;
		fake.fail_with = atoi(colon + 1);
	}
	return mk_serve_run(MK_WORKER_FD, mk_engine_find);
}

static int create(const char *fails, struct mk_ctx **ctx)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.workers = 4,
		.buffers_max = 16,
		.scratch_bytes = 1024,
		.shared_bytes = 2u << 20,
		.heap_bytes = 1u << 20,
		.recovery = MK_RECOVERY_OFF,
	};

	setenv(WORKER_FAILS, fails, 1);
	return mk_ctx_create(&p, ctx);
}

/* A context does not come about, and says why. */
static void not_made(void **state)
{
	static const struct {
		const char *fails;
		int code, native;
		const char *words;
	} cases[] = {
		{ "cuInit:803", -MK_EENGINE, 803, "two releases" },
		{ "cuDevicePrimaryCtxRetain:46", -MK_EENGINE, 46,
		  "EXCLUSIVE_PROCESS" },
		{ "cuDevicePrimaryCtxRetain:2", -ENOMEM, 2,
		  "opening the device" },
		{ "cuMemHostRegister_v2:801", -MK_EENGINE, 801,
		  "registering the shared memory" },
		{ "cuMemAlloc_v2:2", -ENOMEM, 2, "scratch_bytes" },
		{ "cuModuleLoadDataEx:214", -MK_EDEVLOST, 214,
		  "loading the kernel" },
		{ "cuLaunchKernel:719", -MK_EDEVLOST, 719, "launching" },
	};
	struct mk_ctx *ctx;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(create(cases[i].fails, &ctx), cases[i].code);
		support_error(cases[i].code, cases[i].words,
			      "as the test wanted it", NULL);
		assert_int_equal(mk_error_last()->native, cases[i].native);
		assert_int_equal(support_children(), 0);
	}
}

/* The command that lost the device says what it was, not how the process
 * ended. */
static void lost(void **state)
{
	struct mk_error why;
	struct mk_ctx *ctx;
	mk_buffer_t b;

	(void)state;
	assert_int_equal(create("cuIpcOpenMemHandle_v2:719", &ctx), 0);
	assert_int_equal(
		mk_buffer_import(ctx, &(struct mk_buffer_import_params){
			.size = sizeof(struct mk_buffer_import_params),
			.kind = MK_IMPORT_IPC, .bytes = 1, .handle = "I" },
			&b), -MK_EDEVLOST);
	assert_int_equal(mk_error_last()->native, 719);
	support_error(-MK_EDEVLOST, "params.handle", "CUDA_ERROR_LAUNCH_FAILED",
		      NULL);
	while (!mk_ctx_error(ctx, &why))
		support_sleep(SUPPORT_MS);
	assert_int_equal(why.native, 719);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
	assert_int_equal(support_children(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_made),
		cmocka_unit_test(lost),
	};
	char cache[] = "/tmp/mk-cache-XXXXXX", command[64];
	int r;

	if (getenv(WORKER_FAILS))
		return worker(getenv(WORKER_FAILS));
	if (!mkdtemp(cache))
		return 1;
	setenv("XDG_CACHE_HOME", cache, 1);
	setenv("MEGAKERNEL_WORKER", "/proc/self/exe", 1);
	fake_reset();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", cache);
	return system(command) || r;
}
