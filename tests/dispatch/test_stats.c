/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-link: -Wl,--wrap=mk_queue_wait,--wrap=mk_queue_create,--wrap=mk_queue_submit */
/*
 * Every field of a dispatch record against what really happened: waits, new
 * queues and published slots are counted by wrappers, bytes by their sizes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "context/region.h"
#include "live.h"

#define ROWS 64u

/* What the wrappers saw. */
static struct {
	uint32_t waits, creates, slots;
	uint64_t delay_ns;
	/* this context is quiesced, but for the time of a wait: no answer
	 * comes unless it is waited for */
	struct mk_ctx *held;
} seen;

int __real_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns);
int __wrap_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns);

int __wrap_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns)
{
	struct timespec t = { .tv_nsec = (long)seen.delay_ns };
	int r;

	seen.waits++;
	nanosleep(&t, NULL);
	if (seen.held)
		assert_ok(mk_ctx_resume(seen.held));
	r = __real_mk_queue_wait(q, min, timeout_ns);
	if (seen.held)
		assert_ok(mk_ctx_quiesce(seen.held, LIVE_NS));
	return r;
}

int __real_mk_queue_create(struct mk_ctx *ctx,
			   const struct mk_queue_params *params,
			   struct mk_queue **out);
int __wrap_mk_queue_create(struct mk_ctx *ctx,
			   const struct mk_queue_params *params,
			   struct mk_queue **out);

int __wrap_mk_queue_create(struct mk_ctx *ctx,
			   const struct mk_queue_params *params,
			   struct mk_queue **out)
{
	seen.creates++;
	return __real_mk_queue_create(ctx, params, out);
}

int __real_mk_queue_submit(struct mk_queue *q, struct mk_slot *slots,
			   unsigned n);
int __wrap_mk_queue_submit(struct mk_queue *q, struct mk_slot *slots,
			   unsigned n);

int __wrap_mk_queue_submit(struct mk_queue *q, struct mk_slot *slots,
			   unsigned n)
{
	seen.slots += n;
	return __real_mk_queue_submit(q, slots, n);
}

static int open_context(void **state)
{
	*state = live_open(MK_ISOLATION_NONE, 1);
	memset(&seen, 0, sizeof(seen));
	return 0;
}

static int close_context(void **state)
{
	live_close(*state);
	return 0;
}

static uint64_t total(const struct buffers *b)
{
	return b->bytes[0] + b->bytes[1] + b->bytes[2] + b->bytes[3];
}

static void hold(struct mk_ctx *ctx)
{
	assert_ok(mk_ctx_quiesce(ctx, LIVE_NS));
	seen.held = ctx;
}

static void let_go(void)
{
	assert_ok(mk_ctx_resume(seen.held));
	seen.held = NULL;
}

static uint64_t shared_used(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_ok(mk_ctx_info(ctx, &info));
	return info.shared_used;
}

static struct mk_dispatch_stats dispatch(struct mk_ctx *ctx,
					 const struct buffers *b,
					 uint32_t readback)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = LIVE_NS,
					.readback = readback };
	struct mk_dispatch_input in = buffers_input(b);
	struct mk_dispatch_output out;
	struct mk_dispatch_stats stats;

	assert_ok(mk_dispatch(ctx, &p, &in, &out));
	stats = out.stats;
	mk_dispatch_output_free(&out);
	return stats;
}

/* ---- bytes --------------------------------------------------------------- */

static void test_input_and_output_bytes(void **state)
{
	const uint32_t words[] = { 1, 7, 300 };

	for (unsigned i = 0; i < 3; i++) {
		struct mk_dispatch_stats s;
		struct buffers b;

		assert_true(buffers_make(&b, words[i], 4u << i, 2, i ? 4 : 0));
		buffers_add(&b, ring_slot(MK_OP_NOP));
		s = dispatch(*state, &b, 0);
		assert_int_equal(s.input_bytes, total(&b));
		assert_int_equal(s.output_bytes, total(&b));
		assert_int_equal(s.output_buffers, i ? 4 : 3);
		s = dispatch(*state, &b, MK_READBACK_LOG);
		assert_int_equal(s.input_bytes, total(&b));
		assert_int_equal(s.output_bytes, b.bytes[MK_PART_LOG]);
		assert_int_equal(s.output_buffers, 1);
		s = dispatch(*state, &b, MK_READBACK_NONE);
		assert_int_equal(s.output_bytes, 0);
		assert_int_equal(s.output_buffers, 0);
		assert_int_equal(s.resident_resource_rows, 0);
		assert_int_equal(s.resident_resource_handles, 0);
		assert_false(s.recovered_after_device_loss);
		buffers_free(&b);
	}
}

/*
 * Moved: 64 a published slot and 16 an answer; the words and both heads with
 * their records in; back the words, the counts, and the new records only.
 */
