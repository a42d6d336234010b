/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input at the door of mk_ctx_create(): the field, the value, the limit. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

static struct mk_ctx *const untouched = (struct mk_ctx *)&support_fds;

/* It fails with this code and leaves *out alone. */
static void refuse(const void *params, int code)
{
	struct mk_ctx *ctx = untouched;

	assert_int_equal(mk_ctx_create(params, &ctx), code);
	assert_ptr_equal(ctx, untouched);
	assert_string_equal(mk_error_last()->operation, "mk_ctx_create");
}

#define REFUSE(field_, value, ...)                                       \
	do {                                                             \
		struct mk_ctx_params p_ = support_params("cpu",          \
						MK_ISOLATION_NONE);      \
		p_.field_ = (value);                                     \
		refuse(&p_, -EINVAL);                                    \
		support_error(-EINVAL, "params." #field_, __VA_ARGS__,   \
			      NULL);                                     \
	} while (0)

static void fields(void **state)
{
	(void)state;
	REFUSE(isolation, 3, "is 3", "enum mk_isolation");
	REFUSE(isolation, UINT32_MAX, "4294967295");
	REFUSE(workers, 1025, "is 1025", "1024");
	REFUSE(buffers_max, (1u << 20) + 1, "1048577", "1,048,576");
	REFUSE(scratch_bytes, (64u << 20) + 1, "67108865", "64 MiB");
	REFUSE(shared_bytes, (1ull << 32) + 1, "4294967297", "4 GiB");
	REFUSE(heap_bytes, (1ull << 46) + 1, "70368744177665", "64 TiB");
	REFUSE(heap_bytes, UINT64_MAX, "18446744073709551615");
	REFUSE(sm_percent, 101, "is 101", "1 to 100");
	REFUSE(native_context, &fields, "engine cpu");
	REFUSE(native_stream, &fields, "engine cpu");
}

/* What the struct had in its first version. */
#define FIRST_SIZE offsetof(struct mk_ctx_params, sm_count)

static void sizes(void **state)
{
	unsigned char bytes[8192] = { 0 };
	struct mk_ctx_params *p = (void *)bytes;
	static const struct { uint32_t size; int code; } bad[] = {
		{ 0, -EINVAL }, { 1, -EINVAL }, { FIRST_SIZE - 1, -EINVAL },
		{ 4097, -E2BIG }, { UINT32_MAX, -E2BIG },
	};
	struct mk_ctx *ctx;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		p->size = bad[i].size;
		refuse(p, bad[i].code);
		support_error(bad[i].code, "params.size", NULL);
	}
	/* from the oldest header, and whatever lies behind it */
	memset(bytes, 0xff, sizeof(bytes));
	*p = support_params("cpu", MK_ISOLATION_NONE);
	memset(bytes + FIRST_SIZE, 0xff, sizeof(*p) - FIRST_SIZE);
	p->size = FIRST_SIZE;
	assert_int_equal(mk_ctx_create(p, &ctx), 0);
	support_ctx_end(ctx);
	memset(bytes, 0, sizeof(bytes));
	/* from a newer header: accepted as long as what is new is zero */
	*p = support_params("cpu", MK_ISOLATION_NONE);
	p->size = 4096;
	bytes[4096] = 1; /* beyond the struct */
	assert_int_equal(mk_ctx_create(p, &ctx), 0);
	support_ctx_end(ctx);
	bytes[4095] = 1;
	refuse(p, -E2BIG);
	support_error(-E2BIG, "4096", "byte 4095", NULL);
	p->size = 4095;
	assert_int_equal(mk_ctx_create(p, &ctx), 0);
	support_ctx_end(ctx);
	bytes[sizeof(*p)] = 255;
	refuse(p, -E2BIG);
}

/* A budget of multiprocessors means nothing to an engine without them. */
static void budget(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);
	struct mk_ctx_info info;
	struct mk_ctx *ctx;

	(void)state;
	p.sm_count = 100000;
	ctx = support_ctx_with(&p);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.sm_count, 0);
	assert_int_equal(info.workers, p.workers);
	support_ctx_end(ctx);
	p.sm_percent = 50;
	refuse(&p, -EINVAL);
	support_error(-EINVAL, "sm_percent", "sm_count", NULL);
}

static void engines(void **state)
{
	struct mk_ctx_params p = support_params("abacus", MK_ISOLATION_NONE);

	(void)state;
	refuse(&p, -MK_EENGINE);
	support_error(-MK_EENGINE, "\"abacus\"", "mk_engine_list()", NULL);
	p.engine = "";
	refuse(&p, -MK_EENGINE);
	p.engine = "cpu";
	p.device = 1;
	refuse(&p, -MK_EENGINE);
	support_error(-MK_EENGINE, "device 1", NULL);
	p.device = UINT32_MAX;
	refuse(&p, -MK_EENGINE);
}

