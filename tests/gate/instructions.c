/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one slot costs the caller, for scripts/check-instructions.sh, which
 * counts the instructions inside gate_publish() and gate_reap(). The test
 * itself is the device, so that nothing else runs.
 *
 *	instructions publish|reap BATCH SLOTS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mock/mock.h"
#include "queue/queue.h"

#define BATCH_MAX 256u

void gate_publish(struct mk_queue *q, unsigned n);
int gate_reap(struct mk_queue *q, struct mk_completion *out, unsigned n);

/* Get, fill and publish n slots. */
__attribute__((noinline)) void gate_publish(struct mk_queue *q, unsigned n)
{
	struct mk_slot *s;

	while (n) {
		int got = mk_queue_get(q, n, &s);

		if (got <= 0)
			abort();
		for (int i = 0; i < got; i++) {
			mk_slot_init(&s[i], MK_OP_NOP, n);
			s[i].arg64[0] = n;
		}
		if (mk_queue_submit(q, s, (unsigned)got) != got)
			abort();
		n -= (unsigned)got;
	}
}

__attribute__((noinline)) int gate_reap(struct mk_queue *q,
					struct mk_completion *out, unsigned n)
{
	return mk_queue_reap(q, out, n);
}

static void serve(struct mk_engine *e, uint32_t index, unsigned n)
{
	struct mk_mock_slot slot;

	while (n--) {
		if (!mk_mock_claim(e, index, &slot))
			abort();
		mk_mock_answer(e, index, slot.ticket, 0, slot.args[0]);
	}
}

static struct mk_ctx *begin(struct mk_queue **q)
{
	static const struct mk_mock_script manual = { .manual = true };
	struct mk_ctx_params cp = { .size = sizeof(cp), .engine = "mock",
				    .isolation = MK_ISOLATION_NONE,
				    .heap_bytes = 1u << 20 };
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 1024 };
	struct mk_ctx *ctx;

	mk_mock_begin_with(&manual);
	if (mk_ctx_create(&cp, &ctx) || mk_queue_create(ctx, &qp, q)) {
		fprintf(stderr, "%s\n", mk_error_last()->text);
		exit(2);
	}
	return ctx;
}

int main(int argc, char **argv)
{
	unsigned batch = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	unsigned slots = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
	struct mk_completion out[BATCH_MAX];
	struct mk_queue *q;
	struct mk_ctx *ctx;
	unsigned good = 0;

	if (!batch || batch > BATCH_MAX || !slots) {
		fprintf(stderr, "usage: %s publish|reap BATCH SLOTS\n",
			argv[0]);
		return 2;
	}
	ctx = begin(&q);
	for (unsigned done = 0; done < slots; done += batch) {
		gate_publish(q, batch);
		serve(mk_mock_of(ctx), q->desc.index, batch);
		if (gate_reap(q, out, batch) != (int)batch)
			return 1;
		for (unsigned i = 0; i < batch; i++)
			good += out[i].result == 0;
	}
	if (mk_ctx_destroy(ctx, MK_FOREVER) || good < slots)
		return 1;
	printf("%u slots in batches of %u\n", good, batch);
	return 0;
}
