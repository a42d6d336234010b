/* SPDX-License-Identifier: Apache-2.0 */
/* Resident rows on a live engine, in both isolation modes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "live.h"

#define ROWS 64u

static int open_none(void **state)
{
	*state = live_open(MK_ISOLATION_NONE, 2);
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

/* A row that adds `add` to word 0 `n` times, and prints once. */
static struct mk_resident_handles make_row(struct mk_ctx *ctx, uint32_t n,
					   uint64_t add, uint32_t io_records)
{
	struct mk_resident_handles h;
	struct buffers b;

	assert_true(buffers_make(&b, 2, 16, 4, io_records));
	for (uint32_t i = 0; i < n; i++)
		buffers_add(&b, word_slot(MK_OP_ADD, 0, add, 0));
	buffers_add(&b, print_slot((uint32_t)add, n));
	h = live_upload(ctx, &b);
	buffers_free(&b);
	return h;
}

static void test_one_row(void **state)
{
	struct mk_resident_handles h = make_row(*state, 5, 3, 4);
	struct mk_log_entry log[4];
	struct mk_dispatch_output out;
	struct mk_control_info c;
	uint32_t words;

	assert_int_equal(mk_dispatch_resident(*state, NULL, &h, &out), 6);
	assert_int_equal(out.buffers, 4);
	c = live_control(&out);
	live_invariant(&c);
	assert_int_equal(c.words[0], 15);
	assert_int_equal(c.done, 6);
	assert_int_equal(c.epoch, 1);
	expect_ending(&out, 4, MK_STATE_DONE, 0, 12);
	assert_int_equal(mk_log_decode(out.buffer[2].data,
				       out.buffer[2].bytes, log, 4, NULL), 1);
	assert_int_equal(log[0].ticket, 5);
	mk_dispatch_output_free(&out);
	/* what came back is what is there */
	assert_ok(mk_buffer_read(*state, h.ring, 64, &words, 4));
	assert_int_equal(words, MK_STATE_DONE);
	/* all has ended: nothing is left to answer */
	assert_int_equal(mk_dispatch_resident(*state, NULL, &h, &out), 0);
	c = live_control(&out);
	assert_int_equal(c.words[0], 15);
	assert_int_equal(c.done, 6);
	assert_int_equal(c.epoch, 2);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
}

/* Buffers longer than what they hold: what comes back decodes. */
static void test_longer_buffers(void **state)
{
	struct mk_dispatch_output out;
	struct mk_resident_handles h;
	struct mk_slot_ending e[2];
	mk_buffer_t *handle[] = { &h.control, &h.ring, &h.debug_log,
				  &h.io_queue };
	uint64_t moved = 16, returned = 0;
	struct buffers b;

	assert_true(buffers_make(&b, 2, 16, 4, 4));
	buffers_add(&b, word_slot(MK_OP_ADD, 0, 7, 0));
	for (unsigned i = 0; i < 4; i++) {
		assert_ok(mk_buffer_create(*state, 10000, 0, handle[i]));
		assert_ok(mk_buffer_write(*state, *handle[i], 0, b.data[i],
					  b.bytes[i]));
		moved += 10000;
		returned += b.bytes[i];
	}
	assert_int_equal(mk_dispatch_resident(*state, NULL, &h, &out), 1);
	assert_int_equal(live_control(&out).words[0], 7);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(out.buffer[i].bytes, b.bytes[i]);
	assert_int_equal(mk_ring_decode(out.buffer[1].data,
					out.buffer[1].bytes, e, 2), 1);
	assert_int_equal(out.stats.output_bytes, returned);
	assert_int_equal(out.stats.readback_bytes, moved);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
	buffers_free(&b);
}

