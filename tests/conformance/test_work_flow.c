/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 600 */
/*
 * Slots that wait for counters and raise them, on every engine: order, joins,
 * failure that goes on, requests to end, deadlines, bad counters, fences,
 * recorded batches.
 */
#include <errno.h>
#include <string.h>

#include "support/conform.h"

#define NOTHING UINT32_MAX
#define WORDS 512u

struct rig {
	struct conform *c;
	struct mk_queue *q;
	mk_buffer_t counters;
};

static void rig_begin(struct rig *r, struct conform *c, uint32_t entries)
{
	r->c = c;
	r->q = support_queue(c->ctx, entries);
	assert_int_equal(mk_buffer_create(c->ctx, 8 * WORDS, 0, &r->counters),
			 0);
}

static void rig_end(struct rig *r)
{
	support_balance(r->q);
	support_queue_end(r->q);
	assert_int_equal(mk_buffer_destroy(r->c->ctx, r->counters, SUPPORT_NS),
			 0);
}

static uint64_t counter(struct rig *r, uint32_t word)
{
	uint64_t value;

	assert_int_equal(mk_buffer_read(r->c->ctx, r->counters, 8ull * word,
					&value, 8), 0);
	return value;
}

static void set_counter(struct rig *r, uint32_t word, uint64_t value)
{
	assert_int_equal(mk_buffer_write(r->c->ctx, r->counters, 8ull * word,
					 &value, 8), 0);
}

/* A slot of a built-in word opcode, or a no-op; not submitted. */
static struct mk_slot *slot_of(struct mk_queue *q, uint16_t opcode,
			       uint64_t user_data, uint32_t word,
			       uint64_t operand, uint64_t expected)
{
	struct mk_op_word args = { word, 0, operand, expected };
	struct mk_slot *s;

	assert_int_equal(mk_queue_get_wait(q, 1, &s, SUPPORT_NS), 1);
	mk_slot_init(s, opcode, user_data);
	if (opcode != MK_OP_NOP && opcode != MK_OP_FENCE)
		memcpy(s->bytes, &args, sizeof(args));
	return s;
}

