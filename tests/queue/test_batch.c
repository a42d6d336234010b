/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded batches: what is refused, what is published, and runs without a
 * reset in between. The test is the device: it keeps to waits and raises as
 * docs/protocol.md says, in an order that a seed decides.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/mock/mock.h"
#include "queue/batch.h"
#include "support/support.h"

#define MOST 64u

static struct mk_ctx *ctx;
static struct mk_queue *q;

static struct mk_batch *batch(uint32_t slots, uint32_t counters,
			      uint32_t runs)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = slots,
				     .counters = counters, .runs = runs };
	struct mk_batch *b;

	assert_int_equal(mk_batch_create(q, &p, &b), 0);
	return b;
}

static int add(struct mk_batch *b, uint64_t user_data)
{
	struct mk_slot s;

	mk_slot_init(&s, MK_OP_NOP, user_data);
	s.arg64[0] = user_data * 3;
	return mk_batch_add(b, &s);
}

/* A batch of n no-ops, user_data 0 to n - 1. */
static struct mk_batch *nops(uint32_t n, uint32_t counters, uint32_t runs)
{
	struct mk_batch *b = batch(n, counters, runs);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(add(b, i), i);
	return b;
}

/* ---- the device --------------------------------------------------------- */

struct pending {
	struct mk_mock_slot slot;
	bool done;
};

static struct pending held[4096];
static unsigned held_count;
static uint64_t seed;
static unsigned log_count;
static uint64_t ended[4096]; /* first argument words, as slots ended */

static uint64_t *counter_of(const struct mk_wire_ext *ext, uint32_t word)
{
	mk_buffer_t b = (uint64_t)ext->counters.generation << 32 |
			ext->counters.index;
	void *memory;

	assert_int_equal(mk_buffer_map(ctx, b, &memory), 0);
	return (uint64_t *)memory + word;
}

/* 0: it waits, 1: it can begin, -1: a slot before it failed. */
static int ready(const struct mk_mock_slot *s)
{
	const struct mk_wire_ext *ext = &q->ext[s->ticket & q->mask];
	uint64_t count;

	if (!(s->flags & MK_SLOT_WAIT))
		return 1;
	count = *counter_of(ext, ext->wait_word);
	return count & MK_COUNTER_FAILED ? -1 : count >= ext->wait_value;
}

static void end_slot(const struct mk_mock_slot *s, int32_t result)
{
	const struct mk_wire_ext *ext = &q->ext[s->ticket & q->mask];

	for (unsigned i = 0; s->flags & MK_SLOT_RAISE && i < MK_RAISE_MAX &&
			     ext->raise[i] != MK_NO_COUNTER; i++) {
		uint64_t *c = counter_of(ext, ext->raise[i]);

		if (result < 0)
			*c |= MK_COUNTER_FAILED;
		++*c;
	}
	ended[log_count++ % 4096] = s->args[0];
	mk_mock_answer(mk_mock_of(ctx), q->desc.index, s->ticket, result, 0);
}

/* Claim what is published. */
static void claim(void)
{
	while (held_count < 4096 &&
	       mk_mock_claim(mk_mock_of(ctx), q->desc.index,
			     &held[held_count].slot)) {
		assert_false(held[held_count].slot.torn);
		held[held_count++].done = false;
	}
}

/* End some slot that can, with `bad` if its first argument is `fails`. */
static bool step(uint64_t fails)
{
	unsigned from = held_count ? (unsigned)(support_random(&seed) %
						held_count) : 0;

	for (unsigned i = 0; i < held_count; i++) {
		struct pending *p = &held[(from + i) % held_count];
		int r = p->done ? 0 : ready(&p->slot);

		if (!r)
			continue;
		p->done = true;
		end_slot(&p->slot, r < 0 ? -MK_EUPSTREAM :
			 p->slot.args[0] == fails ? -MK_EFAULT : 0);
		return true;
	}
	return false;
}

/* Serve and reap all; every slot ends. Returns how many ended well. */
static unsigned serve(unsigned n, uint64_t fails)
{
	unsigned ok = 0;

	claim();
	while (step(fails))
		;
	held_count = 0;
	for (unsigned i = 0; i < n; i++) {
		struct mk_completion c;

		assert_int_equal(mk_queue_reap(q, &c, 1), 1);
		ok += c.result == 0;
	}
	assert_int_equal(support_balance(q).in_flight, 0);
	return ok;
}

