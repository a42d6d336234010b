/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/* Off, once, budget; recovering on purpose; a context that is given up. */
#include "rig.h"

#include <poll.h>
#include <sys/stat.h>

#define AGAIN 10

static void kill_worker(struct mk_ctx *ctx)
{
	uint64_t losses = rig_stats(ctx).losses, end;

	assert_int_equal(kill(rig_worker(ctx), SIGKILL), 0);
	end = support_now() + SUPPORT_NS;
	while (rig_stats(ctx).losses == losses) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

static uint32_t state_of(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	return info.state;
}

static void await_state(struct mk_ctx *ctx, uint32_t state)
{
	uint64_t end = support_now() + SUPPORT_NS;

	while (state_of(ctx) != state) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

static void params(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);
	struct mk_ctx *ctx;
	struct mk_ctx_info info;

	(void)state;
	p.recovery = MK_RECOVERY_ONCE;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "params.recovery", "isolation none", NULL);
	p.recovery = 4;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	p.recovery = 0;
	p.hang_ns = 999999;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "params.hang_ns", "999999", NULL);
	p.hang_ns = 0;
	/* as it was before there was recovery */
	p.size = offsetof(struct mk_ctx_params, recovery);
	assert_int_equal(mk_ctx_create(&p, &ctx), 0);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.recovery, MK_RECOVERY_OFF);
	assert_int_equal(info.hang_ns, 30000000000);
	assert_int_equal(info.grace_ns, 1000000000);
	support_ctx_end(ctx);
	/* ends within a field */
	p.size++;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	assert_int_equal(mk_ctx_create(NULL, &ctx), 0);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.recovery, MK_RECOVERY_BUDGET);
	support_ctx_end(ctx);
}

static void off(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_OFF, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);

	(void)state;
	rig_submit(q, bad, 1, 0, BAD_SEGV, 0);
	assert_int_equal(support_reap(q).result, -MK_EFAULT);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "handler bad", "signal 11",
		      "mk_ctx_recover()", NULL);
	assert_int_equal(state_of(ctx), MK_CTX_LOST);
	assert_int_equal(rig_stats(ctx).restarts, 0);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), -EALREADY);
	rig_submit(q, bad, 2, 0, BAD_NOT, 0);
	assert_int_equal(support_reap(q).result, 7);
	support_queue_end(q);
	support_ctx_end(ctx);
}

static void once(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_ONCE, 0);
	struct mk_queue *q = support_queue(ctx, 16);

	(void)state;
	kill_worker(ctx);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	rig_await_restarts(ctx, 1);
	kill_worker(ctx);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
	assert_int_equal(state_of(ctx), MK_CTX_LOST);
	/* on purpose: the policy begins anew, each time, however late its
	 * thread heard of the loss */
	for (int i = 0; i < AGAIN; i++) {
		uint64_t before = rig_stats(ctx).restarts;

		assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
		kill_worker(ctx);
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
		rig_await_restarts(ctx, before + 2);
		kill_worker(ctx);
		assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
		assert_int_equal(state_of(ctx), MK_CTX_LOST);
	}
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

struct waiter {
	pthread_t thread;
	struct mk_queue *q;
	int result;
};

static void *wait_one(void *arg)
{
	struct waiter *w = arg;

	w->result = mk_queue_wait(w->q, 2, SUPPORT_NS);
	return NULL;
}

