/* SPDX-License-Identifier: Apache-2.0 */
/* What mk_slot_wait() and mk_slot_raise() refuse, and what they write. The
 * test is the device. */
#include <errno.h>
#include <string.h>

#include "engine/mock/mock.h"
#include "queue/queue.h"
#include "support/support.h"

static struct mk_ctx *ctx;
static struct mk_queue *q;
static mk_buffer_t counters, others;

static struct mk_slot *get(void)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 7);
	return s;
}

/* The line beside a slot. */
static struct mk_wire_ext *ext_of(const struct mk_slot *s)
{
	return &q->ext[s - q->slots];
}

/* Submit it, and look at what the device would. */
static void serve(struct mk_slot *s, uint8_t flags)
{
	struct mk_mock_slot got;
	struct mk_completion c;

	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_true(mk_mock_claim(mk_mock_of(ctx), q->desc.index, &got));
	assert_int_equal(got.flags, flags);
	mk_mock_answer(mk_mock_of(ctx), q->desc.index, got.ticket, 0, 0);
	assert_int_equal(mk_queue_reap(q, &c, 1), 1);
}

static void counters_are(const struct mk_slot *s, mk_buffer_t buffer)
{
	struct mk_ref ref = mk_buffer_ref(buffer);

	assert_int_equal(ext_of(s)->counters.index, ref.index);
	assert_int_equal(ext_of(s)->counters.generation, ref.generation);
}

static void waits(void **state)
{
	struct mk_slot *s = get();

	(void)state;
	assert_int_equal(mk_slot_wait(q, s, counters, 5, UINT64_MAX / 2), 0);
	counters_are(s, counters);
	assert_int_equal(ext_of(s)->wait_word, 5);
	assert_true(ext_of(s)->wait_value == UINT64_MAX / 2);
	/* for one only, and what was set stays */
	assert_int_equal(mk_slot_wait(q, s, counters, 6, 1), -E2BIG);
	support_error(-E2BIG, "for a counter already", NULL);
	assert_int_equal(ext_of(s)->wait_word, 5);
	serve(s, MK_SLOT_WAIT);

	s = get();
	assert_int_equal(mk_slot_wait(q, s, counters, 0, 1ull << 63),
			 -MK_ERANGE);
	support_error(-MK_ERANGE, "below 2^63", NULL);
	assert_int_equal(mk_slot_wait(q, s, counters, MK_NO_COUNTER, 0),
			 -MK_ERANGE);
	support_error(-MK_ERANGE, "word is 4294967295", NULL);
	assert_int_equal(s->flags, 0);
	assert_int_equal(mk_slot_wait(q, s, counters, MK_NO_COUNTER - 1, 0),
			 0);
	serve(s, MK_SLOT_WAIT);
}

static void raises(void **state)
{
	struct mk_slot *s = get();

	(void)state;
	for (uint32_t i = 0; i < MK_RAISE_MAX; i++) {
		assert_int_equal(mk_slot_raise(q, s, counters, 10 + i / 2), 0);
		assert_int_equal(ext_of(s)->raise[i], 10 + i / 2);
		/* the list is whole after every call */
		if (i + 1 < MK_RAISE_MAX)
			assert_int_equal(ext_of(s)->raise[i + 1],
					 MK_NO_COUNTER);
	}
	counters_are(s, counters);
	assert_int_equal(mk_slot_raise(q, s, counters, 1), -E2BIG);
	support_error(-E2BIG, "raises 7 counters", NULL);
	assert_int_equal(mk_slot_wait(q, s, counters, 3, 4), 0);
	assert_int_equal(ext_of(s)->raise[6], 13);
	serve(s, MK_SLOT_WAIT | MK_SLOT_RAISE);
	/* the next slot at this place begins with an empty list */
	for (unsigned i = 1; i < 16; i++)
		serve(get(), 0);
	s = get();
	assert_int_equal(mk_slot_raise(q, s, others, 0), 0);
	assert_int_equal(ext_of(s)->raise[0], 0);
	assert_int_equal(ext_of(s)->raise[1], MK_NO_COUNTER);
	counters_are(s, others);
	serve(s, MK_SLOT_RAISE);
}