static void flow_of(struct rig *r, struct mk_queue *q, struct mk_slot *s,
		    uint32_t waits, uint64_t value, uint32_t raises)
{
	if (waits != NOTHING)
		assert_int_equal(mk_slot_wait(q, s, r->counters, waits, value),
				 0);
	if (raises != NOTHING)
		assert_int_equal(mk_slot_raise(q, s, r->counters, raises), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

static void nop(struct rig *r, uint64_t user_data, uint32_t waits,
		uint64_t value, uint32_t raises)
{
	flow_of(r, r->q, slot_of(r->q, MK_OP_NOP, user_data, 0, 0, 0), waits,
		value, raises);
}

/* One that ends badly: there is no such word. */
static void fails(struct rig *r, uint64_t user_data, uint32_t waits,
		  uint64_t value, uint32_t raises)
{
	flow_of(r, r->q, slot_of(r->q, MK_OP_LOAD, user_data, 1u << 20, 0, 0),
		waits, value, raises);
}

/* Reap n; results by user_data, which is below n. */
static void reap(struct mk_queue *q, int32_t *result, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		result[i] = 1;
	for (unsigned i = 0; i < n; i++) {
		struct mk_completion c = support_reap(q);

		assert_true(c.user_data < n);
		assert_int_equal(result[c.user_data], 1);
		result[c.user_data] = c.result;
	}
}

static void no_answer(struct mk_queue *q)
{
	assert_int_equal(mk_queue_wait(q, 1, 20 * SUPPORT_MS), -ETIME);
}

/* ---- order -------------------------------------------------------------- */

/* Each finds word 0 as the one before it left it. */
static void chain(struct conform *c)
{
	struct rig r;
	enum { N = 400 };

	rig_begin(&r, c, 512);
	for (unsigned lap = 0; lap < 5; lap++) {
		for (uint32_t i = 0; i < N; i++)
			flow_of(&r, r.q,
				slot_of(r.q, MK_OP_CAS, i, 0, i + 1, i),
				i ? i : NOTHING, lap + 1, i + 1);
		for (uint32_t i = 0; i < N; i++) {
			struct mk_completion a = support_reap(r.q);

			assert_int_equal(a.result, 0);
			assert_true(a.value == a.user_data);
		}
		assert_int_equal(support_call(r.q, MK_OP_STORE,
					      &(struct mk_op_word){ 0 },
					      sizeof(struct mk_op_word))
					 .result, 0);
		assert_true(counter(&r, N) == lap + 1);
	}
	rig_end(&r);
}

/* In a ring of few places: what a worker leaves in one, another finds there
 * soon. Each waits for all before it; some have tiles. */
static void few_places(struct conform *c)
{
	struct mk_slot *s;
	struct rig r;
	enum { N = 1500 };
	uint32_t reaped = 0;

	rig_begin(&r, c, 4);
	for (uint32_t i = 0; i < N; i++) {
		/* an answer that was given early frees no place */
		while (mk_queue_get(r.q, 1, &s) != 1) {
			assert_int_equal(support_reap(r.q).result, 0);
			reaped++;
		}
		mk_slot_init(s, MK_OP_NOP, i);
		s->tiles = i % 3 ? 1 : 2;
		flow_of(&r, r.q, s, i ? 0 : NOTHING, i, 0);
	}
	while (reaped++ < N)
		assert_int_equal(support_reap(r.q).result, 0);
	assert_true(counter(&r, 0) == N);
	rig_end(&r);
}

/* The slots that are waited for come behind 300 that wait for them: more than
 * there are workers, so nobody may be held up. */
static void many_wait(struct conform *c)
{
	struct mk_queue *other;
	struct rig r;
	enum { N = 300 };

	rig_begin(&r, c, 512);
	other = support_queue(c->ctx, 16);
	for (uint32_t i = 0; i < N; i++)
		nop(&r, i, i % 7, 1 + i % 3, 10 + i % 5);
	no_answer(r.q);
	for (unsigned k = 0; k < 3 * 7; k++) {
		flow_of(&r, other, slot_of(other, MK_OP_NOP, k, 0, 0, 0),
			NOTHING, 0, k % 7);
		assert_int_equal(support_reap(other).result, 0);
	}
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(support_reap(r.q).result, 0);
	for (uint32_t k = 0; k < 5; k++)
		assert_true(counter(&r, 10 + k) == N / 5);
	support_queue_end(other);
	rig_end(&r);
}

/* One raises seven, seven raise one, in rounds. */
static void fan(struct conform *c)
{
	struct rig r;
	int32_t result[9];

	rig_begin(&r, c, 64);
	for (uint64_t lap = 1; lap <= 50; lap++) {
		struct mk_slot *s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);

		for (uint32_t k = 0; k < 7; k++)
			assert_int_equal(mk_slot_raise(r.q, s, r.counters, k),
					 0);
		assert_int_equal(mk_queue_submit(r.q, s, 1), 1);
		for (uint32_t k = 0; k < 7; k++)
			flow_of(&r, r.q,
				slot_of(r.q, MK_OP_ADD, 1 + k, 3, 1, 0), k,
				lap, 9);
		/* sees all seven */
		flow_of(&r, r.q,
			slot_of(r.q, MK_OP_CAS, 8, 3, 7 * lap, 7 * lap), 9,
			7 * lap, NOTHING);
		reap(r.q, result, 9);
		for (unsigned i = 0; i < 9; i++)
			assert_int_equal(result[i], 0);
	}
	assert_true(counter(&r, 9) == 350);
	rig_end(&r);
}

/* A value of 0, one that was reached long ago, the same word twice. */
static void reached(struct conform *c)
{
	struct mk_slot *s;
	struct rig r;

	rig_begin(&r, c, 16);
	nop(&r, 0, 0, 0, NOTHING);
	assert_int_equal(support_reap(r.q).result, 0);
	set_counter(&r, 1, MK_COUNTER_FAILED - 1);
	nop(&r, 0, 1, MK_COUNTER_FAILED - 1, NOTHING);
	assert_int_equal(support_reap(r.q).result, 0);
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(mk_slot_raise(r.q, s, r.counters, 2), 0);
	assert_int_equal(mk_queue_submit(r.q, s, 1), 1);
	nop(&r, 0, 2, 7, 2);
	assert_int_equal(support_reap(r.q).result, 0);
	assert_int_equal(support_reap(r.q).result, 0);
	assert_true(counter(&r, 2) == 8);
	/* raises what it waits for */
	nop(&r, 0, 2, 8, 2);
	assert_int_equal(support_reap(r.q).result, 0);
	assert_true(counter(&r, 2) == 9);
	rig_end(&r);
}

/* ---- endings ------------------------------------------------------------ */

/* 0 fails; 1 to 3 after it, 4 after 3 and a good one, 5 is not concerned. */
static void failure(struct conform *c)
{
	struct rig r;
	int32_t result[6];

	rig_begin(&r, c, 16);
	fails(&r, 0, NOTHING, 0, 0);
	nop(&r, 1, 0, 1, NOTHING);
	nop(&r, 2, 0, 1, 2);
	nop(&r, 3, 2, 1, 3);
	nop(&r, 5, NOTHING, 0, 3);
	nop(&r, 4, 3, 2, 4);
	reap(r.q, result, 6);
	assert_int_equal(result[0], -MK_ERANGE);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(result[i], -MK_EUPSTREAM);
	assert_int_equal(result[5], 0);
	assert_true(counter(&r, 0) == (MK_COUNTER_FAILED | 1));
	assert_true(counter(&r, 2) == (MK_COUNTER_FAILED | 1));
	assert_true(counter(&r, 3) == (MK_COUNTER_FAILED | 2));
	assert_true(counter(&r, 4) == (MK_COUNTER_FAILED | 1));
	assert_int_equal(support_balance(r.q).upstream, 4);
	/* a second failure does not take the mark away */
	fails(&r, 0, NOTHING, 0, 0);
	assert_int_equal(support_reap(r.q).result, -MK_ERANGE);
	assert_true(counter(&r, 0) == (MK_COUNTER_FAILED | 2));
	rig_end(&r);
}

/* The mark is heeded before the value is reached. */
static void failed_early(struct conform *c)
{
	struct rig r;

	rig_begin(&r, c, 16);
	nop(&r, 1, 0, 1000, 1);
	no_answer(r.q);
	fails(&r, 0, NOTHING, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct mk_completion a = support_reap(r.q);

		assert_int_equal(a.result, a.user_data ? -MK_EUPSTREAM :
							 -MK_ERANGE);
	}
	assert_true(counter(&r, 1) == (MK_COUNTER_FAILED | 1));
	rig_end(&r);
}

/* One that waits is asked to end; what waits for it fails upstream. */
static void cancelled(struct conform *c)
{
	struct rig r;
	int32_t result[4];

	rig_begin(&r, c, 16);
	nop(&r, 0, 0, 1, 1);
	nop(&r, 1, 1, 1, 2);
	nop(&r, 2, 0, 1, NOTHING);
	nop(&r, 3, 5, 1, NOTHING);
	no_answer(r.q);
	assert_int_equal(mk_queue_cancel(r.q, 0), 1);
	while (counter(&r, 2) != (MK_COUNTER_FAILED | 1))
		support_sleep(SUPPORT_MS);
	assert_int_equal(mk_queue_wait(r.q, 3, 20 * SUPPORT_MS), -ETIME);
	assert_int_equal(mk_queue_cancel_all(r.q), 2);
	reap(r.q, result, 4);
	assert_int_equal(result[0], -MK_ECANCELLED);
	assert_int_equal(result[1], -MK_EUPSTREAM);
	assert_int_equal(result[2], -MK_ECANCELLED);
	assert_int_equal(result[3], -MK_ECANCELLED);
	rig_end(&r);
}

/* A deadline that passes while the slot waits. */
static void late(struct conform *c)
{
	struct mk_slot *s;
	struct rig r;
	int32_t result[3];

	rig_begin(&r, c, 16);
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	assert_int_equal(mk_slot_deadline(r.q, s, support_now() +
						  30 * SUPPORT_MS), 0);
	flow_of(&r, r.q, s, 0, 1, 1);
	nop(&r, 1, 1, 1, NOTHING);
	/* in time */
	s = slot_of(r.q, MK_OP_NOP, 2, 0, 0, 0);
	assert_int_equal(mk_slot_deadline(r.q, s, support_now() + SUPPORT_NS),
			 0);
	flow_of(&r, r.q, s, 0, 0, NOTHING);
	reap(r.q, result, 3);
	assert_int_equal(result[0], -MK_EDEADLINE);
	assert_int_equal(result[1], -MK_EUPSTREAM);
	assert_int_equal(result[2], 0);
	rig_end(&r);
}

/* The queue is stopped, with slots that wait. */
static void stopped(struct conform *c)
{
	struct mk_queue *other;
	struct rig r;

	rig_begin(&r, c, 64);
	other = support_queue(c->ctx, 16);
	for (unsigned i = 0; i < 40; i++)
		nop(&r, i, i % 4, 1, 4);
	flow_of(&r, other, slot_of(other, MK_OP_NOP, 0, 0, 0, 0), 4, 40,
		NOTHING);
	assert_int_equal(mk_queue_stop(r.q, SUPPORT_NS), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(support_reap(r.q).result, -MK_ECANCELLED);
	assert_int_equal(support_reap(other).result, -MK_EUPSTREAM);
	assert_true(counter(&r, 4) == (MK_COUNTER_FAILED | 40));
	support_queue_end(other);
	rig_end(&r);
}

/* A queue and a buffer are destroyed under slots that wait. */
static void destroyed(struct conform *c)
{
	struct mk_queue *gone;
	mk_buffer_t was;
	struct rig r;

	rig_begin(&r, c, 16);
	was = r.counters;
	nop(&r, 0, 0, 1, NOTHING);
	nop(&r, 1, 0, 2, 1);
	no_answer(r.q);
	gone = support_queue(c->ctx, 16);
	flow_of(&r, gone, slot_of(gone, MK_OP_NOP, 0, 0, 0, 0), 0, 1, 5);
	assert_int_equal(mk_queue_destroy(gone, SUPPORT_NS), 0);
	assert_true(counter(&r, 5) == (MK_COUNTER_FAILED | 1));
	assert_int_equal(mk_buffer_destroy(c->ctx, was, SUPPORT_NS), 0);
	assert_int_equal(support_reap(r.q).result, -MK_ESTALE);
	assert_int_equal(support_reap(r.q).result, -MK_ESTALE);
	/* and those that come too late for it */
	nop(&r, 0, 0, 1, NOTHING);
	assert_int_equal(support_reap(r.q).result, -MK_ESTALE);
	nop(&r, 0, NOTHING, 0, 1);
	assert_int_equal(support_reap(r.q).result, -MK_ESTALE);
	assert_int_equal(mk_buffer_create(c->ctx, 4096, 0, &r.counters), 0);
	rig_end(&r);
}

/* Words that there are not, buffers that may not be written, or never were. */
static void bad_counters(struct conform *c)
{
	mk_buffer_t never = (7ull << 32) + 200, fixed;
	struct mk_slot *s;
	struct rig r;

	rig_begin(&r, c, 16);
	nop(&r, 0, WORDS, 0, 0);
	assert_int_equal(support_reap(r.q).result, -MK_ERANGE);
	assert_true(counter(&r, 0) == (MK_COUNTER_FAILED | 1));
	nop(&r, 0, MK_NO_COUNTER - 1, 0, NOTHING);
	assert_int_equal(support_reap(r.q).result, -MK_ERANGE);
	/* it ran, and what could be raised was raised */
	s = slot_of(r.q, MK_OP_ADD, 0, 1, 1, 0);
	assert_int_equal(mk_slot_raise(r.q, s, r.counters, 1), 0);
	assert_int_equal(mk_slot_raise(r.q, s, r.counters, WORDS), 0);
	flow_of(&r, r.q, s, NOTHING, 0, 2);
	assert_int_equal(support_reap(r.q).result, -MK_ERANGE);
	assert_true(counter(&r, 1) == (MK_COUNTER_FAILED | 1));
	assert_true(counter(&r, 2) == (MK_COUNTER_FAILED | 1));
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	assert_int_equal(mk_slot_wait(r.q, s, never, 0, 0), 0);
	assert_int_equal(mk_queue_submit(r.q, s, 1), 1);
	assert_int_equal(support_reap(r.q).result, -MK_EFOREIGN);
	assert_int_equal(mk_buffer_create(c->ctx, 64, MK_BUFFER_READ_ONLY,
					  &fixed), 0);
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	assert_int_equal(mk_slot_wait(r.q, s, fixed, 0, 0), 0);
	assert_int_equal(mk_queue_submit(r.q, s, 1), 1);
	assert_int_equal(support_reap(r.q).result, 0);
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	assert_int_equal(mk_slot_raise(r.q, s, fixed, 0), 0);
	assert_int_equal(mk_queue_submit(r.q, s, 1), 1);
	assert_int_equal(support_reap(r.q).result, -MK_EACCESS);
	rig_end(&r);
}

/* What is refused before it runs raises its counters as one that failed. */
static void refused(struct conform *c)
{
	struct mk_slot *s;
	struct rig r;

	rig_begin(&r, c, 16);
	s = slot_of(r.q, MK_OP_NOP, 0, 0, 0, 0);
	assert_int_equal(mk_slot_deadline(r.q, s, 1), 0);
	flow_of(&r, r.q, s, NOTHING, 0, 0);
	assert_int_equal(support_reap(r.q).result, -MK_EDEADLINE);
	assert_true(counter(&r, 0) == (MK_COUNTER_FAILED | 1));
	nop(&r, 0, 0, 1, 1);
	assert_int_equal(support_reap(r.q).result, -MK_EUPSTREAM);
	assert_true(counter(&r, 1) == (MK_COUNTER_FAILED | 1));
	rig_end(&r);
}

/* Slots of several tiles that wait, and end for another reason than that they
 * ran: the code says which, and those behind them learn of it. The places of
 * the ring had other slots of several tiles before. */
static void tiles_unrun(struct conform *c)
{
	struct mk_slot *s;
	struct rig r;
	int32_t result[4];

	rig_begin(&r, c, 4);
	for (uint32_t lap = 0; lap < 3; lap++) {
		uint32_t at = 16 * (lap + 1);

		for (uint32_t i = 0; i < 4; i++) {
			s = slot_of(r.q, MK_OP_ADD, i, lap, 1, 0);
			s->tiles = 3;
			flow_of(&r, r.q, s, 0, 4 * lap, 0);
		}
		reap(r.q, result, 4);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(result[i], 0);
		for (uint32_t i = 0; i < 3; i++) {
			s = slot_of(r.q, MK_OP_ADD, i, lap, 1, 0);
			s->tiles = (uint16_t)(2 + i);
			if (i == 2)
				assert_int_equal(
					mk_slot_deadline(r.q, s,
							 support_now() +
							 20 * SUPPORT_MS), 0);
			flow_of(&r, r.q, s, at + i, 1, at + 3 + i);
		}
		support_sleep(2 * SUPPORT_MS);
		assert_int_equal(mk_queue_cancel(r.q, 1), 1);
		fails(&r, 3, NOTHING, 0, at);
		reap(r.q, result, 4);
		assert_int_equal(result[0], -MK_EUPSTREAM);
		assert_int_equal(result[1], -MK_ECANCELLED);
		assert_int_equal(result[2], -MK_EDEADLINE);
		for (uint32_t i = 0; i < 3; i++)
			assert_true(counter(&r, at + 3 + i) ==
				    (MK_COUNTER_FAILED | 1));
		/* none of their tiles ran */
		assert_true(support_call(r.q, MK_OP_LOAD,
					 &(struct mk_op_word){ .word = lap },
					 sizeof(struct mk_op_word)).value ==
			    12);
	}
	rig_end(&r);
}

/* ---- fences ------------------------------------------------------------- */

/* A fence behind slots that wait, raised by ones of another queue; its answer
 * comes after all of theirs. */
static void fence(struct conform *c)
{
	struct mk_completion a;
	struct mk_queue *other;
	struct rig r;

	rig_begin(&r, c, 64);
	other = support_queue(c->ctx, 16);
	for (uint64_t lap = 0; lap < 10; lap++) {
		for (uint32_t i = 0; i < 20; i++)
			nop(&r, i, i % 2, lap + 1, NOTHING);
		flow_of(&r, r.q, slot_of(r.q, MK_OP_FENCE, 20, 0, 0, 0),
			NOTHING, 0, 2);
		for (uint32_t i = 0; i < 3; i++)
			nop(&r, 21 + i, NOTHING, 0, NOTHING);
		/* behind the fence in another queue, by its counter */
		flow_of(&r, other, slot_of(other, MK_OP_NOP, 9, 0, 0, 0), 2,
			lap + 1, NOTHING);
		flow_of(&r, other, slot_of(other, MK_OP_NOP, 0, 0, 0, 0),
			NOTHING, 0, 0);
		assert_int_equal(support_reap(other).user_data, 0);
		no_answer(other);
		flow_of(&r, other, slot_of(other, MK_OP_NOP, 1, 0, 0, 0),
			NOTHING, 0, 1);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(support_reap(other).result, 0);
		/* those behind the fence at any time */
		for (unsigned i = 0, before = 0; i < 24; i++) {
			a = support_reap(r.q);
			assert_int_equal(a.result, 0);
			before += a.user_data < 20;
			/* the others are there, even if this one was seen
			 * first */
			if (a.user_data == 20 && before < 20)
				assert_true(mk_queue_wait(r.q, 20 - before,
							  0) > 0);
		}
	}
	support_queue_end(other);
	rig_end(&r);
}

/* A fence that waits for a counter, and one that is cancelled. */
static void fence_waits(struct conform *c)
{
	struct rig r;
	int32_t result[4];

	rig_begin(&r, c, 16);
	flow_of(&r, r.q, slot_of(r.q, MK_OP_FENCE, 0, 0, 0, 0), 0, 1, 1);
	nop(&r, 1, NOTHING, 0, 0);
	nop(&r, 2, 1, 1, NOTHING);
	flow_of(&r, r.q, slot_of(r.q, MK_OP_FENCE, 3, 0, 0, 0), NOTHING, 0,
		NOTHING);
	reap(r.q, result, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(result[i], 0);
	nop(&r, 0, 5, 1, NOTHING);
	flow_of(&r, r.q, slot_of(r.q, MK_OP_FENCE, 1, 0, 0, 0), NOTHING, 0,
		NOTHING);
	no_answer(r.q);
	assert_int_equal(mk_queue_cancel(r.q, 1), 1);
	assert_int_equal(mk_queue_wait(r.q, 1, SUPPORT_NS), 1);
	assert_int_equal(mk_queue_cancel(r.q, 0), 1);
	reap(r.q, result, 2);
	assert_int_equal(result[0], -MK_ECANCELLED);
	assert_int_equal(result[1], -MK_ECANCELLED);
	rig_end(&r);
}

/* ---- batches ------------------------------------------------------------ */

/* Three stages of a pipeline, run after run, two at a time; each stage finds
 * what the one before left. */
static void batch(struct conform *c)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = 3 };
	struct mk_op_word args;
	struct mk_slot s;
	struct mk_batch *b;
	struct rig r;

	rig_begin(&r, c, 16);
	assert_int_equal(mk_batch_create(r.q, &p, &b), 0);
	for (uint32_t i = 0; i < 3; i++) {
		mk_slot_init(&s, MK_OP_ADD, i);
		assert_int_equal(mk_batch_add(b, &s), i);
		if (i)
			assert_int_equal(mk_batch_after(b, i, i - 1), 0);
	}
	assert_int_equal(mk_batch_seal(b), 3);
	for (uint64_t run = 0; run < 300; run++) {
		/* words 0 and 1 in turn: two runs may be in flight */
		args = (struct mk_op_word){ (uint32_t)(run % 2), 0, 1, 0 };
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(mk_batch_patch(b, i, 0, &args,
							sizeof(args)), 0);
		assert_int_equal(mk_batch_submit(b, run * 3), 3);
		if (run % 2 == 0)
			continue;
		for (unsigned i = 0; i < 6; i++) {
			struct mk_completion a = support_reap(r.q);
			uint64_t of = a.user_data / 3;

			assert_int_equal(a.result, 0);
			assert_true(a.value == of / 2 * 3 + a.user_data % 3);
		}
	}
	assert_int_equal(mk_batch_destroy(b, SUPPORT_NS), 0);
	rig_end(&r);
}

/* A run fails in the middle; the next ones are all right. */
static void batch_fails(struct conform *c)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = 3,
				     .runs = 1 };
	struct mk_op_word good = { 0, 0, 0, 0 }, bad = { 1u << 20, 0, 0, 0 };
	struct mk_slot s;
	struct mk_batch *b;
	struct rig r;

	rig_begin(&r, c, 16);
	assert_int_equal(mk_batch_create(r.q, &p, &b), 0);
	for (uint32_t i = 0; i < 3; i++) {
		mk_slot_init(&s, MK_OP_LOAD, i);
		assert_int_equal(mk_batch_add(b, &s), i);
		if (i)
			assert_int_equal(mk_batch_after(b, i, i - 1), 0);
	}
	assert_int_equal(mk_batch_seal(b), 3);
	for (unsigned run = 0; run < 30; run++) {
		bool fails = run % 3 == 1;
		int32_t result[3];

		assert_int_equal(mk_batch_patch(b, 1, 0, fails ? &bad : &good,
						sizeof(good)), 0);
		assert_int_equal(mk_batch_submit(b, 0), 3);
		reap(r.q, result, 3);
		assert_int_equal(result[0], 0);
		assert_int_equal(result[1], fails ? -MK_ERANGE : 0);
		assert_int_equal(result[2], fails ? -MK_EUPSTREAM : 0);
	}
	assert_int_equal(mk_batch_destroy(b, SUPPORT_NS), 0);
	rig_end(&r);
}

