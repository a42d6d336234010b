/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatches of host bytes on a live engine, in both isolation modes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "live.h"

static int open_none(void **state)
{
	*state = live_open(MK_ISOLATION_NONE, 1);
	return 0;
}

static int open_process(void **state)
{
	*state = live_open(MK_ISOLATION_PROCESS, 2);
	return 0;
}

static int close_context(void **state)
{
	live_close(*state);
	return 0;
}

static int run(struct mk_ctx *ctx, struct buffers *b,
	       struct mk_dispatch_output *out)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = LIVE_NS };
	struct mk_dispatch_input in = buffers_input(b);
	int r = mk_dispatch(ctx, &p, &in, out);

	if (r < 0)
		fail_msg("mk_dispatch: %d: %s", r, mk_error_last()->text);
	return r;
}

/* ---- what comes back ----------------------------------------------------- */

static void test_everything_comes_back(void **state)
{
	struct mk_log_entry log[4];
	struct mk_dispatch_output out;
	struct mk_control_info c;
	struct mk_ring_slot slot;
	struct buffers b;

	assert_true(buffers_make(&b, 16, 8, 4, 4));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 7, 0));
	buffers_add(&b, word_slot(MK_OP_STORE, 15, 99, 0));
	slot = print_slot(21, 22);
	slot.tenant = 9;
	slot.priority = MK_PRIORITY_HIGH;
	slot.tag = 0xfeed;
	buffers_add(&b, slot);
	slot = ring_slot(MK_OP_NOP);
	slot.args[0] = 5;
	slot.args[1] = 1;
	buffers_add(&b, slot);
	buffers_add(&b, ring_slot(MK_OP_FENCE));
	assert_int_equal(run(*state, &b, &out), 5);
	assert_int_equal(out.buffers, 4);
	for (uint32_t part = 0; part < 4; part++) {
		assert_int_equal(out.buffer[part].part, part);
		assert_int_equal(out.buffer[part].bytes, b.bytes[part]);
	}
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	expect_ending(&out, 1, MK_STATE_DONE, 0, 0);
	expect_ending(&out, 2, MK_STATE_DONE, 0, 0);
	expect_ending(&out, 3, MK_STATE_DONE, 0, 5 | 1ull << 32);
	expect_ending(&out, 4, MK_STATE_DONE, 0, 0);
	assert_int_equal(live_ending(&out, 2).tag, 0xfeed);
	c = live_control(&out);
	live_invariant(&c);
	assert_int_equal(c.words[0], 7);
	assert_int_equal(c.words[15], 99);
	assert_int_equal(c.done, 5);
	assert_int_equal(c.failed, 0);
	assert_int_equal(c.epoch, 1);
	assert_int_equal(c.shutdown, 0);
	assert_int_equal(c.tenant_done[9], 1);
	assert_int_equal(c.priority_done[MK_PRIORITY_HIGH], 1);
	assert_int_equal(c.opcode_done[MK_OP_ADD], 1);
	/* the ticket of a record is the slot's index */
	assert_int_equal(mk_log_decode(out.buffer[2].data,
				       out.buffer[2].bytes, log, 4, NULL), 1);
	assert_int_equal(log[0].ticket, 2);
	assert_int_equal(log[0].format, 21);
	assert_int_equal(log[0].arg[0], 22);
	/* the input is as it was */
	assert_int_equal(buffers_slot(&b, 0)->state, MK_STATE_PUBLISHED);
	assert_int_equal(buffers_control(&b)->epoch, 0);
	mk_dispatch_output_free(&out);
	assert_null(out.buffer[0].data);
	buffers_free(&b);
}

