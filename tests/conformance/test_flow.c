/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines, cancelling, stopping, stepping aside, waiting. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "queue/queue.h"
#include "support/conform.h"

/* Fill in a no-op with a deadline. */
static void submit_by(struct mk_queue *q, uint64_t user_data, uint64_t deadline)
{
	struct mk_slot *slot;

	assert_int_equal(mk_queue_get_wait(q, 1, &slot, SUPPORT_NS), 1);
	mk_slot_init(slot, MK_OP_NOP, user_data);
	assert_int_equal(mk_slot_deadline(q, slot, deadline), 0);
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
}

static void deadlines(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);

	submit_by(q, 1, 0);
	assert_int_equal(support_reap(q).result, -MK_EDEADLINE);
	/* an engine's clock may be some microseconds off ours */
	submit_by(q, 2, support_now() - SUPPORT_MS);
	assert_int_equal(support_reap(q).result, -MK_EDEADLINE);
	submit_by(q, 3, support_now() + SUPPORT_NS);
	assert_int_equal(support_reap(q).result, 0);
	submit_by(q, 4, UINT64_MAX);
	assert_int_equal(support_reap(q).result, 0);
	/* the deadline of an earlier lap does not stick to the place */
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
	assert_int_equal(support_balance(q).expired, 2);
	support_queue_end(q);
}

/* A deadline that passes while the slot waits. */
static void deadline_passes(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	uint64_t deadline = support_now() + 5 * SUPPORT_MS;

	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	submit_by(q, 1, deadline);
	submit_by(q, 2, UINT64_MAX);
	while (support_now() <= deadline)
		support_sleep(SUPPORT_MS);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct mk_completion a = support_reap(q);

		assert_int_equal(a.result,
				 a.user_data == 1 ? -MK_EDEADLINE : 0);
	}
	support_queue_end(q);
}

static void cancel(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	struct mk_slot *got;

	assert_int_equal(mk_queue_cancel(q, 1), 0);
	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	for (uint64_t i = 0; i < 6; i++)
		support_submit(q, MK_OP_NOP, i / 2, NULL, 0);
	/* got, not published: nothing to cancel yet */
	assert_int_equal(mk_queue_get(q, 1, &got), 1);
	mk_slot_init(got, MK_OP_NOP, 1);
	assert_int_equal(mk_queue_cancel(q, 1), 2);
	assert_int_equal(mk_queue_cancel(q, 77), 0);
	assert_int_equal(mk_queue_submit(q, got, 1), 1);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	for (unsigned i = 0, one = 0; i < 7; i++) {
		struct mk_completion a = support_reap(q);

		if (a.user_data == 1 && a.result == -MK_ECANCELLED)
			one++;
		else
			assert_int_equal(a.result, 0);
		if (i == 6)
			assert_int_equal(one, 2);
	}
	/* what has its answer is past cancelling */
	support_submit(q, MK_OP_NOP, 5, NULL, 0);
	assert_true(mk_queue_wait(q, 1, SUPPORT_NS) == 1);
	assert_int_equal(mk_queue_cancel(q, 5), 0);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(support_balance(q).cancelled, 2);
	support_queue_end(q);
}

/* A cancel is for one ticket: when the lap marks come round after 65,536
 * laps, a slot at the same place is not meant. */
static void cancel_is_once(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 2);
	uint64_t left = 2 * 65536 + 8;
	struct mk_completion a[2];
	struct mk_slot *s;

	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	support_submit(q, MK_OP_NOP, 1, NULL, 0);
	support_submit(q, MK_OP_NOP, 2, NULL, 0);
	assert_int_equal(mk_queue_cancel(q, 1), 1);
	assert_int_equal(mk_queue_cancel(q, 2), 1);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	while (left) {
		int n = mk_queue_get(q, 2, &s);

		for (int i = 0; i < n; i++)
			mk_slot_init(&s[i], MK_OP_NOP, left--);
		if (n > 0)
			assert_int_equal(mk_queue_submit(q, s, (unsigned)n), n);
		assert_true(mk_queue_wait(q, 1, SUPPORT_NS) > 0);
		n = mk_queue_reap(q, a, 2);
		for (int i = 0; i < n; i++)
			if (a[i].result)
				fail_msg("slot %u was cancelled by nobody",
					 (unsigned)a[i].user_data);
	}
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	support_queue_end(q);
}