static void test_readback_mask(void **state)
{
	for (uint32_t mask = 0; mask <= MK_READBACK_NONE; mask++) {
		struct mk_dispatch_params p = { .size = sizeof(p),
						.readback = mask };
		struct mk_resident_handles h = make_row(*state, 1, 1, 2);
		struct mk_dispatch_output out;
		uint32_t want = mask ? mask & 15 : 15, at = 0;

		assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out),
				 2);
		for (uint32_t part = 0; part < 4; part++)
			if (want & 1u << part)
				assert_int_equal(out.buffer[at++].part, part);
		assert_int_equal(out.buffers, at);
		assert_int_equal(out.stats.output_buffers, at);
		mk_dispatch_output_free(&out);
		live_drop(*state, h);
	}
}

/* The refusal of a single row names the buffer, and the word if it is one. */
static void says(const char *text)
{
	const struct mk_error *e = mk_error_last();

	assert_string_equal(e->operation, "mk_dispatch_resident");
	if (!strstr(e->text, text))
		fail_msg("no \"%s\" in: %s", text, e->text);
}

/* The refusals of one row, by the call's own result. */
static void test_row_refused(void **state)
{
	struct mk_dispatch_params none = { .size = sizeof(none),
					   .readback = MK_READBACK_NONE };
	const struct mk_dispatch_params *const params[] = { NULL, &none };

	/* with readback the host looks first, without it the engine does */
	for (unsigned i = 0; i < 2; i++) {
		struct mk_resident_handles h = make_row(*state, 1, 1, 0), bad;
		struct mk_dispatch_output out = { .buffers = 77 };
		const uint32_t zero = 0;

		bad = h;
		bad.ring = 0;
		assert_int_equal(mk_dispatch_resident(*state, params[i], &bad,
						      &out), -MK_EFOREIGN);
		says("ring: buffer 0x0 is no handle");
		bad.ring = UINT64_C(99) << 32 | 60000;
		assert_int_equal(mk_dispatch_resident(*state, params[i], &bad,
						      &out), -MK_EFOREIGN);
		says("ring: buffer 0x630000ea60 is no handle");
		bad = h;
		bad.control = h.ring;
		assert_int_equal(mk_dispatch_resident(*state, params[i], &bad,
						      &out), -MK_ETRUNC);
		says("control: word 336 (after the end): there are 1344");
		bad = h;
		bad.debug_log = h.ring;
		assert_int_equal(mk_dispatch_resident(*state, params[i], &bad,
						      &out), -MK_ELAYOUT);
		says("debug_log: word 0 (magic): 0x47524b4d");
		assert_ok(mk_buffer_write(*state, h.debug_log, 16, &zero, 4));
		assert_int_equal(mk_dispatch_resident(*state, params[i], &h,
						      &out), -MK_ELAYOUT);
		says("debug_log: word 4 (capacity): 0, must be a power");
		assert_ok(mk_buffer_destroy(*state, h.debug_log, LIVE_NS));
		assert_int_equal(mk_dispatch_resident(*state, params[i], &h,
						      &out), -MK_ESTALE);
		says("debug_log: buffer 0x");
		assert_int_equal(out.buffers, 77);
		h.debug_log = 0;
		live_drop(*state, h);
	}
}

static void test_read_only(void **state)
{
	struct mk_resident_handles h = make_row(*state, 1, 1, 0), bad = h;
	struct mk_dispatch_output out;

	assert_ok(mk_buffer_create(*state, 4096, MK_BUFFER_READ_ONLY,
				   &bad.ring));
	assert_int_equal(mk_dispatch_resident(*state, NULL, &bad, &out),
			 -MK_EACCESS);
	assert_ok(mk_buffer_destroy(*state, bad.ring, LIVE_NS));
	live_drop(*state, h);
}

/* A row inside a row's ring would be one. */
static void test_no_row_in_a_row(void **state)
{
	struct mk_resident_handles h;
	struct mk_dispatch_output out;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 2, 1, 0));
	buffers_add(&b, ring_slot(MK_OP_NOP));
	buffers_slot(&b, 0)->opcode = MK_OP_ROW;
	h = live_upload(*state, &b);
	assert_int_equal(mk_dispatch_resident(*state, NULL, &h, &out), 1);
	expect_ending(&out, 0, MK_STATE_FAULT, -MK_EOPCODE, 0);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
	live_drop(*state, h);
}

