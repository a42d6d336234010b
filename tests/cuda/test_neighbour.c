/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beside other work on the device, against a driver that records its calls: a
 * budget of multiprocessors, contexts and streams of the caller's, stepping
 * aside.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "cuda/nothing_left.h"

#include "cuda/fake_cuda.c"

#define OTHER_CONTEXT 0x3000u
#define A_STREAM 0x9000u

static struct mk_ctx_params params(void)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = 4,
		.buffers_max = 16,
		.scratch_bytes = 1024,
		.shared_bytes = 2u << 20,
		.heap_bytes = 1u << 20,
		.idle_ns = UINT64_MAX,
		.cache_dir = "",
	};

	return p;
}

/* No context comes of these. */
static void refuse(const struct mk_ctx_params *p, int code)
{
	struct mk_ctx *ctx = NULL;

	assert_int_equal(mk_ctx_create(p, &ctx), code);
	assert_null(ctx);
	assert_int_equal(fake.launches, 0);
	nothing_left();
}

/* ---- a budget ---- */

/* What a context with these takes of 10 multiprocessors. */
static void takes(uint32_t sm_count, uint32_t sm_percent, uint32_t workers,
		  uint32_t blocks, uint32_t workers_then)
{
	struct mk_ctx_params p = params();
	struct mk_ctx_info info;
	struct mk_ctx *ctx;

	p.sm_count = sm_count;
	p.sm_percent = sm_percent;
	p.workers = workers;
	ctx = support_ctx_with(&p);
	assert_int_equal(fake.grid, blocks);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.workers, workers_then);
	assert_true(fake.grid <= info.sm_count);
	support_ctx_end(ctx);
	nothing_left();
}

static void budget(void **state)
{
	(void)state;
	fake.multiprocessors = 10;
	takes(0, 0, 0, 10, 80);
	takes(10, 0, 0, 10, 80);
	takes(3, 0, 0, 3, 24);
	takes(1, 0, 0, 1, 8);
	takes(0, 100, 0, 10, 80);
	takes(0, 25, 0, 2, 16);
	takes(0, 1, 0, 1, 8); /* one at least */
	takes(3, 0, 93, 3, 93);
	takes(3, 0, 2, 1, 2);
}

static void beyond(void **state)
{
	struct mk_ctx_params p = params();

	(void)state;
	p.sm_count = 3;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "params.sm_count is 3", "at most 2",
		      "device 0", NULL);
	p.sm_count = 1;
	p.workers = 32;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "workers is 32", "1 to 31", NULL);
	p.workers = 4;
	p.sm_percent = 10;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "params.sm_percent", "sm_count", NULL);
	p.sm_count = 0;
	p.sm_percent = 101;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "params.sm_percent is 101", "100", NULL);
}

/* ---- the caller's context and stream ---- */

static void context(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx;

	(void)state;
	p.native_context = (void *)(uintptr_t)OTHER_CONTEXT;
	ctx = support_ctx_with(&p);
	assert_int_equal(fake.contexts, 0); /* the primary one is left alone */
	support_ctx_end(ctx);
	nothing_left();
}

static void bad_context(void **state)
{
	struct mk_ctx_params p = params();

	(void)state;
	p.native_context = (void *)(uintptr_t)FAKE_BAD_CONTEXT;
	refuse(&p, -EINVAL);
	assert_int_equal(mk_error_last()->native, 201);
	support_error(-EINVAL, "params.native_context", NULL);
	p.native_context = (void *)(uintptr_t)OTHER_CONTEXT;
	fake.context_device = 1;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "native_context", "device 1", "params.device "
		      "is 0", NULL);
	fake.context_device = 0;
	p.isolation = MK_ISOLATION_PROCESS;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "native_context", "MK_ISOLATION_NONE", NULL);
	assert_int_equal(support_children(), 0);
}

static void stream(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx;

	(void)state;
	p.native_stream = (void *)(uintptr_t)A_STREAM;
	ctx = support_ctx_with(&p);
	assert_ptr_equal(kernel_stream, p.native_stream);
	assert_int_equal(fake.streams, 1); /* for copies */
	support_ctx_end(ctx);
	nothing_left();
}

static void bad_stream(void **state)
{
	struct mk_ctx_params p = params();

	(void)state;
	for (uintptr_t special = 1; special <= 2; special++) {
		p.native_stream = (void *)special;
		refuse(&p, -EINVAL);
		support_error(-EINVAL, "params.native_stream", "default stream",
			      NULL);
	}
	p.native_stream = (void *)(uintptr_t)0x1fff;
	refuse(&p, -EINVAL);
	assert_int_equal(mk_error_last()->native, 400);
	p.native_stream = (void *)(uintptr_t)A_STREAM;
	fake.stream_flags = 0;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "CU_STREAM_NON_BLOCKING", NULL);
	fake.stream_flags = MKC_STREAM_NON_BLOCKING;
	fake.stream_ctx = OTHER_CONTEXT;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "another context", NULL);
	p.isolation = MK_ISOLATION_PROCESS;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "native_stream", "MK_ISOLATION_NONE", NULL);
}