/* Stop while nothing can run: all are left over, none is lost. */
static void stop_leftovers(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 16);
	struct mk_slot *s, *late;

	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	for (uint64_t i = 0; i < 10; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	assert_int_equal(mk_queue_get(q, 1, &late), 1);
	mk_slot_init(late, MK_OP_NOP, 10);
	assert_int_equal(mk_queue_drain(q, 0), 10);
	assert_int_equal(mk_queue_stop(q, SUPPORT_MS), 10);
	assert_int_equal(mk_queue_get(q, 1, &s), -MK_ESTOPPED);
	support_error(-MK_ESTOPPED, "stopped", NULL);
	assert_int_equal(mk_queue_get_wait(q, 1, &s, SUPPORT_NS),
			 -MK_ESTOPPED);
	/* what was got before may still be given back */
	assert_int_equal(mk_queue_submit(q, late, 1), 1);
	assert_int_equal(support_balance(q).in_flight, 11);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	assert_int_equal(mk_queue_stop(q, SUPPORT_NS), 0);
	assert_int_equal(support_balance(q).ready, 11);
	for (unsigned i = 0; i < 11; i++)
		assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	assert_int_equal(support_balance(q).cancelled, 11);
	support_queue_end(q);
}

/* The same, given up: destroy says how many never got an answer. */
static void destroy_leftovers(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 16);
	struct mk_queue *other = support_queue(c->ctx, 16);
	uint64_t end = support_now() + SUPPORT_NS;
	int64_t left;

	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	for (uint64_t i = 0; i < 5; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	support_submit(other, MK_OP_NOP, 1, NULL, 0);
	/* on a busy machine the workers may be late to say that none runs */
	do {
		left = mk_queue_destroy(q, 50 * SUPPORT_MS);
		assert_true(support_now() < end);
	} while (left == -ETIME);
	assert_int_equal(left, 5);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	assert_int_equal(support_reap(other).result, 0);
	support_queue_end(other);
}

/* 0 polls: an idle queue ends at once, or after being asked again. */
static void destroy_polls(struct conform *c)
{
	uint64_t end = support_now() + SUPPORT_NS;
	mk_buffer_t b;

	for (unsigned i = 0; i < 20; i++) {
		struct mk_queue *q = support_queue(c->ctx, 4);
		int64_t r;

		support_call(q, MK_OP_NOP, NULL, 0);
		while ((r = mk_queue_destroy(q, 0)) == -ETIME)
			assert_true(support_now() < end);
		assert_int_equal(r, 0);
		assert_int_equal(mk_buffer_create(c->ctx, 1, 0, &b), 0);
		while ((r = mk_buffer_destroy(c->ctx, b, 0)) == -ETIME)
			assert_true(support_now() < end);
		assert_int_equal(r, 0);
		while ((r = mk_ctx_quiesce(c->ctx, 0)) == -ETIME)
			assert_true(support_now() < end);
		assert_int_equal(r, 0);
		assert_int_equal(mk_ctx_resume(c->ctx), 0);
	}
}

