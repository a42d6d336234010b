/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Slots that wait in vain are found, named, and end with -EDEADLK; those that
 * only wait long are left alone. The test is the device.
 */
#include <errno.h>
#include <string.h>

#include "base/order.h"
#include "engine/mock/mock.h"
#include "queue/queue.h"
#include "support/support.h"

#define HANG_NS (40 * SUPPORT_MS)
/* it would have been found in this time, twice */
#define LONG_NS (6 * HANG_NS)

static struct mk_ctx *ctx;
static struct mk_queue *q, *other;
static mk_buffer_t counters;
static uint64_t *word;

#define NOTHING UINT32_MAX

/* A no-op that waits for a counter to be `value`, and raises another. */
static void publish(struct mk_queue *to, uint64_t user_data, uint32_t waits,
		    uint64_t value, uint32_t raises)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(to, 1, &s), 1);
	mk_slot_init(s, user_data == 99 ? MK_OP_FENCE : MK_OP_NOP, user_data);
	if (waits != NOTHING)
		assert_int_equal(mk_slot_wait(to, s, counters, waits, value),
				 0);
	if (raises != NOTHING)
		assert_int_equal(mk_slot_raise(to, s, counters, raises), 0);
	assert_int_equal(mk_queue_submit(to, s, 1), 1);
}

static uint64_t claim(struct mk_queue *from)
{
	struct mk_mock_slot s;

	assert_true(mk_mock_claim(mk_mock_of(ctx), from->desc.index, &s));
	return s.ticket;
}

static void reply(struct mk_queue *to, uint64_t ticket, int32_t result)
{
	mk_mock_answer(mk_mock_of(ctx), to->desc.index, ticket, result, 0);
}

static bool asked(struct mk_queue *of, uint64_t t)
{
	return mk_load_acquire(&of->ext[t & of->mask].cancel) ==
	       (0x10000u | MK_MARK(t, of->shift));
}