static void test_moved_bytes(void **state)
{
	for (uint32_t n = 1; n <= 20; n++) {
		const uint64_t in = 8 * 3 + 40 + 8 * 32 + 40 + 2 * 64;
		uint64_t back = 8 * 3 + 16 + 24;
		struct mk_dispatch_stats s;
		struct buffers b;

		assert_true(buffers_make(&b, 3, 32, 8, 2));
		for (uint32_t i = 0; i < n; i++)
			buffers_add(&b, print_slot(1, i));
		buffers_add(&b, ring_slot(MK_OP_NOP));
		/* answered at the door: moves nothing */
		buffers_add(&b, ring_slot(MK_OP_NOP));
		buffers_slot(&b, n + 1)->tenant = 64;
		seen.slots = 0;
		s = dispatch(*state, &b, 0);
		assert_int_equal(seen.slots, n + 1);
		back += 32 * (n < 8 ? n : 8) + 16 * (n + 1);
		assert_int_equal(s.readback_bytes, back);
		assert_int_equal(s.bytes_moved, back + in + 64 * (n + 1));
		buffers_free(&b);
	}
}

/* ---- allocations, launches, waits ---------------------------------------- */

static void test_allocations(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_NONE, 1);
	uint64_t used = shared_used(ctx);
	struct buffers small, large;
	struct mk_dispatch_stats s;

	(void)state;
	assert_true(buffers_make(&small, 111, 4, 2, 2));
	assert_true(buffers_make(&large, 222, 1024, 512, 2));
	for (int i = 0; i < 4; i++)
		buffers_add(&small, ring_slot(MK_OP_NOP));
	for (int i = 0; i < 1024; i++)
		buffers_add(&large, ring_slot(MK_OP_NOP));
	seen.creates = 0;
	s = dispatch(ctx, &small, 0);
	assert_int_equal(seen.creates, 1);
	assert_int_equal(s.device_allocation_events, 1);
	/* the region hands out whole grains */
	assert_true(s.device_allocation_bytes > 0);
	assert_int_equal((s.device_allocation_bytes + MK_REGION_GRAIN - 1) /
				 MK_REGION_GRAIN,
			 (shared_used(ctx) - used) / MK_REGION_GRAIN);
	s = dispatch(ctx, &small, 0);
	assert_int_equal(s.device_allocation_events, 0);
	assert_int_equal(s.device_allocation_bytes, 0);
	/* another shape is a fresh one; the first is still there after it */
	s = dispatch(ctx, &large, 0);
	assert_int_equal(seen.creates, 2);
	assert_int_equal(s.device_allocation_events, 1);
	assert_true(s.device_allocation_bytes >= 1024 * (64 + 16 + 16));
	s = dispatch(ctx, &small, 0);
	assert_int_equal(s.device_allocation_events, 0);
	s = dispatch(ctx, &large, 0);
	assert_int_equal(s.device_allocation_events, 0);
	assert_int_equal(s.device_allocation_bytes, 0);
	assert_int_equal(seen.creates, 2);
	/* so is one that differs in its entries only, if it is larger */
	buffers_free(&large);
	assert_true(buffers_make(&large, 111, 512, 2, 2));
	for (int i = 0; i < 512; i++)
		buffers_add(&large, ring_slot(MK_OP_NOP));
	for (unsigned round = 0; round < 2; round++) {
		s = dispatch(ctx, &large, 0);
		assert_int_equal(s.device_allocation_events, !round);
		s = dispatch(ctx, &small, 0);
		assert_int_equal(s.device_allocation_events, 0);
	}
	buffers_free(&small);
	buffers_free(&large);
	live_close(ctx);
}

static void test_sync_points(void **state)
{
	struct mk_dispatch_stats s;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 64, 1, 0));
	for (unsigned i = 0; i < 64; i++)
		buffers_add(&b, ring_slot(i % 9 == 8 ? MK_OP_FENCE :
						       MK_OP_NOP));
	for (unsigned round = 0; round < 50; round++) {
		seen.waits = 0;
		s = dispatch(*state, &b, 0);
		assert_int_equal(s.sync_points, seen.waits);
		assert_int_equal(s.kernel_launches, 0);
	}
	buffers_free(&b);
	/* nothing to wait for: a ring of slots that may not run */
	assert_true(buffers_make(&b, 1, 2, 1, 0));
	buffers_add(&b, ring_slot(MK_OP_NOP));
	buffers_slot(&b, 0)->tiles = 9;
	seen.waits = 0;
	s = dispatch(*state, &b, 0);
	assert_int_equal(s.sync_points, 0);
	assert_int_equal(seen.waits, 0);
	buffers_free(&b);
}

/* With nothing answered before, one wait collects all; a shutdown waits for
 * what is before it, and is waited for itself. */
