/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was answered before a restart is passed over, even if it was reaped
 * since and its entries of the ring are of tickets of the next lap.
 */
#include "support/support.h"

#include "base/order.h"
#include "context/context.h"
#include "engine/engine.h"
#include "queue/queue.h"

#define ENTRIES 16u

static void reaped_since(void **state)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cpu",
		.isolation = MK_ISOLATION_NONE,
		.workers = 1,
		.shared_bytes = 2u << 20,
		.heap_bytes = 1u << 20,
	};
	struct mk_ctx *ctx = support_ctx_with(&p);

	(void)state;
	for (unsigned again = 0; again < ENTRIES; again += 3) {
		struct mk_queue *q = support_queue(ctx, ENTRIES);

		for (uint64_t i = 0; i < ENTRIES; i++)
			assert_int_equal(support_call(q, MK_OP_NOP, &i,
						      8).value, i);
		assert_int_equal(ctx->ops->queue_detach(
			ctx->engine, q->desc.index, SUPPORT_NS), 0);
		for (uint64_t i = 0; i < ENTRIES - 4; i++)
			support_submit(q, MK_OP_NOP, i, &i, 8);
		/* as mk_queue_prepare_restart() had it before all that */
		q->desc.first_ticket = again;
		q->desc.skip_until = ENTRIES;
		mk_store_release(&q->block->claim, again);
		assert_int_equal(ctx->ops->queue_attach(ctx->engine, &q->desc,
							-1), 0);
		for (uint64_t i = 0; i < ENTRIES - 4; i++)
			assert_int_equal(support_reap(q).result, 0);
		for (uint64_t i = 0; i < 3 * ENTRIES; i++)
			assert_int_equal(support_call(q, MK_OP_NOP, &i,
						      8).value, i);
		support_queue_end(q);
	}
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reaped_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
