/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc */
/*
 * Scratch memory for batches, and what is allocated once warm: nothing. The
 * wrappers count the allocations of this thread, and can make them fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "live.h"

#define ROWS 32u

static _Thread_local unsigned allocations;
static _Thread_local int fail_from = -1; /* the n-th and later ones fail */

static bool refuse(void)
{
	allocations++;
	return fail_from >= 0 && (int)allocations > fail_from;
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__wrap_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t each)
{
	return refuse() ? NULL : __real_calloc(n, each);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return refuse() ? NULL : __real_aligned_alloc(align, n);
}

static int open_context(void **state)
{
	*state = live_open(MK_ISOLATION_NONE, 1);
	return 0;
}

static int close_context(void **state)
{
	live_close(*state);
	return 0;
}

static struct mk_resident_handles make_row(struct mk_ctx *ctx, uint32_t n)
{
	struct mk_resident_handles h;
	struct buffers b;

	assert_true(buffers_make(&b, 1, 8, 2, n & 1 ? 2 : 0));
	for (uint32_t i = 0; i < n % 8; i++)
		buffers_add(&b, ring_slot(MK_OP_NOP));
	h = live_upload(ctx, &b);
	buffers_free(&b);
	return h;
}

/* ---- the scratch by itself ---- */

static void test_create(void **state)
{
	struct mk_resident_batch_scratch *s = NULL;
	uint32_t rows = 7;

	(void)state;
	assert_ok(mk_resident_batch_scratch_create(&s));
	assert_int_equal(mk_resident_batch_scratch_row_capacity(s), 0);
	assert_int_equal(mk_resident_batch_scratch_batch_capacity(s), 0);
	assert_int_equal(mk_resident_batch_scratch_output_capacity(s), 0);
	assert_null(mk_resident_batch_scratch_batches(s, &rows));
	assert_int_equal(rows, 0);
	mk_resident_batch_scratch_destroy(s);
	mk_resident_batch_scratch_destroy(NULL);

	assert_ok(mk_resident_batch_scratch_create_with_capacity(10, 3, &s));
	assert_int_equal(mk_resident_batch_scratch_row_capacity(s), 10);
	assert_int_equal(mk_resident_batch_scratch_batch_capacity(s), 10);
	assert_int_equal(mk_resident_batch_scratch_output_capacity(s), 30);
	rows = 7;
	assert_null(mk_resident_batch_scratch_batches_mut(s, &rows));
	assert_int_equal(rows, 0);
	mk_resident_batch_scratch_destroy(s);

	assert_ok(mk_resident_batch_scratch_try_create_with_capacity(0, 0,
								     &s));
	mk_resident_batch_scratch_destroy(s);
}

static void test_create_refused(void **state)
{
	struct mk_resident_batch_scratch *s = (void *)8;

	(void)state;
	assert_int_equal(mk_resident_batch_scratch_create(NULL), -EINVAL);
	assert_int_equal(mk_resident_batch_scratch_create_with_capacity(
				 1, 5, &s), -EINVAL);
	assert_non_null(strstr(mk_error_last()->text, "outputs is 5"));
	assert_int_equal(mk_resident_batch_scratch_try_create_with_capacity(
				 1, 5, &s), -EINVAL);
	assert_int_equal(mk_resident_batch_scratch_try_create_with_capacity(
				 1, 4, NULL), -EINVAL);
	assert_ptr_equal(s, (void *)8);
}

/* Fail each allocation in turn: the one form says what could not be had, the
 * other makes do; neither leaks (the sanitizers watch). */
static void test_create_without_memory(void **state)
{
	static const char *const says[] = { "a scratch", "the handles of 100 "
					    "rows", "the outputs of 100 rows",
					    "400 output buffers of 100 rows" };
	struct mk_resident_batch_scratch *s = NULL;

	(void)state;
	for (int n = 0; n < 4; n++) {
		int r;

		allocations = 0;
		fail_from = n;
		r = mk_resident_batch_scratch_try_create_with_capacity(
			100, 4, &s);
		fail_from = -1;
		assert_int_equal(r, -ENOMEM);
		assert_null(s);
		assert_non_null(strstr(mk_error_last()->text, says[n]));
		if (n)
			assert_non_null(strstr(mk_error_last()->text,
					       "split the batch"));
		if (n == 3)
			assert_non_null(strstr(mk_error_last()->text,
					       "reduce the outputs"));
		allocations = 0;
		fail_from = n;
		r = mk_resident_batch_scratch_create_with_capacity(100, 4,
								   &s);
		fail_from = -1;
		assert_int_equal(r, n ? 0 : -ENOMEM);
		if (r < 0)
			continue;
		/* what came before the failure was had */
		assert_int_equal(mk_resident_batch_scratch_row_capacity(s),
				 n > 1 ? 100 : 0);
		assert_int_equal(mk_resident_batch_scratch_batch_capacity(s),
				 n > 2 ? 100 : 0);
		mk_resident_batch_scratch_destroy(s);
		s = NULL;
	}
}

