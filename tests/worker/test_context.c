/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real worker program with the real engine, through a context: work goes
 * through, its death releases everybody at once, and nothing is left behind
 * in whatever order the two end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <megakernel.h>

#define NS_PER_S 1000000000ull
#define LONG_NS (60 * NS_PER_S) /* never reached unless something hangs */

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool has_children(void)
{
	siginfo_t info;

	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       errno != ECHILD;
}

static struct mk_ctx *create(void)
{
	struct mk_ctx_params p = { .size = sizeof(p), .workers = 2,
				   .recovery = MK_RECOVERY_OFF };
	struct mk_ctx *ctx = NULL;
	int r = mk_ctx_create(&p, &ctx);

	if (r)
		fail_msg("mk_ctx_create: %s", mk_error_last()->text);
	return ctx;
}

static pid_t worker_pid(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.isolation, MK_ISOLATION_PROCESS);
	return info.worker_pid;
}

/* n slots there and back. */
static void round_trips(struct mk_queue *q, unsigned n)
{
	struct mk_completion c;
	struct mk_slot s;

	for (unsigned i = 0; i < n; i++) {
		mk_slot_init(&s, MK_OP_NOP, i);
		s.arg64[0] = i * 3ull;
		assert_int_equal(mk_queue_call(q, &s, &c, LONG_NS), 0);
		assert_int_equal(c.value, i * 3ull);
	}
}

static void test_work(void **state)
{
	int before = open_fds();
	struct mk_queue *q;
	struct mk_ctx *ctx;
	mk_buffer_t b;

	(void)state;
	for (int i = 0; i < 5; i++) {
		ctx = create();
		assert_int_equal(kill(worker_pid(ctx), 0), 0);
		assert_int_equal(mk_queue_create(ctx, NULL, &q), 0);
		assert_int_equal(mk_buffer_create(ctx, 100000, 0, &b), 0);
		round_trips(q, 100);
		assert_int_equal(mk_ctx_quiesce(ctx, LONG_NS), 0);
		assert_int_equal(mk_ctx_resume(ctx), 0);
		round_trips(q, 10);
		assert_int_equal(mk_buffer_destroy(ctx, b, LONG_NS), 0);
		assert_int_equal(mk_queue_destroy(q, LONG_NS), 0);
		assert_int_equal(mk_ctx_destroy(ctx, LONG_NS), 0);
		assert_false(has_children());
		assert_int_equal(open_fds(), before);
	}
}

struct waiter {
	struct mk_queue *q;
	int result;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	w->result = mk_queue_wait(w->q, 1, MK_FOREVER);
	return NULL;
}

/* A waiter that sleeps without a time-out is released. */
static void test_death_releases(void **state)
{
	int before = open_fds();
	struct mk_completion c;
	struct mk_slot *slot;
	struct mk_error why;
	pthread_t thread;
	struct waiter w;
	struct mk_ctx *ctx = create();

	(void)state;
	assert_int_equal(mk_queue_create(ctx, NULL, &w.q), 0);
	round_trips(w.q, 10);
	/* nobody takes the slot until the worker is gone */
	assert_int_equal(mk_ctx_quiesce(ctx, LONG_NS), 0);
	assert_int_equal(mk_queue_get(w.q, 1, &slot), 1);
	mk_slot_init(slot, MK_OP_NOP, 42);
	assert_int_equal(mk_queue_submit(w.q, slot, 1), 1);
	pthread_create(&thread, NULL, waiter_main, &w);
	kill(worker_pid(ctx), SIGKILL);
	pthread_join(thread, NULL);
	/* released: by the code, or by the answer that the slot was given */
	assert_true(w.result == 1 || w.result == -MK_EDEVLOST);
	assert_int_equal(mk_queue_reap(w.q, &c, 1), 1);
	assert_int_equal(c.user_data, 42);
	assert_int_equal(c.result, -MK_ENOTRUN);
	assert_int_equal(mk_queue_reap(w.q, &c, 1), -MK_EDEVLOST);
	assert_int_equal(mk_ctx_error(ctx, &why), 1);
	assert_int_equal(why.code, -MK_EDEVLOST);
	assert_non_null(strstr(why.text, "signal 9"));
	assert_false(has_children());
	assert_int_equal(mk_ctx_destroy(ctx, LONG_NS), 0);
	assert_int_equal(open_fds(), before);
}

/* Wait until the context knows that its device is lost. */
static void await_loss(struct mk_ctx *ctx)
{
	struct mk_error why;

	for (int i = 0; i < 30000; i++) {
		if (mk_ctx_error(ctx, &why))
			return;
		usleep(1000);
	}
	fail_msg("the loss is not noticed");
}

static void test_recover(void **state)
{
	int before = open_fds();
	struct mk_ctx *ctx = create();
	struct mk_ctx_stats stats;
	struct mk_queue *q;

	(void)state;
	assert_int_equal(mk_queue_create(ctx, NULL, &q), 0);
	for (int i = 0; i < 5; i++) {
		pid_t pid = worker_pid(ctx);

		round_trips(q, 10);
		kill(pid, SIGSEGV);
		await_loss(ctx);
		assert_int_equal(mk_ctx_recover(ctx, LONG_NS), 0);
		assert_int_not_equal(worker_pid(ctx), pid);
		round_trips(q, 10);
	}
	assert_int_equal(mk_ctx_stats(ctx, &stats), 0);
	assert_int_equal(stats.restarts, 5);
	/* six hellos, and the queue handed to six engines */
	assert_int_equal(stats.commands, 12);
	assert_int_equal(mk_queue_destroy(q, LONG_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, LONG_NS), 0);
	assert_false(has_children());
	assert_int_equal(open_fds(), before);
}

static int await_exit(pid_t pid)
{
	int status;

	for (int i = 0; i < 30000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		usleep(1000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fail_msg("%d does not end", (int)pid);
	return -1;
}

static void caller_main(bool killed, int out)
{
	struct mk_ctx *ctx = create();
	pid_t pid = worker_pid(ctx);
	struct mk_queue *q;

	alarm(60); /* fork(2) clears it */
	if (mk_queue_create(ctx, NULL, &q))
		_exit(3);
	round_trips(q, 10);
	if (write(out, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
		_exit(4);
	if (killed)
		raise(SIGKILL);
	_exit(0);
}

static void test_caller_ends(void **state)
{
	pid_t caller, pid;
	int fds[2];

	(void)state;
	/* the worker becomes our child when its caller is gone */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (int killed = 0; killed < 2; killed++) {
		assert_int_equal(pipe(fds), 0);
		caller = fork();
		if (!caller) {
			close(fds[0]);
			caller_main(killed, fds[1]);
		}
		close(fds[1]);
		assert_int_equal(read(fds[0], &pid, sizeof(pid)),
				 sizeof(pid));
		close(fds[0]);
		assert_int_equal(await_exit(caller), killed ? -1 : 0);
		/* by itself, or by the system, whoever is first */
		assert_true(await_exit(pid) <= 0);
		assert_false(has_children());
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_work),
		cmocka_unit_test(test_death_releases),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_caller_ends),
	};

	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