/* Output in, with more published: what has ended is left alone. */
static void test_outputs_go_back_in(void **state)
{
	struct mk_dispatch_output out;
	struct mk_control_info c;
	struct mk_log_info info;
	struct mk_log_entry log[4];
	struct buffers b;

	assert_true(buffers_make(&b, 1, 8, 4, 0));
	for (unsigned round = 0; round < 3; round++) {
		buffers_add(&b, word_slot(MK_OP_ADD, 0, 1 + round, 0));
		buffers_add(&b, print_slot(round, round));
		assert_int_equal(run(*state, &b, &out), 2);
		assert_int_equal(out.buffers, 3);
		c = live_control(&out);
		live_invariant(&c);
		assert_int_equal(c.done, 2 * (round + 1));
		assert_int_equal(c.epoch, round + 1);
		for (unsigned part = 0; part < 3; part++)
			memcpy(b.data[part], out.buffer[part].data,
			       b.bytes[part]);
		mk_dispatch_output_free(&out);
	}
	assert_int_equal(run(*state, &b, &out), 0);
	c = live_control(&out);
	assert_int_equal(c.words[0], 6);
	assert_int_equal(c.done, 6);
	assert_int_equal(c.epoch, 4);
	assert_int_equal(mk_log_decode(out.buffer[2].data,
				       out.buffer[2].bytes, log, 4, &info), 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(log[i].format, i);
		assert_int_equal(log[i].ticket, 2 * i + 1);
	}
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

static void test_empty_ring(void **state)
{
	struct mk_dispatch_output out;
	struct buffers b;

	assert_true(buffers_make(&b, 2, 2, 1, 1));
	assert_int_equal(run(*state, &b, &out), 0);
	assert_int_equal(out.buffers, 4);
	assert_int_equal(live_control(&out).epoch, 1);
	assert_int_equal(out.stats.sync_points, 0);
	assert_int_equal(out.stats.readback_bytes, 0);
	assert_int_equal(out.stats.bytes_moved, 0);
	assert_memory_equal(out.buffer[1].data, b.data[1], b.bytes[1]);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* What may not run is answered with its code, and the rest runs. */
static void test_refused_slots(void **state)
{
	struct mk_dispatch_output out;
	struct mk_control_info c;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 16, 1, 0));
	for (int i = 0; i < 9; i++)
		buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_control(&b)->tenants = 4;
	buffers_slot(&b, 0)->opcode = 200; /* no handler */
	buffers_slot(&b, 1)->opcode = MK_OPCODES;
	buffers_slot(&b, 2)->opcode = MK_OP_ROW;
	buffers_slot(&b, 3)->tenant = 4;
	buffers_slot(&b, 4)->tiles = 2;
	buffers_slot(&b, 5)->priority = MK_PRIORITIES;
	buffers_slot(&b, 6)->flags = MK_SLOT_DEADLINE;
	buffers_slot(&b, 7)->args[0] = 1; /* the control has one word */
	assert_int_equal(run(*state, &b, &out), 9);
	expect_ending(&out, 0, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect_ending(&out, 1, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect_ending(&out, 2, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect_ending(&out, 3, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect_ending(&out, 4, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect_ending(&out, 5, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect_ending(&out, 6, MK_STATE_FAULT, -MK_EARGS, 0);
	expect_ending(&out, 7, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect_ending(&out, 8, MK_STATE_DONE, 0, 0);
	c = live_control(&out);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.failed, 8);
	assert_int_equal(c.words[0], 1);
	assert_int_equal(c.opcode_done[200], 1);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/*
 * Bounds are those of the buffers, whatever the context dispatched before: a
 * larger control leaves no room behind for a smaller one.
 */
static void test_bounds_follow_the_buffers(void **state)
{
	const uint32_t words[] = { 1000, 1, 64, 3, 1000, 2, 5, 7, 1 };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct mk_dispatch_output out;
		struct buffers b;

		assert_true(buffers_make(&b, words[i], 4, 1, 0));
		buffers_add(&b, word_slot(MK_OP_STORE, words[i] - 1, 5, 0));
		buffers_add(&b, word_slot(MK_OP_STORE, words[i], 5, 0));
		assert_int_equal(run(*state, &b, &out), 2);
		expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
		expect_ending(&out, 1, MK_STATE_FAULT, -MK_ERANGE, 0);
		assert_int_equal(live_control(&out).words[words[i] - 1], 5);
		mk_dispatch_output_free(&out);
		buffers_free(&b);
	}
}

/* The log keeps the last records whatever its size and the number before. */
static void test_log_overflow(void **state)
{
	struct mk_log_entry log[8];
	struct mk_log_info info;
	struct mk_dispatch_output out;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 64, 8, 0));
	for (uint32_t i = 0; i < 20; i++) {
		buffers_add(&b, print_slot(i, i));
		buffers_add(&b, ring_slot(MK_OP_FENCE));
	}
	/* again and again: the queue's own tickets go on, the slots do not */
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(run(*state, &b, &out), 40);
		assert_int_equal(mk_log_decode(out.buffer[2].data,
					       out.buffer[2].bytes, log, 8,
					       &info), 8);
		assert_int_equal(info.cursor, 20);
		assert_int_equal(info.drops, 12);
		assert_int_equal(info.torn, 0);
		for (uint32_t i = 0; i < 8; i++)
			assert_int_equal(log[i].ticket, 2 * log[i].format);
		mk_dispatch_output_free(&out);
	}
	buffers_free(&b);
}

/* ---- shutdown ------------------------------------------------------------ */

static void test_shutdown_in_the_ring(void **state)
{
	struct mk_dispatch_output out;
	struct mk_control_info c;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 64, 1, 0));
	for (int i = 0; i < 20; i++)
		buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_add(&b, ring_slot(MK_OP_SHUTDOWN));
	for (int i = 0; i < 20; i++)
		buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_slot(&b, 30)->opcode = 200;
	assert_int_equal(run(*state, &b, &out), 41);
	c = live_control(&out);
	live_invariant(&c);
	/* every slot before it ran, none after it */
	assert_int_equal(c.words[0], 20);
	assert_int_equal(c.done, 21);
	assert_int_equal(c.failed, 20);
	assert_int_equal(c.shutdown, 1);
	for (uint32_t i = 0; i < 41; i++)
		if (i > 20)
			expect_ending(&out, i, MK_STATE_CANCELLED,
				      -MK_ECANCELLED, 0);
		else
			assert_int_equal(live_ending(&out, i).result, 0);
	/* the output says shut down: nothing runs of it any more */
	memcpy(b.data[0], out.buffer[0].data, b.bytes[0]);
	mk_dispatch_output_free(&out);
	buffers_slot(&b, 30)->opcode = MK_OP_NOP;
	assert_int_equal(run(*state, &b, &out), 41);
	for (uint32_t i = 0; i < 41; i++)
		assert_int_equal(live_ending(&out, i).state,
				 MK_STATE_CANCELLED);
	assert_int_equal(live_control(&out).words[0], 20);
	assert_int_equal(live_control(&out).shutdown, 1);
	mk_dispatch_output_free(&out);
	/* and the next dispatch of the context is not shut down */
	buffers_free(&b);
	assert_true(buffers_make(&b, 1, 2, 1, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	assert_int_equal(run(*state, &b, &out), 1);
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* A shutdown that is refused stops nothing. */
static void test_shutdown_refused(void **state)
{
	struct mk_dispatch_output out;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, ring_slot(MK_OP_SHUTDOWN));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_slot(&b, 0)->tiles = 7;
	assert_int_equal(run(*state, &b, &out), 2);
	expect_ending(&out, 0, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect_ending(&out, 1, MK_STATE_DONE, 0, 0);
	assert_int_equal(live_control(&out).shutdown, 0);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* ---- parameters, reuse, shapes ------------------------------------------- */

static void test_params(void **state)
{
	struct {
		struct mk_dispatch_params p;
		uint64_t more;
	} longer = { .p.size = sizeof(longer), .more = 3 };
	struct mk_dispatch_params p = { .size = sizeof(p) };
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 2, 1, 0));
	in = buffers_input(&b);
#define BAD(code, words)                                                     \
	do {                                                                 \
		assert_int_equal(mk_dispatch(*state, &p, &in, &out), code);  \
		assert_non_null(strstr(mk_error_last()->text, words));       \
		assert_int_equal(out.buffers, 77);                           \
		p = (struct mk_dispatch_params){ .size = sizeof(p) };        \
	} while (0)
	p.recover = 2;
	BAD(-EINVAL, "params.recover is 2");
	p.readback = MK_READBACK_NONE | MK_READBACK_RING;
	BAD(-EINVAL, "params.readback is 18");
	p.readback = 64;
	BAD(-EINVAL, "params.readback is 64");
	p.reserved = 1;
	BAD(-EINVAL, "params.reserved is 1");
	p.size = 8;
	BAD(-EINVAL, "params.size is 8");
#undef BAD
	assert_int_equal(mk_dispatch(*state, &longer.p, &in, &out), -E2BIG);
	assert_int_equal(mk_dispatch(NULL, NULL, &in, &out), -EINVAL);
	assert_int_equal(mk_dispatch(*state, NULL, NULL, &out), -EINVAL);
	assert_int_equal(mk_dispatch(*state, NULL, &in, NULL), -EINVAL);
	longer.more = 0;
	assert_ok(mk_dispatch(*state, &longer.p, &in, &out));
	mk_dispatch_output_free(&out);
	/* only what is asked for comes back */
	p.readback = MK_READBACK_RING | MK_READBACK_LOG;
	assert_ok(mk_dispatch(*state, &p, &in, &out));
	assert_int_equal(out.buffers, 2);
	assert_int_equal(out.buffer[0].part, MK_PART_RING);
	assert_int_equal(out.buffer[1].part, MK_PART_LOG);
	mk_dispatch_output_free(&out);
	p.readback = MK_READBACK_NONE;
	assert_ok(mk_dispatch(*state, &p, &in, &out));
	assert_int_equal(out.buffers, 0);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* Bad bytes stop before the device: the context has answered nothing. */
static void test_bad_bytes(void **state)
{
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_ctx_stats before, after;
	struct mk_dispatch_input in;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	for (int i = 0; i < 4; i++)
		buffers_add(&b, ring_slot(MK_OP_NOP));
	buffers_slot(&b, 3)->state = 12;
	in = buffers_input(&b);
	assert_ok(mk_ctx_stats(*state, &before));
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), -MK_ESTATE);
	assert_string_equal(mk_error_last()->text, "ring: word 64 (slot 3, "
			    "state): 12 is no slot state");
	assert_string_equal(mk_error_last()->operation, "mk_dispatch");
	assert_int_equal(out.buffers, 77);
	in.ring.bytes -= 4;
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), -MK_ETRUNC);
	in.ring.bytes = 1ull << 40;
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), -MK_ELAYOUT);
	assert_ok(mk_ctx_stats(*state, &after));
	assert_int_equal(after.slots, before.slots);
	buffers_free(&b);
}