/* A waiter sleeps through restarts, and is released when there are no more. */
static void budget(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct waiter w = { .result = 99 };
	struct mk_completion c[4];
	struct mk_ctx *ctx;
	struct mk_slot *s;
	struct pollfd fd;
	uint16_t bad;

	(void)state;
	p.restarts_max = 3;
	p.restart_window_ns = 3600000000000;
	p.restart_delay_ns = 1;
	ctx = support_ctx_with(&p);
	w.q = support_queue(ctx, 4);
	bad = rig_load(ctx);
	fd.fd = mk_queue_event_fd(w.q);
	fd.events = POLLIN;
	rig_submit(w.q, bad, 1, 0, BAD_DEAF, 0);
	assert_int_equal(pthread_create(&w.thread, NULL, wait_one, &w), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(state_of(ctx), MK_CTX_ALIVE);
		kill_worker(ctx);
		if (i < 3)
			rig_await_restarts(ctx, i + 1);
	}
	await_state(ctx, MK_CTX_LOST);
	pthread_join(w.thread, NULL);
	/* one answer was not enough: no more will come */
	assert_int_equal(w.result, 1);
	assert_int_equal(poll(&fd, 1, 60000), 1);
	assert_int_equal(mk_queue_reap(w.q, c, 4), 1);
	assert_int_equal(c[0].result, -MK_EMAYRUN);
	assert_int_equal(mk_queue_get(w.q, 1, &s), -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "budget of 3 restarts", NULL);
	assert_int_equal(rig_stats(ctx).restarts, 3);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	kill_worker(ctx);
	assert_int_equal(support_call(w.q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(w.q);
	support_ctx_end(ctx);
}

/* The new process cannot be started: that counts, and ends. */
static void no_program(void **state)
{
	char path[] = "/tmp/mk-worker-XXXXXX", real[4096];
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_error why;
	struct mk_ctx *ctx;
	struct mk_queue *q;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	assert_non_null(realpath(getenv("MEGAKERNEL_WORKER"), real));
	assert_int_equal(symlink(real, path), 0);
	p.worker_path = path;
	p.restarts_max = 3;
	p.restart_delay_ns = 1;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 4);
	assert_int_equal(unlink(path), 0);
	kill_worker(ctx);
	await_state(ctx, MK_CTX_LOST);
	assert_int_equal(rig_stats(ctx).restarts_failed, 3);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
	/* why it was lost, and why it did not come back */
	assert_int_equal(mk_ctx_error(ctx, &why), 1);
	assert_non_null(strstr(why.text, "was killed by signal 9"));
	assert_non_null(strstr(why.text, "budget of 3 restarts"));
	assert_non_null(strstr(why.text, path));
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), -MK_EWORKER);
	assert_int_equal(mk_ctx_error(ctx, &why), 1);
	assert_non_null(strstr(why.text, "mk_ctx_recover() failed: "));
	assert_int_equal(symlink(real, path), 0);
	await_state(ctx, MK_CTX_LOST);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	unlink(path);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(support_children(), 0);
}

/* Paths are those of the directory where the context was made. */
static void elsewhere(void **state)
{
	char dir[] = "/tmp/mk-policy-XXXXXX", here[4096], real[4096];
	char file[300];
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_ctx *ctx;
	struct mk_queue *q;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_non_null(getcwd(here, sizeof(here)));
	assert_non_null(realpath(getenv("MEGAKERNEL_WORKER"), real));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(symlink(real, "worker"), 0);
	assert_int_equal(mkdir("evidence", 0700), 0);
	p.worker_path = "./worker";
	p.evidence_dir = "evidence";
	p.cache_dir = "cache";
	p.restart_delay_ns = 1;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 4);
	assert_int_equal(chdir("/"), 0);
	kill_worker(ctx);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	rig_load(ctx);
	support_queue_end(q);
	support_ctx_end(ctx);
	snprintf(file, sizeof(file), "%s/evidence/evidence-%d-1.json", dir,
		 (int)getpid());
	assert_int_equal(access(file, R_OK), 0);
	snprintf(file, sizeof(file), "%s/cache", dir);
	assert_int_equal(access(file, R_OK), 0);
	assert_int_equal(chdir(here), 0);
	snprintf(file, sizeof(file), "rm -r %s", dir);
	assert_int_equal(system(file), 0);
}

/* It had begun, was to run again, and nothing came that could run it: it may
 * not be said that it did not run. One behind it never began. */