static void test_batch(void **state)
{
	struct mk_batch_dispatch_output out;
	struct mk_resident_handles rows[ROWS];

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(*state, i % 15, i + 1, i % 2 ? 2 : 0);
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, rows, ROWS,
						    &out), ROWS);
	assert_int_equal(out.rows, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		const struct mk_row_output *row = &out.row[i];
		const struct mk_output_buffer *b;
		struct mk_control_info c;

		assert_int_equal(row->result, 0);
		assert_int_equal(row->answered, i % 15 + 1);
		assert_int_equal(row->buffers, i % 2 ? 4 : 3);
		b = mk_output_find(row->buffer, row->buffers,
				   MK_PART_CONTROL);
		assert_non_null(b);
		assert_ok(mk_control_decode(b->data, b->bytes, &c));
		live_invariant(&c);
		assert_int_equal(c.words[0], (uint64_t)(i % 15) * (i + 1));
	}
	mk_batch_dispatch_output_free(&out);
	assert_null(out.row);
	for (uint32_t i = 0; i < ROWS; i++)
		live_drop(*state, rows[i]);
}

/* Bad rows among good ones cost nobody else anything. */
static void test_batch_with_bad_rows(void **state)
{
	struct mk_batch_dispatch_output out = { .rows = 0 };
	struct mk_resident_handles rows[ROWS];
	const uint32_t spoilt = 0;

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(*state, 2, 1, 0);
	rows[3].control += UINT64_C(5) << 32;
	assert_ok(mk_buffer_destroy(*state, rows[9].ring, LIVE_NS));
	assert_ok(mk_buffer_write(*state, rows[20].control, 0, &spoilt, 4));
	assert_int_equal(mk_dispatch_resident_batch_into(*state, NULL, rows,
							 ROWS, &out),
			 ROWS - 3);
	for (uint32_t i = 0; i < ROWS; i++) {
		int32_t want = i == 3 ? -MK_EFOREIGN : i == 9 ? -MK_ESTALE :
			       i == 20 ? -MK_ELAYOUT : 0;

		assert_int_equal(out.row[i].result, want);
		assert_int_equal(out.row[i].buffers, want ? 0 : 3);
		assert_int_equal(out.row[i].answered, want ? 0 : 3);
	}
	/* two never got to the engine */
	assert_int_equal(out.stats.resident_resource_rows, ROWS - 2);
	assert_int_equal(out.stats.resident_resource_handles,
			 3 * (ROWS - 2));
	mk_batch_dispatch_output_free(&out);
	rows[3].control -= UINT64_C(5) << 32;
	rows[9].ring = 0;
	for (uint32_t i = 0; i < ROWS; i++)
		live_drop(*state, rows[i]);
}

static void test_empty_batch(void **state)
{
	const struct mk_dispatch_stats zero = { 0 };
	struct mk_batch_dispatch_output out;

	memset(&out, 0xee, sizeof(out));
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, NULL, 0,
						    &out), 0);
	assert_int_equal(out.rows, 0);
	assert_memory_equal(&out.stats, &zero, sizeof(zero));
	mk_batch_dispatch_output_free(&out);
}

static void test_batch_params(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p), .recover = 9 };
	struct mk_batch_dispatch_output out = { .rows = 5 };
	struct mk_resident_handles row = { 0 };
	struct mk_dispatch_output single;

	assert_int_equal(mk_dispatch_resident_batch(*state, &p, &row, 1, &out),
			 -EINVAL);
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, NULL, 1,
						    &out), -EINVAL);
	assert_int_equal(mk_dispatch_resident_batch(NULL, NULL, &row, 1, &out),
			 -EINVAL);
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, &row, 1,
						    NULL), -EINVAL);
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, &row,
						    UINT32_MAX, &out),
			 -EINVAL);
	assert_int_equal(out.rows, 5);
	assert_int_equal(mk_dispatch_resident(*state, NULL, &row, NULL),
			 -EINVAL);
	assert_int_equal(mk_dispatch_resident(*state, NULL, NULL,
					      &single), -EINVAL);
}