static void test_into_reuses(void **state)
{
	struct mk_dispatch_output out = { .buffers = 0 };
	unsigned char *data[4];
	struct mk_dispatch_input in;
	struct buffers b, small;

	assert_true(buffers_make(&b, 32, 16, 4, 4));
	assert_true(buffers_make(&small, 1, 2, 1, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_into(*state, NULL, &in, &out), 1);
	for (unsigned i = 0; i < 4; i++)
		data[i] = out.buffer[i].data;
	/* smaller ones, then the first again: the memory stays */
	in = buffers_input(&small);
	assert_int_equal(mk_dispatch_into(*state, NULL, &in, &out), 0);
	assert_int_equal(out.buffers, 3);
	assert_int_equal(out.buffer[1].bytes, small.bytes[1]);
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_into(*state, NULL, &in, &out), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(out.buffer[i].data, data[i]);
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	/* a failure leaves nothing to be taken for a result */
	in.ring.bytes = 8;
	assert_int_equal(mk_dispatch_into(*state, NULL, &in, &out),
			 -MK_ETRUNC);
	assert_int_equal(out.buffers, 0);
	assert_int_equal(out.stats.output_bytes, 0);
	assert_ptr_equal(out.buffer[0].data, data[0]);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
	buffers_free(&small);
}

static void test_many_shapes(void **state)
{
	for (uint32_t entries = 2; entries <= 65536; entries *= 8) {
		uint32_t logs = entries > 8 ? 8 : 1;
		struct mk_dispatch_output out;
		struct mk_control_info c;
		struct buffers b;

		assert_true(buffers_make(&b, entries / 2 + 1, entries, logs,
					 entries % 3 ? 2 : 0));
		for (uint32_t i = 0; i < entries; i++)
			assert_int_equal(buffers_add(&b,
				word_slot(MK_OP_ADD, i / 2, 1, 0)), i);
		assert_int_equal(run(*state, &b, &out), entries);
		c = live_control(&out);
		live_invariant(&c);
		assert_int_equal(c.done, entries);
		for (uint32_t i = 0; i < entries / 2; i++)
			assert_int_equal(c.words[i], 2);
		assert_int_equal(c.words[entries / 2], 0);
		mk_dispatch_output_free(&out);
		buffers_free(&b);
	}
}

/* Slots that have not started by their deadline end as EXPIRED. */
static void test_deadline(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p), .deadline_ns = 1 };
	struct mk_dispatch_output out;
	struct mk_dispatch_input in;
	struct mk_control_info c;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 2);
	expect_ending(&out, 0, MK_STATE_EXPIRED, -MK_EDEADLINE, 0);
	expect_ending(&out, 1, MK_STATE_EXPIRED, -MK_EDEADLINE, 0);
	c = live_control(&out);
	assert_int_equal(c.words[0], 0);
	assert_int_equal(c.failed, 2);
	mk_dispatch_output_free(&out);
	/* a shutdown that was too late as well stops nothing */
	buffers_slot(&b, 0)->opcode = MK_OP_SHUTDOWN;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 2);
	expect_ending(&out, 0, MK_STATE_EXPIRED, -MK_EDEADLINE, 0);
	expect_ending(&out, 1, MK_STATE_EXPIRED, -MK_EDEADLINE, 0);
	assert_int_equal(live_control(&out).shutdown, 0);
	mk_dispatch_output_free(&out);
	buffers_slot(&b, 0)->opcode = MK_OP_ADD;
	p.deadline_ns = UINT64_MAX;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 2);
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* Nothing answers while the context is quiesced: the dispatch gives up, and
 * the slots that it left are never run later. */
