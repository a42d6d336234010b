/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side against an engine that does what no good engine does: it
 * survives, answers each slot once, and counts right.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/order.h"
#include "engine/mock/mock.h"
#include "queue/queue.h"
#include "support/support.h"

static const struct mk_mock_script good;
static const struct mk_mock_script manual = { .manual = true };

static struct mk_ctx *mock_ctx(const struct mk_mock_script *script)
{
	mk_mock_reset();
	mk_mock_begin_with(script);
	return support_ctx("mock", MK_ISOLATION_NONE);
}

static void nop(struct mk_queue *q, uint64_t user_data)
{
	support_submit(q, MK_OP_NOP, user_data, &user_data, 8);
}

static uint64_t claim(struct mk_ctx *ctx, struct mk_queue *q)
{
	struct mk_mock_slot s;

	assert_true(mk_mock_claim(mk_mock_of(ctx), q->desc.index, &s));
	assert_false(s.torn);
	return s.ticket;
}

static void reply(struct mk_ctx *ctx, struct mk_queue *q, uint64_t ticket,
		  int32_t result)
{
	mk_mock_answer(mk_mock_of(ctx), q->desc.index, ticket, result, ticket);
}

/* ---- scripts ------------------------------------------------------------ */

/* 500 slots through a script; every one comes back once. */
static void through(struct mk_ctx *ctx, unsigned *ok, unsigned *bad)
{
	struct mk_queue *q = support_queue(ctx, 64);
	unsigned sent = 0, back = 0;
	bool seen[500] = { false };

	*ok = *bad = 0;
	while (back < 500) {
		struct mk_slot *s;
		int n = sent < 500 ? mk_queue_get(q, 500 - sent, &s) : 0;

		for (int i = 0; i < n; i++) {
			mk_slot_init(&s[i], MK_OP_NOP, sent);
			s[i].arg64[0] = sent++;
		}
		if (n > 0)
			assert_int_equal(mk_queue_submit(q, s, (unsigned)n),
					 n);
		for (n = (int)(support_random(&(uint64_t){ sent }) % 40);
		     n >= 0 && back < sent; n--, back++) {
			struct mk_completion c = support_reap(q);

			assert_true(c.user_data < 500 && !seen[c.user_data]);
			seen[c.user_data] = true;
			if (c.result == 0) {
				assert_int_equal(c.value, c.user_data);
				++*ok;
			} else {
				++*bad;
			}
		}
	}
	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	assert_int_equal(support_balance(q).ok, *ok);
	support_queue_end(q);
}

static void behaves(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&good);
	unsigned ok, bad;

	(void)state;
	through(ctx, &ok, &bad);
	assert_int_equal(ok, 500);
	support_ctx_end(ctx);
}

static void out_of_order(void **state)
{
	static const unsigned depths[] = { 2, 3, 16, 64 };
	unsigned ok, bad;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct mk_mock_script s = { .reverse = depths[i] };
		struct mk_ctx *ctx = mock_ctx(&s);

		through(ctx, &ok, &bad);
		assert_int_equal(ok, 500);
		support_ctx_end(ctx);
	}
}

static void fails_some(void **state)
{
	struct mk_mock_script s = { .fail_every = 3, .fail_code = -MK_EFAULT,
				    .delay_ns = 10000, .reverse = 5 };
	struct mk_ctx *ctx = mock_ctx(&s);
	unsigned ok, bad;

	(void)state;
	through(ctx, &ok, &bad);
	assert_int_equal(bad, 500 / 3);
	support_ctx_end(ctx);
}

/* An answer that is written again, before and after it was reaped. */
static void repeats(void **state)
{
	struct mk_mock_script s = { .repeat = 3, .reverse = 4 };
	struct mk_ctx *ctx = mock_ctx(&s);
	unsigned ok, bad;

	(void)state;
	through(ctx, &ok, &bad);
	assert_int_equal(ok, 500);
	support_ctx_end(ctx);
}

static void repeats_late(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 4);
	struct mk_completion c;

	(void)state;
	for (uint64_t i = 0; i < 12; i++) {
		uint64_t t;

		nop(q, i);
		t = claim(ctx, q);
		assert_int_equal(t, i);
		reply(ctx, q, t, 0);
		assert_int_equal(support_reap(q).user_data, i);
		reply(ctx, q, t, -MK_EFAULT); /* reaped already */
		assert_int_equal(mk_queue_reap(q, &c, 1), 0);
		/* and with the slot's place in new hands */
		if (i >= 4)
			reply(ctx, q, t - 4, -MK_EFAULT);
		assert_int_equal(mk_queue_reap(q, &c, 1), 0);
	}
	assert_int_equal(support_balance(q).ok, 12);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- torn answers, foreign answers -------------------------------------- */

