/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of the CUDA engine against a driver that records its calls:
 * every call made to fail in turn, nothing leaked, nothing asked of the
 * driver that would wait for a resident kernel.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 300
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"
#include "cuda/nothing_left.h"

#include "queue/queue.h"

#include "cuda/fake_cuda.c"

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct a { uint64_t b; };\n"
	"MK_HANDLER(fake_one, struct a) { return 0; }\n"
	"/* MK_HANDLER(no, struct a) */ // MK_HANDLER(nor, struct a)\n"
	"#define X MK_HANDLER(neither, struct a)\n"
	"MK_HANDLER_BLOCK(fake_two, struct a) { return 0; }\n";

static struct mk_ctx_params params(uint64_t idle_ns)
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
		.idle_ns = idle_ns,
	};

	return p;
}

/* All that an engine does but serving slots. The first failure's code. */
static int use(struct mk_ctx *ctx)
{
	unsigned char data[4096] = { 1 };
	struct mk_queue *q;
	mk_buffer_t b;
	uint32_t id;
	int r;

	r = mk_queue_create(ctx, NULL, &q);
	if (!r)
		r = mk_buffer_create(ctx, sizeof(data), 0, &b);
	if (!r)
		r = mk_buffer_write(ctx, b, 0, data, sizeof(data));
	if (!r)
		r = mk_buffer_read(ctx, b, 0, data, sizeof(data));
	if (!r)
		r = mk_module_load_source(ctx, "fake.c", source, 0, &id);
	if (!r)
		r = mk_ctx_quiesce(ctx, SUPPORT_NS);
	if (!r)
		r = mk_ctx_resume(ctx);
	if (!r)
		r = mk_module_unload(ctx, id, SUPPORT_NS);
	if (!r)
		r = mk_buffer_destroy(ctx, b, SUPPORT_NS);
	if (!r)
		r = (int)mk_queue_destroy(q, SUPPORT_NS);
	return r;
}

/* From creation to destruction; the first failure's code. */
static int life(void)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx;
	int r = mk_ctx_create(&p, &ctx);

	if (r)
		return r;
	r = use(ctx);
	assert_true(mk_ctx_destroy(ctx, SUPPORT_NS) >= 0);
	return r;
}

static void whole_life(void **state)
{
	unsigned fds, threads;

	(void)state;
	/* a sanitizer's own thread, and what the library keeps open */
	assert_int_equal(life(), 0);
	fake_reset();
	fds = support_fds();
	threads = support_threads();
	assert_int_equal(life(), 0);
	nothing_left();
	assert_int_equal(support_fds(), fds);
	assert_int_equal(support_threads(), threads);
	/* 4 workers are a budget of 2 multiprocessors: 2 in each block, and a
	 * warp for the monitor */
	assert_int_equal(fake.grid, 2);
	assert_int_equal(fake.block, 3 * 32);
	assert_true(fake.compiles <= 2);
}

/* Calls whose failure may go unnoticed: names and such, what is asked again,
 * what gives back. */
