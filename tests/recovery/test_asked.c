/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot that hangs is asked to end before its process is. That request is
 * the library's own, and over when the process is; the caller's is not.
 */
#include "rig.h"

#define HANG_NS (50 * SUPPORT_MS)

static void submit(struct mk_queue *q, uint16_t opcode, uint64_t user_data)
{
	struct bad once = { .how = BAD_LOOP, .word = 2, .times = 1 };

	assert_int_equal(mk_queue_submit(q, rig_slot(q, opcode, user_data,
						     MK_SLOT_IDEMPOTENT,
						     &once), 1), 1);
}

/* It hangs once, and is good the second time. */
static void runs_again(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, HANG_NS);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);

	(void)state;
	submit(q, bad, 1);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(rig_word(q, 2), 2);
	assert_int_equal(rig_stats(ctx).hangs, 1);
	/* and it is no request to whoever comes to this index later */
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* A process that is stopped from outside: all in it were asked. */
static void stopped(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, HANG_NS);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);
	struct bad wait = { .how = BAD_PROGRESS, .word = 2 };

	(void)state;
	assert_int_equal(mk_queue_submit(q, rig_slot(q, bad, 1,
						     MK_SLOT_IDEMPOTENT,
						     &wait), 1), 1);
	rig_await_word(q, 2, 1);
	assert_int_equal(kill(rig_worker(ctx), SIGSTOP), 0);
	rig_await_word(q, 2, 2);
	assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
	assert_int_equal(support_reap(q).result, 7);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Cancelled by the caller while it hangs: not run again. */
static void cancelled(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);

	(void)state;
	submit(q, bad, 1);
	rig_await_word(q, 2, 1);
	assert_int_equal(mk_queue_cancel(q, 1), 1);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	assert_int_equal(rig_word(q, 2), 1);
	assert_int_equal(rig_stats(ctx).hangs, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_again),
		cmocka_unit_test(stopped),
		cmocka_unit_test(cancelled),
	};

	return cmocka_run_group_tests_name("recovery/asked", tests, NULL,
					   NULL);
}