static void quiesce(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 256);
	struct mk_queue_stats s;
	uint64_t value = 0;

	assert_int_equal(mk_ctx_resume(c->ctx), -EALREADY);
	support_error(-EALREADY, "not quiesced", NULL);
	for (unsigned lap = 0; lap < 20; lap++) {
		struct mk_op_word w = { 0, 0, 1, 0 };

		assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
		assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
		for (unsigned i = 0; i < 100; i++)
			support_submit(q, MK_OP_ADD, i, &w, sizeof(w));
		support_sleep(SUPPORT_MS);
		assert_int_equal(mk_ctx_resume(c->ctx), 0);
		support_sleep(SUPPORT_MS);
		/* nothing ran in between, resumed once of twice */
		s = support_balance(q);
		assert_int_equal(s.ready, 0);
		assert_int_equal(s.in_flight, 100);
		assert_int_equal(mk_queue_observe(q, 0, &value), 0);
		assert_int_equal(value, lap * 100);
		assert_int_equal(mk_ctx_resume(c->ctx), 0);
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(support_reap(q).result, 0);
		assert_int_equal(mk_queue_observe(q, 0, &value), 0);
		assert_int_equal(value, (lap + 1) * 100);
	}
	support_queue_end(q);
}

/* ---- waiting ------------------------------------------------------------ */

static void waits(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	struct mk_completion a[8], b[8];

	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_queue_peek(q, a, 8), 0);
	for (uint64_t i = 0; i < 5; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	assert_int_equal(mk_queue_wait(q, 5, SUPPORT_NS), 5);
	assert_int_equal(mk_queue_wait(q, 6, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_queue_wait(q, 1, 0), 5);
	/* ready is not peeked: nobody has seen these */
	assert_int_equal(mk_queue_advance(q, 1), -EINVAL);
	support_error(-EINVAL, "n is 1", "only 0", NULL);
	/* peeking frees nothing, and shows the same */
	assert_int_equal(mk_queue_peek(q, a, 3), 3);
	assert_int_equal(mk_queue_advance(q, 4), -EINVAL);
	support_error(-EINVAL, "n is 4", "only 3", NULL);
	assert_int_equal(mk_queue_peek(q, b, 8), 5);
	assert_memory_equal(a, b, 3 * sizeof(a[0]));
	assert_int_equal(mk_queue_peek(q, a, 0), 0);
	assert_int_equal(mk_queue_advance(q, 0), 0);
	assert_int_equal(mk_queue_advance(q, 6), -EINVAL);
	support_error(-EINVAL, "n is 6", "only 5", NULL);
	assert_int_equal(mk_queue_advance(q, 2), 2);
	assert_int_equal(mk_queue_peek(q, a, 8), 3);
	assert_memory_equal(a, b + 2, 3 * sizeof(a[0]));
	assert_int_equal(support_balance(q).ready, 3);
	assert_int_equal(mk_queue_advance(q, 3), 3);
	assert_int_equal(mk_queue_advance(q, 1), -EINVAL);
	assert_int_equal(mk_queue_wait(q, 0, 0), -EINVAL);
	assert_int_equal(mk_queue_wait(q, 9, 0), -EINVAL);
	support_error(-EINVAL, "min is 9", "1 to 8", NULL);
	assert_int_equal(mk_queue_drain(q, 0), 0);
	support_queue_end(q);
}

static void full_ring(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_slot *s, *t;
	unsigned total = 0;
	int n;

	assert_int_equal(mk_queue_get(q, 0, &s), -EINVAL);
	/* a run never comes round */
	support_call(q, MK_OP_NOP, NULL, 0);
	assert_int_equal(mk_queue_get(q, 4, &s), 3);
	assert_int_equal(mk_queue_get(q, 4, &t), 1);
	assert_ptr_equal(t, s - 1);
	assert_int_equal(mk_queue_get(q, 1, &t), -EAGAIN);
	assert_int_equal(mk_queue_get_wait(q, 1, &t, 0), -ETIME);
	assert_int_equal(mk_queue_get_wait(q, 1, &t, SUPPORT_MS), -ETIME);
	assert_int_equal(support_balance(q).got, 4);
	for (int i = -1; i < 3; i++)
		mk_slot_init(s + i, MK_OP_NOP, (uint64_t)i);
	/* in pieces, the last first: later slots may wait for the earlier */
	assert_int_equal(mk_queue_submit(q, s - 1, 1), 1);
	assert_int_equal(mk_queue_submit(q, s + 2, 1), 1);
	support_sleep(SUPPORT_MS);
	n = mk_queue_wait(q, 1, 0);
	assert_true(n == -ETIME || (n > 0 && strcmp(c->engine, "cpu")));
	assert_int_equal(mk_queue_submit(q, s, 2), 2);
	assert_int_equal(mk_queue_wait(q, 4, SUPPORT_NS), 4);
	/* answered is not free: only advancing frees */
	assert_int_equal(mk_queue_get(q, 1, &t), -EAGAIN);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(support_reap(q).result, 0);
	while (total < 4) {
		n = mk_queue_get(q, 4, &t);
		assert_true(n > 0);
		for (int i = 0; i < n; i++)
			mk_slot_init(t + i, MK_OP_NOP, 0);
		assert_int_equal(mk_queue_submit(q, t, (unsigned)n), n);
		total += (unsigned)n;
	}
	for (unsigned i = 0; i < 4; i++)
		support_reap(q);
	assert_true(support_balance(q).full >= 3);
	assert_int_equal(support_balance(q).in_flight_high, 4);
	support_queue_end(q);
}

static void call(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 128);
	struct mk_completion a;
	struct mk_slot s;

	mk_slot_init(&s, MK_OP_NOP, 17);
	s.arg64[0] = 99;
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), 0);
	assert_int_equal(a.user_data, 17);
	assert_int_equal(a.value, 99);
	/* others stay, and their places with them */
	for (uint64_t i = 0; i < 3; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	for (unsigned i = 0; i < 100; i++) {
		s.user_data = 100 + i;
		assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), 0);
		assert_int_equal(a.user_data, 100 + i);
	}
	assert_int_equal(mk_queue_wait(q, 3, SUPPORT_NS), 3);
	/* refused: nothing is left behind */
	s.opcode = 200;
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), -MK_EOPCODE);
	support_error(-MK_EOPCODE, "opcode is 200", NULL);
	s.opcode = MK_OP_NOP;
	s.tenant = 64;
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), -MK_ERANGE);
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(support_reap(q).user_data < 3);
	s.tenant = 0;
	/* what its answer took is not what was peeked, unless it was in it */
	support_submit(q, MK_OP_NOP, 7, NULL, 0);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), 1);
	assert_int_equal(mk_queue_peek(q, &a, 1), 1);
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), 0);
	assert_int_equal(mk_queue_advance(q, 2), -EINVAL);
	assert_int_equal(mk_queue_advance(q, 1), 1);
	/* what a slot waits for, and raises, is with a place in the ring */
	s.flags = MK_SLOT_WAIT;
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), -EINVAL);
	support_error(-EINVAL, "flags is 0x4", "MK_SLOT_IDEMPOTENT", NULL);
	s.flags = MK_SLOT_RAISE;
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_NS), -EINVAL);
	s.flags = 0;
	/* no answer in time: it comes later */
	s.user_data = 500;
	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_NS), 0);
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_ctx_resume(c->ctx), 0);
	assert_int_equal(support_reap(q).user_data, 500);
	support_queue_end(q);
}

