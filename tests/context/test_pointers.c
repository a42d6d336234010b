/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers that have to be there and are NULL: an error that names them. */
#include <errno.h>
#include <stdio.h>

#include <megakernel/requests.h>

#include "support/support.h"

static void refused(int64_t r, const char *operation, const char *name)
{
	char text[64];

	assert_int_equal(r, -EINVAL);
	snprintf(text, sizeof(text), "%s is NULL", name);
	assert_string_equal(mk_error_last()->operation, operation);
	assert_string_equal(mk_error_last()->text, text);
}

#define REFUSED(call, name, ...) refused(call(__VA_ARGS__), #call, name)

static void contexts(void **state)
{
	struct mk_ctx_stats stats;
	struct mk_ctx_info info;
	struct mk_error error;
	struct mk_ctx *ctx;
	struct mk_queue *q;

	(void)state;
	REFUSED(mk_engine_list, "out", NULL, 1);
	REFUSED(mk_ctx_create, "out", NULL, NULL);
	REFUSED(mk_ctx_info, "ctx", NULL, &info);
	REFUSED(mk_ctx_stats, "ctx", NULL, &stats);
	REFUSED(mk_queue_create, "ctx", NULL, NULL, &q);
	REFUSED(mk_ctx_quiesce, "ctx", NULL, 0);
	REFUSED(mk_ctx_resume, "ctx", NULL);
	REFUSED(mk_ctx_recover, "ctx", NULL, 0);
	REFUSED(mk_ctx_error, "ctx", NULL, &error);
	ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	REFUSED(mk_ctx_info, "out", ctx, NULL);
	REFUSED(mk_ctx_stats, "out", ctx, NULL);
	REFUSED(mk_queue_create, "out", ctx, NULL, NULL);
	REFUSED(mk_ctx_error, "out", ctx, NULL);
	support_ctx_end(ctx);
}

static void queues(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	struct mk_queue *q = support_queue(ctx, 8);
	struct mk_queue_stats stats;
	struct mk_completion done;
	struct mk_io_asked asked;
	struct mk_slot slot;
	uint64_t word;

	(void)state;
	mk_slot_init(&slot, MK_OP_NOP, 1);
	REFUSED(mk_queue_stats, "q", NULL, &stats);
	REFUSED(mk_queue_stats, "out", q, NULL);
	REFUSED(mk_queue_observe, "q", NULL, 0, &word);
	REFUSED(mk_queue_observe, "value", q, 0, NULL);
	REFUSED(mk_queue_set_observable, "q", NULL, 0, 1);
	REFUSED(mk_queue_log_read, "q", NULL, NULL, 0, NULL);
	REFUSED(mk_queue_log_read, "out", q, NULL, 1, NULL);
	REFUSED(mk_queue_cancel, "q", NULL, 1);
	REFUSED(mk_queue_drain, "q", NULL, 0);
	REFUSED(mk_queue_stop, "q", NULL, 0);
	REFUSED(mk_queue_event_fd, "q", NULL);
	REFUSED(mk_queue_call, "q", NULL, &slot, &done, 0);
	REFUSED(mk_queue_call, "slot", q, NULL, &done, 0);
	REFUSED(mk_queue_call, "out", q, &slot, NULL, 0);
	REFUSED(mk_queue_fill, "q", NULL, &slot, MK_OP_NOP, 0, NULL, 0);
	REFUSED(mk_queue_fill, "slot", q, NULL, MK_OP_NOP, 0, NULL, 0);
	REFUSED(mk_queue_fill, "args", q, &slot, MK_OP_NOP, 0, NULL, 8);
	REFUSED(mk_slot_deadline, "q", NULL, &slot, 1);
	REFUSED(mk_slot_deadline, "slot", q, NULL, 1);
	REFUSED(mk_queue_io_take, "q", NULL, &asked, 1);
	REFUSED(mk_queue_io_take, "out", q, NULL, 1);
	REFUSED(mk_queue_io_answer, "q", NULL, 0, 1, 0);
	assert_int_equal(mk_queue_call(q, &slot, &done, MK_FOREVER), 0);
	support_ctx_end(ctx);
}