/* Marks of other laps, whatever else the word says, are no answer. */
static void other_laps(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 4);
	struct mk_engine *e = mk_mock_of(ctx);
	struct mk_completion c;
	uint64_t t;

	(void)state;
	nop(q, 1);
	t = claim(ctx, q);
	for (uint32_t mark = 0; mark <= UINT16_MAX; mark++) {
		if (mark == MK_MARK(t, q->shift))
			continue;
		mk_mock_write(e, q->desc.index, t,
			      mk_mock_head((uint16_t)mark, 0, 0), 0);
		assert_int_equal(mk_queue_reap(q, &c, 1), 0);
	}
	/* a value without its head is none either */
	mk_mock_write(e, q->desc.index, t, 0, 77);
	assert_int_equal(mk_queue_reap(q, &c, 1), 0);
	assert_int_equal(support_balance(q).in_flight, 1);
	reply(ctx, q, t, 5);
	c = support_reap(q);
	assert_int_equal(c.result, 5);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Answers to tickets that nobody got: ignored, and the books balance. */
static void never_submitted(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 8);
	struct mk_completion c;

	(void)state;
	for (uint64_t t = 0; t < 8; t++)
		reply(ctx, q, t, 0);
	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	assert_int_equal(mk_queue_reap(q, &c, 1), 0);
	assert_int_equal(support_balance(q).submitted, 0);
	/* published then, they have an answer, once: it is what the memory
	 * says, and no worse than an engine that answers wrongly */
	for (uint64_t i = 0; i < 8; i++)
		nop(q, i);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(support_reap(q).user_data, i);
	assert_int_equal(support_balance(q).ok, 8);
	/* the next lap is as good as new */
	for (uint64_t i = 0; i < 8; i++)
		claim(ctx, q);
	nop(q, 9);
	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	reply(ctx, q, claim(ctx, q), 0);
	assert_int_equal(support_reap(q).user_data, 9);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Garbage in every answer, over and over, with slots coming and going. */
static void garbage(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 16);
	struct mk_engine *e = mk_mock_of(ctx);
	uint64_t seed = 11, reaped = 0, sent = 0;
	struct mk_completion c[16];
	struct mk_queue_stats s;

	(void)state;
	for (unsigned lap = 0; lap < 20000; lap++) {
		uint64_t r = support_random(&seed);
		struct mk_slot *slot;
		int n;

		if (r & 1 && mk_queue_get(q, 1, &slot) == 1) {
			mk_slot_init(slot, MK_OP_NOP, sent++);
			assert_int_equal(mk_queue_submit(q, slot, 1), 1);
		}
		mk_mock_write(e, q->desc.index, r >> 1,
			      mk_mock_head(r & 2 ? MK_MARK(sent, q->shift) :
						   (uint16_t)(r >> 8),
					   (uint16_t)(r >> 16),
					   (int32_t)(r >> 32)), r);
		n = mk_queue_reap(q, c, (unsigned)(r >> 60) + 1);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			assert_true(c[i].user_data < sent);
		reaped += (uint64_t)n;
		s = support_balance(q);
		assert_true(s.submitted == sent);
		assert_true(s.ok + s.failed == reaped);
	}
	assert_true(mk_queue_destroy(q, SUPPORT_MS) >= 0);
	support_ctx_end(ctx);
}

/* ---- orders of reaping -------------------------------------------------- */