static bool harmless(const char *function)
{
	static const char *const list[] = {
		"cuMemFree_v2", "cuMemFreeHost", "cuCtxPushCurrent_v2",
		"cuStreamQuery", "cuFuncGetAttribute", "cuDeviceGetName",
		"cuMemAlloc_v2", /* a smaller one may do */
		"cuDeviceGetAttribute", /* of no use but to be shown */
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (!strcmp(function, list[i]))
			return true;
	return false;
}

/*
 * Every call of the driver fails once, as out of memory and as something
 * nobody knows. Calls that free are not made to fail: there is nothing to be
 * done about them.
 */
static void every_call_fails(void **state)
{
	static const int results[] = { MKC_OUT_OF_MEMORY, 999 };
	unsigned total;

	(void)state;
	assert_int_equal(life(), 0);
	total = fake.calls;
	for (unsigned k = 0; k < (SUPPORT_TSAN ? 1 : 2); k++)
		for (unsigned i = 1; i <= total; i++) {
			const char *text;
			int r;

			fake_reset();
			fake.fail_at = i;
			fake.fail_with = results[k];
			r = life();
			fake.fail_at = 0;
			if (!r) {
				if (fake.failed && !harmless(fake.failed))
					fail_msg("call %u, %s, failed and "
						 "nothing was said", i,
						 fake.failed);
				continue;
			}
			text = mk_error_last()->text;
			if (r != -ENOMEM && r != -MK_EENGINE &&
			    r != -MK_EDEVLOST)
				fail_msg("%s: %d %s", fake.failed, r, text);
			assert_true(text[0]);
			nothing_left();
		}
}

/* What the driver said is kept. */
static void native_code(void **state)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx;

	(void)state;
	fake.fail_function = "cuMemHostRegister_v2";
	fake.fail_with = 801;
	assert_int_equal(mk_ctx_create(&p, &ctx), -MK_EENGINE);
	assert_int_equal(mk_error_last()->native, 801);
	support_error(-MK_EENGINE, "registering the shared memory",
		      "as the test wanted it", NULL);
	nothing_left();
	fake.fail_function = "cuMemAlloc_v2";
	fake.fail_with = MKC_OUT_OF_MEMORY;
	assert_int_equal(mk_ctx_create(&p, &ctx), -ENOMEM);
	assert_int_equal(mk_error_last()->native, MKC_OUT_OF_MEMORY);
	support_error(-ENOMEM, "scratch_bytes", "CUDA_ERROR_OUT_OF_MEMORY",
		      NULL);
	nothing_left();
}

static void exclusive(void **state)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx;

	(void)state;
	fake.mode = MKC_MODE_EXCLUSIVE;
	assert_int_equal(mk_ctx_create(&p, &ctx), -MK_EENGINE);
	support_error(-MK_EENGINE, "EXCLUSIVE", NULL);
	nothing_left();
}

/* No more blocks than fit together. */
static void too_many(void **state)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx;

	(void)state;
	fake.blocks_each = 0;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "4 workers", "2 blocks of 96 threads",
		      "42 registers", NULL);
	nothing_left();
	fake_reset();
	p.workers = 1000;
	p.shared_bytes = 16u << 20;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "workers is 1000", "1 to 62", NULL);
	assert_int_equal(fake.launches, 0);
	nothing_left();
}

static void compile_error(void **state)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx = support_ctx_with(&p);
	unsigned launches = fake.launches;

	(void)state;
	fake.compile_error = true;
	assert_int_equal(mk_module_load_source(ctx, "fake.c",
		"#include <megakernel/handler.h>\n"
		"struct a { int c; };\n"
		"MK_HANDLER(other, struct a) { return 0 }\n", 0, NULL),
		-MK_ECOMPILE);
	support_error(-MK_ECOMPILE, "module-1.c(3): error", NULL);
	/* it was not even disturbed */
	assert_int_equal(fake.launches, launches);
	assert_true(fake_resident());
	support_ctx_end(ctx);
	nothing_left();
}

/* A context in a process of its own, for the compiler is looked for once. */
static int create_elsewhere(bool no_nvrtc)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct mk_ctx_params p = params(UINT64_MAX);
		struct mk_ctx *ctx;
		int r;

		fake.no_nvrtc = no_nvrtc;
		r = mk_ctx_create(&p, &ctx);
		if (!r)
			r = (int)mk_ctx_destroy(ctx, SUPPORT_NS);
		_exit(r == -MK_ENOCOMPILER ? 3 : r != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What NVRTC made once is used where there is none. The first test, in a
 * process that has not found a compiler yet, with an empty cache. */
static void no_nvrtc(void **state)
{
	(void)state;
	assert_int_equal(create_elsewhere(true), 3);
	assert_int_equal(create_elsewhere(false), 0);
	assert_int_equal(create_elsewhere(true), 0);
}

/* The kernel leaves when nothing happens, and comes back for a command and
 * for the bell. */
static void parks(void **state)
{
	struct mk_ctx_params p = params(1000000);
	struct mk_ctx *ctx = support_ctx_with(&p);
	struct mk_queue *q = support_queue(ctx, 16);
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_slot *s;
	unsigned launches;

	(void)state;
	while (fake_resident() && support_now() < end)
		support_sleep(SUPPORT_MS);
	assert_false(fake_resident());
	launches = fake_launches();
	support_sleep(50 * SUPPORT_MS);
	assert_int_equal(fake_launches(), launches);
	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 1);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	while (fake_launches() == launches && support_now() < end)
		support_sleep(SUPPORT_MS);
	assert_true(fake_launches() > launches);
	/* this kernel serves nothing: the slot is left over */
	assert_int_equal(mk_ctx_destroy(ctx, 50 * SUPPORT_MS), 1);
	nothing_left();
}