static void buffers(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	uint64_t bytes;
	mk_buffer_t b;
	void *memory;

	(void)state;
	REFUSED(mk_buffer_create, "ctx", NULL, 1, 0, &b);
	REFUSED(mk_buffer_create, "out", ctx, 1, 0, NULL);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &b), 0);
	REFUSED(mk_buffer_write, "ctx", NULL, b, 0, NULL, 1);
	REFUSED(mk_buffer_read, "ctx", NULL, b, 0, NULL, 1);
	REFUSED(mk_buffer_destroy, "ctx", NULL, b, 0);
	REFUSED(mk_buffer_checkpoint, "ctx", NULL, b);
	REFUSED(mk_buffer_renew, "ctx", NULL, b, &b);
	REFUSED(mk_buffer_renew, "out", ctx, b, NULL);
	REFUSED(mk_buffer_write, "data", ctx, b, 0, NULL, 1);
	REFUSED(mk_buffer_read, "data", ctx, b, 0, NULL, 1);
	assert_int_equal(mk_buffer_read(ctx, b, 1, NULL, 0), 0);
	REFUSED(mk_buffer_map, "ctx", NULL, b, &memory);
	REFUSED(mk_buffer_map, "out", ctx, b, NULL);
	REFUSED(mk_buffer_bytes, "ctx", NULL, b, &bytes);
	REFUSED(mk_buffer_bytes, "out", ctx, b, NULL);
	support_ctx_end(ctx);
}

/* Calls that return no code have nothing to give. */
static void numbers(void **state)
{
	uint32_t rows = 7;

	(void)state;
	assert_int_equal(mk_queue_entries(NULL), 0);
	assert_int_equal(mk_dispatch_output_rate(NULL), 0);
	assert_int_equal(mk_dispatch_readback_rate(NULL), 0);
	assert_int_equal(mk_dispatch_moved_rate(NULL), 0);
	assert_int_equal(mk_dispatch_allocation_rate(NULL), 0);
	mk_resident_batch_scratch_clear(NULL);
	assert_int_equal(mk_resident_batch_scratch_row_capacity(NULL), 0);
	assert_int_equal(mk_resident_batch_scratch_batch_capacity(NULL), 0);
	assert_int_equal(mk_resident_batch_scratch_output_capacity(NULL), 0);
	assert_null(mk_resident_batch_scratch_batches(NULL, &rows));
	assert_int_equal(rows, 0);
	rows = 7;
	assert_null(mk_resident_batch_scratch_batches_mut(NULL, &rows));
	assert_int_equal(rows, 0);
	assert_null(mk_resident_batch_scratch_batches(NULL, NULL));
}

static void decoders(void **state)
{
	static uint64_t data[1024];

	(void)state;
	assert_true(mk_control_encode(NULL, data, sizeof(data)) > 0);
	REFUSED(mk_control_decode, "out", data,
		(uint64_t)mk_control_bytes(64), NULL);
	assert_true(mk_ring_encode_empty(2, data, sizeof(data)) > 0);
	REFUSED(mk_ring_publish, "slots", data, (uint64_t)mk_ring_bytes(2),
		NULL, 1);
	REFUSED(mk_ring_decode, "out", data, (uint64_t)mk_ring_bytes(2), NULL,
		1);
	assert_int_equal(mk_ring_decode(data, (uint64_t)mk_ring_bytes(2),
					NULL, 0), 0);
	assert_true(mk_log_encode_empty(2, data, sizeof(data)) > 0);
	REFUSED(mk_log_decode, "out", data, (uint64_t)mk_log_bytes(2), NULL,
		1, NULL);
	assert_true(mk_io_encode_empty(2, data, sizeof(data)) > 0);
	REFUSED(mk_io_decode, "out", data, (uint64_t)mk_io_bytes(2), NULL, 1,
		NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contexts),
		cmocka_unit_test(queues),
		cmocka_unit_test(buffers),
		cmocka_unit_test(numbers),
		cmocka_unit_test(decoders),
	};

	return cmocka_run_group_tests_name("context/pointers", tests, NULL,
					   NULL);
}