/* A call that finds no room: nothing was submitted, and nothing will come. */
static void call_full(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 2);
	struct mk_completion a;
	struct mk_slot s;

	mk_slot_init(&s, MK_OP_NOP, 17);
	for (uint64_t i = 0; i < 2; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	assert_int_equal(mk_queue_call(q, &s, &a, SUPPORT_MS), -EAGAIN);
	support_error(-EAGAIN, "2 slots", "reap", NULL);
	assert_int_equal(mk_queue_call(q, &s, &a, 0), -EAGAIN);
	for (uint64_t i = 0; i < 2; i++)
		assert_int_equal(support_reap(q).user_data, i);
	assert_int_equal(support_balance(q).submitted, 2);
	support_queue_end(q);
}

/* ---- the event fd ------------------------------------------------------- */

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void event_fd(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	struct mk_completion a;
	uint64_t word, n = 0;
	int fd;

	/* what is ready before is told at once */
	support_submit(q, MK_OP_NOP, 0, NULL, 0);
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	fd = mk_queue_event_fd(q);
	assert_true(fd >= 0);
	assert_int_equal(mk_queue_event_fd(q), fd);
	for (uint64_t sent = 1; n < 300;) {
		assert_true(readable(fd, 60000));
		assert_int_equal(read(fd, &word, sizeof(word)), 8);
		while (mk_queue_reap(q, &a, 1) == 1)
			n++;
		assert_int_equal(n, sent);
		for (uint64_t k = 0; k < 1 + n % 7; k++, sent++)
			support_submit(q, MK_OP_NOP, sent, NULL, 0);
		if (n % 7)
			assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
		else
			assert_true(readable(fd, 60000));
		assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	}
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	while (mk_queue_reap(q, &a, 1) == 1)
		;
	/* armed, nothing to come: quiet, once an engine that tells late has
	 * told what it had to */
	for (unsigned late = 0; readable(fd, 5); late++) {
		assert_true(late < 4);
		assert_int_equal(read(fd, &word, sizeof(word)), 8);
		assert_int_equal(mk_queue_peek(q, &a, 1), 0);
	}
	assert_int_equal(mk_queue_peek(q, &a, 1), 0);
	support_submit(q, MK_OP_NOP, 1, NULL, 0);
	assert_true(readable(fd, 60000));
	support_queue_end(q);
}

