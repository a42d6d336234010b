/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many rows in one submission, on the kernel's own text with a driver that
 * counts its calls: none is made for a batch on resident handles, and the
 * statistics say no more than what happened.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 240
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"
#include "cuda/emulated.h"
#include "dispatch/buffers.h"

#define ROWS 12u

static struct mk_ctx *open_ctx(uint64_t idle_ns)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = 4,
		.buffers_max = 64,
		.scratch_bytes = 1024,
		.shared_bytes = 4u << 20,
		.heap_bytes = 1u << 20,
		.idle_ns = idle_ns,
	};

	return support_ctx_with(&p);
}

static mk_buffer_t upload(struct mk_ctx *ctx, const void *data, uint64_t bytes)
{
	mk_buffer_t b;

	assert_int_equal(mk_buffer_create(ctx, bytes, 0, &b), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 0, data, bytes), 0);
	return b;
}

/* Row i adds i + 1 to word 0, `n` times. */
static struct mk_resident_handles make_row(struct mk_ctx *ctx, uint32_t i,
					   uint32_t n)
{
	struct mk_resident_handles h = { 0 };
	struct buffers b;

	assert_true(buffers_make(&b, 2, 16, 4, 0));
	for (uint32_t k = 0; k < n; k++)
		buffers_add(&b, word_slot(MK_OP_ADD, 0, i + 1, 0));
	h.control = upload(ctx, b.data[0], b.bytes[0]);
	h.ring = upload(ctx, b.data[1], b.bytes[1]);
	h.debug_log = upload(ctx, b.data[2], b.bytes[2]);
	buffers_free(&b);
	return h;
}

static uint64_t word_of(struct mk_ctx *ctx, const struct mk_resident_handles *h)
{
	uint64_t word;

	assert_int_equal(mk_buffer_read(ctx, h->control,
					sizeof(struct mk_control), &word, 8),
			 0);
	return word;
}

static void batch(struct mk_ctx *ctx, const struct mk_resident_handles *rows,
		  struct mk_batch_dispatch_output *out)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.readback = MK_READBACK_NONE };

	assert_int_equal(mk_dispatch_resident_batch_into(ctx, &p, rows, ROWS,
							 out), ROWS);
	for (uint32_t i = 0; i < ROWS; i++)
		assert_int_equal(out->row[i].result, 0);
}

/* The kernel is there, and so is the queue, from the batch before. */
static void nothing_is_called(void **state)
{
	struct mk_batch_dispatch_output out = { .rows = 0 };
	struct mk_ctx *ctx = open_ctx(MK_FOREVER);
	struct mk_resident_handles rows[ROWS];
	unsigned calls, launches;

	(void)state;
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(ctx, i, 3);
	batch(ctx, rows, &out);
	for (uint32_t i = 0; i < ROWS; i++) {
		assert_int_equal(out.row[i].answered, 3);
		assert_int_equal(word_of(ctx, &rows[i]), 3 * (i + 1));
	}
	assert_int_equal(out.stats.kernel_launches, 0);
	launches = fake.launches;
	calls = fake_other_calls();
	batch(ctx, rows, &out);
	assert_int_equal(fake.launches, launches);
	/* the service thread may only now enter the context */
	assert_in_range(fake_other_calls() - calls, 0, 1);
	assert_int_equal(fake.hung, 0);
	assert_int_equal(out.stats.kernel_launches, 0);
	assert_int_equal(out.stats.device_allocation_events, 0);
	assert_int_equal(out.stats.resident_resource_rows, ROWS);
	assert_int_equal(out.stats.resident_resource_handles, 3 * ROWS);
	assert_int_equal(out.stats.input_bytes, 0);
	assert_int_equal(out.stats.output_buffers, 0);
	/* a slot and an answer for each row */
	assert_int_equal(out.stats.readback_bytes, ROWS * MK_COMPLETION_BYTES);
	mk_batch_dispatch_output_free(&out);
	support_ctx_end(ctx);
}

/* A launch that was needed is counted. */
static void launch_is_counted(void **state)
{
	struct mk_batch_dispatch_output out = { .rows = 0 };
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx *ctx = open_ctx(2000000);
	struct mk_resident_handles rows[ROWS];
	unsigned launches;

	(void)state;
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(ctx, i, 1);
	batch(ctx, rows, &out);
	while (fake_resident() && support_now() < end)
		support_sleep(SUPPORT_MS);
	launches = fake.launches;
	batch(ctx, rows, &out);
	assert_true(fake.launches > launches);
	assert_true(out.stats.kernel_launches >= 1);
	assert_true(out.stats.kernel_launches <= fake.launches - launches);
	mk_batch_dispatch_output_free(&out);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_is_called, begin_emulated),
		cmocka_unit_test_setup(launch_is_counted, begin_emulated),
	};

	if (!can_emulate())
		return 77;
	fake_cache();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
