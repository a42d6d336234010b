/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: stress */
/*
 * Workers and waiters that fall asleep at once, so that every publish and
 * every answer races with someone going to sleep. A lost wake-up is a hang,
 * and so a failure.
 */
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "support/support.h"

static struct mk_ctx *sleepy_ctx(uint32_t isolation, uint32_t workers)
{
	struct mk_ctx_params p = support_params("cpu", isolation);

	p.idle_ns = 1;
	p.workers = workers;
	return support_ctx_with(&p);
}

static struct mk_queue *sleepy_queue(struct mk_ctx *ctx, uint32_t entries)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = entries,
				     .spin_ns = 1 };
	struct mk_queue *q;

	assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
	return q;
}

struct pinger {
	pthread_t thread;
	struct mk_queue *q;
	unsigned rounds;
	uint64_t seed;
	int error;
};

/* A little time, so that both sides meet at every point of their ways. */
static void dawdle(uint64_t *seed)
{
	uint64_t n = support_random(seed) % 3000;

	if (n > 2990)
		support_sleep(50000);
	for (volatile uint64_t i = 0; i < n; i++)
		;
}

static void *ping(void *arg)
{
	struct pinger *p = arg;
	struct mk_completion c;
	struct mk_slot *s;

	for (unsigned i = 0; i < p->rounds && !p->error; i++) {
		p->error = mk_queue_get_wait(p->q, 1, &s, SUPPORT_NS) - 1;
		if (p->error)
			break;
		mk_slot_init(s, MK_OP_NOP, i);
		s->arg64[0] = i;
		p->error = mk_queue_submit(p->q, s, 1) - 1;
		dawdle(&p->seed);
		if (!p->error)
			p->error = mk_queue_wait(p->q, 1, SUPPORT_NS) - 1;
		if (!p->error)
			p->error = mk_queue_reap(p->q, &c, 1) - 1;
		if (!p->error && (c.value != i || c.user_data != i))
			p->error = -1000;
		dawdle(&p->seed);
	}
	return NULL;
}

static void pings(uint32_t isolation, uint32_t workers, unsigned queues)
{
	struct mk_ctx *ctx = sleepy_ctx(isolation, workers);
	struct pinger p[4];
	struct mk_ctx_stats s;

	memset(p, 0, sizeof(p));
	for (unsigned i = 0; i < queues; i++) {
		p[i].q = sleepy_queue(ctx, 2);
		p[i].rounds = SUPPORT_SANITIZED ? 3000 : 20000;
		p[i].seed = i + 1;
		assert_int_equal(pthread_create(&p[i].thread, NULL, ping,
						&p[i]), 0);
	}
	for (unsigned i = 0; i < queues; i++) {
		pthread_join(p[i].thread, NULL);
		if (p[i].error)
			fail_msg("queue %u: %s", i, mk_code_name(p[i].error));
		support_queue_end(p[i].q);
	}
	/* it was what it meant to be */
	assert_int_equal(mk_ctx_stats(ctx, &s), 0);
	assert_true(s.sleeps > 0);
	assert_true(s.wakes > 0);
	support_ctx_end(ctx);
}

static void none(void **state)
{
	(void)state;
	pings(MK_ISOLATION_NONE, 1, 1);
	pings(MK_ISOLATION_NONE, 2, 1);
	pings(MK_ISOLATION_NONE, 4, 3);
}

static void process(void **state)
{
	(void)state;
	pings(MK_ISOLATION_PROCESS, 1, 1);
	pings(MK_ISOLATION_PROCESS, 3, 2);
}

/* ---- waiters for room --------------------------------------------------- */

struct crowd {
	pthread_t thread;
	struct mk_queue *q;
	unsigned rounds;
	int error;
};

static void *push(void *arg)
{
	struct crowd *p = arg;
	struct mk_slot *s;

	for (unsigned i = 0; i < p->rounds && !p->error; i++) {
		p->error = mk_queue_get_wait(p->q, 1, &s, SUPPORT_NS) - 1;
		if (p->error)
			break;
		mk_slot_init(s, MK_OP_NOP, i);
		p->error = mk_queue_submit(p->q, s, 1) - 1;
	}
	return NULL;
}

/* Six producers fight for a ring of 2 and sleep for room most of the time. */
static void crowded(void **state)
{
	struct mk_ctx *ctx = sleepy_ctx(MK_ISOLATION_NONE, 2);
	struct mk_queue *q = sleepy_queue(ctx, 2);
	unsigned rounds = SUPPORT_SANITIZED ? 500 : 4000;
	struct mk_completion a;
	struct crowd c[6];

	(void)state;
	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < 6; i++) {
		c[i].q = q;
		c[i].rounds = rounds;
		assert_int_equal(pthread_create(&c[i].thread, NULL, push,
						&c[i]), 0);
	}
	for (unsigned i = 0; i < 6 * rounds; i++) {
		assert_true(mk_queue_wait(q, 1, SUPPORT_NS) >= 1);
		assert_int_equal(mk_queue_reap(q, &a, 1), 1);
	}
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(c[i].thread, NULL);
		assert_int_equal(c[i].error, 0);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- at rest ------------------------------------------------------------ */

static uint64_t cpu_ns(void)
{
	struct rusage r;

	assert_int_equal(getrusage(RUSAGE_SELF, &r), 0);
	return ((uint64_t)r.ru_utime.tv_sec + (uint64_t)r.ru_stime.tv_sec) *
		       1000000000ull +
	       ((uint64_t)r.ru_utime.tv_usec + (uint64_t)r.ru_stime.tv_usec) *
		       1000ull;
}

/* Idle workers use no processor: all go to sleep, and stay so. */
static void at_rest(void **state)
{
	struct mk_ctx *ctx = sleepy_ctx(MK_ISOLATION_NONE, 4);
	struct mk_queue *q = sleepy_queue(ctx, 16);
	uint64_t end = support_now() + SUPPORT_NS, used;
	struct mk_ctx_stats before, after;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		support_call(q, MK_OP_NOP, NULL, 0);
	for (;;) {
		assert_int_equal(mk_ctx_stats(ctx, &before), 0);
		used = cpu_ns();
		support_sleep(100 * SUPPORT_MS);
		used = cpu_ns() - used;
		assert_int_equal(mk_ctx_stats(ctx, &after), 0);
		if (after.sleeps == before.sleeps && used < 5 * SUPPORT_MS)
			break;
		/* on a busy machine it may take them a while to get there */
		assert_true(support_now() < end);
	}
	support_call(q, MK_OP_NOP, NULL, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(process),
		cmocka_unit_test(crowded),
		cmocka_unit_test(at_rest),
	};

	return cmocka_run_group_tests_name("stress/park", tests, NULL, NULL);
}