/* Every order of 6 answers, in a ring of 8 whose counters wrap. */
static void every_order(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue_params p = { .size = sizeof(p), .entries = 8,
				     .first_ticket = UINT64_MAX - 2000 };
	struct mk_queue *q;
	unsigned total = 0;

	(void)state;
	assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
	for (unsigned order = 0; order < 720; order++) {
		unsigned left[6] = { 0, 1, 2, 3, 4, 5 }, code = order;
		uint64_t t[6];
		uint8_t seen = 0;

		for (unsigned i = 0; i < 6; i++)
			nop(q, i);
		for (unsigned i = 0; i < 6; i++)
			t[i] = claim(ctx, q);
		for (unsigned i = 0; i < 6; i++) {
			unsigned k = code % (6 - i), at = left[k];
			struct mk_completion c;

			code /= 6 - i;
			memmove(&left[k], &left[k + 1],
				(5 - k) * sizeof(left[0]));
			reply(ctx, q, t[at], (int32_t)at);
			/* one at a time, two at a time, all at the end */
			if (order % 3 == 2 || (order % 3 == 1 && i % 2 == 0))
				continue;
			while (mk_queue_reap(q, &c, 1) == 1) {
				assert_int_equal(c.user_data, c.result);
				seen |= (uint8_t)(1u << c.user_data);
				total++;
			}
			support_balance(q);
		}
		for (struct mk_completion c; mk_queue_reap(q, &c, 1) == 1;) {
			assert_int_equal(c.user_data, c.result);
			seen |= (uint8_t)(1u << c.user_data);
			total++;
		}
		assert_int_equal(seen, 63);
		support_balance(q);
	}
	assert_int_equal(total, 720 * 6);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* The oldest takes for ever: all others go round it until the ring is full,
 * and their places are free again once it is reaped. */
static void slow_head(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 1024);
	uint64_t t[1024];
	struct mk_slot *s;

	(void)state;
	for (unsigned lap = 0; lap < 3; lap++) {
		for (uint64_t i = 0; i < 1024; i++) {
			nop(q, i);
			t[i] = claim(ctx, q);
		}
		for (unsigned i = 1; i < 1024; i++)
			reply(ctx, q, t[i], 0);
		assert_int_equal(mk_queue_wait(q, 1023, SUPPORT_NS), 1023);
		for (unsigned i = 1; i < 1024; i++)
			assert_int_equal(support_reap(q).result, 0);
		assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
		assert_int_equal(mk_queue_get(q, 1, &s), -EAGAIN);
		assert_int_equal(support_balance(q).in_flight, 1);
		reply(ctx, q, t[0], 0);
		assert_int_equal(support_reap(q).user_data, 0);
		assert_int_equal(mk_queue_get(q, 1, &s), 1);
		mk_slot_init(s, MK_OP_NOP, 0);
		assert_int_equal(mk_queue_submit(q, s, 1), 1);
		reply(ctx, q, claim(ctx, q), 0);
		support_reap(q);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- sleepers ----------------------------------------------------------- */

struct sleeper {
	pthread_t thread;
	struct mk_queue *q;
	int result;
};

static void *get_one(void *arg)
{
	struct sleeper *s = arg;
	struct mk_slot *slot;

	/* held, not submitted: only the reaper can make more room */
	s->result = mk_queue_get_wait(s->q, 1, &slot, SUPPORT_NS);
	return NULL;
}

/* Room for four, made by one advance that reaps one: four sleepers wake. */
static void room_for_all(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue_params p = { .size = sizeof(p), .entries = 4,
				     .spin_ns = 1 };
	struct sleeper s[4];
	struct mk_queue *q;

	(void)state;
	assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
	for (uint64_t i = 0; i < 4; i++) {
		nop(q, i);
		claim(ctx, q);
	}
	for (unsigned i = 0; i < 4; i++) {
		s[i].q = q;
		assert_int_equal(pthread_create(&s[i].thread, NULL, get_one,
						&s[i]), 0);
	}
	while (mk_load_acquire(&q->room_waiters) < 4)
		support_sleep(SUPPORT_MS);
	for (uint64_t t = 1; t < 4; t++)
		reply(ctx, q, t, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(support_reap(q).user_data > 0);
	while (mk_load_acquire(&q->room_waiters) < 4)
		support_sleep(SUPPORT_MS);
	support_sleep(5 * SUPPORT_MS);
	reply(ctx, q, 0, 0);
	assert_int_equal(support_reap(q).user_data, 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(s[i].thread, NULL);
		assert_int_equal(s[i].result, 1);
	}
	assert_int_equal(mk_queue_destroy(q, 0), 0);
	support_ctx_end(ctx);
}

/* ---- doorbells ---------------------------------------------------------- */

/* One system call when all sleep, none when somebody is awake. */
static void doorbells(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 16);
	uint64_t *attention = &ctx->block->attention;

	(void)state;
	nop(q, 0);
	assert_int_equal(support_balance(q).doorbells, 0);
	mk_store_seq(attention, MK_ATTENTIVE + MK_ASLEEP);
	nop(q, 1);
	assert_int_equal(support_balance(q).doorbells, 0);
	mk_store_seq(attention, 2 * MK_ASLEEP);
	nop(q, 2);
	assert_int_equal(support_balance(q).doorbells, 1);
	/* one was handed the attention: no second ring */
	assert_true(mk_load_seq(attention) ==
		    MK_ATTENTIVE + MK_HANDED + MK_ASLEEP);
	nop(q, 3);
	assert_int_equal(support_balance(q).doorbells, 1);
	/* nobody there at all: nobody to wake */
	mk_store_seq(attention, 0);
	nop(q, 4);
	assert_int_equal(support_balance(q).doorbells, 1);
	mk_store_seq(attention, MK_ATTENTIVE);
	mk_mock_script(mk_mock_of(ctx), &good);
	for (unsigned i = 0; i < 5; i++)
		support_reap(q);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- never answering, and losing the device ------------------------------ */

static void never_answers(void **state)
{
	struct mk_mock_script s = { .drop_every = 1 };
	struct mk_ctx *ctx = mock_ctx(&s);
	struct mk_queue *q = support_queue(ctx, 8);
	struct mk_slot one;
	struct mk_completion c;

	(void)state;
	mk_slot_init(&one, MK_OP_NOP, 1);
	assert_int_equal(mk_queue_call(q, &one, &c, SUPPORT_MS), -ETIME);
	support_error(-ETIME, "opcode 0", NULL);
	nop(q, 2);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_queue_drain(q, SUPPORT_MS), 2);
	assert_int_equal(mk_queue_stop(q, SUPPORT_MS), 2);
	assert_int_equal(support_balance(q).in_flight, 2);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_MS), 2);
	/* the same, left to the context */
	q = support_queue(ctx, 8);
	nop(q, 1);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_MS), 1);
}

