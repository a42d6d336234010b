/* SPDX-License-Identifier: Apache-2.0 */
/* What submit refuses, and what it writes. The test is the device. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/mock/mock.h"
#include "queue/queue.h"
#include "support/support.h"

static struct mk_ctx *ctx;
static struct mk_queue *q;

/* Serve and reap all there is. */
static void finish(void)
{
	struct mk_mock_slot slot;
	struct mk_completion c;

	while (mk_mock_claim(mk_mock_of(ctx), q->desc.index, &slot))
		mk_mock_answer(mk_mock_of(ctx), q->desc.index, slot.ticket, 0,
			       0);
	while (mk_queue_reap(q, &c, 1) == 1)
		;
	assert_int_equal(support_balance(q).got, 0);
}

/* n slots in one piece, as no-ops. */
static struct mk_slot *get(unsigned n)
{
	for (;;) {
		struct mk_slot *s;
		int got = mk_queue_get(q, n, &s);

		assert_true(got >= 1);
		for (int i = 0; i < got; i++)
			mk_slot_init(&s[i], MK_OP_NOP, (uint64_t)i);
		if (got == (int)n)
			return s;
		/* up to the end of the ring only: go past it */
		assert_int_equal(mk_queue_submit(q, s, (unsigned)got), got);
		finish();
	}
}

static void nothing_published(void)
{
	struct mk_mock_slot slot;

	assert_false(mk_mock_claim(mk_mock_of(ctx), q->desc.index, &slot));
	assert_int_equal(support_balance(q).in_flight, 0);
}

/* Every field, good and bad, at every place of a run: all or nothing. */
static void fields(void **state)
{
	static const struct {
		uint16_t opcode, tenant;
		uint8_t priority, flags;
		int code;
		const char *text;
	} bad[] = {
		{ 0, 64, 0, 0, -MK_ERANGE, "tenant is 64" },
		{ 0, 256, 0, 0, -MK_ERANGE, "tenant is 256" },
		{ 0, UINT16_MAX, 0, 0, -MK_ERANGE, "must be below 64" },
		{ 0, 0, 5, 0, -EINVAL, "priority is 5" },
		{ 0, 0, 6, 0, -EINVAL, "priority is 6" },
		{ 0, 0, 7, 0, -EINVAL, "priority is 7" },
		{ 0, 0, 8, 0, -EINVAL, "priority is 8" },
		{ 0, 0, UINT8_MAX, 0, -EINVAL, "0 to 4" },
		{ 0, 0, 0, 0x20, -EINVAL, "flags is 0x20" },
		{ 0, 0, 0, 0x80, -EINVAL, "flags is 0x80" },
		{ 0, 0, 0, 0xff, -EINVAL, "known are 0x1f" },
		{ 10, 0, 0, 0, -MK_EOPCODE, "opcode is 10" },
		{ 255, 0, 0, 0, -MK_EOPCODE, "opcode is 255" },
		{ 256, 0, 0, 0, -MK_EOPCODE, "opcode is 256" },
		{ 0x100, 0, 0, 0, -MK_EOPCODE, "mk_handler_list()" },
		{ UINT16_MAX, 0, 0, 0, -MK_EOPCODE, "opcode is 65535" },
	};
	char where[16];

	(void)state;
	for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		for (unsigned n = 1; n <= 5; n++)
			for (unsigned at = 0; at < n; at++) {
				struct mk_slot *s = get(n);

				s[at].opcode = bad[k].opcode;
				s[at].tenant = bad[k].tenant;
				s[at].priority = bad[k].priority;
				s[at].flags = bad[k].flags;
				snprintf(where, sizeof(where), "slot %u", at);
				assert_int_equal(mk_queue_submit(q, s, n),
						 bad[k].code);
				support_error(bad[k].code, where, bad[k].text,
					      NULL);
				nothing_published();
				mk_slot_init(&s[at], MK_OP_NOP, at);
				assert_int_equal(mk_queue_submit(q, s, n), n);
				finish();
			}
}