static void no_worker_program(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_ctx *ctx = untouched;

	(void)state;
	p.worker_path = "/nonexistent/worker";
	assert_int_equal(mk_ctx_create(&p, &ctx), -MK_EWORKER);
	support_error(-MK_EWORKER, "/nonexistent/worker", "worker_path", NULL);
	p.worker_path = "/bin/true"; /* a program, but not the worker */
	assert_int_equal(mk_ctx_create(&p, &ctx), -MK_EWORKER);
	support_error(-MK_EWORKER, "/bin/true", NULL);
	p.worker_path = "/";
	assert_int_equal(mk_ctx_create(&p, &ctx), -MK_EWORKER);
	assert_ptr_equal(ctx, untouched);
	assert_int_equal(support_children(), 0);
}

/* Memory that cannot be had is an error and no crash. */
static void no_room(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);
	struct mk_queue *q;
	struct mk_ctx *ctx;
	mk_buffer_t b;

	(void)state;
	p.shared_bytes = 1;
	p.workers = 100;
	refuse(&p, -ENOMEM);
	support_error(-ENOMEM, "shared_bytes", NULL);
	p.workers = 1;
	p.shared_bytes = 8192;
	p.heap_bytes = 8192;
	ctx = support_ctx_with(&p);
	assert_int_equal(mk_queue_create(ctx, NULL, &q), -ENOMEM);
	support_error(-ENOMEM, "mk_ctx_params.shared_bytes", NULL);
	assert_int_equal(mk_buffer_create(ctx, 8193, 0, &b), -ENOMEM);
	support_error(-ENOMEM, "no room for 8193 bytes",
		      "mk_ctx_params.heap_bytes", NULL);
	assert_int_equal(mk_buffer_create(ctx, INT64_MAX, 0, &b), -ENOMEM);
	assert_int_equal(mk_buffer_create(ctx, 8192, 0, &b), 0);
	support_ctx_end(ctx);
}

static void no_address_space(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);
	struct rlimit was, less;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer needs all addresses\n");
		skip();
	}
	assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
	less = was;
	less.rlim_cur = 1u << 30;
	p.heap_bytes = 1ull << 40;
	assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
	refuse(&p, -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
	support_error(-ENOMEM, "mmap", "heap_bytes", "address space", NULL);
}

static void limited(int resource, rlim_t bytes, const struct mk_ctx_params *p,
		    int code)
{
	struct mk_ctx_info info;
	struct rlimit was, less;
	struct mk_ctx *ctx = NULL;
	int r;

	assert_int_equal(getrlimit(resource, &was), 0);
	less = was;
	less.rlim_cur = bytes;
	assert_int_equal(setrlimit(resource, &less), 0);
	r = mk_ctx_create(p, &ctx);
	assert_int_equal(setrlimit(resource, &was), 0);
	assert_int_equal(r, code);
	if (r)
		return;
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_true(info.shared_bytes + info.heap_bytes <= bytes);
	support_ctx_end(ctx);
}

/* A limit is no death by SIGXFSZ; the default keeps to it. */
static void limits(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);

	(void)state;
	p.heap_bytes = 0;
	p.shared_bytes = 1u << 20;
	limited(RLIMIT_FSIZE, (8u << 20) + 1, &p, 0);
	if (!SUPPORT_SANITIZED)
		limited(RLIMIT_AS, 1u << 30, &p, 0);
	p.heap_bytes = 8u << 20;
	limited(RLIMIT_FSIZE, 8u << 20, &p, -EFBIG);
	support_error(-EFBIG, "9437184 bytes", "RLIMIT_FSIZE", "8388608",
		      "heap_bytes", NULL);
	p.heap_bytes = 0;
	limited(RLIMIT_FSIZE, 4096, &p, -EFBIG);
	limited(RLIMIT_FSIZE, 0, &p, -EFBIG);
}

static void no_descriptors(void **state)
{
	static const uint32_t isolation[] = { MK_ISOLATION_NONE,
					      MK_ISOLATION_PROCESS };
	struct rlimit was, less;
	unsigned fds = support_fds();

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct mk_ctx_params p = support_params("cpu", isolation[i]);
		struct mk_ctx *ctx = untouched;
		int r = -EMFILE;

		/* one more each time, until there are enough */
		for (rlim_t n = 0; r == -EMFILE; n++) {
			struct mk_error e;

			assert_true(n < 100);
			less = was;
			less.rlim_cur = fds + n;
			assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
			r = mk_ctx_create(&p, &ctx);
			assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
			if (r)
				assert_ptr_equal(ctx, untouched);
			e = *mk_error_last();
			if (r && r != -EMFILE)
				fail_msg("%s: %s", mk_code_name(r), e.text);
			if (r)
				assert_int_equal(e.native, EMFILE);
		}
		assert_int_equal(r, 0);
		support_ctx_end(ctx);
		assert_int_equal(support_fds(), fds);
		assert_int_equal(support_children(), 0);
	}
}