/* ---- stepping aside ---- */

static void publish(struct mk_queue *q)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 1);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

/* The kernel is off until the last resume, whatever is published. */
static void quiesce(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);
	struct mk_queue *q = support_queue(ctx, 16);
	unsigned launches = fake.launches;
	struct mk_ctx_stats stats;

	(void)state;
	assert_true(fake_resident());
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_false(fake_resident());
	assert_int_equal(mk_ctx_quiesce(ctx, 0), 0);
	publish(q);
	support_sleep(20 * SUPPORT_MS);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	support_sleep(5 * SUPPORT_MS);
	assert_false(fake_resident());
	assert_int_equal(fake.launches, launches);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	assert_true(fake_resident());
	assert_int_equal(fake.launches, launches + 1);
	assert_int_equal(mk_ctx_resume(ctx), -EALREADY);
	/* each of them is counted */
	assert_int_equal(mk_ctx_stats(ctx, &stats), 0);
	assert_int_equal(stats.launches, fake.launches);
	/* this kernel serves nothing: the slot is left over */
	assert_int_equal(mk_ctx_destroy(ctx, 50 * SUPPORT_MS), 1);
	nothing_left();
}

/* A command needs the kernel, but not for longer. */
static void command_while_away(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);
	unsigned launches = fake.launches;

	(void)state;
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	support_queue_end(support_queue(ctx, 16));
	assert_true(fake.launches > launches);
	assert_false(fake_resident());
	assert_int_equal(mk_ctx_resume(ctx), 0);
	assert_true(fake_resident());
	support_ctx_end(ctx);
	nothing_left();
}

/* A parked kernel is not brought back for being asked to leave. */
static void quiesce_parked(void **state)
{
	struct mk_ctx_params p = params();
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx *ctx;
	unsigned launches;

	(void)state;
	p.idle_ns = 1000000;
	ctx = support_ctx_with(&p);
	while (fake_resident() && support_now() < end)
		support_sleep(SUPPORT_MS);
	launches = fake.launches;
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_int_equal(fake.launches, launches);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	support_ctx_end(ctx);
	nothing_left();
}

/* A slot runs: nothing has changed, and later it works. */
static void too_late(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);

	(void)state;
	mk_store_release(&fake.busy, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mk_ctx_quiesce(ctx, 20 * SUPPORT_MS), -ETIME);
		assert_true(fake_resident());
	}
	assert_int_equal(mk_ctx_quiesce(ctx, 0), -ETIME);
	assert_int_equal(mk_ctx_resume(ctx), -EALREADY);
	mk_store_release(&fake.busy, 0);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_false(fake_resident());
	assert_int_equal(mk_ctx_resume(ctx), 0);
	support_ctx_end(ctx);
	nothing_left();
}

/*
 * Another thread hangs in a call that waits for the kernel, and holds the
 * driver meanwhile: that thread is the one to be helped.
 */
static void driver_held(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);

	(void)state;
	/* slowed down, the pretended kernel stalls, and the driver is asked */
	if (SUPPORT_TSAN) {
		support_ctx_end(ctx);
		skip();
	}
	mk_store_release(&fake.locked, 1);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_false(fake_resident());
	mk_store_release(&fake.locked, 0);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	support_ctx_end(ctx);
	nothing_left();
}

/* While all is well nobody asks the driver anything. */
static void quiet(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);
	unsigned calls = fake_calls(), others;

	(void)state;
	others = fake_other_calls();
	support_sleep(100 * SUPPORT_MS);
	/* the service thread enters the context when it begins */
	assert_in_range(fake_other_calls() - others, 0, 1);
	/* a stall of this machine may look like one of the kernel */
	assert_true(fake_calls() - calls < 20);
	support_ctx_end(ctx);
	nothing_left();
}

static void lost_meanwhile(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);

	(void)state;
	fake_kill_kernel();
	assert_int_equal(mk_ctx_quiesce(ctx, MK_FOREVER), -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "CUDA_ERROR_LAUNCH_FAILED", NULL);
	mk_ctx_destroy(ctx, SUPPORT_NS);
}

/* Memory goes back to the driver when that does not wait for the kernel. */
static void frees_later(void **state)
{
	struct mk_ctx_params p = params();
	struct mk_ctx *ctx = support_ctx_with(&p);
	int before = fake.device_memory;
	mk_buffer_t b;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 40u << 20, 0, &b), 0);
	assert_int_equal(fake.device_memory, before + 1);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_true(fake_resident());
	assert_int_equal(fake.device_memory, before + 1);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_int_equal(fake.device_memory, before);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	support_ctx_end(ctx);
	nothing_left();
}

static int begin(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(budget), TEST(beyond), TEST(context), TEST(bad_context),
		TEST(stream), TEST(bad_stream), TEST(quiesce),
		TEST(command_while_away), TEST(quiesce_parked), TEST(too_late),
		TEST(driver_held), TEST(quiet), TEST(lost_meanwhile),
		TEST(frees_later),
	};

	fake_cache();
	fake_reset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