/* While no command is given: the service thread looked at all queues. It
 * tells the kernel the time before it does. */
static void service_looks(void)
{
	struct mkd_mail *mail = (void *)(uintptr_t)fake_run.launch.mail;
	uint64_t end = support_now() + SUPPORT_NS;
	uint64_t clock = mk_load_relaxed(&mail->clock_ns);
	unsigned told = 0;

	while (told < 3 && support_now() < end) {
		uint64_t now = mk_load_relaxed(&mail->clock_ns);

		told += now != clock;
		clock = now;
		support_sleep(SUPPORT_MS);
	}
	assert_int_equal(told, 3);
}

/*
 * The device is lost, and a queue is destroyed: its memory is somebody else's
 * from then on, and the service thread, which goes on, leaves it alone.
 */
static void lost_queue(void **state)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	struct mk_ctx *ctx = support_ctx_with(&p);
	struct mk_queue *q = support_queue(ctx, 16);
	struct mk_queue_block *block = q->block;
	struct mk_wire_completion *answers = q->answers;

	(void)state;
	service_looks(); /* it is in the context */
	fake_fail("cuCtxPushCurrent_v2", 999);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	/* what would make it wake a waiter */
	mk_store_relaxed(&answers[0].head, 1);
	mk_store_seq(&block->waiters, 1);
	service_looks();
	assert_int_equal(mk_load_seq(&block->waiters), 1);
	assert_int_equal(mk_load_seq(&block->event), 0);
	fake_fail(NULL, 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
	nothing_left();
}

static int begin(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

/* What does not come up is ended, and not waited for without end. */
static bool deaf_ends(void)
{
	struct mk_ctx_params p = params(UINT64_MAX);
	uint64_t begin = support_now();
	struct mk_ctx *ctx;

	fake.deaf = 1;
	if (mk_ctx_create(&p, &ctx) != -ETIME ||
	    !strstr(mk_error_last()->text, "has not answered") ||
	    support_now() - begin > SUPPORT_NS || !fake_resident())
		return false;
	/* it may come to itself later: then it leaves, as it was told */
	mk_store_release(&fake.deaf, 0);
	while (cuStreamQuery(kernel_stream))
		support_sleep(SUPPORT_MS);
	return true;
}

/* In a process of its own: what a kernel may still use is not freed. */
static void deaf(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		_exit(!deaf_ends());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(no_nvrtc, begin),
		cmocka_unit_test_setup(whole_life, begin),
		cmocka_unit_test_setup(every_call_fails, begin),
		cmocka_unit_test_setup(native_code, begin),
		cmocka_unit_test_setup(exclusive, begin),
		cmocka_unit_test_setup(too_many, begin),
		cmocka_unit_test_setup(compile_error, begin),
		cmocka_unit_test_setup(parks, begin),
		cmocka_unit_test_setup(lost_queue, begin),
		cmocka_unit_test_setup(deaf, begin),
	};
	char cache[] = "/tmp/mk-cache-XXXXXX", command[64];
	int r;

	if (!mkdtemp(cache))
		return 1;
	setenv("XDG_CACHE_HOME", cache, 1);
	fake_reset();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", cache);
	return system(command) || r;
}
