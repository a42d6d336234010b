/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of slots that wait or raise, and of those that had begun and
 * were in no worker's hands, when the worker process dies. The engine is
 * quiesced: the test writes what it would have left.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/order.h"
#include "queue/queue.h"
#include "support/support.h"

static struct mk_ctx *ctx;
static struct mk_queue *q;
static mk_buffer_t counters;

/* A slot that adds 1 to word 0. */
static void publish(uint64_t user_data, uint8_t flags)
{
	struct mk_op_word w = { .operand = 1 };
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_ADD, user_data);
	memcpy(s->bytes, &w, sizeof(w));
	s->flags = flags & MK_SLOT_IDEMPOTENT;
	if (flags & MK_SLOT_WAIT)
		assert_int_equal(mk_slot_wait(q, s, counters, 1, 1), 0);
	if (flags & MK_SLOT_RAISE)
		assert_int_equal(mk_slot_raise(q, s, counters, 2), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

/* A worker had claimed so many, and these of them had run, and waited. */
static void claimed(uint64_t n, uint64_t ran)
{
	mk_store_release(&q->block->claim, q->first_ticket + n);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t t = q->first_ticket + i;

		if (ran & 1ull << i)
			mk_store_release(&q->ext[t & q->mask].begun,
					 MK_BEGUN | MK_BEGUN_WAITS |
						 MK_MARK(t, q->shift));
	}
}

static void lose(void)
{
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx_info info;
	struct mk_error e;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(kill(info.worker_pid, SIGKILL), 0);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

static const uint8_t kinds[] = {
	0, MK_SLOT_IDEMPOTENT, MK_SLOT_WAIT, MK_SLOT_RAISE,
	MK_SLOT_WAIT | MK_SLOT_RAISE | MK_SLOT_IDEMPOTENT,
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The answers of slots 0 to n - 1, by user_data. */
static void results(int32_t *result, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct mk_completion c = support_reap(q);

		assert_true(c.user_data < n);
		assert_int_equal(result[c.user_data], 1);
		result[c.user_data] = c.result;
	}
}

/* Claimed and begun, claimed, and not claimed; of each kind one. */
static void publish_all(int32_t *result)
{
	for (unsigned i = 0; i < 3 * KINDS; i++) {
		publish(i, kinds[i % KINDS]);
		result[i] = 1;
	}
	claimed(2 * KINDS, (1u << KINDS) - 1);
}

/* The context comes back: what does not depend on others runs. */
static void recovered(void **state)
{
	int32_t result[3 * KINDS];
	uint64_t ran;

	(void)state;
	publish_all(result);
	lose();
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	/* the one that runs again, as soon as it may, waits for nothing */
	assert_false(mk_load_acquire(&q->ext[(q->first_ticket + 1) & q->mask]
					      .begun) & MK_BEGUN_WAITS);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	results(result, 3 * KINDS);
	/* begun; the idempotent one runs again */
	assert_int_equal(result[0], -MK_EMAYRUN);
	assert_int_equal(result[1], 0);
	for (unsigned i = 2; i < KINDS; i++)
		assert_int_equal(result[i], -MK_EMAYRUN);
	for (unsigned i = KINDS; i < 3 * KINDS; i++)
		assert_int_equal(result[i], kinds[i % KINDS] &
				 (MK_SLOT_WAIT | MK_SLOT_RAISE) ?
					 -MK_ENOTRUN : 0);
	assert_int_equal(mk_queue_observe(q, 0, &ran), 0);
	assert_int_equal(ran, 5);
}

/* It does not: nothing runs, and what had begun may have. */
static void given_up(void **state)
{
	int32_t result[3 * KINDS];

	(void)state;
	publish_all(result);
	lose();
	assert_int_equal(mk_queue_wait(q, 3 * KINDS, SUPPORT_NS), 3 * KINDS);
	results(result, 3 * KINDS);
	for (unsigned i = 0; i < 3 * KINDS; i++)
		assert_int_equal(result[i], i < KINDS ? -MK_EMAYRUN :
							-MK_ENOTRUN);
}

/* A word that an earlier lap left says nothing of this one. */
static void old_mark(void **state)
{
	int32_t result[2] = { 1, 1 };

	(void)state;
	publish(0, 0);
	publish(1, MK_SLOT_WAIT);
	claimed(2, 0);
	for (unsigned i = 0; i < 2; i++)
		mk_store_release(&q->ext[i].begun, 0x10000u);
	lose();
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	results(result, 2);
	assert_int_equal(result[0], 0);
	assert_int_equal(result[1], -MK_ENOTRUN);
}

static int begin(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	(void)state;
	p.recovery = MK_RECOVERY_OFF;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 32);
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &counters), 0);
	return mk_ctx_quiesce(ctx, SUPPORT_NS);
}

static int end(void **state)
{
	(void)state;
	support_balance(q);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recovered, begin, end),
		cmocka_unit_test_setup_teardown(given_up, begin, end),
		cmocka_unit_test_setup_teardown(old_mark, begin, end),
	};

	return cmocka_run_group_tests_name("queue/lost", tests, NULL, NULL);
}