#define LONG 100u

/* A long chain, in which every tenth slot counts those before it; in every
 * third run one of these fails. */
static void batch_long(struct conform *c)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = LONG };
	struct mk_op_word one = { 0, 0, 1, 0 }, bad = { 1u << 20, 0, 1, 0 };
	struct mk_batch *b;
	struct rig r;
	uint64_t base = 0;

	rig_begin(&r, c, 128);
	assert_int_equal(mk_batch_create(r.q, &p, &b), 0);
	for (uint32_t i = 0; i < LONG; i++) {
		bool counts = i % 10 == 7;
		struct mk_slot s;

		mk_slot_init(&s, counts ? MK_OP_ADD : MK_OP_NOP, i);
		s.arg64[0] = i;
		assert_int_equal(mk_batch_add(b, &s), i);
		if (i)
			assert_int_equal(mk_batch_after(b, i, i - 1), 0);
		if (counts)
			assert_int_equal(mk_batch_patch(b, i, 0, &one,
							sizeof(one)), 0);
	}
	assert_int_equal(mk_batch_seal(b), LONG);
	for (unsigned run = 0; run < 30; run++) {
		bool fails = run % 3 == 1;

		assert_int_equal(mk_batch_patch(b, 57, 0, fails ? &bad : &one,
						sizeof(one)), 0);
		assert_int_equal(mk_batch_submit(b, 0), LONG);
		for (unsigned i = 0; i < LONG; i++) {
			struct mk_completion a = support_reap(r.q);
			uint64_t at = a.user_data;
			int32_t want = !fails || at < 57 ? 0 :
				       at == 57 ? -MK_ERANGE : -MK_EUPSTREAM;

			assert_int_equal(a.result, want);
			if (!want)
				assert_true(a.value == (at % 10 != 7 ? at :
							base + at / 10));
		}
		base += fails ? 5 : 10;
	}
	assert_int_equal(mk_batch_destroy(b, SUPPORT_NS), 0);
	rig_end(&r);
}