/* ---- batches through it ---- */

static void test_batches(void **state)
{
	struct mk_resident_batch_scratch *s;
	struct mk_resident_handles rows[ROWS];
	const struct mk_row_output *row;
	struct mk_dispatch_stats stats;
	uint32_t n;

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(*state, i);
	assert_ok(mk_resident_batch_scratch_create(&s));
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, rows, ROWS, s, &stats), ROWS);
	row = mk_resident_batch_scratch_batches(s, &n);
	assert_int_equal(n, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		assert_int_equal(row[i].result, 0);
		assert_int_equal(row[i].answered, i % 8);
		assert_int_equal(row[i].buffers, i & 1 ? 4 : 3);
	}
	assert_int_equal(stats.resident_resource_rows, ROWS);
	assert_int_equal(mk_resident_batch_scratch_row_capacity(s), ROWS);
	assert_int_equal(mk_resident_batch_scratch_batch_capacity(s), ROWS);
	assert_int_equal(mk_resident_batch_scratch_output_capacity(s),
			 4 * ROWS);
	/* a smaller batch leaves no rows of the larger one behind it */
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, rows + 1, 2, s, NULL), 2);
	mk_resident_batch_scratch_batches(s, &n);
	assert_int_equal(n, 2);
	/* an empty one none at all */
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, NULL, 0, s, &stats), 0);
	assert_int_equal(stats.latency_ns, 0);
	assert_null(mk_resident_batch_scratch_batches(s, &n));
	assert_int_equal(n, 0);
	/* nor one that failed */
	assert_ok(mk_dispatch_resident_batch_scratch(*state, NULL, rows, 2, s,
						     NULL));
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 NULL, NULL, rows, 2, s, &stats), -EINVAL);
	assert_null(mk_resident_batch_scratch_batches(s, &n));
	assert_int_equal(n, 0);
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, rows, 2, NULL, &stats),
			 -EINVAL);
	mk_resident_batch_scratch_destroy(s);
	for (uint32_t i = 0; i < ROWS; i++)
		live_drop(*state, rows[i]);
}

static void test_clear_keeps_memory(void **state)
{
	struct mk_resident_handles row = make_row(*state, 3);
	struct mk_resident_batch_scratch *s;
	uint32_t n;

	assert_ok(mk_resident_batch_scratch_create_with_capacity(8, 4, &s));
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, &row, 1, s, NULL), 1);
	mk_resident_batch_scratch_clear(s);
	assert_null(mk_resident_batch_scratch_batches(s, &n));
	assert_int_equal(n, 0);
	assert_int_equal(mk_resident_batch_scratch_row_capacity(s), 8);
	assert_int_equal(mk_resident_batch_scratch_batch_capacity(s), 8);
	assert_int_equal(mk_resident_batch_scratch_output_capacity(s), 32);
	allocations = 0;
	assert_int_equal(mk_dispatch_resident_batch_scratch(
				 *state, NULL, &row, 1, s, NULL), 1);
	assert_int_equal(allocations, 0);
	mk_resident_batch_scratch_destroy(s);
	live_drop(*state, row);
}

/* Buffers that were taken out of the scratch are the taker's. */
static void test_drain_in_place(void **state)
{
	struct mk_resident_handles row = make_row(*state, 3);
	struct mk_resident_batch_scratch *s;
	struct mk_row_output *out;
	unsigned char *taken;
	uint32_t n;

	assert_ok(mk_resident_batch_scratch_create(&s));
	assert_ok(mk_dispatch_resident_batch_scratch(*state, NULL, &row, 1, s,
						     NULL));
	out = mk_resident_batch_scratch_batches_mut(s, &n);
	assert_int_equal(n, 1);
	taken = out[0].buffer[1].data;
	out[0].buffer[1].data = NULL;
	out[0].buffer[1].capacity = 0;
	assert_ok(mk_dispatch_resident_batch_scratch(*state, NULL, &row, 1, s,
						     NULL));
	out = mk_resident_batch_scratch_batches_mut(s, &n);
	assert_ptr_not_equal(out[0].buffer[1].data, taken);
	assert_memory_equal(out[0].buffer[1].data, taken,
			    out[0].buffer[1].bytes);
	mk_resident_batch_scratch_destroy(s);
	free(taken);
	live_drop(*state, row);
}

/* ---- nothing is allocated once warm ---- */