static void never_again(void **state)
{
	char path[] = "/tmp/mk-worker-XXXXXX", real[4096];
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_ctx *ctx;
	struct mk_queue *q;
	uint16_t bad;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	assert_non_null(realpath(getenv("MEGAKERNEL_WORKER"), real));
	assert_int_equal(symlink(real, path), 0);
	p.worker_path = path;
	p.workers = 1;
	p.recovery = MK_RECOVERY_ONCE;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 4);
	bad = rig_load(ctx);
	rig_submit(q, bad, 1, MK_SLOT_IDEMPOTENT, BAD_DEAF, 2);
	rig_await_word(q, 2, 1);
	rig_submit(q, bad, 2, MK_SLOT_IDEMPOTENT, BAD_NOT, 3);
	assert_int_equal(unlink(path), 0);
	kill_worker(ctx);
	assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
	assert_int_equal(support_reap(q).result, -MK_ENOTRUN);
	assert_int_equal(rig_word(q, 2), 1);
	assert_int_equal(rig_word(q, 3), 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Commands that meet the loss wait, and succeed. */
static void commands(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	unsigned fds = support_fds();

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		struct mk_queue *q, *other;
		mk_buffer_t b;
		pid_t pid = rig_worker(ctx);

		if (pid > 0)
			kill(pid, SIGKILL);
		q = support_queue(ctx, 4);
		if (pid > 0 && i % 2)
			kill(pid, SIGKILL);
		assert_int_equal(mk_buffer_create(ctx, 100, 0, &b), 0);
		assert_true(mk_queue_event_fd(q) >= 0);
		other = support_queue(ctx, 4);
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
		assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
		support_queue_end(other);
		support_queue_end(q);
	}
	assert_true(rig_stats(ctx).losses >= 10);
	assert_in_range(support_fds(), 0, fds + 2);
	support_ctx_end(ctx);
}

/* Destroyed at every moment of a recovery. */
static void destroyed(void **state)
{
	unsigned fds = support_fds(), threads = support_threads();

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
		struct mk_queue *q = support_queue(ctx, 16);
		struct mk_completion c;
		int64_t left;

		for (uint64_t k = 0; k < 10; k++)
			support_submit(q, MK_OP_NOP, k, NULL, 0);
		kill(rig_worker(ctx), SIGKILL);
		support_sleep(i * 200000);
		if (i % 3 == 0)
			mk_queue_reap(q, &c, 1);
		left = mk_ctx_destroy(ctx, SUPPORT_NS);
		assert_true(left >= 0 && left <= 10);
		assert_int_equal(support_children(), 0);
	}
	assert_int_equal(support_fds(), fds);
	support_threads_most(threads);
}

/* Workers that say nothing: what was claimed counts as begun, what was not
 * runs, and the record names no slot. */
static void silent(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_ctx *ctx;
	struct mk_queue *q;
	char text[8192];
	uint16_t bad;

	(void)state;
	p.workers = 1;
	p.heartbeat = MK_HEARTBEAT_OFF;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 64);
	bad = rig_load(ctx);
	for (unsigned lap = 0; lap < 2; lap++) {
		rig_submit(q, bad, 1, 0, BAD_DEAF, 2);
		rig_await_word(q, 2, lap + 1);
		rig_submit(q, bad, 2, 0, BAD_NOT, 3);
		if (lap)
			kill_worker(ctx);
		else /* a crash that nobody notes down */
			kill(rig_worker(ctx), SIGSEGV);
		assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
		assert_int_equal(support_reap(q).result, 7);
		assert_int_equal(rig_word(q, 3), lap + 1);
		assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
					    sizeof(text)) > 0);
		assert_null(strstr(text, "running"));
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	p.heartbeat = 2;
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "params.heartbeat", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(params),     cmocka_unit_test(off),
		cmocka_unit_test(once),	      cmocka_unit_test(budget),
		cmocka_unit_test(no_program), cmocka_unit_test(commands),
		cmocka_unit_test(destroyed),  cmocka_unit_test(silent),
		cmocka_unit_test(elsewhere),
		cmocka_unit_test(never_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
