/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers that have to be there and are NULL: an error that names them. */
#include <errno.h>
#include <stdio.h>

#include "support/support.h"

static void refused(int r, const char *operation, const char *name)
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
	struct mk_ctx *ctx;
	struct mk_queue *q;

	(void)state;
	REFUSED(mk_engine_list, "out", NULL, 1);
	REFUSED(mk_ctx_create, "out", NULL, NULL);
	REFUSED(mk_ctx_info, "ctx", NULL, &info);
	REFUSED(mk_ctx_stats, "ctx", NULL, &stats);
	REFUSED(mk_queue_create, "ctx", NULL, NULL, &q);
	ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	REFUSED(mk_ctx_info, "out", ctx, NULL);
	REFUSED(mk_ctx_stats, "out", ctx, NULL);
	REFUSED(mk_queue_create, "out", ctx, NULL, NULL);
	q = support_queue(ctx, 8);
	REFUSED(mk_queue_stats, "q", NULL, (void *)&info);
	REFUSED(mk_queue_stats, "out", q, NULL);
	REFUSED(mk_queue_observe, "value", q, 0, NULL);
	support_ctx_end(ctx);
}

static void buffers(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	mk_buffer_t b;

	(void)state;
	REFUSED(mk_buffer_create, "ctx", NULL, 1, 0, &b);
	REFUSED(mk_buffer_create, "out", ctx, 1, 0, NULL);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &b), 0);
	REFUSED(mk_buffer_write, "data", ctx, b, 0, NULL, 1);
	REFUSED(mk_buffer_read, "data", ctx, b, 0, NULL, 1);
	assert_int_equal(mk_buffer_read(ctx, b, 1, NULL, 0), 0);
	REFUSED(mk_buffer_map, "out", ctx, b, NULL);
	REFUSED(mk_buffer_bytes, "out", ctx, b, NULL);
	support_ctx_end(ctx);
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
		cmocka_unit_test(buffers),
		cmocka_unit_test(decoders),
	};

	return cmocka_run_group_tests_name("context/pointers", tests, NULL,
					   NULL);
}
