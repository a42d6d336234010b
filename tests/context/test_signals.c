/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-link: -Wl,--wrap=clock_gettime,--wrap=gettimeofday,--wrap=time */
/*
 * What belongs to the caller: its signal handlers, which see a crash even in
 * a worker of ours; and the time of day, which it may step as it likes.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/order.h"
#include "support/support.h"

/* ---- the time of day ----------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_gettimeofday(struct timeval *t, void *zone);
time_t __wrap_time(time_t *t);

static unsigned calendar; /* readings of it; relaxed */

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int r = __real_clock_gettime(clock, t);

	/* a day forth and back with every reading */
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		t->tv_sec += mk_add_relaxed(&calendar, 1) % 2 ? 86400 : -86400;
	return r;
}

int __wrap_gettimeofday(struct timeval *t, void *zone)
{
	(void)zone;
	mk_add_relaxed(&calendar, 1);
	t->tv_sec = t->tv_usec = 0;
	return 0;
}

time_t __wrap_time(time_t *t)
{
	mk_add_relaxed(&calendar, 1);
	if (t)
		*t = 0;
	return 0;
}

static int32_t with_deadline(struct mk_queue *q, int64_t from_now)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 1);
	assert_int_equal(mk_slot_deadline(q, s, support_now() +
						(uint64_t)from_now), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	return support_reap(q).result;
}

static void stepped(uint32_t isolation)
{
	struct mk_ctx *ctx = support_ctx("cpu", isolation);
	struct mk_queue *q = support_queue(ctx, 16);
	uint64_t t0 = support_now();

	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(with_deadline(q, (int64_t)SUPPORT_NS), 0);
		assert_int_equal(with_deadline(q, -1), -MK_EDEADLINE);
	}
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_true(support_now() - t0 < SUPPORT_NS);
	assert_int_equal(mk_load_relaxed(&calendar), 0);
}

/* Nothing that has to do with time asks what day it is. */
static void calendar_is_not_read(void **state)
{
	(void)state;
	stepped(MK_ISOLATION_NONE);
	stepped(MK_ISOLATION_PROCESS);
}

/* ---- signals ------------------------------------------------------------- */

static const char crash_source[] =
	"#include <megakernel/handler.h>\n"
	"MK_HANDLER(crash, struct mk_none)\n"
	"{\n"
	"	*(volatile int *)8 = 1;\n"
	"	return MK_OK;\n"
	"}\n";

static void on_crash(int number)
{
	(void)number;
	_exit(42);
}

/* With isolation none a crash is the program's: its handler is called. */
static void child(void)
{
	struct sigaction sa = { .sa_handler = on_crash };
	struct mk_handler_info info;
	struct mk_ctx *ctx;
	struct mk_queue *q;

	sigaction(SIGSEGV, &sa, NULL);
	ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	q = support_queue(ctx, 16);
	if (mk_module_load_source(ctx, "crash.c", crash_source, 0, NULL) ||
	    mk_handler_find(ctx, "crash", &info))
		_exit(1);
	support_submit(q, info.opcode, 1, NULL, 0);
	support_sleep(SUPPORT_NS);
	_exit(2);
}

static void crash_is_seen(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		child();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

/* Others are not for the workers: they reach the caller's threads alone. */
static pthread_t receiver;

static void on_user(int number)
{
	(void)number;
	receiver = pthread_self();
}

static void others_stay_away(void **state)
{
	struct sigaction sa = { .sa_handler = on_user };
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);

	(void)state;
	sigaction(SIGUSR1, &sa, NULL);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(kill(getpid(), SIGUSR1), 0);
		assert_true(pthread_equal(receiver, pthread_self()));
	}
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calendar_is_not_read),
		cmocka_unit_test(crash_is_seen),
		cmocka_unit_test(others_stay_away),
	};

	return cmocka_run_group_tests_name("context/signals", tests, NULL,
					   NULL);
}