/* More rows than a queue has entries go through it in turns. */
static void test_more_rows_than_entries(void **state)
{
	const uint32_t n = MK_RING_ENTRIES_MAX + 1000;
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = LIVE_NS,
					.readback = MK_READBACK_NONE };
	struct mk_resident_handles *rows = calloc(n, sizeof(*rows));
	struct mk_batch_dispatch_output out;
	struct mk_dispatch_output first;
	struct mk_resident_handles one;
	struct mk_control control;

	assert_non_null(rows);
	/* they end at once: all of the ring has ended before */
	one = make_row(*state, 0, 0, 0);
	for (uint32_t i = 0; i < n; i++)
		rows[i] = one;
	assert_ok(mk_dispatch_resident(*state, NULL, &one, &first));
	mk_dispatch_output_free(&first);
	rows[7].ring = 0;
	assert_int_equal(mk_dispatch_resident_batch(*state, &p, rows, n, &out),
			 n - 1);
	assert_int_equal(out.stats.resident_resource_rows, n);
	assert_int_equal(out.stats.kernel_launches, 0);
	assert_int_equal(out.row[7].result, -MK_EFOREIGN);
	assert_int_equal(out.row[n - 1].result, 0);
	assert_ok(mk_buffer_read(*state, one.control, 0, &control,
				 sizeof(control)));
	assert_int_equal(control.done, 1);
	mk_batch_dispatch_output_free(&out);
	free(rows);
	live_drop(*state, one);
}

/* Rows that wait for one another's word are not what this is for, but a row
 * that is published while the engine is quiesced waits for it, and ends. */
static void test_timeout(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = 20000000 };
	struct mk_resident_handles h = make_row(*state, 1, 1, 0);
	struct mk_dispatch_output out;

	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out), -ETIME);
	assert_ok(mk_ctx_resume(*state));
	p.timeout_ns = LIVE_NS;
	/* the abandoned row was cancelled, not run: this one does the work */
	assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out), 2);
	assert_int_equal(live_control(&out).words[0], 1);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
}

static void test_deadline(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p), .deadline_ns = 1 };
	struct mk_resident_handles h = make_row(*state, 1, 1, 0);
	struct mk_dispatch_output out;

	assert_int_equal(mk_dispatch_resident(*state, &p, &h, &out),
			 -MK_EDEADLINE);
	/* its slots are still to be run */
	assert_int_equal(mk_dispatch_resident(*state, NULL, &h, &out), 2);
	mk_dispatch_output_free(&out);
	live_drop(*state, h);
}

#define TESTS                                           \
	cmocka_unit_test(test_one_row),                 \
	cmocka_unit_test(test_longer_buffers),          \
	cmocka_unit_test(test_readback_mask),           \
	cmocka_unit_test(test_row_refused),             \
	cmocka_unit_test(test_read_only),               \
	cmocka_unit_test(test_no_row_in_a_row),         \
	cmocka_unit_test(test_batch),                   \
	cmocka_unit_test(test_batch_with_bad_rows),     \
	cmocka_unit_test(test_empty_batch),             \
	cmocka_unit_test(test_batch_params),            \
	cmocka_unit_test(test_more_rows_than_entries),  \
	cmocka_unit_test(test_timeout),                 \
	cmocka_unit_test(test_deadline)

int main(void)
{
	const struct CMUnitTest tests[] = { TESTS };

	return cmocka_run_group_tests_name("none", tests, open_none,
					   close_context) +
	       cmocka_run_group_tests_name("process", tests, open_process,
					   close_context);
}