static void *wait_three(void *arg)
{
	struct sleeper *s = arg;

	s->result = mk_queue_wait(s->q, 3, SUPPORT_NS);
	return NULL;
}

static void loses_device(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&manual);
	struct mk_queue *q = support_queue(ctx, 4), *more;
	struct sleeper s = { .q = q };
	struct mk_completion c;
	struct mk_slot *got, *held;
	struct pollfd p = { .fd = mk_queue_event_fd(q), .events = POLLIN };
	struct mk_error e;

	(void)state;
	assert_int_equal(mk_ctx_error(ctx, &e), 0);
	nop(q, 0);
	nop(q, 1);
	nop(q, 2);
	claim(ctx, q);
	reply(ctx, q, 0, 0);
	claim(ctx, q);
	assert_int_equal(mk_queue_get(q, 1, &held), 1);
	mk_slot_init(held, MK_OP_NOP, 3);
	assert_int_equal(pthread_create(&s.thread, NULL, wait_three, &s), 0);
	mk_mock_lose(ctx);
	pthread_join(s.thread, NULL);
	assert_int_equal(s.result, 3);
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(mk_ctx_error(ctx, &e), 1);
	assert_string_equal(e.operation, "mock");
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
	assert_int_equal(support_reap(q).result, -MK_ENOTRUN);
	/* what was got before may still be submitted: it did not run */
	assert_int_equal(mk_queue_reap(q, &c, 1), 0);
	assert_int_equal(mk_queue_get(q, 1, &got), -MK_EDEVLOST);
	assert_int_equal(mk_queue_submit(q, held, 1), 1);
	assert_int_equal(support_reap(q).result, -MK_ENOTRUN);
	assert_int_equal(mk_queue_reap(q, &c, 1), -MK_EDEVLOST);
	assert_int_equal(support_balance(q).lost, 3);
	assert_int_equal(mk_queue_create(ctx, NULL, &more), -MK_EDEVLOST);
	assert_int_equal(mk_ctx_recover(ctx, 0), -EOPNOTSUPP);
	/* the first failure stays the first */
	mk_mock_lose(ctx);
	assert_int_equal(mk_ctx_error(ctx, &e), 1);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
}

/* The claim word is the engine's: when it is nonsense, all may have run. */
static void lost_claim(void **state)
{
	static const uint64_t claims[] = { 1000, UINT64_MAX, 1ull << 63 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct mk_ctx *ctx = mock_ctx(&manual);
		struct mk_queue *q = support_queue(ctx, 4);

		nop(q, 0);
		nop(q, 1);
		mk_store_seq(&q->block->claim, claims[i]);
		mk_mock_lose(ctx);
		assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
		assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
		support_queue_end(q);
		support_ctx_end(ctx);
	}
}