static void test_timeout(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = 20000000 };
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct mk_ctx_stats before, after;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	in = buffers_input(&b);
	assert_ok(mk_ctx_stats(*state, &before));
	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), -ETIME);
	assert_non_null(strstr(mk_error_last()->text,
			       "params.timeout_ns passed with 1 slots"));
	assert_int_equal(out.buffers, 77);
	assert_ok(mk_ctx_resume(*state));
	p.timeout_ns = LIVE_NS;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 1);
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	assert_int_equal(live_control(&out).words[0], 1);
	assert_int_equal(out.stats.device_allocation_events, 1);
	assert_ok(mk_ctx_stats(*state, &after));
	assert_int_equal(after.by_opcode[MK_OP_ADD] - after.cancelled,
			 before.by_opcode[MK_OP_ADD] - before.cancelled + 1);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* ---- typed --------------------------------------------------------------- */

static void test_typed(void **state)
{
	struct mk_typed_dispatch_output out = { .endings = 0 };
	struct mk_dispatch_params p = { .size = sizeof(p),
					.readback = MK_READBACK_RING };
	struct mk_dispatch_input in;
	struct mk_slot_ending *ending;
	struct buffers b;

	assert_true(buffers_make(&b, 2, 8, 4, 4));
	buffers_add(&b, word_slot(MK_OP_ADD, 1, 3, 0));
	buffers_add(&b, print_slot(4, 5));
	buffers_add(&b, ring_slot(200));
	buffers_slot(&b, 2)->tag = 71;
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_typed(*state, &p, &in, &out), -EINVAL);
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out), 3);
	assert_int_equal(out.endings, 3);
	assert_int_equal(out.ending[0].state, MK_STATE_DONE);
	assert_int_equal(out.ending[2].state, MK_STATE_FAULT);
	assert_int_equal(out.ending[2].result, -MK_EOPCODE);
	assert_int_equal(out.ending[2].tag, 71);
	assert_int_equal(out.control.done, 2);
	assert_int_equal(out.control.failed, 1);
	assert_int_equal(out.control.words[1], 3);
	assert_int_equal(out.logs, 1);
	assert_int_equal(out.log[0].format, 4);
	assert_int_equal(out.log[0].ticket, 1);
	assert_int_equal(out.log_info.cursor, 1);
	assert_int_equal(out.ios, 0);
	assert_int_equal(out.io_info.capacity, 4);
	assert_int_equal(out.raw.buffers, 4);
	ending = out.ending;
	in.io_queue = (struct mk_bytes){ NULL, 0 };
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out), 3);
	assert_ptr_equal(out.ending, ending);
	assert_int_equal(out.io_info.capacity, 0);
	/* a refused input leaves nothing behind */
	in.ring.bytes = 3;
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out),
			 -MK_ETRUNC);
	assert_int_equal(out.endings, 0);
	assert_int_equal(out.raw.buffers, 0);
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, NULL), -EINVAL);
	mk_typed_dispatch_output_free(&out);
	buffers_free(&b);
}

