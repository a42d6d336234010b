/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one slot costs the caller, for scripts/check-instructions.sh, which
 * counts the instructions inside gate_publish(), gate_batch() and gate_reap().
 * The test itself is the device, so that nothing else runs.
 *
 *	instructions publish|batch|chain|reap BATCH SLOTS
 *
 * batch: a recorded one of so many slots; chain: each waits for the one
 * before it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mock/mock.h"
#include "queue/queue.h"

#define BATCH_MAX 256u

void gate_publish(struct mk_queue *q, unsigned n);
int gate_reap(struct mk_queue *q, struct mk_completion *out, unsigned n);
int gate_batch(struct mk_batch *b);

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

/* Publish a recorded batch. */
__attribute__((noinline)) int gate_batch(struct mk_batch *b)
{
	return mk_batch_submit(b, 1);
}

static struct mk_batch *record(struct mk_queue *q, unsigned n, bool chain)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = n };
	struct mk_batch *b;
	struct mk_slot s;

	if (mk_batch_create(q, &p, &b))
		abort();
	for (unsigned i = 0; i < n; i++) {
		mk_slot_init(&s, MK_OP_NOP, i);
		if (mk_batch_add(b, &s) < 0 ||
		    (chain && i && mk_batch_after(b, i, i - 1)))
			abort();
	}
	if (mk_batch_seal(b) < 0)
		abort();
	return b;
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
	struct mk_batch *b = NULL;
	unsigned good = 0;

	if (!batch || batch > BATCH_MAX || !slots) {
		fprintf(stderr, "usage: %s publish|batch|chain|reap BATCH "
			"SLOTS\n", argv[0]);
		return 2;
	}
	ctx = begin(&q);
	if (!strcmp(argv[1], "batch") || !strcmp(argv[1], "chain"))
		b = record(q, batch, argv[1][0] == 'c');
	for (unsigned done = 0; done < slots; done += batch) {
		if (!b)
			gate_publish(q, batch);
		else if (gate_batch(b) != (int)batch)
			return 1;
		serve(mk_mock_of(ctx), q->desc.index, batch);
		if (gate_reap(q, out, batch) != (int)batch)
			return 1;
		for (unsigned i = 0; i < batch; i++)
			good += out[i].result == 0;
	}
	if (mk_batch_destroy(b, MK_FOREVER) ||
	    mk_ctx_destroy(ctx, MK_FOREVER) || good < slots)
		return 1;
	printf("%u slots in batches of %u\n", good, batch);
	return 0;
}