/* ---- commands that fail -------------------------------------------------- */

static void open_fails(void **state)
{
	static const enum mk_mock_op ops[] = { MK_MOCK_PROBE, MK_MOCK_OPEN,
					       MK_MOCK_START };
	struct mk_ctx_params p = support_params("mock", MK_ISOLATION_NONE);
	unsigned fds = support_fds();
	struct mk_ctx *ctx = (void *)&p;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		mk_mock_reset();
		mk_mock_fail(ops[i], -EIO, 0);
		assert_int_equal(mk_ctx_create(&p, &ctx), -EIO);
		support_error(-EIO, "fails as planned", NULL);
		assert_ptr_equal(ctx, &p);
		assert_int_equal(support_fds(), fds);
	}
	assert_int_equal(mk_mock_calls(MK_MOCK_CLOSE), 1);
}

static void close_fails(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&good);
	struct mk_queue *q = support_queue(ctx, 4);

	(void)state;
	nop(q, 1);
	mk_mock_fail(MK_MOCK_CLOSE, -ETIME, 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), -ETIME);
	/* still valid: the answer can be reaped, the call repeated */
	support_reap(q);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
}

static void commands_fail(void **state)
{
	struct mk_ctx *ctx = mock_ctx(&good);
	struct mk_ctx_info before, after;
	struct mk_queue *q, *keep = support_queue(ctx, 4);
	mk_buffer_t b = 77, c;
	unsigned fds = support_fds();

	(void)state;
	assert_int_equal(mk_ctx_info(ctx, &before), 0);
	mk_mock_fail(MK_MOCK_QUEUE_ATTACH, -ENOSPC, 0);
	assert_int_equal(mk_queue_create(ctx, NULL, &q), -ENOSPC);
	mk_mock_fail(MK_MOCK_BUFFER_ATTACH, -ENOMEM, 0);
	assert_int_equal(mk_buffer_create(ctx, 5000, 0, &b), -ENOMEM);
	assert_int_equal(b, 77);
	mk_mock_fail(MK_MOCK_QUEUE_EVENT_FD, -EMFILE, 0);
	assert_int_equal(mk_queue_event_fd(keep), -EMFILE);
	mk_mock_fail(MK_MOCK_PAUSE, -ETIME, 0);
	assert_int_equal(mk_ctx_quiesce(ctx, 0), -ETIME);
	assert_int_equal(mk_ctx_resume(ctx), -EALREADY);
	assert_int_equal(mk_ctx_info(ctx, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(support_fds(), fds);

	assert_int_equal(mk_buffer_create(ctx, 5000, 0, &b), 0);
	mk_mock_fail(MK_MOCK_BUFFER_DETACH, -ETIME, 0);
	assert_int_equal(mk_buffer_destroy(ctx, b, 0), -ETIME);
	assert_int_equal(mk_buffer_write(ctx, b, 0, "x", 1), 0);
	assert_int_equal(mk_buffer_destroy(ctx, b, 0), 0);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &c), 0);
	assert_int_equal(mk_buffer_ref(c).index, mk_buffer_ref(b).index);
	assert_int_equal(mk_buffer_destroy(ctx, c, 0), 0);

	q = support_queue(ctx, 4);
	nop(q, 1);
	mk_mock_fail(MK_MOCK_QUEUE_DETACH, -ETIME, 0);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), -ETIME);
	support_reap(q);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	support_queue_end(keep);
	assert_int_equal(mk_ctx_info(ctx, &after), 0);
	assert_int_equal(after.queues, 0);
	assert_int_equal(after.buffers, 0);
	assert_int_equal(after.heap_used, 0);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves),
		cmocka_unit_test(out_of_order),
		cmocka_unit_test(fails_some),
		cmocka_unit_test(repeats),
		cmocka_unit_test(repeats_late),
		cmocka_unit_test(other_laps),
		cmocka_unit_test(never_submitted),
		cmocka_unit_test(garbage),
		cmocka_unit_test(every_order),
		cmocka_unit_test(slow_head),
		cmocka_unit_test(room_for_all),
		cmocka_unit_test(doorbells),
		cmocka_unit_test(never_answers),
		cmocka_unit_test(loses_device),
		cmocka_unit_test(lost_claim),
		cmocka_unit_test(open_fails),
		cmocka_unit_test(close_fails),
		cmocka_unit_test(commands_fail),
	};

	return cmocka_run_group_tests_name("engine/mock", tests, NULL, NULL);
}
