/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatches with handlers that the built-in ones are not like: they post IO
 * requests, do not return, and write where they must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include <megakernel/handler.h>

#include "base/order.h"
#include "dispatch/dispatcher.h"
#include "live.h"

#define WORKERS 20u

static uint32_t release_all; /* lets handlers of `stubborn` return */
static uint32_t started;

struct post_args {
	uint32_t op;
	uint32_t reserved;
	uint64_t tag;
};

MK_HANDLER(post, struct post_args)
{
	struct mk_io_record r = { .op = args->op, .tag = args->tag,
				  .bytes = 4096 };

	return mk_io_post(task, &r);
}

/* Returns when it is cancelled. */
MK_HANDLER(patient, struct mk_none)
{
	(void)args;
	mk_store_release(&started, 1);
	while (!mk_cancelled(task))
		mk_pause();
	return -MK_ECANCELLED;
}

/* Returns when the test says so. */
MK_HANDLER(stubborn, struct mk_none)
{
	(void)task;
	(void)args;
	while (!mk_load_acquire(&release_all))
		mk_pause();
	return 0;
}

struct spoil_args {
	uint64_t cursor, drops, posted;
};

MK_HANDLER(spoil, struct spoil_args)
{
	task->log->cursor = args->cursor;
	task->log->drops = args->drops;
	task->io->posted = args->posted;
	return 0;
}

MK_MODULE_DEFINE(test_dispatch_module);

static int open_context(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_NONE, WORKERS);

	assert_ok(mk_module_load_static(ctx, &test_dispatch_module, 0, NULL));
	release_all = 0;
	started = 0;
	*state = ctx;
	return 0;
}

static int close_context(void **state)
{
	mk_store_release(&release_all, 1);
	live_close(*state);
	return 0;
}

static struct mk_ring_slot named(struct mk_ctx *ctx, const char *name,
				 const void *args, size_t bytes)
{
	struct mk_handler_info info;
	struct mk_ring_slot slot;

	assert_ok(mk_handler_find(ctx, name, &info));
	slot = ring_slot(info.opcode);
	assert_int_equal(info.arg_bytes, bytes);
	if (bytes)
		memcpy(slot.args, args, bytes);
	return slot;
}

static struct mk_ring_slot post_slot(struct mk_ctx *ctx, uint32_t op,
				     uint64_t tag)
{
	struct post_args args = { .op = op, .tag = tag };

	return named(ctx, "post", &args, sizeof(args));
}

/* ---- IO requests ---- */

static void test_io_comes_back(void **state)
{
	struct mk_typed_dispatch_output out = { .ios = 0 };
	struct mk_dispatch_input in;
	uint64_t tags = 0;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 16, 1, 4));
	for (uint64_t i = 0; i < 3; i++) {
		buffers_add(&b, ring_slot(MK_OP_NOP));
		buffers_add(&b, post_slot(*state, MK_IO_WRITE, 1 + i));
	}
	in = buffers_input(&b);
	for (unsigned round = 0; round < 3; round++, tags = 0) {
		assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out),
				 6);
		assert_int_equal(out.ios, 3);
		assert_int_equal(out.io_info.posted, 3);
		assert_int_equal(out.io_info.taken, 0);
		assert_int_equal(out.io_info.refused, 0);
		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(out.io[i].op, MK_IO_WRITE);
			assert_int_equal(out.io[i].bytes, 4096);
			/* the ticket is the slot's index */
			assert_int_equal(out.io[i].ticket,
					 2 * out.io[i].tag - 1);
			tags |= 1ull << out.io[i].tag;
		}
		assert_int_equal(tags, 0xe);
	}
	mk_typed_dispatch_output_free(&out);
	buffers_free(&b);
}

/* Requests that were open before stay so, and take their room. */
static void test_io_queue_fills(void **state)
{
	struct mk_typed_dispatch_output out = { .ios = 0 };
	struct mk_dispatch_input in;
	struct mk_io_queue *io;
	struct mk_io_record *r;
	unsigned full = 0;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 8, 1, 4));
	io = (struct mk_io_queue *)b.data[3];
	r = (struct mk_io_record *)(io + 1);
	io->posted = 7;
	io->taken = 5;
	for (uint32_t at = 5; at < 7; at++)
		r[at % 4] = (struct mk_io_record){ .op = MK_IO_READ,
						   .tag = at, .ticket = 1234,
						   .stamp = at + 1 };
	for (uint64_t i = 0; i < 5; i++)
		buffers_add(&b, post_slot(*state, MK_IO_FENCE, 100 + i));
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out), 5);
	assert_int_equal(out.ios, 4);
	assert_int_equal(out.io_info.posted, 9);
	assert_int_equal(out.io_info.taken, 5);
	assert_int_equal(out.io_info.refused, 3);
	assert_int_equal(out.io[0].tag, 5);
	assert_int_equal(out.io[1].tag, 6);
	assert_int_equal(out.io[0].ticket, 1234);
	assert_true(out.io[2].tag >= 100 && out.io[3].tag >= 100);
	for (uint32_t i = 0; i < 5; i++)
		full += out.ending[i].result == -MK_EFULL;
	assert_int_equal(full, 3);
	/* with no IO queue every post is refused and says so */
	in.io_queue = (struct mk_bytes){ NULL, 0 };
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out), 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(out.ending[i].result, -MK_EFULL);
	/* and again with one, on the same queue of the context */
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out), 5);
	assert_int_equal(out.io_info.posted, 9);
	mk_typed_dispatch_output_free(&out);
	buffers_free(&b);
}