#define NONE UINT64_MAX

/* Where in the order of endings this slot stands. */
static unsigned place(uint64_t arg)
{
	unsigned i = 0;

	while (i < log_count && ended[i] != arg)
		i++;
	assert_true(i < log_count);
	return i;
}

/* ---- what is refused ---------------------------------------------------- */

static void creates(void **state)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = 1 };
	struct mk_batch *b;

	(void)state;
	assert_int_equal(mk_batch_create(NULL, &p, &b), -EINVAL);
	assert_int_equal(mk_batch_create(q, NULL, &b), -EINVAL);
	assert_int_equal(mk_batch_create(q, &p, NULL), -EINVAL);
	p.slots = 0;
	assert_int_equal(mk_batch_create(q, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.slots is 0", NULL);
	p.slots = 65;
	assert_int_equal(mk_batch_create(q, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.slots is 65", "64", NULL);
	p.slots = 64;
	p.runs = 65;
	assert_int_equal(mk_batch_create(q, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.runs is 65", NULL);
	p.runs = 64;
	p.counters = 65537;
	assert_int_equal(mk_batch_create(q, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.counters is 65537", NULL);
	p.counters = 65536;
	assert_int_equal(mk_batch_create(q, &p, &b), 0);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
	assert_int_equal(mk_batch_destroy(NULL, 0), 0);
}

static void records(void **state)
{
	struct mk_batch *b = batch(2, 3, 1);
	struct mk_slot s;
	mk_buffer_t other;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &other), 0);
	assert_int_equal(mk_batch_seal(b), -EINVAL);
	support_error(-EINVAL, "no slots", NULL);
	mk_slot_init(&s, 200, 0);
	assert_int_equal(mk_batch_add(b, &s), -MK_EOPCODE);
	mk_slot_init(&s, MK_OP_NOP, 0);
	s.flags = MK_SLOT_WAIT;
	assert_int_equal(mk_batch_add(b, &s), -EINVAL);
	support_error(-EINVAL, "flags is 0x4", NULL);
	s.flags = MK_SLOT_IDEMPOTENT;
	assert_int_equal(mk_batch_add(b, &s), 0);
	assert_int_equal(add(b, 1), 1);
	assert_int_equal(add(b, 2), -E2BIG);
	assert_int_equal(mk_batch_wait(b, 2, 0, 0, 1), -EINVAL);
	support_error(-EINVAL, "slot is 2", NULL);
	assert_int_equal(mk_batch_wait(b, 1, 0, 3, 1), -MK_ERANGE);
	support_error(-MK_ERANGE, "word is 3", "3 counters", NULL);
	assert_int_equal(mk_batch_wait(b, 1, 7, 3, 1), -MK_EFOREIGN);
	assert_int_equal(mk_batch_wait(b, 1, 0, 2, 1ull << 62), -MK_ERANGE);
	assert_int_equal(mk_batch_wait(b, 1, 0, 2, 0), 0);
	assert_int_equal(mk_batch_wait(b, 1, 0, 2, 0), -E2BIG);
	assert_int_equal(mk_batch_raise(b, 1, other, 0), -EINVAL);
	support_error(-EINVAL, "slot 1", "in one", NULL);
	assert_int_equal(mk_batch_after(b, 0, 0), -EINVAL);
	assert_int_equal(mk_batch_after(b, 0, 1), -EINVAL);
	support_error(-EINVAL, "lower numbers", NULL);
	for (unsigned i = 0; i < MK_RAISE_MAX; i++)
		assert_int_equal(mk_batch_raise(b, 0, 0, i % 3), 0);
	assert_int_equal(mk_batch_raise(b, 0, 0, 0), -E2BIG);
	assert_int_equal(mk_batch_patch(b, 2, 0, &s, 1), -EINVAL);
	assert_int_equal(mk_batch_patch(b, 1, 48, &s, 1), -MK_ERANGE);
	assert_int_equal(mk_batch_patch(b, 1, UINT32_MAX, &s, 2), -MK_ERANGE);
	assert_int_equal(mk_batch_submit(b, 0), -EINVAL);
	support_error(-EINVAL, "not sealed", NULL);
	assert_int_equal(mk_batch_seal(b), 2);
	assert_int_equal(mk_batch_seal(b), -EBUSY);
	assert_int_equal(add(b, 2), -EBUSY);
	assert_int_equal(mk_batch_wait(b, 0, 0, 0, 0), -EBUSY);
	assert_int_equal(mk_batch_raise(b, 1, 0, 0), -EBUSY);
	assert_int_equal(mk_batch_after(b, 1, 0), -EBUSY);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* A wait that the slots before it cannot reach is named; nothing of the
 * failed seal stays. */
static void unreachable(void **state)
{
	struct mk_batch *b = nops(3, 2, 1);

	(void)state;
	assert_int_equal(mk_batch_raise(b, 0, 0, 1), 0);
	assert_int_equal(mk_batch_wait(b, 1, 0, 1, 2), 0);
	assert_int_equal(mk_batch_raise(b, 2, 0, 1), 0); /* too late */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(mk_batch_seal(b), -EDEADLK);
		support_error(-EDEADLK, "slot 1 waits", "counter 1 is 2",
			      "1 times", NULL);
	}
	assert_int_equal(mk_batch_raise(b, 0, 0, 1), 0);
	assert_int_equal(mk_batch_seal(b), 3);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* More slots come after one than it can raise counters. */
static void too_many(void **state)
{
	struct mk_batch *b = nops(24, 0, 1);

	(void)state;
	/* eight joins of slot 0 with another each */
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(mk_batch_after(b, 10 + i, 0), 0);
		assert_int_equal(mk_batch_after(b, 10 + i, 1 + i), 0);
	}
	assert_int_equal(mk_batch_seal(b), -E2BIG);
	support_error(-E2BIG, "slot 0 would", "slot 17", "no-op", NULL);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* One wait a slot, all counters in one buffer: also of what seal adds. */
static void mixed(void **state)
{
	struct mk_batch *b = nops(3, 1, 1);
	mk_buffer_t other;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &other), 0);
	assert_int_equal(mk_batch_raise(b, 0, 0, 0), 0);
	assert_int_equal(mk_batch_wait(b, 1, 0, 0, 1), 0);
	assert_int_equal(mk_batch_after(b, 1, 0), 0);
	assert_int_equal(mk_batch_seal(b), -EINVAL);
	support_error(-EINVAL, "slot 1 waits for counter 0", "slot 0", NULL);
	assert_int_equal(mk_batch_destroy(b, 0), 0);

	b = nops(3, 1, 1);
	assert_int_equal(mk_batch_raise(b, 1, other, 5), 0);
	assert_int_equal(mk_batch_after(b, 2, 1), 0);
	assert_int_equal(mk_batch_seal(b), -EINVAL);
	support_error(-EINVAL, "slot 2 comes after slot 1", NULL);
	assert_int_equal(mk_batch_destroy(b, 0), 0);

	b = nops(3, 1, 1);
	assert_int_equal(mk_batch_raise(b, 1, other, 5), 0);
	assert_int_equal(mk_batch_after(b, 1, 0), 0);
	assert_int_equal(mk_batch_seal(b), -EINVAL);
	support_error(-EINVAL, "slot 1 raises counters of buffer", NULL);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* ---- what is published -------------------------------------------------- */

/* Arguments, user_data and places, over the end of the ring and many laps. */
static void publishes(void **state)
{
	struct mk_batch *b = nops(13, 0, 2);
	struct mk_completion c;

	(void)state;
	assert_int_equal(mk_batch_seal(b), 13);
	for (uint64_t run = 0; run < 100; run++) {
		uint64_t arg = run << 40;

		assert_int_equal(mk_batch_patch(b, 5, 40, &arg, 8), 0);
		assert_int_equal(mk_batch_submit(b, 1000 * run), 13);
		claim();
		assert_int_equal(held_count, 13);
		for (unsigned i = 0; i < 13; i++) {
			assert_int_equal(held[i].slot.opcode, MK_OP_NOP);
			assert_int_equal(held[i].slot.priority,
					 MK_PRIORITY_NORMAL);
			assert_int_equal(held[i].slot.flags, 0);
			assert_true(held[i].slot.args[0] == 3 * i);
			assert_true(held[i].slot.args[5] ==
				    (i == 5 ? arg : 0));
			end_slot(&held[i].slot, 0);
		}
		held_count = 0;
		for (unsigned i = 0; i < 13; i++) {
			assert_int_equal(mk_queue_reap(q, &c, 1), 1);
			assert_true(c.user_data == 1000 * run + i);
		}
	}
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* As many runs as were asked for; all or nothing in the ring. */
static void room(void **state)
{
	struct mk_batch *b = nops(20, 0, 2), *c = nops(25, 0, 64);

	(void)state;
	assert_int_equal(mk_batch_seal(b), 20);
	assert_int_equal(mk_batch_seal(c), 25);
	assert_int_equal(mk_batch_submit(b, 0), 20);
	assert_int_equal(mk_batch_submit(b, 0), 20);
	assert_int_equal(mk_batch_submit(b, 0), -EAGAIN);
	assert_int_equal(mk_batch_submit(c, 0), -EAGAIN);
	assert_int_equal(support_balance(q).in_flight, 40);
	assert_int_equal(mk_batch_destroy(b, 0), -EBUSY);
	support_error(-EBUSY, "in flight", NULL);
	assert_int_equal(serve(40, NONE), 40);
	assert_int_equal(mk_batch_submit(c, 0), 25);
	assert_int_equal(mk_batch_submit(c, 0), 25);
	assert_int_equal(mk_batch_submit(c, 0), -EAGAIN);
	assert_int_equal(serve(50, NONE), 50);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
	assert_int_equal(mk_batch_destroy(c, 0), 0);
	b = nops(1, 0, 0);
	assert_int_equal(mk_batch_seal(b), 1);
	assert_int_equal(mk_queue_stop(q, 0), 0);
	assert_int_equal(mk_batch_submit(b, 0), -MK_ESTOPPED);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* A diamond on a chain, two runs at a time, whatever the order of the device:
 * 0 -> 1, 2, 3 -> 4; 4 -> 5 by explicit counter. */
static struct mk_batch *diamond(void)
{
	struct mk_batch *b = nops(6, 1, 2);

	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(mk_batch_after(b, i, 0), 0);
		assert_int_equal(mk_batch_after(b, 4, i), 0);
	}
	assert_int_equal(mk_batch_after(b, 4, 1), 0); /* said twice */
	assert_int_equal(mk_batch_raise(b, 4, 0, 0), 0);
	assert_int_equal(mk_batch_raise(b, 4, 0, 0), 0);
	assert_int_equal(mk_batch_wait(b, 5, 0, 0, 2), 0);
	assert_int_equal(mk_batch_seal(b), 6);
	return b;
}

static void patch_run(struct mk_batch *b, uint64_t run)
{
	for (uint32_t i = 0; i < 6; i++) {
		uint64_t arg = run * 6 + i;

		assert_int_equal(mk_batch_patch(b, i, 0, &arg, 8), 0);
	}
}

static void order_of(uint64_t run)
{
	uint64_t at = run * 6;

	for (unsigned i = 1; i <= 3; i++) {
		assert_true(place(at) < place(at + i));
		assert_true(place(at + i) < place(at + 4));
	}
	assert_true(place(at + 4) < place(at + 5));
}

static void runs(void **state)
{
	struct mk_batch *b = diamond();

	(void)state;
	assert_int_equal(b->counters, 3); /* one for all that follow 0 */
	for (uint64_t run = 0; run < 200; run += 2) {
		log_count = 0;
		patch_run(b, run);
		assert_int_equal(mk_batch_submit(b, 0), 6);
		patch_run(b, run + 1);
		assert_int_equal(mk_batch_submit(b, 0), 6);
		assert_int_equal(serve(12, NONE), 12);
		order_of(run);
		order_of(run + 1);
	}
	/* nothing was reset: all went well */
	assert_int_equal(b->sets[0].lines[5].ext.wait_value, 2 + 2 * 100);
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* A slot fails: those after it end upstream, and the run after next, which
 * has the same counters, is all right. */
static void failures(void **state)
{
	struct mk_batch *b = diamond();
	/* how many end well if this one fails */
	static const unsigned well[] = { 0, 3, 3, 3, 4, 5 };

	(void)state;
	for (uint64_t run = 0; run < 60; run++) {
		uint64_t fails = run % 7;

		log_count = 0;
		patch_run(b, 0);
		assert_int_equal(mk_batch_submit(b, 0), 6);
		if (fails < 6)
			assert_true(serve(6, fails) == well[fails]);
		else
			assert_int_equal(serve(6, NONE), 6);
	}
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* Counters from outside are absolute, run after run. */
static void external(void **state)
{
	struct mk_batch *b = nops(3, 0, 1);
	mk_buffer_t outside;
	uint64_t *word;
	void *memory;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &outside), 0);
	assert_int_equal(mk_buffer_map(ctx, outside, &memory), 0);
	word = memory;
	assert_int_equal(mk_batch_wait(b, 0, outside, 2, 5), 0);
	assert_int_equal(mk_batch_raise(b, 1, outside, 3), 0);
	assert_int_equal(mk_batch_raise(b, 2, outside, 3), 0);
	assert_int_equal(mk_batch_seal(b), 3);
	assert_true(b->buffer == 0);
	for (uint64_t run = 1; run <= 10; run++) {
		assert_int_equal(mk_batch_submit(b, 0), 3);
		word[2] = 4;
		claim();
		while (step(NONE))
			;
		assert_int_equal(mk_queue_wait(q, 3, 0), -ETIME);
		assert_true(word[3] == 2 * run);
		word[2] = 5;
		assert_int_equal(serve(3, NONE), 3);
	}
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

/* A default deadline counts from the submission. */
static void deadlines(void **state)
{
	struct mk_batch *b = nops(3, 0, 1);
	uint64_t before, at;

	(void)state;
	assert_int_equal(mk_batch_after(b, 2, 0), 0);
	assert_int_equal(mk_batch_seal(b), 3);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t ns = i == 1 ? 0 : 1000000000ull * (i + 1);

		assert_int_equal(mk_ctx_deadline(ctx, MK_OP_NOP, ns), 0);
		before = support_now();
		assert_int_equal(mk_batch_submit(b, 0), 3);
		claim();
		for (unsigned k = 0; k < 3; k++) {
			const struct mk_mock_slot *s = &held[k].slot;

			assert_int_equal(s->flags & MK_SLOT_DEADLINE,
					 ns ? MK_SLOT_DEADLINE : 0);
			at = q->ext[s->ticket & q->mask].deadline_ns;
			if (ns)
				assert_true(at >= before + ns &&
					    at <= support_now() + ns);
		}
		assert_int_equal(serve(3, NONE), 3);
	}
	assert_int_equal(mk_batch_destroy(b, 0), 0);
}

static int begin(void **state)
{
	static const struct mk_mock_script manual = { .manual = true };
	struct mk_queue_params p = { .size = sizeof(p), .entries = MOST,
				     .first_ticket = UINT64_MAX - 1000 };

	(void)state;
	seed = 88172645463325252ull;
	held_count = log_count = 0;
	mk_mock_reset();
	mk_mock_begin_with(&manual);
	ctx = support_ctx("mock", MK_ISOLATION_NONE);
	return mk_queue_create(ctx, &p, &q);
}

static int end(void **state)
{
	(void)state;
	assert_true(mk_queue_destroy(q, SUPPORT_NS) >= 0);
	support_ctx_end(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(creates, begin, end),
		cmocka_unit_test_setup_teardown(records, begin, end),
		cmocka_unit_test_setup_teardown(unreachable, begin, end),
		cmocka_unit_test_setup_teardown(too_many, begin, end),
		cmocka_unit_test_setup_teardown(mixed, begin, end),
		cmocka_unit_test_setup_teardown(publishes, begin, end),
		cmocka_unit_test_setup_teardown(room, begin, end),
		cmocka_unit_test_setup_teardown(runs, begin, end),
		cmocka_unit_test_setup_teardown(failures, begin, end),
		cmocka_unit_test_setup_teardown(external, begin, end),
		cmocka_unit_test_setup_teardown(deadlines, begin, end),
	};

	return cmocka_run_group_tests_name("queue/batch", tests, NULL, NULL);
}