/* NULL is all defaults; what it came to is told. */
static void defaults(void **state)
{
	struct mk_ctx_info info;
	struct mk_ctx *ctx;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("the default heap is too large here\n");
		skip();
	}
	assert_int_equal(mk_ctx_create(NULL, &ctx), 0);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_string_equal(info.engine, "cpu");
	assert_int_equal(info.isolation, MK_ISOLATION_PROCESS);
	assert_true(info.worker_pid > 0);
	assert_true(info.workers >= 1);
	assert_int_equal(info.shared_bytes, 64 << 20);
	assert_true(info.heap_bytes > 0);
	assert_int_equal(info.heap_used, 0);
	assert_int_equal(info.queues, 0);
	assert_int_equal(info.abi, MK_ABI_VERSION);
	assert_int_equal(info.fingerprint, MK_FINGERPRINT);
	assert_int_equal(info.handlers, 14);
	support_ctx_end(ctx);
	assert_int_equal(mk_ctx_destroy(NULL, 0), 0);
}

/* Created and destroyed over and over, with everything still in use. */
static void cycles(void **state)
{
	static const uint32_t isolation[] = { MK_ISOLATION_NONE,
					      MK_ISOLATION_PROCESS };
	unsigned fds = support_fds(), threads = support_threads();

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		struct mk_ctx *ctx = support_ctx("cpu", isolation[i % 2]);
		struct mk_queue *q = support_queue(ctx, 64);
		mk_buffer_t b;

		assert_true(mk_queue_event_fd(q) >= 0);
		assert_int_equal(mk_buffer_create(ctx, 100000, 0, &b), 0);
		for (unsigned k = 0; k < 30; k++)
			support_submit(q, MK_OP_NOP, k, NULL, 0);
		assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
	}
	assert_int_equal(support_fds(), fds);
	support_threads_most(threads);
	assert_int_equal(support_children(), 0);
}

/* In a process without standard streams: none of ours takes their numbers,
 * or what the process prints would go into it. */
static int without_streams(uint32_t isolation)
{
	struct mk_ctx_params p = { .size = sizeof(p), .isolation = isolation };
	struct mk_handler_info info;
	struct mk_completion c;
	struct mk_slot slot;
	struct mk_ctx *ctx;
	struct mk_queue *q;

	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	if (mk_ctx_create(&p, &ctx) || mk_queue_create(ctx, NULL, &q))
		return 2;
	if (mk_queue_event_fd(q) < 3)
		return 3;
	if (mk_module_load_source(ctx, "x.c", "int x = y;", 0, NULL) !=
		    -MK_ECOMPILE ||
	    !strstr(mk_error_last()->text, "x.c:1"))
		return 4;
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			return 5;
	mk_slot_init(&slot, MK_OP_NOP, 7);
	if (mk_queue_call(q, &slot, &c, SUPPORT_NS))
		return 6;
	if (mk_handler_find(ctx, "sha256", &info))
		return 7;
	return mk_ctx_destroy(ctx, SUPPORT_NS) ? 8 : 0;
}

static void no_streams(void **state)
{
	(void)state;
	for (uint32_t i = MK_ISOLATION_PROCESS; i <= MK_ISOLATION_NONE; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (!pid)
			_exit(without_streams(i));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void several(void **state)
{
	struct mk_ctx *ctx[6];
	struct mk_queue *q[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		ctx[i] = support_ctx("cpu", i % 2 ? MK_ISOLATION_NONE :
						    MK_ISOLATION_PROCESS);
		q[i] = support_queue(ctx[i], 8);
	}
	for (unsigned i = 0; i < 6; i++) {
		mk_buffer_t b;

		assert_int_equal(support_call(q[i], MK_OP_NOP, NULL,
					      0).result, 0);
		/* handles of one are none of another's */
		assert_int_equal(mk_buffer_create(ctx[i], 1, 0, &b), 0);
		assert_int_equal(mk_buffer_destroy(ctx[(i + 1) % 6], b, 0),
				 i == 5 ? -MK_ESTALE : -MK_EFOREIGN);
		assert_int_equal(mk_buffer_destroy(ctx[i], b, SUPPORT_NS), 0);
	}
	for (unsigned i = 0; i < 6; i++)
		support_ctx_end(ctx[5 - i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(sizes),
		cmocka_unit_test(budget),
		cmocka_unit_test(engines),
		cmocka_unit_test(no_worker_program),
		cmocka_unit_test(no_room),
		cmocka_unit_test(no_address_space),
		cmocka_unit_test(limits),
		cmocka_unit_test(no_descriptors),
		cmocka_unit_test(defaults),
		cmocka_unit_test(cycles),
		cmocka_unit_test(no_streams),
		cmocka_unit_test(several),
	};

	return cmocka_run_group_tests_name("context/create", tests, NULL,
					   NULL);
}