static void test_warm_scratch(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p) };
	struct mk_resident_batch_scratch *s;
	struct mk_resident_handles rows[ROWS];
	struct mk_dispatch_stats stats;

	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(*state, i);
	assert_ok(mk_resident_batch_scratch_create(&s));
	assert_ok(mk_dispatch_resident_batch_scratch(*state, NULL, rows, ROWS,
						     s, &stats));
	allocations = 0;
	for (uint32_t i = 0; i < 200; i++) {
		/* any smaller batch, any choice of buffers */
		p.readback = i % 17;
		assert_int_equal(mk_dispatch_resident_batch_scratch(
					 *state, &p, rows, i % ROWS + 1, s,
					 &stats), i % ROWS + 1);
		assert_int_equal(stats.device_allocation_events, 0);
	}
	/* other masks put other buffers into a place: at most that grew */
	assert_true(allocations <= 4 * ROWS);
	p.readback = 0;
	assert_ok(mk_dispatch_resident_batch_scratch(*state, &p, rows, ROWS, s,
						     &stats));
	allocations = 0;
	for (uint32_t i = 0; i < 200; i++)
		assert_ok(mk_dispatch_resident_batch_scratch(
			*state, &p, rows, i % ROWS + 1, s, &stats));
	assert_int_equal(allocations, 0);
	mk_resident_batch_scratch_destroy(s);
	for (uint32_t i = 0; i < ROWS; i++)
		live_drop(*state, rows[i]);
}

static void test_warm_into(void **state)
{
	struct mk_typed_dispatch_output typed = { .endings = 0 };
	struct mk_batch_dispatch_output batch = { .rows = 0 };
	struct mk_dispatch_output out = { .buffers = 0 };
	struct mk_dispatch_output single = { .buffers = 0 };
	struct mk_resident_handles row = make_row(*state, 5);
	struct mk_dispatch_input in;
	struct buffers b;

	assert_true(buffers_make(&b, 4, 16, 4, 2));
	for (int i = 0; i < 9; i++)
		buffers_add(&b, print_slot(1, 2));
	in = buffers_input(&b);
	for (unsigned i = 0; i < 100; i++) {
		if (i == 1)
			allocations = 0;
		assert_int_equal(mk_dispatch_into(*state, NULL, &in, &out),
				 9);
		assert_int_equal(mk_dispatch_typed(*state, NULL, &in, &typed),
				 9);
		assert_int_equal(mk_dispatch_resident_batch_into(
					 *state, NULL, &row, 1, &batch), 1);
		assert_ok(mk_dispatch_resident_into(*state, NULL, &row,
						    &single));
		if (i)
			assert_int_equal(allocations, 0);
	}
	mk_dispatch_output_free(&out);
	mk_dispatch_output_free(&single);
	mk_typed_dispatch_output_free(&typed);
	mk_batch_dispatch_output_free(&batch);
	buffers_free(&b);
	live_drop(*state, row);
}

/* ---- no memory, at every point ---- */

/* Every allocation of a dispatch fails in turn: each time -ENOMEM, before
 * anything has run, and the context works on. */
static void test_no_memory(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_NONE, 1);
	struct mk_typed_dispatch_output typed = { .endings = 0 };
	struct mk_resident_handles row = make_row(ctx, 5);
	struct mk_batch_dispatch_output batch;
	struct mk_ctx_stats before, after;
	struct mk_dispatch_input in;
	struct buffers b;
	int r, n;

	(void)state;
	assert_true(buffers_make(&b, 4, 16, 4, 2));
	for (int i = 0; i < 9; i++)
		buffers_add(&b, ring_slot(MK_OP_NOP));
	in = buffers_input(&b);
	assert_ok(mk_ctx_stats(ctx, &before));
	for (n = 0;; n++) {
		allocations = 0;
		fail_from = n;
		r = mk_dispatch_typed(ctx, NULL, &in, &typed);
		fail_from = -1;
		mk_typed_dispatch_output_free(&typed);
		if (r >= 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(n < 100);
	}
	assert_int_equal(r, 9);
	assert_true(n >= 8);
	assert_ok(mk_ctx_stats(ctx, &after));
	assert_int_equal(after.slots - before.slots, 9);
	for (n = 0;; n++) {
		allocations = 0;
		fail_from = n;
		r = mk_dispatch_resident_batch(ctx, NULL, &row, 1, &batch);
		fail_from = -1;
		if (r >= 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(n < 100);
	}
	assert_int_equal(r, 1);
	assert_int_equal(batch.row[0].answered, 5);
	mk_batch_dispatch_output_free(&batch);
	buffers_free(&b);
	live_drop(ctx, row);
	live_close(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_refused),
		cmocka_unit_test(test_create_without_memory),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_clear_keeps_memory),
		cmocka_unit_test(test_drain_in_place),
		cmocka_unit_test(test_warm_scratch),
		cmocka_unit_test(test_warm_into),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, open_context, close_context);
}