/* ---- in vain ------------------------------------------------------------ */

/* Two that wait for each other, found by the library. */
static void in_vain(struct conform *c)
{
	static char text[20000];
	struct rig r;
	int32_t result[3];

	rig_begin(&r, c, 16);
	nop(&r, 0, 0, 1, 1);
	nop(&r, 1, 1, 1, 0);
	nop(&r, 2, NOTHING, 0, NOTHING);
	reap(r.q, result, 3);
	assert_int_equal(result[0], -EDEADLK);
	assert_int_equal(result[1], -EDEADLK);
	assert_int_equal(result[2], 0);
	for (uint64_t end = support_now() + SUPPORT_NS;;) {
		assert_true(mk_ctx_evidence(c->ctx, MK_EVIDENCE_TEXT, text,
					    sizeof(text)) >= 0);
		if (strstr(text, "2 slots wait in vain") &&
		    strstr(text, "a circle"))
			break;
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
	/* nothing was lost */
	nop(&r, 0, NOTHING, 0, NOTHING);
	assert_int_equal(support_reap(r.q).result, 0);
	rig_end(&r);
}

static void params(const char *name, struct mk_ctx_params *p)
{
	if (strstr(name, "one worker"))
		p->workers = 1;
	if (strstr(name, "in vain"))
		p->hang_ns = 1000 * SUPPORT_MS; /* a busy machine */
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "a chain", chain },
		{ "more wait than workers", many_wait },
		{ "one to seven to one", fan },
		{ "reached before", reached },
		{ "failure goes on", failure },
		{ "failure before the value", failed_early },
		{ "cancelled while it waits", cancelled },
		{ "late while it waits", late },
		{ "stopped while it waits", stopped },
		{ "destroyed while it waits", destroyed },
		{ "bad counters", bad_counters },
		{ "refused slots raise", refused },
		{ "few places", few_places },
		{ "tiles, unrun", tiles_unrun },
		{ "a fence behind waits", fence },
		{ "a fence, one worker", fence },
		{ "a fence that waits", fence_waits },
		{ "a batch, again and again", batch },
		{ "a batch that fails", batch_fails },
		{ "a long batch", batch_long },
		{ "waits in vain", in_vain },
	};

	conform_params = params;
	return CONFORM_MAIN("conformance/work_flow", cases);
}