/* What cannot be decoded does not cost the work that was done. */
static void test_typed_undecodable(void **state)
{
	struct mk_typed_dispatch_output out = { .ios = 0 };
	struct mk_dispatch_input in;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 8, 1, 4));
	buffers_add(&b, post_slot(*state, 77, 1));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 5, 0));
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &out),
			 -MK_ESTATE);
	assert_string_equal(mk_error_last()->text, "io_queue: word 16 (record "
			    "0, op): 77 is no IO operation");
	assert_int_equal(out.endings | out.logs | out.ios, 0);
	assert_null(out.control.words);
	assert_int_equal(out.raw.buffers, 4);
	assert_int_equal(out.raw.stats.output_buffers, 4);
	assert_int_equal(live_control(&out.raw).words[0], 5);
	mk_typed_dispatch_output_free(&out);
	buffers_free(&b);
}

/* ---- handlers that do not return ---- */

static void test_timeout_cancels(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = 50000000 };
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct mk_ctx_stats stats;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, named(*state, "patient", NULL, 0));
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), -ETIME);
	assert_int_equal(out.buffers, 77);
	/* it was asked to end, and so it did: the context comes to rest */
	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	assert_ok(mk_ctx_resume(*state));
	assert_ok(mk_ctx_stats(*state, &stats));
	assert_int_equal(stats.failed, 1);
	buffers_slot(&b, 0)->opcode = MK_OP_NOP;
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), 1);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* The slots of a row behind one that was cancelled are not run. */
static void test_timeout_cancels_row(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = 50000000 };
	struct mk_resident_handles h;
	struct mk_dispatch_output out;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, named(*state, "patient", NULL, 0));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 1, 0));
	h = live_upload(*state, &b);
	/* a row that did not even start in time is as it was */
	for (int i = 0; i < 1000 && !mk_load_acquire(&started); i++)
		assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out),
				 -ETIME);
	assert_true(mk_load_acquire(&started));
	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	assert_ok(mk_ctx_resume(*state));
	p.timeout_ns = LIVE_NS;
	assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out), 0);
	expect_ending(&out, 0, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	expect_ending(&out, 1, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	assert_int_equal(live_control(&out).words[0], 0);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
	buffers_free(&b);
}

/* Handlers that never end hold their queues; so many may, and no more. When
 * they end after all, everything is as before. */
static void test_stuck(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = 10000000 };
	struct mk_dispatch_output out;
	struct mk_dispatch_input in;
	struct mk_ctx_info info;
	unsigned late = 0;
	struct buffers b;
	int r;

	assert_true(buffers_make(&b, 1, 4, 1, 0));
	buffers_add(&b, named(*state, "stubborn", NULL, 0));
	in = buffers_input(&b);
	/* those whose slot did not even start in time do not count */
	while ((r = mk_dispatch(*state, &p, &in, &out)) == -ETIME)
		assert_true(++late < 10000);
	assert_int_equal(r, -EBUSY);
	assert_true(late >= MK_DISPATCH_STUCK - 1);
	assert_non_null(strstr(mk_error_last()->text, "still run"));
	mk_store_release(&release_all, 1);
	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	assert_ok(mk_ctx_resume(*state));
	p.timeout_ns = LIVE_NS;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 1);
	expect_ending(&out, 0, MK_STATE_DONE, 0, 0);
	mk_dispatch_output_free(&out);
	/* each dispatch gives back those that have ended; a queue whose worker
	 * has not looked up yet is left to the next */
	for (unsigned i = 0;; i++) {
		assert_ok(mk_ctx_info(*state, &info));
		if (info.queues <= 4)
			break;
		assert_true(i < 1000);
		assert_int_equal(mk_dispatch(*state, &p, &in, &out), 1);
		mk_dispatch_output_free(&out);
	}
	buffers_free(&b);
}

/* ---- handlers that write where they must not ---- */

static void test_spoilt_counts(void **state)
{
	static const struct {
		struct spoil_args args;
		const char *text;
	} cases[] = {
		{ { 1, 0, 2 }, "debug_log: cursor came back as 1 after 3" },
		{ { 9, 10, 2 }, "debug_log: drops came back as 10" },
		{ { 4, 0, 1 }, "io_queue: posted came back as 1 after 2" },
		{ { 4, 0, 6 }, "io_queue: posted came back as 6 after 2" },
		{ { UINT64_MAX, 0, UINT64_MAX }, "io_queue: posted came" },
	};
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 4, 4, 4));
	((struct mk_debug_log *)b.data[2])->cursor = 3;
	((struct mk_io_queue *)b.data[3])->posted = 2;
	((struct mk_io_queue *)b.data[3])->taken = 1;
	buffers_add(&b, ring_slot(MK_OP_NOP));
	in = buffers_input(&b);
	for (unsigned i = 0; i < 5; i++) {
		*buffers_slot(&b, 0) = named(*state, "spoil", &cases[i].args,
					     sizeof(cases[i].args));
		buffers_slot(&b, 0)->state = MK_STATE_PUBLISHED;
		assert_int_equal(mk_dispatch(*state, NULL, &in, &out),
				 -MK_ESHARED);
		assert_non_null(strstr(mk_error_last()->text, cases[i].text));
		assert_int_equal(out.buffers, 77);
	}
	/* the next dispatch starts from its own bytes */
	buffers_slot(&b, 0)->opcode = MK_OP_NOP;
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), 1);
	assert_memory_equal(out.buffer[2].data, b.data[2], b.bytes[2]);
	assert_memory_equal(out.buffer[3].data, b.data[3], b.bytes[3]);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, open_context, close_context)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_io_comes_back),
		TEST(test_io_queue_fills),
		TEST(test_typed_undecodable),
		TEST(test_timeout_cancels),
		TEST(test_timeout_cancels_row),
		TEST(test_stuck),
		TEST(test_spoilt_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