/* ---- several at once ----------------------------------------------------- */

struct hammer {
	struct mk_ctx *ctx;
	uint32_t words;
	int bad;
};

static void *hammer_main(void *arg)
{
	struct mk_dispatch_output out = { .buffers = 0 };
	struct mk_dispatch_input in;
	struct hammer *h = arg;
	struct buffers b;

	h->bad = !buffers_make(&b, h->words, 16, 1, 0);
	for (uint32_t i = 0; i < 16; i++)
		buffers_add(&b, word_slot(MK_OP_ADD, h->words - 1, 1, 0));
	in = buffers_input(&b);
	for (int i = 0; i < 50 && !h->bad; i++) {
		struct mk_control_info c;

		if (mk_dispatch_into(h->ctx, NULL, &in, &out) != 16 ||
		    mk_control_decode(out.buffer[0].data, out.buffer[0].bytes,
				      &c) ||
		    c.words[h->words - 1] != 16 || c.done != 16)
			h->bad++;
	}
	mk_dispatch_output_free(&out);
	buffers_free(&b);
	return NULL;
}

/* Dispatches of threads do not see each other's words. */
static void test_threads(void **state)
{
	pthread_t thread[4];
	struct hammer h[4];

	for (uint32_t i = 0; i < 4; i++) {
		h[i] = (struct hammer){ *state, 3 + i, 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, hammer_main,
						&h[i]), 0);
	}
	for (uint32_t i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(h[i].bad, 0);
	}
}

#define TESTS                                              \
	cmocka_unit_test(test_everything_comes_back),      \
	cmocka_unit_test(test_outputs_go_back_in),         \
	cmocka_unit_test(test_empty_ring),                 \
	cmocka_unit_test(test_refused_slots),              \
	cmocka_unit_test(test_bounds_follow_the_buffers),  \
	cmocka_unit_test(test_log_overflow),               \
	cmocka_unit_test(test_shutdown_in_the_ring),       \
	cmocka_unit_test(test_shutdown_refused),           \
	cmocka_unit_test(test_params),                     \
	cmocka_unit_test(test_bad_bytes),                  \
	cmocka_unit_test(test_into_reuses),                \
	cmocka_unit_test(test_many_shapes),                \
	cmocka_unit_test(test_deadline),                   \
	cmocka_unit_test(test_timeout),                    \
	cmocka_unit_test(test_typed),                      \
	cmocka_unit_test(test_threads)

int main(void)
{
	const struct CMUnitTest tests[] = { TESTS };

	return cmocka_run_group_tests_name("none", tests, open_none,
					   close_context) +
	       cmocka_run_group_tests_name("process", tests, open_process,
					   close_context);
}