/* ---- many queues -------------------------------------------------------- */

static void priorities(struct conform *c)
{
	struct mk_queue *q[MK_PRIORITIES];

	for (uint32_t i = 0; i < MK_PRIORITIES; i++) {
		struct mk_queue_params p = { .size = sizeof(p), .entries = 16,
					     .priority = i + 1 };

		assert_int_equal(mk_queue_create(c->ctx, &p, &q[i]), 0);
	}
	for (unsigned lap = 0; lap < 20; lap++) {
		for (uint32_t i = 0; i < MK_PRIORITIES; i++)
			for (unsigned k = 0; k < 16; k++)
				support_submit(q[i], MK_OP_NOP, k, NULL, 0);
		/* none starves */
		for (uint32_t i = 0; i < MK_PRIORITIES; i++)
			for (unsigned k = 0; k < 16; k++)
				assert_int_equal(support_reap(q[i]).result, 0);
	}
	for (uint32_t i = 0; i < MK_PRIORITIES; i++)
		support_queue_end(q[i]);
}

static void come_and_go(struct conform *c)
{
	struct mk_ctx_info before, after;
	struct mk_queue *q[8];

	assert_int_equal(mk_ctx_info(c->ctx, &before), 0);
	for (unsigned i = 0; i < 200; i++) {
		unsigned at = i % 8;

		if (i >= 8)
			support_queue_end(q[at]);
		q[at] = support_queue(c->ctx, 2u << (i % 10));
		support_call(q[at], MK_OP_NOP, NULL, 0);
		support_call(q[(i * 5) % (i < 8 ? at + 1 : 8)], MK_OP_NOP,
			     NULL, 0);
	}
	for (unsigned at = 0; at < 8; at++)
		support_queue_end(q[at]);
	assert_int_equal(mk_ctx_info(c->ctx, &after), 0);
	assert_int_equal(after.queues, before.queues);
	assert_true(after.shared_used == before.shared_used);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "deadlines", deadlines },
		{ "a deadline passes", deadline_passes },
		{ "cancel", cancel },
		{ "cancel is once", cancel_is_once },
		{ "stop with leftovers", stop_leftovers },
		{ "destroy with leftovers", destroy_leftovers },
		{ "polling destroys", destroy_polls },
		{ "quiesce", quiesce },
		{ "waits", waits },
		{ "full ring", full_ring },
		{ "call", call },
		{ "call_full", call_full },
		{ "event fd", event_fd },
		{ "priorities", priorities },
		{ "queues come and go", come_and_go },
	};

	return CONFORM_MAIN("conformance/flow", cases);
}
