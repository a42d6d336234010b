/* SPDX-License-Identifier: Apache-2.0 */
/* One slot, or a few, from submission to answer. */
#include <stdio.h>

#include "bench_run.h"

#define ENTRIES BENCH_STARTS
#define TRIPS 30000u
#define BATCHES 5000u
#define WAKES 300u
#define IDLE_NS 1000000u   /* parks after this */
#define ASLEEP_NS 3000000u /* and is parked after that */

/* ---- in this process, and in another ------------------------------------ */

/* The row that the ratio and the picture want. */
static int gaps(struct bench *b, struct live *l, const char *key,
		const char *label)
{
	int r;

	l->gap_ns = BENCH_GAP_NS;
	l->depth = 1;
	r = bench_latency(b, key, label, TRIPS, live_gaps, l);
	if (!r)
		b->rows->row[b->rows->count - 1].plotted = true;
	return r;
}

static int at_depth(struct bench *b, struct live *l, unsigned depth)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	int r = 0;

	l->depth = depth;
	snprintf(key, sizeof(key), "trip.%u.gaps", depth);
	snprintf(label, sizeof(label), "%u at once, gaps of 0 to 3 us",
		 depth);
	if (depth == 1)
		r = gaps(b, l, key, "one at a time, gaps of 0 to 3 us");
	else
		r = bench_latency(b, key, label, TRIPS, live_gaps, l);
	snprintf(key, sizeof(key), "trip.%u.back", depth);
	snprintf(label, sizeof(label), "%u in flight, back to back", depth);
	return r ? r : bench_latency(b, key, label, TRIPS, live_steady, l);
}

int bench_trip(struct bench *b)
{
	struct live l;
	int r;

	if (live_open(b, &l, ENTRIES))
		return -1;
	l.gap_ns = BENCH_GAP_NS;
	r = at_depth(b, &l, 1);
	if (!r)
		r = at_depth(b, &l, 8);
	if (!r)
		r = at_depth(b, &l, 64);
	while (!r && l.out) /* back to back leaves some behind */
		r = live_await(&l, 64) < 0 ? -1 : 0;
	l.depth = l.burst = 64;
	if (!r)
		r = bench_rate(b, "rate.64", "64 in flight", 64, live_rate,
			       &l);
	return live_close(&l) || r ? -1 : 0;
}

int bench_process(struct bench *b)
{
	struct mk_ctx *ctx;
	struct live l;
	int r;

	if (b->isolation == MK_ISOLATION_PROCESS) {
		bench_unknown(b, "process.1.gaps", "one at a time",
			      "the whole run has the engine in another "
			      "process");
		return 0;
	}
	if (bench_ctx_open(b, MK_ISOLATION_PROCESS, BENCH_STAY_NS,
			   &ctx))
		return -1;
	r = live_open_in(b, ctx, &l, ENTRIES);
	if (!r) {
		r = gaps(b, &l, "process.1.gaps",
			 "one at a time, gaps of 0 to 3 us");
		l.depth = l.burst = 64;
		if (!r)
			r = bench_rate(b, "process.rate.64", "64 in flight",
				       64, live_rate, &l);
		if (!r)
			r = bench_width_in(b, ctx, &l);
		r = live_close(&l) || r ? -1 : 0;
	}
	bench_ctx_close(b, ctx);
	return r;
}

/* ---- batches ------------------------------------------------------------- */

int bench_batch(struct bench *b)
{
	static const unsigned sizes[] = { 8, 64, 256 };
	struct live l;
	int r = 0;

	if (live_open(b, &l, ENTRIES))
		return -1;
	for (unsigned i = 0; i < 3 && !r; i++) {
		char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];

		l.depth = sizes[i];
		snprintf(key, sizeof(key), "batch.%u", sizes[i]);
		snprintf(label, sizeof(label), "%u no-op slots", sizes[i]);
		r = bench_latency(b, key, label, BATCHES, live_batch, &l);
	}
	return live_close(&l) || r ? -1 : 0;
}

/* ---- from park ----------------------------------------------------------- */

static int asleep(void *arg, uint64_t *ns, unsigned room)
{
	struct timespec t = { 0, ASLEEP_NS };

	nanosleep(&t, NULL);
	return live_gaps(arg, ns, room);
}

/* How often somebody had to be woken for a slot. */
static uint64_t rung(struct live *l)
{
	struct mk_queue_stats s;

	return mk_queue_stats(l->q, &s) < 0 ? 0 : s.doorbells;
}

static int wake(struct bench *b, struct live *l)
{
	uint64_t before = rung(l);
	struct bench_row *row;
	int r = bench_latency(b, "wake", "one slot, 3 ms after the last",
			      WAKES, asleep, l);

	if (r)
		return r;
	row = &b->rows->row[b->rows->count - 1];
	/* it is no figure of waking if most of the time nothing slept */
	if (rung(l) - before >= row->n * 9 / 10)
		return 0;
	row->known = false;
	snprintf(row->note, sizeof(row->note), "woken %llu times in %llu",
		 (unsigned long long)(rung(l) - before),
		 (unsigned long long)row->n);
	return 0;
}

int bench_wake(struct bench *b)
{
	struct mk_ctx *ctx;
	struct live l;
	int r;

	if (bench_ctx_open(b, b->isolation, IDLE_NS, &ctx))
		return -1;
	r = live_open_in(b, ctx, &l, 64);
	if (!r) {
		r = wake(b, &l);
		r = live_close(&l) || r ? -1 : 0;
	}
	bench_ctx_close(b, ctx);
	return r;
}