/* All that is good, mixed in one run. */
static void good_fields(void **state)
{
	static const uint16_t opcodes[] = { 0, 1, 7, 8, 16, 18, 5 };
	static const uint16_t tiles[] = { 0, 1, 2, 255, 256, 32768,
					  UINT16_MAX };
	struct mk_mock_slot slot;
	struct mk_slot *s = get(7);

	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		s[i].opcode = opcodes[i];
		s[i].tenant = (uint16_t)(i * 63 / 6);
		s[i].tiles = tiles[i];
		s[i].priority = (uint8_t)(i % 5);
		s[i].flags = (uint8_t)(i % 4 + i % 3 * 4);
	}
	assert_int_equal(mk_queue_submit(q, s, 7), 7);
	for (unsigned i = 0; i < 7; i++) {
		assert_true(mk_mock_claim(mk_mock_of(ctx), q->desc.index,
					  &slot));
		assert_int_equal(slot.opcode, opcodes[i]);
		assert_int_equal(slot.tenant, i * 63 / 6);
		assert_int_equal(slot.tiles, tiles[i]);
		assert_int_equal(slot.priority, i % 5);
		assert_int_equal(slot.flags, i % 4 + i % 3 * 4);
		assert_false(slot.torn);
		mk_mock_answer(mk_mock_of(ctx), q->desc.index, slot.ticket, 0,
			       0);
	}
	finish();
}

/* The displaced half-words: all 48 bytes arrive, whatever they are, and every
 * unit carries the mark of its lap. */
static void wire(void **state)
{
	struct mk_mock_slot slot;
	uint64_t seed = 9;

	(void)state;
	for (unsigned lap = 0; lap < 3000; lap++) {
		unsigned n = 1 + lap % 4, have = 0;
		struct mk_slot *s = NULL, copy[4];

		n = (unsigned)mk_queue_get(q, n, &s);
		for (unsigned i = 0; i < n; i++) {
			mk_slot_init(&s[i], MK_OP_NOP, 0);
			for (unsigned k = 0; k < 6; k++)
				s[i].arg64[k] = lap < 100 ? UINT64_MAX :
						support_random(&seed);
			if (lap >= 100 && lap < 124) {
				memset(s[i].bytes, 0, 48);
				memset(s[i].bytes + 2 * (lap - 100), 0xff, 2);
			}
			copy[i] = s[i];
		}
		assert_int_equal(mk_queue_submit(q, s, n), n);
		while (mk_mock_claim(mk_mock_of(ctx), q->desc.index, &slot)) {
			assert_false(slot.torn);
			assert_memory_equal(slot.args, copy[have].bytes, 48);
			have++;
			mk_mock_answer(mk_mock_of(ctx), q->desc.index,
				       slot.ticket, 0, 0);
		}
		assert_int_equal(have, n);
		finish();
	}
}

static void not_got(void **state)
{
	struct mk_slot own[2], *s;

	(void)state;
	memset(own, 0, sizeof(own));
	assert_int_equal(mk_queue_submit(q, own, 1), -MK_ENOTGOT);
	support_error(-MK_ENOTGOT, "mk_queue_get()", NULL);
	assert_int_equal(mk_slot_deadline(q, own, 1), -MK_ENOTGOT);
	assert_int_equal(mk_queue_submit(q, NULL, 1), -MK_ENOTGOT);
	s = get(4);
	assert_int_equal(mk_queue_submit(q, s, 5), -MK_ENOTGOT);
	assert_int_equal(mk_queue_submit(q, s + 1, 4), -MK_ENOTGOT);
	assert_int_equal(mk_queue_submit(q, s + 4, 1), -MK_ENOTGOT);
	assert_int_equal(mk_queue_submit(q, s, 0), -EINVAL);
	support_error(-EINVAL, "n is 0", "1 to 16", NULL);
	assert_int_equal(mk_queue_submit(q, s, 17), -EINVAL);
	assert_int_equal(mk_queue_submit(q, s, UINT_MAX), -EINVAL);
	/* inside the ring's memory, but not where a slot begins */
	for (unsigned off = 1; off < 64; off++) {
		struct mk_slot *askew = (void *)((char *)s + off);

		assert_int_equal(mk_queue_submit(q, askew, 1), -MK_ENOTGOT);
		assert_int_equal(mk_slot_deadline(q, askew, 1), -MK_ENOTGOT);
	}
	assert_int_equal(mk_queue_submit(q, q->slots - 1, 1), -MK_ENOTGOT);
	assert_int_equal(mk_queue_submit(q, q->slots + 16, 1), -MK_ENOTGOT);
	nothing_published();
	assert_int_equal(mk_queue_submit(q, s, 4), 4);
	finish();
	/* freed since */
	assert_int_equal(mk_queue_submit(q, s, 1), -MK_ENOTGOT);
	nothing_published();
}