static void test_waits_that_are_needed(void **state)
{
	for (uint32_t n = 1; n <= 16; n += 5) {
		struct mk_dispatch_stats s;
		struct buffers b;

		assert_true(buffers_make(&b, 1, 32, 1, 0));
		for (uint32_t i = 0; i < n; i++)
			buffers_add(&b, ring_slot(MK_OP_NOP));
		hold(*state);
		s = dispatch(*state, &b, 0);
		assert_int_equal(s.sync_points, 1);
		buffers_add(&b, ring_slot(MK_OP_SHUTDOWN));
		buffers_add(&b, ring_slot(MK_OP_NOP));
		s = dispatch(*state, &b, 0);
		assert_int_equal(s.sync_points, 2);
		let_go();
		buffers_free(&b);
	}
}

/* The latency is that of the call: not less than what happened inside it, not
 * more than what passed outside. */
static void test_latency(void **state)
{
	struct mk_dispatch_stats s;
	uint64_t before, after;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 2, 1, 0));
	buffers_add(&b, ring_slot(MK_OP_NOP));
	hold(*state);
	for (seen.delay_ns = 0; seen.delay_ns <= 40000000;
	     seen.delay_ns += 20000000) {
		before = mk_now_ns();
		s = dispatch(*state, &b, 0);
		after = mk_now_ns();
		assert_true(s.latency_ns >= seen.delay_ns);
		assert_true(s.latency_ns > 0);
		assert_true(s.latency_ns <= after - before);
	}
	let_go();
	seen.delay_ns = 0;
	buffers_free(&b);
}

/* ---- resident rows ------------------------------------------------------- */

static struct mk_resident_handles upload(struct mk_ctx *ctx, uint32_t words,
					 uint32_t io_records, uint64_t *bytes)
{
	struct mk_resident_handles h;
	struct buffers b;

	assert_true(buffers_make(&b, words, 4, 2, io_records));
	buffers_add(&b, ring_slot(MK_OP_NOP));
	h = live_upload(ctx, &b);
	*bytes += total(&b);
	buffers_free(&b);
	return h;
}

static void test_batch_stats(void **state)
{
	struct mk_dispatch_params none = { .size = sizeof(none),
					   .readback = MK_READBACK_NONE };
	struct mk_batch_dispatch_output out = { .rows = 0 };
	struct mk_resident_handles rows[ROWS];
	struct mk_ctx_stats before, after;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = upload(*state, i + 1, i < 10 ? 1 : 0, &bytes);
	for (unsigned round = 0; round < 3; round++) {
		bool read = round != 2;
		struct mk_dispatch_stats *s = &out.stats;

		memset(&seen, 0, sizeof(seen));
		assert_ok(mk_ctx_stats(*state, &before));
		assert_int_equal(mk_dispatch_resident_batch_into(
					 *state, read ? NULL : &none, rows,
					 ROWS, &out), ROWS);
		assert_ok(mk_ctx_stats(*state, &after));
		assert_int_equal(seen.slots, ROWS);
		assert_int_equal(s->resident_resource_rows, ROWS);
		assert_int_equal(s->resident_resource_handles, 3 * ROWS + 10);
		assert_int_equal(s->kernel_launches, 0);
		assert_int_equal(after.launches - before.launches, 0);
		assert_int_equal(s->sync_points, seen.waits);
		assert_int_equal(s->device_allocation_events, seen.creates);
		assert_int_equal(!s->device_allocation_bytes, !seen.creates);
		assert_int_equal(s->input_bytes, 0);
		assert_int_equal(s->output_bytes, read ? bytes : 0);
		assert_int_equal(s->output_buffers, read ? 3 * ROWS + 10 : 0);
		assert_int_equal(s->readback_bytes,
				 (read ? bytes : 0) + 16 * ROWS);
		assert_int_equal(s->bytes_moved,
				 s->readback_bytes + 64 * ROWS);
		assert_false(s->recovered_after_device_loss);
		if (round)
			assert_int_equal(seen.creates, 0);
	}
	mk_batch_dispatch_output_free(&out);
	for (uint32_t i = 0; i < ROWS; i++)
		live_drop(*state, rows[i]);
}

static void test_single_row_stats(void **state)
{
	uint64_t bytes = 0;
	struct mk_resident_handles h = upload(*state, 9, 1, &bytes);
	struct mk_dispatch_output out;

	assert_ok(mk_dispatch_resident(*state, NULL, &h, &out));
	assert_int_equal(out.stats.resident_resource_rows, 1);
	assert_int_equal(out.stats.resident_resource_handles, 4);
	assert_int_equal(out.stats.output_buffers, 4);
	assert_int_equal(out.stats.output_bytes, bytes);
	assert_int_equal(out.stats.readback_bytes, bytes + 16);
	assert_int_equal(out.stats.bytes_moved, bytes + 16 + 64);
	assert_true(out.stats.latency_ns > 0);
	assert_true(mk_dispatch_output_rate(&out.stats) > 0);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input_and_output_bytes),
		cmocka_unit_test(test_moved_bytes),
		cmocka_unit_test(test_allocations),
		cmocka_unit_test(test_sync_points),
		cmocka_unit_test(test_waits_that_are_needed),
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_batch_stats),
		cmocka_unit_test(test_single_row_stats),
	};

	return cmocka_run_group_tests(tests, open_context, close_context);
}
