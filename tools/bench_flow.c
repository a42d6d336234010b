/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that wait for other slots: what graphs are used for otherwise. */
#include <stdio.h>

#include "bench_run.h"

#define CHAIN 4096u
#define WIDE 1024u
#define ENTRIES 4096u
#define RUNS 300u

/* No-ops, submitted as a whole, and waited for. */
struct flow {
	struct live l;
	struct live other;     /* singles() alone */
	struct mk_batch *batch;
	mk_buffer_t counters;  /* of singles(); 0: none */
	uint64_t runs;         /* of singles() so far */
	unsigned n;
	bool two;              /* in two queues in turn */
};

static int fail(struct flow *f, const char *what, int r)
{
	return r < 0 ? bench_fail_library(f->l.b, what, r) : 0;
}

/* ---- as a recorded batch ------------------------------------------------ */

static int record(struct flow *f, bool chain)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = f->n,
				     .runs = 1 };
	struct mk_slot slot;
	int r = mk_batch_create(f->l.q, &p, &f->batch);

	for (unsigned i = 0; i < f->n && r >= 0; i++) {
		mk_slot_init(&slot, MK_OP_NOP, i);
		slot.arg64[0] = i;
		r = mk_batch_add(f->batch, &slot);
		if (chain && i && r >= 0)
			r = mk_batch_after(f->batch, i, i - 1);
	}
	if (r >= 0)
		r = mk_batch_seal(f->batch);
	return fail(f, "mk_batch_seal", r);
}

/* bench_once: from the submission to the last answer. */
static int by_batch(void *arg, uint64_t *ns, unsigned room)
{
	struct flow *f = arg;
	uint64_t began = mk_now_ns();
	int r = mk_batch_submit(f->batch, 0);

	(void)room;
	if (r < 0)
		return fail(f, "mk_batch_submit", r);
	f->l.out += (unsigned)r;
	while (f->l.out)
		if (live_await(&f->l, f->l.out) < 0)
			return -1;
	ns[0] = mk_now_ns() - began;
	return 1;
}

/* ---- slot by slot ------------------------------------------------------- */

/* Number i of a chain, which waits for the one before. */
static int submit_one(struct flow *f, struct live *l, unsigned i)
{
	uint64_t before = f->runs;
	struct mk_slot *slot;
	int r = mk_queue_get(l->q, 1, &slot);

	if (r < 0)
		return fail(f, "mk_queue_get", r);
	mk_slot_init(slot, MK_OP_NOP, l->next);
	slot->arg64[0] = l->next++;
	if (i)
		r = mk_slot_wait(l->q, slot, f->counters, i - 1, before + 1);
	if (r >= 0)
		r = mk_slot_raise(l->q, slot, f->counters, i);
	if (r >= 0)
		r = mk_queue_submit(l->q, slot, 1);
	l->out++;
	return fail(f, "mk_queue_submit", r);
}

/* bench_once */
static int singles(void *arg, uint64_t *ns, unsigned room)
{
	struct flow *f = arg;
	uint64_t began = mk_now_ns();

	(void)room;
	for (unsigned i = 0; i < f->n; i++)
		if (submit_one(f, f->two && i % 2 ? &f->other : &f->l, i))
			return -1;
	while (f->l.out)
		if (live_await(&f->l, f->l.out) < 0)
			return -1;
	while (f->two && f->other.out)
		if (live_await(&f->other, f->other.out) < 0)
			return -1;
	f->runs++;
	ns[0] = mk_now_ns() - began;
	return 1;
}

/* ---- rows --------------------------------------------------------------- */

/* Of the last row, which n hand-overs took. */
static void hand_over(struct bench *b, const char *key, const char *label,
		      unsigned n)
{
	const struct bench_row *row = &b->rows->row[b->rows->count - 1];

	bench_value(b, key, label, (double)row->p50_ns / n, "ns");
}

static int batches(struct bench *b, struct flow *f)
{
	int r;

	f->n = CHAIN;
	r = record(f, true);
	if (!r)
		r = bench_latency(b, "flow.chain.4096",
				  "recorded chain of 4,096 no-ops", RUNS,
				  by_batch, f);
	if (!r)
		hand_over(b, "flow.hand", "the same, from slot to slot",
			  CHAIN);
	mk_batch_destroy(f->batch, BENCH_WAIT_NS);
	f->batch = NULL;
	if (r)
		return r;
	f->n = WIDE;
	r = record(f, false);
	if (!r)
		r = bench_latency(b, "flow.wide.1024",
				  "recorded batch of 1,024 independent no-ops",
				  10 * RUNS, by_batch, f);
	mk_batch_destroy(f->batch, BENCH_WAIT_NS);
	f->batch = NULL;
	return r;
}

static int chains(struct bench *b, struct flow *f)
{
	int r = mk_buffer_create(b->ctx, 8 * CHAIN, 0, &f->counters);

	if (r < 0)
		return bench_fail_library(b, "mk_buffer_create", r);
	f->n = CHAIN;
	r = bench_latency(b, "flow.singles.4096",
			  "chain of 4,096 no-ops, submitted one by one", RUNS,
			  singles, f);
	f->two = true;
	f->n = WIDE;
	if (!r)
		r = bench_latency(b, "flow.queues.1024",
				  "chain of 1,024, in two queues in turn",
				  10 * RUNS, singles, f);
	if (!r)
		hand_over(b, "flow.hand.queues",
			  "the same, from queue to queue", WIDE);
	mk_buffer_destroy(b->ctx, f->counters, BENCH_WAIT_NS);
	return r;
}

int bench_flow(struct bench *b)
{
	static struct flow f;
	int r = live_open(b, &f.l, ENTRIES);

	if (r)
		return r;
	f.two = false;
	f.runs = 0;
	r = live_open(b, &f.other, ENTRIES);
	if (!r) {
		r = batches(b, &f);
		if (!r)
			r = chains(b, &f);
		if (live_close(&f.other))
			r = -1;
	}
	return live_close(&f.l) ? -1 : r;
}
