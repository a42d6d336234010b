/* SPDX-License-Identifier: Apache-2.0 */
/* Where the memory of a buffer may be, as the worker process checks it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "stub_engine.h"

static const struct mk_message_limits opened = {
	.open = true,
	.host_memory = true,
	.windows = STUB_WINDOWS,
	.shared_bytes = STUB_SHARED,
	.total_bytes = STUB_TOTAL,
};

static void make(struct mk_message *m)
{
	memset(m, 0, sizeof(*m));
	stub_buffer(&m->buffer);
	mk_message_seal(m, MK_MESSAGE_BUFFER_ATTACH, 0, 0);
	m->head.sequence = 9;
	m->head.deadline_ns = UINT64_MAX;
}

/* An engine whose buffers are not in the region chooses their place. */
static void test_device_memory(void **state)
{
	struct mk_message_limits limits = opened;
	static struct mk_message m;

	(void)state;
	make(&m);
	m.buffer.bytes = UINT64_MAX;
	m.buffer.offset = 1;
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &opened),
			 -MK_EPROTO);
	limits.host_memory = false;
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &limits), 0);
	m.buffer.bytes = 0;
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &limits),
			 -MK_EPROTO);
}

static int check_origin(uint32_t origin, uint64_t offset, uint64_t bytes)
{
	struct mk_message_limits limits = opened;
	static struct mk_message m;

	limits.host_memory = false;
	make(&m);
	m.buffer.origin = origin;
	m.buffer.offset = offset;
	m.buffer.bytes = bytes;
	return mk_message_check(&m, m.head.bytes, 0, &limits);
}

/* Host memory of such an engine lies in the shared part; an offset into what
 * another process exported may be any. */
static void test_origins(void **state)
{
	const uint64_t first = (sizeof(struct mk_context_block) + MK_LINE - 1) /
			       MK_LINE * MK_LINE;

	(void)state;
	assert_int_equal(check_origin(MK_ORIGIN_SHARED, first, 64), 0);
	assert_int_equal(check_origin(MK_ORIGIN_SHARED, STUB_SHARED - 64, 64),
			 0);
	assert_int_equal(check_origin(MK_ORIGIN_SHARED, STUB_SHARED - 64, 65),
			 -MK_EPROTO);
	assert_int_equal(check_origin(MK_ORIGIN_SHARED, 0, 64), -MK_EPROTO);
	assert_int_equal(check_origin(MK_ORIGIN_SHARED, first + 1, 64),
			 -MK_EPROTO);
	assert_int_equal(check_origin(MK_ORIGIN_IPC, 1ull << 40, 1ull << 40),
			 0);
	assert_int_equal(check_origin(MK_ORIGIN_IPC, UINT64_MAX, 1),
			 -MK_EPROTO);
	assert_int_equal(check_origin(MK_ORIGIN_POINTER, 0, 64), -MK_EPROTO);
	assert_int_equal(check_origin(4, 0, 64), -MK_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device_memory),
		cmocka_unit_test(test_origins),
	};

	return cmocka_run_group_tests_name("worker/message_buffer", tests,
					   NULL, NULL);
}