/* Until it is got again, a slot is submitted once. */
static void twice(void **state)
{
	(void)state;
	for (int lap = 0; lap < 5; lap++) {
		struct mk_slot *s = get(4);

		assert_int_equal(mk_queue_submit(q, s + 1, 2), 2);
		assert_int_equal(mk_queue_submit(q, s + 1, 2), -MK_ENOTGOT);
		support_error(-MK_ENOTGOT, "submitted already", NULL);
		assert_int_equal(mk_queue_submit(q, s + 2, 1), -MK_ENOTGOT);
		/* one end of the run is enough */
		assert_int_equal(mk_queue_submit(q, s, 2), -MK_ENOTGOT);
		assert_int_equal(mk_queue_submit(q, s + 2, 2), -MK_ENOTGOT);
		assert_int_equal(mk_queue_submit(q, s, 1), 1);
		assert_int_equal(mk_queue_submit(q, s + 3, 1), 1);
		assert_int_equal(mk_queue_submit(q, s, 4), -MK_ENOTGOT);
		finish();
		assert_int_equal(mk_queue_submit(q, s, 4), -MK_ENOTGOT);
		nothing_published();
	}
}

static void gets(void **state)
{
	struct mk_slot *s = (void *)&ctx;

	(void)state;
	assert_int_equal(mk_queue_get(q, 0, &s), -EINVAL);
	support_error(-EINVAL, "n is 0", NULL);
	assert_int_equal(mk_queue_get(q, (unsigned)INT_MAX + 1, &s), -EINVAL);
	assert_int_equal(mk_queue_get(q, UINT_MAX, &s), -EINVAL);
	assert_int_equal(mk_queue_get_wait(q, 0, &s, MK_FOREVER), -EINVAL);
	assert_ptr_equal(s, &ctx);
	assert_true(mk_queue_get(q, INT_MAX, &s) >= 1);
}

static void fills(void **state)
{
	unsigned char args[64] = { 0 };
	struct mk_slot s;

	(void)state;
	memset(&s, 0x55, sizeof(s));
	assert_int_equal(mk_queue_fill(q, &s, 200, 1, args, 8), -MK_EOPCODE);
	assert_int_equal(mk_queue_fill(q, &s, 256, 1, args, 8), -MK_EOPCODE);
	assert_int_equal(mk_queue_fill(q, &s, UINT16_MAX, 1, args, 8),
			 -MK_EOPCODE);
	support_error(-MK_EOPCODE, "opcode is 65535", NULL);
	assert_int_equal(mk_queue_fill(q, &s, MK_OP_NOP, 1, args, 7),
			 -MK_EARGS);
	support_error(-MK_EARGS, "bytes is 7", "takes 8", NULL);
	assert_int_equal(mk_queue_fill(q, &s, MK_OP_NOP, 1, args, 64),
			 -MK_EARGS);
	assert_int_equal(mk_queue_fill(q, &s, MK_OP_FENCE, 1, args, 1),
			 -MK_EARGS);
	assert_int_equal(s.opcode, 0x5555); /* untouched */
	assert_int_equal(mk_queue_fill(q, &s, MK_OP_FENCE, 7, NULL, 0), 0);
	assert_int_equal(s.user_data, 7);
	args[0] = 9;
	assert_int_equal(mk_queue_fill(q, &s, MK_OP_NOP, 1, args, 8), 0);
	assert_int_equal(s.arg64[0], 9);
	assert_int_equal(s.priority, MK_PRIORITY_NORMAL);
}

static int begin(void **state)
{
	static const struct mk_mock_script manual = { .manual = true };
	struct mk_queue_params p = { .size = sizeof(p), .entries = 16,
				     .first_ticket = UINT64_MAX - 1000 };

	(void)state;
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
		cmocka_unit_test_setup_teardown(fields, begin, end),
		cmocka_unit_test_setup_teardown(good_fields, begin, end),
		cmocka_unit_test_setup_teardown(wire, begin, end),
		cmocka_unit_test_setup_teardown(not_got, begin, end),
		cmocka_unit_test_setup_teardown(twice, begin, end),
		cmocka_unit_test_setup_teardown(gets, begin, end),
		cmocka_unit_test_setup_teardown(fills, begin, end),
	};

	return cmocka_run_group_tests_name("queue/submit", tests, NULL, NULL);
}