static void await_asked(struct mk_queue *of, uint64_t t)
{
	uint64_t end = support_now() + SUPPORT_NS;

	while (!asked(of, t)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

static void has(const char *what)
{
	support_evidence_has(ctx, what);
}

static int32_t result_of(struct mk_queue *from, uint64_t user_data)
{
	struct mk_completion c = support_reap(from);

	assert_true(c.user_data == user_data);
	return c.result;
}

/* 1 waits for 2, 2 for 3, 3 for 1. */
static void circle(void **state)
{
	uint64_t t[3];
	char json[20000];

	(void)state;
	publish(q, 1, 1, 1, 3);
	publish(q, 2, 2, 1, 1);
	publish(other, 3, 3, 1, 2);
	t[0] = claim(q);
	t[1] = claim(q);
	t[2] = claim(other);
	await_asked(q, t[0]);
	await_asked(q, t[1]);
	await_asked(other, t[2]);
	/* one is ended because it was asked to; its failure reaches the next */
	reply(q, t[0], -MK_ECANCELLED);
	reply(other, t[2], -MK_EUPSTREAM);
	reply(q, t[1], -MK_EUPSTREAM);
	assert_int_equal(result_of(q, 1), -EDEADLK);
	assert_int_equal(result_of(q, 2), -EDEADLK);
	assert_int_equal(result_of(other, 3), -EDEADLK);
	assert_int_equal(support_balance(q).deadlocked, 2);
	assert_int_equal(support_balance(other).deadlocked, 1);
	has("deadlock: 3 slots wait in vain");
	has("waits until word 1 of buffer");
	has("is 1 (it is 0)");
	has(": a circle");
	mk_ctx_evidence(ctx, MK_EVIDENCE_JSON, json, sizeof(json));
	assert_non_null(strstr(json, "\"cause\":\"deadlock\""));
	assert_non_null(strstr(json, "\"code\":\"EDEADLK\""));
	/* the next one at this place is an ordinary one */
	for (unsigned i = 0; i < 16; i++) {
		publish(q, 7, NOTHING, 0, NOTHING);
		reply(q, claim(q), i ? -MK_ECANCELLED : 0);
		assert_int_equal(result_of(q, 7), i ? -MK_ECANCELLED : 0);
	}
}

/* Nobody raises it; a fence and another wait for the one that waits. */
static void nobody(void **state)
{
	uint64_t t[3];
	struct mk_completion c[3];

	(void)state;
	mk_store_release(&word[5], 6);
	publish(q, 1, 5, 7, 6);
	publish(q, 99, NOTHING, 0, NOTHING);
	publish(q, 2, 6, 1, NOTHING);
	for (unsigned i = 0; i < 3; i++)
		t[i] = claim(q);
	await_asked(q, t[0]);
	await_asked(q, t[2]);
	assert_false(asked(q, t[1]));
	reply(q, t[0], -MK_ECANCELLED);
	reply(q, t[2], -MK_EUPSTREAM);
	reply(q, t[1], 0);
	/* as peek gives it, and as advance counts it */
	assert_int_equal(mk_queue_wait(q, 3, SUPPORT_NS), 3);
	assert_int_equal(mk_queue_peek(q, c, 3), 3);
	assert_int_equal(c[0].result, -EDEADLK);
	assert_int_equal(c[1].result, 0);
	assert_int_equal(c[2].result, -EDEADLK);
	assert_int_equal(mk_queue_advance(q, 3), 3);
	assert_int_equal(support_balance(q).deadlocked, 2);
	assert_int_equal(support_balance(q).ok, 1);
	has("waits until word 5 of buffer");
	has("is 7 (it is 6), and nobody in flight raises it");
}

/* Somebody before it has not ended: nobody is asked, nothing is lost. */
static void patience(void **state)
{
	uint64_t t[2], end;

	(void)state;
	publish(q, 1, NOTHING, 0, 1);
	publish(other, 2, 1, 1, NOTHING);
	t[0] = claim(q);
	t[1] = claim(other);
	/* it goes on without a worker */
	mk_store_release(&q->ext[t[0] & q->mask].begun,
			 0x10000u | MK_MARK(t[0], q->shift));
	end = support_now() + LONG_NS;
	while (support_now() < end) {
		assert_false(asked(other, t[1]));
		support_sleep(5 * SUPPORT_MS);
	}
	mk_store_release(&word[1], 1);
	reply(q, t[0], 0);
	reply(other, t[1], 0);
	assert_int_equal(result_of(q, 1), 0);
	assert_int_equal(result_of(other, 2), 0);
	assert_int_equal(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, NULL, 0), 0);
}

/* Others come and go all the time, and it is found all the same. */
static void busy(void **state)
{
	uint64_t end = support_now() + SUPPORT_NS, t;

	(void)state;
	publish(q, 1, 1, 1, 1); /* it would raise what it waits for */
	t = claim(q);
	while (!asked(q, t)) {
		assert_true(support_now() < end);
		publish(other, 7, NOTHING, 0, NOTHING);
		reply(other, claim(other), 0);
		assert_int_equal(result_of(other, 7), 0);
		support_sleep(SUPPORT_MS / 4);
	}
	reply(q, t, -MK_ECANCELLED);
	assert_int_equal(result_of(q, 1), -EDEADLK);
	has("1 slots wait in vain: ");
	has(": a circle");
}

/* What it waits for is reached, and still it does not run: it hangs. */
static void ready(void **state)
{
	uint64_t end = support_now() + SUPPORT_NS, t;
	struct mk_error e;

	(void)state;
	mk_store_release(&word[1], 3);
	publish(q, 1, 1, 3, NOTHING);
	t = claim(q);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
	assert_int_equal(e.code, -MK_EHUNG);
	assert_non_null(strstr(e.text, "no progress"));
	reply(q, t, 5);
	assert_int_equal(result_of(q, 1), 5);
}

static int begin(void **state)
{
	static const struct mk_mock_script manual = { .manual = true };
	struct mk_ctx_params p = support_params("mock", MK_ISOLATION_NONE);
	void *memory;

	(void)state;
	p.hang_ns = HANG_NS;
	mk_mock_reset();
	mk_mock_begin_with(&manual);
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 16);
	other = support_queue(ctx, 16);
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &counters), 0);
	assert_int_equal(mk_buffer_map(ctx, counters, &memory), 0);
	word = memory;
	return 0;
}

static int end(void **state)
{
	(void)state;
	support_queue_end(q);
	support_queue_end(other);
	support_ctx_end(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(circle, begin, end),
		cmocka_unit_test_setup_teardown(nobody, begin, end),
		cmocka_unit_test_setup_teardown(patience, begin, end),
		cmocka_unit_test_setup_teardown(busy, begin, end),
		cmocka_unit_test_setup_teardown(ready, begin, end),
	};

	return cmocka_run_group_tests_name("context/stuck", tests, NULL, NULL);
}
