/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: stress */
/* Many queues: made and destroyed while others run, and 63 idle beside one. */
#include <pthread.h>
#include <string.h>

#include "base/order.h"
#include "support/support.h"

struct worker {
	pthread_t thread;
	struct mk_ctx *ctx;
	uint32_t *stop;
	uint64_t seed, done;
	int error;
};

/* Submit n slots and reap them all; 0 or what went wrong. */
static int traffic(struct mk_queue *q, unsigned n, uint64_t tag)
{
	unsigned sent = 0, back = 0;
	struct mk_completion c;
	struct mk_slot *s;

	while (back < n) {
		int r = sent < n ? mk_queue_get(q, n - sent, &s) : 0;

		for (int i = 0; i < r; i++) {
			mk_slot_init(&s[i], MK_OP_NOP, tag + sent);
			s[i].arg64[0] = ~(tag + sent++);
		}
		if (r > 0 && mk_queue_submit(q, s, (unsigned)r) != r)
			return -1;
		r = mk_queue_wait(q, 1, SUPPORT_NS);
		if (r < 1)
			return r ? r : -2;
		if (mk_queue_reap(q, &c, 1) != 1 || c.result ||
		    c.value != ~c.user_data || c.user_data - tag >= n)
			return -3;
		back++;
	}
	return 0;
}

static void *run_one(void *arg)
{
	struct worker *w = arg;
	struct mk_queue *q;

	w->error = mk_queue_create(w->ctx, NULL, &q);
	while (!w->error && !mk_load_acquire(w->stop)) {
		w->error = traffic(q, 100, w->done);
		w->done += 100;
	}
	if (!w->error)
		w->error = (int)mk_queue_destroy(q, SUPPORT_NS);
	return NULL;
}

static void *come_and_go(void *arg)
{
	struct worker *w = arg;
	struct mk_queue *q;

	for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 60 : 300); i++) {
		struct mk_queue_params p = {
			.size = sizeof(p),
			.entries = 2u << support_random(&w->seed) % 8,
			.priority = (uint32_t)(support_random(&w->seed) % 6),
			.first_ticket = support_random(&w->seed),
		};

		w->error = mk_queue_create(w->ctx, &p, &q);
		if (!w->error && i % 3)
			w->error = traffic(q, 20, i * 1000);
		if (!w->error)
			w->error = (int)mk_queue_destroy(q, SUPPORT_NS);
		if (w->error)
			break;
		w->done++;
	}
	return NULL;
}

static void begin(struct worker *w, struct mk_ctx *ctx, uint32_t *stop,
		  uint64_t seed, void *(*run)(void *))
{
	memset(w, 0, sizeof(*w));
	w->ctx = ctx;
	w->stop = stop;
	w->seed = seed;
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

static void end(struct worker *w)
{
	pthread_join(w->thread, NULL);
	if (w->error)
		fail_msg("%s", mk_code_name(w->error));
	assert_true(w->done > 0);
}

static void churn(uint32_t isolation)
{
	struct mk_ctx *ctx = support_ctx("cpu", isolation);
	struct worker steady[2], changing[2];
	struct mk_ctx_info info;
	uint64_t used;
	uint32_t stop = 0;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	used = info.shared_used;
	for (unsigned i = 0; i < 2; i++) {
		begin(&steady[i], ctx, &stop, i + 1, run_one);
		begin(&changing[i], ctx, &stop, i + 10, come_and_go);
	}
	end(&changing[0]);
	end(&changing[1]);
	mk_store_release(&stop, 1);
	end(&steady[0]);
	end(&steady[1]);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.queues, 0);
	assert_true(info.shared_used == used);
	support_ctx_end(ctx);
}

static void churn_none(void **state)
{
	(void)state;
	churn(MK_ISOLATION_NONE);
}

static void churn_process(void **state)
{
	(void)state;
	churn(MK_ISOLATION_PROCESS);
}

#define MANY 64

/* Each in turn is the one that works. */
static void one_of_many(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	struct mk_queue *q[MANY];

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		q[i] = support_queue(ctx, 64);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(traffic(q[i], SUPPORT_SANITIZED ? 100 : 2000,
					 i * 10000), 0);
	/* and all at once, from one thread */
	for (uint64_t k = 0; k < 20; k++) {
		for (unsigned i = 0; i < MANY; i++)
			support_submit(q[i], MK_OP_NOP, k, NULL, 0);
		for (unsigned i = 0; i < MANY; i++)
			assert_int_equal(support_reap(q[i]).user_data, k);
	}
	for (unsigned i = 0; i < MANY; i++)
		support_queue_end(q[i]);
	support_ctx_end(ctx);
}

/* Quiesced and resumed all the time under traffic: nothing is lost. */
static void pauses(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	struct worker w[2];
	uint32_t stop = 0;

	(void)state;
	begin(&w[0], ctx, &stop, 1, run_one);
	begin(&w[1], ctx, &stop, 2, run_one);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
		if (i % 2)
			support_sleep(50000);
		assert_int_equal(mk_ctx_resume(ctx), 0);
		support_sleep(50000);
	}
	mk_store_release(&stop, 1);
	end(&w[0]);
	end(&w[1]);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(churn_none),
		cmocka_unit_test(churn_process),
		cmocka_unit_test(one_of_many),
		cmocka_unit_test(pauses),
	};

	return cmocka_run_group_tests_name("stress/queues", tests, NULL, NULL);
}