/* All counters of a slot lie in one buffer. */
static void one_buffer(void **state)
{
	struct mk_slot *s = get();

	(void)state;
	assert_int_equal(mk_slot_wait(q, s, counters, 0, 1), 0);
	assert_int_equal(mk_slot_raise(q, s, others, 0), -EINVAL);
	support_error(-EINVAL, "all of a slot's lie in one", NULL);
	counters_are(s, counters);
	assert_int_equal(mk_slot_raise(q, s, counters, 0), 0);
	serve(s, MK_SLOT_WAIT | MK_SLOT_RAISE);
	s = get();
	assert_int_equal(mk_slot_raise(q, s, others, 0), 0);
	assert_int_equal(mk_slot_wait(q, s, counters, 0, 1), -EINVAL);
	assert_int_equal(s->flags, MK_SLOT_RAISE);
	serve(s, MK_SLOT_RAISE);
}

static void refused(void **state)
{
	struct mk_slot *s = get(), strange;

	(void)state;
	mk_slot_init(&strange, MK_OP_NOP, 0);
	assert_int_equal(mk_slot_wait(q, &strange, counters, 0, 1),
			 -MK_ENOTGOT);
	support_error(-MK_ENOTGOT, "was not got", NULL);
	assert_int_equal(mk_slot_raise(q, &strange, counters, 0),
			 -MK_ENOTGOT);
	assert_int_equal(mk_slot_wait(q, s, 0, 0, 1), -MK_EFOREIGN);
	assert_int_equal(mk_slot_wait(q, s, 1, 0, 1), -MK_EFOREIGN);
	assert_int_equal(mk_slot_raise(q, s, 1ull << 32, 0), -MK_EFOREIGN);
	assert_int_equal(mk_slot_raise(q, s, UINT64_MAX, 0), -MK_EFOREIGN);
	support_error(-MK_EFOREIGN, "0xffffffffffffffff", NULL);
	assert_int_equal(mk_slot_wait(NULL, s, counters, 0, 1), -EINVAL);
	assert_int_equal(mk_slot_wait(q, NULL, counters, 0, 1), -EINVAL);
	assert_int_equal(mk_slot_raise(NULL, s, counters, 0), -EINVAL);
	assert_int_equal(mk_slot_raise(q, NULL, counters, 0), -EINVAL);
	assert_int_equal(s->flags, 0);
	serve(s, 0);
}

/* What such slots end with is counted, each under its name. */
static void endings(void **state)
{
	static const int32_t results[] = { -MK_EUPSTREAM, -EDEADLK,
					   -MK_EUPSTREAM, 0, -EINVAL };
	struct mk_queue_stats s;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct mk_mock_slot got;
		struct mk_completion c;

		assert_int_equal(mk_queue_submit(q, get(), 1), 1);
		assert_true(mk_mock_claim(mk_mock_of(ctx), q->desc.index,
					  &got));
		mk_mock_answer(mk_mock_of(ctx), q->desc.index, got.ticket,
			       results[i], 0);
		assert_int_equal(mk_queue_reap(q, &c, 1), 1);
		assert_int_equal(c.result, results[i]);
	}
	s = support_balance(q);
	assert_int_equal(s.upstream, 2);
	assert_int_equal(s.deadlocked, 1);
	assert_int_equal(s.other, 1);
	assert_int_equal(s.failed, 4);
}

static int begin(void **state)
{
	static const struct mk_mock_script manual = { .manual = true };

	(void)state;
	mk_mock_begin_with(&manual);
	ctx = support_ctx("mock", MK_ISOLATION_NONE);
	q = support_queue(ctx, 16);
	assert_true((uintptr_t)q->ext % MK_LINE == 0);
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &counters), 0);
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &others), 0);
	return 0;
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
		cmocka_unit_test_setup_teardown(waits, begin, end),
		cmocka_unit_test_setup_teardown(raises, begin, end),
		cmocka_unit_test_setup_teardown(one_buffer, begin, end),
		cmocka_unit_test_setup_teardown(refused, begin, end),
		cmocka_unit_test_setup_teardown(endings, begin, end),
	};

	return cmocka_run_group_tests_name("queue/counters", tests, NULL,
					   NULL);
}
